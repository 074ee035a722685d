//! Forward authentication: a reverse proxy asks this server about each request before it forwards the request.
//!
//! A request is never allowed by accident: missing, repeated or unreadable information leads to a refusal. nginx
//! understands only 2xx, 401 and 403, so it receives different responses from the other proxies.

mod answer;
mod demands;
mod gateway;
mod operations;
mod original;

use crate::domain::catalogs::Requirement;
use crate::domain::keys::verdict::{Detail, Question};
use crate::error::{Error, Result};
use crate::http::credential::{self, Presented};
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http::route::{Access::Public, Call, RefusedRequest, Route, Surface, inline};
use crate::http1::BodyRule::Ignore;
use crate::index::directory::Directory;
use crate::ops::verify::{Outcome, Verdict, verify, verify_blocking};
use demands::Demands;
use original::Original;

pub const SURFACE: Surface = Surface {
    name: "forward-auth",
    mount: "/auth",
    movable: false,
    routes: ROUTES,
    // Proxies send the host of the original request.
    checks_host: false,
    render_error: render,
    render_fault: |status, _, _| Reply::new(status),
    would_authenticate: None,
    refusals: None,
    moved: None,
    describes: Some(operations::describe),
};

/// The route for HAProxy, which its agent asks too.
pub const HAPROXY: &str = "/auth/haproxy";

/// The mount of the route for Envoy, which sends the original request itself.
const ENVOY: &str = "/auth/envoy";

/// The maximum length of `X-Auth-Body`: nginx accepts at most 4 KiB for all headers of a response, and answers its
/// client with 500 if there are more.
const BODY_HEADER_BYTES_MAX: usize = 2048;

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("*", "/nginx",           Public, Ignore, |call| decide(call, Proxy::Nginx)),
    inline("*", "/nginx-url",       Public, Ignore, |call| decide(call, Proxy::NginxUrl)),
    inline("*", "/caddy",           Public, Ignore, |call| decide(call, Proxy::Caddy)),
    inline("*", "/traefik",         Public, Ignore, |call| decide(call, Proxy::Forwarding)),
    inline("*", "/haproxy",         Public, Ignore, |call| Ok(decide(call, Proxy::Forwarding)?.map(Reply::announcing_head))),
    inline("*", "/envoy",           Public, Ignore, |call| decide(call, Proxy::Envoy)),
    inline("*", "/envoy/{path...}", Public, Ignore, |call| decide(call, Proxy::Envoy)),
    inline("*", "/gateway/{path...}", Public, Ignore, |call| decide(call, gateway::proxy(call.request))),
];

/// How a proxy describes the original request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Proxy {
    /// Like `Forwarding`, but Caddy may add the client's query to its own.
    Caddy,
    Envoy,
    /// `X-Forwarded-Method`, `-Uri` and `-Host`.
    Forwarding,
    /// A gateway that appends the original path to the path of its question.
    Gateway,
    /// A gateway made of nginx: `Path` and `Method`.
    GatewayNginx,
    /// `X-Original-Method`, `-URI` and `-Host`.
    Nginx,
    /// `X-Original-Method`, and `X-Original-URL` with scheme, host and path.
    NginxUrl,
}

impl Proxy {
    /// The name in events.
    fn name(self) -> &'static str {
        match self {
            Proxy::Caddy => "caddy",
            Proxy::Envoy => "envoy",
            Proxy::Forwarding => "forward-auth",
            Proxy::Gateway | Proxy::GatewayNginx => "gateway",
            Proxy::Nginx | Proxy::NginxUrl => "nginx",
        }
    }

    /// nginx understands only 2xx, 401 and 403.
    fn is_nginx(self) -> bool {
        matches!(self, Proxy::GatewayNginx | Proxy::Nginx | Proxy::NginxUrl)
    }

    /// Whether the question must describe the original request correctly even if no catalog is required.
    fn must_describe(self) -> bool {
        matches!(self, Proxy::Gateway | Proxy::GatewayNginx)
    }
}

