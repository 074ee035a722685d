//! The hot path: everything that a verification reads is in memory here.
//!
//! The index is filled at the start. After that it changes only with what the store has committed (`ops::index_updates`),
//! and before that commit is acknowledged. There is no SQL, no file access, and no waiting except for short locks.

pub mod directory;
pub mod foreign;
pub mod refused;
pub mod retired;
pub mod trips;
pub mod usage;

use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, SharedPart};
use crate::domain::keys::quota::{Block, Counters};
use crate::domain::locks::{
    ShardedLock, ShardedLockWriteGuard, SharedGuard, lock, read, read_sharded, write, write_sharded,
};
use crate::domain::sessions::Session;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use directory::Directory;
use foreign::{ForeignSecret, ForeignSecrets};
use refused::RefusalBook;
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
use usage::UsageBook;

/// The number of shards that the keys are distributed over, so that a change delays few verifications.
const SHARDS: usize = 64;

/// The number of parts; see [`Index::each_of_part`].
pub const PARTS: usize = SHARDS;

/// The keys, found by the id that they contain. A slot of the table is only a pointer, so the tables are small.
type Keys = HashSet<Entry, BuildHasherDefault<IdHasher>>;

/// An entry of [`Keys`].
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

/// A part of the keys. It has cache lines of its own, so that threads which use different parts do not slow each
/// other down.
#[derive(Default)]
#[repr(align(128))]
struct Shard(RwLock<Keys>);

/// All keys of a new state, which replaces another one as a whole ([`Index::replace_all`]).
pub struct NewKeys(Vec<Keys>);

impl Default for NewKeys {
    fn default() -> NewKeys {
        NewKeys((0..SHARDS).map(|_| Keys::default()).collect())
    }
}

impl NewKeys {
    /// Makes room for so many keys.
    pub fn with_room(count: usize) -> NewKeys {
        // Ids are random, so the parts have nearly the same size.
        let each = count / SHARDS + count / SHARDS / 16;
        let keys = || Keys::with_capacity_and_hasher(each, BuildHasherDefault::default());
        NewKeys((0..SHARDS).map(|_| keys()).collect())
    }

    pub fn insert(&mut self, key: Live) {
        self.0[place_of(key.id)].insert(Entry(Box::new(key)));
    }
}

/// All live keys, and the directory that verdicts on them depend on.
pub struct Index {
    shards: Vec<Shard>,
    /// Every verification on every thread reads it. Each shard of the lock has a cache line of its own for its
    /// readers.
    directory: ShardedLock<Directory>,
    sessions: RwLock<HashMap<KeyId, Session>>,
    shared_parts: Mutex<SharedParts>,
    /// Uses that are not written to the store yet.
    pub usage: UsageBook,
    /// The latest refusals of each key.
    pub refused: RefusalBook,
    /// What recent requests have tripped over.
    pub trips: trips::TripBook,
    /// Secrets that have ended.
    pub retired: retired::RetiredSecrets,
    /// Where the secrets of other systems are found.
    pub foreign: ForeignSecrets,
    complete: AtomicBool,
    /// Keys that were deleted while the index was being filled. An older state of them that was read before must not
    /// be added again.
    gone: Mutex<HashSet<KeyId>>,
}

/// The shared parts of keys; each distinct value is stored once.
#[derive(Default)]
struct SharedParts {
    known: HashSet<Arc<SharedPart>>,
    /// When the set has grown to this size, values that no key uses any more are dropped.
    sweep_at: usize,
}

