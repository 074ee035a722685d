//! `GET /metrics`: the metrics of the server in the text format of Prometheus, or in OpenMetrics if the client asks for
//! it.
//!
//! A process of this machine that sends `Latchkey-Local: 1` needs no credential, nor does any client of the address of
//! `--metrics-listen`; every other client needs `audit:read` in the root workspace. A request that is accepted because
//! it comes from this machine must name a host of this server; requests with a credential, and those to the address for
//! metrics, may name any host. No label of a metric has values from clients, so the number of series is fixed.

mod accept;
mod text;

use accept::Format;

use crate::domain::users::permissions::Permission::AuditRead;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::{Access, Call, Route, Surface, get};

pub const SURFACE: Surface = Surface {
    name: "metrics",
    mount: "/metrics",
    movable: false,
    routes: ROUTES,
    checks_host: false,
    render_error: render,
    render_fault: |status, why, _| Reply::new(status).body("text/plain", format!("{why}\n")),
    would_authenticate: None,
    refusals: None,
    moved: None,
    describes: Some(describe),
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get("", Access::Machine, metrics).even_if_stale(),
];

/// Adds the operation to the description of the server.
fn describe(document: &mut Document) {
    let text = "# TYPE latchkey_ready gauge\nlatchkey_ready 1.0\n";
    document.group("server", "The server itself.");
    document
        .add(
            "get /metrics",
            "metrics",
            "The metrics of the server, in the text format of Prometheus or, where `Accept` prefers it, of OpenMetrics",
        )
        .about(
            "Without a credential on the address of `metrics_listen`; without that setting, for a process of this machine that \
             sends the header `Latchkey-Local: 1`; otherwise with `audit:read` in the root workspace.",
        )
        .needs(&[AuditRead])
        .or_anonymous()
        .answers_text(200, "All metrics.", "text/plain", text)
        .answers_text(200, "All metrics.", "application/openmetrics-text", &format!("{text}# EOF\n"))
        .answers_text(401, "A credential is needed.", "text/plain", "a credential with audit:read is needed\n")
        .answers_text(
            403,
            "This credential does not have the permission.",
            "text/plain",
            "this credential does not have audit:read everywhere\n",
        )
        .answers_text(429, "The credential's own rate limit.", "text/plain", "too many requests\n");
}

/// `GET /metrics`
fn metrics(call: &Call<'_>) -> Result<Reply> {
    if let Some(caller) = call.optional_caller() {
        call.app.require_figures(caller)?;
    }
    let accept = call.request.headers.all("accept");
    let accept: Vec<&str> = accept
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let format = Format::of(&accept);
    let text = text::written(call.app).map_err(Error::internal)?;
    let text = match format {
        Format::OpenMetrics => text,
        Format::Prometheus => text::for_prometheus(&text),
    };
    Ok(Reply::new(200)
        .with("vary", "Accept")
        .body(format.content_type(), text))
}

fn unauthenticated(why: &str) -> Reply {
    Reply::new(401)
        .with("www-authenticate", "Bearer realm=\"latchkey\"")
        .body("text/plain", why.to_owned())
}

/// A status and a short text; a scraper displays its first line.
fn render(err: &Error, _: &Head) -> Reply {
    let (status, word) = match err {
        Error::MethodNotAllowed { allow } => return Reply::new(405).with("allow", allow),
        Error::LocalHeaderMissing => return unauthenticated(&format!("{err}\n")),
        Error::Unauthenticated => {
            return unauthenticated("a credential with audit:read is needed\n");
        }
        Error::Forbidden(_) => (403, "this credential does not have audit:read everywhere"),
        Error::Malformed(_) | Error::Invalid { .. } => (400, "this request cannot be read"),
        Error::Misdirected => (
            421,
            "not a host of this server; add it to allowed_hosts if it is",
        ),
        Error::NotFound(_) => (404, "not found"),
        Error::TooLarge { .. } => (413, "too large"),
        Error::TooMany { .. } => (429, "too many requests"),
        Error::Unavailable(_) => (503, "not available"),
        Error::Conflict(_) | Error::Internal(_) | Error::UnsupportedMediaType(_) => (500, "failed"),
    };
    Reply::new(status).body("text/plain", format!("{word}\n"))
}
