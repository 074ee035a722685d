//! The one place that brings committed changes into the index, from the writer or from other nodes (`ops::following`).
//!
//! Reading what is committed and putting it into the index are one turn, and there is one turn at a time. Otherwise what was read
//! before could replace what was committed after. The writer takes its turn in each transaction: it reads what the transaction
//! has changed, commits, and puts it in place, which also ends the turn after a commit that failed.
//!
//! The applier knows how far the index is: up to which event of the log it has everything. That moves within a turn, and only after
//! everything is in place.
//!
//! Filling the index at the start needs no turn: a key that is loaded never replaces one that is there, and never one that is gone
//! ([`Index::add_key`]). Nor does reading the secrets that have ended, which takes long: what is committed meanwhile is added after it
//! (`RetiredSecrets::reload`). A site has its own content, which is from packs (`ops::site`).

use super::index_updates;
use super::packs::feed::Feed;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::refusals;
use crate::store::heads::{self, Head};
use crate::store::older_copy::{self, ClosingNode, ClosingState};
use crate::store::{Read, Store, sessions};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the writer waits for its turn while it holds the lock on the newest event.
const TURN_MAX: Duration = Duration::from_millis(50);

/// See the heading.
pub struct Applier {
    pub(super) index: Arc<Index>,
    pub(super) seal_keys: Arc<SealKeys>,
    pub(super) feed: Arc<Feed>,
    /// The index is that of a site, into which nothing comes from the tables.
    is_site: AtomicBool,
    has_turn: Mutex<bool>,
    turn_ended: Condvar,
    /// Changed within a turn alone.
    pub(super) progress: Mutex<Progress>,
    /// How often another chain was found.
    pub(super) forks: AtomicU64,
    /// The checks of the chain that have begun, and the latest of those that have found the chain to be that of the index, and the
    /// index to have all of it.
    pub(super) checks: AtomicU64,
    pub(super) confirmed: AtomicU64,
    /// The nodes that close an older copy of the database, as far as the index is.
    pub(super) closing: Mutex<Vec<ClosingNode>>,
    /// Whether some of them are waited for.
    is_waiting: AtomicBool,
    /// Held by the one reload of the secrets that have ended.
    pub(super) reloading: Mutex<()>,
}

/// How far the index is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// The newest event whose changes, and those of all before it, are in the index. `None` before it was loaded.
    pub applied: Option<Head>,
    pub fork: Option<Forked>,
}

/// The database has another chain than the one that the index has followed: an older copy, or another server, has taken its place.
/// The index stays as it is, because it knows what has ended, and changes are refused until what had ended is ended again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forked {
    /// The newest event that the index has.
    pub mine: Head,
    /// The newest event in the database.
    pub theirs: Head,
}

impl Forked {
    /// Why nothing may be changed.
    pub fn refusal(&self) -> Error {
        Error::Unavailable(refusals::server::forked(self.mine.seq, self.theirs.seq))
    }
}

/// The right to change the index; it ends when dropped.
pub(super) struct Turn(Arc<Applier>);

impl Applier {
    pub fn new(index: Arc<Index>, seal_keys: Arc<SealKeys>, feed: Arc<Feed>) -> Arc<Applier> {
        Arc::new(Applier {
            index,
            seal_keys,
            feed,
            is_site: AtomicBool::new(false),
            has_turn: Mutex::new(false),
            turn_ended: Condvar::new(),
            progress: Mutex::default(),
            forks: AtomicU64::new(0),
            checks: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            closing: Mutex::default(),
            is_waiting: AtomicBool::new(false),
            reloading: Mutex::default(),
        })
    }

    /// Leaves the index to the packs of a site.
    pub fn leave_to_packs(&self) {
        self.is_site.store(true, Relaxed);
    }

    pub(super) fn is_left_to_packs(&self) -> bool {
        self.is_site.load(Relaxed)
    }

    /// The number of the newest event whose changes, and those of all before it, are in the index; 0 before it was loaded.
    pub fn applied(&self) -> i64 {
        lock(&self.progress).applied.map_or(0, |head| head.seq)
    }

