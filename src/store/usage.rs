//! State of this node and records of requests: usage, fingerprints of key files, idempotency keys.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
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

/// Records every version of the pepper that is in use.
pub fn insert_peppers(tx: &Write<'_>, peppers: &Peppers) -> Result<()> {
    for pepper in peppers.all() {
        tx.execute(
            "INSERT INTO peppers (version, fingerprint) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING",
            &[&pepper.version, &pepper.fingerprint().0],
        )?;
    }
    Ok(())
}

/// Checks that the pepper file is the one with which this database was created; the error explains the difference.
pub fn check_peppers(read: &Read, peppers: &Peppers) -> Result<()> {
    let stored = read.query(
        "SELECT version, fingerprint FROM peppers",
        &[],
        fingerprint_from_row,
    )?;
    check_fingerprints("pepper", stored, |version| {
        peppers
            .version(version)
            .map(|pepper| pepper.fingerprint().0)
    })
}

/// Records every version of the sealing key that is in use.
pub fn insert_sealing_keys(tx: &Write<'_>, keys: &SealingKeys) -> Result<()> {
    for key in keys.all() {
        tx.execute(
            "INSERT INTO sealing_keys (version, fingerprint) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING",
            &[&key.version, &key.fingerprint],
        )?;
    }
    Ok(())
}

/// Checks that the sealing key file is the one with which this database was created; the error explains the
/// difference.
pub fn check_sealing_keys(read: &Read, keys: &SealingKeys) -> Result<()> {
    let stored = read.query(
        "SELECT version, fingerprint FROM sealing_keys",
        &[],
        fingerprint_from_row,
    )?;
    check_fingerprints("sealing-key", stored, |version| {
        let known = keys.all().iter().find(|key| key.version == version);
        known.map(|key| key.fingerprint)
    })
}

fn check_fingerprints(
    file: &str,
    stored: Vec<(u32, [u8; 32])>,
    found: impl Fn(u32) -> Option<[u8; 32]>,
) -> Result<()> {
    for (version, fingerprint) in stored {
        match found(version) {
            None => {
                return Err(Error::internal(format!(
                    "the {file} file lacks version {version}, which this database was made with; put the right file back"
                )));
            }
            Some(other) if other != fingerprint => {
                return Err(Error::internal(format!(
                    "the {file} file is not the one this database was made with (version {version} differs); put the right file back"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn fingerprint_from_row(row: &Row<'_>) -> Result<(u32, [u8; 32])> {
    Ok((row.get("version")?, row.get("fingerprint")?))
}

/// The effect of an earlier POST with the same Idempotency-Key: the digest of that request, and what it created.
pub fn find_idempotent(
    read: &Read,
    actor: &str,
    name: &str,
    since: Timestamp,
) -> Result<Option<([u8; 32], String)>> {
    read.query_one(
        "SELECT request, target_id FROM idempotency_keys WHERE actor = $1 AND name = $2 AND created_at > $3",
        &[&actor, &name, &since],
        |row| Ok((row.get("request")?, row.get("target_id")?)),
    )
}

pub fn insert_idempotent(
    tx: &Write<'_>,
    actor: &str,
    name: &str,
    request: &[u8; 32],
    target_id: &str,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO idempotency_keys (actor, name, request, target_id, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (actor, name) DO UPDATE
         SET request = excluded.request, target_id = excluded.target_id, created_at = excluded.created_at",
        &[&actor, &name, request, &target_id, &now],
    )?;
    Ok(())
}

pub fn delete_idempotent_before(tx: &Write<'_>, before: Timestamp) -> Result<usize> {
    tx.execute(
        "DELETE FROM idempotency_keys WHERE created_at <= $1",
        &[&before],
    )
}

fn hour_from_row(row: &Row<'_>) -> Result<HourRow> {
    Ok(HourRow {
        hour: row.get("hour")?,
        code: row.get("code")?,
        count: row.get("count")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{browse, sqlite};
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
        let totals = browse::list_totals(&read, 5).unwrap();
        assert_eq!(
            (totals.len(), totals[0].valid, totals[0].refused),
            (1, 24, 0)
        );
        delete_hours_before(&read.write(), 6).unwrap();
        assert_eq!(browse::list_totals(&read, 0).unwrap(), []);
    }
}
