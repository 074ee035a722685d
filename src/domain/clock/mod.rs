//! How far the server trusts the wall clock of the machine. These are pure rules; `ops/clock` applies them.
//!
//! The server reads two clocks. The *wall clock* gives the date and may be wrong, because of an empty battery, a false
//! time server, or a typing error. The *steady clock* only counts how much time passes, and is right while the machine
//! runs. The *mark* is a time that has certainly passed. The mark is stored, so that it survives a restart, and it
//! advances with the steady clock. **Now is the later of the wall clock and the mark.** The consequences:
//!
//! - A wall clock that goes back changes nothing: keys, sessions, grace periods and codes end on time by the steady
//!   clock. If the process restarts while the machine keeps running, the uptime of the machine covers the time between,
//!   provided that the system reports it. Only the time during which the machine was off is lost.
//! - A wall clock that is ahead counts at once, because the machine may have been off for months. The mark, however,
//!   follows the wall clock only by these rules, so that a wrong date does little harm after it was corrected:
//!   1. The mark may gain two hours a day on the steady clock ([`ALLOWANCE_MS`]). A larger step that has lasted for an
//!      hour also uses this allowance up. A series of steps cannot advance the mark further: a false time server gains
//!      at most two hours a day.
//!   2. After a boot the machine may have been off. In this case one step of up to [`OFF_MS_MAX`] is trusted when it
//!      has lasted for one hour for each month of its length. This rule serves machines that were off for a weekend or
//!      for months.
//!   3. A larger step is trusted when the administrator of the machine confirms it: `latchkey clock accept`.
//! - Only the same command can lower a mark that is wrong nevertheless.
//! - At the start the time of the newest audit event raises the mark if the allowance covers it, so that the time of
//!   changes which were acknowledged before a crash counts. The time of an event beyond the allowance does not count.
//! - The very first time is trusted if it is *plausible*: not before this version was released, and at most
//!   [`PLAUSIBLE_YEARS`] later. Otherwise the server starts with the release date as its mark, because an appliance
//!   must start before it has the time. It then trusts the first plausible time at once.

use super::time::Timestamp;

/// The release date of this version: 2026-11-01T00:00:00Z. No correct clock is earlier. It is a constant, so that the
/// same source always gives the same executable.
pub const RELEASED: Timestamp = Timestamp(1_793_491_200_000);
/// A first time that is more than this many years after [`RELEASED`] is not trusted.
pub const PLAUSIBLE_YEARS: i64 = 5;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;
/// How far the mark may gain on the steady clock in one day.
pub const ALLOWANCE_MS: i64 = 2 * HOUR_MS;
/// The longest time that the machine may have been off for rule 2: 400 days.
pub const OFF_MS_MAX: i64 = 400 * DAY_MS;
/// After a boot, a step of up to this length is trusted when it has lasted for one hour, a step of up to twice this
/// length after two hours, and so on.
const MONTH_MS: i64 = 31 * DAY_MS;
/// A wall clock that is further ahead of the mark than this is reported.
const AHEAD_MS: i64 = DAY_MS;
/// A wall clock that is further behind the mark than this is reported. A smaller difference is the normal correction
/// of a good clock.
pub const BEHIND_MS: i64 = 60_000;

/// The time since the machine was booted, including suspended time, and the identity of that boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Uptime {
    /// `None` if the system does not report it.
    pub boot: Option<String>,
    pub ms: i64,
}

/// The stored state of the clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredClock {
    pub mark: Timestamp,
    /// The rest of the allowance; `None` for the full allowance.
    pub allowance_ms: Option<i64>,
    /// Whether a plausible time has been trusted before.
    pub settled: bool,
    /// The uptime at which the mark was recorded.
    pub uptime: Option<Uptime>,
    /// How often the mark was corrected. A value that was read before a correction is not recorded after it.
    pub corrections: i64,
}

/// The relation of the wall clock to the mark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The wall clock is more than a day ahead, and this is not trusted yet. "Now" is the wall clock.
    Ahead,
    /// The wall clock is more than a minute behind. "Now" is the mark, which continues to advance.
    Behind,
    InStep,
}

/// The state that decides how far the mark follows the wall clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WallClockTrust {
    settled: bool,
    allowance_ms: i64,
    /// The steady time up to which the allowance has been increased.
    grown_ms: i64,
    /// The longest step that rule 2 trusts; 0 if the machine cannot have been off.
    off_ms: i64,
    /// The steady time since which the wall clock has been ahead by more than the allowance.
    ahead_since_ms: Option<i64>,
}

/// Whether a first time is trusted.
pub fn is_plausible(at: Timestamp) -> bool {
    at >= RELEASED && at.0 <= RELEASED.0 + PLAUSIBLE_YEARS * YEAR_MS
}

/// The state to record when a data folder is created.
pub fn first(wall: Timestamp, uptime: Option<Uptime>) -> StoredClock {
    let settled = is_plausible(wall);
    StoredClock {
        mark: if settled { wall } else { RELEASED },
        allowance_ms: None,
        settled,
        uptime,
        corrections: 0,
    }
}

/// The mark and the belief at the start of a process. `newest` is the time of the newest audit event.
pub fn begin(
    recorded: Option<&StoredClock>,
    newest: Option<Timestamp>,
    wall: Timestamp,
    uptime: Option<&Uptime>,
) -> (Timestamp, WallClockTrust) {
    // The folder of an earlier version may have no mark. Then the time of its newest event is the best estimate.
    let other = first(newest.filter(|at| is_plausible(*at)).unwrap_or(wall), None);
    let recorded = recorded.unwrap_or(&other);
    let since = recorded.uptime.as_ref().zip(uptime);
    let since = since.filter(|(then, _)| then.boot.is_some());
    let counted_ms = since
        .filter(|(then, now)| then.boot == now.boot && then.ms <= now.ms)
        .map(|(then, now)| now.ms - then.ms);
    let mut mark = Timestamp(recorded.mark.0.saturating_add(counted_ms.unwrap_or(0)));
    let mut belief = WallClockTrust {
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

/// "Now" when a database replaces another one: the latest of the clock's time and the times that the copy and the
/// tombstone file contain. If the clock can be right, a time more than a day ahead of it is not trusted, because a
/// wrong time would return with the copy. Such a time is returned as the second value, so that access which had ended
/// by it can be withdrawn.
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
    pub const ALL: [State; 3] = [State::Ahead, State::Behind, State::InStep];

    /// The state of a wall clock that is ahead of the mark by `lead_ms`; a negative value means behind.
    pub fn of(lead_ms: i64) -> State {
        match lead_ms {
            lead if lead > AHEAD_MS => State::Ahead,
            lead if lead < -BEHIND_MS => State::Behind,
            _ => State::InStep,
        }
    }

    /// The word for the state in the answers to probes.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ahead => "ahead",
            State::Behind => "behind",
            State::InStep => "in_step",
        }
    }
}

impl WallClockTrust {
    /// How far the mark follows a wall clock that is ahead of it by `lead_ms`, at a time of the steady clock.
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

    /// The longest step that would be trusted at once.
    pub fn reach_ms(&self) -> i64 {
        if self.settled { self.allowance_ms } else { 0 }
    }

    /// The rest of the allowance.
    pub fn allowance_ms(&self) -> i64 {
        self.allowance_ms
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Resets the state after the administrator has confirmed the wall clock.
    pub fn accept(&mut self) {
        self.settled = true;
        self.allowance_ms = ALLOWANCE_MS;
        self.ahead_since_ms = None;
    }

    /// Increases the allowance with the steady clock, in whole milliseconds.
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
