//! The life of a key: issue, read, edit, disable, enable, rotate, reveal, delete.

pub mod declared;
pub mod edit;
pub mod export;
pub mod import;
pub mod inspect;
pub mod issue;
pub mod list;
pub mod many;
pub mod members;
pub mod offered;
mod owner_limit;
pub mod ownerless;
pub mod refused;
pub mod reveal;
mod room;
pub mod rotate;
pub mod upgrade;

use super::idempotency;
use super::idempotency::Retry;
use super::verify::{is_secret_of_its_key, key_of_foreign};
use super::{App, Record};
use crate::authz;
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::declared::place_of;
use crate::domain::keys::secret::{Presented, Secret};
use crate::domain::locks::lock;

use crate::domain::keys::{Key, KeyId, State};
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::usage;
use crate::store::usage::Usage;
use crate::store::{Read, Write, keys};
use room::policy_of;

/// A key with the computed data that is shown together with it.
#[derive(Debug)]
pub struct View {
    pub key: Key,
    pub workspace: String,
    pub owner: Option<String>,
    pub state: State,
    pub usage: Usage,
    /// The secret before the newest, while it still works.
    pub previous: Option<Previous>,
}

/// The secret that a rotation has replaced, in its grace period.
#[derive(Clone, Debug)]
pub struct Previous {
    /// The start and the end of the secret; empty if it was replaced before hints were kept.
    pub hint: String,
    /// The first instant at which it no longer works.
    pub until: Timestamp,
    /// It also ends at the first use of the newest secret.
    pub until_first_use: bool,
    /// Its last use after the rotation.
    pub last_used_at: Option<Timestamp>,
}

/// A key and, if the secret was just made or revealed, its secret.
#[derive(Debug)]
pub struct Issued {
    pub view: View,
    pub secret: Option<Secret>,
}

/// The key, if the caller may see it.
pub fn find(app: &App, caller: &Caller, id: KeyId) -> Result<View> {
    caller.require_somewhere(Permission::KeysRead)?;
    let key = app.read(|read| keys::find(read, id))?;
    let key = seen(key, &app.index.directory(), caller)?;
    view(app, key)
}

/// The key that has a number, if the caller may see it.
pub fn find_by_number(app: &App, caller: &Caller, number: i64) -> Result<View> {
    caller.require_somewhere(Permission::KeysRead)?;
    let id = app.read(|read| keys::find_id_by_number(read, number))?;
    find(app, caller, id.ok_or(Error::NotFound("key"))?)
}

/// The number of words of a text that are compared with secrets of other systems.
const WORDS_MAX: usize = 8;
/// A shorter text that begins as secrets of another system do is not treated as one.
const FOREIGN_CHARS_MIN: usize = 20;

/// The key whose id is in a text that was found somewhere, if the caller may see the key, and whether the text is a
/// valid secret of it. This neither counts as a use nor spends or ends anything.
pub fn identify(app: &App, caller: &Caller, text: &str) -> Result<Option<(View, bool)>> {
    caller.require_somewhere(Permission::KeysVerify)?;
    let presented = Presented::parse(text);
    let id = match presented {
        Some(presented) => Some(presented.id),
        None => key_of_foreign(app, text)?,
    };
    let Some(id) = id else {
        return Ok(None);
    };
    let found = match find(app, caller, id) {
        Ok(found) => found,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(err) => return Err(err),
    };
    let (workspace, owner) = (found.key.workspace, found.key.owner);
    let directory = app.index.directory();
    caller.require(&directory, Permission::KeysVerify, workspace, owner)?;
    drop(directory);
    let matches = match presented {
        Some(presented) => is_secret_of_its_key(app, presented)?,
        None => true,
    };
    Ok(Some((found, matches)))
}

