//! A fixed set of threads for requests that may block.
//!
//! All of them start with the server, so that a machine that refuses new threads later (attacks 38) cannot make a
//! request fail; and the queues are bounded, so that a slow disk cannot fill the memory.
//!
//! Requests wait in three queues ([`Class`]). Most threads serve all three in turn; each class that must not wait for
//! the others has a few threads that serve it alone. Within a queue callers take turns, and no caller holds more than a
//! quarter of it ([`Turn`]).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::domain::locks::lock;

/// The queue in which a request waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Requests over the Unix socket, and deletions and similar reductions by administrators of the server.
    Administration,
    /// Requests that only remove something or reduce what a credential may do.
    TakesAway,
    Usual,
}

const CLASSES: usize = 3;

/// How a request queues.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turn {
    pub class: Class,
    /// Against whose quota the request counts: first the caller, then the groups that the caller belongs to. Each of
    /// them holds at most a quarter of a queue. Empty: the request counts against no quota.
    pub holders: Vec<u64>,
}

impl Turn {
    /// For a request that counts against no quota.
    pub fn usual() -> Turn {
        Turn {
            class: Class::Usual,
            holders: Vec::new(),
        }
    }
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Crowded {
    /// The queue is full.
    Everybody,
    /// The caller, or a group that the caller belongs to, has used its quota of the queue.
    Holder,
}

/// How many threads there are and how many requests may wait.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The number of threads that serve all classes.
    pub threads: usize,
    /// The number of additional threads for each class but the usual one, which serve that class alone.
    pub reserved_threads: usize,
    /// How many requests of each class may wait.
    pub queue_max: usize,
}

/// Dropping it lets the threads finish the queued requests and end.
pub struct Pool<J>(Arc<Shared<J>>);

struct Shared<J> {
    queue_max: usize,
    state: Mutex<State<J>>,
    /// One for each kind of thread: first the threads that serve one class alone, in the order of the classes, then the
    /// threads that serve all classes.
    wakes: [Condvar; CLASSES + 1],
}

struct State<J> {
    queues: [Queue<J>; CLASSES],
    /// How many threads of each kind wait, without those that have been woken.
    idle: [usize; CLASSES + 1],
    /// How many threads of each kind have been woken and do not run yet.
    woken: [usize; CLASSES + 1],
    /// The class that a thread for all classes examines first.
    next: usize,
    closed: bool,
}

/// The kind of the threads that serve all classes.
const ALL: usize = CLASSES;

/// Requests of one class.
struct Queue<J> {
    /// The requests of each caller, in their order.
    waiting: HashMap<u64, VecDeque<(Vec<u64>, J)>>,
    /// The callers that have waiting requests, in the order of their turns.
    turns: VecDeque<u64>,
    length: usize,
    held: HashMap<u64, usize>,
}

impl<J> Default for Queue<J> {
    fn default() -> Queue<J> {
        Queue {
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
            held: HashMap::new(),
        }
    }
}

impl<J> Queue<J> {
    fn push(&mut self, holders: Vec<u64>, job: J, most: usize) -> Result<(), (Crowded, J)> {
        if self.length >= most {
            return Err((Crowded::Everybody, job));
        }
        let share = (most / 4).max(1);
        let has_share = |holder| self.held.get(holder).is_some_and(|held| *held >= share);
        if holders.iter().any(has_share) {
            return Err((Crowded::Holder, job));
        }
        for holder in &holders {
            *self.held.entry(*holder).or_default() += 1;
        }
        let caller = holders.first().copied().unwrap_or_default();
        let own = self.waiting.entry(caller).or_default();
        if own.is_empty() {
            self.turns.push_back(caller);
        }
        own.push_back((holders, job));
        self.length += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<J> {
        let caller = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&caller)?;
        let (holders, job) = own.pop_front()?;
        match own.is_empty() {
            true => drop(self.waiting.remove(&caller)),
            false => self.turns.push_back(caller),
        }
        for holder in holders {
            if let Some(held) = self.held.get_mut(&holder) {
                *held -= 1;
                if *held == 0 {
                    self.held.remove(&holder);
                }
            }
        }
        self.length -= 1;
        Some(job)
    }
}

