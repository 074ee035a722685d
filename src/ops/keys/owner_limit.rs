//! Which key a new one replaces when its owner has the greatest number of keys.
//!
//! Programs that sign in again and again make keys and never delete them. A policy whose `at_owner_max` is `replace`
//! deletes the owner's key that has not been used for the longest time, in the transaction that stores the new one.

use super::{ended, ended_with_note};
use crate::authz::caller::{Caller, Identity};
use crate::domain::keys::Key;
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::index::usage::UsageBook;
use crate::ops::Record;
use crate::refusals;
use crate::store::keys::ReplacementCandidate;
use crate::store::{Write, keys};

/// Deletes keys of the new key's owner until there is room for the new key, and returns the records. It deletes more
/// than one key only if the greatest number was reduced.
///
/// # Errors
/// `Conflict` if no key may be deleted: the number is 0, or the caller may delete none of the owner's keys.
pub fn make_owners_room(
    tx: &Write<'_>,
    directory: &Directory,
    usage: &UsageBook,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let (Some(most), Some(owner)) = (policy.keys_per_owner_max, key.owner) else {
        return Ok(Vec::new());
    };
    let live = keys::list_by_use(tx, &policy.name, owner, now)?;
    let Some(surplus) = (live.len() + 1)
        .checked_sub(most as usize)
        .filter(|n| *n > 0)
    else {
        return Ok(Vec::new());
    };
    let mut candidates = candidates(directory, usage, caller, key, live);
    if candidates.len() < surplus || most == 0 {
        return Err(Error::Conflict(refusals::keys::many_of_owner_all_kept(
            &policy.name,
            most,
        )));
    }
    candidates.sort_by_key(order);
    let mut records = Vec::new();
    for spared in candidates.into_iter().take(surplus) {
        // The key may have ended together with an earlier one.
        let replaced = keys::find(tx, spared.id)?.ok_or(Error::NotFound("key"))?;
        if keys::delete(tx, spared.id, now)? {
            let mut changes = ended(&replaced);
            changes.note("replaced_by", &String::new(), &key.id.to_string());
            records.extend(ended_with_note(tx, "key.replace", &replaced, changes, now)?);
        }
    }
    Ok(records)
}

/// The keys that the caller may delete, with the uses that wait to be written. Users in person may delete all of their
/// own keys, other callers the keys that they manage. A key does not replace itself.
fn candidates(
    directory: &Directory,
    usage: &UsageBook,
    caller: &Caller,
    key: &Key,
    live: Vec<ReplacementCandidate>,
) -> Vec<ReplacementCandidate> {
    let in_person = matches!(
        caller.identity,
        Identity::Password { .. } | Identity::Session(_)
    );
    let own = in_person && caller.user.is_some() && caller.user == key.owner;
    let may = |spared: &ReplacementCandidate| {
        own || caller.may(
            directory,
            Permission::KeysWrite,
            spared.workspace,
            key.owner,
        )
    };
    live.into_iter()
        .filter(|spared| may(spared) && !caller.is_key(spared.id))
        .map(|spared| ReplacementCandidate {
            used_at: spared.used_at.max(usage.last_used(spared.id)),
            ..spared
        })
        .collect()
}

/// The key that has not been used for the longest time first; of two, the one without an end, because the other one
/// ends anyway. A key that was never used counts from its issue or from its newest secret.
fn order(spared: &ReplacementCandidate) -> (Timestamp, bool, i64) {
    let since = spared
        .used_at
        .map_or(spared.secret_at, |used_at| used_at.max(spared.secret_at));
    (since, spared.ends, spared.number)
}
