//! The clock: the current time of the server, and the correction of a wrong recorded time.

use crate::domain::clock::State;
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::clock::Reading;
use crate::ops::clock::accept::{self, Accepted, Request};
use crate::store::clock::TimedKey;

/// How many keys each list of an answer contains at most; the counts include all keys, and the audit log has every
/// change.
const LISTED_MAX: usize = 1_000;

answer! {
    struct ClockBody as "Clock" {
        state: &'static str [enum = State::ALL.map(State::as_str)] = "in_step",
        wall: Time,
        /// A time that has certainly passed; it advances continuously.
        mark: Time,
        /// The current time of the server: the later of the two.
        now: Time,
        /// By how many seconds the recorded time may currently be ahead of the steady clock; it gains two hours a day.
        allowance_s: i64 = 7200,
        /// Whether the server has seen a plausible date yet.
        settled: bool = true,
        /// What the administrator should do; null if nothing is needed.
        advice: Option<String>,
    }
}

request! {
    struct AcceptBody as "" {
        /// Only lists what would be done.
        dry_run: Option<bool> = true,
        /// Accepts a date before this version was released, or more than five years after it.
        implausible: Option<bool>,
    }
}

answer! {
    struct AcceptedBody as "AcceptedClock" {
        changed: bool,
        before: ClockBody,
        now: Time,
        keys_disabled_count: usize,
        keys_disabled: Vec<KeyBody> [maxItems = LISTED_MAX],
        keys_issued_count: usize,
        keys_issued: Vec<KeyBody> [maxItems = LISTED_MAX],
        keys_beginning_later_count: usize,
        keys_beginning_later: Vec<KeyBody> [maxItems = LISTED_MAX],
        graces_ended: usize,
        sessions_ended: u64,
        codes_reset: u64,
    }
}

answer! {
    struct KeyBody as "TimedKey" {
        id: String,
        name: String,
        created_at: Time,
        not_before: Option<Time>,
        /// The end of the key before the correction.
        expires_at: Option<Time>,
        /// The end of the key after the correction, if it changes.
        ends_at: Option<Time>,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("get /v1/clock", "readClock", "Show the current time of the server")
        .about(
            "The current time is the later of the machine's wall clock and the recorded time, which advances with the steady \
             clock. A wall clock that has fallen back changes nothing. One that is far ahead counts, but is recorded only \
             after some time, or when it is accepted.",
        )
        .needs(&[ServerAdmin])
        .answers::<ClockBody>(200, "The clock.");
    document
        .add("post /v1/clock/accept", "acceptClock", "Confirm that the machine's date is right")
        .about(
            "For `latchkey clock accept`, through the Unix socket only. The recorded time becomes the wall clock's, whether \
             later or earlier. If it was too late, keys that had ended by it and not by the right date are disabled, keys \
             that were issued meanwhile keep their length of life and end earlier, and sessions that began meanwhile end.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<AcceptBody>()
        .answers::<AcceptedBody>(200, "What was done, or would be done.")
        .conflicts();
}

/// `GET /v1/clock`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let reading = accept::show(call.app, call.caller()?)?;
    Ok(Reply::json(200, &ClockBody::from(reading)))
}

/// `POST /v1/clock/accept`: through the Unix socket only.
pub fn accept(call: &Call<'_>) -> Result<Reply> {
    let body = AcceptBody::of_optional(call.request)?;
    let request = Request {
        dry_run: body.dry_run.unwrap_or(false),
        implausible: body.implausible.unwrap_or(false),
    };
    let accepted = accept::accept(call.app, call.caller()?, request)?;
    let now = call.app.now().wall;
    Ok(Reply::json(200, &AcceptedBody::of(&accepted, Time(now))))
}

impl From<Reading> for ClockBody {
    fn from(reading: Reading) -> ClockBody {
        ClockBody {
            state: reading.state.as_str(),
            wall: Time(reading.wall),
            mark: Time(reading.mark),
            now: Time(reading.now),
            allowance_s: reading.allowance_ms / 1000,
            settled: reading.settled,
            advice: reading.advice().map(|advice| advice.to_string()),
        }
    }
}

impl AcceptedBody {
    fn of(accepted: &Accepted, now: Time) -> AcceptedBody {
        let plan = &accepted.plan;
        let named = |keys: &[TimedKey]| keys.iter().take(LISTED_MAX).map(KeyBody::from).collect();
        let issued = plan.issued.iter().take(LISTED_MAX);
        AcceptedBody {
            changed: accepted.changed,
            before: accepted.before.into(),
            now,
            keys_disabled_count: plan.ended.len(),
            keys_disabled: named(&plan.ended),
            keys_issued_count: plan.issued.len(),
            keys_issued: issued
                .map(|one| KeyBody {
                    ends_at: one.ends_at.map(Time),
                    ..KeyBody::from(&one.key)
                })
                .collect(),
            keys_beginning_later_count: plan.later.len(),
            keys_beginning_later: named(&plan.later),
            graces_ended: plan.graces.len(),
            sessions_ended: plan.sessions,
            codes_reset: plan.codes,
        }
    }
}

impl From<&TimedKey> for KeyBody {
    fn from(key: &TimedKey) -> KeyBody {
        KeyBody {
            id: key.id.to_string(),
            name: key.name.clone(),
            created_at: Time(key.created_at),
            not_before: key.not_before.map(Time),
            expires_at: key.expires_at.map(Time),
            ends_at: None,
        }
    }
}
