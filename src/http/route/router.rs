//! From a request to its route, its caller and its handler.

use super::mounts::{Found, Mounts, Table, Target};
use super::{Access, BODY_BYTES_MAX, Call, Handler, QueryRule, Route, Section, Surface};
use crate::domain::policy::CredentialHeader;
use crate::error::{Error, Result};
use crate::http::client::{self, LiveTrust};
use crate::http::credential::{self, Presented};
use crate::http::query::{self, Query};
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http::server::{Answerer, BodyRule, Fault, FaultWords, Lane, Plan, Service};
use crate::ops::App;
use crate::ops::access::{self, Caller};
use std::sync::Arc;

/// The methods that this server speaks anywhere.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// The one mount that is served on the address for figures.
const FIGURES: &str = "/metrics";

/// All surfaces together.
pub struct Router {
    app: Arc<App>,
    trust: LiveTrust,
    surfaces: &'static [&'static Surface],
    sections: &'static [&'static Section],
    table: Table,
}

impl Router {
    /// `surfaces`: the first one words the errors of paths that belong to none.
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
            sections: &[],
            table: Table::new(surfaces, mounts),
        }
    }

    /// The same, with the words that dialects have for the console's pages about their keys.
    pub fn with_sections(mut self, sections: &'static [&'static Section]) -> Router {
        self.sections = sections;
        self
    }

    /// What the server runs.
    pub fn service(self) -> Service {
        let router = Arc::new(self);
        let (planner, answerer, clock) = (router.clone(), router.clone(), router.clone());
        let answer: Answerer = Box::new(move |request, lane| answerer.answer(request, lane));
        let fault: FaultWords = Box::new(move |fault, head| router.fault(fault, head));
        Service {
            plan: Box::new(move |head| planner.plan(head)),
            answer,
            fault,
            now: Box::new(move || clock.app.now().wall),
        }
    }

    fn plan(&self, head: &Head) -> Plan {
        match self.table.find(head).target {
            Target::Route(route) => Plan {
                lane: match route.handler {
                    Handler::Blocking(_) => Lane::Blocking,
                    Handler::Inline(_) => Lane::Inline,
                },
                body: self.body_rule(route, head),
            },
            // Nothing of the body will be looked at, but what may follow it on the connection is still wanted.
            Target::OtherMethods(_) | Target::Nothing => Plan {
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
        if let Some(foresees) = route.foresees {
            return foresees(&self.app, &self.trust.now(), head);
        }
        let presented = credential::read(head, self.app.index.directory().named_headers());
        match presented {
            Presented::Faulty | Presented::Many => false,
            Presented::None => self.without_credential(route.access, head).is_ok(),
            Presented::One(credential) => access::foresees(
                &self.app,
                credential.secret,
                credential.header,
                self.trust.now().client_address(head),
            ),
        }
    }

    fn answer(&self, request: &Request, lane: Lane) -> Option<Reply> {
        let found = self.table.find(request);
        let surface = found.surface;
        let reply = match self.route(found, request, lane) {
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

    fn route(&self, found: Found<'_>, request: &Request, lane: Lane) -> Result<Option<Reply>> {
        let trust = self.trust.now();
        if trust.is_for_figures(request) && found.surface.mount != FIGURES {
            return Err(Error::NotFound("path"));
        }
        let checks_host = found.surface.checks_host && !found.by_host;
        if checks_host && !trust.answers_for(request) {
            return Err(Error::Misdirected);
        }
        let route = match found.target {
            Target::Route(route) => route,
            Target::OtherMethods(allow)
                if request.method == "OPTIONS" && self.cors_origin(request).is_some() =>
            {
                return Ok(Some(preflight(&allow)));
            }
            Target::OtherMethods(allow) => return Err(Error::MethodNotAllowed { allow }),
            Target::Nothing => return Err(Error::NotFound("path")),
        };
        let may_wait = lane == Lane::Blocking;
        if !may_wait && matches!(route.handler, Handler::Blocking(_)) {
            return Ok(None);
        }
        let (secret, caller) = match self.authenticate(route.access, request, may_wait)? {
            Authenticated::As(secret, caller) => (secret, caller),
            Authenticated::MustWait => return Ok(None),
        };
        // No answer has an ETag, so the condition cannot hold (RFC 9110, 13.1.1); to go on would lose whatever it is
        // there to save (attacks 129).
        let edits = matches!(route.method, "DELETE" | "PATCH" | "PUT");
        if edits && request.headers.contains("if-match") {
            let why = "this server gives no ETags, so no If-Match can hold; leave it out";
            return Err(Error::Conflict(why.to_owned()));
        }
        let params = params(route.path, found.below).ok_or(Error::NotFound("path"))?;
        if route.query == QueryRule::Refused {
            Query::parse(request.query())?.finish()?;
        }
        let call = Call {
            app: &self.app,
            trust: &trust,
            request,
            caller,
            secret,
            may_wait,
            below: found.below,
            params,
            surfaces: self.surfaces,
            sections: self.sections,
        };
        match route.handler {
            Handler::Blocking(handler) => {
                let answer = handler(&call);
                // Changes that are refused leave their events by themselves.
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
        access: Access,
        request: &'a Request,
        may_wait: bool,
    ) -> Result<Authenticated<'a>> {
        if access == Access::Public {
            return Ok(Authenticated::As(None, None));
        }
        let presented = credential::read(request, self.app.index.directory().named_headers());
        match presented {
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
        if let Some(uid) = self.trust.now().administrator(head) {
            let caller = Caller::local(&self.app, uid, self.trust.now().origin(head))?;
            return Ok(Authenticated::As(None, Some(caller)));
        }
        let trust = self.trust.now();
        let on_this_machine = head.peer.is_on_this_machine() && !client::is_forwarded(head);
        let may_ask = match access {
            Access::Caller | Access::Public => false,
            Access::Machine if trust.metrics_port.is_some() => trust.is_for_figures(head),
            // A page of elsewhere, under a name that leads here, has the browser of this machine ask (attacks 167).
            Access::Machine if on_this_machine && !trust.answers_for(head) => {
                return Err(Error::Misdirected);
            }
            Access::Machine => on_this_machine,
            Access::Verifier => on_this_machine && trust.verify_from_loopback,
        };
        if may_ask {
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
        let origin = self.trust.now().origin(request);
        match access::authenticate(&self.app, secret, header, origin, may_wait)? {
            Some(caller) => Ok(Authenticated::As(Some(secret), Some(caller))),
            None => Ok(Authenticated::MustWait),
        }
    }

    fn fault(&self, fault: Fault, head: &Head) -> Reply {
        let surface = self.table.find(head).surface;
        let error = |err: Error| (surface.render_error)(&err, head);
        let refused = |status: u16, why: &str| (surface.render_fault)(status, why, head);
        match fault {
            Fault::BadFraming(why) => refused(400, why),
            Fault::BodyTimeout => refused(408, "The body did not arrive in time."),
            Fault::Busy => error(Error::Unavailable(
                "too many requests are waiting; try again".to_owned(),
            )),
            Fault::ExpectationFailed => refused(417, "Only Expect: 100-continue is understood."),
            Fault::Panicked => error(Error::internal("a handler panicked")),
            Fault::Refused { status: 405, why } => refused(405, why).with("allow", METHODS),
            Fault::Refused { status, why } => refused(status, why),
            Fault::TooLarge { limit_bytes } => error(Error::TooLarge { limit_bytes }),
            Fault::Unread => error(Error::Unavailable(
                "too many answers wait for clients that do not read them; try again".to_owned(),
            )),
        }
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

/// The decoded values of a template's single-segment parameters; `None` if an escape is bad.
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
            // A rest is for its handler to read, exactly as it came.
            if !name.ends_with("...") {
                values.push((name, query::decode(segment, false)?));
            }
        }
    }
    Some(values)
}
