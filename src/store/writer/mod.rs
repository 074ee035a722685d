//! The writer thread: it takes the waiting changes, commits them together, and recovers after a fault.
//!
//! There are two kinds of failed commits ([`Fault`]). After a clean failure nothing was saved, and the connection can
//! still be used. After any other failure it is unknown what is on the disk: a sync that failed once may succeed the
//! next time without the data. So nothing is retried. Instead, the writer opens the connection again. It checks a file and
//! moves the whole log into it; on a server it waits until every earlier transaction has ended. Then it lets the index
//! load what is there; only then does it write again.

mod queue;

use super::connection::{Database, Effects, Fault, FaultKind, Read, Write};
use super::replaced_file::DatabasePaths;
use super::reserve::Reserve;
use super::tombstones::SharedTombstoneFile;
use super::{Durability, Publish, audit, seals};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::metrics::{COMMIT_BOUNDS_NS, Figures};
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub use queue::{Queue, QueueRefusal, Urgency};

/// The largest number of changes that are committed together.
const BATCH_MAX: usize = 256;

/// A change that waits for the writer.
pub struct Job {
    pub durability: Durability,
    pub run: Work,
}

/// Does the work, or receives the reason why the work cannot be done.
pub type Work = Box<dyn FnOnce(Result<&Write<'_>>) -> JobResult + Send>;

/// The result of a closure, and the function that answers its caller.
pub struct JobResult {
    pub succeeded: bool,
    pub answer: Box<dyn FnOnce(Result<()>) + Send>,
}

/// The state of the writer thread; see the heading.
pub struct Writer {
    database: Database,
    /// `None` after a fault that leaves the state of the connection unknown, until the database was opened again.
    connection: Option<Read>,
    /// Sees the committed state while `connection` is in a transaction.
    before: Option<Read>,
    seal_keys: Arc<SealKeys>,
    publish: Publish,
    /// What commits of unknown outcome have touched. The index has to load it when the database is open again.
    doubtful: Vec<Target>,
    place: Arc<DatabasePaths>,
    book: Arc<SharedTombstoneFile>,
    reserve: Arc<Reserve>,
    figures: Arc<Figures>,
    /// Whether the latest usual change could not be saved.
    is_failing: bool,
}

/// The files in the data folder that the writer uses apart from the database.
pub struct DataFiles {
    pub place: Arc<DatabasePaths>,
    pub book: Arc<SharedTombstoneFile>,
    pub reserve: Arc<Reserve>,
}

impl Writer {
    /// Creates the writer of a database that has just been opened.
    pub fn new(
        database: Database,
        connection: Read,
        seal_keys: Arc<SealKeys>,
        publish: Publish,
        beside: DataFiles,
        figures: Arc<Figures>,
    ) -> Writer {
        let DataFiles {
            place,
            book,
            reserve,
        } = beside;
        Writer {
            database,
            connection: Some(connection),
            before: None,
            seal_keys,
            publish,
            doubtful: Vec::new(),
            place,
            book,
            reserve,
            figures,
            is_failing: false,
        }
    }

    /// Runs until the queue is closed and empty, then empties the log.
    pub fn run(mut self, waiting: &Queue) {
        while let Some((urgency, batch)) = waiting.next_batch() {
            let taken = i64::try_from(batch.len()).unwrap_or(0);
            self.figures.changes_waiting.fetch_sub(taken, Relaxed);
            self.commit_together(urgency, batch, waiting);
        }
        self.before = None;
        if let Some(connection) = &self.connection {
            self.book.close(connection);
        }
        if let Some(connection) = &self.connection
            && let Err(err) = connection.empty_log()
        {
            log::warn!("store: the write-ahead log was not emptied: {err}");
        }
    }

    fn commit_together(&mut self, urgency: Urgency, mut batch: Vec<Job>, waiting: &Queue) {
        let has_room = match urgency {
            Urgency::First => {
                self.reserve.give_up_if_needed();
                Ok(())
            }
            Urgency::Usual => self.reserve.require(),
        };
        let checked = has_room.and_then(|()| self.place.check());
        if let Err(err) = checked.and_then(|()| self.book.check()) {
            self.figures.commits_failed.fetch_add(1, Relaxed);
            self.is_failing = true;
            return refuse(batch, &err.refusal());
        }
        if self.connection.is_none()
            && let Err(err) = self.reopen()
        {
            return refuse(batch, &err.refusal());
        }
        let syncs = batch.iter().any(|job| job.durability == Durability::Full);
        if let Err(fault) = self.begin(syncs) {
            // Changes that arrived while this one waited for the lock have waited long enough too.
            let late = batch.len();
            batch.extend(waiting.take_all());
            let late = i64::try_from(batch.len() - late).unwrap_or(0);
            self.figures.changes_waiting.fetch_sub(late, Relaxed);
            self.figures.commits_failed.fetch_add(1, Relaxed);
            self.is_failing = true;
            refuse(batch, &fault.error.refusal());
            // Without a connection, the next change opens the database.
            if self.connection.is_some() {
                self.settle(&fault, Vec::new());
            }
            return;
        }
        let Some(connection) = &self.connection else {
            return refuse(batch, &refusals::server::database_closed());
        };
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            answers.extend(run_alone(connection, job));
        }
        let sealed = self.seal();
        let Some(connection) = &self.connection else {
            return;
        };
        let effects = connection.take_effects();
        let touched = effects.touched.clone();
        let began = Instant::now();
        let finishing = || {
            sealed.map_err(|err| Fault::new(FaultKind::Refused, err))?;
            finish(connection, &self.publish, &self.book, effects)
        };
        let committed = catch_unwind(AssertUnwindSafe(finishing)).unwrap_or_else(|_| {
            let error = Error::internal("the index could not follow a change; see the log");
            Err(Fault::new(FaultKind::Unknown, error))
        });
        // Data in a file that is no longer in the folder is not saved, even if SQLite reports success.
        let committed = committed.and_then(|()| {
            let lost = |error| Fault::new(FaultKind::NoRoom, error);
            self.place.check().map_err(lost)
        });
        if committed.is_ok() && urgency == Urgency::Usual {
            self.reserve.note_room();
            if std::mem::take(&mut self.is_failing) {
                log::info!("store: changes can be saved again");
            }
        }
        if committed.is_ok() && self.reserve.is_in_use() {
            // The log gives its space back at once, so that the reserve gets it before any other program.
            let _ = connection.empty_log();
            self.reserve.take_back();
        }
        self.figures
            .commits
            .count(&COMMIT_BOUNDS_NS, began.elapsed());
        if let Err(fault) = &committed {
            self.figures.commits_failed.fetch_add(1, Relaxed);
            self.is_failing = true;
            let failed = counted(answers.len() as u64, "change");
            log::error!("store: {failed} failed: {}", fault.error);
            self.settle(fault, touched);
        }
        for (succeeded, answer) in answers {
            match (&committed, succeeded) {
                // A failed change reports its own error, regardless of the other changes.
                (_, false) | (Ok(()), true) => answer(Ok(())),
                (Err(fault), true) => answer(Err(again(&fault.error))),
            }
        }
    }

    /// Begins the transaction of a batch. A connection that turns out to be closed has changed nothing, so the database is
    /// opened again, once.
    fn begin(&mut self, syncs: bool) -> std::result::Result<(), Fault> {
        let begun = self.begin_once(syncs);
        if begun.is_ok() || !self.connection.as_ref().is_some_and(Read::is_over) {
            return begun;
        }
        self.connection = None;
        self.before = None;
        self.reopen()
            .map_err(|err| Fault::new(FaultKind::Refused, err))?;
        self.begin_once(syncs)
    }

    fn begin_once(&self, syncs: bool) -> std::result::Result<(), Fault> {
        let Some(connection) = &self.connection else {
            let closed = Error::Unavailable(refusals::server::database_closed());
            return Err(Fault::new(FaultKind::Refused, closed));
        };
        drop(connection.take_effects());
        connection.set_given(self.book.floor());
        connection.begin(syncs)
    }

    /// Seals the rows that the transaction touched ([`seals`]). A connection of its own reads their earlier state.
    fn seal(&mut self) -> Result<()> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let mut touched = connection.unsealed();
        touched.retain(|target| target.kind == Kind::Key || seals::KINDS.contains(&target.kind));
        if touched.is_empty() || connection.is_idle() {
            return Ok(());
        }
        let before = match &mut self.before {
            Some(before) => before,
            none => none.insert(self.database.open_reader()?),
        };
        seals::renew(&connection.write(), before, &self.seal_keys, &touched)
    }

    /// After a fault, rolls the transaction back, or opens the database again if its state is unknown.
    fn settle(&mut self, fault: &Fault, touched: Vec<Target>) {
        // The connection that reads the earlier state may be the cause of the fault.
        self.before = None;
        if let Some(connection) = &self.connection
            && fault.kind != FaultKind::Unknown
            && connection.end()
        {
            if fault.kind == FaultKind::NoRoom && connection.is_file() {
                self.reserve.note_full();
                // The content of the log moves into the database, which frees the space of the log.
                let _ = connection.empty_log();
            }
            return;
        }
        self.connection = None;
        self.doubtful.extend(touched);
        match self.reopen() {
            Ok(()) => log::warn!("store: the database was opened again; changes are accepted"),
            Err(err) => log::error!("store: changes are refused for now: {err}"),
        }
    }

    /// Opens the database after a fault, as the heading describes.
    fn reopen(&mut self) -> Result<()> {
        self.place.check()?;
        self.place.forget_log();
        let connection = self.database.open_writer()?;
        connection.check_whole()?;
        if !connection.empty_log()? {
            return Err(Error::Unavailable(refusals::server::database_locked()));
        }
        let follow = || (self.publish)(&connection, &self.doubtful).map(|install| install());
        catch_unwind(AssertUnwindSafe(follow))
            .unwrap_or_else(|_| Err(Error::internal("the index could not follow the database")))?;
        self.book.catch_up(&connection)?;
        self.doubtful.clear();
        self.connection = Some(connection);
        Ok(())
    }
}

