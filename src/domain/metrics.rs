//! Counters of a running server: counted where things happen, and summed up when a client requests them.
//!
//! Counting must not slow a verification down measurably. So each thread counts in a slot of its own (threads beyond
//! [`SLOTS`] share slots), and only a request for the counters sums the slots up.

use crate::domain::keys::verdict::Code;
use crate::domain::time::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The number of slots.
const SLOTS: usize = 32;

/// Every code, in alphabetical order.
pub const CODES: [Code; 15] = [
    Code::Disabled,
    Code::Expired,
    Code::InsufficientScope,
    Code::IpNotAllowed,
    Code::Malformed,
    Code::NotFound,
    Code::NotYetValid,
    Code::OutsideWorkspace,
    Code::OwnerDisabled,
    Code::RateLimited,
    Code::ReadOnly,
    Code::UsageExceeded,
    Code::Valid,
    Code::WorkspaceDisabled,
    Code::WrongHeader,
];

/// Upper bounds of the buckets for durations of verifications, in nanoseconds: 1 µs to 100 ms.
pub const VERIFY_BOUNDS_NS: [u64; 12] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
];

/// Upper bounds of the buckets for durations of commits, in nanoseconds: 100 µs to 10 s.
pub const COMMIT_BOUNDS_NS: [u64; 12] = [
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A histogram of durations. The last bucket counts the durations beyond all bounds.
#[derive(Debug, Default)]
pub struct Spans {
    buckets: [AtomicU64; 13],
    sum_ns: AtomicU64,
}

/// The values of a [`Spans`] at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpanTotals {
    /// The count of each bucket, not cumulated; the last bucket is for durations beyond all bounds.
    pub buckets: [u64; 13],
    pub sum_ns: u64,
}

impl Spans {
    /// Counts a duration.
    pub fn count(&self, bounds_ns: &[u64; 12], span: Duration) {
        let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds_ns
            .iter()
            .position(|bound| ns <= *bound)
            .unwrap_or(bounds_ns.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// The counts so far.
    pub fn totals(&self) -> SpanTotals {
        SpanTotals {
            buckets: std::array::from_fn(|n| self.buckets[n].load(Relaxed)),
            sum_ns: self.sum_ns.load(Relaxed),
        }
    }
}

impl SpanTotals {
    fn add(&mut self, other: &SpanTotals) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += more;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }
}

/// The counters of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    codes: [AtomicU64; CODES.len()],
    spans: Spans,
}

/// The counters of one server.
#[derive(Debug)]
pub struct Figures {
    slots: [Slot; SLOTS],
    /// The number of changes that wait for the writer.
    pub changes_waiting: AtomicI64,
    pub commits: Spans,
    pub commits_failed: AtomicU64,
    /// Commits without an answer whose outcome was found out: those that were saved, and those that were not.
    pub unanswered_saved: AtomicU64,
    pub unanswered_not_saved: AtomicU64,
    /// Audit events that were not written: refused attempts that arrived too fast, and events that were only in
    /// memory.
    pub events_lost: AtomicU64,
    /// The expiry of the served certificate, in milliseconds since 1970; `i64::MAX` without a certificate.
    certificate_ends_at: AtomicI64,
    pub backups_failed: AtomicU64,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            slots: Default::default(),
            changes_waiting: AtomicI64::new(0),
            commits: Spans::default(),
            commits_failed: AtomicU64::new(0),
            unanswered_saved: AtomicU64::new(0),
            unanswered_not_saved: AtomicU64::new(0),
            events_lost: AtomicU64::new(0),
            certificate_ends_at: AtomicI64::new(i64::MAX),
            backups_failed: AtomicU64::new(0),
        }
    }
}

impl Figures {
    /// Counts a verdict and the time that it took.
    pub fn count_verdict(&self, code: Code, span: Duration) {
        let slot = SLOT.with(|slot| &self.slots[*slot % SLOTS]);
        slot.codes[place(code)].fetch_add(1, Relaxed);
        slot.spans.count(&VERIFY_BOUNDS_NS, span);
    }

