//! The only SQL. One file an aggregate; reads take [`Read`], writes take [`Write`].
//!
//! `sqlite.rs` alone names rusqlite. SQL is literal text with `$1 …` in the order of first use, kept to what
//! SQLite and PostgreSQL both understand.
//!
//! This file is the store as a whole: one thread that writes (`writer`), a few connections that read. Whoever changes something hands a closure to the writer. Closures that wait at the same time run one after
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
pub mod tokens;
pub mod workspaces;
mod writer;

pub use sqlite::{Read, Row, Write};
use writer::{Job, Ran, Writer};

use crate::domain::audit::Target;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Changes that may wait for the writer; beyond that the answer is "unavailable, try again".
const QUEUE_MAX: usize = 1024;
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

impl Store {
    /// Makes a new database; the file must not exist yet.
    pub fn create(path: &Path) -> Result<()> {
        sqlite::create(path)
    }

    /// Opens an existing database and starts its writer.
    pub fn open(path: &Path, publish: Publish) -> Result<Store> {
        // Before any connection: closing a file of ours would drop the locks of one.
        sqlite::check_header(path)?;
        let writer = Writer::open(path, publish)?;
        let (jobs, waiting) = sync_channel(QUEUE_MAX);
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
        // The last connection to close removes the write-ahead log, and only the writer may: the readers go before
        // the writer is told.
        lock(&self.readers).clear();
        lock(&self.jobs).take();
        if let Some(thread) = lock(&self.writer).take()
            && thread.join().is_err()
        {
            log::error!("store: the writer did not end in order");
        }
    }
}

impl Drop for Store {
    /// A start that fails half way leaves no log behind either.
    fn drop(&mut self) {
        self.close();
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
