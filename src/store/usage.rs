//! Recorded usage of keys: totals, last uses and verdicts by hour.

use super::connection::ToValue;
use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::network::Network;
use crate::domain::nodes::Node;
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
    /// When the secret before the newest was last used.
    pub previous_used_at: Option<Timestamp>,
}

/// The usage that one interval adds to a key.
#[derive(Clone, Debug)]
pub struct UsageDelta {
    pub key: KeyId,
    /// The key is for this server itself.
    pub is_management: bool,
    pub uses: u64,
    /// The time and the address of the last successful use.
    pub last_used: Option<(Timestamp, Option<IpAddr>)>,
    pub previous_used: Option<Timestamp>,
    /// The networks that good uses came from, the latest first.
    pub networks: Vec<Network>,
    /// Verdicts by hour and code.
    pub verdicts: Vec<(i64, &'static str, u64)>,
}

/// The verdicts with one code in one step of a report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StepRow {
    /// Steps since 1970, such as hours or days.
    pub step: i64,
    pub code: String,
    /// The verdicts are on keys for this server itself. Reports of one key do not tell.
    pub is_management: bool,
    pub count: u64,
}

/// Records that a batch of usage is written in this transaction; `false` if it, or a later one of this process, was written before.
///
/// # Errors
/// `Internal` if a later process of the node has written: what this one has written is not known any more.
pub fn begin_batch(tx: &Write<'_>, node: Node, batch: i64) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO usage_flush (node, boot, batch)
         VALUES ($1, $2, $3)
         ON CONFLICT (node) DO UPDATE SET boot = excluded.boot, batch = excluded.batch
         WHERE excluded.boot > usage_flush.boot
            OR (excluded.boot = usage_flush.boot AND excluded.batch > usage_flush.batch)",
        &[&node.id.to_string(), &node.boot, &batch],
    )?;
    if changed == 1 {
        return Ok(true);
    }
    let newest = tx.query_one(
        "SELECT boot FROM usage_flush WHERE node = $1",
        &[&node.id.to_string()],
        |row| row.get::<i64>("boot"),
    )?;
    match newest == Some(node.boot) {
        true => Ok(false),
        false => Err(Error::internal(
            "a later process of this node has written usage; this one must not",
        )),
    }
}

/// Adds the verdicts on all keys in one interval to the totals.
pub fn add_totals(tx: &Write<'_>, deltas: &[UsageDelta]) -> Result<()> {
    let mut sums: BTreeMap<(i64, &'static str, bool), u64> = BTreeMap::new();
    for delta in deltas {
        for (hour, code, count) in &delta.verdicts {
            *sums.entry((*hour, code, delta.is_management)).or_default() += count;
        }
    }
    for ((hour, code, is_management), count) in sums {
        tx.send(
            "INSERT INTO usage_totals (hour, code, management, count)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (hour, code, management) DO UPDATE SET count = usage_totals.count + excluded.count",
            &[&hour, &code, &is_management, &count],
        )?;
    }
    Ok(())
}

/// What is known about where a key was used from, before an interval is added.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownNetworks {
    /// The latest first.
    pub networks: Vec<Network>,
    /// No use from a new network counts as one before this.
    pub from: Option<Timestamp>,
    /// The key was used before the interval.
    pub was_used: bool,
}

