//! Secrets that have ended: the key, and eight bytes of the digest. What ends a secret calls this first.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// How long they are kept: 400 days.
pub const KEPT_MS: i64 = 400 * 86_400_000;

/// A secret that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetiredRow {
    pub key: KeyId,
    pub digest: [u8; 8],
    /// Version of the pepper of the digest.
    pub pepper: u32,
    /// The first use of the newer secret had ended it.
    pub after_use: bool,
}

/// Remembers the secrets of a key, which end now. Digests of other systems are not comparable and are left out.
pub fn insert_all(tx: &Write<'_>, key: KeyId, now: Timestamp) -> Result<()> {
    tx.send(
        "INSERT INTO retired_secrets (key_id, digest, pepper, after_use, retired_at)
         SELECT key_id, substr(digest, 1, 8), pepper, 0, $1 FROM secrets WHERE key_id = $2 AND scheme = 1
         ON CONFLICT (key_id, digest) DO NOTHING",
        &[&now, &key],
    )
}

/// Does the same for the secret before the newest.
pub fn insert_older(tx: &Write<'_>, key: KeyId, after_use: bool, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO retired_secrets (key_id, digest, pepper, after_use, retired_at)
         SELECT key_id, substr(digest, 1, 8), pepper, $1, $2 FROM secrets
         WHERE key_id = $3 AND scheme = 1 AND expires_at IS NOT NULL
         ON CONFLICT (key_id, digest) DO NOTHING",
        &[&after_use, &now, &key],
    )?;
    Ok(())
}

/// Does the same for the secrets that were made before a time.
pub fn insert_made_before(
    tx: &Write<'_>,
    key: KeyId,
    made_before: Timestamp,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO retired_secrets (key_id, digest, pepper, after_use, retired_at)
         SELECT key_id, substr(digest, 1, 8), pepper, 0, $1 FROM secrets
         WHERE key_id = $2 AND scheme = 1 AND created_at < $3
         ON CONFLICT (key_id, digest) DO NOTHING",
        &[&now, &key, &made_before],
    )?;
    Ok(())
}

/// Forgets of the secrets of a key that the first use of a newer one had ended them: from now on they are only noted. A
/// rotation does this, and so does an enabling of the key, so that it cannot be disabled again with the same secret.
pub fn forget_use(tx: &Write<'_>, key: KeyId) -> Result<()> {
    tx.execute(
        "UPDATE retired_secrets SET after_use = 0 WHERE key_id = $1 AND after_use = 1",
        &[&key],
    )?;
    Ok(())
}

/// As [`forget_use`], if the key is disabled now.
pub fn forget_use_of_disabled(tx: &Write<'_>, key: KeyId) -> Result<()> {
    tx.execute(
        "UPDATE retired_secrets SET after_use = 0
         WHERE key_id = $1 AND after_use = 1 AND EXISTS (SELECT 1 FROM keys WHERE id = $1 AND enabled = 0)",
        &[&key],
    )?;
    Ok(())
}

/// Whether the first use of a newer secret had ended a secret of the key, or ends it without the store having heard of it.
pub fn has_ended_by_use(read: &Read, key: KeyId) -> Result<bool> {
    let found = read.query(
        "SELECT key_id FROM retired_secrets WHERE key_id = $1 AND after_use = 1
         UNION ALL
         SELECT key_id FROM secrets WHERE key_id = $1 AND until_first_use = 1 AND expires_at IS NOT NULL",
        &[&key],
        |row| -> Result<KeyId> { row.get("key_id") },
    )?;
    Ok(!found.is_empty())
}

/// Those of one key.
pub fn list_of(read: &Read, key: KeyId) -> Result<Vec<RetiredRow>> {
    read.query(
        "SELECT key_id, digest, pepper, after_use FROM retired_secrets WHERE key_id = $1",
        &[&key],
        from_row,
    )
}

/// Those of one key that ended at a time or after it.
pub fn list_since(read: &Read, key: KeyId, at: Timestamp) -> Result<Vec<RetiredRow>> {
    read.query(
        "SELECT key_id, digest, pepper, after_use FROM retired_secrets WHERE key_id = $1 AND retired_at >= $2",
        &[&key, &at],
        from_row,
    )
}

/// The newest ones of all keys.
pub fn list(read: &Read, limit: usize) -> Result<Vec<RetiredRow>> {
    read.query(
        "SELECT key_id, digest, pepper, after_use FROM retired_secrets ORDER BY retired_at DESC LIMIT $1",
        &[&(limit as u64)],
        from_row,
    )
}

/// Forgets those that ended before a time. Returns their number.
pub fn delete_before(tx: &Write<'_>, before: Timestamp) -> Result<usize> {
    tx.execute(
        "DELETE FROM retired_secrets WHERE retired_at < $1",
        &[&before],
    )
}

fn from_row(row: &Row<'_>) -> Result<RetiredRow> {
    Ok(RetiredRow {
        key: row.get("key_id")?,
        digest: row.get("digest")?,
        pepper: row.get("pepper")?,
        after_use: row.get("after_use")?,
    })
}
