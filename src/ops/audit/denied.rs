//! Recording refused attempts in the audit log: enough to notice them, but never so many that refusals fill the disk.
//! An event is permanent and costs a sync, while an attempt costs its sender nothing.

use crate::authz::caller::Caller;
use crate::domain::audit::{Event, Kind, Outcome, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{RateLimit, Window};
use crate::domain::locks::lock;
use crate::domain::users::permissions::Permissions;
use crate::error::{Error, Result};
use crate::ops::{App, draft};
use crate::refusals::Refusal;
use crate::store::{Durability, Write, audit};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

/// The rate of recorded refusals of one caller.
const OF_CALLER: RateLimit = RateLimit {
    limit: 20,
    window_s: 60,
    exact: false,
};
/// The rate of recorded password failures of all users together. Each account and each address has limits of its own,
/// but there are many addresses.
const PROOFS: RateLimit = RateLimit {
    limit: 100,
    window_s: 60,
    exact: false,
};
/// The number of callers that are remembered at the same time.
const REMEMBERED_MAX: usize = 10_000;
/// The number of characters of a target, as the client wrote it, that an event contains.
const TARGET_CHARS_MAX: usize = 100;

/// The recent rates of recorded refusals.
#[derive(Default)]
pub struct Denials {
    callers: Mutex<HashMap<String, Share>>,
    proofs: Mutex<Share>,
}

/// The recent records of one caller, or of all password failures.
#[derive(Default)]
struct Share {
    window: Window,
    /// Whether it was logged already that further refusals are not recorded.
    told: bool,
}

impl Share {
    fn admits(&mut self, rate: RateLimit, whose: &str, steady_ms: u64) -> bool {
        let admitted = self.window.count(rate, steady_ms).is_ok();
        if !admitted && !self.told {
            log::warn!("audit: {whose}: refusals come too fast, the next are not recorded");
        }
        self.told = !admitted;
        admitted
    }
}

impl Denials {
    fn admit(&self, actor: &str, steady_ms: u64) -> bool {
        let mut callers = lock(&self.callers);
        if callers.len() >= REMEMBERED_MAX {
            callers.retain(|_, share| share.window.spent(OF_CALLER, steady_ms) > 0);
        }
        if callers.len() >= REMEMBERED_MAX && !callers.contains_key(actor) {
            return false;
        }
        let share = callers.entry(actor.to_owned()).or_default();
        share.admits(OF_CALLER, actor, steady_ms)
    }
}

impl App {
    /// Passes on a decision. If it is a refusal, its event is written, except for callers without any permission
    /// here: keys of other applications can reach this server by mistake.
    pub(in crate::ops) fn record_denied<T>(
        &self,
        caller: &Caller,
        event: Event,
        decision: Result<T>,
    ) -> Result<T> {
        if let Err(Error::Forbidden(reason)) = &decision
            && caller.permissions != Permissions::default()
        {
            self.record_refusal(event, reason)?;
        }
        decision
    }

    fn record_refusal(&self, event: Event, reason: &Refusal) -> Result<()> {
        if !self.denials.admit(&event.actor, self.now().steady_ms) {
            self.figures().events_lost.fetch_add(1, Relaxed);
            return Ok(());
        }
        let workspace = self.workspace_of(&event.target)?;
        self.record(
            Event {
                outcome: Outcome::Denied,
                reason: reason.to_string(),
                workspace,
                ..event
            },
            |_| Ok(()),
        )
    }

    /// Writes the event of a refused read request; `path` is the path of the request. If the event cannot be written,
    /// the read is refused all the same, and the server's log gets the refusal.
    pub fn note_denied_read(&self, caller: &Caller, path: &str, refusal: &Error) {
        let Error::Forbidden(reason) = refusal else {
            return;
        };
        let event = Event {
            target: Target::new(Kind::Server, path),
            ..draft(caller, "server.read", self.now().wall)
        };
        let decision: Result<()> = Err(Error::Forbidden(reason.clone()));
        match self.record_denied(caller, event, decision) {
            Ok(()) | Err(Error::Forbidden(_)) => (),
            Err(err) => log::warn!("audit: a refused read could not be recorded: {err:?}"),
        }
    }

    /// Writes the event of a wrong password, and lets `also` write more in the same transaction.
    pub(in crate::ops) fn record_failed_proof(
        &self,
        event: Event,
        also: impl FnOnce(&Write<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let now = self.now().steady_ms;
        if lock(&self.denials.proofs).admits(PROOFS, "sign-in", now) {
            return self.record(event, also);
        }
        self.figures().events_lost.fetch_add(1, Relaxed);
        Ok(())
    }

    fn record(
        &self,
        event: Event,
        also: impl FnOnce(&Write<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let seal_keys = self.seal_keys.clone();
        let id = event.target.id.chars().take(TARGET_CHARS_MAX).collect();
        let target = Target { id, ..event.target };
        let event = Event { target, ..event };
        self.store.write(Durability::Full, move |tx| {
            audit::append(tx, &seal_keys, event)?;
            also(tx)
        })
    }

    /// The workspace that a target, as the client wrote it, belongs to; empty if it is not known.
    fn workspace_of(&self, target: &Target) -> Result<String> {
        let key = match (target.kind, KeyId::parse(&target.id)) {
            (Kind::Key, Some(id)) => self.read(|read| crate::store::keys::find(read, id))?,
            _ => None,
        };
        let directory = self.index.directory();
        let found = match target.kind {
            Kind::Key => key.map(|key| key.workspace),
            Kind::User => directory
                .find_user(&target.id.to_ascii_lowercase())
                .map(|user| user.home),
            Kind::Workspace => directory
                .find_place(&target.id)
                .map(|place| place.workspace.uid),
            Kind::Catalog | Kind::Policy | Kind::Server | Kind::Session | Kind::Site => None,
        };
        Ok(found.map(|uid| uid.to_string()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::authz::caller::Caller;
    use crate::domain::audit::{Event, Kind, Outcome, Target};
    use crate::domain::users::permissions::{Permission, Permissions};
    use crate::error::Error;
    use crate::ops::audit;
    use crate::ops::setup::fixture::{Fixture, NOW};
    use crate::ops::{keys, workspaces};

    fn denied(fixture: &Fixture) -> Vec<Event> {
        let wanted = audit::EventFilter {
            limit: 500,
            ..Default::default()
        };
        let (events, _) = audit::audit_events(&fixture.app, &fixture.local(), &wanted).unwrap();
        events
            .into_iter()
            .filter(|event| event.outcome == Outcome::Denied)
            .collect()
    }

    fn knock(fixture: &Fixture, caller: &Caller, target: &str) {
        let refused = workspaces::edit(&fixture.app, caller, target, Default::default());
        assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    }

    #[test]
    fn a_caller_without_any_permission_leaves_no_event() {
        let fixture = Fixture::new();
        let application = Caller {
            permissions: Permissions::default(),
            ..fixture.local()
        };
        knock(&fixture, &application, "root");
        assert!(denied(&fixture).is_empty());
    }

    #[test]
    fn so_many_refusals_of_one_caller_are_recorded_and_a_target_is_cut() {
        let fixture = Fixture::new();
        let reader = |actor: &str| Caller {
            actor: actor.to_owned(),
            permissions: Permissions::of(&[Permission::AuditRead]),
            ..fixture.local()
        };
        for _ in 0..30 {
            knock(&fixture, &reader("key:1"), &"x".repeat(5_000));
        }
        knock(&fixture, &reader("key:2"), "root");
        let events = denied(&fixture);
        assert_eq!(events.len(), 21);
        assert_eq!(events[1].target.id, "x".repeat(100));
        // An event about a workspace is visible in that workspace.
        let root = workspaces::find(&fixture.app, &fixture.local(), "root").unwrap();
        assert_eq!(events[0].workspace, root.uid.to_string());
        assert_eq!(events[1].workspace, "");
    }

    #[test]
    fn a_denied_event_is_in_the_workspace_of_the_key_that_it_is_about() {
        let fixture = Fixture::new();
        let new = keys::issue::NewKey {
            members: keys::members::KeyMembers::named("k"),
            ..Default::default()
        };
        let issued = keys::issue::issue(&fixture.app, &fixture.local(), new, None).unwrap();
        let key = issued.view.key;
        let reader = Caller {
            permissions: Permissions::reading(),
            ..fixture.local()
        };
        let refused = keys::delete(&fixture.app, &reader, key.id, None);
        assert!(matches!(refused, Err(Error::Forbidden(_))));
        let events = denied(&fixture);
        assert_eq!(
            (&events[0].workspace, &events[0].target.id),
            (&key.workspace.to_string(), &key.id.to_string())
        );
    }

    #[test]
    fn failed_proofs_from_everywhere_fill_no_more_than_their_share() {
        let fixture = Fixture::new();
        for account in 0..110 {
            let target = Target::new(Kind::User, format!("nobody{account}"));
            let event = Event {
                outcome: Outcome::Denied,
                ..Event::of_system("session.create", target, NOW)
            };
            fixture.app.record_failed_proof(event, |_| Ok(())).unwrap();
        }
        assert_eq!(denied(&fixture).len(), 100);
    }
}
