//! Failures of one network over several accounts, as in an attack that tries one password with many names.

use super::{Account, AttemptNetwork};
use std::collections::{HashMap, VecDeque};

/// The number of failures of one network within [`WINDOW_MS`], if they concern more than one account.
pub const FAILURES_MAX: usize = 10;
const WINDOW_MS: u64 = 60_000;

/// The recent attempts of many networks.
#[derive(Debug)]
pub struct Spraying {
    places_max: usize,
    places: HashMap<AttemptNetwork, VecDeque<Attempt>>,
}

/// The account of an attempt, and the time when it failed; `None` while the outcome is not known.
type Attempt = (Account, Option<u64>);

impl Spraying {
    /// `places_max` is the number of networks that are remembered at the same time.
    pub fn new(places_max: usize) -> Spraying {
        Spraying {
            places_max,
            places: HashMap::new(),
        }
    }

    /// Whether an attempt may begin; otherwise the seconds until the next attempt may. If all failures concern one
    /// account, only that account counts them ([`super::tries`]), and the other users of the network are not
    /// affected.
    pub fn check(&self, place: AttemptNetwork, steady_ms: u64) -> Result<(), u64> {
        let Some(attempts) = self.places.get(&place) else {
            return Ok(());
        };
        let recent: Vec<&Attempt> = attempts.iter().filter(|it| counts(it, steady_ms)).collect();
        let several = recent.windows(2).any(|pair| pair[0].0 != pair[1].0);
        let Some(beyond) = recent.len().checked_sub(FAILURES_MAX).filter(|_| several) else {
            return Ok(());
        };
        Err(recent[beyond].1.map_or(1, |failed_ms| {
            (failed_ms + WINDOW_MS)
                .saturating_sub(steady_ms)
                .div_ceil(1000)
        }))
    }

    /// Reserves a slot for an attempt.
    pub fn begin(&mut self, place: AttemptNetwork, account: Account, steady_ms: u64) {
        if self.places.len() >= self.places_max && !self.places.contains_key(&place) {
            self.make_room(steady_ms);
        }
        let attempts = self.places.entry(place).or_default();
        attempts.retain(|attempt| counts(attempt, steady_ms));
        // Attempts from networks where the user is known are not limited here, so there can be more than the limit.
        while attempts.len() > 2 * FAILURES_MAX {
            let Some(oldest) = attempts.iter().position(|(_, failed)| failed.is_some()) else {
                break;
            };
            attempts.remove(oldest);
        }
        attempts.push_back((account, None));
    }

    /// Ends an attempt that has begun.
    pub fn end(&mut self, place: AttemptNetwork, account: Account, failed: bool, steady_ms: u64) {
        let Some(attempts) = self.places.get_mut(&place) else {
            return;
        };
        if let Some(position) = attempts.iter().position(|it| *it == (account, None)) {
            attempts.remove(position);
        }
        if failed {
            attempts.push_back((account, Some(steady_ms)));
        }
        if attempts.is_empty() {
            self.places.remove(&place);
        }
    }

    /// Forgets the network with the fewest recent failures.
    fn make_room(&mut self, steady_ms: u64) {
        let weight = |attempts: &VecDeque<Attempt>| {
            let recent = attempts.iter().filter(|it| counts(it, steady_ms)).count();
            let latest = attempts.iter().filter_map(|(_, failed)| *failed).max();
            (recent, latest)
        };
        let idle = self
            .places
            .iter()
            .filter(|(_, attempts)| attempts.iter().all(|(_, failed)| failed.is_some()));
        let least = idle.min_by_key(|(_, attempts)| weight(attempts));
        if let Some(place) = least.map(|(place, _)| *place) {
            self.places.remove(&place);
        }
    }
}

fn counts((_, failed): &Attempt, steady_ms: u64) -> bool {
    failed.is_none_or(|at| steady_ms < at + WINDOW_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: AttemptNetwork = None;

    fn fail(spraying: &mut Spraying, account: u64, at_ms: u64) {
        spraying.begin(PLACE, Account::Unknown(account), at_ms);
        spraying.end(PLACE, Account::Unknown(account), true, at_ms);
    }

    #[test]
    fn ten_failures_over_several_accounts_hold_a_network_up() {
        let mut spraying = Spraying::new(9);
        for account in 0..10 {
            assert_eq!(spraying.check(PLACE, account * 100), Ok(()));
            fail(&mut spraying, account, account * 100);
        }
        assert_eq!(spraying.check(PLACE, 1_000), Err(59));
        assert_eq!(spraying.check(PLACE, 60_000), Ok(()));
        let other = Some("192.0.2.1".parse().unwrap());
        assert_eq!(spraying.check(other, 1_000), Ok(()));
    }

    #[test]
    fn failures_of_one_account_do_not_hold_up_its_neighbours() {
        let mut spraying = Spraying::new(9);
        for _ in 0..50 {
            fail(&mut spraying, 1, 0);
        }
        assert_eq!(spraying.check(PLACE, 0), Ok(()));
        fail(&mut spraying, 2, 0);
        assert_eq!(spraying.check(PLACE, 0), Err(60));
    }

    #[test]
    fn attempts_at_the_same_time_are_counted_and_successes_are_not() {
        let mut spraying = Spraying::new(9);
        for account in 0..10 {
            spraying.begin(PLACE, Account::Unknown(account), 0);
        }
        assert_eq!(spraying.check(PLACE, 0), Err(1));
        for account in 0..10 {
            spraying.end(PLACE, Account::Unknown(account), false, 0);
        }
        assert_eq!(spraying.check(PLACE, 0), Ok(()));
        assert!(spraying.places.is_empty());
    }

    #[test]
    fn a_flood_of_networks_does_not_make_a_busy_one_forgotten() {
        let mut spraying = Spraying::new(9);
        for account in 0..10 {
            fail(&mut spraying, account, 0);
        }
        for bits in 0..1_000 {
            let place = Some(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(bits)));
            spraying.begin(place, Account::Unknown(0), 1);
            spraying.end(place, Account::Unknown(0), true, 1);
            assert!(spraying.places.len() <= 9);
        }
        assert!(spraying.check(PLACE, 1).is_err());
    }
}
