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
use crate::http::route::{Access, Call, Route, Surface, inline};
use crate::http1::BodyRule;
use crate::ops::declared;
use crate::refusals::site::is_stale;
use crate::refusals::{server, verbatim};
use serde_json::json;

pub const SURFACE: Surface = Surface {
    name: "probes",
    mount: "",
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
    inline("GET", "/healthz", Access::Public, BodyRule::Ignore, alive).even_if_stale(),
    inline("GET", "/readyz",  Access::Public, BodyRule::Ignore, ready).even_if_stale(),
];

/// `GET /healthz`: the process answers.
fn alive(_: &Call<'_>) -> Result<Option<Reply>> {
    Ok(Some(Reply::new(200).body("text/plain", "ok\n")))
}

/// `GET /readyz`: the server can verify keys, because all of them are in memory. With the parameter `write`, also that
/// changes can be saved. The administrator of this machine, on the Unix socket with the header `Latchkey-Local: 1`, receives
/// the details; every other client receives one word, at a site also why it gives no verdicts, and at a node that shares its database
/// also why nothing is verified or changed there.
///
/// Without the parameter nothing waits for the disk: a full or slow disk must not take verification out of a load balancer. Nor must
/// a database that its nodes have lost for a few seconds, which all of them notice at once.
fn ready(call: &Call<'_>) -> Result<Option<Reply>> {
    let must_write = asks_to_write(call.request.query());
    let is_detailed = call.trust.administrator(call.request).is_some();
    if !call.may_wait && (must_write || is_detailed) {
        return Ok(None);
    }
    let stale = call.app.require_fresh(call.app.now()).err();
    let loaded = call.app.index.is_complete() && stale.is_none();
    let unwritable = match must_write || is_detailed {
        true => call
            .app
            .changes_refused()
            .or_else(|| call.app.check_writable().err()),
        false => None,
    };
    let is_ready = loaded && !(must_write && unwritable.is_some());
    let fault = match loaded {
        true => unwritable.as_ref().map(ToString::to_string),
        false => Some(stale.as_ref().map_or_else(
            || "keys are still being read".to_owned(),
            ToString::to_string,
        )),
    };
    if let (false, Some(why)) = (is_ready, &fault) {
        log::warn!("not ready: {why}");
    }
    if is_detailed {
        let status = if is_ready { 200 } else { 503 };
        let body = ReadyBody::of(call, is_ready, loaded, unwritable.is_none(), fault);
        return Ok(Some(Reply::json(status, &body)));
    }
    match (is_ready, stale) {
        (true, _) => {
            let text = match call.app.wrong_clock() {
                None => "ready\n".to_owned(),
                Some(why) => format!("ready; {why}\n"),
            };
            Ok(Some(Reply::new(200).body("text/plain", text)))
        }
        // Every verdict says so too.
        (false, Some(stale)) => Err(stale),
        (false, None) => Err(unwritable.filter(is_of_node).unwrap_or_else(not_ready)),
    }
}

/// Whether the reason is this node: it may be behind the database that it shares, or its clock is wrong.
fn is_of_node(err: &Error) -> bool {
    matches!(err, Error::Unavailable(why) if server::is_stale(why) || server::is_wrong_clock(why))
}

fn not_ready() -> Error {
    Error::Unavailable(verbatim("not ready"))
}

/// Whether the query has the parameter `write`, with any value or none. Other parameters are ignored, as they always were.
fn asks_to_write(query: &str) -> bool {
    query
        .split('&')
        .any(|part| part.split('=').next() == Some("write"))
}

answer! {
    /// The state of the server, for the administrator of its machine: on the Unix socket only.
    struct ReadyBody as "Readiness" {
        /// Whether the server can do what was asked for: verify keys, with `write` also save changes.
        ready: bool = true,
        keys_loaded: bool = true,
        /// Whether changes can be saved.
        writable: bool = true,
        /// Why keys are not loaded, or why changes cannot be saved.
        fault: Option<String>,
        /// Why the files that declare keys were not applied, each with its path and its line; the server then serves what was
        /// applied last. Empty if they were.
        files_refused: Vec<String>,
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
        advice: Option<String>,
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
            "All keys are in memory, so they can be verified; with `write`, also whether changes can be saved. A load balancer \
             asks without `write`, because verification goes on while the disk is full. Only the administrator of the machine, \
             on the Unix socket, receives the details.",
        )
        .query(
            "write",
            "Ask as well whether changes can be saved; the value does not matter.",
            json!({ "type": "string" }),
            json!(null),
        )
        .security(json!([]))
        .answers_text(200, "It is.", "text/plain", "ready\n")
        .answers::<ReadyBody>(200, "It is.")
        .answers_text(503, "It is not.", "text/plain", "not ready\n")
        .answers::<ReadyBody>(503, "It is not.");
}

impl ReadyBody {
    fn of(
        call: &Call<'_>,
        ready: bool,
        keys_loaded: bool,
        writable: bool,
        fault: Option<String>,
    ) -> ReadyBody {
        let clock = call.app.clock.reading();
        ReadyBody {
            ready,
            keys_loaded,
            writable,
            fault,
            files_refused: declared::latest(call.app)
                .complaints
                .iter()
                .map(ToString::to_string)
                .collect(),
            clock: ClockBody {
                state: clock.state.as_str(),
                wall: Time(clock.wall),
                mark: Time(clock.mark),
                now: Time(clock.now),
                advice: clock.advice().map(|advice| advice.to_string()),
            },
        }
    }
}

/// A status and one word, because probes do not read bodies. A site that gives no verdicts says why, as its verdicts do.
fn render(err: &Error, _: &Head) -> Reply {
    let (status, word) = match err {
        Error::Unavailable(why) if is_stale(why) || is_of_node(err) => {
            let body = format!("not ready: {why}\n");
            return Reply::new(503).body("text/plain", body);
        }
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
    Reply::new(status).body("text/plain", format!("{word}\n"))
}
