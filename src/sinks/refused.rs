//! Messages that the receiver refuses. A failure of the connection or of the receiver is over some day, but a message
//! whose content is refused would hold up all later ones for ever, so it is left out in the end.

use std::fmt;
use std::io;

/// A message is left out after so many refusals.
const ANSWERS_MIN: u32 = 10;
/// At least this time after the first of them, so that a receiver can be repaired.
const PATIENCE_MS: u64 = 600_000;

/// The receiver works, and did not want this message.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Whether a failure is the refusal of one message.
    pub fn is(err: &io::Error) -> bool {
        err.get_ref().is_some_and(|inner| inner.is::<Refused>())
    }
}

/// How often the message that is the next one of a series was refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Its number, how often, and since when on the steady clock.
    head: Option<(i64, u32, u64)>,
}

impl Refusals {
    /// Records a refusal at a time on the steady clock in milliseconds. Returns whether the message is to be left out.
    pub fn note(&mut self, number: i64, now_ms: u64) -> bool {
        let (count, since_ms) = match self.head {
            Some((known, count, since_ms)) if known == number => {
                (count.saturating_add(1), since_ms)
            }
            _ => (1, now_ms),
        };
        self.head = Some((number, count, since_ms));
        count >= ANSWERS_MIN && now_ms.saturating_sub(since_ms) >= PATIENCE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_left_out_after_ten_refusals_in_ten_minutes() {
        let mut often = Refusals::default();
        for second in 0..600 {
            assert!(!often.note(1, second * 1_000), "{second}");
        }
        assert!(often.note(1, PATIENCE_MS));
        // The next one has its own count.
        assert!(!often.note(2, PATIENCE_MS));
        let mut seldom = Refusals::default();
        for hour in 1..10 {
            assert!(!seldom.note(1, hour * 3_600_000), "{hour}");
        }
        assert!(seldom.note(1, 36_000_000));
    }

    #[test]
    fn only_a_refusal_is_one() {
        assert!(Refused::is(&io::Error::other(Refused("no".to_owned()))));
        assert!(!Refused::is(&io::Error::other("no")));
        assert!(!Refused::is(&io::ErrorKind::TimedOut.into()));
    }
}
