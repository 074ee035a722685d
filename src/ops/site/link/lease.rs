//! The lease of a linked site: how long it may answer after the last signed word of its server. Every verification asks this,
//! so it is a few numbers without a lock.
//!
//! A lease is counted from the moment at which the question was sent, by a clock of this machine that only goes forward, also
//! while the machine sleeps. So no date has to be right, and an answer that was held up has so much less left. If the date
//! jumps ahead meanwhile, as after a virtual machine was paused, a lease ends at once; no date makes one longer.

use crate::domain::time::Timestamp;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Reads the clock of leases: milliseconds since the machine was booted, the time in which it slept included.
pub type SteadyClock = fn() -> i64;

/// How far the date may run ahead of the clock of leases.
const DATE_SLACK_MS: i64 = 1_000;
/// The end of a lease that there is not.
const NONE: i64 = i64::MIN;

/// When a question was sent, by both clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    pub steady_ms: i64,
    pub wall: Timestamp,
}

/// See the heading. A site that is not linked has no clock here, and then nothing of this applies.
pub struct Lease {
    clock: OnceLock<SteadyClock>,
    /// By the clock of leases.
    sent_ms: AtomicI64,
    until_ms: AtomicI64,
    /// From this date on it has ended in any case.
    wall_until: AtomicI64,
    lasts_ms: AtomicI64,
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// There was no word yet, or what it allowed was taken back.
    None,
    /// It ended; the time since the last word was asked for.
    Over { since_ms: i64 },
    Running {
        since_ms: i64,
        left_ms: i64,
        lasts_ms: i64,
    },
}

impl Default for Lease {
    fn default() -> Lease {
        Lease {
            clock: OnceLock::new(),
            sent_ms: AtomicI64::new(NONE),
            until_ms: AtomicI64::new(NONE),
            wall_until: AtomicI64::new(NONE),
            lasts_ms: AtomicI64::new(0),
        }
    }
}

impl Lease {
    /// Makes leases the condition of every verdict, until the process ends.
    pub fn demand(&self, clock: SteadyClock) {
        let _ = self.clock.set(clock);
    }

    /// Whether verdicts need a lease.
    pub fn is_demanded(&self) -> bool {
        self.clock.get().is_some()
    }

    /// The moment, to be read before a question is sent.
    pub fn sending(&self, wall: Timestamp) -> Sent {
        let steady_ms = self.clock.get().map_or(0, |clock| clock());
        Sent { steady_ms, wall }
    }

    /// Whether the date has run so far ahead since a question was sent that no lease is left. `wall` is the date before the time
    /// of the answer counts: the server's date may be later than that of this machine.
    pub fn has_jumped(sent: Sent, lasts_ms: i64, wall: Timestamp) -> bool {
        wall.0.saturating_sub(sent.wall.0) > lasts_ms.saturating_add(DATE_SLACK_MS)
    }

    /// Counts a lease from the moment at which its question was sent; `wall` is the date now. `false` if none is left of it.
    pub fn grant(&self, sent: Sent, lasts_ms: i64, wall: Timestamp) -> bool {
        let Some(clock) = self.clock.get() else {
            return false;
        };
        let until_ms = sent.steady_ms.saturating_add(lasts_ms);
        let left_ms = until_ms.saturating_sub(clock());
        if left_ms <= 0 {
            return false;
        }
        let wall_until = wall.0.saturating_add(left_ms + DATE_SLACK_MS);
        self.sent_ms.store(sent.steady_ms, Relaxed);
        self.lasts_ms.store(lasts_ms, Relaxed);
        self.wall_until.store(wall_until, Relaxed);
        self.until_ms.store(until_ms, Relaxed);
        true
    }

    /// Ends the lease now: what it was granted for is no longer what the site has.
    pub fn end(&self) {
        self.until_ms.store(NONE, Relaxed);
    }

    fn allows_at(&self, now_ms: i64, wall: Timestamp) -> bool {
        now_ms < self.until_ms.load(Relaxed) && wall.0 < self.wall_until.load(Relaxed)
    }

