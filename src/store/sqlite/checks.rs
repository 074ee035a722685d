//! Whether a file is what it should be: a database, ours, of a version that is known, whole, and with no other
//! schema than its version's.

use super::{APPLICATION_ID, Read, SCHEMA_VERSION, from_sqlite, settled};
use crate::error::{Error, Result};
use include_flate::flate;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

flate!(static SCHEMA: IFlate from "schema.sql");

/// The first bytes of a database file, which say what it is.
const HEADER_BYTES: usize = 100;
/// Faults that are told of one check.
const FAULTS_MAX: usize = 5;

impl Read {
    /// Refuses a database whose pages do not fit together.
    pub(in crate::store) fn check_whole(&self) -> Result<()> {
        let found: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(from_sqlite)?;
        if found == "ok" {
            return Ok(());
        }
        log::error!("store: {found}");
        Err(Error::Unavailable(
            "the database is damaged; restore a backup".to_owned(),
        ))
    }

    /// What is wrong with the pages, the indexes and the references of the database; empty if nothing is. Reads all of
    /// it.
    pub fn faults(&self) -> Result<Vec<String>> {
        faults(&self.connection)
    }

    /// What differs between the database's schema and the one that this build would make; empty if nothing does.
    pub fn foreign_schema(&self) -> Result<Vec<String>> {
        foreign_schema(self)
    }
}

/// Refuses a copy of a database that is not wholly a Latchkey database. `migrate` brings one of an older version to
/// the current schema.
///
/// Nothing of its own is run on the way: a trigger or view that somebody put in is found before a statement that it
/// could hang on (attacks 195).
pub fn check_backup(path: &Path, migrate: impl FnOnce(&Read) -> Result<()>) -> Result<()> {
    check_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = settled(Connection::open_with_flags(path, flags).map_err(from_sqlite)?)?;
    let version = check_file(&read.connection, path)?;
    if version < SCHEMA_VERSION {
        migrate(&read)?;
    }
    let refused = |what: &str, faults: Vec<String>| match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Unavailable(format!(
            "{} {what}: {}; it was not used",
            path.display(),
            faults.join("; ")
        ))),
    };
    refused(
        "does not have the schema of a Latchkey database",
        read.foreign_schema()?,
    )?;
    refused("is damaged", read.faults()?)
}

fn faults(connection: &Connection) -> Result<Vec<String>> {
    let sql = format!("PRAGMA integrity_check({FAULTS_MAX})");
    let mut found = texts(connection, &sql)?;
    found.retain(|line| line != "ok");
    let mut statement = connection
        .prepare("PRAGMA foreign_key_check")
        .map_err(from_sqlite)?;
    let rows = statement
        .query_map([], |row| {
            let (from, to): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(format!(
                "a row of {from} refers to one of {to} that is missing"
            ))
        })
        .map_err(from_sqlite)?;
    for row in rows.take(FAULTS_MAX) {
        found.push(row.map_err(from_sqlite)?);
    }
    Ok(found)
}

/// The statements that make the current schema.
pub(super) fn schema() -> Result<String> {
    SCHEMA.decode_string().map_err(Error::internal)
}

/// Compares with a database in memory that was made by this build.
pub fn foreign_schema(read: &Read) -> Result<Vec<String>> {
    let connection = &read.connection;
    let wanted = Connection::open_in_memory().map_err(from_sqlite)?;
    wanted.execute_batch(&schema()?).map_err(from_sqlite)?;
    let (wanted, found) = (objects(&wanted)?, objects(connection)?);
    let mut faults = Vec::new();
    for (name, sql) in &found {
        match wanted.get(name) {
            None => faults.push(format!("{} {} does not belong there", name.0, name.1)),
            Some(known) if known != sql => {
                faults.push(format!("{} {} is not what it should be", name.0, name.1));
            }
            Some(_) => {}
        }
    }
    let missing = wanted.keys().filter(|name| !found.contains_key(*name));
    faults.extend(missing.map(|name| format!("{} {} is missing", name.0, name.1)));
    faults.truncate(FAULTS_MAX);
    Ok(faults)
}

type Objects = BTreeMap<(String, String), String>;

/// Tables, indexes, triggers and views by kind and name, each with its table and its definition without comments and
/// blanks.
fn objects(connection: &Connection) -> Result<Objects> {
    let mut statement = connection
        .prepare("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
        .map_err(from_sqlite)?;
    let rows = statement
        .query_map([], |row| {
            let (table, sql): (String, String) = (row.get(2)?, row.get(3)?);
            let definition = format!("{table}: {}", bare(&sql));
            Ok(((row.get(0)?, row.get(1)?), definition))
        })
        .map_err(from_sqlite)?;
    let mut objects = Objects::new();
    for row in rows {
        let (name, definition) = row.map_err(from_sqlite)?;
        objects.insert(name, definition);
    }
    Ok(objects)
}

/// A definition without comments and blanks.
fn bare(sql: &str) -> String {
    let code = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(""));
    code.flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

fn texts(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql).map_err(from_sqlite)?;
    let rows = statement
        .query_map([], |row| row.get(0))
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<Vec<String>>>()
        .map_err(from_sqlite)
}

/// Refuses what is no database, not ours, or newer than this build, before SQLite touches it.
pub fn check_header(path: &Path) -> Result<()> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut header))
        .map_err(|err| Error::Unavailable(format!("{} cannot be read: {err}", path.display())))?;
    let number = |at: usize| -> Option<i64> {
        let bytes = header.get(at..at + 4)?.try_into().ok()?;
        Some(i64::from(i32::from_be_bytes(bytes)))
    };
    let ours = header.starts_with(b"SQLite format 3\0").then(|| {
        // Where SQLite keeps them (https://sqlite.org/fileformat.html, 1.3).
        (number(68), number(60))
    });
    match ours {
        Some((Some(application), Some(version))) if header.len() == HEADER_BYTES => {
            check_marks(path, application, version)
        }
        _ => Err(damaged(path, &"its first page is not a database's")),
    }
}

/// As [`check_header`], with what may still be in the log.
pub(super) fn check_file(connection: &Connection, path: &Path) -> Result<i64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let marks = number("PRAGMA application_id")
        .and_then(|application| Ok((application, number("PRAGMA user_version")?)));
    match marks {
        Ok((application, version)) => check_marks(path, application, version).map(|()| version),
        Err(err) => match err.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Err(damaged(path, &err)),
            _ => Err(from_sqlite(err)),
        },
    }
}

fn check_marks(path: &Path, application: i64, version: i64) -> Result<()> {
    let path = path.display();
    let why = if application != APPLICATION_ID {
        format!("{path} is not a Latchkey database; it was left as it is")
    } else if version > SCHEMA_VERSION {
        format!(
            "{path} was written by a newer Latchkey (schema {version}, this build knows {SCHEMA_VERSION}); \
             start that version, the file was left as it is"
        )
    } else if version < 1 {
        format!("{path} has schema {version}, which no release ever wrote; restore a backup")
    } else {
        return Ok(());
    };
    Err(Error::Unavailable(why))
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!(
        "{} is damaged or no database ({why}); restore a backup, the file was left as it is",
        path.display()
    ))
}
