//! The only hot path: everything that a verification looks at, in memory.
//!
//! Filled at the start, changed only by what the store has committed (`ops::publish`), and before that commit
//! is acknowledged. No SQL, no files, no waiting but for short locks.

pub mod directory;
pub mod usage;

use crate::domain::key::KeyId;
use crate::domain::key::live::{Kin, Live};
use crate::domain::key::quota::Counters;
use crate::domain::locks::{
    ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard, lock, read, read_sharded, write,
    write_sharded,
};
use crate::domain::people::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use directory::Directory;
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
use usage::UsageBook;

/// Parts that the keys are spread over, so that a change holds up few verifications.
const SHARDS: usize = 64;

/// See [`Index::each_of_part`].
pub const PARTS: usize = SHARDS;

/// Keys by the id that they hold: a place in the table is a pointer and no more, so that tables are small.
type Keys = HashSet<Entry, BuildHasherDefault<IdHasher>>;

/// See [`Keys`].
struct Entry(Box<Live>);

impl Borrow<KeyId> for Entry {
    fn borrow(&self) -> &KeyId {
        &self.0.id
    }
}

impl Eq for Entry {}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.0.id == other.0.id
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

/// A part of the keys, on cache lines of its own: threads that look into different parts must not meet.
#[derive(Default)]
#[repr(align(128))]
struct Shard(RwLock<Keys>);

/// All live keys and what they are judged against.
pub struct Index {
    shards: Vec<Shard>,
    /// Read by every question on every thread: readers write to a cache line of their own.
    directory: ShardedLock<Directory>,
    sessions: RwLock<HashMap<KeyId, Session>>,
    kins: Mutex<Kins>,
    /// Uses that wait to be written.
    pub usage: UsageBook,
    complete: AtomicBool,
    /// Keys that were deleted while the index was being filled: what was read of them before must not come back.
    gone: Mutex<HashSet<KeyId>>,
}

/// The shared parts of keys, each held once.
#[derive(Default)]
struct Kins {
    known: HashSet<Arc<Kin>>,
    /// When the set has grown to this, those that no key has any more are dropped.
    sweep_at: usize,
}

impl Index {
    /// An index with an empty set of keys, waiting to be filled.
    pub fn new(directory: Directory, sessions: Vec<Session>) -> Index {
        Index {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            directory: ShardedLock::new(directory),
            sessions: RwLock::new(
                sessions
                    .into_iter()
                    .map(|session| (session.id, session))
                    .collect(),
            ),
            kins: Mutex::default(),
            usage: UsageBook::default(),
            complete: AtomicBool::new(false),
            gone: Mutex::default(),
        }
    }

