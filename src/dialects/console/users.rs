//! Users and their roles.

use super::workspace_choice::{Option3, places, refused};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit, submit_fresh};
use crate::dialects::console::keys;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::users::User;
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::users::offered;
use crate::ops::users::offered::UserActions;
use crate::ops::users::{NewUser, UserEdit};
use crate::ops::{attempts, sessions, users};
use askama::Template;

/// All roles, the most powerful one first.
const ROLES: &[Role] = &[
    Role::Owner,
    Role::Administrator,
    Role::KeyManager,
    Role::Auditor,
    Role::Member,
];

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    s: Layout,
    rows: Vec<UserRow>,
    /// Whether the caller may create users.
    create: bool,
}

struct UserRow {
    href: String,
    name: String,
    email: String,
    home: String,
    enabled: bool,
    locked: bool,
    roles: Vec<String>,
}

#[derive(Template)]
#[template(path = "console/user_create.html")]
struct CreatePage {
    s: Layout,
    user_name: String,
    email: String,
    homes: Vec<Option3>,
    roles: Vec<Option3>,
    places: Vec<Option3>,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserPage {
    s: Layout,
    href: String,
    name: String,
    email: String,
    offered: UserActions,
    enabled: bool,
    locked: bool,
    /// The number of failed attempts to sign in; empty if there are none.
    failed: String,
    since: Option<DisplayTime>,
    keys: String,
    /// The address of the list of the keys that the user created.
    made: String,
    /// The keys without an owner that the user created: address and name.
    ownerless: Vec<(String, String)>,
    roles: Vec<Bound>,
    choices: Vec<Option3>,
    places: Vec<Option3>,
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/user_delete.html")]
struct DeletePage {
    s: Layout,
    href: String,
    name: String,
    ownerless: Vec<(String, String)>,
    /// Why the user could not be deleted, if this was attempted.
    refusal: Option<String>,
}

/// A role in a workspace.
struct Bound {
    role: String,
    /// The role, and a description of what it permits.
    label: String,
    place: String,
}

/// `GET /console/users`
pub fn show_all(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = users::list(call.app, &visit.caller)?;
        let s = visit.shell(visit.texts.get("users.title"), Nav::Users);
        let row = |user: &std::sync::Arc<User>| UserRow {
            href: address(&user.uid.to_string()),
            name: user.user_name.clone(),
            email: user.email.clone().unwrap_or_default(),
            home: slug(visit, user.home),
            enabled: user.enabled,
            locked: attempts::standing(call.app, user.uid).is_locked(),
            roles: bound(visit, user)
                .into_iter()
                .map(|bound| format!("{} @ {}", bound.role, bound.place))
                .collect(),
        };
        let rows = found.iter().map(row).collect();
        let create = offered::require_create(call.app, &visit.caller).is_ok();
        html(200, &UsersPage { s, rows, create })
    })
}

/// `GET /console/users/new`
pub fn show_new(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        offered::require_create(call.app, &visit.caller)?;
        asked(visit, 200, &Form::default(), Default::default())
    })
}

/// `POST /console/users/new`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let role = Role::parse(form.text("role"));
        let place = form.text("role_place").to_owned();
        let new = NewUser {
            user_name: form.text("user_name").to_owned(),
            email: form.some("email"),
            workspace: form.some("workspace"),
            password: form.some("password"),
            roles: role.map(|role| (place, role)).into_iter().collect(),
        };
        match users::create(call.app, &visit.caller, new, None) {
            Ok(user) => Ok(visit.done("user_created", &address(&user.uid.to_string()))),
            Err(err) => match refused(visit, &err) {
                Some((status, field, why)) => asked(visit, status, form, (field, why)),
                None => Err(err),
            },
        }
    })
}

/// `GET /console/users/{name}`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let user = users::find(call.app, &visit.caller, call.param("name"))?;
        shown(visit, 200, &user, Default::default())
    })
}

/// `POST /console/users/{name}`: changes the e-mail address, or enables or disables the user.
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_changed", &|visit, form, name| {
        let edit = UserEdit {
            email: form.has("email").then(|| form.some("email")),
            enabled: form.some("enabled").map(|on| on == "yes"),
            end_keys: form.has("end_keys"),
        };
        users::edit(call.app, &visit.caller, name, edit).map(|_| ())
    })
}

/// `POST /console/users/{name}/roles`: adds or removes one role.
pub fn set_roles(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_changed", &|visit, form, name| {
        let user = users::find(call.app, &visit.caller, name)?;
        let mut roles: Vec<(String, Role)> = user
            .roles
            .iter()
            .map(|binding| (slug(visit, binding.workspace), binding.role))
            .collect();
        match form.some("remove") {
            Some(place) => roles.retain(|(known, _)| *known != place),
            None => {
                let role = Role::parse(form.text("role")).ok_or_else(|| {
                    Error::invalid_text("role", visit.texts.get("refusal.choice"))
                })?;
                let place = form.text("role_place").to_owned();
                roles.retain(|(known, _)| *known != place);
                roles.push((place, role));
            }
        }
        users::set_roles(call.app, &visit.caller, name, roles).map(|_| ())
    })
}

