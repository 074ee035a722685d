//! Points in time in relative form, together with the exact time.

use crate::dialects::console::text::Texts;
use crate::domain::time::Timestamp;

/// A point in time as pages display it.
#[derive(Clone, Debug)]
pub struct DisplayTime {
    /// RFC 3339, for machines.
    pub iso: String,
    /// `2026-11-21 10:00:00 UTC`, in the language and the time zone of the user.
    pub exact: String,
    /// `3 minutes ago`, `in 5 days`
    pub relative: String,
}

/// The end of something: the last day on which it works, with the time of day unless it works until the end of that
/// day.
#[derive(Clone, Debug)]
pub struct LastDay {
    /// RFC 3339, for machines: the first instant at which it no longer works.
    pub iso: String,
    /// `2027-11-28`, or `2027-11-28 14:05 UTC`
    pub day: String,
    /// `in 12 months`
    pub relative: String,
}

impl LastDay {
    pub fn new(texts: &Texts, end: Timestamp, now: Timestamp) -> LastDay {
        let DisplayTime { iso, relative, .. } = DisplayTime::new(texts, end, now);
        let day = match texts.zone.is_midnight(end) {
            true => texts.day(Timestamp(end.0 - 1)),
            false => texts.minute(end),
        };
        LastDay { iso, day, relative }
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl DisplayTime {
    pub fn new(texts: &Texts, at: Timestamp, now: Timestamp) -> DisplayTime {
        let iso = Timestamp(at.0.div_euclid(1000) * 1000).to_string();
        let exact = texts.instant(at);
        let seconds = at.0.abs_diff(now.0) / 1000;
        let relative = match (at > now, seconds) {
            (_, 0..10) => texts.get("when.now").to_owned(),
            (true, _) => texts.with("when.in", &span(texts, seconds)),
            (false, _) => texts.with("when.ago", &span(texts, seconds)),
        };
        DisplayTime {
            iso,
            exact,
            relative,
        }
    }
}

/// A time span in its largest unit, rounded down, so that no span appears longer than it is.
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

    // 1B-5, 1B-35
    #[test]
    fn an_end_is_told_by_the_last_day_that_counts() {
        let now = Timestamp(1_795_255_200_000);
        let at = |text: &str| Timestamp::parse("at", text).unwrap();
        for (end, day) in [
            ("2027-11-29T00:00:00Z", "2027-11-28"),
            ("2028-03-01T00:00:00Z", "2028-02-29"),
            ("2027-01-01T00:00:00Z", "2026-12-31"),
            ("2027-11-29T00:00:01Z", "2027-11-29 00:00 UTC"),
            ("2027-11-28T14:05:59Z", "2027-11-28 14:05 UTC"),
        ] {
            let last = LastDay::new(english(), at(end), now);
            assert_eq!((last.day.as_str(), last.iso.as_str()), (day, end));
        }
    }

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
            let when = DisplayTime::new(english(), Timestamp(now.0 + seconds * 1000), now);
            assert_eq!(when.relative, expected);
        }
        let when = DisplayTime::new(english(), Timestamp(now.0 + 7), now);
        assert_eq!(when.exact, "2026-11-21 10:00:00 UTC");
        assert_eq!(when.iso, "2026-11-21T10:00:00Z");
    }
}