/// Adds the usage of one interval, of different keys. Keys that no longer exist are skipped, and have no networks. A server is
/// asked about all keys at once, because other changes wait meanwhile.
pub fn add_usage(tx: &Write<'_>, deltas: &[UsageDelta]) -> Result<Vec<Option<KnownNetworks>>> {
    let additions: Vec<Addition<'_>> = deltas.iter().map(Addition::of).collect();
    let params: Vec<_> = additions.iter().map(Addition::params).collect();
    let each: Vec<&[&dyn ToValue]> = params.iter().map(|params| params.as_slice()).collect();
    let recorded = tx.query_each(
        "INSERT INTO key_usage (key_id, use_count, last_used_at, last_used_ip, previous_used_at)
         SELECT id, $1, $2, $3, $4 FROM keys WHERE id = $5
         ON CONFLICT (key_id) DO UPDATE
         SET use_count = key_usage.use_count + excluded.use_count,
             last_used_at = coalesce(excluded.last_used_at, key_usage.last_used_at),
             last_used_ip = CASE WHEN excluded.last_used_at IS NULL THEN key_usage.last_used_ip ELSE excluded.last_used_ip END,
             previous_used_at = coalesce(excluded.previous_used_at, key_usage.previous_used_at)
         RETURNING use_count, networks, networks_from",
        &each,
        |row| {
            let networks = row.get::<String>("networks")?;
            let networks = networks.split_whitespace().filter_map(Network::parse).collect();
            let known: (u64, Vec<Network>, Option<Timestamp>) = (row.get("use_count")?, networks, row.get("networks_from")?);
            Ok(known)
        },
    )?;
    let mut known = Vec::with_capacity(deltas.len());
    for (delta, recorded) in deltas.iter().zip(recorded) {
        known.push(recorded.map(|(uses, networks, from)| KnownNetworks {
            networks,
            from,
            was_used: uses > delta.uses,
        }));
    }
    for (delta, _) in deltas
        .iter()
        .zip(&known)
        .filter(|(_, known)| known.is_some())
    {
        for (hour, code, count) in &delta.verdicts {
            tx.send(
                "INSERT INTO usage_hours (key_id, hour, code, count)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (key_id, hour, code) DO UPDATE SET count = usage_hours.count + excluded.count",
                &[&delta.key, hour, code, count],
            )?;
        }
    }
    Ok(known)
}

/// What is added to the row of a key.
struct Addition<'a> {
    delta: &'a UsageDelta,
    at: Option<Timestamp>,
    address: Option<String>,
}

impl Addition<'_> {
    fn of(delta: &UsageDelta) -> Addition<'_> {
        let (at, address) = delta.last_used.unzip();
        Addition {
            delta,
            at,
            address: address.flatten().map(|address| address.to_string()),
        }
    }

    /// In the order of the statement.
    fn params(&self) -> [&dyn ToValue; 5] {
        [
            &self.delta.uses,
            &self.at,
            &self.address,
            &self.delta.previous_used,
            &self.delta.key,
        ]
    }
}

/// Replaces the networks that a key is known to be used from.
pub fn set_networks(
    tx: &Write<'_>,
    key: KeyId,
    networks: &[Network],
    from: Option<Timestamp>,
) -> Result<()> {
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    tx.send(
        "UPDATE key_usage SET networks = $1, networks_from = $2 WHERE key_id = $3",
        &[&networks.join(" "), &from, &key],
    )?;
    Ok(())
}

