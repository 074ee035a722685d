//! Orders that lists for people have, and memory does not know.

use super::{Read, Row};
use crate::domain::key::KeyId;
use crate::domain::key::verdict::Code;
use crate::error::Result;

/// The ids of all live keys, the newest first.
pub fn list_newest(read: &Read) -> Result<Vec<KeyId>> {
    read.query("SELECT id FROM keys ORDER BY number DESC", &[], id)
}

/// The ids of all keys that were ever used, the one used last first.
pub fn list_last_used(read: &Read) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT key_id AS id FROM key_usage WHERE last_used_at IS NOT NULL ORDER BY last_used_at DESC, key_id",
        &[],
        id,
    )
}

/// Verdicts of all keys in one hour: how many let in, how many refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HourTotal {
    /// Hours since 1970.
    pub hour: i64,
    pub valid: u64,
    pub refused: u64,
}

/// Totals by hour, oldest first, from an hour on; hours without any are left out.
pub fn list_totals(read: &Read, since_hour: i64) -> Result<Vec<HourTotal>> {
    read.query(
        "SELECT hour,
                sum(CASE WHEN code = $1 THEN count ELSE 0 END) AS valid,
                sum(CASE WHEN code = $1 THEN 0 ELSE count END) AS refused
         FROM usage_hours
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

fn id(row: &Row<'_>) -> Result<KeyId> {
    row.get("id")
}
