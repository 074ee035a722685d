//! The row of the clock, and the rows that contain wrong times after the clock was wrong.

use super::{Read, Row, Write};
use crate::domain::clock::{ALLOWANCE_MS, StoredClock, Uptime};
use crate::domain::keys::KeyId;
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;

/// The members of a key that a correction of the clock needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimedKey {
    pub id: KeyId,
    pub name: String,
    pub workspace: Uid,
    pub created_at: Timestamp,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub enabled: bool,
}

/// The older secret of a key, in the grace period after a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplacedSecret {
    pub key: KeyId,
    pub workspace: Uid,
    pub rotated_at: Option<Timestamp>,
    pub expires_at: Timestamp,
}

/// The recorded state of the clock with which a node begins: the latest one if no other node can use the database, because this
/// node may have been away. Otherwise its own, or what no node has recorded itself, such as the time of a copy that has replaced the
/// database: the clock of another node may be wrong. `None` for a new node there, and if only an earlier version has used the
/// database, and it stopped within its first minute.
pub fn find(read: &Read, node: NodeId) -> Result<Option<StoredClock>> {
    let own = find_own(read, &node.to_string())?;
    if read.is_shared() {
        return match own {
            Some(own) => Ok(Some(own)),
            None => find_own(read, ""),
        };
    }
    let known = own.map_or(0, |own| own.corrections);
    let latest = find_latest(read)?;
    Ok(latest.map(|latest| StoredClock {
        corrections: latest.corrections.max(known),
        ..latest
    }))
}

fn find_own(read: &Read, node: &str) -> Result<Option<StoredClock>> {
    read.query_one(
        "SELECT mark, allowance_ms, settled, boot, uptime_ms, corrections FROM clock WHERE node = $1",
        &[&node],
        from_row,
    )
}

/// The recorded state of the clock with the latest time, of whichever node.
pub fn find_latest(read: &Read) -> Result<Option<StoredClock>> {
    read.query_one(
        "SELECT mark, allowance_ms, settled, boot, uptime_ms, corrections FROM clock ORDER BY mark DESC, node LIMIT 1",
        &[],
        from_row,
    )
}

fn from_row(row: &Row<'_>) -> Result<StoredClock> {
    let boot: Option<String> = row.get("boot")?;
    let uptime_ms: Option<i64> = row.get("uptime_ms")?;
    let allowance_ms: Option<i64> = row.get("allowance_ms")?;
    Ok(StoredClock {
        mark: within_bounds(row.get("mark")?),
        allowance_ms: allowance_ms.map(|ms| ms.clamp(0, ALLOWANCE_MS)),
        settled: row.get("settled")?,
        uptime: uptime_ms
            .filter(|ms| (0..=UPTIME_MS_MAX).contains(ms))
            .map(|ms| Uptime { boot, ms }),
        corrections: row.get::<i64>("corrections")?.clamp(0, CORRECTIONS_MAX),
    })
}

/// The longest uptime that is accepted from the database: a thousand years.
const UPTIME_MS_MAX: i64 = 1_000 * 365 * 86_400_000;
/// The largest count of corrections that is accepted from the database.
const CORRECTIONS_MAX: i64 = 1 << 32;

/// Limits a mark to the years 1970 to 9999. A value outside was written by another program, and it must not make the
/// start fail.
fn within_bounds(mark: Timestamp) -> Timestamp {
    Timestamp(mark.0.clamp(0, Timestamp(0).plus_s(u64::MAX).0))
}

/// Stores a later mark of a node. A value that was read before a correction is not stored after that correction.
pub fn record(tx: &Write<'_>, node: NodeId, recorded: &StoredClock) -> Result<()> {
    put(tx, &node.to_string(), recorded)
}

