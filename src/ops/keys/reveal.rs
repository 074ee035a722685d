//! Showing a secret again, from its sealed copy.

use super::{Issued, policy_of, record, view};
use crate::authz::bounds;
use crate::authz::caller::Caller;
use crate::authz::keys::check_takeover;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::secret::Secret;
use crate::domain::keys::{Key, KeyId};
use crate::domain::policies::Policy;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals;
use crate::store::{Read, keys};

/// Shows the newest secret of a key whose policy keeps a sealed copy. The event is committed before the secret is sent:
/// if it cannot be written, there is no answer. A caller who sees the secret of a management key can act as that key,
/// and so must hold everything that the key may do.
pub fn reveal(app: &App, caller: &Caller, id: KeyId) -> Result<Issued> {
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    let target = Target::new(Kind::Key, id);
    let (key, secret) = app.change(caller, "key.reveal", target, move |tx, _| {
        let directory = index.directory();
        let key = revealable(tx, &directory, &who, id)?;
        let policy = policy_of(tx, &key)?;
        let facts = bounds::Facts::read(tx, &who, &key)?;
        check_reveal(&directory, &who, &policy, &key, &facts)?;
        let secret = unseal(tx, &files, &key)?;
        Ok((Some(record(&key, Changes::default())), (key, secret)))
    })?;
    Ok(Issued {
        view: view(app, key)?,
        secret: Some(secret),
    })
}

/// The key, if the caller may see its secret or may read the key.
fn revealable(read: &Read, directory: &Directory, caller: &Caller, id: KeyId) -> Result<Key> {
    caller.require_somewhere(Permission::KeysReveal)?;
    let may = |permission, key: &Key| caller.may(directory, permission, key.workspace, key.owner);
    let seen = |key: &Key| may(Permission::KeysReveal, key) || may(Permission::KeysRead, key);
    let key = keys::find(read, id)?
        .filter(seen)
        .ok_or(Error::NotFound("key"))?;
    Ok(key)
}

/// Whether the caller may see the secret of this key again.
pub(super) fn check_reveal(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
    facts: &bounds::Facts,
) -> Result<()> {
    caller.require_somewhere(Permission::KeysReveal)?;
    caller.require(directory, Permission::KeysReveal, key.workspace, key.owner)?;
    if key.deleted_at.is_some() {
        return Err(Error::Conflict(refusals::keys::deleted_with_secret()));
    }
    bounds::check_cover(directory, caller, key, facts)?;
    check_takeover(directory, caller, policy)?;
    policy.check_reveal()
}

/// Opens the sealed copy, and checks that it matches the stored digest.
fn unseal(read: &Read, files: &KeyFiles, key: &Key) -> Result<Secret> {
    let Some((sealed, stored)) = keys::find_sealed(read, key.id)? else {
        return Err(Error::Conflict(refusals::keys::not_copied(&key.policy)));
    };
    let secret = files.sealing.open(key.id, &sealed);
    secret
        .filter(|secret| stored.matches(&files.peppers, secret.expose()))
        .ok_or_else(|| {
            Error::internal(format!(
                "the sealed copy of key {}'s secret was changed or belongs to another key",
                key.id
            ))
        })
}
