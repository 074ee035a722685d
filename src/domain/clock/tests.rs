//! The rules of the clock, as tables.

use super::*;
use std::time::SystemTime;

const NOON: i64 = 1_800_000_000_000;

fn recorded(mark: i64) -> StoredClock {
    StoredClock {
        mark: Timestamp(mark),
        allowance_ms: None,
        settled: true,
        uptime: None,
        corrections: 0,
    }
}

fn uptime(boot: &str, ms: i64) -> Uptime {
    Uptime {
        boot: Some(boot.to_owned()),
        ms,
    }
}

fn belief() -> WallClockTrust {
    begin(Some(&recorded(NOON)), None, Timestamp(NOON), None).1
}

#[test]
fn the_release_is_not_after_today() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    assert!(now.unwrap().as_millis() as i64 > RELEASED.0);
    assert_eq!(RELEASED.to_string(), "2026-11-01T00:00:00Z");
}

// attacks 237
#[test]
fn a_first_time_is_believed_if_it_is_plausible() {
    let late = RELEASED.0 + 5 * YEAR_MS;
    for (wall, mark, settled) in [
        (0, RELEASED.0, false),
        (RELEASED.0 - 1, RELEASED.0, false),
        (RELEASED.0, RELEASED.0, true),
        (NOON, NOON, true),
        (late, late, true),
        (late + 1, RELEASED.0, false),
        (i64::MAX, RELEASED.0, false),
    ] {
        let made = first(Timestamp(wall), None);
        assert_eq!((made.mark.0, made.settled), (mark, settled), "{wall}");
    }
}

// attacks 237
#[test]
fn after_a_first_time_that_was_not_plausible_the_next_that_is_counts_whole() {
    for first_wall in [0, NOON + 30 * YEAR_MS] {
        let made = first(Timestamp(first_wall), None);
        let (mark, mut belief) = begin(Some(&made), None, Timestamp(first_wall), None);
        assert_eq!((mark, belief.reach_ms()), (RELEASED, 0));
        let far = NOON + 30 * YEAR_MS;
        assert_eq!(belief.follow(far - mark.0, Timestamp(far), 0), 0);
        assert_eq!(belief.follow(far - mark.0, Timestamp(far), 9 * DAY_MS), 0);
        let lead = NOON - mark.0;
        assert_eq!(belief.follow(lead, Timestamp(NOON), 10), lead);
        assert!(belief.is_settled());
        assert_eq!(belief.follow(YEAR_MS, Timestamp(NOON + YEAR_MS), 20), 0);
    }
}

// attacks 237
#[test]
fn a_start_counts_what_it_can_prove() {
    let of = |boot, ms| StoredClock {
        uptime: Some(uptime(boot, ms)),
        ..recorded(NOON)
    };
    let day = DAY_MS;
    for (recorded, newest, up, mark, off) in [
        // If the boot is different or unknown, no time is added, and the machine may have been off.
        (recorded(NOON), None, None, NOON, OFF_MS_MAX),
        (recorded(NOON), None, Some(uptime("a", 9)), NOON, OFF_MS_MAX),
        (of("a", 5), None, Some(uptime("b", 9)), NOON, OFF_MS_MAX),
        (of("a", 5), None, None, NOON, OFF_MS_MAX),
        // An uptime that goes back is not evidence of the time between.
        (of("a", 5), None, Some(uptime("a", 4)), NOON, OFF_MS_MAX),
        // Within one boot the time between is known.
        (of("a", 5), None, Some(uptime("a", 5)), NOON, 0),
        (of("a", 5), None, Some(uptime("a", 5 + day)), NOON + day, 0),
        // The newest event counts as far as the allowance covers it.
        (recorded(NOON), Some(NOON - 1), None, NOON, OFF_MS_MAX),
        (
            recorded(NOON),
            Some(NOON + 9_000),
            None,
            NOON + 9_000,
            OFF_MS_MAX,
        ),
        (
            recorded(NOON),
            Some(NOON + ALLOWANCE_MS),
            None,
            NOON + ALLOWANCE_MS,
            OFF_MS_MAX,
        ),
        (
            recorded(NOON),
            Some(NOON + ALLOWANCE_MS + 1),
            None,
            NOON,
            OFF_MS_MAX,
        ),
        (
            recorded(NOON),
            Some(NOON + 30 * YEAR_MS),
            None,
            NOON,
            OFF_MS_MAX,
        ),
    ] {
        let newest = newest.map(Timestamp);
        let begun = begin(Some(&recorded), newest, Timestamp(NOON), up.as_ref());
        assert_eq!(
            (begun.0.0, begun.1.off_ms),
            (mark, off),
            "{recorded:?} {newest:?}"
        );
        let used = if newest.is_some() { mark - NOON } else { 0 };
        assert_eq!(begun.1.allowance_ms, ALLOWANCE_MS - used);
    }
}

