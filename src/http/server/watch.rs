//! Deadlines and places: what every connection is doing since when, and which of them must go.
//!
//! A timer per request would cost more than the request. Instead each connection keeps one atomic word (its phase
//! and since which clock tick), and one sweeper looks at all words once a tick and wakes the connections that are
//! overdue. These then find out by themselves what is overdue, so a late wake-up can never hit a later request.

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

/// A head, or 64 KiB of a body, that takes longer than this may lose its place to a newcomer if no connection is idle.
const SLOW_TICKS: u32 = 10;

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

/// The phase of one connection and its start. Written by the connection alone, read by the sweeper too.
pub struct Watch {
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

    /// Whether the connection was asked to make room. It does so only if it still waits for a request or its body.
    pub fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
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
        self.registry.guests().watches.remove(&self.number);
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
        self.guests().watches.is_empty()
    }

    /// Takes a place for a new connection, or asks the one that is best spared to leave.
    pub fn enter(self: &Arc<Registry>) -> Option<Place> {
        let mut guests = self.guests();
        if guests.watches.len() >= self.limits.connections_max {
            self.evict_one(&guests);
            return None;
        }
        guests.last += 1;
        let number = guests.last;
        let watch = Arc::new(Watch {
            word: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            waker: OnceLock::new(),
        });
        watch.set(Since {
            phase: Phase::Idle,
            tick: self.now(),
        });
        guests.watches.insert(number, Arc::clone(&watch));
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
        self.evict_one(&self.guests());
    }

    /// The longest-idle connection goes first; if all are busy, the request that dawdles longest on its way in.
    fn evict_one(&self, guests: &Guests) {
        let now = self.now();
        let spared_best = guests
            .watches
            .iter()
            .filter(|(_, watch)| !watch.is_evicted())
            .filter_map(|(number, watch)| {
                let since = watch.since();
                match since.phase {
                    Phase::Idle | Phase::Linger => Some(((0, since.tick, *number), watch)),
                    Phase::Body | Phase::Head if now.saturating_sub(since.tick) >= SLOW_TICKS => {
                        Some(((1, since.tick, *number), watch))
                    }
                    Phase::Answer | Phase::Body | Phase::Head | Phase::Write => None,
                }
            })
            .min_by_key(|(order, _)| *order);
        if let Some((_, watch)) = spared_best {
            watch.evicted.store(true, Relaxed);
            watch.wake();
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
        let leaves = matches!(
            self.since().phase,
            Phase::Body | Phase::Head | Phase::Idle | Phase::Linger
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(connections_max: usize) -> Arc<Registry> {
        Arc::new(Registry::new(Limits {
            connections_max,
            ..Limits::default()
        }))
    }

    fn at(registry: &Registry, tick: u32) {
        registry.clock.ticks.store(tick, Relaxed);
    }

    #[test]
    fn a_phase_is_overdue_only_after_its_whole_span() {
        let registry = registry(1);
        for (phase, ticks) in [
            (Phase::Head, 100),
            (Phase::Body, 100),
            (Phase::Idle, 750),
            (Phase::Write, 100),
            (Phase::Linger, 20),
        ] {
            let since = Since { phase, tick: 5 };
            at(&registry, 5 + ticks);
            assert!(!registry.is_overdue(since), "{phase:?}");
            at(&registry, 6 + ticks);
            assert!(registry.is_overdue(since), "{phase:?}");
        }
        at(&registry, u32::MAX);
        assert!(!registry.is_overdue(Since {
            phase: Phase::Answer,
            tick: 0
        }));
    }

    #[test]
    fn a_full_house_asks_the_longest_idle_to_leave() {
        let registry = registry(3);
        let [busy, newer, older] = std::array::from_fn(|_| registry.enter().unwrap());
        busy.watch.set(Since {
            phase: Phase::Answer,
            tick: 0,
        });
        newer.watch.set(Since {
            phase: Phase::Idle,
            tick: 9,
        });
        older.watch.set(Since {
            phase: Phase::Idle,
            tick: 3,
        });

        assert!(registry.enter().is_none());

        assert!(older.watch.leaves() && !newer.watch.leaves() && !busy.watch.leaves());
        drop(older);
        assert!(registry.enter().is_some());
    }

    #[test]
    fn a_full_house_asks_the_slowest_request_to_leave() {
        let registry = registry(3);
        let [answered, head, body] = std::array::from_fn(|_| registry.enter().unwrap());
        for (place, phase, tick) in [
            (&answered, Phase::Answer, 0),
            (&head, Phase::Head, 2),
            (&body, Phase::Body, 1),
        ] {
            place.watch.set(Since { phase, tick });
        }
        at(&registry, SLOW_TICKS);
        assert!(registry.enter().is_none());
        assert!(!body.watch.leaves());

        at(&registry, SLOW_TICKS + 1);
        assert!(registry.enter().is_none());

        assert!(body.watch.leaves() && !head.watch.leaves() && !answered.watch.leaves());
    }

    #[test]
    fn a_connection_that_became_busy_does_not_leave() {
        let registry = registry(1);
        let place = registry.enter().unwrap();
        assert!(registry.enter().is_none());
        place.watch.set(Since {
            phase: Phase::Answer,
            tick: 0,
        });

        assert!(!place.watch.leaves());
        place.watch.set(Since {
            phase: Phase::Idle,
            tick: 0,
        });
        assert!(!place.watch.leaves());
    }

    #[test]
    fn the_drain_gives_an_idle_connection_a_moment_from_its_own_start() {
        let registry = registry(1);
        let since = Since {
            phase: Phase::Idle,
            tick: 0,
        };
        at(&registry, 100);
        registry.drain();
        assert!(!registry.is_overdue(since));
        at(&registry, 104);
        assert!(registry.is_overdue(since));
    }

    #[test]
    fn a_log_line_is_written_once_a_second() {
        let seldom = Seldom::default();
        assert_eq!(
            [0, 1, 9, 10, 19, 20].map(|tick| seldom.may(tick)),
            [true, false, false, true, false, true]
        );
    }
}
