//! Dispatches a request: finds its route and its caller, and runs its handler.

use super::mounts::{Found, Mounts, Table, Target, methods};
use super::{Access, BODY_BYTES_MAX, Call, Handler, QueryRule, Route, Surface, waiting};
use crate::authz::caller::{Caller, Identity};
use crate::domain::attempts::throttle::network;
use crate::domain::policies::CredentialHeader;
use crate::error::{Error, Result};
use crate::http::client::{LiveTrust, Locality};
use crate::http::credential::{self, Client, Presented};
use crate::http::query;
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http1::{Answerer, BodyRule, Class, Execution, Fault, FaultWords, Service, Turn};
use crate::ops::{App, authenticate, budgets};
use crate::refusals;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// All methods that this server supports.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// The only mount that the metrics address serves.
const FIGURES: &str = "/metrics";

/// At a site, from half of the time of its pack on: the age of the pack in seconds.
const STALE: &str = "x-auth-stale";

/// All surfaces together.
pub struct Router {
    app: Arc<App>,
    trust: LiveTrust,
    surfaces: &'static [&'static Surface],
    table: Table,
    /// Hashes the names of callers whose requests count together, so that clients cannot predict the numbers.
    hasher: RandomState,
}

impl Router {
    /// `surfaces`: the first one renders the errors for paths that belong to no surface.
    pub fn new(
        app: Arc<App>,
        trust: impl Into<LiveTrust>,
        surfaces: &'static [&'static Surface],
        mounts: &Mounts,
    ) -> Router {
        Router {
            app,
            trust: trust.into(),
            surfaces,
            table: Table::new(surfaces, mounts),
            hasher: RandomState::new(),
        }
    }

    /// The closures that the server runs.
    pub fn service(self) -> Service {
        let router = Arc::new(self);
        let [for_body, for_turn, for_answer, for_time] = std::array::from_fn(|_| router.clone());
        let answer: Answerer =
            Box::new(move |request, execution| for_answer.answer(request, execution));
        let fault: FaultWords = Box::new(move |fault, head| router.fault(fault, head));
        Service {
            body_rule: Box::new(move |head| for_body.body_rule(head)),
            turn: Box::new(move |request| for_turn.turn(request)),
            answer,
            fault,
            now: Box::new(move || for_time.app.now().wall),
        }
    }

    /// A body above the usual limit is read only for a caller who has the permission that the route needs, according to
    /// the index. A known caller without it is refused by the handler, which checks the permission before the body. If
    /// the caller cannot be determined without waiting, the body is too large.
    fn body_rule(&self, head: &Head) -> BodyRule {
        let Found {
            surface, target, ..
        } = self.table.find(head);
        let Target::Route(route) = target else {
            // The body is not needed, but it is read so that the connection can serve the next request.
            return BodyRule::UpTo(BODY_BYTES_MAX);
        };
        let Some(permission) = route.large_for else {
            return route.body;
        };
        let Some(caller) = self.predicted_caller(surface, route.access, head) else {
            return BodyRule::UpTo(BODY_BYTES_MAX);
        };
        let directory = self.app.index.directory();
        if caller.require_global(&directory, permission).is_ok() {
            return route.body;
        }
        let length = head.header("content-length").ok().flatten();
        let is_large =
            length.is_some_and(|length| length.parse().unwrap_or(u64::MAX) > BODY_BYTES_MAX as u64);
        // The console authenticates callers itself, and its forms are useless without their bodies.
        match is_large && surface.would_authenticate.is_none() {
            true => BodyRule::Ignore,
            false => BodyRule::UpTo(BODY_BYTES_MAX),
        }
    }

    /// Predicts the caller of a request. It consumes nothing that the credential may limit.
    fn predicted_caller(&self, surface: &Surface, access: Access, head: &Head) -> Option<Caller> {
        if let Some(would_authenticate) = surface.would_authenticate {
            return would_authenticate(&self.app, &self.trust.now(), head);
        }
        if access == Access::Public {
            return None;
        }
        let presented = credential::read(head, self.app.index.directory().named_headers());
        match presented {
            Presented::Faulty | Presented::Many => None,
            Presented::None => match self.without_credential(access, head) {
                Ok(Authenticated::As(_, caller)) => caller,
                Ok(Authenticated::MustWait) | Err(_) => None,
            },
            Presented::One(credential) => authenticate::would_authenticate(
                &self.app,
                credential.secret,
                credential.header,
                self.trust.now().client_address(head),
            ),
        }
    }

    /// As [`Router::predicted_caller`], for a route whose callers may be OAuth clients.
    fn predicted_client(
        &self,
        surface: &Surface,
        access: Access,
        request: &Request,
    ) -> Option<Caller> {
        let client = credential::read_client(request, self.app.index.directory().named_headers());
        let Client::Secret(secret) = client else {
            return self.predicted_caller(surface, access, request);
        };
        let address = self.trust.now().client_address(request);
        authenticate::would_authenticate(&self.app, &secret, CredentialHeader::Bearer, address)
    }

    /// How a request queues for a blocking thread. Verifications count against no caller's quota, because proxies make
    /// them for many clients.
    fn turn(&self, request: &Request) -> Turn {
        let found = self.table.find(request);
        let Target::Route(route) = found.target else {
            return Turn::usual();
        };
        let is_verification = matches!(route.handler, Handler::Inline(_));
        if is_verification && route.access != Access::Public {
            return Turn::usual();
        }
        let predicted = match route.oauth {
            None => self.predicted_caller(found.surface, route.access, request),
            Some(_) => self.predicted_client(found.surface, route.access, request),
        };
        let Some(caller) = predicted else {
            let network = self.trust.now().origin(request).counted.map(network);
            let stranger = self.hasher.hash_one((network, route.access as u8));
            return Turn {
                holders: vec![stranger],
                ..Turn::usual()
            };
        };
        if caller.identity == Identity::Local {
            return Turn {
                class: Class::Administration,
                holders: Vec::new(),
            };
        }
        let takes_away = route.takes.away(&self.app, request, found.below);
        let directory = self.app.index.directory();
        let subjects = budgets::subjects(&directory, &caller);
        Turn {
            class: match takes_away {
                true if budgets::is_unlimited(&directory, &caller) => Class::Administration,
                true => Class::TakesAway,
                false => Class::Usual,
            },
            holders: subjects
                .iter()
                .map(|subject| self.hasher.hash_one(subject))
                .collect(),
        }
    }

    fn answer(&self, request: &Request, execution: Execution) -> Option<Reply> {
        self.app.begin_answer();
        let found = self.table.find(request);
        let surface = found.surface;
        // Before the change: afterwards a request may no longer be one that takes something away.
        let wait = match found.target {
            Target::Route(route) => {
                let takes_away = || route.takes.away(&self.app, request, found.below);
                let ends_wait = self.app.feed.ends_wait();
                waiting::of(route, request.query(), ends_wait, takes_away)
            }
            Target::OtherMethods(_) | Target::Nothing => None,
        };
        let reply = match self.route(&found, request, execution) {
            Ok(None) => return None,
            Ok(Some(reply)) => reply,
            Err(err) => {
                if let Error::Internal(cause) = &err {
                    log::error!("{} request {}: {cause}", surface.name, request.id);
                }
                let oauth = match found.target {
                    Target::Route(route) => route.oauth.and_then(|words| words(&err, request)),
                    Target::OtherMethods(_) | Target::Nothing => None,
                };
                oauth.unwrap_or_else(|| (surface.render_error)(&err, request))
            }
        };
        let reply = self.table.with_public_paths(&found, request, reply);
        let reply = match self.app.told_age_s() {
            None => reply,
            Some(age_s) => reply.with(STALE, age_s.to_string()),
        };
        let reply = self.with_cors(request, reply);
        Some(match wait {
            Some(wait) if wait.concerns(reply.status) && reply.later.is_none() => {
                self.after_sites(surface, request, reply, wait)
            }
            _ => reply,
        })
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    fn route(
        &self,
        found: &Found<'_>,
        request: &Request,
        execution: Execution,
    ) -> Result<Option<Reply>> {
        let trust = self.trust.now();
        if trust.is_for_figures(request) && found.surface.mount != FIGURES {
            return Err(Error::NotFound("path"));
        }
        if found.surface.checks_host && !trust.answers_for(request) {
            return Err(Error::Misdirected);
        }
        let route = match &found.target {
            Target::Route(route) if route.method == "OPTIONS" && self.is_preflight(request) => {
                return Ok(Some(preflight(&methods(found.surface, found.below))));
            }
            Target::Route(route) => *route,
            Target::OtherMethods(allow)
                if request.method == "OPTIONS" && self.cors_origin(request).is_some() =>
            {
                return Ok(Some(preflight(allow)));
            }
            Target::OtherMethods(allow) => {
                let allow = allow.clone();
                return Err(Error::MethodNotAllowed { allow });
            }
            Target::Nothing => return Err(Error::NotFound("path")),
        };
        // The administrator of the machine finds out what is wrong, and ends what has to end.
        if !route.even_if_stale && trust.administrator(request).is_none() {
            self.app.require_serving()?;
        }
        let may_wait = execution == Execution::Blocking;
        if !may_wait && matches!(route.handler, Handler::Blocking(_)) {
            return Ok(None);
        }
        let (secret, mut caller) = match self.authenticate(route, request, may_wait)? {
            Authenticated::As(secret, caller) => (secret, caller),
            Authenticated::MustWait => return Ok(None),
        };
        let takes_away = route.takes.away(&self.app, request, found.below);
        if let Some(caller) = &mut caller {
            caller.takes_away = takes_away;
        }
        // No answer of this server has an ETag, so the condition cannot hold (RFC 9110, 13.1.1); to continue would lose
        // the changes that the condition protects (attacks 129).
        let edits = matches!(route.method, "DELETE" | "PATCH" | "POST" | "PUT");
        if edits && request.headers.contains("if-match") {
            return Err(Error::Conflict(refusals::requests::if_match()));
        }
        let params = params(route.path, found.below).ok_or(Error::NotFound("path"))?;
        if route.query == QueryRule::Refused {
            waiting::check_query(route, request.query())?;
        }
        let call = Call {
            app: &self.app,
            trust: &trust,
            request,
            caller,
            secret,
            may_wait,
            takes_away,
            waits: route.waits.on_demand(),
            below: found.below,
            params,
            surfaces: self.surfaces,
        };
        match route.handler {
            Handler::Blocking(handler) => {
                let answer = handler(&call);
                // `ops` records refused changes; refused reads are recorded here.
                if let (Err(refusal), Some(caller), "GET") = (&answer, &call.caller, route.method) {
                    self.app.note_denied_read(caller, request.path(), refusal);
                }
                answer.map(Some)
            }
            Handler::Inline(handler) => handler(&call),
        }
    }

    fn authenticate<'a>(
        &self,
        route: &Route,
        request: &'a Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        if route.access == Access::Public {
            return Ok(Authenticated::As(None, None));
        }
        let presented = match route.oauth {
            None => credential::read(request, self.app.index.directory().named_headers()),
            Some(_) => {
                let client =
                    credential::read_client(request, self.app.index.directory().named_headers());
                match client {
                    Client::Header(presented) => presented,
                    Client::Faulty => Presented::Faulty,
                    Client::Many => Presented::Many,
                    Client::Secret(secret) => return self.as_client(&secret, request, may_wait),
                }
            }
        };
        match presented {
            Presented::Faulty => Err(Error::Unauthenticated),
            Presented::Many => Err(Error::Malformed(refusals::requests::credentials_several())),
            Presented::None => self.without_credential(route.access, request),
            Presented::One(credential) => {
                if route.ends_sessions {
                    let origin = self.trust.now().origin(request);
                    let caller = authenticate::enrolling(&self.app, credential.secret, origin);
                    if caller.is_some() {
                        return Ok(Authenticated::As(Some(credential.secret), caller));
                    }
                }
                self.with_credential(credential.secret, credential.header, request, may_wait)
            }
        }
    }

    /// What a request may do without a credential: what processes on this machine may do, if the request has the header
    /// that claims so and nothing in it contradicts the claim.
    fn without_credential<'a>(&self, access: Access, head: &'a Head) -> Result<Authenticated<'a>> {
        let trust = self.trust.now();
        if access == Access::Machine && trust.is_for_figures(head) {
            return Ok(Authenticated::As(None, None));
        }
        let locality = Locality::of(head);
        if locality == Locality::Elsewhere {
            return Err(Error::Unauthenticated);
        }
        let administrator = trust.administrating_uid(head);
        let may_ask = match access {
            Access::Caller | Access::Public => false,
            Access::Machine if trust.metrics_port.is_some() => false,
            // A page of another site, under a host name that resolves to this machine, makes the local browser send
            // requests (attacks 167).
            Access::Machine if !trust.answers_for(head) => return Err(Error::Misdirected),
            Access::Machine => true,
            Access::Verifier => trust.verify_from_loopback,
        };
        match (locality, administrator) {
            (Locality::Local, Some(uid)) => {
                let caller = Caller::local(&self.app.index.directory(), uid, trust.origin(head))?;
                Ok(Authenticated::As(None, Some(caller)))
            }
            (Locality::Local, None) if may_ask => Ok(Authenticated::As(None, None)),
            (Locality::Unmarked, _) if may_ask || administrator.is_some() => {
                Err(Error::LocalHeaderMissing)
            }
            _ => Err(Error::Unauthenticated),
        }
    }

    /// The caller whose key is the secret of an OAuth client. Where its policy permits `Authorization: Bearer`, the key
    /// may be presented in this way too.
    fn as_client<'a>(
        &self,
        secret: &str,
        request: &Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        let origin = self.trust.now().origin(request);
        let header = CredentialHeader::Bearer;
        match authenticate::authenticate(&self.app, secret, header, origin, may_wait)? {
            Some(caller) => Ok(Authenticated::As(None, Some(caller))),
            None => Ok(Authenticated::MustWait),
        }
    }

    fn with_credential<'a>(
        &self,
        secret: &'a str,
        header: CredentialHeader,
        request: &Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        let origin = self.trust.now().origin(request);
        match authenticate::authenticate(&self.app, secret, header, origin, may_wait)? {
            Some(caller) => Ok(Authenticated::As(Some(secret), Some(caller))),
            None => Ok(Authenticated::MustWait),
        }
    }

    fn fault(&self, fault: Fault, head: &Head) -> Reply {
        let found = self.table.find(head);
        let surface = found.surface;
        let error = |err: Error| (surface.render_error)(&err, head);
        let refused = |status: u16, why: &str| (surface.render_fault)(status, why, head);
        let reply = match fault {
            Fault::BadFraming(why) => refused(400, why),
            Fault::BodyTimeout => refused(408, "The body did not arrive in time."),
            Fault::Busy => error(Error::Unavailable(refusals::requests::busy())),
            Fault::BusyCaller => error(Error::TooMany { retry_after_s: 1 }),
            Fault::ExpectationFailed => refused(417, "Only Expect: 100-continue is understood."),
            Fault::Panicked => error(Error::internal("a handler panicked")),
            Fault::Refused { status: 405, why } => refused(405, why).with("allow", METHODS),
            Fault::Refused { status, why } => refused(status, why),
            Fault::TooLarge { limit_bytes } => error(Error::TooLarge { limit_bytes }),
            Fault::Unread => error(Error::Unavailable(refusals::requests::unread())),
        };
        self.table.with_public_paths(&found, head, reply)
    }

    /// Whether this is the preflight request of a browser for a page of a permitted origin (Fetch, section 3.3.2).
    fn is_preflight(&self, head: &Head) -> bool {
        head.headers.contains("access-control-request-method") && self.cors_origin(head).is_some()
    }

    fn cors_origin<'h>(&self, head: &'h Head) -> Option<&'h str> {
        let origin = head.header("origin").ok().flatten()?;
        self.trust
            .now()
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

fn preflight(allow: &str) -> Reply {
    Reply::new(204)
        .with("access-control-allow-methods", allow)
        .with(
            "access-control-allow-headers",
            "Authorization, Content-Type, Idempotency-Key, X-API-Key",
        )
        .with("access-control-max-age", "600")
}

/// The decoded values of the single-segment parameters of a template; `None` if an escape is invalid or stands for the
/// character U+0000, which no name has.
fn params(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut values = Vec::new();
    if !template.contains('{') {
        return Some(values);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    for (part, segment) in template.split('/').zip(path.split('/')) {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            // A parameter for the rest of the path is not decoded: the handler reads it unchanged.
            if !name.ends_with("...") {
                let value = query::decode(segment, false).filter(|value| !value.contains('\0'));
                values.push((name, value?));
            }
        }
    }
    Some(values)
}
