//! Whether there is room for a new key: how many keys its policy allows, and whether its name is free.
//!
//! All of this is decided in the transaction of the change and on rows. The index does not suffice: it is updated after
//! a commit, and another change of the same batch may come before that.

use crate::authz::caller::Caller;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::Key;
use crate::domain::policies::{AtMax, Policy};
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::index::usage::UsageBook;
use crate::ops::Record;
use crate::ops::keys::owner_limit;
use crate::refusals;
use crate::store::{Read, Write, keys, policies, workspaces};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// The policy of a key as it is in this transaction.
pub fn policy_of(read: &Read, key: &Key) -> Result<Policy> {
    policies::find(read, &key.policy)?
        .ok_or_else(|| Error::internal(format!("policy {} is missing", key.policy)))
}

/// What is known of the room while several keys are checked one after the other: how many keys there are, and which
/// names are in use. The store is read once for each policy and workspace or owner; the keys that were admitted since are
/// counted here.
#[derive(Default)]
pub struct Room {
    of_workspace: HashMap<(String, Uid), u64>,
    of_owner: HashMap<(String, Uid), u64>,
    /// The folded names.
    names: HashMap<(String, Uid), HashSet<String>>,
}

impl Room {
    /// Refuses a new key if there are too many already, or its name is in use.
    pub fn check(&mut self, read: &Read, policy: &Policy, key: &Key, now: Timestamp) -> Result<()> {
        self.check_workspace(read, policy, key)?;
        self.check_owner(read, policy, key, now)?;
        self.check_name(read, policy, key)
    }

    /// Counts a key that has been admitted.
    pub fn add(&mut self, policy: &Policy, key: &Key) {
        let of_workspace = (policy.name.clone(), key.workspace);
        if let Some(names) = self.names.get_mut(&of_workspace) {
            names.insert(text::folded(&key.name));
        }
        if let Some(count) = self.of_workspace.get_mut(&of_workspace) {
            *count += 1;
        }
        let of_owner = key.owner.map(|owner| (policy.name.clone(), owner));
        if let Some(count) = of_owner.and_then(|of| self.of_owner.get_mut(&of)) {
            *count += 1;
        }
    }

    fn check_workspace(&mut self, read: &Read, policy: &Policy, key: &Key) -> Result<()> {
        let name = &policy.name;
        let Some(most) = policy.keys_per_workspace_max else {
            return Ok(());
        };
        let count = match self.of_workspace.entry((name.clone(), key.workspace)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(keys::count_of_policy(read, name, key.workspace)?),
        };
        match count >= u64::from(most) {
            true => Err(Error::Conflict(refusals::keys::many_in_workspace(
                name, most,
            ))),
            false => Ok(()),
        }
    }

    fn check_owner(
        &mut self,
        read: &Read,
        policy: &Policy,
        key: &Key,
        now: Timestamp,
    ) -> Result<()> {
        let name = &policy.name;
        let (Some(most), Some(owner)) = (policy.keys_per_owner_max, key.owner) else {
            return Ok(());
        };
        let count = match self.of_owner.entry((name.clone(), owner)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(keys::count_of_owner(read, name, owner, now)?),
        };
        match count >= u64::from(most) {
            true => Err(Error::Conflict(refusals::keys::many_of_owner(name, most))),
            false => Ok(()),
        }
    }

    fn check_name(&mut self, read: &Read, policy: &Policy, key: &Key) -> Result<()> {
        if !policy.name_unique {
            return Ok(());
        }
        text::check_distinct_name("name", &key.name)?;
        let names = match self.names.entry((policy.name.clone(), key.workspace)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let names = keys::list_names(read, &policy.name, key.workspace)?.into_iter();
                // A key that is renamed may keep its own name in another spelling.
                let others = names.filter(|(id, _)| *id != key.id);
                new.insert(others.map(|(_, name)| text::folded(&name)).collect())
            }
        };
        match names.contains(&text::folded(&key.name)) {
            true => Err(Error::Conflict(refusals::keys::name_taken(&policy.name))),
            false => Ok(()),
        }
    }
}

/// Refuses a new key if there are too many already, its name is in use, or its workspace is deleted. If the policy lets
/// a new key replace another one of its owner, [`make_room`] decides on the owner's keys and on the name.
pub fn check_room(
    read: &Read,
    directory: &Directory,
    policy: &Policy,
    key: &Key,
    now: Timestamp,
) -> Result<()> {
    check_workspace(read, directory, key)?;
    let mut room = Room::default();
    match policy.at_owner_max {
        AtMax::Refuse => room.check(read, policy, key, now),
        AtMax::Replace => room.check_workspace(read, policy, key),
    }
}

/// Refuses a new key if its workspace is deleted.
pub fn check_workspace(read: &Read, directory: &Directory, key: &Key) -> Result<()> {
    // The index has what the database has, apart from what this transaction has changed.
    let is_changed = read.has_touched(&Target::new(Kind::Workspace, key.workspace));
    if !is_changed && directory.place(key.workspace).is_some() {
        return Ok(());
    }
    match workspaces::find(read, key.workspace)? {
        Some(_) => Ok(()),
        None => Err(Error::invalid("workspace", refusals::workspaces::unknown())),
    }
}

/// If the policy lets a new key replace another one of its owner, and the owner has as many keys as the policy permits,
/// ends that other key. Returns the records of the keys that ended.
pub fn make_room(
    tx: &Write<'_>,
    directory: &Directory,
    usage: &UsageBook,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    if policy.at_owner_max == AtMax::Refuse {
        return Ok(Vec::new());
    }
    // Before the name is checked: the key that is replaced may have the name of the new one.
    let replaced = owner_limit::make_owners_room(tx, directory, usage, caller, policy, key, now)?;
    check_name(tx, policy, key)?;
    Ok(replaced)
}