/// The part of a text that is the secret of a key that another system has made, or begins as such secrets do: the whole
/// text, or a word in it. Only keys that the caller may see and verify count, so that nobody learns more here than from
/// [`identify`].
pub fn known_secret_in<'t>(app: &App, caller: &Caller, text: &'t str) -> Result<Option<&'t str>> {
    if caller.require_somewhere(Permission::KeysVerify).is_err() {
        return Ok(None);
    }
    let may = |id: KeyId| -> Result<bool> {
        let found = match find(app, caller, id) {
            Ok(found) => found,
            Err(Error::NotFound(_)) => return Ok(false),
            Err(err) => return Err(err),
        };
        let directory = app.index.directory();
        let (workspace, owner) = (found.key.workspace, found.key.owner);
        Ok(caller.may(&directory, Permission::KeysVerify, workspace, owner))
    };
    let is_between = |c: char| c.is_whitespace() || "\"'`=:,;<>()[]{}".contains(c);
    let words = text.split(is_between).filter(|word| !word.is_empty());
    for part in [text].into_iter().chain(words.take(WORDS_MAX)) {
        if part.chars().count() >= FOREIGN_CHARS_MIN {
            for (id, _) in app.index.foreign.slow_candidates(part) {
                if may(id)? {
                    return Ok(Some(part));
                }
            }
        }
        if let Some(id) = key_of_foreign(app, part)?
            && may(id)?
        {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// The caller's own key, with or without the right to read keys.
pub fn whoami(app: &App, caller: &Caller) -> Result<View> {
    let Identity::Key(id) = caller.identity else {
        return Err(Error::NotFound("key: this caller is not one"));
    };
    let key = app
        .read(|read| keys::find(read, id))?
        .ok_or(Error::NotFound("key"))?;
    view(app, key)
}

/// Ends a key for good. Its tombstone stays, and its digests are deleted.
pub fn delete(app: &App, caller: &Caller, id: KeyId, confirm_name: Option<String>) -> Result<()> {
    delete_once(app, caller, id, confirm_name, None)
}

/// As [`delete`]; a repeat of the same request succeeds without a further change.
pub fn delete_once(
    app: &App,
    caller: &Caller,
    id: KeyId,
    confirm_name: Option<String>,
    retry: Option<Retry>,
) -> Result<()> {
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    app.change_all(
        caller,
        "key.delete",
        Target::new(Kind::Key, id),
        move |tx, now| {
            let directory = index.directory();
            if idempotency::find(tx, &files, &who, retry.as_ref(), now)?.is_some() {
                return Ok((Vec::new(), ()));
            }
            let records = end_one(tx, &directory, &who, id, confirm_name.as_deref(), now)?;
            idempotency::remember(tx, &files, &who, retry.as_ref(), id, now)?;
            Ok((records, ()))
        },
    )
}

/// Ends one key for a caller, who must confirm its name if its policy requires this.
fn end_one(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    id: KeyId,
    confirm_name: Option<&str>,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let (key, policy) = manageable(tx, directory, caller, id)?;
    check_deletable(&key)?;
    policy.check_delete(&key, confirm_name)?;
    keys::delete(tx, id, now)?;
    ended_with_children(tx, "key.delete", &key, now)
}

/// Ends a key whose secret was presented. A key may end itself; other callers need the right to delete it. The secret
/// replaces the name that some policies require.
pub fn revoke(app: &App, caller: &Caller, id: KeyId) -> Result<()> {
    let (index, who) = (app.index.clone(), caller.clone());
    app.change_all(
        caller,
        "key.revoke",
        Target::new(Kind::Key, id),
        move |tx, now| {
            let key = match who.identity == Identity::Key(id) {
                true => keys::find(tx, id)?.ok_or(Error::NotFound("key"))?,
                false => manageable(tx, &index.directory(), &who, id)?.0,
            };
            let records = match keys::delete(tx, id, now)? {
                true => ended_with_children(tx, "key.revoke", &key, now)?,
                false => Vec::new(),
            };
            Ok((records, ()))
        },
    )
}

/// Ends the keys that were issued to a user for their password, when the password changes. One record each.
pub fn end_those_of_password(
    tx: &Write<'_>,
    owner: Uid,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    end_each(tx, keys::list_of_password(tx, owner)?, now)
}

/// Ends all keys of a workspace that ends. One record each.
pub fn end_those_of_workspace(
    tx: &Write<'_>,
    workspace: Uid,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    end_each(tx, keys::list_of_workspace(tx, workspace)?, now)
}

fn end_each(
    tx: &Write<'_>,
    ids: Vec<KeyId>,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let mut records = Vec::new();
    for id in ids {
        let key = keys::find(tx, id)?.ok_or(Error::NotFound("key"))?;
        // The key may have ended together with an earlier one.
        if keys::delete(tx, id, now)? {
            records.extend(ended_with_children(tx, "key.delete", &key, now)?);
        }
    }
    Ok(records)
}

/// The records of a key that has just ended, and of the keys that end with it.
pub(super) fn ended_with_children(
    tx: &Write<'_>,
    action: &'static str,
    key: &Key,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    ended_with_note(tx, action, key, ended(key), now)
}

/// As [`ended_with_children`], with changes that the caller of this function adds.
fn ended_with_note(
    tx: &Write<'_>,
    action: &'static str,
    key: &Key,
    changes: Changes,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let mut records = vec![(action, record(key, changes))];
    records.extend(ownerless::end_children(tx, key, now)?);
    Ok(records)
}

/// When a key was issued, for answers to the holder of its secret.
pub fn issued_at(app: &App, id: KeyId) -> Result<Option<Timestamp>> {
    Ok(app
        .read(|read| keys::find(read, id))?
        .map(|key| key.created_at))
}

/// The view of a key after a change.
fn view(app: &App, key: Key) -> Result<View> {
    let (usage, previous) = app.read(|read| {
        let usage = usage(app, read, key.id)?;
        let previous = previous(app, read, &key, &usage)?;
        Ok((usage, previous))
    })?;
    Ok(View {
        previous,
        ..with_names(app, key, usage)
    })
}

/// As [`view`], of a key that was just saved. What cannot be read then is left out: an error would be taken for one of a change that
/// was not saved, and the secret of a new key would be lost.
fn view_of_saved(app: &App, key: Key) -> View {
    view(app, key.clone()).unwrap_or_else(|err| {
        log::warn!(
            "keys: the usage of key {} was not read after a change: {err}",
            key.id
        );
        with_names(app, key, Usage::default())
    })
}

/// The recorded use of a key, including uses that wait to be written. While those are on their way to the store, they
/// are in neither place, and the count is too low for a moment.
fn usage(app: &App, read: &Read, id: KeyId) -> Result<Usage> {
    let mut usage = usage::find_usage(read, id)?;
    if let Some(pending) = app.index.usage.pending(id) {
        usage.use_count += pending.uses;
        if let Some((at, address)) = pending.last_used {
            usage.last_used_at = Some(at);
            usage.last_used_ip = address.map(|address| address.to_string());
        }
        usage.previous_used_at = pending.previous_used.or(usage.previous_used_at);
    }
    Ok(usage)
}

/// The secret before the newest, if it still works. The index knows which keys have one, so that nothing is read for all
/// others.
fn previous(app: &App, read: &Read, key: &Key, usage: &Usage) -> Result<Option<Previous>> {
    let now = app.now().wall;
    let works = app.index.with_key(key.id, |live| live.has_previous(now));
    if key.deleted_at.is_some() || works == Some(false) {
        return Ok(None);
    }
    let secrets = keys::list_secrets(read, key.id)?.into_iter();
    let mut older = secrets.filter_map(|row| Some((row.expires_at?, row)));
    Ok(older
        .find(|(until, _)| *until > now)
        .map(|(until, row)| Previous {
            hint: row.hint.unwrap_or_default(),
            until,
            until_first_use: row.until_first_use,
            // A use before the rotation was one of a secret that no longer works, or of this one when it was the newest.
            last_used_at: usage
                .previous_used_at
                .filter(|at| key.rotated_at.is_none_or(|rotated| *at >= rotated)),
        }))
}

fn with_names(app: &App, mut key: Key, usage: Usage) -> View {
    let reserved = app.index.counters(key.id).and_then(|counters| {
        let counters = lock(&counters);
        counters.uses.map(|uses| uses.reserved)
    });
    key.uses_left = key
        .uses_left
        .map(|stored| stored.saturating_add(reserved.unwrap_or(0)));
    // A key that was changed without Latchkey is disabled in the index before it is disabled in the store.
    key.enabled &= app.index.with_key(key.id, |live| live.enabled) != Some(false);
    let directory = app.index.directory();
    let place = directory.place(key.workspace);
    let owner = key.owner.and_then(|owner| directory.user(owner));
    let owner_active = key.owner.is_none() || owner.is_some_and(|owner| owner.is_active());
    let tied = directory.policy(&key.policy).map(|policy| policy.tied_to);
    let owner_counts = tied != Some(crate::domain::policies::TiedTo::Workspace);
    View {
        workspace: place
            .map(|place| place.workspace.slug.clone())
            .unwrap_or_default(),
        owner: owner.map(|owner| owner.user_name.clone()),
        state: match key.state(
            owner_active || !owner_counts,
            place.is_some_and(|place| place.active),
            app.now().wall,
        ) {
            // The policy was changed without Latchkey, and is closed.
            State::Active if tied.is_none() => State::Disabled,
            state => state,
        },
        key,
        usage,
        previous: None,
    }
}

/// The key, deleted or not, if the caller may read it; otherwise it does not exist for the caller.
fn visible(read: &Read, directory: &Directory, caller: &Caller, id: KeyId) -> Result<Key> {
    caller.require_somewhere(Permission::KeysRead)?;
    seen(keys::find(read, id)?, directory, caller)
}

fn seen(key: Option<Key>, directory: &Directory, caller: &Caller) -> Result<Key> {
    key.filter(|key| caller.may(directory, Permission::KeysRead, key.workspace, key.owner))
        .ok_or(Error::NotFound("key"))
}

/// A live key that the caller may change, with its policy.
fn manageable(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    id: KeyId,
) -> Result<(Key, Policy)> {
    caller.require_somewhere(Permission::KeysWrite)?;
    let key = visible(read, directory, caller, id)?;
    let policy = room::policy_of(read, &key)?;
    check_manageable(directory, caller, &policy, &key)?;
    Ok((key, policy))
}

/// Where a file declares the key now; `None` for every other key, which is edited by hand.
fn declared_in(key: &Key) -> Option<&str> {
    let place = place_of(&key.source);
    place.filter(|_| key.declared_state.is_some())
}

/// Refuses to delete a key that a file declares: the next start would only report it.
fn check_deletable(key: &Key) -> Result<()> {
    match declared_in(key) {
        Some(place) => Err(Error::Conflict(refusals::declared::locked_delete(place))),
        None => Ok(()),
    }
}

/// Checks that a key that the caller sees is live, and that the caller may change it.
fn check_manageable(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
) -> Result<()> {
    authz::keys::require_write(directory, caller, policy, key.workspace, key.owner)?;
    if key.deleted_at.is_some() {
        return Err(Error::Conflict(refusals::keys::deleted()));
    }
    Ok(())
}

/// The changes in the audit event of a key that ends: they record its last name.
fn ended(key: &Key) -> Changes {
    let mut changes = Changes::default();
    changes.note("name", &key.name, &String::new());
    changes
}

fn record(key: &Key, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::Key, key.id),
        workspace: Some(key.workspace),
        changes,
    }
}
