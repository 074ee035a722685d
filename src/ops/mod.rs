//! The operations of a caller: authorise, act, record.
//!
//! Every change goes through [`App::change`], which writes the audit event in the same transaction, so that no
//! dialect can forget to authorise or to record. Verification ([`verify`]) reads only the index.
//!
//! Two changes by a caller do not go through it: giving up a lost node (`older_copy/forget.rs`), which has to be possible
//! while changes are refused, and a newer schema (`schema_upgrade.rs`), which has a transaction of its own. What the server
//! does without a caller has its event in the same transaction, too.

mod applier;
pub mod attempts;
pub mod audit;
pub mod authenticate;
pub mod authenticators;
pub mod backup_check;
pub mod backups;
pub mod budgets;
pub mod catalogs;
pub mod changed_outside;
pub mod clock;
pub mod connection_check;
pub mod declared;
pub mod doctor;
pub mod fence;
mod following;
pub mod idempotency;
mod index_updates;
pub mod keys;
pub mod leaks;
pub mod maintenance;
pub mod metrics;
pub mod moving;
pub mod nodes;
pub mod notices;
pub mod older_copy;
pub mod packs;
pub mod policies;
pub mod process;
pub mod restore;
mod retired_names;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod round_trips;
pub mod schema_upgrade;
pub mod secrets;
pub mod self_test;
pub mod sessions;
pub mod setup;
mod shared_attempts;
pub mod site;
pub mod tripwires;
pub mod usage;
pub mod users;
pub mod verify;
pub mod workspaces;

use crate::authz::caller::{Caller, FoundBy, Identity};
use crate::domain::audit::{Changes, Event, Target};
use crate::domain::keys::keyfile::{HmacKeys, KeyFiles, KeyKind};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::leak_keys::LeakKeys;
use crate::domain::locks::lock;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::refusals::Refusal;
use crate::store::{self, Durability, Read, Store, Write};
use clock::Clock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

/// The server's state, shared by all threads.
pub struct App {
    store: Store,
    pub index: Arc<Index>,
    peppers: Arc<Peppers>,
    seal_keys: Arc<SealKeys>,
    sealing: Arc<SealingKeys>,
    hmac: Arc<HmacKeys>,
    provided: Arc<Vec<(KeyKind, PathBuf)>>,
    key_files_turn: secrets::Turn,
    pub clock: Arc<Clock>,
    node: Arc<nodes::OwnNode>,
    usage_batches: maintenance::UsageBatches,
    passwords: sessions::password_gate::PasswordGate,
    demand: authenticators::demand::Demand,
    reserving: verify::Reserving,
    counting: verify::exact::Counting,
    look_ups: sessions::look_ups::LookUps,
    denials: audit::denied::Denials,
    first_run: setup::first_run::FirstRun,
    audit_minimum: audit::retention::Minimum,
    importing: keys::import::Running,
    inspections: keys::inspect::Inspections,
    leak_reports: leaks::LeakReports,
    leak_keys: RwLock<Arc<LeakKeys>>,
    writable: Mutex<Option<LastTestWrite>>,
    backups: backups::Backups,
    counted_keys: metrics::CountedKeys,
    pages: policies::pages::Settled,
    pub upgrades: keys::upgrade::Upgrades,
    presets: &'static [policies::presets::Preset],
    pub budgets: budgets::Budgets,
    declared: declared::Files,
    pub notices: notices::Notices,
    /// Of a site only: a server that verifies from the packs of another one.
    site: Option<site::Site>,
    packing: packs::Packing,
    applier: Arc<applier::Applier>,
    /// Of a node that shares its database with others only.
    fence: Option<Arc<fence::Fence>>,
    pub feed: Arc<packs::feed::Feed>,
}

/// When the last test write to the store ended, on the steady clock, and its error.
type LastTestWrite = (u64, Option<Refusal>);

/// How long the result of a test write is reused.
const WRITABLE_MS: u64 = 1_000;

/// The page cache of the writer during a change of many keys.
const WIDE_CACHE_MIB: u32 = 64;

/// The content of a change for the audit log.
pub struct Record {
    pub target: Target,
    /// The workspace that the target belongs to; `None` if the target belongs to the whole server.
    pub workspace: Option<Uid>,
    pub changes: Changes,
}

impl App {
    /// "Now" for a request.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Does the same as [`App::now`] for a caller that has just read the steady clock.
    pub fn now_at(&self, steady: Instant) -> Moment {
        self.clock.now_at(steady)
    }

    /// Runs one change of state. The work and its audit event are committed together, and the index is updated before
    /// this function returns. A forbidden attempt is undone and leaves only its event. Work that finds nothing to
    /// change returns no record and leaves nothing. Only a committed change is charged to the caller's budget.
    ///
    /// `target` is the thing that the caller named, for the event of a forbidden attempt.
    pub fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: &'static str,
        target: Target,
        work: impl FnOnce(&Write<'_>, Timestamp) -> Result<(Option<Record>, T)> + Send + 'static,
    ) -> Result<T> {
        self.change_all(caller, action, target, move |tx, now| {
            let (record, value) = work(tx, now)?;
            let records = record.into_iter().map(|record| (action, record));
            Ok((records.collect(), value))
        })
    }

