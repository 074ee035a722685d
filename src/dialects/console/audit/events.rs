//! Events in words: who did what to which thing, with links, and the values that changed.

use super::filters::address;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::Visit;
use crate::dialects::console::layout::moment::{DisplayTime, span};
use crate::dialects::console::text::Texts;
use crate::domain::audit::{Event, Kind, Outcome, Target};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::http::form::Form;
use crate::http::query::encode;
use crate::ops::audit::names;

/// One row of the log.
pub struct EventRow {
    pub seq: String,
    pub at: DisplayTime,
    pub action: String,
    /// The address that shows only events with this action.
    pub action_only: String,
    pub denied: bool,
    pub target: Option<Thing>,
    pub actor: Thing,
    pub source: String,
    pub reason: String,
    pub changes: Vec<Change>,
}

/// A thing that an event names.
pub struct Thing {
    /// The word for its kind; empty for an actor.
    pub kind: String,
    pub name: String,
    /// Its page; empty if it has none that the user may see.
    pub href: String,
    /// The address that shows only events about it, or by it.
    pub only: String,
}

/// A member of the target, before and after the event.
pub struct Change {
    pub member: String,
    pub before: String,
    pub after: String,
}

/// The row of an event. `form` has the filters of the page.
pub fn row(visit: &Visit<'_>, form: &Form, event: &Event) -> Result<EventRow> {
    let seq = u64::try_from(event.seq).unwrap_or(0);
    Ok(EventRow {
        seq: visit.texts.number(seq),
        at: DisplayTime::new(visit.texts, event.at, visit.call.app.now().wall),
        action: visit.texts.action(&event.action).to_owned(),
        action_only: address(form, &[("action", &event.action)]),
        denied: event.outcome == Outcome::Denied,
        target: target(visit, form, &event.target)?,
        actor: Thing {
            kind: String::new(),
            name: actor_name(visit, &event.actor)?,
            href: actor_page(visit, &event.actor)?,
            only: address(form, &[("actor", &event.actor)]),
        },
        source: event.source.clone(),
        reason: event.reason.clone(),
        changes: changes(visit, &event.changes),
    })
}

/// Who acted, in words.
pub fn actor_name(visit: &Visit<'_>, actor: &str) -> Result<String> {
    let texts = visit.texts;
    Ok(match actor.split_once(':') {
        None if actor == "system" => texts.get("actor.system").to_owned(),
        Some(("local", "0")) => texts.get("actor.root").to_owned(),
        Some(("local", uid)) => texts.with("actor.local", uid),
        Some(("user", name)) => name.to_owned(),
        Some(("key", id)) => match seen(visit, Kind::Key, id)? {
            Some(name) => key_name(&name, id),
            None => format!("{} {id}", texts.word(Kind::Key.as_str())),
        },
        _ => actor.to_owned(),
    })
}

/// A management key with its id, because names are not unique.
pub fn key_name(name: &str, id: &str) -> String {
    format!("{name} ({id})")
}

/// The page of an actor; empty if there is none that the user may see.
pub fn actor_page(visit: &Visit<'_>, actor: &str) -> Result<String> {
    let kind = match actor.split_once(':') {
        Some(("key", id)) => (Kind::Key, id),
        Some(("user", name)) => (Kind::User, name),
        _ => return Ok(String::new()),
    };
    Ok(match seen(visit, kind.0, kind.1)? {
        Some(_) => page_of(kind.0, kind.1),
        None => String::new(),
    })
}

/// The name of a thing that the user may see.
fn seen(visit: &Visit<'_>, kind: Kind, id: &str) -> Result<Option<String>> {
    let target = Target::new(kind, id);
    let name = names::of_target(visit.call.app, &visit.caller, &target)?;
    Ok(name.filter(|name| name.is_seen).map(|name| name.text))
}

/// The thing that an event is about; `None` for the server itself. `form` has the filters of the page.
pub fn target(visit: &Visit<'_>, form: &Form, target: &Target) -> Result<Option<Thing>> {
    if target.id.is_empty() {
        return Ok(None);
    }
    let name = names::of_target(visit.call.app, &visit.caller, target)?;
    let is_seen = name.as_ref().is_some_and(|name| name.is_seen);
    let asked = format!("{}:{}", target.kind.as_str(), spelled(visit, target));
    Ok(Some(Thing {
        kind: visit.texts.word(target.kind.as_str()).to_owned(),
        name: name.map_or_else(|| target.id.clone(), |name| name.text),
        href: match is_seen {
            true => page_of(target.kind, &target.id),
            false => String::new(),
        },
        only: address(form, &[("target", &asked)]),
    }))
}

/// The id of a thing as people write it: the name of a user, the slug of a workspace.
fn spelled(visit: &Visit<'_>, target: &Target) -> String {
    let directory = visit.call.app.index.directory();
    let found = match target.kind {
        Kind::User => directory
            .find_user(&target.id)
            .map(|user| user.user_name.clone()),
        Kind::Workspace => directory
            .find_place(&target.id)
            .map(|place| place.workspace.slug.clone()),
        _ => None,
    };
    found.unwrap_or_else(|| target.id.clone())
}