impl<J: Send + 'static> Pool<J> {
    /// Fails only if not even one thread can be started.
    pub fn start(sizes: Sizes, work: fn(J)) -> io::Result<Pool<J>> {
        let shared = Arc::new(Shared {
            queue_max: sizes.queue_max,
            state: Mutex::new(State {
                queues: Default::default(),
                idle: Default::default(),
                woken: Default::default(),
                next: 0,
                closed: false,
            }),
            wakes: Default::default(),
        });
        let reserved = [Class::Administration, Class::TakesAway];
        let reserved = reserved
            .iter()
            .flat_map(|class| std::iter::repeat_n(*class as usize, sizes.reserved_threads));
        let kinds = std::iter::repeat_n(ALL, sizes.threads).chain(reserved);
        for (index, kind) in kinds.enumerate() {
            let own = Arc::clone(&shared);
            let started = thread::Builder::new()
                .name(format!("blocking-{index}"))
                .spawn(move || own.work_off(kind, work));
            match started {
                Ok(_) => (),
                Err(err) if index == 0 => return Err(err),
                Err(err) => {
                    log::warn!("only {index} blocking threads could be started: {err}");
                    break;
                }
            }
        }
        Ok(Pool(shared))
    }

    /// Queues a job, or returns it to the caller.
    pub fn offer(&self, turn: Turn, job: J) -> Result<(), (Crowded, J)> {
        let shared = &self.0;
        let class = turn.class as usize;
        let mut state = lock(&shared.state);
        state.queues[class].push(turn.holders, job, shared.queue_max)?;
        let kind = [class, ALL].into_iter().find(|kind| state.idle[*kind] > 0);
        if let Some(kind) = kind {
            state.idle[kind] -= 1;
            state.woken[kind] += 1;
            drop(state);
            shared.wakes[kind].notify_one();
        }
        Ok(())
    }
}

impl<J> Drop for Pool<J> {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        for wake in &self.0.wakes {
            wake.notify_all();
        }
    }
}

impl<J> Shared<J> {
    fn work_off(&self, kind: usize, work: fn(J)) {
        while let Some(job) = self.take(kind) {
            // Jobs handle their own panics; this keeps the thread alive if a job does not.
            let _ = catch_unwind(AssertUnwindSafe(|| work(job)));
        }
    }

    /// Waits for the next job of this kind of thread; `None` at shutdown.
    fn take(&self, kind: usize) -> Option<J> {
        let mut state = lock(&self.state);
        loop {
            let found = match kind {
                ALL => state.pop_in_turn(),
                class => state.queues[class].pop(),
            };
            if found.is_some() {
                return found;
            }
            if state.closed {
                return None;
            }
            state.idle[kind] += 1;
            let waits = |state: &mut State<J>| state.woken[kind] == 0 && !state.closed;
            state = self.wakes[kind]
                .wait_while(state, waits)
                .unwrap_or_else(PoisonError::into_inner);
            match state.woken[kind] {
                0 => state.idle[kind] -= 1, // shutdown
                _ => state.woken[kind] -= 1,
            }
        }
    }
}

