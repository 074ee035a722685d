//! The audit log and usage.

mod export;
mod operations;

use super::keys::limit;
use crate::domain::audit::Outcome;
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::domain::metrics::CODES;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::{Error, Result};
use crate::http::bodies::audit::EventBody;
use crate::http::describe::bodies::{ListBody, PageBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::EventFilter;
use crate::ops::usage::{Step, of_key};
use crate::refusals::{self, verbatim};
use crate::store::audit::Cut;
use export::Format;
pub use operations::describe;

/// The default start of a usage report: 24 hours before its end.
const USAGE_DEFAULT_MS: i64 = 86_400_000;

answer! {
    /// The result of verifying the audit log.
    struct ChainBody as "Chain" {
        intact: bool = true,
        /// The number of events, if the log is intact.
        #[serde(skip_serializing_if = "Option::is_none")]
        events: Option<i64>,
        /// The first fault, if the log is not intact.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_bad: Option<String>,
    }
}

request! {
    /// One of the two members.
    struct PruneBody as "" {
        /// Events before this time, which is not in the future.
        before: Option<Timestamp> = "2026-01-01T00:00:00Z",
        /// All but this number of the newest events.
        keep: Option<u64>,
    }
}

answer! {
    /// The result of pruning the audit log.
    struct PrunedBody as "" {
        count: usize = 120,
        /// The oldest event that is left; null if nothing was removed.
        first_seq: Option<i64> [minimum = 1] = 121,
    }
}

answer! {
    struct HourBody<'a> as "UsageHour" {
        /// The start of the hour.
        hour: Time,
        code: &'a str [enum = CODES.map(Code::as_str)] = "VALID",
        count: u64 [minimum = 1] = 17,
    }
}

/// `GET /v1/audit-events`
pub fn audit_events(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let format = Format::take(&mut query)?;
    let wanted = EventFilter {
        actor: query.take("actor"),
        action: query.take("action"),
        target: query.take("target"),
        outcome: outcome(&mut query)?,
        workspace: query.take("workspace"),
        since: time(&mut query, "since")?,
        until: time(&mut query, "until")?,
        before: query
            .take_number("cursor")?
            .map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
        after: None,
        limit: match format {
            None => limit(&mut query)?,
            Some(_) => export::limit(&mut query)?,
        },
    };
    query.finish()?;
    if let Some(format) = format {
        return export::answer(call, &wanted, format);
    }
    let (events, next) = audit::audit_events(call.app, call.caller()?, &wanted)?;
    let items = events
        .iter()
        .map(EventBody::of)
        .collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(
        200,
        &PageBody {
            items,
            next_cursor: next.map(|seq| seq.to_string()),
        },
    ))
}

/// `GET /v1/audit-events/chain`
pub fn chain(call: &Call<'_>) -> Result<Reply> {
    call.query()?.finish()?;
    let walked = audit::verify_chain(call.app, call.caller()?)?;
    Ok(Reply::json(
        200,
        &ChainBody {
            intact: walked.is_ok(),
            events: walked.as_ref().ok().copied(),
            first_bad: walked.as_ref().err().map(ToString::to_string),
        },
    ))
}

/// `POST /v1/audit-events/prune`
pub fn prune(call: &Call<'_>) -> Result<Reply> {
    let body = PruneBody::of(call.request)?;
    let cut = match (body.before, body.keep) {
        (Some(time), None) => Cut::Before(time),
        (None, Some(count)) => Cut::Keep(count),
        (None, None) => {
            return Err(Error::invalid_text("before", "is needed, or keep instead"));
        }
        (Some(_), Some(_)) => {
            return Err(Error::invalid_text(
                "keep",
                "must be left out beside before",
            ));
        }
    };
    let pruned = audit::prune(call.app, call.caller()?, cut)?;
    Ok(Reply::json(
        200,
        &PrunedBody {
            count: pruned.count,
            first_seq: pruned.first,
        },
    ))
}

/// `GET /v1/usage`
pub fn usage(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let key = query
        .take("key")
        .ok_or_else(|| Error::Malformed(verbatim("the parameter key is needed")))?;
    let until = time(&mut query, "until")?.unwrap_or(call.app.now().wall);
    let since = time(&mut query, "since")?.unwrap_or(Timestamp(until.0 - USAGE_DEFAULT_MS));
    query.finish()?;
    let key = KeyId::parse(&key).ok_or(Error::NotFound("key"))?;
    let rows = of_key(call.app, call.caller()?, key, Step::Hour, since, until)?;
    let items = rows
        .iter()
        .map(|row| HourBody {
            hour: Time(Timestamp(row.step * HOUR_MS)),
            code: &row.code,
            count: row.count,
        })
        .collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

fn outcome(query: &mut Query) -> Result<Option<Outcome>> {
    let Some(text) = query.take("outcome") else {
        return Ok(None);
    };
    let known = Outcome::parse(&text);
    let refused = || Error::invalid("outcome", refusals::audit::outcome());
    known.map(Some).ok_or_else(refused)
}

fn time(query: &mut Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .take(name)
        .map(|text| Timestamp::parse(name, &text))
        .transpose()
}