impl Index {
    /// An index without keys, which is filled afterwards.
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
            shared_parts: Mutex::default(),
            usage: UsageBook::default(),
            refused: RefusalBook::default(),
            trips: trips::TripBook::default(),
            retired: retired::RetiredSecrets::default(),
            foreign: ForeignSecrets::default(),
            complete: AtomicBool::new(false),
            gone: Mutex::default(),
        }
    }

    /// The current state of workspaces, users, policies and catalogs.
    pub fn directory(&self) -> SharedGuard<'_, Directory> {
        read_sharded(&self.directory)
    }

    /// Write access for publishing a commit. Verifications wait while it is held.
    pub fn directory_mut(&self) -> ShardedLockWriteGuard<'_, Directory> {
        write_sharded(&self.directory)
    }

    /// Calls `look` with a key; `None` if there is no key with this id, or if it is not loaded yet (see
    /// [`Index::is_complete`]).
    pub fn with_key<R>(&self, id: KeyId, look: impl FnOnce(&Live) -> R) -> Option<R> {
        let shard = read(self.shard(id));
        shard.get(&id).map(|Entry(key)| look(key))
    }

    /// Adds a key, or replaces the key that has the same id. `foreign` are those of its secrets that other systems made.
    pub fn put_key(&self, key: Live, foreign: Vec<ForeignSecret>) {
        let mut shard = self.shard_mut(key.id);
        self.foreign.put(key.id, foreign);
        let old = shard.replace(Entry(Box::new(key)));
        drop(shard);
        drop(old);
    }

    /// Adds a key that was read from the store while the index is being filled. An entry that is there already is
    /// newer and stays, and a key that was deleted since is not added. After the index is complete, this function
    /// adds nothing.
    pub fn add_key(&self, key: Live, foreign: Vec<ForeignSecret>) {
        let mut shard = self.shard_mut(key.id);
        // The lock is held for both checks, because completion clears the set of deleted keys.
        let gone = lock(&self.gone);
        if self.is_complete() || gone.contains(&key.id) || shard.contains(&key.id) {
            return;
        }
        self.foreign.put(key.id, foreign);
        shard.insert(Entry(Box::new(key)));
    }

    /// Removes a key, so that it no longer opens anything.
    pub fn remove_key(&self, id: KeyId) {
        let mut shard = self.shard_mut(id);
        if !self.is_complete() {
            lock(&self.gone).insert(id);
        }
        self.foreign.put(id, Vec::new());
        shard.remove(&id);
    }

    /// Replaces the directory and all keys in one step. `also` runs in it, too. A reader that holds the directory while looking at
    /// a key sees the old state or the new one, and nothing in between.
    pub fn replace_all(&self, directory: Directory, keys: NewKeys, also: impl FnOnce()) {
        let mut current = self.directory_mut();
        also();
        let old_directory = std::mem::replace(&mut *current, directory);
        let mut old_keys = keys.0;
        for (shard, keys) in self.shards.iter().zip(&mut old_keys) {
            std::mem::swap(&mut *write(&shard.0), keys);
        }
        drop(current);
        // Freeing a million keys takes a while, so it happens without the lock.
        drop((old_directory, old_keys));
    }

    /// Does the same for some keys; `None` removes one.
    pub fn replace_some(
        &self,
        directory: Directory,
        changed: Vec<(KeyId, Option<Live>)>,
        also: impl FnOnce(),
    ) {
        let replace = |current: &mut Directory| {
            also();
            *current = directory;
        };
        self.change_some(replace, changed);
    }

    /// Changes the directory and some keys in one step; `None` removes a key.
    pub fn change_some(
        &self,
        change: impl FnOnce(&mut Directory),
        changed: Vec<(KeyId, Option<Live>)>,
    ) {
        let mut current = self.directory_mut();
        change(&mut current);
        for (id, key) in changed {
            let mut shard = self.shard_mut(id);
            match key {
                Some(key) => drop(shard.replace(Entry(Box::new(key)))),
                None => drop(shard.take(&id)),
            }
        }
    }

    /// Calls `look` with the keys of one part of [`PARTS`]; changes to that part wait meanwhile. A caller that also
    /// needs the directory must lock it first, and release it before the next part.
    pub fn each_of_part(&self, part: usize, look: impl FnMut(&Live)) {
        let shard = read(&self.shards[part % SHARDS].0);
        shard.iter().map(|Entry(key)| &**key).for_each(look);
    }

    /// Calls `look` with every key and the directory, one shard at a time; used for counting.
    pub fn each_key(&self, mut look: impl FnMut(&Directory, &Live)) {
        for part in 0..PARTS {
            let directory = self.directory();
            self.each_of_part(part, |key| look(&directory, key));
        }
    }

    /// The counters of a key, which an edit passes on to the new entry.
    pub fn counters(&self, id: KeyId) -> Option<Arc<Mutex<Counters>>> {
        self.with_key(id, |key| {
            key.optional
                .as_ref()
                .and_then(|optional| optional.counters.clone())
        })
        .flatten()
    }

    /// Changes a key in its place, if there is one with this id.
    pub fn change_key(&self, id: KeyId, change: impl FnOnce(&mut Live)) {
        let mut shard = self.shard_mut(id);
        if let Some(Entry(mut key)) = shard.take(&id) {
            change(&mut key);
            shard.insert(Entry(key));
        }
    }

    /// Gives counters to a key that has none, for the first request under a policy that bounds requests.
    pub fn give_counters(&self, id: KeyId) {
        self.change_key(id, |key| {
            let optional = key.optional.get_or_insert_default();
            optional.counters.get_or_insert_default();
        });
    }

    /// Takes back all uses that are reserved and not spent; used at the end of the process.
    pub fn take_reserved(&self) -> Vec<(KeyId, Block)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let shard = read(&shard.0);
            for Entry(key) in shard.iter() {
                let counters = key
                    .optional
                    .as_ref()
                    .and_then(|optional| optional.counters.as_ref());
                if let Some(counters) = counters
                    && let Some(uses) = &mut lock(counters).uses
                    && uses.reserved > 0
                {
                    let (epoch, count) = (uses.epoch, std::mem::take(&mut uses.reserved));
                    taken.push((key.id, Block { epoch, count }));
                }
            }
        }
        taken
    }

    /// Returns the shared instance of a shared part.
    pub fn shared(&self, shared: SharedPart) -> Arc<SharedPart> {
        let mut shared_parts = lock(&self.shared_parts);
        if let Some(known) = shared_parts.known.get(&shared) {
            return known.clone();
        }
        if shared_parts.known.len() >= shared_parts.sweep_at {
            shared_parts
                .known
                .retain(|shared| Arc::strong_count(shared) > 1);
            shared_parts.sweep_at = (shared_parts.known.len() * 2).max(1024);
        }
        let shared = Arc::new(shared);
        shared_parts.known.insert(shared.clone());
        shared
    }

    /// Calls `look` with what keys share. There may be parts that no key uses any more.
    pub fn each_shared_part(&self, look: impl FnMut(&SharedPart)) {
        let shared_parts = lock(&self.shared_parts);
        shared_parts.known.iter().map(|part| &**part).for_each(look);
    }

    /// A session by the id in its token.
    pub fn session(&self, id: KeyId) -> Option<Session> {
        read(&self.sessions).get(&id).cloned()
    }

    /// The sessions of a user, including those that are over.
    pub fn sessions_of(&self, user: Uid) -> Vec<Session> {
        let sessions = read(&self.sessions);
        sessions
            .values()
            .filter(|session| session.user == user)
            .cloned()
            .collect()
    }

    /// Records the time of a request in a console session; returns the time of the request before it.
    pub fn touch_session(&self, id: KeyId, now: Timestamp) -> Option<Timestamp> {
        let mut sessions = write(&self.sessions);
        let browser = sessions.get_mut(&id)?.console.as_mut()?;
        let before = browser.used_at;
        browser.used_at = before.max(now);
        Some(before)
    }

    /// Adds a session, or removes it if `None`.
    pub fn put_session(&self, id: KeyId, session: Option<Session>) {
        let mut sessions = write(&self.sessions);
        match session {
            Some(session) => sessions.insert(id, session),
            None => sessions.remove(&id),
        };
    }

    /// Removes the sessions for which `keep` is false.
    pub fn retain_sessions(&self, keep: impl Fn(&Session) -> bool) {
        write(&self.sessions).retain(|_, session| keep(session));
    }

    /// Whether every key of the store is in the index. Before that, a key that is not found here must be looked up in
    /// the store.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Records that every key has been added.
    pub fn set_complete(&self) {
        let mut gone = lock(&self.gone);
        self.complete.store(true, Ordering::Release);
        *gone = HashSet::new();
    }

    fn shard(&self, id: KeyId) -> &RwLock<Keys> {
        &self.shards[place_of(id)].0
    }

    fn shard_mut(&self, id: KeyId) -> RwLockWriteGuard<'_, Keys> {
        write(self.shard(id))
    }
}

