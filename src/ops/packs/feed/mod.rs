//! The live link to sites. A site asks what has happened since the state that it has ([`ask`]), and the answer comes when
//! something has happened to what it is given, or after a while ([`answers`], a thread of its own). What has happened is read
//! from the audit log ([`path`]); the answer has the current records of what was touched ([`step`]), or packs ([`packs`]).
//!
//! This file has the limits, and what others call: after commits, for changes that wait for sites, and for figures. The state that the
//! threads share is in [`hub`].
//!
//! A lease is recorded before it is granted, and counted before its word is sent. A question that waits holds no thread: four
//! threads answer all of them, lend, make packs and end waits.

mod ahead;
mod answers;
pub mod ask;
mod elsewhere;
mod forks;
mod given_up;
mod heard;
mod hub;
mod known;
mod leases;
mod lending;
mod link;
#[cfg(test)]
pub mod model;
mod moved;
mod pace;
mod packs;
mod path;
mod snapshot;
mod step;
mod stopped;
#[cfg(test)]
mod tests;
mod unlink;
pub mod waits;
mod ways;
mod word;

use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::question::Events;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::ops::App;
use crate::refusals;
use crate::store::Read;
use crate::store::heads::{self, Head};
pub use answers::run as run_answers;
pub use elsewhere::list as list_elsewhere;
use forks::Forks;
pub use hub::Touched;
use hub::{Asking, Hub, Work, refuse_older};
use known::{Known, KnownSites};
use leases::Leases;
pub use lending::run as run_lending;
use pace::Pace;
pub use packs::run as run_packs;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use waits::{Elsewhere, Outcome, Wait};

/// How long the link of a site that asks no more is remembered; as long as one is, commits are noted.
const IDLE_MS: u64 = 600_000;
/// The longest time that a question waits for something to happen.
const POLL_MS: u64 = 1_000;
/// How long a change waits for sites at most.
const WAIT_MS: u64 = 60_000;
/// The number of changes that wait for sites at a time.
const WAITS_MAX: usize = 1_000;
/// How much longer than its time a question waits for a pack that is being made.
const PACKING_MS: u64 = 1_000;
/// How long an answer waits for the index to follow a commit, before it is put back.
const INSTALLED_MAX: Duration = Duration::from_millis(500);
/// See [`Feed::pack_ms`].
const PACK_MS: u64 = 60_000;
/// See [`Feed::again_ms`].
const AGAIN_MS: u64 = 200;
/// See [`Feed::report_ms`].
const REPORT_MS: u64 = 1_000;
/// See [`Feed::gather_ms`].
const GATHER_MS: u64 = 200;
/// See [`Feed::resend_ms`].
const RESEND_MS: u64 = 1_000;

/// The answer to a question: the bytes of a word with its body.
pub type Answer = Box<dyn FnOnce(Result<Vec<u8>>) + Send>;

/// What the links to sites share.
pub struct Feed {
    /// Whether a site asked within the last minutes, or may still answer. Without one, a commit costs one look at this.
    is_active: AtomicBool,
    ends_wait: AtomicBool,
    wait_ms: AtomicU64,
    poll_ms: AtomicU64,
    /// How often a pack is made for a site that goes on asking for new ones.
    pack_ms: AtomicU64,
    /// How often a question is looked at that has nothing new, and a report is taken in.
    again_ms: AtomicU64,
    report_ms: AtomicU64,
    /// How often questions of sites are looked at that have had a step just now, if no change waits for them: so they take many
    /// changes at once, if there are many.
    gather_ms: AtomicU64,
    /// How long a pack may be on its way before it is sent again; twice as long the next time.
    resend_ms: AtomicU64,
    hub: Mutex<Hub>,
    /// There is a question to look at.
    asked: Condvar,
    /// The index has followed a commit.
    installed: Condvar,
    /// There is a wait that may end.
    ending: Condvar,
    /// There is a pack to send.
    packing: Condvar,
    pace: Pace,
    known: KnownSites,
    /// Sites that were removed while a word might let them answer, by name.
    removed: Mutex<HashMap<String, Arc<Known>>>,
    /// Sites that know what this server does not.
    pub forks: Forks,
    leases: Leases,
    /// When this process began, and whether changes wait for all sites because one of them knows more than it: see [`ahead`].
    began_ms: AtomicU64,
    is_behind: AtomicBool,
    /// Held to read while the lease of one site is recorded, and to write while those of all are.
    recording: RwLock<()>,
    pub figures: Figures,
}

