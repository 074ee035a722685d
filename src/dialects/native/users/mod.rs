//! Handlers for users and sessions: `/v1/users` and `/v1/sessions`.

pub mod authenticators;
mod operations;
pub mod sessions;

use super::keys::bodies::{EXAMPLE_SECRET, KeyBody};
use super::keys::retry;
use crate::domain::users::roles::Role;
use crate::domain::users::{EMAIL_CHARS_MAX, USER_NAME_PATTERN, User};
use crate::error::{Error, Result};
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::users::{NewUser, UserEdit};
use crate::ops::{attempts, sessions as sign_ins, users};
use crate::refusals::verbatim;
use crate::store::sign_ins::SignIn;
pub use operations::describe;
use serde::Serialize;

/// A password in examples.
const EXAMPLE_PASSWORD: &str = "seven lanterns over the harbour";

answer! {
    struct UserBody<'a> as "User" {
        uid: String [format = "uuid"] = "c1a7e3d0-2b54-4f6a-9e18-6d0f3b8c7a21",
        user_name: &'a str = "alice",
        email: Option<&'a str> = "alice@example.com",
        /// The slug of the user's home.
        workspace: String = "emea",
        enabled: bool = true,
        /// Whether the user signs in with a second factor as well as the password.
        second_factor: bool,
        /// The last time that the user signed in with a password.
        last_signed_in_at: Option<Time>,
        #[serde(flatten)]
        failed: Option<FailedBody>,
        roles: Vec<RoleBody> = [RoleBody::example()],
        created_at: Time,
    }
}

answer! {
    /// Consecutive failed attempts to sign in; absent for a user without any.
    struct FailedBody as "" {
        /// After 100 failed attempts in a row: the password alone is accepted only from networks that the user has signed
        /// in from before.
        locked: bool,
        /// Consecutive failed attempts to sign in. This, `locked` and `failed_since` are absent for a user without any.
        failed_attempts: u32 [minimum = 1],
        /// The time of the first of them.
        failed_since: Option<Time>,
    }
}

answer! {
    struct EditedBody<'a> as "EditedUser" {
        #[serde(flatten)]
        user: UserBody<'a>,
        /// Present if `enabled` was set to false: management keys without an owner that were issued by this user, or by
        /// keys of this user, or by keys that those issued.
        #[serde(skip_serializing_if = "Option::is_none")]
        ownerless_keys: Option<Vec<KeyBody<'a>>>,
    }
}

answer! {
    /// The management keys without an owner that the deleted user created.
    struct DeletedBody<'a> as "" {
        ownerless_keys: Vec<KeyBody<'a>>,
        /// Whether these keys were deleted with the user.
        ended: bool,
    }
}

request! {
    /// The role of a user in a workspace and below it.
    #[derive(Serialize)]
    struct RoleBody as "RoleBinding" {
        /// Slug or uid.
        workspace: String = "emea",
        /// What the user may do there; the roles are in order, the one with the most rights first.
        role: String [enum = Role::all().map(Role::as_str).collect::<Vec<_>>()] = "key_manager",
    }
}

answer! {
    /// The only body of this API that carries an access token.
    struct TokenBody<'a> as "AccessToken" {
        access_token: &'a str = EXAMPLE_SECRET.replacen("lk_", "lks_", 1),
        expires_in_s: u64 [minimum = 1] = 3600,
    }
}

request! {
    struct NewUserBody as "NewUser" {
        /// Unique, without regard to case. A caller who does not manage the root workspace cannot choose a name that
        /// another user had before.
        user_name: String [minLength = 1, maxLength = 100, pattern = USER_NAME_PATTERN] = "alice",
        email: Option<String> [maxLength = EMAIL_CHARS_MAX] = "alice@example.com",
        /// The user's home, slug or uid; by default the caller's own workspace.
        workspace: Option<String> = "emea",
        /// 12 to 1,024 bytes, and none of the common passwords.
        password: Option<String> = EXAMPLE_PASSWORD,
        roles: Option<Vec<RoleBody>> = [RoleBody::example()],
    }
}

request! {
    struct UserEditBody as "UserEdit" {
        email: Option<Option<String>> [maxLength = EMAIL_CHARS_MAX],
        /// False stops the user's keys and sessions at once.
        enabled: Option<Option<bool>> = false,
        /// With `enabled` false: also ends the keys in `ownerless_keys`; needs `keys:write`.
        end_keys: Option<bool>,
    }
}

request! {
    struct DeletionBody as "" {
        /// Also ends the keys in `ownerless_keys`; needs `keys:write`.
        end_keys: Option<bool> = true,
    }
}

