//! Health probes for orchestrators and load balancers: is the process alive, and is it ready. They are public and show
//! details only to this machine. They answer under any host name: load balancers use addresses and names of their own,
//! and a public one-word answer is of no value to a DNS rebinding attack.

use crate::domain::clock::State;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::answer;
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::{Access, Call, Route, Surface, get, inline};
use crate::http1::BodyRule;
use crate::refusals::verbatim;
use serde_json::json;

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
    would_authenticate: None,
    refusals: None,
    moved: None,
    describes: Some(describe),
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
        Some(Error::Unavailable(verbatim("keys are still being read")))
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
        Some(_) => Err(Error::Unavailable(verbatim("not ready"))),
    }
}

answer! {
    /// The state of the server, for the administrator of its machine: on the Unix socket only.
    struct ReadyBody as "Readiness" {
        ready: bool = true,
        keys_loaded: bool = true,
        /// Why the server is not ready.
        fault: Option<String>,
        clock: ClockBody,
    }
}

answer! {
    struct ClockBody as "ReadinessClock" {
        /// Whether the wall clock is in step with the latest time that the server accepted.
        state: &'static str [enum = State::ALL.map(State::as_str)] = "in_step",
        wall: Time,
        /// A time that has certainly passed; it advances continuously.
        mark: Time,
        /// The current time of the server: the later of the two.
        now: Time,
        /// What the administrator should do; null if the clock is in step.
        advice: Option<&'static str>,
    }
}

/// Adds the probes to the description of the server.
fn describe(document: &mut Document) {
    document.group("server", "The server itself.");
    document
        .add("get /healthz", "alive", "Is the process alive?")
        .security(json!([]))
        .answers_text(200, "It is.", "text/plain", "ok\n");
    document
        .add("get /readyz", "ready", "Is the server ready?")
        .about(
            "All keys are in memory and the store can be written. Only the administrator of the machine, on the Unix socket, \
             receives the details.",
        )
        .security(json!([]))
        .answers_text(200, "It is.", "text/plain", "ready\n")
        .answers::<ReadyBody>(200, "It is.")
        .answers_text(503, "It is not.", "text/plain", "not ready\n")
        .answers::<ReadyBody>(503, "It is not.");
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
                wall: Time(clock.wall),
                mark: Time(clock.mark),
                now: Time(clock.now),
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