type Answer = (bool, Box<dyn FnOnce(Result<()>) + Send>);

/// Runs one change in a savepoint, so that its failure undoes nothing else. In debug builds, a change also fails if its events
/// do not name all that it has touched: an index that follows the log would not learn of it.
fn run_alone(connection: &Read, job: Job) -> Option<Answer> {
    let tx = connection.write();
    // Some faults, such as a full disk, end the transaction. A savepoint would then begin a new one.
    if connection.is_idle() || connection.begin_part().is_err() {
        refuse(vec![job], &refusals::server::database_ended());
        return None;
    }
    let mark = tx.mark();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let newest = || audit::newest_number(connection).unwrap_or_default();
        let before = cfg!(debug_assertions).then(newest);
        let ran = (job.run)(Ok(&tx));
        if let Some(before) = before.filter(|_| ran.succeeded) {
            let touched = connection.touched_since(mark);
            let unnamed = audit::named::find_unnamed(connection, before, &touched);
            assert!(
                !matches!(unnamed, Ok(Some(_))),
                "no event names what a change has touched: {unnamed:?}"
            );
        }
        ran
    }));
    let succeeded = ran.as_ref().is_ok_and(|ran| ran.succeeded);
    // One of its statements may have failed after the change had sent it.
    let kept = match succeeded {
        true => connection.end_part(true),
        false => Ok(()),
    };
    if !succeeded || kept.is_err() {
        tx.cut(mark);
        if let Err(err) = connection.end_part(false) {
            // Half a change must not be committed with the others, so all of them fail.
            log::warn!("store: a change ended with its transaction: {err}");
            connection.end();
        }
    }
    match ran {
        Ok(ran) => Some(match kept {
            Ok(()) => (ran.succeeded, ran.answer),
            Err(err) => (false, Box::new(move |_| (ran.answer)(Err(err)))),
        }),
        Err(_) => {
            log::error!("store: a change panicked and was undone");
            None
        }
    }
}

