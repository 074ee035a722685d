//! Points in time as people say them, with the exact one at hand.

use crate::dialects::console::text::Texts;
use crate::domain::time::Timestamp;

/// A point in time on a page.
#[derive(Clone, Debug)]
pub struct When {
    /// RFC 3339, for machines.
    pub iso: String,
    /// `2026-11-21 10:00:00 UTC`
    pub exact: String,
    /// `3 minutes ago`, `in 5 days`
    pub relative: String,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl When {
    pub fn new(texts: &Texts, at: Timestamp, now: Timestamp) -> When {
        let iso = Timestamp(at.0.div_euclid(1000) * 1000).to_string();
        let exact = iso.replace('T', " ").replace('Z', " UTC");
        let seconds = at.0.abs_diff(now.0) / 1000;
        let relative = match (at > now, seconds) {
            (_, 0..10) => texts.get("when.now").to_owned(),
            (true, _) => texts.with("when.in", &span(texts, seconds)),
            (false, _) => texts.with("when.ago", &span(texts, seconds)),
        };
        When {
            iso,
            exact,
            relative,
        }
    }
}

/// A span in its largest unit, rounded down: nothing is said to be longer than it is.
pub fn span(texts: &Texts, seconds: u64) -> String {
    let (unit, size) = match seconds {
        0..MINUTE => ("when.second", 1),
        MINUTE..HOUR => ("when.minute", MINUTE),
        HOUR..DAY => ("when.hour", HOUR),
        _ if seconds < 60 * DAY => ("when.day", DAY),
        _ if seconds < 730 * DAY => ("when.month", 30 * DAY),
        _ => ("when.year", 365 * DAY),
    };
    texts.count(unit, seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    #[test]
    fn a_point_in_time_is_told_as_people_do() {
        let now = Timestamp(1_795_255_200_000);
        for (seconds, expected) in [
            (0, "just now"),
            (-9, "just now"),
            (-59, "59 seconds ago"),
            (-60, "1 minute ago"),
            (-3 * 3600 - 1, "3 hours ago"),
            (3600, "in 1 hour"),
            (5 * 86_400, "in 5 days"),
            (59 * 86_400, "in 59 days"),
            (90 * 86_400, "in 3 months"),
            (800 * 86_400, "in 2 years"),
        ] {
            let when = When::new(english(), Timestamp(now.0 + seconds * 1000), now);
            assert_eq!(when.relative, expected);
        }
        let when = When::new(english(), Timestamp(now.0 + 7), now);
        assert_eq!(when.exact, "2026-11-21 10:00:00 UTC");
        assert_eq!(when.iso, "2026-11-21T10:00:00Z");
    }
}