/// The part that a key belongs to.
fn place_of(id: KeyId) -> usize {
    (id.0 % SHARDS as u64) as usize
}

/// A multiplication suffices to distribute the ids, because the server draws them at random: no attacker can choose
/// ids that collide and have them inserted.
#[derive(Default)]
pub struct IdHasher(u64);

/// Ids of keys.
pub type KeyIds = HashSet<KeyId, BuildHasherDefault<IdHasher>>;

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
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::domain::time::Timestamp;
    use crate::domain::uid::Uid;

    fn key(id: u64, name: &str) -> Live {
        let shared = SharedPart {
            workspace: Uid(1),
            owner: None,
            policy: "standard".into(),
            catalog: None,
            scopes: Box::default(),
            read_only: false,
            created_by: Box::default(),
            source: Box::default(),
            prefix: Box::default(),
        };
        Live {
            id: KeyId(id),
            name: name.into(),
            shared: Arc::new(shared),
            secret: StoredSecret::peppered(Digest([0; 32]), 1),
            enabled: true,
            tail: Default::default(),
            created_s: 0,
            not_before: Timestamp(i64::MIN),
            expires_at: Timestamp(i64::MAX),
            optional: None,
        }
    }

    /// A site replaces what it has by the content of a pack.
    #[test]
    fn a_reader_sees_all_of_a_new_state_or_nothing() {
        let index = Index::new(Directory::default(), Vec::new());
        let ids = 0..200_u64;
        let replace = |name: &str, as_whole: bool| {
            let keys = ids.clone().map(|id| key(id, name));
            if as_whole {
                let mut all = NewKeys::with_room(200);
                keys.for_each(|key| all.insert(key));
                index.replace_all(Directory::default(), all, || ());
            } else {
                let some = keys.map(|key| (key.id, Some(key))).collect();
                index.replace_some(Directory::default(), some, || ());
            }
        };
        replace("0", true);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let _directory = index.directory();
                    let name = |id| index.with_key(KeyId(id), |key| key.name.to_string());
                    assert_eq!(name(3), name(196));
                }
            });
            for number in 1..500 {
                replace(&number.to_string(), number % 2 == 0);
            }
            ended.store(true, Ordering::Relaxed);
        });
        index.replace_some(Directory::default(), vec![(KeyId(3), None)], || ());
        assert_eq!(index.with_key(KeyId(3), |_| ()), None);
        let mut one = NewKeys::default();
        one.insert(key(7, "alone"));
        index.replace_all(Directory::default(), one, || ());
        let mut count = 0;
        index.each_key(|_, _| count += 1);
        assert_eq!(count, 1);
    }

    #[test]
    fn filling_never_brings_back_what_a_change_replaced_or_deleted() {
        let index = Index::new(Directory::default(), Vec::new());
        let name = |id| index.with_key(KeyId(id), |key| key.name.to_string());
        index.put_key(key(1, "edited"), Vec::new());
        index.remove_key(KeyId(2));
        for id in 1..=3 {
            index.add_key(key(id, "as it was"), Vec::new());
        }
        assert_eq!(name(1).as_deref(), Some("edited"));
        assert_eq!(name(2), None);
        assert_eq!(name(3).as_deref(), Some("as it was"));

        index.set_complete();
        index.add_key(key(2, "late"), Vec::new());
        assert_eq!(name(2), None);
    }
}
