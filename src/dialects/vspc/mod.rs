//! Veeam Service Provider Console: OAuth tokens, user identities, and API keys that act for their users.
//!
//! The numbers 1D-… in this folder refer to the table in its README. In this API a key is a user identity, the secret
//! of the key is the property `parameters` of the identity, and a workspace is a company.

mod authentication;
mod error;
mod lists;
mod logins;
mod organizations;
mod patch;
mod preset;
mod token;
mod users;
mod version;

pub use preset::PRESET;

use crate::authz::caller::{Caller, Identity};
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::request::{HeaderFault, Method};
use crate::http::route::Access::{Caller as Known, Public};
use crate::http::route::{
    Call, CatalogWords, Route, Surface, delete, get, patch, patches_off, post,
};
use crate::ops;
use crate::ops::authenticate::as_owner;
use crate::ops::idempotency::Retry;
use crate::refusals::verbatim;
use serde::Serialize;
use std::sync::Arc;

pub const SURFACE: Surface = Surface {
    name: "vspc",
    mount: "/api/v3",
    movable: true,
    routes: ROUTES,
    checks_host: true,
    render_error: error::render,
    render_fault: error::fault,
    would_authenticate: None,
    refusals: Some(CatalogWords {
        catalog: preset::CATALOG,
        word: error::word,
    }),
    moved: None,
    describes: None,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    // Signing in
    post  ("/token",                                  Public, token::issue).with_query(),
    post  ("/authentication/usernamepassword",        Public, authentication::sign_in).with_query(),
    post  ("/authentication/refresh",                 Public, authentication::refresh).with_query(),
    delete("/users/{userUid}/tokens",                 Known,  users::end_tokens).with_query(),
    // Identities
    get   ("/users/logins",                           Known,  logins::list).with_query(),
    get   ("/users/{userUid}/logins",                 Known,  logins::list_of_user).with_query(),
    post  ("/users/{userUid}/logins/apikey",          Known,  logins::create).with_query(),
    post  ("/users/{userUid}/logins/totp",            Known,  logins::authenticators::create_codes).with_query(),
    get   ("/authentication/keys/totp-secret",        Known,  logins::authenticators::draw).with_query(),
    get   ("/users/{userUid}/logins/{userLoginId}",   Known,  logins::find).with_query(),
    patch ("/users/{userUid}/logins/{userLoginId}",   Known,  logins::edit).with_query().takes_away_if(patches_off),
    delete("/users/{userUid}/logins/{userLoginId}",   Known,  logins::delete).with_query(),
    get   ("/organizations/{organizationUid}/keys",   Known,  logins::list_of_organization).with_query(),
    get   ("/organizations/{organizationUid}/users",  Known,  users::list_of_organization).with_query(),
    get   ("/organizations/companies",                Known,  organizations::companies).with_query(),
    // Users
    get   ("/users/me",                               Known,  users::me).with_query(),
    get   ("/users",                                  Known,  users::list).with_query(),
    post  ("/users",                                  Known,  users::create).with_query(),
    get   ("/users/{userUid}",                        Known,  users::find).with_query(),
    patch ("/users/{userUid}",                        Known,  users::edit).with_query().takes_away_if(patches_off),
    delete("/users/{userUid}",                        Known,  users::delete).with_query(),
    // The server
    get   ("/about",                                  Known,  version::about).with_query(),
];

/// How long a repeated request with the same `X-Request-id` counts as the same request: 5 minutes (1D-40).
const REPEAT_MS: i64 = 5 * 60 * 1000;

/// An answer with one resource (1D-37).
#[derive(Serialize)]
struct DataBody<T> {
    data: T,
}

/// The caller as a user of the server, either signed in or through a key with the scope `rest` (1D-13, 1D-43). A
/// read-only credential may only use GET and HEAD (1D-8, 1D-47). An access token must be sent as `Bearer`, which the
/// policy requires for keys too (1D-13).
fn caller(call: &Call<'_>) -> Result<Caller> {
    let method = &call.request.method;
    let writes = *method != Method::GET && *method != Method::HEAD;
    let known = call.caller()?;
    if matches!(known.identity, Identity::Acting(_) | Identity::Session(_)) {
        let scheme = header(call, "authorization")?.and_then(|value| value.split_once(' '));
        if !scheme.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            return Err(Error::Unauthenticated);
        }
    }
    as_owner(call.app, known, preset::CATALOG, "rest", writes)
}

/// The user whose uid is in the path, if the caller may see this user.
fn user(call: &Call<'_>, caller: &Caller) -> Result<Arc<User>> {
    let uid = Uid::parse(call.param("userUid")).ok_or(Error::NotFound("user"))?;
    ops::users::find(call.app, caller, &uid.to_string())
}

/// The `X-Request-id` of a request that changes something. A value that is not a UUID comes from a proxy and is
/// ignored.
fn retry(call: &Call<'_>) -> Result<Option<Retry>> {
    let Some(name) = header(call, "x-request-id")? else {
        return Ok(None);
    };
    let Some(uid) = Uid::parse(name) else {
        return Ok(None);
    };
    let request = call.request;
    let route = format!(
        "{} {}?{}",
        request.method.as_str(),
        request.path(),
        request.query()
    );
    Ok(Some(
        Retry::new(&uid.to_string(), &route, &request.body).for_ms(REPEAT_MS),
    ))
}

/// The value of a header that must not be repeated.
fn header<'a>(call: &Call<'a>, name: &str) -> Result<Option<&'a str>> {
    call.request.header(name).map_err(|fault| {
        Error::Malformed(verbatim(match fault {
            HeaderFault::NotText => format!("the header {name} is not UTF-8"),
            HeaderFault::Repeated => format!("the header {name} is there twice"),
        }))
    })
}

/// The media type of JSON in this API.
const CONTENT_TYPE: &str = "application/json; charset=utf-8";

fn json<T: Serialize>(status: u16, value: &T) -> Reply {
    Reply::new(status).json_body(CONTENT_TYPE, value)
}

/// `{"data": …}`
fn data<T: Serialize>(value: T) -> Reply {
    json(200, &DataBody { data: value })
}
