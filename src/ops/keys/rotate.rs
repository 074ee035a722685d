//! Rotation: a key gets a new secret and keeps its id, its rights and its workspace.

use super::issue::keep;
use super::{Issued, View, declared_in, manageable, policy_of, record, view_of_saved};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity};
use crate::authz::keys::check_takeover;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::secret::{Secret, prefix_of_hint};
use crate::domain::keys::{Key, KeyId};
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Write, declared, keys};

/// What a rotation does to the expiry of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotatedExpiry {
    /// The expiry does not change.
    Kept,
    /// A key that was issued or rotated for a certain time gets the same time again, from now on.
    Renewed,
}

/// Gives a key a new secret. A caller who takes over a management key this way must hold everything that the key may
/// do.
pub fn rotate(app: &App, caller: &Caller, id: KeyId, grace: Grace) -> Result<Issued> {
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    rotated(app, caller, id, grace, move |tx, now| {
        let directory = index.directory();
        let (key, policy) = manageable(tx, &directory, &who, id)?;
        let facts = bounds::Facts::read(tx, &who, &key)?;
        check_rotation(&directory, &who, &policy, &key, &facts)?;
        // A key with the right to manage keys follows the rules of self-rotation when it rotates itself.
        let by_itself = who.is_key(id).then(|| source_of(&who));
        if by_itself.is_some() {
            policy.check_self_rotation(&key, grace.seconds())?;
        }
        let before = key.clone();
        let (key, secret) = replace(tx, &files, &policy, key, grace, by_itself, now)?;
        Ok((before, key, secret))
    })
}

/// Ends a secret that has leaked: the newest one is replaced, and the one before it ends at once. Nothing happens if it is
/// neither, so that of several reports of one secret at once only one changes something. `stored` is what the text was found
/// by; a digest of another system may have been replaced since.
pub fn end_leaked(
    app: &App,
    caller: &Caller,
    id: KeyId,
    text: String,
    stored: StoredSecret,
) -> Result<()> {
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    let target = Target::new(Kind::Key, id);
    app.change_all(caller, "key.rotate", target, move |tx, now| {
        let directory = index.directory();
        let (key, policy) = manageable(tx, &directory, &who, id)?;
        let mut secrets = keys::list_secrets(tx, id)?.into_iter();
        let leaked =
            secrets.find(|row| row.secret == stored || row.secret.matches(&files.peppers, &text));
        let change = match leaked.map(|row| row.expires_at) {
            None => None,
            Some(Some(_)) => {
                let record = end_older(tx, &key, now)?;
                record.map(|record| ("key.rotation_complete", record))
            }
            Some(None) => {
                let facts = bounds::Facts::read(tx, &who, &key)?;
                check_rotation(&directory, &who, &policy, &key, &facts)?;
                let (before, grace) = (key.clone(), Grace::AtOnce);
                let (key, _) = replace(tx, &files, &policy, key, grace, None, now)?;
                Some(("key.rotate", record(&key, replaced(&before, &key, grace))))
            }
        };
        Ok((change.into_iter().collect(), ()))
    })
}

/// Ends the secret before the newest one at once; nothing happens if it has ended. As with disabling, every caller who
/// manages the key may do so, whatever the key may do and whether or not a file declares it: it only takes away.
pub fn end_previous(app: &App, caller: &Caller, id: KeyId) -> Result<View> {
    let (index, who) = (app.index.clone(), caller.clone());
    let target = Target::new(Kind::Key, id);
    let key = app.change(caller, "key.rotation_complete", target, move |tx, now| {
        let (key, _) = manageable(tx, &index.directory(), &who, id)?;
        Ok((end_older(tx, &key, now)?, key))
    })?;
    Ok(view_of_saved(app, key))
}

/// Deletes the secret before the newest one, and returns what is recorded about it.
fn end_older(tx: &Write<'_>, key: &Key, now: Timestamp) -> Result<Option<Record>> {
    let mut older = keys::list_secrets(tx, key.id)?.into_iter();
    let hint = older.find_map(|row| row.expires_at.and(row.hint));
    let is_done = keys::delete_older_secret(tx, key.id, false, now)?;
    Ok(is_done.then(|| {
        let mut changes = Changes::default();
        changes.note("previous", &hint.unwrap_or_default(), &String::new());
        record(key, changes)
    }))
}

