//! Rows of recovery codes. The seal of the user covers them, so each function that writes them is called in a change with an
//! event about the user.

use crate::domain::authenticators::recovery_codes::RecoveryDigest;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::{Read, Row, Write};

pub fn insert(tx: &Write<'_>, user: Uid, code: &RecoveryDigest) -> Result<()> {
    tx.execute(
        "INSERT INTO recovery_codes (user_uid, digest, seal_key) VALUES ($1, $2, $3)",
        &[&user, &code.digest, &code.version],
    )?;
    Ok(())
}

/// The codes of a user that were not used.
pub fn list_unused(read: &Read, user: Uid) -> Result<Vec<RecoveryDigest>> {
    read.query(
        "SELECT digest, seal_key FROM recovery_codes WHERE user_uid = $1 AND used_at IS NULL",
        &[&user],
        from_row,
    )
}

/// Marks a code as used; `false` if it was used before, or is not there any more.
pub fn spend(tx: &Write<'_>, user: Uid, code: &RecoveryDigest, now: Timestamp) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE recovery_codes SET used_at = $1 WHERE user_uid = $2 AND digest = $3 AND used_at IS NULL",
        &[&now, &user, &code.digest],
    )?;
    Ok(changed == 1)
}

/// Deletes all codes of a user; `false` if there was none.
pub fn delete_of_user(tx: &Write<'_>, user: Uid) -> Result<bool> {
    let deleted = tx.execute("DELETE FROM recovery_codes WHERE user_uid = $1", &[&user])?;
    Ok(deleted > 0)
}

/// Deletes the unused codes of a user that a version of the seal key made.
pub fn delete_of_version(tx: &Write<'_>, user: Uid, version: u32) -> Result<()> {
    tx.execute(
        "DELETE FROM recovery_codes WHERE user_uid = $1 AND seal_key = $2 AND used_at IS NULL",
        &[&user, &version],
    )?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<RecoveryDigest> {
    Ok(RecoveryDigest {
        digest: row.get("digest")?,
        version: row.get("seal_key")?,
    })
}
