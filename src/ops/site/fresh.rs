//! How old the pack of a site is, or the last word of its server over the link. Every verification asks this, so it is a few
//! numbers without a lock.

use super::link::lease::{Lease, Left};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// The time of a site without a pack.
const NONE: i64 = i64::MIN;

/// The times of the pack that is in force, and the lease of a linked site. With a link, the age of the pack does not matter: only
/// a word of the server allows verdicts.
pub struct Freshness {
    pub lease: Lease,
    made_at: AtomicI64,
    half_at: AtomicI64,
    until: AtomicI64,
    /// When the next pack has to be made at the earliest, because an older copy has replaced the database.
    needs_made: AtomicI64,
    /// Whether verdicts are given after the end of the pack.
    only_warns: AtomicBool,
    /// What was logged last.
    told: AtomicI64,
}

/// What clients and the log learn of the age of a pack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Age {
    Fresh,
    /// More than half of its time is over.
    Aging,
    Over,
    /// There is no pack.
    None,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness {
            lease: Lease::default(),
            made_at: AtomicI64::new(NONE),
            half_at: AtomicI64::new(NONE),
            until: AtomicI64::new(NONE),
            needs_made: AtomicI64::new(NONE),
            only_warns: AtomicBool::new(false),
            told: AtomicI64::new(0),
        }
    }
}

impl Freshness {
    /// Sets the times of the pack that is in force now.
    pub fn set(&self, made: Timestamp, until: Timestamp) {
        let half = made.0 + until.0.saturating_sub(made.0) / 2;
        self.made_at.store(made.0, Relaxed);
        self.half_at.store(half, Relaxed);
        self.until.store(until.0, Relaxed);
    }

    /// Refuses every verdict until the next pack is in force. If an older copy has replaced the database, it has to be made at
    /// `needs_made` or later.
    pub fn clear(&self, needs_made: Option<Timestamp>) {
        let needs_made = needs_made.map_or(NONE, |made| made.0);
        self.needs_made.store(needs_made, Relaxed);
        self.made_at.store(NONE, Relaxed);
        self.half_at.store(NONE, Relaxed);
        self.until.store(NONE, Relaxed);
    }

    /// Whether verdicts are given after the end of the pack.
    pub fn warn_only(&self, warns: bool) {
        self.only_warns.store(warns, Relaxed);
    }

    /// "Now" for the age of the pack: it was made in the past, also if the clock of the site is behind.
    fn now(&self, now: Timestamp) -> i64 {
        now.0.max(self.made_at.load(Relaxed))
    }

    pub fn age(&self, now: Timestamp) -> Age {
        if self.lease.is_demanded() {
            return match self.lease.left(now) {
                Left::None => Age::None,
                Left::Over { .. } => Age::Over,
                Left::Running {
                    left_ms, lasts_ms, ..
                } if left_ms * 2 <= lasts_ms => Age::Aging,
                Left::Running { .. } => Age::Fresh,
            };
        }
        let now = self.now(now);
        match self.until.load(Relaxed) {
            NONE => Age::None,
            until if now >= until => Age::Over,
            _ if now >= self.half_at.load(Relaxed) => Age::Aging,
            _ => Age::Fresh,
        }
    }

    /// The seconds since the pack was made, or since the last word of the server was asked for; `None` without one.
    pub fn age_s(&self, now: Timestamp) -> Option<u64> {
        if self.lease.is_demanded() {
            let since_ms = self.lease.left(now).since_ms()?;
            return u64::try_from(since_ms / 1000).ok();
        }
        self.pack_age_s(now)
    }

    /// The seconds since the pack was made, also if there is a link; `None` without a pack.
    pub fn pack_age_s(&self, now: Timestamp) -> Option<u64> {
        match self.made_at.load(Relaxed) {
            NONE => None,
            made => u64::try_from((self.now(now) - made) / 1000).ok(),
        }
    }

    /// The age, and why no verdict may be given at it.
    pub fn require(&self, now: Timestamp) -> (Age, Result<()>) {
        let age = self.age(now);
        match self.must_refuse(age) {
            true => (age, Err(self.refusal(now))),
            false => (age, Ok(())),
        }
    }

    /// The age in seconds, if clients are to learn it: from half of the time of the pack or the lease on.
    pub fn told_age_s(&self, now: Timestamp) -> Option<u64> {
        match self.age(now) {
            Age::Aging | Age::Over => self.age_s(now),
            Age::Fresh | Age::None => None,
        }
    }

    /// Whether no verdict may be given at this age.
    fn must_refuse(&self, age: Age) -> bool {
        match age {
            Age::None => true,
            Age::Over => self.lease.is_demanded() || !self.only_warns.load(Relaxed),
            Age::Aging | Age::Fresh => false,
        }
    }

