//! The seam to SQLite: opening, settings, values, rows and errors. Nothing else names rusqlite.

use crate::domain::audit::Target;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

/// "Ltky": marks a file as Latchkey's.
const APPLICATION_ID: i64 = 0x4c74_6b79;
/// The oldest SQLite that is trusted with keys.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long a write waits for another program's lock.
const BUSY_MS: u64 = 5_000;
const SCHEMA: &str = include_str!("../../schema.sql");
/// Steps that databases of this build have taken; see `schema.sql`.
pub const SCHEMA_VERSION: i64 = 1;

/// A connection that reads, or the reading half of a transaction.
pub struct Read {
    connection: Connection,
    /// What the transaction has changed so far and the index must load again.
    touched: RefCell<Vec<Target>>,
    /// What is to be done in memory once it is committed.
    after: RefCell<Vec<AfterCommit>>,
}

/// A step in memory that follows a commit and cannot fail.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// A transaction. Only the writer makes one.
pub struct Write<'a> {
    read: &'a Read,
}

/// A plain value, in or out.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Blob(Vec<u8>),
    Int(i64),
    Null,
    Text(String),
}

/// What can be a parameter.
pub trait ToValue {
    fn to_value(&self) -> Value;
}

/// What a column can be read as.
pub trait FromValue: Sized {
    fn from_value(value: ValueRef<'_>) -> Option<Self>;
}

/// One row of an answer; columns are read by name.
pub struct Row<'a> {
    row: &'a rusqlite::Row<'a>,
    names: &'a [String],
    /// Where the column after the last one that was read is: columns are mostly read in their order.
    next: Cell<usize>,
}

impl Row<'_> {
    /// The column of this name. A missing column or another type is a defect of ours or of the file.
    pub fn get<T: FromValue>(&self, name: &'static str) -> Result<T> {
        let expected = self.next.get();
        let position = match self.names.get(expected) {
            Some(known) if known == name => Some(expected),
            _ => self.names.iter().position(|known| known == name),
        };
        self.next.set(position.map_or(0, |position| position + 1));
        position
            .and_then(|position| self.row.get_ref(position).ok())
            .and_then(T::from_value)
            .ok_or_else(|| Error::internal(format!("column {name} cannot be read")))
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
        self.each(sql, params, |row| {
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

    /// Runs a query and hands over each row, for answers that are too large to hold.
    pub fn each(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        mut take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(from_sqlite)?;
        let names: Vec<String> = statement
            .column_names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let values = params.iter().map(|param| param.to_value());
        let mut rows = statement
            .query(rusqlite::params_from_iter(values))
            .map_err(from_sqlite)?;
        while let Some(row) = rows.next().map_err(from_sqlite)? {
            take(&Row {
                row,
                names: &names,
                next: Cell::new(0),
            })?;
        }
        Ok(())
    }

    /// Lets this connection keep so many MiB of pages in memory, for work on much of the database.
    pub fn widen_cache(&self, mib: u32) -> Result<()> {
        self.batch(&format!("PRAGMA cache_size = -{}", mib * 1024))
    }

    /// Runs statements without parameters; the writer's own (BEGIN, COMMIT, …).
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(from_sqlite)
    }

    /// Whether no transaction is open: SQLite ends one by itself after some faults.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Begins the writing half. The caller has begun the transaction.
    pub(super) fn write(&self) -> Write<'_> {
        Write { read: self }
    }

    /// Empties and returns what was changed and what is to follow the commit.
    pub(super) fn take_effects(&self) -> (Vec<Target>, Vec<AfterCommit>) {
        (self.touched.take(), self.after.take())
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

    /// Notes what the index has to load again when this transaction is committed.
    pub fn touch(&self, target: Target) {
        self.read.touched.borrow_mut().push(target);
    }

    /// Has a step done in memory when this transaction is committed, after the index has followed it. Steps run
    /// in the order of their transactions.
    pub fn after_commit(&self, step: impl FnOnce() + Send + 'static) {
        self.read.after.borrow_mut().push(Box::new(step));
    }

    /// How much has been noted so far.
    pub(super) fn mark(&self) -> (usize, usize) {
        (
            self.read.touched.borrow().len(),
            self.read.after.borrow().len(),
        )
    }

    /// Forgets what was noted since a mark: for a change that is undone.
    pub(super) fn cut(&self, (touched, after): (usize, usize)) {
        self.read.touched.borrow_mut().truncate(touched);
        self.read.after.borrow_mut().truncate(after);
    }
}

/// Makes a new database file with the current schema. The file must not exist.
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

/// Opens the one writing connection and checks that the file is a Latchkey database of this version.
pub(super) fn open_writer(path: &Path) -> Result<Read> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(Error::internal(format!(
            "this build carries SQLite {}, older than 3.51.3",
            rusqlite::version()
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(from_sqlite)?;
    check_file(&connection, path)?;
    let read = settled(connection)?;
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

/// A database in memory with the current schema, for tests.
#[cfg(test)]
pub fn in_memory() -> Result<Read> {
    let read = settled(Connection::open_in_memory().map_err(from_sqlite)?)?;
    read.batch(SCHEMA)?;
    Ok(read)
}

/// Settings of every connection (see "SQLite facts" in ARCHITECTURE.md).
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
        after: RefCell::default(),
    })
}

/// Refuses what is no database, not ours, or newer than this build.
fn check_file(connection: &Connection, path: &Path) -> Result<()> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let path = path.display();
    let (application, version) = match (
        number("PRAGMA application_id"),
        number("PRAGMA user_version"),
    ) {
        (Ok(application), Ok(version)) => (application, version),
        (Err(err), _) | (_, Err(err)) => {
            return Err(Error::internal(format!(
                "{path} is damaged or no database ({err}); restore a backup, the file was left as it is"
            )));
        }
    };
    if application != APPLICATION_ID {
        return Err(Error::internal(format!(
            "{path} is not a Latchkey database; it was left as it is"
        )));
    }
    if version > SCHEMA_VERSION {
        return Err(Error::internal(format!(
            "{path} was written by a newer Latchkey (schema {version}, this build knows {SCHEMA_VERSION}); \
             start that version, the file was left as it is"
        )));
    }
    if version < SCHEMA_VERSION {
        return Err(Error::internal(format!(
            "{path} has schema {version}, which no release ever wrote; restore a backup"
        )));
    }
    Ok(())
}

