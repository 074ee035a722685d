//! The only SQL of the project. Each aggregate has one file; read functions take [`Read`], write functions take
//! [`Write`].
//!
//! Connections, rows and values are types of `connection/`; only `sqlite/` names rusqlite, and only `postgres/` names
//! tokio-postgres. SQL is literal text with parameters `$1 …` in the order of first use, and uses only what both SQLite and
//! PostgreSQL understand. There are two exceptions: the statements of `transfer`, which are made of the schema, and what only one
//! engine can be asked, in the folder of that engine.
//!
//! This file is the store as a whole: one thread that writes (`writer`) and a few connections that read. To change
//! something, a caller hands a closure to the writer. The writer runs the closures that wait at the same time one
//! after the other, each in a savepoint, and commits them together: with one sync of the disk, or with one wait for the standbys
//! of a server. Before the commit the
//! index prepares its new content; after the commit the new content is put in place; only then do the callers get
//! their answers. So every acknowledged change is durable and in force.

pub mod alarms;
pub mod attempts;
pub mod audit;
pub mod authenticators;
pub mod catalogs;
pub mod challenges;
pub mod clock;
mod connection;
pub mod console_pages;
pub mod declared;
pub mod exact;
mod follower;
pub mod foreign;
pub mod heads;
pub mod idempotency;
pub mod imported;
mod index_steps;
mod key_columns;
pub mod key_files;
pub mod key_orders;
pub mod key_versions;
pub mod keys;
pub mod leases;
mod migrations;
pub mod nodes;
pub mod notices;
pub mod numbers;
pub mod older_copy;
pub mod packs;
pub mod policies;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod preferences;
pub mod recovery_codes;
pub mod refresh_tokens;
pub mod replaced_file;
pub mod reserve;
pub mod restore;
pub mod retired;
pub mod retired_names;
pub mod schema_upgrade;
pub mod seals;
pub mod sessions;
pub mod setup_codes;
pub mod shared_attempts;
pub mod sign_ins;
pub mod site;
pub mod site_links;
pub mod sites;
mod sqlite;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod testing;
pub mod tombstones;
pub mod transfer;
pub mod usage;
pub mod users;
pub mod uses;
pub mod workspaces;
mod writer;

use connection::Database;
#[cfg(feature = "postgres")]
pub use connection::quoted;
pub use connection::{Facts, Foreign, Location, Read, Row, Write};
use follower::Follower;
pub use index_steps::{Follow, IndexSteps, Known, Publish, Within};
pub use migrations::SEAL_KEY_SINCE;
#[cfg(all(test, feature = "postgres"))]
pub use migrations::rolling::testing as migrations_testing;
use replaced_file::DatabasePaths;
use reserve::Reserve;
#[cfg(test)]
pub use sqlite::STEPS;
pub use sqlite::other_file;
use tombstones::SharedTombstoneFile;
pub use writer::Urgency;
use writer::{DataFiles, Job, JobResult, Queue, QueueRefusal, Writer};

use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::pepper::Digest;
use crate::domain::locks::{self, lock};
use crate::domain::metrics::Figures;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::Tombstones;
use crate::error::{Error, Result};
use crate::refusals;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The number of changes of each [`Urgency`] that may wait for the writer. Further changes are refused as
/// unavailable.
const QUEUE_MAX: usize = 1024;
/// The number of idle connections for reading.
const READERS_MAX: usize = 4;
/// How long closing the store waits for running queries.
const READING_ENDS: Duration = Duration::from_secs(2);

/// How a change reaches the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// On the disk before it is acknowledged.
    Full,
    /// Written, but not synced: a power failure can lose the change, the end of the process cannot.
    Relaxed,
}

/// One database, open for reading and writing.
pub struct Store {
    path: PathBuf,
    database: Database,
    jobs: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    follow: Follow,
    follower: Mutex<Option<Follower>>,
    readers: Mutex<Readers>,
    /// Notified whenever a query has ended.
    query_ended: Condvar,
    /// A read connection that is open from the start. If the database file disappears, its content can still be
    /// saved.
    anchor: Mutex<Option<Read>>,
    place: Arc<DatabasePaths>,
    book: Arc<SharedTombstoneFile>,
    reserve: Arc<Reserve>,
    #[cfg(feature = "postgres")]
    exact: postgres::ExactWindows,
    /// The counters of this store and of the rest of the server.
    pub figures: Arc<Figures>,
}

