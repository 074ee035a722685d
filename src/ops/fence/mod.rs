//! How far a node that shares its database may be behind, and what it still does then.
//!
//! The node is *fresh* as long as it has proved lately that its index has everything that was ever acknowledged: it has written its
//! lease to the server, durably, and has all events that the server had then ([`renewal`]). Without that it is *stale* after a few
//! seconds: verdicts and pages go on from memory and say so, and nothing is changed. Later it is *refused*: it gives no verdict, knows
//! no caller and shows nothing, because what was ended in the meantime could be open here. A node with a database of its own, in a file,
//! has no fence.
//!
//! Time is counted from the moment at which the lease was asked for. If the date jumps ahead meanwhile, as after a virtual machine
//! was paused, that time counts too.

#[cfg(test)]
#[cfg(feature = "postgres")]
mod cluster_tests;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod doubled_tests;
#[cfg(feature = "postgres")]
pub mod renewal;
#[cfg(test)]
mod tests;

use crate::domain::time::Moment;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::site::fresh::Age;
use crate::refusals::{self, Refusal};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// When nothing has been proved yet, and the end of a time without one.
const NEVER: i64 = i64::MIN;
const NO_END: i64 = i64::MAX;
/// How far the date may run ahead of the steady clock.
const DATE_SLACK_MS: i64 = 1_000;
/// A clock that differs from that of the server by more than this is reported.
pub const SKEW_REPORTED_MS: i64 = 1_000;
/// A node whose clock differs by more than this changes nothing: the times of its events would be wrong.
pub const SKEW_MAX_MS: i64 = 30_000;

thread_local! {
    /// Whether the answer that this thread makes has a verdict for which the node was fresh.
    static WAS_FRESH: Cell<bool> = const { Cell::new(false) };
}

/// How long a node goes on without a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From this age on its answers have the age of what it knows, and it changes nothing.
    pub stale_after_ms: i64,
    /// From this age on it refuses everything; `None` for never.
    pub refuse_after_ms: Option<i64>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            stale_after_ms: 5_000,
            refuse_after_ms: Some(60_000),
        }
    }
}

/// What a node may do; see the heading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Fresh,
    /// The age of what it knows, in seconds; `None` if it has never proved anything.
    Refused(Option<u64>),
    Stale(u64),
}

/// See the heading. Every verification asks this, so it is a few numbers without a lock.
pub struct Fence {
    /// By the steady clock of the process, as all times here but those with `wall` in their name.
    fresh_until_ms: AtomicI64,
    /// From this date on it is not fresh in any case.
    wall_until: AtomicI64,
    proved_ms: AtomicI64,
    proved_wall: AtomicI64,
    stale_after_ms: AtomicI64,
    refuse_after_ms: AtomicI64,
    /// This machine's clock less that of the server.
    skew_ms: AtomicI64,
    is_connected: AtomicBool,
    /// The number of nodes in use, this one included.
    live: AtomicU64,
    /// Whether another process has written the lease of this node lately, so that its data folder was copied.
    is_doubled: AtomicBool,
    /// Whether this process has stopped for that reason.
    has_given_way: AtomicBool,
    /// The number of the newest event that the server had when it last wrote the lease.
    head_seq: AtomicI64,
    #[cfg(feature = "postgres")]
    ending: renewal::Ending,
}

/// What is known about a fence, for metrics and findings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FenceFigures {
    /// The age of what the node knows; `None` if it has never proved anything.
    pub age_ms: Option<i64>,
    /// How long verdicts go on; `None` if they have no end.
    pub left_ms: Option<i64>,
    pub live: u64,
    pub skew_ms: i64,
    pub is_connected: bool,
    /// Whether another process uses the id of this node.
    pub is_doubled: bool,
    /// The number of the newest event that the database had when the lease was written last.
    pub head_seq: i64,
    pub limits: Limits,
}

impl Default for Fence {
    fn default() -> Fence {
        let limits = Limits::default();
        Fence {
            fresh_until_ms: AtomicI64::new(NEVER),
            wall_until: AtomicI64::new(NEVER),
            proved_ms: AtomicI64::new(NEVER),
            proved_wall: AtomicI64::new(NEVER),
            stale_after_ms: AtomicI64::new(limits.stale_after_ms),
            refuse_after_ms: AtomicI64::new(limits.refuse_after_ms.unwrap_or(NO_END)),
            skew_ms: AtomicI64::new(0),
            is_connected: AtomicBool::new(false),
            live: AtomicU64::new(1),
            is_doubled: AtomicBool::new(false),
            has_given_way: AtomicBool::new(false),
            head_seq: AtomicI64::new(0),
            #[cfg(feature = "postgres")]
            ending: renewal::Ending::default(),
        }
    }
}

impl Fence {
    /// Sets the limits, which count at once.
    #[cfg(any(test, feature = "postgres"))]
    pub fn set_limits(&self, limits: Limits) {
        self.stale_after_ms.store(limits.stale_after_ms, Relaxed);
        let refuse_after_ms = limits.refuse_after_ms.unwrap_or(NO_END);
        self.refuse_after_ms.store(refuse_after_ms, Relaxed);
        self.stay_fresh();
    }

