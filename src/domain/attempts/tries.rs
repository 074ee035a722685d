//! Consecutive failures of one subject: a few have no effect, then each one doubles the wait until the next attempt.
//!
//! An attempt reserves a slot before its outcome is known, so that simultaneous attempts cannot exceed the limit
//! together. A successful attempt releases its slot.

use std::collections::HashMap;
use std::hash::Hash;

/// The consequences of failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// The number of consecutive failures before the first wait.
    pub free: u32,
    /// The first wait; each further failure doubles it.
    pub wait_s: u64,
    pub wait_s_max: u64,
    /// The failures are forgotten when this time has passed since the latest one.
    pub forgotten_s: u64,
}

/// The failures of many subjects, all with the same rules.
#[derive(Debug)]
pub struct Tries<K> {
    rules: Rules,
    subjects_max: usize,
    rows: HashMap<K, NetworkAttempts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct NetworkAttempts {
    failures: u32,
    /// The number of attempts whose outcome is not known yet.
    pending: u32,
    failed_ms: u64,
    /// No attempt may begin before this time.
    until_ms: u64,
}

impl<K: Copy + Eq + Hash> Tries<K> {
    /// `subjects_max` is the number of subjects that are remembered at the same time.
    pub fn new(rules: Rules, subjects_max: usize) -> Tries<K> {
        Tries {
            rules,
            subjects_max,
            rows: HashMap::new(),
        }
    }

    /// Whether an attempt may begin; otherwise the seconds until the next attempt may.
    pub fn check(&self, subject: K, steady_ms: u64) -> Result<(), u64> {
        let Some(row) = self.rows.get(&subject) else {
            return Ok(());
        };
        if steady_ms < row.until_ms {
            return Err((row.until_ms - steady_ms).div_ceil(1000));
        }
        let room = self
            .rules
            .free
            .saturating_sub(self.failures(row, steady_ms));
        match row.pending < room.max(1) {
            true => Ok(()),
            false => Err(1),
        }
    }

    /// Reserves a slot for an attempt that [`Tries::check`] has permitted.
    pub fn begin(&mut self, subject: K, steady_ms: u64) {
        if self.rows.len() >= self.subjects_max && !self.rows.contains_key(&subject) {
            self.make_room(steady_ms);
        }
        self.rows.entry(subject).or_default().pending += 1;
    }

    /// Ends an attempt that has begun.
    pub fn end(&mut self, subject: K, failed: bool, steady_ms: u64) {
        let Some(mut row) = self.rows.get(&subject).copied() else {
            return;
        };
        row.pending = row.pending.saturating_sub(1);
        if failed {
            row.failures = self.failures(&row, steady_ms).saturating_add(1);
            row.failed_ms = steady_ms;
            row.until_ms = match self.wait_ms(row.failures) {
                0 => 0,
                wait_ms => steady_ms + wait_ms,
            };
        }
        self.keep(subject, row);
    }

    /// Forgets the failures of a subject. Attempts that have begun continue.
    pub fn forget(&mut self, subject: K) {
        if let Some(row) = self.rows.get(&subject) {
            let pending = row.pending;
            self.keep(
                subject,
                NetworkAttempts {
                    pending,
                    ..NetworkAttempts::default()
                },
            );
        }
    }

    /// Forgets the failures of all subjects for which `is_meant` is true.
    pub fn forget_where(&mut self, is_meant: impl Fn(&K) -> bool) {
        let meant: Vec<K> = self
            .rows
            .keys()
            .filter(|key| is_meant(key))
            .copied()
            .collect();
        meant.into_iter().for_each(|subject| self.forget(subject));
    }

