//! A request as the handlers see it: its head, its body, the client that sent it, and the request id.
//!
//! This module does not read from sockets; `connection` fills these types. Higher modules decide what a path or a
//! credential means.

mod method;
mod target;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

use crate::http1::headers::Headers;

pub use method::Method;
pub use target::{Target, is_authority, is_host_byte, is_target_byte};

/// A complete request. Its head is accessible through `Deref`.
#[derive(Debug)]
pub struct Request {
    pub head: Head,
    /// Empty if it was not read (`BodyRule::Ignore`).
    pub body: Vec<u8>,
}

impl Deref for Request {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.head
    }
}

/// Everything that is known before the body is read.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    /// Origin form, or absolute form, as the client sent it; see [`Head::host`].
    pub target: Target,
    /// Otherwise the version is HTTP/1.0.
    pub is_http_11: bool,
    pub headers: Headers,
    pub peer: Peer,
    pub id: RequestId,
}

impl Head {
    /// The head without its headers, to render an error after the request is gone.
    pub fn without_headers(&self) -> Head {
        Head {
            method: self.method.clone(),
            target: self.target.clone(),
            is_http_11: self.is_http_11,
            headers: Headers::default(),
            peer: self.peer,
            id: self.id,
        }
    }

    /// The path as it was sent, not decoded; starts with `/` (or is `*` for `OPTIONS *`).
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The raw query without its `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.target.query()
    }

    /// The value of a header that may occur at most once, without surrounding spaces and tabs. The name must be in
    /// lower case.
    ///
    /// A repeated header is a fault even if both values agree: two programs, one of which uses the first value and the
    /// other the last, must never disagree about a credential (attacks 46).
    pub fn header(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        let mut values = self.headers.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(HeaderFault::Repeated);
        }
        std::str::from_utf8(value)
            .map(Some)
            .map_err(|_| HeaderFault::NotText)
    }

    /// The host that the client requested, with its port if the client named one: the authority of an absolute target,
    /// otherwise the `Host` header (RFC 9112, 3.2.2). `None` only for HTTP/1.0 without `Host`.
    pub fn host(&self) -> Option<&str> {
        if let Some(authority) = self.target.authority() {
            return Some(authority);
        }
        self.header("host").ok().flatten()
    }
}

/// Why a header has no usable value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderFault {
    /// Its bytes are not UTF-8.
    NotText,
    /// It occurs more than once.
    Repeated,
}

/// The other end of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    Tcp {
        peer: SocketAddr,
        local: SocketAddr,
        /// Whether the connection to this peer, which may be a proxy, is encrypted.
        is_tls: bool,
    },
    Unix {
        uid: u32,
    },
}

impl Peer {
    /// Whether the peer is a process on this machine: connected through loopback or the Unix socket.
    pub fn is_on_this_machine(self) -> bool {
        match self {
            Peer::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } => true,
        }
    }
}

/// Identifies one request in answers and logs. Unique within one process, and almost certainly unique across restarts.
///
/// It is not secret and not hard to guess.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RequestId {
    /// Random bits that the process draws once at its start.
    process: u32,
    count: u64,
}

impl RequestId {
    pub fn new(process: u32, count: u64) -> RequestId {
        RequestId { process, count }
    }

    /// The 24 lowercase hexadecimal digits of the id, without an allocation.
    pub fn digits(&self) -> [u8; 24] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 24];
        let bytes = self.process.to_be_bytes().into_iter();
        for (pair, byte) in digits
            .chunks_exact_mut(2)
            .zip(bytes.chain(self.count.to_be_bytes()))
        {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits()
            .iter()
            .try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, lines: &[(&str, &[u8])]) -> Head {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.append(name.as_bytes(), value);
        }
        Head {
            method: Method::GET,
            target: target.parse().unwrap(),
            is_http_11: true,
            headers,
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(1, 2),
        }
    }

    #[test]
    fn a_header_is_read_once_or_refused() {
        let head = head(
            "/",
            &[
                ("A", b"x"),
                ("b", b"x"),
                ("b", b"x"),
                ("c", b"\xff"),
                ("d", "é".as_bytes()),
            ],
        );

        assert_eq!(head.header("a"), Ok(Some("x")));
        assert_eq!(head.header("b"), Err(HeaderFault::Repeated));
        assert_eq!(head.header("c"), Err(HeaderFault::NotText));
        assert_eq!(head.header("d"), Ok(Some("é")));
        assert_eq!(head.header("e"), Ok(None));
    }

    #[test]
    fn an_absolute_target_outranks_the_host_header() {
        assert_eq!(
            head("/p?q=1", &[("host", b"here:80")]).host(),
            Some("here:80")
        );
        let absolute = head("http://there/p?q=1", &[("host", b"here")]);
        assert_eq!(absolute.host(), Some("there"));
        assert_eq!((absolute.path(), absolute.query()), ("/p", "q=1"));
    }

    #[test]
    fn an_id_is_24_hexadecimal_digits() {
        assert_eq!(
            RequestId::new(0xdead_beef, 10).to_string(),
            "deadbeef000000000000000a"
        );
    }
}
