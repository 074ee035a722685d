//! What the nodes that share a database report to one another of attempts to sign in, so that each of them counts those of all.
//!
//! An attempt is announced before its outcome is known, as it is counted before that. If its outcome is not announced in time, because
//! its node has ended, it counts as a failure.

use super::{Account, AttemptNetwork, Attempts, Ticket};
use crate::domain::keys::KeyId;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};

/// After this time, an attempt of another node whose outcome was not announced counts as a failure.
const PENDING_MS: u64 = 60_000;
/// How often a node asks for news of the others before it refuses an attempt by what it knows itself.
const OLD_NEWS_MS: u64 = 1_000;
/// Stands for the Unix socket, which has no network.
const NO_PLACE: &str = "-";

/// One thing that a node announces to the others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Announcement {
    Attempt(Ticket),
    /// All failures of an account are forgotten.
    Forgotten(Account),
    /// A user has a new password, so the failures and the networks that belong to the old one are forgotten.
    NewPassword(Uid),
    /// A user has signed in.
    Succeeded {
        user: Uid,
        place: AttemptNetwork,
        unlocks: bool,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Failed,
    NoFailure,
    Pending,
}

/// What a node has announced, as the store has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedAttempt {
    pub number: i64,
    /// Grows with each change of any row.
    pub changed: i64,
    /// Whether this node has announced it.
    pub is_own: bool,
    pub at: Timestamp,
    pub announced: Announcement,
    pub outcome: Outcome,
}

/// What this node has heard of the others, and has still to announce to them.
#[derive(Debug, Default)]
pub struct Others {
    /// The newest change that was heard of.
    pub seen: i64,
    /// When it was heard of, on the steady clock.
    heard_ms: Option<u64>,
    /// The attempts of others whose outcome is not known, and when they began, on the steady clock.
    pending: HashMap<i64, (Ticket, u64)>,
    outcomes: Vec<(i64, Outcome)>,
    announced: Vec<Announcement>,
}

impl Attempts {
    /// Counts what other nodes have announced.
    pub fn hear(&mut self, rows: &[SharedAttempt], now: Moment) {
        self.others.heard_ms = Some(now.steady_ms);
        // Another thread may have heard of some of them meanwhile, and of what came after.
        let seen = self.others.seen;
        for row in rows.iter().filter(|row| row.changed > seen) {
            self.others.seen = self.others.seen.max(row.changed);
            if !row.is_own {
                self.hear_one(row, now);
            }
        }
        let pending = self.others.pending.iter();
        let late = pending.filter(|(_, (_, at_ms))| now.steady_ms >= at_ms + PENDING_MS);
        let late: Vec<i64> = late.map(|(number, _)| *number).collect();
        for number in late {
            if let Some((ticket, at_ms)) = self.others.pending.remove(&number) {
                self.end(ticket, true, at_ms + PENDING_MS, now.wall);
            }
        }
    }

    fn hear_one(&mut self, row: &SharedAttempt, now: Moment) {
        // When it happened, on the clock of this process.
        let ago_ms = u64::try_from(now.wall.0.saturating_sub(row.at.0)).unwrap_or(0);
        let at_ms = now.steady_ms.saturating_sub(ago_ms);
        match (&row.announced, row.outcome) {
            (Announcement::Attempt(ticket), Outcome::Pending) => {
                let former = self.others.pending.insert(row.number, (*ticket, at_ms));
                if former.is_none() {
                    self.reserve(*ticket, at_ms);
                }
            }
            (Announcement::Attempt(ticket), Outcome::Failed) => {
                if self.others.pending.remove(&row.number).is_none() {
                    self.reserve(*ticket, at_ms);
                }
                self.end(*ticket, true, at_ms, row.at);
            }
            (Announcement::Attempt(_), Outcome::NoFailure) => {
                if let Some((ticket, _)) = self.others.pending.remove(&row.number) {
                    self.end(ticket, false, at_ms, row.at);
                }
            }
            (Announcement::Forgotten(account), _) => self.forget(*account),
            (Announcement::NewPassword(user), _) => self.forget_networks(*user),
            (
                Announcement::Succeeded {
                    user,
                    place,
                    unlocks,
                },
                _,
            ) => {
                self.succeeded(*user, *place, *unlocks, row.at);
            }
        }
    }

