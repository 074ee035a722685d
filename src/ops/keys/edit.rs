//! Edits of keys, and disabling and enabling.

use super::issue::{every_fault, owner};
use super::members::{KeyMembers, Rules};
use super::room::{check_name, check_owners_room};
use super::{View, declared_in, manageable, record, view_of_saved};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity};
use crate::authz::keys::{check_issuer, check_scopes, check_takeover, require_second_factor};
use crate::domain::audit::{Kind, Target};
use crate::domain::declared::place_of;
use crate::domain::keys::changes::between as changes;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId, Logged, Meaning, Member};
use crate::domain::policies::{IssuedBy, Policy};
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::changed_outside::accept::require_accepted;
use crate::ops::policies;
use crate::refusals;
use crate::store::{Write, declared, keys, uses};
use std::sync::Arc;

/// Changes members of a key. The change takes effect on the next verification.
pub fn edit(app: &App, caller: &Caller, id: KeyId, edit: KeyMembers) -> Result<View> {
    let (index, who, seal_keys) = (app.index.clone(), caller.clone(), app.seal_keys.clone());
    let key = app.change(
        caller,
        "key.edit",
        Target::new(Kind::Key, id),
        move |tx, now| edit_one(tx, &index, &seal_keys, &who, id, &edit, now),
    )?;
    Ok(view_of_saved(app, key))
}

/// As [`edit()`], within a change.
pub(super) fn edit_one(
    tx: &Write<'_>,
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    caller: &Caller,
    id: KeyId,
    edit: &KeyMembers,
    now: Timestamp,
) -> Result<(Option<crate::ops::Record>, Key)> {
    let (before, after) = by_hand(tx, &index.directory(), caller, id, edit, now)?;
    let (record, key) = write(tx, seal_keys, &before, &after, edit.uses_left)?;
    Ok((record, hold(tx, &before, key)?))
}

/// All errors of an edit, found as `issue::faults` finds those of a new key. To find the next error, a
/// refused member is removed from the edit.
pub fn faults(app: &App, caller: &Caller, id: KeyId, mut edit: KeyMembers) -> Result<Vec<Error>> {
    let (index, who) = (app.index.clone(), caller.clone());
    app.change(
        caller,
        "key.edit",
        Target::new(Kind::Key, id),
        move |tx, now| {
            let directory = index.directory();
            let check = |edit: &KeyMembers| by_hand(tx, &directory, &who, id, edit, now).map(drop);
            let mend = |edit: &mut KeyMembers, fault: &Error| Ok(mend(edit, fault));
            Ok((None, every_fault(&mut edit, check, mend)?))
        },
    )
}

/// Removes the member that an error is about from an edit. `false` if the edit does not have it.
fn mend(edit: &mut KeyMembers, fault: &Error) -> bool {
    let Error::Invalid { field, .. } = fault else {
        return false;
    };
    let is_end = matches!(field.as_str(), "expires_at" | "expires_in_s");
    let start = is_end && edit.forget(Member::NotBefore);
    edit.mend(field) || start
}

/// As [`checked`], for an edit by hand: a key that a file declares is only enabled and disabled that way.
fn by_hand(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    id: KeyId,
    edit: &KeyMembers,
    now: Timestamp,
) -> Result<(Key, Key)> {
    let found = checked(tx, directory, caller, id, edit, now)?;
    let is_locked = |member: &&Member| member.meaning() != Meaning::Switch && edit.has(**member);
    match declared_in(&found.0).zip(Member::ALL.iter().find(is_locked)) {
        Some((place, member)) => Err(Error::Conflict(refusals::declared::locked(
            member.word(),
            place,
        ))),
        None => Ok(found),
    }
}

/// Records that a key of a file was disabled by hand, which its file does not undo, or was enabled again.
fn hold(tx: &Write<'_>, before: &Key, after: Key) -> Result<Key> {
    if place_of(&after.source).is_none() || before.enabled == after.enabled {
        return Ok(after);
    }
    let after = Key {
        held: !after.enabled,
        ..after
    };
    declared::update_key(tx, &after)?;
    // The file may disable the key.
    declared::forget_settings(tx)?;
    Ok(after)
}

/// The key before and after an edit, if the edit has no error.
pub(in crate::ops) fn checked(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    id: KeyId,
    edit: &KeyMembers,
    now: Timestamp,
) -> Result<(Key, Key)> {
    let (before, policy) = manageable(tx, directory, caller, id)?;
    let mut after = apply(tx, directory, &policy, &before, edit, now)?;
    if let Some(owner) = &edit.owner {
        let owner = owner.as_deref();
        hand_over(tx, directory, caller, &policy, &mut after, owner, now)?;
    }
    if after.name != before.name {
        check_name(tx, &policy, &after)?;
    }
    if before.expires_at.is_some_and(|end| end <= now) && after.expires_at != before.expires_at {
        check_owners_room(tx, &policy, &after, now)?;
    }
    let fields = changed(&before, &after, edit.uses_left);
    check_reach(tx, directory, caller, &before, &after, edit.uses_left)?;
    check_own(directory, caller, &policy, &before, &after, &fields)?;
    check_opening(tx, directory, caller, &before, &after)?;
    Ok((before, after))
}

