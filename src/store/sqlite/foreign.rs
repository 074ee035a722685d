//! Foreign objects in a database: tables of replication tools, statistics of `ANALYZE`, and objects that could do
//! harm.
//!
//! An object that cannot change what Latchkey does stays in the database, is left out of backups and restores, and is
//! reported: tables that do not refer to Latchkey's tables, SQLite's own statistics, and indexes that neither refuse
//! rows nor compute anything. Everything else is refused: triggers, views, virtual tables, unique indexes, and tables
//! that refer to Latchkey's tables.

use super::checks::SCHEMA;
use super::{Sqlite, from_sqlite};
use crate::error::Result;
use crate::store::connection::{Difference, Foreign};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// SQLite creates this table for foreign tables with AUTOINCREMENT, and never removes it.
const SEQUENCES: &str = "sqlite_sequence";

impl Sqlite {
    /// Compares this database with an in-memory database that this build creates.
    pub fn difference(&self) -> Result<Difference> {
        let connection = &self.connection;
        let wanted = Connection::open_in_memory().map_err(from_sqlite)?;
        wanted.execute_batch(SCHEMA).map_err(from_sqlite)?;
        let (wanted, found) = (objects(&wanted)?, objects(connection)?);
        let mut difference = Difference::default();
        for (key, object) in &found {
            let (kind, name) = key;
            match wanted.get(key) {
                Some(known) if known.definition != object.definition => {
                    let fault = format!("{kind} {name} is not what it should be");
                    difference.faults.push(fault);
                }
                Some(_) => {}
                // The index is created and removed together with its foreign table.
                None if kind == "index" && !is_ours(&wanted, &object.table) => {}
                None if name == SEQUENCES => {}
                None => {
                    let is_harmless = is_harmless(connection, &wanted, key, object)?;
                    let foreign = Foreign::new(kind, name, is_harmless);
                    difference.foreign.push(foreign);
                }
            }
        }
        let missing = wanted.keys().filter(|key| !found.contains_key(*key));
        let missing = missing.map(|(kind, name)| format!("{kind} {name} is missing"));
        difference.faults.extend(missing);
        Ok(difference)
    }

