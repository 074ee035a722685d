//! Retention: limits the age and the size of the audit log according to the configuration.

use super::cut_off;
use crate::domain::audit::{Event, Target};
use crate::domain::clock::State;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::App;
use crate::store::Durability;
use crate::store::audit::{self, Cut};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The interval of the checks in milliseconds of the steady clock: one hour.
const LOOK_MS: u64 = 3_600_000;
/// The number of events that one transaction deletes, so that other changes never wait long.
const EVENTS_A_BATCH: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// Which events are kept; by default all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Events that are older are deleted.
    pub days: Option<u32>,
    /// If there are more events than this, the oldest are deleted.
    pub events: Option<u64>,
}

/// The number of days whose events cannot be deleted over the network; see [`super::prune`]. The settings above come
/// from the administrator of the machine and are not restricted by this.
#[derive(Debug)]
pub struct Minimum(AtomicU32);

/// The default number of days.
pub const MINIMUM_DAYS: u32 = 90;

impl Default for Minimum {
    fn default() -> Minimum {
        Minimum(AtomicU32::new(MINIMUM_DAYS))
    }
}

impl Minimum {
    pub fn days(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl App {
    /// Sets the number of days whose events cannot be deleted over the network.
    pub fn keep_audit_days(&self, days: u32) {
        self.audit_minimum.0.store(days, Relaxed);
    }
}

/// The time this many days before another time.
pub fn days_before(now: Timestamp, days: u32) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::from(days) * DAY_MS))
}

/// The state of a running retention.
#[derive(Debug)]
pub struct RetentionTimer {
    retention: Retention,
    /// The time of the next check, on the steady clock.
    next_ms: u64,
}

impl RetentionTimer {
    pub fn new(retention: Retention) -> RetentionTimer {
        RetentionTimer {
            retention,
            next_ms: 0,
        }
    }

    /// If a check is due, deletes the events that are too old or too many, at most one batch. The cut is an event of
    /// its own, and the remaining chain can still be verified. If more events must be deleted, the next round
    /// continues.
    pub fn round(&mut self, app: &App) {
        let now = app.now();
        if now.steady_ms < self.next_ms {
            return;
        }
        match self.cut(app, now.wall) {
            Ok(count) if count as i64 >= EVENTS_A_BATCH => {}
            Ok(_) => self.next_ms = now.steady_ms + LOOK_MS,
            Err(err) => {
                log::warn!("the audit log was not cut: {err}");
                self.next_ms = now.steady_ms + LOOK_MS;
            }
        }
    }

    /// Returns the number of deleted events.
    fn cut(&self, app: &App, now: Timestamp) -> Result<usize> {
        // A wrong clock must not cause the loss of the audit log.
        let in_step = app.clock.reading().state == State::InStep;
        let by_age = self.retention.days.filter(|_| in_step);
        let by_age = by_age.map(|days| Cut::Before(days_before(now, days)));
        let by_size = match self.retention.events {
            // One less, to leave space for the event of the cut.
            Some(most) if app.read(audit::count)? > most as i64 => Some(Cut::Keep(most - 1)),
            _ => None,
        };
        let mut all = 0;
        for cut in by_age.into_iter().chain(by_size) {
            let seal_keys = app.seal_keys.clone();
            all += app.store.write(Durability::Full, move |tx| {
                let Some((mark, count)) = audit::prune(tx, &seal_keys, cut, EVENTS_A_BATCH)? else {
                    return Ok(0);
                };
                let mut event = Event::of_system("audit.prune", Target::server(), now);
                event.changes = cut_off(&mark, count).into_json();
                audit::append(tx, &seal_keys, event)?;
                Ok(count)
            })?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::audit::verify_chain;
    use crate::ops::setup::fixture::{Fixture, NOW};

    fn append(fixture: &Fixture, count: usize, at: Timestamp) {
        let seal_keys = fixture.app.seal_keys.clone();
        let write = move |tx: &crate::store::Write<'_>| {
            (0..count).try_for_each(|_| {
                let event = Event::of_system("key.edit", Target::server(), at);
                audit::append(tx, &seal_keys, event)
            })
        };
        fixture.app.store.write(Durability::Full, write).unwrap();
    }

    fn rows(fixture: &Fixture) -> i64 {
        let walked = verify_chain(&fixture.app, &fixture.local()).unwrap();
        walked.expect("the chain is intact")
    }

    #[track_caller]
    fn check(days: Option<u32>, events: Option<u64>, old: usize, new: usize, left: i64) {
        let fixture = Fixture::new();
        // The events of the first start are as old as the old events.
        let own = rows(&fixture);
        append(&fixture, old, Timestamp(NOW.0 - 10 * DAY_MS));
        append(&fixture, new, NOW);
        let mut keeper = RetentionTimer::new(Retention { days, events });
        for _ in 0..4 {
            keeper.next_ms = 0;
            keeper.round(&fixture.app);
        }
        let expected = if left < 0 {
            own + (old + new) as i64
        } else {
            left
        };
        assert_eq!(rows(&fixture), expected, "{days:?} {events:?}");
    }

    #[test]
    fn nothing_goes_unless_somebody_says_so() {
        check(None, None, 50, 5, -1);
        check(Some(11), Some(1000), 50, 5, -1);
    }

    #[test]
    fn what_is_too_old_goes_if_the_clock_can_be_believed() {
        let fixture = Fixture::new();
        let first = rows(&fixture);
        append(&fixture, 3, NOW);
        let keeper = RetentionTimer::new(Retention {
            days: Some(2),
            events: None,
        });
        let later = Timestamp(NOW.0 + 2 * DAY_MS);
        assert_eq!(keeper.cut(&fixture.app, later).unwrap(), 0);
        let later = Timestamp(later.0 + 1);
        assert_eq!(keeper.cut(&fixture.app, later).unwrap() as i64, first + 3);
        assert_eq!(rows(&fixture), 1, "the cut itself");
    }

    #[test]
    fn the_oldest_go_by_number_and_the_rest_is_provable() {
        check(None, Some(20), 50, 5, 20);
        check(None, Some(1), 0, 3, 1);
    }

    #[test]
    fn a_large_surplus_goes_batch_by_batch() {
        let fixture = Fixture::new();
        append(&fixture, 25_000, NOW);
        let mut keeper = RetentionTimer::new(Retention {
            days: None,
            events: Some(100),
        });
        keeper.round(&fixture.app);
        assert!(rows(&fixture) > 15_000, "one batch at a time");
        assert_eq!(keeper.next_ms, 0, "and the next round goes on");
        keeper.round(&fixture.app);
        keeper.round(&fixture.app);
        assert_eq!(rows(&fixture), 100);
        assert!(keeper.next_ms > 0);
        keeper.round(&fixture.app);
        assert_eq!(rows(&fixture), 100, "not before its time");
    }
}