/// Enables or disables a key.
pub fn switch(app: &App, caller: &Caller, id: KeyId, enabled: bool) -> Result<View> {
    let (index, who, seal_keys) = (app.index.clone(), caller.clone(), app.seal_keys.clone());
    let action = if enabled { "key.enable" } else { "key.disable" };
    let key = app.change(caller, action, Target::new(Kind::Key, id), move |tx, _| {
        switch_one(tx, &index, &seal_keys, &who, id, enabled)
    })?;
    Ok(view_of_saved(app, key))
}

/// As [`switch`], within a change.
pub(in crate::ops) fn switch_one(
    tx: &Write<'_>,
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    caller: &Caller,
    id: KeyId,
    enabled: bool,
) -> Result<(Option<crate::ops::Record>, Key)> {
    let directory = index.directory();
    let (before, policy) = manageable(tx, &directory, caller, id)?;
    let after = Key {
        enabled,
        ..before.clone()
    };
    let facts = bounds::Facts::read(tx, caller, &before)?;
    check_switch(&directory, caller, &policy, &before, enabled, &facts)?;
    check_opening(tx, &directory, caller, &before, &after)?;
    let (record, key) = write(tx, seal_keys, &before, &after, None)?;
    Ok((record, hold(tx, &before, key)?))
}

/// The key after the edit, checked against its policy.
fn apply(
    tx: &Write<'_>,
    directory: &Directory,
    policy: &Policy,
    before: &Key,
    edit: &KeyMembers,
    now: Timestamp,
) -> Result<Key> {
    let mut key = before.clone();
    let rules = Rules {
        read: tx,
        directory,
        policy,
        now,
    };
    for member in Member::ALL.iter().filter(|member| edit.has(**member)) {
        match (member.meaning(), edit.enabled) {
            (Meaning::Switch, Some(false)) => policy.check_disable()?,
            (Meaning::Switch, _) => {}
            _ => policy.check_editable(*member)?,
        }
        edit.put(*member, &mut key, &rules)?;
    }
    // A member that the edit does not change is not checked again: the policy may have become stricter since.
    if (before.not_before, before.expires_at) != (key.not_before, key.expires_at) {
        policy.check_life(&key, now)?;
    }
    if before.scopes != key.scopes {
        policy.check_scopes(&key)?;
    }
    if before.rate_limit != key.rate_limit {
        policy.check_rate(&key)?;
    }
    policy.check_limits(&key)?;
    Ok(key)
}

/// Gives a key to another owner, or to the workspace, if the caller could issue it for that owner. The secret does not
/// change, so every client that knew it still knows it. This is why a key that acts for its owner keeps its owner.
fn hand_over(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &mut Key,
    asked: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    if caller.is_key(key.id) || matches!(caller.identity, Identity::Acting(_)) {
        return Err(Error::Forbidden(refusals::access::own_owner()));
    }
    let owner = match asked {
        None => None,
        Some(name) => owner(directory, caller, policy, key.workspace, Some(name))?,
    };
    if owner == key.owner {
        return Ok(());
    }
    if policy.acts_for_owner {
        return Err(Error::Conflict(refusals::keys::acts_for_owner(
            &policy.name,
        )));
    }
    if bounds::is_management(key) {
        let allowed = caller.require_global(directory, Permission::ServerAdmin);
        allowed.map_err(|_| Error::Forbidden(refusals::access::owner_of_management_key()))?;
    }
    key.owner = owner;
    policy.check_owner(key)?;
    check_issuer(directory, caller, policy, key.workspace, owner)?;
    check_scopes(directory, caller, policy, key)?;
    check_owners_room(tx, policy, key, now)
}

/// A caller who changes a management key must hold everything that the key may do, before and after the change, and no
/// key changes its own limits. Every caller who manages keys may disable such a key, so that a dangerous key can be
/// stopped in an emergency.
fn check_reach(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    before: &Key,
    after: &Key,
    uses_left: Option<Option<u64>>,
) -> Result<()> {
    let changes = changes(before, after);
    let only_switched_off = before.enabled && !after.enabled && changes.only("enabled");
    if only_switched_off && uses_left.is_none() || !bounds::acts_here(tx, after)? {
        return Ok(());
    }
    bounds::require_strong(after)?;
    let only_labels = changed(before, after, uses_left).iter().all(is_label);
    if caller.is_key(after.id) && !(only_labels && before.enabled == after.enabled) {
        return Err(Error::Forbidden(refusals::access::own_limits()));
    }
    bounds::require_cover(tx, directory, caller, before)?;
    bounds::require_cover(tx, directory, caller, after)
}

