//! Selects and sorts the part of the matches that a page shows. Names and ends are in memory. Age and last use are in
//! the store, which returns them in order by an index, and the page reads no more rows than it needs.

use crate::domain::keys::live::Live;
use crate::domain::keys::{KeyId, State};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::index::KeyIds;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::store::{Read, key_orders};
use std::cmp::Ordering;
use std::ops::Range;

/// The number of rows in the first batch. Each further batch has twice as many, up to [`BATCH_MAX`].
const BATCH: u32 = 200;
/// See [`BATCH`].
const BATCH_MAX: u32 = 6_400;

/// The order of a list: a column, forwards or exactly the other way round.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sort {
    pub column: Column,
    pub reverse: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Column {
    /// The newest first.
    #[default]
    Age,
    /// The earliest end first; keys that never expire come last.
    Expiry,
    /// Who issued the key, in the form of its `created_by`.
    Maker,
    Name,
    /// Keys without an owner come last.
    Owner,
    Policy,
    /// The first scope decides; keys without scopes come first.
    Scopes,
    /// In the order of [`State::ALL`].
    State,
    /// The latest use first; keys that were never used come last.
    Used,
    Workspace,
}

impl Sort {
    /// The forward order of a column.
    pub fn by(column: Column) -> Sort {
        Sort {
            column,
            reverse: false,
        }
    }
}

/// Up to this number, keys are looked up one by one, because they may lie far apart in the store.
const FEW: usize = 400;

/// A key that matches the search, with the parts of its sort key that are in memory.
pub struct Match {
    id: KeyId,
    /// In lower case; empty in orders that do not need texts.
    text: Box<str>,
    expires_at: Timestamp,
}

impl Match {
    /// `state` is the state of the key now.
    pub fn new(directory: &Directory, key: &Live, state: State, sort: Sort) -> Match {
        let shared = &key.shared;
        let text = match sort.column {
            Column::Name => key.name.to_lowercase().into(),
            Column::Owner => {
                let owner = shared.owner.and_then(|owner| directory.user(owner));
                // No name of a user comes after this character.
                owner.map_or("\u{10ffff}", |owner| &owner.user_name).into()
            }
            Column::Maker => shared.created_by.clone(),
            Column::Policy => shared.policy.clone(),
            Column::Scopes => shared.scopes.join(" ").into(),
            Column::State => {
                let place = State::ALL.iter().position(|known| *known == state);
                format!("{:02}", place.unwrap_or(State::ALL.len())).into()
            }
            Column::Workspace => {
                let place = directory.place(shared.workspace);
                place.map_or("", |place| &place.workspace.slug).into()
            }
            Column::Age | Column::Expiry | Column::Used => Box::default(),
        };
        Match {
            id: key.id,
            text,
            expires_at: key.expires_at,
        }
    }
}

/// The ids of the keys at the positions of `range`.
pub fn slice(app: &App, sort: Sort, found: Vec<Match>, range: Range<usize>) -> Result<Vec<KeyId>> {
    let (count, until) = (found.len(), range.end.min(found.len()));
    if range.start >= until {
        return Ok(Vec::new());
    }
    // A page of the second half is nearer to the other end of the order.
    if range.start > count / 2 {
        let mut last = first(app, sort.column, !sort.reverse, found, count - range.start)?;
        last.reverse();
        last.truncate(until - range.start);
        return Ok(last);
    }
    let mut first = first(app, sort.column, sort.reverse, found, until)?;
    Ok(first.split_off(range.start.min(first.len())))
}

/// The first `until` keys in the order of a column, or in the reverse order.
fn first(
    app: &App,
    column: Column,
    reverse: bool,
    found: Vec<Match>,
    until: usize,
) -> Result<Vec<KeyId>> {
    let mut first = match column {
        Column::Expiry => smallest(found, until, reverse, |a, b| {
            (a.expires_at, a.id).cmp(&(b.expires_at, b.id))
        }),
        Column::Maker
        | Column::Name
        | Column::Owner
        | Column::Policy
        | Column::Scopes
        | Column::State
        | Column::Workspace => smallest(found, until, reverse, |a, b| {
            (&a.text, a.id).cmp(&(&b.text, b.id))
        }),
        Column::Age => {
            let (start, list): (i64, fn(&Read, _, u32) -> _) = match reverse {
                false => (i64::MAX, key_orders::list_newest),
                true => (i64::MIN, key_orders::list_oldest),
            };
            let (ids, start) = (ids(&found), (start, KeyId(0)));
            app.read(|read| {
                in_store(
                    read,
                    &ids,
                    until,
                    reverse,
                    start,
                    list,
                    key_orders::find_age,
                )
            })?
        }
        Column::Used => by_use(app, reverse, &found, until)?,
    };
    first.truncate(until);
    Ok(first)
}

/// The order of last use. Which keys were never used is only known when all uses are, so the reverse order reads all.
fn by_use(app: &App, reverse: bool, found: &[Match], until: usize) -> Result<Vec<KeyId>> {
    let mut ids = ids(found);
    let (later, wanted) = (
        (Timestamp(i64::MAX), KeyId(0)),
        if reverse { ids.len() } else { until },
    );
    let (list, find) = (key_orders::list_last_used, key_orders::find_last_used);
    let mut first = app.read(|read| in_store(read, &ids, wanted, false, later, list, find))?;
    if first.len() < wanted {
        for id in &first {
            ids.remove(id);
        }
        let mut never: Vec<KeyId> = ids.into_iter().collect();
        never.sort_unstable();
        first.extend(never);
    }
    if reverse {
        first.reverse();
    }
    Ok(first)
}

fn ids(found: &[Match]) -> KeyIds {
    found.iter().map(|key| key.id).collect()
}

/// The first `count` keys in an order that is known in memory.
fn smallest(
    mut found: Vec<Match>,
    count: usize,
    reverse: bool,
    order: impl Fn(&Match, &Match) -> Ordering,
) -> Vec<KeyId> {
    let order = |a: &Match, b: &Match| match reverse {
        false => order(a, b),
        true => order(b, a),
    };
    if count < found.len() {
        found.select_nth_unstable_by(count, &order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
    found.into_iter().map(|key| key.id).collect()
}

/// The first `count` of the wanted keys in an order that the store has; fewer if it does not have them all. `list`
/// returns the positions after a given one, in the order of falling positions unless `rising`; `find` returns the
/// position of one key.
fn in_store<P: Copy + Ord>(
    read: &Read,
    wanted: &KeyIds,
    count: usize,
    rising: bool,
    start: (P, KeyId),
    list: impl Fn(&Read, (P, KeyId), u32) -> Result<Vec<(P, KeyId)>>,
    find: impl Fn(&Read, KeyId) -> Result<Option<(P, KeyId)>>,
) -> Result<Vec<KeyId>> {
    if wanted.len() <= FEW {
        let places = wanted.iter().filter_map(|id| find(read, *id).transpose());
        let mut places = places.collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        if !rising {
            places.reverse();
        }
        return Ok(places.into_iter().map(|(_, id)| id).collect());
    }
    let (mut reached, mut batch) = (start, BATCH);
    let mut found = Vec::new();
    while found.len() < count {
        let rows = list(read, reached, batch)?;
        let asked = usize::try_from(batch).unwrap_or(usize::MAX);
        let Some(last) = rows.last() else { break };
        reached = *last;
        found.extend(
            rows.iter()
                .map(|(_, id)| *id)
                .filter(|id| wanted.contains(id)),
        );
        if rows.len() < asked {
            break;
        }
        batch = (batch * 2).min(BATCH_MAX);
    }
    Ok(found)
}
