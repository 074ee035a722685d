//! Exact rate limits: the nodes that share a database count the requests of such a key together, in the store.
//!
//! The requests of one key take turns at this node: from the moment when nothing but the store can refuse a request until its quota is
//! spent. So a request that the store has counted is not refused by another limit in the end, and the database is not asked by more
//! threads than it has rows for.

use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{ExactCount, RateLimit, RateStatus};
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a request waits for its turn: it occupies a thread.
const TURN_MAX: Duration = Duration::from_secs(1);
/// If the request whose turn it is takes so long, the database is slow, and no other request of the key waits for it.
const SLOW: Duration = Duration::from_millis(300);

/// What the store has answered for a request of a key.
pub type Answer = (KeyId, std::result::Result<RateStatus, RateStatus>);

/// Where the requests of a key are counted, with what the store has answered for this one.
pub fn place(app: &App, id: KeyId, answer: Option<Answer>) -> ExactCount {
    match answer {
        Some((of, answer)) if of == id => ExactCount::Answered(answer),
        _ if app.store.is_shared() => ExactCount::Ask,
        _ => ExactCount::Here,
    }
}

/// Lets the store count a request, or refuse it. `is_fresh`: whether this node has proved lately that its server is the one that
/// changes are written to: one that was replaced would count beside the other.
///
/// # Errors
/// `Unavailable` if that is not certain, or if the store does not answer.
pub fn count(app: &App, id: KeyId, rate: RateLimit, cost: u64, is_fresh: bool) -> Result<Answer> {
    require_fresh(is_fresh)?;
    let counted = app.store.count_exactly(id, rate, cost);
    let counted = counted.map_err(|err| unavailable(id, &err))?;
    // With quota left, other nodes may use it up meanwhile, so the store is asked again about what is left.
    if let Err(status) = counted.answer
        && status.remaining == 0
        && let Some(counters) = app.index.counters(id)
    {
        let steady_ms = app.now().steady_ms;
        lock(&counters).note_full(status, cost, counted.wait_ms, steady_ms);
    }
    Ok((id, counted.answer))
}

/// What [`count`] would answer. Nothing is counted.
pub fn look(app: &App, id: KeyId, rate: RateLimit, cost: u64, is_fresh: bool) -> Result<Answer> {
    require_fresh(is_fresh)?;
    let looked = app.store.look_at_exact(id, rate, cost);
    let looked = looked.map_err(|err| unavailable(id, &err))?;
    Ok((id, looked.answer))
}

/// Refuses an answer of the store that came when this node was not certain of its server any more.
pub fn require_fresh(is_fresh: bool) -> Result<()> {
    match is_fresh {
        true => Ok(()),
        false => Err(Error::Unavailable(refusals::server::exact_limit())),
    }
}

fn unavailable(id: KeyId, err: &Error) -> Error {
    log::warn!("verify: a request of key {id}, whose rate limit is exact, was not counted: {err}");
    Error::Unavailable(refusals::server::exact_limit())
}

/// The keys whose requests are being counted, with the time since which the present one is.
#[derive(Default)]
pub struct Counting {
    keys: Mutex<HashMap<KeyId, Instant>>,
    ended: Condvar,
}

/// The turn of a request; it ends when dropped.
pub struct Turn<'a> {
    counting: &'a Counting,
    pub id: KeyId,
}

impl Counting {
    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// `Unavailable` if that takes too long.
    pub fn begin(&self, id: KeyId) -> Result<Turn<'_>> {
        let asked = Instant::now();
        let mut keys = lock(&self.keys);
        loop {
            let Some(began) = keys.get(&id) else {
                keys.insert(id, Instant::now());
                return Ok(Turn { counting: self, id });
            };
            let left = SLOW.saturating_sub(began.elapsed());
            let left = left.min(TURN_MAX.saturating_sub(asked.elapsed()));
            if left.is_zero() {
                return Err(Error::Unavailable(refusals::server::exact_limit()));
            }
            let waited = self.ended.wait_timeout(keys, left);
            (keys, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.counting.keys).remove(&self.id);
        self.counting.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_key_take_turns_and_those_of_others_do_not_wait() {
        let counting = Counting::default();
        let first = counting.begin(KeyId(1)).unwrap();
        let other = counting.begin(KeyId(2)).unwrap();
        assert_eq!((first.id, other.id), (KeyId(1), KeyId(2)));
        assert!(matches!(
            counting.begin(KeyId(1)),
            Err(Error::Unavailable(_))
        ));
        // One that takes long is not waited for, until its turn has ended.
        assert!(counting.begin(KeyId(1)).is_err());
        drop(first);
        drop(counting.begin(KeyId(1)).unwrap());
    }
}
