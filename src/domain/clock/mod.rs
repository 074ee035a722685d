//! How far the machine's wall clock is believed. Pure rules; `ops/clock` applies them.
//!
//! Two clocks are read. The *wall clock* says what the date is and may be wrong: an empty battery, a time server that
//! lies, a typing error. The *steady clock* only counts how much time passes, and is right while the machine runs. The
//! *mark* is a time that has certainly passed. It is stored, so that it survives a restart, and it grows with the steady
//! clock. **Now is the later of the wall clock and the mark.** The consequences:
//!
//! - A wall clock that falls back changes nothing: keys, sessions, grace periods and codes go on to their end by the
//!   steady clock. Across a restart of the process within one run of the machine the time since boot is counted too, if
//!   the system tells it. Only the time during which the machine was off is lost.
//! - A wall clock that is ahead counts at once, because the machine may have been off for months. The mark, however,
//!   follows it only by these rules, so that a wrong date does little harm once it has been corrected:
//!   1. The mark may run ahead of the steady clock by two hours a day ([`ALLOWANCE_MS`]). A larger step that has lasted
//!      for an hour uses up this allowance too. Steps one after the other cannot carry the mark farther: a time server
//!      that lies gains two hours a day.
//!   2. After a boot the machine may have been off. Then one step of up to [`OFF_MS_MAX`] is believed, when it has
//!      lasted for an hour for each month of its length. That is for machines that were off over a weekend or a season.
//!   3. A larger step is believed when the administrator of the machine says so: `latchkey clock accept`.
//! - A mark that is wrong all the same is lowered by that command too, and by nothing else.
//! - At the start the time of the newest audit event raises the mark, if the allowance covers it: what was acknowledged
//!   before a crash counts. An event of a time that was not believed does not count.
//! - The very first time is believed if it is *plausible*: not before this version was released, and at most
//!   [`PLAUSIBLE_YEARS`] later. Otherwise the server starts (an appliance must come up before it has the time) with the
//!   release as its mark, and the first plausible time after it is believed at once.

use super::time::Timestamp;

/// When this version was released: 2026-11-01T00:00:00Z. No clock that is right is earlier. A constant, so that the
/// same source gives the same file.
pub const RELEASED: Timestamp = Timestamp(1_793_491_200_000);
/// A first time that is more than so many years after [`RELEASED`] is doubted.
pub const PLAUSIBLE_YEARS: i64 = 5;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;
/// By how much the mark may run ahead of the steady clock in a day.
pub const ALLOWANCE_MS: i64 = 2 * HOUR_MS;
/// The longest time that the machine may have been off for rule 2: 400 days.
pub const OFF_MS_MAX: i64 = 400 * DAY_MS;
/// A step of up to so much, after a boot, is believed when it has lasted for an hour; of twice as much after two.
const MONTH_MS: i64 = 31 * DAY_MS;
/// A wall clock that is farther ahead of the mark is reported.
const AHEAD_MS: i64 = DAY_MS;
/// A wall clock that is farther behind the mark is reported; less is the correction of a good clock.
pub const BEHIND_MS: i64 = 60_000;

/// Time since the machine was booted, suspended or not, and which boot that was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Uptime {
    /// `None` if the system does not tell.
    pub boot: Option<String>,
    pub ms: i64,
}

/// What is stored of the clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    pub mark: Timestamp,
    /// What is left of the allowance; `None` for all of it.
    pub allowance_ms: Option<i64>,
    /// Whether a plausible time has been believed yet.
    pub settled: bool,
    /// When the mark was recorded, on the clock that counts from the boot.
    pub uptime: Option<Uptime>,
    /// How often the mark was corrected: what was read before a correction is not recorded after it.
    pub corrections: i64,
}

/// How the wall clock stands to the mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// More than a day ahead, and not believed yet. "Now" is the wall clock.
    Ahead,
    /// More than a minute behind. "Now" is the mark, which goes on.
    Behind,
    InStep,
}

/// What the mark's way ahead is decided by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Belief {
    settled: bool,
    allowance_ms: i64,
    /// The steady time up to which the allowance has grown.
    grown_ms: i64,
    /// The longest step that rule 2 lets pass; 0 if the machine cannot have been off.
    off_ms: i64,
    /// Since when, on the steady clock, the wall clock has been farther ahead than the allowance.
    ahead_since_ms: Option<i64>,
}

/// Whether a first time is believed.
pub fn is_plausible(at: Timestamp) -> bool {
    at >= RELEASED && at.0 <= RELEASED.0 + PLAUSIBLE_YEARS * YEAR_MS
}

/// What is recorded when a data folder is made.
pub fn first(wall: Timestamp, uptime: Option<Uptime>) -> Recorded {
    let settled = is_plausible(wall);
    Recorded {
        mark: if settled { wall } else { RELEASED },
        allowance_ms: None,
        settled,
        uptime,
        corrections: 0,
    }
}

