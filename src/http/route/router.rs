//! From a request to its route, its caller and its handler.

use super::{Access, BODY_BYTES_MAX, Call, Handler, QueryRule, Route, Surface};
use crate::domain::policy::CredentialHeader;
use crate::error::{Error, Result};
use crate::http::client::{self, Trust};
use crate::http::credential::{self, Presented};
use crate::http::query::{self, Query};
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http::server::{Answerer, BodyRule, Fault, FaultWords, Lane, Plan, Service};
use crate::ops::App;
use crate::ops::access::{self, Caller};
use std::sync::Arc;

/// All surfaces together.
pub struct Router {
    app: Arc<App>,
    trust: Trust,
    surfaces: &'static [&'static Surface],
}

/// Where a path leads.
enum Found {
    Route(&'static Route),
    /// The path is known with other methods.
    OtherMethods(String),
    Nothing,
}

impl Router {
    /// `surfaces`: the first one words the errors of paths that belong to none.
    pub fn new(app: Arc<App>, trust: Trust, surfaces: &'static [&'static Surface]) -> Router {
        Router {
            app,
            trust,
            surfaces,
        }
    }

    /// What the server runs.
    pub fn service(self) -> Service {
        let router = Arc::new(self);
        let (planner, answerer) = (router.clone(), router.clone());
        let answer: Answerer = Box::new(move |request, lane| answerer.answer(request, lane));
        let fault: FaultWords = Box::new(move |fault, head| router.fault(fault, head));
        Service {
            plan: Box::new(move |head| planner.plan(head)),
            answer,
            fault,
        }
    }

    fn plan(&self, head: &Head) -> Plan {
        let (surface, below) = self.surface(head.path());
        match find(surface, &head.method, below) {
            Found::Route(route) => Plan {
                lane: match route.handler {
                    Handler::Blocking(_) => Lane::Blocking,
                    Handler::Inline(_) => Lane::Inline,
                },
                body: self.body_rule(route, head),
            },
            // Nothing of the body will be looked at, but what may follow it on the connection is still wanted.
            Found::OtherMethods(_) | Found::Nothing => Plan {
                lane: Lane::Inline,
                body: BodyRule::UpTo(BODY_BYTES_MAX),
            },
        }
    }

    /// A body beyond the usual is read only for somebody who will be let in, as far as memory tells. Whoever cannot
    /// be judged without waiting is told that the body is too large.
    fn body_rule(&self, route: &Route, head: &Head) -> BodyRule {
        match route.body {
            BodyRule::UpTo(limit)
                if limit > BODY_BYTES_MAX && !self.foresees_caller(route, head) =>
            {
                BodyRule::UpTo(BODY_BYTES_MAX)
            }
            rule => rule,
        }
    }

    /// Whether the route will find a caller. Spends nothing of what the credential may spend.
    fn foresees_caller(&self, route: &Route, head: &Head) -> bool {
        match credential::read(head, &self.app.index.directory().named_headers()) {
            Presented::Faulty | Presented::Many => false,
            Presented::None => self.without_credential(route.access, head).is_ok(),
            Presented::One(credential) => access::foresees(
                &self.app,
                credential.secret,
                credential.header,
                self.trust.client_address(head),
            ),
        }
    }

    fn answer(&self, request: &Request, lane: Lane) -> Option<Reply> {
        let (surface, below) = self.surface(request.path());
        let reply = match self.route(surface, below, request, lane) {
            Ok(None) => return None,
            Ok(Some(reply)) => reply,
            Err(err) => {
                if let Error::Internal(cause) = &err {
                    log::error!("{} request {}: {cause}", surface.name, request.id);
                }
                (surface.render_error)(&err, request)
            }
        };
        Some(self.with_cors(request, reply))
    }

    fn route(
        &self,
        surface: &'static Surface,
        below: &str,
        request: &Request,
        lane: Lane,
    ) -> Result<Option<Reply>> {
        if surface.checks_host && !self.trust.answers_for(request) {
            return Err(Error::Misdirected);
        }
        let route = match find(surface, &request.method, below) {
            Found::Route(route) => route,
            Found::OtherMethods(allow)
                if request.method == "OPTIONS" && self.cors_origin(request).is_some() =>
            {
                return Ok(Some(preflight(&allow)));
            }
            Found::OtherMethods(allow) => return Err(Error::MethodNotAllowed { allow }),
            Found::Nothing => return Err(Error::NotFound("path")),
        };
        let may_wait = lane == Lane::Blocking;
        let (secret, caller) = match self.authenticate(route.access, request, may_wait)? {
            Authenticated::As(secret, caller) => (secret, caller),
            Authenticated::MustWait => return Ok(None),
        };
        let params = params(route.path, below).ok_or(Error::NotFound("path"))?;
        if route.query == QueryRule::Refused {
            Query::parse(request.query())?.finish()?;
        }
        let call = Call {
            app: &self.app,
            trust: &self.trust,
            request,
            caller,
            secret,
            may_wait,
            params,
        };
        match route.handler {
            Handler::Blocking(handler) => handler(&call).map(Some),
            Handler::Inline(handler) => handler(&call),
        }
    }

