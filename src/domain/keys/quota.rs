//! Rate limits and use limits: the only state that a verification changes.

pub use super::uses::{Block, Uses, block};
use std::collections::VecDeque;

/// The largest number of requests in a window. Larger numbers are refused when a key is issued.
pub const RATE_LIMIT_MAX: u64 = 1 << 32;
/// The longest window: 31 days.
pub const WINDOW_S_MAX: u64 = 31 * 86_400;
/// The largest use limit of a key.
pub const USES_MAX: u64 = 1 << 53;
/// The largest number of slots in a window, which limits its memory.
const SLOTS: u64 = 1_000;

/// At most `limit` requests in any `window_s` seconds. A limit of 0 refuses every request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RateLimit {
    pub limit: u64,
    pub window_s: u64,
}

impl RateLimit {
    /// The part of this limit that each of several nodes may use without asking the others. All parts together are less than one
    /// request a node more than the limit. A limit of 0 stays 0.
    pub fn share(self, nodes: u64) -> RateLimit {
        RateLimit {
            limit: self.limit.div_ceil(nodes.max(1)),
            ..self
        }
    }

    /// Whether this limit can never allow more requests than `most` does: in any `most.window_s` seconds at most
    /// `most.limit`.
    ///
    /// With the same window or a longer one, all requests of those seconds lie in one window of this limit. With a
    /// shorter one they lie in as many windows as are needed to cover those seconds, each of which may be full. So 30
    /// in 30 seconds are within 60 in 60 seconds, and so are 60 in an hour. 2 in one second are not, although few keys
    /// make two requests a second for a whole minute.
    pub fn is_within(self, most: RateLimit) -> bool {
        // Neither number is large enough to overflow: at most 2^32 times 2^22.
        let windows = most.window_s.div_ceil(self.window_s.max(1)).max(1);
        self.limit.saturating_mul(windows) <= most.limit
    }
}

/// The state of a key's rate limit after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateStatus {
    pub rate: RateLimit,
    pub remaining: u64,
    /// After an accepted request: the seconds until used quota begins to return. After a refused request: the seconds
    /// until this request would be accepted. At least 1.
    pub reset_s: u64,
}

/// The counters of one key. They share one mutex, so that the decision and the spending are one step.
#[derive(Debug, Default)]
pub struct Counters {
    pub window: Window,
    /// The window of the policy's bound, where the key's own limit is looser than the bound.
    pub bound: Option<Box<Window>>,
    pub uses: Option<Uses>,
    /// When the stored number was last looked at because too few uses were left of it, on the steady clock.
    pub looked_ms: Option<u64>,
}

/// How often a key whose uses seem to be spent is looked up, because another node may have given some back or set another number.
const LOOK_AGAIN_MS: u64 = 1_000;

/// A sliding window: the admitted requests by time, in slots of one millisecond, or of a thousandth of the window for
/// limits above a thousand.
///
/// The requests of a slot count until the last of them is one whole window old. So no window ever contains more
/// requests than the limit, and quota returns on time, or with large limits at most a thousandth of the window late.
/// Windows are only in memory, and are empty after a restart.
#[derive(Debug, Default)]
pub struct Window {
    /// (slot number, requests admitted in it), oldest first.
    slots: VecDeque<(u64, u64)>,
    spent: u64,
    /// The width of the slots. If it differs from that of the rate, the limit was edited.
    slot_ms: u64,
}

/// The result of spending from [`Counters`].
#[derive(Debug, Eq, PartialEq)]
pub enum SpendResult {
    /// The request was admitted and counted.
    Accepted {
        rate: Option<RateStatus>,
        uses_left: Option<u64>,
    },
    /// The store has uses left, but too few are reserved. The caller must reserve uses and try again. Nothing was
    /// spent.
    MustReserve,
    /// The window is full. Nothing was spent.
    RateLimited(RateStatus),
    /// All uses are spent. Nothing was spent by this request.
    UsageExceeded,
}

