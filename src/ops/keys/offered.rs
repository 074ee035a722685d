//! Which actions a page offers to a caller. The function that decides on the request also decides whether the page
//! offers it, so that a page never offers an action that would be refused.

use super::room::policy_of;
use super::{View, check_deletable, check_manageable, declared_in, edit, reveal, rotate};
use crate::authz;
use crate::authz::bounds::Facts;
use crate::authz::caller::Caller;
use crate::authz::keys::{check_issuer, check_issuer_somewhere};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::Member;
use crate::domain::policies::{Policy, Presence};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::changed_outside::accept::require_accepted;
use crate::ops::policies;
use crate::refusals::Refusal;

/// What the caller may do to a key.
#[derive(Debug, Default)]
pub struct KeyActions {
    /// The members that an edit may change.
    pub fields: Vec<Member>,
    /// The caller may disable an enabled key, or enable a disabled one.
    pub switch: bool,
    pub rotate: bool,
    /// The caller may end the secret before the newest.
    pub end_previous: bool,
    pub reveal: bool,
    pub delete: bool,
    /// Why the key stays closed until the administrator of the machine accepts it.
    pub closed: Option<Refusal>,
    /// The file and the line that declare the key: it is edited there.
    pub declared_in: Option<String>,
}

/// What the caller may do to a key that the caller sees.
pub fn offered(app: &App, caller: &Caller, view: &View) -> Result<KeyActions> {
    let key = &view.key;
    let target = Target::new(Kind::Key, key.id);
    let (policy, facts, accepted) = app.read(|read| {
        let policy = policy_of(read, key)?;
        let facts = Facts::read(read, caller, key)?;
        let accepted = match key.enabled || key.deleted_at.is_some() {
            true => Ok(()),
            false => require_accepted(read, caller, &target),
        };
        Ok((policy, facts, accepted))
    })?;
    let directory = app.index.directory();
    let directory = &*directory;
    let in_force = match key.deleted_at {
        None => policies::check_in_force(directory, &key.policy),
        Some(_) => Ok(()),
    };
    let closed = match accepted.and(in_force) {
        Ok(()) => None,
        Err(Error::Conflict(why)) => Some(why),
        Err(err) => return Err(err),
    };
    let declared_in = declared_in(key).map(str::to_owned);
    let reveal = reveal::check_reveal(directory, caller, &policy, key, &facts).is_ok();
    if check_manageable(directory, caller, &policy, key).is_err() {
        return Ok(KeyActions {
            reveal,
            closed,
            declared_in,
            ..KeyActions::default()
        });
    }
    let switch = edit::check_switch(directory, caller, &policy, key, !key.enabled, &facts).is_ok();
    Ok(KeyActions {
        fields: edit::fields_for(directory, caller, &policy, key, &facts),
        // In this case only enabling is refused.
        switch: switch && (closed.is_none() || key.enabled),
        rotate: rotate::check_rotation(directory, caller, &policy, key, &facts).is_ok(),
        end_previous: view.previous.is_some(),
        reveal,
        delete: check_deletable(key).is_ok(),
        closed,
        declared_in,
    })
}

/// Whether the caller may enable a key that is disabled.
pub fn may_enable(app: &App, caller: &Caller, view: &View) -> Result<bool> {
    Ok(!view.key.enabled && offered(app, caller, view)?.switch)
}

/// The policy of a key, even if the policy is closed.
pub fn policy(app: &App, view: &View) -> Result<Policy> {
    app.read(|read| policy_of(read, &view.key))
}

/// Refuses a caller who may issue no key of a policy anywhere.
pub fn require_issue(app: &App, caller: &Caller, policy: &Policy) -> Result<()> {
    check_issuer_somewhere(&app.index.directory(), caller, policy)
}

/// Whether each key of a policy that the caller may issue for themselves will be read-only, whatever they ask for: in the
/// workspace with this slug, or, without a slug, in every workspace in which they may issue one.
pub fn only_reads(app: &App, caller: &Caller, policy: &Policy, workspace: Option<&str>) -> bool {
    let directory = app.index.directory();
    let directory = &*directory;
    let (owner, mut places) = (caller.user, 0);
    let full_access = directory
        .places()
        .map(|place| &place.workspace)
        .filter(|place| workspace.is_none_or(|slug| place.slug == slug))
        .filter(|place| check_issuer(directory, caller, policy, place.uid, owner).is_ok())
        .inspect(|_| places += 1)
        .any(|place| !authz::keys::only_reads(directory, caller, policy, place.uid, owner));
    places > 0 && !full_access
}

/// Whether a page with the keys of a policy is useful for the caller: there are keys that the caller may see, or the
/// caller may issue one.
pub fn concerns(directory: &Directory, caller: &Caller, policy: &Policy) -> bool {
    let owner = caller.user.filter(|_| policy.owner != Presence::Forbidden);
    let mut places = directory.places().map(|place| place.workspace.uid);
    places.any(|uid| caller.may(directory, Permission::KeysRead, uid, owner))
        || check_issuer_somewhere(directory, caller, policy).is_ok()
}
