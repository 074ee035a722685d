//! Handlers for users and sessions: `/v1/users` and `/v1/sessions`.

use super::keys::{KeyBody, PageBody, retry};
use crate::domain::authenticators::KIND;
use crate::domain::users::{Role, User};
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::users::{NewUser, UserEdit};
use crate::ops::{attempts, authenticators, sessions, users};
use serde::Serialize;

#[derive(Serialize)]
struct UserBody<'a> {
    uid: String,
    user_name: &'a str,
    email: Option<&'a str>,
    workspace: String,
    enabled: bool,
    #[serde(flatten)]
    failed: Option<FailedBody>,
    roles: Vec<RoleBody>,
    created_at: String,
}

/// Consecutive failed attempts to sign in; absent for a user without any.
#[derive(Serialize)]
struct FailedBody {
    locked: bool,
    failed_attempts: u32,
    failed_since: Option<String>,
}

/// The edited user; and, if the edit disabled the user, the management keys without an owner that this user created.
#[derive(Serialize)]
struct EditedBody<'a> {
    #[serde(flatten)]
    user: UserBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownerless_keys: Option<Vec<KeyBody<'a>>>,
}

/// The management keys without an owner that the deleted user created.
#[derive(Serialize)]
struct DeletedBody<'a> {
    ownerless_keys: Vec<KeyBody<'a>>,
    /// Whether these keys were deleted with the user.
    ended: bool,
}

#[derive(Serialize)]
struct RoleBody {
    workspace: String,
    role: &'static str,
}

#[derive(Serialize)]
struct AuthenticatorBody<'a> {
    number: i64,
    kind: &'static str,
    description: &'a str,
    enabled: bool,
    created_at: String,
}

/// The only body of this dialect that carries an access token.
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    expires_in_s: u64,
}

/// `GET /v1/users`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = users::list(call.app, call.caller()?)?;
    let items: Vec<_> = found.iter().map(|user| shown(call, user)).collect();
    Ok(PageBody::whole(items))
}

/// `POST /v1/users`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let mut body = Fields::of(call.request)?;
    let new = NewUser {
        user_name: body.required_text("user_name")?,
        email: body.text("email")?,
        workspace: body.text("workspace")?,
        password: body.text("password")?,
        roles: roles(&mut body)?.unwrap_or_default(),
    };
    body.finish()?;
    let user = users::create(call.app, call.caller()?, new, retry)?;
    Ok(Reply::json(201, &shown(call, &user)))
}

/// `GET /v1/users/{id}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let user = users::find(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::json(200, &shown(call, &user)))
}

/// `PATCH /v1/users/{id}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let edit = UserEdit {
        email: body.text_or_null("email")?,
        enabled: body.flag_or_null("enabled")?.map(|on| on.unwrap_or(true)),
        end_keys: body.flag("end_keys")?.unwrap_or(false),
    };
    body.finish()?;
    let disables = edit.enabled == Some(false);
    let (user, made) = users::edit(call.app, call.caller()?, call.param("id"), edit)?;
    let edited = EditedBody {
        user: shown(call, &user),
        ownerless_keys: disables.then(|| bodies(&made)).transpose()?,
    };
    Ok(Reply::json(200, &edited))
}

/// `DELETE /v1/users/{id}`: `end_keys` in the query or in a body.
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let in_query = match query.take("end_keys").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(Error::Malformed(
                "the parameter end_keys must be true or false".to_owned(),
            ));
        }
    };
    query.finish()?;
    let mut body = Fields::of_optional(call.request)?;
    let ended = body.flag("end_keys")?.unwrap_or(false) || in_query;
    body.finish()?;
    let made = users::delete(call.app, call.caller()?, call.param("id"), ended)?;
    if made.is_empty() {
        return Ok(Reply::new(204));
    }
    let ownerless_keys = bodies(&made)?;
    Ok(Reply::json(
        200,
        &DeletedBody {
            ownerless_keys,
            ended,
        },
    ))
}

fn bodies(views: &[View]) -> Result<Vec<KeyBody<'_>>> {
    views.iter().map(KeyBody::of).collect()
}