    /// Workspaces, users, policies and catalogs as of now.
    pub fn directory(&self) -> ShardedLockReadGuard<'_, Directory> {
        read_sharded(&self.directory)
    }

    /// For publishing a commit; verifications wait while it is held.
    pub fn directory_mut(&self) -> ShardedLockWriteGuard<'_, Directory> {
        write_sharded(&self.directory)
    }

    /// Looks at a key; `None` if there is none of this id (or it is not loaded yet, see [`Index::is_complete`]).
    pub fn with_key<R>(&self, id: KeyId, look: impl FnOnce(&Live) -> R) -> Option<R> {
        let shard = read(self.shard(id));
        shard.get(&id).map(|Entry(key)| look(key))
    }

    /// Puts a key in the place of what had its id.
    pub fn put_key(&self, key: Live) {
        let old = self.shard_mut(key.id).replace(Entry(Box::new(key)));
        drop(old);
    }

    /// Adds a key that was read from the store while the index fills. What is there already is newer, and what was
    /// deleted since stays away. Once the index is complete, nothing is added in this way.
    pub fn add_key(&self, key: Live) {
        let mut shard = self.shard_mut(key.id);
        // Held over both questions: completion empties the set of what is gone.
        let gone = lock(&self.gone);
        if !self.is_complete() && !gone.contains(&key.id) {
            shard.insert(Entry(Box::new(key))); // which leaves alone what is there
        }
    }

    /// Forgets a key: it no longer opens anything.
    pub fn remove_key(&self, id: KeyId) {
        let mut shard = self.shard_mut(id);
        if !self.is_complete() {
            lock(&self.gone).insert(id);
        }
        shard.remove(&id);
    }

    /// Looks at the keys of one part of [`PARTS`]; changes to that part wait meanwhile. Whoever needs the directory
    /// too takes it first, and lets go of it before the next part.
    pub fn each_of_part(&self, part: usize, look: impl FnMut(&Live)) {
        let shard = read(&self.shards[part % SHARDS].0);
        shard.iter().map(|Entry(key)| &**key).for_each(look);
    }

    /// Shows every key, a shard at a time, with what it is judged against; for counting.
    pub fn each_key(&self, mut look: impl FnMut(&Directory, &Live)) {
        for part in 0..PARTS {
            let directory = self.directory();
            self.each_of_part(part, |key| look(&directory, key));
        }
    }

    /// The counters of a key, so that an edit keeps them.
    pub fn counters(&self, id: KeyId) -> Option<Arc<Mutex<Counters>>> {
        self.with_key(id, |key| {
            key.rare.as_ref().and_then(|rare| rare.counters.clone())
        })
        .flatten()
    }

    /// Gives counters to a key that has none, for the first request under a policy that bounds requests.
    pub fn give_counters(&self, id: KeyId) {
        let mut shard = self.shard_mut(id);
        if let Some(Entry(mut key)) = shard.take(&id) {
            let rare = key.rare.get_or_insert_default();
            rare.counters.get_or_insert_default();
            shard.insert(Entry(key));
        }
    }

    /// Takes back all uses that are reserved and not spent, for the end of the process.
    pub fn take_reserved(&self) -> Vec<(KeyId, u64)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let shard = read(&shard.0);
            for Entry(key) in shard.iter() {
                let counters = key.rare.as_ref().and_then(|rare| rare.counters.as_ref());
                if let Some(counters) = counters
                    && let Some(uses) = &mut lock(counters).uses
                    && uses.reserved > 0
                {
                    taken.push((key.id, std::mem::take(&mut uses.reserved)));
                }
            }
        }
        taken
    }

    /// The shared form of what keys have in common.
    pub fn kin(&self, kin: Kin) -> Arc<Kin> {
        let mut kins = lock(&self.kins);
        if let Some(known) = kins.known.get(&kin) {
            return known.clone();
        }
        if kins.known.len() >= kins.sweep_at {
            kins.known.retain(|kin| Arc::strong_count(kin) > 1);
            kins.sweep_at = (kins.known.len() * 2).max(1024);
        }
        let shared = Arc::new(kin);
        kins.known.insert(shared.clone());
        shared
    }

    /// A session by the id in its token.
    pub fn session(&self, id: KeyId) -> Option<Session> {
        read(&self.sessions).get(&id).cloned()
    }

    /// The sessions of a user, over or not.
    pub fn sessions_of(&self, user: Uid) -> Vec<Session> {
        let sessions = read(&self.sessions);
        sessions
            .values()
            .filter(|session| session.user == user)
            .cloned()
            .collect()
    }

    /// Notes a request of a console session; when the one before was.
    pub fn touch_session(&self, id: KeyId, now: Timestamp) -> Option<Timestamp> {
        let mut sessions = write(&self.sessions);
        let browser = sessions.get_mut(&id)?.console.as_mut()?;
        let before = browser.used_at;
        browser.used_at = before.max(now);
        Some(before)
    }

    /// Adds a session, or removes it with `None`.
    pub fn put_session(&self, id: KeyId, session: Option<Session>) {
        let mut sessions = write(&self.sessions);
        match session {
            Some(session) => sessions.insert(id, session),
            None => sessions.remove(&id),
        };
    }

    /// Forgets sessions that have expired.
    pub fn retain_sessions(&self, keep: impl Fn(&Session) -> bool) {
        write(&self.sessions).retain(|_, session| keep(session));
    }

    /// Whether every key of the store is here. Until then a key that is not found has to be looked up there.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Says that every key has been added.
    pub fn set_complete(&self) {
        let mut gone = lock(&self.gone);
        self.complete.store(true, Ordering::Release);
        *gone = HashSet::new();
    }

    fn shard(&self, id: KeyId) -> &RwLock<Keys> {
        &self.shards[(id.0 % SHARDS as u64) as usize].0
    }

    fn shard_mut(&self, id: KeyId) -> RwLockWriteGuard<'_, Keys> {
        write(self.shard(id))
    }
}

/// Ids are drawn by us at random, so a multiplication spreads them; nobody can choose ids that collide and
/// have them inserted.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn write_u128(&mut self, uid: u128) {
        self.write_u64((uid >> 64) as u64 ^ uid as u64);
    }

    fn write_u64(&mut self, id: u64) {
        let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::live::StoredSecret;
    use crate::domain::key::pepper::Digest;
    use crate::domain::time::Timestamp;
    use crate::domain::uid::Uid;

    fn key(id: u64, name: &str) -> Live {
        let kin = Kin {
            workspace: Uid(1),
            owner: None,
            policy: "standard".into(),
            catalog: None,
            scopes: Box::default(),
            read_only: false,
        };
        Live {
            id: KeyId(id),
            name: name.into(),
            kin: Arc::new(kin),
            secret: StoredSecret {
                digest: Digest([0; 32]),
                pepper: 1,
            },
            enabled: true,
            not_before: Timestamp(i64::MIN),
            expires_at: Timestamp(i64::MAX),
            rare: None,
        }
    }

    #[test]
    fn filling_never_brings_back_what_a_change_replaced_or_deleted() {
        let index = Index::new(Directory::default(), Vec::new());
        let name = |id| index.with_key(KeyId(id), |key| key.name.to_string());
        index.put_key(key(1, "edited"));
        index.remove_key(KeyId(2));
        for id in 1..=3 {
            index.add_key(key(id, "as it was"));
        }
        assert_eq!(name(1).as_deref(), Some("edited"));
        assert_eq!(name(2), None);
        assert_eq!(name(3).as_deref(), Some("as it was"));

        index.set_complete();
        index.add_key(key(2, "late"));
        assert_eq!(name(2), None);
    }
}
