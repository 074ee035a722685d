//! The keys whose counts have changed since the server has taken them in over the link. Without a link nothing is kept here:
//! a report that travels as a file has every key.

use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// See the heading.
#[derive(Default)]
pub struct Unreported {
    is_kept: AtomicBool,
    /// Something that the server should learn at once.
    is_urgent: AtomicBool,
    keys: Mutex<BTreeSet<KeyId>>,
}

/// Keys that were taken out for a report.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub keys: Vec<KeyId>,
    /// Whether the server should learn of one of them at once.
    pub is_urgent: bool,
}

impl Unreported {
    /// Begins with these keys.
    pub fn begin(&self, keys: impl IntoIterator<Item = KeyId>) {
        self.is_kept.store(true, Relaxed);
        lock(&self.keys).extend(keys);
    }

    pub fn note(&self, keys: impl IntoIterator<Item = KeyId>) {
        if self.is_kept.load(Relaxed) {
            lock(&self.keys).extend(keys);
        }
    }

    /// Notes a key of which the server should learn at once: it was ended here, or its new secret was used for the first time.
    pub fn note_urgent(&self, key: KeyId) {
        self.note([key]);
        self.is_urgent.store(true, Relaxed);
    }

    pub fn is_urgent(&self) -> bool {
        self.is_urgent.load(Relaxed)
    }

    /// Notes keys again whose report was lost or not taken in.
    pub fn put_back(&self, taken: Taken) {
        self.note(taken.keys);
        // After the keys, so that the report which this leads to has them.
        self.is_urgent.fetch_or(taken.is_urgent, Relaxed);
    }

    /// Takes out at most so many keys, in the order of ids. They come back with [`Unreported::put_back`] if the report is lost.
    pub fn take(&self, most: usize) -> Taken {
        // Before the keys: one that is noted meanwhile is urgent in the next report.
        let is_urgent = self.is_urgent.swap(false, Relaxed);
        let mut keys = lock(&self.keys);
        let taken: Vec<KeyId> = keys.iter().take(most).copied().collect();
        if let Some(last) = taken.last() {
            let rest = keys.split_off(last);
            *keys = rest;
            keys.remove(last);
        }
        Taken {
            keys: taken,
            is_urgent,
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.keys).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_once_and_can_come_back() {
        let unreported = Unreported::default();
        unreported.note([KeyId(1)]);
        assert!(unreported.is_empty(), "nothing is kept without a link");
        unreported.begin([KeyId(4), KeyId(2)]);
        unreported.note_urgent(KeyId(3));
        assert!(unreported.is_urgent());
        let urgent = unreported.take(2);
        assert_eq!(urgent.keys, [KeyId(2), KeyId(3)]);
        assert!(urgent.is_urgent && !unreported.is_urgent());
        let other = unreported.take(2);
        assert_eq!(other.keys, [KeyId(4)]);
        assert!(!other.is_urgent && unreported.take(2).keys.is_empty());
        unreported.put_back(other);
        assert!(!unreported.is_urgent());
        unreported.put_back(urgent);
        assert!(unreported.is_urgent(), "it is urgent until it has arrived");
        unreported.note([KeyId(2), KeyId(2)]);
        assert_eq!(unreported.take(9).keys, [KeyId(2), KeyId(3), KeyId(4)]);
    }
}
