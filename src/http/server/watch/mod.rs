//! Deadlines and places: what every connection is doing since when, and which of them must go.
//!
//! A timer per request would cost more than the request. Instead each connection keeps one atomic word (its phase
//! and since which clock tick), and one sweeper looks at all words once a tick and wakes the connections that are
//! overdue. These then find out by themselves what is overdue, so a late wake-up can never hit a later request.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::limits::{LINGER_S, Limits};
use crate::domain::keeping::figures::TRAFFIC;
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;

/// The accuracy of all deadlines.
pub const TICK: Duration = Duration::from_millis(100);

/// During the drain a connection without a request in flight may still bring one that was under way, for so long.
const DRAIN_IDLE_TICKS: u32 = 3;

/// A connection that has waited this long for a head, for 64 KiB of a body, or for its client to take 64 KiB of an answer
/// may lose its place to a new connection. An idle connection that is younger keeps its place as long as there is one
/// that is older than this and may leave.
const SLOW_TICKS: u32 = 10;

/// In a full house one connection of so many leaves for each new one, if that many are slow, so that a few places are free
/// when many come at once. Below this number it is one alone.
const CONNECTIONS_PER_EVICTION: usize = 256;

const TICKS_PER_S: u64 = 10;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Phase {
    /// A request is being answered: no deadline of ours.
    Answer,
    Body,
    Head,
    Idle,
    /// The answer was final; what the client still sends is thrown away.
    Linger,
    /// The client does not take what we send.
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

/// By which kind of listener a connection came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    Tcp,
    Unix,
}

/// The phase of one connection and its start. Written by the connection alone, read by the sweeper too.
pub struct Watch {
    via: Via,
    word: AtomicU64,
    evicted: AtomicBool,
    /// A spawned task keeps its waker for life, so it is stored once.
    pub waker: OnceLock<Waker>,
}

/// A phase and the tick at which it began.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    pub phase: Phase,
    pub tick: u32,
}

impl Since {
    fn is_slow(self, now: u32) -> bool {
        now.saturating_sub(self.tick) >= SLOW_TICKS
    }

    /// Where the connection stands in the order of those that leave for a new one; the least leaves first. `None` if it
    /// may not leave.
    ///
    /// The order is by age, whatever the connection waits for: the one that has waited longest leaves first, and the
    /// newest, which may have its request on the way, last. Where none has waited for a second, one alone leaves.
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
    pub fn since(&self) -> Since {
        let word = self.word.load(Relaxed);
        Since {
            phase: PHASES[(word >> 32) as usize % PHASES.len()],
            tick: word as u32,
        }
    }

    pub fn set(&self, since: Since) {
        self.word
            .store((since.phase as u64) << 32 | u64::from(since.tick), Relaxed);
    }

