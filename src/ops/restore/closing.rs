//! Closing after an older copy has replaced the database: withdrawing the access that the copy grants and should not.
//!
//! Things that were deleted or disabled are deleted or disabled again. For other changes since the copy it is unknown
//! whether they restricted or extended access. So everything that has changed is closed until the administrator has
//! checked it: keys, users and workspaces are disabled; replaced secrets and changed passwords are deleted; if the
//! second factor of a user has changed, the password is deleted; catalogs are emptied; and the keys of changed policies
//! are disabled. The administrator of the machine can undo all of this.

use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::catalogs::{BUILT_IN, Definition};
use crate::domain::clock::{StoredClock, is_plausible};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::numbers::Numbers;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::{CombinedEffect, Tombstones};
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::ops::clock::future::Plan;
use crate::ops::users::lost_roles;
use crate::store;
use crate::store::{
    Write, audit, catalogs, challenges, declared, keys, numbers, recovery_codes, restore,
    retired_names, sites, users, workspaces,
};

/// The reason in the audit log.
const REASON: &str = "closed: the database was replaced by an older copy";

/// What was closed, by id or name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClosedThings {
    pub keys_deleted: Vec<String>,
    pub keys_disabled: Vec<String>,
    /// Keys that were issued while the clock was wrong, and now expire earlier.
    pub keys_shortened: Vec<String>,
    /// Keys that have lost secrets, and need a rotation if they have no secret left.
    pub keys_without_old_secrets: Vec<String>,
    pub users_deleted: Vec<String>,
    pub users_disabled: Vec<String>,
    pub users_without_password: Vec<String>,
    pub users_without_recovery_codes: Vec<String>,
    pub workspaces_deleted: Vec<String>,
    pub workspaces_disabled: Vec<String>,
    pub catalogs_emptied: Vec<String>,
    pub policies_changed: Vec<String>,
    pub sites_removed: Vec<String>,
    pub sessions_ended: usize,
    /// The number of keys with a use limit whose remaining uses were set to zero.
    pub uses_taken: usize,
}

impl ClosedThings {
    /// The lists: the member of the event in the audit log, the description for the administrator, and the ids or names.
    fn lists(&self) -> [(&'static str, &'static str, &[String]); 13] {
        [
            ("keys_deleted", "keys deleted again", &self.keys_deleted),
            ("keys_disabled", "keys disabled", &self.keys_disabled),
            (
                "keys_shortened",
                "keys issued while the clock was wrong, which end earlier",
                &self.keys_shortened,
            ),
            (
                "keys_without_old_secrets",
                "keys without their replaced secrets, to be rotated",
                &self.keys_without_old_secrets,
            ),
            ("users_deleted", "users deleted again", &self.users_deleted),
            ("users_disabled", "users disabled", &self.users_disabled),
            (
                "users_without_password",
                "users without a password, to be given a new one",
                &self.users_without_password,
            ),
            (
                "users_without_recovery_codes",
                "users without recovery codes, to make new ones",
                &self.users_without_recovery_codes,
            ),
            (
                "workspaces_deleted",
                "workspaces deleted again",
                &self.workspaces_deleted,
            ),
            (
                "workspaces_disabled",
                "workspaces disabled",
                &self.workspaces_disabled,
            ),
            (
                "catalogs_emptied",
                "catalogs emptied, to be saved again",
                &self.catalogs_emptied,
            ),
            (
                "policies_changed",
                "policies edited since, to be checked; their keys were disabled",
                &self.policies_changed,
            ),
            ("sites_removed", "sites removed again", &self.sites_removed),
        ]
    }

    /// The counts, as [`ClosedThings::lists`].
    fn counts(&self) -> [(&'static str, &'static str, usize); 2] {
        [
            ("sessions_ended", "sessions ended", self.sessions_ended),
            (
                "uses_taken",
                "counted keys without uses, to be given new ones",
                self.uses_taken,
            ),
        ]
    }

