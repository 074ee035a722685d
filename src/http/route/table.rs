//! The lines of a surface's table, and how a path finds its line.

use super::Call;
use crate::error::{Error, Result};
use crate::http::query;
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::server::BodyRule;

/// Body of a verification or a management request: 64 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Body of an import, a catalog or a restore: 64 MiB.
pub const IMPORT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One way in: a dialect under its mount.
pub struct Surface {
    /// For logs.
    pub name: &'static str,
    /// The start of all its paths; the longest one that fits a path takes it.
    pub mount: &'static str,
    pub routes: &'static [Route],
    /// Whether requests for a host that this server does not answer for are refused.
    pub checks_host: bool,
    pub render_error: fn(&Error, &Head) -> Reply,
}

/// One line of a table.
pub struct Route {
    /// `*` for any.
    pub method: &'static str,
    /// Below the mount; `{name}` stands for one segment, a final `{name...}` for all the rest.
    pub path: &'static str,
    pub access: Access,
    pub body: BodyRule,
    pub query: QueryRule,
    pub handler: Handler,
}

/// What becomes of the query parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueryRule {
    /// Nobody minds them.
    Free,
    /// The handler reads them, and refuses those that it does not know.
    Read,
    /// There are none, and any is refused.
    Refused,
}

/// Who may call a route. What the caller may do there is decided in `ops`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Whoever presents a credential of this server, or comes through the Unix socket.
    Caller,
    Public,
    /// As `Caller`; and from loopback without a credential, where the configuration allows it.
    Verifier,
}

/// A function that answers.
#[derive(Clone, Copy)]
pub enum Handler {
    /// May wait for the store; runs on a blocking thread.
    Blocking(fn(&Call<'_>) -> Result<Reply>),
    /// Looks at memory only. `None`: this call has to wait after all, run it again on a blocking thread, where it
    /// is told that it may ([`Call::may_wait`]).
    Inline(fn(&Call<'_>) -> Result<Option<Reply>>),
}

/// `GET`, on a blocking thread.
pub const fn get(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("GET", path, access, handler)
}

/// `POST`, on a blocking thread.
pub const fn post(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("POST", path, access, handler)
}

/// `PATCH`, on a blocking thread.
pub const fn patch(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("PATCH", path, access, handler)
}

/// `PUT`, on a blocking thread.
pub const fn put(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("PUT", path, access, handler)
}

/// `DELETE`, on a blocking thread.
pub const fn delete(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("DELETE", path, access, handler)
}

/// Any method, looking at memory only.
pub const fn inline(
    method: &'static str,
    path: &'static str,
    access: Access,
    body: BodyRule,
    handler: fn(&Call<'_>) -> Result<Option<Reply>>,
) -> Route {
    Route {
        method,
        path,
        access,
        body,
        query: QueryRule::Free,
        handler: Handler::Inline(handler),
    }
}

impl Route {
    /// The same route, for bodies of up to 64 MiB.
    pub const fn large(mut self) -> Route {
        self.body = BodyRule::UpTo(IMPORT_BYTES_MAX);
        self
    }

    /// The same route, whose handler reads the query.
    pub const fn with_query(mut self) -> Route {
        self.query = QueryRule::Read;
        self
    }
}

/// The same routes, each of which refuses query parameters unless its handler reads them.
pub const fn strict<const N: usize>(mut routes: [Route; N]) -> [Route; N] {
    let mut position = 0;
    while position < N {
        if matches!(routes[position].query, QueryRule::Free) {
            routes[position].query = QueryRule::Refused;
        }
        position += 1;
    }
    routes
}

const fn blocking(
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    Route {
        method,
        path,
        access,
        body: BodyRule::UpTo(BODY_BYTES_MAX),
        query: QueryRule::Free,
        handler: Handler::Blocking(handler),
    }
}

/// Where a path leads.
pub enum Found {
    Route(&'static Route),
    /// The path is known with other methods.
    OtherMethods(String),
    Nothing,
}

pub fn find(surface: &'static Surface, method: &http::Method, below: &str) -> Found {
    let mut others: Vec<&str> = Vec::new();
    for route in surface.routes {
        if !fits(route.path, below) {
            continue;
        }
        let head = method == http::Method::HEAD && route.method == "GET";
        if route.method == "*" || route.method == method.as_str() || head {
            return Found::Route(route);
        }
        others.push(route.method);
    }
    if others.is_empty() {
        return Found::Nothing;
    }
    if others.contains(&"GET") {
        others.push("HEAD");
    }
    others.sort_unstable();
    others.dedup();
    Found::OtherMethods(others.join(", "))
}

/// Whether a path is one of a template, trailing slash or not.
fn fits(template: &str, path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut wanted = template.split('/');
    let mut found = path.split('/');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(_)) if part.ends_with("...}") => return true,
            (Some(part), Some(segment))
                if part == segment || part.starts_with('{') && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

/// The decoded values of a template's single-segment parameters; `None` if an escape is bad.
pub fn params(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut values = Vec::new();
    for (part, segment) in template.split('/').zip(path.split('/')) {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            // A rest is for its handler to read, exactly as it came.
            if !name.ends_with("...") {
                values.push((name, query::decode(segment, false)?));
            }
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_segment_by_segment() {
        for (template, path, expected) in [
            ("/keys", "/keys", true),
            ("/keys", "/keys/", true),
            ("/keys", "/keysx", false),
            ("/keys/{id}", "/keys/a", true),
            ("/keys/{id}", "/keys/", false),
            ("/keys/{id}", "/keys/a/b", false),
            ("/keys/{id}/rotate", "/keys/a/rotate", true),
            ("/envoy/{path...}", "/envoy/a/b/c", true),
            ("", "", true),
            ("", "/", true),
        ] {
            assert_eq!(fits(template, path), expected, "{template} {path}");
        }
    }
}
