//! Users and their roles.

pub mod lost_roles;
pub mod offered;
pub mod preferences;

use super::changed_outside::accept::require_accepted;
use super::idempotency;
use super::idempotency::Retry;
use super::keys::{View, ownerless};
use super::{App, Record, retired_names};
use crate::authz::caller::Caller;
use crate::authz::users::{require_managed, require_role};
use crate::authz::{bounds, caller};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::uid::Uid;
use crate::domain::users::password;
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User, normal_email, normal_user_name};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::sign_ins::{self, SignIn};
use crate::store::{Read, numbers, users, workspaces};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The properties of a new user.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub user_name: String,
    pub email: Option<String>,
    /// Slug or uid of the home workspace; the caller's reach if absent.
    pub workspace: Option<String>,
    pub password: Option<String>,
    /// (workspace by slug or uid, role)
    pub roles: Vec<(String, Role)>,
}

/// The changes of an edit.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    pub email: Option<Option<String>>,
    pub enabled: Option<bool>,
    /// With `enabled: false`: also end the management keys without an owner that the user made.
    pub end_keys: bool,
}

/// Creates a user. You cannot grant a role that you do not have.
pub fn create(app: &App, caller: &Caller, new: NewUser, retry: Option<Retry>) -> Result<Arc<User>> {
    create_as(app, caller, new, true, retry)
}

/// As [`create`], for a user who may be disabled from the beginning.
pub fn create_as(
    app: &App,
    caller: &Caller,
    new: NewUser,
    enabled: bool,
    retry: Option<Retry>,
) -> Result<Arc<User>> {
    let user_name = normal_user_name("user_name", &new.user_name)?;
    let email = new
        .email
        .as_deref()
        .map(|email| normal_email("email", email))
        .transpose()?;
    // Digesting is slow, so the permission is checked before it; the transaction checks it again.
    let allowed = caller.require_somewhere(Permission::UsersWrite);
    app.decided(caller, "user.create", Target::new(Kind::User, ""), allowed)?;
    let digest = match &new.password {
        None => None,
        Some(text) => {
            password::check("password", text, &user_name)?;
            Some(app.passwords.stretch(text)?)
        }
    };
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    let uid = app.change(
        caller,
        "user.create",
        Target::new(Kind::User, ""),
        move |tx, now| {
            let directory = index.directory();
            if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
                return Ok((None, visible(&directory, &who, &earlier)?.uid));
            }
            let home = match &new.workspace {
                None => who.reach,
                Some(asked) => reachable(&directory, &who, "workspace", asked)?,
            };
            who.require(&directory, Permission::UsersWrite, home, None)?;
            // The row decides: the index may not show yet that the workspace was deleted.
            if workspaces::find(tx, home)?.is_none() {
                return Err(Error::invalid("workspace", refusals::workspaces::unknown()));
            }
            if users::find_by_name(tx, &user_name)?.is_some() {
                let is_seen = visible(&directory, &who, &user_name).is_ok();
                return Err(retired_names::taken(Kind::User, &user_name, is_seen));
            }
            retired_names::check_retired(tx, &directory, &who, Kind::User, &user_name, None)?;
            bounds::require_unlimited(tx, &who)?;
            let roles = bindings(&directory, &who, &new.roles)?;
            let uid = Uid::generate()?;
            let digest = digest.map(|stretched| stretched.bound(uid, &files.seal));
            let user = User {
                number: numbers::next_of_keys(tx)?,
                uid,
                user_name,
                email,
                home,
                enabled,
                generation: 0,
                created_at: now,
                deleted_at: None,
                has_second_factor: false,
                roles,
            };
            users::insert(tx, &user, digest.as_ref())?;
            idempotency::remember(tx, &files, &who, retry.as_ref(), user.uid, now)?;
            let mut changes = Changes::default();
            changes.note("user_name", &String::new(), &user.user_name);
            changes.note_option("email", &None, &user.email);
            changes.note("enabled", &true, &user.enabled);
            changes.note(
                "roles",
                &String::new(),
                &roles_text(&directory, &user.roles),
            );
            Ok((Some(record(&user, changes)), user.uid))
        },
    )?;
    found(&app.index.directory(), uid)
}

/// The user, if the caller may see it.
pub fn find(app: &App, caller: &Caller, text: &str) -> Result<Arc<User>> {
    let directory = app.index.directory();
    visible(&directory, caller, text)
}

/// All users that the caller may see, including the caller, by name.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Arc<User>>> {
    caller.require_somewhere(Permission::UsersRead)?;
    let directory = app.index.directory();
    let mut users: Vec<Arc<User>> = directory
        .users()
        .filter(|user| {
            caller.acts_as(user.uid)
                || caller.may(&directory, Permission::UsersRead, user.home, None)
        })
        .cloned()
        .collect();
    users.sort_by(|a, b| a.user_name.cmp(&b.user_name));
    Ok(users)
}

