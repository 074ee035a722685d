//! Which actions a page has to offer to a caller. Each is decided by the function that decides when it is asked for, so
//! that nothing is offered that would be refused.

use super::admission::{check_issuer_somewhere, policy_of};
use super::bounds::Facts;
use super::{View, check_manageable, edit, reveal, rotate};
use crate::domain::audit::{Kind, Target};
use crate::domain::people::permission::Permission;
use crate::domain::policy::{Field, Policy, Presence};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::access::Caller;
use crate::ops::keeping::accept::require_accepted;
use crate::ops::policies;

/// What the caller may do to a key.
#[derive(Debug, Default)]
pub struct Offered {
    /// The members that an edit may change.
    pub fields: Vec<Field>,
    /// Turning it off if it is on, and on if it is off.
    pub switch: bool,
    pub rotate: bool,
    pub reveal: bool,
    pub delete: bool,
    /// Why the key stays closed until the administrator of the machine has looked at it.
    pub closed: Option<String>,
}

/// What the caller may do to a key that it sees.
pub fn offered(app: &App, caller: &Caller, view: &View) -> Result<Offered> {
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
    let reveal = reveal::check_reveal(directory, caller, &policy, key, &facts).is_ok();
    if check_manageable(directory, caller, &policy, key).is_err() {
        return Ok(Offered {
            reveal,
            closed,
            ..Offered::default()
        });
    }
    let switch = edit::check_switch(directory, caller, &policy, key, !key.enabled, &facts).is_ok();
    Ok(Offered {
        fields: edit::fields_for(directory, caller, &policy, key, &facts),
        // Only turning it on is refused then.
        switch: switch && (closed.is_none() || key.enabled),
        rotate: rotate::check_rotation(directory, caller, &policy, key, &facts).is_ok(),
        reveal,
        delete: true,
        closed,
    })
}

/// The policy of a key, also where it is closed.
pub fn policy(app: &App, view: &View) -> Result<Policy> {
    app.read(|read| policy_of(read, &view.key))
}

/// Refuses a caller who may issue no key of a policy anywhere.
pub fn require_issue(app: &App, caller: &Caller, policy: &Policy) -> Result<()> {
    check_issuer_somewhere(&app.index.directory(), caller, policy)
}

/// Whether a page with the keys of a policy is of any use to the caller: there are keys that the caller could see, or
/// could issue.
pub fn concerns(directory: &Directory, caller: &Caller, policy: &Policy) -> bool {
    let owner = caller.user.filter(|_| policy.owner != Presence::Forbidden);
    let mut places = directory.places().map(|place| place.workspace.uid);
    places.any(|uid| caller.may(directory, Permission::KeysRead, uid, owner))
        || check_issuer_somewhere(directory, caller, policy).is_ok()
}