impl Counters {
    /// Decides on a request with cost `cost`. Spends its quota if the request is accepted, and nothing otherwise.
    /// `most` is the bound of the key's policy: if the key's own limit is not within it, both count.
    pub fn spend(
        &mut self,
        rate: Option<RateLimit>,
        most: Option<RateLimit>,
        cost: u64,
        steady_ms: u64,
    ) -> SpendResult {
        let most = self.counted_bound(rate, most);
        if let Err(refused) = self.admits(rate, most, cost, steady_ms) {
            return refused;
        }
        if let Some(uses) = &mut self.uses {
            uses.reserved -= cost;
        }
        let own = rate.map(|rate| self.window.take(rate, cost, steady_ms));
        let bound = most.map(|most| self.bounding().take(most, cost, steady_ms));
        let statuses = [own, bound].into_iter().flatten();
        SpendResult::Accepted {
            // The one that will refuse first.
            rate: statuses.min_by_key(|status| status.remaining),
            uses_left: self
                .uses
                .map(|uses| uses.reserved.saturating_add(uses.stored)),
        }
    }

    /// The result that [`Counters::spend`] would have, except that an accepted request is not counted.
    pub fn foresee(
        &mut self,
        rate: Option<RateLimit>,
        most: Option<RateLimit>,
        cost: u64,
        steady_ms: u64,
    ) -> SpendResult {
        let most = self.counted_bound(rate, most);
        match self.admits(rate, most, cost, steady_ms) {
            Err(refused) => refused,
            Ok(()) => SpendResult::Accepted {
                rate: rate.map(|rate| self.window.take(rate, 0, steady_ms)),
                uses_left: self
                    .uses
                    .map(|uses| uses.reserved.saturating_add(uses.stored)),
            },
        }
    }

    /// The bound of the policy, unless the key's own limit is within it. A bound that has counted goes on counting: an
    /// edit of the key's own limit gives back nothing of what was spent.
    fn counted_bound(&self, rate: Option<RateLimit>, most: Option<RateLimit>) -> Option<RateLimit> {
        most.filter(|most| self.bound.is_some() || !rate.is_some_and(|rate| rate.is_within(*most)))
    }

    /// Whether a request of this cost can be counted now. Nothing is counted.
    fn admits(
        &mut self,
        rate: Option<RateLimit>,
        most: Option<RateLimit>,
        cost: u64,
        steady_ms: u64,
    ) -> Result<(), SpendResult> {
        let own = rate.map(|rate| self.window.fits(rate, cost, steady_ms));
        let bound = most.map(|most| match &mut self.bound {
            Some(bound) => bound.fits(most, cost, steady_ms),
            None => Window::default().fits(most, cost, steady_ms),
        });
        let refused = [own, bound].into_iter().flatten().filter_map(Result::err);
        if let Some(status) = refused.max_by_key(|status| status.reset_s) {
            return Err(SpendResult::RateLimited(status));
        }
        match self.uses {
            None => Ok(()),
            Some(uses)
                if cost > uses.reserved.saturating_add(uses.stored)
                    || (uses.reserved == 0 && uses.stored == 0) =>
            {
                Err(SpendResult::UsageExceeded)
            }
            Some(uses) if cost > uses.reserved => Err(SpendResult::MustReserve),
            Some(_) => Ok(()),
        }
    }

    /// Whether the stored number of uses may be looked at again.
    pub fn may_look(&self, steady_ms: u64) -> bool {
        let since = |looked_ms| steady_ms.saturating_sub(looked_ms);
        self.looked_ms.is_none_or(|at| since(at) >= LOOK_AGAIN_MS)
    }

    /// Notes that the stored number is looked at now; `false` if that is too early.
    pub fn begin_look(&mut self, steady_ms: u64) -> bool {
        let may_look = self.may_look(steady_ms);
        if may_look {
            self.looked_ms = Some(steady_ms);
        }
        may_look
    }

    fn bounding(&mut self) -> &mut Window {
        self.bound.get_or_insert_default()
    }
}