/// How many live keys a user owns, as far as the caller may read them.
pub fn count_keys(app: &App, caller: &Caller, user: Uid) -> Result<u64> {
    let counts = app.read(|read| users::count_keys(read, user))?;
    let directory = app.index.directory();
    let seen = counts.into_iter().filter(|(workspace, _)| {
        caller.may(&directory, Permission::KeysRead, *workspace, Some(user))
    });
    Ok(seen.map(|(_, count)| count).sum())
}

/// When a user last signed in. The caller of this function has checked that the user may be seen.
pub fn last_sign_in(app: &App, user: Uid) -> Result<Option<SignIn>> {
    app.read(|read| sign_ins::find(read, user))
}

/// When each user last signed in.
pub fn last_sign_ins(app: &App) -> Result<HashMap<Uid, SignIn>> {
    app.read(sign_ins::list)
}

/// Which of some users can sign in with a password.
pub fn with_password(app: &App, users: &[Arc<User>]) -> Result<Vec<Arc<User>>> {
    if let [user] = users {
        let password = app.read(|read| users::find_password(read, user.uid))?;
        return Ok(password.map(|_| user.clone()).into_iter().collect());
    }
    let holders: HashSet<Uid> = app.read(users::list_with_password)?.into_iter().collect();
    let can = |user: &&Arc<User>| holders.contains(&user.uid);
    Ok(users.iter().filter(can).cloned().collect())
}

/// Changes a user. Disabling stops the user's keys and ends the user's sessions at once. The answer to disabling lists
/// the keys without an owner that the user made (`keys::ownerless`), if the caller may see them.
pub fn edit(
    app: &App,
    caller: &Caller,
    text: &str,
    edit: UserEdit,
) -> Result<(Arc<User>, Vec<View>)> {
    if edit.end_keys && edit.enabled != Some(false) {
        return Err(Error::invalid(
            "end_keys",
            refusals::users::end_keys_unused(),
        ));
    }
    let (index, who, text) = (app.index.clone(), caller.clone(), text.to_owned());
    let (uid, made) = app.change_all(
        caller,
        "user.edit",
        Target::new(Kind::User, &text),
        move |tx, now| {
            let directory = index.directory();
            let before = manageable(tx, &directory, &who, &text)?;
            let mut after = before.clone();
            if let Some(email) = &edit.email {
                after.email = email
                    .as_deref()
                    .map(|email| normal_email("email", email))
                    .transpose()?;
            }
            after.enabled = edit.enabled.unwrap_or(before.enabled);
            if after.enabled && !before.enabled {
                require_accepted(tx, &who, &Target::new(Kind::User, before.uid))?;
            }
            if before.enabled && !after.enabled {
                // Sessions end for good: if the user is enabled again later, no old session is valid.
                after.generation += 1;
            }
            let mut changes = Changes::default();
            changes.note_option("email", &before.email, &after.email);
            changes.note("enabled", &before.enabled, &after.enabled);
            let made = match edit.enabled {
                Some(false) => ownerless::seen(tx, &directory, &who, &before)?,
                Some(true) | None => Vec::new(),
            };
            let mut records = Vec::new();
            if !changes.is_empty() {
                users::update(tx, &after)?;
                check_owner_left(tx, &directory)?;
                records.push(("user.edit", record(&after, changes)));
            }
            if edit.end_keys {
                records.extend(ownerless::end(tx, &directory, &who, &made, now)?);
            }
            Ok((records, (after.uid, made)))
        },
    )?;
    let made = ownerless::views(app, made)?;
    Ok((found(&app.index.directory(), uid)?, made))
}

/// Replaces a user's roles.
pub fn set_roles(
    app: &App,
    caller: &Caller,
    text: &str,
    roles: Vec<(String, Role)>,
) -> Result<Arc<User>> {
    let (index, who, text) = (app.index.clone(), caller.clone(), text.to_owned());
    let uid = app.change(
        caller,
        "user.roles",
        Target::new(Kind::User, &text),
        move |tx, _| {
            let directory = index.directory();
            let user = manageable(tx, &directory, &who, &text)?;
            bounds::require_unlimited(tx, &who)?;
            let after = bindings(&directory, &who, &roles)?;
            // A caller cannot take away a role that they could not grant.
            for binding in user.roles.iter().filter(|binding| !after.contains(binding)) {
                require_role(&directory, &who, binding)?;
            }
            users::replace_roles(tx, user.uid, &after)?;
            check_owner_left(tx, &directory)?;
            let mut changes = Changes::default();
            changes.note(
                "roles",
                &roles_text(&directory, &user.roles),
                &roles_text(&directory, &after),
            );
            let noted = !changes.is_empty();
            Ok((noted.then(|| record(&user, changes)), user.uid))
        },
    )?;
    found(&app.index.directory(), uid)
}

