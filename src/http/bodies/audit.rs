//! An audit event in answers: as JSON, and as the cells of a table.

use crate::domain::audit::{Event, Kind, Outcome};
use crate::domain::hex::hex;
use crate::error::{Error, Result};
use crate::http::describe::bodies::answer;
use crate::http::describe::schema::Time;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The headings of [`cells`] as one complete line.
pub const COLUMNS: &str = "seq,at,actor,action,target_kind,target_id,workspace,source,request_id,outcome,reason,changes,previous\r\n";

answer! {
    pub struct EventBody<'a> as "AuditEvent" {
        /// Numbers have no gap.
        seq: i64 [minimum = 1] = 42,
        at: Time,
        /// `key:<id>`, `user:<name>`, `local:<uid>` or `system`.
        actor: &'a str = "user:alice",
        /// `noun.verb`.
        action: &'a str = "key.edit",
        target_kind: &'static str [enum = Kind::all().map(Kind::as_str).collect::<Vec<_>>()] = "key",
        target_id: &'a str = "k3J9aQ0xZb",
        /// Uid; null for things of the whole server.
        workspace: Option<&'a str> = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11",
        /// The client's address, `unix`, or empty.
        source: &'a str = "203.0.113.9",
        request_id: &'a str = "6f1c2a9b0000000000000007",
        outcome: &'static str [enum = Outcome::ALL.map(Outcome::as_str)] = "allowed",
        reason: &'a str,
        /// The values before and after, by member.
        changes: Option<&'a RawValue>
            [additionalProperties = json!({ "type": "array", "minItems": 2, "maxItems": 2 })]
            = json!({ "name": ["billing", "invoices"] }),
        /// SHA-256 of the event before.
        previous: String [pattern = "^[0-9a-f]{64}$"]
            = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
    }
}

impl<'a> EventBody<'a> {
    /// Fails if the recorded changes are no JSON.
    pub fn of(event: &'a Event) -> Result<EventBody<'a>> {
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Ok(EventBody {
            seq: event.seq,
            at: Time(event.at),
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
            previous: hex(&event.previous),
        })
    }
}

/// Appends an event as one line of JSON.
pub fn push_line(text: &mut String, event: &Event) -> Result<()> {
    let body = EventBody::of(event)?;
    text.push_str(&serde_json::to_string(&body).map_err(Error::internal)?);
    text.push('\n');
    Ok(())
}

/// An event as cells in the order of [`COLUMNS`]. They are neither quoted nor protected from spreadsheets
/// ([`is_formula`]).
pub fn cells(event: &Event) -> [Cow<'_, str>; 13] {
    [
        event.seq.to_string().into(),
        event.at.to_string().into(),
        event.actor.as_str().into(),
        event.action.as_str().into(),
        event.target.kind.as_str().into(),
        event.target.id.as_str().into(),
        event.workspace.as_str().into(),
        event.source.as_str().into(),
        event.request_id.as_str().into(),
        event.outcome.as_str().into(),
        event.reason.as_str().into(),
        event.changes.as_str().into(),
        hex(&event.previous).into(),
    ]
}

/// Whether a spreadsheet would execute a cell. Such a cell must get a `'` in front of it.
pub fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r'])
}