    /// Triggers and views. Latchkey has none; foreign ones would run with the statements of a migration.
    pub fn active_objects(&self) -> Result<Vec<Foreign>> {
        let sql = "SELECT type AS kind, name FROM sqlite_schema WHERE type IN ('trigger', 'view')";
        let mut found = Vec::new();
        self.each(sql, &[], &mut |row| {
            let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
            found.push(Foreign::new(&kind, &name, false));
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes foreign objects and their content from a copy. The names come from the copy itself, so these
    /// statements cannot be literals.
    pub(super) fn leave_out(&self, foreign: &[Foreign]) -> Result<()> {
        if foreign.is_empty() {
            return Ok(());
        }
        self.batch("PRAGMA secure_delete = ON; PRAGMA foreign_keys = OFF; BEGIN")?;
        for object in foreign {
            self.batch(object.statement())?;
        }
        // What is deleted is overwritten, but moving the remaining rows of a page leaves copies of others in its free space.
        self.batch("COMMIT; PRAGMA temp_store = FILE; VACUUM; PRAGMA foreign_keys = ON")
    }
}

/// The table of an object, and its definition.
struct Object {
    table: String,
    definition: String,
}

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Object>;

fn is_ours(wanted: &Objects, table: &str) -> bool {
    let mut names = wanted.keys().filter(|(kind, _)| kind == "table");
    names.any(|(_, name)| name.eq_ignore_ascii_case(table))
}

fn is_harmless(
    connection: &Connection,
    wanted: &Objects,
    (kind, name): &(String, String),
    object: &Object,
) -> Result<bool> {
    match kind.as_str() {
        "table"
            if object
                .definition
                .to_uppercase()
                .contains(":CREATEVIRTUALTABLE") =>
        {
            Ok(false)
        }
        "table" => {
            let sql = "SELECT \"table\" FROM pragma_foreign_key_list(?1)";
            let parents = texts(connection, sql, name)?;
            Ok(!parents.iter().any(|parent| is_ours(wanted, parent)))
        }
        "index" => {
            let sql = "SELECT CASE WHEN \"unique\" = 0 AND partial = 0 THEN 'plain' ELSE 'not' END
                       FROM pragma_index_list((SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?1))
                       WHERE name = ?1";
            let is_plain = texts(connection, sql, name)? == ["plain"];
            // An index on an expression refuses rows when the expression fails. The same is true for a collation that
            // this build does not know.
            let sql = "SELECT CASE WHEN cid = -2 OR coll NOT IN ('BINARY', 'NOCASE', 'RTRIM') THEN 'not' ELSE 'plain' END
                       FROM pragma_index_xinfo(?1)";
            let columns = texts(connection, sql, name)?;
            Ok(is_plain && columns.iter().all(|column| column == "plain"))
        }
        _ => Ok(false),
    }
}

/// Tables, indexes, triggers and views by kind and name, each with its table and its definition without comments and
/// white space.
fn objects(connection: &Connection) -> Result<Objects> {
    let mut statement = connection
        .prepare("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")
        .map_err(from_sqlite)?;
    let rows = statement
        .query_map([], |row| {
            let (table, sql): (String, String) = (row.get(2)?, row.get(3)?);
            let object = Object {
                definition: format!("{table}:{}", bare(&sql)),
                table,
            };
            Ok(((row.get(0)?, row.get(1)?), object))
        })
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<Objects>>()
        .map_err(from_sqlite)
}

/// A definition without comments and white space.
fn bare(sql: &str) -> String {
    let code = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(""));
    code.flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

fn texts(connection: &Connection, sql: &str, name: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql).map_err(from_sqlite)?;
    let rows = statement
        .query_map([name], |row| row.get(0))
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<Vec<String>>>()
        .map_err(from_sqlite)
}

#[cfg(test)]
mod tests {
    use super::super::in_memory;
    use super::*;

    /// What is found after these statements: (left out, refused).
    fn found(statements: &str) -> (Vec<String>, Vec<String>) {
        let read = in_memory().unwrap();
        read.batch(statements).unwrap();
        let difference = read.difference().unwrap();
        let harmless = difference.harmless().iter().map(Foreign::shown).collect();
        (harmless, difference.refused())
    }

    #[test]
    fn what_cannot_change_anything_is_left_out_and_all_else_is_refused() {
        assert_eq!(found(""), (vec![], vec![]));
        for (statements, name) in [
            ("CREATE TABLE a (x, y REFERENCES a (x))", "table a"),
            (
                "CREATE TABLE \"o'dd \"\"name\" (x UNIQUE)",
                "table o\\'dd \\\"name",
            ),
            (
                "CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT)",
                "table a",
            ),
            (
                "CREATE TABLE a (x); CREATE UNIQUE INDEX b ON a (x) WHERE x > 1",
                "table a",
            ),
            ("ANALYZE", "table sqlite_stat1"),
            ("CREATE INDEX i ON keys (name, created_at DESC)", "index i"),
        ] {
            assert_eq!(
                found(statements),
                (vec![name.to_owned()], vec![]),
                "{statements}"
            );
        }
        for (statements, name) in [
            (
                "CREATE TRIGGER t AFTER INSERT ON keys BEGIN SELECT 1; END",
                "trigger t",
            ),
            (
                "CREATE TABLE a (x); CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END",
                "trigger t",
            ),
            ("CREATE VIEW v AS SELECT 1", "view v"),
            ("CREATE UNIQUE INDEX i ON keys (name)", "index i"),
            ("CREATE INDEX i ON keys (name) WHERE name > 'a'", "index i"),
            ("CREATE INDEX i ON keys (abs(number))", "index i"),
            ("CREATE TABLE a (x TEXT REFERENCES keys (id))", "table a"),
            ("CREATE TABLE a (x TEXT REFERENCES KEYS (id))", "table a"),
            ("DROP INDEX keys_owner", "index keys_owner"),
            ("ALTER TABLE keys ADD COLUMN more TEXT", "table keys"),
        ] {
            let (_, refused) = found(statements);
            assert!(
                refused.iter().any(|it| it.starts_with(name)),
                "{statements}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_copy_loses_what_is_not_ours_with_its_content_and_keeps_the_rest() {
        let read = in_memory().unwrap();
        let make = "CREATE TABLE \"a\"\"b\" (x INTEGER PRIMARY KEY AUTOINCREMENT, y REFERENCES c (z));
                    CREATE TABLE c (z PRIMARY KEY); CREATE INDEX d ON c (z); CREATE INDEX e ON users (user_name);
                    INSERT INTO c VALUES (1); INSERT INTO \"a\"\"b\" VALUES (1, 1); ANALYZE";
        read.batch(make).unwrap();
        let harmless = read.difference().unwrap().harmless();
        assert_eq!(harmless.len(), 4, "{harmless:?}");
        read.sqlite().unwrap().leave_out(&harmless).unwrap();
        let left = read.difference().unwrap();
        assert!(
            left.foreign.is_empty() && left.refused().is_empty(),
            "{left:?}"
        );
        assert!(read.faults().unwrap().is_empty());
    }
}