    /// Whether the connection was asked to make room. It does so only if it still waits for its client.
    pub fn is_evicted(&self) -> bool {
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

/// All connections of a server, and its clock.
pub struct Registry {
    /// On a cache line of its own: every request reads it.
    clock: Clock,
    started: Instant,
    limits: Limits,
    draining: AtomicBool,
    drain_tick: AtomicU32,
    guests: Mutex<Guests>,
    /// The tick at which slow connections were last asked to leave for the sake of memory.
    relieved: AtomicU32,
    /// A place became free.
    pub left: Notify,
    /// A place was taken: the clock is needed.
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
struct Guests {
    last: u64,
    /// How many of them came over TCP.
    tcp: usize,
    watches: HashMap<u64, Arc<Watch>>,
}

/// The place of one connection; dropping it gives the place back.
pub struct Place {
    number: u64,
    pub watch: Arc<Watch>,
    registry: Arc<Registry>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.registry.guests();
        guests.watches.remove(&self.number);
        if self.watch.via == Via::Tcp {
            guests.tcp -= 1;
        }
        drop(guests);
        TRAFFIC.connections.fetch_sub(1, Relaxed);
        self.registry.left.notify_waiters();
    }
}

impl Registry {
    pub fn new(limits: Limits) -> Registry {
        Registry {
            clock: Clock {
                ticks: AtomicU32::new(0),
                wall: AtomicI64::new(0),
            },
            started: Instant::now(),
            limits,
            draining: AtomicBool::new(false),
            drain_tick: AtomicU32::new(0),
            guests: Mutex::default(),
            relieved: AtomicU32::new(0),
            left: Notify::new(),
            entered: Notify::new(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The tick that began last. Up to one tick old: no system call.
    pub fn now(&self) -> u32 {
        self.clock.ticks.load(Relaxed)
    }

    /// Whether `since` has lasted too long.
    pub fn is_overdue(&self, since: Since) -> bool {
        let Some(ticks_max) = self.ticks_max(since.phase) else {
            return false;
        };
        let mut began = since.tick;
        if since.phase == Phase::Idle && self.is_draining() {
            began = began.max(self.drain_tick.load(Relaxed));
        }
        // Both ends are rounded down to a tick: only strictly more is surely the whole span.
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

    /// The time of day when the last tick began, for the dates of answers.
    pub fn wall(&self) -> Timestamp {
        Timestamp(self.clock.wall.load(Relaxed))
    }

    /// Advances the clock and wakes whoever is overdue. Called once a tick, with the time of day.
    pub fn sweep(&self, wall: Timestamp) {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        self.clock.ticks.store(ticks as u32, Relaxed);
        self.clock.wall.store(wall.0, Relaxed);
        for watch in self.guests().watches.values() {
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

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.guests().watches.len()
    }

    /// Takes a place for a new connection, or asks the one that is best spared to leave.
    ///
    /// Some places are for the Unix socket alone, so that no flood over TCP shuts out the administrator of the machine.
    pub fn enter(self: &Arc<Registry>, via: Via) -> Option<Place> {
        let places = self.limits.connections_max;
        let reserved = self.limits.unix_connections_reserved.min(places / 4);
        let mut guests = self.guests();
        let tcp_is_full = via == Via::Tcp && guests.tcp >= places - reserved;
        if tcp_is_full || guests.watches.len() >= places {
            self.evict(&guests, |watch| !tcp_is_full || watch.via == Via::Tcp);
            return None;
        }
        guests.last += 1;
        let number = guests.last;
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
        guests.watches.insert(number, Arc::clone(&watch));
        guests.tcp += usize::from(via == Via::Tcp);
        self.entered.notify_one();
        TRAFFIC.connections.fetch_add(1, Relaxed);
        TRAFFIC.accepted.fetch_add(1, Relaxed);
        Some(Place {
            number,
            watch,
            registry: Arc::clone(self),
        })
    }

    /// Frees descriptors when the process has run out of them.
    pub fn make_room(&self) {
        self.evict(&self.guests(), |_| true);
    }

    /// Frees memory when too much of it waits for clients: asks all connections to leave that are slow in one of
    /// `phases`.
    pub fn relieve(&self, phases: &[Phase]) {
        let now = self.now();
        // One look at all connections a tick is enough, however many requests are refused meanwhile.
        if self.relieved.swap(now, Relaxed) == now {
            return;
        }
        for watch in self.guests().watches.values() {
            let since = watch.since();
            if phases.contains(&since.phase) && since.is_slow(now) {
                watch.evict();
            }
        }
    }

    /// Asks the connection to leave that has waited longest, of those that may leave and that `is_eligible` accepts; in a
    /// large house some more of those that have waited long.
    fn evict(&self, guests: &Guests, is_eligible: impl Fn(&Watch) -> bool) {
        let now = self.now();
        let mut spared: Vec<_> = guests
            .watches
            .iter()
            .filter(|(_, watch)| !watch.is_evicted() && is_eligible(watch))
            .filter_map(|(number, watch)| {
                let rank = watch.since().eviction_rank(now)?;
                Some((rank, *number, watch))
            })
            .collect();
        let count = 1 + guests.watches.len() / CONNECTIONS_PER_EVICTION;
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

    fn guests(&self) -> MutexGuard<'_, Guests> {
        lock(&self.guests)
    }
}

impl Watch {
    /// Takes the request to leave, if there is one and the connection is still in a phase in which it may.
    /// One that became busy in the meantime stays.
    pub fn leaves(&self) -> bool {
        if !self.is_evicted() {
            return false;
        }
        let leaves = self.since().phase != Phase::Answer;
        if !leaves {
            self.evicted.store(false, Relaxed);
        }
        leaves
    }
}

/// A log line at most once a second, for what strangers can cause at will.
#[derive(Default)]
pub struct Seldom(AtomicU32);

impl Seldom {
    /// Whether a line may be written at this tick.
    pub fn may(&self, tick: u32) -> bool {
        let second = tick / TICKS_PER_S as u32 + 1;
        self.0.swap(second, Relaxed) != second
    }
}