/// Counters since the start.
#[derive(Default)]
pub struct Figures {
    pub words: AtomicU64,
    /// Words with something that was touched.
    pub steps: AtomicU64,
    /// Packs that sites have applied.
    pub packs: AtomicU64,
    /// States of the database that were looked at.
    pub rounds: AtomicU64,
}

/// What is known about the link to one site.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Whether it may answer without a further word.
    pub is_linked: bool,
    /// Milliseconds since its newest question; `None` if it has not asked since the start.
    pub asked_ago_ms: Option<u64>,
    /// The newest event that it had applied when it asked; 0 if it has not asked since the start.
    pub applied_events: u64,
    /// The pack that it had applied then.
    pub pack: u64,
    /// Where the audit log could not be read, so that the site got a pack in the place of a step.
    pub unread: Option<u64>,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            is_active: AtomicBool::new(false),
            ends_wait: AtomicBool::new(false),
            wait_ms: AtomicU64::new(WAIT_MS),
            poll_ms: AtomicU64::new(POLL_MS),
            pack_ms: AtomicU64::new(PACK_MS),
            again_ms: AtomicU64::new(AGAIN_MS),
            report_ms: AtomicU64::new(REPORT_MS),
            gather_ms: AtomicU64::new(GATHER_MS),
            resend_ms: AtomicU64::new(RESEND_MS),
            hub: Mutex::default(),
            asked: Condvar::new(),
            installed: Condvar::new(),
            ending: Condvar::new(),
            packing: Condvar::new(),
            pace: Pace::default(),
            known: KnownSites::default(),
            removed: Mutex::default(),
            forks: Forks::default(),
            leases: Leases::default(),
            began_ms: AtomicU64::new(0),
            is_behind: AtomicBool::new(false),
            recording: RwLock::default(),
            figures: Figures::default(),
        }
    }
}

