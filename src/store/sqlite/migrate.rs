//! From an older schema to the current one: all steps in one transaction, so that a file is old or new.
//!
//! A step is SQL. What it leaves behind must be what `schema.sql` would have made, comments and blanks aside; a step
//! that alters a table in another way makes the table anew. That is checked before the commit.

use super::{SCHEMA_VERSION, from_sqlite};
use crate::error::{Error, Result};
use rusqlite::Connection;
use std::path::Path;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// The version that it leads to, from the one before.
    pub to: i64,
    pub sql: &'static str,
}

/// Every step there is, in order. There is none: the first release has schema 1.
pub const STEPS: &[Step] = &[];

/// Brings an older database to the current schema, or leaves it as it is.
pub fn run(connection: &Connection, path: &Path, steps: &[Step]) -> Result<()> {
    let version = version(connection)?;
    let refused = |why: String| {
        Err(Error::Unavailable(format!(
            "{} has schema {version} and could not be brought to {SCHEMA_VERSION}: {why}; it was left as it is, start the \
             version that wrote it and look for help",
            path.display()
        )))
    };
    let begun = connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE");
    let ended = begun
        .map_err(|err| err.to_string())
        .and_then(|()| carry_out(connection, version, steps))
        .and_then(|()| {
            let commit = connection.execute_batch("COMMIT");
            commit.map_err(|err| err.to_string())
        });
    if ended.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    let restored = connection.execute_batch("PRAGMA foreign_keys = ON");
    match ended {
        Err(why) => refused(why),
        Ok(()) => {
            log::info!("store: the database was brought from schema {version} to {SCHEMA_VERSION}");
            restored.map_err(from_sqlite)
        }
    }
}

fn carry_out(
    connection: &Connection,
    mut version: i64,
    steps: &[Step],
) -> std::result::Result<(), String> {
    let from = version;
    for step in steps.iter().filter(|step| step.to > from) {
        if step.to != version + 1 {
            break;
        }
        let sql = format!("{}; PRAGMA user_version = {};", step.sql, step.to);
        let done = connection.execute_batch(&sql);
        done.map_err(|err| format!("the step to {} failed ({err})", step.to))?;
        version = step.to;
    }
    if version != SCHEMA_VERSION {
        return Err(format!("there is no step from {version}"));
    }
    let told = |err: Error| err.to_string();
    let mut faults = super::checks::foreign_schema(connection).map_err(told)?;
    if faults.is_empty() {
        faults = super::checks::faults(connection).map_err(told)?;
    }
    match faults.first() {
        None => Ok(()),
        Some(_) => Err(faults.join("; ")),
    }
}

fn version(connection: &Connection) -> Result<i64> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(from_sqlite)
}