/// `POST /console/users/{name}/password`
pub fn set_password(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_password", &|visit, form, name| {
        let new = form.text("password");
        sessions::set_password(call.app, &visit.caller, name, new, None)
    })
}

/// `POST /console/users/{name}/unlock`
pub fn unlock(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_unlocked", &|visit, _, name| {
        attempts::unlock(call.app, &visit.caller, name).map(|_| ())
    })
}

/// `GET /console/users/{name}/delete`
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let user = users::find(call.app, &visit.caller, call.param("name"))?;
        offered::require_change(call.app, &visit.caller, &user)?;
        deleting(visit, 200, &user, None)
    })
}

/// `POST /console/users/{name}/delete`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    submit_fresh(call, &|visit, form| {
        let name = call.param("name");
        match users::delete(call.app, &visit.caller, name, form.has("end_keys")) {
            Ok(_) => Ok(visit.done("user_deleted", &format!("{MOUNT}/users"))),
            Err(err) => match refused(visit, &err) {
                Some((status, _, why)) => {
                    let user = users::find(call.app, &visit.caller, name)?;
                    deleting(visit, status, &user, Some(why))
                }
                None => Err(err),
            },
        }
    })
}

fn deleting(visit: &Visit<'_>, status: u16, user: &User, refusal: Option<String>) -> Result<Reply> {
    let delete = DeletePage {
        s: visit.shell(visit.texts.get("users.delete_title"), Nav::Users),
        href: address(&user.uid.to_string()),
        name: user.user_name.clone(),
        ownerless: ownerless(visit, user)?,
        refusal,
    };
    html(status, &delete)
}

/// The keys without an owner that the user created, as links.
fn ownerless(visit: &Visit<'_>, user: &User) -> Result<Vec<(String, String)>> {
    let found = users::ownerless_keys(visit.call.app, &visit.caller, &user.uid.to_string())?;
    let link = |view: &View| (keys::address(view.key.id), view.key.name.clone());
    Ok(found.iter().map(link).collect())
}

fn changed(
    call: &Call<'_>,
    done: &str,
    act: &dyn Fn(&Visit<'_>, &Form, &str) -> Result<()>,
) -> Result<Reply> {
    submit(call, &|visit, form| {
        let name = call.param("name");
        match act(visit, form, name) {
            Ok(()) => Ok(visit.done(done, &address(name))),
            Err(err) => told(visit, name, err),
        }
    })
}

/// The page of the user, with the refused field.
fn told(visit: &Visit<'_>, name: &str, err: Error) -> Result<Reply> {
    let Some((status, field, why)) = refused(visit, &err) else {
        return Err(err);
    };
    let user = users::find(visit.call.app, &visit.caller, name)?;
    shown(visit, status, &user, (field, why))
}

fn asked(visit: &Visit<'_>, status: u16, form: &Form, refused: (String, String)) -> Result<Reply> {
    let create = CreatePage {
        s: visit.shell(visit.texts.get("users.create_title"), Nav::Users),
        user_name: form.text("user_name").to_owned(),
        email: form.text("email").to_owned(),
        homes: places(visit, Permission::UsersWrite, form.text("workspace"))?,
        roles: roles(visit, form.text("role")),
        places: places(visit, Permission::UsersWrite, form.text("role_place"))?,
        refused,
    };
    html(status, &create)
}

fn shown(visit: &Visit<'_>, status: u16, user: &User, refused: (String, String)) -> Result<Reply> {
    let standing = attempts::standing(visit.call.app, user.uid);
    let now = visit.call.app.now().wall;
    let failures = u64::from(standing.failures);
    let one = UserPage {
        locked: standing.is_locked(),
        failed: match failures {
            0 => String::new(),
            some => visit.texts.count("users.failed", some),
        },
        since: standing
            .since
            .map(|at| DisplayTime::new(visit.texts, at, now)),
        s: visit.shell(user.user_name.clone(), Nav::Users),
        href: address(&user.uid.to_string()),
        name: user.user_name.clone(),
        email: user.email.clone().unwrap_or_default(),
        offered: offered::offered(visit.call.app, &visit.caller, user),
        enabled: user.enabled,
        keys: format!("{MOUNT}/keys?owner={}", encode(&user.user_name)),
        made: format!(
            "{MOUNT}/keys?created_by={}",
            encode(&format!("user:{}", user.user_name))
        ),
        ownerless: ownerless(visit, user)?,
        roles: bound(visit, user),
        // By default the least powerful role is selected, so that a user becomes an owner only by choice.
        choices: roles(visit, Role::Member.as_str()),
        places: places(visit, Permission::UsersWrite, "")?,
        refused,
    };
    html(status, &one)
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
