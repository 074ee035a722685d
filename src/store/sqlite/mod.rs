//! SQLite as an engine: opening, settings, transactions, rows and errors. No other module names rusqlite.

mod backup;
mod checks;
mod fill;
mod foreign;
pub mod other_file;

use super::connection::{Cells as RowCells, Fault, FaultKind, Read, Row, ToValue, Value, ValueRef};
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef as SqlValue};

pub(super) use checks::SCHEMA;
use checks::check_file;
pub(super) use checks::{check_backup, check_header, foreign_schema, version_in_header};
pub(super) use fill::{TableNames, close_filled, fill, tables};
use rusqlite::{Connection, ErrorCode, OpenFlags};
#[cfg(test)]
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

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

/// A connection to an SQLite database.
pub struct Sqlite {
    connection: Connection,
}

/// The columns of a row.
pub struct Cells<'a> {
    row: &'a rusqlite::Row<'a>,
    /// The names of the columns. Empty for the first row: most queries have one row, and a copy of the names takes as long
    /// as reading it.
    names: &'a [String],
}

impl Cells<'_> {
    pub fn count(&self) -> usize {
        self.row.as_ref().column_count()
    }

    pub fn is_called(&self, position: usize, name: &str) -> bool {
        match self.names.get(position) {
            Some(known) => known == name,
            None => self
                .row
                .as_ref()
                .column_name(position)
                .is_ok_and(|known| known == name),
        }
    }

    pub fn value(&self, position: usize) -> Result<ValueRef<'_>> {
        let value = self.row.get_ref(position).map_err(from_sqlite)?;
        Ok(match value {
            SqlValue::Blob(bytes) => ValueRef::Blob(bytes),
            SqlValue::Integer(number) => ValueRef::Int(number),
            SqlValue::Null => ValueRef::Null,
            SqlValue::Real(number) => ValueRef::Real(number),
            SqlValue::Text(bytes) => ValueRef::Text(bytes),
        })
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Blob(bytes) => SqlValue::Blob(bytes),
            Value::Int(number) => SqlValue::Integer(*number),
            Value::Null => SqlValue::Null,
            Value::Text(text) => SqlValue::Text(text.as_bytes()),
        }))
    }
}

impl Sqlite {
    /// Runs a query and calls `take` with each row.
    pub fn each(
        &self,
        sql: &str,
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
            let names = &names;
            take(&Row::new(RowCells::Sqlite(Cells { row, names })))?;
        }
        #[cfg(test)]
        {
            drop(rows);
            let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
            STEPS.with(|sum| sum.set(sum.get() + u64::from(steps.unsigned_abs())));
        }
        Ok(())
    }

    /// Runs one statement and returns how many rows it changed.
    pub fn execute(&self, sql: &str, params: &[&dyn ToValue]) -> Result<usize> {
        let mut statement = self.connection.prepare_cached(sql).map_err(from_sqlite)?;
        let values = params.iter().map(|param| param.to_value());
        statement
            .execute(rusqlite::params_from_iter(values))
            .map_err(from_sqlite)
    }

    /// Allows this connection to cache this many MiB of pages, for work on a large part of the database.
    pub fn widen_cache(&self, mib: u32) -> Result<()> {
        self.batch(&format!("PRAGMA cache_size = -{}", mib * 1024))
    }

    /// Ends what [`Sqlite::widen_cache`] began.
    pub fn narrow_cache(&self) -> Result<()> {
        self.batch(&format!("PRAGMA cache_size = {CACHE_SIZE}"))
    }

    /// The schema version of the database.
    pub fn version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(from_sqlite)
    }

    /// Runs statements without parameters; used for the statements of the store itself (BEGIN, COMMIT, …).
    pub fn batch(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(from_sqlite)
    }

    /// Begins a transaction. If `syncs` is set, its commit is synced to the disk before it is acknowledged.
    pub fn begin(&self, syncs: bool) -> std::result::Result<(), Fault> {
        let sql = if syncs {
            "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
        } else {
            "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE"
        };
        self.connection
            .execute_batch(sql)
            .map_err(|err| Fault::new(kind(&err), from_sqlite(err)))
    }

    pub fn commit(&self) -> std::result::Result<(), Fault> {
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
    pub fn end(&self) -> bool {
        self.is_idle() || (self.batch("ROLLBACK").is_ok() && self.is_idle())
    }

    /// Begins a part of the transaction that can be undone alone.
    pub fn begin_part(&self) -> Result<()> {
        self.batch("SAVEPOINT part")
    }

    /// Ends what [`Sqlite::begin_part`] began.
    pub fn end_part(&self, stays: bool) -> Result<()> {
        self.batch(match stays {
            true => "RELEASE SAVEPOINT part",
            false => "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part",
        })
    }

    /// Moves the whole write-ahead log into the database, synced, and truncates it. `false` if a reader or another
    /// program prevents this.
    pub fn empty_log(&self) -> Result<bool> {
        let stood_in_the_way: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(from_sqlite)?;
        Ok(stood_in_the_way == 0)
    }

    /// Whether no transaction is open. SQLite ends a transaction automatically after some faults.
    pub fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }
}

/// Creates a new database file with the current schema. The file must not exist.
pub(super) fn create(path: &Path) -> Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    sqlite.batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
    sqlite.batch(&format!(
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
    let read = Read::from(settled(
        Connection::open_with_flags(path, flags).map_err(from_sqlite)?,
    )?);
    let sqlite = read.sqlite()?;
    let has_log = std::fs::metadata(format!("{}-wal", path.display()))
        .is_ok_and(|metadata| metadata.len() > 0);
    let keeps_log = |keep| {
        let set = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        sqlite
            .connection
            .set_db_config(set, keep)
            .map_err(from_sqlite)
    };
    // A refused database stays unchanged, including its log.
    keeps_log(has_log)?;
    let version = check_file(&sqlite.connection, path)?;
    if version < SCHEMA_VERSION {
        migrate(&read)?;
    }
    keeps_log(false)?;
    let mode: String = sqlite
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
    let sqlite = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    sqlite.batch("PRAGMA query_only = ON")?;
    Ok(sqlite.into())
}

/// Opens a connection that cannot write and that has the files of the database open from now on.
pub(super) fn open_anchor(path: &Path) -> Result<Read> {
    let anchor = open_reader(path)?;
    // A connection has the log open only after its first read.
    anchor.batch("SELECT count(*) FROM sqlite_schema")?;
    Ok(anchor)
}

#[cfg(test)]
mod tests;

/// An in-memory database with the current schema, for tests.
#[cfg(test)]
pub fn in_memory() -> Result<Read> {
    let sqlite = settled(Connection::open_in_memory().map_err(from_sqlite)?)?;
    sqlite.batch(&format!(
        "{SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION};"
    ))?;
    Ok(sqlite.into())
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
    let mut statement = read.sqlite().unwrap().connection.prepare(&sql).unwrap();
    let params: Vec<i64> = vec![0; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(params), |row| row.get("detail"));
    steps.unwrap().map(std::result::Result::unwrap).collect()
}

/// Applies the settings that every connection has.
fn settled(connection: Connection) -> Result<Sqlite> {
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
    Ok(Sqlite { connection })
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