/// `POST /v1/users/{id}/password`
pub fn set_password(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let (new, current) = (
        body.required_text("password")?,
        body.text("current_password")?,
    );
    body.finish()?;
    sessions::set_password(
        call.app,
        call.caller()?,
        call.param("id"),
        &new,
        current.as_deref(),
    )?;
    Ok(Reply::new(204))
}

/// `POST /v1/users/{id}/unlock`
pub fn unlock(call: &Call<'_>) -> Result<Reply> {
    let user = attempts::unlock(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::json(200, &shown(call, &user)))
}

/// `PUT /v1/users/{id}/roles`
pub fn set_roles(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let roles = roles(&mut body)?.ok_or_else(|| Error::invalid("roles", "is needed"))?;
    body.finish()?;
    let user = users::set_roles(call.app, call.caller()?, call.param("id"), roles)?;
    Ok(Reply::json(200, &shown(call, &user)))
}

/// `GET /v1/users/{id}/authenticators`
pub fn authenticators(call: &Call<'_>) -> Result<Reply> {
    let user = users::find(call.app, call.caller()?, call.param("id"))?;
    let found = authenticators::list(call.app, &[user])?;
    let items: Vec<_> = found
        .iter()
        .map(|one| AuthenticatorBody {
            number: one.number,
            kind: KIND,
            description: &one.description,
            enabled: one.enabled,
            created_at: one.created_at.to_string(),
        })
        .collect();
    Ok(PageBody::whole(items))
}

/// `DELETE /v1/users/{id}/authenticators`
pub fn delete_authenticators(call: &Call<'_>) -> Result<Reply> {
    authenticators::delete_all(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::new(204))
}

/// `POST /v1/sessions`
pub fn sign_in(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let (user_name, password) = (
        body.required_text("user_name")?,
        body.required_text("password")?,
    );
    let code = body.text("code")?;
    body.finish()?;
    let origin = call.trust.origin(call.request);
    let signed_in = sessions::sign_in(call.app, &user_name, &password, code.as_deref(), origin)?;
    Ok(Reply::json(
        201,
        &TokenBody {
            access_token: signed_in.token.expose(),
            expires_in_s: signed_in.expires_in_s,
        },
    ))
}

/// `DELETE /v1/sessions/current`
pub fn sign_out(call: &Call<'_>) -> Result<Reply> {
    sessions::sign_out(call.app, call.caller()?)?;
    Ok(Reply::new(204))
}

fn shown<'a>(call: &Call<'_>, user: &'a User) -> UserBody<'a> {
    let standing = attempts::standing(call.app, user.uid);
    let directory = call.app.index.directory();
    let slug = |uid| {
        directory
            .place(uid)
            .map(|place| place.workspace.slug.clone())
            .unwrap_or_default()
    };
    UserBody {
        uid: user.uid.to_string(),
        user_name: &user.user_name,
        email: user.email.as_deref(),
        workspace: slug(user.home),
        enabled: user.enabled,
        failed: (standing.failures > 0).then(|| FailedBody {
            locked: standing.is_locked(),
            failed_attempts: standing.failures,
            failed_since: standing.since.map(|at| at.to_string()),
        }),
        roles: user
            .roles
            .iter()
            .map(|binding| RoleBody {
                workspace: slug(binding.workspace),
                role: binding.role.as_str(),
            })
            .collect(),
        created_at: user.created_at.to_string(),
    }
}

fn roles(body: &mut Fields) -> Result<Option<Vec<(String, Role)>>> {
    let Some(items) = body.objects("roles")? else {
        return Ok(None);
    };
    let one = |(position, mut item): (usize, Fields)| {
        let (workspace, word) = (
            item.required_text("workspace")?,
            item.required_text("role")?,
        );
        item.finish()?;
        let refused = || {
            Error::invalid(
                format!("roles[{position}].role"),
                "must be owner, administrator, key_manager, auditor or member",
            )
        };
        Ok((workspace, Role::parse(&word).ok_or_else(refused)?))
    };
    items
        .into_iter()
        .enumerate()
        .map(one)
        .collect::<Result<Vec<_>>>()
        .map(Some)
}
