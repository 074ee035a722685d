//! Recorded usage of keys: totals, last uses and verdicts by hour.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::domain::time::Timestamp;
use crate::error::Result;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The recorded usage of a key.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub use_count: u64,
    pub last_used_at: Option<Timestamp>,
    pub last_used_ip: Option<String>,
}

/// The usage that one interval adds to a key.
#[derive(Clone, Debug)]
pub struct UsageDelta {
    pub key: KeyId,
    pub uses: u64,
    /// The time and the address of the last successful use.
    pub last_used: Option<(Timestamp, Option<IpAddr>)>,
    /// Verdicts by hour and code.
    pub verdicts: Vec<(i64, &'static str, u64)>,
}

/// One row of the hourly totals.
#[derive(Clone, Debug)]
pub struct HourRow {
    pub hour: i64,
    pub code: String,
    pub count: u64,
}

/// The verdicts on all keys in one hour: how many requests were accepted, and how many refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HourTotal {
    /// Hours since 1970.
    pub hour: i64,
    pub valid: u64,
    pub refused: u64,
}

/// Adds the verdicts on all keys in one interval to the totals.
pub fn add_totals(tx: &Write<'_>, deltas: &[UsageDelta]) -> Result<()> {
    let mut sums: BTreeMap<(i64, &'static str), u64> = BTreeMap::new();
    for (hour, code, count) in deltas.iter().flat_map(|delta| &delta.verdicts) {
        *sums.entry((*hour, code)).or_default() += count;
    }
    for ((hour, code), count) in sums {
        tx.execute(
            "INSERT INTO usage_totals (hour, code, count)
             VALUES ($1, $2, $3)
             ON CONFLICT (hour, code) DO UPDATE SET count = count + excluded.count",
            &[&hour, &code, &count],
        )?;
    }
    Ok(())
}

/// Adds the usage of one interval. Keys that no longer exist are skipped.
pub fn add_usage(tx: &Write<'_>, delta: &UsageDelta) -> Result<()> {
    let (at, address) = match &delta.last_used {
        Some((at, address)) => (Some(*at), address.map(|address| address.to_string())),
        None => (None, None),
    };
    let changed = tx.execute(
        "INSERT INTO key_usage (key_id, use_count, last_used_at, last_used_ip)
         SELECT id, $1, $2, $3 FROM keys WHERE id = $4
         ON CONFLICT (key_id) DO UPDATE
         SET use_count = use_count + excluded.use_count,
             last_used_at = coalesce(excluded.last_used_at, last_used_at),
             last_used_ip = CASE WHEN excluded.last_used_at IS NULL THEN last_used_ip ELSE excluded.last_used_ip END",
        &[&delta.uses, &at, &address, &delta.key],
    )?;
    if changed == 0 {
        return Ok(());
    }
    for (hour, code, count) in &delta.verdicts {
        tx.execute(
            "INSERT INTO usage_hours (key_id, hour, code, count)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (key_id, hour, code) DO UPDATE SET count = count + excluded.count",
            &[&delta.key, hour, code, count],
        )?;
    }
    Ok(())
}

pub fn find_usage(read: &Read, key: KeyId) -> Result<Usage> {
    let found = read.query_one(
        "SELECT use_count, last_used_at, last_used_ip FROM key_usage WHERE key_id = $1",
        &[&key],
        |row| {
            Ok(Usage {
                use_count: row.get("use_count")?,
                last_used_at: row.get("last_used_at")?,
                last_used_ip: row.get("last_used_ip")?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// The hourly totals of one key from `since_hour` to before `until_hour`, oldest first.
pub fn list_hours(
    read: &Read,
    key: KeyId,
    since_hour: i64,
    until_hour: i64,
) -> Result<Vec<HourRow>> {
    read.query(
        "SELECT hour, code, count
         FROM usage_hours
         WHERE key_id = $1 AND hour >= $2 AND hour < $3
         ORDER BY hour, code",
        &[&key, &since_hour, &until_hour],
        hour_from_row,
    )
}

/// Deletes the hourly totals before an hour.
pub fn delete_hours_before(tx: &Write<'_>, hour: i64) -> Result<usize> {
    tx.execute("DELETE FROM usage_totals WHERE hour < $1", &[&hour])?;
    tx.execute("DELETE FROM usage_hours WHERE hour < $1", &[&hour])
}

fn hour_from_row(row: &Row<'_>) -> Result<HourRow> {
    Ok(HourRow {
        hour: row.get("hour")?,
        code: row.get("code")?,
        count: row.get("count")?,
    })
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

#[cfg(test)]
mod tests {
    use super::super::sqlite;
    use super::*;

    #[test]
    fn usage_adds_up_and_passes_over_keys_that_are_gone() {
        let read = sqlite::in_memory().unwrap();
        read.batch("PRAGMA foreign_keys = OFF").unwrap();
        read.batch(
            "INSERT INTO keys (id, number, name, description, workspace_uid, policy, scopes, read_only, enabled,
                               metadata, created_by, created_at, hint)
             VALUES ('0000000001', 1, 'k', '', '', '', '', 0, 1, '{}', '', 0, '')",
        )
        .unwrap();
        let delta = |id, uses| UsageDelta {
            key: KeyId(id),
            uses,
            last_used: None,
            verdicts: vec![(5, "VALID", uses)],
        };
        let deltas = [delta(1, 2), delta(1, 3), delta(2, 7)];
        for delta in &deltas {
            add_usage(&read.write(), delta).unwrap();
        }
        assert_eq!(find_usage(&read, KeyId(1)).unwrap().use_count, 5);
        assert_eq!(find_usage(&read, KeyId(2)).unwrap().use_count, 0);
        let hours = list_hours(&read, KeyId(1), 0, 10).unwrap();
        assert_eq!(hours.iter().map(|row| row.count).collect::<Vec<_>>(), [5]);
        // The totals cover all keys.
        for _ in 0..2 {
            add_totals(&read.write(), &deltas).unwrap();
        }
        let totals = list_totals(&read, 5).unwrap();
        assert_eq!(
            (totals.len(), totals[0].valid, totals[0].refused),
            (1, 24, 0)
        );
        delete_hours_before(&read.write(), 6).unwrap();
        assert_eq!(list_totals(&read, 0).unwrap(), []);
    }
}