/// Prepares the index, commits, puts the new content of the index in place, and writes the tombstones.
fn finish(
    connection: &Read,
    publish: &Publish,
    book: &SharedTombstoneFile,
    effects: Effects,
) -> std::result::Result<(), Fault> {
    if connection.is_idle() {
        // SQLite ends a transaction automatically if the disk is full.
        let kind = match connection.is_file() {
            true => FaultKind::NoRoom,
            false => FaultKind::Refused,
        };
        let ended = Error::Unavailable(refusals::server::database_ended());
        return Err(Fault::new(kind, ended));
    }
    let refused = |err| Fault::new(FaultKind::Refused, err);
    let install = publish(connection, &effects.touched).map_err(refused)?;
    let no_room = |err| Fault::new(FaultKind::NoRoom, err);
    book.make_room(&effects.notes).map_err(no_room)?;
    connection.commit()?;
    install();
    for step in effects.after {
        step();
    }
    book.write(&effects.notes, connection).map_err(refused)
}

/// Answers the callers of changes that were not begun with the reason.
fn refuse(batch: Vec<Job>, why: &Refusal) {
    let verb = if batch.len() == 1 { "was" } else { "were" };
    let refused = counted(batch.len() as u64, "change");
    log::warn!("store: {refused} {verb} refused: {why}");
    for job in batch {
        let ran = (job.run)(Err(Error::Unavailable(why.clone())));
        (ran.answer)(Ok(()));
    }
}

/// The same failure for each of the changes that were to be committed together.
fn again(err: &Error) -> Error {
    match err {
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        other => Error::internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