/// Whether the caller may enable or disable a key that the caller may change.
pub(super) fn check_switch(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    before: &Key,
    enabled: bool,
    facts: &bounds::Facts,
) -> Result<()> {
    if !enabled {
        policy.check_disable()?;
    }
    let after = Key {
        enabled,
        ..before.clone()
    };
    if !before.enabled && enabled && facts.acts_here(before) {
        if caller.is_key(before.id) {
            return Err(Error::Forbidden(refusals::access::own_limits()));
        }
        bounds::check_cover(directory, caller, before, facts)?;
    }
    check_own(directory, caller, policy, before, &after, &[])
}

/// Which members of a key, which the caller may change, the caller may edit.
pub(super) fn fields_for(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
    facts: &bounds::Facts,
) -> Vec<Member> {
    let is_covered = bounds::check_cover(directory, caller, key, facts).is_ok();
    if declared_in(key).is_some() || (facts.acts_here(key) && !is_covered) {
        return Vec::new();
    }
    let may = |member: &Member| {
        policy.check_editable(*member).is_ok()
            && check_own(directory, caller, policy, key, key, &[*member]).is_ok()
    };
    Member::editable().into_iter().filter(may).collect()
}

/// Users who manage only their own keys may name and disable them. Callers who manage the workspace's keys set what
/// these keys open, and the limits and the metadata of keys that others have issued to such users. This does not apply
/// to policies of keys that users issue to themselves.
fn check_own(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    before: &Key,
    after: &Key,
    fields: &[Member],
) -> Result<()> {
    let is_switch = |field: &Member| field.meaning() == Meaning::Switch;
    let only_off = before.enabled && !after.enabled && fields.iter().all(is_switch);
    if !only_off {
        require_second_factor(directory, caller, policy)?;
    }
    if fields.contains(&Member::Scopes) || fields.contains(&Member::ReadOnly) {
        check_takeover(directory, caller, policy)?;
    }
    let manages = caller.may(directory, Permission::KeysWrite, before.workspace, None);
    let self_service = matches!(policy.issued_by, IssuedBy::Owner | IssuedBy::Password);
    let only_labels = fields.iter().all(is_label);
    let named = only_labels && (before.enabled || !after.enabled);
    if manages || self_service || named {
        return Ok(());
    }
    let issued_it = before.created_by == caller.actor && !fields.contains(&Member::Scopes);
    // Services decide by metadata, so an issuer who could no longer issue this key may not set the metadata either.
    let tells = fields
        .iter()
        .any(|member| member.meaning() == Meaning::ForServices);
    let could_issue = || {
        check_issuer(directory, caller, policy, after.workspace, after.owner).is_ok()
            && check_scopes(directory, caller, policy, after).is_ok()
    };
    if issued_it && (!tells || could_issue()) {
        return Ok(());
    }
    Err(Error::Forbidden(
        refusals::access::limits_and_scopes_are_managed(),
    ))
}

/// The members that an edit changes, but for the switch.
fn changed(before: &Key, after: &Key, uses_left: Option<Option<u64>>) -> Vec<Member> {
    let differs = |member: &Member| match (member.meaning(), member.logged()) {
        (Meaning::Switch, _) => false,
        // The row has fewer uses than the log, and an edit may set the same number again.
        (_, Logged::Maximum) => uses_left.is_some(),
        _ => member.text(before) != member.text(after),
    };
    Member::ALL.iter().copied().filter(differs).collect()
}

fn is_label(member: &Member) -> bool {
    member.meaning() == Meaning::Label
}

/// A key that was closed because its row or its policy was changed without Latchkey cannot be enabled by managing keys:
/// the change has to be accepted first.
fn check_opening(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    before: &Key,
    after: &Key,
) -> Result<()> {
    if before.enabled || !after.enabled {
        return Ok(());
    }
    require_accepted(tx, caller, &Target::new(Kind::Key, after.id))?;
    policies::require_in_force(tx, directory, &after.policy)
}

/// Stores an edit and returns its record. An edit that changes nothing writes neither a row nor an event.
pub(in crate::ops) fn write(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    before: &Key,
    after: &Key,
    uses_left: Option<Option<u64>>,
) -> Result<(Option<crate::ops::Record>, Key)> {
    let mut changes = changes(before, after);
    if let Some(uses_left) = uses_left {
        changes.note_option("uses_left", &before.uses_left, &uses_left);
        // What was reserved of the old number is void: the epoch is later now, and the index drops blocks of an earlier one.
        uses::set(tx, seal_keys, after.id, uses_left)?;
    }
    if changes.is_empty() && uses_left.is_none() {
        return Ok((None, after.clone()));
    }
    keys::update(tx, after)?;
    Ok((Some(record(after, changes)), after.clone()))
}
