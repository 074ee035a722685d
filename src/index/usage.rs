//! Usage of keys that is not written to the store yet: counted in memory, written in batches.
//!
//! A verification adds to a small record under one of a few locks; nothing here accesses the disk. If the process
//! ends abnormally, the usage that is not written yet is lost: at most one interval (`ops::maintenance`).

use crate::domain::keys::KeyId;
use crate::domain::keys::network::{NETWORKS_MAX, Network};
use crate::domain::keys::verdict::Code;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::index::IdHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The number of shards, so that two threads rarely need the same lock.
const SHARDS: usize = 16;
/// When one shard has this many keys, an early write is requested.
const KEYS_WANTED_MAX: usize = 4_096;
/// The largest number of keys in one shard when the writer is late. Verdicts on further keys are counted as lost.
const KEYS_MAX: usize = 16_384;

/// The usage of one key since it was last written.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    pub uses: u64,
    pub last_used: Option<(Timestamp, Option<IpAddr>)>,
    /// The last use of the secret before the newest.
    pub previous_used: Option<Timestamp>,
    /// The network of the last good use. Most keys are used from no other, and then need no list.
    network: Option<Network>,
    /// Other networks of good uses, the latest last.
    other_networks: Vec<Network>,
    /// The first kind of verdict in the interval. Most keys have no other kind, and then need no list.
    first: Option<Tally>,
    others: Vec<Tally>,
}

/// The count of one kind of verdict: the hour, the code, the number.
type Tally = (i64, Code, u64);

/// The ids are those of existing keys, which the server has drawn, so the hash need not resist an attacker.
type Uses = HashMap<KeyId, Pending, BuildHasherDefault<IdHasher>>;

/// A part of the counters. It has cache lines of its own, so that threads which use different parts do not slow each
/// other down.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Uses>);

/// The usage of all keys since it was last written.
#[derive(Default)]
pub struct UsageBook {
    shards: [Shard; SHARDS],
    /// What was taken out and is on its way to the store, in the order of the keys.
    leaving: Mutex<Arc<Vec<(KeyId, Pending)>>>,
    lost: AtomicU64,
    full: Mutex<bool>,
    wake: Condvar,
}

impl Pending {
    /// The verdicts by hour and code. There are only a few, because an interval is short.
    pub fn verdicts(&self) -> impl Iterator<Item = &Tally> {
        self.first.iter().chain(&self.others)
    }

    /// The networks that good uses came from, the latest first: as many as are remembered of a key.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        let others = self.other_networks.iter().rev();
        self.network.iter().chain(others).copied()
    }

    fn add_network(&mut self, network: Network) {
        self.other_networks.retain(|other| *other != network);
        let before = self.network.replace(network);
        self.other_networks.extend(before);
        if self.other_networks.len() >= NETWORKS_MAX {
            self.other_networks.remove(0);
        }
    }

    fn count(&mut self, hour: i64, code: Code, more: u64) {
        let mut known = self.first.iter_mut().chain(&mut self.others);
        if let Some((_, _, count)) = known.find(|tally| (tally.0, tally.1) == (hour, code)) {
            *count += more;
        } else if self.first.is_none() {
            self.first = Some((hour, code, more));
        } else {
            self.others.push((hour, code, more));
        }
    }

    /// Adds earlier usage.
    fn add(&mut self, older: &Pending) {
        self.uses += older.uses;
        self.last_used = self.last_used.or(older.last_used);
        self.previous_used = self.previous_used.or(older.previous_used);
        // The latest one is added last.
        let latest_first: Vec<Network> = self.networks().chain(older.networks()).collect();
        let all = latest_first.into_iter().rev();
        all.for_each(|network| self.add_network(network));
        for (hour, code, count) in older.verdicts() {
            self.count(*hour, *code, *count);
        }
    }
}

impl UsageBook {
    /// The number of verdicts on all keys that are not written yet, by hour, by code, and by whether the key is for this
    /// server itself, which `is_management` decides.
    pub fn waiting(
        &self,
        is_management: impl Fn(KeyId) -> bool,
    ) -> HashMap<(i64, Code, bool), u64> {
        let mut counts = HashMap::new();
        for shard in &self.shards {
            // The index is asked after the lock of the shard is released.
            let known: Vec<(KeyId, Vec<Tally>)> = lock(&shard.0)
                .iter()
                .map(|(key, pending)| (*key, pending.verdicts().copied().collect()))
                .collect();
            for (key, verdicts) in known {
                let is_management = is_management(key);
                for (hour, code, count) in verdicts {
                    *counts.entry((hour, code, is_management)).or_default() += count;
                }
            }
        }
        counts
    }