    pub fn left(&self, wall: Timestamp) -> Left {
        let Some(clock) = self.clock.get() else {
            return Left::None;
        };
        let (sent_ms, until_ms) = (self.sent_ms.load(Relaxed), self.until_ms.load(Relaxed));
        if until_ms == NONE {
            return Left::None;
        }
        let now_ms = clock();
        let since_ms = now_ms.saturating_sub(sent_ms).max(0);
        match self.allows_at(now_ms, wall) {
            true => Left::Running {
                since_ms,
                left_ms: until_ms.saturating_sub(now_ms).max(0),
                lasts_ms: self.lasts_ms.load(Relaxed),
            },
            _ => Left::Over { since_ms },
        }
    }
}

impl Left {
    /// The time since the last word was asked for.
    pub fn since_ms(self) -> Option<i64> {
        match self {
            Left::None => None,
            Left::Over { since_ms } | Left::Running { since_ms, .. } => Some(since_ms),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static STEADY: Cell<i64> = const { Cell::new(0) };
    }

    /// Sets the clock of leases of this thread.
    pub fn set_steady(ms: i64) {
        STEADY.set(ms);
    }

    pub fn steady() -> i64 {
        STEADY.get()
    }

    const NOON: Timestamp = Timestamp(1_800_000_000_000);

    fn after(ms: i64) -> Timestamp {
        Timestamp(NOON.0 + ms)
    }

    /// A lease of ten seconds whose question was sent at 1,000, and whose answer came at `came_ms`.
    fn granted(came_ms: i64, wall: Timestamp) -> (Lease, bool) {
        let lease = Lease::default();
        lease.demand(steady);
        set_steady(1_000);
        let sent = lease.sending(NOON);
        set_steady(came_ms);
        let has_jumped = Lease::has_jumped(sent, 10_000, wall);
        let is_granted = !has_jumped && lease.grant(sent, 10_000, wall);
        (lease, is_granted)
    }

    #[track_caller]
    fn check(lease: &Lease, steady_ms: i64, wall: Timestamp, allows: bool) {
        set_steady(steady_ms);
        let is_running = matches!(lease.left(wall), Left::Running { .. });
        assert_eq!(is_running, allows, "at {steady_ms}");
    }

    #[test]
    fn a_lease_counts_from_the_question_and_not_from_the_answer() {
        let (lease, is_granted) = granted(4_000, after(3_000));
        assert!(is_granted);
        check(&lease, 10_999, after(9_999), true);
        check(&lease, 11_000, after(10_000), false);
        assert_eq!(lease.left(after(10_000)), Left::Over { since_ms: 10_000 });
        // A word that comes after its lease is over allows nothing.
        let (lease, is_granted) = granted(11_000, after(10_000));
        assert!(!is_granted);
        check(&lease, 11_000, after(10_000), false);
        assert_eq!(lease.left(after(10_000)), Left::None);
    }

    #[test]
    fn no_date_makes_a_lease_longer_and_one_that_jumps_ahead_ends_it() {
        let (lease, _) = granted(1_010, after(10));
        for back in [0, 5_000, NOON.0] {
            check(&lease, 10_999, after(-back), true);
            check(&lease, 11_000, after(-back), false);
        }
        check(&lease, 2_000, after(11_500), false);
        // The answer waited while the machine was paused.
        assert!(!granted(1_010, after(3_600_000)).1);
        assert!(granted(1_010, after(-3_600_000)).1);
    }

    #[test]
    fn what_is_taken_back_allows_nothing_and_without_a_link_nothing_is_asked() {
        let (lease, _) = granted(1_010, NOON);
        set_steady(3_000);
        let running = Left::Running {
            since_ms: 2_000,
            left_ms: 8_000,
            lasts_ms: 10_000,
        };
        assert_eq!(lease.left(NOON), running);
        lease.end();
        check(&lease, 3_000, NOON, false);
        let unlinked = Lease::default();
        let sent = unlinked.sending(NOON);
        assert!(!unlinked.grant(sent, 10_000, NOON));
        assert_eq!(unlinked.left(NOON), Left::None);
        assert!(!unlinked.is_demanded());
    }

    #[test]
    fn a_shorter_lease_takes_the_place_of_a_longer_one() {
        let (lease, _) = granted(1_010, NOON);
        set_steady(2_000);
        assert!(lease.grant(lease.sending(NOON), 2_000, NOON));
        check(&lease, 3_999, NOON, true);
        check(&lease, 4_000, NOON, false);
    }
}
