//! The questions that a process of a site has asked before: they tell a newer question from one that was held up on its way, was
//! recorded, or comes from another machine with the same state.

use crate::domain::packs::question::{Nonce, Question};
use std::collections::VecDeque;

/// For so long after its newest question arrived, an older question of the process is refused. One that comes later shows that the
/// process has gone back to a former state, as a virtual machine that was reset.
const HELD_UP_MS: u64 = 10_000;

/// The number of questions of a process that are remembered.
const HEARD_MAX: usize = 64;

/// A question among those of the same process of a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// It may be answered.
    Newest,
    /// It was asked before the newest one.
    HeldUp,
    /// It arrived before.
    Repeated,
    /// Two machines ask with the state of the same process. Whether this question may be answered: not if the other machine has asked a
    /// newer one just now.
    Copied { is_late: bool },
}

/// See the heading.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The process of the newest question, and the number of that question.
    newest: Option<(Nonce, u64)>,
    /// When it arrived.
    at_ms: u64,
    /// The numbers and nonces of the last questions of the process.
    recent: VecDeque<(u64, Nonce)>,
}

impl Heard {
    /// Compares a question with those that its process has asked before.
    pub fn order(&self, question: &Question, now_ms: u64) -> Order {
        let Some((_, newest)) = self
            .newest
            .filter(|(process, _)| *process == question.process)
        else {
            return Order::Newest;
        };
        let heard = || self.recent.iter();
        if heard().any(|(_, nonce)| *nonce == question.nonce) {
            return Order::Repeated;
        }
        if question.number > newest {
            return Order::Newest;
        }
        let is_late = question.number < newest && now_ms.saturating_sub(self.at_ms) < HELD_UP_MS;
        let is_forgotten =
            self.recent.len() == HEARD_MAX && heard().all(|(number, _)| question.number < *number);
        if is_forgotten || heard().any(|(number, _)| *number == question.number) {
            return Order::Copied { is_late };
        }
        match is_late {
            true => Order::HeldUp,
            false => Order::Newest,
        }
    }

    /// Notes a question that is answered.
    pub fn note(&mut self, question: &Question, now_ms: u64) {
        if self.newest.map(|(process, _)| process) != Some(question.process) {
            self.recent.clear();
        }
        (self.newest, self.at_ms) = (Some((question.process, question.number)), now_ms);
        if self.recent.len() == HEARD_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((question.number, question.nonce));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::packs::question::Events;
    use crate::domain::uid::Uid;

    fn question() -> Question {
        Question {
            origin: "server.example".to_owned(),
            site: "plant-7".to_owned(),
            server: Uid(1),
            life: Uid(2),
            nonce: Nonce([3; 16]),
            applied: Nonce::default(),
            arrived: Nonce::default(),
            process: Nonce([6; 16]),
            number: 7,
            reign: 1,
            pack: 7,
            base: 7,
            events: Events::default(),
            lease_s: 10,
        }
    }

    #[test]
    fn a_question_that_was_held_up_is_told_from_a_newer_one() {
        let first = question();
        let other = |number: u64, process: u8, nonce: u8| Question {
            number,
            process: Nonce([process; 16]),
            nonce: Nonce([nonce; 16]),
            ..first.clone()
        };
        let mut heard = Heard::default();
        assert_eq!(heard.order(&first, 0), Order::Newest);
        heard.note(&first, 500);
        // Number 8 was lost on its way.
        let newest = other(9, 6, 9);
        heard.note(&newest, 1_000);
        let order = |number: u64, process: u8, nonce: u8, now_ms: u64| {
            heard.order(&other(number, process, nonce), now_ms)
        };
        // One that comes again was recorded on its way.
        for (number, nonce) in [(7, 3), (9, 9)] {
            for now_ms in [1_000, 60_000] {
                assert_eq!(order(number, 6, nonce, now_ms), Order::Repeated);
            }
        }
        for number in [1, 6, 8] {
            assert_eq!(order(number, 6, 4, 10_999), Order::HeldUp, "{number}");
        }
        assert_eq!(order(10, 6, 4, 1_000), Order::Newest);
        // A new process counts from 1, and a machine that was reset goes on from what it was.
        assert_eq!(order(1, 5, 4, 1_000), Order::Newest);
        assert_eq!(order(6, 6, 4, 11_000), Order::Newest);
        // Two machines count alike.
        assert_eq!(order(9, 6, 4, 1_000), Order::Copied { is_late: false });
        assert_eq!(order(7, 6, 4, 1_000), Order::Copied { is_late: true });
        assert_eq!(order(7, 6, 4, 11_000), Order::Copied { is_late: false });
        assert_eq!(order(7, 5, 4, 1_000), Order::Newest);
    }

    #[test]
    fn a_number_that_is_long_past_is_that_of_a_copy() {
        let first = question();
        let other = |number: u64, nonce: u64| Question {
            number,
            nonce: Nonce(u128::from(nonce).to_be_bytes()),
            ..first.clone()
        };
        let mut heard = Heard::default();
        for number in 8..8 + HEARD_MAX as u64 {
            let old = other(2, 1_000);
            assert_eq!(
                heard.order(&old, 0),
                match number {
                    8 => Order::Newest,
                    _ => Order::HeldUp,
                }
            );
            heard.note(&other(number, number), 0);
        }
        assert_eq!(
            heard.order(&other(2, 1_000), 0),
            Order::Copied { is_late: true }
        );
        assert_eq!(heard.recent.len(), HEARD_MAX);
        heard.note(&other(1_000, 1_000), 0);
        assert_eq!(heard.recent.len(), HEARD_MAX);
        let mut other_process = other(1, 1_001);
        other_process.process = Nonce([7; 16]);
        heard.note(&other_process, 0);
        assert_eq!(heard.recent.len(), 1);
    }
}
