//! Rotation: a key gets a new secret and keeps its id, its rights and its workspace.

use super::issue::keep;
use super::{Issued, manageable, policy_of, record, view};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity};
use crate::authz::keys::check_takeover;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::secret::{Secret, prefix_of_hint};
use crate::domain::keys::{Key, KeyId};
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals;
use crate::store::{Write, keys};

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
        let key = manageable(tx, &directory, &who, id)?;
        let policy = policy_of(tx, &key)?;
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
        view: view(app, key)?,
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
    policy.check_rotate()
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
        let still_newest = newest.is_some_and(|row| {
            files
                .peppers
                .version(row.secret.pepper)
                .is_some_and(|pepper| pepper.matches(&secret, &row.secret.digest))
        });
        if !still_newest {
            return Err(Error::Unauthenticated);
        }
        let policy = policy_of(tx, &key)?;
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
    match grace {
        Grace::AtOnce => {}
        Grace::Seconds(seconds) => changes.note("grace_s", &0, &seconds),
        Grace::UntilFirstUse(seconds) => {
            changes.note("grace_s", &0, &seconds);
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
        Grace::AtOnce => keys::retire_secrets(tx, key.id, None, false)?,
        Grace::Seconds(seconds) => {
            keys::retire_secrets(tx, key.id, Some(now.plus_s(seconds)), false)?
        }
        Grace::UntilFirstUse(seconds) => {
            keys::retire_secrets(tx, key.id, Some(now.plus_s(seconds)), true)?
        }
    }
    let secret = Secret::generate(prefix_of_hint(&key.hint), key.id)?;
    keep(tx, files, policy, &secret, now)?;
    key.hint = secret.hint();
    key.rotated_at = Some(now);
    key.self_rotated_from = by_itself;
    keys::update_rotated(tx, &key, now)?;
    Ok((key, secret))
}
