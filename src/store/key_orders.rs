//! Keys in the orders that the index does not have: by age and by last use.

use super::{Read, Row};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The position of a key in the order of age. Newer keys have greater numbers.
pub type ByAge = (i64, KeyId);
/// The position of a key in the order of last use.
pub type ByUse = (Timestamp, KeyId);

/// Up to `limit` keys that come after a position in the order of age, newest first. Deleted keys are included.
pub fn list_newest(read: &Read, before: ByAge, limit: u32) -> Result<Vec<ByAge>> {
    read.query(
        "SELECT number, id FROM keys WHERE number < $1 ORDER BY number DESC LIMIT $2",
        &[&before.0, &limit],
        by_age,
    )
}

/// As [`list_newest`], from the oldest key on.
pub fn list_oldest(read: &Read, after: ByAge, limit: u32) -> Result<Vec<ByAge>> {
    read.query(
        "SELECT number, id FROM keys WHERE number > $1 ORDER BY number LIMIT $2",
        &[&after.0, &limit],
        by_age,
    )
}

/// The keys that were last used at a time or later, in no order.
pub fn list_used_since(read: &Read, since: Timestamp) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT key_id FROM key_usage WHERE last_used_at >= $1",
        &[&since],
        |row| row.get("key_id"),
    )
}

/// The position of a key in the order of age.
pub fn find_age(read: &Read, id: KeyId) -> Result<Option<ByAge>> {
    read.query_one("SELECT number, id FROM keys WHERE id = $1", &[&id], by_age)
}

/// Up to `limit` keys that were used before a position in the order of last use. The most recently used key comes
/// first.
pub fn list_last_used(read: &Read, before: ByUse, limit: u32) -> Result<Vec<ByUse>> {
    read.query(
        "SELECT last_used_at, key_id
         FROM key_usage
         WHERE last_used_at IS NOT NULL AND (last_used_at, key_id) < ($1, $2)
         ORDER BY last_used_at DESC, key_id DESC
         LIMIT $3",
        &[&before.0, &before.1, &limit],
        by_use,
    )
}

/// The position of a key in the order of last use; `None` if it was never used.
pub fn find_last_used(read: &Read, id: KeyId) -> Result<Option<ByUse>> {
    read.query_one(
        "SELECT last_used_at, key_id FROM key_usage WHERE key_id = $1 AND last_used_at IS NOT NULL",
        &[&id],
        by_use,
    )
}

fn by_age(row: &Row<'_>) -> Result<ByAge> {
    Ok((row.get("number")?, row.get("id")?))
}

fn by_use(row: &Row<'_>) -> Result<ByUse> {
    Ok((row.get("last_used_at")?, row.get("key_id")?))
}
