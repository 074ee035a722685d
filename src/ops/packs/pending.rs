//! What a site is not known to have yet, according to its newest report, and the uses that it was lent.

use super::given::{Given, is_strong};
use super::sites;
use crate::authz::caller::Caller;
use crate::domain::keys::KeyId;
use crate::error::Result;
use crate::ops::App;
use crate::store::sites::{self as rows, Lent};

/// The number of keys that are named.
pub const NAMED_MAX: usize = 100;

/// Some keys: how many, and the first [`NAMED_MAX`] of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Named {
    pub count: usize,
    pub first: Vec<KeyId>,
}

/// What the newest report of a site does not include.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// Keys that it is given and that were made or changed since; empty if it never reported.
    pub changed: Named,
    /// Keys that have ended since; empty if it never reported.
    pub ended: Named,
    /// Uses of counted keys that it was lent, of the first [`NAMED_MAX`] keys, by id.
    pub lent: Vec<(KeyId, Lent)>,
    /// The number of keys of which it was lent uses.
    pub lent_count: usize,
}

impl Named {
    fn of(mut ids: Vec<KeyId>) -> Named {
        ids.sort_unstable();
        ids.dedup();
        let count = ids.len();
        ids.truncate(NAMED_MAX);
        Named { count, first: ids }
    }
}

/// What a site is not known to have yet.
pub fn pending(app: &App, caller: &Caller, name: &str) -> Result<Pending> {
    let view = sites::find_view(app, caller, name)?;
    let (changed, ended, lent) = app.read(|read| {
        let lent = rows::list_lent(read, name)?;
        Ok(match view.known_events() {
            None => (Vec::new(), Vec::new(), lent),
            Some(events) => {
                let changed = rows::list_changed_since(read, events)?;
                let ended = rows::list_ended_since(read, events)?;
                (changed, ended, lent)
            }
        })
    })?;
    let given = Given::of(&view.site, &app.index.directory());
    let is_given = |id: &KeyId| {
        let has = app
            .index
            .with_key(*id, |key| given.has_key(key) && is_strong(&key.secret));
        has.unwrap_or(false)
    };
    let own = ended
        .into_iter()
        .filter(|(_, workspace)| given.workspaces.contains(workspace));
    let mut lent: Vec<(KeyId, Lent)> = lent.into_iter().collect();
    lent.sort_unstable_by_key(|(id, _)| *id);
    let lent_count = lent.len();
    lent.truncate(NAMED_MAX);
    Ok(Pending {
        changed: Named::of(changed.into_iter().filter(is_given).collect()),
        ended: Named::of(own.map(|(id, _)| id).collect()),
        lent,
        lent_count,
    })
}