    /// Does the same as [`App::change`], for a change that includes others: each has an event, in their order.
    pub fn change_all<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: &'static str,
        target: Target,
        work: impl FnOnce(&Write<'_>, Timestamp) -> Result<(Vec<(&'static str, Record)>, T)>
        + Send
        + 'static,
    ) -> Result<T> {
        let target = Arc::new(Mutex::new(target));
        self.change_many(caller, action, 1, target, work)
    }

    /// As [`App::change_all`], of several things that are charged one by one. The work keeps `at` on the one that it is
    /// about, for the event of a forbidden attempt.
    fn change_many<T: Send + 'static>(
        &self,
        caller: &Caller,
        action: &'static str,
        count: usize,
        at: Arc<Mutex<Target>>,
        work: impl FnOnce(&Write<'_>, Timestamp) -> Result<(Vec<(&'static str, Record)>, T)>
        + Send
        + 'static,
    ) -> Result<T> {
        self.require_changeable(caller.takes_away)?;
        let mut paid = Vec::new();
        for _ in 0..count {
            match self.charge(caller, action) {
                Ok(subjects) => paid.push(subjects),
                Err(err) => {
                    paid.iter().for_each(|subjects| self.give_back(subjects));
                    return Err(err);
                }
            }
        }
        let now = self.now().wall;
        let seal_keys = self.seal_keys.clone();
        let (draft, denied) = drafts(caller, action, Target::server(), now);
        let urgency = budgets::urgency(caller, action);
        let (identity, found_by) = (caller.identity, caller.found_by.clone());
        let index = self.index.clone();
        let outcome = self.store.write_in(urgency, Durability::Full, move |tx| {
            // The request may have waited while its credential was ended. A sign-in has none yet.
            if !sessions::BEGINNINGS.contains(&action) {
                sessions::require_in_force(tx, &seal_keys, identity)?;
                require_unchanged(&index, identity, found_by.as_ref(), now)?;
            }
            let (records, value) = work(tx, now)?;
            let is_change = !records.is_empty();
            append_all(tx, &seal_keys, &draft, records)?;
            Ok((is_change, value))
        });
        if !matches!(outcome, Ok((true, _))) {
            paid.iter().for_each(|subjects| self.give_back(subjects));
        }
        let denied = Event {
            target: lock(&at).clone(),
            ..denied
        };
        self.record_denied(caller, denied, outcome.map(|(_, value)| value))
    }

    /// Passes on a decision that is made before a change begins, because the change is slow. If the decision is a
    /// refusal, its event is written as in [`App::change`].
    fn decided<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        target: Target,
        decision: Result<T>,
    ) -> Result<T> {
        let event = Event {
            target,
            ..draft(caller, action, self.now().wall)
        };
        self.record_denied(caller, event, decision)
    }

    /// Runs a query for a caller whose rights the query itself checks.
    fn read<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        self.store.read(work)
    }

    /// Gives the writer a large page cache while `work` runs. For changes of many keys: their ids are random and touch
    /// every page of the tables.
    fn with_wide_cache<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let widen = |tx: &Write<'_>| tx.widen_cache(WIDE_CACHE_MIB);
        self.store.write(Durability::Relaxed, widen)?;
        let done = work();
        let narrow = |tx: &Write<'_>| tx.narrow_cache();
        let narrowed = self.store.write(Durability::Relaxed, narrow);
        done.and_then(|value| narrowed.map(|()| value))
    }

    /// The keys with which secrets are stored.
    fn key_files(&self) -> KeyFiles {
        KeyFiles {
            peppers: self.peppers.clone(),
            sealing: self.sealing.clone(),
            hmac: self.hmac.clone(),
            provided: self.provided.clone(),
            seal: self.seal_keys.clone(),
        }
    }

    /// Checks that a change could be committed within the last second. The test writes the mark of the clock, which
    /// may be written at any time. It runs at most once a second, so unauthenticated clients may request it.
    pub fn check_writable(&self) -> Result<()> {
        let mut last = lock(&self.writable);
        let now = self.now().steady_ms;
        let fault = match last.take() {
            Some((at, fault)) if now.saturating_sub(at) < WRITABLE_MS => {
                *last = Some((at, fault.clone()));
                fault
            }
            _ => {
                let written = self.record_clock(Durability::Relaxed);
                // What the test writes is small: it fits where others do not.
                let fault = written.and_then(|()| self.store.check_room()).err();
                let fault = fault.map(|err| err.refusal());
                // The time is read at the end, so that callers which waited here need not wait for another test.
                *last = Some((self.now().steady_ms, fault.clone()));
                fault
            }
        };
        fault.map_or(Ok(()), |fault| Err(Error::Unavailable(fault)))
    }

    /// Stores the state of the clock.
    fn record_clock(&self, durability: Durability) -> Result<()> {
        let (node, clock) = (self.node.id(), self.clock.clone());
        // The clock is read on the writer's thread, so that a correction which was stored earlier is included.
        let write = move |tx: &Write<'_>| store::clock::record(tx, node, &clock.recorded());
        self.store.write(durability, write)
    }

    /// Finishes the pending work, stores the state of the clock, and closes the store.
    pub fn close(&self) {
        if let Some(site) = &self.site {
            site.link.leave();
        }
        #[cfg(feature = "postgres")]
        if let Some(fence) = &self.fence {
            fence.end();
        }
        if !self.store.is_closed() {
            maintenance::flush(self);
            tripwires::record_all(self);
            notices::flush(self);
            if self.site.is_none()
                && let Err(err) = packs::feed::record_stop(self)
            {
                log::warn!("sites: what the links had is not stored: {err}");
            }
            if let Err(err) = self.record_clock(Durability::Full) {
                log::warn!("clock: the time of this stop was not stored: {err}");
            }
        }
        self.store.close();
    }

    /// Whether the store is closed. Background threads then stop.
    pub fn is_closed(&self) -> bool {
        self.store.is_closed()
    }
}

