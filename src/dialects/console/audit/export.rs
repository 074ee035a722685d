//! The export of the audit log: as one file, or as a page that offers several files if the log is too long for one.

use super::PAGE_EVENTS;
use super::filters::{FILTERS, wanted};
use crate::dialects::console::auth::{Visit, submit as submitted};
use crate::dialects::console::form::number;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::text::Texts;
use crate::domain::audit::Event;
use crate::error::{Error, Result};
use crate::http::bodies::audit::{COLUMNS, cells, is_formula, push_line};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::parts::Part;
use crate::ops::audit::{EventFilter, parts};
use crate::refusals::verbatim;
use askama::Template;
use std::borrow::Cow;

/// The number of events in one file.
const FILE_EVENTS: u64 = 10_000;

#[derive(Template)]
#[template(path = "console/audit_export.html")]
struct ExportPage {
    s: Layout,
    lead: String,
    files: Vec<File>,
    /// The fields that the request for each file repeats: the filters and the format.
    kept: Vec<(&'static str, String)>,
}

struct File {
    after: i64,
    before: i64,
    label: String,
}

/// `POST /console/audit/export`: a form, because each export is recorded in the audit log.
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    submitted(call, &|visit, form| {
        visit.noting(audit::require_read(call.app, &visit.caller))?;
        let asked = wanted(visit.texts, form, None, PAGE_EVENTS)?;
        if let Some(part) = part(visit.texts, form)? {
            let asked = EventFilter {
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

/// The part of the log that the form of one file requests.
fn part(texts: &Texts, form: &Form) -> Result<Option<Part>> {
    let after = number(texts, form, "after")?;
    let before = number(texts, form, "before")?;
    let (Some(after), Some(before)) = (after, before) else {
        return Ok(None);
    };
    let refused = || Error::Malformed(verbatim(texts.get("refusal.part")));
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
    let number = |number: i64| visit.texts.number(u64::try_from(number).unwrap_or(0));
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
        lead: visit
            .texts
            .with("audit.export_lead", &visit.texts.number(FILE_EVENTS)),
        files: parts.iter().map(one).collect(),
        kept: names
            .map(|name| (*name, form.text(name).to_owned()))
            .collect(),
    };
    html(200, &page)
}

fn file(visit: &Visit<'_>, form: &Form, asked: &EventFilter, name: &str) -> Result<Reply> {
    let asked = EventFilter {
        // The export itself adds events, so a file may be longer than planned.
        limit: usize::try_from(2 * FILE_EVENTS).unwrap_or(usize::MAX),
        ..asked.clone()
    };
    let (events, _) = audit::export(visit.call.app, &visit.caller, &asked)?;
    let (text, kind, extension) = match form.text("format") {
        "csv" => (csv(&events), "text/csv; charset=utf-8", "csv"),
        _ => (json_lines(&events)?, "application/jsonl", "jsonl"),
    };
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    Ok(Reply::new(200)
        .with("content-disposition", disposition)
        .body(kind, text.into_bytes()))
}

fn json_lines(events: &[Event]) -> Result<String> {
    let mut text = String::new();
    for event in events {
        push_line(&mut text, event)?;
    }
    Ok(text)
}

/// CSV according to RFC 4180 with every cell quoted. A leading apostrophe protects cells that a spreadsheet would run
/// as a formula.
fn csv(events: &[Event]) -> String {
    let quoted = |cell: Cow<'_, str>| {
        let mark = if is_formula(&cell) { "'" } else { "" };
        format!("\"{mark}{}\"", cell.replace('"', "\"\""))
    };
    let mut text = COLUMNS.to_owned();
    for event in events {
        text.push_str(&cells(event).map(quoted).join(","));
        text.push_str("\r\n");
    }
    text
}
