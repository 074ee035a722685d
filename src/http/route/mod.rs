//! Routes as data, and the input of handlers. `router` dispatches a request to its handler.
//!
//! Each dialect exports one [`Surface`]. Together, the route tables list everything that the server offers over HTTP.
//!
//! A route declares which callers, bodies and threads it takes, and its caller is known before the handler runs.

mod mounts;
mod refused;
mod router;
mod taking;
mod waiting;

pub use mounts::{Mounts, methods};
pub use refused::{CatalogWords, RefusedRequest, judge};
pub use router::Router;
pub use taking::{Takes, disables, ends_keys, leaves_only_roles, patches_off};
pub use waiting::Waits;

use crate::authz::caller::Caller;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::describe::Document;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http1::BodyRule;
use crate::ops::App;

/// The maximum body of a verification or a management request: 64 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The maximum body of an import, a catalog or a restore: 64 MiB.
pub const IMPORT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One HTTP API: a dialect and its mount.
pub struct Surface {
    /// For logs, and for the setting that mounts a movable surface.
    pub name: &'static str,
    /// The start of all its paths; the surface with the longest matching mount receives the request. If it is empty,
    /// the surface receives only the paths of its own routes.
    pub mount: &'static str,
    /// Whether the configuration may mount it at another path or switch it off.
    pub movable: bool,
    pub routes: &'static [Route],
    /// Whether requests for a host that this server does not serve are refused.
    pub checks_host: bool,
    pub render_error: fn(&Error, &Head) -> Reply,
    /// Renders the errors of HTTP itself, with the status: 400, 405, 408, 414, 417, 431 or 505. Of the head only those
    /// parts are certain that selected the surface.
    pub render_fault: fn(u16, &str, &Head) -> Reply,
    /// For a surface with its own authentication: predicts the caller of a request.
    pub would_authenticate: Option<WouldAuthenticate>,
    /// The dialect's own texts for refusals of one catalog, which a proxy passes on to clients.
    pub refusals: Option<CatalogWords>,
    /// For a surface whose answers name its own paths: how the answers are changed if it is below a prefix.
    pub moved: Option<Moved>,
    /// Adds the operations of the surface to the description of this server; `None` for the formats of other systems.
    pub describes: Option<fn(&mut Document)>,
}

/// A surface whose answers name its own paths.
#[derive(Clone, Copy)]
pub struct Moved {
    /// The surface whose mount also applies to this one, because one setting moves both.
    pub with: &'static str,
    /// Changes all of the surface's own paths in an answer to paths below a prefix, which is `/…` without a final
    /// slash.
    pub lead: fn(Reply, &str) -> Reply,
}

/// One row of a route table.
pub struct Route {
    /// `*` for any method.
    pub method: &'static str,
    /// The path below the mount; `{name}` matches one segment, a final `{name...}` matches the rest.
    pub path: &'static str,
    pub access: Access,
    pub body: BodyRule,
    pub query: QueryRule,
    pub takes: Takes,
    /// Whether its answer may wait for the sites.
    pub waits: Waits,
    /// Whether it is also open to an access token of a user who must set up a second factor before anything else.
    pub ends_sessions: bool,
    /// Whether it also answers at a node that is too far behind the database that it shares (`ops::fence`), because the answer does
    /// not depend on what was changed there.
    pub even_if_stale: bool,
    /// The permission on the root workspace that the caller needs before a body above the usual limit is read.
    pub large_for: Option<Permission>,
    /// For an endpoint whose callers may be OAuth clients, which authenticate in ways of their own (RFC 6749, section
    /// 2.3): how such a client reads an error; `None` where the request is not from one.
    pub oauth: Option<fn(&Error, &Request) -> Option<Reply>>,
    pub handler: Handler,
}

/// Predicts the caller of a request from the index alone. It consumes no quota and records nothing.
pub type WouldAuthenticate = fn(&App, &Trust, &Head) -> Option<Caller>;

/// How query parameters are treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueryRule {
    /// They are ignored.
    Free,
    /// The handler reads them, and refuses unknown ones.
    Read,
    /// The route has none, and any parameter is refused.
    Refused,
}

/// Who may call a route. `ops` decides what the caller may do there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Callers with a credential of this server, and its administrator on the Unix socket.
    Caller,
    /// Like `Caller`; also without a credential from this machine, or on the address that serves metrics only.
    Machine,
    Public,
    /// Like `Caller`; also from this machine without a credential, if the configuration allows it.
    Verifier,
}

