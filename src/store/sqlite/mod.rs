//! The interface to SQLite: opening, settings, values, rows and errors. No other module names rusqlite.

mod backup;
mod checks;
mod foreign;
pub mod other_file;
mod touched;
mod values;

use crate::domain::audit::Target;
use crate::domain::numbers::{Numbers, Series};
use crate::domain::tombstones::Tombstone;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use checks::{SCHEMA, check_file};
pub(super) use checks::{check_backup, check_header, foreign_schema, version_in_header};
pub use foreign::Foreign;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;
use values::FromValue;
pub use values::{ToValue, Value};

/// "Ltky": identifies a file as a Latchkey database.
const APPLICATION_ID: i64 = 0x4c74_6b79;
/// The oldest SQLite version that may store keys.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long a write waits for the lock of another program.
const BUSY_MS: u64 = 5_000;
/// The page cache of a connection: SQLite's own default, in KiB if it is negative.
const CACHE_SIZE: i32 = -2_000;
/// The schema version of databases of this build: that of the last step. See `schema.sql`.
pub const SCHEMA_VERSION: i64 = super::migrations::VERSION;

/// A connection that reads, or the reading half of a transaction; it then collects what must follow the commit.
pub struct Read {
    connection: Connection,
    /// What the transaction has changed so far; the index must load it again.
    touched: RefCell<Vec<Target>>,
    /// The positions in `touched` of what no event has to name.
    light: RefCell<Vec<usize>>,
    /// Steps in memory that follow the commit.
    after: RefCell<Vec<AfterCommit>>,
    /// Tombstones that are written to their file after the commit.
    tombstones: RefCell<Vec<Tombstone>>,
    /// The highest assigned numbers: by earlier processes, or by the transaction.
    given: Cell<Numbers>,
    /// Targets that the transaction has compared with their seals itself, and whether each is to be sealed.
    judged: RefCell<Vec<(Target, bool)>>,
    /// Targets that the transaction has sealed itself, and the number of entries that `touched` had then.
    sealed: RefCell<HashMap<Target, usize>>,
}

/// The effects of a transaction outside the database.
pub(super) struct Effects {
    pub touched: Vec<Target>,
    pub after: Vec<AfterCommit>,
    pub notes: Notes,
}

/// What is recorded outside the database before a transaction is acknowledged.
pub(in crate::store) struct Notes {
    pub tombstones: Vec<Tombstone>,
    pub given: Numbers,
}

/// A step in memory that follows a commit and cannot fail.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// A transaction. Only the writer creates one.
pub struct Write<'a> {
    read: &'a Read,
}

/// One row of a result; columns are read by name.
pub struct Row<'a> {
    row: &'a rusqlite::Row<'a>,
    /// The names of the columns. Empty for the first row: most queries have one row, and a copy of the names takes as long
    /// as reading it.
    names: &'a [String],
    /// The position after the column that was read last, because columns are mostly read in order.
    next: Cell<usize>,
}

impl Row<'_> {
    /// The column with this name. A missing column or another type is a defect of the program or of the file.
    pub fn get<T: FromValue>(&self, name: &'static str) -> Result<T> {
        let expected = self.next.get();
        let columns = self.row.as_ref().column_count();
        let position = match expected < columns && self.is_called(expected, name) {
            true => Some(expected),
            false => (0..columns).find(|position| self.is_called(*position, name)),
        };
        self.next.set(position.map_or(0, |position| position + 1));
        position
            .and_then(|position| self.row.get_ref(position).ok())
            .and_then(T::from_value)
            .ok_or_else(|| Error::internal(format!("column {name} cannot be read")))
    }

    fn is_called(&self, position: usize, name: &str) -> bool {
        match self.names.get(position) {
            Some(known) => known == name,
            None => self
                .row
                .as_ref()
                .column_name(position)
                .is_ok_and(|known| known == name),
        }
    }
}