/// Connections that cannot write.
#[derive(Default)]
struct Readers {
    idle: Vec<Read>,
    running: usize,
    closed: bool,
}

/// Refuses the waiting changes when the writer ends for any reason.
struct EndsWithWriter(Arc<Queue>);

impl Drop for EndsWithWriter {
    fn drop(&mut self) {
        self.0.close();
        drop(self.0.take_all());
    }
}

/// A running query. It is dropped when the query has ended, even by a panic.
struct Running<'a>(&'a Store);

/// Reads the digest of a token of a session and its pepper version.
fn token_digest(row: &Row<'_>) -> Result<StoredSecret> {
    let digest = Digest(row.get("digest")?);
    Ok(StoredSecret::peppered(digest, row.get("pepper")?))
}

impl Store {
    /// Creates a new database: a file that must not exist yet, or the tables in a database of a server that has none of
    /// Latchkey.
    pub fn create(location: impl Into<Location>) -> Result<()> {
        location.into().database.create()
    }

    /// Opens a database for an index that does not follow other nodes; otherwise the same as [`Store::open_with`].
    pub fn open(
        location: impl Into<Location>,
        files: &KeyFiles,
        now: Timestamp,
        publish: Publish,
    ) -> Result<Store> {
        Store::open_with(location, files, now, IndexSteps::alone(publish))
    }

    /// Opens an existing database and starts its writer, which seals rows with the seal key. A file is migrated to the
    /// current schema; if that is necessary, `now` is the time of its event.
    pub fn open_with(
        location: impl Into<Location>,
        files: &KeyFiles,
        now: Timestamp,
        index: IndexSteps,
    ) -> Result<Store> {
        let Location { path, mut database } = location.into();
        database.begin_node(&index.known);
        let (connections, place) = match &database {
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => (
                (
                    database.open_writer(Duration::MAX)?,
                    database.open_reader()?,
                ),
                DatabasePaths::on_a_server(),
            ),
            Database::Sqlite(file) => {
                // This check must come before any connection: when we close a file, the process loses the locks of its
                // connections to that file.
                sqlite::check_header(file)?;
                let connection = sqlite::open_writer(file, |read| {
                    migrations::run(read, file, files, now, migrations::STEPS)
                })?;
                let anchor = sqlite::open_anchor(file)?;
                ((connection, anchor), DatabasePaths::of(file))
            }
        };
        Store::start(&path, database, place, connections, files, index)
    }

    /// Starts the writer. The connections are that of the writer and the one that is open from the start.
    fn start(
        path: &Path,
        database: Database,
        place: DatabasePaths,
        (connection, anchor): (Read, Read),
        files: &KeyFiles,
        index: IndexSteps,
    ) -> Result<Store> {
        let follow = index.follow.clone();
        let figures = Arc::new(Figures::default());
        let place = Arc::new(place);
        let book = Arc::new(SharedTombstoneFile::default());
        let reserve = Arc::new(Reserve::default());
        let writer = Writer::new(
            database.clone(),
            connection,
            files.seal.clone(),
            index,
            DataFiles {
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
            database,
            jobs,
            writer: Mutex::new(Some(thread)),
            follow,
            follower: Mutex::default(),
            readers: Mutex::default(),
            query_ended: Condvar::new(),
            anchor: Mutex::new(Some(anchor)),
            place,
            book,
            reserve,
            #[cfg(feature = "postgres")]
            exact: Default::default(),
            figures,
        })
    }

    /// Begins to follow what other nodes commit, until the store is closed. A file has no other nodes.
    pub fn start_following(&self) -> Result<()> {
        if !self.database.is_shared() {
            return Ok(());
        }
        // What was committed between the opening of the tombstone file and the loading of the index is not followed.
        self.read(|read| self.book.catch_up(read))?;
        let (database, follow) = (self.database.clone(), self.follow.clone());
        let follower = Follower::start(database, follow, self.book.clone())?;
        *lock(&self.follower) = Some(follower);
        Ok(())
    }

