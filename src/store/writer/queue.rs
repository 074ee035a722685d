//! The queue of changes that wait for the writer. Changes that only take something away have a queue of their own, and so has the
//! closing of an older copy, which comes before everything else.
//!
//! A batch has changes of one kind, so that a change that needs space on a full disk does not spoil one that may use
//! the reserve. The two kinds take turns: neither waits for more than one batch of the other.
//!
//! The queues have no limits for each caller. Changes come from threads that serve requests, and there are few of
//! these. The share of one caller is limited where its requests wait for such a thread (`http1::pool`).

use super::{BATCH_MAX, Job};
use crate::domain::locks::lock;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// When a change is carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// Before all others: the node closes an older copy, or records about itself what a start needs. This alone is possible while the
    /// database is an older copy that is not closed.
    Closing,
    /// Before all others, and with the reserved disk space: the change takes something away, or the administrator of
    /// this machine makes it.
    First,
    Usual,
}

/// The reason why a change was not queued.
pub enum QueueRefusal {
    Closed,
    Full,
}

/// The two queues; see the heading.
pub struct Queue {
    each_max: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    closing: VecDeque<Job>,
    first: VecDeque<Job>,
    usual: VecDeque<Job>,
    /// Whether the last batch was of the first kind.
    had_first: bool,
    closed: bool,
}

impl Queue {
    /// `each_max` is the number of changes of each kind that may wait.
    pub fn new(each_max: usize) -> Queue {
        Queue {
            each_max,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub fn push(&self, urgency: Urgency, job: Job) -> Result<(), QueueRefusal> {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Err(QueueRefusal::Closed);
        }
        let queue = match urgency {
            Urgency::Closing => &mut waiting.closing,
            Urgency::First => &mut waiting.first,
            Urgency::Usual => &mut waiting.usual,
        };
        if queue.len() >= self.each_max {
            return Err(QueueRefusal::Full);
        }
        queue.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next batch; `None` when the queue is closed and empty. With `patience`, the batch is empty if there is none
    /// for so long.
    pub fn next_batch(&self, patience: Option<Duration>) -> Option<(Urgency, Vec<Job>)> {
        let mut waiting = lock(&self.waiting);
        loop {
            if !waiting.closing.is_empty() {
                return Some((Urgency::Closing, some(&mut waiting.closing)));
            }
            let first_is_due =
                !waiting.first.is_empty() && (!waiting.had_first || waiting.usual.is_empty());
            if first_is_due {
                waiting.had_first = true;
                return Some((Urgency::First, some(&mut waiting.first)));
            }
            if !waiting.usual.is_empty() {
                waiting.had_first = false;
                return Some((Urgency::Usual, some(&mut waiting.usual)));
            }
            if waiting.closed {
                return None;
            }
            let Some(patience) = patience else {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.changed.wait_timeout(waiting, patience);
            let (later, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Some((Urgency::Usual, Vec::new()));
            }
            waiting = later;
        }
    }

    /// Takes everything that waits.
    pub fn take_all(&self) -> Vec<Job> {
        let mut waiting = lock(&self.waiting);
        let mut all: Vec<Job> = waiting.closing.drain(..).collect();
        all.extend(waiting.first.drain(..));
        all.extend(waiting.usual.drain(..));
        all
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.waiting).closed
    }

    /// Refuses every change from now on. Waiting changes are still handed out.
    pub fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_all();
    }
}

/// Takes as many jobs as one commit may have.
fn some(queue: &mut VecDeque<Job>) -> Vec<Job> {
    let count = queue.len().min(BATCH_MAX);
    queue.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, JobResult};
    use super::*;

    fn job() -> Job {
        Job {
            durability: Durability::Full,
            run: Box::new(|_| JobResult {
                succeeded: true,
                answer: Box::new(|_| ()),
            }),
        }
    }

    fn taken(queue: &Queue) -> Option<(Urgency, usize)> {
        queue
            .next_batch(None)
            .map(|(urgency, jobs)| (urgency, jobs.len()))
    }

    #[test]
    fn what_takes_away_comes_first_and_others_are_not_forgotten() {
        let queue = Queue::new(9);
        let push = |urgency| assert!(queue.push(urgency, job()).is_ok());
        push(Urgency::Usual);
        push(Urgency::First);
        push(Urgency::First);
        assert_eq!(taken(&queue), Some((Urgency::First, 2)));
        push(Urgency::First);
        assert_eq!(taken(&queue), Some((Urgency::Usual, 1)));
        assert_eq!(taken(&queue), Some((Urgency::First, 1)));
        push(Urgency::First);
        assert_eq!(taken(&queue), Some((Urgency::First, 1)));
        queue.close();
        assert_eq!(taken(&queue), None);
    }

    #[test]
    fn a_full_queue_of_others_refuses_nothing_that_takes_away() {
        let queue = Queue::new(2);
        for _ in 0..2 {
            assert!(queue.push(Urgency::Usual, job()).is_ok());
        }
        assert!(matches!(
            queue.push(Urgency::Usual, job()),
            Err(QueueRefusal::Full)
        ));
        assert!(queue.push(Urgency::First, job()).is_ok());
        queue.close();
        assert!(matches!(
            queue.push(Urgency::First, job()),
            Err(QueueRefusal::Closed)
        ));
        assert_eq!(queue.take_all().len(), 3);
    }
}
