//! A preview of a head that was refused: it only serves to choose the dialect of the answer.

use super::RequestLine;
use crate::http1::request::{Method, Target, is_target_byte};

/// How many bytes of a target are examined: more than the start of any route needs.
const TARGET_BYTES_MAX: usize = 512;

/// Method and path, as far as they have arrived and are readable; every fault is ignored. The target has no query, and is
/// `*` if it is not readable. The version does not matter: a refusal is answered as HTTP/1.1.
pub fn preview(bytes: &[u8]) -> RequestLine {
    let line = bytes.split(|&byte| byte == b'\n').next();
    let mut parts = line.unwrap_or_default().split(|&byte| byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next());
    RequestLine {
        method: Method::from_bytes(method).unwrap_or(Method::GET),
        target: target.and_then(path).unwrap_or_else(|| Target::origin("*")),
        is_http_11: true,
    }
}

fn path(target: &[u8]) -> Option<Target> {
    let seen = &target[..target.len().min(TARGET_BYTES_MAX)];
    let end = seen
        .iter()
        .position(|&byte| byte == b'?' || !is_target_byte(byte))
        .unwrap_or(seen.len());
    str::from_utf8(&seen[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, method: &str, path: &str) {
        let seen = preview(bytes.as_bytes());
        assert_eq!(
            (seen.method.as_str(), seen.target.path()),
            (method, path),
            "{bytes:?}"
        );
    }

    #[test]
    fn what_arrived_is_seen_whatever_is_wrong_with_it() {
        check("POST /a/b?c HTTP/1.1\r\nHost: h\r\n", "POST", "/a/b");
        check("GET /a HTTP/1.1\r\nX: 1\nhOST:\th:1 \r\n\r\n", "GET", "/a");
        check("GET /a#b HTTP/1.1\r\nHost: a b\r\n\r\n", "GET", "/a");
        check("GET http://h/a?b HTTP/1.1\r\n", "GET", "/a");
        check("GET /a", "GET", "/a");
        check(
            &format!("GET /{}", "a".repeat(9000)),
            "GET",
            &format!("/{}", "a".repeat(511)),
        );
        for nothing in [
            "",
            "\r\n",
            "\u{16}\u{3}\u{1}",
            "GET",
            "GET ",
            " /a",
            "GET a",
        ] {
            let seen = preview(nothing.as_bytes());
            assert_ne!(seen.target.path(), "/", "{nothing:?}");
        }
    }
}
