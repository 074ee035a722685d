//! The only SQL. One file an aggregate; reads take [`Read`], writes take [`Write`].
//!
//! `sqlite.rs` alone names rusqlite. SQL is literal text with `$1 …` in the order of first use, kept to what
//! SQLite and PostgreSQL both understand.
//!
//! This file is the store as a whole: one writer thread with group commit, a few connections that read.
//! Whoever changes something hands a closure to the writer. Closures that wait at the same time run one after
//! the other, each in a savepoint, and are committed together with one sync of the disk. Before the commit
//! the index prepares what it will hold; after the commit it is put in place; only then are the callers
//! answered. So whatever was acknowledged is durable and in force.

pub mod audit;
pub mod catalogs;
pub mod keys;
pub mod local;
pub mod people;
pub mod policies;
mod sqlite;
pub mod workspaces;

use sqlite::AfterCommit;
pub use sqlite::{Read, Row, Write};

use crate::domain::audit::Target;
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Changes that may wait for the writer; beyond that the answer is "unavailable, try again".
const QUEUE_MAX: usize = 1024;
/// Changes that are committed together at most.
const BATCH_MAX: usize = 256;
/// Idle connections that read.
const READERS_MAX: usize = 4;

/// How a change reaches the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// On the disk before it is acknowledged.
    Full,
    /// Written, but not synced: it may be lost with the power, never with the process.
    Relaxed,
}

/// Prepares the index for what a transaction touched, with the transaction's own eyes; the returned closure
/// puts it in place and cannot fail.
pub type Publish = Box<dyn Fn(&Read, &[Target]) -> Result<Box<dyn FnOnce()>> + Send>;

/// One SQLite database, open for reading and writing.
pub struct Store {
    path: PathBuf,
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Read>>,
}

struct Job {
    durability: Durability,
    /// Does the work, or is told why it cannot be done.
    run: Box<dyn FnOnce(Result<&Write<'_>>) -> Ran + Send>,
}

/// What a closure came to, and how to tell its caller.
struct Ran {
    succeeded: bool,
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Store {
    /// Makes a new database; the file must not exist yet.
    pub fn create(path: &Path) -> Result<()> {
        sqlite::create(path)
    }

    /// Opens an existing database and starts its writer.
    pub fn open(path: &Path, publish: Publish) -> Result<Store> {
        let connection = sqlite::open_writer(path)?;
        let (jobs, waiting) = sync_channel(QUEUE_MAX);
        let writer = Writer {
            path: path.to_owned(),
            connection: Some(connection),
            publish,
        };
        let thread = std::thread::Builder::new()
            .name("store writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(Error::internal)?;
        Ok(Store {
            path: path.to_owned(),
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(thread)),
            readers: Mutex::default(),
        })
    }

    /// Runs a change and returns when it is committed and published. An error undoes this change alone.
    pub fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Write<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = sync_channel::<Result<T>>(1);
        let run = Box::new(move |tx: Result<&Write<'_>>| {
            let result = tx.and_then(work);
            let succeeded = result.is_ok();
            let answer = Box::new(move |committed: Result<()>| {
                // The caller may have gone away; the change stands all the same.
                let _ = tell.send(committed.and(result));
            });
            Ran {
                succeeded,
                answer: answer as Box<dyn FnOnce(Result<()>) + Send>,
            }
        });
        let sender = lock(&self.jobs).clone().ok_or_else(stopped)?;
        match sender.try_send(Job { durability, run }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Error::Unavailable(
                    "too many changes are waiting; try again".to_owned(),
                ));
            }
            Err(TrySendError::Disconnected(_)) => return Err(stopped()),
        }
        drop(sender);
        told.recv().unwrap_or_else(|_| {
            Err(Error::internal(
                "the change was not carried out; see the log",
            ))
        })
    }

    /// Runs a query on a connection that cannot write.
    pub fn read<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        let idle = lock(&self.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => sqlite::open_reader(&self.path)?,
        };
        // Lists that take two queries see one state of the database.
        connection.batch("BEGIN")?;
        let result = work(&connection);
        if connection.batch("ROLLBACK").is_ok() {
            let mut readers = lock(&self.readers);
            if readers.len() < READERS_MAX {
                readers.push(connection);
            }
        }
        result
    }

    /// Finishes the changes that wait and closes the database. Later changes are refused.
    pub fn close(&self) {
        lock(&self.jobs).take();
        // The last connection to close removes the write-ahead log, and only the writer may.
        lock(&self.readers).clear();
        if let Some(thread) = lock(&self.writer).take()
            && thread.join().is_err()
        {
            log::error!("store: the writer did not end in order");
        }
    }
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    /// `None` after a fault that leaves the connection's state unknown, until it could be opened again.
    connection: Option<Read>,
    publish: Publish,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
            self.commit_together(batch);
        }
        if let Some(connection) = &self.connection
            && let Err(err) = connection.batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            log::warn!("store: the write-ahead log was not emptied: {err}");
        }
    }

    fn commit_together(&mut self, batch: Vec<Job>) {
        if self.connection.is_none() {
            self.reopen();
        }
        let Some(connection) = &self.connection else {
            return refuse(batch, "the database cannot be opened; see the log");
        };
        let relaxed = batch
            .iter()
            .all(|job| job.durability == Durability::Relaxed);
        let begin = if relaxed {
            "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE"
        } else {
            "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
        };
        drop(connection.take_effects());
        if let Err(err) = connection.batch(begin) {
            return refuse(batch, &err.to_string());
        }
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            answers.extend(run_alone(connection, job));
        }
        let (touched, after) = connection.take_effects();
        let committed = finish(connection, &self.publish, &touched, after);
        if committed.is_err() {
            let _ = connection.batch("ROLLBACK");
            self.recover(&touched);
        }
        for (succeeded, answer) in answers {
            match (&committed, succeeded) {
                // A failed change reports its own error whatever became of the others.
                (_, false) | (Ok(()), true) => answer(Ok(())),
                (Err(err), true) => answer(Err(again(err))),
            }
        }
    }

    /// After a failed commit nobody knows what is on the disk: the connection is opened anew and the index
    /// loads what the file says.
    fn recover(&mut self, touched: &[Target]) {
        self.connection = None;
        self.reopen();
        let published = self
            .connection
            .as_ref()
            .map(|connection| (self.publish)(connection, touched));
        match published {
            Some(Ok(install)) => install(),
            Some(Err(err)) => {
                log::error!("store: the index was not refreshed after a failed commit: {err}")
            }
            None => {
                log::error!("store: the database could not be opened again after a failed commit")
            }
        }
    }

    fn reopen(&mut self) {
        match sqlite::open_writer(&self.path) {
            Ok(connection) => self.connection = Some(connection),
            Err(err) => log::error!("store: {err}"),
        }
    }
}

