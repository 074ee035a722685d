//! Who may change users and give them roles.

use crate::authz::caller::{Caller, role_permissions_in};
use crate::domain::users::permissions::Permission;
use crate::domain::users::{Binding, User};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;

/// Requires that the caller may give users a role, which the caller must hold in full.
pub fn require_role(directory: &Directory, caller: &Caller, binding: &Binding) -> Result<()> {
    caller.require(directory, Permission::UsersWrite, binding.workspace, None)?;
    if caller
        .permissions_in(directory, binding.workspace)
        .covers(binding.role.permissions())
    {
        return Ok(());
    }
    Err(Error::Forbidden(refusals::access::role_may_do_more(
        binding.role.as_str(),
    )))
}

/// Requires that the caller may change a user, and could give the user every role that the user has.
pub fn require_managed(directory: &Directory, caller: &Caller, seen: &User) -> Result<()> {
    caller.require(directory, Permission::UsersWrite, seen.home, None)?;
    for binding in &seen.roles {
        require_role(directory, caller, binding)?;
    }
    Ok(())
}

/// Whether a user who is signed in may change another user. This is [`require_managed`] for a session of `by`.
pub fn manages(directory: &Directory, by: &User, seen: &User) -> bool {
    let held = |workspace| role_permissions_in(directory, by, workspace);
    held(seen.home).contains(Permission::UsersWrite)
        && seen.roles.iter().all(|binding| {
            let held = held(binding.workspace);
            held.contains(Permission::UsersWrite) && held.covers(binding.role.permissions())
        })
}