impl Read {
    /// Runs a query and turns each row into a value.
    pub fn query<T>(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        mut from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, &mut |row| {
            found.push(from_row(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs a query for at most one row.
    pub fn query_one<T>(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(sql, params, from_row)?.into_iter().next())
    }

    /// Runs a query and calls `take` with each row, for results that are too large for memory.
    pub fn each(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        take: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(from_sqlite)?;
        let (mut names, mut is_first) = (Vec::new(), true);
        let values = params.iter().map(|param| param.to_value());
        let mut rows = statement
            .query(rusqlite::params_from_iter(values))
            .map_err(from_sqlite)?;
        while let Some(row) = rows.next().map_err(from_sqlite)? {
            if !is_first && names.is_empty() {
                let all = row.as_ref().column_names();
                names = all.into_iter().map(str::to_owned).collect();
            }
            is_first = false;
            take(&Row {
                row,
                names: &names,
                next: Cell::new(0),
            })?;
        }
        #[cfg(test)]
        {
            drop(rows);
            let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
            STEPS.with(|sum| sum.set(sum.get() + u64::from(steps.unsigned_abs())));
        }
        Ok(())
    }

    /// Allows this connection to cache this many MiB of pages, for work on a large part of the database.
    pub fn widen_cache(&self, mib: u32) -> Result<()> {
        self.batch(&format!("PRAGMA cache_size = -{}", mib * 1024))
    }

    /// Ends what [`Read::widen_cache`] began.
    pub fn narrow_cache(&self) -> Result<()> {
        self.batch(&format!("PRAGMA cache_size = {CACHE_SIZE}"))
    }

    /// The schema version of the database.
    pub(super) fn version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(from_sqlite)
    }

    /// Runs statements without parameters; used for the statements of the store itself (BEGIN, COMMIT, …).
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(from_sqlite)
    }

    /// Begins a transaction. If `syncs` is set, its commit is synced to the disk before it is acknowledged.
    pub(super) fn begin(&self, syncs: bool) -> std::result::Result<(), Fault> {
        let sql = if syncs {
            "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
        } else {
            "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE"
        };
        self.connection
            .execute_batch(sql)
            .map_err(|err| Fault::new(kind(&err), from_sqlite(err)))
    }

    pub(super) fn commit(&self) -> std::result::Result<(), Fault> {
        self.connection
            .execute_batch("COMMIT")
            .map_err(|err| match kind(&err) {
                FaultKind::Unknown => Fault::new(
                    FaultKind::Unknown,
                    Error::internal(format!(
                        "it is not known whether the change was saved: {err}"
                    )),
                ),
                known => Fault::new(known, from_sqlite(err)),
            })
    }

    /// Rolls the transaction back if one is open; `false` if that failed.
    pub(super) fn end(&self) -> bool {
        self.is_idle() || (self.batch("ROLLBACK").is_ok() && self.is_idle())
    }

    /// Moves the whole write-ahead log into the database, synced, and truncates it. `false` if a reader or another
    /// program prevents this.
    pub(super) fn empty_log(&self) -> Result<bool> {
        let stood_in_the_way: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(from_sqlite)?;
        Ok(stood_in_the_way == 0)
    }

    /// Whether no transaction is open. SQLite ends a transaction automatically after some faults.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Gives access to the writing half. The caller has begun the transaction.
    pub(super) fn write(&self) -> Write<'_> {
        Write { read: self }
    }

    /// Makes numbers continue after these.
    pub(super) fn set_given(&self, given: Numbers) {
        self.given.set(given);
    }

    /// What the transaction has changed so far.
    pub fn touched(&self) -> Vec<Target> {
        self.touched.borrow().clone()
    }

    /// What the transaction has changed and not sealed since, each target once.
    pub(super) fn unsealed(&self) -> Vec<Target> {
        let (touched, sealed) = (self.touched.borrow(), self.sealed.borrow());
        let last: HashMap<&Target, usize> = touched.iter().zip(0..).collect();
        let mut seen = HashSet::new();
        let changed = touched.iter().filter(|target| seen.insert(*target));
        let is_sealed = |target: &Target| {
            let last = last.get(target);
            sealed
                .get(target)
                .zip(last)
                .is_some_and(|(at, last)| last < at)
        };
        changed
            .filter(|target| !is_sealed(target))
            .cloned()
            .collect()
    }

    /// Whether the transaction has changed the target, so that the index does not have its current state.
    pub fn has_touched(&self, target: &Target) -> bool {
        self.touched.borrow().contains(target)
    }

    /// Takes what was changed and what is to follow the commit, and leaves both empty.
    pub(super) fn take_effects(&self) -> Effects {
        self.judged.take();
        self.sealed.take();
        self.light.take();
        Effects {
            touched: self.touched.take(),
            after: self.after.take(),
            notes: Notes {
                tombstones: self.tombstones.take(),
                given: self.given.take(),
            },
        }
    }
}

impl std::ops::Deref for Write<'_> {
    type Target = Read;

    fn deref(&self) -> &Read {
        self.read
    }
}

