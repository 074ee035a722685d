//! The filters of the audit log: the fields of their form, and the addresses that set them.

use super::events::{actor_name, key_name};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::{day, end_of_day};
use crate::dialects::console::text::Texts;
use crate::domain::audit::{Outcome, actions};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::ops::audit::{EventFilter, names};
use crate::ops::{catalogs, policies, users, workspaces};

/// The filters, which are also the names of their fields.
pub const FILTERS: &[&str] = &[
    "actor",
    "action",
    "target",
    "outcome",
    "workspace",
    "since",
    "until",
];
/// How many users, management keys or workspaces a list offers.
const OFFERED_MAX: usize = 300;

/// A choice of a list: its value, its label, and whether it is selected.
pub type Choice = (String, String, bool);

/// The fields of the form.
pub struct Fields {
    /// Choices in groups; the first group has no name.
    pub actors: Vec<(&'static str, Vec<Choice>)>,
    pub actions: Vec<(&'static str, Vec<Choice>)>,
    pub outcomes: Vec<Choice>,
    /// Empty if there is only one workspace.
    pub workspaces: Vec<Choice>,
    /// What the events are about: the text, and names to choose from.
    pub target: String,
    pub names: Vec<(String, String)>,
    pub since: String,
    pub until: String,
    /// Whether any filter is set.
    pub is_set: bool,
}

/// The filter that a form asks for.
pub fn wanted(
    texts: &Texts,
    form: &Form,
    before: Option<u64>,
    limit: usize,
) -> Result<EventFilter> {
    let outcome = match form.some("outcome") {
        None => None,
        Some(text) => Some(
            Outcome::parse(&text)
                .ok_or_else(|| Error::invalid_text("outcome", texts.get("refusal.choice")))?,
        ),
    };
    Ok(EventFilter {
        actor: form.some("actor"),
        action: form.some("action"),
        target: form.some("target"),
        outcome,
        workspace: form.some("workspace"),
        since: day(texts, form, "since")?,
        until: end_of_day(texts, form, "until")?,
        after: None,
        before: before.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
        limit,
    })
}

/// The address of the log with the filters of a form, of which some have other values.
pub fn address(form: &Form, other: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let other = other.iter().find(|(known, _)| *known == name);
        other.map_or_else(|| form.some(name), |(_, value)| Some((*value).to_owned()))
    };
    let mut pairs: Vec<String> = FILTERS
        .iter()
        .filter_map(|name| Some(format!("{name}={}", encode(&value(name)?))))
        .collect();
    let extra = other.iter().filter(|(name, _)| !FILTERS.contains(name));
    pairs.extend(extra.map(|(name, value)| format!("{name}={}", encode(value))));
    match pairs.is_empty() {
        true => format!("{MOUNT}/audit"),
        false => format!("{MOUNT}/audit?{}", pairs.join("&")),
    }
}

impl Fields {
    /// The fields with the values of a form.
    pub fn new(visit: &Visit<'_>, form: &Form) -> Result<Fields> {
        let (app, caller, texts) = (visit.call.app, &visit.caller, visit.texts);
        let places = allowed(workspaces::list(app, caller))?;
        let users = allowed(users::list(app, caller))?;
        let users: Vec<String> = users.iter().map(|user| user.user_name.clone()).collect();
        let keys = names::management_keys(app, caller)?;
        let mut things = Vec::new();
        things.extend(
            users
                .iter()
                .map(|name| (format!("user:{name}"), name.clone())),
        );
        things.extend(places.iter().map(|place| {
            let value = format!("workspace:{}", place.slug);
            (value, place.name.clone())
        }));
        for policy in allowed(policies::list(app, caller))? {
            things.push((format!("policy:{}", policy.name), policy.name.clone()));
        }
        for catalog in allowed(catalogs::list(app, caller))? {
            let name = catalog.name();
            things.push((format!("catalog:{name}"), name.to_owned()));
        }
        things.extend(
            keys.iter()
                .map(|(id, name)| (format!("key:{id}"), name.clone())),
        );
        let one = |value: &str, label: &str, chosen: &str| {
            (value.to_owned(), label.to_owned(), value == chosen)
        };
        let outcome = form.text("outcome");
        Ok(Fields {
            actors: actors(visit, form.text("actor"), &users, &keys)?,
            actions: action_groups(texts, form.text("action")),
            outcomes: vec![
                one("", texts.get("audit.any_outcome"), outcome),
                one("allowed", texts.get("audit.allowed"), outcome),
                one("denied", texts.get("event.denied"), outcome),
            ],
            workspaces: match places.len() {
                0 | 1 => Vec::new(),
                _ => {
                    let chosen = form.text("workspace");
                    let any = one("", texts.get("audit.any_workspace"), chosen);
                    let places = places.iter().take(OFFERED_MAX);
                    let places = places.map(|place| one(&place.slug, &place.name, chosen));
                    std::iter::once(any).chain(places).collect()
                }
            },
            target: form.text("target").to_owned(),
            names: things,
            since: form.text("since").to_owned(),
            until: form.text("until").to_owned(),
            is_set: FILTERS.iter().any(|name| form.some(name).is_some()),
        })
    }
}

fn actors(
    visit: &Visit<'_>,
    chosen: &str,
    users: &[String],
    keys: &[(String, String)],
) -> Result<Vec<(&'static str, Vec<Choice>)>> {
    let texts = visit.texts;
    let one = |value: String, label: String| {
        let is = value == chosen;
        (value, label, is)
    };
    let general = [
        ("", "audit.anyone"),
        ("user", "audit.all_users"),
        ("key", "audit.all_keys"),
        ("local", "audit.this_machine"),
        ("system", "actor.system"),
    ];
    let general = general.map(|(value, name)| one(value.to_owned(), texts.get(name).to_owned()));
    let users = users.iter().take(OFFERED_MAX);
    let users = users.map(|name| one(format!("user:{name}"), name.clone()));
    let keys = keys.iter().take(OFFERED_MAX);
    let keys = keys.map(|(id, name)| one(format!("key:{id}"), key_name(name, id)));
    let mut groups = vec![
        ("", general.to_vec()),
        (texts.get("users.title"), users.collect()),
        (texts.get("audit.management_keys"), keys.collect()),
    ];
    let is_offered = groups.iter().any(|(_, group)| group.iter().any(|it| it.2));
    if !is_offered {
        let label = actor_name(visit, chosen)?;
        groups[0].1.push((chosen.to_owned(), label, true));
    }
    groups.retain(|(_, group): &(_, Vec<Choice>)| !group.is_empty());
    Ok(groups)
}

fn action_groups(texts: &Texts, chosen: &str) -> Vec<(&'static str, Vec<Choice>)> {
    let any = (
        String::new(),
        texts.get("audit.any_action").to_owned(),
        chosen.is_empty(),
    );
    let group = |noun: &'static str| {
        let label = texts.get(&format!("action_noun.{noun}"));
        let all = (
            noun.to_owned(),
            texts.with("audit.all_of", label),
            noun == chosen,
        );
        let own = actions::ALL.iter().filter(|it| actions::noun(it) == noun);
        let own = own.map(|it| {
            let (value, label) = ((*it).to_owned(), texts.action(it).to_owned());
            (value, label, *it == chosen)
        });
        (label, std::iter::once(all).chain(own).collect())
    };
    let groups = actions::nouns().into_iter().map(group);
    std::iter::once(("", vec![any])).chain(groups).collect()
}

/// A list; empty if the caller may not read it.
fn allowed<T>(list: Result<Vec<T>>) -> Result<Vec<T>> {
    match list {
        Err(Error::Forbidden(_)) => Ok(Vec::new()),
        other => other,
    }
}
