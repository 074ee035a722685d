//! Queries of the audit log for the tombstone file and for `doctor`.

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
