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
use std::collections::HashSet;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How long a request waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(2);

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
    if let Err(status) = counted.answer
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

/// The keys whose requests are being counted.
#[derive(Default)]
pub struct Counting {
    keys: Mutex<HashSet<KeyId>>,
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
        let keys = lock(&self.keys);
        let waited = self
            .ended
            .wait_timeout_while(keys, TURN_MAX, |keys| keys.contains(&id));
        let (mut keys, _) = waited.map_err(|err| Error::internal(err.to_string()))?;
        match keys.insert(id) {
            true => Ok(Turn { counting: self, id }),
            false => Err(Error::Unavailable(refusals::server::exact_limit())),
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
        drop(first);
        drop(counting.begin(KeyId(1)).unwrap());
    }
}
