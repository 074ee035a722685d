//! A limit for the number of attempts: attempts are counted by subject, and the number of remembered subjects is
//! limited.

use crate::domain::keys::quota::{RateLimit, RateStatus, Window};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::IpAddr;

/// A subject in the form that is remembered. It is short for names of any length.
type SubjectDigest = [u8; 16];

/// The network for which an address counts: the /64 for an IPv6 address, because a client controls all of it, and the
/// address itself for IPv4.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// The attempts of many subjects, all with the same limit.
#[derive(Debug)]
pub struct Throttle {
    rate: RateLimit,
    subjects_max: usize,
    windows: HashMap<SubjectDigest, Window>,
}

impl Throttle {
    /// `subjects_max` is the number of subjects that are remembered at the same time.
    pub fn new(rate: RateLimit, subjects_max: usize) -> Throttle {
        Throttle {
            rate,
            subjects_max,
            windows: HashMap::new(),
        }
    }

    /// Counts one attempt, or refuses it with the time until the next attempt is possible.
    pub fn count(&mut self, subject: &str, steady_ms: u64) -> Result<(), RateStatus> {
        let mark = mark(subject);
        if self.windows.len() >= self.subjects_max && !self.windows.contains_key(&mark) {
            self.make_room(steady_ms);
        }
        let window = self.windows.entry(mark).or_default();
        window.count(self.rate, steady_ms)
    }

    /// Forgets all subjects without recent attempts; if there are none, the subject with the fewest attempts. A new
    /// subject is never refused for lack of space. Otherwise an attacker who fills the table could lock all other
    /// subjects out.
    fn make_room(&mut self, steady_ms: u64) {
        let mut least: Option<(u64, SubjectDigest)> = None;
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

fn mark(subject: &str) -> SubjectDigest {
    let digest = digest(&SHA256, subject.as_bytes());
    let mut mark = SubjectDigest::default();
    mark.copy_from_slice(&digest.as_ref()[..16]);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: RateLimit = RateLimit {
        limit: 2,
        window_s: 60,
        exact: false,
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
        // An idle subject is removed before an active one.
        assert!(throttle.count("later", 59_999).is_ok());
        assert!(throttle.count("last", 60_500).is_ok());
        assert_eq!(throttle.windows.len(), 2);
    }
}
