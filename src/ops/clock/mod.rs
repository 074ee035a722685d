//! The server's clock. Now is the later of the wall clock and the mark, which advances with the steady clock. The
//! rules and their reasons are in `domain/clock`; `accept` is the command that corrects a mark.

pub mod accept;
pub mod future;

use crate::domain::clock::{self, State, StoredClock, Uptime, WallClockTrust};
use crate::domain::locks::lock;
use crate::domain::time::{Moment, Timestamp};
use crate::refusals::{Refusal, findings};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

/// A shorter difference does not count as a suspension, because the two clocks are not read at the same moment.
const SLEEP_MS: i64 = 1_000;

/// Reads the wall clock. `main` provides it; in tests it is fixed.
pub type Wall = fn() -> Timestamp;

/// The sources of time that `main` provides.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    pub wall: Wall,
    /// The time since the machine was booted, and the identity of that boot.
    pub uptime: fn() -> Uptime,
}

/// The server's clock.
pub struct Clock {
    sources: Sources,
    started: Instant,
    /// The mark at the moment when the steady clock began. It only changes under the lock of `rules`.
    base: AtomicI64,
    /// The longest step ahead that would be trusted at once.
    reach_ms: AtomicI64,
    rules: Mutex<Rules>,
}

/// The state that changes together.
struct Rules {
    belief: WallClockTrust,
    corrections: i64,
    /// The state that was logged last.
    logged: State,
    /// The wall clock minus the steady clock at the start, from which the expected wall clock can be computed later.
    wall_base: i64,
    /// Whether the mark has gained on the steady clock since the start.
    moved: bool,
    /// The uptime of the machine when the steady clock began.
    booted_ms: i64,
    /// The total duration of suspensions since then that the mark includes; the steady clock does not run in them.
    slept_ms: i64,
}

/// The clock at one moment, for the administrator of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    pub state: State,
    pub wall: Timestamp,
    pub mark: Timestamp,
    /// The later of the wall clock and the mark.
    pub now: Timestamp,
    /// How far the mark may still gain on the steady clock at once.
    pub allowance_ms: i64,
    /// Whether a plausible time has been trusted before.
    pub settled: bool,
}

impl Reading {
    /// What the administrator should do; `None` if the clock is in step.
    pub fn advice(&self) -> Option<Refusal> {
        match self.state {
            State::InStep => None,
            State::Ahead => Some(findings::clock_ahead_advice()),
            State::Behind => Some(findings::clock_behind_advice()),
        }
    }
}

impl Clock {
    /// A clock that begins with the recorded state and the time of the newest audit event.
    pub fn new(
        sources: Sources,
        recorded: Option<&StoredClock>,
        newest: Option<Timestamp>,
    ) -> Clock {
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
        // Events before the start say nothing about the quality of the clocks from now on.
        lock(&clock.rules).moved = false;
        clock
    }

    /// Now. It never stands still, and never goes back while the process runs, except when a time that was too far
    /// ahead to be trusted is corrected.
    pub fn now(&self) -> Moment {
        self.now_at(Instant::now())
    }

    /// Does the same as [`Clock::now`] for a caller that has just read the steady clock as `steady`.
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

    /// Advances the mark as far as the wall clock is trusted. This is called when the wall clock is a little ahead,
    /// which happens once after a start and rarely later, because both clocks run at the same rate.
    #[cold]
    fn follow(&self) {
        if let Ok(mut rules) = self.rules.try_lock() {
            self.follow_at(&mut rules, None);
        }
    }

    /// Does the same as [`Clock::follow`]. Returns the wall clock and the mark.
    fn follow_at(&self, rules: &mut Rules, steady_ms: Option<i64>) -> (Timestamp, Timestamp) {
        // The steady clock is read last. If this thread has to wait in between, the mark appears later, not earlier.
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

    /// Advances the mark as far as the wall clock is trusted, logs a change of the state, and returns the mark.
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

    /// Adds the time for which the machine was suspended. The steady clock does not include it, but the uptime does.
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

    /// The state to store.
    pub fn recorded(&self) -> StoredClock {
        let mark = self.tick();
        let rules = lock(&self.rules);
        StoredClock {
            mark,
            allowance_ms: Some(rules.belief.allowance_ms()),
            settled: rules.belief.is_settled(),
            uptime: Some((self.sources.uptime)()),
            corrections: rules.corrections,
        }
    }

    /// The current relation of the wall clock to the mark. A wrong clock is reported as long as it is wrong.
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

    /// The times at which a one-time code may have been generated: now, and also the wall clock if it is earlier but
    /// may be right.
    ///
    /// The authenticator app uses the right time. If the mark is wrong and the wall clock is right, codes for "now"
    /// would not work for any user. But if the wall clock has gone back while this process ran, and since the start
    /// the mark has only advanced with the steady clock, then the wall clock is certainly wrong, and a code for its
    /// time would be an old code that an attacker has kept. (A code that was used, and every earlier one, is refused
    /// in any case.)
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

    /// Advances the mark to a time that has certainly passed, because a server that this site trusts has signed it. A mark
    /// that is later stays.
    pub fn raise(&self, at: Timestamp) {
        let _rules = lock(&self.rules);
        let steady_ms = self.steady_ms(Instant::now()) as i64;
        self.base
            .fetch_max(at.0.saturating_sub(steady_ms), Ordering::Relaxed);
    }

    /// Replaces the mark, after the transaction that recorded the correction.
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

    fn recorded(mark: i64) -> StoredClock {
        StoredClock {
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

    /// Checks "now" when the wall clock shows `wall` and the steady clock `steady_ms`.
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
        // The same if the wall clock has gone back too.
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
                .to_string()
                .contains("latchkey clock accept")
        );
        let read_at = Instant::now();
        clock.correct(Timestamp(NOON), read_at, 1);
        let reading = clock.reading();
        assert_eq!((reading.state, reading.advice()), (State::InStep, None));
        assert!(reading.mark.0 < NOON + 60_000);
        assert_eq!(clock.recorded().corrections, 1);
    }

    /// For which times a one-time code may have been generated.
    #[test]
    fn codes_go_by_now_and_by_a_wall_clock_that_may_be_right() {
        // The mark is ahead from the start, so either clock may be right.
        WALL.set(NOON);
        let clock = Clock::new(SOURCES, Some(&recorded(NOON + 3650 * DAY_MS)), None);
        let (now, other) = clock.code_times();
        assert!(now.0 >= NOON + 3650 * DAY_MS);
        assert_eq!(other, Some(Timestamp(NOON)));
        // The wall clock has gone back meanwhile, so it is certainly wrong.
        WALL.set(NOON - HOUR_MS);
        assert_eq!(clock.code_times().1, None);
        // The mark has gained on the steady clock meanwhile, so it is unknown which clock is right.
        let clock = self::clock();
        WALL.set(NOON + HOUR_MS);
        clock.tick();
        WALL.set(NOON);
        assert_eq!(clock.code_times().1, Some(Timestamp(NOON)));
        // The wall clock is ahead, so it is "now".
        let clock = self::clock();
        WALL.set(NOON + 9 * DAY_MS);
        assert_eq!(clock.code_times(), (Timestamp(NOON + 9 * DAY_MS), None));
    }
}
