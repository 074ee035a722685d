//! The target of a request line (RFC 9112, 3.2): what a request asks for.

use http::uri::Authority;
use std::str::FromStr;

/// A target that was checked: authority, path and query as they were sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The authority, the path, and the query with its `?`.
    text: Box<str>,
    /// Where the path begins. Nearly always there is nothing before it.
    path: usize,
    /// Where the query begins; the end if there is none.
    query: usize,
}

impl Target {
    /// Origin form, a path and perhaps a query, or an asterisk. The caller answers for it that a slash comes first, and
    /// that a target may hold all the rest.
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

/// Whether a byte may stand in a target: every visible ASCII character but `#`, because a fragment is never sent.
///
/// RFC 3986 permits fewer, but browsers leave `|`, `^`, backticks and braces in queries as they are, and every program
/// reads them alike. Below `/auth/envoy` a path is that of the original request, and is judged like that of every other
/// proxy.
pub fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// A text that is no target.
#[derive(Debug)]
pub struct NoTarget;

/// Any form. The scheme of an absolute one is forgotten.
///
/// Not through `http::Uri`, which does not take every byte that [`is_target_byte`] does.
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
        Authority::from_str(authority).map_err(|_| NoTarget)?;
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