request! {
    struct PasswordBody as "" {
        /// 12 to 1,024 bytes, and none of the common passwords.
        password: String = EXAMPLE_PASSWORD,
        /// Needed to change one's own password.
        current_password: Option<String>,
    }
}

request! {
    struct RolesBody as "" {
        roles: Vec<RoleBody> = [RoleBody::example()],
    }
}

request! {
    struct SignInBody as "" {
        user_name: String = "alice",
        password: String = EXAMPLE_PASSWORD,
        /// Six digits, of a user who has one-time codes; or one of the user's recovery codes.
        code: Option<String>,
    }
}

/// `GET /v1/users`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = users::list(call.app, call.caller()?)?;
    let mut last = users::last_sign_ins(call.app)?;
    let items = found
        .iter()
        .map(|user| {
            let last = last.remove(&user.uid);
            body(call, user, last)
        })
        .collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `POST /v1/users`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let body = NewUserBody::of(call.request)?;
    let new = NewUser {
        user_name: body.user_name,
        email: body.email,
        workspace: body.workspace,
        password: body.password,
        roles: roles(body.roles.unwrap_or_default())?,
    };
    let user = users::create(call.app, call.caller()?, new, retry)?;
    Ok(Reply::json(201, &shown(call, &user)?))
}

/// `GET /v1/users/{id}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let user = users::find(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::json(200, &shown(call, &user)?))
}

/// `PATCH /v1/users/{id}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let body = UserEditBody::of(call.request)?;
    let edit = UserEdit {
        email: body.email,
        enabled: body.enabled.map(|on| on.unwrap_or(true)),
        end_keys: body.end_keys.unwrap_or(false),
    };
    let disables = edit.enabled == Some(false);
    let (user, made) = users::edit(call.app, call.caller()?, call.param("id"), edit)?;
    let edited = EditedBody {
        user: shown(call, &user)?,
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
            return Err(Error::Malformed(verbatim(
                "the parameter end_keys must be true or false",
            )));
        }
    };
    query.finish()?;
    let body = DeletionBody::of_optional(call.request)?;
    let ended = body.end_keys.unwrap_or(false) || in_query;
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
    let body = PasswordBody::of(call.request)?;
    sign_ins::set_password(
        call.app,
        call.caller()?,
        call.param("id"),
        &body.password,
        body.current_password.as_deref(),
    )?;
    Ok(Reply::new(204))
}

/// `POST /v1/users/{id}/unlock`
pub fn unlock(call: &Call<'_>) -> Result<Reply> {
    let user = attempts::unlock(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::json(200, &shown(call, &user)?))
}

/// `PUT /v1/users/{id}/roles`
pub fn set_roles(call: &Call<'_>) -> Result<Reply> {
    let roles = roles(RolesBody::of(call.request)?.roles)?;
    let user = users::set_roles(call.app, call.caller()?, call.param("id"), roles)?;
    Ok(Reply::json(200, &shown(call, &user)?))
}

/// `POST /v1/sessions`
pub fn sign_in(call: &Call<'_>) -> Result<Reply> {
    let body = SignInBody::of(call.request)?;
    let origin = call.trust.origin(call.request);
    let code = body.code.as_deref();
    let signed_in = sign_ins::sign_in(call.app, &body.user_name, &body.password, code, origin)?;
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
    sign_ins::sign_out(call.app, call.caller()?)?;
    Ok(Reply::new(204))
}

fn shown<'a>(call: &Call<'_>, user: &'a User) -> Result<UserBody<'a>> {
    let last = users::last_sign_in(call.app, user.uid)?;
    Ok(body(call, user, last))
}

fn body<'a>(call: &Call<'_>, user: &'a User, last: Option<SignIn>) -> UserBody<'a> {
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
        second_factor: user.has_second_factor,
        last_signed_in_at: last.map(|last| Time(last.at)),
        failed: (standing.failures > 0).then(|| FailedBody {
            locked: standing.is_locked(),
            failed_attempts: standing.failures,
            failed_since: standing.since.map(Time),
        }),
        roles: user
            .roles
            .iter()
            .map(|binding| RoleBody {
                workspace: slug(binding.workspace),
                role: binding.role.as_str().to_owned(),
            })
            .collect(),
        created_at: Time(user.created_at),
    }
}

fn roles(bindings: Vec<RoleBody>) -> Result<Vec<(String, Role)>> {
    let one = |(position, binding): (usize, RoleBody)| {
        let refused = || {
            Error::invalid_text(
                format!("roles[{position}].role"),
                "must be owner, administrator, key_manager, auditor or member",
            )
        };
        let role = Role::parse(&binding.role).ok_or_else(refused)?;
        Ok((binding.workspace, role))
    };
    bindings.into_iter().enumerate().map(one).collect()
}
