//! Checks of a file: whether it is an intact Latchkey database of a known version, with exactly the schema of that
//! version.

use super::{APPLICATION_ID, SCHEMA_VERSION, Sqlite, from_sqlite, settled};
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use crate::store::Read;
use crate::store::connection::Foreign;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The statements that create the current schema.
pub(in crate::store) const SCHEMA: &str = include_str!("../../../schema.sql");

/// The length of the header of a database file, which identifies the file.
const HEADER_BYTES: usize = 100;
/// The number of faults that one check reports.
const FAULTS_MAX: usize = 5;

impl Sqlite {
    /// Refuses a database with inconsistent pages.
    pub fn check_whole(&self) -> Result<()> {
        let found: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(from_sqlite)?;
        if found == "ok" {
            return Ok(());
        }
        log::error!("store: {found}");
        Err(Error::Unavailable(verbatim(
            "the database is damaged; restore a backup",
        )))
    }

    /// The faults in the pages, the indexes and the references of the database; empty if there are none. This reads
    /// the whole database.
    pub fn faults(&self) -> Result<Vec<String>> {
        faults(&self.connection)
    }
}

/// Refuses a copy that is not entirely a Latchkey database. `migrate` migrates an older version to the current
/// schema. Foreign objects that have no effect are removed from the copy and returned.
///
/// The copy never gets to run code of its own: foreign triggers and views are found before any statement that could
/// activate them (attacks 195).
pub fn check_backup(
    path: &Path,
    migrate: impl FnOnce(&Read) -> Result<()>,
) -> Result<Vec<Foreign>> {
    check_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // NOFOLLOW refuses symbolic links in every part of the path, so the path is resolved first.
    let real = std::fs::canonicalize(path);
    let real =
        real.map_err(|err| Error::Unavailable(verbatim(format!("{}: {err}", path.display()))))?;
    let read = Read::from(settled(
        Connection::open_with_flags(real, flags).map_err(from_sqlite)?,
    )?);
    let sqlite = read.sqlite()?;
    let version = check_file(&sqlite.connection, path)?;
    if version < SCHEMA_VERSION {
        migrate(&read)?;
    }
    let refused = |what: &str, faults: Vec<String>| match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Unavailable(verbatim(format!(
            "{} {what}: {}; it was not used",
            path.display(),
            faults.join("; ")
        )))),
    };
    let difference = sqlite.difference()?;
    refused(
        "does not have the schema of a Latchkey database",
        difference.refused(),
    )?;
    let left_out = difference.harmless();
    sqlite.leave_out(&left_out)?;
    refused("is damaged", sqlite.faults()?)?;
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

/// The differences of the schema that make a database unusable; empty if there are none. Foreign objects that have no
/// effect do not count.
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

/// Refuses a file that is not a database, not Latchkey's, or newer than this build, before SQLite opens it. Returns the
/// version of its schema.
pub fn check_header(path: &Path) -> Result<i64> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut header))
        .map_err(|err| {
            Error::Unavailable(verbatim(format!(
                "{} cannot be read: {err}",
                path.display()
            )))
        })?;
    match marks(&header) {
        Some((application, version)) => check_marks(path, application, version).map(|()| version),
        None => Err(damaged(path, &"its first page is not a database's")),
    }
}

/// The version of the schema in the header of an open file; `None` if this is not a database of Latchkey.
pub fn version_in_header(file: &File) -> Option<i64> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let (application, version) = marks(&header)?;
    (application == APPLICATION_ID).then_some(version)
}

/// `application_id` and `user_version` of a header; `None` if it is not the header of a database.
fn marks(header: &[u8]) -> Option<(i64, i64)> {
    if header.len() != HEADER_BYTES || !header.starts_with(b"SQLite format 3\0") {
        return None;
    }
    // The offsets are from https://sqlite.org/fileformat.html, 1.3.
    let number = |at: usize| -> Option<i64> {
        let bytes = header.get(at..at + 4)?.try_into().ok()?;
        Some(i64::from(i32::from_be_bytes(bytes)))
    };
    number(68).zip(number(60))
}

/// Does the same as [`check_header`] through SQLite, which includes the content of the log.
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
    Err(Error::Unavailable(verbatim(why)))
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(verbatim(format!(
        "{} is damaged or no database ({why}); restore a backup, the file was left as it is",
        path.display()
    )))
}
