//! Queries that read many events: for the tombstone file, for `doctor`, for sinks and for packs.

use crate::domain::audit::Event;
use crate::domain::tombstones;
use crate::error::Result;
use crate::store::Read;
use crate::store::audit::{self, from_row};

/// The newest event, as a mark for the tombstone file.
pub fn newest(read: &Read) -> Result<Option<tombstones::Mark>> {
    Ok(audit::newest(read)?.map(|event| tombstones::Mark::of(&event)))
}

/// Calls `take` with every event after a number, in order.
pub fn each_after(read: &Read, seq: i64, mut take: impl FnMut(Event) -> Result<()>) -> Result<()> {
    read.each(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE seq > $1
         ORDER BY seq",
        &[&seq],
        &mut |row| take(from_row(row)?),
    )
}

/// The events after a number, in order, at most `limit`. An event that was made unreadable is `None`, so that it
/// does not stop a reader.
pub fn list_after(read: &Read, seq: i64, limit: u32) -> Result<Vec<(i64, Option<Event>)>> {
    read.query(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE seq > $1
         ORDER BY seq
         LIMIT $2",
        &[&seq, &limit],
        |row| Ok((row.get("seq")?, from_row(row).ok())),
    )
}

/// The number of events that [`each_back_to`] reads at a time.
const PAGE: u32 = 256;

/// Whether the log has every event after a number. Events before its beginning were removed.
pub fn has_all_after(read: &Read, after: u64) -> Result<bool> {
    let ends = audit::ends(read)?;
    Ok(ends.is_none_or(|(first, _)| first.unsigned_abs() <= after.saturating_add(1)))
}

/// Calls `take` with the events after a number that can have ended a key or a secret, or replaced the digest of one, the newest
/// first. `take` may use the connection.
pub fn each_back_to(
    read: &Read,
    after: u64,
    mut take: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let mut before = i64::MAX;
    loop {
        let page = read.query(
            "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                    reason, changes, previous
             FROM audit_events
             WHERE seq > $1 AND seq < $2 AND outcome = 'allowed'
                   AND (target_kind IN ('key', 'policy', 'user', 'workspace') OR action IN ('secrets.upgrade', 'site.edit'))
             ORDER BY seq DESC
             LIMIT $3",
            &[&after, &before, &PAGE],
            from_row,
        )?;
        let is_last = page.len() < PAGE as usize;
        for event in page {
            before = event.seq;
            take(event)?;
        }
        if is_last {
            return Ok(());
        }
    }
}
