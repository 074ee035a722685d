//! Answers with a JSON body, and answers to errors.

use crate::error::Error;
use serde::Serialize;

pub use crate::http1::reply::*;

/// The status of an error. A dialect names only those that its system answers with another.
pub fn status_of(err: &Error) -> u16 {
    match err {
        Error::Malformed(_) => 400,
        Error::LocalHeaderMissing | Error::Unauthenticated => 401,
        Error::Forbidden(_) => 403,
        Error::NotFound(_) => 404,
        Error::MethodNotAllowed { .. } => 405,
        Error::Conflict(_) => 409,
        Error::TooLarge { .. } => 413,
        Error::UnsupportedMediaType(_) => 415,
        Error::Misdirected => 421,
        Error::Invalid { .. } => 422,
        Error::TooMany { .. } => 429,
        Error::Internal(_) => 500,
        Error::Unavailable(_) => 503,
    }
}

impl Reply {
    /// `application/json`. A value that cannot be serialised becomes an empty 500 and is logged, because that is a bug
    /// of this server.
    pub fn json<T: Serialize>(status: u16, value: &T) -> Reply {
        Reply::new(status).json_body("application/json", value)
    }

    /// Writes `value` as JSON with a specific media type, such as `application/problem+json`.
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

    /// Adds the headers by which a client can act on an error: `Allow` and `Retry-After`.
    pub fn with_advice(self, err: &Error) -> Reply {
        match err {
            Error::MethodNotAllowed { allow } => self.with("allow", allow),
            Error::TooMany { retry_after_s } => {
                self.with("retry-after", retry_after_s.max(&1).to_string())
            }
            Error::Unavailable(_) => self.with("retry-after", "5"),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
