//! A preview of a head that was refused: it only serves to choose the dialect of the answer.

use super::RequestLine;
use crate::http1::headers::Headers;
use crate::http1::request::{Method, Target, is_host_byte, is_target_byte};

/// How many bytes of a target are examined: more than the start of any route needs.
const TARGET_BYTES_MAX: usize = 512;

/// Method, path and host, as far as they have arrived and are readable; every fault is ignored. The target has no query,
/// and is `*` if it is not readable; the only header is `Host`.
pub fn preview(bytes: &[u8]) -> (RequestLine, Headers) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut parts = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next());
    let mut headers = Headers::default();
    if let Some(host) = lines.find_map(host) {
        headers.append(b"host", host);
    }
    let request_line = RequestLine {
        method: Method::from_bytes(method).unwrap_or(Method::GET),
        target: target.and_then(path).unwrap_or_else(|| Target::origin("*")),
        is_http_11: false,
    };
    (request_line, headers)
}

fn path(target: &[u8]) -> Option<Target> {
    let seen = &target[..target.len().min(TARGET_BYTES_MAX)];
    let end = seen
        .iter()
        .position(|&byte| byte == b'?' || !is_target_byte(byte))
        .unwrap_or(seen.len());
    str::from_utf8(&seen[..end]).ok()?.parse().ok()
}

fn host(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let value = value.trim_ascii();
    let fits = name.eq_ignore_ascii_case(b"host") && value.iter().all(is_host_byte);
    fits.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, method: &str, path: &str, host: Option<&str>) {
        let (seen, headers) = preview(bytes.as_bytes());
        assert_eq!(
            (seen.method.as_str(), seen.target.path()),
            (method, path),
            "{bytes:?}"
        );
        assert_eq!(headers.get("host"), host.map(str::as_bytes), "{bytes:?}");
    }

    #[test]
    fn what_arrived_is_seen_whatever_is_wrong_with_it() {
        check(
            "POST /a/b?c HTTP/1.1\r\nHost: h\r\n",
            "POST",
            "/a/b",
            Some("h"),
        );
        check(
            "GET /a HTTP/1.1\r\nX: 1\nhOST:\th:1 \r\n\r\n",
            "GET",
            "/a",
            Some("h:1"),
        );
        check("GET /a#b HTTP/1.1\r\nHost: a b\r\n\r\n", "GET", "/a", None);
        check("GET http://h/a?b HTTP/1.1\r\n", "GET", "/a", None);
        check("GET /a", "GET", "/a", None);
        check(
            &format!("GET /{}", "a".repeat(9000)),
            "GET",
            &format!("/{}", "a".repeat(511)),
            None,
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
            let (seen, _) = preview(nothing.as_bytes());
            assert_ne!(seen.target.path(), "/", "{nothing:?}");
        }
    }
}
