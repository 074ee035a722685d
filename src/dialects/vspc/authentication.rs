//! `POST /authentication/usernamepassword` and `/authentication/refresh`: the sign-in that Veeam Service Provider
//! Console had before OAuth and still documents (1D-3, 1D-34). It shares its implementation and its limits with
//! `/token`, but members are in camel case, and errors have the format of all other endpoints.

use super::token::{flag, narrowed, no_credentials_in_query, take};
use super::{data, header};
use crate::error::{Error, Result};
use crate::http::form;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions::tokens;
use crate::ops::sessions::tokens::{Pair, TokenGrant};
use crate::refusals;
use serde::Serialize;

/// The fields of the forms. `mfa_code` and `readOnly` are our own extensions, as at `/token`.
const FIELDS: &[&str] = &[
    "username",
    "password",
    "mfa_code",
    "refreshToken",
    "refresh_token",
    "readOnly",
];

/// The tokens of a sign-in; absent values are omitted, never null.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokensBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// The password was correct; the grant `mfa` of `/token` accepts this token together with a one-time code.
    #[serde(skip_serializing_if = "Option::is_none")]
    mfa_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<String>,
}

/// `POST /authentication/usernamepassword`: the answer is a list with one entry, according to the published schema.
pub fn sign_in(call: &Call<'_>) -> Result<Reply> {
    let mut form = read(call)?;
    let (name, password) = (
        needed(&mut form, "username")?,
        needed(&mut form, "password")?,
    );
    let code = take(&mut form, "mfa_code");
    let read_only = flag("readOnly", take(&mut form, "readOnly"))?;
    let origin = call.trust.origin(call.request);
    let app = call.app;
    let granted = tokens::sign_in(app, &name, &password, code.as_deref(), read_only, origin)?;
    Ok(match &granted {
        TokenGrant::Pair(pair) => data([tokens_of(pair)]),
        TokenGrant::CodeNeeded(step) => data([TokensBody {
            mfa_token: Some(step),
            ..TokensBody::default()
        }]),
    })
}

/// `POST /authentication/refresh`: exchanges a refresh token, which works once, for a new pair.
pub fn refresh(call: &Call<'_>) -> Result<Reply> {
    let mut form = read(call)?;
    // The schema and OAuth use different names for this field.
    let token = match take(&mut form, "refresh_token") {
        None => needed(&mut form, "refreshToken")?,
        Some(token) if take(&mut form, "refreshToken").is_none() => token,
        Some(_) => return Err(Error::invalid("refreshToken", refusals::values::twice())),
    };
    let read_only = flag("readOnly", take(&mut form, "readOnly"))?;
    let origin = call.trust.origin(call.request);
    let pair = tokens::refresh(call.app, &token, read_only, origin)?;
    Ok(data(tokens_of(&pair)))
}

fn tokens_of(pair: &Pair) -> TokensBody<'_> {
    TokensBody {
        access_token: Some(pair.access.expose()),
        refresh_token: Some(pair.refresh.expose()),
        mfa_token: None,
        expiration_time: Some(pair.expires_at.to_seven_digits()),
    }
}

fn read(call: &Call<'_>) -> Result<Query> {
    no_credentials_in_query(call, FIELDS)?;
    header(call, "authorization")?;
    let form = form::read(call.request)?;
    narrowed(form.names(), FIELDS)?;
    form.with_names(FIELDS)
}

fn needed(form: &mut Query, name: &str) -> Result<String> {
    take(form, name).ok_or_else(|| Error::invalid(name, refusals::values::needed()))
}
