//! The bytes of an answer: status line, the headers that every answer has, and the body.

use std::cell::RefCell;
use std::io::Write as _;

use super::outgoing::Outgoing;
use crate::domain::time::Timestamp;
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Method, RequestId};

thread_local! {
    /// The date line of the current second; cached because formatting a date costs more than the rest of an answer.
    static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// What an answer must know about its request and its connection.
#[derive(Clone, Copy)]
pub struct Frame {
    pub id: RequestId,
    pub is_http_11: bool,
    /// The answer to a HEAD request has the headers of the answer to GET, and no body.
    pub is_head: bool,
    /// Whether the connection ends after this answer.
    pub closes: bool,
}

impl Frame {
    pub fn of(head: &Head, closes: bool) -> Frame {
        Frame {
            id: head.id,
            is_http_11: head.is_http_11,
            is_head: head.method == Method::HEAD,
            closes,
        }
    }
}

/// Writes the whole answer. A body that is shared or large is not copied.
pub fn write(out: &mut Outgoing, reply: Reply, frame: Frame, now: Timestamp) {
    let status = match reply.status {
        200..=599 => reply.status,
        _ => 500,
    };
    let headers = &reply.headers;
    let bytes = out.head();
    bytes.reserve(320 + headers.text().len() + reply.body.len().min(1024));
    bytes.extend_from_slice(match frame.is_http_11 {
        true => b"HTTP/1.1 ",
        false => b"HTTP/1.0 ",
    });
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    bytes.extend_from_slice(&digits);
    bytes.push(b' ');
    bytes.extend_from_slice(reason(status).as_bytes());
    bytes.extend_from_slice(b"\r\n");
    if reply.announces_head {
        bytes.extend_from_slice(b"x-head-bytes: 00000\r\n");
    }
    let counted_from = bytes.len();
    bytes.extend_from_slice(headers.text());
    bytes.extend_from_slice(b"x-request-id: ");
    bytes.extend_from_slice(&frame.id.digits());
    bytes.extend_from_slice(match (frame.closes, frame.is_http_11) {
        (true, _) => b"\r\nconnection: close\r\n".as_slice(),
        (false, false) => b"\r\nconnection: keep-alive\r\n",
        (false, true) => b"\r\n",
    });
    if !headers.contains("cache-control") {
        bytes.extend_from_slice(b"cache-control: no-store\r\n");
    }
    if !headers.contains("x-content-type-options") {
        bytes.extend_from_slice(b"x-content-type-options: nosniff\r\n");
    }
    if !headers.contains("date") {
        DATE.with_borrow_mut(|(second, line)| {
            if *second != now.unix_s() {
                *second = now.unix_s();
                *line = format!("date: {}\r\n", now.http_date());
            }
            bytes.extend_from_slice(line.as_bytes());
        });
    }
    let may_have_body = !matches!(status, 204 | 304);
    if may_have_body {
        // Writing to memory cannot fail.
        let _ = write!(bytes, "content-length: {}\r\n", reply.body.len());
    }
    bytes.extend_from_slice(b"\r\n");
    if reply.announces_head {
        // Five digits are enough: a head is far smaller than 100 kB.
        let digits = format!("{:05}\r\n", bytes.len() - counted_from);
        let place = counted_from - digits.len();
        bytes[place..counted_from].copy_from_slice(digits.as_bytes());
    }
    if may_have_body && !frame.is_head {
        out.put_body(reply.body);
    }
}

/// The usual reason phrase of a status (RFC 9112, 4); empty if this server has none for it.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_announced_has_the_announced_length() {
        for (value, body) in [("", ""), ("b", "body"), ("long", &*"x".repeat(100))] {
            let mut out = Outgoing::default();
            let frame = Frame {
                id: RequestId::new(0, 0),
                is_http_11: true,
                is_head: false,
                closes: true,
            };
            let reply = Reply::new(401).with("x-a", value);
            let reply = reply.body("text/plain", body.to_owned()).announcing_head();
            write(&mut out, reply, frame, Timestamp(0));
            let text = String::from_utf8(out.head().clone()).unwrap();
            let rest = text.strip_prefix("HTTP/1.1 401 Unauthorized\r\nx-head-bytes: ");
            let (digits, rest) = rest.unwrap().split_once("\r\n").unwrap();
            assert_eq!(digits.len(), 5, "{text}");
            assert_eq!(
                rest.find("\r\n\r\n").unwrap() + 4,
                digits.parse::<usize>().unwrap()
            );
            assert!(rest.ends_with(body), "{text}");
        }
    }
}
