//! The gate before all password work: how often, and how much at once.

use crate::domain::key::pepper::Peppers;
use crate::domain::key::quota::RateLimit;
use crate::domain::locks::lock;
use crate::domain::people::password::{PasswordDigest, Stretched};
use crate::domain::people::throttle::{Throttle, network};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex};

/// Sign-in attempts of one account or one address.
const ATTEMPTS: RateLimit = RateLimit {
    limit: 10,
    window_s: 60,
};
/// Accounts and addresses that are remembered at once.
const REMEMBERED_MAX: usize = 20_000;
/// Passwords that are digested at the same time: each takes 19 MiB and a processor.
const DIGESTING_MAX: u32 = 2;
/// Sign-ins that may wait for that. Each holds a blocking thread, of which there are 16 for everything.
const WAITING_MAX: u32 = 4;

/// Keeps password work within bounds.
pub struct PasswordGate {
    attempts: Mutex<Throttle>,
    busy: Mutex<Busy>,
    freed: Condvar,
    /// What an unknown user's password is compared with, so that it takes as long.
    nobody: PasswordDigest,
    peppers: Arc<Peppers>,
}

#[derive(Default)]
struct Busy {
    digesting: u32,
    waiting: u32,
}

/// A place among those who digest; dropping it lets the next one in.
struct Turn<'a>(&'a PasswordGate);

impl PasswordGate {
    pub fn new(peppers: Arc<Peppers>) -> Result<PasswordGate> {
        Ok(PasswordGate {
            attempts: Mutex::new(Throttle::new(ATTEMPTS, REMEMBERED_MAX)),
            busy: Mutex::default(),
            freed: Condvar::new(),
            nobody: PasswordDigest::of_nobody(&peppers)?,
            peppers,
        })
    }

    /// Counts an attempt on an account from an address; refuses the eleventh within a minute. The address comes
    /// first: an address that is refused uses up nobody's attempts, and nobody's room in the table.
    pub fn admit(&self, account: &str, address: Option<IpAddr>, steady_ms: u64) -> Result<()> {
        let subjects = [
            address.map(|address| format!("address {}", network(address))),
            Some(format!("account {account}")),
        ];
        let mut attempts = lock(&self.attempts);
        for subject in subjects.into_iter().flatten() {
            attempts
                .count(&subject, steady_ms)
                .map_err(|status| Error::TooMany {
                    retry_after_s: status.reset_s,
                })?;
        }
        Ok(())
    }

    /// The slow part of digesting a password; it is bound to its user before it is stored.
    pub fn stretch(&self, text: &str) -> Result<Stretched> {
        self.in_turn(|| Stretched::new(text))
    }

    /// Compares with what is stored for a user; without that the answer is no, after the same work.
    pub fn matches(&self, stored: Option<&PasswordDigest>, user: Uid, text: &str) -> Result<bool> {
        let digest = stored.unwrap_or(&self.nobody);
        let matched = self.in_turn(|| digest.matches(text, user, &self.peppers))?;
        Ok(matched && stored.is_some())
    }

    fn in_turn<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _turn = self.turn()?;
        work()
    }

    fn turn(&self) -> Result<Turn<'_>> {
        let mut busy = lock(&self.busy);
        if busy.digesting >= DIGESTING_MAX {
            if busy.waiting >= WAITING_MAX {
                return Err(Error::TooMany { retry_after_s: 5 });
            }
            busy.waiting += 1;
            busy = self
                .freed
                .wait_while(busy, |busy| busy.digesting >= DIGESTING_MAX)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            busy.waiting -= 1;
        }
        busy.digesting += 1;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.busy).digesting -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn gate() -> PasswordGate {
        PasswordGate::new(Arc::new(Peppers::generate().unwrap().0)).unwrap()
    }

    #[test]
    fn few_wait_and_the_others_are_sent_away() {
        let gate = gate();
        let turns = [gate.turn().unwrap(), gate.turn().unwrap()];
        std::thread::scope(|scope| {
            for _ in 0..WAITING_MAX {
                scope.spawn(|| gate.in_turn(|| Ok(())).unwrap());
            }
            while lock(&gate.busy).waiting < WAITING_MAX {
                std::thread::yield_now();
            }
            assert!(matches!(gate.turn(), Err(Error::TooMany { .. })));
            drop(turns);
        });
        assert!(gate.turn().is_ok());
    }

    #[test]
    fn a_panic_gives_its_turn_back() {
        let gate = gate();
        for _ in 0..=DIGESTING_MAX {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                gate.in_turn(|| -> Result<()> { panic!("on purpose") })
            }));
            assert!(panicked.is_err());
        }
        assert_eq!(lock(&gate.busy).digesting, 0);
    }

    #[test]
    fn an_address_that_is_refused_uses_up_no_account() {
        let gate = gate();
        let address = |text: &str| Some(text.parse().unwrap());
        for n in 0..100 {
            let admitted = gate.admit(&format!("user{n}"), address("192.0.2.1"), 0);
            assert_eq!(admitted.is_ok(), n < 10, "{n}");
        }
        for _ in 0..10 {
            gate.admit("user50", address("192.0.2.1"), 0).unwrap_err();
        }
        gate.admit("user50", address("192.0.2.2"), 0).unwrap();
    }
}
