//! The list of keys, with search, filters, columns, sorting and pages.

pub mod bulk;
pub mod columns;
pub mod export;
pub mod filters;
pub mod pages;
pub mod query;
pub mod search;

use super::address;
use super::fields::{has_meaning, is_shown};
use super::import::may_import;
use super::labels::Words;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::cookie::Cookie;
use crate::dialects::console::auth::{Visit, channel, page, redirect, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::sections::Section;
use crate::domain::keys::Member;
use crate::domain::policies::Policy;
use crate::error::{Error, Result};
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::keys::list::order::Column as SortColumn;
use crate::ops::keys::list::sorted;
use crate::ops::keys::offered::{KeyActions, offered, require_issue};
use crate::ops::policies;
use askama::Template;
pub use columns::label;
use columns::{CHOICES, Cell, Column, Head};
use filters::Filters;
use pages::PageLink;
use query::ListQuery;

/// The number of keys on a page.
const PAGE_KEYS: usize = 50;

#[derive(Template)]
#[template(path = "console/keys.html")]
struct KeysPage {
    s: Layout,
    w: Words,
    section: Option<&'static Section>,
    /// The heading of the column with the names, and those of the others.
    name_head: Head,
    heads: Vec<Head>,
    rows: Vec<KeyRow>,
    total: String,
    filters: Filters,
    /// What the list was asked for, as an address has it.
    query: String,
    /// The columns that can be chosen: their names, their labels, and whether they are chosen.
    choices: Vec<(&'static str, &'static str, bool)>,
    has_actions: bool,
    /// Whether some keys can be ticked.
    bulk: Option<Bulk>,
    export: String,
    earlier: String,
    later: String,
    links: Vec<PageLink>,
    /// The parameters of this list but its page, for the form that asks for a page.
    go: Vec<(&'static str, String)>,
    pages: usize,
    /// The address for creating a key; empty if the caller may not create any.
    new: String,
    /// Whether the caller may import keys; not on the page of one policy.
    can_import: bool,
    /// Advice to read before the user creates a key.
    about: Vec<&'static str>,
    refusal: Option<String>,
}

/// What can be done to several keys at once.
struct Bulk {
    /// What to call all keys of the list, if they are more than those of the page.
    all: Option<String>,
    switch: bool,
    extend: bool,
    delete: bool,
}

/// One key.
struct KeyRow {
    id: String,
    href: String,
    name: String,
    hint: String,
    /// Each with the label of its column.
    cells: Vec<(&'static str, Cell)>,
    enabled: bool,
    offered: KeyActions,
}

/// `GET /console/keys`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    if let Some(elsewhere) = search::without_secret(call) {
        return Ok(elsewhere);
    }
    page(call, &|visit| {
        let mut query = call.query()?;
        let asked = ListQuery::take(&mut query);
        query.finish()?;
        match search::without_foreign_secret(visit, &asked)? {
            Some(elsewhere) => Ok(elsewhere),
            None => shown(visit, &asked),
        }
    })
}

/// `POST /console/keys/columns`: keeps the choice of columns in the browser.
pub fn choose_columns(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let value = columns::cookie_of(&form.all("columns[]"));
        let back = ListQuery::parse(form.text("query")).address();
        let cookie = Cookie::Columns.keep(channel(visit.call), &value);
        Ok(redirect(&back).also("set-cookie", cookie))
    })
}

fn shown(visit: &Visit<'_>, asked: &ListQuery) -> Result<Reply> {
    let policy_name = asked.some("policy");
    let words = Words::of(visit, policy_name.as_deref());
    let section = words.section();
    let (app, caller) = (visit.call.app, &visit.caller);
    let from = asked.page.saturating_mul(PAGE_KEYS);
    let range = from..from.saturating_add(PAGE_KEYS);
    let (found, refusal) = match sorted::list(app, caller, &asked.filter(), asked.sort(), range) {
        Ok(found) => (found, None),
        Err(err @ Error::Invalid { .. }) => {
            let none = sorted::Found {
                items: Vec::new(),
                total: 0,
            };
            (none, Some(visit.texts.error(&err)))
        }
        Err(err) => return Err(err),
    };
    let count = found.total.div_ceil(PAGE_KEYS).max(1);
    let at = asked.page.min(count - 1);
    if asked.page > at {
        return Ok(redirect(&asked.at(at)));
    }
    let directory = app.index.directory();
    let policy = policy_name.as_ref();
    let policy = policy.and_then(|name| directory.policy(name).cloned());
    drop(directory);
    let columns = shown_columns(visit, asked, words, policy.as_deref(), &found.items);
    let rows = found.items.iter();
    let rows: Vec<KeyRow> = rows
        .map(|view| row(visit, words, view, &columns))
        .collect::<Result<_>>()?;
    let nav = match section {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let has = |name: &str| {
        let policy = policy.as_deref();
        policy.is_none_or(|policy| match name {
            "owner" => has_meaning(policy, name),
            _ => {
                section.is_none()
                    || is_shown(policy, words, name)
                    || columns.contains(&Column::Expires)
            }
        })
    };
    let s = visit.shell(words.page(), nav);
    let link = |go: bool, page: usize| match go {
        true => asked.at(page),
        false => String::new(),
    };
    let go = asked.filters().chain(Some(("sort", asked.text("sort"))));
    let total = match found.total <= PAGE_KEYS {
        true => s.tn("keys.count", found.total as u64),
        false => s
            .tn("keys.shown", found.total as u64)
            .replacen("{from}", &visit.texts.number(from as u64 + 1), 1)
            .replacen(
                "{to}",
                &visit.texts.number((from + found.items.len()) as u64),
                1,
            ),
    };
    let keys = KeysPage {
        section,
        name_head: columns::head(words.name_column(), Some(SortColumn::Name), asked),
        heads: columns
            .iter()
            .map(|column| column.head(visit.texts, words, asked))
            .collect(),
        about: policy
            .as_deref()
            .map_or_else(Vec::new, |policy| words.about(policy)),
        total,
        filters: filters::filters(visit, asked, section.is_some(), has)?,
        query: asked.encoded(),
        choices: CHOICES
            .iter()
            .filter(|_| section.is_none())
            .map(|(column, name, ..)| {
                let label = column.label(visit.texts, words);
                (*name, label, columns.contains(column))
            })
            .collect(),
        has_actions: rows.iter().any(KeyRow::has_actions),
        bulk: bulk_of(visit, section, &rows, found.total),
        export: format!(
            "{MOUNT}/keys/export?{}",
            asked.with("sort", asked.text("sort")).encoded()
        ),
        earlier: link(at > 0, at.saturating_sub(1)),
        later: link(at + 1 < count, at + 1),
        links: pages::links(asked, at, count),
        go: go
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.to_owned()))
            .collect(),
        pages: count,
        new: new_address(visit, policy_name.as_deref())?,
        can_import: section.is_none() && may_import(visit),
        refusal,
        rows,
        w: words,
        s,
    };
    html(200, &keys)
}

