//! Now: the later of the wall clock and the mark, which goes on with the steady clock. The rules, and the reasons for
//! them, are in `domain/clock`; `accept` is the command that corrects a mark.

pub mod accept;
pub mod future;

use crate::domain::clock::{self, Belief, Recorded, State, Uptime};
use crate::domain::locks::lock;
use crate::domain::time::{Moment, Timestamp};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// A shorter sleep is none: the two clocks are not read at the same moment.
const SLEEP_MS: i64 = 1_000;

/// Reads the wall clock; given by `main`, fixed in tests.
pub type Wall = fn() -> Timestamp;

/// What `main` reads the time from.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    pub wall: Wall,
    /// How long ago the machine was booted, and which boot that was.
    pub uptime: fn() -> Uptime,
}

/// The server's clock.
pub struct Clock {
    sources: Sources,
    started: Instant,
    /// The mark as it was when the steady clock began. Only changed under the lock of `rules`.
    base: AtomicI64,
    /// The longest step ahead that would be believed at once.
    reach_ms: AtomicI64,
    rules: Mutex<Rules>,
}

/// What is changed together.
struct Rules {
    belief: Belief,
    corrections: i64,
    /// The state that was written to the log last.
    logged: State,
    /// The wall clock less the steady clock at the start: what it should show later follows.
    wall_base: i64,
    /// Whether the mark has run ahead of the steady clock since the start.
    moved: bool,
    /// The time since the boot when the steady clock began.
    booted_ms: i64,
    /// For how long the machine has been suspended since, as far as the mark knows: the steady clock stood still then.
    slept_ms: i64,
}

/// The clock at a moment, for the administrator of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    pub state: State,
    pub wall: Timestamp,
    pub mark: Timestamp,
    /// The later of the two.
    pub now: Timestamp,
    /// How far the mark may still run ahead of the steady clock at once.
    pub allowance_ms: i64,
    /// Whether a plausible time has been believed yet.
    pub settled: bool,
}

impl Reading {
    /// What the administrator should do; nothing where the clock is in step.
    pub fn advice(&self) -> Option<&'static str> {
        match self.state {
            State::InStep => None,
            State::Ahead => Some(
                "if this machine's date is wrong, correct it; if it is right, record it: latchkey clock accept",
            ),
            State::Behind => Some(
                "if this machine's date is wrong, correct it; if it is right, the recorded time is wrong, which is corrected with: \
                 latchkey clock accept",
            ),
        }
    }
}

impl Clock {
    /// A clock that begins with what is recorded and the time of the newest audit event.
    pub fn new(sources: Sources, recorded: Option<&Recorded>, newest: Option<Timestamp>) -> Clock {
        let (wall, uptime) = ((sources.wall)(), (sources.uptime)());
        let (mark, belief) = clock::begin(recorded, newest, wall, Some(&uptime));
        let clock = Clock {
            sources,
            started: Instant::now(),
            base: AtomicI64::new(mark.0),
            reach_ms: AtomicI64::new(0),
            rules: Mutex::new(Rules {
                belief,
                corrections: recorded.map_or(0, |recorded| recorded.corrections),
                logged: State::InStep,
                wall_base: wall.0,
                moved: false,
                booted_ms: uptime.ms,
                slept_ms: 0,
            }),
        };
        clock.tick();
        // What happened before the start says nothing of how good the clocks are from now on.
        lock(&clock.rules).moved = false;
        clock
    }

    /// Now. It never stands still, and is never taken back while the process runs, but for a time that was too far
    /// ahead to be believed and was corrected.
    pub fn now(&self) -> Moment {
        self.now_at(Instant::now())
    }

