//! Making a database of a backup: checked as a whole, brought to the current schema, and closed where it would let in
//! whom it should not. Works on a copy, which has no place yet; the folder puts it there.

use super::closing::{Closed, Closing};
use super::{recorded, rows};
use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keeping::tombstone::{Mark, Tombstones};
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::system_event;
use crate::store::keeping::{events, tombstones};
use crate::store::{Durability, Read, Store, audit, local, seals};
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
pub fn prepare(copy: &Path, files: &KeyFiles, mut wanted: Wanted) -> Result<Restored> {
    Store::check_backup(copy, files, wanted.now)?;
    let store = Store::open(
        copy,
        files,
        wanted.now,
        Box::new(|_, _| Ok(Box::new(|| {}))),
    )?;
    let (events, newest, altered) = store.read(|read| {
        local::check_peppers(read, &files.peppers)?;
        local::check_sealing_keys(read, &files.sealing)?;
        let chain = audit::verify(read, &files.peppers)?;
        let events = chain.map_err(|why| {
            Error::Unavailable(format!(
                "the backup's audit log was tampered with: {why}; it was not used"
            ))
        })?;
        Ok((events, events::newest(read)?, altered(read, files)?))
    })?;
    let copied_at = newest.map_or(wanted.now, |mark| mark.at);
    // Time never falls: what the tombstones and the backup know of it counts.
    let now = wanted.now.max(copied_at);
    let now = wanted
        .tombstones
        .latest
        .map_or(now, |latest| now.max(latest));
    // What it was nobody knows, so it is closed like what was changed since.
    for (target, _) in &altered {
        let id = (target.kind.as_str(), target.id.clone());
        wanted.tombstones.fates.entry(id).or_default().changed = Some(now);
    }
    let peppers = files.peppers.clone();
    let closed = store.write(Durability::Full, move |tx| {
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
        let closed = closing.run(tx)?;
        let mut changes = closed.changes();
        changes.note("backup", &String::new(), &wanted.backup);
        let event = Event {
            changes: changes.into_json(),
            ..template
        };
        audit::append(tx, &peppers, event)?;
        Ok(closed)
    })?;
    let mark = store.read(events::newest)?;
    store.close();
    Ok(Restored {
        mark,
        events,
        at: copied_at,
        closed,
        altered: altered.into_iter().map(|(_, name)| name).collect(),
    })
}

/// What is not as the audit log or its seal says, each with its kind and name.
fn altered(read: &Read, files: &KeyFiles) -> Result<Vec<(Target, String)>> {
    let mut found = Vec::new();
    for kind in seals::KINDS {
        for target in recorded::broken(read, &files.peppers, kind)? {
            let name = recorded::name(read, &target)?;
            found.push((target, name));
        }
    }
    for (id, _) in rows::against_the_log(read, usize::MAX)? {
        found.push((Target::new(Kind::Key, id), format!("key {id}")));
    }
    Ok(found)
}
