//! Now: the wall clock, held up by a mark that was recorded (design, decision 14).
//!
//! A clock that falls back never revives an expired key, because "now" is never earlier than the mark. A clock
//! that jumps ahead by more than a day does not move the mark until it has stayed there for an hour, so that a
//! short excursion to the year 2099 does not end every key for good.

use crate::domain::locks::lock;
use crate::domain::time::{Moment, Timestamp};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

/// A step ahead that is believed at once.
const BELIEVED_MS: i64 = 86_400_000;
/// How much of what was seen may be forgotten between two ticks, so that reading the time seldom writes.
const FORGOTTEN_MS: i64 = 250;
/// A step back that is worth telling; smaller ones are corrections of a good clock.
const NOTABLE_MS: i64 = 60_000;
/// How long a larger step must last before it is believed.
const LASTED_MS: u64 = 3_600_000;

/// Reads the wall clock; given by `main`, fixed in tests.
pub type Wall = fn() -> Timestamp;

/// The server's clock.
pub struct Clock {
    wall: Wall,
    started: Instant,
    /// The latest time that is believed: never falls, recorded at each tick.
    mark: AtomicI64,
    /// Whether it was said that the wall clock is behind the mark.
    behind: AtomicBool,
    /// Since when (steady milliseconds) the wall clock has been far ahead.
    ahead_since: Mutex<Option<u64>>,
}

/// How the wall clock stands to the mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// More than a day ahead, and not for long enough to be believed. "Now" is the wall clock.
    Ahead,
    /// More than a minute behind. "Now" is the mark.
    Behind,
    InStep,
}

/// The clock at a moment, for whoever looks after the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    pub state: State,
    pub wall: Timestamp,
    /// The latest time that was believed; `None` if there is none yet.
    pub mark: Option<Timestamp>,
}

impl State {
    /// The word that probes use.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ahead => "ahead",
            State::Behind => "behind",
            State::InStep => "in_step",
        }
    }
}

impl Clock {
    /// A clock whose mark is what the store recorded last.
    pub fn new(wall: Wall, mark: Option<Timestamp>) -> Clock {
        Clock {
            wall,
            started: Instant::now(),
            mark: AtomicI64::new(mark.map_or(i64::MIN, |mark| mark.0)),
            behind: AtomicBool::new(false),
            ahead_since: Mutex::new(None),
        }
    }

    /// Now. What was told as now, less a quarter of a second, is never taken back while the process runs, unless
    /// it was too far ahead to be believed.
    pub fn now(&self) -> Moment {
        self.now_at(Instant::now())
    }

    /// As [`Clock::now`], for whoever has just looked at the steady clock: `steady` is that very moment.
    pub fn now_at(&self, steady: Instant) -> Moment {
        let mark = self.mark.load(Ordering::Relaxed);
        let wall = (self.wall)().0;
        let ahead_ms = wall.saturating_sub(mark);
        if ahead_ms > FORGOTTEN_MS && ahead_ms <= BELIEVED_MS {
            self.mark.fetch_max(wall, Ordering::Relaxed);
        }
        Moment {
            wall: Timestamp(wall.max(mark)),
            steady_ms: self.steady_ms(steady),
        }
    }

    /// Moves the mark to the wall clock if that can be believed, and returns it for the store to record.
    pub fn tick(&self) -> Timestamp {
        self.tick_at(self.steady_ms(Instant::now()))
    }

    fn tick_at(&self, steady_ms: u64) -> Timestamp {
        let wall = (self.wall)();
        let mark = self.mark.load(Ordering::Relaxed);
        let mut ahead_since = lock(&self.ahead_since);
        let far_ahead = mark != i64::MIN && wall.0.saturating_sub(mark) > BELIEVED_MS;
        let lasted = ahead_since.is_some_and(|since| steady_ms.saturating_sub(since) >= LASTED_MS);
        if !far_ahead || lasted {
            *ahead_since = None;
            self.mark.fetch_max(wall.0, Ordering::Relaxed);
        } else if ahead_since.is_none() {
            *ahead_since = Some(steady_ms);
            log::warn!(
                "clock: it is {wall}, more than a day after the last recorded time {}; not yet recorded as believed",
                Timestamp(mark)
            );
        }
        self.warn_if_behind(wall, mark);
        Timestamp(self.mark.load(Ordering::Relaxed))
    }

    /// Says once that the clock has fallen back, and again when it falls back anew.
    fn warn_if_behind(&self, wall: Timestamp, mark: i64) {
        let behind = wall.0 < mark.saturating_sub(NOTABLE_MS);
        if behind && !self.behind.swap(behind, Ordering::Relaxed) {
            log::warn!(
                "clock: it is {wall}, but {} was recorded earlier; the recorded time counts",
                Timestamp(mark)
            );
        } else if !behind {
            self.behind.store(false, Ordering::Relaxed);
        }
    }

