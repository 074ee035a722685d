//! Budgets: who pays for a change, and which requests count together in a queue.
//!
//! A change is charged to the user behind the caller and to the workspaces around that user, so that new keys,
//! sessions, users or workspaces do not increase the budget. Changes that only take something away are free. Changes
//! through the Unix socket and by callers with `server:admin` in the root workspace are free too, so provisioning is
//! limited only by the disk.

use super::App;
use crate::authz::caller::{Caller, Identity};
use crate::domain::budget::{Buckets, Rate};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::store::Urgency;
use std::sync::Mutex;

/// The default rate of changes for a caller.
pub const RATE_DEFAULT: Rate = Rate {
    per_second: 20,
    burst: 200,
};

/// The number of buckets that are kept at the same time. One takes about a hundred bytes.
const SUBJECTS_MAX: usize = 10_000;

/// The buckets of all callers.
pub struct Budgets(Mutex<Buckets<Subject>>);

/// A subject that pays for a change.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// A user who acts as another user, by their name in the audit log.
    Actor(String),
    /// A key without an owner.
    Key(KeyId),
    /// All keys of the root workspace together that have neither an owner nor a permission here. There is no limit
    /// for new keys of this kind, and the root workspace itself has no budget.
    RootApplications,
    /// The sign-ins of a user. They are separate from the user's other changes, so that a leaked key cannot prevent
    /// its owner from signing in.
    SignIns(Uid),
    User(Uid),
    /// A workspace below the root. It also pays for everything below it.
    Workspace(Uid),
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets(Mutex::new(Buckets::new(RATE_DEFAULT, SUBJECTS_MAX)))
    }
}

impl Budgets {
    /// Sets the rate of changes for a caller.
    pub fn set_rate(&self, rate: Rate) {
        lock(&self.0).set_rate(rate);
    }
}

impl App {
    /// Charges a change to the budgets of its caller. Returns who paid, for [`App::give_back`].
    pub(super) fn charge(&self, caller: &Caller, action: &str) -> Result<Vec<Subject>> {
        let subjects = payers(&self.index.directory(), caller, action);
        let paid = lock(&self.budgets.0).charge(&subjects, self.now().steady_ms);
        paid.map_err(|retry_after_s| Error::TooMany { retry_after_s })?;
        Ok(subjects)
    }

    /// Refunds a change that did not happen, because it was refused or there was nothing to change.
    pub(super) fn give_back(&self, subjects: &[Subject]) {
        if !subjects.is_empty() {
            lock(&self.budgets.0).refund(subjects, self.now().steady_ms);
        }
    }
}

/// Actions that take something away in any case.
const TAKING_AWAY: [&str; 8] = [
    "key.delete",
    "key.disable",
    "key.revoke",
    "key.rotation_complete",
    "session.delete",
    "session.reuse",
    "user.delete",
    "workspace.delete",
];

fn takes_away(caller: &Caller, action: &str) -> bool {
    caller.takes_away || TAKING_AWAY.contains(&action)
}

/// The changes that are large and repeated one after the other, so that everything else comes before them.
const LARGE: [&str; 1] = ["key.import"];

/// Whether a change comes before others in the writer's queue, and may use the reserved disk space.
pub fn urgency(caller: &Caller, action: &str) -> Urgency {
    let is_first = caller.identity == Identity::Local && !LARGE.contains(&action);
    match is_first || takes_away(caller, action) {
        true => Urgency::First,
        false => Urgency::Usual,
    }
}

/// The subjects that pay for a change; empty if it is free.
fn payers(directory: &Directory, caller: &Caller, action: &str) -> Vec<Subject> {
    if takes_away(caller, action) || is_unlimited(directory, caller) {
        return Vec::new();
    }
    if action.starts_with("session.") {
        return caller.user.map(Subject::SignIns).into_iter().collect();
    }
    subjects(directory, caller)
}

/// Whether the caller administers the server. Such a caller has no budget.
pub fn is_unlimited(directory: &Directory, caller: &Caller) -> bool {
    caller.identity == Identity::Local
        || caller
            .require_global(directory, Permission::ServerAdmin)
            .is_ok()
}