type Answer = (bool, Box<dyn FnOnce(Result<()>) + Send>);

/// Runs one change in a savepoint, so that its failure undoes nothing else.
fn run_alone(connection: &Read, job: Job) -> Option<Answer> {
    let tx = connection.write();
    // Some faults (a full disk) end the transaction; a savepoint now would begin another one.
    if connection.is_idle() || connection.batch("SAVEPOINT job").is_err() {
        refuse(vec![job], "the database ended the transaction");
        return None;
    }
    let mark = tx.mark();
    let ran = catch_unwind(AssertUnwindSafe(|| (job.run)(Ok(&tx))));
    let succeeded = ran.as_ref().is_ok_and(|ran| ran.succeeded);
    let ended = if succeeded {
        connection.batch("RELEASE job")
    } else {
        connection.batch("ROLLBACK TO job; RELEASE job")
    };
    if !succeeded {
        tx.cut(mark);
    }
    if let Err(err) = ended {
        log::warn!("store: a change ended with its transaction: {err}");
    }
    match ran {
        Ok(ran) => Some((ran.succeeded, ran.answer)),
        Err(_) => {
            log::error!("store: a change panicked and was undone");
            None
        }
    }
}

/// Prepares the index, commits, and puts the index in place.
fn finish(
    connection: &Read,
    publish: &Publish,
    touched: &[Target],
    after: Vec<AfterCommit>,
) -> Result<()> {
    if connection.is_idle() {
        return Err(Error::Unavailable(
            "the database ended the transaction; see the log".to_owned(),
        ));
    }
    let install = publish(connection, touched)?;
    connection.batch("COMMIT")?;
    install();
    for step in after {
        step();
    }
    Ok(())
}

/// Tells the callers of changes that were not begun why.
fn refuse(batch: Vec<Job>, why: &str) {
    log::warn!("store: {} changes were refused: {why}", batch.len());
    for job in batch {
        let ran = (job.run)(Err(Error::Unavailable(why.to_owned())));
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

fn stopped() -> Error {
    Error::Unavailable("the server is stopping".to_owned())
}

/// Takes a lock. What the locks of this file guard is whole even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
