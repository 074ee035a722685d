//! Selects and sorts the part of the matches that a page shows. Names and ends are in memory. Age and last use are in
//! the store, which returns them in order by an index, and the page reads no more rows than it needs.

use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::App;
use crate::store::{Read, key_orders};
use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;
use std::ops::Range;

/// The number of rows in the first batch. Each further batch has twice as many, up to [`BATCH_MAX`].
const BATCH: u32 = 200;
/// See [`BATCH`].
const BATCH_MAX: u32 = 6_400;

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// By expiry, the earliest first; keys that never expire come last.
    Expiry,
    Name,
    #[default]
    Newest,
    /// By last use, the latest first; keys that were never used come last.
    Used,
}

/// Up to this number, keys are looked up one by one, because they may lie far apart in the store.
const FEW: usize = 400;

/// A key that matches the search, with the parts of its sort key that are in memory.
pub struct Match {
    id: KeyId,
    /// In lower case; empty in orders that do not need names.
    name: Box<str>,
    expires_at: Timestamp,
}

impl Match {
    pub fn new(key: &Live, sort: Sort) -> Match {
        Match {
            id: key.id,
            name: match sort {
                Sort::Name => key.name.to_lowercase().into(),
                Sort::Expiry | Sort::Newest | Sort::Used => Box::default(),
            },
            expires_at: key.expires_at,
        }
    }
}

/// The ids of the keys at the positions of `range`.
pub fn slice(app: &App, sort: Sort, found: Vec<Match>, range: Range<usize>) -> Result<Vec<KeyId>> {
    let until = range.end.min(found.len());
    if range.start >= until {
        return Ok(Vec::new());
    }
    let mut first = match sort {
        Sort::Expiry => smallest(found, until, |a, b| {
            (a.expires_at, a.id).cmp(&(b.expires_at, b.id))
        }),
        Sort::Name => smallest(found, until, |a, b| (&a.name, a.id).cmp(&(&b.name, b.id))),
        Sort::Newest => app.read(|read| {
            let newer = (i64::MAX, KeyId(u64::MAX));
            let ids = ids(&found);
            first(
                read,
                &ids,
                until,
                newer,
                key_orders::list_newest,
                key_orders::find_age,
            )
        })?,
        Sort::Used => app.read(|read| {
            let later = (Timestamp(i64::MAX), KeyId(0));
            let mut ids = ids(&found);
            let (list, find) = (key_orders::list_last_used, key_orders::find_last_used);
            let mut first = first(read, &ids, until, later, list, find)?;
            if first.len() < until {
                for id in &first {
                    ids.remove(id);
                }
                let mut never: Vec<KeyId> = ids.into_iter().collect();
                never.sort_unstable();
                first.extend(never);
            }
            Ok(first)
        })?,
    };
    first.truncate(until);
    Ok(first.split_off(range.start.min(first.len())))
}

fn ids(found: &[Match]) -> HashSet<KeyId> {
    found.iter().map(|key| key.id).collect()
}

/// The first `count` keys in an order that is known in memory.
fn smallest(
    mut found: Vec<Match>,
    count: usize,
    order: impl Fn(&Match, &Match) -> Ordering,
) -> Vec<KeyId> {
    if count < found.len() {
        found.select_nth_unstable_by(count, &order);
        found.truncate(count);
    }
    found.sort_unstable_by(order);
    found.into_iter().map(|key| key.id).collect()
}

/// The first `count` of the wanted keys in an order that the store has; fewer if it does not have them all. `list`
/// returns the positions after a given one, `find` the position of one key.
fn first<P: Copy + Ord>(
    read: &Read,
    wanted: &HashSet<KeyId>,
    count: usize,
    start: (P, KeyId),
    list: impl Fn(&Read, (P, KeyId), u32) -> Result<Vec<(P, KeyId)>>,
    find: impl Fn(&Read, KeyId) -> Result<Option<(P, KeyId)>>,
) -> Result<Vec<KeyId>> {
    if wanted.len() <= FEW {
        let places = wanted.iter().filter_map(|id| find(read, *id).transpose());
        let mut places = places.collect::<Result<Vec<_>>>()?;
        places.sort_by_key(|place| Reverse(*place));
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
