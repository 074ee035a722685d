//! The form for a new user.

use super::{address, roles};
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::workspace_choice::{Option3, places, refused};
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::error::Result;
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::users;
use crate::ops::users::NewUser;
use crate::ops::users::offered;
use askama::Template;

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