/// The management keys without an owner that a user made, as far as the caller may see them.
pub fn ownerless_keys(app: &App, caller: &Caller, text: &str) -> Result<Vec<View>> {
    let user = find(app, caller, text)?;
    let made = app.read(|read| ownerless::seen(read, &app.index.directory(), caller, &user))?;
    ownerless::views(app, made)
}

/// Ends a user for good. Keys that the user owns open nothing any more. The answer lists the keys without an owner that
/// the user made (`keys::ownerless`), if the caller may see them; `end_keys` ends them too.
pub fn delete(app: &App, caller: &Caller, text: &str, end_keys: bool) -> Result<Vec<View>> {
    let (index, who, text) = (app.index.clone(), caller.clone(), text.to_owned());
    let made = app.change_all(
        caller,
        "user.delete",
        Target::new(Kind::User, &text),
        move |tx, now| {
            let directory = index.directory();
            let user = manageable(tx, &directory, &who, &text)?;
            users::delete(tx, user.uid, now)?;
            check_owner_left(tx, &directory)?;
            let mut changes = Changes::default();
            changes.note("user_name", &user.user_name, &String::new());
            let mut records = vec![("user.delete", record(&user, changes))];
            let made = ownerless::seen(tx, &directory, &who, &user)?;
            if end_keys {
                records.extend(ownerless::end(tx, &directory, &who, &made, now)?);
            }
            Ok((records, made))
        },
    )?;
    ownerless::views(app, made)
}

fn reachable(directory: &Directory, caller: &Caller, field: &str, asked: &str) -> Result<Uid> {
    directory
        .find_place(asked)
        .map(|place| place.workspace.uid)
        .filter(|uid| caller.knows(directory, *uid))
        .ok_or_else(|| Error::invalid(field, refusals::workspaces::unknown()))
}

/// The requested roles, each of which the caller must hold in full.
fn bindings(
    directory: &Directory,
    caller: &Caller,
    asked: &[(String, Role)],
) -> Result<Vec<Binding>> {
    let mut bindings: Vec<Binding> = Vec::new();
    for (position, (workspace, role)) in asked.iter().enumerate() {
        let field = format!("roles[{position}].workspace");
        let binding = Binding {
            workspace: reachable(directory, caller, &field, workspace)?,
            role: *role,
        };
        if bindings
            .iter()
            .any(|known| known.workspace == binding.workspace)
        {
            return Err(Error::invalid(field, refusals::users::role_twice()));
        }
        require_role(directory, caller, &binding)?;
        bindings.push(binding);
    }
    Ok(bindings)
}

pub fn visible(directory: &Directory, caller: &Caller, text: &str) -> Result<Arc<User>> {
    let user = directory
        .find_user(&text.to_ascii_lowercase())
        .filter(|user| {
            caller.acts_as(user.uid)
                || caller.may(directory, Permission::UsersRead, user.home, None)
        });
    user.cloned().ok_or(Error::NotFound("user"))
}

/// A user whom the caller may change: within the caller's reach, and with no role that the caller could not grant.
pub fn manageable(read: &Read, directory: &Directory, caller: &Caller, text: &str) -> Result<User> {
    caller.require_somewhere(Permission::UsersWrite)?;
    let seen = visible(directory, caller, text)?;
    require_managed(directory, caller, &seen)?;
    users::find(read, seen.uid)?
        .filter(|user| user.deleted_at.is_none())
        .ok_or(Error::NotFound("user"))
}

/// Checks, in the transaction of the change, that the root workspace keeps an active owner.
fn check_owner_left(read: &Read, directory: &Directory) -> Result<()> {
    if users::count_owners(read, caller::root(directory)?)? > 0 {
        return Ok(());
    }
    Err(Error::Conflict(refusals::users::last_owner()))
}

pub fn found(directory: &Directory, uid: Uid) -> Result<Arc<User>> {
    directory.user(uid).cloned().ok_or(Error::NotFound("user"))
}

pub fn record(user: &User, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::User, user.uid),
        workspace: Some(user.home),
        changes,
    }
}

fn roles_text(directory: &Directory, roles: &[Binding]) -> String {
    let one = |binding: &Binding| {
        let slug = directory
            .place(binding.workspace)
            .map_or("?", |place| place.workspace.slug.as_str());
        format!("{}@{slug}", binding.role.as_str())
    };
    roles.iter().map(one).collect::<Vec<_>>().join(" ")
}
