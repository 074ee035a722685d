//! The health checks of the server, and the support bundle with the information that a helper needs.

use crate::domain::audit::Event;
use crate::domain::keys::State;
use crate::domain::metrics::CODES;
use crate::domain::users::permissions::Permission::{AuditRead, ServerAdmin};
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{EmptyBody, Requested, answer, no_members, request};
use crate::http::describe::schema::{Schema, TIME};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::EventFilter;
use crate::ops::changed_outside::accept;
use crate::ops::doctor;
use crate::ops::doctor::{Check, Finding, UNSEEN};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// How many events a support bundle contains.
const EVENTS: usize = 500;

answer! {
    /// All results together.
    struct DoctorBody as "Findings" {
        /// Whether no check failed; warnings do not count.
        healthy: bool = true,
        checks: Vec<CheckBody> = [CheckBody::example()],
        /// What these checks cannot detect.
        unseen: &'static [&'static str] = UNSEEN,
    }
}

answer! {
    struct CheckBody as "Check" {
        name: &'static str = "audit log",
        finding: &'static str [enum = Finding::ALL.map(Finding::as_str)] = "ok",
        text: String = "intact, 42 events",
        /// What to do; empty if nothing is to be done.
        advice: String,
    }
}

answer! {
    /// An object that was changed outside Latchkey and is now accepted as it is.
    struct AcceptedBody as "" {
        kind: &'static str = "user",
        /// The kind and the name, for display.
        name: String = "user alice",
        /// The command that enables the object again; null if it is already in force.
        next: Option<String> = "latchkey user enable alice",
    }
}

