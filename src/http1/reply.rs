//! An answer as handlers build it. `answer` writes it.
//!
//! An answer may come later: the request then waits for an event and occupies no thread. The connection sends the answer
//! when the [`Pledge`] is fulfilled.

use crate::http1::headers::{self, Headers};
use bytes::Bytes;
use tokio::sync::oneshot;

/// The bytes of an answer. Clones share the same bytes, so content that many clients receive is in memory once.
pub type Body = Bytes;

/// Status, headers and a complete body in memory. `answer` adds the headers that every answer has.
#[derive(Debug)]
pub struct Reply {
    /// 200 to 599; the server sends any other value as 500.
    pub status: u16,
    pub headers: Headers,
    pub body: Body,
    /// Whether the client may safely repeat the request, although its method does not imply that. When too many answers
    /// wait for slow clients, the server may replace such an answer by a 503; it never replaces the answer to a change.
    pub is_repeatable: bool,
    /// Whether the head begins with the header `x-head-bytes`, the number of bytes of the head that follow this header,
    /// for clients that read a known number of bytes faster than lines.
    pub announces_head: bool,
    /// The answer that is sent in the place of this one, once it is there.
    pub later: Option<Later>,
}

/// The place of an answer that comes later.
#[derive(Debug)]
pub struct Later(pub(super) oneshot::Receiver<Reply>);

/// The right to give one answer later. If it is dropped, the client gets 503.
#[derive(Debug)]
pub struct Pledge(oneshot::Sender<Reply>);

impl Pledge {
    /// Sends the answer. The client may have disconnected, which changes nothing.
    pub fn fulfil(self, reply: Reply) {
        let _ = self.0.send(reply);
    }
}

impl Reply {
    /// The place of an answer that the pledge gives later.
    pub fn later() -> (Reply, Pledge) {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply {
            later: Some(Later(receiver)),
            ..Reply::new(503)
        };
        (reply, Pledge(sender))
    }

    /// An answer without headers and body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Headers::default(),
            body: Body::new(),
            is_repeatable: false,
            announces_head: false,
            later: None,
        }
    }

    /// Sets a header and replaces any former value. The name is a literal in lower case.
    ///
    /// A value that is not allowed in a header (a line break, NUL, another control byte) becomes empty: text from
    /// clients must neither split the answer nor stop the server. An invalid name is dropped.
    #[inline]
    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Reply {
        self.headers.remove(name);
        self.also(name, value)
    }

    /// Adds a header and keeps former values of the same name; for `Set-Cookie` and `WWW-Authenticate`.
    #[inline]
    pub fn also(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Reply {
        self.add(name, value);
        self
    }

    /// Like [`Reply::also`], but changes the reply in place, so that a reply with many headers is not moved for each of
    /// them.
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

    /// Marks the request as safe to repeat; see [`Reply::is_repeatable`].
    pub fn repeatable(mut self) -> Reply {
        self.is_repeatable = true;
        self
    }

    /// Lets the head begin with its length; see [`Reply::announces_head`].
    pub fn announcing_head(mut self) -> Reply {
        self.announces_head = true;
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
}