    /// As [`Clock::now`], for a caller that has just read the steady clock: `steady` is that very moment.
    pub fn now_at(&self, steady: Instant) -> Moment {
        let steady_ms = self.steady_ms(steady);
        let mark = self.base.load(Ordering::Relaxed) + steady_ms as i64;
        let wall = (self.sources.wall)().0;
        if wall > mark && wall - mark <= self.reach_ms.load(Ordering::Relaxed) {
            self.follow();
        }
        Moment {
            wall: Timestamp(wall.max(mark)),
            steady_ms,
        }
    }

    /// Moves the mark as far as the wall clock is believed. Called when it is a little ahead, which is once after a
    /// start and seldom later, because both clocks have the same pace.
    #[cold]
    fn follow(&self) {
        if let Ok(mut rules) = self.rules.try_lock() {
            self.follow_at(&mut rules, None);
        }
    }

    /// As [`Clock::follow`]. Returns the wall clock and the mark.
    fn follow_at(&self, rules: &mut Rules, steady_ms: Option<i64>) -> (Timestamp, Timestamp) {
        // The steady clock is read last: if this thread has to wait in between, the mark seems later, not earlier.
        let wall = (self.sources.wall)();
        let steady_ms = steady_ms.unwrap_or_else(|| self.steady_ms(Instant::now()) as i64);
        let base = self.base.load(Ordering::Relaxed);
        let lead_ms = wall.0.saturating_sub(base + steady_ms);
        let moved_ms = rules.belief.follow(lead_ms, wall, steady_ms);
        rules.moved |= moved_ms > clock::BEHIND_MS;
        self.base.store(base + moved_ms, Ordering::Relaxed);
        self.reach_ms
            .store(rules.belief.reach_ms(), Ordering::Relaxed);
        (wall, Timestamp(base + moved_ms + steady_ms))
    }

    /// Moves the mark as far as the wall clock is believed, writes to the log if the two have parted or met again, and
    /// returns the mark.
    pub fn tick(&self) -> Timestamp {
        self.tick_at(None)
    }

    fn tick_at(&self, steady_ms: Option<i64>) -> Timestamp {
        let mut rules = lock(&self.rules);
        self.count_sleep(&mut rules, steady_ms);
        let (wall, mark) = self.follow_at(&mut rules, steady_ms);
        let state = State::of(wall.0.saturating_sub(mark.0));
        if state != rules.logged {
            rules.logged = state;
            match state {
                State::Ahead => log::warn!(
                    "clock: it is {wall}, more than a day after the last recorded time {mark}; it counts, but is not recorded as \
                     believed yet. If this machine's date is wrong, correct it; see: latchkey clock"
                ),
                State::Behind => log::warn!(
                    "clock: it is {wall}, but {mark} was recorded earlier; the recorded time counts and goes on. If this \
                     machine's date is wrong, correct it; if it is right: latchkey clock accept"
                ),
                State::InStep => log::info!("clock: it is {wall}, in step with the recorded time"),
            }
        }
        mark
    }

    /// Adds the time for which the machine was suspended: the steady clock does not count it, the time since the boot
    /// does.
    fn count_sleep(&self, rules: &mut Rules, steady_ms: Option<i64>) {
        let uptime_ms = (self.sources.uptime)().ms;
        let steady_ms = steady_ms.unwrap_or_else(|| self.steady_ms(Instant::now()) as i64);
        let slept_ms = uptime_ms - rules.booted_ms - steady_ms;
        if slept_ms > rules.slept_ms + SLEEP_MS {
            let base = self.base.load(Ordering::Relaxed);
            self.base
                .store(base + slept_ms - rules.slept_ms, Ordering::Relaxed);
            rules.slept_ms = slept_ms;
        }
    }

    /// What is to be stored.
    pub fn recorded(&self) -> Recorded {
        let mark = self.tick();
        let rules = lock(&self.rules);
        Recorded {
            mark,
            allowance_ms: Some(rules.belief.allowance_ms()),
            settled: rules.belief.is_settled(),
            uptime: Some((self.sources.uptime)()),
            corrections: rules.corrections,
        }
    }

