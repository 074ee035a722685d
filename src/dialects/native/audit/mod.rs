//! The audit log and usage.

mod export;

use super::keys::{PageBody, limit};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::bodies::event::EventBody;
use crate::http::fields::Fields;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::Wanted;
use crate::store::audit::Cut;
use export::Format;
use serde::Serialize;

/// The default start of a usage report: 24 hours before its end.
const USAGE_DEFAULT_MS: i64 = 86_400_000;

/// The result of verifying the audit log.
#[derive(Serialize)]
struct ChainBody<'a> {
    intact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<&'a str>,
}

/// The result of pruning the audit log.
#[derive(Serialize)]
struct PrunedBody {
    count: usize,
    /// The oldest event that is left; null if nothing was removed.
    first_seq: Option<i64>,
}

#[derive(Serialize)]
struct HourBody<'a> {
    hour: String,
    code: &'a str,
    count: u64,
}

/// `GET /v1/audit-events`
pub fn audit_events(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let format = Format::take(&mut query)?;
    let wanted = Wanted {
        actor: query.take("actor"),
        action: query.take("action"),
        target: query.take("target"),
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
            first_bad: walked.as_ref().err().map(String::as_str),
        },
    ))
}

/// `POST /v1/audit-events/prune`
pub fn prune(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let (before, keep) = (body.time("before")?, body.number("keep")?);
    body.finish()?;
    let cut = match (before, keep) {
        (Some(time), None) => Cut::Before(time),
        (None, Some(count)) => Cut::Keep(count),
        (None, None) => return Err(Error::invalid("before", "is needed, or keep instead")),
        (Some(_), Some(_)) => return Err(Error::invalid("keep", "must be left out beside before")),
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
        .ok_or_else(|| Error::Malformed("the parameter key is needed".to_owned()))?;
    let until = time(&mut query, "until")?.unwrap_or(call.app.now().wall);
    let since = time(&mut query, "since")?.unwrap_or(Timestamp(until.0 - USAGE_DEFAULT_MS));
    query.finish()?;
    let key = KeyId::parse(&key).ok_or(Error::NotFound("key"))?;
    let rows = audit::usage(call.app, call.caller()?, key, since, until)?;
    let hour = |row: &crate::store::usage::HourRow| {
        Timestamp(row.hour * crate::domain::time::HOUR_MS).to_string()
    };
    let items: Vec<_> = rows
        .iter()
        .map(|row| HourBody {
            hour: hour(row),
            code: &row.code,
            count: row.count,
        })
        .collect();
    Ok(PageBody::whole(items))
}

fn time(query: &mut Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .take(name)
        .map(|text| Timestamp::parse(name, &text))
        .transpose()
}
