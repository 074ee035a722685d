//! Which users must have a second factor: those with one of the roles that the setting `second_factor_roles` names, in any
//! workspace.

use crate::authz::caller::root;
use crate::domain::policies::roles::Roles;
use crate::domain::users::User;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

/// The roles whose users must have a second factor. By default no role demands one.
#[derive(Default)]
pub struct Demand(AtomicU8);

impl App {
    /// Sets the roles; a reload of the settings may change them while the server runs.
    pub fn demand_second_factor(&self, roles: Roles) {
        self.demand.0.store(roles.bits(), Relaxed);
    }

    /// Whether a role of the user demands a second factor. A role in a disabled workspace counts too.
    pub fn demands_second_factor(&self, user: &User) -> bool {
        let roles = Roles::of_bits(self.demand.0.load(Relaxed));
        let mut held = user.roles.iter();
        held.any(|binding| roles.contains(binding.role))
    }

    /// Whether the user must set up a second factor before they may do anything else.
    pub fn lacks_second_factor(&self, user: &User) -> bool {
        !user.has_second_factor && self.demands_second_factor(user)
    }
}

/// Refuses a sign-in of a user who must set up a second factor first, where that is not possible.
pub(in crate::ops) fn require_none_lacking(app: &App, user: &User) -> Result<()> {
    match app.lacks_second_factor(user) {
        false => Ok(()),
        true => Err(Error::Forbidden(
            refusals::sessions::second_factor_demanded(),
        )),
    }
}

/// The names of the active owners of the root workspace who have a password and no second factor, for `latchkey doctor` and
/// the overview.
pub fn owners_without(app: &App) -> Result<Vec<String>> {
    let with_password = app.read(crate::store::users::list_with_password)?;
    let directory = app.index.directory();
    let root = root(&directory)?;
    let owns = |user: &User| {
        let mut roles = user.roles.iter();
        roles.any(|binding| binding.workspace == root && binding.role == Role::Owner)
    };
    let mut names: Vec<String> = directory
        .users()
        .filter(|user| user.is_active() && owns(user) && !user.has_second_factor)
        .filter(|user| with_password.contains(&user.uid))
        .map(|user| user.user_name.clone())
        .collect();
    names.sort_unstable();
    Ok(names)
}
