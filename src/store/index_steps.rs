//! The steps by which an index keeps up with a database: after a change of this process, and after those of other nodes.

use super::Read;
use super::heads::Head;
use super::tombstones::SharedTombstoneFile;
use crate::domain::audit::Target;
use crate::error::Result;
use std::sync::Arc;

/// Prepares the index for what a transaction touched, reading inside that transaction. The returned closure puts the
/// new content in place and cannot fail.
pub type Publish = Box<dyn Fn(&Read, &[Target]) -> Result<Box<dyn FnOnce()>> + Send>;

/// Lets the index follow what other nodes have committed. `false` means that the index is not at the end yet, because one step only
/// goes so far. The next step must then not be under the lock on the newest event, for which the other nodes wait.
pub type Follow = Arc<dyn Fn(&Read, &SharedTombstoneFile, Within) -> Result<bool> + Send + Sync>;

/// The newest event whose changes the index has; `None` before it is loaded.
pub type Known = Arc<dyn Fn() -> Option<Head> + Send + Sync>;

/// Where an index follows other nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Within {
    /// As [`Within::HeadLock`], for closing an older copy: that the index knows another log is no error, and the index stays as it is.
    Closing,
    /// In a transaction of the writer: no other node commits anything before it ends.
    HeadLock,
    /// In a transaction that sees one state of the database, which begins when no one else changes the index.
    Snapshot,
}

/// What keeps the index up to date.
pub struct IndexSteps {
    pub publish: Publish,
    pub follow: Follow,
    pub known: Known,
}

impl IndexSteps {
    /// Those of an index that does not follow other nodes.
    pub fn alone(publish: Publish) -> IndexSteps {
        IndexSteps {
            publish,
            follow: Arc::new(|_, _, _| Ok(true)),
            known: Arc::new(|| None),
        }
    }
}
