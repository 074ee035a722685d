//! Complete answers: the headers that every answer has, and the bytes on the wire.

use std::cell::RefCell;
use std::io::Write as _;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;

use super::Line;
use crate::domain::time::Timestamp;
use crate::http1::guard::Outbox;
use crate::http1::headers::Headers;
use crate::http1::reply::Reply;
use crate::http1::request::RequestId;

thread_local! {
    /// The headers that nearly all answers of one second share; cached because formatting them costs more than the rest
    /// of an answer.
    static COMMON: RefCell<Option<(i64, Headers)>> = const { RefCell::new(None) };
}

/// An answer with all its headers.
pub struct Answer {
    status: StatusCode,
    reply: Reply,
}

impl Answer {
    /// Adds the headers that every answer has. `closes`: the connection ends after this answer.
    pub fn new(reply: Reply, id: RequestId, line: &Line, closes: bool) -> Answer {
        let status = match StatusCode::from_u16(reply.status) {
            Ok(status) if !status.is_informational() => status,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut reply = reply;
        let headers = &mut reply.headers;
        headers.remove("x-request-id");
        headers.push(b"x-request-id", &id.digits());
        if closes {
            headers.push(b"connection", b"close");
        }
        let wall = line.front.registry.wall();
        COMMON.with_borrow_mut(|known| match known {
            Some((second, common)) if *second == wall.unix_s() => headers.push_missing(common),
            _ => {
                let (_, common) = known.insert((wall.unix_s(), common(wall)));
                headers.push_missing(common);
            }
        });
        Answer { status, reply }
    }

    /// Converts the answer for hyper, which adds the length.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut headers = HeaderMap::with_capacity(12);
        for (name, value) in self.reply.headers.iter() {
            // `Reply` accepts only names and values that these functions accept.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        let mut response = Response::new(Full::new(self.reply.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    /// Writes the whole answer, with the same bytes that hyper would write, into an empty outbox. `has_body`: the
    /// answer is not one to a HEAD request.
    pub fn send(self, outbox: &mut Outbox, has_body: bool) {
        let reason = self.status.canonical_reason().unwrap_or("<none>");
        let out = outbox.head();
        out.reserve(64 + self.reply.headers.text().len() + self.reply.body.len().min(1024));
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.reply.headers.text());
        match self.reply.body.len() {
            _ if matches!(self.status.as_u16(), 204 | 304) => (),
            0 => out.extend_from_slice(b"content-length: 0\r\n"),
            bytes => {
                // Writing to memory cannot fail.
                let _ = write!(out, "content-length: {bytes}\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        if has_body && !matches!(self.status.as_u16(), 204 | 304) {
            outbox.put_body(self.reply.body);
        }
    }
}

/// The headers that an answer has unless its reply sets them to another value, and the date.
fn common(wall: Timestamp) -> Headers {
    let mut common = Headers::default();
    common.push(b"cache-control", b"no-store");
    common.push(b"x-content-type-options", b"nosniff");
    common.push(b"date", wall.http_date().as_bytes());
    common
}
