//! What the forms on a user's page do.

use super::{address, detail, slug};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, redirect, submit, submit_fresh};
use crate::dialects::console::workspace_choice::refused;
use crate::domain::keys::KeyId;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::authenticators::{self, Confirmation};
use crate::ops::sessions::{listed, tokens};
use crate::ops::users::UserEdit;
use crate::ops::{attempts, sessions, users};

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

/// `POST /console/users/{name}/roles`: all roles in one step. The form has the workspace, the former role and the role of
/// each line, and a line for one more role.
pub fn set_roles(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_changed", &|visit, form, name| {
        let user = users::find(call.app, &visit.caller, name)?;
        let mut roles: Vec<(String, Role)> = user
            .roles
            .iter()
            .map(|binding| (slug(visit, binding.workspace), binding.role))
            .collect();
        let lines = form.all("places[]").into_iter().zip(form.all("roles[]"));
        for (place, role) in lines {
            // A role that was taken away since the page was loaded does not come back.
            let Some(known) = roles.iter().position(|(known, _)| *known == place) else {
                continue;
            };
            match role.as_str() {
                "" => drop(roles.remove(known)),
                role => roles[known].1 = parsed(visit, role)?,
            }
        }
        if let Some(role) = form.some("role") {
            let place = form.text("role_place").to_owned();
            roles.retain(|(known, _)| *known != place);
            roles.push((place, parsed(visit, &role)?));
        }
        users::set_roles(call.app, &visit.caller, name, roles).map(|_| ())
    })
}

fn parsed(visit: &Visit<'_>, role: &str) -> Result<Role> {
    let refused = || Error::invalid_text("role", visit.texts.get("refusal.choice"));
    Role::parse(role).ok_or_else(refused)
}

/// `POST /console/users/{name}/password`
pub fn set_password(call: &Call<'_>) -> Result<Reply> {
    submit_fresh(call, &|visit, form| {
        let name = call.param("name");
        // The page that asks for the visitor's own password keeps no password: the new one has to be typed again.
        if !form.has("password") {
            return Ok(redirect(&format!("{}#set-password", address(name))));
        }
        let new = form.text("password");
        match sessions::set_password(call.app, &visit.caller, name, new, None) {
            Ok(()) => Ok(visit.done("user_password", &address(name))),
            Err(err) => told(visit, name, err),
        }
    })
}

/// `POST /console/users/{name}/unlock`
pub fn unlock(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_unlocked", &|visit, _, name| {
        attempts::unlock(call.app, &visit.caller, name).map(|_| ())
    })
}

/// `POST /console/users/{name}/reset-two-step`: for a user who has lost the phone and the recovery codes.
pub fn reset_two_step(call: &Call<'_>) -> Result<Reply> {
    submit_fresh(call, &|visit, _| {
        let name = call.param("name");
        let confirmation = Confirmation::Password(None);
        match authenticators::delete_all(call.app, &visit.caller, name, confirmation) {
            Ok(()) => Ok(visit.done("two_step_reset", &address(name))),
            Err(err) => told(visit, name, err),
        }
    })
}

/// `POST /console/users/{name}/end-sessions`
pub fn end_sessions(call: &Call<'_>) -> Result<Reply> {
    changed(call, "user_sessions_ended", &|visit, _, name| {
        tokens::end_all(call.app, &visit.caller, name)
    })
}

/// `POST /console/users/{name}/sessions/{id}/end`
pub fn end_session(call: &Call<'_>) -> Result<Reply> {
    changed(call, "session_ended", &|visit, _, name| {
        let id = KeyId::parse(call.param("id")).ok_or(Error::NotFound("session"))?;
        listed::end(call.app, &visit.caller, name, id)
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
                    detail::deleting(visit, status, &user, Some(why))
                }
                None => Err(err),
            },
        }
    })
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
    detail::shown(visit, status, &user, (field, why))
}