    /// The number of verdicts with each code, in the order of [`CODES`].
    pub fn verdicts(&self) -> [u64; CODES.len()] {
        std::array::from_fn(|code| {
            let counts = self.slots.iter().map(|slot| slot.codes[code].load(Relaxed));
            counts.sum()
        })
    }

    /// The durations of verdicts.
    pub fn verify_spans(&self) -> SpanTotals {
        let mut sum = SpanTotals::default();
        for slot in &self.slots {
            sum.add(&slot.spans.totals());
        }
        sum
    }

    /// Records the expiry of the served certificate. The code that loads a certificate calls this.
    pub fn set_certificate_end(&self, ends_at: Option<Timestamp>) {
        let ends_at = ends_at.map_or(i64::MAX, |at| at.0);
        self.certificate_ends_at.store(ends_at, Relaxed);
    }

    /// The expiry of the served certificate; `None` without a certificate.
    pub fn certificate_end(&self) -> Option<Timestamp> {
        let at = self.certificate_ends_at.load(Relaxed);
        (at != i64::MAX).then_some(Timestamp(at))
    }
}

/// The connections and requests of this process. They are counted for the process, because one process never serves
/// two servers.
#[derive(Debug)]
pub struct Traffic {
    /// The number of open connections.
    pub connections: AtomicI64,
    /// The number of connections that were accepted since the start.
    pub accepted: AtomicU64,
    /// The number of requests that wait for a blocking thread.
    pub requests_waiting: AtomicI64,
}

/// The counters of this process; see [`Traffic`].
pub static TRAFFIC: Traffic = Traffic {
    connections: AtomicI64::new(0),
    accepted: AtomicU64::new(0),
    requests_waiting: AtomicI64::new(0),
};

thread_local! {
    static SLOT: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Relaxed)
    };
}

/// The position of a code in [`CODES`].
fn place(code: Code) -> usize {
    match code {
        Code::Disabled => 0,
        Code::Expired => 1,
        Code::InsufficientScope => 2,
        Code::IpNotAllowed => 3,
        Code::Malformed => 4,
        Code::NotFound => 5,
        Code::NotYetValid => 6,
        Code::OutsideWorkspace => 7,
        Code::OwnerDisabled => 8,
        Code::RateLimited => 9,
        Code::ReadOnly => 10,
        Code::UsageExceeded => 11,
        Code::Valid => 12,
        Code::WorkspaceDisabled => 13,
        Code::WrongHeader => 14,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_place() {
        for (number, code) in CODES.iter().enumerate() {
            assert_eq!(place(*code), number, "{}", code.as_str());
        }
    }

    #[test]
    fn what_threads_count_apart_is_told_together() {
        let figures = Figures::default();
        std::thread::scope(|scope| {
            for _ in 0..SLOTS * 2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        figures.count_verdict(Code::Valid, Duration::from_nanos(999));
                        figures.count_verdict(Code::Expired, Duration::from_secs(1));
                    }
                });
            }
        });
        let count = 200 * SLOTS as u64;
        let verdicts = figures.verdicts();
        assert_eq!((verdicts[12], verdicts[1], verdicts[5]), (count, count, 0));
        let spans = figures.verify_spans();
        assert_eq!((spans.buckets[0], spans.buckets[12]), (count, count));
        assert_eq!(spans.sum_ns, count * (999 + 1_000_000_000));
    }

    #[test]
    fn a_span_belongs_to_the_first_bound_that_it_does_not_exceed() {
        let spans = Spans::default();
        spans.count(&VERIFY_BOUNDS_NS, Duration::from_nanos(1_000));
        spans.count(&VERIFY_BOUNDS_NS, Duration::from_nanos(1_001));
        let totals = spans.totals();
        assert_eq!((totals.buckets[0], totals.buckets[1]), (1, 1));
    }
}