/// The user or the key behind a caller, followed by the workspaces around it up to the root, which is left out.
pub fn subjects(directory: &Directory, caller: &Caller) -> Vec<Subject> {
    let principal = match (caller.identity, caller.user) {
        (Identity::Acting(_), _) | (Identity::Local, None) => Subject::Actor(caller.actor.clone()),
        (_, Some(user)) => Subject::User(user),
        (
            Identity::Enrolling(id)
            | Identity::ForOwner(id)
            | Identity::Key(id)
            | Identity::Session(id),
            None,
        ) => Subject::Key(id),
        (Identity::Password { .. }, None) => Subject::Actor(caller.actor.clone()),
    };
    let home = caller
        .user
        .and_then(|user| directory.user(user))
        .map(|user| user.home);
    let mut subjects = vec![principal];
    let is_root_application = caller.user.is_none()
        && caller.permissions == Permissions::default()
        && directory.is_root(caller.reach);
    if is_root_application {
        subjects.push(Subject::RootApplications);
    }
    for place in home.into_iter().chain([caller.reach]) {
        for uid in directory.path(place) {
            let workspace = Subject::Workspace(*uid);
            if !directory.is_root(*uid) && !subjects.contains(&workspace) {
                subjects.push(workspace);
            }
        }
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::caller::Origin;
    use crate::domain::keys::rotation::Grace;
    use crate::domain::policies::CredentialHeader;
    use crate::domain::users::roles::Role;
    use crate::ops::authenticate::authenticate;
    use crate::ops::keys::edit::switch;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::keys::rotate::{RotatedExpiry, rotate_own};
    use crate::ops::sessions;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::users::{NewUser, create};
    use crate::ops::workspaces::{self, NewWorkspace};

    const PASSWORD: &str = "a passphrase of some length";
    const BURST: u32 = 5;

    /// A server on which a caller may make five changes and no more.
    fn fixture() -> Fixture {
        let fixture = Fixture::new();
        fixture.app.budgets.set_rate(Rate {
            per_second: 0,
            burst: BURST,
        });
        workspace(&fixture, &fixture.local(), "emea", None).unwrap();
        fixture
    }

    fn workspace(
        fixture: &Fixture,
        caller: &Caller,
        slug: &str,
        parent: Option<&str>,
    ) -> Result<()> {
        let new = NewWorkspace {
            slug: Some(slug.to_owned()),
            name: slug.to_owned(),
            parent: parent.map(str::to_owned),
        };
        workspaces::create(&fixture.app, caller, new, None).map(drop)
    }

    fn user(fixture: &Fixture, caller: &Caller, name: &str, place: &str, role: Role) {
        let new = NewUser {
            user_name: name.to_owned(),
            email: None,
            workspace: Some(place.to_owned()),
            password: Some(PASSWORD.to_owned()),
            roles: vec![(place.to_owned(), role)],
        };
        create(&fixture.app, caller, new, None).unwrap();
    }

    fn caller(fixture: &Fixture, secret: &str) -> Caller {
        let (header, origin) = (CredentialHeader::Bearer, Origin::default());
        let found = authenticate(&fixture.app, secret, header, origin, true);
        found.unwrap().unwrap()
    }

    fn signed_in(fixture: &Fixture, name: &str) -> Caller {
        let origin = Origin::default();
        let signed_in = sessions::sign_in(&fixture.app, name, PASSWORD, None, origin).unwrap();
        caller(fixture, signed_in.token.expose())
    }

    fn key(fixture: &Fixture, caller: &Caller, place: &str) -> Result<KeyId> {
        let new = NewKey {
            members: KeyMembers::named("k"),
            workspace: Some(place.to_owned()),
            ..NewKey::default()
        };
        issue(&fixture.app, caller, new, None).map(|issued| issued.view.key.id)
    }

    /// The number of changes that succeed before the first is refused. Checks that the refusal contains the time to
    /// wait.
    #[track_caller]
    fn made<T>(change: impl Fn(u32) -> Result<T>) -> u32 {
        for number in 0..50 {
            match change(number) {
                Ok(_) => {}
                Err(Error::TooMany { retry_after_s }) => {
                    assert!(retry_after_s >= 1);
                    return number;
                }
                Err(err) => panic!("change {number}: {err}"),
            }
        }
        50
    }

    #[test]
    fn a_user_has_one_budget_for_all_sessions_and_keys() {
        let fixture = fixture();
        user(&fixture, &fixture.local(), "mem", "emea", Role::Member);
        let first = signed_in(&fixture, "mem");
        assert_eq!(made(|_| key(&fixture, &first, "emea")), BURST);
        // Neither a new session nor another user of the workspace gets more; the administrator of the server does.
        let second = signed_in(&fixture, "mem");
        assert_eq!(made(|_| key(&fixture, &second, "emea")), 0);
        assert_eq!(made(|_| key(&fixture, &fixture.local(), "emea")), 50);
    }

    #[test]
    fn what_only_takes_away_is_free_and_possible_when_the_budget_is_spent() {
        let fixture = fixture();
        user(&fixture, &fixture.local(), "mem", "emea", Role::Member);
        let member = signed_in(&fixture, "mem");
        let id = key(&fixture, &member, "emea").unwrap();
        assert_eq!(made(|_| key(&fixture, &member, "emea")), BURST - 1);
        switch(&fixture.app, &member, id, false).unwrap();
        let back = switch(&fixture.app, &member, id, true);
        assert!(matches!(back, Err(Error::TooMany { .. })), "{back:?}");
        crate::ops::keys::delete(&fixture.app, &member, id, None).unwrap();
        sessions::sign_out(&fixture.app, &member).unwrap();
    }

    #[test]
    fn an_administrator_of_a_small_workspace_gains_nothing_by_making_workspaces_and_users() {
        let fixture = fixture();
        user(
            &fixture,
            &fixture.local(),
            "adm",
            "emea",
            Role::Administrator,
        );
        let adm = signed_in(&fixture, "adm");
        workspace(&fixture, &adm, "below", Some("emea")).unwrap();
        user(&fixture, &adm, "sub", "below", Role::Administrator);
        let sub = signed_in(&fixture, "sub");
        let more = |n| workspace(&fixture, &sub, &format!("w{n}"), Some("below"));
        assert_eq!(made(more), BURST - 2);
        assert_eq!(made(|_| key(&fixture, &adm, "emea")), 0);
    }

    #[test]
    fn keys_without_an_owner_share_the_budget_of_their_workspace_and_those_of_the_root_one() {
        let fixture = fixture();
        for place in ["emea", "root"] {
            let secrets: Vec<(Caller, String)> = (0..10)
                .map(|_| {
                    let new = NewKey {
                        members: KeyMembers::named("k"),
                        workspace: Some(place.to_owned()),
                        ..NewKey::default()
                    };
                    let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
                    let secret = issued.secret.unwrap().expose().to_owned();
                    (caller(&fixture, &secret), secret)
                })
                .collect();
            let rotate = |n: u32| {
                let (caller, secret) = &secrets[n as usize];
                rotate_own(
                    &fixture.app,
                    caller,
                    secret.clone(),
                    Grace::AtOnce,
                    RotatedExpiry::Kept,
                )
            };
            assert_eq!(made(rotate), BURST, "{place}");
        }
    }

    #[test]
    fn what_is_refused_or_changes_nothing_is_not_charged() {
        let fixture = fixture();
        user(&fixture, &fixture.local(), "mem", "emea", Role::Member);
        let member = signed_in(&fixture, "mem");
        for _ in 0..20 {
            let refused = workspace(&fixture, &member, "x", Some("emea"));
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        }
        let id = key(&fixture, &member, "emea").unwrap();
        for _ in 0..20 {
            switch(&fixture.app, &member, id, true).unwrap();
        }
        assert_eq!(made(|_| key(&fixture, &member, "emea")), BURST - 1);
    }

    #[test]
    fn a_user_whose_budget_is_spent_can_still_sign_in() {
        let fixture = fixture();
        user(&fixture, &fixture.local(), "mem", "emea", Role::Member);
        let member = signed_in(&fixture, "mem");
        assert_eq!(made(|_| key(&fixture, &member, "emea")), BURST);
        signed_in(&fixture, "mem");
    }

    #[test]
    fn an_import_comes_after_all_that_takes_away_whoever_makes_it() {
        let fixture = fixture();
        let local = fixture.local();
        assert_eq!(urgency(&local, "key.import"), Urgency::Usual);
        for first in ["key.issue", "key.delete"] {
            assert_eq!(urgency(&local, first), Urgency::First);
        }
    }
}
