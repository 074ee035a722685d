//! The leases of the nodes that share a database on a server: one row for each node that uses it. They are written over connections
//! of their own, which no change has to wait for (`postgres/lease.rs`).

use super::{Read, Row};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

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

/// A node by its id, and the name of its machine.
pub type NamedNode = (NodeId, String);

/// The nodes that were in use at some time, by the clock of the server, or later.
pub fn seen_since(read: &Read, at: Timestamp) -> Result<Vec<NamedNode>> {
    read.query(
        "SELECT node, name FROM node_leases WHERE seen_at >= $1 ORDER BY node",
        &[&at],
        named,
    )
}

/// The nodes that were in use within so many milliseconds before the lease of this node was written last, or before the last one of all if
/// it has none. A lease of a node that is gone may be of the future, if the clock of the server was set back.
pub fn live(read: &Read, own: NodeId, within_ms: i64) -> Result<Vec<NamedNode>> {
    read.query(
        "SELECT node, name
         FROM node_leases
         WHERE seen_at >= COALESCE(
             (SELECT seen_at FROM node_leases WHERE node = $1),
             (SELECT max(seen_at) FROM node_leases)) - $2
         ORDER BY node",
        &[&own.to_string(), &within_ms],
        named,
    )
}

fn named(row: &Row<'_>) -> Result<NamedNode> {
    let id: String = row.get("node")?;
    let id = NodeId::parse(&id).ok_or_else(|| Error::internal("a lease without a node"))?;
    Ok((id, row.get("name")?))
}