    fn refusal(&self, now: Timestamp) -> Error {
        if self.lease.is_demanded() {
            return Error::Unavailable(match self.lease.left(now).since_ms() {
                Some(since_ms) => refusals::site::no_word_since(since_ms / 1000),
                None => refusals::site::no_word(),
            });
        }
        Error::Unavailable(match self.until.load(Relaxed) {
            NONE => match self.needs_made.load(Relaxed) {
                NONE => refusals::site::stale_none(),
                made => refusals::site::stale_distrusts(Timestamp(made)),
            },
            until => refusals::site::stale(Timestamp(until)),
        })
    }

    /// Logs the age once it matters, and once a day while it lasts.
    pub fn tell(&self, now: Timestamp) {
        const DAY_MS: i64 = 86_400_000;
        if self.lease.is_demanded() {
            // The link itself logs what becomes of it.
            return;
        }
        let age = self.age(now);
        if age == Age::Fresh {
            return self.told.store(0, Relaxed);
        }
        // The number has both the day and the age, so that a change of the age is logged at once.
        let mark = self.now(now).div_euclid(DAY_MS) * 4 + age as i64 + 1;
        if self.told.swap(mark, Relaxed) == mark {
            return;
        }
        let until = Timestamp(self.until.load(Relaxed));
        match age {
            Age::Fresh => {}
            Age::None => log::warn!("site: there is no pack yet; every verdict is refused"),
            Age::Aging => log::warn!(
                "site: more than half of the time of the pack is over; it counts until {until}"
            ),
            Age::Over if self.only_warns.load(Relaxed) => log::error!(
                "site: the pack counted until {until}; verdicts go on (stale = warn), and nothing that the server has ended \
                 since is known here"
            ),
            Age::Over => log::error!(
                "site: the pack counted until {until}; every verdict is refused until a newer one is applied"
            ),
        }
    }
}

impl App {
    /// Whether a site goes on giving verdicts after the end of its pack.
    pub fn warn_if_stale_only(&self, warns: bool) {
        if let Some(site) = &self.site {
            site.fresh.warn_only(warns);
        }
    }

    /// The age of the pack in seconds; `None` for a server, and for a site without a pack.
    pub fn pack_age_s(&self) -> Option<u64> {
        self.site.as_ref()?.fresh.pack_age_s(self.now().wall)
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::lease::tests::{set_steady, steady};
    use super::*;

    #[track_caller]
    fn check(now: i64, age: Age, age_s: u64, refuses: bool) {
        let fresh = Freshness::default();
        fresh.set(Timestamp(10_000), Timestamp(30_000));
        let now = Timestamp(now);
        assert_eq!((fresh.age(now), fresh.age_s(now)), (age, Some(age_s)));
        assert_eq!(fresh.must_refuse(age), refuses);
        fresh.warn_only(true);
        assert!(!fresh.must_refuse(age));
    }

    #[test]
    fn a_pack_ages_and_ends_even_by_a_clock_that_is_behind() {
        check(0, Age::Fresh, 0, false);
        check(19_999, Age::Fresh, 9, false);
        check(20_000, Age::Aging, 10, false);
        check(29_999, Age::Aging, 19, false);
        check(30_000, Age::Over, 20, true);
    }

    #[test]
    fn a_site_without_a_pack_gives_no_verdict_in_any_case() {
        let fresh = Freshness::default();
        fresh.warn_only(true);
        let now = Timestamp(5);
        assert_eq!((fresh.age(now), fresh.age_s(now)), (Age::None, None));
        assert!(fresh.must_refuse(Age::None));
        assert!(fresh.refusal(now).to_string().starts_with("PACK_STALE"));
    }

    #[test]
    fn with_a_link_the_lease_counts_and_not_the_age_of_the_pack() {
        let (fresh, now) = (Freshness::default(), Timestamp(20_000));
        fresh.set(Timestamp(10_000), Timestamp(900_000));
        fresh.warn_only(true);
        set_steady(1_000);
        fresh.lease.demand(steady);
        let check = |age, age_s, refuses| {
            assert_eq!((fresh.age(now), fresh.age_s(now)), (age, age_s));
            assert_eq!(fresh.must_refuse(age), refuses);
            assert_eq!(fresh.pack_age_s(now), Some(10));
        };
        check(Age::None, None, true);
        assert!(fresh.refusal(now).to_string().starts_with("PACK_STALE"));
        assert!(fresh.lease.grant(fresh.lease.sending(now), 10_000, now));
        check(Age::Fresh, Some(0), false);
        set_steady(6_000);
        check(Age::Aging, Some(5), false);
        set_steady(13_000);
        check(Age::Over, Some(12), true);
        let why = fresh.refusal(now).to_string();
        assert!(
            why.starts_with("PACK_STALE") && why.contains("12 s"),
            "{why}"
        );
    }
}
