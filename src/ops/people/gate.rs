//! The gate before passwords: how often they are tried, and how many are digested at once.

use crate::domain::key::quota::{RateLimit, Window};
use crate::domain::people::password::PasswordDigest;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Sign-in attempts of one account or one address.
const ATTEMPTS: RateLimit = RateLimit {
    limit: 10,
    window_s: 60,
};
/// Accounts and addresses that are remembered at once.
const REMEMBERED_MAX: usize = 20_000;
/// Passwords that are digested at the same time: each takes 19 MiB and a processor.
const DIGESTING_MAX: u32 = 2;
/// Sign-ins that may wait for that.
const WAITING_MAX: u32 = 64;

/// Keeps password work within bounds: how often, and how much at once.
pub struct PasswordGate {
    attempts: Mutex<HashMap<String, Window>>,
    /// (being digested, waiting)
    busy: Mutex<(u32, u32)>,
    freed: Condvar,
    /// What an unknown user's password is compared with, so that it takes as long.
    nobody: PasswordDigest,
}

impl PasswordGate {
    pub fn new() -> Result<PasswordGate> {
        Ok(PasswordGate {
            attempts: Mutex::default(),
            busy: Mutex::default(),
            freed: Condvar::new(),
            nobody: PasswordDigest::of_nobody()?,
        })
    }

    /// Counts an attempt on an account from an address; refuses the eleventh within a minute.
    pub fn admit(&self, account: &str, address: Option<IpAddr>, steady_ms: u64) -> Result<()> {
        let subjects = [
            Some(format!("account {account}")),
            address.map(|address| format!("address {}", network(address))),
        ];
        let mut attempts = lock(&self.attempts);
        if attempts.len() >= REMEMBERED_MAX {
            attempts.retain(|_, window| window.is_busy(ATTEMPTS, steady_ms));
        }
        for subject in subjects.into_iter().flatten() {
            if attempts.len() >= REMEMBERED_MAX && !attempts.contains_key(&subject) {
                return Err(Error::TooMany {
                    retry_after_s: ATTEMPTS.window_s,
                });
            }
            let window = attempts.entry(subject).or_default();
            window
                .count(ATTEMPTS, steady_ms)
                .map_err(|status| Error::TooMany {
                    retry_after_s: status.reset_s,
                })?;
        }
        Ok(())
    }

    pub fn digest(&self, text: &str) -> Result<PasswordDigest> {
        self.in_turn(|| PasswordDigest::new(text))
    }

    /// Compares; without a stored digest the answer is no, after the same work.
    pub fn matches(&self, stored: Option<&PasswordDigest>, text: &str) -> Result<bool> {
        let matched = self.in_turn(|| stored.unwrap_or(&self.nobody).matches(text))?;
        Ok(matched && stored.is_some())
    }

    fn in_turn<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut busy = lock(&self.busy);
        if busy.0 >= DIGESTING_MAX {
            if busy.1 >= WAITING_MAX {
                return Err(Error::TooMany { retry_after_s: 5 });
            }
            busy.1 += 1;
            busy = self
                .freed
                .wait_while(busy, |busy| busy.0 >= DIGESTING_MAX)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            busy.1 -= 1;
        }
        busy.0 += 1;
        drop(busy);
        let result = work();
        lock(&self.busy).0 -= 1;
        self.freed.notify_one();
        result
    }
}

/// An IPv6 client commands a whole /64; an IPv4 client one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
