//! The older copy that has last taken the place of a database on a server: what the nodes that close it in turn have to agree on. It
//! stays recorded, for nodes that were away meanwhile.

use super::{Read, Row, Write, audit};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::{Mark, Tombstones, short};
use crate::error::{Error, Result};
use crate::store::heads::Head;

/// How much earlier than a copy a tombstone file must end if it certainly knows nothing that the copy lacks: clocks of nodes differ.
const EARLIER_MS: i64 = 120_000;

/// The copy, as the first node that closed it has recorded it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OlderCopy {
    /// The event with which that node has closed it. The log that goes on has it, and no other log does.
    pub closed_by: Head,
    /// When it was made, or an earlier copy before it: a node that missed one of them may have missed all.
    pub copied_at: Timestamp,
}

impl OlderCopy {
    /// Whether a tombstone file belongs to the log that went on with the copy.
    pub fn is_known_to(&self, known: &Tombstones) -> bool {
        let Head { seq, hash } = &self.closed_by;
        known.marks.has(*seq, short(hash))
    }

    /// Whether a tombstone file ends before the copy was made. If the clock was ever corrected, its times do not show that.
    pub fn is_later_than(&self, known: &Tombstones) -> bool {
        let end = known.mark.map_or(i64::MAX, |mark| mark.at.0);
        known.clocks.is_empty() && end < self.copied_at.0 - EARLIER_MS
    }
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
                closed_by: Head {
                    seq: row.get("seq")?,
                    hash: row.get("hash")?,
                },
                copied_at: row.get("copied_at")?,
            })
        },
    )
}

/// Records a copy.
pub fn replace(tx: &Write<'_>, copy: &OlderCopy) -> Result<()> {
    tx.execute(
        "INSERT INTO older_copy (one, seq, hash, copied_at)
         VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO UPDATE
         SET seq = excluded.seq, hash = excluded.hash,
             copied_at = CASE WHEN older_copy.copied_at < excluded.copied_at
                              THEN older_copy.copied_at ELSE excluded.copied_at END",
        &[&copy.closed_by.seq, &copy.closed_by.hash, &copy.copied_at],
    )?;
    Ok(())
}

/// Forgets which nodes have closed the copy before. A node that had not closed that one may know what both lack.
pub fn forget_closed(tx: &Write<'_>) -> Result<()> {
    tx.execute("DELETE FROM closing_nodes WHERE state <> 'waiting'", &[])?;
    Ok(())
}

/// Forgets all nodes, for a database that begins again.
pub fn forget_nodes(tx: &Write<'_>) -> Result<()> {
    tx.execute("DELETE FROM closing_nodes", &[])?;
    Ok(())
}

/// The mark of the event that has closed the copy, if it comes after this event and was deleted from the log.
pub fn cut_closing(read: &Read, after: i64) -> Result<Option<Mark>> {
    if !read.is_shared() {
        return Ok(None);
    }
    let Some(copy) = find(read)?.filter(|copy| copy.closed_by.seq > after) else {
        return Ok(None);
    };
    let seq = copy.closed_by.seq;
    let is_cut = audit::checkpoint(read)?.is_some_and(|cut| cut.seq >= seq);
    Ok(is_cut.then(|| Mark {
        // The event is later, but nothing has its time any more.
        at: copy.copied_at,
        seq,
        hash: short(&copy.closed_by.hash),
    }))
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
            let copy = |seq, at| OlderCopy {
                closed_by: Head { seq, hash: [7; 32] },
                copied_at: Timestamp(at),
            };
            assert_eq!(find(&read).unwrap(), None);
            replace(&tx, &copy(5, 50)).unwrap();
            assert_eq!(find(&read).unwrap(), Some(copy(5, 50)));
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
            // Another copy; a node that has not closed the first one is still waited for.
            expect(&tx, NodeId([3; 16]), "c").unwrap();
            replace(&tx, &copy(9, 90)).unwrap();
            forget_closed(&tx).unwrap();
            assert_eq!(find(&read).unwrap(), Some(copy(9, 50)));
            assert_eq!(states(), [ClosingState::Waiting]);
            replace(&tx, &copy(12, 20)).unwrap();
            assert_eq!(find(&read).unwrap(), Some(copy(12, 20)));
            forget_nodes(&tx).unwrap();
            assert_eq!(states(), []);
        }
    }

    #[test]
    fn a_file_belongs_to_the_log_by_the_event_that_closed_the_copy_or_ends_before_the_copy() {
        let copy = OlderCopy {
            closed_by: Head {
                seq: 9,
                hash: [7; 32],
            },
            copied_at: Timestamp(1_000_000),
        };
        let known = |at, seq, hash: u8| {
            let mut known = Tombstones::default();
            known.add_mark(Mark {
                at: Timestamp(at),
                seq,
                hash: short(&[hash; 32]),
            });
            known
        };
        assert!(copy.is_known_to(&known(1, 9, 7)));
        assert!(!copy.is_known_to(&known(1, 9, 8)));
        assert!(!copy.is_known_to(&known(1, 8, 7)));
        let before = copy.copied_at.0 - EARLIER_MS;
        assert!(!copy.is_later_than(&known(before, 3, 1)));
        let mut earlier = known(before - 1, 3, 1);
        assert!(copy.is_later_than(&earlier));
        earlier.clocks.insert(2, Timestamp(1));
        assert!(!copy.is_later_than(&earlier));
    }
}
