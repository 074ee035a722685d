//! The schema of a database that several nodes use, and bringing it to that of this program. A file needs no such thing: the program
//! that opens it migrates it.

use super::{Database, Read, Row, Store, sqlite};
use crate::domain::audit::Event;
use crate::domain::keys::keyfile::KeyFiles;
use crate::error::{Error, Result};
use crate::refusals;
use std::path::Path;

/// A node and its program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeProgram {
    /// The name of its machine.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// That the program was made for.
    pub schema: i64,
}

/// Which schema a database has, and which one this program was made for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SchemaState {
    pub version: i64,
    pub wanted: i64,
    /// The nodes in use.
    pub nodes: Vec<NodeProgram>,
}

impl SchemaState {
    /// Refuses to bring the schema to that of this program as long as a node in use has an older one.
    pub fn check_nodes(&self) -> Result<()> {
        let older = self.nodes.iter().filter(|node| node.schema < self.wanted);
        let older: Vec<String> = older.map(NodeProgram::shown).collect();
        match older.is_empty() || self.version >= self.wanted {
            true => Ok(()),
            false => Err(Error::Conflict(refusals::server::older_nodes(
                older.join(", "),
                self.wanted,
            ))),
        }
    }
}

impl NodeProgram {
    fn shown(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl Store {
    /// Whether a copy in a file has an older schema than the one that this program was made for.
    pub fn is_older(copy: &Path) -> Result<bool> {
        Ok(sqlite::check_header(copy)? < sqlite::SCHEMA_VERSION)
    }

    /// The schema of a database on a server, and the nodes that were in use within the last `live_ms` milliseconds.
    ///
    /// # Errors
    /// `Conflict` if the database is a file.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file is used by one program")
    )]
    pub fn schema_state(&self, live_ms: i64) -> Result<SchemaState> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => self.read(|read| super::postgres::schema_state(read, live_ms)),
            Database::Sqlite(_) => Err(of_file()),
        }
    }

    /// Brings the schema of a database on a server to that of this program, and returns what was there before. `draft` is the event
    /// without what has changed.
    ///
    /// # Errors
    /// `Conflict` if the database is a file, or if the program of a node in use is older.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file is used by one program")
    )]
    pub fn upgrade_schema(
        &self,
        files: &KeyFiles,
        live_ms: i64,
        draft: &Event,
    ) -> Result<SchemaState> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => {
                super::postgres::upgrade_schema(address, files, live_ms, draft)
            }
            Database::Sqlite(_) => Err(of_file()),
        }
    }
}

fn of_file() -> Error {
    Error::Conflict(refusals::server::schema_of_file())
}

/// The schema of a database, and the one that this program was made for.
pub fn versions(read: &Read) -> Result<(i64, i64)> {
    Ok((read.version()?, sqlite::SCHEMA_VERSION))
}

/// The nodes in use that have an older program than one of this schema: seen within so many milliseconds before the lease that was
/// written last.
pub fn older_nodes(read: &Read, within_ms: i64, schema: i64) -> Result<Vec<String>> {
    read.query(
        "SELECT name, version, schema
         FROM node_leases
         WHERE seen_at >= (SELECT max(seen_at) FROM node_leases) - $1 AND schema < $2
         ORDER BY name, node",
        &[&within_ms, &schema],
        |row: &Row<'_>| {
            let node = NodeProgram {
                name: row.get("name")?,
                version: row.get("version")?,
                schema: row.get("schema")?,
            };
            Ok(node.shown())
        },
    )
}
