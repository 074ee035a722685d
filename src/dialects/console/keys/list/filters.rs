//! The filters above a list of keys: what can be chosen, and what is chosen.

use super::columns::actor;
use super::query::{EXPIRING, ListQuery, NEVER, TWO, UNUSED, WEAK};
use crate::dialects::console::auth::Visit;
use crate::dialects::console::keys::badge;
use crate::domain::keys::State;
use crate::error::{Error, Result};
use crate::ops::keys::list::{ISSUED, sorted};
use crate::ops::{policies, users, workspaces};

/// A list to choose from.
pub struct Select {
    pub name: &'static str,
    pub label: &'static str,
    /// Values, labels, and whether it is the one that is chosen.
    pub options: Vec<(String, String, bool)>,
}

/// A filter that is set, with the address of the list without it.
pub struct Chip {
    pub label: &'static str,
    pub value: String,
    pub without: String,
}

#[derive(Default)]
pub struct Filters {
    pub q: String,
    pub sort: String,
    /// The filters that are always visible.
    pub few: Vec<Select>,
    /// The filters that are folded.
    pub more: Vec<Select>,
    /// One of them is set.
    pub more_open: bool,
    pub chips: Vec<Chip>,
    /// The address of the list without any filter.
    pub none: String,
}

impl Select {
    fn value_label(&self, value: &str) -> Option<&str> {
        let mut options = self.options.iter();
        let found = options.find(|(known, ..)| known == value);
        found.map(|(_, label, _)| label.as_str())
    }
}

/// The filters of a list. A page of another system has the policy fixed, and no folded filters.
pub fn filters(
    visit: &Visit<'_>,
    asked: &ListQuery,
    in_section: bool,
    has: impl Fn(&str) -> bool,
) -> Result<Filters> {
    let texts = visit.texts;
    let select = |name: &'static str, label: &'static str, named: Vec<(String, String)>| {
        let chosen = asked.text(name);
        let mut options = named;
        // What the address names is kept, whether it is there or not.
        if !chosen.is_empty() && !options.iter().any(|(value, _)| value == chosen) {
            let label = match name {
                "created_by" => actor(texts, chosen),
                _ => chosen.to_owned(),
            };
            options.push((chosen.to_owned(), label));
        }
        let options = options.into_iter().map(|(value, label)| {
            let is = value == chosen;
            (value, label, is)
        });
        Select {
            name,
            label: texts.get(label),
            options: options.collect(),
        }
    };
    let fixed = |values: Vec<(&str, String)>| {
        let values = values.into_iter();
        values
            .map(|(value, label)| (value.to_owned(), label))
            .collect()
    };
    let same = |names: Vec<String>| names.into_iter().map(|name| (name.clone(), name)).collect();
    let live = State::ALL.into_iter().filter(|it| *it != State::Deleted);
    let states = live.map(|state| (state.as_str(), badge(texts, state).label.to_owned()));
    let mut few = vec![select("state", "field.state", fixed(states.collect()))];
    let (app, caller) = (visit.call.app, &visit.caller);
    let places = allowed(workspaces::list(app, caller))?;
    if places.len() > 1 || has_value(asked, "workspace") {
        let names = places.iter().map(|place| place.slug.clone()).collect();
        few.push(select("workspace", "field.workspace", same(names)));
    }
    let mut more = Vec::new();
    if !in_section {
        let names = allowed(policies::list(app, caller))?;
        let names = names.iter().map(|policy| policy.name.clone()).collect();
        few.push(select("policy", "field.policy", same(names)));
    }
    let owners = allowed(users::list(app, caller))?;
    if has("owner") && (owners.len() > 1 || has_value(asked, "owner")) {
        let names = owners.iter().map(|user| user.user_name.clone()).collect();
        few.push(select("owner", "field.owner", same(names)));
    }
    let in_days = |name: &str, days: u64| texts.count(name, days);
    let expiring = EXPIRING.map(|(value, days)| (value, in_days("keys.expires_within", days)));
    let mut expiring = expiring.to_vec();
    expiring.push((NEVER, texts.get("keys.never_expires").to_owned()));
    let expiring = select("expiring", "keys.expiry", fixed(expiring));
    if in_section {
        few.extend(Some(expiring).filter(|_| has("expires_on")));
    } else {
        let facets = sorted::facets(app, caller)?;
        let makers = facets.makers.into_iter();
        let makers = makers.map(|maker| (maker.clone(), actor(texts, &maker)));
        let unused = UNUSED.map(|(value, days)| (value, in_days("keys.unused_for", days)));
        let get = |name: &str| texts.get(name).to_owned();
        more = vec![
            expiring,
            select("unused", "keys.usage", fixed(unused.to_vec())),
            select("created_by", "field.created_by", makers.collect()),
            select("scope", "keys.scope", same(facets.scopes)),
            select(
                "source",
                "field.source",
                fixed(vec![
                    (ISSUED, get("keys.source_issued")),
                    ("import", get("keys.source_import")),
                    ("file", get("keys.source_file")),
                ]),
            ),
            select(
                "secrets",
                "field.hint",
                fixed(vec![
                    (TWO, get("keys.two_secrets")),
                    (WEAK, get("keys.weak")),
                ]),
            ),
        ];
    }
    let is_set = |select: &Select| has_value(asked, select.name);
    let mut filters = Filters {
        q: asked.text("q").to_owned(),
        sort: asked.text("sort").to_owned(),
        more_open: more.iter().any(is_set),
        few,
        more,
        ..Filters::default()
    };
    let mut none = ListQuery::default().with("sort", asked.text("sort"));
    if in_section {
        none = none.with("policy", asked.text("policy"));
    }
    filters.none = none.address();
    for (name, value) in asked.filters() {
        if name == "policy" && in_section {
            continue;
        }
        let mut selects = filters.few.iter().chain(&filters.more);
        let select = selects.find(|select| select.name == name);
        let label = select.map_or(texts.get("keys.search"), |select| select.label);
        let shown = select.and_then(|select| select.value_label(value));
        filters.chips.push(Chip {
            label,
            value: shown.unwrap_or(value).to_owned(),
            without: asked.with(name, "").address(),
        });
    }
    Ok(filters)
}

fn has_value(asked: &ListQuery, name: &str) -> bool {
    !asked.text(name).is_empty()
}

/// A caller who may not list these gets an empty filter.
fn allowed<T>(list: Result<Vec<T>>) -> Result<Vec<T>> {
    match list {
        Err(Error::Forbidden(_)) => Ok(Vec::new()),
        other => other,
    }
}
