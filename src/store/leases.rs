//! The leases of the nodes that share a database on a server: one row for each node that uses it. They are written over connections
//! of their own, which no change has to wait for (`postgres/lease.rs`).

use super::{Read, Row};
use crate::error::Result;

/// A lease, for the administrator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseRow {
    /// The name of the machine.
    pub name: String,
    /// Of the program.
    pub version: String,
}

/// All leases, by the names of their machines.
pub fn list(read: &Read) -> Result<Vec<LeaseRow>> {
    read.query(
        "SELECT name, version FROM node_leases ORDER BY name, node",
        &[],
        |row: &Row<'_>| {
            Ok(LeaseRow {
                name: row.get("name")?,
                version: row.get("version")?,
            })
        },
    )
}