    /// What was closed, in words; one line for each list or count that is not empty.
    pub fn lines(&self) -> Vec<String> {
        let lists = self.lists().into_iter();
        let lists = lists
            .filter(|(_, _, list)| !list.is_empty())
            .map(|(_, what, list)| {
                let shown: Vec<&str> = list.iter().take(SHOWN_MAX).map(String::as_str).collect();
                let more = if list.len() > SHOWN_MAX { ", …" } else { "" };
                format!("{what} ({}): {}{more}", list.len(), shown.join(", "))
            });
        let counts = self.counts().into_iter();
        let counts = counts
            .filter(|(_, _, count)| *count > 0)
            .map(|(_, what, count)| format!("{what} ({count})"));
        lists.chain(counts).collect()
    }

    /// What was closed, for the audit log.
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (member, _, list) in self.lists() {
            changes.note(member, &0, &list.len());
        }
        for (member, _, count) in self.counts() {
            changes.note(member, &0, &count);
        }
        changes
    }
}

/// The number of ids of one kind that are shown.
const SHOWN_MAX: usize = 20;

/// The parameters for closing a database.
pub struct Closing<'a> {
    pub seal_keys: &'a SealKeys,
    pub tombstones: &'a Tombstones,
    /// The time of the latest event in the copy. Changes at this time or later are not in the copy.
    pub copied_at: Timestamp,
    pub now: Timestamp,
    /// A time that the copy or the tombstones contain and that is not trusted.
    pub doubted: Option<Timestamp>,
    /// The time to record as the mark: it has certainly passed.
    pub mark: Timestamp,
    /// The actor and the source of the events in the audit log.
    pub template: Event,
    /// Whether keys with a use limit keep the remaining uses of the copy.
    pub keeps_uses: bool,
    /// Whether no other node has closed this copy before. What is closed regardless of the tombstones is closed once: sessions,
    /// remaining uses, and what had ended by the clock.
    pub is_first: bool,
    /// The numbers from which the series go on, if they are behind.
    pub given: Numbers,
}

