//! The target of a request line (RFC 9112, 3.2).

use std::str::FromStr;

use crate::http1::headers::with_alphanumeric;

/// A checked target: authority, path and query as the client sent them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The authority, the path, and the query with its `?`.
    text: Box<str>,
    /// The start of the path; usually 0, because targets rarely have an authority.
    path: usize,
    /// The start of the query; the end of the text if there is no query.
    query: usize,
}

impl Target {
    /// Origin form, which is a path with an optional query, or an asterisk. The caller guarantees that a path starts
    /// with a slash and that all other bytes are allowed in a target.
    pub fn origin(text: &str) -> Target {
        let query = text.bytes().position(|byte| byte == b'?');
        Target {
            path: 0,
            query: query.unwrap_or(text.len()),
            text: text.into(),
        }
    }

    /// The path, not decoded; starts with `/` (or is `*` for `OPTIONS *`).
    pub fn path(&self) -> &str {
        &self.text[self.path..self.query]
    }

    /// The raw query without its `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.text.get(self.query + 1..).unwrap_or("")
    }

    /// Host and port of an absolute target.
    pub fn authority(&self) -> Option<&str> {
        (self.path > 0).then(|| &self.text[..self.path])
    }
}

/// Whether a byte is allowed in a target: every visible ASCII character but `#`, because clients never send a fragment.
///
/// RFC 3986 allows fewer characters, but browsers do not escape `|`, `^`, backticks and braces in queries, and all
/// programs read these characters alike. Some paths are those of requests that a proxy asks about; they are checked like
/// the path that any other proxy sends.
pub fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// A host name or an address, the latter in brackets if it is of IPv6, and perhaps a port.
pub fn is_authority(text: &[u8]) -> bool {
    let has = |text: &[u8], bytes: &[u8]| text.iter().any(|byte| bytes.contains(byte));
    let of_host = |text: &[u8]| {
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let (host, port) = (parts.next(), parts.next());
        !has(host.unwrap_or_default(), b"[]%") && !has(port.unwrap_or_default(), b":[]%")
    };
    let is_host = match text.strip_prefix(b"[") {
        None => of_host(text),
        Some(rest) => {
            let mut parts = rest.splitn(2, |byte| *byte == b']');
            let (address, port) = (parts.next(), parts.next());
            let port = port.filter(|port| port.is_empty() || port.starts_with(b":"));
            !has(address.unwrap_or_default(), b"[") && port.is_some_and(of_host)
        }
    };
    is_host && !text.is_empty() && text.iter().all(is_host_byte)
}

/// Host name with the characters that RFC 3986 allows, IPv4, `[IPv6]` (with a zone), port. User info and characters
/// that need quoting are refused.
pub fn is_host_byte(byte: &u8) -> bool {
    HOST[usize::from(*byte)]
}

const HOST: [bool; 256] = with_alphanumeric(b"-._~:[]%!$&'()*+,;=");

/// The text is not a valid target.
#[derive(Debug)]
pub struct NoTarget;

/// Parses any form. The scheme of an absolute target is dropped.
impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Target, NoTarget> {
        if !text.bytes().all(is_target_byte) {
            return Err(NoTarget);
        }
        if text.starts_with('/') || text == "*" {
            return Ok(Target::origin(text));
        }
        let (_, rest) = text.split_once("://").ok_or(NoTarget)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_authority(authority.as_bytes()) {
            return Err(NoTarget);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let query = path.find('?').unwrap_or(path.len());
        Ok(Target {
            text: format!("{authority}{slash}{path}").into(),
            path: authority.len(),
            query: authority.len() + slash.len() + query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, authority: Option<&str>, path: &str, query: &str) {
        let target: Target = text.parse().unwrap();
        let parts = (target.authority(), target.path(), target.query());
        assert_eq!(parts, (authority, path, query), "{text}");
        if text.starts_with('/') {
            assert_eq!(Target::origin(text), target, "{text}");
        }
    }

    #[test]
    fn every_form_has_its_parts() {
        check("/", None, "/", "");
        check("/a/b", None, "/a/b", "");
        check("/a?", None, "/a", "");
        check("/a?b=/c?d", None, "/a", "b=/c?d");
        check("*", None, "*", "");
        check("http://h:1/a?b", Some("h:1"), "/a", "b");
        check("https://[::1]", Some("[::1]"), "/", "");
        check("http://h?b", Some("h"), "/", "b");
        check(
            "http://h/a\"|^`{}<>?b\"|^`{}<>",
            Some("h"),
            "/a\"|^`{}<>",
            "b\"|^`{}<>",
        );
        for bad in [
            "",
            "a",
            "/a b",
            "/a#b",
            "/é",
            "http://",
            "http:///a",
            "http://a b/",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