fn put(tx: &Write<'_>, node: &str, recorded: &StoredClock) -> Result<()> {
    // An uptime is meaningless if it is not known to which boot it belongs.
    let uptime = recorded
        .uptime
        .as_ref()
        .filter(|uptime| uptime.boot.is_some());
    tx.execute(
        "INSERT INTO clock (node, mark, allowance_ms, settled, boot, uptime_ms, corrections)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (node) DO UPDATE
         SET mark = excluded.mark, allowance_ms = excluded.allowance_ms, settled = excluded.settled,
             boot = excluded.boot, uptime_ms = excluded.uptime_ms, corrections = excluded.corrections
         WHERE excluded.corrections > clock.corrections
            OR (excluded.corrections = clock.corrections AND excluded.mark > clock.mark)",
        &[
            &node,
            &recorded.mark,
            &recorded.allowance_ms,
            &recorded.settled,
            &uptime.and_then(|uptime| uptime.boot.clone()),
            &uptime.map(|uptime| uptime.ms),
            &recorded.corrections,
        ],
    )?;
    Ok(())
}

/// Stores a mark of a node that may be earlier than the recorded one, and counts it as a correction. Returns the number of
/// corrections. The clocks of other nodes stay as they are, unless no other node can use the database: then their rows are of the
/// past, and a later node or a restore would take up the wrong time from them.
pub fn correct(tx: &Write<'_>, node: NodeId, recorded: &StoredClock) -> Result<i64> {
    let before = find(tx, node)?.map_or(0, |before| before.corrections);
    match tx.is_shared() {
        false => tx.execute("DELETE FROM clock", &[])?,
        // What no node has recorded itself is not to be taken up by a new node either.
        true => tx.execute(
            "DELETE FROM clock WHERE node IN ($1, '')",
            &[&node.to_string()],
        )?,
    };
    let corrections = before + 1;
    let corrected = StoredClock {
        corrections,
        ..recorded.clone()
    };
    record(tx, node, &corrected)?;
    Ok(corrections)
}

/// Replaces what all nodes have recorded, when a copy has replaced the database. Counts as a correction.
pub fn replace_all(tx: &Write<'_>, recorded: &StoredClock) -> Result<()> {
    let before = find_latest(tx)?.map_or(0, |before| before.corrections);
    tx.execute("DELETE FROM clock", &[])?;
    let corrected = StoredClock {
        corrections: before + 1,
        ..recorded.clone()
    };
    put(tx, "", &corrected)
}

/// Live, enabled keys that expire after `after` and not later than `until`.
pub fn list_ended(read: &Read, after: Timestamp, until: Timestamp) -> Result<Vec<TimedKey>> {
    read.query(
        "SELECT id, name, workspace_uid, created_at, not_before, expires_at, enabled
         FROM keys
         WHERE expires_at > $1 AND expires_at <= $2 AND enabled = 1 AND deleted_at IS NULL",
        &[&after, &until],
        key_from_row,
    )
}

/// Keys that were created after a time.
pub fn list_created(read: &Read, after: Timestamp) -> Result<Vec<TimedKey>> {
    read.query(
        "SELECT id, name, workspace_uid, created_at, not_before, expires_at, enabled
         FROM keys
         WHERE created_at > $1 AND deleted_at IS NULL",
        &[&after],
        key_from_row,
    )
}

/// Keys that become valid (`not_before`) after `after` and not later than `until`.
pub fn list_begun(read: &Read, after: Timestamp, until: Timestamp) -> Result<Vec<TimedKey>> {
    read.query(
        "SELECT id, name, workspace_uid, created_at, not_before, expires_at, enabled
         FROM keys
         WHERE not_before > $1 AND not_before <= $2 AND deleted_at IS NULL",
        &[&after, &until],
        key_from_row,
    )
}

/// Matches the changes of an event that edited the expiry of a key.
const END_EDITED: &str = "%\"expires_at\":[%";

/// Keys whose expiry was edited after a time, each with the time of the last such edit.
pub fn list_edited(read: &Read, after: Timestamp) -> Result<Vec<(TimedKey, Timestamp)>> {
    read.query(
        "SELECT keys.id, keys.name, keys.workspace_uid, keys.created_at, keys.not_before, keys.expires_at, keys.enabled,
                max(audit_events.at) AS edited_at
         FROM audit_events
         JOIN keys ON keys.id = audit_events.target_id
         WHERE audit_events.target_kind = 'key' AND audit_events.at > $1 AND audit_events.action = 'key.edit'
           AND audit_events.outcome = 'allowed' AND audit_events.changes LIKE $2
           AND keys.deleted_at IS NULL
         GROUP BY keys.id",
        &[&after, &END_EDITED],
        |row| Ok((key_from_row(row)?, row.get("edited_at")?)),
    )
}