/// Refuses a caller whose key was changed since the caller was found, which another node may have acknowledged.
fn require_unchanged(
    index: &Index,
    identity: Identity,
    found_by: Option<&FoundBy>,
    now: Timestamp,
) -> Result<()> {
    let (Identity::Key(id) | Identity::ForOwner(id), Some(found_by)) = (identity, found_by) else {
        return Ok(());
    };
    let checked = index.with_key(id, |key| found_by.check(key, now));
    checked.unwrap_or(Err(Error::Unauthenticated))
}

/// Writes the events of a change to the audit log.
fn append_all(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    draft: &Event,
    records: Vec<(&'static str, Record)>,
) -> Result<()> {
    let event = |(action, record): (&str, Record)| {
        let workspace = record.workspace.map(|uid| uid.to_string());
        Event {
            action: action.to_owned(),
            target: record.target,
            workspace: workspace.unwrap_or_default(),
            changes: record.changes.into_json(),
            ..draft.clone()
        }
    };
    store::audit::append_all(tx, seal_keys, records.into_iter().map(event))
}

/// An event of a caller, without its target and its position in the chain.
fn draft(caller: &Caller, action: &'static str, now: Timestamp) -> Event {
    Event {
        actor: caller.actor.clone(),
        source: caller.source.clone(),
        request_id: caller.request_id.clone(),
        ..Event::of_system(action, Target::server(), now)
    }
}

/// The common part of a change's events, and the event of its refusal.
fn drafts(caller: &Caller, action: &'static str, target: Target, now: Timestamp) -> (Event, Event) {
    let draft = draft(caller, action, now);
    let denied = Event {
        target,
        ..draft.clone()
    };
    (draft, denied)
}

#[cfg(test)]
mod tests {
    use super::setup::fixture::Fixture;
    use super::*;
    use crate::authz::caller::Origin;
    use crate::domain::keys::KeyId;
    use crate::domain::policies::CredentialHeader;

    /// Finding: a request that waits while its session is ended undid what had ended it.
    #[test]
    fn a_credential_that_was_ended_meanwhile_changes_nothing() {
        let fixture = Fixture::new();
        let (app, local) = (&fixture.app, fixture.local());
        let password = "seven lanterns over the harbour";
        let new = users::NewUser {
            user_name: "alice".to_owned(),
            password: Some(password.to_owned()),
            email: None,
            workspace: None,
            roles: Vec::new(),
        };
        users::create(app, &local, new, None).unwrap();
        let origin = Origin::default;
        let signed_in = || {
            let begun = sessions::sign_in(app, "alice", password, None, origin()).unwrap();
            let token = begun.token.expose();
            authenticate::authenticate(app, token, CredentialHeader::Bearer, origin(), true)
                .unwrap()
                .unwrap()
        };
        let change = |caller: &Caller| {
            app.change(caller, "user.edit", Target::server(), |_, _| Ok((None, ())))
        };
        let (first, second) = (signed_in(), signed_in());
        assert!(change(&first).is_ok());
        sessions::listed::end_others(app, &second).unwrap();
        assert!(matches!(change(&first), Err(Error::Unauthenticated)));
        assert!(change(&second).is_ok());
        sessions::set_password(
            app,
            &local,
            "alice",
            "eight lanterns over the harbour",
            None,
        )
        .unwrap();
        assert!(matches!(change(&second), Err(Error::Unauthenticated)));
        let key = Caller {
            identity: Identity::Key(KeyId(7)),
            ..local
        };
        assert!(matches!(change(&key), Err(Error::Unauthenticated)));
    }

    #[test]
    fn the_store_is_tried_once_a_second() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let set_tried_at = |ms| app.writable.lock().unwrap().as_mut().unwrap().0 = ms;
        assert!(app.check_writable().is_ok());
        app.store.close();
        set_tried_at(u64::MAX);
        assert!(app.check_writable().is_ok());
        set_tried_at(0);
        while app.now().steady_ms < WRITABLE_MS {
            std::thread::yield_now();
        }
        assert!(app.check_writable().is_err());
        assert!(app.check_writable().is_err());
    }
}
