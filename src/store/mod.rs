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
pub mod browse;
pub mod catalogs;
pub mod clock;
pub mod keeping;
pub mod keys;
pub mod local;
mod migrations;
pub mod names;
pub mod numbers;
pub mod people;
pub mod policies;
pub mod seals;
mod sqlite;
pub mod tokens;
pub mod workspaces;
mod writer;

use keeping::place::Place;
use keeping::reserve::Reserve;
use keeping::tombstones::{self, Book};
#[cfg(test)]
pub use sqlite::STEPS;
pub use sqlite::{Foreign, Read, Row, Write};
pub use writer::Urgency;
use writer::{Beside, Job, Queue, Ran, Refused, Writer};

use crate::domain::audit::Target;
use crate::domain::keeping::figures::Figures;
use crate::domain::keeping::tombstone::Tombstones;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::key::live::StoredSecret;
use crate::domain::key::pepper::Digest;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Changes of each [`Urgency`] that may wait for the writer; beyond that the answer is "unavailable, try again".
const QUEUE_MAX: usize = 1024;
/// Idle connections that read.
const READERS_MAX: usize = 4;
/// How long a store that is closed waits for queries that run.
const READING_ENDS: Duration = Duration::from_secs(2);

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
    jobs: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Readers>,
    /// Told whenever a query has ended.
    query_ended: Condvar,
    /// A connection that reads and is open from the start: should the file vanish, its contents can still be saved.
    anchor: Mutex<Option<Read>>,
    place: Arc<Place>,
    book: Arc<Book>,
    reserve: Arc<Reserve>,
    /// What this store counts, and all else that is counted of its server.
    pub figures: Arc<Figures>,
}

/// Connections that cannot write.
#[derive(Default)]
struct Readers {
    idle: Vec<Read>,
    running: usize,
    closed: bool,
}

/// Refuses what waits when the writer ends, whatever ends it.
struct EndsWithWriter(Arc<Queue>);

impl Drop for EndsWithWriter {
    fn drop(&mut self) {
        self.0.close();
        drop(self.0.take_all());
    }
}

/// A query that runs. Dropped when it has ended, by a panic too.
struct Running<'a>(&'a Store);

/// A digest and the version of its pepper, out of the columns that all secrets have.
fn stored_secret(row: &Row<'_>) -> Result<StoredSecret> {
    Ok(StoredSecret {
        digest: Digest(row.get("digest")?),
        pepper: row.get("pepper")?,
    })
}

impl Store {
    /// Makes a new database; the file must not exist yet.
    pub fn create(path: &Path) -> Result<()> {
        sqlite::create(path)
    }

    /// Opens an existing database, brings it to the current schema, and starts its writer, which seals rows under the
    /// pepper. `now` is the time of the event if it was migrated.
    pub fn open(path: &Path, files: &KeyFiles, now: Timestamp, publish: Publish) -> Result<Store> {
        // Before any connection: closing a file of ours would drop the locks of one.
        sqlite::check_header(path)?;
        let figures = Arc::new(Figures::default());
        let connection = sqlite::open_writer(path, |read| {
            migrations::run(read, path, files, now, migrations::STEPS)
        })?;
        let place = Arc::new(Place::of(path));
        let anchor = sqlite::open_reader(path)?;
        // Only a connection that has read has the log open too.
        anchor.batch("SELECT count(*) FROM sqlite_schema")?;
        let book = Arc::new(Book::default());
        let reserve = Arc::new(Reserve::default());
        let writer = Writer::new(
            path,
            connection,
            files.peppers.clone(),
            publish,
            Beside {
                place: place.clone(),
                book: book.clone(),
                reserve: reserve.clone(),
            },
            figures.clone(),
        );
        let jobs = Arc::new(Queue::new(QUEUE_MAX));
        let waiting = jobs.clone();
        let thread = std::thread::Builder::new()
            .name("store writer".to_owned())
            .spawn(move || {
                let waiting = EndsWithWriter(waiting);
                writer.run(&waiting.0);
            })
            .map_err(Error::internal)?;
        Ok(Store {
            path: path.to_owned(),
            jobs,
            writer: Mutex::new(Some(thread)),
            readers: Mutex::default(),
            query_ended: Condvar::new(),
            anchor: Mutex::new(Some(anchor)),
            place,
            book,
            reserve,
            figures,
        })
    }

