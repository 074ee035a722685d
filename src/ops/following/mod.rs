//! Following other nodes: the index gets what they have committed, by the events of the log between the one that the index has and
//! the newest one.
//!
//! The writer follows under the lock on the newest event, before a change looks at the index. A thread follows at all other times
//! (`store::follower`). What the events name is read as it is now, so nothing depends on what is in between. If they name more than
//! they list, or some of them were deleted meanwhile, the index is loaded again as a whole. If the log does not have the event that
//! the index has, it is another log: then nothing is taken over.

#[cfg(test)]
#[cfg(feature = "postgres")]
pub mod cluster;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod relay;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests;

use super::applier::{Applier, Forked};
use super::index_updates::{self, AllKeys};
use crate::domain::locks::lock;
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::heads::{self, Gap, Head};
use crate::store::older_copy::{self, ClosingState};
use crate::store::tombstones::SharedTombstoneFile;
use crate::store::{Read, Within, sessions};
use std::collections::HashSet;
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The number of events that one step follows.
const EVENTS_MAX: u32 = 1_000;
/// The number of things that one step under the lock reads.
const TARGETS_UNDER_LOCK_MAX: usize = 2_000;

impl Applier {
    /// Brings the index on, as [`crate::store::Follow`] describes.
    ///
    /// # Errors
    /// `Unavailable` if the database has another log ([`Forked`]).
    pub fn follow(
        self: &Arc<Self>,
        read: &Read,
        book: &SharedTombstoneFile,
        within: Within,
    ) -> Result<bool> {
        if self.is_left_to_packs() {
            return Ok(true);
        }
        match within {
            Within::Closing | Within::HeadLock => {
                let end = read.chain_end();
                let end = end.ok_or_else(|| Error::internal("the newest event is not locked"))?;
                // Loading everything again takes long. Meanwhile the other nodes must not wait for the lock.
                let Some(_turn) = self.begin_soon() else {
                    return Ok(false);
                };
                let followed = self.follow_to(read, book, end.head, Within::HeadLock);
                let is_closing = within == Within::Closing;
                if is_closing && self.fork().is_some() {
                    return Ok(true);
                }
                if !is_closing && self.is_waiting() {
                    return Err(self.waits_for_nodes());
                }
                followed
            }
            Within::Snapshot => {
                let check = self.checks.fetch_add(1, Relaxed) + 1;
                let is_at_end = self.follow_in_snapshot(read, book)?;
                if is_at_end {
                    self.confirmed.fetch_max(check, Release);
                }
                Ok(is_at_end)
            }
        }
    }

    fn follow_in_snapshot(
        self: &Arc<Self>,
        read: &Read,
        book: &SharedTombstoneFile,
    ) -> Result<bool> {
        if self.is_at(heads::newest(read)?) {
            return Ok(true);
        }
        // What is read before the turn could replace what is committed before it.
        let _turn = self.begin();
        read.in_snapshot(|read| {
            let head = heads::newest(read)?;
            self.follow_to(read, book, head, Within::Snapshot)
        })
    }

    /// Loads everything from a database whose older copy this node has closed, and follows its log from now on.
    pub fn take_over(self: &Arc<Self>, read: &Read) -> Result<()> {
        let _turn = self.begin();
        read.in_snapshot(|read| {
            let head = heads::newest(read)?;
            self.load_again(read, head)
        })?;
        lock(&self.progress).fork = None;
        Ok(())
    }

    /// Whether the index has this event and all before it, of the log that it follows.
    pub fn has(&self, head: Head) -> bool {
        self.is_at(head) || (self.fork().is_none() && head.seq < self.applied())
    }

    /// The number of the check of the chain that began last.
    #[cfg(feature = "postgres")]
    pub fn last_check(&self) -> u64 {
        self.checks.load(Acquire)
    }

    /// Whether a check that began after this one has found that the index has the log of the database, as far as it goes.
    #[cfg(feature = "postgres")]
    pub fn is_confirmed_after(&self, check: u64) -> bool {
        self.fork().is_none() && self.confirmed.load(Acquire) > check
    }

    /// The other log that the database has, if it has one.
    pub fn fork(&self) -> Option<Forked> {
        lock(&self.progress).fork
    }

    /// How often another log was found.
    pub fn fork_count(&self) -> u64 {
        self.forks.load(Relaxed)
    }

    /// Whether the index has this event and none after it, of the log that it follows.
    pub fn is_at(&self, head: Head) -> bool {
        let progress = *lock(&self.progress);
        progress.fork.is_none() && progress.applied == Some(head)
    }