    /// Notes how an attempt of this node has ended that was announced to the others.
    pub fn note_outcome(&mut self, number: i64, outcome: Outcome) {
        self.others.outcomes.push((number, outcome));
    }

    /// Notes what is to be announced to the others.
    pub fn note(&mut self, announced: Announcement) {
        self.others.announced.push(announced);
    }

    /// Whether the others may have announced something of which this node has not heard, such as that an account was unlocked.
    pub fn has_old_news(&self, now: Moment) -> bool {
        let since = |heard_ms| now.steady_ms.saturating_sub(heard_ms);
        self.others
            .heard_ms
            .is_none_or(|at| since(at) >= OLD_NEWS_MS)
    }

    /// Whether something is still to be announced to the others.
    pub fn has_unannounced(&self) -> bool {
        !self.others.outcomes.is_empty() || !self.others.announced.is_empty()
    }

    /// Takes what is still to be announced to the others.
    pub fn take_unannounced(&mut self) -> (Vec<(i64, Outcome)>, Vec<Announcement>) {
        let others = &mut self.others;
        (
            std::mem::take(&mut others.outcomes),
            std::mem::take(&mut others.announced),
        )
    }
}

impl Announcement {
    /// Reads what [`Display`] writes.
    pub fn parse(text: &str) -> Option<Announcement> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let subject = words.next()?;
        let announced = match kind {
            "session" => Announcement::Attempt(Ticket::Session(KeyId::parse(subject)?)),
            "forgotten" => Announcement::Forgotten(Account::parse(subject)?),
            "new-password" => Announcement::NewPassword(Uid::parse(subject)?),
            "succeeded" => Announcement::Succeeded {
                user: Uid::parse(subject)?,
                place: place(words.next()?)?,
                unlocks: match words.next()? {
                    "unlocks" => true,
                    "password" => false,
                    _ => return None,
                },
            },
            _ => {
                let account = Account::parse(subject)?;
                let place = place(words.next()?)?;
                Announcement::Attempt(match kind {
                    "code" => Ticket::Code { account, place },
                    "other" => Ticket::Other { account, place },
                    "password" => Ticket::Password {
                        account,
                        place,
                        is_known: false,
                        with_code: false,
                    },
                    _ => return None,
                })
            }
        };
        words.next().is_none().then_some(announced)
    }
}

impl Display for Announcement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let attempt = |f: &mut Formatter<'_>, kind: &str, account: &Account, place| {
            write!(f, "{kind} {account} {}", shown(place))
        };
        match self {
            Announcement::Attempt(Ticket::Code { account, place }) => {
                attempt(f, "code", account, place)
            }
            Announcement::Attempt(Ticket::Other { account, place }) => {
                attempt(f, "other", account, place)
            }
            Announcement::Attempt(Ticket::Password { account, place, .. }) => {
                attempt(f, "password", account, place)
            }
            Announcement::Attempt(Ticket::Session(session)) => write!(f, "session {session}"),
            Announcement::Forgotten(account) => write!(f, "forgotten {account}"),
            Announcement::NewPassword(user) => write!(f, "new-password {user}"),
            Announcement::Succeeded {
                user,
                place,
                unlocks,
            } => {
                let by = if *unlocks { "unlocks" } else { "password" };
                write!(f, "succeeded {user} {} {by}", shown(place))
            }
        }
    }
}

fn shown(place: &AttemptNetwork) -> String {
    place.map_or_else(|| NO_PLACE.to_owned(), |network| network.to_string())
}

