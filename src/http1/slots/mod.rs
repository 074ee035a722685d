//! Deadlines and connection slots: what every connection is doing and since when, and which connections must end.
//!
//! A timer for each request would cost more than the request. Instead each connection keeps one atomic word (its phase
//! and the clock tick at which it began), and one sweeper reads all words once a tick and wakes the connections that
//! are overdue. A connection that is woken checks its own deadline again ([`Slot::in_time`]), so a late wake-up can
//! never end a later request.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::limits::{LINGER_S, Limits};
use crate::domain::locks::lock;
use crate::domain::metrics::TRAFFIC;
use crate::domain::time::Timestamp;

/// The accuracy of all deadlines.
pub const TICK: Duration = Duration::from_millis(100);

/// How long a connection without a request in flight stays open during the drain, because a request may be on its way.
const DRAIN_IDLE_TICKS: u32 = 3;

/// A connection is slow if it has waited this long for a head, for 64 KiB of a body, or for its client to read 64 KiB
/// of an answer. A slow connection may be closed so that a new one gets its slot. A younger idle connection keeps its
/// slot as long as a slow one may be closed instead.
const SLOW_TICKS: u32 = 10;

/// If all slots are taken, each new connection closes the connection that has waited longest, and one more slow
/// connection for every so many open ones, so that a few slots are free when many clients connect at once.
const CONNECTIONS_PER_EVICTION: usize = 256;

const TICKS_PER_S: u64 = 10;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Phase {
    /// The server is answering a request: there is no deadline.
    Answer,
    Body,
    Head,
    Idle,
    /// The last answer of the connection was sent; data that the client still sends is discarded.
    Linger,
    /// The client does not read what the server sends.
    Write,
}

const PHASES: [Phase; 6] = [
    Phase::Answer,
    Phase::Body,
    Phase::Head,
    Phase::Idle,
    Phase::Linger,
    Phase::Write,
];

/// The kind of listener that accepted a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    Tcp,
    Unix,
}

/// The phase of one connection and its start. Only the connection writes it; the sweeper reads it too.
struct Watch {
    via: Via,
    word: AtomicU64,
    evicted: AtomicBool,
    /// A spawned task keeps the same waker for its whole life, so it is stored once.
    waker: OnceLock<Waker>,
}

/// A phase and the tick at which it began.
#[derive(Clone, Copy, Debug)]
struct Since {
    phase: Phase,
    tick: u32,
}

impl Since {
    fn is_slow(self, now: u32) -> bool {
        now.saturating_sub(self.tick) >= SLOW_TICKS
    }

    /// The rank of the connection in the order in which connections are closed for new ones; the lowest rank is closed
    /// first. `None` if it may not be closed.
    ///
    /// The order is by age, regardless of the phase: the connection that has waited longest is first, and the
    /// newest, whose request may be on its way, is last. If none has waited for a second, only one connection is
    /// closed.
    fn eviction_rank(self, now: u32) -> Option<(bool, u32)> {
        match self.phase {
            Phase::Answer => None,
            Phase::Body | Phase::Head | Phase::Idle | Phase::Linger | Phase::Write => {
                Some((!self.is_slow(now), self.tick))
            }
        }
    }
}

impl Watch {
    fn since(&self) -> Since {
        let word = self.word.load(Relaxed);
        Since {
            phase: PHASES[(word >> 32) as usize % PHASES.len()],
            tick: word as u32,
        }
    }

    fn set(&self, since: Since) {
        self.word
            .store((since.phase as u64) << 32 | u64::from(since.tick), Relaxed);
    }

