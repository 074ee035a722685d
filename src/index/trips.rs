//! What requests have tripped over and what is not recorded yet: decoys, and secrets that have ended.
//!
//! A verification adds to a small record under one lock, and wakes nobody: a thread of its own looks here from time to time
//! (`ops::tripwires`). What a request names is cut to a fixed length, and neither a secret nor a query is kept.

use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Question;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::index::refused::{METHOD_CHARS_MAX, cut, shown_path};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of keys whose trips wait. The trips of further ones are only counted.
const WAITING_MAX: usize = 4_096;
/// The number of keys for which there is always room, so that a trip does not make the table larger.
const ROOM: usize = 256;

/// What a request tripped over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Wire {
    /// The secret of a decoy.
    Decoy,
    /// A secret of the key that has ended.
    Retired,
}

/// The trips over one wire since they were last recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trip {
    pub count: u64,
    /// Of the latest one.
    pub at: Timestamp,
    /// Of the latest one, if it is known.
    pub address: Option<IpAddr>,
    /// Of the first one; empty if the question had none.
    pub method: Box<str>,
    /// Of the first one; empty if the question had none.
    pub path: Box<str>,
    /// The kind of proxy, or the part of this server, that the first one came through.
    pub via: &'static str,
    /// At least one was with a secret that the first use of a newer one had ended.
    pub after_use: bool,
}

/// The trips that are not recorded yet.
pub struct TripBook {
    waiting: Mutex<HashMap<(KeyId, Wire), Trip>>,
    lost: AtomicU64,
}

impl Default for TripBook {
    fn default() -> TripBook {
        TripBook {
            waiting: Mutex::new(HashMap::with_capacity(ROOM)),
            lost: AtomicU64::default(),
        }
    }
}

impl TripBook {
    pub fn record(
        &self,
        key: KeyId,
        wire: Wire,
        after_use: bool,
        question: &Question<'_>,
        secret: &str,
        now: Timestamp,
    ) {
        let mut waiting = lock(&self.waiting);
        if let Some(trip) = waiting.get_mut(&(key, wire)) {
            trip.count += 1;
            trip.at = now;
            trip.address = question.address.or(trip.address);
            trip.after_use |= after_use;
            return;
        }
        if waiting.len() >= WAITING_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let trip = Trip {
            count: 1,
            at: now,
            address: question.address,
            method: cut(question.method.unwrap_or_default(), METHOD_CHARS_MAX).into(),
            path: shown_path(question.path_for_records(), secret).into(),
            via: question.via,
            after_use,
        };
        waiting.insert((key, wire), trip);
    }

    /// Takes all of them, in the order of the keys. The table keeps its room.
    pub fn take(&self) -> Vec<(KeyId, Wire, Trip)> {
        let mut taken: Vec<_> = lock(&self.waiting)
            .drain()
            .map(|((key, wire), trip)| (key, wire, trip))
            .collect();
        taken.sort_unstable_by_key(|(key, wire, _)| (*key, *wire == Wire::Retired));
        taken
    }

    /// Puts back what could not be recorded.
    pub fn put_back(&self, unrecorded: Vec<(KeyId, Wire, Trip)>) {
        let mut waiting = lock(&self.waiting);
        for (key, wire, older) in unrecorded {
            let is_full = waiting.len() >= WAITING_MAX;
            match waiting.get_mut(&(key, wire)) {
                Some(trip) => {
                    trip.count += older.count;
                    trip.address = trip.address.or(older.address);
                    trip.after_use |= older.after_use;
                    (trip.method, trip.path, trip.via) = (older.method, older.path, older.via);
                }
                None if !is_full => {
                    waiting.insert((key, wire), older);
                }
                None => {
                    self.lost.fetch_add(older.count, Ordering::Relaxed);
                }
            }
        }
    }

    /// The number of trips that were only counted, since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(path: &str) -> Question<'_> {
        Question {
            method: Some("GET"),
            path: Some(path),
            via: "nginx",
            ..Question::default()
        }
    }

    #[test]
    fn trips_of_a_key_are_counted_and_what_could_not_be_recorded_is_not_lost() {
        let book = TripBook::default();
        let record = |at: i64, path: &str, after_use| {
            book.record(
                KeyId(7),
                Wire::Decoy,
                after_use,
                &question(path),
                "hunter2",
                Timestamp(at),
            );
        };
        record(1, "/a/hunter2?token=x", false);
        record(2, "/b", true);
        let taken = book.take();
        let (key, wire, trip) = &taken[0];
        assert_eq!((taken.len(), *key, *wire), (1, KeyId(7), Wire::Decoy));
        assert_eq!(
            (trip.count, trip.at, trip.after_use),
            (2, Timestamp(2), true)
        );
        assert_eq!(
            (&*trip.method, &*trip.path, trip.via),
            ("GET", "/a/…", "nginx")
        );
        assert!(book.take().is_empty());
        record(3, "/c", false);
        book.put_back(taken);
        let trip = book.take().remove(0).2;
        assert_eq!(
            (trip.count, trip.at, &*trip.path),
            (3, Timestamp(3), "/a/…")
        );
    }

    #[test]
    fn a_million_keys_fill_bounded_memory() {
        let book = TripBook::default();
        for key in 0..100_000 {
            book.record(
                KeyId(key),
                Wire::Retired,
                false,
                &question("/"),
                "",
                Timestamp(0),
            );
        }
        let taken = book.take().len() as u64;
        assert_eq!(taken, WAITING_MAX as u64);
        assert_eq!(taken + book.take_lost(), 100_000);
    }
}