    /// How the wall clock stands to the mark just now: reports a wrong clock as long as it lasts.
    pub fn reading(&self) -> Reading {
        let mut rules = lock(&self.rules);
        let (wall, mark) = self.follow_at(&mut rules, None);
        Reading {
            state: State::of(wall.0.saturating_sub(mark.0)),
            wall,
            mark,
            now: wall.max(mark),
            allowance_ms: rules.belief.allowance_ms(),
            settled: rules.belief.is_settled(),
        }
    }

    /// The times for which a one-time code may have been made: now, and the wall clock where that is earlier and may be
    /// right all the same.
    ///
    /// The app that makes codes goes by the right time. If the mark is wrong and the wall clock is right, codes of "now"
    /// would let nobody in. But if the wall clock has fallen back while this process ran, and the mark has only grown
    /// with the steady clock since the start, then the wall clock is certainly wrong, and a code of its time would be an
    /// old one that somebody has kept. (A code that was used, and each earlier one, is refused in any case.)
    pub fn code_times(&self) -> (Timestamp, Option<Timestamp>) {
        let rules = lock(&self.rules);
        let wall = (self.sources.wall)();
        let steady_ms = self.steady_ms(Instant::now()) as i64;
        let mark = Timestamp(self.base.load(Ordering::Relaxed) + steady_ms);
        let fell_back = wall.0 < rules.wall_base + steady_ms - clock::BEHIND_MS;
        let is_wrong = fell_back && !rules.moved;
        let other = wall < mark && !is_wrong;
        (wall.max(mark), other.then_some(wall))
    }

