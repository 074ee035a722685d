//! The audit log, taken away: as one file, or as a page of files where it is too long for one.

use super::audit::{FILTERS, wanted};
use crate::dialects::console::door::{Visit, submit as submitted};
use crate::dialects::console::form::number;
use crate::dialects::console::shell::{Nav, Shell, html};
use crate::dialects::console::text::{Texts, grouped};
use crate::domain::audit::Event;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::oversight::parts::{self, Part};
use crate::ops::oversight::{self, Wanted};
use askama::Template;
use serde::Serialize;
use serde_json::value::RawValue;

/// Events of one file.
const FILE_EVENTS: u64 = 10_000;

#[derive(Template)]
#[template(path = "console/audit_export.html")]
struct ExportPage {
    s: Shell,
    lead: String,
    files: Vec<File>,
    /// What each file is asked for with: filters and format.
    kept: Vec<(&'static str, String)>,
}

struct File {
    after: i64,
    before: i64,
    label: String,
}

/// `POST /console/audit/export`: a form, because taking the log away is recorded.
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    submitted(call, |visit, form| {
        let asked = wanted(visit.texts, form, None)?;
        if let Some(part) = part(visit.texts, form)? {
            let asked = Wanted {
                after: Some(part.after),
                before: Some(part.before),
                ..asked
            };
            return file(visit, form, &asked, &name(&part));
        }
        let found = parts::parts(call.app, &visit.caller, &asked, FILE_EVENTS as i64);
        let found = visit.noting(found)?;
        match found.len() {
            0 | 1 => file(visit, form, &asked, "audit-log"),
            _ => files(visit, form, &found),
        }
    })
}

/// The part that a page of files asks for.
fn part(texts: &Texts, form: &Form) -> Result<Option<Part>> {
    let after = number(texts, form, "after")?;
    let before = number(texts, form, "before")?;
    let (Some(after), Some(before)) = (after, before) else {
        return Ok(None);
    };
    let refused = || Error::Malformed(texts.get("refusal.part").to_owned());
    let count = before.checked_sub(after).ok_or_else(refused)?;
    if count == 0 || count > FILE_EVENTS + 1 {
        return Err(refused());
    }
    let number = |number| i64::try_from(number).map_err(|_| refused());
    Ok(Some(Part {
        after: number(after)?,
        before: number(before)?,
    }))
}

fn name(part: &Part) -> String {
    format!("audit-log-{}-{}", part.after + 1, part.before - 1)
}

fn files(visit: &Visit<'_>, form: &Form, parts: &[Part]) -> Result<Reply> {
    let number = |number: i64| grouped(u64::try_from(number).unwrap_or(0));
    let one = |part: &Part| File {
        after: part.after,
        before: part.before,
        label: visit
            .texts
            .with("audit.export_numbers", &number(part.after + 1))
            .replacen("{}", &number(part.before - 1), 1),
    };
    let names = FILTERS.iter().chain(&["format"]);
    let page = ExportPage {
        s: visit.shell(visit.texts.get("audit.export_title"), Nav::Audit),
        lead: visit.texts.with("audit.export_lead", &grouped(FILE_EVENTS)),
        files: parts.iter().map(one).collect(),
        kept: names
            .map(|name| (*name, form.text(name).to_owned()))
            .collect(),
    };
    html(200, &page)
}

fn file(visit: &Visit<'_>, form: &Form, asked: &Wanted, name: &str) -> Result<Reply> {
    let asked = Wanted {
        // That it is taken is an event too.
        limit: usize::try_from(2 * FILE_EVENTS).unwrap_or(usize::MAX),
        ..asked.clone()
    };
    let (events, _) = oversight::export(visit.call.app, &visit.caller, &asked)?;
    let (text, kind, extension) = match form.text("format") {
        "csv" => (csv(&events), "text/csv; charset=utf-8", "csv"),
        _ => (json_lines(&events)?, "application/jsonl", "jsonl"),
    };
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    Ok(Reply::new(200)
        .with("content-disposition", disposition)
        .body(kind, text.into_bytes()))
}

/// One event, with the members that the API has for it.
#[derive(Serialize)]
struct Line<'a> {
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

fn json_lines(events: &[Event]) -> Result<String> {
    let mut text = String::new();
    for event in events {
        let changes = match event.changes.as_str() {
            "" => None,
            changes => Some(serde_json::from_str(changes).map_err(Error::internal)?),
        };
        let line = Line {
            seq: event.seq,
            at: event.at.to_string(),
            actor: &event.actor,
            action: &event.action,
            target_kind: event.target.kind.as_str(),
            target_id: &event.target.id,
            workspace: Some(event.workspace.as_str()).filter(|uid| !uid.is_empty()),
            source: &event.source,
            request_id: &event.request_id,
            outcome: event.outcome.as_str(),
            reason: &event.reason,
            changes,
            previous: hex(&event.previous),
        };
        text.push_str(&serde_json::to_string(&line).map_err(Error::internal)?);
        text.push('\n');
    }
    Ok(text)
}

/// RFC 4180. A cell that a spreadsheet would run is made harmless with a leading apostrophe.
fn csv(events: &[Event]) -> String {
    let cell = |text: &str| {
        let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let mark = if risky { "'" } else { "" };
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    };
    let mut text = "seq,at,actor,action,target_kind,target_id,workspace,source,request_id,outcome,reason,changes,previous\r\n".to_owned();
    for event in events {
        let cells = [
            &event.seq.to_string(),
            &event.at.to_string(),
            &event.actor,
            &event.action,
            event.target.kind.as_str(),
            &event.target.id,
            &event.workspace,
            &event.source,
            &event.request_id,
            event.outcome.as_str(),
            &event.reason,
            &event.changes,
            &hex(&event.previous),
        ];
        text.push_str(&cells.map(cell).join(","));
        text.push_str("\r\n");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
