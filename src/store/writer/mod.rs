//! The writer thread: it takes the waiting changes, commits them together, and recovers after a fault.
//!
//! There are two kinds of failed commits ([`Fault`]). After a clean failure nothing was saved, and the connection can
//! still be used. After any other failure it is unknown what is on the disk: a sync that failed once may succeed the
//! next time without the data. So nothing is retried. Instead, the writer opens the connection again. It checks a file and
//! moves the whole log into it; on a server it waits until every earlier transaction has ended, and finds out what became of the
//! commit ([`unknown`]). Then it lets the index load what is there; only then does it write again.
//!
//! On a server, other nodes write as well. The lock on the newest event puts the changes of all of them in order: with it each batch
//! begins, and the index follows what the others have committed before the first change of the batch looks at it.

mod batch;
mod queue;
mod unknown;

use super::connection::{ChainEnd, Database, Effects, Fault, FaultKind, Read, Write};
use super::replaced_file::DatabasePaths;
use super::reserve::Reserve;
use super::tombstones::SharedTombstoneFile;
use super::{Durability, Follow, IndexSteps, Publish, Within, heads, seals};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::metrics::{COMMIT_BOUNDS_NS, Figures};
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::refusals;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub use queue::{Queue, QueueRefusal, Urgency};
use unknown::Unresolved;

