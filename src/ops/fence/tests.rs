//! What a node does that is fresh, stale or refused, without a database on a server.

use super::*;
use crate::domain::time::Timestamp;

fn at(steady_ms: u64, wall: i64) -> Moment {
    Moment {
        wall: Timestamp(wall),
        steady_ms,
    }
}

#[track_caller]
fn check(fence: &Fence, now: Moment, expected: Standing) {
    assert_eq!(fence.standing(now), expected, "{now:?}");
}

#[test]
fn a_node_is_fresh_then_stale_then_refused() {
    let fence = Fence::default();
    check(&fence, at(0, 0), Standing::Refused(None));
    fence.prove(at(1_000, 50_000));
    check(&fence, at(1_000, 50_000), Standing::Fresh);
    check(&fence, at(5_999, 54_999), Standing::Fresh);
    check(&fence, at(6_000, 55_000), Standing::Stale(5));
    check(&fence, at(60_999, 109_999), Standing::Stale(59));
    check(&fence, at(61_000, 110_000), Standing::Refused(Some(60)));
    fence.set_limits(Limits {
        refuse_after_ms: None,
        ..Limits::default()
    });
    check(&fence, at(7_201_000, 7_250_000), Standing::Stale(7_200));
    fence.prove(at(7_201_000, 7_250_000));
    check(&fence, at(7_201_000, 7_250_000), Standing::Fresh);
}

#[test]
fn a_date_that_jumps_ahead_counts_and_one_that_falls_back_does_not() {
    let fence = Fence::default();
    fence.prove(at(1_000, 50_000));
    check(&fence, at(2_000, 40_000), Standing::Fresh);
    check(&fence, at(2_000, 55_999), Standing::Fresh);
    check(&fence, at(2_000, 56_000), Standing::Stale(5));
    check(&fence, at(2_000, 111_000), Standing::Refused(Some(60)));
    check(&fence, at(61_000, 40_000), Standing::Refused(Some(60)));
}

#[test]
fn a_clock_that_differs_by_more_than_half_a_minute_is_wrong() {
    let fence = Fence::default();
    for (skew_ms, wrong) in [
        (0, false),
        (30_000, false),
        (-30_000, false),
        (30_001, true),
        (-30_001, true),
    ] {
        fence.skew_ms.store(skew_ms, Relaxed);
        assert_eq!(fence.wrong_clock_ms(), wrong.then_some(skew_ms));
    }
}
