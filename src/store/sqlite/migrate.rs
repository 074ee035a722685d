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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process::Command;

    /// Names the database of the process that [`killed_at_any_step_a_database_is_old_or_new`] starts.
    const DATABASE: &str = "LATCHKEY_TEST_MIGRATE";

    /// From a schema that was never released, which lacks an index and calls a column otherwise.
    const GOOD: &[Step] = &[Step {
        to: 1,
        sql: "CREATE INDEX keys_owner ON keys (owner_uid) WHERE owner_uid IS NOT NULL;
              ALTER TABLE clock RENAME COLUMN latest TO mark;
              UPDATE clock SET mark = mark + 1",
    }];

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("latchkey-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A database of the older schema, with a log as a server keeps it.
    fn older(folder: &Path) -> PathBuf {
        let path = folder.join("db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.join(format!("db{suffix}")));
        }
        super::super::create(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 DROP INDEX keys_owner;
                 ALTER TABLE clock RENAME COLUMN mark TO latest;
                 INSERT INTO clock (one, latest) VALUES (1, 41);
                 PRAGMA user_version = 0;",
            )
            .unwrap();
        path
    }

    /// The version, and the value that the good step raises by one.
    fn state(path: &Path) -> (i64, i64) {
        let connection = Connection::open(path).unwrap();
        let version = version(&connection).unwrap();
        let sql = match version {
            0 => "SELECT latest FROM clock",
            _ => "SELECT mark FROM clock",
        };
        let faults = super::super::checks::faults(&connection).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        (
            version,
            connection.query_row(sql, [], |row| row.get(0)).unwrap(),
        )
    }

    #[test]
    fn an_older_database_is_brought_to_the_current_schema() {
        let folder = folder("good");
        let path = older(&folder);
        let connection = Connection::open(&path).unwrap();
        run(&connection, &path, GOOD).unwrap();
        drop(connection);
        assert_eq!(state(&path), (1, 42));
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn what_goes_wrong_leaves_the_database_as_it_was() {
        let folder = folder("bad");
        let cases: [(&[Step], &str); 4] = [
            (&[], "there is no step"),
            (
                &[Step {
                    to: 1,
                    sql: "NONSENSE",
                }],
                "the step to 1 failed",
            ),
            (
                &[Step {
                    to: 1,
                    sql: "DELETE FROM clock; DROP TABLE clock",
                }],
                "is missing",
            ),
            (&[Step { to: 2, sql: "" }], "there is no step"),
        ];
        for (steps, words) in cases {
            let path = older(&folder);
            let connection = Connection::open(&path).unwrap();
            let refused = run(&connection, &path, steps).unwrap_err().to_string();
            assert!(
                refused.contains(words) && refused.contains("left as it is"),
                "{refused}"
            );
            drop(connection);
            assert_eq!(state(&path), (0, 41), "{words}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    // attacks 212, 227
    #[test]
    fn killed_at_any_step_a_database_is_old_or_new() {
        if let Some(path) = std::env::var_os(DATABASE) {
            let path = PathBuf::from(path);
            let connection = Connection::open(&path).unwrap();
            return run(&connection, &path, GOOD).unwrap();
        }
        let folder = folder("killed");
        let library = folder.join("killed.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg("tests/server/keeping/killed.c")
            .status();
        if !built.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
                "there is no C compiler"
            );
            return println!("left out: there is no C compiler");
        }
        let (mut old, mut new) = (0, 0);
        for step in 1..1_000 {
            let path = older(&folder);
            let output = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "store::sqlite::migrate::tests::killed_at_any_step_a_database_is_old_or_new",
                ])
                .env(DATABASE, &path)
                .env("LD_PRELOAD", &library)
                .env("LATCHKEY_TEST_KILL_AT", step.to_string())
                .output()
                .unwrap();
            match state(&path) {
                (0, 41) => old += 1,
                (1, 42) => new += 1,
                other => panic!("step {step}: {other:?}"),
            }
            if output.status.code().is_some() {
                assert!(output.status.success(), "{output:?}");
                break;
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
        let _ = std::fs::remove_dir_all(folder);
    }
}