impl Window {
    /// Counts one attempt, or refuses it with the time until the next attempt is possible.
    pub fn count(&mut self, rate: RateLimit, steady_ms: u64) -> Result<(), RateStatus> {
        self.fits(rate, 1, steady_ms)?;
        self.take(rate, 1, steady_ms);
        Ok(())
    }

    /// The requests that still count in the window.
    pub fn spent(&mut self, rate: RateLimit, steady_ms: u64) -> u64 {
        self.forget(rate, steady_ms);
        self.spent
    }

    fn fits(&mut self, rate: RateLimit, cost: u64, steady_ms: u64) -> Result<(), RateStatus> {
        self.forget(rate, steady_ms);
        let free = rate.limit.saturating_sub(self.spent);
        if rate.limit > 0 && cost <= free {
            return Ok(());
        }
        Err(RateStatus {
            rate,
            remaining: free,
            reset_s: self.seconds_until_free(rate, cost, steady_ms),
        })
    }

    fn take(&mut self, rate: RateLimit, cost: u64, steady_ms: u64) -> RateStatus {
        let slot = steady_ms / slot_ms(rate);
        if cost > 0 {
            match self.slots.back_mut() {
                Some((last, count)) if *last >= slot => *count += cost,
                _ => self.slots.push_back((slot, cost)),
            }
            self.spent += cost;
        }
        let reset_s = match self.slots.front() {
            Some((oldest, _)) => ceil_s(leaves_at(*oldest, rate), steady_ms),
            None => rate.window_s,
        };
        RateStatus {
            rate,
            remaining: rate.limit.saturating_sub(self.spent),
            reset_s,
        }
    }

    /// Drops the slots in which every request is one whole window old. After an edit of the limit, everything that
    /// still counts is treated as spent just now, so an edit never restores quota.
    fn forget(&mut self, rate: RateLimit, steady_ms: u64) {
        if self.slot_ms != slot_ms(rate) {
            self.slot_ms = slot_ms(rate);
            self.slots.clear();
            if self.spent > 0 {
                self.slots.push_back((steady_ms / self.slot_ms, self.spent));
            }
        }
        while let Some((slot, count)) = self.slots.front().copied()
            && leaves_at(slot, rate) <= steady_ms
        {
            self.slots.pop_front();
            self.spent -= count;
        }
    }

    fn seconds_until_free(&self, rate: RateLimit, cost: u64, steady_ms: u64) -> u64 {
        let mut free = rate.limit.saturating_sub(self.spent);
        for (slot, count) in &self.slots {
            free += count;
            if rate.limit > 0 && free >= cost {
                return ceil_s(leaves_at(*slot, rate), steady_ms);
            }
        }
        rate.window_s
    }
}

fn slot_ms(rate: RateLimit) -> u64 {
    if rate.limit <= SLOTS {
        1
    } else {
        (rate.window_s * 1000 / SLOTS).max(1)
    }
}

/// The time when the last request that a slot can contain is one whole window old.
fn leaves_at(slot: u64, rate: RateLimit) -> u64 {
    (slot + 1) * slot_ms(rate) - 1 + rate.window_s * 1000
}

