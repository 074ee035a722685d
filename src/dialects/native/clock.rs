//! The clock: the current time of the server, and the correction of a wrong recorded time.

use crate::error::Result;
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::clock::Reading;
use crate::ops::clock::accept::{self, Accepted, Request};
use crate::store::clock::TimedKey;
use serde::Serialize;

/// How many keys each list of an answer contains at most; the counts include all keys, and the audit log has every
/// change.
const LISTED_MAX: usize = 1_000;

#[derive(Serialize)]
struct ClockBody {
    /// `in_step`, `behind` or `ahead`.
    state: &'static str,
    wall: String,
    mark: String,
    now: String,
    /// By how many seconds the recorded time may currently be ahead of the steady clock.
    allowance_s: i64,
    /// Whether the server has seen a plausible date yet.
    settled: bool,
    /// What the administrator should do; null if nothing is needed.
    advice: Option<&'static str>,
}

#[derive(Serialize)]
struct AcceptedBody {
    changed: bool,
    before: ClockBody,
    now: String,
    keys_disabled_count: usize,
    keys_disabled: Vec<KeyBody>,
    keys_issued_count: usize,
    keys_issued: Vec<KeyBody>,
    keys_beginning_later_count: usize,
    keys_beginning_later: Vec<KeyBody>,
    graces_ended: usize,
    sessions_ended: u64,
    codes_reset: u64,
}

#[derive(Serialize)]
struct KeyBody {
    id: String,
    name: String,
    created_at: String,
    not_before: Option<String>,
    /// The end of the key before the correction.
    expires_at: Option<String>,
    /// The end of the key after the correction, if it changes.
    ends_at: Option<String>,
}

/// `GET /v1/clock`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let reading = accept::show(call.app, call.caller()?)?;
    Ok(Reply::json(200, &ClockBody::from(reading)))
}

/// `POST /v1/clock/accept`: through the Unix socket only.
pub fn accept(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of_optional(call.request)?;
    let request = Request {
        dry_run: body.flag("dry_run")?.unwrap_or(false),
        implausible: body.flag("implausible")?.unwrap_or(false),
    };
    body.finish()?;
    let accepted = accept::accept(call.app, call.caller()?, request)?;
    let now = call.app.now().wall;
    Ok(Reply::json(
        200,
        &AcceptedBody::of(&accepted, now.to_string()),
    ))
}

impl From<Reading> for ClockBody {
    fn from(reading: Reading) -> ClockBody {
        ClockBody {
            state: reading.state.as_str(),
            wall: reading.wall.to_string(),
            mark: reading.mark.to_string(),
            now: reading.now.to_string(),
            allowance_s: reading.allowance_ms / 1000,
            settled: reading.settled,
            advice: reading.advice(),
        }
    }
}

impl AcceptedBody {
    fn of(accepted: &Accepted, now: String) -> AcceptedBody {
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
                    ends_at: one.ends_at.map(|at| at.to_string()),
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
            created_at: key.created_at.to_string(),
            not_before: key.not_before.map(|at| at.to_string()),
            expires_at: key.expires_at.map(|at| at.to_string()),
            ends_at: None,
        }
    }
}
