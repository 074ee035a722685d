//! Budgets by caller: who pays for a change, and whose requests count together in a queue.
//!
//! A change is charged to the user behind the caller and to the workspaces around them, so that neither new keys nor
//! new sessions, users or workspaces give more. Changes that only take something away are free, and so are those of
//! the Unix socket and of callers with `server:admin` on the root workspace: provisioning is as fast as the disk.

use super::App;
use super::access::{Caller, Identity};
use crate::domain::budget::{Buckets, Rate};
use crate::domain::key::KeyId;
use crate::domain::locks::lock;
use crate::domain::people::permission::{Permission, Permissions};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::store::Urgency;
use std::sync::Mutex;

/// What a caller may change unless the settings say otherwise.
pub const RATE_DEFAULT: Rate = Rate {
    per_second: 20,
    burst: 200,
};

/// Buckets that are kept at once. One takes about a hundred bytes.
const SUBJECTS_MAX: usize = 10_000;

/// The buckets of all callers.
pub struct Budgets(Mutex<Buckets<Subject>>);

/// Who pays for a change.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// A user who acts in the place of another one, by the name that the audit log has.
    Actor(String),
    /// A key without an owner.
    Key(KeyId),
    /// The root workspace's keys without an owner and without any permission here, all together: new ones are made
    /// without a bound, and the root workspace itself pays for nobody.
    RootApplications,
    /// The sessions of a user. Apart from the user's other changes, so that a leaked key does not lock its owner out.
    SignIns(Uid),
    User(Uid),
    /// A workspace below the root. It pays for everything below it, too.
    Workspace(Uid),
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets(Mutex::new(Buckets::new(RATE_DEFAULT, SUBJECTS_MAX)))
    }
}

impl Budgets {
    /// Sets what a caller may change.
    pub fn set_rate(&self, rate: Rate) {
        lock(&self.0).set_rate(rate);
    }
}

impl App {
    /// Takes a change from the budgets of its caller. Returns who paid, for [`App::give_back`].
    pub(super) fn charge(&self, caller: &Caller, action: &str) -> Result<Vec<Subject>> {
        let subjects = payers(&self.index.directory(), caller, action);
        let paid = lock(&self.budgets.0).charge(&subjects, self.now().steady_ms);
        paid.map_err(|retry_after_s| Error::TooMany { retry_after_s })?;
        Ok(subjects)
    }

    /// Returns what a change has cost that did not happen: it was refused, or there was nothing to change.
    pub(super) fn give_back(&self, subjects: &[Subject]) {
        if !subjects.is_empty() {
            lock(&self.budgets.0).refund(subjects, self.now().steady_ms);
        }
    }
}

/// Actions that take something away whatever the request says.
const TAKING_AWAY: [&str; 7] = [
    "key.delete",
    "key.disable",
    "key.revoke",
    "session.delete",
    "session.reuse",
    "user.delete",
    "workspace.delete",
];

fn takes_away(caller: &Caller, action: &str) -> bool {
    caller.takes_away || TAKING_AWAY.contains(&action)
}

/// Whether a change goes before others to the writer, and may use the room on the disk that is kept for it.
pub fn urgency(caller: &Caller, action: &str) -> Urgency {
    match caller.identity == Identity::Local || takes_away(caller, action) {
        true => Urgency::First,
        false => Urgency::Usual,
    }
}

/// Who pays for a change; nobody if it is free.
fn payers(directory: &Directory, caller: &Caller, action: &str) -> Vec<Subject> {
    if takes_away(caller, action) || is_unlimited(directory, caller) {
        return Vec::new();
    }
    if action.starts_with("session.") {
        return caller.user.map(Subject::SignIns).into_iter().collect();
    }
    subjects(directory, caller)
}

/// Whether the caller administers the server: no budget holds for it.
pub fn is_unlimited(directory: &Directory, caller: &Caller) -> bool {
    caller.identity == Identity::Local
        || caller
            .require_global(directory, Permission::ServerAdmin)
            .is_ok()
}

/// The user or the key behind a caller first, then the workspaces around it up to the root, which is left out.
pub fn subjects(directory: &Directory, caller: &Caller) -> Vec<Subject> {
    let principal = match (caller.identity, caller.user) {
        (Identity::Acting(_), _) | (Identity::Local, None) => Subject::Actor(caller.actor.clone()),
        (_, Some(user)) => Subject::User(user),
        (Identity::ForOwner(id) | Identity::Key(id) | Identity::Session(id), None) => {
            Subject::Key(id)
        }
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
    use crate::domain::people::Role;
    use crate::domain::policy::CredentialHeader;
    use crate::ops::access::{Origin, authenticate};
    use crate::ops::keys::edit::switch;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::rotate::{Grace, Life, rotate_own};
    use crate::ops::people::{NewUser, create, sessions};
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::workspaces::{self, NewWorkspace};

    const PASSWORD: &str = "a passphrase of some length";
    const BURST: u32 = 5;

    /// A server on which a caller may change five things and then nothing.
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
            name: "k".to_owned(),
            workspace: Some(place.to_owned()),
            ..NewKey::default()
        };
        issue(&fixture.app, caller, new, None).map(|issued| issued.view.key.id)
    }

    /// How many of so many changes are made before the first is refused, and that it says when to come again.
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
        // Neither a new session nor anybody else of the workspace has more; the administrator of the server has.
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
                        name: "k".to_owned(),
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
                    Life::Kept,
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
}
