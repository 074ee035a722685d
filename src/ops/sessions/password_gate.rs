//! The gate for password work: it limits how many passwords are digested at once. `attempts` limits how often.

use crate::domain::attempts::Attempts;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::locks::lock;
use crate::domain::uid::Uid;
use crate::domain::users::password::{Match, PasswordDigest, SlowDigest};
use crate::error::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The number of passwords that are digested at the same time. Each takes 19 MiB and a processor.
const DIGESTING_MAX: u32 = 2;
/// The number of sign-ins that may wait. Each holds one of the 16 blocking threads that all requests share.
const WAITING_MAX: u32 = 4;
/// More sign-ins may wait if this server knows the user: by a session, or by a network that was used before. An
/// attacker who guesses from many addresses at once cannot occupy these places.
const KNOWN_WAITING_MAX: u32 = 2;

/// Limits the password work of the server.
pub struct PasswordGate {
    attempts: Arc<Mutex<Attempts>>,
    busy: Mutex<Busy>,
    freed: Condvar,
    /// The digest with which an unknown user's password is compared, so that the answer takes the same time.
    nobody: PasswordDigest,
    files: KeyFiles,
}

#[derive(Default)]
struct Busy {
    digesting: u32,
    waiting: u32,
}

/// The right to digest one password; dropping it lets the next one begin.
struct Turn<'a>(&'a PasswordGate);

impl PasswordGate {
    /// Creates the gate with the attempts that the store remembers.
    pub fn new(attempts: Attempts, files: KeyFiles) -> Result<PasswordGate> {
        Ok(PasswordGate {
            attempts: Arc::new(Mutex::new(attempts)),
            busy: Mutex::default(),
            freed: Condvar::new(),
            nobody: PasswordDigest::of_nobody(&files.seal)?,
            files,
        })
    }

    /// The remembered attempts to sign in.
    pub(in crate::ops) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        lock(&self.attempts)
    }

    /// As [`PasswordGate::attempts`], for changes that wait for the writer.
    pub(in crate::ops) fn shared_attempts(&self) -> Arc<Mutex<Attempts>> {
        self.attempts.clone()
    }

    /// Does the slow part of digesting a password. The result must be bound to its user before it is stored.
    pub fn stretch(&self, text: &str) -> Result<SlowDigest> {
        self.in_turn(true, || SlowDigest::new(text))
    }

    /// Compares a password with the stored digest of a user. Without a digest the result is [`Match::Other`], after the
    /// same work. `is_known`: see [`KNOWN_WAITING_MAX`].
    pub fn compare(
        &self,
        stored: Option<&PasswordDigest>,
        user: Uid,
        text: &str,
        is_known: bool,
    ) -> Result<Match> {
        let digest = stored.unwrap_or(&self.nobody);
        let found = self.in_turn(is_known, || digest.compare(text, user, &self.files))?;
        Ok(match stored {
            Some(_) => found,
            None => Match::Other,
        })
    }

    /// Does other work that takes as long as digesting a password: comparing the secret of a key with a slow digest.
    pub fn slowly<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.in_turn(false, || Ok(work()))
    }

    fn in_turn<T>(&self, is_known: bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _turn = self.turn(is_known)?;
        work()
    }

    fn turn(&self, is_known: bool) -> Result<Turn<'_>> {
        let waiting_max = WAITING_MAX + if is_known { KNOWN_WAITING_MAX } else { 0 };
        let mut busy = lock(&self.busy);
        if busy.digesting >= DIGESTING_MAX {
            if busy.waiting >= waiting_max {
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
        PasswordGate::new(Attempts::default(), KeyFiles::generate()).unwrap()
    }

    #[test]
    fn few_wait_and_the_others_are_sent_away() {
        let gate = gate();
        let turns = [gate.turn(false).unwrap(), gate.turn(false).unwrap()];
        std::thread::scope(|scope| {
            for _ in 0..WAITING_MAX {
                scope.spawn(|| gate.in_turn(false, || Ok(())).unwrap());
            }
            let wait_for = |waiting| {
                while lock(&gate.busy).waiting < waiting {
                    std::thread::yield_now();
                }
            };
            wait_for(WAITING_MAX);
            assert!(matches!(gate.turn(false), Err(Error::TooMany { .. })));
            // More users may wait if the server knows them.
            for _ in 0..KNOWN_WAITING_MAX {
                scope.spawn(|| gate.in_turn(true, || Ok(())).unwrap());
            }
            wait_for(WAITING_MAX + KNOWN_WAITING_MAX);
            assert!(matches!(gate.turn(true), Err(Error::TooMany { .. })));
            drop(turns);
        });
        assert!(gate.turn(false).is_ok());
    }

    #[test]
    fn a_panic_gives_its_turn_back() {
        let gate = gate();
        for _ in 0..=DIGESTING_MAX {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                gate.in_turn(false, || -> Result<()> { panic!("on purpose") })
            }));
            assert!(panicked.is_err());
        }
        assert_eq!(lock(&gate.busy).digesting, 0);
    }
}
