//! The thread that proves once a second that this node is not behind: it writes the lease of the node, and waits until the index
//! has the events that the server had then. If the index does not end with the newest one of them, it wakes the thread that follows other
//! nodes, which compares the log; so a node where nothing happens asks the server for nothing but its lease.

use super::Fence;
use crate::domain::locks::lock;
use crate::domain::nodes::NodeId;
use crate::domain::time::Moment;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::applier::Applier;
use crate::ops::clock::Clock;
use crate::store::heads::Head;
use crate::store::postgres::{LeaseHolder, Renewed};
use crate::store::{Store, nodes, postgres};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often the lease is written.
const EVERY: Duration = Duration::from_secs(1);
/// How often the index is compared with what it still lacks.
const LOOKS_AGAIN: Duration = Duration::from_millis(20);
/// The number of answers that may wait for the index; older ones would prove nothing that is still of use.
const WAITING_MAX: usize = 64;
/// Nodes that were seen within this time count as in use, if this node goes on for ever without a proof.
const LIVE_MS: i64 = 60_000;
/// How long the end of the process waits until the lease is deleted.
const END_MAX: Duration = Duration::from_secs(1);

/// How the thread is ended.
#[derive(Default)]
pub struct Ending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    NotBegun,
    Runs,
    MustEnd,
    Ended,
}

/// An answer to a lease. It counts when the index has the events that the server had then, by the log of that server: it may have
/// fewer events than the index, of another log.
#[derive(Clone, Copy)]
struct LeaseAnswer {
    head: i64,
    /// When the lease was asked for.
    sent: Moment,
    /// The check of the log that had begun before the answer came; a later one has to confirm it.
    check: u64,
}

/// What the thread has.
struct Renewal {
    fence: Arc<Fence>,
    applier: Arc<Applier>,
    clock: Arc<Clock>,
    lease: postgres::Lease,
    /// Lets the index follow other nodes at once.
    follow_soon: Box<dyn Fn() + Send>,
    /// The answers that prove nothing yet; oldest first.
    waiting: VecDeque<LeaseAnswer>,
    /// Whether it was logged that the server is out of reach.
    has_failed: bool,
}

/// Writes the lease for the first time, and begins to renew it until [`Fence::end`]. A server that is out of reach is no error: the
/// node gives no verdicts until it has the lease.
pub fn begin(app: &App) -> Result<()> {
    let Some(fence) = &app.fence else {
        return Ok(());
    };
    let Some(mut renewal) = Renewal::of(&app.store, fence, &app.applier, &app.clock, app.node.id())
    else {
        return Ok(());
    };
    renewal.renew();
    // Before the follower is there, which confirms later answers.
    match app.store.follow_now() {
        Ok(()) => renewal.prove(),
        Err(err) => log::warn!("lease: the first one does not count yet: {err}"),
    }
    *lock(&fence.ending.state) = State::Runs;
    let started = std::thread::Builder::new()
        .name("lease".to_owned())
        .spawn(move || renewal.run());
    started.map(drop).map_err(Error::internal)
}

impl Fence {
    /// Ends the thread, and waits a little until the lease is deleted.
    pub fn end(&self) {
        let mut state = lock(&self.ending.state);
        if *state != State::Runs {
            return;
        }
        *state = State::MustEnd;
        self.ending.changed.notify_all();
        drop(
            self.ending
                .changed
                .wait_timeout_while(state, END_MAX, |state| *state == State::MustEnd),
        );
    }

    /// Waits so long, or until the thread must end; `true` then.
    fn must_end_within(&self, time: Duration) -> bool {
        let state = lock(&self.ending.state);
        let waited = self
            .ending
            .changed
            .wait_timeout_while(state, time, |state| *state == State::Runs);
        waited.map_or(true, |(state, _)| *state != State::Runs)
    }

    fn note(&self, renewed: &Renewed, skew_ms: i64) {
        self.live.store(renewed.live, Relaxed);
        self.head_seq.store(renewed.head.seq, Relaxed);
        self.skew_ms.store(skew_ms, Relaxed);
        self.is_connected.store(true, Relaxed);
    }
}

impl Renewal {
    /// `None` for a database in a file.
    fn of(
        store: &Store,
        fence: &Arc<Fence>,
        applier: &Arc<Applier>,
        clock: &Arc<Clock>,
        node: NodeId,
    ) -> Option<Renewal> {
        let name = nodes::name_of_machine();
        Some(Renewal {
            fence: fence.clone(),
            applier: applier.clone(),
            clock: clock.clone(),
            lease: store.lease(LeaseHolder { node, name })?,
            follow_soon: Box::new(store.follow_soon()),
            waiting: VecDeque::new(),
            has_failed: false,
        })
    }

    fn run(mut self) {
        let mut next = Instant::now() + EVERY;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let wait = match self.waiting.is_empty() {
                true => left,
                false => left.min(LOOKS_AGAIN),
            };
            if self.fence.must_end_within(wait) {
                break;
            }
            if Instant::now() >= next {
                next = Instant::now() + EVERY;
                self.renew();
            } else {
                self.prove();
            }
        }
        if let Err(err) = self.lease.end() {
            log::warn!("lease: it was not deleted, and counts until it is old: {err}");
        }
        *lock(&self.fence.ending.state) = State::Ended;
        self.fence.ending.changed.notify_all();
    }

    /// Writes the lease. What it proves counts from the moment before.
    fn renew(&mut self) {
        let live_ms = self.fence.limits().refuse_after_ms.unwrap_or(LIVE_MS);
        let (sent, before) = (self.clock.now(), self.clock.reading());
        let renewed = self.lease.renew(live_ms);
        let after = self.clock.reading();
        match renewed {
            Ok(renewed) => {
                // The later of the clocks is the time of events, and the wall clock is what a person can set.
                let of_now = skew_ms(before.now.0, renewed.at.0, after.now.0);
                let of_wall = skew_ms(before.wall.0, renewed.at.0, after.wall.0);
                let worse = match of_wall.abs() > of_now.abs() {
                    true => of_wall,
                    false => of_now,
                };
                self.fence.note(&renewed, worse);
                self.note_answer(renewed.head, sent);
                if std::mem::take(&mut self.has_failed) {
                    log::info!("lease: the database can be written again");
                }
            }
            Err(err) => {
                self.fence.is_connected.store(false, Relaxed);
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::warn!(
                        "lease: it cannot be renewed, so this node is soon no longer known to be up to date: {err}"
                    );
                }
            }
        }
        self.prove();
    }

    /// An index that ends with the event of the answer is proved at once. Otherwise the log has to be compared.
    fn note_answer(&mut self, head: Head, sent: Moment) {
        let check = self.applier.last_check();
        if self.applier.is_at(head) {
            self.waiting.clear();
            return self.fence.prove(sent);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(LeaseAnswer {
            head: head.seq,
            sent,
            check,
        });
        (self.follow_soon)();
    }

    /// Lets those answers count whose events the index has by now.
    fn prove(&mut self) {
        let applied = self.applier.applied();
        while let Some(answer) = self.waiting.front().copied()
            && answer.head <= applied
            && self.applier.is_confirmed_after(answer.check)
        {
            self.waiting.pop_front();
            self.fence.prove(answer.sent);
        }
    }
}

/// By how much a clock of this machine is certainly ahead of a time that the server read between two moments, or behind it.
fn skew_ms(before: i64, server: i64, after: i64) -> i64 {
    if server < before {
        before - server
    } else if server > after {
        after - server
    } else {
        0
    }
}
