//! What a site is not known to have yet, according to its newest report, and the uses that it was lent.

use super::ended::{Asked, ended};
use super::given::{Given, is_strong};
use super::sites;
use crate::authz::caller::Caller;
use crate::domain::keys::KeyId;
use crate::error::Result;
use crate::ops::App;
use crate::store::sites::{self as rows, Lent, LentRow};

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
    /// Keys that have ended since; empty if it never reported, or if the audit log does not reach back so far.
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
        let lent = rows::list_lent(read, &app.seal_keys, name)?;
        Ok(match view.known_events() {
            None => (Vec::new(), Vec::new(), lent),
            Some(events) => {
                let changed = rows::list_changed_since(read, events)?;
                let asked = Asked {
                    site: Some(&view.site),
                    after: events,
                    with_new: false,
                };
                let ended = ended(app, read, &[asked])?.pop().flatten();
                let ended = ended.unwrap_or_default();
                // Keys whose secrets have ended are among those that have ended.
                let of_secrets = ended.secrets.iter().map(|one| one.key);
                let keys = ended.keys.iter().chain(&ended.whole).copied();
                let ended: Vec<KeyId> = keys.chain(of_secrets).collect();
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
    let sound = lent.into_iter().filter_map(|(id, row)| match row {
        LentRow::Altered => None,
        LentRow::Sound(lent) => Some((id, lent)),
    });
    let mut lent: Vec<(KeyId, Lent)> = sound.collect();
    lent.sort_unstable_by_key(|(id, _)| *id);
    let lent_count = lent.len();
    lent.truncate(NAMED_MAX);
    Ok(Pending {
        changed: Named::of(changed.into_iter().filter(is_given).collect()),
        ended: Named::of(ended),
        lent,
        lent_count,
    })
}
