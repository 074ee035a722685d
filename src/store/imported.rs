//! What the digests of imported keys are recognised by ([`Mark`]), after they were replaced or have ended.

use super::{Read, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::imported::Mark;
use crate::error::Result;

/// Records the digest of a key that is imported.
pub fn insert(tx: &Write<'_>, mark: &Mark, key: KeyId) -> Result<()> {
    tx.execute(
        "INSERT INTO imported_digests (mark, seal_key, key_id) VALUES ($1, $2, $3)",
        &[&mark.hmac, &mark.seal_key, &key],
    )?;
    Ok(())
}

/// How many marks a version of the seal key has made.
pub fn count(read: &Read, seal_key: u32) -> Result<u64> {
    let count = read.query_one(
        "SELECT count(*) AS count FROM imported_digests WHERE seal_key = $1",
        &[&seal_key],
        |row| row.get("count"),
    )?;
    Ok(count.unwrap_or(0))
}

/// Deletes the marks that a version of the seal key has made, and returns how many there were.
pub fn delete(tx: &Write<'_>, seal_key: u32) -> Result<u64> {
    let deleted = tx.execute(
        "DELETE FROM imported_digests WHERE seal_key = $1",
        &[&seal_key],
    )?;
    Ok(deleted as u64)
}

/// The key, deleted or not, that was imported with a digest.
pub fn find(read: &Read, mark: &Mark) -> Result<Option<KeyId>> {
    read.query_one(
        "SELECT key_id FROM imported_digests WHERE mark = $1",
        &[&mark.hmac],
        |row| row.get("key_id"),
    )
}