pub fn find_usage(read: &Read, key: KeyId) -> Result<Usage> {
    let found = read.query_one(
        "SELECT use_count, last_used_at, last_used_ip, previous_used_at FROM key_usage WHERE key_id = $1",
        &[&key],
        |row| {
            Ok(Usage {
                use_count: row.get("use_count")?,
                last_used_at: row.get("last_used_at")?,
                last_used_ip: row.get("last_used_ip")?,
                previous_used_at: row.get("previous_used_at")?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// The verdicts on one key from `since_hour` to before `until_hour`, summed over steps of so many hours, oldest first.
pub fn list_steps(
    read: &Read,
    key: KeyId,
    step_hours: i64,
    since_hour: i64,
    until_hour: i64,
) -> Result<Vec<StepRow>> {
    read.query(
        "SELECT hour / $1 AS step, code, 0 AS management, CAST(sum(count) AS BIGINT) AS count
         FROM usage_hours
         WHERE key_id = $2 AND hour >= $3 AND hour < $4
         GROUP BY hour / $1, code
         ORDER BY hour / $1, code",
        &[&step_hours, &key, &since_hour, &until_hour],
        step_from_row,
    )
}

/// Deletes the hourly totals before an hour.
pub fn delete_hours_before(tx: &Write<'_>, hour: i64) -> Result<usize> {
    tx.execute("DELETE FROM usage_totals WHERE hour < $1", &[&hour])?;
    tx.execute("DELETE FROM usage_hours WHERE hour < $1", &[&hour])
}

/// The verdicts on all keys since an hour, summed over steps of so many hours, oldest first.
pub fn list_totals(read: &Read, step_hours: i64, since_hour: i64) -> Result<Vec<StepRow>> {
    read.query(
        "SELECT hour / $1 AS step, code, management, CAST(sum(count) AS BIGINT) AS count
         FROM usage_totals
         WHERE hour >= $2
         GROUP BY hour / $1, code, management
         ORDER BY hour / $1, code, management",
        &[&step_hours, &since_hour],
        step_from_row,
    )
}

fn step_from_row(row: &Row<'_>) -> Result<StepRow> {
    Ok(StepRow {
        step: row.get("step")?,
        code: row.get("code")?,
        is_management: row.get("management")?,
        count: row.get("count")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::domain::nodes::NodeId;

    #[test]
    fn a_batch_is_written_once_and_nodes_do_not_hinder_one_another() {
        for read in testing::stores() {
            read.ignore_references();
            let begin = |id, boot, batch| {
                let node = Node {
                    id: NodeId([id; 16]),
                    boot,
                };
                begin_batch(&read.write(), node, batch)
            };
            let begins = |id, boot, batch| begin(id, boot, batch).unwrap();
            assert!(begins(1, 1, 1) && !begins(1, 1, 1));
            assert!(begins(1, 1, 2) && !begins(1, 1, 1));
            assert!(begins(2, 1, 1));
            // The next process of the node counts from one.
            assert!(begins(1, 2, 1) && !begins(1, 2, 1));
            assert!(begins(1, 2, 7));
            // What the process before still has is not taken for written.
            for batch in [1, 7, 8] {
                assert!(matches!(begin(1, 1, batch), Err(Error::Internal(_))));
            }
        }
    }

    #[test]
    fn usage_adds_up_and_passes_over_keys_that_are_gone() {
        for read in testing::stores() {
            read.ignore_references();
            read.batch(
            "INSERT INTO keys (id, number, name, description, workspace_uid, policy, scopes, read_only, enabled,
                               metadata, created_by, created_at, hint)
             VALUES ('0000000001', 1, 'k', '', '', '', '', 0, 1, '{}', '', 0, '')",
        )
        .unwrap();
            let delta = |id, uses| UsageDelta {
                key: KeyId(id),
                is_management: id == 2,
                uses,
                last_used: None,
                previous_used: Some(Timestamp(id as i64)),
                networks: Vec::new(),
                verdicts: vec![(5, "VALID", uses)],
            };
            let deltas = [delta(1, 2), delta(1, 3), delta(2, 7)];
            let known = add_usage(&read.write(), &deltas[..1]).unwrap();
            assert!(known[0].as_ref().is_some_and(|known| !known.was_used));
            let known = add_usage(&read.write(), &deltas[1..]).unwrap();
            assert!(known[0].as_ref().is_some_and(|known| known.was_used));
            assert_eq!(known[1], None);
            let usage = find_usage(&read, KeyId(1)).unwrap();
            assert_eq!(
                (usage.use_count, usage.previous_used_at),
                (5, Some(Timestamp(1)))
            );
            assert_eq!(find_usage(&read, KeyId(2)).unwrap().use_count, 0);
            let steps = |step_hours| {
                let rows = list_steps(&read, KeyId(1), step_hours, 0, 10).unwrap();
                rows.into_iter()
                    .map(|row| (row.step, row.count))
                    .collect::<Vec<_>>()
            };
            assert_eq!(steps(1), [(5, 5)]);
            assert_eq!(steps(24), [(0, 5)]);
            // The totals cover all keys.
            for _ in 0..2 {
                add_totals(&read.write(), &deltas).unwrap();
            }
            let totals = list_totals(&read, 1, 5).unwrap();
            let totals = totals
                .iter()
                .map(|row| (row.step, row.is_management, row.count));
            assert_eq!(totals.collect::<Vec<_>>(), [(5, false, 10), (5, true, 14)]);
            delete_hours_before(&read.write(), 6).unwrap();
            assert_eq!(list_totals(&read, 1, 0).unwrap(), []);
        }
    }
}