    /// Follows a number of events on the way to the newest one.
    fn follow_to(
        self: &Arc<Self>,
        read: &Read,
        book: &SharedTombstoneFile,
        head: Head,
        within: Within,
    ) -> Result<bool> {
        // Before the index is loaded there is nothing to bring on.
        let Some(mine) = lock(&self.progress).applied else {
            return Ok(true);
        };
        let events = match heads::gap(read, mine, head, EVENTS_MAX)? {
            Gap::Events(events) => events,
            Gap::Fork => return Err(self.note_fork(Forked { mine, theirs: head })),
            // Which log it is cannot be seen any more, so the answer stays the same.
            Gap::Unread if self.fork().is_some() => {
                return Err(self.note_fork(Forked { mine, theirs: head }));
            }
            Gap::Unread if within == Within::HeadLock => return Ok(false),
            // Other nodes may have closed an older copy, and then cut the log.
            Gap::Unread if book.is_left(read)? => {
                return Err(self.note_fork(Forked { mine, theirs: head }));
            }
            Gap::Unread => {
                log::warn!(
                    "store: the events from {} to {} cannot be followed any more; everything is loaded again",
                    self.applied() + 1,
                    head.seq
                );
                self.load_again(read, head)?;
                book.catch_up(read)?;
                return Ok(true);
            }
        };
        self.forget_fork();
        let Some(last) = events.last() else {
            return Ok(true);
        };
        let end = Head {
            seq: last.seq,
            hash: last.hash(),
        };
        let targets = heads::named_by(read, &events)?;
        let too_many = |count: usize| count > TARGETS_UNDER_LOCK_MAX;
        if within == Within::HeadLock
            && (end != head
                || targets
                    .as_ref()
                    .is_none_or(|targets| too_many(targets.len())))
        {
            return Ok(false);
        }
        match targets {
            Some(targets) => self.prepare_up_to(read, &targets, Some(end))?(),
            None => self.load_again(read, end)?,
        }
        book.follow(read, &events)?;
        Ok(end == head)
    }

    /// Loads everything as it is now; the index then has everything up to the event `end`. Keys, sessions and others that are not in
    /// the database any more go. To be called within a turn.
    fn load_again(&self, read: &Read, end: Head) -> Result<()> {
        let directory = index_updates::load_directory_closed(read, &self.seal_keys)?;
        let all = sessions::list(read, &self.seal_keys, Timestamp(0))?;
        let AllKeys { keys, foreign } =
            index_updates::load_all_keys(&self.index, &self.seal_keys, read)?;
        let touched = self.feed.is_active().then(|| self.feed.look_at_all(end));
        if let Some(touched) = &touched {
            self.feed.begins(touched);
        }
        let ids: HashSet<_> = all.iter().map(|session| session.id).collect();
        self.index.replace_all(directory, keys, || {
            // What the start is still reading is older.
            self.index.set_complete();
            self.index.foreign.replace_all(foreign);
            self.index
                .retain_sessions(|session| ids.contains(&session.id));
            for session in all {
                self.index.put_session(session.id, Some(session));
            }
        });
        self.feed.forget_sites();
        if let Some(touched) = touched {
            self.feed.committed(touched);
        }
        {
            let _only = lock(&self.reloading);
            let retired = || index_updates::list_retired(read);
            self.index.retired.reload(retired)?;
        }
        self.set_closing(older_copy::list(read)?);
        self.set_applied(end);
        Ok(())
    }

    fn note_fork(&self, fork: Forked) -> Error {
        if lock(&self.progress).fork.replace(fork).is_none() {
            self.forks.fetch_add(1, Relaxed);
            log::error!(
                "store: the database does not have event {}, which this node knows; its newest event is {}. Another copy has taken its \
                 place: changes are refused until what had ended is ended again, and verification goes on from memory",
                fork.mine.seq,
                fork.theirs.seq
            );
        }
        fork.refusal()
    }

    pub(in crate::ops) fn waits_for_nodes(&self) -> Error {
        Error::Unavailable(refusals::server::waits_for_nodes(self.waited_for()))
    }

    /// The nodes that are waited for, as a text.
    pub fn waited_for(&self) -> String {
        let nodes = lock(&self.closing);
        let waiting = nodes
            .iter()
            .filter(|node| node.state == ClosingState::Waiting);
        let named = waiting.map(|node| format!("{} ({})", node.name, node.id));
        named.collect::<Vec<String>>().join(", ")
    }

    /// How far a node is with closing an older copy.
    pub fn closing_state(&self, id: NodeId) -> Option<ClosingState> {
        let nodes = lock(&self.closing);
        nodes
            .iter()
            .find(|node| node.id == id)
            .map(|node| node.state)
    }

    fn forget_fork(&self) {
        if lock(&self.progress).fork.take().is_some() {
            log::warn!("store: the database has the events again that this node knows");
        }
    }
}
