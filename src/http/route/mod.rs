//! Routes as data, and what a handler is given. The way from a request to its handler is in `router`.
//!
//! A dialect exports one [`Surface`]. Read together, the tables are the server's table of contents.

mod mounts;
mod refused;
mod router;
mod section;
mod taking;

pub use mounts::Mounts;
pub use refused::{CatalogWords, Refused, judge};
pub use router::Router;
pub use section::Section;
pub use taking::{Takes, disables, ends_keys, leaves_only_roles, patches_off};

use crate::domain::people::permission::Permission;
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http::server::BodyRule;
use crate::ops::App;
use crate::ops::access::Caller;

/// Body of a verification or a management request: 64 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Body of an import, a catalog or a restore: 64 MiB.
pub const IMPORT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One way in: a dialect under its mount.
pub struct Surface {
    /// For logs, and for settings that place a movable one.
    pub name: &'static str,
    /// The start of all its paths; the longest one that fits a path takes it. Empty: it takes only paths that it has.
    pub mount: &'static str,
    /// Whether the configuration may put it elsewhere, or nowhere.
    pub movable: bool,
    pub routes: &'static [Route],
    /// Whether requests for a host that this server does not answer for are refused; a host that the surface is
    /// mounted at is answered for.
    pub checks_host: bool,
    pub render_error: fn(&Error, &Head) -> Reply,
    /// Words what HTTP itself forbids, with the status that says so: 400, 405, 408, 414, 417, 431 or 505. Of the head
    /// nothing is certain but what chose the surface.
    pub render_fault: fn(u16, &str, &Head) -> Reply,
    /// Where the surface finds callers in a way of its own: the caller that it will find.
    pub foresees: Option<Foresees>,
    /// Its own words for refusals that a proxy passes on to clients of one catalog.
    pub refusals: Option<CatalogWords>,
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
    pub takes: Takes,
    /// What the caller must be permitted on the root workspace for a body beyond the usual to be read.
    pub large_for: Option<Permission>,
    pub handler: Handler,
}

/// The caller that a request will find, according to the index alone. Spends nothing and notes nothing.
pub type Foresees = fn(&App, &Trust, &Head) -> Option<Caller>;

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
    /// Whoever presents a credential of this server, or is its administrator on the Unix socket.
    Caller,
    /// As `Caller`; and without a credential from this machine, or on the address that is there for figures alone.
    Machine,
    Public,
    /// As `Caller`; and from this machine without a credential, where the configuration allows it.
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

/// One request on its way through a handler.
pub struct Call<'a> {
    pub app: &'a App,
    pub trust: &'a Trust,
    pub request: &'a Request,
    /// `None` on public routes and for verifications from this machine.
    caller: Option<Caller>,
    /// The secret that the caller came with.
    pub secret: Option<&'a str>,
    pub may_wait: bool,
    /// The request only takes something away.
    pub takes_away: bool,
    /// The rest of the path, below the mount, as it was sent.
    pub below: &'a str,
    params: Vec<(&'static str, String)>,
    surfaces: &'static [&'static Surface],
    /// The words of the console's pages about the keys of one system each.
    pub sections: &'static [&'static Section],
}

impl<'a> Call<'a> {
    /// The caller of a route that has one.
    pub fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or(Error::Unauthenticated)
    }

    /// The caller, on routes that need none.
    pub fn optional_caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The decoded segment that stands for `{name}`.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// The words for refusals of keys of a catalog, if a surface has some of its own.
    pub fn refusals(&self, catalog: &str) -> Option<&'static CatalogWords> {
        self.surfaces
            .iter()
            .filter_map(|surface| surface.refusals.as_ref())
            .find(|words| words.catalog == catalog)
    }

    /// The decoded query.
    pub fn query(&self) -> Result<Query> {
        Query::parse(self.request.query())
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

/// `DELETE`, on a blocking thread: it takes something away.
pub const fn delete(
    path: &'static str,
    access: Access,
    handler: fn(&Call<'_>) -> Result<Reply>,
) -> Route {
    blocking("DELETE", path, access, handler).takes_away()
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
        takes: Takes::Never,
        large_for: None,
        handler: Handler::Inline(handler),
    }
}

impl Route {
    /// The same route, for bodies of up to 64 MiB from callers who have the permission on the root workspace.
    pub const fn large(mut self, permission: Permission) -> Route {
        self.body = BodyRule::UpTo(IMPORT_BYTES_MAX);
        self.large_for = Some(permission);
        self
    }

    /// The same route, whose requests only take something away.
    pub const fn takes_away(mut self) -> Route {
        self.takes = Takes::Always;
        self
    }

    /// The same route, some of whose requests only take something away.
    pub const fn takes_away_if(mut self, decide: fn(&App, &Request, &str) -> bool) -> Route {
        self.takes = Takes::If(decide);
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
        large_for: None,
        handler: Handler::Blocking(handler),
    }
}
