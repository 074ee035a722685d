//! Token buckets: how many changes a subject may make in a burst, and how many per second after that.
//!
//! A change is charged to several subjects at once, such as a user and the workspaces around that user. Either all of
//! them can pay or none is charged. The number of buckets is limited, so that new subjects cannot fill the memory.

use std::collections::HashMap;
use std::hash::Hash;

/// How fast a bucket fills, and how many tokens it can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// With 0 a bucket never fills again.
    pub per_second: u32,
    /// At least 1.
    pub burst: u32,
}

/// One token in the unit of the buckets. With thousandths of a token, a bucket fills by whole units each millisecond.
const TOKEN: u64 = 1_000;

/// The buckets of many subjects, all with the same rate.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    subjects_max: usize,
    /// A subject that has no bucket here has a full one.
    buckets: HashMap<K, Bucket>,
}

/// The tokens left, in thousandths, and the time of that count.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u64,
    at_ms: u64,
}

impl Bucket {
    fn at(self, rate: Rate, now_ms: u64) -> Bucket {
        let gained = now_ms
            .saturating_sub(self.at_ms)
            .saturating_mul(u64::from(rate.per_second));
        Bucket {
            left: self.left.saturating_add(gained).min(full(rate)),
            at_ms: self.at_ms.max(now_ms),
        }
    }
}

fn full(rate: Rate) -> u64 {
    u64::from(rate.burst) * TOKEN
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// `subjects_max` is the number of buckets that are kept at the same time.
    pub fn new(rate: Rate, subjects_max: usize) -> Buckets<K> {
        Buckets {
            rate,
            subjects_max,
            buckets: HashMap::new(),
        }
    }

    /// Sets a new rate. A bucket that holds more than the new burst loses the rest.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes one token from each subject. If a subject has no token, nothing is taken, and the error is the number of
    /// seconds until all subjects have one.
    pub fn charge(&mut self, subjects: &[K], now_ms: u64) -> Result<(), u64> {
        let poorest = subjects.iter().map(|one| self.now(one, now_ms).left).min();
        let missing = TOKEN.saturating_sub(poorest.unwrap_or(TOKEN));
        if missing > 0 {
            let per_second = u64::from(self.rate.per_second.max(1)) * TOKEN;
            return Err(missing.div_ceil(per_second).max(1));
        }
        for subject in subjects {
            let bucket = self.now(subject, now_ms);
            self.make_room(subject, now_ms);
            let left = bucket.left.saturating_sub(TOKEN);
            self.buckets
                .insert(subject.clone(), Bucket { left, ..bucket });
        }
        Ok(())
    }

    /// Returns the tokens that [`Buckets::charge`] took, for a change that did not happen.
    pub fn refund(&mut self, subjects: &[K], now_ms: u64) {
        for subject in subjects {
            let bucket = self.now(subject, now_ms);
            if let Some(known) = self.buckets.get_mut(subject) {
                let left = bucket.left.saturating_add(TOKEN).min(full(self.rate));
                *known = Bucket { left, ..bucket };
            }
        }
    }

    fn now(&self, subject: &K, now_ms: u64) -> Bucket {
        match self.buckets.get(subject) {
            Some(bucket) => bucket.at(self.rate, now_ms),
            None => Bucket {
                left: full(self.rate),
                at_ms: now_ms,
            },
        }
    }

    /// Removes the buckets that are full again; if there are none, removes the fullest one. A nearly empty bucket
    /// stays, so that a subject cannot get a new bucket by flooding the server with new subjects.
    fn make_room(&mut self, newcomer: &K, now_ms: u64) {
        if self.buckets.len() < self.subjects_max || self.buckets.contains_key(newcomer) {
            return;
        }
        let rate = self.rate;
        self.buckets
            .retain(|_, bucket| bucket.at(rate, now_ms).left < full(rate));
        if self.buckets.len() < self.subjects_max {
            return;
        }
        let left = |bucket: &Bucket| bucket.at(rate, now_ms).left;
        let fullest = self.buckets.iter().max_by_key(|(_, bucket)| left(bucket));
        if let Some(fullest) = fullest.map(|(subject, _)| subject.clone()) {
            self.buckets.remove(&fullest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(subjects_max: usize) -> Buckets<u32> {
        let rate = Rate {
            per_second: 20,
            burst: 3,
        };
        Buckets::new(rate, subjects_max)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut buckets = buckets(9);
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[1], 0), Ok(()));
        }
        assert_eq!(buckets.charge(&[1], 49), Err(1));
        assert_eq!(buckets.charge(&[1], 50), Ok(()));
        assert_eq!(buckets.charge(&[1], 50), Err(1));
        // However long the subject waits, its bucket never holds more than the burst.
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[1], 1_000_000), Ok(()));
        }
        assert_eq!(buckets.charge(&[1], 1_000_000), Err(1));
    }

    #[test]
    fn a_change_that_one_subject_cannot_pay_is_charged_to_none() {
        let mut buckets = buckets(9);
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[1, 7], 0), Ok(()));
        }
        assert_eq!(buckets.charge(&[2, 7], 0), Err(1));
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[2], 0), Ok(()));
        }
    }

    #[test]
    fn what_is_given_back_can_be_spent_again_and_is_never_more_than_the_burst() {
        let mut buckets = buckets(9);
        assert_eq!(buckets.charge(&[1], 0), Ok(()));
        buckets.refund(&[1], 0);
        buckets.refund(&[1], 0);
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[1], 0), Ok(()));
        }
        assert_eq!(buckets.charge(&[1], 0), Err(1));
    }

    #[test]
    fn a_slow_rate_says_how_long_to_wait() {
        let rate = Rate {
            per_second: 1,
            burst: 1,
        };
        let mut buckets = Buckets::new(rate, 9);
        assert_eq!(buckets.charge(&[1], 0), Ok(()));
        assert_eq!(buckets.charge(&[1], 10), Err(1));
        assert_eq!(buckets.charge(&[1], 1_000), Ok(()));
    }

    #[test]
    fn new_subjects_neither_fill_the_memory_nor_free_the_one_that_floods() {
        let mut buckets = buckets(9);
        for _ in 0..3 {
            assert_eq!(buckets.charge(&[0], 0), Ok(()));
        }
        for newcomer in 1..1_000 {
            assert_eq!(buckets.charge(&[newcomer], 0), Ok(()));
            assert!(buckets.buckets.len() <= 9);
        }
        assert_eq!(buckets.charge(&[0], 0), Err(1));
    }
}