    /// Whether the connection was asked to free its slot. It does so only if it still waits for its client.
    fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    fn evict(&self) {
        self.evicted.store(true, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// All connections of a server, and the clock of their deadlines.
pub struct Slots {
    /// On a cache line of its own, because every request reads it.
    clock: Clock,
    started: Instant,
    limits: Limits,
    draining: AtomicBool,
    drain_tick: AtomicU32,
    open: Mutex<OpenConnections>,
    /// The tick at which slow connections were last asked to close in order to free memory.
    relieved: AtomicU32,
    /// Notified when a slot becomes free.
    pub left: Notify,
    /// Notified when a slot is taken, because the clock must run then.
    pub entered: Notify,
}

#[repr(align(64))]
struct Clock {
    /// Ticks since the start.
    ticks: AtomicU32,
    /// Milliseconds since 1970.
    wall: AtomicI64,
}

#[derive(Default)]
struct OpenConnections {
    last: u64,
    /// The number of connections over TCP.
    tcp: usize,
    /// The most connections since the last [`Slots::take_peak`].
    peak: usize,
    watches: HashMap<u64, Arc<Watch>>,
}

/// The slot of one connection; dropping it frees the slot.
pub struct Slot {
    number: u64,
    watch: Arc<Watch>,
    slots: Arc<Slots>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open();
        open.watches.remove(&self.number);
        if self.watch.via == Via::Tcp {
            open.tcp -= 1;
        }
        drop(open);
        TRAFFIC.connections.fetch_sub(1, Relaxed);
        self.slots.left.notify_waiters();
    }
}

impl Slots {
    pub fn new(limits: Limits) -> Slots {
        Slots {
            clock: Clock {
                ticks: AtomicU32::new(0),
                wall: AtomicI64::new(0),
            },
            started: Instant::now(),
            limits,
            draining: AtomicBool::new(false),
            drain_tick: AtomicU32::new(0),
            open: Mutex::default(),
            relieved: AtomicU32::new(0),
            left: Notify::new(),
            entered: Notify::new(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The current tick, without a system call.
    pub fn now(&self) -> u32 {
        self.clock.ticks.load(Relaxed)
    }

    /// Whether the phase `since` has lasted too long.
    fn is_overdue(&self, since: Since) -> bool {
        let Some(ticks_max) = self.ticks_max(since.phase) else {
            return false;
        };
        let mut began = since.tick;
        if since.phase == Phase::Idle && self.is_draining() {
            began = began.max(self.drain_tick.load(Relaxed));
        }
        // Both times are rounded down to a tick, so only a larger difference is certain to be the whole span.
        self.now().saturating_sub(began) > ticks_max
    }

    fn ticks_max(&self, phase: Phase) -> Option<u32> {
        let seconds = match phase {
            Phase::Answer => return None,
            Phase::Idle if self.is_draining() => return Some(DRAIN_IDLE_TICKS),
            Phase::Body => self.limits.body_s,
            Phase::Head => self.limits.head_s,
            Phase::Idle => self.limits.idle_s,
            Phase::Linger => LINGER_S,
            Phase::Write => self.limits.write_s,
        };
        Some(u32::try_from(seconds.saturating_mul(TICKS_PER_S)).unwrap_or(u32::MAX))
    }

    /// The time of day at the start of the current tick, for the dates of answers.
    pub fn wall(&self) -> Timestamp {
        Timestamp(self.clock.wall.load(Relaxed))
    }

    /// Advances the clock and wakes the overdue connections. Called once a tick, with the time of day.
    pub fn sweep(&self, wall: Timestamp) {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        self.clock.ticks.store(ticks as u32, Relaxed);
        self.clock.wall.store(wall.0, Relaxed);
        for watch in self.open().watches.values() {
            if self.is_overdue(watch.since()) {
                watch.wake();
            }
        }
    }

    /// From now on every answer closes its connection, and idle connections end soon.
    pub fn drain(&self) {
        self.drain_tick.store(self.now(), Relaxed);
        self.draining.store(true, Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.connections() == 0
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.open().watches.len()
    }

    /// The most connections that were open at one time since the last call.
    pub fn take_peak(&self) -> usize {
        let mut open = self.open();
        let connections = open.watches.len();
        mem::replace(&mut open.peak, connections)
    }

    /// Takes a slot for a new connection, or asks the connection with the lowest rank to close.
    ///
    /// Some slots are reserved for the Unix socket, so that a flood over TCP cannot lock out the administrator of the
    /// machine.
    pub fn take(self: &Arc<Slots>, via: Via) -> Option<Slot> {
        let slots_max = self.limits.connections_max;
        let reserved = self.limits.unix_connections_reserved.min(slots_max / 4);
        let mut open = self.open();
        let tcp_is_full = via == Via::Tcp && open.tcp >= slots_max - reserved;
        if tcp_is_full || open.watches.len() >= slots_max {
            self.evict(&open, |watch| !tcp_is_full || watch.via == Via::Tcp);
            return None;
        }
        open.last += 1;
        let number = open.last;
        let watch = Arc::new(Watch {
            via,
            word: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            waker: OnceLock::new(),
        });
        watch.set(Since {
            phase: Phase::Idle,
            tick: self.now(),
        });
        open.watches.insert(number, Arc::clone(&watch));
        open.tcp += usize::from(via == Via::Tcp);
        open.peak = open.peak.max(open.watches.len());
        self.entered.notify_one();
        TRAFFIC.connections.fetch_add(1, Relaxed);
        TRAFFIC.accepted.fetch_add(1, Relaxed);
        Some(Slot {
            number,
            watch,
            slots: Arc::clone(self),
        })
    }

    /// Closes connections to free file descriptors when the process has run out of them.
    pub fn make_room(&self) {
        self.evict(&self.open(), |_| true);
    }

    /// Asks all connections that are slow in one of `phases` to close, when too much memory waits for clients.
    pub fn relieve(&self, phases: &[Phase]) {
        let now = self.now();
        // Examining all connections once a tick is enough, however many requests are refused meanwhile.
        if self.relieved.swap(now, Relaxed) == now {
            return;
        }
        for watch in self.open().watches.values() {
            let since = watch.since();
            if phases.contains(&since.phase) && since.is_slow(now) {
                watch.evict();
            }
        }
    }

    /// Asks the connection that has waited longest to close, out of those that may be closed and that `is_eligible`
    /// accepts; with many connections, some more of those that have waited long.
    fn evict(&self, open: &OpenConnections, is_eligible: impl Fn(&Watch) -> bool) {
        let now = self.now();
        let mut spared: Vec<_> = open
            .watches
            .iter()
            .filter(|(_, watch)| !watch.is_evicted() && is_eligible(watch))
            .filter_map(|(number, watch)| {
                let rank = watch.since().eviction_rank(now)?;
                Some((rank, *number, watch))
            })
            .collect();
        let count = 1 + open.watches.len() / CONNECTIONS_PER_EVICTION;
        if count < spared.len() {
            spared.select_nth_unstable_by_key(count, |(rank, number, _)| (*rank, *number));
            spared.truncate(count);
        }
        spared.sort_unstable_by_key(|(rank, number, _)| (*rank, *number));
        for (place, ((is_young, _), _, watch)) in spared.into_iter().enumerate() {
            if place == 0 || !is_young {
                watch.evict();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        lock(&self.open)
    }
}

impl Slot {
    pub fn enter(&self, phase: Phase) {
        let tick = self.slots.now();
        self.watch.set(Since { phase, tick });
    }

    pub fn phase(&self) -> Phase {
        self.watch.since().phase
    }

    /// Waits for the client. `TimedOut` if the phase has lasted too long, `ConnectionAborted` if the connection must
    /// free its slot.
    pub async fn in_time<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        poll_fn(|cx| {
            let polled = poll(cx);
            if polled.is_ready() {
                return polled;
            }
            self.watch.waker.get_or_init(|| cx.waker().clone());
            if self.slots.is_overdue(self.watch.since()) {
                let why = "the client took too long";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            if self.must_leave() {
                let why = "the slot was needed";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
            }
            Poll::Pending
        })
        .await
    }

    /// Accepts the request to close, if there is one and the connection is still in a phase in which it may. A
    /// connection that has become busy in the meantime stays.
    pub fn must_leave(&self) -> bool {
        if !self.watch.is_evicted() {
            return false;
        }
        let leaves = self.phase() != Phase::Answer;
        if !leaves {
            self.watch.evicted.store(false, Relaxed);
        }
        leaves
    }
}

/// Allows a log line at most once a second, for events that any client can cause.
#[derive(Default)]
pub struct OncePerSecond(AtomicU32);

impl OncePerSecond {
    /// Whether a line may be written at this tick.
    pub fn may(&self, tick: u32) -> bool {
        let second = tick / TICKS_PER_S as u32 + 1;
        self.0.swap(second, Relaxed) != second
    }
}
