//! Rate limits and use limits: the only state that a verification changes.

pub use super::rate::{EXACT_LIMIT_MAX, RATE_LIMIT_MAX, RateLimit, WINDOW_S_MAX};
pub use super::uses::{Block, Uses, block};
pub use super::window::Window;
use super::window::ceil_s;

/// The largest use limit of a key.
pub const USES_MAX: u64 = 1 << 53;

/// Where the requests of a key with an exact limit are counted.
#[derive(Clone, Copy, Debug)]
pub enum ExactCount {
    /// In the store, which has answered this: the state after a request that was counted, or the refusal of one that was not.
    Answered(Result<RateStatus, RateStatus>),
    /// In the store, which is to be asked.
    Ask,
    /// In memory, as for any other key: there is no other node.
    Here,
}

/// A window in the store that was full, so that it need not be asked again before there is room.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    status: RateStatus,
    cost: u64,
    /// On the steady clock.
    until_ms: u64,
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
    /// Of a key with an exact limit.
    pub full: Option<Box<Full>>,
}

/// How often a key whose uses seem to be spent is looked up, because another node may have given some back or set another number.
const LOOK_AGAIN_MS: u64 = 1_000;

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
    /// The limit is exact, and only the store can decide. Nothing was spent.
    MustAskStore(RateLimit),
    /// The window is full. Nothing was spent.
    RateLimited(RateStatus),
    /// All uses are spent. Nothing was spent by this request.
    UsageExceeded,
}

impl Counters {
    /// As [`Counters::spend`], or [`Counters::foresee`] if nothing `is_spent`, for an exact limit. The store is asked only if
    /// nothing else refuses the request, and what it has admitted is spent here as well: so this node never admits more than the
    /// limit, even if the window in the store was lost or the limit has become exact just now.
    pub fn spend_exactly(
        &mut self,
        rate: RateLimit,
        most: Option<RateLimit>,
        (cost, is_spent): (u64, bool),
        answer: Option<Result<RateStatus, RateStatus>>,
        steady_ms: u64,
    ) -> SpendResult {
        match answer {
            None => {
                let bound = self.counted_bound(Some(rate), most);
                if let Err(refused) = self.admits(Some(rate), bound, cost, steady_ms) {
                    return refused;
                }
                match self.known_full(rate, cost, steady_ms) {
                    Some(status) => SpendResult::RateLimited(status),
                    None => SpendResult::MustAskStore(rate),
                }
            }
            Some(Err(status)) => SpendResult::RateLimited(status),
            Some(Ok(status)) => {
                let spent = match is_spent {
                    true => self.spend(Some(rate), most, cost, steady_ms),
                    false => self.foresee(Some(rate), most, cost, steady_ms),
                };
                match spent {
                    SpendResult::Accepted { rate, uses_left } => SpendResult::Accepted {
                        rate: [Some(status), rate]
                            .into_iter()
                            .flatten()
                            .min_by_key(|status| status.remaining),
                        uses_left,
                    },
                    refused => refused,
                }
            }
        }
    }

    /// Notes that the window in the store had no room for a request, and will have none for so long.
    pub fn note_full(&mut self, status: RateStatus, cost: u64, wait_ms: u64, steady_ms: u64) {
        self.full = Some(Box::new(Full {
            status,
            cost,
            until_ms: steady_ms.saturating_add(wait_ms),
        }));
    }

    /// The refusal of the store that still stands.
    fn known_full(&self, rate: RateLimit, cost: u64, steady_ms: u64) -> Option<RateStatus> {
        let full = self.full.as_ref()?;
        let stands = full.status.rate == rate && cost >= full.cost && steady_ms < full.until_ms;
        stands.then(|| RateStatus {
            reset_s: ceil_s(full.until_ms, steady_ms),
            ..full.status
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    const MINUTE: RateLimit = RateLimit {
        limit: 60,
        window_s: 60,
        exact: false,
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
            exact: false,
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
            exact: false,
        };
        assert!(matches!(
            counters.spend(Some(zero), None, 0, 0),
            SpendResult::RateLimited(_)
        ));
        let vast = RateLimit {
            limit: RATE_LIMIT_MAX,
            window_s: WINDOW_S_MAX,
            exact: false,
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
            exact: false,
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
            exact: false,
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
        assert_eq!(counters.window.spent(MINUTE, 0), 0);
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
        let rate = |limit, window_s| RateLimit {
            limit,
            window_s,
            exact: false,
        };
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
            exact: false,
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

    #[test]
    fn an_exact_limit_is_asked_for_only_if_nothing_else_refuses() {
        let rate = RateLimit {
            limit: 2,
            window_s: 60,
            exact: true,
        };
        let mut counters = Counters {
            uses: Some(Uses {
                epoch: 1,
                reserved: 1,
                stored: 0,
            }),
            ..Counters::default()
        };
        let one = (1, true);
        let status = |remaining| RateStatus {
            rate,
            remaining,
            reset_s: 60,
        };
        assert_eq!(
            counters.spend_exactly(rate, None, one, None, 0),
            SpendResult::MustAskStore(rate)
        );
        // Other nodes have taken the rest.
        let accepted = SpendResult::Accepted {
            rate: Some(status(0)),
            uses_left: Some(0),
        };
        assert_eq!(
            counters.spend_exactly(rate, None, one, Some(Ok(status(0))), 0),
            accepted
        );
        assert_eq!(
            counters.spend_exactly(rate, None, one, None, 0),
            SpendResult::UsageExceeded
        );
        counters.uses = None;
        counters.note_full(status(0), 1, 5_000, 1_000);
        let known = RateStatus {
            reset_s: 4,
            ..status(0)
        };
        assert_eq!(
            counters.spend_exactly(rate, None, one, None, 2_500),
            SpendResult::RateLimited(known)
        );
        // A smaller request, another limit, and the end of the wait need the store.
        for (rate, cost, at_ms) in [
            (rate, 0, 2_500),
            (RateLimit { limit: 3, ..rate }, 1, 2_500),
            (rate, 1, 6_000),
        ] {
            assert_eq!(
                counters.spend_exactly(rate, None, (cost, true), None, at_ms),
                SpendResult::MustAskStore(rate)
            );
        }
    }
}
