//! How long a linked site waits before it asks again after a failure: short at first, so that a short fault ends no lease, then
//! longer, and never for the same time as all other sites.

use std::time::Duration;

/// The first wait, which doubles with each failure, in milliseconds.
const FIRST_MS: u64 = 200;
/// The longest wait in milliseconds.
const LONGEST_MS: u64 = 5_000;

/// The wait after so many failures in a row. `random` is any number; the wait is between half and the whole of the span.
pub fn after(failures: u32, random: u64) -> Duration {
    let doubled = FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let span = doubled.min(LONGEST_MS);
    Duration::from_millis(span / 2 + random % (span / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures: u32, least_ms: u64, most_ms: u64) {
        let wait = |random| after(failures, random).as_millis() as u64;
        let waits: Vec<u64> = (0..5_000).map(wait).collect();
        assert_eq!(waits.iter().min(), Some(&least_ms));
        assert_eq!(waits.iter().max(), Some(&most_ms));
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_differ() {
        check(0, 100, 200);
        check(1, 100, 200);
        check(2, 200, 400);
        check(5, 1_600, 3_200);
        check(6, 2_500, 5_000);
        check(u32::MAX, 2_500, 5_000);
    }
}