// attacks 237
#[test]
fn a_folder_without_a_mark_has_its_newest_event_or_the_time_if_they_are_plausible() {
    let far = NOON + 30 * YEAR_MS;
    for (newest, wall, mark, settled) in [
        (Some(NOON), NOON - DAY_MS, NOON, true),
        (Some(far), NOON, NOON, true),
        (None, NOON, NOON, true),
        (Some(far), far, RELEASED.0, false),
        (Some(7), 7, RELEASED.0, false),
    ] {
        let begun = begin(None, newest.map(Timestamp), Timestamp(wall), None);
        assert_eq!(
            (begun.0.0, begun.1.settled),
            (mark, settled),
            "{newest:?} {wall}"
        );
    }
}

/// Each line: the steady time, how far the wall clock is ahead of the mark, and how far the mark follows.
#[track_caller]
fn check(off_ms: i64, lines: &[(i64, i64, i64)]) {
    let mut belief = WallClockTrust { off_ms, ..belief() };
    for (steady, lead, follows) in lines {
        let found = belief.follow(*lead, Timestamp(NOON + lead), *steady);
        assert_eq!(found, *follows, "at {steady}, ahead by {lead}");
    }
}

// attacks 237, 239
#[test]
fn small_steps_are_believed_at_once_and_two_hours_of_them_in_a_day() {
    check(
        0,
        &[
            (0, 500, 500),
            (0, -9, 0),
            (0, ALLOWANCE_MS - 500, ALLOWANCE_MS - 500),
            (0, 1, 0),
        ],
    );
    check(
        0,
        &[
            (0, ALLOWANCE_MS, ALLOWANCE_MS),
            (12, 1, 1),
            (23, 1, 0),
            (24, 1, 1),
        ],
    );
    check(
        0,
        &[
            (0, ALLOWANCE_MS, ALLOWANCE_MS),
            (DAY_MS / 2, HOUR_MS, HOUR_MS),
            (DAY_MS / 2 + 1, HOUR_MS, 0),
            (9 * DAY_MS, ALLOWANCE_MS + 1, ALLOWANCE_MS),
        ],
    );
}

// attacks 237
#[test]
fn steps_one_after_the_other_gain_two_hours_a_day() {
    let mut belief = WallClockTrust {
        off_ms: 0,
        ..belief()
    };
    let mut gained = 0;
    // Every minute a false time server is ahead of the trusted time by an hour, 23 hours, a day, and a year.
    for minute in 0..30 * 24 * 60 {
        for lead in [HOUR_MS, 23 * HOUR_MS, DAY_MS, YEAR_MS] {
            gained += belief.follow(lead, Timestamp(NOON + gained), minute * 60_000);
        }
    }
    assert!(gained <= 31 * ALLOWANCE_MS, "{}", gained / HOUR_MS);
}

