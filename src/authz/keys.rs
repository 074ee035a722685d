//! Who may issue and change keys of a policy, and who may give them scopes.

use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity, in_force};
use crate::domain::keys::Key;
use crate::domain::policies::roles::Roles;
use crate::domain::policies::{IssuedBy, Policy, Presence};
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;

/// Whether the caller may issue keys of this policy, in this workspace, for this owner.
pub fn check_issuer(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    owner: Option<Uid>,
) -> Result<()> {
    require_second_factor(directory, caller, policy)?;
    let name = &policy.name;
    let for_themselves = caller.user.is_some() && owner == caller.user;
    if policy.issued_by == IssuedBy::Password {
        if matches!(caller.identity, Identity::Password { .. }) && for_themselves {
            return Ok(());
        }
        return Err(Error::Conflict(refusals::access::issued_by_password(name)));
    }
    require_write(directory, caller, policy, workspace, owner)?;
    match policy.issued_by {
        IssuedBy::RootAdministrator => caller.require_root_administrator(directory),
        IssuedBy::Owner if !for_themselves => {
            Err(Error::Conflict(refusals::access::issued_by_owner(name)))
        }
        IssuedBy::Manager if !caller.may(directory, Permission::KeysWrite, workspace, None) => {
            Err(Error::Forbidden(refusals::access::issued_by_managers(name)))
        }
        _ => Ok(()),
    }
}

/// Whether the caller may issue, change and end keys of this policy in the workspace. Users who have signed in need no
/// `keys:write` in the workspace for their own keys of a policy by which users issue keys to themselves. They only need
/// a role that passes something on to such a key, even if it is only reading: `keys:write` of a workspace concerns the
/// keys of other users.
pub fn require_write(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    owner: Option<Uid>,
) -> Result<()> {
    if is_own_affair(directory, caller, policy, workspace, owner) {
        return Ok(());
    }
    caller.require(directory, Permission::KeysWrite, workspace, owner)
}

fn is_own_affair(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    owner: Option<Uid>,
) -> bool {
    let Some(user) = owner.filter(|owner| caller.is_session_of(*owner)) else {
        return false;
    };
    let passes_on = |role| policy.rules_of(Roles::default().with(role), false).count() > 0;
    let role_counts = directory.user(user).is_some_and(|user| {
        let mut roles = user.roles.iter();
        roles.any(|it| in_force(directory, it, workspace) && passes_on(it.role))
    });
    policy.issued_by == IssuedBy::Owner
        && policy.acts_for_owner
        && caller.permissions.contains(Permission::KeysWrite)
        && role_counts
}

/// Whether a key that the caller may issue must only read: none of the owner's roles in force passes writing on to it.
pub fn only_reads(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    owner: Option<Uid>,
) -> bool {
    let passes_on_writing = |role| {
        let rules = policy.rules_of(Roles::default().with(role), true);
        rules.count() > 0
    };
    let writes = owner
        .and_then(|owner| directory.user(owner))
        .is_some_and(|user| {
            let mut roles = user.roles.iter();
            roles.any(|it| in_force(directory, it, workspace) && passes_on_writing(it.role))
        });
    is_own_affair(directory, caller, policy, workspace, owner) && !writes
}

/// Checks that the caller may give a key its scopes. The scopes mean something to other services, so users who issue a
/// key for themselves cannot give it scopes, unless the policy is for keys that users issue to themselves. `bounds`
/// judges the scopes of the built-in catalog.
pub fn check_scopes(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &Key,
) -> Result<()> {
    if key.scopes.is_empty() || bounds::is_management(key) {
        return Ok(());
    }
    check_giver(directory, caller, policy, key.workspace)
}

/// Whether the caller may give keys of this policy any scopes in a workspace.
fn check_giver(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
) -> Result<()> {
    let self_service = matches!(policy.issued_by, IssuedBy::Owner | IssuedBy::Password);
    if self_service || caller.may(directory, Permission::KeysWrite, workspace, None) {
        return Ok(());
    }
    Err(Error::Forbidden(refusals::access::scopes_are_managed()))
}

/// Checks that the caller may issue a key of this policy in at least one workspace, as its owner or for another user.
/// If not, no form for such a key is offered; the error is the reason why the last workspace was refused.
pub fn check_issuer_somewhere(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
) -> Result<()> {
    caller.require_somewhere(Permission::KeysWrite)?;
    let mut refusal = Error::NotFound("workspace");
    for place in directory.places() {
        let workspace = place.workspace.uid;
        if !caller.knows(directory, workspace) {
            continue;
        }
        for owner in [None, caller.user] {
            let issues = check_issuer(directory, caller, policy, workspace, owner);
            let gives = issues.and_then(|()| match policy.scopes {
                Presence::Required => check_giver(directory, caller, policy, workspace),
                Presence::Forbidden | Presence::Optional => Ok(()),
            });
            match gives {
                Ok(()) => return Ok(()),
                Err(err) => refusal = err,
            }
        }
    }
    Err(refusal)
}

/// Refuses callers who may not issue or change keys of a policy that demands a second factor: everybody but the
/// administrator of the machine, and users in a session of their own who have a second factor. No session of such a user
/// was begun without it (`ops::authenticators::proof::require_current`). Keys prove no second factor, and neither does a
/// user who acts as another one.
pub fn require_second_factor(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
) -> Result<()> {
    let has_proved = match caller.identity {
        Identity::Local => true,
        Identity::Session(_) => {
            let user = caller.user.and_then(|user| directory.user(user));
            user.is_some_and(|user| user.has_second_factor)
        }
        Identity::Acting(_)
        | Identity::Enrolling(_)
        | Identity::ForOwner(_)
        | Identity::Key(_)
        | Identity::Password { .. } => false,
    };
    if has_proved || !policy.second_factor {
        return Ok(());
    }
    Err(Error::Forbidden(refusals::access::second_factor_of_policy(
        &policy.name,
    )))
}

/// Whether the policy lets the caller determine what a key opens, or receive the secret of a key that others issued.
pub fn check_takeover(directory: &Directory, caller: &Caller, policy: &Policy) -> Result<()> {
    require_second_factor(directory, caller, policy)?;
    match policy.issued_by {
        IssuedBy::RootAdministrator => caller.require_root_administrator(directory),
        IssuedBy::Manager | IssuedBy::ManagerOrOwner | IssuedBy::Owner | IssuedBy::Password => {
            Ok(())
        }
    }
}