    /// Runs a change and returns when it is committed and published. An error undoes this change alone.
    pub fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Write<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_in(Urgency::Usual, durability, work)
    }

    /// As [`Store::write`], with a say in when.
    pub fn write_in<T: Send + 'static>(
        &self,
        urgency: Urgency,
        durability: Durability,
        work: impl FnOnce(&Write<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The answer lies beside the channel, which is then the same one for all types of answers.
        let (tell, told) = sync_channel::<()>(1);
        let answer = Arc::new(Mutex::new(None::<Result<T>>));
        let answered = answer.clone();
        let run = Box::new(move |tx: Result<&Write<'_>>| {
            let result = tx.and_then(work);
            let succeeded = result.is_ok();
            let answer = Box::new(move |committed: Result<()>| {
                *lock(&answered) = Some(committed.and(result));
                // The caller may have gone away; the change stands all the same.
                let _ = tell.send(());
            });
            Ran {
                succeeded,
                answer: answer as Box<dyn FnOnce(Result<()>) + Send>,
            }
        });
        self.carry_out(urgency, Job { durability, run }, &told)?;
        lock(&answer).take().unwrap_or_else(|| {
            Err(Error::internal(
                "the change was not carried out; see the log",
            ))
        })
    }

    /// Hands a change over to the writer and waits until it has told the end of it.
    fn carry_out(&self, urgency: Urgency, job: Job, told: &Receiver<()>) -> Result<()> {
        match self.jobs.push(urgency, job) {
            Ok(()) => {
                self.figures.changes_waiting.fetch_add(1, Relaxed);
            }
            Err(Refused::Full) => {
                return Err(Error::Unavailable(
                    "too many changes are waiting; try again".to_owned(),
                ));
            }
            Err(Refused::Closed) => return Err(stopped()),
        }
        // Without an answer the writer has dropped the change, and its end of the channel.
        let _ = told.recv();
        Ok(())
    }

    /// Runs a query on a connection that cannot write.
    pub fn read<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        let (idle, _running) = self.begin_reading()?;
        let connection = self.reader(idle)?;
        let result = work(&connection);
        self.put_back(connection);
        result
    }

    /// A connection in a transaction of its own: lists that take two queries see one state of the database.
    fn reader(&self, idle: Option<Read>) -> Result<Read> {
        let connection = match idle {
            Some(connection) => connection,
            None => {
                self.place.check()?;
                sqlite::open_reader(&self.path)?
            }
        };
        connection.batch("BEGIN")?;
        Ok(connection)
    }

    fn put_back(&self, connection: Read) {
        if connection.batch("ROLLBACK").is_ok() {
            let mut readers = lock(&self.readers);
            if readers.idle.len() < READERS_MAX && !readers.closed {
                readers.idle.push(connection);
            }
        }
    }

    fn begin_reading(&self) -> Result<(Option<Read>, Running<'_>)> {
        let mut readers = lock(&self.readers);
        if readers.closed {
            return Err(stopped());
        }
        readers.running += 1;
        Ok((readers.idle.pop(), Running(self)))
    }

    /// Copies the database into an empty file; see [`Read::copy_to`]. Uses the connection that is open from the start,
    /// so that even a database whose file is gone can be saved. One copy at a time.
    pub fn copy_to(&self, path: &Path, progress: impl FnMut(u64, u64)) -> Result<Vec<Foreign>> {
        let Ok(anchor) = self.anchor.try_lock() else {
            return Err(Error::Conflict(
                "a backup is being made already; wait for its end".to_owned(),
            ));
        };
        let anchor = anchor.as_ref().ok_or_else(stopped)?;
        anchor.copy_to(path, progress)
    }

    /// What the file of tombstones says; `None` if there is no such file.
    pub fn tombstones(&self) -> Result<Option<Tombstones>> {
        self.book.read()
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses if the database in the folder is not the one that is open.
    pub fn check_place(&self) -> Result<()> {
        self.place.check()
    }

    /// Refuses a file that is not wholly a database of ours, and brings it to the current schema. `now` is the time of
    /// the event if it was migrated. Returns what was removed from it, because it is not Latchkey's.
    pub fn check_backup(path: &Path, files: &KeyFiles, now: Timestamp) -> Result<Vec<Foreign>> {
        sqlite::check_backup(path, |read| {
            migrations::run(read, path, files, now, migrations::STEPS)
        })
    }

    /// Reads from a database that is not in use.
    pub fn read_copy<T>(path: &Path, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        work(&sqlite::open_reader(path)?)
    }

    /// Notes from now on what ends, in a file of its own, and what has ended since the file was last written.
    ///
    /// Returns what the file holds if the database is not the one that it was written for: an older copy has been put
    /// in its place, and lets in whom it should not until all of that is closed again.
    pub fn keep_tombstones(&self, path: &Path) -> Result<Option<Tombstones>> {
        let (file, known) = tombstones::TombstoneFile::open(path)?;
        self.read(|read| self.book.open(file, known, read))
    }

    /// Keeps room on the disk from now on for changes that only take something away, in a file of its own.
    pub fn keep_reserve(&self, path: &Path) -> Result<()> {
        self.reserve.keep(path)
    }

    /// Writes the file of tombstones again without the lines that say nothing more, if there are many of them.
    pub fn compact_tombstones(&self) -> Result<()> {
        self.book.compact()
    }

    /// Looks whether the database in the folder is still the one that is open, and logs it if not.
    pub fn watch(&self) {
        self.place.watch();
    }

    /// Bytes that are free to this process where the database is; `None` if the system does not tell.
    pub fn free_bytes(&self) -> Option<u64> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let room = rustix::fs::statvfs(folder).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }

    /// Whether nothing is read or changed any more.
    pub fn is_closed(&self) -> bool {
        lock(&self.readers).closed
    }

    /// Finishes the changes that wait and closes the database. Later changes and queries are refused.
    pub fn close(&self) {
        // The last connection to close removes the write-ahead log, and only the writer may: the readers go before
        // the writer is told, unless a query takes too long.
        let mut readers = lock(&self.readers);
        readers.closed = true;
        readers.idle.clear();
        drop(
            self.query_ended
                .wait_timeout_while(readers, READING_ENDS, |readers| readers.running > 0),
        );
        lock(&self.anchor).take();
        self.jobs.close();
        if let Some(thread) = lock(&self.writer).take()
            && thread.join().is_err()
        {
            log::error!("store: the writer did not end in order");
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.readers).running -= 1;
        self.0.query_ended.notify_all();
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
