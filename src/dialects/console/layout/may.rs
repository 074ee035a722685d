//! What a user may do in a part of the console, in a sentence above the page, and who can help with the rest.

use super::Nav;
use crate::dialects::console::auth::Visit;
use crate::dialects::console::keys::list::new_address;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;

/// The permission to make changes in each part of the console.
const CHANGING: &[(Nav, Permission)] = &[
    (Nav::Catalogs, Permission::CatalogsWrite),
    (Nav::Keys, Permission::KeysWrite),
    (Nav::Policies, Permission::PoliciesWrite),
    (Nav::Users, Permission::UsersWrite),
    (Nav::Workspaces, Permission::WorkspacesWrite),
];

/// The user, as far as the sentences speak of them.
struct Standing {
    /// The roles in force, the one with the most rights first.
    roles: Vec<Role>,
    /// The workspaces in which a role gives the permission.
    places: Vec<String>,
    home: String,
    root: String,
    /// Whether the user has the permission in the root workspace.
    is_global: bool,
}

/// What the user may do here; `None` if it is everything.
pub fn note(visit: &Visit<'_>, nav: Nav) -> Option<String> {
    let (_, permission) = CHANGING.iter().find(|(known, _)| *known == nav)?;
    let (standing, texts) = (standing(visit, *permission), visit.texts);
    if standing.is_global {
        return None;
    }
    let only_member = standing.roles.iter().all(|role| *role == Role::Member);
    let what = match (nav, standing.places.is_empty()) {
        (Nav::Keys, false) if only_member => texts.get("may.own").to_owned(),
        (Nav::Policies | Nav::Catalogs, _) | (_, true) => match nav {
            Nav::Keys if new_address(visit, None).is_ok_and(|new| !new.is_empty()) => {
                texts.get("may.look_own").to_owned()
            }
            _ => texts.get("may.look").to_owned(),
        },
        (_, false) => texts.with("may.below", &standing.places.join(", ")),
    };
    let role = match standing.roles.first() {
        Some(role) => {
            let role = texts.get(&format!("role.{}", role.as_str()));
            texts.with("may.role", role)
        }
        None => texts.get("may.no_role").to_owned(),
    };
    let help = match by_administrator(Some(*permission)) {
        true => texts.with("may.ask_administrator", &standing.home),
        false => texts.with("may.ask_owner", &standing.root),
    };
    Some(format!("{what} {role} {help}"))
}

/// Whom to ask for something that the user may not do. `scope` is the permission, if it is known.
pub fn whom(visit: &Visit<'_>, scope: Option<&str>) -> String {
    let permission = scope.and_then(Permission::of_scope);
    let standing = standing(visit, permission.unwrap_or(Permission::ServerAdmin));
    match by_administrator(permission) {
        true => visit.texts.with("may.help_administrator", &standing.home),
        false => visit.texts.with("may.help_owner", &standing.root),
    }
}

/// Whether administrators have the permission, and not only owners.
fn by_administrator(permission: Option<Permission>) -> bool {
    let held = Role::Administrator.permissions();
    permission.is_none_or(|permission| held.contains(permission))
}

fn standing(visit: &Visit<'_>, permission: Permission) -> Standing {
    let directory = visit.call.app.index.directory();
    let name = |uid: Uid| {
        let place = directory.place(uid);
        place.map_or_else(String::new, |place| place.workspace.name.clone())
    };
    let user = visit.caller.user.and_then(|uid| directory.user(uid));
    let bindings = user.map_or(&[][..], |user| &user.roles);
    let is_active = |uid: Uid| directory.place(uid).is_some_and(|place| place.active);
    let in_force = || bindings.iter().filter(|it| is_active(it.workspace));
    let gives = |role: Role| role.permissions().contains(permission);
    let mut roles: Vec<Role> = Role::all()
        .filter(|role| in_force().any(|binding| binding.role == *role))
        .collect();
    roles.dedup();
    Standing {
        places: in_force()
            .filter(|binding| gives(binding.role))
            .map(|binding| name(binding.workspace))
            .collect(),
        home: user.map_or_else(String::new, |user| name(user.home)),
        root: directory
            .root()
            .map_or_else(String::new, |root| root.workspace.name.clone()),
        is_global: visit.caller.require_global(&directory, permission).is_ok(),
        roles,
    }
}
