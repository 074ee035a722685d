//! Users, their roles, their second factors and their sessions.

pub mod change;
pub mod create;
pub mod detail;
pub mod list;

use super::workspace_choice::Option3;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::Visit;
use crate::dialects::console::keys;
use crate::domain::users::User;
use crate::domain::users::roles::Role;
use crate::error::Result;
use crate::http::query::encode;
use crate::ops::keys::View;
use crate::ops::users;
use crate::ops::users::offered;

pub use change::{
    delete, edit, end_session, end_sessions, reset_two_step, set_password, set_roles, unlock,
};
pub use create::{create, show_new};
pub use detail::{ask_delete, show};
pub use list::show_all;

/// All roles, the most powerful one first.
const ROLES: &[Role] = &[
    Role::Owner,
    Role::Administrator,
    Role::KeyManager,
    Role::Auditor,
    Role::Member,
];

/// A role in a workspace.
struct Bound {
    role: String,
    /// The name of the role in forms.
    word: &'static str,
    /// The slug of the workspace.
    place: String,
    /// The role, and a description of what it permits.
    label: String,
}

/// The keys without an owner that the user created, as links.
fn ownerless(visit: &Visit<'_>, user: &User) -> Result<Vec<(String, String)>> {
    let found = users::ownerless_keys(visit.call.app, &visit.caller, &user.uid.to_string())?;
    let link = |view: &View| (keys::address(view.key.id), view.key.name.clone());
    Ok(found.iter().map(link).collect())
}

/// The roles that the caller may give.
fn roles(visit: &Visit<'_>, chosen: &str) -> Vec<Option3> {
    let label = |role: &Role| visit.texts.get(&format!("role_may.{}", role.as_str()));
    let one = |role: &Role| {
        let word = role.as_str().to_owned();
        let is = word == chosen;
        (word, label(role).to_owned(), is)
    };
    let found = offered::roles(visit.call.app, &visit.caller, ROLES);
    found.iter().map(one).collect()
}

fn bound(visit: &Visit<'_>, user: &User) -> Vec<Bound> {
    let text = |group: &str, role: Role| {
        let name = format!("{group}.{}", role.as_str());
        visit.texts.get(&name).to_owned()
    };
    let one = |binding: &crate::domain::users::Binding| Bound {
        role: text("role", binding.role),
        word: binding.role.as_str(),
        label: text("role_may", binding.role),
        place: slug(visit, binding.workspace),
    };
    user.roles.iter().map(one).collect()
}

fn slug(visit: &Visit<'_>, uid: crate::domain::uid::Uid) -> String {
    let directory = visit.call.app.index.directory();
    let place = directory.place(uid);
    place.map_or_else(String::new, |place| place.workspace.slug.clone())
}

fn address(name: &str) -> String {
    format!("{MOUNT}/users/{}", encode(name))
}
