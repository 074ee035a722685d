//! Deletes, disables, enables or extends several keys at once: all of them or none.
//!
//! Each key is authorised, checked and recorded as in a separate request; the events have one request id.

use super::edit::{edit_one, switch_one};
use super::members::{KeyMembers, expiry};
use super::{View, end_one, view};
use crate::authz::caller::Caller;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::{keys, policies};
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
    /// Gives each key another end, or none.
    Expiry(Option<Timestamp>),
    /// Gives each key this end, or the last moment that its policy permits if that is earlier.
    ExpiryWithin(Timestamp),
}

/// The end that several keys get, as a request names it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewEnd {
    /// `Some(None)`: without end.
    pub expires_at: Option<Option<Timestamp>>,
    pub expires_in_s: Option<u64>,
    /// Whether a key whose policy does not permit this end gets the last moment that it permits.
    pub within_policy: Option<bool>,
}

impl NewEnd {
    fn action(self, now: Timestamp) -> Result<BatchAction> {
        if self.expires_at.is_none() && self.expires_in_s.is_none() {
            return Err(Error::invalid("expires_at", refusals::keys::end_needed()));
        }
        let end = expiry(self.expires_at.flatten(), self.expires_in_s, now)?;
        match (end, self.within_policy.unwrap_or(false)) {
            (end, false) => Ok(BatchAction::Expiry(end)),
            (Some(end), true) => Ok(BatchAction::ExpiryWithin(end)),
            (None, true) => Err(Error::invalid(
                "within_policy",
                refusals::keys::end_within_none(),
            )),
        }
    }
}

/// What has happened to several keys that were changed one by one, as far as they could be.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    pub done: Vec<KeyId>,
    pub refused: Vec<(KeyId, Error)>,
    /// Why the rest was not tried, and the rest.
    pub stopped: Option<(Error, Vec<KeyId>)>,
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
    /// The words of the API.
    pub const WORDS: [&'static str; 4] = ["delete", "disable", "enable", "extend"];

    /// The action with this word. `extend` needs an end, and the others have none.
    pub fn parse(word: &str, end: NewEnd, now: Timestamp) -> Result<BatchAction> {
        let deed = match word {
            "delete" => BatchAction::Delete,
            "disable" => BatchAction::Disable,
            "enable" => BatchAction::Enable,
            "extend" => return end.action(now),
            _ => {
                let words = BatchAction::WORDS.join(", ");
                return Err(Error::invalid("action", refusals::values::one_of(words)));
            }
        };
        let given = [
            ("expires_at", end.expires_at.is_some()),
            ("expires_in_s", end.expires_in_s.is_some()),
            ("within_policy", end.within_policy.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((field, _)) => Err(Error::invalid(field, refusals::keys::end_unused())),
            None => Ok(deed),
        }
    }

    fn action(self) -> &'static str {
        match self {
            BatchAction::Delete => "key.delete",
            BatchAction::Disable => "key.disable",
            BatchAction::Enable => "key.enable",
            BatchAction::Expiry(_) | BatchAction::ExpiryWithin(_) => "key.edit",
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
    let (index, who, seal_keys) = (app.index.clone(), caller.clone(), app.seal_keys.clone());
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
            let new_end = match deed {
                BatchAction::Expiry(end) => Some(end),
                BatchAction::ExpiryWithin(end) => {
                    let key = keys::find(tx, id)?.ok_or(Error::NotFound("key"))?;
                    let policy = policies::find(tx, &key.policy)?;
                    let latest = policy.and_then(|policy| policy.latest_end(now));
                    Some(Some(latest.map_or(end, |latest| end.min(latest))))
                }
                BatchAction::Delete | BatchAction::Disable | BatchAction::Enable => None,
            };
            if let Some(end) = new_end {
                let edit = KeyMembers {
                    expires_at: Some(end),
                    ..KeyMembers::default()
                };
                let (record, _) = edit_one(tx, &index, &seal_keys, &who, id, &edit, now)?;
                records.extend(record.map(|record| (deed.action(), record)));
                continue;
            }
            let (record, _) = switch_one(
                tx,
                &index,
                &seal_keys,
                &who,
                id,
                deed == BatchAction::Enable,
            )?;
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

/// Changes several keys, at most [`KEYS_MAX`] in one transaction. A key that is refused stays as it is, and the others are
/// changed. Keys whose policy asks for their names when they are deleted are refused.
pub fn change_each(
    app: &App,
    caller: &Caller,
    deed: BatchAction,
    mut ids: Vec<KeyId>,
) -> BatchOutcome {
    let mut outcome = BatchOutcome::default();
    while !ids.is_empty() {
        let few = ids.iter().copied().take(KEYS_MAX).collect::<Vec<_>>();
        match change(app, caller, deed, few.clone(), None) {
            Ok(_) => {
                ids.drain(..few.len());
                outcome.done.extend(few);
            }
            Err(BatchRefusal {
                key: Some(id),
                error,
            }) => {
                ids.retain(|it| *it != id);
                outcome.refused.push((id, error));
            }
            Err(BatchRefusal { key: None, error }) => {
                outcome.stopped = Some((error, ids));
                break;
            }
        }
    }
    outcome
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
