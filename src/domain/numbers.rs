//! Numbers by which some clients know things. They are assigned in ascending order and never twice, even if the
//! database is lost or replaced.
//!
//! The tombstone file records an upper bound of the assigned numbers: `<milliseconds> given <series> <number>
//! <check>`. The last line of a series counts. While a server runs, the recorded bound is ahead of the assigned
//! numbers, so that one line serves many of them; an orderly end records the exact number. If a database is behind
//! its file, after a crash or because it is an older copy, the numbers continue after the recorded bound.

use super::tombstones::checked;
use crate::domain::time::Timestamp;

/// How far a recorded bound is ahead of the assigned number.
const AHEAD: i64 = 256;

/// Kinds of things that share a sequence of numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Series {
    /// Keys, users and authenticators.
    Keys,
    Workspaces,
}

/// The highest assigned number of each series; 0 if none was assigned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Numbers([i64; Series::ALL.len()]);

impl Series {
    pub const ALL: [Series; 2] = [Series::Keys, Series::Workspaces];

    /// The word for the series in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Series::Keys => "key",
            Series::Workspaces => "workspace",
        }
    }

    pub fn parse(text: &str) -> Option<Series> {
        Series::ALL
            .into_iter()
            .find(|series| series.as_str() == text)
    }
}

impl Numbers {
    pub fn of(self, series: Series) -> i64 {
        self.0[series as usize]
    }

    pub fn set(&mut self, series: Series, number: i64) {
        self.0[series as usize] = number;
    }

    /// Whether some number here is greater than the corresponding number of `other`.
    pub fn exceeds(self, other: Numbers) -> bool {
        Series::ALL
            .into_iter()
            .any(|series| self.of(series) > other.of(series))
    }

    /// The greater number of both for each series.
    pub fn or_later(self, other: Numbers) -> Numbers {
        let mut latest = self;
        for series in Series::ALL {
            latest.set(series, self.of(series).max(other.of(series)));
        }
        latest
    }

    /// Bounds that are so much higher.
    pub fn raised_by(self, count: i64) -> Numbers {
        let mut raised = self;
        for series in Series::ALL {
            raised.set(series, self.of(series).saturating_add(count));
        }
        raised
    }

    /// The bounds to record so that `given` is not beyond them. A bound that is too low is raised ahead of `given`; a
    /// bound that suffices stays the same.
    pub fn ahead_of(self, given: Numbers) -> Numbers {
        let mut ahead = self;
        for series in Series::ALL {
            if given.of(series) > self.of(series) {
                ahead.set(series, given.of(series).saturating_add(AHEAD));
            }
        }
        ahead
    }

    /// The lines that change the bounds of a file from `self` to `next`, each with its line end.
    pub fn lines(self, next: Numbers, at: Timestamp) -> String {
        Series::ALL
            .into_iter()
            .filter(|series| next.of(*series) != self.of(*series))
            .map(|series| {
                let (name, number) = (series.as_str(), next.of(series));
                checked(&format!("{} given {name} {number}", at.0))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tombstones::Tombstones;

    fn numbers(keys: i64, workspaces: i64) -> Numbers {
        Numbers([keys, workspaces])
    }

    #[test]
    fn a_line_is_written_seldom_and_never_too_late() {
        let mut written = Numbers::default();
        let mut lines = 0;
        for number in 1..=1_000 {
            let next = written.ahead_of(numbers(number, 1));
            lines += written.lines(next, Timestamp(0)).lines().count();
            written = next;
            assert!(!numbers(number, 1).exceeds(written));
        }
        assert_eq!(lines, 5, "four for keys, one for workspaces");
    }

    #[test]
    fn the_last_line_of_a_series_counts() {
        let none = Numbers::default();
        let mut file = none.lines(numbers(256, 3), Timestamp(7));
        file += &numbers(256, 3).lines(numbers(17, 3), Timestamp(8));
        let read = Tombstones::parse(file.as_bytes());
        assert_eq!((read.lines, read.damaged), (3, 0));
        assert_eq!(read.given, numbers(17, 3));
        let compact = Tombstones::parse(read.compact().as_bytes());
        assert_eq!(compact.given, read.given);
    }
}
