//! Lists for the console in orders that the index does not have, such as by age and by last use.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
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

/// The verdicts on all keys in one hour: how many requests were accepted, and how many refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HourTotal {
    /// Hours since 1970.
    pub hour: i64,
    pub valid: u64,
    pub refused: u64,
}

/// The totals by hour, oldest first, starting with hour `since_hour`. Hours without verdicts are left out.
pub fn list_totals(read: &Read, since_hour: i64) -> Result<Vec<HourTotal>> {
    read.query(
        "SELECT hour,
                sum(CASE WHEN code = $1 THEN count ELSE 0 END) AS valid,
                sum(CASE WHEN code = $1 THEN 0 ELSE count END) AS refused
         FROM usage_totals
         WHERE hour >= $2
         GROUP BY hour
         ORDER BY hour",
        &[&Code::Valid.as_str(), &since_hour],
        |row| {
            Ok(HourTotal {
                hour: row.get("hour")?,
                valid: row.get("valid")?,
                refused: row.get("refused")?,
            })
        },
    )
}

/// Whether the console shows a page for the keys of a policy: the page is switched on, or there are live keys under
/// the policy.
pub fn has_page(read: &Read, policy: &str) -> Result<bool> {
    let found = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM console_pages WHERE policy = $1)
             OR EXISTS (SELECT 1 FROM keys WHERE policy = $1 AND deleted_at IS NULL) AS shown",
        &[&policy],
        |row| row.get("shown"),
    )?;
    Ok(found.unwrap_or(false))
}

/// Whether the page of a policy is switched on, regardless of its keys.
pub fn is_page_on(read: &Read, policy: &str) -> Result<bool> {
    let found = read.query_one(
        "SELECT 1 AS is_on FROM console_pages WHERE policy = $1",
        &[&policy],
        |row| row.get::<i64>("is_on"),
    )?;
    Ok(found.is_some())
}

/// Switches the page of a policy on; `false` if it was on already.
pub fn insert_page(tx: &Write<'_>, policy: &str) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO console_pages (policy) VALUES ($1) ON CONFLICT DO NOTHING",
        &[&policy],
    )?;
    Ok(changed == 1)
}

/// Switches the page of a policy off; `false` if it was off already.
pub fn delete_page(tx: &Write<'_>, policy: &str) -> Result<bool> {
    let changed = tx.execute("DELETE FROM console_pages WHERE policy = $1", &[&policy])?;
    Ok(changed == 1)
}

fn by_age(row: &Row<'_>) -> Result<ByAge> {
    Ok((row.get("number")?, row.get("id")?))
}

fn by_use(row: &Row<'_>) -> Result<ByUse> {
    Ok((row.get("last_used_at")?, row.get("key_id")?))
}
