//! The columns of a list of keys: which there are, which a user has chosen, and what a key has in each.

use super::query::ListQuery;
use crate::dialects::console::auth::cookie::Cookie;
use crate::dialects::console::auth::{Visit, channel};
use crate::dialects::console::keys::labels::Words;
use crate::dialects::console::keys::{Badge, End, badge, end};
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::text::Texts;
use crate::domain::catalogs::Catalog;
use crate::ops::keys::View;
use crate::ops::keys::list::order::Column as SortColumn;

/// The maximum number of scopes that a row lists; it only counts the others.
const SCOPES_SHOWN: usize = 4;

/// One column. The name of the key is always there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Column {
    /// Of systems that have a word for it.
    Access,
    Created,
    Expires,
    Maker,
    Owner,
    Policy,
    Scopes,
    State,
    Used,
    Uses,
    Workspace,
}

/// The columns that a user can choose: their names in the cookie, whether they are there by default, and the order of the
/// list that their heading chooses. Nothing sorts by the number of uses: it grows all the time, partly in memory and partly
/// in the store, so each page would have to read the counts of all keys.
#[rustfmt::skip] // Columns are the point of this table.
pub const CHOICES: &[(Column, &str, bool, Option<SortColumn>)] = &[
    (Column::Scopes,    "scopes",     true,  Some(SortColumn::Scopes)),
    (Column::Policy,    "policy",     false, Some(SortColumn::Policy)),
    (Column::Workspace, "workspace",  true,  Some(SortColumn::Workspace)),
    (Column::Owner,     "owner",      false, Some(SortColumn::Owner)),
    (Column::Maker,     "created_by", false, Some(SortColumn::Maker)),
    (Column::Created,   "created",    false, Some(SortColumn::Age)),
    (Column::Used,      "used",       true,  Some(SortColumn::Used)),
    (Column::Uses,      "uses",       false, None),
    (Column::Expires,   "expires",    true,  Some(SortColumn::Expiry)),
];

/// The heading of a column.
pub struct Head {
    pub label: &'static str,
    /// Empty if the list cannot be sorted by it.
    pub href: String,
    /// The value of `aria-sort`; empty if the list is not sorted by it.
    pub sorted: &'static str,
}

/// What a key has in a column.
pub enum Cell {
    Badge(Badge),
    End(Option<End>),
    Line(String),
    Number(u64),
    /// Labels, and the number of those that are not shown.
    Tags(Vec<String>, usize),
    /// A name, and another one below it.
    Text(String, String),
    Time(Option<DisplayTime>),
}

/// The columns of a list, in order. `in_section` are those of another system's page, which are fixed.
pub fn shown(visit: &Visit<'_>, in_section: Option<Vec<Column>>) -> Vec<Column> {
    let chosen = in_section.unwrap_or_else(|| chosen(visit));
    std::iter::once(Column::State).chain(chosen).collect()
}

fn chosen(visit: &Visit<'_>) -> Vec<Column> {
    let cookie = Cookie::Columns.read(visit.call.request, channel(visit.call));
    let is_chosen = |name: &str, default: bool| match cookie {
        None => default,
        Some(names) => names.split('.').any(|it| it == name),
    };
    let all = CHOICES.iter();
    all.filter(|(_, name, default, _)| is_chosen(name, *default))
        .map(|(column, ..)| *column)
        .collect()
}

/// The value of the cookie for these names.
pub fn cookie_of(names: &[String]) -> String {
    let known = CHOICES.iter().map(|(_, name, ..)| *name);
    let chosen: Vec<&str> = known
        .filter(|name| names.iter().any(|it| it == name))
        .collect();
    match chosen.is_empty() {
        // An empty value would be no choice.
        true => "none".to_owned(),
        false => chosen.join("."),
    }
}