fn page_of(kind: Kind, id: &str) -> String {
    let folder = match kind {
        Kind::Catalog => "catalogs",
        Kind::Key => "keys",
        Kind::Policy => "policies",
        Kind::User => "users",
        Kind::Workspace => "workspaces",
        Kind::Server | Kind::Session | Kind::Site => return String::new(),
    };
    format!("{MOUNT}/{folder}/{}", encode(id))
}

/// Parses `{"member":[before,after]}`. A value that was absent before is no value to compare with.
fn changes(visit: &Visit<'_>, text: &str) -> Vec<Change> {
    let directory = visit.call.app.index.directory();
    let name = |uid: Uid| {
        let uid = uid.to_string();
        let place = directory.find_place(&uid);
        let user = directory.find_user(&uid);
        place
            .map(|place| place.workspace.slug.clone())
            .or_else(|| user.map(|user| user.user_name.clone()))
    };
    let one = |(member, before, after): (String, Option<String>, Option<String>)| Change {
        before: match &before {
            Some(text) if !text.is_empty() => value(visit.texts, &name, &member, text),
            _ => String::new(),
        },
        after: match &after {
            Some(text) if !text.is_empty() => value(visit.texts, &name, &member, text),
            _ => visit.texts.get("audit.no_value").to_owned(),
        },
        member: visit
            .texts
            .find(&format!("member.{member}"))
            .map_or(member, str::to_owned),
    };
    members(text).into_iter().map(one).collect()
}

/// The members with their values before and after, in their order.
fn members(text: &str) -> Vec<(String, Option<String>, Option<String>)> {
    use serde_json::{Map, Value};
    let plain = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let one = |(member, value): (String, Value)| match value.as_array().map(Vec::as_slice) {
        Some([before, after]) => (member, plain(before), plain(after)),
        _ => (member, None, plain(&value)),
    };
    members.into_iter().map(one).collect()
}

/// A value in words.
fn value(texts: &Texts, name: &dyn Fn(Uid) -> Option<String>, member: &str, text: &str) -> String {
    let own = texts.find(&format!("policy_{member}.{text}"));
    match text {
        "true" => texts.get("word.yes").to_owned(),
        "false" => texts.get("word.no").to_owned(),
        _ if member == "grace_s" => match text.parse() {
            Ok(seconds) => span(texts, seconds),
            Err(_) => text.to_owned(),
        },
        _ if member == "roles" => roles(texts, text),
        _ if own.is_some() => own.unwrap_or_default().to_owned(),
        _ => match (Uid::parse(text), Timestamp::parse(member, text)) {
            (Some(uid), _) => name(uid).unwrap_or_else(|| text.to_owned()),
            (_, Ok(at)) => DisplayTime::new(texts, at, at).exact,
            _ => text.to_owned(),
        },
    }
}

/// The roles of a user, which events have as `role@workspace`. The rules of a policy, whose member has the same name,
/// stay as they are.
fn roles(texts: &Texts, text: &str) -> String {
    let one = |word: &str| match word.split_once('@') {
        Some((role, place)) => match texts.find(&format!("role.{role}")) {
            Some(role) => format!("{role} ({place})"),
            None => word.to_owned(),
        },
        None => word.to_owned(),
    };
    let words: Vec<String> = text.split(' ').map(one).collect();
    let between = if text.contains('@') { ", " } else { " " };
    words.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    #[test]
    fn changes_are_read_member_by_member() {
        let text = r#"{"name":["","new"],"enabled":["true","false"],"parent":[null,7],"odd":1}"#;
        let read = members(text);
        let some = |text: &str| Some(text.to_owned());
        for expected in [
            ("name", some(""), some("new")),
            ("enabled", some("true"), some("false")),
            ("parent", None, some("7")),
            ("odd", None, some("1")),
        ] {
            let expected = (expected.0.to_owned(), expected.1, expected.2);
            assert!(read.contains(&expected), "{read:?}");
        }
        assert!(members("").is_empty() && members("{}").is_empty());
    }

    #[test]
    fn values_are_written_for_people() {
        let uid = "0a3d0b7e-5b1d-4c8e-9a57-3f0b6d2c4e11";
        let name = |_: Uid| Some("alice".to_owned());
        for (member, text, words) in [
            ("enabled", "false", "no"),
            ("owner", uid, "alice"),
            ("grace_s", "86400", "1 day"),
            (
                "expires_at",
                "2027-01-31T00:00:00Z",
                "2027-01-31 00:00:00 UTC",
            ),
            (
                "issued_by",
                "manager",
                "Users who manage keys in the workspace",
            ),
            ("name", "7", "7"),
            (
                "roles",
                "key_manager@europe auditor@root",
                "Key manager (europe), Auditor (root)",
            ),
            (
                "roles",
                "owner: *\nauditor (reads): a:b",
                "owner: *\nauditor (reads): a:b",
            ),
        ] {
            assert_eq!(value(english(), &name, member, text), words);
        }
    }

    #[test]
    fn every_member_that_events_name_has_words() {
        let texts = english();
        for member in crate::domain::keys::Member::ALL {
            let name = format!("member.{}", member.word());
            assert!(texts.find(&name).is_some(), "{name}");
        }
    }
}
