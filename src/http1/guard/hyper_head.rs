//! The request head that hyper receives instead of the client's.
//!
//! `head` parses a request once. hyper only needs to know how the body is framed, whether the connection stays open,
//! whether the client waits for a `100 Continue` and whether the answer has a body. It receives exactly that, in a head
//! that this file writes: nothing else that a client sends, such as `Upgrade`, can change what hyper does.

use std::io::Write;

use http::Method;

use crate::http1::head::Framing;
use crate::http1::headers::list_members;
use crate::http1::request::Head;

/// The maximum length of the head.
const BYTES_MAX: usize = 128;

/// The head as bytes, some of which hyper may have read already.
pub struct HyperHead {
    bytes: [u8; BYTES_MAX],
    start: usize,
    end: usize,
}

impl HyperHead {
    pub fn new(head: &Head, is_http_11: bool, framing: Framing) -> HyperHead {
        let mut bytes = [0; BYTES_MAX];
        let mut rest = bytes.as_mut_slice();
        // Writing to an array that is large enough cannot fail.
        let _ = write(&mut rest, head, is_http_11, framing);
        let end = BYTES_MAX - rest.len();
        HyperHead {
            bytes,
            start: 0,
            end,
        }
    }

    /// The bytes that hyper has not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn advance(&mut self, bytes: usize) {
        self.start += bytes;
    }
}

fn write(
    out: &mut &mut [u8],
    head: &Head,
    is_http_11: bool,
    framing: Framing,
) -> std::io::Result<()> {
    let has_body = framing != Framing::Sized(0);
    // The only distinction between methods that hyper needs is whether the answer has a body.
    out.write_all(match head.method == Method::HEAD {
        true => b"HEAD / HTTP/1.",
        false => b"GET / HTTP/1.",
    })?;
    out.write_all(match is_http_11 {
        true => b"1\r\n",
        false => b"0\r\n",
    })?;
    match framing {
        Framing::Chunked => out.write_all(b"transfer-encoding: chunked\r\n")?,
        Framing::Sized(0) => (),
        Framing::Sized(length) => write!(out, "content-length: {length}\r\n")?,
    }
    match (stays(head, is_http_11), is_http_11) {
        (true, false) => out.write_all(b"connection: keep-alive\r\n")?,
        (false, true) => out.write_all(b"connection: close\r\n")?,
        _ => (),
    }
    // An expectation in an HTTP/1.0 request is ignored (RFC 9110, 10.1.1).
    if is_http_11 && has_body && head.headers.contains("expect") {
        out.write_all(b"expect: 100-continue\r\n")?;
    }
    out.write_all(b"\r\n")
}

/// Whether the connection stays open after the request (RFC 9112, 9.3).
fn stays(head: &Head, is_http_11: bool) -> bool {
    let has = |option: &[u8]| {
        let mut values = head.headers.all("connection");
        values.any(|value| list_members(value).any(|own| own.eq_ignore_ascii_case(option)))
    };
    !has(b"close") && (is_http_11 || has(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request::{Peer, RequestId, Target};

    #[track_caller]
    fn check(method: &str, lines: &[(&str, &str)], is_http_11: bool, framing: Framing, own: &str) {
        let head = Head {
            method: method.parse().unwrap(),
            target: Target::origin("/v1/keys"),
            is_http_11: true,
            headers: lines.iter().copied().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let written = HyperHead::new(&head, is_http_11, framing);
        assert_eq!(written.rest().escape_ascii().to_string(), own);
    }

    #[test]
    fn hyper_learns_what_it_needs_and_nothing_else() {
        let none = Framing::Sized(0);
        let upgrade = [
            ("host", "a"),
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
        ];
        check("GET", &upgrade, true, none, r"GET / HTTP/1.1\r\n\r\n");
        check("HEAD", &upgrade, true, none, r"HEAD / HTTP/1.1\r\n\r\n");
        check("M-SEARCH", &[], true, none, r"GET / HTTP/1.1\r\n\r\n");
        check("GET", &[], false, none, r"GET / HTTP/1.0\r\n\r\n");

        let closes = r"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
        for value in ["close", "Close", "x, CLOSE", "keep-alive,close", ",close ,"] {
            check("GET", &[("connection", value)], true, none, closes);
        }
        let both = [("connection", "close"), ("connection", "keep-alive")];
        check("GET", &both, true, none, closes);
        check("GET", &both, false, none, r"GET / HTTP/1.0\r\n\r\n");
        let stays = r"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
        check("GET", &[("connection", "Keep-Alive")], false, none, stays);

        let length = r"GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
        check(
            "POST",
            &[("content-length", "00005")],
            true,
            Framing::Sized(5),
            length,
        );
        let awaits = [("expect", "100-Continue")];
        let continues = r"GET / HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
        check("PUT", &awaits, true, Framing::Sized(5), continues);
        check("PUT", &awaits, true, none, r"GET / HTTP/1.1\r\n\r\n");
        let old = r"GET / HTTP/1.0\r\ncontent-length: 5\r\n\r\n";
        check("PUT", &awaits, false, Framing::Sized(5), old);
    }

    #[test]
    fn the_longest_head_fits() {
        let lines = [("connection", "close"), ("expect", "100-continue")];
        for (framing, line) in [
            (
                Framing::Sized(u64::MAX),
                r"content-length: 18446744073709551615",
            ),
            (Framing::Chunked, r"transfer-encoding: chunked"),
        ] {
            let own = format!(
                r"HEAD / HTTP/1.1\r\n{line}\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n"
            );
            check("HEAD", &lines, true, framing, &own);
        }
    }
}