/// The mark and the belief with which a process begins. `newest` is the time of the newest audit event.
pub fn begin(
    recorded: Option<&Recorded>,
    newest: Option<Timestamp>,
    wall: Timestamp,
    uptime: Option<&Uptime>,
) -> (Timestamp, Belief) {
    // A folder of an earlier version may have no mark: its newest event is the best that there is.
    let other = first(newest.filter(|at| is_plausible(*at)).unwrap_or(wall), None);
    let recorded = recorded.unwrap_or(&other);
    let since = recorded.uptime.as_ref().zip(uptime);
    let since = since.filter(|(then, _)| then.boot.is_some());
    let counted_ms = since
        .filter(|(then, now)| then.boot == now.boot && then.ms <= now.ms)
        .map(|(then, now)| now.ms - then.ms);
    let mut mark = Timestamp(recorded.mark.0.saturating_add(counted_ms.unwrap_or(0)));
    let mut belief = Belief {
        settled: recorded.settled,
        allowance_ms: recorded.allowance_ms.unwrap_or(ALLOWANCE_MS),
        grown_ms: 0,
        off_ms: if counted_ms.is_some() { 0 } else { OFF_MS_MAX },
        ahead_since_ms: None,
    };
    belief.grow(counted_ms.unwrap_or(0));
    belief.grown_ms = 0;
    if let Some(newest) = newest
        && belief.settled
        && (1..=belief.allowance_ms).contains(&newest.0.saturating_sub(mark.0))
    {
        belief.allowance_ms -= newest.0 - mark.0;
        mark = newest;
    }
    (mark, belief)
}

/// Now, when a database takes the place of another one: the later of the clock's time and the times that the copy, and
/// the file of tombstones, know of. One that is more than a day ahead of a clock that can be right is not believed: a wrong
/// time would come back with the copy. It is the second value, so that what had ended by it can be closed.
pub fn after_copy(clock: Timestamp, known: &[Timestamp]) -> (Timestamp, Option<Timestamp>) {
    let latest = known.iter().copied().max().unwrap_or(clock);
    if clock < RELEASED || latest.0 <= clock.0.saturating_add(AHEAD_MS) {
        return (clock.max(latest), None);
    }
    let believed = known
        .iter()
        .filter(|at| at.0 <= clock.0.saturating_add(AHEAD_MS));
    (believed.fold(clock, |now, at| now.max(*at)), Some(latest))
}

impl State {
    /// What it is if the wall clock is so far ahead of the mark; behind it if that is less than nothing.
    pub fn of(lead_ms: i64) -> State {
        match lead_ms {
            lead if lead > AHEAD_MS => State::Ahead,
            lead if lead < -BEHIND_MS => State::Behind,
            _ => State::InStep,
        }
    }

    /// The word that probes use.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ahead => "ahead",
            State::Behind => "behind",
            State::InStep => "in_step",
        }
    }
}

impl Belief {
    /// By how much the mark follows a wall clock that is so far ahead of it, at a moment of the steady clock.
    pub fn follow(&mut self, lead_ms: i64, wall: Timestamp, steady_ms: i64) -> i64 {
        self.grow(steady_ms);
        if lead_ms <= 0 {
            self.ahead_since_ms = None;
            return 0;
        }
        if !self.settled {
            if !is_plausible(wall) {
                return 0;
            }
            self.settled = true;
            self.ahead_since_ms = None;
            return lead_ms;
        }
        if lead_ms <= self.allowance_ms {
            self.allowance_ms -= lead_ms;
            self.ahead_since_ms = None;
            return lead_ms;
        }
        let since_ms = *self.ahead_since_ms.get_or_insert(steady_ms);
        let lasted_ms = steady_ms - since_ms;
        let months = lead_ms.saturating_add(MONTH_MS - 1) / MONTH_MS;
        if lead_ms <= self.off_ms && lasted_ms >= months * HOUR_MS {
            self.off_ms = 0;
            self.ahead_since_ms = None;
            return lead_ms;
        }
        if lasted_ms < HOUR_MS {
            return 0;
        }
        std::mem::take(&mut self.allowance_ms)
    }

    /// The longest step that would be believed at once.
    pub fn reach_ms(&self) -> i64 {
        if self.settled { self.allowance_ms } else { 0 }
    }

    /// What is left of the allowance.
    pub fn allowance_ms(&self) -> i64 {
        self.allowance_ms
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Begins again after the administrator has said that the wall clock is right.
    pub fn accept(&mut self) {
        self.settled = true;
        self.allowance_ms = ALLOWANCE_MS;
        self.ahead_since_ms = None;
    }

    /// The allowance grows with the steady clock, whole milliseconds of it.
    fn grow(&mut self, steady_ms: i64) {
        let a_ms = DAY_MS / ALLOWANCE_MS;
        let grown = (steady_ms - self.grown_ms).max(0) / a_ms;
        self.grown_ms += grown * a_ms;
        self.allowance_ms = self
            .allowance_ms
            .saturating_add(grown)
            .clamp(0, ALLOWANCE_MS);
    }
}

#[cfg(test)]
mod tests;
