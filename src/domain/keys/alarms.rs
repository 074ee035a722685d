//! Alarms about a key: what tripwires have found, in a form that is stored and shown.

use crate::domain::time::Timestamp;

/// The kinds of alarms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AlarmKind {
    /// A secret of the key was reported as leaked.
    Leaked,
    /// A secret of the key that has ended was tried.
    OldSecret,
    /// The key is a decoy, and it was tried.
    Tripped,
}

/// All alarms of one kind about one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alarm {
    pub kind: AlarmKind,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The address of the latest one, if it is known.
    pub address: Option<String>,
    /// The request of the latest one, or where the secret was found; may be empty.
    pub place: String,
}

/// The same kind of alarm about the same key is recorded once in this time, and counted in between: ten minutes.
pub const QUIET_MS: i64 = 600_000;

impl AlarmKind {
    const ALL: [AlarmKind; 3] = [AlarmKind::Leaked, AlarmKind::OldSecret, AlarmKind::Tripped];

    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmKind::Leaked => "leaked",
            AlarmKind::OldSecret => "old_secret",
            AlarmKind::Tripped => "tripped",
        }
    }

    /// The inverse of `as_str`.
    pub fn parse(text: &str) -> Option<AlarmKind> {
        AlarmKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// The action of its event.
    pub fn action(self) -> &'static str {
        match self {
            AlarmKind::Leaked => "key.leaked",
            AlarmKind::OldSecret => "key.old_secret_tried",
            AlarmKind::Tripped => "key.tripped",
        }
    }
}

/// Whether an event is due now, if the last one was recorded at a time.
pub fn is_due(recorded_at: Option<Timestamp>, now: Timestamp) -> bool {
    // A mark in the future is one of a clock that was wrong, and must not silence anything.
    recorded_at.is_none_or(|at| at > now || now.0 - at.0 >= QUIET_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_recorded_at_most_every_ten_minutes() {
        let at = |ms| Timestamp(ms);
        assert!(is_due(None, at(0)));
        assert!(!is_due(Some(at(0)), at(QUIET_MS - 1)));
        assert!(is_due(Some(at(0)), at(QUIET_MS)));
        assert!(is_due(Some(at(10)), at(9)));
        for kind in AlarmKind::ALL {
            assert_eq!(AlarmKind::parse(kind.as_str()), Some(kind));
        }
    }
}