/// Runs a rotation, which returns the key as it was and as it is, and records it.
fn rotated(
    app: &App,
    caller: &Caller,
    id: KeyId,
    grace: Grace,
    rotation: impl FnOnce(&Write<'_>, Timestamp) -> Result<(Key, Key, Secret)> + Send + 'static,
) -> Result<Issued> {
    let target = Target::new(Kind::Key, id);
    let (key, secret) = app.change(caller, "key.rotate", target, move |tx, now| {
        let (before, key, secret) = rotation(tx, now)?;
        let record = record(&key, replaced(&before, &key, grace));
        Ok((Some(record), (key, Some(secret))))
    })?;
    Ok(Issued {
        view: view_of_saved(app, key),
        secret,
    })
}

/// Whether the caller may give a new secret to this key, which the caller may change.
pub(super) fn check_rotation(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
    facts: &bounds::Facts,
) -> Result<()> {
    bounds::check_cover(directory, caller, key, facts)?;
    check_takeover(directory, caller, policy)?;
    check_own_secret(key)?;
    policy.check_rotate()
}

/// Refuses to rotate a key whose secret a file declares.
fn check_own_secret(key: &Key) -> Result<()> {
    match declared_in(key) {
        Some(place) => Err(Error::Conflict(refusals::declared::locked_rotate(
            place, &key.name, key.id,
        ))),
        None => Ok(()),
    }
}

/// Gives the caller's own key a new secret, if its policy lets keys rotate themselves. The secret is the only
/// credential that this needs. Of two rotations with the same secret at once, one succeeds, and the other finds that
/// its secret was replaced.
pub fn rotate_own(
    app: &App,
    caller: &Caller,
    secret: String,
    grace: Grace,
    life: RotatedExpiry,
) -> Result<Issued> {
    let Identity::Key(id) = caller.identity else {
        return Err(Error::Forbidden(
            refusals::keys::only_keys_rotate_themselves(),
        ));
    };
    let (files, source) = (app.key_files(), source_of(caller));
    rotated(app, caller, id, grace, move |tx, now| {
        let key = keys::find(tx, id)?
            .filter(|key| key.deleted_at.is_none())
            .ok_or(Error::Unauthenticated)?;
        let newest = keys::list_secrets(tx, id)?
            .into_iter()
            .find(|row| row.expires_at.is_none());
        let still_newest = newest.is_some_and(|row| row.secret.matches(&files.peppers, &secret));
        if !still_newest {
            return Err(Error::Unauthenticated);
        }
        let policy = policy_of(tx, &key)?;
        check_own_secret(&key)?;
        policy.check_rotate()?;
        policy.check_self_rotation(&key, grace.seconds())?;
        let before = key.clone();
        let (mut key, secret) = replace(tx, &files, &policy, key, grace, Some(source), now)?;
        if life == RotatedExpiry::Renewed {
            renew(tx, &policy, &before, &mut key, now)?;
        }
        Ok((before, key, secret))
    })
}

/// The address of a request, which is stored with a key that rotated itself.
fn source_of(caller: &Caller) -> String {
    match caller.source.as_str() {
        "" => "unknown".to_owned(),
        source => source.to_owned(),
    }
}

/// The changes in the audit event of a rotation: which secret follows which, when the old one ends, and whether the key
/// rotated itself.
fn replaced(before: &Key, key: &Key, grace: Grace) -> Changes {
    let mut changes = Changes::default();
    changes.note("hint", &before.hint, &key.hint);
    changes.note_option("expires_at", &before.expires_at, &key.expires_at);
    if let Some(source) = &key.self_rotated_from {
        changes.note("self_rotated_from", &String::new(), source);
    }
    let mut note_grace = |seconds: u64| changes.note_always("grace_s", Some(&seconds.to_string()));
    match grace {
        Grace::AtOnce => note_grace(0),
        Grace::Seconds(seconds) => note_grace(seconds),
        Grace::UntilFirstUse(seconds) => {
            note_grace(seconds);
            changes.note("until_first_use", &false, &true);
        }
    }
    changes
}

/// Sets the expiry of a rotated key as far from now as it was from the key's issue or its last rotation, but at most as
/// far as its policy permits.
fn renew(
    tx: &Write<'_>,
    policy: &Policy,
    before: &Key,
    key: &mut Key,
    now: Timestamp,
) -> Result<()> {
    let Some(end) = before.expires_at else {
        return Ok(());
    };
    let began = before.rotated_at.unwrap_or(before.created_at);
    let again = now.plus_s(began.seconds_until(end));
    key.expires_at = Some(policy.latest_end(now).map_or(again, |last| again.min(last)));
    keys::update(tx, key)?;
    Ok(())
}

/// Replaces the newest secret by a new one. At most two secrets of a key ever work. `by_itself` is the address of a key
/// that rotates itself.
fn replace(
    tx: &Write<'_>,
    files: &KeyFiles,
    policy: &Policy,
    mut key: Key,
    grace: Grace,
    by_itself: Option<String>,
    now: Timestamp,
) -> Result<(Key, Secret)> {
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::Conflict(refusals::keys::expired()));
    }
    let in_grace = keys::list_secrets(tx, key.id)?
        .into_iter()
        .any(|row| row.expires_at.is_some_and(|end| end > now));
    if in_grace && grace != Grace::AtOnce {
        return Err(Error::Conflict(refusals::keys::old_secret_works()));
    }
    match grace {
        Grace::AtOnce => keys::retire_secrets(tx, key.id, None, false, now)?,
        Grace::Seconds(seconds) => {
            keys::retire_secrets(tx, key.id, Some(now.plus_s(seconds)), false, now)?
        }
        Grace::UntilFirstUse(seconds) => {
            keys::retire_secrets(tx, key.id, Some(now.plus_s(seconds)), true, now)?
        }
    }
    // The hint of a secret of another system begins with a part of that secret.
    let prefix = match key.weak {
        true => &policy.prefix,
        false => prefix_of_hint(&key.hint),
    };
    let secret = Secret::generate(prefix, key.id)?;
    if let Some(digest) = &key.declared_digest {
        // No file brings the old secret back.
        declared::insert_ended(tx, digest, key.id, now)?;
    }
    keep(tx, files, policy, &secret, now)?;
    key.weak = false;
    key.hint = secret.hint();
    key.rotated_at = Some(now);
    key.self_rotated_from = by_itself;
    keys::update_rotated(tx, &key, now)?;
    Ok((key, secret))
}
