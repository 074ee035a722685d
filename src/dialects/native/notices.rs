//! Notices, and the sinks to which they are sent.

use super::keys::limit;
use crate::domain::notices::sink::{Series, Sink};
use crate::domain::notices::{Kind, Notice};
use crate::domain::users::permissions::Permission::{KeysRead, ServerAdmin};
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, PageBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::notices::list::{self, NoticeFilter};
use crate::ops::notices::sinks;
use crate::refusals;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::atomic::Ordering::Relaxed;

answer! {
    struct NoticeBody<'a> as "Notice" {
        /// The same in every delivery to a sink.
        id: String = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11",
        kind: &'static str [enum = Kind::all().map(Kind::as_str).collect::<Vec<_>>()] = "key.expiring",
        /// The kind of the thing that it is about; the id is empty for the server itself.
        subject_kind: &'static str = "key",
        subject_id: &'a str = "k3J9aQ0xZb",
        /// Uid; null for things of the whole server.
        workspace: Option<String> = "5d0b0a77-9a38-4f1e-8a52-6f6a3b1f2c10",
        first_at: Time,
        last_at: Time,
        /// How often it has happened between the two times.
        count: u64 [minimum = 1] = 1,
        /// Facts, by name. Never a secret.
        data: &'a RawValue
            [additionalProperties = json!({ "type": "string" })]
            = json!({ "expires_at": "2026-12-01T00:00:00Z", "within": "7d" }),
    }
}

answer! {
    /// Where notices are sent.
    struct SinkBody as "Sink" {
        name: &'static str [enum = Sink::ALL.map(Sink::as_str)] = "webhook",
        /// Whether it gets the events of the audit log too.
        audit: bool = true,
        /// Notices that it has not handled yet.
        notices_pending: u64,
        /// Events of the audit log that it has not sent yet.
        audit_pending: u64,
        /// Deliveries that failed since the server started.
        failures: u64,
        /// When the last delivery failed; null after a success.
        failed_at: Option<Time>,
        /// Why it failed.
        reason: Option<String>,
    }
}

request! {
    struct TestBody as "" {
        /// `file`, `syslog` or `webhook`.
        sink: String = "webhook",
    }
}

answer! {
    struct TestedBody as "SinkTest" {
        delivered: bool = true,
        /// Why it was not delivered.
        reason: Option<String>,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("get /v1/notices", "listNotices", "Read notices")
        .about(
            "What an administrator or the owner of a key should hear of, the newest first. A caller sees the notices of keys that \
             the caller may read, those of users with `users:read`, and those of the whole server with `audit:read` in the root \
             workspace.",
        )
        .needs(&[KeysRead])
        .query(
            "kind",
            "Notices of this kind.",
            json!({ "type": "string", "enum": Kind::all().map(Kind::as_str).collect::<Vec<_>>() }),
            json!("key.expiring"),
        )
        .query(
            "cursor",
            "The `next_cursor` of the page before.",
            json!({ "type": "integer", "minimum": 0 }),
            json!(43),
        )
        .query(
            "limit",
            "The number of rows on a page, 1 to 500.",
            json!({ "type": "integer", "minimum": 1, "maximum": 500, "default": 100 }),
            json!(100),
        )
        .answers::<PageBody<NoticeBody>>(200, "A page.");
    document
        .add(
            "get /v1/notices/sinks",
            "listSinks",
            "List the sinks of notices and their state",
        )
        .needs(&[ServerAdmin])
        .answers::<ListBody<SinkBody>>(200, "All sinks that are set.");
    document
        .add("post /v1/notices/test", "testSink", "Send a test notice through a sink")
        .about("It has the type `latchkey.test`, is sent at once, and waits up to 15 seconds for the outcome. A sink is tested by one caller at a time.")
        .needs(&[ServerAdmin])
        .body::<TestBody>()
        .answers::<TestedBody>(200, "What happened.")
        .conflicts();
}

/// `GET /v1/notices`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let refused = || Error::invalid("kind", refusals::notices::kind());
    let wanted = NoticeFilter {
        kind: query
            .take("kind")
            .map(|word| Kind::parse(&word).ok_or_else(refused))
            .transpose()?,
        before: query
            .take_number("cursor")?
            .map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
        limit: limit(&mut query)?,
    };
    query.finish()?;
    let (notices, next) = list::list(call.app, call.caller()?, &wanted)?;
    let items = notices.iter().map(body).collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(
        200,
        &PageBody {
            items,
            next_cursor: next.map(|seq| seq.to_string()),
        },
    ))
}

/// `GET /v1/notices/sinks`
pub fn sinks(call: &Call<'_>) -> Result<Reply> {
    sinks::require(call.app, call.caller()?)?;
    let notices = &call.app.notices;
    let items = notices.sinks().iter().map(|state| {
        let (failed_at, reason) = state.fault().unzip();
        SinkBody {
            name: state.sink.as_str(),
            audit: state.has_audit,
            notices_pending: notices.pending(state, Series::Notices),
            audit_pending: match state.has_audit {
                true => notices.pending(state, Series::Audit),
                false => 0,
            },
            failures: state.failures.load(Relaxed),
            failed_at: failed_at.map(Time),
            reason,
        }
    });
    Ok(Reply::json(200, &ListBody::of(items.collect())))
}

/// `POST /v1/notices/test`
pub fn test(call: &Call<'_>) -> Result<Reply> {
    sinks::require(call.app, call.caller()?)?;
    let body = TestBody::of(call.request)?;
    let sink =
        Sink::parse(&body.sink).ok_or_else(|| Error::invalid("sink", refusals::notices::sink()))?;
    let outcome = sinks::test(call.app, sink)?;
    Ok(Reply::json(
        200,
        &TestedBody {
            delivered: outcome.is_ok(),
            reason: outcome.err(),
        },
    ))
}

fn body(notice: &Notice) -> Result<NoticeBody<'_>> {
    Ok(NoticeBody {
        id: notice.id.to_string(),
        kind: notice.kind.as_str(),
        subject_kind: notice.subject.kind.as_str(),
        subject_id: &notice.subject.id,
        workspace: notice.workspace.map(|uid| uid.to_string()),
        first_at: Time(notice.first_at),
        last_at: Time(notice.last_at),
        count: notice.count,
        data: serde_json::from_str(&notice.data).map_err(Error::internal)?,
    })
}