    /// The newest event that the index has; `None` before it was loaded.
    pub fn newest(&self) -> Option<Head> {
        lock(&self.progress).applied
    }

    /// The newest event that the index has of the log that it follows; `None` before it was loaded.
    pub fn known(&self) -> Option<Head> {
        lock(&self.progress).applied
    }

    /// Loads everything but the keys, for the start. Users and workspaces that were changed outside Latchkey are closed, in memory
    /// unless that was done in the store (`are_closed`).
    pub fn load(self: &Arc<Self>, read: &Read, are_closed: bool, now: Timestamp) -> Result<()> {
        let _turn = self.begin();
        // Later events are followed, even if what is loaded has some of their changes already.
        let head = heads::newest(read)?;
        *self.index.directory_mut() = match are_closed {
            true => index_updates::load_directory(read, &self.seal_keys)?,
            false => index_updates::load_directory_closed(read, &self.seal_keys)?,
        };
        for session in sessions::list(read, &self.seal_keys, now)? {
            self.index.put_session(session.id, Some(session));
        }
        self.set_closing(older_copy::list(read)?);
        self.set_applied(head);
        Ok(())
    }

    /// Loads which nodes close an older copy, and nothing else.
    pub fn load_closing(self: &Arc<Self>, read: &Read) -> Result<()> {
        let _turn = self.begin();
        self.set_closing(older_copy::list(read)?);
        Ok(())
    }

    /// Notes which nodes close an older copy. To be called within a turn.
    pub(super) fn set_closing(&self, nodes: Vec<ClosingNode>) {
        let is_waiting = |node: &ClosingNode| node.state == ClosingState::Waiting;
        let waits = nodes.iter().any(is_waiting);
        *lock(&self.closing) = nodes;
        self.is_waiting.store(waits, Release);
    }

