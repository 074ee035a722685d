//! Health probes for orchestrators and load balancers: is the process alive, and is it ready. They are public and show
//! details only to this machine. They answer under any host name: load balancers use addresses and names of their own,
//! and a public one-word answer is of no value to a DNS rebinding attack.

use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::{Access, Call, Route, Surface, get, inline};
use crate::http1::BodyRule;
use serde::Serialize;

pub const SURFACE: Surface = Surface {
    name: "probes",
    mount: "",
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
    inline("GET", "/healthz", Access::Public, BodyRule::Ignore, alive),
    get   (       "/readyz",  Access::Public, ready),
];

/// `GET /healthz`: the process answers.
fn alive(_: &Call<'_>) -> Result<Option<Reply>> {
    Ok(Some(Reply::new(200).body("text/plain", b"ok\n".to_vec())))
}

/// `GET /readyz`: all keys are in memory and the store can be written. The administrator of this machine, on the Unix
/// socket with the header `Latchkey-Local: 1`, receives the details; every other client receives one word.
fn ready(call: &Call<'_>) -> Result<Reply> {
    let loaded = call.app.index.is_complete();
    let fault = if loaded {
        call.app.check_writable().err()
    } else {
        Some(Error::Unavailable("keys are still being read".to_owned()))
    };
    if let Some(err) = &fault {
        log::warn!("not ready: {err}");
    }
    if call.trust.administrator(call.request).is_some() {
        let status = if fault.is_none() { 200 } else { 503 };
        return Ok(Reply::json(status, &ReadyBody::of(call, loaded, fault)));
    }
    match fault {
        None => Ok(Reply::new(200).body("text/plain", b"ready\n".to_vec())),
        Some(_) => Err(Error::Unavailable("not ready".to_owned())),
    }
}

/// The state of the server, for the administrator of its machine.
#[derive(Serialize)]
struct ReadyBody {
    ready: bool,
    keys_loaded: bool,
    /// Why the server is not ready.
    fault: Option<String>,
    clock: ClockBody,
}

#[derive(Serialize)]
struct ClockBody {
    /// `in_step`, `behind` or `ahead` of the latest time that the server accepted.
    state: &'static str,
    wall: String,
    /// A time that has certainly passed; it advances continuously.
    mark: String,
    /// The current time of the server.
    now: String,
    /// What the administrator should do; null if the clock is in step.
    advice: Option<&'static str>,
}

impl ReadyBody {
    /// `loaded` is the value from the moment when the fault was determined, so that the two agree.
    fn of(call: &Call<'_>, loaded: bool, fault: Option<Error>) -> ReadyBody {
        let clock = call.app.clock.reading();
        ReadyBody {
            ready: fault.is_none(),
            keys_loaded: loaded,
            fault: fault.map(|err| err.to_string()),
            clock: ClockBody {
                state: clock.state.as_str(),
                wall: clock.wall.to_string(),
                mark: clock.mark.to_string(),
                now: clock.now.to_string(),
                advice: clock.advice(),
            },
        }
    }
}

/// A status and one word, because probes do not read bodies.
fn render(err: &Error, _: &Head) -> Reply {
    let (status, word) = match err {
        Error::MethodNotAllowed { allow } => return Reply::new(405).with("allow", allow),
        Error::NotFound(_) => (404, "not found"),
        Error::Unavailable(_) => (503, "not ready"),
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Internal(_)
        | Error::Invalid { .. }
        | Error::LocalHeaderMissing
        | Error::Malformed(_)
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::Unauthenticated
        | Error::UnsupportedMediaType(_) => (500, "failed"),
    };
    Reply::new(status).body("text/plain", format!("{word}\n").into_bytes())
}
