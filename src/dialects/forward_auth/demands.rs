//! The requirements that the administrator of a proxy has configured for the requests that it asks about.

use super::{Proxy, gateway};
use crate::domain::policies::definition::may_hold_a_key;
use crate::domain::uid::Uid;
use crate::http::headers::is_token_byte;
use crate::http::query::{self, Query};
use crate::http::request::Head;
use crate::http::route::Call;
use std::sync::atomic::{AtomicBool, Ordering};

/// The parameters of the proxy's request.
const PARAMETERS: [&str; 5] = ["catalog", "header", "preflight", "scope", "workspace"];

/// The similarity (Jaro-Winkler) from which on a word counts as a misspelling of another.
const ALIKE: f64 = 0.8;

/// The requirements of the proxy's configuration, in addition to a valid key.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Demands {
    pub catalog: Option<String>,
    /// Whether a client may have written these requirements. They can extend access: a catalog decides what writes, and
    /// a workspace decides which roles of the owner count. So the request must also be allowed without any of them.
    pub doubtful: bool,
    /// The only header that may contain the key; all other headers belong to the application.
    pub header: Option<String>,
    /// Whether CORS preflights pass without a key.
    pub preflight: bool,
    pub scopes: Vec<String>,
    pub workspace: Option<String>,
}

/// The requirements, and the workspace that they name. `None` if they are invalid: in that case every request is
/// refused.
pub fn read(call: &Call<'_>, proxy: Proxy) -> Option<(Demands, Option<Uid>)> {
    let head = &call.request.head;
    let trusted = call.trust.trusts(head.peer);
    let demands = match proxy {
        Proxy::Envoy => Demands::from_headers(head, trusted)?,
        Proxy::Caddy => Demands::from_caddy(head, call.request.query(), trusted)?,
        Proxy::Forwarding | Proxy::Nginx | Proxy::NginxUrl => {
            Demands::from_query(call.request.query())?
        }
        Proxy::Gateway | Proxy::GatewayNginx => gateway::Question::of(head)?.demands()?,
    };
    if !demands.limits_keys() {
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

/// Whether the server has logged that a proxy sends no requirements.
static NO_DEMANDS: AtomicBool = AtomicBool::new(false);
/// Whether the server has logged that a proxy requires scopes without a catalog or workspace.
static ONLY_SCOPES: AtomicBool = AtomicBool::new(false);
/// Whether the server has logged that Caddy adds the client's query to its own request.
static CLIENTS_QUERY: AtomicBool = AtomicBool::new(false);

/// Logs a warning, but only once in the life of the process.
fn warn_once(warned: &AtomicBool, text: &str) {
    if !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed) {
        log::warn!("{text}");
    }
}

impl Demands {
    /// Parses `?catalog=…&scope=…&workspace=…&header=…&preflight=true`; commas or blanks separate scopes.
    fn from_query(query: &str) -> Option<Demands> {
        if query.is_empty() {
            return Some(Demands::default());
        }
        let mut query = Query::parse(query).ok()?;
        let header = query.take("header").map(|name| name.to_ascii_lowercase());
        let demands = Demands {
            catalog: query.take("catalog"),
            doubtful: false,
            header,
            preflight: match query.take("preflight").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return None,
            },
            scopes: words(query.take("scope").as_deref())?,
            workspace: query.take("workspace"),
        };
        query.finish().ok()?;
        demands.makes_sense().then_some(demands)
    }

    /// If the `uri` in the administrator's configuration has no `?`, Caddy appends the query of the client. This server
    /// cannot know for certain which of the two a query is. It is certainly not the client's if a trusted proxy reports
    /// another query in `X-Forwarded-Uri`, byte for byte. Otherwise:
    ///
    /// - Requirements apply, because a client must not be able to disable the administrator's `?catalog=billing` by
    ///   sending the same query. They are doubtful: the request must also be allowed without them.
    /// - Parameters that only extend access (`header`, `preflight`) are refused.
    /// - A query in which no name equals or resembles one of the parameters is the client's, and requires nothing.
    fn from_caddy(head: &Head, query: &str, trusted: bool) -> Option<Demands> {
        let demands = Demands::from_query(query);
        // A peer that is not a trusted proxy may not be Caddy, so its header proves nothing.
        let uri = head.header("x-forwarded-uri").ok().flatten();
        let clients = uri
            .filter(|_| trusted)
            .map(|uri| uri.split_once('?').map_or("", |(_, query)| query));
        if query.is_empty() || clients.is_some_and(|clients| clients != query) {
            return demands;
        }
        if let Some(demands) = demands.filter(|demands| !is_lenient(demands)) {
            return Some(Demands {
                doubtful: demands.limits_keys(),
                ..demands
            });
        }
        clients?;
        let pairs = query::pairs(query).ok();
        let may_be_ours = pairs.is_none_or(|pairs| pairs.iter().any(|(name, _)| resembles(name)));
        if may_be_ours {
            return None;
        }
        warn_once(
            &CLIENTS_QUERY,
            "forward-auth: Caddy adds the client's query to its question, which therefore cannot demand anything; in the \
             Caddyfile, write the uri of forward_auth with a question mark, such as /auth/caddy?workspace=root",
        );
        Some(Demands::default())
    }

    /// Reads the requirements for Envoy from headers that Envoy adds, because its query is that of the original
    /// request. From any other peer they could come from the client. These headers cannot extend access: a proxy that
    /// forwards headers with such names would let its clients set them.
    fn from_headers(head: &Head, trusted: bool) -> Option<Demands> {
        let lenient = ["x-latchkey-header", "x-latchkey-preflight"];
        if lenient.iter().any(|name| head.headers.contains(name)) {
            return None;
        }
        let header = |name: &str| head.header(name).ok();
        let demands = Demands {
            catalog: header("x-latchkey-catalog")?.map(str::to_owned),
            scopes: words(header("x-latchkey-scope")?)?,
            workspace: header("x-latchkey-workspace")?.map(str::to_owned),
            ..Demands::default()
        };
        let believed = trusted || demands == Demands::default();
        (believed && demands.makes_sense()).then_some(demands)
    }

    /// An empty name comes from a variable without a value, and does not mean that there is no requirement. A header
    /// that no policy can name never contains a key.
    pub fn makes_sense(&self) -> bool {
        let named = [&self.catalog, &self.workspace]
            .iter()
            .all(|name| name.as_deref() != Some(""));
        let header = self.header.as_deref();
        named && header.is_none_or(|name| name == "authorization" || may_hold_a_key(name))
    }

    /// Whether the requirements exclude any valid key.
    fn limits_keys(&self) -> bool {
        self.catalog.is_some() || self.workspace.is_some() || !self.scopes.is_empty()
    }
}

