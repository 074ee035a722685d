//! Now: the wall clock, held up by a mark that was recorded (design, decision 14).
//!
//! A clock that falls back never revives an expired key, because "now" is never earlier than the mark. A clock
//! that jumps ahead by more than a day does not move the mark until it has stayed there for an hour, so that a
//! short excursion to the year 2099 does not end every key for good.

use crate::domain::time::{Moment, Timestamp};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// A step back that is worth telling; clocks that are kept in step move by less.
const NOTABLE_MS: i64 = 60_000;
/// A step ahead that is believed at once.
const BELIEVED_MS: i64 = 86_400_000;
/// How long a larger step must last before it is believed.
const LASTED_MS: u64 = 3_600_000;

/// Reads the wall clock; given by `main`, fixed in tests.
pub type Wall = fn() -> Timestamp;

/// The server's clock.
pub struct Clock {
    wall: Wall,
    started: Instant,
    mark: AtomicI64,
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
}

impl Clock {
    /// A clock whose mark is what the store recorded last.
    pub fn new(wall: Wall, mark: Option<Timestamp>) -> Clock {
        Clock {
            wall,
            started: Instant::now(),
            mark: AtomicI64::new(mark.map_or(i64::MIN, |mark| mark.0)),
            ahead_since: Mutex::new(None),
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        let mark = Timestamp(self.mark.load(Ordering::Relaxed));
        let steady_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment {
            wall: (self.wall)().max(mark),
            steady_ms,
        }
    }

    /// Moves the mark to the wall clock if that can be believed, and returns it for the store to record.
    pub fn tick(&self) -> Timestamp {
        let (wall, steady_ms) = ((self.wall)(), self.now().steady_ms);
        let mark = self.mark.load(Ordering::Relaxed);
        let mut ahead_since = self
            .ahead_since
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
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
        if wall.0 < mark.saturating_sub(60_000) {
            log::warn!(
                "clock: it is {wall}, but {} was recorded earlier; the recorded time counts",
                Timestamp(mark)
            );
        }
        Timestamp(self.mark.load(Ordering::Relaxed))
    }
}
