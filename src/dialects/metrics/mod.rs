//! `GET /metrics`: the server's figures in the text format of Prometheus, or in that of OpenMetrics where it is asked for.
//!
//! A process of this machine that sends `Latchkey-Local: 1`, and every client of the address of `--metrics-listen`, needs
//! no credential; every other client needs `audit:read` in the root workspace. A request that is accepted because it
//! comes from this machine must name a host that is this server; credentials, and the address that is for figures alone, are good under any name. No metric has a label whose values come from clients: the number of series is
//! fixed.

mod accept;
mod text;

use accept::Format;

use crate::error::{Error, Result};
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
    render_fault: |status, why, _| {
        Reply::new(status).body("text/plain", format!("{why}\n").into_bytes())
    },
    foresees: None,
    refusals: None,
    moved: None,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get("", Access::Machine, metrics),
];

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
        .body(format.content_type(), text.into_bytes()))
}

fn unauthenticated(why: &str) -> Reply {
    Reply::new(401)
        .with("www-authenticate", "Bearer realm=\"latchkey\"")
        .body("text/plain", why.as_bytes().to_vec())
}

/// A status and a word; a scraper shows the first line of it.
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
    Reply::new(status).body("text/plain", format!("{word}\n").into_bytes())
}
