//! An answer as the rest of the server builds it. Putting it on the wire is the work of `http::server`.

use crate::http::headers::{self, Headers};
use bytes::Bytes;
use serde::Serialize;

/// Bytes of an answer. Copies are references to the same bytes: what many clients are sent is kept once.
pub type Body = Bytes;

/// Status, headers and a whole body in memory. `http::server` adds what every answer carries.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 599; anything else is sent as 500.
    pub status: u16,
    pub headers: Headers,
    pub body: Body,
    /// Whether asking for it again changes nothing, though the method does not say so. When too many answers wait for
    /// clients that do not read, such an answer may give way to a 503; that to a change never does.
    pub is_repeatable: bool,
}

impl Reply {
    /// An answer without headers and body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Headers::default(),
            body: Body::new(),
            is_repeatable: false,
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
        self.add(name, value);
        self
    }

    /// As [`Reply::also`], in place: an answer with many headers is not moved for each of them.
    #[inline]
    pub fn add(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if headers::is_own_name(name) {
            let legal = headers::is_value(value);
            self.headers
                .push(name.as_bytes(), if legal { value } else { b"" });
        } else {
            log::error!("an answer names an illegal header");
        }
    }

    /// Says that asking again changes nothing; see [`Reply::is_repeatable`].
    pub fn repeatable(mut self) -> Reply {
        self.is_repeatable = true;
        self
    }

    /// Sets the body and its media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Body>) -> Reply {
        self.body = body.into();
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
            (reply.status, reply.body.as_ref()),
            (201, br#"["a"]"#.as_slice())
        );
        assert_eq!(reply.headers.text(), b"content-type: application/json\r\n");
    }
}
