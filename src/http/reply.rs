//! An answer as the rest of the server builds it. Putting it on the wire is the work of `http::server`.

use crate::http::headers::{self, Headers};
use serde::Serialize;

/// Status, headers and a whole body in memory. `http::server` adds what every answer carries.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 599; anything else is sent as 500.
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer without headers and body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// `application/json`. A value that cannot be written as JSON becomes an empty 500, logged: it is our mistake.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Reply {
        Reply::new(status).json_body("application/json", value)
    }

    /// Writes `value` as JSON under a media type of its own, such as `application/problem+json`.
    pub fn json_body<T: Serialize>(mut self, content_type: &str, value: &T) -> Reply {
        let mut body = Vec::with_capacity(256);
        match serde_json::to_writer(&mut body, value) {
            Ok(()) => self.body(content_type, body),
            Err(err) => {
                log::error!("an answer could not be written as JSON: {err}");
                self.status = 500;
                self
            }
        }
    }

    /// Sets a header, in place of any former value. Its name is a literal in lower case.
    ///
    /// A value that may not stand in a header (a line break, NUL, another control byte) becomes empty: text of
    /// others must neither split the answer nor stop the server. A name that is none is left out.
    #[inline]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Reply {
        self.headers.remove(name);
        self.also(name, value)
    }

    /// Adds a header beside its former values if there are any, such as `Set-Cookie` and `WWW-Authenticate`.
    #[inline]
    pub fn also(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Reply {
        if headers::is_own_name(name) {
            self.push(name, value.as_ref());
        } else {
            log::error!("an answer names an illegal header");
        }
        self
    }

    fn push(&mut self, name: &'static str, value: &[u8]) {
        let legal = headers::is_value(value);
        self.headers
            .push(name.as_bytes(), if legal { value } else { b"" });
    }

    /// Sets the body and its media type.
    pub fn body(mut self, content_type: &str, body: Vec<u8>) -> Reply {
        self.body = body;
        self.with("content-type", content_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_split_the_answer_is_sent_empty() {
        for bad in ["a\r\nSet-Cookie: x", "a\nb", "a\0b", "\x7f"] {
            let reply = Reply::new(204).with("x-reason", bad);
            assert_eq!(
                reply.headers.get("x-reason"),
                Some(b"".as_slice()),
                "{bad:?}"
            );
        }
        let reply = Reply::new(204).with("x-reason", "é");
        assert_eq!(reply.headers.get("x-reason"), Some("é".as_bytes()));
    }

    #[test]
    fn an_illegal_header_name_is_left_out() {
        let reply = Reply::new(204)
            .with("x y", "1")
            .with("", "2")
            .also("X", "3");
        assert_eq!(reply.headers.text(), b"");
    }

    #[test]
    fn json_carries_its_media_type() {
        let reply = Reply::json(201, &["a"]);
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (201, br#"["a"]"#.as_slice())
        );
        assert_eq!(reply.headers.text(), b"content-type: application/json\r\n");
    }
}
