//! The audit log: read, proven, taken away.

use crate::dialects::console::MOUNT;
use crate::dialects::console::door::{Visit, page, submit};
use crate::dialects::console::shell::moment::When;
use crate::dialects::console::shell::{Nav, Shell, html};
use crate::domain::audit::{Event, Outcome};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::oversight::{self, Wanted};
use askama::Template;

/// Events on a page.
const PAGE_EVENTS: usize = 50;
/// Events of an export.
const EXPORT_EVENTS: usize = 10_000;
/// The filters, by the names of their fields.
const FILTERS: &[&str] = &["actor", "action", "target", "since", "until"];

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    s: Shell,
    rows: Vec<Row>,
    /// Name, label, value, and whether it is a day.
    filters: Vec<(&'static str, String, String, bool)>,
    older: String,
    newest: String,
    refusal: Option<String>,
    /// What checking the chain came to, and whether it is whole.
    chain: Option<(String, bool)>,
}

struct Row {
    seq: i64,
    at: When,
    actor: String,
    action: String,
    target: String,
    href: String,
    source: String,
    denied: bool,
    reason: String,
    changes: String,
}

/// `GET /console/audit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, |visit| {
        let mut query = call.query()?;
        let mut form = Form::default();
        for name in FILTERS {
            form.put(name, query.take(name).unwrap_or_default());
        }
        let before = query.take_number("before")?;
        query.finish()?;
        shown(visit, &form, before, None)
    })
}

/// `POST /console/audit/chain`: walks all of it.
pub fn prove(call: &Call<'_>) -> Result<Reply> {
    submit(call, |visit, _| {
        let chain = match oversight::verify_chain(call.app, &visit.caller)? {
            Ok(count) => {
                let count = u64::try_from(count).unwrap_or(0);
                (visit.texts.count("audit.intact", count), true)
            }
            Err(why) => (format!("{} {why}", visit.texts.get("audit.broken")), false),
        };
        shown(visit, &Form::default(), None, Some(chain))
    })
}

/// `POST /console/audit/export`: a form, because taking the log away is recorded.
pub fn export(call: &Call<'_>) -> Result<Reply> {
    submit(call, |visit, form| {
        let wanted = Wanted {
            limit: EXPORT_EVENTS,
            ..wanted(form, None)?
        };
        let (events, _) = oversight::export(call.app, &visit.caller, &wanted)?;
        let (text, kind, name) = match form.text("format") {
            "csv" => (csv(&events), "text/csv; charset=utf-8", "audit-log.csv"),
            _ => (json_lines(&events), "application/jsonl", "audit-log.jsonl"),
        };
        Ok(Reply::new(200)
            .with(
                "content-disposition",
                format!("attachment; filename=\"{name}\""),
            )
            .body(kind, text.into_bytes()))
    })
}

fn wanted(form: &Form, before: Option<u64>) -> Result<Wanted> {
    let day = |name: &str, time: &str| -> Result<Option<Timestamp>> {
        let Some(day) = form.some(name) else {
            return Ok(None);
        };
        Timestamp::parse(name, &format!("{day}{time}"))
            .map(Some)
            .map_err(|_| Error::invalid(name, "must be a day such as 2027-01-31"))
    };
    Ok(Wanted {
        actor: form.some("actor"),
        action: form.some("action"),
        target: form.some("target"),
        since: day("since", "T00:00:00Z")?,
        until: day("until", "T00:00:00Z")?.map(|day| day.plus_s(86_400)),
        before: before.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
        limit: PAGE_EVENTS,
    })
}

fn shown(
    visit: &Visit<'_>,
    form: &Form,
    before: Option<u64>,
    chain: Option<(String, bool)>,
) -> Result<Reply> {
    let asked = wanted(form, before);
    let (asked, refusal) = match asked {
        Ok(asked) => (asked, None),
        Err(err @ Error::Invalid { .. }) => {
            let everything = wanted(&Form::default(), before)?;
            (everything, Some(err.to_string()))
        }
        Err(err) => return Err(err),
    };
    let (events, next) = oversight::audit_events(visit.call.app, &visit.caller, &asked)?;
    let pairs: Vec<String> = FILTERS
        .iter()
        .filter_map(|name| Some(format!("{name}={}", encode(&form.some(name)?))))
        .collect();
    let pairs = pairs.join("&");
    let filters = FILTERS.iter().map(|name| {
        let label = visit.texts.get(&format!("audit.{name}")).to_owned();
        let is_day = matches!(*name, "since" | "until");
        (*name, label, form.text(name).to_owned(), is_day)
    });
    let log = AuditPage {
        s: visit.shell(visit.texts.get("audit.title"), Nav::Audit),
        rows: events.iter().map(|event| row(visit, event)).collect(),
        filters: filters.collect(),
        older: next.map_or_else(String::new, |seq| {
            format!("{MOUNT}/audit?{pairs}&before={seq}")
        }),
        newest: match before {
            None => String::new(),
            Some(_) => format!("{MOUNT}/audit?{pairs}"),
        },
        refusal,
        chain,
    };
    html(200, &log)
}

fn row(visit: &Visit<'_>, event: &Event) -> Row {
    use crate::domain::audit::Kind;
    let id = &event.target.id;
    Row {
        seq: event.seq,
        at: When::new(visit.texts, event.at, visit.call.app.now().wall),
        actor: event.actor.clone(),
        action: event.action.clone(),
        target: format!("{} {id}", event.target.kind.as_str()),
        href: match event.target.kind {
            Kind::Key if !id.is_empty() => format!("{MOUNT}/keys/{}", encode(id)),
            Kind::User if !id.is_empty() => format!("{MOUNT}/users/{}", encode(id)),
            Kind::Workspace if !id.is_empty() => format!("{MOUNT}/workspaces/{}", encode(id)),
            _ => String::new(),
        },
        source: event.source.clone(),
        denied: event.outcome == Outcome::Denied,
        reason: event.reason.clone(),
        changes: event.changes.clone(),
    }
}

/// The members of an event, in the order of the columns.
fn members(event: &Event) -> [(&'static str, String); 10] {
    [
        ("seq", event.seq.to_string()),
        ("at", event.at.to_string()),
        ("actor", event.actor.clone()),
        ("action", event.action.clone()),
        ("target_kind", event.target.kind.as_str().to_owned()),
        ("target_id", event.target.id.clone()),
        ("source", event.source.clone()),
        ("outcome", event.outcome.as_str().to_owned()),
        ("reason", event.reason.clone()),
        ("changes", event.changes.clone()),
    ]
}

fn json_lines(events: &[Event]) -> String {
    let line = |event: &Event| {
        let members = members(event).into_iter();
        let object: serde_json::Map<String, serde_json::Value> = members
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        serde_json::Value::Object(object).to_string() + "\n"
    };
    events.iter().map(line).collect()
}

/// RFC 4180. A cell that a spreadsheet would run is made harmless with a leading apostrophe.
fn csv(events: &[Event]) -> String {
    let cell = |text: &str| {
        let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let mark = if risky { "'" } else { "" };
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    };
    let names = "seq,at,actor,action,target_kind,target_id,source,outcome,reason,changes\r\n";
    let line = |event: &Event| {
        let cells: Vec<String> = members(event)
            .iter()
            .map(|(_, value)| cell(value))
            .collect();
        cells.join(",") + "\r\n"
    };
    names.to_owned() + &events.iter().map(line).collect::<String>()
}
