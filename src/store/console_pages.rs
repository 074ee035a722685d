//! Which policies have a page of their own in the console.

use super::{Read, Write};
use crate::error::Result;

/// Whether the console shows a page for the keys of a policy: the page is switched on, or there are live keys under
/// the policy.
pub fn is_shown(read: &Read, policy: &str) -> Result<bool> {
    let found = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM console_pages WHERE policy = $1)
             OR EXISTS (SELECT 1 FROM keys WHERE policy = $1 AND deleted_at IS NULL) AS shown",
        &[&policy],
        |row| row.get("shown"),
    )?;
    Ok(found.unwrap_or(false))
}

/// Whether the page of a policy is switched on, regardless of its keys.
pub fn is_on(read: &Read, policy: &str) -> Result<bool> {
    let found = read.query_one(
        "SELECT 1 AS is_on FROM console_pages WHERE policy = $1",
        &[&policy],
        |row| row.get::<i64>("is_on"),
    )?;
    Ok(found.is_some())
}

/// Switches the page of a policy on; `false` if it was on already.
pub fn insert(tx: &Write<'_>, policy: &str) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO console_pages (policy) VALUES ($1) ON CONFLICT DO NOTHING",
        &[&policy],
    )?;
    Ok(changed == 1)
}

/// Switches the page of a policy off; `false` if it was off already.
pub fn delete(tx: &Write<'_>, policy: &str) -> Result<bool> {
    let changed = tx.execute("DELETE FROM console_pages WHERE policy = $1", &[&policy])?;
    Ok(changed == 1)
}
