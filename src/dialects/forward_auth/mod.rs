//! Forward-auth: a reverse proxy asks about each request before it passes it on.
//!
//! Nothing here is ever in favour by accident: whatever is missing, doubled or unreadable is a refusal. nginx
//! understands only 2xx, 401 and 403, so what it is told differs from what the others are told.

mod answer;
mod original;

use crate::domain::key::verdict::{Detail, Question};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::http::credential::{self, Presented};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::{Access::Public, Call, Refused, Route, Surface, inline};
use crate::http::server::BodyRule::Ignore;
use crate::ops::verify::{Outcome, Verdict, verify, verify_blocking};
use original::Original;
use std::sync::atomic::{AtomicBool, Ordering};

pub const SURFACE: Surface = Surface {
    name: "forward-auth",
    mount: "/auth",
    movable: false,
    routes: ROUTES,
    // Proxies ask with the host of the request that they ask about.
    checks_host: false,
    render_error: render,
    render_fault: |status, _, _| Reply::new(status),
    foresees: None,
    refusals: None,
};

/// The mount of the route for Envoy, which asks with the original request itself.
const ENVOY: &str = "/auth/envoy";

/// Bytes of `X-Auth-Body`: nginx holds all headers of an answer in 4 KiB, and denies with 500 what has more.
const BODY_HEADER_BYTES_MAX: usize = 2048;

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("*", "/nginx",           Public, Ignore, |call| decide(call, Proxy::Nginx)),
    inline("*", "/caddy",           Public, Ignore, |call| decide(call, Proxy::Forwarding)),
    inline("*", "/traefik",         Public, Ignore, |call| decide(call, Proxy::Forwarding)),
    inline("*", "/haproxy",         Public, Ignore, |call| decide(call, Proxy::Forwarding)),
    inline("*", "/envoy",           Public, Ignore, |call| decide(call, Proxy::Envoy)),
    inline("*", "/envoy/{path...}", Public, Ignore, |call| decide(call, Proxy::Envoy)),
];

/// How a proxy tells of the original request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Proxy {
    Envoy,
    /// `X-Forwarded-Method`, `-Uri` and `-Host`.
    Forwarding,
    /// `X-Original-Method`, `-URI` and `-Host`.
    Nginx,
}

/// What the proxy's configuration demands besides a good key.
#[derive(Debug, Default, Eq, PartialEq)]
struct Demands {
    catalog: Option<String>,
    scopes: Vec<String>,
    workspace: Option<String>,
}

fn decide(call: &Call<'_>, proxy: Proxy) -> Result<Option<Reply>> {
    let head = &call.request.head;
    let presented = credential::read(head, call.app.index.directory().named_headers());
    let demands = demands(call, proxy);
    let catalog = demands
        .as_ref()
        .and_then(|(demands, _)| demands.catalog.as_deref());
    let refuse = |refused: &Refused<'_>, reply: Reply| worded(call, proxy, catalog, refused, reply);
    let unauthenticated = |presented: bool| {
        let reply = answer::unauthenticated(presented);
        Ok(Some(refuse(&Refused::credential(), reply)))
    };
    let unsafe_request = || {
        let refused = Refused::request(Detail::UnsafeRequest.as_str());
        let reply = answer::refused(refused.code);
        Ok(Some(refuse(&refused, reply)))
    };
    let credential = match presented {
        Presented::None => return unauthenticated(false),
        Presented::Faulty | Presented::Many => return unauthenticated(true),
        Presented::One(credential) => credential,
    };
    let Some((demands, workspace)) = &demands else {
        log::warn!(
            "forward-auth: the question has other parameters than catalog, scope and workspace, or unknown values; \
             check the proxy's configuration (in a Caddyfile, end the uri with ? to keep the client's query out)"
        );
        return unsafe_request();
    };
    let original = Original::of(head, proxy, call.trust.trusts(head.peer));
    if demands.catalog.is_some() && !original.is_judgeable() {
        log::warn!(
            "forward-auth: the original request is missing, doubled or unreadable; check the proxy's headers"
        );
        return unsafe_request();
    }
    let question = Question {
        scopes: demands.scopes.iter().map(String::as_str).collect(),
        catalog: demands.catalog.as_deref(),
        // A method that nobody tells could be any: a read-only key is then refused.
        method: Some(original.method.unwrap_or("")),
        path: original.path.filter(|_| demands.catalog.is_some()),
        host: original.host,
        address: call.trust.client_address(head),
        workspace: *workspace,
        header: Some(credential.header),
        cost: 1,
    };
    let told = |verdict: &Verdict<'_>| match Refused::of(verdict, &question) {
        None => answer::allowed(verdict),
        Some(refused) => {
            let reply = answer::refusal(&refused, verdict.rate, proxy == Proxy::Nginx);
            refuse(&refused, reply)
        }
    };
    if call.may_wait {
        return verify_blocking(call.app, credential.secret, &question, None, told).map(Some);
    }
    match verify(call.app, credential.secret, &question, None, told) {
        Outcome::Done(reply) => Ok(Some(reply)),
        Outcome::MustWait => Ok(None),
    }
}

