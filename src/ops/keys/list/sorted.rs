//! Live keys in any order, counted. The search runs in memory; the store is read only for the keys that are shown.

use super::order::{self, Column, Match, Sort};
use super::{Condition, Facts, Filter, Hits};
use crate::authz::caller::Caller;
use crate::domain::catalogs::{Catalog, Demand};
use crate::domain::keys::live::{Live, SharedPart};
use crate::domain::keys::{KeyId, State};
use crate::domain::policies::TiedTo;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::index::{KeyIds, PARTS};
use crate::ops::App;
use crate::ops::keys::{View, previous, seen, usage, with_names};
use crate::refusals;
use crate::store::{key_orders, keys};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// A page of the matches.
#[derive(Debug)]
pub struct Found {
    pub items: Vec<View>,
    /// The number of matches on all pages.
    pub total: usize,
}

/// How many of the live keys that the caller may see are in each state.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub states: Vec<(State, usize)>,
    /// Active keys that expire within the requested time.
    pub expiring: usize,
}

/// What all keys with the same shared part ([`SharedPart`]) have in common, decided once.
#[derive(Clone, Copy)]
struct Standing {
    seen: bool,
    owner_active: bool,
    workspace_active: bool,
    /// `false` if the policy was changed without Latchkey.
    policy_in_force: bool,
}

/// Lists live keys that the caller may read: those at the positions of `range` in an order.
pub fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    sort: Sort,
    range: Range<usize>,
) -> Result<Found> {
    let (ids, total) = list_ids(app, caller, filter, sort, range)?;
    let items = views(app, caller, &ids)?;
    Ok(Found { items, total })
}

/// The ids of the keys that [`list`] lists, and the number of matches.
pub fn list_ids(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    sort: Sort,
    range: Range<usize>,
) -> Result<(Vec<KeyId>, usize)> {
    caller.require_somewhere(Permission::KeysRead)?;
    let condition = Condition::new(app, &app.index.directory(), caller, filter)?;
    let used = condition.unused_since.map(|since| used_since(app, since));
    let used = used.transpose()?.unwrap_or_default();
    // As in `walk`, each `Arc` is kept, so no address is used again.
    let mut known: HashMap<*const SharedPart, (Arc<SharedPart>, Option<Hits>)> = HashMap::new();
    let mut found = Vec::new();
    walk(app, caller, |directory, key, state| {
        if filter.state.is_some_and(|wanted| wanted != state) || used.contains(&key.id) {
            return;
        }
        let (_, common) = known.entry(Arc::as_ptr(&key.shared)).or_insert_with(|| {
            let common = condition.common(directory, &key.shared);
            (key.shared.clone(), common)
        });
        let fits = common.is_some_and(|hits| {
            condition.fits(&Facts::of_live(key, condition.now), hits)
                && (condition.unused_since.is_none()
                    || condition.is_unused(app.index.usage.last_used(key.id)))
        });
        if fits {
            found.push(Match::new(directory, key, state, sort));
        }
    })?;
    let total = found.len();
    Ok((order::slice(app, sort, found, range)?, total))
}

/// The keys of which the store knows a use since a time.
fn used_since(app: &App, since: Timestamp) -> Result<KeyIds> {
    let used = app.read(|read| key_orders::list_used_since(read, since))?;
    Ok(used.into_iter().collect())
}

/// Those of these keys that are live and that the caller may see, in the same order.
pub fn views(app: &App, caller: &Caller, ids: &[KeyId]) -> Result<Vec<View>> {
    app.read(|read| {
        let mut items = Vec::new();
        for id in ids {
            // The row decides: the key may have been deleted in the meantime, or the caller may have lost the right to
            // see it.
            let key = keys::find(read, *id)?.filter(|key| key.deleted_at.is_none());
            let key = seen(key, &app.index.directory(), caller);
            if let Ok(key) = key {
                let usage = usage(app, read, *id)?;
                let previous = previous(app, read, &key, &usage)?;
                items.push(View {
                    previous,
                    ..with_names(app, key, usage)
                });
            }
        }
        Ok(items)
    })
}

/// What lists can be filtered by: who issued the keys that the caller may see, and their scopes.
#[derive(Debug, Default)]
pub struct Facets {
    /// In the form of a key's `created_by`.
    pub makers: Vec<String>,
    pub scopes: Vec<String>,
}

/// The most entries of each list of [`Facets`].
const FACETS_MAX: usize = 300;

