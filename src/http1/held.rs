//! The memory that is held for clients: bytes of bodies that have not arrived completely, and of answers that clients
//! have not read. Each kind has a limit for all clients together. After much of it has been freed, the server returns
//! memory to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use super::limits::{FREE_BODY_BYTES, FREE_HEAD_BYTES, Limits, SMALL_BODY_BYTES};

/// The estimated memory of a connection, without its counted bodies and answers.
const CONNECTION_BYTES: usize = 16 * 1024;

/// Memory is returned only if at least this much has been freed.
const GIVE_BACK_BYTES: usize = 8 * 1024 * 1024;

/// The number of ticks for which the held memory must stay low, so that the server does not return memory that it needs
/// again immediately.
const GIVE_BACK_TICKS: u32 = 5;

/// All memory that is held for the clients of a server.
pub struct Held {
    pub answers: Arc<Budget>,
    heads: Arc<Budget>,
    small_bodies: Arc<Budget>,
    large_bodies: Arc<Budget>,
}

impl Held {
    pub fn new(limits: &Limits) -> Held {
        Held {
            answers: Budget::new(limits.answers_bytes_max),
            heads: Budget::new(limits.heads_bytes_max),
            small_bodies: Budget::new(limits.small_bodies_bytes_max),
            large_bodies: Budget::new(limits.bodies_bytes_max),
        }
    }

    /// An estimate of the bytes that this many connections take.
    pub fn bytes(&self, connections: usize) -> usize {
        let used = self.budgets().map(|budget| budget.used.load(Relaxed));
        used.iter().sum::<usize>() + connections * CONNECTION_BYTES
    }

    /// An estimate of the most bytes that were held since the last call. `connections_peak` is the most connections
    /// since then. Each budget may have had its most at another time.
    pub fn take_peak_bytes(&self, connections_peak: usize) -> usize {
        let peaks = self.budgets().map(Budget::take_peak);
        peaks.iter().sum::<usize>() + connections_peak * CONNECTION_BYTES
    }

    fn budgets(&self) -> [&Budget; 4] {
        [
            &self.answers,
            &self.heads,
            &self.small_bodies,
            &self.large_bodies,
        ]
    }
}

/// A limit of bytes for many connections together.
pub struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    /// The most bytes that were used since the last [`Budget::take_peak`].
    peak: AtomicUsize,
}

impl Budget {
    fn new(bytes_max: usize) -> Arc<Budget> {
        Arc::new(Budget {
            bytes_max,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        })
    }

    /// The most bytes that were used since the last call.
    fn take_peak(&self) -> usize {
        let used = self.used.load(Relaxed);
        self.peak.swap(used, Relaxed).max(used)
    }

    /// Takes `bytes` unconditionally, and returns whether anything was left before. The last request may take more than
    /// what is left, so that a request larger than the whole budget is possible, one at a time.
    pub fn take(self: &Arc<Budget>, bytes: usize) -> (Hold, bool) {
        let mut hold = Hold::default();
        let before = hold.add(self, bytes);
        (hold, before < self.bytes_max)
    }
}

/// Bytes that were taken from a budget; dropping it returns them.
#[derive(Default)]
pub struct Hold {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Hold {
    /// Takes `more` bytes, and returns how many were taken before by all requests together.
    fn add(&mut self, budget: &Arc<Budget>, more: usize) -> usize {
        self.bytes += more;
        let budget = self.budget.get_or_insert_with(|| Arc::clone(budget));
        let before = budget.used.fetch_add(more, Relaxed);
        budget.peak.fetch_max(before + more, Relaxed);
        before
    }

    /// Takes the bytes that are missing to `bytes`; `false` if the budget does not have them.
    fn grow_to(&mut self, budget: &Arc<Budget>, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        more == 0 || self.add(budget, more) + more <= budget.bytes_max
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Relaxed);
        }
    }
}

/// The memory of one head, until the server waits for the next head.
#[derive(Default)]
pub struct HeadHold(Hold);

impl HeadHold {
    /// Takes the memory for a buffer of `bytes`; `false` if there is not enough. Everything counts twice, because a
    /// copy of the head exists while the request is answered.
    pub fn grow_to(&mut self, held: &Held, bytes: usize) -> bool {
        let counted = 2 * bytes.saturating_sub(FREE_HEAD_BYTES);
        self.0.grow_to(&held.heads, counted)
    }
}

/// The memory of one body, until its request is answered.
#[derive(Default)]
pub struct BodyHold {
    small: Hold,
    large: Hold,
}

impl BodyHold {
    /// Takes the memory for a body that has now `bytes`; `false` if there is not enough.
    pub fn grow_to(&mut self, held: &Held, bytes: usize) -> bool {
        let small = bytes.min(SMALL_BODY_BYTES).saturating_sub(FREE_BODY_BYTES);
        let large = bytes.saturating_sub(SMALL_BODY_BYTES);
        self.small.grow_to(&held.small_bodies, small)
            && self.large.grow_to(&held.large_bodies, large)
    }
}