/// The largest number of changes that are committed together.
const BATCH_MAX: usize = 256;
/// How often a batch begins again because the index had more to follow than a lock may last, before it is refused.
const FOLLOWED_MAX: usize = 5;
/// How long each step may take when a connection is opened that no caller waits for.
const OPEN_MAX: Duration = Duration::from_secs(30);

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
    follow: Follow,
    /// What commits of unknown outcome have touched. The index has to load it when the database is open again.
    doubtful: Vec<Target>,
    /// The commit whose outcome is to be found out before anything else is written.
    unresolved: Option<Unresolved>,
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
        index: IndexSteps,
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
            publish: index.publish,
            follow: index.follow,
            doubtful: Vec::new(),
            unresolved: None,
            place,
            book,
            reserve,
            figures,
            is_failing: false,
        }
    }

    /// Runs until the queue is closed and empty, then empties the log.
    pub fn run(mut self, waiting: &Queue) {
        while let Some((urgency, batch)) = waiting.next_batch(self.patience()) {
            let taken = i64::try_from(batch.len()).unwrap_or(0);
            self.figures.changes_waiting.fetch_sub(taken, Relaxed);
            match batch.is_empty() {
                true => self.resolve_later(),
                false => self.commit_together(urgency, batch, waiting),
            }
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

    fn commit_together(&mut self, urgency: Urgency, batch: Vec<Job>, waiting: &Queue) {
        if let Err(err) = self.check(urgency) {
            self.figures.commits_failed.fetch_add(1, Relaxed);
            self.is_failing = true;
            return batch::refuse(batch, &err.refusal());
        }
        if self.connection.is_none()
            && let Err(err) = self.reopen(within(urgency))
        {
            return batch::refuse(batch, &err.refusal());
        }
        let syncs = batch.iter().any(|job| job.durability == Durability::Full);
        if let Err(fault) = self.begin(syncs, within(urgency)) {
            return self.refuse_all(batch, waiting, &fault);
        }
        let Some(connection) = &self.connection else {
            return batch::refuse(batch, &refusals::server::database_closed());
        };
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            answers.extend(batch::run_alone(connection, job));
        }
        let sealed = self.seal();
        let Some(connection) = &self.connection else {
            return;
        };
        let mut effects = connection.take_effects();
        let touched = effects.touched.clone();
        let began = Instant::now();
        let committed = self.finish(connection, sealed, &mut effects);
        self.figures
            .commits
            .count(&COMMIT_BOUNDS_NS, began.elapsed());
        match &committed {
            Ok(()) => self.note_room(urgency),
            Err(fault) => {
                self.figures.commits_failed.fetch_add(1, Relaxed);
                self.is_failing = true;
                let failed = counted(answers.len() as u64, "change");
                log::error!("store: {failed} failed: {}", fault.error);
                if let Some(event) = self.event_to_find(fault) {
                    return self.find_out(event, effects, answers, waiting);
                }
                self.settle(fault, touched);
            }
        }
        batch::answer_all(answers, &committed.map_err(|fault| fault.error));
    }

    /// Refuses if there is no room for a change, or if a file has gone.
    fn check(&self, urgency: Urgency) -> Result<()> {
        match urgency {
            Urgency::Closing | Urgency::First => self.reserve.give_up_if_needed(),
            Urgency::Usual => self.reserve.require()?,
        }
        self.place.check()?;
        self.book.check()
    }

    /// Refuses a batch that could not be begun. Changes that arrived while it waited for the lock have waited long enough too.
    fn refuse_all(&mut self, mut batch: Vec<Job>, waiting: &Queue, fault: &Fault) {
        let late = batch.len();
        batch.extend(waiting.take_all());
        let late = i64::try_from(batch.len() - late).unwrap_or(0);
        self.figures.changes_waiting.fetch_sub(late, Relaxed);
        self.figures.commits_failed.fetch_add(1, Relaxed);
        self.is_failing = true;
        batch::refuse(batch, &fault.error.refusal());
        // Without a connection, the next change opens the database.
        if self.connection.is_some() {
            self.settle(fault, Vec::new());
        }
    }

    /// Commits a batch, and puts it into the index. After a failure the effects that have not come to pass are left.
    fn finish(
        &self,
        connection: &Read,
        sealed: Result<()>,
        effects: &mut Effects,
    ) -> std::result::Result<(), Fault> {
        let finishing = || {
            sealed.map_err(|err| Fault::new(FaultKind::Refused, err))?;
            batch::finish(connection, &self.publish, &self.book, effects)
        };
        let committed = catch_unwind(AssertUnwindSafe(finishing)).unwrap_or_else(|_| {
            let error = Error::internal("the index could not follow a change; see the log");
            Err(Fault::new(FaultKind::Unknown, error))
        });
        // Data in a file that is no longer in the folder is not saved, even if SQLite reports success.
        committed.and_then(|()| {
            let lost = |error| Fault::new(FaultKind::NoRoom, error);
            self.place.check().map_err(lost)
        })
    }

    /// Notes that a commit had room.
    fn note_room(&mut self, urgency: Urgency) {
        if urgency == Urgency::Usual {
            self.reserve.note_room();
            if std::mem::take(&mut self.is_failing) {
                log::info!("store: changes can be saved again");
            }
        }
        if self.reserve.is_in_use() {
            // The log gives its space back at once, so that the reserve gets it before any other program.
            if let Some(connection) = &self.connection {
                let _ = connection.empty_log();
            }
            self.reserve.take_back();
        }
    }

    /// Begins the transaction of a batch. A connection that is closed, or that turns out to be, has changed nothing, so the database
    /// is opened again, once.
    fn begin(&mut self, syncs: bool, within: Within) -> std::result::Result<(), Fault> {
        if !self.has_lost_connection() {
            let begun = self.begin_once(syncs, within);
            if begun.is_ok() || !self.has_lost_connection() {
                return begun;
            }
        }
        self.connection = None;
        self.before = None;
        self.reopen(within)
            .map_err(|err| Fault::new(FaultKind::Refused, err))?;
        self.begin_once(syncs, within)
    }

    fn has_lost_connection(&self) -> bool {
        self.connection.as_ref().is_some_and(Read::is_over)
    }

    fn begin_once(&self, syncs: bool, within: Within) -> std::result::Result<(), Fault> {
        let Some(connection) = &self.connection else {
            let closed = Error::Unavailable(refusals::server::database_closed());
            return Err(Fault::new(FaultKind::Refused, closed));
        };
        self.begin_on(connection, syncs, within)
    }

    /// Begins a transaction in which the index has everything that the database has.
    fn begin_on(
        &self,
        connection: &Read,
        syncs: bool,
        within: Within,
    ) -> std::result::Result<(), Fault> {
        let refused = |err| Fault::new(FaultKind::Refused, err);
        for _ in 0..FOLLOWED_MAX {
            drop(connection.take_effects());
            connection.set_given(self.book.floor());
            connection.begin(syncs)?;
            if self.follow(connection, within).map_err(refused)? {
                return Ok(());
            }
            // All nodes would wait for as long as that takes.
            connection.end();
            while !self.follow(connection, Within::Snapshot).map_err(refused)? {}
        }
        let locked = Error::Unavailable(refusals::server::database_locked());
        Err(refused(locked))
    }

    /// Lets the index follow what other nodes have committed; `false` if there is more than one step takes.
    fn follow(&self, connection: &Read, within: Within) -> Result<bool> {
        if !self.database.is_shared() {
            return Ok(true);
        }
        let follow = || (self.follow)(connection, &self.book, within);
        catch_unwind(AssertUnwindSafe(follow))
            .unwrap_or_else(|_| Err(Error::internal("the index could not follow other nodes")))
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
        let before = self.before.take().filter(|before| !before.is_over());
        let before = match before {
            Some(before) => before,
            None => self.database.open_reader()?,
        };
        let before = &*self.before.insert(before);
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
        self.database.reconsider();
        self.doubtful.extend(touched);
        match self.reopen(Within::HeadLock) {
            Ok(()) => log::warn!("store: the database was opened again; changes are accepted"),
            Err(err) => log::error!("store: changes are refused for now: {err}"),
        }
    }

    /// Opens the database after a fault, as the heading describes.
    fn reopen(&mut self, within: Within) -> Result<()> {
        if self.database.is_shared() {
            return self.reopen_on_server(within);
        }
        self.place.check()?;
        self.place.forget_log();
        let connection = self.database.open_writer(OPEN_MAX)?;
        connection.check_whole()?;
        if !connection.empty_log()? {
            return Err(Error::Unavailable(refusals::server::database_locked()));
        }
        let head = heads::newest(&connection)?;
        connection.set_chain_end(Some(ChainEnd::locked(Some(head))));
        self.publish_again(&connection)?;
        self.book.catch_up(&connection)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Loads what commits of unknown outcome have touched.
    fn publish_again(&mut self, connection: &Read) -> Result<()> {
        let publish = || (self.publish)(connection, &self.doubtful).map(|install| install());
        catch_unwind(AssertUnwindSafe(publish))
            .unwrap_or_else(|_| Err(Error::internal("the index could not follow the database")))?;
        self.doubtful.clear();
        Ok(())
    }
}

/// Where the index follows for a batch.
fn within(urgency: Urgency) -> Within {
    match urgency {
        Urgency::Closing => Within::Closing,
        Urgency::First | Urgency::Usual => Within::HeadLock,
    }
}

#[cfg(test)]
mod tests;
