//! The thread that proves once a second that this node is not behind: it writes the lease of the node, and waits until the index
//! has the events that the server had then. If the index does not end with the newest one of them, it wakes the thread that follows other
//! nodes, which compares the log; so a node where nothing happens asks the server for nothing but its lease.

use super::Fence;
use crate::domain::locks::lock;
use crate::domain::time::{Moment, Timestamp};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::applier::Applier;
use crate::ops::clock::Clock;
use crate::ops::nodes::OwnNode;
use crate::refusals;
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
/// A lease that was written so long ago, and not since, is that of a process that has ended.
const ALIVE_MS: i64 = 2_500;
/// How often a start looks whether such a lease is written again.
const LOOKS_AT_START: Duration = Duration::from_millis(100);
/// How often in a row another process has to write the lease between two times of this one. A question whose answer was lost may be
/// carried out late.
const DOUBLED_MIN: u32 = 3;
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
    own: Arc<OwnNode>,
    lease: postgres::Lease,
    /// When this process has written the lease last; `None` if it is not known whether it has.
    written: Option<Timestamp>,
    /// How often in a row another process had written it meanwhile.
    by_another: u32,
    /// Lets the index follow other nodes at once.
    follow_soon: Box<dyn Fn() + Send>,
    /// The answers that prove nothing yet; oldest first.
    waiting: VecDeque<LeaseAnswer>,
    /// Whether it was logged that the server is out of reach.
    has_failed: bool,
}

/// Writes the lease for the first time, and begins to renew it until [`Fence::end`]. A server that is out of reach is no error: the
/// node gives no verdicts until it has the lease.
///
/// # Errors
/// `Unavailable` if another process writes the lease of this node.
pub fn begin(app: &App) -> Result<()> {
    let Some(fence) = &app.fence else {
        return Ok(());
    };
    let Some(mut renewal) = Renewal::of(&app.store, fence, &app.applier, &app.clock, &app.node)
    else {
        return Ok(());
    };
    renewal.refuse_double()?;
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
        own: &Arc<OwnNode>,
    ) -> Option<Renewal> {
        let (node, name) = (own.id(), nodes::name_of_machine());
        Some(Renewal {
            fence: fence.clone(),
            applier: applier.clone(),
            clock: clock.clone(),
            own: own.clone(),
            lease: store.lease(LeaseHolder { node, name })?,
            written: None,
            by_another: 0,
            follow_soon: Box::new(store.follow_soon()),
            waiting: VecDeque::new(),
            has_failed: false,
        })
    }

    /// Refuses if another process writes the lease of this node. The data folder is locked on its own machine, so that was a copy. After
    /// a process that was killed, its lease may seem to be in use for a moment, in which nothing is written to it.
    fn refuse_double(&mut self) -> Result<()> {
        let (mut first, began) = (None, Instant::now());
        let alive = Duration::from_millis(ALIVE_MS.unsigned_abs());
        loop {
            let (seen_at, now) = match self.lease.find() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(err) => {
                    log::warn!("lease: it is not known whether it is in use: {err}");
                    return Ok(());
                }
            };
            if seen_at > *first.get_or_insert(seen_at) {
                return Err(Error::Unavailable(refusals::server::node_id_twice()));
            }
            // The clock of the server may have been set back since.
            if now.0 - seen_at.0 >= ALIVE_MS || began.elapsed() >= alive {
                return Ok(());
            }
            std::thread::sleep(LOOKS_AT_START);
        }
    }

    /// Notes whether another process has written the lease since this one has. The one that was started later gives way; if that is
    /// not known, or a running machine was copied, both do.
    fn note_writer(&mut self, renewed: &Renewed) {
        let by_another = |written| renewed.earlier.is_some_and(|earlier| earlier > written);
        match self.written.map(by_another) {
            Some(true) => self.by_another += 1,
            Some(false) => self.by_another = 0,
            None => {}
        }
        self.written = Some(renewed.at);
        let is_doubled = self.by_another >= DOUBLED_MIN;
        let was_doubled = self.fence.is_doubled.swap(is_doubled, Relaxed);
        if is_doubled && !was_doubled {
            log::error!("lease: {}", refusals::server::node_id_twice());
        }
        let is_later = match (self.own.boot(), renewed.boot) {
            (Some(own), Some(latest)) => own >= latest,
            (None, _) | (_, None) => true,
        };
        if is_doubled && is_later {
            log::error!("lease: this node was started later, and gives no verdicts any more");
            self.waiting.clear();
            self.fence.give_way();
        }
    }

    fn run(mut self) {
        let mut next = Instant::now() + EVERY;
        loop {
            // The lease is that of the other process.
            if self.fence.has_given_way.load(Relaxed) {
                match self.fence.must_end_within(EVERY) {
                    true => break,
                    false => continue,
                }
            }
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
        let is_own = !self.fence.has_given_way.load(Relaxed);
        if is_own && let Err(err) = self.lease.end() {
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
                self.note_writer(&renewed);
                if self.fence.has_given_way.load(Relaxed) {
                    return;
                }
                self.note_answer(renewed.head, sent);
                if std::mem::take(&mut self.has_failed) {
                    log::info!("lease: the database can be written again");
                }
            }
            Err(err) => {
                self.fence.is_connected.store(false, Relaxed);
                self.written = None;
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