fn place(text: &str) -> Option<AttemptNetwork> {
    match text {
        NO_PLACE => Some(None),
        network => network.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NOBODY, Refusal};
    use super::*;

    const USER: Uid = Uid(7);
    const ALICE: Account = Account::User(USER);
    const NOW: Moment = Moment {
        wall: Timestamp(1_800_000_000_000),
        steady_ms: 500_000,
    };

    fn elsewhere() -> AttemptNetwork {
        Some("192.0.2.1".parse().unwrap())
    }

    fn password() -> Ticket {
        Ticket::Password {
            account: ALICE,
            place: elsewhere(),
            is_known: false,
            with_code: false,
        }
    }

    fn row(number: i64, changed: i64, announced: Announcement, outcome: Outcome) -> SharedAttempt {
        SharedAttempt {
            number,
            changed,
            is_own: false,
            at: NOW.wall,
            announced,
            outcome,
        }
    }

    fn begin(attempts: &mut Attempts, at_ms: u64) -> Result<Ticket, Refusal> {
        attempts.begin_password(ALICE, elsewhere(), false, at_ms)
    }

    #[test]
    fn what_is_announced_is_read_as_it_is_written() {
        let session = Ticket::Session(KeyId(5));
        for announced in [
            Announcement::Attempt(password()),
            Announcement::Attempt(session),
            Announcement::Attempt(Ticket::Code {
                account: NOBODY,
                place: None,
            }),
            Announcement::Attempt(Ticket::Other {
                account: Account::Unknown(9),
                place: Some("2001:db8::".parse().unwrap()),
            }),
            Announcement::Forgotten(ALICE),
            Announcement::NewPassword(USER),
            Announcement::Succeeded {
                user: USER,
                place: None,
                unlocks: true,
            },
            Announcement::Succeeded {
                user: USER,
                place: elsewhere(),
                unlocks: false,
            },
        ] {
            let text = announced.to_string();
            assert_eq!(Announcement::parse(&text), Some(announced), "{text}");
            assert_eq!(Announcement::parse(&format!("{text} more")), None, "{text}");
        }
        for wrong in ["", "password", "password x -", "strange 0 -", "session x"] {
            assert_eq!(Announcement::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn attempts_of_other_nodes_count_before_and_after_their_outcome() {
        let mut attempts = Attempts::default();
        for number in 1..=10 {
            attempts.hear(
                &[row(
                    number,
                    number,
                    Announcement::Attempt(password()),
                    Outcome::Pending,
                )],
                NOW,
            );
        }
        assert_eq!(begin(&mut attempts, NOW.steady_ms), Err(Refusal::Wait(1)));
        for number in 1..=10 {
            let announced = Announcement::Attempt(password());
            attempts.hear(&[row(number, 10 + number, announced, Outcome::Failed)], NOW);
        }
        assert_eq!(begin(&mut attempts, NOW.steady_ms), Err(Refusal::Wait(60)));
        // The same change again, and one of this node, change nothing.
        assert_eq!(attempts.others.seen, 20);
        let own = SharedAttempt {
            is_own: true,
            ..row(30, 30, Announcement::Forgotten(ALICE), Outcome::NoFailure)
        };
        attempts.hear(&[own], NOW);
        assert_eq!(begin(&mut attempts, NOW.steady_ms), Err(Refusal::Wait(60)));
        attempts.hear(
            &[row(
                31,
                31,
                Announcement::Forgotten(ALICE),
                Outcome::NoFailure,
            )],
            NOW,
        );
        assert!(begin(&mut attempts, NOW.steady_ms).is_ok());
    }

    #[test]
    fn an_attempt_that_did_not_fail_is_released_and_one_without_an_outcome_fails() {
        let mut attempts = Attempts::default();
        let announced = || Announcement::Attempt(password());
        for number in 1..=10 {
            attempts.hear(&[row(number, number, announced(), Outcome::Pending)], NOW);
        }
        for number in 1..=9 {
            attempts.hear(
                &[row(number, 10 + number, announced(), Outcome::NoFailure)],
                NOW,
            );
        }
        let begun = begin(&mut attempts, NOW.steady_ms).unwrap();
        attempts.end(begun, false, NOW.steady_ms, NOW.wall);
        assert_eq!(attempts.standing(ALICE).failures, 0);
        let later = Moment {
            steady_ms: NOW.steady_ms + PENDING_MS,
            ..NOW
        };
        attempts.hear(&[], later);
        assert_eq!(attempts.standing(ALICE).failures, 1);
        attempts.hear(&[], later);
        assert_eq!(attempts.standing(ALICE).failures, 1);
    }

    /// A node that hears late of failures does not let a user wait for them again.
    #[test]
    fn waits_count_from_the_failure_and_not_from_its_news() {
        let mut attempts = Attempts::default();
        let failures: Vec<SharedAttempt> = (1..=10)
            .map(|number| SharedAttempt {
                at: Timestamp(NOW.wall.0 - 50_000),
                ..row(
                    number,
                    number,
                    Announcement::Attempt(password()),
                    Outcome::Failed,
                )
            })
            .collect();
        attempts.hear(&failures, NOW);
        assert_eq!(begin(&mut attempts, NOW.steady_ms), Err(Refusal::Wait(10)));
    }
}
