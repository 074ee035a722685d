//! How often something may be tried: attempts are counted by subject, and only so many subjects are remembered.

use crate::domain::key::quota::{RateLimit, RateStatus, Window};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::IpAddr;

/// A subject in the form in which it is remembered: short, however long its name.
type Mark = [u8; 16];

/// What an address is counted as: an IPv6 client commands a whole /64; an IPv4 client one address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// The attempts of many subjects, each within the same limit.
#[derive(Debug)]
pub struct Throttle {
    rate: RateLimit,
    subjects_max: usize,
    windows: HashMap<Mark, Window>,
}

impl Throttle {
    /// `subjects_max`: how many are remembered at once.
    pub fn new(rate: RateLimit, subjects_max: usize) -> Throttle {
        Throttle {
            rate,
            subjects_max,
            windows: HashMap::new(),
        }
    }

    /// Counts an attempt, or refuses it with the time until the next may be made.
    pub fn count(&mut self, subject: &str, steady_ms: u64) -> Result<(), RateStatus> {
        let mark = mark(subject);
        if self.windows.len() >= self.subjects_max && !self.windows.contains_key(&mark) {
            self.make_room(steady_ms);
        }
        let window = self.windows.entry(mark).or_default();
        window.count(self.rate, steady_ms)
    }

    /// Forgets whoever has tried nothing lately or, if there is nobody, the one who has tried least. A newcomer is
    /// never refused for want of room: whoever could fill the table would lock everybody out.
    fn make_room(&mut self, steady_ms: u64) {
        let mut least: Option<(u64, Mark)> = None;
        self.windows.retain(|mark, window| {
            let spent = window.spent(self.rate, steady_ms);
            if spent > 0 && least.is_none_or(|(fewest, _)| spent < fewest) {
                least = Some((spent, *mark));
            }
            spent > 0
        });
        if self.windows.len() >= self.subjects_max
            && let Some((_, mark)) = least
        {
            self.windows.remove(&mark);
        }
    }
}

fn mark(subject: &str) -> Mark {
    let digest = digest(&SHA256, subject.as_bytes());
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest.as_ref()[..16]);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RateLimit = RateLimit {
        limit: 2,
        window_s: 60,
    };

    #[test]
    fn each_subject_has_its_own_attempts() {
        let mut throttle = Throttle::new(RATE, 9);
        for _ in 0..2 {
            assert!(throttle.count("a", 0).is_ok());
        }
        assert!(throttle.count("a", 0).is_err());
        assert!(throttle.count("b", 0).is_ok());
        assert!(throttle.count("a", 60_000).is_ok());
    }

    #[test]
    fn a_full_table_forgets_the_least_busy_and_refuses_nobody() {
        let mut throttle = Throttle::new(RATE, 9);
        for _ in 0..2 {
            assert!(throttle.count("guessed", 0).is_ok());
        }
        for n in 0..100 {
            assert!(throttle.count(&format!("newcomer {n}"), 1).is_ok());
            assert!(throttle.windows.len() <= 9);
        }
        assert!(throttle.count("guessed", 1).is_err());
        // Who is idle goes before who is not.
        assert!(throttle.count("later", 59_999).is_ok());
        assert!(throttle.count("last", 60_500).is_ok());
        assert_eq!(throttle.windows.len(), 2);
    }
}