/// Replaced secrets whose grace period ends after a time.
pub fn list_replaced(read: &Read, after: Timestamp) -> Result<Vec<ReplacedSecret>> {
    read.query(
        "SELECT secrets.key_id, keys.workspace_uid, keys.rotated_at, secrets.expires_at
         FROM secrets
         JOIN keys ON keys.id = secrets.key_id
         WHERE secrets.expires_at > $1",
        &[&after],
        |row| {
            Ok(ReplacedSecret {
                key: row.get("key_id")?,
                workspace: row.get("workspace_uid")?,
                rotated_at: row.get("rotated_at")?,
                expires_at: row.get("expires_at")?,
            })
        },
    )
}

/// Changes the expiry of a live key.
pub fn update_end(tx: &Write<'_>, id: KeyId, expires_at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE keys SET expires_at = $1 WHERE id = $2 AND deleted_at IS NULL",
        &[&expires_at, &id],
    )?;
    Ok(())
}

/// Changes the end of the grace period of a key's replaced secret.
pub fn update_grace(tx: &Write<'_>, id: KeyId, expires_at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE secrets SET expires_at = $1 WHERE key_id = $2 AND expires_at IS NOT NULL",
        &[&expires_at, &id],
    )?;
    Ok(())
}

/// Counts the sessions and refresh tokens with a wrong time: those that began or were used after `after`, and those
/// that expire after the time `right` and not later than the time `wrong`.
pub fn count_untimely(
    read: &Read,
    after: Timestamp,
    right: Timestamp,
    wrong: Timestamp,
) -> Result<u64> {
    let found = read.query_one(
        "SELECT (SELECT count(*) FROM sessions WHERE issued_at > $1 OR used_at > $1 OR (expires_at > $2 AND expires_at <= $3))
              + (SELECT count(*) FROM refresh_tokens WHERE issued_at > $1 OR used_at > $1 OR (expires_at > $2 AND expires_at <= $3)) AS untimely",
        &[&after, &right, &wrong],
        |row| row.get("untimely"),
    )?;
    Ok(found.unwrap_or(0))
}

/// Deletes the sessions and refresh tokens that [`count_untimely`] counts; returns the ids of the sessions.
pub fn delete_untimely(
    tx: &Write<'_>,
    after: Timestamp,
    right: Timestamp,
    wrong: Timestamp,
) -> Result<Vec<KeyId>> {
    tx.execute(
        "DELETE FROM refresh_tokens WHERE issued_at > $1 OR used_at > $1 OR (expires_at > $2 AND expires_at <= $3)",
        &[&after, &right, &wrong],
    )?;
    tx.query(
        "DELETE FROM sessions WHERE issued_at > $1 OR used_at > $1 OR (expires_at > $2 AND expires_at <= $3) RETURNING id",
        &[&after, &right, &wrong],
        |row| row.get("id"),
    )
}

/// Counts the authenticators whose latest used step is after `step`: none of their one-time codes would be accepted
/// until then.
pub fn count_codes(read: &Read, step: i64) -> Result<u64> {
    let found = read.query_one(
        "SELECT count(*) AS ahead FROM authenticators WHERE used_step > $1",
        &[&step],
        |row| row.get("ahead"),
    )?;
    Ok(found.unwrap_or(0))
}

/// Resets the latest used step of these authenticators to `step`: codes of this step and earlier count as used, later
/// codes do not.
pub fn update_codes(tx: &Write<'_>, step: i64) -> Result<usize> {
    tx.execute(
        "UPDATE authenticators SET used_step = $1 WHERE used_step > $1",
        &[&step],
    )
}