impl Write<'_> {
    /// Runs one statement and returns how many rows it changed.
    pub fn execute(&self, sql: &'static str, params: &[&dyn ToValue]) -> Result<usize> {
        let mut statement = self.connection.prepare_cached(sql).map_err(from_sqlite)?;
        let values = params.iter().map(|param| param.to_value());
        statement
            .execute(rusqlite::params_from_iter(values))
            .map_err(from_sqlite)
    }

    /// Notes what has changed: the index loads it again when this transaction is committed, and its end seals it again.
    ///
    /// An event of the same change must name the target (`domain::audit::named`); [`super::audit::append`] also touches
    /// what it names.
    pub fn touch(&self, target: Target) {
        self.read.touched.borrow_mut().push(target);
    }

    /// As [`Write::touch`], for a new target that this transaction has just written and sealed. A later change of it is
    /// sealed at the end.
    pub fn touch_sealed(&self, target: Target) {
        self.touch(target.clone());
        let at = self.read.touched.borrow().len();
        self.read.sealed.borrow_mut().insert(target, at);
    }

    /// Runs a step in memory when this transaction is committed, after the index was updated. Steps run in the order
    /// of their transactions.
    pub fn after_commit(&self, step: impl FnOnce() + Send + 'static) {
        self.read.after.borrow_mut().push(Box::new(step));
    }

    /// Records that this transaction has compared the target with its seal itself, or has written all of it, and
    /// whether it is to be sealed at the end.
    pub fn judge(&self, target: Target, is_good: bool) {
        self.read.judged.borrow_mut().push((target, is_good));
    }

    /// What [`Write::judge`] has recorded.
    pub(super) fn judged(&self) -> Vec<(Target, bool)> {
        self.read.judged.borrow().clone()
    }

    /// The number of notes of each kind so far.
    pub(super) fn mark(&self) -> [usize; 4] {
        [
            self.read.judged.borrow().len(),
            self.read.touched.borrow().len(),
            self.read.after.borrow().len(),
            self.read.tombstones.borrow().len(),
        ]
    }

    /// Discards the notes since a mark, for a change that is undone.
    pub(super) fn cut(&self, [judged, touched, after, tombstones]: [usize; 4]) {
        self.read.judged.borrow_mut().truncate(judged);
        self.read.touched.borrow_mut().truncate(touched);
        self.read.light.borrow_mut().retain(|at| *at < touched);
        self.read.sealed.borrow_mut().retain(|_, at| *at <= touched);
        self.read.after.borrow_mut().truncate(after);
        self.read.tombstones.borrow_mut().truncate(tombstones);
    }

    /// Adds tombstones, which are written to their file when this transaction is committed, before it is
    /// acknowledged.
    pub fn entomb(&self, tombstones: Vec<Tombstone>) {
        self.read.tombstones.borrow_mut().extend(tombstones);
    }

    /// The highest number of a series that earlier processes or this transaction assigned.
    pub fn given(&self, series: Series) -> i64 {
        self.read.given.get().of(series)
    }

    /// Records an assigned number outside the database, as [`Write::entomb`] does. The number is recorded even if its
    /// change is undone.
    pub fn note_given(&self, series: Series, number: i64) {
        let mut given = self.read.given.get();
        given.set(series, number.max(given.of(series)));
        self.read.given.set(given);
    }
}