    pub fn limits(&self) -> Limits {
        let refuse_after_ms = self.refuse_after_ms.load(Relaxed);
        Limits {
            stale_after_ms: self.stale_after_ms.load(Relaxed),
            refuse_after_ms: (refuse_after_ms != NO_END).then_some(refuse_after_ms),
        }
    }

    /// What the node may do now.
    pub fn standing(&self, now: Moment) -> Standing {
        let is_fresh = steady_ms(now) < self.fresh_until_ms.load(Relaxed)
            && now.wall.0 < self.wall_until.load(Relaxed);
        match is_fresh {
            true => Standing::Fresh,
            false => self.not_fresh(now),
        }
    }

    #[cold]
    fn not_fresh(&self, now: Moment) -> Standing {
        let Some(age_ms) = self.age_ms(now) else {
            return Standing::Refused(None);
        };
        let age_s = age_ms.unsigned_abs() / 1000;
        match age_ms >= self.refuse_after_ms.load(Relaxed) {
            true => Standing::Refused(Some(age_s)),
            false => Standing::Stale(age_s),
        }
    }

    /// The time since the node has certainly known everything; `None` if it has never proved anything.
    pub fn age_ms(&self, now: Moment) -> Option<i64> {
        let proved_ms = self.proved_ms.load(Relaxed);
        if proved_ms == NEVER {
            return None;
        }
        let by_steady = steady_ms(now).saturating_sub(proved_ms);
        let by_wall = now.wall.0.saturating_sub(self.proved_wall.load(Relaxed)) - DATE_SLACK_MS;
        Some(by_steady.max(by_wall).max(0))
    }

    /// Records that the index has everything that had been acknowledged at this moment.
    #[cfg(any(test, feature = "postgres"))]
    pub fn prove(&self, at: Moment) {
        self.proved_wall.store(at.wall.0, Relaxed);
        self.proved_ms.store(steady_ms(at), Relaxed);
        self.stay_fresh();
    }

    /// Sets how long the node is fresh by its latest proof.
    #[cfg(any(test, feature = "postgres"))]
    fn stay_fresh(&self) {
        let (proved_ms, lasts_ms) = (
            self.proved_ms.load(Relaxed),
            self.stale_after_ms.load(Relaxed),
        );
        if proved_ms == NEVER {
            return;
        }
        let proved_wall = self.proved_wall.load(Relaxed);
        let wall_until = proved_wall.saturating_add(lasts_ms + DATE_SLACK_MS);
        self.wall_until.store(wall_until, Relaxed);
        self.fresh_until_ms
            .store(proved_ms.saturating_add(lasts_ms), Relaxed);
    }

    /// Ends for good what this node may do: another process that has its id goes on.
    #[cfg(feature = "postgres")]
    fn give_way(&self) {
        self.has_given_way.store(true, Relaxed);
        self.proved_ms.store(NEVER, Relaxed);
        self.fresh_until_ms.store(NEVER, Relaxed);
    }

    /// Why it refuses everything.
    fn refusal(&self, age_s: Option<u64>) -> Error {
        Error::Unavailable(match age_s {
            Some(age_s) => refusals::server::stale(age_s),
            None if self.has_given_way.load(Relaxed) => refusals::server::node_id_twice(),
            None => refusals::server::stale_from_start(),
        })
    }

    /// The number of nodes that limits are shared with, this one included.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed).max(1)
    }

    /// By how much this machine's clock differs from that of the server, if that is too much for the time of an event.
    pub fn wrong_clock_ms(&self) -> Option<i64> {
        let skew_ms = self.skew_ms.load(Relaxed);
        (skew_ms.abs() > SKEW_MAX_MS).then_some(skew_ms)
    }

    pub fn figures(&self, now: Moment) -> FenceFigures {
        let (age_ms, limits) = (self.age_ms(now), self.limits());
        let left = |refuse_after_ms: i64| age_ms.map_or(0, |age| (refuse_after_ms - age).max(0));
        FenceFigures {
            age_ms,
            left_ms: limits.refuse_after_ms.map(left),
            live: self.live(),
            skew_ms: self.skew_ms.load(Relaxed),
            is_connected: self.is_connected.load(Relaxed),
            is_doubled: self.is_doubled.load(Relaxed),
            head_seq: self.head_seq.load(Relaxed),
            limits,
        }
    }
}

fn steady_ms(now: Moment) -> i64 {
    i64::try_from(now.steady_ms).unwrap_or(i64::MAX)
}

impl App {
    /// Whether other nodes may use the database at the same time.
    #[cfg(feature = "postgres")]
    pub fn shares_its_database(&self) -> bool {
        self.fence.is_some()
    }

    /// Sets how far a node that shares its database may be behind.
    #[cfg(any(test, feature = "postgres"))]
    pub fn set_limits(&self, limits: Limits) {
        if let Some(fence) = &self.fence {
            fence.set_limits(limits);
        }
    }

