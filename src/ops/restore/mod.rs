//! Making a database from a backup: it is checked as a whole, migrated to the current schema, and closed where it
//! would grant access that was withdrawn. All of this works on a copy, which the caller then puts in the data folder.

pub mod closing;
#[cfg(test)]
mod fuzz;

use crate::domain::audit::{Event, Target};
use crate::domain::clock::{OFF_MS_MAX, RELEASED, after_copy, is_plausible};
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::{Mark, Tombstones};
use crate::error::{Error, Result};
use crate::ops::changed_outside;
use crate::refusals::verbatim;
use crate::store::audit::events;
use crate::store::key_files;
use crate::store::older_copy::OlderCopy;
use crate::store::seals::recorded::each_changed;
use crate::store::{
    Durability, Foreign, Read, Store, audit, clock, heads, older_copy, packs, site, sites,
    tombstones,
};
use closing::{ClosedThings, Closing};
use std::path::Path;

/// The parameters of a restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// What has ended since the backup; empty if it is not known.
    pub tombstones: Tombstones,
    /// Whether keys with a use limit keep the remaining uses of the backup.
    pub keeps_uses: bool,
    /// The actor in the audit log.
    pub actor: String,
    /// The name of the backup for the audit log.
    pub backup: String,
    pub now: Timestamp,
}

/// The result of a restore.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The number of events in the backup's audit log.
    pub events: i64,
    /// The time of the latest event.
    pub at: Timestamp,
    pub closed: ClosedThings,
    /// The time from which the restored database continues.
    pub now: Timestamp,
    /// A later time that the backup or the tombstones contain and that was not trusted.
    pub doubted: Option<Timestamp>,
    /// Things in the backup that were changed outside Latchkey, by kind and name; they were closed too.
    pub altered: Vec<String>,
    /// The foreign objects of the backup, which were left out.
    pub left_out: Vec<Foreign>,
    /// The sites that the backup has.
    pub sites: Vec<String>,
    /// The event of the restore, for the tombstone file.
    pub mark: Option<Mark>,
}

/// Records in the tombstone file that the restored database, now in its place, includes everything in the file.
pub fn settle(file: &Path, known: &Tombstones, restored: &Restored) -> Result<()> {
    restored
        .mark
        .map_or(Ok(()), |mark| tombstones::settle(file, known, mark))
}

/// Checks a copy of a backup and makes it ready to serve.
pub fn prepare(copy: &Path, files: &KeyFiles, wanted: RestoreOptions) -> Result<Restored> {
    let left_out = Store::check_backup(copy, files, wanted.now)?;
    let store = Store::open(
        copy,
        files,
        wanted.now,
        Box::new(|_, _| Ok(Box::new(|| {}))),
    )?;
    let (events, newest, keys) = store.read(|read| {
        let events = check_content(read, files)?;
        require_server(read)?;
        Ok((events, events::newest(read)?, altered_keys(read, files)?))
    })?;
    let copied_at = newest.map_or(wanted.now, |mark| mark.at);
    // Time must not go back: the times in the tombstones and the backup count, unless they cannot be trusted.
    let recorded = store
        .read(clock::find_latest)?
        .map(|recorded| recorded.mark);
    let known = [Some(copied_at), wanted.tombstones.latest, recorded];
    let known: Vec<Timestamp> = known.into_iter().flatten().collect();
    let (now, doubted) = after_copy(wanted.now, &known);
    let latest = known.iter().copied().filter(|at| *at <= now).max();
    // The administrator sees the date. If it can be right, it is recorded.
    let is_near = latest.is_none_or(|latest| now.0 - latest.0 <= OFF_MS_MAX);
    let mark = match is_plausible(now) && is_near {
        true => now,
        false => latest.unwrap_or(RELEASED),
    };
    let seal_keys = files.seal.clone();
    let (closed, altered) = store.write(Durability::Full, move |tx| {
        let template = Event {
            actor: wanted.actor.clone(),
            ..Event::of_system("server.restore", Target::server(), now)
        };
        let closing = Closing {
            seal_keys: &seal_keys,
            tombstones: &wanted.tombstones,
            copied_at: wanted.tombstones.copied_at(newest),
            now,
            doubted,
            mark,
            template: template.clone(),
            keeps_uses: wanted.keeps_uses,
            is_first: true,
            given: wanted.tombstones.given,
        };
        // As at a start, things that do not match their seals are closed.
        let mut altered = changed_outside::close_altered(tx, &seal_keys, now)?;
        altered.extend(changed_outside::close_keys(tx, &seal_keys, &keys, now)?);
        let closed = closing.run(tx)?;
        older_copy::forget_nodes(tx)?;
        packs::begin_reign(tx, now)?;
        let mut changes = closed.changes();
        changes.note("backup", &String::new(), &wanted.backup);
        let event = Event {
            changes: changes.into_json(),
            ..template
        };
        audit::append(tx, &seal_keys, event)?;
        // For nodes that share the database and know what this one does not.
        let copy = OlderCopy {
            closed_by: heads::newest(tx)?,
            copied_at: wanted.tombstones.copied_at(newest),
        };
        older_copy::replace(tx, &copy)?;
        Ok((closed, altered))
    })?;
    let (mark, sites) =
        store.read(|read| Ok((events::newest(read)?, sites::list_names_in_use(read)?)))?;
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
        sites,
    })
}

/// Checks a copy as a restore does, before it becomes a backup. `now` is the time of the check.
pub fn check(copy: &Path, files: &KeyFiles, now: Timestamp) -> Result<()> {
    Store::check_backup(copy, files, now)?;
    Store::read_copy(copy, |read| check_content(read, files).map(drop))
}

/// Refuses the database of a site. A restore would give back uses that the site has spent, and no key is in it that a
/// restore could save.
fn require_server(read: &Read) -> Result<()> {
    match site::find_state(read)? {
        None => Ok(()),
        Some(_) => Err(Error::Unavailable(verbatim(
            "this is the database of a site, which is not restored; enrol the site again: latchkey site init FILE --data DIR",
        ))),
    }
}

/// Refuses a database that does not belong to these key files, or whose audit log is incomplete or changed. Returns
/// the number of events in the log.
pub(in crate::ops) fn check_content(read: &Read, files: &KeyFiles) -> Result<i64> {
    key_files::check(read, files)?;
    audit::verify(read, &files.seal)?.map_err(|why| {
        Error::Unavailable(verbatim(format!(
            "the backup's audit log was tampered with: {why}; it was not used"
        )))
    })
}

/// Keys that differ from the audit log or do not match their seals.
fn altered_keys(read: &Read, files: &KeyFiles) -> Result<Vec<KeyId>> {
    let mut found = Vec::new();
    each_changed(read, &files.seal, |changed| {
        if changed.is_there {
            found.push(changed.id);
        }
    })?;
    Ok(found)
}