    /// Counts a verdict on a key whose secret matched: its newest one, or the one before.
    pub fn record(
        &self,
        key: KeyId,
        code: Code,
        is_newest: bool,
        address: Option<IpAddr>,
        now: Timestamp,
    ) {
        let mut shard = lock(self.shard(key));
        let waiting = shard.len();
        if waiting >= KEYS_MAX && !shard.contains_key(&key) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let pending = shard.entry(key).or_default();
        if code == Code::Valid {
            pending.uses += 1;
            pending.last_used = Some((now, address));
            let network = address.and_then(Network::of);
            if network != pending.network
                && let Some(network) = network
            {
                pending.add_network(network);
            }
            if !is_newest {
                pending.previous_used = Some(now);
            }
        }
        pending.count(now.hour(), code, 1);
        drop(shard);
        if waiting == KEYS_WANTED_MAX {
            self.wake();
        }
    }

    fn shard(&self, key: KeyId) -> &Mutex<Uses> {
        &self.shards[(key.0 / 64) as usize % SHARDS].0
    }

    /// The usage of one key that is not written yet; it is added to the stored usage.
    pub fn pending(&self, key: KeyId) -> Option<Pending> {
        lock(self.shard(key)).get(&key).cloned()
    }

    /// When a key was last used, if that is not known to be written: also while the use is being written to the store.
    pub fn last_used(&self, key: KeyId) -> Option<Timestamp> {
        let at = |pending: &Pending| pending.last_used.map(|(at, _)| at);
        // The order matters: what leaves the shards meanwhile is found in the second place.
        let waiting = lock(self.shard(key)).get(&key).and_then(at);
        let leaving = lock(&self.leaving).clone();
        let found = leaving.binary_search_by_key(&key, |(key, _)| *key);
        let leaving = found.ok().and_then(|place| at(&leaving[place].1));
        waiting.max(leaving)
    }

    /// Removes and returns all usage that is not written yet, in the order of the keys. [`UsageBook::last_used`] knows
    /// it until [`UsageBook::written`].
    pub fn take(&self) -> Arc<Vec<(KeyId, Pending)>> {
        // Held until all is in its new place, so that no reader finds a use in neither.
        let mut leaving = lock(&self.leaving);
        let mut taken: Vec<(KeyId, Pending)> = self
            .shards
            .iter()
            .flat_map(|Shard(uses)| std::mem::take(&mut *lock(uses)))
            .collect();
        taken.sort_unstable_by_key(|(key, _)| *key);
        *leaving = Arc::new(taken);
        leaving.clone()
    }

    /// What is on its way to the store.
    pub fn leaving(&self) -> Arc<Vec<(KeyId, Pending)>> {
        lock(&self.leaving).clone()
    }

    /// Puts back what was not written. Only the batch of which it is unknown whether it is written stays on its way.
    pub fn keep_leaving(&self, unknown: &[(KeyId, Pending)], unwritten: &[(KeyId, Pending)]) {
        // In this order [`UsageBook::last_used`] finds every use in one of the two places.
        self.put_back(unwritten);
        *lock(&self.leaving) = Arc::new(unknown.to_vec());
    }

    /// Forgets what was taken out last: it is written, or given up as lost.
    pub fn written(&self) {
        *lock(&self.leaving) = Arc::default();
    }

    /// Puts back the usage that could not be written.
    fn put_back(&self, unwritten: &[(KeyId, Pending)]) {
        for (key, older) in unwritten {
            let mut shard = lock(self.shard(*key));
            if shard.len() < KEYS_MAX || shard.contains_key(key) {
                shard.entry(*key).or_default().add(older);
            } else {
                let verdicts: u64 = older.verdicts().map(|(_, _, count)| count).sum();
                self.lost.fetch_add(verdicts, Ordering::Relaxed);
            }
        }
    }

    /// The number of keys with usage that is not written yet.
    pub fn waiting_keys(&self) -> usize {
        self.shards.iter().map(|Shard(uses)| lock(uses).len()).sum()
    }

    /// The number of verdicts that were not counted because too many keys were waiting.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until the interval has passed, a shard is full, or [`UsageBook::wake`] is called.
    pub fn wait(&self, interval: Duration) {
        let full = lock(&self.full);
        let (mut full, _) = self
            .wake
            .wait_timeout_while(full, interval, |full| !*full)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *full = false;
    }