/// The bytes of an answer with their part of a budget, which is returned when the last reference is dropped.
struct HeldBytes {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Connects bytes with their hold. The unused capacity of a body that grew while it was written is freed.
pub fn tied(bytes: Bytes, hold: Hold) -> Bytes {
    let mut exact = Vec::from(bytes);
    exact.shrink_to_fit();
    Bytes::from_owner(HeldBytes {
        bytes: exact.into(),
        _hold: hold,
    })
}

/// Detects when most of the held memory has been freed.
#[derive(Default)]
pub struct Ebb {
    /// The most bytes that were held since the server last returned memory.
    peak: usize,
    /// The tick since which the held memory has been low.
    low_since: Option<u32>,
}

impl Ebb {
    /// Whether the server should return memory now. `held` is the number of bytes that are held at this tick, and `peak`
    /// the most since the tick before: a flood can come and go between two ticks.
    pub fn is_out(&mut self, held: usize, peak: usize, tick: u32) -> bool {
        self.peak = self.peak.max(peak);
        if !self.is_low(held) {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(tick);
        if tick.saturating_sub(since) < GIVE_BACK_TICKS {
            return false;
        }
        *self = Ebb {
            peak: held,
            low_since: None,
        };
        true
    }

    /// Whether there is memory to return, if the held memory stays low.
    pub fn is_low(&self, held: usize) -> bool {
        held <= self.peak / 2 && self.peak - held >= GIVE_BACK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn held() -> Held {
        Held::new(&Limits {
            answers_bytes_max: 100,
            small_bodies_bytes_max: 100 * KIB,
            bodies_bytes_max: 100 * KIB,
            ..Limits::default()
        })
    }

    #[test]
    fn small_parts_of_bodies_have_a_budget_of_their_own_and_the_first_bytes_none() {
        let held = held();
        let mut first = BodyHold::default();
        assert!(first.grow_to(&held, 164 * KIB));
        assert_eq!(held.bytes(0), 160 * KIB);
        let mut second = BodyHold::default();
        assert!(second.grow_to(&held, 44 * KIB));
        assert!(
            !BodyHold::default().grow_to(&held, 5 * KIB),
            "small ones are used up"
        );
        assert!(
            BodyHold::default().grow_to(&held, 4 * KIB),
            "a verification goes on"
        );
        drop(first);
        assert!(BodyHold::default().grow_to(&held, 64 * KIB));
        drop(second);
        assert_eq!(held.bytes(0), 0);
    }

    #[test]
    fn large_heads_have_a_budget_and_small_ones_none() {
        let held = Held::new(&Limits {
            heads_bytes_max: 100 * KIB,
            ..Limits::default()
        });
        let mut first = HeadHold::default();
        assert!(first.grow_to(&held, 32 * KIB));
        assert!(first.grow_to(&held, 64 * KIB));
        assert_eq!(held.bytes(0), 96 * KIB);
        assert!(!HeadHold::default().grow_to(&held, 19 * KIB));
        assert!(HeadHold::default().grow_to(&held, 16 * KIB));
        drop(first);
        assert!(HeadHold::default().grow_to(&held, 64 * KIB));
        assert_eq!(held.bytes(0), 0);
    }

    #[test]
    fn an_answer_may_be_larger_than_the_budget_but_only_one() {
        let held = held();
        let (hold, fits) = held.answers.take(1000);
        assert!(fits);
        assert!(!held.answers.take(1).1);
        let bytes = tied(Bytes::from(vec![7; 10]), hold);
        let copy = bytes.clone();
        drop(bytes);
        assert!(!held.answers.take(1).1, "a reference holds it");
        assert_eq!(copy.as_ref(), [7; 10]);
        drop(copy);
        assert!(held.answers.take(1).1);
    }

    #[test]
    fn memory_is_given_back_once_when_most_of_it_has_gone_for_a_while() {
        const MIB: usize = 1024 * KIB;
        let mut ebb = Ebb::default();
        let mut ticks = 0..;
        let mut see = |held: usize, times: usize| {
            let seen: Vec<bool> = (0..times)
                .map(|_| ebb.is_out(held, held, ticks.next().unwrap()))
                .collect();
            seen.iter().filter(|out| **out).count()
        };
        assert_eq!(
            see(7 * MIB, 20) + see(0, 20),
            0,
            "too little to be worth it"
        );
        assert_eq!(see(100 * MIB, 20), 0);
        assert_eq!(see(60 * MIB, 20), 0, "most of it is still there");
        assert_eq!(see(10 * MIB, 5) + see(100 * MIB, 1), 0, "needed again");
        assert_eq!(see(10 * MIB, 50), 1);
        assert_eq!(see(0, 50), 1);
        assert_eq!(see(0, 50), 0);
    }

    #[test]
    fn memory_that_was_held_between_two_ticks_is_given_back_too() {
        let held = Held::new(&Limits::default());
        let mut ebb = Ebb::default();
        let bodies: Vec<BodyHold> = (0..300)
            .map(|_| {
                let mut body = BodyHold::default();
                assert!(body.grow_to(&held, 64 * KIB));
                body
            })
            .collect();
        drop(bodies);
        let given_back = (0..50)
            .filter(|tick| ebb.is_out(held.bytes(0), held.take_peak_bytes(0), *tick))
            .count();
        assert_eq!(given_back, 1);
    }
}
