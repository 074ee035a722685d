//! The method of a request (RFC 9110, 9).

use std::borrow::Cow;

use crate::http1::headers::is_name;

/// A token in which case matters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Method(Cow<'static, str>);

impl Method {
    pub const DELETE: Method = Method(Cow::Borrowed("DELETE"));
    pub const GET: Method = Method(Cow::Borrowed("GET"));
    pub const HEAD: Method = Method(Cow::Borrowed("HEAD"));
    pub const OPTIONS: Method = Method(Cow::Borrowed("OPTIONS"));
    pub const PATCH: Method = Method(Cow::Borrowed("PATCH"));
    pub const POST: Method = Method(Cow::Borrowed("POST"));
    pub const PUT: Method = Method(Cow::Borrowed("PUT"));

    /// `None` if the bytes are no token.
    pub fn from_bytes(bytes: &[u8]) -> Option<Method> {
        Some(match bytes {
            b"DELETE" => Method::DELETE,
            b"GET" => Method::GET,
            b"HEAD" => Method::HEAD,
            b"OPTIONS" => Method::OPTIONS,
            b"PATCH" => Method::PATCH,
            b"POST" => Method::POST,
            b"PUT" => Method::PUT,
            other if is_name(other) => Method(String::from_utf8(other.to_vec()).ok()?.into()),
            _ => return None,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether clients may repeat such a request because it changes nothing (RFC 9110, 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }
}

impl PartialEq<&str> for Method {
    fn eq(&self, name: &&str) -> bool {
        self.as_str() == *name
    }
}