    /// Ends a wait early.
    pub fn wake(&self) {
        *lock(&self.full) = true;
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_and_refusals_are_counted_apart() {
        let book = UsageBook::default();
        let key = KeyId(7);
        book.record(key, Code::Valid, true, None, Timestamp(10));
        book.record(key, Code::Expired, true, None, Timestamp(20));
        book.record(key, Code::Expired, true, None, Timestamp(30));
        let pending = book.pending(key).unwrap();
        assert_eq!(
            (pending.uses, pending.last_used),
            (1, Some((Timestamp(10), None)))
        );
        assert_eq!(
            pending.verdicts().copied().collect::<Vec<_>>(),
            [(0, Code::Valid, 1), (0, Code::Expired, 2)]
        );
        assert_eq!(book.take().len(), 1);
        assert!(book.pending(key).is_none());
    }

    #[test]
    fn what_could_not_be_written_is_added_to_what_came_since() {
        let book = UsageBook::default();
        let key = KeyId(7);
        book.record(key, Code::Valid, true, None, Timestamp(10));
        let unwritten = book.take();
        book.record(key, Code::Valid, true, None, Timestamp(20));
        book.record(key, Code::Expired, true, None, Timestamp(30));
        book.put_back(&unwritten);
        let pending = book.pending(key).unwrap();
        assert_eq!(
            (pending.uses, pending.last_used),
            (2, Some((Timestamp(20), None)))
        );
        assert_eq!(
            pending.verdicts().copied().collect::<Vec<_>>(),
            [(0, Code::Valid, 2), (0, Code::Expired, 1)]
        );
    }

    #[test]
    fn a_use_of_the_secret_before_the_newest_is_kept_apart() {
        let book = UsageBook::default();
        let key = KeyId(7);
        book.record(key, Code::Valid, false, None, Timestamp(10));
        book.record(key, Code::Expired, false, None, Timestamp(20));
        book.record(key, Code::Valid, true, None, Timestamp(30));
        let unwritten = book.take();
        assert_eq!(unwritten[0].1.previous_used, Some(Timestamp(10)));
        book.record(key, Code::Valid, true, None, Timestamp(40));
        book.put_back(&unwritten);
        let pending = book.pending(key).unwrap();
        assert_eq!(pending.previous_used, Some(Timestamp(10)));
        assert_eq!(pending.last_used, Some((Timestamp(40), None)));
    }

    #[test]
    fn the_latest_networks_of_good_uses_are_kept() {
        let book = UsageBook::default();
        let key = KeyId(7);
        let used = |text: &str, code| {
            let address = Some(text.parse().unwrap());
            book.record(key, code, true, address, Timestamp(10));
        };
        let networks = || {
            let pending = book.pending(key).unwrap();
            let networks = pending.networks().map(|network| network.to_string());
            networks.collect::<Vec<_>>().join(" ")
        };
        used("192.0.2.1", Code::Valid);
        used("198.51.100.1", Code::Expired);
        used("192.0.2.9", Code::Valid);
        assert_eq!(networks(), "192.0.2.0/24");
        used("203.0.113.1", Code::Valid);
        used("192.0.2.1", Code::Valid);
        assert_eq!(networks(), "192.0.2.0/24 203.0.113.0/24");
        for number in 0..100 {
            used(&format!("10.0.{number}.1"), Code::Valid);
        }
        let pending = book.pending(key).unwrap();
        assert_eq!(pending.networks().count(), NETWORKS_MAX);
        let latest = pending.networks().next().unwrap();
        assert_eq!(latest.to_string(), "10.0.99.0/24");
        let unwritten = book.take();
        used("192.0.2.1", Code::Valid);
        book.put_back(&unwritten);
        assert!(
            networks().starts_with("192.0.2.0/24 10.0.99.0/24"),
            "{}",
            networks()
        );
    }

    // Attack: a key that was used just now is taken for an unused one, because its use is on its way to the store.
    #[test]
    fn a_use_is_known_while_it_waits_and_while_it_is_written() {
        let book = UsageBook::default();
        let (key, other) = (KeyId(7), KeyId(8));
        book.record(key, Code::Valid, true, None, Timestamp(10));
        book.record(other, Code::Expired, true, None, Timestamp(10));
        assert_eq!(book.last_used(key), Some(Timestamp(10)));
        let taken = book.take();
        assert_eq!(book.last_used(key), Some(Timestamp(10)));
        assert_eq!(book.last_used(other), None, "a refusal is no use");
        book.record(key, Code::Valid, true, None, Timestamp(20));
        assert_eq!(book.last_used(key), Some(Timestamp(20)));
        book.written();
        assert_eq!(book.last_used(key), Some(Timestamp(20)));
        assert_eq!(taken.len(), 2);
        book.take();
        book.written();
        assert_eq!(book.last_used(key), None);
    }

    // attacks 155
    #[test]
    fn a_million_keys_in_one_interval_fill_bounded_memory() {
        let book = UsageBook::default();
        for id in 0..1_000_000 {
            book.record(KeyId(id), Code::Valid, true, None, Timestamp(0));
        }
        let written = book.take().len() as u64;
        assert!(written <= (KEYS_MAX * SHARDS) as u64);
        assert_eq!(written + book.lost(), 1_000_000);
    }
}