    /// Has the mark be another one: after the transaction that recorded the correction.
    fn correct(&self, mark: Timestamp, read_at: Instant, corrections: i64) {
        let mut rules = lock(&self.rules);
        let base = mark.0 - self.steady_ms(read_at) as i64;
        self.base.store(base, Ordering::Relaxed);
        rules.belief.accept();
        rules.corrections = corrections;
        rules.wall_base = base;
        rules.moved = false;
        self.reach_ms
            .store(rules.belief.reach_ms(), Ordering::Relaxed);
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
    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    thread_local! {
        static WALL: Cell<i64> = const { Cell::new(NOON) };
        static UP: Cell<i64> = const { Cell::new(0) };
    }

    const SOURCES: Sources = Sources {
        wall: || Timestamp(WALL.get()),
        uptime: || Uptime {
            boot: None,
            ms: UP.get(),
        },
    };

    fn recorded(mark: i64) -> Recorded {
        Recorded {
            mark: Timestamp(mark),
            allowance_ms: None,
            settled: true,
            uptime: None,
            corrections: 0,
        }
    }

    /// A clock that begins at `NOON`.
    fn clock() -> Clock {
        WALL.set(NOON);
        Clock::new(SOURCES, Some(&recorded(NOON)), None)
    }

    /// The wall clock shows `wall`, the steady clock `steady_ms`.
    #[track_caller]
    fn check(clock: &Clock, steady_ms: u64, wall: i64, now: i64) {
        WALL.set(wall);
        let steady = clock.started + std::time::Duration::from_millis(steady_ms);
        let found = clock.now_at(steady);
        assert_eq!((found.wall, found.steady_ms), (Timestamp(now), steady_ms));
    }

    // attacks 237: N0
    #[test]
    fn with_a_clock_that_falls_back_time_goes_on() {
        let clock = clock();
        for back in [HOUR_MS, 365 * DAY_MS, NOON] {
            for steady_ms in [0, 1, 45_000, 400 * DAY_MS] {
                check(&clock, steady_ms as u64, NOON - back, NOON + steady_ms);
            }
        }
        assert_eq!(clock.tick_at(Some(DAY_MS)), Timestamp(NOON + DAY_MS));
        let restarted = Clock::new(SOURCES, Some(&recorded(NOON + DAY_MS)), None);
        check(&restarted, 7, 0, NOON + DAY_MS + 7);
    }

    // attacks 237
    #[test]
    fn a_step_that_is_not_believed_counts_while_it_lasts() {
        let clock = clock();
        let far = NOON + 70 * 365 * DAY_MS;
        check(&clock, 10, far, far);
        assert_eq!(clock.tick_at(Some(20)), Timestamp(NOON + 20));
        assert_eq!(clock.reading().state, State::Ahead);
        check(&clock, 30, NOON + 30, NOON + 30);
        check(&clock, 31, NOON - DAY_MS, NOON + 31);
    }

    // attacks 239
    #[test]
    fn now_is_not_taken_back_after_a_step_that_was_believed() {
        let clock = clock();
        check(&clock, 0, NOON + HOUR_MS, NOON + HOUR_MS);
        WALL.set(NOON);
        assert!(clock.now().wall.0 >= NOON + HOUR_MS);
        assert_eq!(clock.reading().state, State::Behind);
        let read = clock.recorded();
        assert!(read.mark.0 >= NOON + HOUR_MS);
        assert!((HOUR_MS..HOUR_MS + 60_000).contains(&read.allowance_ms.unwrap()));
    }

    // attacks 239
    #[test]
    fn a_sleep_is_time_that_has_passed() {
        let clock = clock();
        let week = 7 * DAY_MS;
        UP.set(week + 5_000);
        WALL.set(NOON + week + 5_000);
        assert_eq!(clock.tick_at(Some(5_000)), Timestamp(NOON + week + 5_000));
        assert_eq!(clock.tick_at(Some(5_000)), Timestamp(NOON + week + 5_000));
        let allowance_ms = lock(&clock.rules).belief.allowance_ms();
        assert_eq!(allowance_ms, clock::ALLOWANCE_MS);
        // With a wall clock that has fallen back too.
        UP.set(2 * week + 6_000);
        WALL.set(NOON);
        assert_eq!(
            clock.tick_at(Some(6_000)),
            Timestamp(NOON + 2 * week + 6_000)
        );
    }

    // attacks 237: S2
    #[test]
    fn a_correction_takes_the_mark_back() {
        WALL.set(NOON);
        let clock = Clock::new(SOURCES, Some(&recorded(NOON + 3650 * DAY_MS)), None);
        assert_eq!(clock.reading().state, State::Behind);
        assert!(
            clock
                .reading()
                .advice()
                .unwrap()
                .contains("latchkey clock accept")
        );
        let read_at = Instant::now();
        clock.correct(Timestamp(NOON), read_at, 1);
        let reading = clock.reading();
        assert_eq!((reading.state, reading.advice()), (State::InStep, None));
        assert!(reading.mark.0 < NOON + 60_000);
        assert_eq!(clock.recorded().corrections, 1);
    }

    /// Which clock a one-time code may have been made by.
    #[test]
    fn codes_go_by_now_and_by_a_wall_clock_that_may_be_right() {
        // The mark is ahead from the start on: either may be right.
        WALL.set(NOON);
        let clock = Clock::new(SOURCES, Some(&recorded(NOON + 3650 * DAY_MS)), None);
        let (now, other) = clock.code_times();
        assert!(now.0 >= NOON + 3650 * DAY_MS);
        assert_eq!(other, Some(Timestamp(NOON)));
        // The wall clock fell back meanwhile: it is certainly wrong.
        WALL.set(NOON - HOUR_MS);
        assert_eq!(clock.code_times().1, None);
        // The mark has run ahead meanwhile: nobody knows.
        let clock = self::clock();
        WALL.set(NOON + HOUR_MS);
        clock.tick();
        WALL.set(NOON);
        assert_eq!(clock.code_times().1, Some(Timestamp(NOON)));
        // The wall clock is ahead: it is now.
        let clock = self::clock();
        WALL.set(NOON + 9 * DAY_MS);
        assert_eq!(clock.code_times(), (Timestamp(NOON + 9 * DAY_MS), None));
    }
}
