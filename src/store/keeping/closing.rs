//! Closing what must not be open after a restore. Every statement takes away, none gives.

use crate::domain::key::KeyId;
use crate::domain::key::pepper::Peppers;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::seals;
use crate::store::{Read, Row, Write};

/// Turns a live key off; `false` if it was off or is gone.
pub fn disable_key(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE keys SET enabled = 0 WHERE id = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&id],
    )?;
    Ok(changed == 1)
}

/// Drops the secrets that a key had before a rotation; `false` if there were none.
pub fn delete_secrets_before(tx: &Write<'_>, id: KeyId, rotated: Timestamp) -> Result<bool> {
    let changed = tx.execute(
        "DELETE FROM secrets WHERE key_id = $1 AND created_at < $2",
        &[&id, &rotated],
    )?;
    Ok(changed > 0)
}

/// The live keys under a policy that are turned on.
pub fn enabled_of_policy(tx: &Write<'_>, policy: &str) -> Result<Vec<KeyId>> {
    tx.query(
        "SELECT id FROM keys WHERE policy = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&policy],
        |row: &Row<'_>| row.get("id"),
    )
}

/// Turns a user off and ends his sessions; `false` if he was off or is gone.
pub fn disable_user(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE users
         SET enabled = 0, generation = generation + 1
         WHERE uid = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Takes a user's password away; `false` if he had none or is gone.
pub fn delete_password(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE users
         SET password_digest = NULL, password_pepper = NULL, generation = generation + 1
         WHERE uid = $1 AND password_digest IS NOT NULL AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Turns a workspace off; `false` if it was off or is gone.
pub fn disable_workspace(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE workspaces SET enabled = 0 WHERE uid = $1 AND enabled = 1 AND deleted_at IS NULL",
        &[&uid],
    )?;
    Ok(changed == 1)
}

/// Puts a workspace below another one.
pub fn move_workspace(tx: &Write<'_>, uid: Uid, parent: Uid) -> Result<()> {
    tx.execute(
        "UPDATE workspaces SET parent_uid = $1 WHERE uid = $2",
        &[&parent, &uid],
    )?;
    Ok(())
}

/// Other workspaces without a parent, if this one has none; there should be one such workspace alone.
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

/// Ends every session, and takes away what could renew one; how many there were.
pub fn delete_sessions(tx: &Write<'_>) -> Result<usize> {
    tx.execute("DELETE FROM refresh_tokens", &[])?;
    tx.execute("DELETE FROM sessions", &[])
}

/// Takes all uses of counted keys: how many a backup has given back nobody knows. How many keys had any.
pub fn spend_uses(tx: &Write<'_>, peppers: &Peppers) -> Result<usize> {
    let counted: Vec<KeyId> = tx.query(
        "SELECT key_id FROM key_uses WHERE uses_left > 0",
        &[],
        |row| row.get("key_id"),
    )?;
    for key in &counted {
        seals::keys::update_uses(tx, peppers, *key, 0)?;
    }
    Ok(counted.len())
}
