//! Probes for whatever keeps the server running: is it alive, is it ready. Public, and without any detail.

use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::{Access, Call, Route, Surface, get, inline};
use crate::http::server::BodyRule;

pub const SURFACE: Surface = Surface {
    name: "probes",
    mount: "",
    routes: ROUTES,
    checks_host: false,
    render_error: render,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("GET", "/healthz", Access::Public, BodyRule::Ignore, alive),
    get   (       "/readyz",  Access::Public, ready),
];

/// `GET /healthz`: the process answers.
fn alive(_: &Call<'_>) -> Result<Option<Reply>> {
    Ok(Some(Reply::new(200).body("text/plain", b"ok\n".to_vec())))
}

/// `GET /readyz`: all keys are in memory and the store can be written.
fn ready(call: &Call<'_>) -> Result<Reply> {
    if !call.app.index.is_complete() {
        return Err(Error::Unavailable("starting".to_owned()));
    }
    match call.app.check_writable() {
        Ok(()) => Ok(Reply::new(200).body("text/plain", b"ready\n".to_vec())),
        Err(err) => {
            log::warn!("not ready: {err}");
            Err(Error::Unavailable("not ready".to_owned()))
        }
    }
}

/// A status and a word; who asks here reads no bodies.
fn render(err: &Error, _: &Head) -> Reply {
    let (status, word) = match err {
        Error::MethodNotAllowed { allow } => return Reply::new(405).with("allow", allow),
        Error::NotFound(_) => (404, "not found"),
        Error::Unavailable(_) => (503, "not ready"),
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Internal(_)
        | Error::Invalid { .. }
        | Error::Malformed(_)
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::Unauthenticated
        | Error::UnsupportedMediaType(_) => (500, "failed"),
    };
    Reply::new(status).body("text/plain", format!("{word}\n").into_bytes())
}
