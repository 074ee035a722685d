//! The end of the audit log's chain, as a transaction knows it.

use super::Read;
use crate::domain::audit::GENESIS;
use crate::domain::time::Timestamp;

/// An event by its number and its hash, which also depends on all events before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    pub seq: i64,
    pub hash: [u8; 32],
}

impl Head {
    /// The end of a chain without events.
    pub const NONE: Head = Head {
        seq: 0,
        hash: GENESIS,
    };
}

/// The newest event in a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainEnd {
    pub head: Head,
    /// The time of the event; `None` if it was not read.
    pub at: Option<Timestamp>,
    /// The number of the newest event before the transaction.
    pub before: i64,
    /// No other node adds an event before the transaction ends, so the end of the chain need not be read again.
    pub is_locked: bool,
}

impl ChainEnd {
    /// The end of a chain to which no other node adds an event meanwhile.
    pub fn locked(head: Option<Head>) -> ChainEnd {
        let head = head.unwrap_or(Head::NONE);
        ChainEnd {
            head,
            at: None,
            before: head.seq,
            is_locked: true,
        }
    }

    /// Whether the transaction has added events.
    pub fn has_new(&self) -> bool {
        self.head.seq > self.before
    }
}

impl Read {
    /// The newest event in the transaction of the writer, until the next one begins. `None` in a file without a new event, and
    /// where only queries run.
    pub fn chain_end(&self) -> Option<ChainEnd> {
        self.chain_end.get()
    }

    pub(in crate::store) fn set_chain_end(&self, end: Option<ChainEnd>) {
        self.chain_end.set(end);
    }

    /// The newest event that the transaction has added.
    pub(in crate::store) fn new_events_end(&self) -> Option<Head> {
        let end = self.chain_end().filter(ChainEnd::has_new);
        end.map(|end| end.head)
    }
}