/// A function that answers a request.
#[derive(Clone, Copy)]
pub enum Handler {
    /// May wait for the store; runs on a blocking thread.
    Blocking(fn(&Call<'_>) -> Result<Reply>),
    /// Uses memory only. `None` means that this call has to wait after all: the server calls it again on a blocking
    /// thread, with [`Call::may_wait`] set.
    Inline(fn(&Call<'_>) -> Result<Option<Reply>>),
}

/// One request, as its handler sees it.
pub struct Call<'a> {
    pub app: &'a App,
    pub trust: &'a Trust,
    pub request: &'a Request,
    /// `None` on public routes and for verifications from this machine.
    caller: Option<Caller>,
    /// The secret with which the caller authenticated.
    pub secret: Option<&'a str>,
    pub may_wait: bool,
    /// Whether the request only removes or restricts something.
    pub takes_away: bool,
    /// Whether the request may ask that its answer waits for the sites.
    waits: bool,
    /// The rest of the path, below the mount, as it was sent.
    pub below: &'a str,
    params: Vec<(&'static str, String)>,
    surfaces: &'static [&'static Surface],
}

impl<'a> Call<'a> {
    /// The caller; an error if the request has none.
    pub fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or(Error::Unauthenticated)
    }

    /// The caller, on routes that do not need one.
    pub fn optional_caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The decoded path segment of `{name}`.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    pub fn surfaces(&self) -> &'static [&'static Surface] {
        self.surfaces
    }

    /// A dialect's own texts for refusals of the keys of a catalog, if there are any.
    pub fn refusals(&self, catalog: &str) -> Option<&'static CatalogWords> {
        self.surfaces
            .iter()
            .filter_map(|surface| surface.refusals.as_ref())
            .find(|words| words.catalog == catalog)
    }

    /// The decoded query, without what the router reads itself: `wait`.
    pub fn query(&self) -> Result<Query> {
        let mut query = Query::parse(self.request.query())?;
        if self.waits {
            waiting::take(&mut query)?;
        }
        Ok(query)
    }

    /// The parameters of these names alone; see [`Query::only`].
    pub fn query_of(&self, names: &[&str]) -> Result<Query> {
        Query::only(self.request.query(), names)
    }
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

/// `DELETE`, on a blocking thread; it counts as a request that only removes something.
pub const fn delete(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("DELETE", path, access, handler).takes_away()
}

/// `OPTIONS`, on a blocking thread, for a surface that describes its paths. The router itself answers preflights of
/// browsers.
pub const fn options(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("OPTIONS", path, access, handler)
}

/// Any method, using memory only.
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
        takes: Takes::Never,
        waits: Waits::IfSet,
        ends_sessions: false,
        even_if_stale: false,
        large_for: None,
        oauth: None,
        handler: Handler::Inline(handler),
    }
}

impl Route {
    /// The same route, for bodies of up to 64 MiB from callers with the permission on the root workspace.
    pub const fn large(self, permission: Permission) -> Route {
        self.up_to(IMPORT_BYTES_MAX, permission)
    }

    /// The same route, for bodies of up to this many bytes from callers with the permission on the root workspace.
    pub const fn up_to(mut self, bytes: usize, permission: Permission) -> Route {
        self.body = BodyRule::UpTo(bytes);
        self.large_for = Some(permission);
        self
    }

    /// The same route, whose requests only remove or restrict something.
    pub const fn takes_away(mut self) -> Route {
        self.takes = Takes::Always;
        self
    }

    /// The same route, some of whose requests only remove or restrict something.
    pub const fn takes_away_if(mut self, decide: fn(&App, &Request, &str) -> bool) -> Route {
        self.takes = Takes::If(decide);
        self
    }

    /// The same route, whose answer waits for the sites if the request asks for it.
    pub const fn waits(mut self) -> Route {
        self.waits = Waits::IfAsked;
        self
    }

    /// The same, for an answer with a secret that is shown only once: it is given in any case.
    pub const fn waits_with_secret(mut self) -> Route {
        self.waits = Waits::WithSecret;
        self
    }

    /// The same route, with which users end sessions of their own, also those who must set up a second factor before
    /// anything else.
    pub const fn ends_sessions(mut self) -> Route {
        self.ends_sessions = true;
        self
    }

    /// The same route, whose callers may be OAuth clients.
    pub const fn for_oauth(mut self, words: fn(&Error, &Request) -> Option<Reply>) -> Route {
        self.oauth = Some(words);
        self
    }

    /// The same route, which answers at a node, too, that may be too far behind its database.
    pub const fn even_if_stale(mut self) -> Route {
        self.even_if_stale = true;
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
        takes: Takes::Never,
        waits: Waits::IfSet,
        ends_sessions: false,
        even_if_stale: false,
        large_for: None,
        oauth: None,
        handler: Handler::Blocking(handler),
    }
}
