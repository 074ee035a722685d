//! Making a database of a backup: checked as a whole, brought to the current schema, and closed where it would let in
//! whom it should not. Works on a copy, which has no place yet; the folder puts it there.

use super::closing::{Closed, Closing};
use super::recorded;
use crate::domain::audit::{Event, Target};
use crate::domain::keeping::tombstone::{Mark, Tombstones};
use crate::domain::key::KeyId;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::system_event;
use crate::store::keeping::{events, tombstones};
use crate::store::seals::recorded::each_changed;
use crate::store::{Durability, Foreign, Read, Store, audit, local};
use std::path::Path;

/// How to restore.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What has ended since; empty if nobody knows.
    pub tombstones: Tombstones,
    /// Whether counted keys keep the uses that the backup gives them.
    pub keeps_uses: bool,
    /// Who does it, as in the audit log.
    pub actor: String,
    /// The name of the backup, for the audit log.
    pub backup: String,
    pub now: Timestamp,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Events in the backup's audit log.
    pub events: i64,
    /// The latest of them.
    pub at: Timestamp,
    pub closed: Closed,
    /// Whatever somebody had changed in the backup past Latchkey, by kind and name; it was closed too.
    pub altered: Vec<String>,
    /// What was in the backup and is not Latchkey's; it was left out.
    pub left_out: Vec<Foreign>,
    /// The event that says so, for the file of tombstones.
    pub mark: Option<Mark>,
}

/// Says in the file of tombstones that the restored database, which has its place now, knows all that is in there.
pub fn settle(file: &Path, known: &Tombstones, restored: &Restored) -> Result<()> {
    restored
        .mark
        .map_or(Ok(()), |mark| tombstones::settle(file, known, mark))
}

/// Checks a copy of a backup and makes it ready to serve.
pub fn prepare(copy: &Path, files: &KeyFiles, wanted: Wanted) -> Result<Restored> {
    let left_out = Store::check_backup(copy, files, wanted.now)?;
    let store = Store::open(
        copy,
        files,
        wanted.now,
        Box::new(|_, _| Ok(Box::new(|| {}))),
    )?;
    let (events, newest, keys) = store.read(|read| {
        let events = check_content(read, files)?;
        Ok((events, events::newest(read)?, altered_keys(read, files)?))
    })?;
    let copied_at = newest.map_or(wanted.now, |mark| mark.at);
    // Time never falls: what the tombstones and the backup know of it counts.
    let now = wanted.now.max(copied_at);
    let now = wanted
        .tombstones
        .latest
        .map_or(now, |latest| now.max(latest));
    let peppers = files.peppers.clone();
    let (closed, altered) = store.write(Durability::Full, move |tx| {
        let template = Event {
            actor: wanted.actor.clone(),
            ..system_event("server.restore", Target::server(), now)
        };
        let closing = Closing {
            peppers: &peppers,
            tombstones: &wanted.tombstones,
            copied_at,
            now,
            template: template.clone(),
            keeps_uses: wanted.keeps_uses,
        };
        // The same as at a start: what does not fit its seal is closed.
        let mut altered = recorded::close_altered(tx, &peppers, now)?;
        altered.extend(recorded::close_keys(tx, &peppers, &keys, now)?);
        let closed = closing.run(tx)?;
        let mut changes = closed.changes();
        changes.note("backup", &String::new(), &wanted.backup);
        let event = Event {
            changes: changes.into_json(),
            ..template
        };
        audit::append(tx, &peppers, event)?;
        Ok((closed, altered))
    })?;
    let mark = store.read(events::newest)?;
    store.close();
    Ok(Restored {
        mark,
        left_out,
        events,
        at: copied_at,
        closed,
        altered: altered.into_iter().map(|one| one.name).collect(),
    })
}

/// Checks a copy as a restore does, before it becomes a backup. `now` is the time of the check.
pub fn check(copy: &Path, files: &KeyFiles, now: Timestamp) -> Result<()> {
    Store::check_backup(copy, files, now)?;
    Store::read_copy(copy, |read| check_content(read, files).map(drop))
}

/// Refuses a database that does not belong to these key files, or whose audit log is not whole. Returns how many events
/// it has.
fn check_content(read: &Read, files: &KeyFiles) -> Result<i64> {
    local::check_peppers(read, &files.peppers)?;
    local::check_sealing_keys(read, &files.sealing)?;
    audit::verify(read, &files.peppers)?.map_err(|why| {
        Error::Unavailable(format!(
            "the backup's audit log was tampered with: {why}; it was not used"
        ))
    })
}

/// Keys that are not as the audit log or their seals say.
fn altered_keys(read: &Read, files: &KeyFiles) -> Result<Vec<KeyId>> {
    let mut found = Vec::new();
    each_changed(read, Some(&files.peppers), |changed| {
        if changed.is_there {
            found.push(changed.id);
        }
    })?;
    Ok(found)
}