/// Changes all times after `right` to `right` in the records of requests: idempotency keys, last uses, and hourly
/// usage.
pub fn update_local(tx: &Write<'_>, right: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE idempotency_keys SET created_at = $1 WHERE created_at > $1",
        &[&right],
    )?;
    // The older secret was never used after the latest use, by which rows are found.
    tx.execute(
        "UPDATE key_usage SET previous_used_at = $1 WHERE last_used_at > $1 AND previous_used_at > $1",
        &[&right],
    )?;
    tx.execute(
        "UPDATE key_usage SET last_used_at = $1 WHERE last_used_at > $1",
        &[&right],
    )?;
    let hour = right.hour();
    tx.execute(
        "INSERT INTO usage_totals (hour, code, management, count)
         SELECT $1, code, management, sum(count) FROM usage_totals WHERE hour > $1 GROUP BY code, management
         ON CONFLICT (hour, code, management) DO UPDATE SET count = usage_totals.count + excluded.count",
        &[&hour],
    )?;
    tx.execute("DELETE FROM usage_totals WHERE hour > $1", &[&hour])?;
    tx.execute(
        "INSERT INTO usage_hours (key_id, hour, code, count)
         SELECT key_id, $1, code, sum(count) FROM usage_hours WHERE hour > $1 GROUP BY key_id, code
         ON CONFLICT (key_id, hour, code) DO UPDATE SET count = usage_hours.count + excluded.count",
        &[&hour],
    )?;
    tx.execute("DELETE FROM usage_hours WHERE hour > $1", &[&hour])?;
    Ok(())
}

