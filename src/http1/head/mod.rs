//! The strict parser of request heads (RFC 9112). It refuses everything that two parsers may interpret differently (bare
//! line feeds, `Content-Length: 5, 5`, a length together with a transfer coding), so that a client cannot hide a second
//! request inside the first (attacks 9 to 27). This file does no I/O.

#[cfg(test)]
mod fuzz;
mod preview;
#[cfg(test)]
mod tests;

pub use preview::preview;

use super::limits::REQUEST_LINE_BYTES_MAX;
use crate::http1::headers::{Headers, is_token_byte, name_bytes, text_bytes};
use crate::http1::request::{Method, Target, is_authority, is_host_byte, is_target_byte};

/// Parses one head as its bytes arrive. It examines every byte once.
pub struct Scan {
    /// How many bytes have been examined.
    at: usize,
    /// The start of the incomplete line.
    line: usize,
    /// The header lines so far; `count` is their number.
    headers: Headers,
    count: usize,
    request_line: Option<RequestLine>,
    host_seen: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A head that is accepted.
#[derive(Debug, Eq, PartialEq)]
pub struct Complete {
    /// The length of the head with its final empty line.
    pub head_bytes: usize,
    pub framing: Framing,
    pub request_line: RequestLine,
    pub headers: Headers,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    Chunked,
    /// A request without a body is `Sized(0)`.
    Sized(u64),
}

/// The answer to bytes that are not a valid request. The connection is closed after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub status: u16,
    /// One sentence for the developer of the client; it never contains any input.
    pub detail: &'static str,
}

/// The size limits of a head.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub head_bytes_max: usize,
    pub headers_max: usize,
}

/// The request line, parsed.
#[derive(Debug, Eq, PartialEq)]
pub struct RequestLine {
    pub method: Method,
    pub target: Target,
    /// Otherwise the version is HTTP/1.0.
    pub is_http_11: bool,
}

impl Scan {
    pub fn new() -> Scan {
        Scan {
            at: 0,
            line: 0,
            headers: Headers::default(),
            count: 0,
            request_line: None,
            host_seen: false,
            length: None,
            chunked: false,
        }
    }

    /// How many bytes of a refused head were read. The number does not depend on the pieces in which they arrived.
    pub fn read_bytes(&self) -> usize {
        self.at
    }

