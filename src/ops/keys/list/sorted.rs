//! Live keys in any order, counted. The search runs in memory; the store is read only for the keys that are shown.

use super::order::{self, Match, Sort};
use super::{Condition, Facts, Filter, made_by};
use crate::authz::caller::Caller;
use crate::domain::catalogs::{Catalog, Demand};
use crate::domain::keys::State;
use crate::domain::keys::live::{Live, SharedPart};
use crate::domain::policies::TiedTo;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::PARTS;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::keys::{View, seen, usage, with_names};
use crate::refusals;
use crate::store::keys;
use std::collections::HashMap;
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
    caller.require_somewhere(Permission::KeysRead)?;
    let condition = Condition::new(app, &app.index.directory(), caller, filter)?;
    let made = condition.created_by.as_deref();
    let made = made.map(|actor| made_by(app, actor)).transpose()?;
    let mut found = Vec::new();
    walk(app, caller, |directory, key, state| {
        let fits = filter.state.is_none_or(|wanted| wanted == state)
            && made.as_ref().is_none_or(|made| made.contains(&key.id))
            && condition.fits(directory, &Facts::of_live(key));
        if fits {
            found.push(Match::new(key, sort));
        }
    })?;
    view(app, caller, found, sort, range)
}

/// The number of the matches, and those at the positions of `range`, which are read from the store.
fn view(
    app: &App,
    caller: &Caller,
    found: Vec<Match>,
    sort: Sort,
    range: Range<usize>,
) -> Result<Found> {
    let total = found.len();
    let ids = order::slice(app, sort, found, range)?;
    let items = app.read(|read| {
        let mut items = Vec::new();
        for id in ids {
            // The row decides: the key may have been deleted in the meantime, or the caller may have lost the right to
            // see it.
            let key = keys::find(read, id)?.filter(|key| key.deleted_at.is_none());
            let key = seen(key, &app.index.directory(), caller);
            if let Ok(key) = key {
                let usage = usage(app, read, id)?;
                items.push(with_names(app, key, usage));
            }
        }
        Ok(items)
    })?;
    Ok(Found { items, total })
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
            found.push(Match::new(key, Sort::Name));
        }
    })?;
    view(app, caller, found, Sort::Name, 0..size)
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