request! {
    struct AcceptBody as "" {
        kind: String [enum = accept::KINDS.map(|(kind, _)| kind.as_str())] = "user",
        /// The id of a key or session, the name of a policy, catalog or user, the slug of a workspace, or a uid.
        id: String = "alice",
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("server", "The server itself.");
    document
        .add(
            "get /v1/doctor",
            "examine",
            "Check the health of the server",
        )
        .about("Reads the whole database and every event: this takes seconds with a million keys.")
        .needs(&[ServerAdmin])
        .answers::<DoctorBody>(200, "The results.");
    document
        .add("post /v1/doctor/accept", "acceptChanged", "Accept what was changed outside Latchkey, as it is now")
        .about(
            "For `latchkey doctor accept`, through the Unix socket only. An object that does not match its seal is closed; \
             this seals it as it is. Keys, users and workspaces are then enabled with the command in the answer.",
        )
        .needs(&[ServerAdmin])
        .body::<AcceptBody>()
        .answers::<AcceptedBody>(200, "It is accepted, and in the audit log.");
    let example = json!({
        "made_at": TIME, "version": env!("CARGO_PKG_VERSION"), "doctor": DoctorBody::example(), "events": [],
    });
    let schema =
        json!({ "type": "object", "required": ["made_at", "version", "doctor", "events"] });
    document
        .add(
            "post /v1/doctor/bundle",
            "supportBundle",
            "Collect information for support",
        )
        .about("Check results, statistics and recent events; no secret, no digest, no name.")
        .needs(&[ServerAdmin, AuditRead])
        .optional_body::<EmptyBody>()
        .content_of(
            200,
            "The bundle; its members may change with every version.",
            "application/json",
            schema,
            example,
        );
}

/// The content of a support bundle. It contains no name, no secret and no digest.
#[derive(Serialize)]
struct BundleBody {
    made_at: String,
    version: &'static str,
    doctor: DoctorBody,
    clock: &'static str,
    keys: BTreeMap<&'static str, u64>,
    verdicts: BTreeMap<&'static str, u64>,
    commit_failures: u64,
    audit_events_lost: u64,
    usage_lost: u64,
    disk_free_bytes: Option<u64>,
    events: Vec<EventBody>,
}

/// An event without the name of the actor and without the changed values.
#[derive(Serialize)]
struct EventBody {
    seq: i64,
    at: String,
    /// The kind of actor: `key`, `user`, `local` or `system`.
    actor: String,
    action: String,
    target_kind: &'static str,
    /// The ids of keys are public; the names of other things are left out.
    target_id: Option<String>,
    source: String,
    request_id: String,
    outcome: &'static str,
}

/// `GET /v1/doctor`
pub fn examine(call: &Call<'_>) -> Result<Reply> {
    let checks = doctor::examine(call.app, call.caller()?)?;
    Ok(Reply::json(200, &DoctorBody::of(&checks)))
}

/// `POST /v1/doctor/accept`
pub fn accept(call: &Call<'_>) -> Result<Reply> {
    let body = AcceptBody::of(call.request)?;
    let accepted = accept::accept(call.app, call.caller()?, &body.kind, &body.id)?;
    let body = AcceptedBody {
        kind: accepted.kind.as_str(),
        name: accepted.name,
        next: (!accepted.next.is_empty()).then_some(accepted.next),
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/doctor/bundle`
pub fn bundle(call: &Call<'_>) -> Result<Reply> {
    use std::sync::atomic::Ordering::Relaxed;
    no_members(call.request)?;
    let (app, caller) = (call.app, call.caller()?);
    doctor::note_bundle(app, caller)?;
    let checks = doctor::examine(app, caller)?;
    let mut report = DoctorBody::of(&checks);
    let bodies = checks.iter().zip(&mut report.checks);
    for (_, body) in bodies.filter(|(check, _)| check.has_names) {
        body.text = "the text of latchkey doctor has names in it and was left out".to_owned();
    }
    let wanted = EventFilter {
        limit: EVENTS,
        ..EventFilter::default()
    };
    let (events, _) = audit::audit_events(app, caller, &wanted)?;
    let figures = app.figures();
    let codes = CODES.iter().map(|code| code.as_str());
    let states = State::ALL.iter().map(|state| state.as_str());
    let body = BundleBody {
        made_at: app.now().wall.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        doctor: report,
        clock: app.clock.reading().state.as_str(),
        keys: states.zip(app.key_figures().states).collect(),
        verdicts: codes.zip(figures.verdicts()).collect(),
        commit_failures: figures.commits_failed.load(Relaxed),
        audit_events_lost: figures.events_lost.load(Relaxed),
        usage_lost: app.index.usage.lost(),
        disk_free_bytes: app.disk_free(),
        events: events.iter().map(EventBody::of).collect(),
    };
    Ok(Reply::json(200, &body))
}

impl DoctorBody {
    fn of(checks: &[Check]) -> DoctorBody {
        DoctorBody {
            healthy: checks.iter().all(|check| check.finding != Finding::Failed),
            checks: checks.iter().map(CheckBody::of).collect(),
            unseen: UNSEEN,
        }
    }
}

impl CheckBody {
    fn of(check: &Check) -> CheckBody {
        CheckBody {
            name: check.name,
            finding: check.finding.as_str(),
            text: check.found.to_string(),
            advice: check.advice_text(),
        }
    }
}

impl EventBody {
    fn of(event: &Event) -> EventBody {
        use crate::domain::audit::Kind;
        let kind = event.actor.split(':').next().unwrap_or_default();
        let has_public_id = matches!(event.target.kind, Kind::Key | Kind::Server);
        // A refused request may name anything as its target, including private text.
        let is_named = has_public_id && event.outcome == crate::domain::audit::Outcome::Allowed;
        EventBody {
            seq: event.seq,
            at: event.at.to_string(),
            actor: kind.to_owned(),
            action: event.action.clone(),
            target_kind: event.target.kind.as_str(),
            target_id: is_named.then(|| event.target.id.clone()),
            source: event.source.clone(),
            request_id: event.request_id.clone(),
            outcome: event.outcome.as_str(),
        }
    }
}
