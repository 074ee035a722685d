//! Which actions a page has to offer to a caller for users. Each is decided by the function that decides when it is
//! requested, so that nothing is offered that would be refused.

use crate::authz::caller::Caller;
use crate::authz::users::{require_managed, require_role};
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::error::Result;
use crate::ops::App;

/// What the caller may do to a user.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserActions {
    /// Whether the caller may change the user's e-mail address, roles and state, and delete the user.
    pub change: bool,
    /// Whether the caller may set the user's password without knowing the current one.
    pub password: bool,
    /// Whether the caller may list keys.
    pub keys: bool,
}

/// What the caller may do to a user that it sees.
pub fn offered(app: &App, caller: &Caller, user: &User) -> UserActions {
    let change = require_change(app, caller, user).is_ok();
    UserActions {
        change,
        password: change && !caller.is_session_of(user.uid),
        keys: sees_keys(app, caller),
    }
}

/// Whether the caller may see keys in any workspace.
pub fn sees_keys(app: &App, caller: &Caller) -> bool {
    let directory = app.index.directory();
    caller
        .permissions_somewhere(&directory)
        .contains(Permission::KeysRead)
}

/// Refuses a caller who may not change this user.
pub fn require_change(app: &App, caller: &Caller, user: &User) -> Result<()> {
    require_managed(&app.index.directory(), caller, user)
}

/// Refuses a caller who may not create users in any workspace.
pub fn require_create(app: &App, caller: &Caller) -> Result<()> {
    caller.require_in_any(&app.index.directory(), Permission::UsersWrite)
}

/// Which of some roles the caller may give to a user in at least one workspace.
pub fn roles(app: &App, caller: &Caller, roles: &[Role]) -> Vec<Role> {
    let directory = app.index.directory();
    let may_give = |role: &&Role| {
        let mut places = directory.places().map(|place| place.workspace.uid);
        places.any(|workspace| {
            let binding = Binding {
                workspace,
                role: **role,
            };
            require_role(&directory, caller, &binding).is_ok()
        })
    };
    roles.iter().filter(may_give).copied().collect()
}
