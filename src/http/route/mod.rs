//! Routes as data, and the way from a request to its handler.
//!
//! A dialect exports one [`Surface`]. Read together, the tables are the server's table of contents.

mod table;

use crate::domain::policy::CredentialHeader;
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::credential::{self, Presented};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Head, Peer, Request};
use crate::http::server::{Answerer, BodyRule, Fault, FaultWords, Lane, Plan, Service};
use crate::ops::App;
use crate::ops::access::{self, Caller};
use std::sync::Arc;
pub use table::{
    Access, BODY_BYTES_MAX, Handler, QueryRule, Route, Surface, delete, get, inline, patch, post,
    put, strict,
};
use table::{Found, find, params};

/// One request on its way through a handler.
pub struct Call<'a> {
    pub app: &'a App,
    pub trust: &'a Trust,
    pub request: &'a Request,
    /// `None` on public routes and for verifications from loopback.
    caller: Option<Caller>,
    /// The secret that the caller came with.
    pub secret: Option<&'a str>,
    pub may_wait: bool,
    params: Vec<(&'static str, String)>,
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

    /// The decoded query.
    pub fn query(&self) -> Result<Query> {
        Query::parse(self.request.query())
    }
}

/// All surfaces together.
pub struct Router {
    app: Arc<App>,
    trust: Trust,
    surfaces: &'static [&'static Surface],
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
                body: route.body,
            },
            // Nothing of the body will be looked at, but what may follow it on the connection is still wanted.
            Found::OtherMethods(_) | Found::Nothing => Plan {
                lane: Lane::Inline,
                body: BodyRule::UpTo(BODY_BYTES_MAX),
            },
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

    fn without_credential<'a>(
        &self,
        access: Access,
        request: &'a Request,
    ) -> Result<Authenticated<'a>> {
        match request.peer {
            Peer::Unix { uid } => {
                let caller = Caller::local(&self.app, uid, self.trust.origin(request))?;
                Ok(Authenticated::As(None, Some(caller)))
            }
            Peer::Tcp { peer, .. }
                if access == Access::Verifier
                    && self.trust.verify_from_loopback
                    && peer.ip().to_canonical().is_loopback()
                    && !request.headers.contains_key("x-forwarded-for") =>
            {
                Ok(Authenticated::As(None, None))
            }
            Peer::Tcp { .. } => Err(Error::Unauthenticated),
        }
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
