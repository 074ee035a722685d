//! Withdrawing access after a restore. Every statement here takes access away; none grants any.

use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::{Read, Row, Write, retired, uses};

/// Disables a live key; `false` if it was disabled already or is deleted. A file that declares the key does not enable it.
pub fn disable_key(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE keys
         SET enabled = 0, held = CASE WHEN declared_name IS NULL THEN 0 ELSE 1 END
         WHERE id = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&id],
    )?;
    Ok(changed == 1)
}

/// As [`disable_key`] for a key that a file declares, and that the file may enable again: it declares every limit.
pub fn disable_until_applied(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE keys SET enabled = 0 WHERE id = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&id],
    )?;
    Ok(changed == 1)
}

/// Deletes the secrets that a key had before a rotation; `false` if there were none.
pub fn delete_secrets_before(
    tx: &Write<'_>,
    id: KeyId,
    rotated: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    retired::insert_made_before(tx, id, rotated, now)?;
    let changed = tx.execute(
        "DELETE FROM secrets WHERE key_id = $1 AND created_at < $2",
        &[&id, &rotated],
    )?;
    Ok(changed > 0)
}

/// The live, enabled keys of a policy.
pub fn enabled_of_policy(tx: &Write<'_>, policy: &str) -> Result<Vec<KeyId>> {
    tx.query(
        "SELECT id FROM keys WHERE policy = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&policy],
        |row: &Row<'_>| row.get("id"),
    )
}

/// Disables a user and ends their sessions; `false` if the user was disabled already or is deleted.
pub fn disable_user(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE users
         SET enabled = 0, generation = generation + 1
         WHERE uid = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Deletes the password of a user; `false` if the user had none or is deleted.
pub fn delete_password(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE users
         SET password_digest = NULL, password_pepper = NULL, password_seal_key = NULL,
             generation = generation + 1
         WHERE uid = $1 AND password_digest IS NOT NULL AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Disables a workspace; `false` if it was disabled already or is deleted.
pub fn disable_workspace(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE workspaces SET enabled = 0 WHERE uid = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Changes the parent of a workspace.
pub fn move_workspace(tx: &Write<'_>, uid: Uid, parent: Uid) -> Result<()> {
    tx.execute(
        "UPDATE workspaces SET parent_uid = $1 WHERE uid = $2",
        &[&parent, &uid],
    )?;
    Ok(())
}

/// The other workspaces without a parent, if the workspace `uid` has none itself. A correct database has exactly one
/// workspace without a parent.
pub fn list_other_roots(read: &Read, uid: Uid) -> Result<Vec<Uid>> {
    read.query(
        "SELECT uid
         FROM workspaces
         WHERE uid <> $1 AND parent_uid IS NULL AND deleted_at IS NULL
           AND EXISTS (SELECT 1 FROM workspaces WHERE uid = $1 AND parent_uid IS NULL)",
        &[&uid],
        |row| row.get("uid"),
    )
}

/// Deletes every session and every refresh token; returns the number of sessions.
pub fn delete_sessions(tx: &Write<'_>) -> Result<usize> {
    tx.execute("DELETE FROM refresh_tokens", &[])?;
    tx.execute("DELETE FROM sessions", &[])
}

/// Sets the remaining uses of all keys with a use limit to zero, because it is not known how many used-up uses the
/// backup has restored. Returns how many keys had uses left.
pub fn spend_uses(tx: &Write<'_>, seal_keys: &SealKeys) -> Result<usize> {
    let counted: Vec<KeyId> = tx.query(
        "SELECT key_id FROM key_uses WHERE uses_left > 0",
        &[],
        |row| row.get("key_id"),
    )?;
    for key in &counted {
        uses::set(tx, seal_keys, *key, Some(0))?;
    }
    Ok(counted.len())
}