/// Creates a new database file with the current schema. The file must not exist.
pub(super) fn create(path: &Path) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    read.batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
    read.batch(&format!(
        "BEGIN EXCLUSIVE; {SCHEMA}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ))
}

/// Opens the only writing connection and checks that the file is a Latchkey database. `migrate` migrates an older
/// version to the current one.
pub(super) fn open_writer(path: &Path, migrate: impl FnOnce(&Read) -> Result<()>) -> Result<Read> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::internal(format!(
            "this build carries SQLite {}, older than 3.51.3",
            rusqlite::version()
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    let has_log = std::fs::metadata(format!("{}-wal", path.display()))
        .is_ok_and(|metadata| metadata.len() > 0);
    let keeps_log = |keep| {
        let set = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        read.connection
            .set_db_config(set, keep)
            .map_err(from_sqlite)
    };
    // A refused database stays unchanged, including its log.
    keeps_log(has_log)?;
    let version = check_file(&read.connection, path)?;
    if version < SCHEMA_VERSION {
        migrate(&read)?;
    }
    keeps_log(false)?;
    let mode: String = read
        .connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(from_sqlite)?;
    if mode != "wal" {
        return Err(Error::internal(format!(
            "{} cannot use a write-ahead log (is it on a network file system?)",
            path.display()
        )));
    }
    read.batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")?;
    Ok(read)
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Read> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    read.batch("PRAGMA query_only = ON")?;
    Ok(read)
}

#[cfg(test)]
mod tests;

/// An in-memory database with the current schema, for tests.
#[cfg(test)]
pub fn in_memory() -> Result<Read> {
    let read = settled(Connection::open_in_memory().map_err(from_sqlite)?)?;
    read.batch(SCHEMA)?;
    Ok(read)
}

#[cfg(test)]
thread_local! {
    /// The number of virtual machine steps that SQLite ran for the queries of this thread; a row takes a few. For
    /// tests.
    pub static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// The query plan of a statement, one line for each step, for tests.
#[cfg(test)]
pub fn plan(read: &Read, sql: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let mut statement = read.connection.prepare(&sql).unwrap();
    let params: Vec<i64> = vec![0; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(params), |row| row.get("detail"));
    steps.unwrap().map(std::result::Result::unwrap).collect()
}

/// Applies the settings that every connection has (see "Durability" in docs/architecture.md).
fn settled(connection: Connection) -> Result<Read> {
    let set = |config, on| {
        connection
            .set_db_config(config, on)
            .map(drop)
            .map_err(from_sqlite)
    };
    set(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    set(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    set(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    set(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // Query plans must not depend on the parameter values. Otherwise SQLite prepares a statement on a table with
    // partial indexes again for each new value.
    set(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection
        .set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 500)
        .map_err(from_sqlite)?;
    connection
        .busy_timeout(Duration::from_millis(BUSY_MS))
        .map_err(from_sqlite)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection
        .execute_batch("PRAGMA foreign_keys = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")
        .map_err(from_sqlite)?;
    Ok(Read {
        connection,
        touched: RefCell::default(),
        light: RefCell::default(),
        after: RefCell::default(),
        tombstones: RefCell::default(),
        given: Cell::default(),
        judged: RefCell::default(),
        sealed: RefCell::default(),
    })
}

/// A BEGIN or COMMIT that failed.
pub(super) struct Fault {
    pub kind: FaultKind,
    pub error: Error,
}

/// What a failed BEGIN or COMMIT means for the data on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FaultKind {
    /// Nothing was saved: the disk is full, or a similar fault ended the transaction.
    NoRoom,
    /// Nothing was saved: another program holds a lock, or a constraint is violated.
    Refused,
    /// It is unknown what was saved.
    Unknown,
}

impl Fault {
    pub fn new(kind: FaultKind, error: Error) -> Fault {
        Fault { kind, error }
    }
}

/// Derives the kind of a failed BEGIN or COMMIT.
fn kind(err: &rusqlite::Error) -> FaultKind {
    let extended = err.sqlite_error().map(|err| err.extended_code);
    match err.sqlite_error_code() {
        // A page that was not written to the log is not a part of it: the next commit overwrites the same position.
        Some(ErrorCode::DiskFull) => FaultKind::NoRoom,
        Some(_) if extended == Some(rusqlite::ffi::SQLITE_IOERR_WRITE) => FaultKind::NoRoom,
        Some(
            ErrorCode::ConstraintViolation | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked,
        ) => FaultKind::Refused,
        _ => FaultKind::Unknown,
    }
}

/// Translates a failure of SQLite into an error for the client.
fn from_sqlite(err: rusqlite::Error) -> Error {
    let extended = err.sqlite_error().map_or(0, |err| err.extended_code);
    match err.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(constraint(extended)),
        Some(ErrorCode::DiskFull) => Error::Unavailable(refusals::server::disk_full()),
        // SQLite could not create the index of the log; in practice only a full disk causes this.
        Some(_) if extended == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
            Error::Unavailable(refusals::server::disk_full())
        }
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::PermissionDenied,
        ) => {
            log::error!("store: {err} ({extended})");
            Error::Unavailable(refusals::server::database_unusable())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Unavailable(refusals::server::database_locked())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            log::error!("store: {err} ({extended}); restore a backup");
            Error::Unavailable(refusals::server::database_damaged())
        }
        _ => Error::internal(err),
    }
}

/// The message for a violated constraint. Operations check first and give a better message.
fn constraint(extended: i32) -> Refusal {
    match extended {
        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
            refusals::server::constraint_exists()
        }
        rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => refusals::server::constraint_referred(),
        _ => refusals::server::constraint(),
    }
}
