//! `POST /api/v3/token`: OAuth 2.0 with the grants `password` and `refresh_token` (RFC 6749, sections 4.3 and 6).
//!
//! A failure is 400 with one of six words, whatever its cause: generated clients read nothing else (1D-31). A stale
//! `Authorization` header is no reason to refuse; clients send the old access token when they renew it.

use super::{header, json, preset};
use crate::error::{Error, Result};
use crate::http::form;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::people::tokens::{self, Pair};
use serde::Serialize;

/// The only body of this dialect that carries tokens (1D-29).
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    refresh_token: &'a str,
    expires_in: u64,
    /// Only where the client asked for scopes: what it got is all of them (RFC 6749, section 3.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// RFC 6749, section 5.2.
#[derive(Serialize)]
struct FailureBody {
    error: &'static str,
    error_description: String,
    error_uri: Option<&'static str>,
}

/// Why there is no token: a word of RFC 6749 with a sentence, or a fault of the server.
enum Failure {
    Server(Error),
    TooMany(u64),
    Word(&'static str, String),
}

/// Grants of this system that this server does not have.
const OTHER_GRANTS: &[&str] = &["mfa", "authorization_code", "public_key", "as"];

pub fn issue(call: &Call<'_>) -> Result<Reply> {
    let failure = match granted(call) {
        Ok((pair, scope)) => {
            let body = TokenBody {
                access_token: pair.access.expose(),
                token_type: "bearer",
                refresh_token: pair.refresh.expose(),
                expires_in: pair.expires_in_s,
                scope,
            };
            return Ok(json(200, &body));
        }
        Err(failure) => failure,
    };
    match failure {
        Failure::Server(err) => Err(err),
        Failure::TooMany(seconds) => {
            let why = format!("Too many attempts; try again in {seconds} seconds.");
            Ok(failed("invalid_request", why).with("retry-after", &seconds.to_string()))
        }
        Failure::Word(word, why) => Ok(failed(word, why)),
    }
}

fn failed(error: &'static str, error_description: String) -> Reply {
    let body = FailureBody {
        error,
        error_description,
        error_uri: None,
    };
    json(400, &body)
}

fn granted(call: &Call<'_>) -> std::result::Result<(Pair, Option<String>), Failure> {
    if !call.request.query().is_empty() {
        return Err(refused("The parameters belong into the body."));
    }
    header(call, "authorization")?;
    let mut form = form::read(call.request)?;
    let grant =
        take(&mut form, "grant_type").ok_or_else(|| refused("The grant_type is missing."))?;
    let scope = scope(&mut form)?;
    let read_only = read_only(&mut form)?;
    let origin = call.trust.origin(call.request);
    let pair = match grant.as_str() {
        "password" => {
            let (Some(name), Some(password)) =
                (take(&mut form, "username"), take(&mut form, "password"))
            else {
                return Err(refused("The grant needs username and password."));
            };
            tokens::sign_in(call.app, &name, &password, read_only, origin).map_err(|err| {
                no_grant(
                    err,
                    "The user name or the password is not right, or the user is disabled.",
                )
            })?
        }
        "refresh_token" => {
            let Some(token) = take(&mut form, "refresh_token") else {
                return Err(refused("The grant needs refresh_token."));
            };
            tokens::refresh(call.app, &token, read_only, origin)
                .map_err(|err| no_grant(err, "The refresh token is not valid any more."))?
        }
        other if OTHER_GRANTS.contains(&other) => {
            let why = format!("This server does not have the grant {other}.");
            return Err(Failure::Word("unsupported_grant_type", why));
        }
        _ => {
            let why = "The grant_type must be password or refresh_token.".to_owned();
            return Err(Failure::Word("unsupported_grant_type", why));
        }
    };
    Ok((pair, scope))
}

/// A parameter; an empty one counts as absent (RFC 6749, section 3.2).
fn take(form: &mut Query, name: &str) -> Option<String> {
    form.take(name).filter(|value| !value.is_empty())
}

/// The scopes that the client asked for, which must exist. It gets all there are, and is told so.
fn scope(form: &mut Query) -> std::result::Result<Option<String>, Failure> {
    let Some(asked) = take(form, "scope") else {
        return Ok(None);
    };
    let known = preset::SCOPES.map(|(name, _)| name);
    if asked.split(' ').all(|scope| known.contains(&scope)) {
        return Ok(Some(known.join(" ")));
    }
    let why = format!("The scopes are {}.", known.join(", "));
    Err(Failure::Word("invalid_scope", why))
}

/// `readOnly` asks for a token that only reads, with any grant (1D-28).
fn read_only(form: &mut Query) -> std::result::Result<bool, Failure> {
    match take(form, "readOnly") {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(refused("readOnly must be true or false.")),
    }
}

fn refused(why: &str) -> Failure {
    Failure::Word("invalid_request", why.to_owned())
}

/// What cannot be told from a wrong grant, and must not be.
fn no_grant(err: Error, why: &str) -> Failure {
    match err {
        Error::Unauthenticated => Failure::Word("invalid_grant", why.to_owned()),
        other => other.into(),
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Failure {
        match err {
            Error::TooMany { retry_after_s } => Failure::TooMany(retry_after_s.max(1)),
            Error::Internal(_) | Error::Unavailable(_) => Failure::Server(err),
            other => Failure::Word(
                "invalid_request",
                format!("The request is refused: {other}."),
            ),
        }
    }
}
