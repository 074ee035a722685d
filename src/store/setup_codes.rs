//! The codes with which the first owner's password is set in the console, where several nodes share the database: each node shows
//! one of its own, and any node accepts it. Only seals of them are stored.

use super::{Read, Row, Write};
use crate::domain::nodes::NodeId;
use crate::error::Result;

/// Stores the seal of the code that a node shows, instead of that of the one before.
pub fn replace(tx: &Write<'_>, node: NodeId, seal: &[u8; 32]) -> Result<()> {
    tx.execute(
        "INSERT INTO setup_codes (node, seal)
         VALUES ($1, $2)
         ON CONFLICT (node) DO UPDATE SET seal = excluded.seal",
        &[&node.to_string(), seal],
    )?;
    Ok(())
}

/// The seals of all codes.
pub fn list(read: &Read) -> Result<Vec<[u8; 32]>> {
    read.query(
        "SELECT seal FROM setup_codes ORDER BY node",
        &[],
        |row: &Row<'_>| row.get("seal"),
    )
}

/// Ends all codes.
pub fn delete_all(tx: &Write<'_>) -> Result<()> {
    tx.execute("DELETE FROM setup_codes", &[])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[test]
    fn each_node_has_one_code() {
        for read in testing::stores() {
            let tx = read.write();
            for (node, seal) in [(1, 1), (2, 2), (1, 3)] {
                replace(&tx, NodeId([node; 16]), &[seal; 32]).unwrap();
            }
            assert_eq!(list(&read).unwrap(), [[3; 32], [2; 32]]);
            delete_all(&tx).unwrap();
            assert!(list(&read).unwrap().is_empty());
        }
    }
}