// attacks 237
#[test]
fn a_large_step_takes_the_allowance_only_after_an_hour() {
    let far = 70 * YEAR_MS;
    check(
        0,
        &[
            (0, far, 0),
            (HOUR_MS - 1, far, 0),
            (HOUR_MS, far, ALLOWANCE_MS),
            (HOUR_MS, far, 0),
        ],
    );
    // A short deviation has no lasting effect, and the hour starts again with the next deviation.
    check(
        0,
        &[
            (0, far, 0),
            (60_000, 0, 0),
            (HOUR_MS, far, 0),
            (2 * HOUR_MS - 1, far, 0),
        ],
    );
    check(0, &[(0, far, 0), (60_000, -far, 0), (HOUR_MS, far, 0)]);
}

// attacks 237, 239
#[test]
fn a_machine_that_was_off_is_believed_after_an_hour_for_each_month() {
    let (weeks, months) = (21 * DAY_MS, 100 * DAY_MS);
    let off = OFF_MS_MAX;
    check(
        off,
        &[
            (0, weeks, 0),
            (HOUR_MS - 1, weeks, 0),
            (HOUR_MS, weeks, weeks),
        ],
    );
    check(
        off,
        &[
            (0, months, 0),
            (HOUR_MS, months, ALLOWANCE_MS),
            (4 * HOUR_MS, months, months),
        ],
    );
    check(off, &[(0, off, 0), (13 * HOUR_MS, off, off)]);
    check(
        off,
        &[(0, off + 1, 0), (13 * HOUR_MS, off + 1, ALLOWANCE_MS)],
    );
    // The rule applies once for each boot, and not at all if the time between is known.
    check(
        off,
        &[
            (0, weeks, 0),
            (HOUR_MS, weeks, weeks),
            (HOUR_MS, weeks, 0),
            (9 * HOUR_MS, weeks, ALLOWANCE_MS),
        ],
    );
    check(0, &[(0, weeks, 0), (HOUR_MS, weeks, ALLOWANCE_MS)]);
}

#[test]
fn what_is_left_of_the_allowance_survives_a_restart() {
    let spent = StoredClock {
        allowance_ms: Some(5),
        uptime: Some(uptime("a", 0)),
        ..recorded(NOON)
    };
    for (now, left) in [(0, 5), (12, 6), (DAY_MS, ALLOWANCE_MS)] {
        let begun = begin(Some(&spent), None, Timestamp(NOON), Some(&uptime("a", now)));
        assert_eq!(begun.1.allowance_ms, left, "{now}");
    }
    let begun = begin(Some(&spent), None, Timestamp(NOON), None);
    assert_eq!(begun.1.allowance_ms, 5);
}

// attacks 237: S2
#[test]
fn a_copy_brings_no_time_back_that_is_far_ahead_of_a_clock_that_can_be_right() {
    let at = Timestamp;
    let (far, hour) = (NOON + 3650 * DAY_MS, HOUR_MS);
    for (clock, known, now, doubted) in [
        (NOON, vec![], NOON, None),
        (NOON, vec![at(NOON - DAY_MS), at(5)], NOON, None),
        (NOON, vec![at(NOON + DAY_MS)], NOON + DAY_MS, None),
        (
            NOON,
            vec![at(NOON + DAY_MS + 1)],
            NOON,
            Some(at(NOON + DAY_MS + 1)),
        ),
        (
            NOON,
            vec![at(far), at(NOON + hour)],
            NOON + hour,
            Some(at(far)),
        ),
        // A clock that is certainly wrong is no reason to distrust these times.
        (0, vec![at(NOON), at(far)], far, None),
        (RELEASED.0 - 1, vec![at(NOON)], NOON, None),
    ] {
        assert_eq!(
            after_copy(at(clock), &known),
            (at(now), doubted),
            "{clock} {known:?}"
        );
    }
}

#[test]
fn a_wrong_clock_has_a_name() {
    for (lead, state) in [
        (-BEHIND_MS - 1, State::Behind),
        (-BEHIND_MS, State::InStep),
        (DAY_MS, State::InStep),
        (DAY_MS + 1, State::Ahead),
    ] {
        assert_eq!(State::of(lead), state, "{lead}");
    }
}