impl Closing<'_> {
    /// Closes everything, with one event for each change.
    pub fn run(&self, tx: &Write<'_>) -> Result<ClosedThings> {
        let mut closed = ClosedThings::default();
        for ((kind, id), fate) in &self.tombstones.fates {
            match Kind::parse(kind) {
                Some(Kind::Key) => self.key(tx, id, fate, &mut closed)?,
                Some(Kind::User) => self.user(tx, id, fate, &mut closed)?,
                Some(Kind::Workspace) => self.workspace(tx, id, fate, &mut closed)?,
                Some(Kind::Catalog) => self.catalog(tx, id, fate, &mut closed)?,
                Some(Kind::Policy) => self.policy(tx, id, fate, &mut closed)?,
                Some(Kind::Site) => self.site(tx, id, fate, &mut closed)?,
                Some(Kind::Server | Kind::Session) | None => {}
            }
        }
        numbers::raise(tx, self.given)?;
        // The files are compared with what was closed.
        declared::forget_settings(tx)?;
        if self.is_first {
            self.once(tx, &mut closed)?;
        }
        Ok(closed)
    }

    /// Closes what depends on no tombstone.
    fn once(&self, tx: &Write<'_>, closed: &mut ClosedThings) -> Result<()> {
        closed.sessions_ended = restore::delete_sessions(tx)?;
        // Which first steps of sign-ins were used since the copy is not known, and their codes may be good again.
        challenges::spend_all(tx, self.now)?;
        if !self.keeps_uses {
            closed.uses_taken = restore::spend_uses(tx, self.seal_keys)?;
        }
        self.clock(tx, closed)
    }

    /// Records the time. Times before the former "now" stay in the past, except for a time that is not trusted: what
    /// had ended by such a time is closed.
    fn clock(&self, tx: &Write<'_>, closed: &mut ClosedThings) -> Result<()> {
        if let Some(doubted) = self.doubted {
            for (action, record) in Plan::of(tx, self.now, doubted)?.apply(tx, self.now, doubted)? {
                let list = match action {
                    "key.disable" => &mut closed.keys_disabled,
                    "key.edit" => &mut closed.keys_shortened,
                    _ => &mut closed.keys_without_old_secrets,
                };
                list.push(record.target.id.clone());
                self.note(tx, action, record.target, record.changes)?;
            }
        }
        let recorded = StoredClock {
            mark: self.mark,
            allowance_ms: None,
            settled: is_plausible(self.mark),
            uptime: None,
            corrections: 0,
        };
        store::clock::replace_all(tx, &recorded)
    }

    fn key(
        &self,
        tx: &Write<'_>,
        id: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        let Some(key) = KeyId::parse(id) else {
            return Ok(());
        };
        if fate.deleted.is_some() {
            if keys::delete(tx, key, self.now)? {
                closed.keys_deleted.push(id.to_owned());
                self.note(
                    tx,
                    "key.delete",
                    Target::new(Kind::Key, id),
                    Changes::default(),
                )?;
            }
            return Ok(());
        }
        let mut is_rotated = match fate.rotated {
            Some(rotated) => {
                restore::delete_secrets_before(tx, key, self.before(rotated), self.now)?
            }
            None => false,
        };
        if self.is_newer(fate.completed) {
            is_rotated |= keys::delete_older_secret(tx, key, false, self.now)?;
        }
        if is_rotated {
            closed.keys_without_old_secrets.push(id.to_owned());
            let target = Target::new(Kind::Key, id);
            self.note(tx, "key.rotation_complete", target, Changes::default())?;
        }
        // A file that declares the key declares all its limits, so that it may open it again.
        if !is_off(fate) && self.is_newer(fate.changed) && is_declared(tx, key)? {
            let is_closed = restore::disable_until_applied(tx, key)?;
            return self.note_disabled(tx, key, is_closed, closed);
        }
        if is_off(fate) || self.is_newer(fate.changed) {
            self.disable_key(tx, key, closed)?;
        }
        Ok(())
    }

    fn disable_key(&self, tx: &Write<'_>, id: KeyId, closed: &mut ClosedThings) -> Result<()> {
        let is_closed = restore::disable_key(tx, id)?;
        self.note_disabled(tx, id, is_closed, closed)
    }

    fn note_disabled(
        &self,
        tx: &Write<'_>,
        id: KeyId,
        is_closed: bool,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        if is_closed {
            closed.keys_disabled.push(id.to_string());
            self.note(
                tx,
                "key.disable",
                Target::new(Kind::Key, id),
                switched_off(),
            )?;
        }
        Ok(())
    }

    fn user(
        &self,
        tx: &Write<'_>,
        id: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        let Some(uid) = Uid::parse(id) else {
            return retire(tx, Kind::User, id, fate);
        };
        let target = || Target::new(Kind::User, id);
        let name = users::find(tx, uid)?.map_or(id.to_owned(), |user| user.user_name);
        if fate.deleted.is_some() {
            if users::delete(tx, uid, self.now)? {
                closed.users_deleted.push(name);
                self.note(tx, "user.delete", target(), Changes::default())?;
            }
            return Ok(());
        }
        // The copy may lack a second factor that was added later. In this case the password alone must not suffice.
        let newer = self.is_newer(fate.password) || self.is_newer(fate.authenticator);
        if newer && restore::delete_password(tx, uid)? {
            closed.users_without_password.push(name.clone());
            self.note(tx, "user.password", target(), Changes::default())?;
        }
        // The codes of the copy that were used since, or replaced, must not open anything again.
        if self.is_newer(fate.recovery_codes) && recovery_codes::delete_of_user(tx, uid)? {
            closed.users_without_recovery_codes.push(name.clone());
            self.note(
                tx,
                "user.recovery_codes_delete",
                target(),
                Changes::default(),
            )?;
        }
        if (is_off(fate) || self.is_newer(fate.changed)) && restore::disable_user(tx, uid)? {
            closed.users_disabled.push(name);
            self.note(tx, "user.edit", target(), switched_off())?;
        }
        Ok(())
    }

    fn workspace(
        &self,
        tx: &Write<'_>,
        id: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        let Some(uid) = Uid::parse(id) else {
            return retire(tx, Kind::Workspace, id, fate);
        };
        let target = || Target::new(Kind::Workspace, id);
        let found = workspaces::find(tx, uid)?;
        let slug = found.as_ref().map_or(id, |it| it.slug.as_str()).to_owned();
        if fate.deleted.is_some() {
            if workspaces::delete(tx, uid, self.now)? {
                if let Some(workspace) = &found {
                    for record in lost_roles::delete(tx, workspace)? {
                        self.note(tx, lost_roles::ACTION, record.target, record.changes)?;
                    }
                }
                closed.workspaces_deleted.push(slug);
                self.note(tx, "workspace.delete", target(), Changes::default())?;
            }
        } else if (is_off(fate) || self.is_newer(fate.changed))
            && restore::disable_workspace(tx, uid)?
        {
            closed.workspaces_disabled.push(slug);
            self.note(tx, "workspace.edit", target(), switched_off())?;
        }
        Ok(())
    }

    /// A site that was removed gets nothing again.
    fn site(
        &self,
        tx: &Write<'_>,
        id: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        if fate.deleted.is_some() && sites::remove(tx, id, self.now)? {
            closed.sites_removed.push(id.to_owned());
            let target = Target::new(Kind::Site, id);
            self.note(tx, "site.remove", target, Changes::default())?;
        }
        Ok(())
    }

    fn catalog(
        &self,
        tx: &Write<'_>,
        name: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        if name == BUILT_IN || !self.is_newer(fate.changed) {
            return Ok(());
        }
        if catalogs::find(tx, name)?.is_some() {
            let empty = Definition {
                name: name.to_owned(),
                case_sensitive: false,
                ..Definition::default()
            };
            catalogs::replace(tx, &empty)?;
            closed.catalogs_emptied.push(name.to_owned());
            let target = Target::new(Kind::Catalog, name);
            self.note(tx, "catalog.put", target, Changes::default())?;
        }
        Ok(())
    }

    fn policy(
        &self,
        tx: &Write<'_>,
        name: &str,
        fate: &CombinedEffect,
        closed: &mut ClosedThings,
    ) -> Result<()> {
        if !self.is_newer(fate.changed) {
            return Ok(());
        }
        closed.policies_changed.push(name.to_owned());
        for key in restore::enabled_of_policy(tx, name)? {
            self.disable_key(tx, key, closed)?;
        }
        Ok(())
    }

    /// Secrets created before this time were replaced by a rotation at `rotated`. If the rotation came after the copy
    /// was made, these are all secrets of the copy, regardless of the clock at that time.
    fn before(&self, rotated: Timestamp) -> Timestamp {
        match rotated > self.copied_at {
            true => Timestamp(i64::MAX),
            false => rotated,
        }
    }

    /// Whether something happened since the copy was made. The same millisecond counts.
    fn is_newer(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at >= self.copied_at)
    }

    fn note(&self, tx: &Write<'_>, action: &str, target: Target, changes: Changes) -> Result<()> {
        let event = Event {
            action: action.to_owned(),
            target,
            reason: REASON.to_owned(),
            changes: changes.into_json(),
            ..self.template.clone()
        };
        audit::append(tx, self.seal_keys, event)
    }
}

/// Keeps a name retired that was given up after the copy was made.
fn retire(tx: &Write<'_>, kind: Kind, name: &str, fate: &CombinedEffect) -> Result<()> {
    match fate.retired {
        Some(_) => retired_names::retire_unknown(tx, kind, name),
        None => Ok(()),
    }
}

fn is_declared(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let found = keys::find(tx, id)?;
    Ok(found.is_some_and(|key| key.declared_state.is_some()))
}

fn is_off(fate: &CombinedEffect) -> bool {
    fate.switched.is_some_and(|(_, on)| !on)
}

fn switched_off() -> Changes {
    let mut changes = Changes::default();
    changes.note("enabled", &true, &false);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_closed_is_listed_and_counted() {
        let named = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let closed = ClosedThings {
            users_without_recovery_codes: named(&["alice", "bob"]),
            uses_taken: 3,
            ..ClosedThings::default()
        };
        assert_eq!(
            closed.lines(),
            [
                "users without recovery codes, to make new ones (2): alice, bob",
                "counted keys without uses, to be given new ones (3)"
            ]
        );
        assert_eq!(
            closed.changes().into_json(),
            r#"{"users_without_recovery_codes":["0","2"],"uses_taken":["0","3"]}"#
        );
    }
}
