//! Mutated request heads. What is accepted has one meaning: a second, plain reading finds the same one.

use super::*;
use crate::fuzz::Target;

const BOUNDS: Bounds = Bounds {
    head_bytes_max: 2_048,
    headers_max: 20,
};

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "\r\n", "\r\n\r\n", " HTTP/1.1", " HTTP/1.0", "HTTP/1.1\r\n", "GET ", "POST ", "OPTIONS * ", "CONNECT ", "http://a/", "https://[::1]:8/",
    "Host: a\r\n", "Host:", "hOST:", "Content-Length: ", "Content-Length: 5\r\n", "Content-Length: +5\r\n", "Content-Length: 5, 5\r\n",
    "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "transfer-encoding:\tchunked \r\n", "Connection: close\r\n",
    "X: \r\n", " folded\r\n", "\n", "\r", ": ", ":", "\t", "?", "#", "%00", "@", "é",
];

/// A head as the plain reading has it.
#[derive(Debug, Eq, PartialEq)]
struct Plain {
    bytes: usize,
    method: String,
    target: String,
    is_http_11: bool,
    headers: Vec<(String, Vec<u8>)>,
    framing: Framing,
}

/// RFC 9112, sections 2 to 6, read line by line. It is no stricter than [`Scan`]: it judges no target and no host.
fn plain(bytes: &[u8]) -> Option<Plain> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text: Vec<u8> = bytes[..end].to_vec();
    let lines = split(&text);
    let mut lines = lines.into_iter();
    let line = String::from_utf8(lines.next()?).ok()?;
    let [method, target, version] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_http_11 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return None,
    };
    let mut headers = Vec::new();
    for line in lines {
        let forbidden = |byte: &u8| *byte != b'\t' && (*byte < b' ' || *byte == 0x7f);
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8(line[..colon].to_vec()).ok()?;
        let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_tchar) || line.iter().any(forbidden) {
            return None;
        }
        let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
        let value = &line[colon + 1..];
        let before = value.iter().take_while(blank).count();
        let after = value[before..].iter().rev().take_while(blank).count();
        let value = value[before..value.len() - after].to_vec();
        headers.push((name.to_ascii_lowercase(), value));
    }
    let all = |wanted: &str| -> Vec<&[u8]> {
        let of_name = headers.iter().filter(|(name, _)| name == wanted);
        of_name.map(|(_, value)| value.as_slice()).collect()
    };
    let hosts = all("host").len();
    if hosts > 1 || (is_http_11 && hosts == 0) {
        return None;
    }
    let framing = match (
        all("content-length").as_slice(),
        all("transfer-encoding").as_slice(),
    ) {
        ([], []) => Framing::Sized(0),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            Framing::Sized(std::str::from_utf8(length).ok()?.parse().ok()?)
        }
        ([], [coding]) if is_http_11 && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return None,
    };
    Some(Plain {
        bytes: end + 4,
        method: method.to_owned(),
        target: target.to_owned(),
        is_http_11,
        headers,
        framing,
    })
}

/// The lines between CRLF.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    while at < text.len() {
        if text[at..].starts_with(b"\r\n") {
            lines.push(std::mem::take(&mut line));
            at += 2;
        } else {
            line.push(text[at]);
            at += 1;
        }
    }
    lines.push(line);
    lines
}

fn read(bytes: &[u8], piece: usize) -> Result<Option<Complete>, Refusal> {
    let mut scan = Scan::new();
    let mut end = 0;
    loop {
        end = (end + piece).min(bytes.len());
        match scan.advance(&bytes[..end], BOUNDS) {
            Ok(None) if end < bytes.len() => (),
            other => return other,
        }
    }
}

fn judge(bytes: &[u8]) -> String {
    let whole = read(bytes, bytes.len().max(1));
    for piece in [1, 3, 64] {
        assert_eq!(read(bytes, piece), whole, "{piece} bytes at a time");
    }
    let head = match whole {
        Err(refusal) => return format!("{} {}", refusal.status, refusal.detail),
        Ok(None) => {
            let is_whole = bytes.windows(4).any(|four| four == b"\r\n\r\n");
            assert!(!is_whole, "a whole head is taken for an incomplete one");
            return format!("incomplete after {}", bytes.len().min(3));
        }
        Ok(Some(head)) => head,
    };
    let other = plain(bytes).expect("a head that the plain reading refuses is accepted");
    let line = &head.request_line;
    assert_eq!(head.head_bytes, other.bytes);
    assert_eq!(line.method, other.method.as_str());
    assert_eq!(line.is_http_11, other.is_http_11);
    assert_eq!(head.framing, other.framing);
    let headers: Vec<(String, Vec<u8>)> = head
        .headers
        .iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
        .collect();
    assert_eq!(headers, other.headers);
    // The target consists of its parts, and nothing of it is lost.
    let target = &line.target;
    let query = target.query();
    let rest = match other.target.contains('?') {
        true => format!("{}?{query}", target.path()),
        false => target.path().to_owned(),
    };
    let authority = target.authority();
    let is_whole = other.target == rest
        || authority.is_some_and(|authority| {
            let (_, sent) = other.target.split_once("://").unwrap_or_default();
            sent == format!("{authority}{rest}")
                || format!("{authority}{rest}").replacen('/', "", 1) == sent
        });
    assert!(is_whole, "{target:?} of {}", other.target);
    // What is written from it means the same.
    let mut again = format!(
        "{} {} HTTP/1.{}\r\n",
        other.method,
        other.target,
        u8::from(other.is_http_11)
    )
    .into_bytes();
    for (name, value) in &headers {
        again.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    again.extend(b"\r\n");
    // Short of the bounds, which a blank more can reach.
    if again.len() <= bytes.len() {
        let again = read(&again, again.len())
            .expect("it is accepted")
            .expect("it is whole");
        assert_eq!((&again.request_line, again.framing), (line, head.framing));
    }
    format!(
        "accepted {:?} {} {} {}",
        std::mem::discriminant(&head.framing),
        other.is_http_11,
        headers.len().min(4),
        authority.is_some(),
    )
}

#[test]
fn mutated_heads_have_one_meaning() {
    Target {
        name: "head",
        words: WORDS,
        mutations: 3_000,
    }
    .run(judge);
}