impl Feed {
    /// Whether commits have to be noted.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Relaxed)
    }

    /// Looks at what was touched up to an event, before the index follows it.
    pub fn look(&self, index: &Index, end: Head, targets: &[Target]) -> Touched {
        let mut touched = Touched {
            events: events_of(end),
            keys: Vec::new(),
            is_wide: false,
            is_tree: false,
        };
        for target in targets {
            match target.kind {
                Kind::Key => {
                    let Some(id) = KeyId::parse(&target.id) else {
                        continue;
                    };
                    let before = index.with_key(id, |key| key.shared.workspace);
                    touched.keys.push((id, before));
                }
                Kind::Catalog | Kind::Policy | Kind::Server | Kind::Site | Kind::User => {
                    touched.is_wide = true;
                }
                Kind::Workspace => (touched.is_wide, touched.is_tree) = (true, true),
                Kind::Session => {}
            }
        }
        touched
    }

    /// What may have been touched, if everything up to an event may.
    pub fn look_at_all(&self, end: Head) -> Touched {
        Touched {
            events: events_of(end),
            keys: Vec::new(),
            is_wide: true,
            is_tree: true,
        }
    }

    /// Notes a commit whose changes come into the index now.
    pub fn begins(&self, touched: &Touched) {
        let mut hub = lock(&self.hub);
        hub.begun = touched.events.number;
        if touched.is_tree {
            hub.begun_tree = touched.events.number;
        }
    }

    /// Notes a commit, after the index has followed it.
    pub fn committed(&self, touched: Touched) {
        let mut hub = lock(&self.hub);
        hub.installed = touched.events;
        hub.tree += u64::from(touched.is_tree);
        let concerns = !touched.keys.is_empty() || touched.is_wide;
        if concerns {
            hub.note(touched);
        }
        drop(hub);
        self.installed.notify_all();
        if concerns {
            self.asked.notify_one();
        }
    }

    /// Whether a commit is about sites, and has to be noted by [`Feed::forget_sites`].
    pub fn is_about_sites(targets: &[Target]) -> bool {
        let mut kinds = targets.iter().map(|target| target.kind);
        kinds.any(|kind| matches!(kind, Kind::Server | Kind::Site))
    }

    /// Forgets what is known about sites, after a commit that is about them.
    pub fn forget_sites(&self) {
        self.known.forget();
    }

    /// Answers all who wait, and takes no more questions. For the end of the process.
    pub fn stop(&self) {
        lock(&self.hub).is_stopped = true;
        for thread in [&self.asked, &self.installed, &self.ending, &self.packing] {
            thread.notify_all();
        }
    }

    /// Whether changes that end something wait for the sites without being asked to.
    pub fn ends_wait(&self) -> bool {
        self.ends_wait.load(Relaxed)
    }

    /// See [`Feed::ends_wait`].
    pub fn set_ends_wait(&self, on: bool) {
        self.ends_wait.store(on, Relaxed);
    }

    /// Calls `done` when no linked site can answer as before the changes that were committed up to now; after a minute, or if
    /// too many changes wait already, with the sites that still can. `elsewhere` has the sites that ask other nodes ([`list_elsewhere`]).
    pub fn wait(
        &self,
        now_ms: u64,
        elsewhere: Vec<Elsewhere>,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) {
        let mut hub = lock(&self.hub);
        let events = match self.is_active() {
            true => {
                hub.waited = hub.waited.max(hub.installed.number);
                hub.waited
            }
            false if elsewhere.is_empty() => {
                drop(hub);
                return done(Outcome::default());
            }
            // No commit was noted, so no question can show that the site has applied one.
            false => u64::MAX,
        };
        let until_ms = now_ms.saturating_add(self.wait_ms.load(Relaxed));
        let times_ms = (now_ms, until_ms);
        let mut wait = Wait::new(events, times_ms, &hub.links, elsewhere, Box::new(done));
        if hub.waits.len() >= WAITS_MAX || hub.is_stopped {
            // What is known at once counts.
            wait.look(&hub.links, now_ms);
            drop(hub);
            return wait.end(now_ms);
        }
        hub.waits.push(wait);
        drop(hub);
        self.asked.notify_one();
        self.ending.notify_one();
    }

    /// What is known about the link to a site; `None` if it has not been linked lately.
    pub fn standing(&self, site: &str, now_ms: u64) -> Option<Standing> {
        let hub = lock(&self.hub);
        let link = hub.links.get(site)?;
        Some(Standing {
            is_linked: link.is_linked(now_ms),
            asked_ago_ms: link.asked_ms.map(|at| now_ms.saturating_sub(at)),
            applied_events: link.applied.number,
            pack: link.pack,
            unread: link.unread,
        })
    }

    /// The number of linked sites, and the events that the one which is furthest behind has not applied.
    pub fn lag(&self, now_ms: u64) -> (usize, u64) {
        let hub = lock(&self.hub);
        let links = hub.links.iter();
        let links = links.filter(|(name, _)| *name != leases::UNKNOWN);
        let linked = links.filter(|(_, link)| link.is_linked(now_ms));
        let linked = linked.map(|(_, link)| link);
        let lags = linked.map(|link| hub.installed.number.saturating_sub(link.applied.number));
        lags.fold((0, 0), |(count, most), lag| (count + 1, most.max(lag)))
    }

    /// Waits until the index has what is committed up to an event; `false` if that takes too long.
    fn await_installed(&self, number: u64) -> bool {
        let hub = lock(&self.hub);
        let lags = |hub: &mut Hub| hub.installed.number < number && !hub.is_stopped;
        let waited = self.installed.wait_timeout_while(hub, INSTALLED_MAX, lags);
        let (hub, _) = waited.unwrap_or_else(PoisonError::into_inner);
        hub.installed.number >= number
    }

    /// Waits for something to do; `None` when the server stops.
    fn next(&self, app: &App) -> Option<Work> {
        let mut hub = lock(&self.hub);
        loop {
            if hub.is_stopped {
                hub.refuse_all();
                return None;
            }
            let now_ms = app.now().steady_ms;
            let work = hub.work(now_ms);
            if !work.asking.is_empty() || !work.touched.is_empty() {
                return Some(work);
            }
            if hub.is_idle(now_ms) && self.is_active.swap(false, Relaxed) {
                hub.links.clear();
                self.forget(&mut hub);
            }
            let next_ms = hub.next_question_ms();
            hub.wakes_ms = next_ms.unwrap_or(u64::MAX);
            hub = pause(&self.asked, hub, next_ms, now_ms);
            hub.wakes_ms = 0;
        }
    }

    /// Ends what has waited long enough, until the server stops: changes that wait for sites, and sites that wait for packs. No
    /// other work delays that.
    pub fn end_all(&self, app: &App) {
        let mut hub = lock(&self.hub);
        while !hub.is_stopped {
            let now_ms = app.now().steady_ms;
            let (ended, late) = (hub.end_waits(now_ms), hub.end_packing(now_ms));
            if ended.is_empty() && late.is_empty() {
                let next_ms = hub.next_end_ms();
                hub = pause(&self.ending, hub, next_ms, now_ms);
                continue;
            }
            drop(hub);
            ended.into_iter().for_each(|wait| wait.end(now_ms));
            late.into_iter().for_each(|asking| {
                let being_made = refusals::packs::being_made();
                (asking.answer)(Err(Error::Unavailable(being_made)));
            });
            // Whether all is idle depends on who waits.
            self.asked.notify_one();
            hub = lock(&self.hub);
        }
        // The changes are made; who waited for the sites learns that they are not confirmed.
        let (now_ms, mut waits) = (app.now().steady_ms, std::mem::take(&mut hub.waits));
        waits.iter_mut().for_each(|wait| {
            wait.look(&hub.links, now_ms);
        });
        drop(hub);
        waits.into_iter().for_each(|wait| wait.end(now_ms));
    }

    /// Forgets all that is kept about sites and workspaces. Commits are not noted while no site is linked.
    fn forget(&self, hub: &mut Hub) {
        self.known.forget();
        hub.tree += 1;
    }

    /// Puts questions back that nothing has happened for, or that are to be looked at again. One whose site has asked again
    /// meanwhile, or whose link was dropped, gets its answer.
    fn put_back(&self, all: Vec<(String, Asking)>, again: bool) {
        let mut older = Vec::new();
        let mut hub = lock(&self.hub);
        for (name, asking) in all {
            match hub.is_newest(&name, &asking) {
                false => older.push(asking),
                true => {
                    let asking = Asking {
                        is_new: again,
                        ..asking
                    };
                    hub.asking.insert(name, asking);
                }
            }
        }
        drop(hub);
        older.into_iter().for_each(refuse_older);
    }
}

/// Records what the links had, for the start after an orderly stop.
pub fn record_stop(app: &App) -> Result<()> {
    ask::record_all(app)?;
    stopped::record(app)
}

/// Waits for a change of the hub, or for a time.
fn pause<'a>(
    change: &Condvar,
    hub: MutexGuard<'a, Hub>,
    next_ms: Option<u64>,
    now_ms: u64,
) -> MutexGuard<'a, Hub> {
    let Some(at_ms) = next_ms else {
        return change.wait(hub).unwrap_or_else(PoisonError::into_inner);
    };
    let left = Duration::from_millis(at_ms.saturating_sub(now_ms).max(1));
    let waited = change.wait_timeout(hub, left);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

/// The newest event.
fn newest(read: &Read) -> Result<Events> {
    heads::newest(read).map(events_of)
}

/// The events up to this one.
fn events_of(end: Head) -> Events {
    Events {
        number: end.seq.unsigned_abs(),
        hash: end.hash,
    }
}