    /// How the wall clock stands to the mark just now: tells a wrong clock as long as it lasts.
    pub fn reading(&self) -> Reading {
        let wall = (self.wall)();
        let mark = Some(self.mark.load(Ordering::Relaxed)).filter(|mark| *mark != i64::MIN);
        Reading {
            state: match mark {
                Some(mark) if wall.0.saturating_sub(mark) > BELIEVED_MS => State::Ahead,
                Some(mark) if wall.0 < mark.saturating_sub(NOTABLE_MS) => State::Behind,
                _ => State::InStep,
            },
            wall,
            mark: mark.map(Timestamp),
        }
    }

    fn steady_ms(&self, steady: Instant) -> u64 {
        let lasted = steady.saturating_duration_since(self.started);
        u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const NOON: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;
    const HOUR_MS: u64 = 3_600_000;

    thread_local! {
        static WALL: Cell<i64> = const { Cell::new(NOON) };
    }

    fn wall() -> Timestamp {
        Timestamp(WALL.get())
    }

    /// A clock that has been running since `NOON`.
    fn clock() -> Clock {
        WALL.set(NOON);
        let clock = Clock::new(wall, Some(Timestamp(NOON)));
        clock.tick_at(0);
        clock
    }

    #[track_caller]
    fn check(clock: &Clock, wall: i64, now: i64) {
        WALL.set(wall);
        assert_eq!(clock.now().wall, Timestamp(now));
    }

    // attacks 237
    #[test]
    fn a_clock_that_falls_back_stays_at_the_mark_also_after_a_restart() {
        let clock = clock();
        check(&clock, NOON - 365 * DAY_MS, NOON);
        let recorded = clock.tick_at(10);
        assert_eq!(recorded, Timestamp(NOON));

        let restarted = Clock::new(wall, Some(recorded));
        check(&restarted, NOON - 365 * DAY_MS, NOON);
        assert_eq!(restarted.tick_at(0), Timestamp(NOON));
        check(&restarted, NOON + 1, NOON + 1);
    }

    // attacks 239
    #[test]
    fn steps_of_up_to_a_day_are_believed_at_once() {
        let clock = clock();
        for (wall, recorded) in [
            (NOON + 500, NOON + 500),
            (NOON, NOON + 500),
            (NOON + DAY_MS, NOON + DAY_MS),
            (NOON + 2 * DAY_MS, NOON + 2 * DAY_MS),
        ] {
            WALL.set(wall);
            assert_eq!(clock.tick_at(0), Timestamp(recorded));
        }
    }

    // attacks 237
    #[test]
    fn a_larger_step_counts_at_once_and_is_recorded_after_an_hour() {
        let clock = clock();
        let far = NOON + DAY_MS + 1;
        check(&clock, far, far);
        assert_eq!(clock.tick_at(0), Timestamp(NOON));
        assert_eq!(clock.tick_at(HOUR_MS - 1), Timestamp(NOON));
        assert_eq!(clock.tick_at(HOUR_MS), Timestamp(far));
        check(&clock, NOON, far);
    }

    // attacks 237
    #[test]
    fn a_short_excursion_leaves_no_trace() {
        let clock = clock();
        let far = NOON + 70 * 365 * DAY_MS;
        check(&clock, far, far);
        assert_eq!(clock.tick_at(0), Timestamp(NOON));
        check(&clock, NOON + 1000, NOON + 1000);
        assert_eq!(clock.tick_at(HOUR_MS / 2), Timestamp(NOON + 1000));
        // The hour begins anew with the next excursion.
        WALL.set(far);
        assert_eq!(clock.tick_at(HOUR_MS), Timestamp(NOON + 1000));
        assert_eq!(clock.tick_at(2 * HOUR_MS - 1), Timestamp(NOON + 1000));
        assert_eq!(clock.tick_at(2 * HOUR_MS), Timestamp(far));
    }

    /// A key that was refused as expired must not come back before the next tick either.
    #[test]
    fn what_was_told_as_now_is_not_taken_back_between_ticks() {
        let clock = clock();
        check(&clock, NOON + 9_000, NOON + 9_000);
        check(&clock, NOON, NOON + 9_000);
        check(
            &clock,
            NOON + 9_000 + FORGOTTEN_MS,
            NOON + 9_000 + FORGOTTEN_MS,
        );
        check(&clock, NOON, NOON + 9_000);
    }

    // attacks 237
    #[test]
    fn a_wrong_clock_is_told_as_long_as_it_lasts() {
        let clock = clock();
        for (wall, state) in [
            (NOON - 60_000, State::InStep),
            (NOON - 60_001, State::Behind),
            (NOON + DAY_MS, State::InStep),
            (NOON + DAY_MS + 1, State::Ahead),
        ] {
            WALL.set(wall);
            let reading = clock.reading();
            assert_eq!((reading.state, reading.wall), (state, Timestamp(wall)));
            assert_eq!(reading.mark, Some(Timestamp(NOON)));
        }
        clock.tick_at(0);
        clock.tick_at(HOUR_MS);
        assert_eq!(clock.reading().state, State::InStep);
    }

    #[test]
    fn a_new_database_believes_the_clock_at_once() {
        WALL.set(NOON);
        let clock = Clock::new(wall, None);
        assert_eq!(clock.reading().mark, None);
        assert_eq!(clock.now().wall, Timestamp(NOON));
        assert_eq!(clock.tick_at(0), Timestamp(NOON));
    }
}
