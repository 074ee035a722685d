//! Writing the keys of an import: a transaction and an event for each thousand.

use super::{ACTION, Pass, Readable, Report, Rules, Standing, refusal_of};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target, named};
use crate::domain::keys::Key;
use crate::domain::keys::imported::ImportedDigest;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::secret::generate_ids;
use crate::domain::numbers::Series;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::index::Index;
use crate::ops::{App, Record as Event};
use crate::refusals::Refusal;
use crate::store::keys::NewSecret;
use crate::store::{Write, imported, keys, numbers};
use std::sync::Arc;

/// The number of keys in one transaction.
pub const A_BATCH: usize = 1_000;

/// Where the keys come from.
#[derive(Clone)]
pub struct Origin {
    pub system: String,
    pub file_sha256: Option<String>,
}

/// What one transaction needs.
struct Batch {
    index: Arc<Index>,
    files: KeyFiles,
    caller: Caller,
    origin: Origin,
    /// The position of the batch among all, from 1, and their number.
    part: (usize, usize),
}

/// What became of the keys of a batch.
#[derive(Default)]
struct Written {
    taken: Vec<(Key, ImportedDigest)>,
    present: usize,
    refused: Vec<(Readable, Refusal)>,
}

/// Writes the keys, and completes the report with what has changed since they were checked.
pub fn write(
    app: &App,
    caller: &Caller,
    origin: Origin,
    readable: Vec<Readable>,
    report: &mut Report,
) -> Result<()> {
    (report.taken, report.groups) = Default::default();
    app.with_wide_cache(|| write_all(app, caller, origin, readable, report))
}

fn write_all(
    app: &App,
    caller: &Caller,
    origin: Origin,
    readable: Vec<Readable>,
    report: &mut Report,
) -> Result<()> {
    let parts = readable.len().div_ceil(A_BATCH);
    let mut waiting = readable.into_iter();
    for part in 1..=parts {
        let records: Vec<Readable> = waiting.by_ref().take(A_BATCH).collect();
        let batch = Batch {
            index: app.index.clone(),
            files: app.key_files(),
            caller: caller.clone(),
            origin: origin.clone(),
            part: (part, parts),
        };
        let work = move |tx: &Write<'_>, now| batch.write(tx, records, now);
        let written = app.change(caller, ACTION, Target::server(), work)?;
        report.present += written.present;
        for (one, why) in written.refused {
            report.refuse(&one.record, why);
        }
        let directory = app.index.directory();
        for (key, digest) in &written.taken {
            report.take(&directory, key, digest);
        }
    }
    Ok(())
}

impl Batch {
    /// Writes the keys of one transaction. Each is checked again, because the store may have changed.
    fn write(
        &self,
        tx: &Write<'_>,
        records: Vec<Readable>,
        now: Timestamp,
    ) -> Result<(Option<Event>, Written)> {
        let directory = self.index.directory();
        let rules = Rules {
            directory: &directory,
            caller: &self.caller,
            seal_keys: &self.files.seal,
            system: &self.origin.system,
            now,
        };
        let (mut pass, mut written) = (Pass::default(), Written::default());
        let mut ids = generate_ids(records.len())?;
        let first = numbers::next_of_keys(tx)?;
        let mut number = first;
        for one in records {
            match rules.standing(tx, &one, &mut pass) {
                Ok(Standing::Present) => written.present += 1,
                Ok(Standing::Taken(found)) => {
                    let (mut key, _) = *found;
                    key.number = number;
                    if one.record.is_foreign() {
                        key.id = ids.next().unwrap_or(key.id);
                    }
                    number += 1;
                    self.insert(tx, &one, &key, now)?;
                    written.taken.push((key, one.digest));
                }
                Err(err) => {
                    let why = refusal_of(&one.record, err)?;
                    written.refused.push((one, why));
                }
            }
        }
        tx.note_given(Series::Keys, number - 1);
        if written.taken.is_empty() {
            return Ok((None, written));
        }
        let event = self.event(&written.taken, first, number - 1);
        Ok((Some(event), written))
    }

    fn insert(&self, tx: &Write<'_>, one: &Readable, key: &Key, now: Timestamp) -> Result<()> {
        let is_foreign = one.record.is_foreign();
        let secret = match &one.digest {
            ImportedDigest::Given(digest) => NewSecret::Given { digest, is_foreign },
            ImportedDigest::Peppered(..) => NewSecret::Made(one.digest.stored(is_foreign), None),
        };
        keys::insert(tx, &self.files.seal, key, &secret, now)?;
        imported::insert(tx, &one.digest.mark(&self.files.seal), key.id)?;
        // There is no event about it that its seal would have to name.
        tx.touch_sealed(Target::new(Kind::Key, key.id));
        Ok(())
    }

    /// The event identifies the keys by their numbers, which follow one another.
    fn event(&self, taken: &[(Key, ImportedDigest)], first: i64, last: i64) -> Event {
        let mut changes = Changes::default();
        let none = String::new();
        changes.note("source", &none, &self.origin.system);
        let sha256 = self.origin.file_sha256.clone();
        changes.note_option("file_sha256", &None, &sha256);
        changes.note(
            "part",
            &none,
            &format!("{} of {}", self.part.0, self.part.1),
        );
        changes.note("keys", &0, &taken.len());
        let weak = taken.iter().filter(|(key, _)| key.weak).count();
        changes.note("weak", &0, &weak);
        changes.note(named::NUMBERS, &none, &named::numbers_text(first, last));
        let home = taken.first().map(|(key, _)| key.workspace);
        let in_one = taken.iter().all(|(key, _)| Some(key.workspace) == home);
        Event {
            target: Target::server(),
            workspace: home.filter(|_| in_one),
            changes,
        }
    }
}
