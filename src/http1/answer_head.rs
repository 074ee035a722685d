//! The head of an answer, as a client of a Latchkey server reads it: the commands, and the link of a site. The server sends
//! every answer with its length, so anything else is no answer of one, or was cut off.

use std::io::{self, BufRead};

/// The number of bytes of the status line and the headers of an answer.
const BYTES_MAX: u64 = 64 * 1024;
/// The status of answers that have no body, and no length either (RFC 9110, section 8.6).
const NO_CONTENT: u16 = 204;

/// The status line and the headers of an answer.
#[derive(Debug, Eq, PartialEq)]
pub struct AnswerHead {
    pub status: u16,
    /// The number of bytes of the body.
    pub length: u64,
    /// Whether the server closes the connection after the body.
    pub closes: bool,
    /// The names as they were sent, and the values without blanks around them.
    fields: Vec<(String, String)>,
}

impl AnswerHead {
    /// Reads a head, and nothing behind it.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ends before the head does. Another kind if this is no answer of a Latchkey, or if reading
    /// fails.
    pub fn read(connection: &mut impl BufRead) -> io::Result<AnswerHead> {
        let mut limited = io::Read::take(connection, BYTES_MAX);
        let status = status_of(&line(&mut limited)?).ok_or_else(strange)?;
        let mut fields = Vec::new();
        loop {
            let line = line(&mut limited)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(strange)?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(strange());
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut head = AnswerHead {
            status,
            length: 0,
            closes: false,
            fields,
        };
        head.length = head.length_of().ok_or_else(strange)?;
        let is_close = |value: &str| value.eq_ignore_ascii_case("close");
        let closes = head.all("connection").any(is_close);
        head.closes = closes;
        Ok(head)
    }

    /// The value of a header; of several, the last one.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter();
        let own = fields.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str())
    }

    /// The length of the body, which is there once and in one form.
    fn length_of(&self) -> Option<u64> {
        if self.all("transfer-encoding").next().is_some() {
            return None;
        }
        let mut lengths = self.all("content-length");
        let Some(length) = lengths.next() else {
            return (self.status == NO_CONTENT).then_some(0);
        };
        let is_only = lengths.next().is_none() && length.bytes().all(|b| b.is_ascii_digit());
        is_only.then(|| length.parse().ok()).flatten()
    }
}

/// A line without its end.
fn line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(strange)?;
    String::from_utf8(text.to_vec()).map_err(|_| strange())
}

fn status_of(line: &str) -> Option<u16> {
    let digits = line.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

fn strange() -> io::Error {
    io::Error::other("this is no answer of a Latchkey")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u16, u64, bool)>) {
        let found = AnswerHead::read(&mut text.as_bytes()).ok();
        let found = found.map(|head| (head.status, head.length, head.closes));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_head_has_one_length() {
        let ok = "HTTP/1.1 200 OK\r\n";
        check(
            &format!("{ok}Content-Length: 12\r\n\r\nx"),
            Some((200, 12, false)),
        );
        check(
            "HTTP/1.1 409 Conflict\r\ncontent-length:0\r\nConnection: close\r\n\r\n",
            Some((409, 0, true)),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, 0, false)));
        for bad in [
            "\r\n",
            "Content-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: x\r\n\r\n",
            "Content-Length: \r\n\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Content-Length: 1\n\n",
            "Content-Length\r\n\r\n",
            " Content-Length: 1\r\n\r\n",
            "Content-Length : 1\r\n\r\n",
            ": x\r\nContent-Length: 1\r\n\r\n",
        ] {
            check(&format!("{ok}{bad}"), None);
        }
        check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", None);
        check("HTTP/1.1 +20 OK\r\nContent-Length: 1\r\n\r\n", None);
        check("", None);
        let long = "x".repeat(BYTES_MAX as usize);
        check(&format!("{ok}A: {long}\r\nContent-Length: 1\r\n\r\n"), None);
    }

    #[test]
    fn a_head_that_is_cut_off_is_told_from_a_strange_one() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for cut in 0..whole.len() {
            let err = AnswerHead::read(&mut &whole.as_bytes()[..cut]).unwrap_err();
            assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        let err = AnswerHead::read(&mut "SSH-2.0-x\r\n".as_bytes()).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn headers_are_found_by_name_and_what_follows_is_left() {
        let text =
            b"HTTP/1.1 200 OK\r\nLink:  </v1/x>; rel=\"next\" \r\nContent-Length: 2\r\n\r\nok";
        let mut rest = text.as_slice();
        let head = AnswerHead::read(&mut rest).unwrap();
        assert_eq!(head.field("link"), Some("</v1/x>; rel=\"next\""));
        assert_eq!(head.field("x"), None);
        assert_eq!(rest, b"ok");
    }
}