fn ceil_s(at_ms: u64, now_ms: u64) -> u64 {
    at_ms.saturating_sub(now_ms).div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    const MINUTE: RateLimit = RateLimit {
        limit: 60,
        window_s: 60,
    };

    fn admits(counters: &mut Counters, rate: RateLimit, at_ms: u64) -> bool {
        matches!(
            counters.spend(Some(rate), None, 1, at_ms),
            SpendResult::Accepted { .. }
        )
    }

    #[test]
    fn the_sixty_first_request_inside_any_minute_is_refused() {
        let mut counters = Counters::default();
        let mut admitted: Vec<u64> = Vec::new();
        for at_ms in (0..300_000).step_by(137) {
            if admits(&mut counters, MINUTE, at_ms) {
                admitted.push(at_ms);
            }
            let inside = admitted
                .iter()
                .filter(|then| **then + 60_000 > at_ms)
                .count();
            assert!(inside <= 60, "{inside} at {at_ms}");
        }
        assert_eq!(admitted.len(), 300);
    }

    #[test]
    fn quota_returns_when_the_window_has_passed() {
        let one = RateLimit {
            limit: 1,
            window_s: 1,
        };
        let mut counters = Counters::default();
        assert!(admits(&mut counters, one, 5_000));
        assert!(!admits(&mut counters, one, 5_999));
        assert!(admits(&mut counters, one, 6_000));
    }

    #[test]
    fn the_status_tells_what_is_left_and_when_more_comes() {
        let mut counters = Counters::default();
        let SpendResult::Accepted {
            rate: Some(status), ..
        } = counters.spend(Some(MINUTE), None, 1, 0)
        else {
            panic!()
        };
        assert_eq!((status.remaining, status.reset_s), (59, 60));
        let SpendResult::RateLimited(status) = counters.spend(Some(MINUTE), None, 60, 30_000)
        else {
            panic!()
        };
        assert_eq!((status.remaining, status.reset_s), (59, 30));
    }

    // attacks 158
    #[test]
    fn a_limit_of_zero_refuses_everything_and_the_largest_overflows_nothing() {
        let mut counters = Counters::default();
        let zero = RateLimit {
            limit: 0,
            window_s: WINDOW_S_MAX,
        };
        assert!(matches!(
            counters.spend(Some(zero), None, 0, 0),
            SpendResult::RateLimited(_)
        ));
        let vast = RateLimit {
            limit: RATE_LIMIT_MAX,
            window_s: WINDOW_S_MAX,
        };
        assert!(admits(&mut counters, vast, u64::MAX / 1_000_000));
    }

    #[test]
    fn an_edited_limit_gives_no_quota_back() {
        let mut counters = Counters::default();
        assert!((0..60).all(|_| admits(&mut counters, MINUTE, 0)));
        let wider = RateLimit {
            limit: 5_000,
            window_s: 60,
        };
        let SpendResult::Accepted {
            rate: Some(status), ..
        } = counters.spend(Some(wider), None, 1, 59_000)
        else {
            panic!()
        };
        assert_eq!(status.remaining, 5_000 - 61);
        assert!(!admits(&mut counters, MINUTE, 60_001));
    }

    // attacks 242
    #[test]
    fn a_clock_that_stands_still_or_falls_back_gives_no_burst() {
        let mut counters = Counters::default();
        let spent = (0..100)
            .filter(|n| admits(&mut counters, MINUTE, 90_000 - n * 500))
            .count();
        assert_eq!(spent, 60);
    }

    #[test]
    fn sixty_four_threads_never_get_one_too_many() {
        let counters = Mutex::new(Counters {
            uses: Some(Uses {
                epoch: 1,
                reserved: 5_000,
                stored: 0,
            }),
            ..Counters::default()
        });
        let rate = RateLimit {
            limit: 1_000,
            window_s: 3600,
        };
        let (by_rate, by_uses) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if admits(&mut counters.lock().unwrap(), rate, 0) {
                            by_rate.fetch_add(1, Ordering::Relaxed);
                        }
                        if matches!(
                            counters.lock().unwrap().spend(None, None, 1, 0),
                            SpendResult::Accepted { .. }
                        ) {
                            by_uses.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(by_rate.into_inner(), 1_000);
        assert_eq!(by_uses.into_inner(), 4_000);
    }

    #[test]
    fn the_shares_of_all_nodes_are_the_limit_and_no_node_has_none() {
        let limit = |limit| RateLimit {
            limit,
            window_s: 60,
        };
        for (whole, nodes, share) in [
            (60, 1, 60),
            (60, 3, 20),
            (61, 3, 21),
            (1, 3, 1),
            (0, 3, 0),
            (5, 0, 5),
        ] {
            assert_eq!(
                limit(whole).share(nodes),
                limit(share),
                "{whole} on {nodes}"
            );
        }
    }

    #[test]
    fn a_key_without_uses_is_looked_up_once_a_second() {
        let mut counters = Counters::default();
        let looks = [0, 1, 999, 1_000, 1_500, 2_000];
        let found = looks.map(|at_ms| counters.begin_look(at_ms));
        assert_eq!(found, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_refused_request_spends_nothing() {
        let mut counters = Counters {
            uses: Some(Uses {
                epoch: 1,
                reserved: 1,
                stored: 3,
            }),
            ..Counters::default()
        };
        assert_eq!(
            counters.spend(Some(MINUTE), None, 5, 0),
            SpendResult::UsageExceeded
        );
        assert_eq!(
            counters.spend(Some(MINUTE), None, 2, 0),
            SpendResult::MustReserve
        );
        assert!(counters.window.slots.is_empty());
        assert_eq!(
            counters.uses,
            Some(Uses {
                epoch: 1,
                reserved: 1,
                stored: 3
            })
        );
        counters.uses = Some(Uses::stored(1, 0));
        assert_eq!(counters.spend(None, None, 0, 0), SpendResult::UsageExceeded);
    }

    /// Compares `is_within` with the real windows: requests are sent as early as the limit permits, with several
    /// starts.
    #[test]
    fn a_limit_is_within_another_if_it_never_allows_more() {
        let most_in = |rate: RateLimit, window_s: u64| {
            let mut counters = Counters::default();
            let mut admitted: Vec<u64> = Vec::new();
            for second in 0..4 * window_s.max(rate.window_s) {
                let at_ms = second * 1_000;
                while admits(&mut counters, rate, at_ms) {
                    admitted.push(second);
                }
            }
            let inside = |start: &u64| {
                let end = start + window_s;
                admitted
                    .iter()
                    .filter(|at| (*start..end).contains(at))
                    .count() as u64
            };
            admitted.iter().map(inside).max().unwrap_or(0)
        };
        let rate = |limit, window_s| RateLimit { limit, window_s };
        for most in [rate(6, 6), rate(5, 7), rate(0, 3), rate(7, 1)] {
            for window_s in 1..=9 {
                for limit in 0..=8 {
                    let own = rate(limit, window_s);
                    let expected = most_in(own, most.window_s) <= most.limit;
                    assert_eq!(own.is_within(most), expected, "{own:?} {most:?}");
                }
            }
        }
        assert!(!rate(RATE_LIMIT_MAX, 1).is_within(rate(RATE_LIMIT_MAX, WINDOW_S_MAX)));
    }

    // Attack: a key that was issued with a looser limit than its policy allows now.
    #[test]
    fn a_limit_that_is_looser_than_the_bound_is_held_to_both() {
        let second = RateLimit {
            limit: 10,
            window_s: 1,
        };
        let mut counters = Counters::default();
        let mut at = |at_ms: u64, rate| {
            (0..100)
                .filter(|_| {
                    matches!(
                        counters.spend(rate, Some(MINUTE), 1, at_ms),
                        SpendResult::Accepted { .. }
                    )
                })
                .count()
        };
        let admitted: Vec<usize> = (0..8)
            .map(|second_| at(second_ * 1_000, Some(second)))
            .collect();
        assert_eq!(admitted, [10, 10, 10, 10, 10, 10, 0, 0]);
        assert_eq!(at(60_000, Some(second)), 10);
        // A key without a limit of its own is held to the bound alone.
        let mut counters = Counters::default();
        let admitted = (0..100).filter(|_| {
            matches!(
                counters.spend(None, Some(MINUTE), 1, 0),
                SpendResult::Accepted { .. }
            )
        });
        assert_eq!(admitted.count(), 60);
        let SpendResult::RateLimited(status) = counters.spend(None, Some(MINUTE), 1, 30_000) else {
            panic!()
        };
        assert_eq!((status.rate, status.reset_s), (MINUTE, 30));
    }
}
