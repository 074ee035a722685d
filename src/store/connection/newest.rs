//! The newest event of the audit log, as far as the open transaction knows it.

use super::{Read, Write};
use crate::domain::time::Timestamp;

/// The newest event.
#[derive(Clone, Copy)]
pub struct Newest {
    pub seq: i64,
    pub hash: [u8; 32],
    pub at: Option<Timestamp>,
}

impl Read {
    /// Forgets the event: it may be undone, or another transaction may append one.
    pub(super) fn forget_newest(&self) {
        self.newest.set(None);
    }
}

impl Write<'_> {
    /// The event that this transaction has appended last; `None` if it has to be read.
    pub(in crate::store) fn newest(&self) -> Option<Newest> {
        self.read.newest.get()
    }

    /// Notes the event that was appended.
    pub(in crate::store) fn note_newest(&self, newest: Newest) {
        self.read.newest.set(Some(newest));
    }
}