    /// Whether nodes are waited for that still have to close an older copy.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Acquire)
    }

    /// Brings one session into the index as the store has it now.
    pub fn load_session(self: &Arc<Self>, store: &Store, id: KeyId) -> Result<()> {
        store.read(|read| {
            // Before the first query, so that nothing newer is in the index than what this reads; but not while the store connects.
            let _turn = self.begin();
            // Another chain may have a session that has ended, and so may a server that was replaced and still answers.
            if let Some(fork) = self.fork() {
                return Err(fork.refusal());
            }
            let mine = lock(&self.progress).applied.unwrap_or(Head::NONE);
            let session = match heads::has(read, mine)? {
                Some(true) => sessions::find(read, &self.seal_keys, id)?,
                Some(false) | None => {
                    let unusable = refusals::server::database_unusable();
                    return Err(Error::Unavailable(unusable));
                }
            };
            self.index.put_session(id, session);
            Ok(())
        })
    }

    /// Reads the targets as a transaction has left them, and returns the step that puts them into the index after the commit.
    /// The turn lasts until that step was taken, or is dropped because the commit failed.
    pub fn prepare(self: &Arc<Self>, read: &Read, targets: &[Target]) -> Result<Box<dyn FnOnce()>> {
        if self.is_left_to_packs() {
            return Ok(Box::new(|| {}));
        }
        let turn = self.begin();
        let end = read.chain_end().map(|end| end.head);
        let install = self.prepare_up_to(read, targets, end)?;
        Ok(Box::new(move || {
            install();
            drop(turn);
        }))
    }

    /// Reads the targets, and returns the step that puts them into the index, which then has everything up to the event `end`;
    /// `None` if there is no new event. To be called within a turn.
    pub(super) fn prepare_up_to(
        self: &Arc<Self>,
        read: &Read,
        targets: &[Target],
        end: Option<Head>,
    ) -> Result<impl FnOnce() + use<>> {
        let install = index_updates::prepare(&self.index, &self.seal_keys, read, targets)?;
        let touched = match self.feed.is_active() {
            true => {
                let end = end.map_or_else(|| heads::newest(read), Ok)?;
                Some(self.feed.look(&self.index, end, targets))
            }
            false => None,
        };
        let (applier, is_about_sites) = (self.clone(), Feed::is_about_sites(targets));
        Ok(move || {
            let feed = &applier.feed;
            if let Some(touched) = &touched {
                feed.begins(touched);
            }
            install();
            if is_about_sites {
                feed.forget_sites();
            }
            if let Some(touched) = touched {
                feed.committed(touched);
            }
            // An index that knows another log gets all of it when the older copy is closed.
            let progress = *lock(&applier.progress);
            let goes_on = progress.applied.is_some() && progress.fork.is_none();
            if let Some(end) = end.filter(|_| goes_on) {
                applier.set_applied(end);
            }
        })
    }

    /// Notes that the index has everything up to an event. To be called within a turn.
    pub(super) fn set_applied(&self, end: Head) {
        lock(&self.progress).applied = Some(end);
    }

    /// Reads the secrets that have ended again, after old ones were deleted. The writer goes on meanwhile.
    pub fn reload_retired(&self, store: &Store) -> Result<()> {
        let _only = lock(&self.reloading);
        let reload = || store.read(index_updates::list_retired);
        self.index.retired.reload(reload)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let waiting = lock(&self.has_turn);
        let mut has_turn = self
            .turn_ended
            .wait_while(waiting, |has_turn| *has_turn)
            .unwrap_or_else(PoisonError::into_inner);
        *has_turn = true;
        Turn(self.clone())
    }

    /// As [`Applier::begin`], if the turn is to be had soon: for a caller for whom all nodes wait.
    pub(super) fn begin_soon(self: &Arc<Self>) -> Option<Turn> {
        let waiting = lock(&self.has_turn);
        let (mut has_turn, _) = self
            .turn_ended
            .wait_timeout_while(waiting, TURN_MAX, |has_turn| *has_turn)
            .unwrap_or_else(PoisonError::into_inner);
        if *has_turn {
            return None;
        }
        *has_turn = true;
        Some(Turn(self.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.0.has_turn) = false;
        self.0.turn_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::directory::Directory;
    use crate::ops::setup::fixture::Fixture;
    use std::sync::mpsc::channel;
    use std::thread;

    fn applier() -> Arc<Applier> {
        let index = Arc::new(Index::new(Directory::default(), Vec::new()));
        let (seal_keys, _) = SealKeys::generate().unwrap();
        Applier::new(index, Arc::new(seal_keys), Arc::default())
    }

    /// What a second one read meanwhile would be older than what the first one puts in place.
    #[test]
    fn there_is_one_turn_from_reading_to_the_index() {
        let (applier, fixture) = (applier(), Fixture::new());
        for is_committed in [true, false] {
            let prepare = |read: &Read| applier.prepare(read, &[]);
            let step = fixture.app.store.read(prepare).unwrap();
            assert!(*lock(&applier.has_turn));
            let (began, waits) = channel();
            let other = applier.clone();
            let second = thread::spawn(move || {
                let turn = other.begin();
                began.send(()).unwrap();
                drop(turn);
            });
            assert!(waits.try_recv().is_err());
            match is_committed {
                true => step(),
                false => drop(step),
            }
            waits.recv().unwrap();
            second.join().unwrap();
            assert!(!*lock(&applier.has_turn));
        }
    }

    /// The query may take seconds, for which the writer would wait with a transaction open.
    #[test]
    fn secrets_that_have_ended_are_read_again_while_the_writer_has_its_turn() {
        let (applier, fixture) = (applier(), Fixture::new());
        let turn = applier.begin();
        applier.reload_retired(&fixture.app.store).unwrap();
        drop(turn);
    }

    #[test]
    fn a_step_that_panics_ends_the_turn() {
        let applier = applier();
        let turn = applier.begin();
        let panicked = thread::spawn(move || {
            let _turn = turn;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        drop(applier.begin());
    }
}