/// Whether an error is a violated constraint of the schema: uniqueness, a reference, a check.
fn from_sqlite(err: rusqlite::Error) -> Error {
    match err.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(constraint(&err)),
        Some(ErrorCode::DiskFull) => {
            Error::Unavailable("the disk is full; free some space, verification goes on".to_owned())
        }
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied,
        ) => {
            log::error!("store: {err}");
            Error::Unavailable("the database cannot be written just now".to_owned())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Unavailable("the database is locked by another program".to_owned())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            log::error!("store: {err}; restore a backup");
            Error::Unavailable("the database is damaged; see the log".to_owned())
        }
        _ => Error::internal(err),
    }
}

/// What a client is told about a violated constraint; operations check first and say it better.
fn constraint(err: &rusqlite::Error) -> String {
    let extended = err.sqlite_error().map(|err| err.extended_code);
    match extended {
        Some(
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        ) => "something of that name exists already".to_owned(),
        Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
            "something else still refers to it".to_owned()
        }
        _ => "the database refused the change".to_owned(),
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Blob(bytes) => ValueRef::Blob(bytes),
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value {
        Value::Int(*self)
    }
}

impl ToValue for u64 {
    /// Numbers beyond 2^63 are refused at the edge long before they get here.
    fn to_value(&self) -> Value {
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value {
        Value::Text((*self).to_owned())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl ToValue for [u8; 32] {
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value {
        Value::Blob(self.clone())
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> Value {
        Value::Int(self.0)
    }
}

impl ToValue for Uid {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl ToValue for crate::domain::key::KeyId {
    fn to_value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl FromValue for i64 {
    fn from_value(value: ValueRef<'_>) -> Option<i64> {
        value.as_i64().ok()
    }
}

impl FromValue for u64 {
    fn from_value(value: ValueRef<'_>) -> Option<u64> {
        value.as_i64().ok()?.try_into().ok()
    }
}

impl FromValue for u32 {
    fn from_value(value: ValueRef<'_>) -> Option<u32> {
        value.as_i64().ok()?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Option<bool> {
        value.as_i64().ok().map(|number| number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Option<String> {
        value.as_str().ok().map(str::to_owned)
    }
}

impl FromValue for [u8; 32] {
    fn from_value(value: ValueRef<'_>) -> Option<[u8; 32]> {
        value.as_blob().ok()?.try_into().ok()
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Option<Vec<u8>> {
        value.as_blob().ok().map(<[u8]>::to_vec)
    }
}

impl FromValue for Timestamp {
    fn from_value(value: ValueRef<'_>) -> Option<Timestamp> {
        value.as_i64().ok().map(Timestamp)
    }
}

impl FromValue for Uid {
    fn from_value(value: ValueRef<'_>) -> Option<Uid> {
        Uid::parse(value.as_str().ok()?)
    }
}

impl FromValue for crate::domain::key::KeyId {
    fn from_value(value: ValueRef<'_>) -> Option<crate::domain::key::KeyId> {
        crate::domain::key::KeyId::parse(value.as_str().ok()?)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Option<Option<T>> {
        match value {
            ValueRef::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