/// The values that the live keys have which the caller may see, in order.
pub fn facets(app: &App, caller: &Caller) -> Result<Facets> {
    let mut known: HashMap<*const SharedPart, Arc<SharedPart>> = HashMap::new();
    walk(app, caller, |_, key, _| {
        known
            .entry(Arc::as_ptr(&key.shared))
            .or_insert_with(|| key.shared.clone());
    })?;
    let (mut makers, mut scopes) = (BTreeSet::new(), BTreeSet::new());
    for shared in known.values() {
        makers.insert(&*shared.created_by);
        scopes.extend(shared.scopes.iter().map(|scope| &**scope));
    }
    let first = |all: BTreeSet<&str>| {
        let all = all.into_iter().take(FACETS_MAX);
        all.map(str::to_owned).collect()
    };
    Ok(Facets {
        makers: first(makers),
        scopes: first(scopes),
    })
}

/// Keys that work and would pass where a catalog's operation asks for something; by name.
pub fn passing(
    app: &App,
    caller: &Caller,
    catalog: &Catalog,
    demand: &Demand<'_>,
    size: usize,
) -> Result<Found> {
    caller.require_somewhere(Permission::KeysRead)?;
    let mut found = Vec::new();
    walk(app, caller, |directory, key, state| {
        let shared = &key.shared;
        let in_root = directory.is_root(shared.workspace);
        let grants = |wanted: &str| catalog.grants(&shared.scopes, in_root, wanted);
        let granted = demand.requirement.is_met(grants);
        let fits = state == State::Active
            && shared.catalog.as_deref() == Some(catalog.name())
            && granted
            && !(shared.read_only && demand.writes);
        if fits {
            found.push(Match::new(directory, key, state, Sort::by(Column::Name)));
        }
    })?;
    let total = found.len();
    let ids = order::slice(app, Sort::by(Column::Name), found, 0..size)?;
    let items = views(app, caller, &ids)?;
    Ok(Found { items, total })
}

/// Counts the live keys that the caller may read, by state.
pub fn summary(app: &App, caller: &Caller, expiring_within_s: u64) -> Result<Summary> {
    caller.require_somewhere(Permission::KeysRead)?;
    let until = app.now().wall.plus_s(expiring_within_s);
    let live = State::ALL
        .into_iter()
        .filter(|state| *state != State::Deleted);
    let mut summary = Summary {
        states: live.map(|state| (state, 0)).collect(),
        expiring: 0,
    };
    walk(app, caller, |_, key, state| {
        for (known, count) in &mut summary.states {
            *count += usize::from(*known == state);
        }
        summary.expiring += usize::from(state == State::Active && key.expires_at < until);
    })?;
    Ok(summary)
}

/// Calls `look` for every live key that the caller may read, with its state.
fn walk(app: &App, caller: &Caller, mut look: impl FnMut(&Directory, &Live, State)) -> Result<()> {
    if !app.index.is_complete() {
        return Err(Error::Unavailable(refusals::keys::loading()));
    }
    let now = app.now().wall;
    // The map is keyed by address. It also holds each `Arc`, so no address is freed and used again during the walk.
    let mut known: HashMap<*const SharedPart, (Arc<SharedPart>, Standing)> = HashMap::new();
    for part in 0..PARTS {
        let directory = app.index.directory();
        app.index.each_of_part(part, |key| {
            let (_, standing) = &*known
                .entry(Arc::as_ptr(&key.shared))
                .or_insert_with(|| (key.shared.clone(), standing(&directory, caller, key)));
            if standing.seen {
                let state = match key.state(standing.owner_active, standing.workspace_active, now) {
                    State::Active if !standing.policy_in_force => State::Disabled,
                    state => state,
                };
                look(&directory, key, state);
            }
        });
    }
    Ok(())
}

fn standing(directory: &Directory, caller: &Caller, key: &Live) -> Standing {
    let shared = &key.shared;
    let tied = directory
        .policy(&shared.policy)
        .map(|policy| policy.tied_to);
    let active = |owner: Uid| directory.user(owner).is_some_and(|user| user.is_active());
    Standing {
        seen: caller.may(
            directory,
            Permission::KeysRead,
            shared.workspace,
            shared.owner,
        ),
        owner_active: shared.owner.is_none_or(active) || tied == Some(TiedTo::Workspace),
        workspace_active: directory
            .place(shared.workspace)
            .is_some_and(|place| place.active),
        policy_in_force: tied.is_some(),
    }
}