    fn authenticate<'a>(
        &self,
        access: Access,
        request: &'a Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        if access == Access::Public {
            return Ok(Authenticated::As(None, None));
        }
        let headers = self.app.index.directory().named_headers();
        match credential::read(request, &headers) {
            Presented::Faulty => Err(Error::Unauthenticated),
            Presented::Many => Err(Error::Malformed(
                "there is more than one credential in the request; send one".to_owned(),
            )),
            Presented::None => self.without_credential(access, request),
            Presented::One(credential) => {
                self.with_credential(credential.secret, credential.header, request, may_wait)
            }
        }
    }

    /// What a proxy passes on came from somewhere else, whatever the connection says.
    fn without_credential<'a>(&self, access: Access, head: &'a Head) -> Result<Authenticated<'a>> {
        if let Some(uid) = self.trust.administrator(head) {
            let caller = Caller::local(&self.app, uid, self.trust.origin(head))?;
            return Ok(Authenticated::As(None, Some(caller)));
        }
        let may_ask = access == Access::Verifier && self.trust.verify_from_loopback;
        if may_ask && head.peer.is_on_this_machine() && !client::is_forwarded(head) {
            return Ok(Authenticated::As(None, None));
        }
        Err(Error::Unauthenticated)
    }

    fn with_credential<'a>(
        &self,
        secret: &'a str,
        header: CredentialHeader,
        request: &Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        let origin = self.trust.origin(request);
        match access::authenticate(&self.app, secret, header, origin, may_wait)? {
            Some(caller) => Ok(Authenticated::As(Some(secret), Some(caller))),
            None => Ok(Authenticated::MustWait),
        }
    }

    /// The surface of a path, and the rest of the path below its mount.
    fn surface<'p>(&self, path: &'p str) -> (&'static Surface, &'p str) {
        let mut best = (self.surfaces[0], path);
        let mut longest = 0;
        for surface in self.surfaces {
            if let Some(below) = path.strip_prefix(surface.mount)
                && (below.is_empty() || below.starts_with('/'))
                && surface.mount.len() >= longest
            {
                longest = surface.mount.len();
                best = (*surface, below);
            }
        }
        best
    }

    fn fault(&self, fault: Fault, head: &Head) -> Reply {
        let render = self.surface(head.path()).0.render_error;
        match fault {
            Fault::BadFraming(why) => render(&Error::Malformed(why.to_owned()), head),
            Fault::BodyTimeout => with_status(
                render(
                    &Error::Malformed("the body did not arrive in time".to_owned()),
                    head,
                ),
                408,
            ),
            Fault::Busy => render(
                &Error::Unavailable("too many requests are waiting; try again".to_owned()),
                head,
            ),
            Fault::ExpectationFailed => with_status(
                render(
                    &Error::Malformed("only Expect: 100-continue is understood".to_owned()),
                    head,
                ),
                417,
            ),
            Fault::Panicked => render(&Error::internal("a handler panicked"), head),
            Fault::TooLarge { limit_bytes } => render(&Error::TooLarge { limit_bytes }, head),
        }
    }

    fn cors_origin<'h>(&self, head: &'h Head) -> Option<&'h str> {
        let origin = head.header("origin").ok().flatten()?;
        self.trust
            .cors_origins
            .iter()
            .any(|known| known == origin)
            .then_some(origin)
    }

    fn with_cors(&self, head: &Head, reply: Reply) -> Reply {
        match self.cors_origin(head) {
            Some(origin) => reply
                .with("access-control-allow-origin", origin)
                .also("vary", "Origin"),
            None => reply,
        }
    }
}

enum Authenticated<'a> {
    As(Option<&'a str>, Option<Caller>),
    MustWait,
}

fn with_status(mut reply: Reply, status: u16) -> Reply {
    reply.status = status;
    reply
}

fn preflight(allow: &str) -> Reply {
    Reply::new(204)
        .with("access-control-allow-methods", allow)
        .with(
            "access-control-allow-headers",
            "Authorization, Content-Type, Idempotency-Key, X-API-Key",
        )
        .with("access-control-max-age", "600")
}

/// A path that a table spells out belongs to those lines alone: `/keys/identify` is no `/keys/{id}`.
fn find(surface: &'static Surface, method: &http::Method, below: &str) -> Found {
    let spelt_out = |route: &&Route| !route.path.contains('{') && fits(route.path, below);
    let only = surface
        .routes
        .iter()
        .find(spelt_out)
        .map(|route| route.path);
    let mut others: Vec<&str> = Vec::new();
    for route in surface.routes {
        if only.is_some_and(|only| only != route.path) || !fits(route.path, below) {
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
fn params(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
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