impl Column {
    pub fn label(self, texts: &'static Texts, words: Words) -> &'static str {
        match self {
            Column::Access => words.field("read_only"),
            Column::Created => texts.get("key.created"),
            Column::Expires => words.field("expires_on"),
            Column::Maker => texts.get("field.created_by"),
            Column::Owner => texts.get("field.owner"),
            Column::Policy => texts.get("field.policy"),
            Column::Scopes => words.field("scopes"),
            Column::State => texts.get("field.state"),
            Column::Used => texts.get("key.used"),
            Column::Uses => texts.get("keys.uses"),
            Column::Workspace => texts.get("field.workspace"),
        }
    }

    pub fn head(self, texts: &'static Texts, words: Words, asked: &ListQuery) -> Head {
        let known = CHOICES.iter().find(|(column, ..)| *column == self);
        let sort = match self {
            Column::State => Some(SortColumn::State),
            _ => known.and_then(|(_, _, _, sort)| *sort),
        };
        head(self.label(texts, words), sort, asked)
    }

    pub fn cell(self, visit: &Visit<'_>, words: Words, view: &View, columns: &[Column]) -> Cell {
        let (key, now) = (&view.key, visit.call.app.now().wall);
        let time = |at| DisplayTime::new(visit.texts, at, now);
        let owner = || view.owner.clone().unwrap_or_default();
        match self {
            Column::Access => {
                let (read, write) = words.access();
                Cell::Line(if key.read_only { read } else { write }.to_owned())
            }
            Column::Created => Cell::Time(Some(time(key.created_at))),
            Column::Expires => Cell::End(end(visit, view)),
            Column::Maker => Cell::Text(actor(visit.texts, &key.created_by), String::new()),
            Column::Owner => Cell::Text(owner(), String::new()),
            Column::Policy => Cell::Text(key.policy.clone(), String::new()),
            Column::Scopes => {
                let directory = visit.call.app.index.directory();
                let catalog = key.catalog.as_ref();
                let catalog = catalog.and_then(|name| directory.catalog(name));
                let catalog = catalog.map(|catalog| &**catalog);
                let shown = key.scopes.iter().take(SCOPES_SHOWN);
                let labels = shown.map(|scope| label(visit.texts, catalog, scope));
                let more = key.scopes.len().saturating_sub(SCOPES_SHOWN);
                Cell::Tags(labels.collect(), more)
            }
            Column::State => Cell::Badge(badge(visit.texts, view.state)),
            Column::Used => Cell::Time(view.usage.last_used_at.map(time)),
            Column::Uses => Cell::Number(view.usage.use_count),
            Column::Workspace => {
                let below = match columns.contains(&Column::Owner) {
                    true => String::new(),
                    false => owner(),
                };
                Cell::Text(view.workspace.clone(), below)
            }
        }
    }

    /// What a key has in this column, for a file.
    pub fn text(self, view: &View) -> String {
        let key = &view.key;
        match self {
            Column::Access => if key.read_only { "read" } else { "write" }.to_owned(),
            Column::Created => key.created_at.to_string(),
            Column::Expires => key.expires_at.map(|at| at.to_string()).unwrap_or_default(),
            Column::Maker => key.created_by.clone(),
            Column::Owner => view.owner.clone().unwrap_or_default(),
            Column::Policy => key.policy.clone(),
            Column::Scopes => key.scopes.join(" "),
            Column::State => view.state.as_str().to_owned(),
            Column::Used => {
                let at = view.usage.last_used_at;
                at.map(|at| at.to_string()).unwrap_or_default()
            }
            Column::Uses => view.usage.use_count.to_string(),
            Column::Workspace => view.workspace.clone(),
        }
    }

    /// The name of the column in a file.
    pub fn name(self) -> &'static str {
        match self {
            Column::Access => "access",
            Column::Created => "created_at",
            Column::Expires => "expires_at",
            Column::Maker => "created_by",
            Column::Owner => "owner",
            Column::Policy => "policy",
            Column::Scopes => "scopes",
            Column::State => "state",
            Column::Used => "last_used_at",
            Column::Uses => "use_count",
            Column::Workspace => "workspace",
        }
    }
}

/// The heading of a column that the list can be sorted by.
pub fn head(label: &'static str, sort: Option<SortColumn>, asked: &ListQuery) -> Head {
    let now = asked.sort();
    Head {
        label,
        href: sort.map_or(String::new(), |sort| asked.sorted_by(sort)),
        sorted: match sort == Some(now.column) {
            false => "",
            // The newest and the latest come first, so these columns fall.
            true => {
                let falls = matches!(now.column, SortColumn::Age | SortColumn::Used);
                if falls == now.reverse {
                    "ascending"
                } else {
                    "descending"
                }
            }
        },
    }
}

/// The label of a scope in its catalog; the scope itself if it has none.
pub fn label(texts: &Texts, catalog: Option<&Catalog>, scope: &str) -> String {
    let known = catalog.and_then(|catalog| {
        let mut scopes = catalog.definition().scopes.iter();
        scopes.find(|known| known.name == scope && !known.label.is_empty())
    });
    known.map_or_else(
        || scope.to_owned(),
        |known| texts.word(&known.label).to_owned(),
    )
}

/// An actor in words. The log has `user:alice`, and a list just the name.
pub fn actor(texts: &Texts, actor: &str) -> String {
    match actor.split_once(':') {
        Some(("user", name)) => name.to_owned(),
        Some(("key", id)) => texts.with("keys.maker_key", id),
        Some(("local", uid)) => texts.with("keys.maker_local", uid),
        _ => texts.get("keys.maker_system").to_owned(),
    }
}
