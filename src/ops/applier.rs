//! The one place that brings committed changes into the index, from the writer or from another source.
//!
//! Reading what is committed and putting it into the index are one turn, and there is one turn at a time. Otherwise what was read
//! before could replace what was committed after. The writer takes its turn in each transaction: it reads what the transaction
//! has changed, commits, and puts it in place, which also ends the turn after a commit that failed.
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
use crate::error::Result;
use crate::index::Index;
use crate::store::{Read, Store, audit, sessions};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// See the heading.
pub struct Applier {
    index: Arc<Index>,
    seal_keys: Arc<SealKeys>,
    feed: Arc<Feed>,
    /// The index is that of a site, into which nothing comes from the tables.
    is_site: AtomicBool,
    has_turn: Mutex<bool>,
    turn_ended: Condvar,
    /// The number of the newest event whose effects are in the index; kept for a database on a server only.
    applied: Arc<AtomicI64>,
    /// Held by the one reload of the secrets that have ended.
    reloading: Mutex<()>,
}

/// The right to change the index; it ends when dropped.
struct Turn(Arc<Applier>);

impl Applier {
    pub fn new(index: Arc<Index>, seal_keys: Arc<SealKeys>, feed: Arc<Feed>) -> Arc<Applier> {
        Arc::new(Applier {
            index,
            seal_keys,
            feed,
            is_site: AtomicBool::new(false),
            has_turn: Mutex::new(false),
            turn_ended: Condvar::new(),
            applied: Arc::default(),
            reloading: Mutex::default(),
        })
    }

    /// The number of the newest event whose effects are in the index; 0 for a database in a file.
    #[cfg(feature = "postgres")]
    pub fn applied(&self) -> i64 {
        self.applied.load(Relaxed)
    }

    /// Leaves the index to the packs of a site.
    pub fn leave_to_packs(&self) {
        self.is_site.store(true, Relaxed);
    }

    /// Loads everything but the keys, for the start. Users and workspaces that were changed outside Latchkey are closed, in memory
    /// unless that was done in the store (`are_closed`).
    pub fn load(self: &Arc<Self>, read: &Read, are_closed: bool, now: Timestamp) -> Result<()> {
        let _turn = self.begin();
        *self.index.directory_mut() = match are_closed {
            true => index_updates::load_directory(read, &self.seal_keys)?,
            false => index_updates::load_directory_closed(read, &self.seal_keys)?,
        };
        for session in sessions::list(read, &self.seal_keys, now)? {
            self.index.put_session(session.id, Some(session));
        }
        self.applied.store(applied_by(read)?, Relaxed);
        Ok(())
    }

    /// Brings one session into the index as the store has it now.
    pub fn load_session(self: &Arc<Self>, store: &Store, id: KeyId) -> Result<()> {
        let _turn = self.begin();
        let session = store.read(|read| sessions::find(read, &self.seal_keys, id))?;
        self.index.put_session(id, session);
        Ok(())
    }

    /// Reads the targets as a transaction has left them, and returns the step that puts them into the index after the commit.
    /// The turn lasts until that step was taken, or is dropped because the commit failed.
    pub fn prepare(self: &Arc<Self>, read: &Read, targets: &[Target]) -> Result<Box<dyn FnOnce()>> {
        if self.is_site.load(Relaxed) {
            return Ok(Box::new(|| {}));
        }
        let turn = self.begin();
        let install = index_updates::prepare(&self.index, &self.seal_keys, read, targets)?;
        let touched = match self.feed.is_active() {
            true => Some(self.feed.look(&self.index, read, targets)?),
            false => None,
        };
        let (feed, is_about_sites) = (self.feed.clone(), Feed::is_about_sites(targets));
        let (applied, newest) = (self.applied.clone(), applied_by(read)?);
        Ok(Box::new(move || {
            if let Some(touched) = &touched {
                feed.begins(touched);
            }
            install();
            applied.store(newest, Relaxed);
            if is_about_sites {
                feed.forget_sites();
            }
            if let Some(touched) = touched {
                feed.committed(touched);
            }
            drop(turn);
        }))
    }

    /// Reads the secrets that have ended again, after old ones were deleted. The writer goes on meanwhile.
    pub fn reload_retired(&self, store: &Store) -> Result<()> {
        let _only = lock(&self.reloading);
        let reload = || store.read(index_updates::list_retired);
        self.index.retired.reload(reload)
    }

    fn begin(self: &Arc<Self>) -> Turn {
        let waiting = lock(&self.has_turn);
        let mut has_turn = self
            .turn_ended
            .wait_while(waiting, |has_turn| *has_turn)
            .unwrap_or_else(PoisonError::into_inner);
        *has_turn = true;
        Turn(self.clone())
    }
}

/// The newest event of a database on a server; 0 for a file, for which it is not needed.
fn applied_by(read: &Read) -> Result<i64> {
    match read.is_of_one_node() {
        true => Ok(0),
        false => audit::newest_number(read),
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