/// A refusal in the words of the catalog's dialect, if it has some. nginx keeps the body of an answer to itself but can
/// read its headers, so it is told there once more.
fn worded(
    call: &Call<'_>,
    proxy: Proxy,
    catalog: Option<&str>,
    refused: &Refused<'_>,
    reply: Reply,
) -> Reply {
    let Some(words) = catalog.and_then(|name| call.refusals(name)) else {
        return reply;
    };
    let reply = (words.word)(refused, reply);
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if proxy == Proxy::Nginx && text.len() <= BODY_HEADER_BYTES_MAX {
        return reply.with("x-auth-body", &text);
    }
    reply
}

/// The demands, and the workspace that they name. `None` if they cannot be understood: then nothing is allowed.
fn demands(call: &Call<'_>, proxy: Proxy) -> Option<(Demands, Option<Uid>)> {
    let demands = match proxy {
        Proxy::Envoy => {
            Demands::from_headers(&call.request.head, call.trust.trusts(call.request.peer))?
        }
        Proxy::Forwarding | Proxy::Nginx => Demands::from_query(call.request.query())?,
    };
    if demands == Demands::default() {
        warn_once(
            &NO_DEMANDS,
            "forward-auth: a question demands nothing, so every valid key of every workspace is let in, management keys too; \
             add ?catalog=, &scope= or &workspace= to the address that the proxy asks",
        );
        return Some((demands, None));
    }
    if demands.catalog.is_none() && demands.workspace.is_none() {
        warn_once(
            &ONLY_SCOPES,
            "forward-auth: a question demands a scope without a catalog or a workspace, so a key with a scope of this name from \
             any workspace is let in; add &catalog= and &workspace= to the address that the proxy asks",
        );
    }
    let directory = call.app.index.directory();
    if let Some(name) = &demands.catalog {
        directory.catalog(name)?;
    }
    let workspace = match &demands.workspace {
        None => None,
        Some(text) => Some(directory.find_place(text)?.workspace.uid),
    };
    Some((demands, workspace))
}

/// Whether the log has said that a question demands nothing.
static NO_DEMANDS: AtomicBool = AtomicBool::new(false);
/// Whether the log has said that a question demands scopes of any workspace.
static ONLY_SCOPES: AtomicBool = AtomicBool::new(false);

/// Writes a warning to the log, the first time in the life of the process.
fn warn_once(warned: &AtomicBool, text: &str) {
    if !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed) {
        log::warn!("{text}");
    }
}

impl Demands {
    /// `?catalog=…&scope=…&workspace=…`; scopes are separated by commas or blanks.
    fn from_query(query: &str) -> Option<Demands> {
        if query.is_empty() {
            return Some(Demands::default());
        }
        let mut query = Query::parse(query).ok()?;
        let demands = Demands {
            catalog: query.take("catalog"),
            scopes: words(query.take("scope").as_deref())?,
            workspace: query.take("workspace"),
        };
        query.finish().ok()?;
        demands.says_something().then_some(demands)
    }

    /// Envoy's query is the original request's, so its demands are headers that Envoy adds by itself. From anybody
    /// else they would be the client's own words.
    fn from_headers(head: &Head, trusted: bool) -> Option<Demands> {
        let header = |name: &str| head.header(name).ok();
        let demands = Demands {
            catalog: header("x-latchkey-catalog")?.map(str::to_owned),
            scopes: words(header("x-latchkey-scope")?)?,
            workspace: header("x-latchkey-workspace")?.map(str::to_owned),
        };
        let believed = trusted || demands == Demands::default();
        (believed && demands.says_something()).then_some(demands)
    }

    /// A name that is there but empty is a variable that somebody forgot to fill, and no demand of less.
    fn says_something(&self) -> bool {
        [&self.catalog, &self.workspace]
            .iter()
            .all(|name| name.as_deref() != Some(""))
    }
}

/// The words of a demand; `None` if it is there but has none.
fn words(text: Option<&str>) -> Option<Vec<String>> {
    let Some(text) = text else {
        return Some(Vec::new());
    };
    let words: Vec<String> = text
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Errors of this surface are refusals too; a proxy denies on every one of these.
fn render(err: &Error, _: &Head) -> Reply {
    match err {
        Error::LocalHeaderMissing | Error::Unauthenticated => answer::unauthenticated(true),
        Error::NotFound(_) => Reply::new(404),
        Error::MethodNotAllowed { allow } => Reply::new(405).with("allow", allow),
        Error::TooMany { retry_after_s } => {
            Reply::new(429).with("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable(_) => Reply::new(503).with("retry-after", "5"),
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Invalid { .. }
        | Error::Malformed(_)
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::UnsupportedMediaType(_) => answer::refused(Detail::UnsafeRequest.as_str()),
        Error::Internal(_) => Reply::new(500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_that_cannot_be_understood_are_no_demands_at_all() {
        let read =
            Demands::from_query("catalog=billing&scope=a:read,b:read&workspace=emea").unwrap();
        assert_eq!(read.scopes, ["a:read", "b:read"]);
        assert_eq!(Demands::from_query("scope=a+b").unwrap().scopes, ["a", "b"]);
        for bad in [
            "catalogue=x",
            "catalog=x&catalog=y",
            "scope=%zz",
            "scope=",
            "scope",
            "scope=,+",
            "catalog=",
            "workspace=",
            "catalog=x&scope=&workspace=y",
        ] {
            assert_eq!(Demands::from_query(bad), None, "{bad}");
        }
    }
}
