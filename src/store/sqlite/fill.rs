//! A new database that another one is copied into, and the tables of the schema.

use super::backup::{close_copy, open_empty};
use super::{APPLICATION_ID, SCHEMA, SCHEMA_VERSION, from_sqlite, settled};
use crate::error::Result;
use crate::store::Read;
use rusqlite::Connection;
use std::path::Path;

/// A table of the schema.
#[derive(Default)]
pub struct TableNames {
    pub name: String,
    /// In their order.
    pub columns: Vec<String>,
    /// Those of the primary key, each after its position in it.
    key: Vec<(i64, String)>,
}

impl TableNames {
    /// The columns of the primary key, in their order in it.
    pub fn key(&self) -> Vec<String> {
        let mut key = self.key.clone();
        key.sort();
        key.into_iter().map(|(_, column)| column).collect()
    }
}

/// The tables of the schema, in the order of their creation.
pub fn tables() -> Result<Vec<TableNames>> {
    let wanted = Connection::open_in_memory().map_err(from_sqlite)?;
    wanted.execute_batch(SCHEMA).map_err(from_sqlite)?;
    let mut statement = wanted
        .prepare(
            "SELECT schema.name, info.name, info.pk
             FROM sqlite_schema AS schema, pragma_table_info(schema.name) AS info
             WHERE schema.type = 'table'
             ORDER BY schema.rowid, info.cid",
        )
        .map_err(from_sqlite)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let mut found: Vec<TableNames> = Vec::new();
    for row in rows.map_err(from_sqlite)? {
        let (name, column, position): (String, String, i64) = row.map_err(from_sqlite)?;
        if found.last().is_none_or(|last| last.name != name) {
            found.push(TableNames {
                name,
                ..TableNames::default()
            });
        }
        if let Some(table) = found.last_mut() {
            if position > 0 {
                table.key.push((position, column.clone()));
            }
            table.columns.push(column);
        }
    }
    Ok(found)
}

/// Makes a database of an empty file ([`open_empty`]), in a transaction that is open, for rows that are not in the order of their
/// references.
pub fn fill(path: &Path) -> Result<Read> {
    let sqlite = settled(open_empty(path)?)?;
    sqlite.batch(&format!(
        "PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE; {SCHEMA};
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
    ))?;
    Ok(sqlite.into())
}

/// Ends what [`fill`] began, after the commit.
pub fn close_filled(read: &Read) -> Result<()> {
    close_copy(&read.sqlite()?.connection)
}
