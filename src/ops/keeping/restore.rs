//! Making a database of a backup: checked as a whole, brought to the current schema, and closed where it would let in
//! whom it should not. Works on a copy, which has no place yet; the folder puts it there.

use super::closing::{Closed, Closing};
use super::recorded;
use crate::domain::audit::{Event, Target};
use crate::domain::clock::{OFF_MS_MAX, RELEASED, after_copy, is_plausible};
use crate::domain::keeping::tombstone::{Mark, Tombstones};
use crate::domain::key::KeyId;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::system_event;
use crate::store::keeping::{events, tombstones};
use crate::store::seals::recorded::each_changed;
use crate::store::{Durability, Foreign, Read, Store, audit, clock, local};
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
    /// The time from which the restored database goes on.
    pub now: Timestamp,
    /// A later time that the backup or the tombstones know of, and that was not believed.
    pub doubted: Option<Timestamp>,
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
    // Time does not fall: what the tombstones and the backup know of it counts, unless it cannot be believed.
    let recorded = store.read(clock::find)?.map(|recorded| recorded.mark);
    let known = [Some(copied_at), wanted.tombstones.latest, recorded];
    let known: Vec<Timestamp> = known.into_iter().flatten().collect();
    let (now, doubted) = after_copy(wanted.now, &known);
    let latest = known.iter().copied().filter(|at| *at <= now).max();
    // The administrator sees the date: if it can be right, it is recorded.
    let is_near = latest.is_none_or(|latest| now.0 - latest.0 <= OFF_MS_MAX);
    let mark = match is_plausible(now) && is_near {
        true => now,
        false => latest.unwrap_or(RELEASED),
    };
    let peppers = files.peppers.clone();
    let (closed, altered) = store.write(Durability::Full, move |tx| {
        let template = Event {
            actor: wanted.actor.clone(),
            ..system_event("server.restore", Target::server(), now)
        };
        let closing = Closing {
            peppers: &peppers,
            tombstones: &wanted.tombstones,
            copied_at: wanted.tombstones.copied_at(newest),
            now,
            doubted,
            mark,
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
        now,
        doubted,
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
