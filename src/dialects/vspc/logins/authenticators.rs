//! The identities of one-time codes (1D-16, 1D-33), which signed-in users create for themselves.

use super::super::lists::SelectedProperties;
use super::super::version::Client;
use super::super::{caller, data, header, retry, user};
use super::identity::{PROPERTIES, of_authenticator};
use super::query::LoginRequest;
use crate::authz::caller::Caller;
use crate::domain::authenticators::Authenticator;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::authenticators::enrol::{self, NewAuthenticator};
use crate::refusals::verbatim;
use serde::Serialize;

/// The data for an authenticator app.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeSecretBody {
    secret: String,
    secret_url: String,
}

/// `GET /authentication/keys/totp-secret`: generates a secret for the caller's app. This server does not store it.
pub fn draw(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    SelectedProperties::take(call, &["secret", "secretUrl"])?;
    let drawn = enrol::draw(call.app, &caller)?;
    let body = CodeSecretBody {
        secret: drawn.secret,
        secret_url: drawn.url,
    };
    Ok(data(body))
}

/// `POST /users/{userUid}/logins/totp`: from then on the user cannot sign in with the password alone.
pub fn create_codes(call: &Call<'_>) -> Result<Reply> {
    let caller = own_session(call)?;
    let (asked, [url, code]) = LoginRequest::read(call, PROPERTIES, ["secretUrl", "code"])?;
    let (Some(url), Some(code)) = (url, code) else {
        return Err(Error::invalid_text(
            "secretUrl",
            "is needed, and so is the code that follows from it",
        ));
    };
    if asked.read_only {
        return Err(Error::invalid_text(
            "isReadAccessOnly",
            "is not for one-time codes: they are asked for beside a password",
        ));
    }
    let (new, picked) = new(asked);
    let one = enrol::add_codes(call.app, &caller, &url, &code, new, retry(call)?)?;
    made(call, &caller, &one, &picked)
}

/// The caller, who must be the user that the path names (1D-45).
pub fn own_session(call: &Call<'_>) -> Result<Caller> {
    let caller = caller(call)?;
    header(call, "content-type")?;
    let uid = Uid::parse(call.param("userUid")).ok_or(Error::NotFound("user"))?;
    if caller.user == Some(uid) {
        return Ok(caller);
    }
    let why = "users make identities for themselves; sign in as the user who is to have it";
    Err(Error::Forbidden(verbatim(why)))
}

fn new(asked: LoginRequest) -> (NewAuthenticator, SelectedProperties) {
    let new = NewAuthenticator {
        description: asked.description,
        scopes: asked.scopes,
    };
    (new, asked.picked)
}

fn made(
    call: &Call<'_>,
    caller: &Caller,
    one: &Authenticator,
    picked: &SelectedProperties,
) -> Result<Reply> {
    let client = Client::of(call)?;
    let user = user(call, caller)?;
    let directory = call.app.index.directory();
    let shown = of_authenticator(&directory, one, &user, &client);
    Ok(data(picked.of(shown)))
}