    /// Lets a proof be this old, for tests.
    #[cfg(test)]
    pub fn be_proved_before(&self, age_ms: i64) {
        if let Some(fence) = &self.fence {
            let now = self.now();
            fence.prove(Moment {
                wall: crate::domain::time::Timestamp(now.wall.0 - age_ms),
                ..now
            });
        }
    }

    /// Sets the difference to the clock of the server, for tests.
    #[cfg(test)]
    pub fn differ_by(&self, skew_ms: i64) {
        if let Some(fence) = &self.fence {
            fence.skew_ms.store(skew_ms, Relaxed);
        }
    }

    /// Refuses verdicts, callers and everything that is shown: at a site whose pack or lease no longer counts, and at a node that may
    /// be too far behind the database that it shares. Otherwise returns the age in seconds of what a stale node knows.
    pub fn require_fresh(&self, now: Moment) -> Result<Option<u64>> {
        if let Some(site) = &self.site {
            let (age, required) = site.fresh.require(now.wall);
            WAS_FRESH.set(age == Age::Fresh);
            return required.map(|()| None);
        }
        let Some(fence) = &self.fence else {
            return Ok(None);
        };
        self.require_protection()?;
        let standing = fence.standing(now);
        WAS_FRESH.set(standing == Standing::Fresh);
        match standing {
            Standing::Fresh => Ok(None),
            Standing::Refused(age_s) => Err(fence.refusal(age_s)),
            Standing::Stale(age_s) => Ok(Some(age_s)),
        }
    }

    /// Refuses everything that depends on what is in memory, at a node that may be too far behind the database that it shares.
    pub fn require_serving(&self) -> Result<()> {
        let Some(fence) = &self.fence else {
            return Ok(());
        };
        self.require_protection()?;
        match fence.standing(self.now()) {
            Standing::Fresh | Standing::Stale(_) => Ok(()),
            Standing::Refused(age_s) => Err(fence.refusal(age_s)),
        }
    }

    /// Refuses what only a node does that knows everything: changes, and words that prolong the leases of sites.
    pub fn require_known(&self) -> Result<()> {
        let Some(fence) = &self.fence else {
            return Ok(());
        };
        if let Some(fork) = self.applier.fork() {
            return Err(fork.refusal());
        }
        match fence.standing(self.now()) {
            Standing::Fresh => Ok(()),
            Standing::Refused(age_s) => Err(fence.refusal(age_s)),
            Standing::Stale(age_s) => {
                Err(Error::Unavailable(refusals::server::stale_changes(age_s)))
            }
        }
    }

    /// Why nothing may be changed here now. What only takes something away is tried all the same: if it can be saved, it is right.
    pub(in crate::ops) fn require_changeable(&self, takes_away: bool) -> Result<()> {
        if takes_away {
            return Ok(());
        }
        self.require_known()?;
        self.require_closed()?;
        self.wrong_clock()
            .map_or(Ok(()), |why| Err(Error::Unavailable(why)))
    }

    /// The refusal of changes at a node whose clock differs too much from that of the database's server.
    pub fn wrong_clock(&self) -> Option<Refusal> {
        let skew_ms = self.fence.as_ref()?.wrong_clock_ms()?;
        Some(refusals::server::clock_differs(
            skew_ms.unsigned_abs() / 1000,
        ))
    }

    /// The reason for which a load balancer should send changes to another node, if this node shares its database.
    pub fn changes_refused(&self) -> Option<Error> {
        self.require_changeable(false).err()
    }

    /// The age in seconds of what a stale node knows.
    pub fn known_age_s(&self) -> Option<u64> {
        match self.fence.as_ref()?.standing(self.now()) {
            Standing::Fresh => None,
            Standing::Refused(age_s) => age_s,
            Standing::Stale(age_s) => Some(age_s),
        }
    }

    /// What is known about the fence of a node that shares its database.
    pub fn fence_figures(&self) -> Option<FenceFigures> {
        let fence = self.fence.as_ref()?;
        Some(fence.figures(self.now()))
    }

    /// How many events the database had when the lease was written last, and that the index does not have yet.
    pub fn lag_events(&self) -> Option<i64> {
        let head_seq = self.fence_figures()?.head_seq;
        Some((head_seq - self.applier.applied()).max(0))
    }

    /// The number of nodes that limits are shared with, this one included.
    pub(in crate::ops) fn live_nodes(&self) -> u64 {
        self.fence.as_ref().map_or(1, |fence| fence.live())
    }

    /// Begins an answer, for which [`App::told_age_s`] is asked at its end on the same thread.
    pub fn begin_answer(&self) {
        if self.site.is_some() || self.fence.is_some() {
            WAS_FRESH.set(false);
        }
    }

    /// The age in seconds of what verdicts depend on, if clients are to learn it: at a site that of the pack, or of the last word
    /// over the link, from half of its time on; at a node that is stale, of what it knows. No clock is read again if a verdict in
    /// the answer has found it fresh.
    pub fn told_age_s(&self) -> Option<u64> {
        if self.site.is_none() && self.fence.is_none() || WAS_FRESH.get() {
            return None;
        }
        match &self.site {
            Some(site) => site.fresh.told_age_s(self.now().wall),
            None => self.known_age_s(),
        }
    }
}
