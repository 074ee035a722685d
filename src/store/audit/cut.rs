//! Pruning the audit log: this file deletes the oldest events.

use super::{CHECKPOINT, Mark, find, sealed_text};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::{Read, Write};

/// The number of events that one statement deletes: over PostgreSQL, a statement has a limited time.
const STEP: i64 = 10_000;

/// Where a cut ends: all events before this point are deleted.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Delete the events before the first one whose time is this time or later.
    Before(Timestamp),
    /// Keep this many of the newest events and delete the others.
    Keep(u64),
}

/// Deletes the oldest events up to the cut, but at most `most` of them, and seals the new start of the chain as its
/// checkpoint. Returns the number and the hash of the last deleted event, and how many events were deleted; `None` if
/// there was nothing to delete.
pub fn prune(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    cut: Cut,
    most: i64,
) -> Result<Option<(Mark, usize)>> {
    let last = last(tx, cut)?;
    let first = tx.query_one(
        "SELECT coalesce(min(seq), 1) AS first FROM audit_events",
        &[],
        |row| row.get::<i64>("first"),
    )?;
    let first = first.unwrap_or(1);
    let most = first.saturating_add(most - 1);
    let Some(event) = find(tx, last.min(most))? else {
        return Ok(None);
    };
    let hash = event.hash();
    let seal = seal_keys.seal(&sealed_text(CHECKPOINT, event.seq, &hash));
    tx.execute(
        "INSERT INTO audit_checkpoint (one, seq, hash, seal)
         VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal",
        &[&event.seq, &hash, &seal],
    )?;
    let count = delete(tx, first, event.seq, STEP)?;
    let mark = Mark {
        seq: event.seq,
        hash,
        seal,
    };
    Ok(Some((mark, count)))
}

/// Deletes the events from the first one to `last`, `step` of them at a time, and returns how many there were.
pub(super) fn delete(tx: &Write<'_>, first: i64, last: i64, step: i64) -> Result<usize> {
    let (mut count, mut end) = (0, first - 1);
    while end < last {
        end = end.saturating_add(step).min(last);
        count += tx.execute("DELETE FROM audit_events WHERE seq <= $1", &[&end])?;
    }
    Ok(count)
}

/// The number of the last event that the cut deletes. If the cut deletes no event, the number is lower than that of
/// the first event.
pub fn last(read: &Read, cut: Cut) -> Result<i64> {
    let last = match cut {
        // Event numbers decide the order. If the clock went back, an event with an old time can follow a newer event;
        // such an event is kept.
        Cut::Before(time) => read.query_one(
            "SELECT coalesce((SELECT min(seq) - 1 FROM audit_events WHERE at >= $1),
                             (SELECT max(seq) FROM audit_events), 0) AS last",
            &[&time],
            |row| row.get::<i64>("last"),
        )?,
        Cut::Keep(count) => read.query_one(
            "SELECT coalesce(max(seq), 0) - $1 AS last FROM audit_events",
            &[&count],
            |row| row.get::<i64>("last"),
        )?,
    };
    Ok(last.unwrap_or(0))
}

/// The number of events in the audit log.
pub fn count(read: &Read) -> Result<i64> {
    let ends = super::ends(read)?;
    Ok(ends.map_or(0, |(first, last)| last - first + 1))
}
