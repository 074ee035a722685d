//! The audit log, usage and policies: what can be read about the rest.

use super::keys::{PageBody, RateBody, limit};
use crate::domain::audit::Event;
use crate::domain::key::KeyId;
use crate::domain::policy::{CredentialHeader, Policy, word};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::oversight;
use crate::store::audit::Filter;
use serde::Serialize;
use serde_json::value::RawValue;

/// How far back usage goes if nobody says: 24 hours.
const USAGE_DEFAULT_MS: i64 = 86_400_000;

#[derive(Serialize)]
struct EventBody<'a> {
    seq: i64,
    at: String,
    actor: &'a str,
    action: &'a str,
    target_kind: &'static str,
    target_id: &'a str,
    workspace: Option<&'a str>,
    source: &'a str,
    request_id: &'a str,
    outcome: &'static str,
    reason: &'a str,
    changes: Option<&'a RawValue>,
    previous: String,
}

#[derive(Serialize)]
struct HourBody<'a> {
    hour: String,
    code: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct PolicyBody<'a> {
    name: &'a str,
    description: &'a str,
    issued_by: &'static str,
    headers: Vec<&'a str>,
    read_only_by: &'static str,
    expiry: &'static str,
    expiry_s_max: Option<u64>,
    addresses: &'static str,
    keys_per_workspace_max: Option<u32>,
    secret_shown: &'static str,
    editable: Vec<&'static str>,
    can_disable: bool,
    can_rotate: bool,
    confirm_name: bool,
    tied_to: &'static str,
    rate_limit: Option<RateBody>,
    prefix: &'a str,
}

/// `GET /v1/audit-events`
pub fn audit_events(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let filter = Filter {
        actor: query.take("actor"),
        action: query.take("action"),
        target: query.take("target"),
        since: time(&mut query, "since")?,
        until: time(&mut query, "until")?,
        before: query
            .take_number("cursor")?
            .map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
    };
    let limit = limit(&mut query)?;
    query.finish()?;
    let (events, next) = oversight::audit_events(call.app, call.caller()?, filter, limit)?;
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
    let rows = oversight::usage(call.app, call.caller()?, key, since, until)?;
    let hour = |row: &crate::store::local::HourRow| {
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
    Ok(Reply::json(
        200,
        &PageBody {
            items,
            next_cursor: None,
        },
    ))
}

/// `GET /v1/policies`
pub fn policies(call: &Call<'_>) -> Result<Reply> {
    let found = oversight::policies(call.app, call.caller()?)?;
    let items: Vec<_> = found.iter().map(|policy| PolicyBody::of(policy)).collect();
    Ok(Reply::json(
        200,
        &PageBody {
            items,
            next_cursor: None,
        },
    ))
}

/// `GET /v1/policies/{name}`
pub fn policy(call: &Call<'_>) -> Result<Reply> {
    let found = oversight::policies(call.app, call.caller()?)?;
    let policy = found
        .iter()
        .find(|policy| policy.name == call.param("name"));
    Ok(Reply::json(
        200,
        &PolicyBody::of(policy.ok_or(Error::NotFound("policy"))?),
    ))
}

fn time(query: &mut Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .take(name)
        .map(|text| Timestamp::parse(name, &text))
        .transpose()
}

impl<'a> EventBody<'a> {
    fn of(event: &'a Event) -> Result<EventBody<'a>> {
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Ok(EventBody {
            seq: event.seq,
            at: event.at.to_string(),
            actor: &event.actor,
            action: &event.action,
            target_kind: event.target.kind.as_str(),
            target_id: &event.target.id,
            workspace: some(&event.workspace),
            source: &event.source,
            request_id: &event.request_id,
            outcome: event.outcome.as_str(),
            reason: &event.reason,
            changes: some(&event.changes)
                .map(serde_json::from_str)
                .transpose()
                .map_err(Error::internal)?,
            previous: event
                .previous
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        })
    }
}

impl<'a> PolicyBody<'a> {
    fn of(policy: &'a Policy) -> PolicyBody<'a> {
        PolicyBody {
            name: &policy.name,
            description: &policy.description,
            issued_by: word(policy.issued_by),
            headers: policy
                .headers
                .iter()
                .map(CredentialHeader::as_str)
                .collect(),
            read_only_by: word(policy.read_only_by),
            expiry: word(policy.expiry),
            expiry_s_max: policy.expiry_s_max,
            addresses: word(policy.addresses),
            keys_per_workspace_max: policy.keys_per_workspace_max,
            secret_shown: word(policy.secret_shown),
            editable: policy.editable.iter().map(|field| word(*field)).collect(),
            can_disable: policy.can_disable,
            can_rotate: policy.can_rotate,
            confirm_name: policy.confirm_name,
            tied_to: word(policy.tied_to),
            rate_limit: policy.rate_limit.map(|rate| RateBody {
                limit: rate.limit,
                window_s: rate.window_s,
            }),
            prefix: &policy.prefix,
        }
    }
}
