//! The older copy that has last taken the place of a database on a server: what the nodes that close it in turn have to agree on.

use super::{Read, Row, Write};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::heads::Head;

/// The copy, as the first node that closed it has found it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OlderCopy {
    /// Its newest event.
    pub newest: Head,
    /// What has changed since then is closed.
    pub copied_at: Timestamp,
}

/// How far a node is with closing the copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClosingState {
    Closed,
    /// The administrator does not expect the node any more.
    Forgotten,
    Waiting,
}

const STATES: [(ClosingState, &str); 3] = [
    (ClosingState::Closed, "closed"),
    (ClosingState::Forgotten, "forgotten"),
    (ClosingState::Waiting, "waiting"),
];

/// A node that may know what the copy does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosingNode {
    pub id: NodeId,
    /// The name of its machine.
    pub name: String,
    pub state: ClosingState,
}

/// The recorded copy.
pub fn find(read: &Read) -> Result<Option<OlderCopy>> {
    read.query_one(
        "SELECT seq, hash, copied_at FROM older_copy WHERE one = 1",
        &[],
        |row: &Row<'_>| {
            Ok(OlderCopy {
                newest: Head {
                    seq: row.get("seq")?,
                    hash: row.get("hash")?,
                },
                copied_at: row.get("copied_at")?,
            })
        },
    )
}

/// Records a copy that no node has closed yet.
pub fn begin(tx: &Write<'_>, copy: &OlderCopy) -> Result<()> {
    tx.execute("DELETE FROM closing_nodes", &[])?;
    tx.execute(
        "INSERT INTO older_copy (one, seq, hash, copied_at)
         VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, copied_at = excluded.copied_at",
        &[&copy.newest.seq, &copy.newest.hash, &copy.copied_at],
    )?;
    Ok(())
}

/// Forgets the recorded copy and its nodes, for a database that begins again.
pub fn clear(tx: &Write<'_>) -> Result<()> {
    tx.execute("DELETE FROM older_copy", &[])?;
    tx.execute("DELETE FROM closing_nodes", &[])?;
    Ok(())
}

/// The nodes, by the names of their machines.
pub fn list(read: &Read) -> Result<Vec<ClosingNode>> {
    read.query(
        "SELECT node, name, state FROM closing_nodes ORDER BY name, node",
        &[],
        |row: &Row<'_>| {
            let (id, state): (String, String) = (row.get("node")?, row.get("state")?);
            let state = STATES.iter().find(|(_, word)| *word == state);
            Ok(ClosingNode {
                id: NodeId::parse(&id).ok_or_else(|| Error::internal("a node without an id"))?,
                name: row.get("name")?,
                // What is not known takes nothing off the list of those that are waited for.
                state: state.map_or(ClosingState::Waiting, |(state, _)| *state),
            })
        },
    )
}

/// Waits for a node, unless something is recorded about it.
pub fn expect(tx: &Write<'_>, id: NodeId, name: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO closing_nodes (node, name, state) VALUES ($1, $2, 'waiting') ON CONFLICT (node) DO NOTHING",
        &[&id.to_string(), &name],
    )?;
    Ok(())
}

/// Records that a node has closed the copy.
pub fn set_closed(tx: &Write<'_>, id: NodeId, name: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO closing_nodes (node, name, state)
         VALUES ($1, $2, 'closed')
         ON CONFLICT (node) DO UPDATE SET name = excluded.name, state = excluded.state",
        &[&id.to_string(), &name],
    )?;
    Ok(())
}

/// Waits no longer for a node; `false` if it was not waited for.
pub fn forget(tx: &Write<'_>, id: NodeId) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE closing_nodes SET state = 'forgotten' WHERE node = $1 AND state = 'waiting'",
        &[&id.to_string()],
    )?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[test]
    fn nodes_are_waited_for_until_they_have_closed_or_are_forgotten() {
        for read in testing::stores() {
            let tx = read.write();
            let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
            let copy = |seq| OlderCopy {
                newest: Head { seq, hash: [7; 32] },
                copied_at: Timestamp(seq * 10),
            };
            assert_eq!(find(&read).unwrap(), None);
            begin(&tx, &copy(5)).unwrap();
            assert_eq!(find(&read).unwrap(), Some(copy(5)));
            set_closed(&tx, one, "a").unwrap();
            expect(&tx, one, "a").unwrap();
            expect(&tx, other, "b").unwrap();
            let states = || {
                let nodes = list(&read).unwrap().into_iter();
                nodes.map(|node| node.state).collect::<Vec<_>>()
            };
            assert_eq!(states(), [ClosingState::Closed, ClosingState::Waiting]);
            assert!(!forget(&tx, one).unwrap());
            assert!(forget(&tx, other).unwrap());
            assert!(!forget(&tx, other).unwrap());
            expect(&tx, other, "b").unwrap();
            assert_eq!(states(), [ClosingState::Closed, ClosingState::Forgotten]);
            // A node that was given up comes back.
            set_closed(&tx, other, "b").unwrap();
            assert_eq!(states(), [ClosingState::Closed, ClosingState::Closed]);
            begin(&tx, &copy(9)).unwrap();
            assert_eq!(
                (find(&read).unwrap(), states()),
                (Some(copy(9)), Vec::new())
            );
            clear(&tx).unwrap();
            assert_eq!(find(&read).unwrap(), None);
        }
    }
}
