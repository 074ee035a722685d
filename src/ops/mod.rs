//! What a caller may ask for: authorise, act, record.
//!
//! Every change goes through [`App::change`], which writes the audit event in the same transaction, so that no
//! dialect can forget to authorise or to record. Verification ([`verify`]) reads the index alone.

pub mod access;
pub mod budgets;
pub mod catalogs;
pub mod clock;
pub mod keeping;
pub mod keys;
mod names;
pub mod oversight;
pub mod people;
pub mod policies;
pub mod probe;
mod publish;
pub mod retry;
pub mod setup;
pub mod upkeep;
pub mod verify;
pub mod workspaces;

use crate::domain::audit::{Changes, Event, GENESIS, Outcome, Target};
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::key::pepper::Peppers;
use crate::domain::key::sealing::SealingKeys;
use crate::domain::locks::lock;
use crate::domain::people::authenticator::challenge::Challenges;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::store::{self, Durability, Read, Store, Write, audit};
use access::Caller;
use clock::Clock;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The server's state, shared by all threads.
pub struct App {
    store: Store,
    pub index: Arc<Index>,
    peppers: Arc<Peppers>,
    sealing: Arc<SealingKeys>,
    pub clock: Arc<Clock>,
    passwords: people::PasswordGate,
    challenges: Challenges,
    reserving: verify::Reserving,
    denials: oversight::denied::Denials,
    first_run: setup::first_run::FirstRun,
    audit_minimum: oversight::retention::Minimum,
    inspections: keys::inspect::Inspections,
    writable: Mutex<Option<Written>>,
    keeping: keeping::Keeping,
    pub budgets: budgets::Budgets,
}

/// When the last try of the store ended, on the steady clock, and what was wrong with it.
type Written = (u64, Option<String>);

/// How long that is believed.
const WRITABLE_MS: u64 = 1_000;

/// What a change leaves behind for the audit log.
pub struct Record {
    pub target: Target,
    /// The workspace that the target belongs to; `None` for things of the whole server.
    pub workspace: Option<Uid>,
    pub changes: Changes,
}

impl App {
    /// Now, as a request sees it.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// As [`App::now`], for whoever has just looked at the steady clock.
    pub fn now_at(&self, steady: Instant) -> Moment {
        self.clock.now_at(steady)
    }

    /// Runs one change of state. The work and its audit event commit together; the index follows before this
    /// returns. A forbidden attempt is undone and leaves only its event. Work that finds nothing to change
    /// returns no record and leaves nothing. Only what is committed is charged to the caller's budget.
    ///
    /// `target` is what the caller named, for the event of a forbidden attempt.
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

    /// As [`App::change`], for a change that takes others with it: one event each, in their order.
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
        let peppers = self.peppers.clone();
        let (draft, denied) = drafts(caller, action, Target::server(), now);
        let urgency = budgets::urgency(caller, action);
        let outcome = self.store.write_in(urgency, Durability::Full, move |tx| {
            let (records, value) = work(tx, now)?;
            let is_change = !records.is_empty();
            append_all(tx, &peppers, &draft, records)?;
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

    /// Passes on a decision that falls before a change begins, because what follows is slow: if it is a refusal, its
    /// event is written, as [`App::change`] would.
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

    /// Runs a query for a caller whose rights the query itself has checked.
    fn read<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        self.store.read(work)
    }

    /// What secrets are stored with.
    fn key_files(&self) -> KeyFiles {
        KeyFiles {
            peppers: self.peppers.clone(),
            sealing: self.sealing.clone(),
        }
    }

    /// Whether a change could be committed within the last second. Writes the clock's mark, which may be written at
    /// any time, and only once a second: whoever is asked by strangers may ask.
    pub fn check_writable(&self) -> Result<()> {
        let mut last = lock(&self.writable);
        let now = self.now().steady_ms;
        let fault = match last.take() {
            Some((at, fault)) if now.saturating_sub(at) < WRITABLE_MS => {
                *last = Some((at, fault.clone()));
                fault
            }
            _ => {
                let fault = self.record_clock(Durability::Relaxed).err();
                let fault = fault.map(|err| err.to_string());
                // As of the end: whoever waited here meanwhile need not wait for another try.
                *last = Some((self.now().steady_ms, fault.clone()));
                fault
            }
        };
        fault.map_or(Ok(()), |fault| Err(Error::Unavailable(fault)))
    }

    /// Stores how far the clock has come.
    fn record_clock(&self, durability: Durability) -> Result<()> {
        let clock = self.clock.clone();
        // Read on the writer's thread: a correction that was stored before this is in it.
        let write = move |tx: &Write<'_>| store::clock::record(tx, &clock.recorded());
        self.store.write(durability, write)
    }

    /// Finishes what waits, stores how far the clock has come, and closes the store.
    pub fn close(&self) {
        if !self.store.is_closed() {
            upkeep::flush(self);
            if let Err(err) = self.record_clock(Durability::Full) {
                log::warn!("clock: the time of this stop was not stored: {err}");
            }
        }
        self.store.close();
    }

    /// Whether the store is closed: whoever works beside the requests has nothing left to tell.
    pub fn is_closed(&self) -> bool {
        self.store.is_closed()
    }
}

/// Writes what was done into the log, one event each.
fn append_all(
    tx: &Write<'_>,
    peppers: &Peppers,
    draft: &Event,
    records: Vec<(&'static str, Record)>,
) -> Result<()> {
    for (action, record) in records {
        let workspace = record.workspace.map(|uid| uid.to_string());
        let event = Event {
            action: action.to_owned(),
            target: record.target,
            workspace: workspace.unwrap_or_default(),
            changes: record.changes.into_json(),
            ..draft.clone()
        };
        audit::append(tx, peppers, event)?;
    }
    Ok(())
}

/// An event that no caller asked for.
fn system_event(action: &'static str, target: Target, now: Timestamp) -> Event {
    Event {
        seq: 0,
        at: now,
        actor: "system".to_owned(),
        action: action.to_owned(),
        target,
        workspace: String::new(),
        source: String::new(),
        request_id: String::new(),
        outcome: Outcome::Allowed,
        reason: String::new(),
        changes: String::new(),
        previous: GENESIS,
    }
}

/// An event by a caller, still without its target and its place in the chain.
fn draft(caller: &Caller, action: &'static str, now: Timestamp) -> Event {
    Event {
        actor: caller.actor.clone(),
        source: caller.source.clone(),
        request_id: caller.request_id.clone(),
        ..system_event(action, Target::server(), now)
    }
}

/// What the events of a change have in common, and the event of its refusal.
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

    #[test]
    fn the_store_is_tried_once_a_second() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        assert!(app.check_writable().is_ok());
        app.store.close();
        assert!(app.check_writable().is_ok());
        app.writable.lock().unwrap().as_mut().unwrap().0 = 0;
        while app.now().steady_ms < WRITABLE_MS {
            std::thread::yield_now();
        }
        assert!(app.check_writable().is_err());
        assert!(app.check_writable().is_err());
    }
}