fn decide(call: &Call<'_>, proxy: Proxy) -> Result<Option<Reply>> {
    let head = &call.request.head;
    let demands = demands::read(call, proxy);
    let asked = demands.as_ref().map(|(demands, _)| demands);
    let only = asked.and_then(|demands| demands.header.as_deref());
    let mut room = String::new();
    let presented = {
        let directory = call.app.index.directory();
        credential::read_for_proxy(head, directory.named_headers(), only, &mut room)
    };
    let trusted = call.trust.trusts(head.peer);
    let original = Original::of(head, proxy, trusted);
    let refuse = |directory: &Directory, refused: &RefusedRequest<'_>, reply: Reply| {
        let context = Context {
            call,
            proxy,
            demands: asked,
            original: &original,
            directory,
        };
        context.worded(refused, reply)
    };
    let unauthenticated = |presented: bool| {
        let reply = answer::unauthenticated(presented);
        let directory = call.app.index.directory();
        Ok(Some(refuse(
            &directory,
            &RefusedRequest::credential(),
            reply,
        )))
    };
    let unsafe_request = || {
        let refused = RefusedRequest::request(Detail::UnsafeRequest.as_str());
        let reply = answer::refused(refused.code);
        let directory = call.app.index.directory();
        Ok(Some(refuse(&directory, &refused, reply)))
    };
    let credential = match presented {
        Presented::None if is_preflight(call, asked, &original) => {
            return Ok(Some(answer::preflight()));
        }
        Presented::None => return unauthenticated(false),
        Presented::Faulty | Presented::Many => return unauthenticated(true),
        Presented::One(credential) => credential,
    };
    let Some((demands, workspace)) = &demands else {
        log::warn!(
            "forward-auth: the question has other parameters than catalog, scope, workspace, header and preflight, or \
             unknown values; check the proxy's configuration (in a Caddyfile, end the uri with ? to keep the client's query out)"
        );
        return unsafe_request();
    };
    if (demands.catalog.is_some() && !original.is_judgeable())
        || (proxy.must_describe() && original.faulty)
    {
        log::warn!(
            "forward-auth: the original request is missing, doubled or unreadable: {}; check the proxy's headers",
            original::fault(head, proxy, trusted)
        );
        return unsafe_request();
    }
    let question = Question {
        scopes: demands.scopes.iter().map(String::as_str).collect(),
        catalog: demands.catalog.as_deref(),
        // An unknown method could be any, so a read-only key is refused.
        method: Some(original.method.unwrap_or("")),
        path: original.path.filter(|_| demands.catalog.is_some()),
        told_path: original.path,
        host: original.host,
        address: call.trust.client_address(head),
        workspace: *workspace,
        header: Some(credential.header),
        basic: credential.basic,
        via: proxy.name(),
        own_secrets_only: false,
        cost: 1,
    };
    let told = |verdict: &Verdict<'_>, question: &Question<'_>| {
        let refused = RefusedRequest::of(verdict, question)?;
        let reply = answer::refusal(&refused, verdict.rate, proxy.is_nginx());
        Some(refuse(verdict.directory, &refused, reply))
    };
    let mut held_without = None;
    if demands.doubtful {
        let bare = Question {
            scopes: Vec::new(),
            catalog: None,
            path: None,
            workspace: None,
            cost: 0,
            ..question.clone()
        };
        // This spends nothing, and only a request that it allows is judged with the requirements.
        let first = ask(call, credential.secret, &bare, |verdict| {
            told(verdict, &bare).map_or_else(|| Ok(answer::held(verdict)), Err)
        })?;
        match first {
            None => return Ok(None),
            Some(Err(refusal)) => return Ok(Some(refusal)),
            Some(Ok(scopes)) => held_without = Some(scopes),
        }
    }
    ask(call, credential.secret, &question, |verdict| {
        told(verdict, &question)
            .unwrap_or_else(|| answer::allowed(verdict, held_without.as_deref()))
    })
}

