//! Whether a file is what it should be: a database, ours, of a version that is known, whole, and with no other
//! schema than its version's.

use super::foreign::Foreign;
use super::{APPLICATION_ID, Read, SCHEMA_VERSION, from_sqlite, settled};
use crate::error::{Error, Result};
use include_flate::flate;
use rusqlite::{Connection, ErrorCode, OpenFlags};
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
}

/// Refuses a copy of a database that is not wholly a Latchkey database. `migrate` brings one of an older version to
/// the current schema. What is not Latchkey's and changes nothing is removed from the copy and returned.
///
/// Nothing of its own is run on the way: a trigger or view that somebody put in is found before a statement that it
/// could hang on (attacks 195).
pub fn check_backup(
    path: &Path,
    migrate: impl FnOnce(&Read) -> Result<()>,
) -> Result<Vec<Foreign>> {
    check_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // With NOFOLLOW no part of the path may be a link.
    let real = std::fs::canonicalize(path);
    let real = real.map_err(|err| Error::Unavailable(format!("{}: {err}", path.display())))?;
    let read = settled(Connection::open_with_flags(real, flags).map_err(from_sqlite)?)?;
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
    let difference = read.difference()?;
    refused(
        "does not have the schema of a Latchkey database",
        difference.refused(),
    )?;
    let left_out = difference.harmless();
    read.leave_out(&left_out)?;
    refused("is damaged", read.faults()?)?;
    Ok(left_out)
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

/// What of the schema makes a database one that cannot be used; empty if nothing does. What is not Latchkey's and
/// changes nothing does not count.
pub fn foreign_schema(read: &Read) -> Result<Vec<String>> {
    Ok(read.difference()?.refused())
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