    /// Runs a change and returns when it is committed and published. An error undoes only this change.
    pub fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Write<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_in(Urgency::Usual, durability, work)
    }

    /// Does the same as [`Store::write`] with a chosen urgency.
    pub fn write_in<T: Send + 'static>(
        &self,
        urgency: Urgency,
        durability: Durability,
        work: impl FnOnce(&Write<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The answer is stored outside the channel, so one channel type serves all types of answers.
        let (tell, told) = sync_channel::<()>(1);
        let answer = Arc::new(Mutex::new(None::<Result<T>>));
        let answered = answer.clone();
        let run = Box::new(move |tx: Result<&Write<'_>>| {
            let result = tx.and_then(work);
            let succeeded = result.is_ok();
            let answer = Box::new(move |committed: Result<()>| {
                *lock(&answered) = Some(committed.and(result));
                // The change stands even if the caller no longer waits.
                let _ = tell.send(());
            });
            JobResult {
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

    /// Hands a change to the writer and waits until the writer has finished it.
    fn carry_out(&self, urgency: Urgency, job: Job, told: &Receiver<()>) -> Result<()> {
        // The writer waits for all who read the directory before it replaces that.
        debug_assert!(
            !locks::holds_shared(),
            "a change that waits for the writer while its thread reads the directory"
        );
        match self.jobs.push(urgency, job) {
            Ok(()) => {
                self.figures.changes_waiting.fetch_add(1, Relaxed);
            }
            Err(QueueRefusal::Full) => {
                return Err(Error::Unavailable(refusals::server::busy()));
            }
            Err(QueueRefusal::Closed) => return Err(stopped()),
        }
        // If the writer drops the change without an answer, it also drops its end of the channel, and this call
        // returns.
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

    /// A connection with an open transaction, so that lists which need two queries see one state of the database. An
    /// idle connection that has become useless, because its server was started again, is replaced.
    fn reader(&self, idle: Option<Read>) -> Result<Read> {
        if let Some(connection) = idle
            && !connection.is_over()
            && connection.begin_reading().is_ok()
        {
            return Ok(connection);
        }
        self.place.check()?;
        let connection = self.database.open_reader()?;
        connection.begin_reading()?;
        Ok(connection)
    }

    fn put_back(&self, connection: Read) {
        if !connection.is_idle() && connection.end() && !connection.is_over() {
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

    /// Copies the database into an empty file; see [`sqlite::Sqlite::copy_to`]. It uses the connection that is open from the
    /// start, so the database can be saved even if its file is gone. Of a database on a server the file has every row
    /// ([`transfer::to_file`]). Only one copy runs at a time.
    pub fn copy_to(&self, path: &Path, progress: impl FnMut(u64, u64)) -> Result<Vec<Foreign>> {
        let Ok(anchor) = self.anchor.try_lock() else {
            return Err(Error::Conflict(refusals::backups::running()));
        };
        let anchor = anchor.as_ref().ok_or_else(stopped)?;
        if anchor.is_file() {
            return anchor.sqlite()?.copy_to(path, progress);
        }
        // The server of the connection that is open from the start may have been started again.
        let reader = self.database.patient().open_reader()?;
        let difference = reader.difference()?;
        difference.check_useful()?;
        transfer::to_file(&reader, path, progress)?;
        Ok(difference.harmless())
    }

    /// What the server of the database is; `None` if the database is a file.
    pub fn facts(&self) -> Result<Option<Facts>> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => postgres::facts(address).map(Some),
            Database::Sqlite(_) => Ok(None),
        }
    }

    /// What the tombstone file records; `None` if there is no such file.
    pub fn tombstones(&self) -> Result<Option<Tombstones>> {
        self.book.read()
    }

    /// The path of the database file, or where it would be: in the folder with the other files of this node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses if the database in the folder is not the one that is open.
    pub fn check_place(&self) -> Result<()> {
        self.place.check()
    }

    /// The version of the schema of a database, which another process may have open. It changes nothing.
    pub fn schema(path: &Path) -> Result<i64> {
        let in_header = sqlite::check_header(path)?;
        // The log may contain a newer version. A reader cannot open a database whose last change was interrupted in a
        // certain way; then the log is not used.
        let with_log = sqlite::open_reader(path).and_then(|read| read.version());
        Ok(with_log.unwrap_or(in_header))
    }

    /// The version of the schema of a backup, by its header; that of this build if it is not a database of Latchkey.
    pub fn schema_in(backup: &File) -> i64 {
        sqlite::version_in_header(backup).unwrap_or(sqlite::SCHEMA_VERSION)
    }

    /// Refuses a file that is not entirely a Latchkey database, and migrates it to the current schema. If a migration
    /// is necessary, `now` is the time of its event. Returns the foreign objects that were removed from the file.
    pub fn check_backup(path: &Path, files: &KeyFiles, now: Timestamp) -> Result<Vec<Foreign>> {
        sqlite::check_backup(path, |read| {
            migrations::run(read, path, files, now, migrations::STEPS)
        })
    }

    /// Puts the content of a database in a file in the place of the one on a server, whose schema stays under the name `kept`.
    /// Returns whether there was one.
    pub fn replace(location: Location, file: &Path, kept: &str) -> Result<bool> {
        match location.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => {
                let earlier = postgres::Earlier::KeptAs(kept.to_owned());
                let from = sqlite::open_reader(file)?;
                postgres::load(&address, &from, &earlier, &|_| Ok(()), &mut |_, _| {})
            }
            Database::Sqlite(_) => Err(Error::internal(format!(
                "{} is not on a server, where {kept} would be",
                file.display()
            ))),
        }
    }

    /// Reads from a database that is not in use.
    pub fn read_copy<T>(path: &Path, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        work(&sqlite::open_reader(path)?)
    }

    /// Starts to record tombstones in a file of their own, and adds what has ended since the file was last written.
    ///
    /// If the database is not the one that the file was written for, returns what the file records. In this case an
    /// older copy has replaced the database, and it grants access that was withdrawn until that access is withdrawn
    /// again.
    pub fn keep_tombstones(&self, path: &Path) -> Result<Option<Tombstones>> {
        let (file, known) = tombstones::TombstoneFile::open(path)?;
        self.read(|read| self.book.open(file, known, read))
    }

    /// Whether other nodes may use the database at the same time; not that of a file, which belongs to one data folder.
    pub fn is_shared(&self) -> bool {
        self.database.is_shared()
    }

    /// The lease of this node in a database on a server; `None` for a file.
    #[cfg(feature = "postgres")]
    pub fn lease(&self, holder: postgres::LeaseHolder) -> Option<postgres::Lease> {
        match &self.database {
            Database::Postgres(address) => Some(postgres::Lease::new((**address).clone(), holder)),
            Database::Sqlite(_) => None,
        }
    }

    /// What the tombstone file records, complete, for closing an older copy that has taken the place of the database. Until that is
    /// done, nothing is added to the file.
    pub fn begin_closing(&self) -> Result<Tombstones> {
        self.read(|read| self.book.begin_closing(read))
    }

    /// Writes down how far the audit log goes, so that the next start notices an older copy of the database.
    pub fn mark_tombstones(&self) -> Result<()> {
        self.book.mark()
    }

    /// Starts to reserve disk space, in a file of its own, for changes that only take something away.
    pub fn keep_reserve(&self, path: &Path) -> Result<()> {
        self.reserve.keep(path)
    }

    /// Refuses if the disk has less space than any change may need.
    pub fn check_room(&self) -> Result<()> {
        self.reserve.check_room()
    }

    /// Rewrites the tombstone file without superfluous lines, if there are many of them.
    pub fn compact_tombstones(&self) -> Result<()> {
        self.book.compact()
    }

    /// Checks that the database in the folder is still the one that is open, and logs a difference.
    pub fn watch(&self) {
        self.place.watch();
    }

    /// Bytes that this process can still write in the file system of the database; `None` if the system does not
    /// report it.
    pub fn free_bytes(&self) -> Option<u64> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let room = rustix::fs::statvfs(folder).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }

    /// Whether the store is closed for reading and writing.
    pub fn is_closed(&self) -> bool {
        lock(&self.readers).closed
    }

    /// Finishes the waiting changes and closes the database. Later changes and queries are refused.
    pub fn close(&self) {
        let follower = lock(&self.follower).take();
        if let Some(follower) = follower {
            follower.stop();
        }
        // The last connection to close removes the write-ahead log, and only the writer is able to. So the readers
        // close before the writer, unless a query takes too long.
        let mut readers = lock(&self.readers);
        readers.closed = true;
        readers.idle.clear();
        drop(
            self.query_ended
                .wait_timeout_while(readers, READING_ENDS, |readers| readers.running > 0),
        );
        lock(&self.anchor).take();
        #[cfg(feature = "postgres")]
        self.exact.close();
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
    /// Closes the store, so that a start that fails half-way leaves no write-ahead log behind.
    fn drop(&mut self) {
        self.close();
    }
}

fn stopped() -> Error {
    Error::Unavailable(refusals::server::stopping())
}