fn key_from_row(row: &Row<'_>) -> Result<TimedKey> {
    Ok(TimedKey {
        id: row.get("id")?,
        name: row.get("name")?,
        workspace: row.get("workspace_uid")?,
        created_at: row.get("created_at")?,
        not_before: row.get("not_before")?,
        expires_at: row.get("expires_at")?,
        enabled: row.get("enabled")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const ONE: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn recorded(mark: i64, corrections: i64) -> StoredClock {
        StoredClock {
            mark: Timestamp(mark),
            allowance_ms: Some(7),
            settled: true,
            uptime: Some(Uptime {
                boot: Some("b".to_owned()),
                ms: mark,
            }),
            corrections,
        }
    }

    /// A row that another program wrote must not keep the server from starting.
    #[test]
    fn values_that_nobody_can_reckon_with_are_kept_within_bounds() {
        for read in testing::stores() {
            for (mark, allowance_ms, corrections, uptime_ms) in [
                (i64::MAX, i64::MAX, i64::MAX, i64::MAX),
                (i64::MIN, 0, i64::MIN, i64::MIN),
            ] {
                let tx = read.write();
                tx.execute("DELETE FROM clock", &[]).unwrap();
                tx.execute(
                    "INSERT INTO clock (node, mark, allowance_ms, settled, boot, uptime_ms, corrections)
                     VALUES ('', $1, $2, 1, 'b', $3, $4)",
                    &[&mark, &allowance_ms, &uptime_ms, &corrections],
                )
                .unwrap();
                let found = find(&read, ONE).unwrap().unwrap();
                assert!((0..=253_402_300_799_000).contains(&found.mark.0));
                assert!((0..=ALLOWANCE_MS).contains(&found.allowance_ms.unwrap()));
                assert!((0..=CORRECTIONS_MAX).contains(&found.corrections));
                assert_eq!(found.uptime, None);
            }
        }
    }

    #[test]
    fn the_mark_grows_and_falls_by_a_correction_alone() {
        for read in testing::stores() {
            let find = || super::find(&read, ONE).unwrap();
            let record = |mark, corrections| {
                super::record(&read.write(), ONE, &recorded(mark, corrections)).unwrap();
            };
            assert_eq!(find(), None);
            for (mark, kept) in [(20, 20), (10, 20), (30, 30)] {
                record(mark, 0);
                assert_eq!(find(), Some(recorded(kept, 0)));
            }
            assert_eq!(correct(&read.write(), ONE, &recorded(5, 0)).unwrap(), 1);
            assert_eq!(find(), Some(recorded(5, 1)));
            // Upkeep read this value before the correction, and stores it after it.
            record(31, 0);
            assert_eq!(find(), Some(recorded(5, 1)));
            record(6, 1);
            assert_eq!(find(), Some(recorded(6, 1)));
        }
    }

    #[test]
    fn no_clock_moves_that_of_another_node_and_a_new_node_begins_with_the_latest_of_a_file() {
        for read in testing::stores() {
            let tx = read.write();
            let find = |node| super::find(&read, node).unwrap();
            record(&tx, ONE, &recorded(20, 0)).unwrap();
            let of_file = |mark| (!read.is_shared()).then(|| recorded(mark, 0));
            assert_eq!(find(OTHER), of_file(20));
            record(&tx, OTHER, &recorded(50, 0)).unwrap();
            assert_eq!(find(NodeId([3; 16])), of_file(50));
            let own = |node: NodeId| super::find_own(&read, &node.to_string()).unwrap();
            assert_eq!(own(ONE), Some(recorded(20, 0)));
            // A copy has replaced the database.
            replace_all(&tx, &recorded(3, 0)).unwrap();
            for node in [ONE, OTHER] {
                assert_eq!(find(node), Some(recorded(3, 1)));
            }
            record(&tx, ONE, &recorded(4, 1)).unwrap();
            assert_eq!(find(ONE), Some(recorded(4, 1)));
        }
    }

    /// A wrong time that a former node has recorded would otherwise close keys at a restore.
    #[test]
    fn after_a_correction_no_former_node_has_a_later_time() {
        for read in testing::stores() {
            let tx = read.write();
            record(&tx, ONE, &recorded(20, 0)).unwrap();
            record(&tx, OTHER, &recorded(50, 0)).unwrap();
            assert_eq!(correct(&tx, OTHER, &recorded(7, 0)).unwrap(), 1);
            assert_eq!(find(&read, OTHER).unwrap(), Some(recorded(7, 1)));
            let latest = match read.is_shared() {
                false => recorded(7, 1),
                // This node may be running.
                true => recorded(20, 0),
            };
            assert_eq!(find_latest(&read).unwrap(), Some(latest));
        }
    }

    /// A data folder comes back, such as a clone of a machine or an old `node-id`.
    #[test]
    fn a_node_that_returns_goes_on_with_what_another_has_recorded_since() {
        for read in testing::stores() {
            let tx = read.write();
            record(&tx, ONE, &recorded(20, 0)).unwrap();
            record(&tx, OTHER, &recorded(50, 0)).unwrap();
            let expected = match read.is_shared() {
                false => 50,
                true => 20,
            };
            assert_eq!(find(&read, ONE).unwrap(), Some(recorded(expected, 0)));
            record(&tx, ONE, &recorded(60, 0)).unwrap();
            assert_eq!(find(&read, ONE).unwrap(), Some(recorded(60, 0)));
            // Another node counts fewer corrections, and is ahead.
            correct(&tx, ONE, &recorded(10, 0)).unwrap();
            record(&tx, OTHER, &recorded(70, 0)).unwrap();
            let found = find(&read, ONE).unwrap().unwrap();
            assert_eq!(found.corrections, 1);
            record(&tx, ONE, &recorded(80, found.corrections)).unwrap();
            assert_eq!(find(&read, ONE).unwrap(), Some(recorded(80, 1)));
            // Another node counts more of them, and what is read of it is stored.
            tx.execute(
                "UPDATE clock SET corrections = 3, mark = 90 WHERE node = $1",
                &[&OTHER.to_string()],
            )
            .unwrap();
            record(&tx, ONE, &recorded(85, 3)).unwrap();
            assert_eq!(
                find_own(&read, &ONE.to_string()).unwrap(),
                Some(recorded(85, 3))
            );
        }
    }

    #[test]
    fn hours_after_the_right_time_are_added_to_its_own() {
        for read in testing::stores() {
            read.batch(
            "INSERT INTO usage_totals (hour, code, management, count)
             VALUES (1, 'VALID', 0, 1), (2, 'VALID', 0, 10), (3, 'VALID', 0, 100), (9, 'EXPIRED', 0, 5)",
        )
        .unwrap();
            update_local(&read.write(), Timestamp(2 * 3_600_000 + 1)).unwrap();
            let left = read
                .query(
                    "SELECT hour, code, count FROM usage_totals ORDER BY hour, code",
                    &[],
                    |row| {
                        Ok((
                            row.get::<i64>("hour")?,
                            row.get::<String>("code")?,
                            row.get::<i64>("count")?,
                        ))
                    },
                )
                .unwrap();
            let expected = [(1, "VALID", 1), (2, "EXPIRED", 5), (2, "VALID", 110)];
            assert_eq!(
                left,
                expected.map(|(hour, code, count)| (hour, code.to_owned(), count))
            );
        }
    }
}
