//! Deletes, disables or enables several keys at once: all of them or none.
//!
//! Each key is authorised, checked and recorded as in a separate request; the events have one request id.

use super::edit::switch_one;
use super::{View, end_one, view};
use crate::authz::caller::Caller;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::keys;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// The greatest number of keys in one request.
pub const KEYS_MAX: usize = 100;

/// The change that each key undergoes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BatchAction {
    Delete,
    Disable,
    Enable,
}

/// The reason why no key was changed.
#[derive(Debug)]
pub struct BatchRefusal {
    /// The key that caused the refusal; `None` if no single key did.
    pub key: Option<KeyId>,
    pub error: Error,
}

impl From<Error> for BatchRefusal {
    fn from(error: Error) -> BatchRefusal {
        BatchRefusal { key: None, error }
    }
}

impl BatchAction {
    pub const ALL: [(BatchAction, &'static str); 3] = [
        (BatchAction::Delete, "delete"),
        (BatchAction::Disable, "disable"),
        (BatchAction::Enable, "enable"),
    ];

    fn action(self) -> &'static str {
        match self {
            BatchAction::Delete => "key.delete",
            BatchAction::Disable => "key.disable",
            BatchAction::Enable => "key.enable",
        }
    }
}

/// Changes all keys in one transaction, and returns them in the same order as they are afterwards. `names` confirm
/// deletions, one name for each key; it is empty if none is confirmed.
pub fn change(
    app: &App,
    caller: &Caller,
    deed: BatchAction,
    ids: Vec<KeyId>,
    names: Option<Vec<String>>,
) -> std::result::Result<Vec<View>, BatchRefusal> {
    check(deed, &ids, names.as_deref())?;
    // The key that is being changed: the first one before the work begins, none after it has ended.
    let at: Arc<Mutex<Target>> = Arc::new(Mutex::new(Target::new(Kind::Key, ids[0])));
    let current = Arc::new(Mutex::new(None));
    let (index, who, peppers) = (app.index.clone(), caller.clone(), app.peppers.clone());
    let (target, key, all) = (at.clone(), current.clone(), ids.clone());
    let outcome = app.change_many(caller, deed.action(), ids.len(), at, move |tx, now| {
        let mut records = Vec::new();
        let mut done = HashSet::new();
        for (position, id) in all.iter().copied().enumerate() {
            *lock(&target) = Target::new(Kind::Key, id);
            *lock(&key) = Some(id);
            if deed == BatchAction::Delete {
                // The key may have ended together with an earlier one.
                if done.contains(&Target::new(Kind::Key, id)) {
                    continue;
                }
                let name = names.as_ref().map(|names| names[position].as_str());
                let ended = end_one(tx, &index.directory(), &who, id, name, now)?;
                done.extend(ended.iter().map(|(_, record)| record.target.clone()));
                records.extend(ended);
                continue;
            }
            let (record, _) =
                switch_one(tx, &index, &peppers, &who, id, deed == BatchAction::Enable)?;
            records.extend(record.map(|record| (deed.action(), record)));
        }
        *lock(&key) = None;
        Ok((records, ()))
    });
    outcome.map_err(|error| BatchRefusal {
        key: match error {
            Error::Conflict(_)
            | Error::Forbidden(_)
            | Error::Invalid { .. }
            | Error::NotFound(_) => *lock(&current),
            _ => None,
        },
        error,
    })?;
    let shown = |id: KeyId| {
        let key = app.read(|read| keys::find(read, id))?;
        view(app, key.ok_or(Error::NotFound("key"))?)
    };
    ids.into_iter()
        .map(|id| shown(id).map_err(BatchRefusal::from))
        .collect()
}

fn check(deed: BatchAction, ids: &[KeyId], names: Option<&[String]>) -> Result<()> {
    if !(1..=KEYS_MAX).contains(&ids.len()) {
        return Err(Error::invalid("ids", refusals::keys::ids_count(KEYS_MAX)));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = ids.iter().find(|id| !seen.insert(**id)) {
        return Err(Error::invalid("ids", refusals::keys::ids_twice(twice)));
    }
    let Some(names) = names else {
        return Ok(());
    };
    if deed != BatchAction::Delete {
        return Err(Error::invalid(
            "confirm_names",
            refusals::keys::confirm_names_unused(),
        ));
    }
    if names.len() != ids.len() {
        return Err(Error::invalid(
            "confirm_names",
            refusals::keys::confirm_names_count(),
        ));
    }
    Ok(())
}