/// The columns of the list: those that the user has chosen, or those of the page of another system.
fn shown_columns(
    visit: &Visit<'_>,
    asked: &ListQuery,
    words: Words,
    policy: Option<&Policy>,
    items: &[View],
) -> Vec<Column> {
    let Some(section) = words.section() else {
        return columns::shown(visit, None);
    };
    let shows = |name: &str| policy.is_some_and(|policy| is_shown(policy, words, name));
    let has_expiry = shows("expires_on")
        // The policy may have forbidden expiry only after keys with an expiry time were created.
        || asked.some("expiring").is_some()
        || items.iter().any(|view| view.key.expires_at.is_some());
    let all = [
        (Column::Scopes, true),
        (Column::Access, shows("read_only")),
        (Column::Workspace, section.has("workspace")),
        (Column::Used, true),
        (Column::Expires, has_expiry),
    ];
    let all = all.into_iter().filter(|(_, is_there)| *is_there);
    columns::shown(visit, Some(all.map(|(column, _)| column).collect()))
}

fn bulk_of(
    visit: &Visit<'_>,
    section: Option<&Section>,
    rows: &[KeyRow],
    total: usize,
) -> Option<Bulk> {
    let any = |may: fn(&KeyActions) -> bool| rows.iter().any(|row| may(&row.offered));
    let policy = section.and_then(|section| {
        let directory = visit.call.app.index.directory();
        directory.policy(section.policy).cloned()
    });
    // The name of each key has to be typed, so many cannot be deleted together.
    let asks_name = policy.is_some_and(|policy| policy.confirm_name);
    let bulk = Bulk {
        all: (total > rows.len()).then(|| {
            let most = bulk::KEYS_MAX.min(total);
            match most < total {
                true => visit.texts.count("bulk.first", most as u64),
                false => visit.texts.count("bulk.all", total as u64),
            }
        }),
        switch: any(|offered| offered.switch),
        extend: any(|offered| offered.fields.contains(&Member::ExpiresAt)),
        delete: !asks_name && any(|offered| offered.delete),
    };
    let can = bulk.switch || bulk.extend || bulk.delete;
    // The page of a system has what that system has; with one key, this is only its own buttons.
    Some(bulk).filter(|_| can && (section.is_none() || rows.len() > 1))
}

impl KeyRow {
    /// Whether the row has a button.
    fn has_actions(&self) -> bool {
        let offered = &self.offered;
        offered.reveal
            || offered.rotate
            || !offered.fields.is_empty()
            || offered.switch
            || offered.delete
    }
}

/// The address for creating a key, of this policy or of a policy that the user chooses there. Empty if the caller may
/// not create any.
pub fn new_address(visit: &Visit<'_>, policy: Option<&str>) -> Result<String> {
    let (app, caller) = (visit.call.app, &visit.caller);
    let issues = |policy: &Policy| require_issue(app, caller, policy).is_ok();
    let address = format!("{MOUNT}/keys/new");
    let found = match policies::list(app, caller) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    let mut found = found.iter().filter(|found| issues(found));
    Ok(match policy {
        None => found.next().map(|_| address),
        Some(name) => found
            .find(|found| found.name == name)
            .map(|_| format!("{address}?policy={}", encode(name))),
    }
    .unwrap_or_default())
}

fn row(visit: &Visit<'_>, words: Words, view: &View, columns: &[Column]) -> Result<KeyRow> {
    let key = &view.key;
    let cells = columns.iter().map(|column| {
        let label = column.label(visit.texts, words);
        (label, column.cell(visit, words, view, columns))
    });
    Ok(KeyRow {
        id: key.id.to_string(),
        href: address(key.id),
        name: key.name.clone(),
        hint: key.hint.clone(),
        cells: cells.collect(),
        enabled: key.enabled,
        offered: offered(visit.call.app, &visit.caller, view)?,
    })
}