/// Judges a question. `None` if that must wait for the disk, and this thread may not.
fn ask<R>(
    call: &Call<'_>,
    secret: &str,
    question: &Question<'_>,
    render: impl Fn(&Verdict<'_>) -> R,
) -> Result<Option<R>> {
    if call.may_wait {
        return verify_blocking(call.app, secret, question, None, render).map(Some);
    }
    match verify(call.app, secret, question, None, render) {
        Outcome::Done(answer) => Ok(Some(answer)),
        Outcome::MustWait => Ok(None),
    }
}

/// Whether the original request is a preflight that passes: the question or the catalog's operation lets preflights
/// pass, it contains no credential and, if a catalog is required, the catalog has an operation for it that some key
/// opens. A browser never sends a key with a preflight, so the application answers it.
fn is_preflight(call: &Call<'_>, demands: Option<&Demands>, original: &Original<'_>) -> bool {
    let head = &call.request.head;
    let (Some(demands), Some(method)) = (demands, demands::preflight(head, original.method)) else {
        return false;
    };
    let directory = call.app.index.directory();
    if credential::read(head, directory.named_headers()) != Presented::None {
        return false;
    }
    let Some(name) = &demands.catalog else {
        return demands.preflight;
    };
    let catalog = directory.catalog(name).filter(|_| original.is_judgeable());
    original
        .path
        .zip(catalog)
        .and_then(|(path, catalog)| catalog.demand(method, path, original.host).ok())
        .is_some_and(|demand| {
            // A client that has named the catalog itself must not get more by it.
            let may_pass = demands.preflight || (demand.preflight && !demands.doubtful);
            may_pass && *demand.requirement != Requirement::Nobody
        })
}

/// The circumstances of a refusal.
struct Context<'a> {
    call: &'a Call<'a>,
    proxy: Proxy,
    demands: Option<&'a Demands>,
    original: &'a Original<'a>,
    directory: &'a Directory,
}

impl Context<'_> {
    /// Renders a refusal in the format of the catalog's dialect, if it has its own. nginx does not forward the body of
    /// the response but can read its headers, so a header repeats the body.
    fn worded(&self, refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
        let catalog = self.demands.and_then(|demands| demands.catalog.as_deref());
        let Some(words) = catalog.and_then(|name| self.call.refusals(name)) else {
            return self.challenged(refused, reply);
        };
        let reply = (words.word)(refused, reply);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        if self.proxy.is_nginx() && text.len() <= BODY_HEADER_BYTES_MAX {
            return reply.with("x-auth-body", &text);
        }
        reply
    }

    /// Adds to the challenge of a refusal what a client needs to get another credential: the needed scopes, and the
    /// metadata of the catalog. A client that may have named the catalog itself learns nothing of it.
    fn challenged(&self, refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
        let Some(demands) = self.demands.filter(|demands| !demands.doubtful) else {
            return answer::challenged(reply, refused, &[], None);
        };
        let catalog = demands.catalog.as_ref();
        let catalog = catalog.and_then(|name| self.directory.catalog(name));
        let metadata =
            catalog.and_then(|catalog| catalog.definition().resource_metadata.as_deref());
        if refused.status != 401 {
            return answer::challenged(reply, refused, &[], metadata);
        }
        let original = self.original;
        let demand = catalog
            .filter(|_| original.is_judgeable())
            .and_then(|catalog| {
                let (method, path) = original.method.zip(original.path)?;
                catalog.demand(method, path, original.host).ok()
            });
        let of_operation = demand.iter().flat_map(|demand| demand.requirement.scopes());
        let scopes: Vec<&str> = demands
            .scopes
            .iter()
            .chain(of_operation)
            .map(String::as_str)
            .collect();
        answer::challenged(reply, refused, &scopes, metadata)
    }
}

/// Renders errors of this dialect, which are refusals too: a proxy denies the request for each of them.
fn render(err: &Error, _: &Head) -> Reply {
    match err {
        Error::LocalHeaderMissing | Error::Unauthenticated => answer::unauthenticated(true),
        Error::Internal(_)
        | Error::MethodNotAllowed { .. }
        | Error::NotFound(_)
        | Error::TooMany { .. }
        | Error::Unavailable(_) => Reply::new(status_of(err)).with_advice(err),
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Invalid { .. }
        | Error::Malformed(_)
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::UnsupportedMediaType(_) => answer::refused(Detail::UnsafeRequest.as_str()),
    }
}
