//! Management keys without an owner: who issued them, and when they end.
//!
//! Such a key does not end with a user. So it is issued only if a caller with `server:admin` asks for it explicitly
//! (`issue`), it is listed when the user who made it is deleted or disabled, and a key that another key without an
//! owner issued ends with that key.

use super::{View, ended, record, view};
use crate::authz::bounds;
use crate::authz::caller::Caller;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::{Key, KeyId};
use crate::domain::time::Timestamp;
use crate::domain::users::User;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Read, Write, keys, users, workspaces};
use std::collections::HashSet;

/// The greatest number of keys between a key and the user at the beginning of its chain. This server makes no longer
/// chain.
const CHAIN_MAX: usize = 100;

/// The live management keys without an owner that a user made: directly, or through keys of this user, or through keys
/// that those made.
pub fn made_by(read: &Read, user: &User) -> Result<Vec<Key>> {
    let since = user.created_at;
    let mut waiting = keys::list_acting_of_owner(read, BUILT_IN, user.uid)?;
    let actor = format!("user:{}", user.user_name);
    waiting.extend(keys::list_acting_made_by(read, BUILT_IN, &actor)?);
    let mut known: HashSet<KeyId> = HashSet::new();
    let mut found = Vec::new();
    while let Some(id) = waiting.pop() {
        // The name may have belonged to another user earlier.
        let key = keys::find(read, id)?.filter(|key| key.created_at >= since);
        let Some(key) = key.filter(|key| known.insert(key.id)) else {
            continue;
        };
        waiting.extend(keys::list_acting_made_by(
            read,
            BUILT_IN,
            &format!("key:{id}"),
        )?);
        if key.deleted_at.is_none() && key.owner.is_none() && bounds::is_management(&key) {
            found.push(key);
        }
    }
    found.sort_by_key(|key| key.id);
    Ok(found)
}

/// As [`made_by`], with only the keys that the caller may see.
pub fn seen(read: &Read, directory: &Directory, caller: &Caller, user: &User) -> Result<Vec<Key>> {
    let may = |key: &Key| caller.may(directory, Permission::KeysRead, key.workspace, key.owner);
    let found = made_by(read, user)?.into_iter();
    Ok(found.filter(may).collect())
}

/// Ends keys together with the user who made them. One record each.
pub fn end(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    found: &[Key],
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    for key in found {
        caller.require(directory, Permission::KeysWrite, key.workspace, key.owner)?;
    }
    let mut records = Vec::new();
    for key in found {
        // The key may have ended together with an earlier one.
        if keys::delete(tx, key.id, now)? {
            records.push(("key.delete", record(key, ended(key))));
            records.extend(end_children(tx, key, now)?);
        }
    }
    Ok(records)
}

/// Ends the management keys without an owner that a key has issued which has just ended, and the keys that those have
/// issued. A key with `server:admin` may issue keys that outlive it, so its keys do not end. One record each.
pub fn end_children(
    tx: &Write<'_>,
    parent: &Key,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let mut records = Vec::new();
    let mut waiting = vec![parent.clone()];
    while let Some(parent) = waiting.pop() {
        if parent.owner.is_some() || !bounds::is_management(&parent) || is_admin(tx, &parent)? {
            continue;
        }
        let actor = format!("key:{}", parent.id);
        for id in keys::list_acting_made_by(tx, BUILT_IN, &actor)? {
            let child = keys::find(tx, id)?.filter(|key| key.owner.is_none());
            let Some(child) = child.filter(bounds::is_management) else {
                continue;
            };
            if keys::delete(tx, id, now)? {
                records.push(("key.delete", record(&child, ended(&child))));
                waiting.push(child);
            }
        }
    }
    Ok(records)
}

/// Whether a management key has `server:admin` where it counts: in the root workspace.
fn is_admin(read: &Read, key: &Key) -> Result<bool> {
    let permissions = Permissions::from_scopes(key.scopes.iter().map(String::as_str));
    let workspace = workspaces::find(read, key.workspace)?;
    let in_root = workspace.is_some_and(|workspace| workspace.parent.is_none());
    Ok(in_root && permissions.contains(Permission::ServerAdmin))
}

/// Refuses a management key without an owner unless the caller has `server:admin`.
pub fn check_allowed(directory: &Directory, caller: &Caller) -> Result<()> {
    let allowed = caller.require_global(directory, Permission::ServerAdmin);
    allowed.map_err(|_| Error::Forbidden(refusals::access::ownerless_management_key()))
}

/// Live keys as they are after a change.
pub fn views(app: &App, found: Vec<Key>) -> Result<Vec<View>> {
    let one = |key: Key| {
        let now = app.read(|read| keys::find(read, key.id))?;
        view(app, now.unwrap_or(key))
    };
    found.into_iter().map(one).collect()
}

/// Live management keys without an owner whose chain begins with a user who is deleted or disabled, each with the name
/// of that user.
pub fn orphans(read: &Read) -> Result<Vec<(Key, String)>> {
    let mut found = Vec::new();
    for id in keys::list_of_catalog(read, BUILT_IN)? {
        let Some(key) = keys::find(read, id)?.filter(|key| key.owner.is_none()) else {
            continue;
        };
        if let Some(user) = maker(read, &key)?.filter(|user| !user.is_active()) {
            found.push((key, user.user_name));
        }
    }
    Ok(found)
}

/// The user who made a key, or who made the first key of its chain.
fn maker(read: &Read, key: &Key) -> Result<Option<User>> {
    let (mut actor, mut at) = (key.created_by.clone(), key.created_at);
    for _ in 0..CHAIN_MAX {
        match actor.split_once(':') {
            Some(("user", name)) => return users::find_by_name_at(read, name, at),
            Some(("key", id)) => {
                let parent = KeyId::parse(id)
                    .map(|id| keys::find(read, id))
                    .transpose()?;
                let Some(parent) = parent.flatten() else {
                    return Ok(None);
                };
                if let Some(owner) = parent.owner {
                    return users::find(read, owner);
                }
                (actor, at) = (parent.created_by, parent.created_at);
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