    /// Continues with `bytes`, which begin with the head and may contain more than it. `None`: the head is still
    /// incomplete.
    ///
    /// The result does not depend on the pieces in which the bytes arrive.
    pub fn advance(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<Complete>, Refusal> {
        // Bytes that cannot start any method are refused immediately; a method in lower case is refused with its whole
        // line.
        if self.at == 0
            && bytes
                .first()
                .is_some_and(|first| !is_token_byte(*first) && *first != b'\r')
        {
            return Err(bad("A request begins with a method in capital letters."));
        }
        while let Some(rest) = bytes.get(self.at..) {
            self.at += text_bytes(rest);
            self.check_line_size()?;
            self.check_head_size(bounds)?;
            let Some(&byte) = bytes.get(self.at) else {
                break;
            };
            match (byte, bytes.get(self.at + 1)) {
                (b'\r', None) => break,
                (b'\r', Some(b'\n')) => {
                    let start = std::mem::replace(&mut self.line, self.at + 2);
                    let line = &bytes[start..self.at];
                    self.at += 2;
                    self.check_head_size(bounds)?;
                    if let Some(mut complete) = self.end_of_line(start, line, bounds)? {
                        complete.headers.set_head(&bytes[..self.at]);
                        return Ok(Some(complete));
                    }
                }
                (b'\r', Some(_)) => {
                    return Err(bad("A carriage return stands without a line feed."));
                }
                (b'\n', _) => return Err(bad("A line feed stands without a carriage return.")),
                _ => return Err(bad("The head of the request contains a control byte.")),
            }
        }
        Ok(None)
    }

    fn check_line_size(&mut self) -> Result<(), Refusal> {
        if self.request_line.is_none() && self.at - self.line > REQUEST_LINE_BYTES_MAX {
            self.at = self.line + REQUEST_LINE_BYTES_MAX;
            return Err(refusal(414, "The request line is longer than 8 KiB."));
        }
        Ok(())
    }

    fn check_head_size(&mut self, bounds: Bounds) -> Result<(), Refusal> {
        if self.at > bounds.head_bytes_max {
            self.at = bounds.head_bytes_max;
            return Err(refusal(
                431,
                "The request line and the headers are larger than this server accepts.",
            ));
        }
        Ok(())
    }

    fn end_of_line(
        &mut self,
        start: usize,
        line: &[u8],
        bounds: Bounds,
    ) -> Result<Option<Complete>, Refusal> {
        if self.request_line.is_none() {
            self.request_line = Some(request_line(line)?);
            return Ok(None);
        }
        if line.is_empty() {
            return self.complete();
        }
        self.count += 1;
        if self.count > bounds.headers_max {
            return Err(refusal(
                431,
                "The request has more headers than this server accepts.",
            ));
        }
        self.header(start, line)?;
        Ok(None)
    }

    fn complete(&mut self) -> Result<Option<Complete>, Refusal> {
        let Some(request_line) = self.request_line.take() else {
            return Ok(None);
        };
        if request_line.is_http_11 && !self.host_seen {
            return Err(bad("A request of HTTP/1.1 needs a Host header."));
        }
        if self.chunked && !request_line.is_http_11 {
            return Err(bad("Transfer-Encoding does not exist in HTTP/1.0."));
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => {
                return Err(bad(
                    "Content-Length and Transfer-Encoding exclude each other.",
                ));
            }
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Sized(length.unwrap_or(0)),
        };
        Ok(Some(Complete {
            head_bytes: self.at,
            framing,
            request_line,
            headers: std::mem::take(&mut self.headers),
        }))
    }

    fn header(&mut self, start: usize, line: &[u8]) -> Result<(), Refusal> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(bad(
                "A header line begins with white space; folded headers are obsolete.",
            ));
        }
        let (name, rest) = line.split_at(name_bytes(line));
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value.trim_ascii_start(),
            _ if rest.contains(&b':') => {
                return Err(bad(
                    "A header name is empty or contains a character that it may not.",
                ));
            }
            _ => return Err(bad("A header line has no colon.")),
        };
        let value_start = start + line.len() - value.len();
        let value = value.trim_ascii_end();
        self.headers
            .add_position(start, name, value_start..value_start + value.len());
        if name.eq_ignore_ascii_case(b"host") {
            self.host(value)
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding(value)
        } else {
            Ok(())
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.host_seen, true) {
            return Err(bad("The Host header occurs more than once."));
        }
        if !value.iter().all(is_host_byte) {
            return Err(bad("The Host header is no host name or address."));
        }
        Ok(())
    }

    /// RFC 9112, 6.3: digits only, and the header occurs once. The limit of 63 bits is that of most other
    /// servers.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(bad("Content-Length occurs more than once."));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad("Content-Length is not a whole number."));
        }
        let length = value.iter().try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        });
        match length.and_then(|length| u64::try_from(length).ok()) {
            Some(length) => self.length = Some(length),
            None => return Err(bad("Content-Length is too large a number.")),
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(bad("Transfer-Encoding occurs more than once."));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("The only accepted Transfer-Encoding is chunked."));
        }
        Ok(())
    }
}

/// `METHOD SP target SP HTTP/1.x` (RFC 9112, 3), with single spaces, and nothing before or after.
fn request_line(line: &[u8]) -> Result<RequestLine, Refusal> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad(
            "A request line is a method, a target and a version, with one space between them.",
        ));
    };
    if method.is_empty()
        || !method
            .iter()
            .all(|&byte| byte.is_ascii_uppercase() || byte == b'-')
    {
        return Err(bad("A method is written in capital letters."));
    }
    let is_http_11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(refusal(505, "This server speaks HTTP/1.1 and HTTP/1.0."));
        }
        _ => return Err(bad("The request line does not end in an HTTP version.")),
    };
    if method == b"CONNECT" || method == b"TRACE" {
        return Err(refusal(
            405,
            "This server is no proxy and does not echo requests.",
        ));
    }
    target_form(method, target)?;
    let unreadable = || bad("The request target cannot be read.");
    let text = str::from_utf8(target).map_err(|_| unreadable())?;
    let target = match text.starts_with('/') {
        true => Target::origin(text),
        false => text.parse().map_err(|_| unreadable())?,
    };
    Ok(RequestLine {
        method: Method::from_bytes(method).ok_or_else(unreadable)?,
        target,
        is_http_11,
    })
}

/// Origin form, absolute form of http and https, or `OPTIONS *` (RFC 9112, 3.2).
fn target_form(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if !target.iter().all(|&byte| is_target_byte(byte)) {
        return Err(bad(
            "The request target contains a character that must be percent-encoded.",
        ));
    }
    let after_scheme = ["http://", "https://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then(|| &target[scheme.len()..])
    });
    match (target, after_scheme) {
        ([b'/', ..], _) => Ok(()),
        (b"*", _) if method == b"OPTIONS" => Ok(()),
        (_, Some(rest)) => {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return Err(bad(
                    "The authority in the request target is no host name or address.",
                ));
            }
            Ok(())
        }
        _ => Err(bad("The request target must begin with a slash.")),
    }
}

pub fn refusal(status: u16, detail: &'static str) -> Refusal {
    Refusal { status, detail }
}

fn bad(detail: &'static str) -> Refusal {
    refusal(400, detail)
}