/// Refuses a key that would exceed the greatest number of its owner's keys. The key is new, is active again after an
/// edit, or gets a new owner.
pub fn check_owners_room(read: &Read, policy: &Policy, key: &Key, now: Timestamp) -> Result<()> {
    Room::default().check_owner(read, policy, key, now)
}

/// Refuses a name that another live key of the policy in the workspace has, if the policy requires different names.
pub fn check_name(read: &Read, policy: &Policy, key: &Key) -> Result<()> {
    Room::default().check_name(read, policy, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::caller::Origin;
    use crate::domain::policies::IssuedBy;
    use crate::ops::keys::issue::{NewKey, issue, issue_by_password};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::policies::{PolicyEdit, create};
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::users;
    use crate::ops::users::NewUser;

    const PASSWORD: &str = "a passphrase of some length";

    fn with_policy(asked: PolicyEdit) -> Fixture {
        let fixture = Fixture::new();
        create(
            &fixture.app,
            &fixture.local(),
            "tight".to_owned(),
            asked,
            None,
        )
        .unwrap();
        fixture
    }

    fn new_key(name: &str) -> NewKey {
        NewKey {
            members: KeyMembers::named(name),
            policy: Some("tight".to_owned()),
            ..NewKey::default()
        }
    }

    #[test]
    fn a_policy_of_password_holders_admits_them_alone_and_up_to_its_number() {
        let fixture = with_policy(PolicyEdit {
            issued_by: Some(IssuedBy::Password),
            keys_per_owner_max: Some(Some(2)),
            ..PolicyEdit::default()
        });
        let (app, local) = (&fixture.app, fixture.local());
        let alice = NewUser {
            user_name: "alice".to_owned(),
            email: None,
            workspace: None,
            password: Some(PASSWORD.to_owned()),
            roles: Vec::new(),
        };
        users::create(app, &local, alice, None).unwrap();

        let refused = issue(app, &local, new_key("by an administrator"), None).unwrap_err();
        assert!(
            matches!(&refused, Error::Conflict(why) if why.to_string().contains("tight")),
            "{refused}"
        );
        let wrong = issue_by_password(app, "alice", "not it", new_key("wrong"), Origin::default());
        assert!(matches!(wrong, Err(Error::Unauthenticated)));
        let issued = ["one", "two"].map(|name| {
            let issued =
                issue_by_password(app, "Alice", PASSWORD, new_key(name), Origin::default())
                    .unwrap();
            assert_eq!(issued.view.owner.as_deref(), Some("alice"));
            issued.view.key.id
        });
        let third = issue_by_password(app, "alice", PASSWORD, new_key("three"), Origin::default());
        assert!(matches!(third, Err(Error::Conflict(_))));

        let plain = NewKey {
            members: KeyMembers {
                owner: Some(Some("alice".to_owned())),
                ..KeyMembers::named("plain")
            },
            ..NewKey::default()
        };
        let plain = issue(app, &local, plain, None).unwrap().view.key.id;
        crate::ops::sessions::set_password(
            app,
            &local,
            "alice",
            "another passphrase of hers",
            None,
        )
        .unwrap();
        let proven = |password| {
            crate::ops::sessions::prove(app, "alice", password, Origin::default(), "key.issue")
                .unwrap()
        };
        let late = proven("another passphrase of hers");
        crate::ops::sessions::set_password(app, &local, "alice", PASSWORD, None).unwrap();
        let refused = issue(app, &late, new_key("late"), None);
        assert!(
            matches!(refused, Err(Error::Unauthenticated)),
            "a password that was changed since proves nothing: {refused:?}"
        );
        issue(app, &proven(PASSWORD), new_key("in time"), None).unwrap();
        let lives = |id| app.index.with_key(id, |_| ()).is_some();
        assert!(lives(plain));
        assert!(
            !issued.into_iter().any(lives),
            "a new password ends what the old one was good for"
        );
    }

    #[test]
    fn two_creations_at_once_do_not_exceed_the_number() {
        let fixture = with_policy(PolicyEdit {
            keys_per_workspace_max: Some(Some(5)),
            ..PolicyEdit::default()
        });
        let issued: usize = std::thread::scope(|scope| {
            let one = |thread: u32| {
                let (app, local) = (fixture.app.clone(), fixture.local());
                move || {
                    let attempts = (0..5)
                        .map(|n| issue(&app, &local, new_key(&format!("{thread} {n}")), None));
                    attempts.filter(Result::is_ok).count()
                }
            };
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(one(thread))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(issued, 5);
    }

    // attacks 152
    #[test]
    fn names_differ_where_the_policy_wants_it() {
        let fixture = with_policy(PolicyEdit {
            name_unique: Some(true),
            ..PolicyEdit::default()
        });
        let (app, local) = (&fixture.app, fixture.local());
        let first = issue(app, &local, new_key("Nightly"), None).unwrap();
        assert!(matches!(
            issue(app, &local, new_key("nightlY"), None),
            Err(Error::Conflict(_))
        ));
        let twin = issue(app, &local, new_key("Nightlye\u{301}"), None);
        assert!(matches!(twin, Err(Error::Invalid { .. })));
        super::super::delete(app, &local, first.view.key.id, None).unwrap();
        issue(app, &local, new_key("nightly"), None).unwrap();
    }
}
