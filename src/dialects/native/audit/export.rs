//! Export of the audit log as JSON lines or CSV.
//!
//! One answer contains up to 10,000 events; if there are more, a `Link` header has the URL of the next answer (RFC
//! 8288).

use crate::domain::audit::Event;
use crate::error::{Error, Result};
use crate::http::bodies::audit::{COLUMNS, cells, is_formula, push_line};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::EventFilter;
use crate::refusals::verbatim;

/// The maximum, and the default, of events in one answer.
pub const EVENTS_MAX: u64 = 10_000;

/// The format of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// RFC 4180, with a header line on the first page only.
    Csv,
    JsonLines,
}

impl Format {
    /// The parameter `format`; `None` for ordinary pages.
    pub fn take(query: &mut Query) -> Result<Option<Format>> {
        match query.take("format").as_deref() {
            None | Some("json") => Ok(None),
            Some("csv") => Ok(Some(Format::Csv)),
            Some("jsonl") => Ok(Some(Format::JsonLines)),
            Some(_) => Err(Error::Malformed(verbatim(
                "the parameter format must be json, jsonl or csv",
            ))),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::JsonLines => "application/jsonl",
        }
    }
}

/// The length of a page: 1 to 10,000, by default 10,000.
pub fn limit(query: &mut Query) -> Result<usize> {
    let limit = query.take_number("limit")?.unwrap_or(EVENTS_MAX);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Error::Malformed(verbatim(format!(
            "the parameter limit must be 1 to {EVENTS_MAX} in this format"
        ))));
    }
    Ok(limit as usize)
}

/// Writes one page of an export.
pub fn answer(call: &Call<'_>, wanted: &EventFilter, format: Format) -> Result<Reply> {
    let is_first = wanted.before.is_none();
    let (events, next) = audit::export(call.app, call.caller()?, wanted)?;
    let mut text = String::new();
    if format == Format::Csv && is_first {
        text.push_str(COLUMNS);
    }
    for event in &events {
        match format {
            Format::Csv => push_row(&mut text, event),
            Format::JsonLines => push_line(&mut text, event)?,
        }
    }
    let reply = Reply::new(200).body(format.media_type(), text.into_bytes());
    Ok(match next {
        None => reply,
        Some(before) => reply.with("link", link(format, wanted, before)),
    })
}

/// The URL of the next page.
fn link(format: Format, asked: &EventFilter, before: i64) -> String {
    let mut target = format!(
        "{}?format={}&limit={}&cursor={before}",
        super::super::AUDIT_EVENTS,
        format.as_str(),
        asked.limit
    );
    let times = [asked.since, asked.until].map(|at| at.map(|at| at.to_string()));
    let [since, until] = &times;
    for (name, value) in [
        ("actor", &asked.actor),
        ("action", &asked.action),
        ("target", &asked.target),
        ("since", since),
        ("until", until),
    ] {
        if let Some(value) = value {
            target.push_str(&format!("&{name}={}", crate::http::query::encode(value)));
        }
    }
    format!("<{target}>; rel=\"next\"")
}

fn push_row(text: &mut String, event: &Event) {
    for (position, value) in cells(event).iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        push_cell(text, value);
    }
    text.push_str("\r\n");
}

/// Adds a cell, quoted if necessary. A cell that a spreadsheet would run as a formula gets a `'` before it.
fn push_cell(text: &mut String, value: &str) {
    let formula = is_formula(value);
    if !formula && !value.contains([',', ';', '\t', '"', '\r', '\n']) {
        text.push_str(value);
        return;
    }
    text.push('"');
    if formula {
        text.push('\'');
    }
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let mut text = String::new();
        push_cell(&mut text, value);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        check("plain text", "plain text");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"x\"", "\"say \"\"x\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        for start in ["=", "+", "-", "@", "\t", "\r"] {
            check(&format!("{start}1"), &format!("\"'{start}1\""));
        }
    }
}
