//! An audit event in answers: as JSON, and as the cells of a table.

use crate::domain::audit::Event;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The headings of [`cells`] as one complete line.
pub const COLUMNS: &str = "seq,at,actor,action,target_kind,target_id,workspace,source,request_id,outcome,reason,changes,previous\r\n";

/// One event.
#[derive(Serialize)]
pub struct EventBody<'a> {
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

impl<'a> EventBody<'a> {
    /// Fails if the recorded changes are no JSON.
    pub fn of(event: &'a Event) -> Result<EventBody<'a>> {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