/// Whether the requirements contain a parameter that only extends access.
fn is_lenient(demands: &Demands) -> bool {
    demands.header.is_some() || demands.preflight
}

/// Whether a name is one of the parameters or a misspelling of one.
fn resembles(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    PARAMETERS
        .iter()
        .any(|known| strsim::jaro_winkler(&name, known) >= ALIKE)
}

/// The words of a parameter; `None` if the parameter is present but has no words.
pub fn words(text: Option<&str>) -> Option<Vec<String>> {
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

/// The headers with which many frameworks let a request replace its own method. No browser sends one with a preflight.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// The method of the request for which a browser asks permission, if the original request can be such a preflight
/// (Fetch standard, "CORS-preflight request"). A request that replaces its own method is none, because the application
/// could run it with that method.
pub fn preflight<'a>(head: &'a Head, original: Option<&str>) -> Option<&'a str> {
    let one = |name: &str| head.header(name).ok().flatten();
    let origin = one("origin").filter(|origin| !origin.is_empty());
    let method = one("access-control-request-method")
        .filter(|method| !method.is_empty() && method.bytes().all(is_token_byte));
    let replaced = METHOD_OVERRIDES
        .iter()
        .any(|name| head.headers.contains(name));
    method.filter(|_| origin.is_some() && original == Some("OPTIONS") && !replaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Method, Peer, RequestId};

    #[test]
    fn demands_that_cannot_be_understood_are_no_demands_at_all() {
        let read = Demands::from_query(
            "catalog=billing&scope=a:read,b:read&workspace=emea&header=X-Api-Key&preflight=true",
        )
        .unwrap();
        assert_eq!(read.scopes, ["a:read", "b:read"]);
        assert_eq!(read.header.as_deref(), Some("x-api-key"));
        assert!(read.preflight);
        assert_eq!(Demands::from_query("scope=a+b").unwrap().scopes, ["a", "b"]);
        assert!(!Demands::from_query("preflight=false").unwrap().preflight);
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
            "preflight",
            "preflight=",
            "preflight=1",
            "preflight=TRUE",
            "preflight=true&preflight=true",
            "header=",
            "header=cookie",
            "header=x-forwarded-for",
            "header=x_api_key",
            "header=x-api-key,authorization",
            "header=x-a&header=x-b",
        ] {
            assert_eq!(Demands::from_query(bad), None, "{bad}");
        }
    }

    #[track_caller]
    fn caddy(query: &str, uri: Option<&str>, expected: Option<&Demands>) {
        let headers: Vec<(&str, &str)> = uri
            .map(|uri| ("x-forwarded-uri", uri))
            .into_iter()
            .collect();
        let head = Head {
            method: Method::GET,
            target: "/".parse().unwrap(),
            is_http_11: true,
            headers: headers.into_iter().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let read = Demands::from_caddy(&head, query, true);
        assert_eq!(read.as_ref(), expected, "{query} {uri:?}");
        // The header of a peer that is not trusted proves nothing.
        let untrusted = Demands::from_caddy(&head, query, false);
        if let Some(demands) = untrusted.filter(Demands::limits_keys) {
            assert!(demands.doubtful, "{query} {uri:?}");
        }
        if uri.is_some_and(|uri| uri.ends_with(query)) && Demands::from_query(query).is_none() {
            assert_eq!(
                Demands::from_caddy(&head, query, false),
                None,
                "{query} {uri:?}"
            );
        }
    }

    #[test]
    fn a_client_of_caddy_neither_takes_demands_away_nor_lets_more_through() {
        let nothing = Demands::default();
        let billing = Demands {
            catalog: Some("billing".to_owned()),
            ..Demands::default()
        };
        let lenient = Demands {
            preflight: true,
            ..Demands::default()
        };
        let doubtful = Demands {
            catalog: Some("billing".to_owned()),
            doubtful: true,
            ..Demands::default()
        };
        // This is the administrator's own query, independently of the client's.
        for uri in ["/a?page=2", "/a", "/a?", "/a?catalog=billing&"] {
            caddy("catalog=billing", Some(uri), Some(&billing));
        }
        // Either of the two may have written this query.
        caddy(
            "catalog=billing",
            Some("/a?catalog=billing"),
            Some(&doubtful),
        );
        caddy("catalog=billing", None, Some(&doubtful));
        caddy("preflight=true", Some("/a?page=2"), Some(&lenient));
        caddy("preflight=true", Some("/a"), Some(&lenient));
        caddy("", Some("/a?catalog=other"), Some(&nothing));
        // This is the client's query, which Caddy has added.
        caddy("page=2", Some("/a?page=2"), Some(&nothing));
        caddy(
            "page=2&page=3&x",
            Some("/a?page=2&page=3&x"),
            Some(&nothing),
        );
        for injected in [
            "preflight=true",
            "%70reflight=true",
            "header=x-api-key",
            "page=2&preflight=true",
            "catalog=billing&header=x-api-key",
            "catalog=billing&page=2",
            "catalogue=billing",
            "Catalog=billing",
            "workspaces=root",
            "scopes=a",
            "catalog=",
            "page=%zz",
            "page=%ff",
        ] {
            caddy(injected, Some(&format!("/a?{injected}")), None);
        }
        // A query that is not the client's is the administrator's, and it is wrong.
        caddy("page=2", Some("/a?page=3"), None);
        caddy("page=2", Some("/a"), None);
        caddy("page=2", None, None);
        caddy("preflight=true", None, None);
    }

    #[test]
    fn a_request_that_replaces_its_own_method_is_no_preflight() {
        let asked = [
            ("origin", "https://web.example"),
            ("access-control-request-method", "GET"),
        ];
        let read = |more: &[(&'static str, &'static str)]| {
            let head = Head {
                method: Method::OPTIONS,
                target: "/".parse().unwrap(),
                is_http_11: true,
                headers: asked.iter().chain(more).copied().collect(),
                peer: Peer::Unix { uid: 0 },
                id: RequestId::new(0, 0),
            };
            preflight(&head, Some("OPTIONS")).map(str::to_owned)
        };
        assert_eq!(read(&[]).as_deref(), Some("GET"));
        for name in METHOD_OVERRIDES {
            for value in ["DELETE", "OPTIONS", ""] {
                assert_eq!(read(&[(name, value)]), None, "{name}: {value}");
            }
        }
    }
}