    /// Whether any subject for which `is_meant` is true has failed.
    pub fn has_where(&self, is_meant: impl Fn(&K) -> bool) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|(subject, row)| row.failures > 0 && is_meant(subject))
    }

    fn keep(&mut self, subject: K, row: NetworkAttempts) {
        match row.failures == 0 && row.pending == 0 {
            true => drop(self.rows.remove(&subject)),
            false => drop(self.rows.insert(subject, row)),
        }
    }

    /// The number of failures that still count.
    fn failures(&self, row: &NetworkAttempts, steady_ms: u64) -> u32 {
        let forgotten = steady_ms.saturating_sub(row.failed_ms) >= self.rules.forgotten_s * 1000;
        if forgotten { 0 } else { row.failures }
    }

    fn wait_ms(&self, failures: u32) -> u64 {
        let Some(beyond) = failures.checked_sub(self.rules.free) else {
            return 0;
        };
        let wait_s = self.rules.wait_s << beyond.min(20);
        wait_s.min(self.rules.wait_s_max) * 1000
    }

    /// Forgets the subject with the fewest failures; among equals the one whose latest failure is the oldest. A new
    /// subject is never refused for lack of space, and a flood of new subjects displaces only other new subjects.
    fn make_room(&mut self, steady_ms: u64) {
        let idle = self.rows.iter().filter(|(_, row)| row.pending == 0);
        let least = idle.min_by_key(|(_, row)| (self.failures(row, steady_ms), row.failed_ms));
        if let Some(subject) = least.map(|(subject, _)| *subject) {
            self.rows.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        free: 3,
        wait_s: 60,
        wait_s_max: 200,
        forgotten_s: 1_000,
    };

    fn fail(tries: &mut Tries<u32>, subject: u32, at_ms: u64) -> Result<(), u64> {
        tries.check(subject, at_ms)?;
        tries.begin(subject, at_ms);
        tries.end(subject, true, at_ms);
        Ok(())
    }

    #[test]
    fn waits_double_up_to_their_maximum_and_end_with_the_row() {
        let mut tries = Tries::new(RULES, 9);
        let mut now = 0;
        for _ in 0..3 {
            fail(&mut tries, 1, now).unwrap();
        }
        for wait_s in [60, 120, 200, 200] {
            assert_eq!(tries.check(1, now), Err(wait_s));
            assert_eq!(tries.check(1, now + wait_s * 1000 - 1), Err(1));
            now += wait_s * 1000;
            fail(&mut tries, 1, now).unwrap();
        }
        assert_eq!(fail(&mut tries, 2, now), Ok(()));
        // A subject that waits long enough starts again without failures.
        now += RULES.forgotten_s * 1000;
        for _ in 0..3 {
            fail(&mut tries, 1, now).unwrap();
        }
        assert_eq!(tries.check(1, now), Err(60));
        tries.forget(1);
        assert_eq!(tries.check(1, now), Ok(()));
    }

    #[test]
    fn attempts_at_the_same_time_do_not_pass_the_limit_together() {
        let mut tries = Tries::new(RULES, 9);
        for _ in 0..3 {
            tries.check(1, 0).unwrap();
            tries.begin(1, 0);
        }
        assert_eq!(tries.check(1, 0), Err(1));
        // A successful attempt releases its slot, any number of times.
        for _ in 0..100 {
            tries.end(1, false, 0);
            tries.check(1, 0).unwrap();
            tries.begin(1, 0);
        }
        for _ in 0..3 {
            tries.end(1, true, 0);
        }
        assert_eq!(tries.check(1, 0), Err(60));
        // After the wait only one attempt at a time may begin.
        tries.check(1, 60_000).unwrap();
        tries.begin(1, 60_000);
        assert_eq!(tries.check(1, 60_000), Err(1));
    }

    #[test]
    fn a_flood_of_newcomers_does_not_make_a_row_forgotten() {
        let mut tries = Tries::new(RULES, 9);
        for _ in 0..2 {
            fail(&mut tries, 0, 0).unwrap();
        }
        for newcomer in 1..1_000 {
            fail(&mut tries, newcomer, 1).unwrap();
            assert!(tries.rows.len() <= 9);
        }
        fail(&mut tries, 0, 2).unwrap();
        assert_eq!(tries.check(0, 2), Err(60));
    }
}
