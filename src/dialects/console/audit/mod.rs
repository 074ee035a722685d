//! The page of the audit log: lists events and verifies the chain.

pub mod export;

use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::form::day;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::text::Texts;
use crate::domain::audit::{Event, Kind, Outcome, Target};
use crate::domain::keys::KeyId;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::EventFilter;
use crate::ops::{keys, users, workspaces};
use askama::Template;

/// The number of events on a page.
const PAGE_EVENTS: usize = 50;
/// The filters, which are also the names of their fields.
pub(super) const FILTERS: &[&str] = &["actor", "action", "target", "since", "until"];

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    s: Layout,
    rows: Vec<EventRow>,
    /// The name, the label and the value, and whether the value is a day.
    filters: Vec<(&'static str, String, String, bool)>,
    older: String,
    newest: String,
    refusal: Option<String>,
    /// Whether the caller may verify the chain.
    verifies: bool,
    /// The result of verifying the chain, and whether the chain is intact.
    chain: Option<(String, bool)>,
}

struct EventRow {
    seq: i64,
    at: DisplayTime,
    actor: String,
    action: String,
    target: String,
    href: String,
    source: String,
    denied: bool,
    reason: String,
    /// The kind and the name of the target; the id if no name is known.
    target_name: String,
    changes: Vec<Change>,
}

/// A member of the target, before and after the event.
struct Change {
    member: String,
    before: String,
    after: String,
}

/// `GET /console/audit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
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

/// `POST /console/audit/chain`: verifies the whole chain.
pub fn prove(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let chain = match visit.noting(audit::verify_chain(call.app, &visit.caller))? {
            Ok(count) => {
                let count = u64::try_from(count).unwrap_or(0);
                (visit.texts.count("audit.intact", count), true)
            }
            Err(why) => {
                let (broken, why) = (visit.texts.get("audit.broken"), visit.texts.sentence(&why));
                (format!("{broken} {why}"), false)
            }
        };
        shown(visit, &Form::default(), None, Some(chain))
    })
}

pub(super) fn wanted(texts: &Texts, form: &Form, before: Option<u64>) -> Result<EventFilter> {
    Ok(EventFilter {
        actor: form.some("actor"),
        action: form.some("action"),
        target: form.some("target"),
        since: day(texts, form, "since")?,
        until: day(texts, form, "until")?.map(|day| day.plus_s(86_400)),
        after: None,
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
    let asked = wanted(visit.texts, form, before);
    let (asked, refusal) = match asked {
        Ok(asked) => (asked, None),
        Err(err @ Error::Invalid { .. }) => {
            let everything = wanted(visit.texts, &Form::default(), before)?;
            (everything, Some(visit.texts.sentence(&err.refusal())))
        }
        Err(err) => return Err(err),
    };
    let (events, next) = audit::audit_events(visit.call.app, &visit.caller, &asked)?;
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
        verifies: audit::require_verify_chain(visit.call.app, &visit.caller).is_ok(),
        chain,
    };
    html(200, &log)
}

fn row(visit: &Visit<'_>, event: &Event) -> EventRow {
    let id = &event.target.id;
    EventRow {
        seq: event.seq,
        at: DisplayTime::new(visit.texts, event.at, visit.call.app.now().wall),
        actor: event.actor.clone(),
        action: event.action.clone(),
        target: format!("{} {id}", visit.texts.word(event.target.kind.as_str())),
        target_name: format!(
            "{} {}",
            visit.texts.word(event.target.kind.as_str()),
            name(visit, &event.target)
        ),
        href: address(visit, &event.target),
        source: event.source.clone(),
        denied: event.outcome == Outcome::Denied,
        reason: event.reason.clone(),
        changes: changes(&event.changes),
    }
}

/// The page of a target; empty if it has none that the caller may see, for example because it was deleted.
fn address(visit: &Visit<'_>, target: &Target) -> String {
    let (app, caller, id) = (visit.call.app, &visit.caller, &target.id);
    let (folder, is_seen) = match target.kind {
        Kind::Key => {
            let key = KeyId::parse(id).map(|key| keys::find(app, caller, key));
            ("keys", key.is_some_and(|key| key.is_ok()))
        }
        Kind::User => ("users", users::find(app, caller, id).is_ok()),
        Kind::Workspace => ("workspaces", workspaces::find(app, caller, id).is_ok()),
        _ => return String::new(),
    };
    match is_seen {
        true => format!("{MOUNT}/{folder}/{}", encode(id)),
        false => String::new(),
    }
}

/// The name of a target, because users do not know uids.
fn name(visit: &Visit<'_>, target: &Target) -> String {
    let app = visit.call.app;
    let known = match target.kind {
        Kind::Key => {
            let id = KeyId::parse(&target.id);
            id.and_then(|id| app.index.with_key(id, |key| key.name.to_string()))
        }
        Kind::User => {
            let directory = app.index.directory();
            directory
                .find_user(&target.id)
                .map(|user| user.user_name.clone())
        }
        Kind::Workspace => {
            let directory = app.index.directory();
            directory
                .find_place(&target.id)
                .map(|place| place.workspace.slug.clone())
        }
        _ => None,
    };
    known.unwrap_or_else(|| target.id.clone())
}

/// Parses `{"member":[before,after]}`; any other text is displayed unchanged.
fn changes(text: &str) -> Vec<Change> {
    use serde_json::{Map, Value};
    let said = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.is_empty() => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let members: Map<String, Value> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(_) => Map::new(),
    };
    let one = |(member, value): (String, Value)| match value.as_array().map(Vec::as_slice) {
        Some([before, after]) => Change {
            member,
            before: said(before),
            after: said(after),
        },
        _ => Change {
            member,
            before: String::new(),
            after: said(&value),
        },
    };
    members.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_member_by_member() {
        let text = r#"{"name":["","new"],"enabled":["true","false"],"parent":[null,7],"odd":1}"#;
        let read = changes(text).into_iter();
        let read: Vec<String> = read
            .map(|change| format!("{} {} {}", change.member, change.before, change.after))
            .collect();
        for expected in ["name – new", "enabled true false", "parent – 7", "odd  1"] {
            assert!(read.iter().any(|line| line == expected), "{read:?}");
        }
        assert!(changes("").is_empty() && changes("{}").is_empty());
    }
}