impl<J> State<J> {
    fn pop_in_turn(&mut self) -> Option<J> {
        (0..CLASSES).find_map(|_| {
            let class = self.next;
            self.next = (self.next + 1) % CLASSES;
            self.queues[class].pop()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    type Job = Box<dyn FnOnce() + Send>;

    fn pool(threads: usize, reserved_threads: usize, queue_max: usize) -> Pool<Job> {
        let sizes = Sizes {
            threads,
            reserved_threads,
            queue_max,
        };
        Pool::start(sizes, |job: Job| job()).unwrap()
    }

    fn turn(class: Class, holders: &[u64]) -> Turn {
        Turn {
            class,
            holders: holders.to_vec(),
        }
    }

    /// Occupies a thread until the sender is dropped.
    fn occupy(pool: &Pool<Job>, class: Class) -> Sender<()> {
        let (running, started) = channel();
        let (release, wait) = channel::<()>();
        let blocks = move || {
            running.send(()).unwrap();
            let _ = wait.recv();
        };
        assert!(pool.offer(turn(class, &[]), Box::new(blocks)).is_ok());
        started.recv().unwrap();
        release
    }

    /// Queues jobs that report their number when they run.
    fn noting(pool: &Pool<Job>, jobs: &[(u32, Turn)]) -> Receiver<u32> {
        let (done, finished) = channel();
        for (number, turn) in jobs {
            let (done, number) = (done.clone(), *number);
            let note = Box::new(move || done.send(number).unwrap());
            assert!(pool.offer(turn.clone(), note).is_ok());
        }
        finished
    }

    #[test]
    fn a_full_queue_refuses_and_a_panic_costs_no_thread() {
        let pool = pool(1, 0, 1);
        let (running, started) = channel();
        let (release, wait) = channel::<()>();
        let blocks = move || {
            running.send(()).unwrap();
            wait.recv().unwrap();
            panic!("on purpose");
        };
        assert!(pool.offer(Turn::usual(), Box::new(blocks)).is_ok());
        started.recv().unwrap();
        let finished = noting(&pool, &[(1, Turn::usual())]);
        let refused = pool.offer(Turn::usual(), Box::new(|| ()));
        assert!(matches!(refused, Err((Crowded::Everybody, _))));
        release.send(()).unwrap();
        assert_eq!(finished.recv(), Ok(1));
    }

    #[test]
    fn a_caller_and_a_group_hold_at_most_a_quarter_of_a_queue() {
        let pool = pool(1, 0, 8);
        let release = occupy(&pool, Class::Usual);
        let offer = |holders: &[u64]| {
            let offered = pool.offer(turn(Class::Usual, holders), Box::new(|| ()));
            offered.map_err(|(why, _)| why)
        };
        assert_eq!(offer(&[1, 100]), Ok(()));
        assert_eq!(offer(&[1, 100]), Ok(()));
        assert_eq!(offer(&[1]), Err(Crowded::Holder));
        assert_eq!(offer(&[2, 100]), Err(Crowded::Holder));
        assert_eq!(offer(&[2]), Ok(()));
        assert_eq!(offer(&[]), Ok(()));
        drop(release);
        // A job that has run no longer counts against the quota of its caller.
        let (done, finished) = channel();
        let last = Box::new(move || done.send(()).unwrap());
        assert!(pool.offer(Turn::usual(), last).is_ok());
        finished.recv().unwrap();
        assert_eq!(offer(&[1, 100]), Ok(()));
    }

    #[test]
    fn callers_take_turns() {
        let pool = pool(1, 0, 64);
        let release = occupy(&pool, Class::Usual);
        let of = |caller: u64| turn(Class::Usual, &[caller]);
        let jobs = [(1, of(1)), (2, of(1)), (3, of(1)), (4, of(2)), (5, of(3))];
        let finished = noting(&pool, &jobs);
        drop(release);
        let order: Vec<u32> = finished.iter().take(5).collect();
        assert_eq!(order, [1, 4, 5, 2, 3]);
    }

    #[test]
    fn what_takes_away_needs_neither_a_thread_nor_a_place_that_others_have() {
        let pool = pool(1, 1, 1);
        let held = occupy(&pool, Class::Usual);
        let waiting = noting(&pool, &[(1, Turn::usual())]);
        let refused = pool.offer(Turn::usual(), Box::new(|| ()));
        assert!(matches!(refused, Err((Crowded::Everybody, _))));
        for class in [Class::TakesAway, Class::Administration] {
            let finished = noting(&pool, &[(2, turn(class, &[]))]);
            assert_eq!(finished.recv(), Ok(2), "{class:?}");
        }
        drop(held);
        assert_eq!(waiting.recv(), Ok(1));
    }

    #[test]
    fn threads_for_all_help_out_and_every_job_runs() {
        let pool = pool(4, 1, 4_000);
        let classes = [Class::Administration, Class::TakesAway, Class::Usual];
        let jobs: Vec<(u32, Turn)> = (0..3_000)
            .map(|number| (number, turn(classes[number as usize % 3], &[])))
            .collect();
        let finished = noting(&pool, &jobs);
        drop(pool);
        let mut seen: Vec<u32> = finished.iter().take(3_000).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..3_000).collect::<Vec<u32>>());
    }
}
