//! Lists of live keys for people: sorted, counted, in numbered pages. The search runs in memory; the store is read only
//! for the keys that a page shows.

mod order;
#[cfg(test)]
mod tests;

use super::{View, list, seen, usage, with_names};
use crate::authz::caller::Caller;
use crate::domain::catalogs::{Catalog, Demand};
use crate::domain::keys::live::{Kin, Live};
use crate::domain::keys::{KeyId, State};
use crate::domain::policies::TiedTo;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::PARTS;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::store::keys;
use order::Match;
use std::collections::HashMap;
use std::sync::Arc;

/// The greatest number of characters of a search text.
const QUERY_CHARS_MAX: usize = 100;

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

/// The request of a caller.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Slug or uid; keys below it are listed too.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    /// User name or uid.
    pub owner: Option<String>,
    /// The actor who made them, in the form of a key's `created_by`.
    pub created_by: Option<String>,
    /// Any state except [`State::Deleted`].
    pub state: Option<State>,
    /// Part of a name or an id.
    pub query: Option<String>,
    pub expiring_within_s: Option<u64>,
    pub sort: Sort,
    /// The first page is 0.
    pub page: usize,
    pub size: usize,
}

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

/// What all keys with the same shared part ([`Kin`]) have in common, decided once.
#[derive(Clone, Copy)]
struct Standing {
    seen: bool,
    owner_active: bool,
    workspace_active: bool,
    /// `false` if the policy was changed without Latchkey.
    policy_in_force: bool,
}

/// Lists live keys that the caller may read.
pub fn browse(app: &App, caller: &Caller, wanted: &Wanted) -> Result<Found> {
    caller.require_somewhere(Permission::KeysRead)?;
    let query = wanted.query.as_deref().map(str::to_lowercase);
    if query
        .as_ref()
        .is_some_and(|query| query.chars().count() > QUERY_CHARS_MAX)
    {
        return Err(Error::invalid(
            "q",
            format!("must have at most {QUERY_CHARS_MAX} characters"),
        ));
    }
    let now = app.now().wall;
    let until = wanted.expiring_within_s.map(|seconds| now.plus_s(seconds));
    let (top, owner) = places(&app.index.directory(), caller, wanted)?;
    let made = wanted
        .created_by
        .as_deref()
        .map(|text| list::made_by(app, text));
    let made = made.transpose()?;
    let mut found = Vec::new();
    walk(app, caller, |directory, key, state| {
        let kin = &key.kin;
        let fits = directory.reaches(top, kin.workspace)
            && wanted
                .policy
                .as_deref()
                .is_none_or(|policy| *policy == *kin.policy)
            && owner.is_none_or(|owner| kin.owner == Some(owner))
            && wanted.state.is_none_or(|asked| asked == state)
            && until.is_none_or(|until| key.expires_at > now && key.expires_at < until)
            && made.as_ref().is_none_or(|made| made.contains(&key.id))
            && query.as_deref().is_none_or(|query| has(key, query));
        if fits {
            found.push(Match::new(key, wanted.sort));
        }
    })?;
    let total = found.len();
    let from = wanted.page.saturating_mul(wanted.size);
    let shown = order::slice(app, wanted.sort, found, from, wanted.size)?;
    Ok(Found {
        items: read_page(app, caller, shown)?,
        total,
    })
}

/// Reads the keys of a page from the store.
fn read_page(app: &App, caller: &Caller, ids: Vec<KeyId>) -> Result<Vec<View>> {
    app.read(|read| {
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
        let kin = &key.kin;
        let in_root = directory.is_root(kin.workspace);
        let grants = |wanted: &str| catalog.grants(&kin.scopes, in_root, wanted);
        let granted = demand.requirement.is_met(grants);
        let fits = state == State::Active
            && kin.catalog.as_deref() == Some(catalog.name())
            && granted
            && !(kin.read_only && demand.writes);
        if fits {
            found.push(Match::new(key, Sort::Name));
        }
    })?;
    let total = found.len();
    let shown = order::slice(app, Sort::Name, found, 0, size)?;
    Ok(Found {
        items: read_page(app, caller, shown)?,
        total,
    })
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
        return Err(Error::Unavailable(
            "keys are still being read; try again in a few seconds".to_owned(),
        ));
    }
    let now = app.now().wall;
    // The map is keyed by address. It also holds each `Arc`, so no address is freed and used again during the walk.
    let mut known: HashMap<*const Kin, (Arc<Kin>, Standing)> = HashMap::new();
    for part in 0..PARTS {
        let directory = app.index.directory();
        app.index.each_of_part(part, |key| {
            let (_, standing) = &*known
                .entry(Arc::as_ptr(&key.kin))
                .or_insert_with(|| (key.kin.clone(), standing(&directory, caller, key)));
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
    let kin = &key.kin;
    let tied = directory.policy(&kin.policy).map(|policy| policy.tied_to);
    let active = |owner: Uid| directory.user(owner).is_some_and(|user| user.is_active());
    Standing {
        seen: caller.may(directory, Permission::KeysRead, kin.workspace, kin.owner),
        owner_active: kin.owner.is_none_or(active) || tied == Some(TiedTo::Workspace),
        workspace_active: directory
            .place(kin.workspace)
            .is_some_and(|place| place.active),
        policy_in_force: tied.is_some(),
    }
}

/// The workspace below which the search looks, and the owner of the keys.
fn places(directory: &Directory, caller: &Caller, wanted: &Wanted) -> Result<(Uid, Option<Uid>)> {
    let top = match &wanted.workspace {
        None => caller.reach,
        Some(asked) => directory
            .find_place(asked)
            .map(|place| place.workspace.uid)
            .filter(|uid| caller.knows(directory, *uid))
            .ok_or_else(|| Error::invalid("workspace", "there is no such workspace"))?,
    };
    let owner = wanted.owner.as_deref().map(|asked| {
        directory
            .find_user(&asked.to_ascii_lowercase())
            .filter(|user| caller.knows(directory, user.home) || caller.user == Some(user.uid))
            .map(|user| user.uid)
            .ok_or_else(|| Error::invalid("owner", "there is no such user"))
    });
    Ok((top, owner.transpose()?))
}

/// Whether a text in lower case is part of the name or the id. No character has a special meaning (attacks 187).
fn has(key: &Live, query: &str) -> bool {
    let name = match key.name.is_ascii() && query.is_ascii() {
        // This covers most names without an allocation.
        true => {
            let (name, query) = (key.name.as_bytes(), query.as_bytes());
            query.is_empty()
                || name
                    .windows(query.len())
                    .any(|part| part.eq_ignore_ascii_case(query))
        }
        false => key.name.to_lowercase().contains(query),
    };
    name || key.id.to_string().to_lowercase().contains(query)
}
