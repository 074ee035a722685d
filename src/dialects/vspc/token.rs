//! `POST /api/v3/token`: OAuth 2.0 with the grants `password` and `refresh_token` (RFC 6749, sections 4.3 and 6), and
//! the grants of this API: `mfa`, which follows a password, and `as` (1D-28, 1D-33). Sign-in with an RSA key is not
//! supported.
//!
//! Every failure is 400 with one of six error codes, because generated clients understand nothing else (1D-31). An
//! outdated `Authorization` header does not matter: clients send the old access token when they renew it.

use super::{header, json, preset};
use crate::domain::text::{counted, sentence};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::http::form;
use crate::http::query::{NAME_CHARS_SHOWN, Query};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions::tokens::Pair;
use crate::ops::sessions::{SignedIn, tokens};
use crate::refusals;
use serde::Serialize;

/// The parameters of all grants; other parameters are ignored.
const FIELDS: &[&str] = &[
    "grant_type",
    "scope",
    "readOnly",
    "username",
    "password",
    "mfa_token",
    "mfa_code",
    "refresh_token",
    "userUid",
];

/// Tokens in the format of OAuth (1D-29).
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    expires_in: u64,
    /// Present only if the client requested scopes; it contains all scopes that were granted (RFC 6749, section 3.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// The answer to a correct password if a one-time code is needed too; the second step requires this token and the code
/// (1D-29).
#[derive(Serialize)]
struct StepBody {
    mfa_token: String,
}

/// The result of a grant.
enum GrantAnswer {
    /// An access token without a refresh token.
    Alone(SignedIn),
    Pair(Pair),
    Step(StepBody),
}

/// RFC 6749, section 5.2.
#[derive(Serialize)]
struct FailureBody {
    error: &'static str,
    error_description: String,
    error_uri: Option<&'static str>,
}

/// The reason why no token is issued: an error code of RFC 6749 with a sentence, or a failure of the server.
enum Failure {
    Server(Error),
    TooMany(u64),
    Word(&'static str, String),
}

pub fn issue(call: &Call<'_>) -> Result<Reply> {
    let failure = match granted(call) {
        Ok((GrantAnswer::Step(step), _)) => return Ok(json(200, &step)),
        Ok((GrantAnswer::Alone(signed_in), scope)) => {
            let body = TokenBody {
                access_token: signed_in.token.expose(),
                token_type: "bearer",
                refresh_token: None,
                expires_in: signed_in.expires_in_s,
                scope,
            };
            return Ok(json(200, &body));
        }
        Ok((GrantAnswer::Pair(pair), scope)) => {
            let body = TokenBody {
                access_token: pair.access.expose(),
                token_type: "bearer",
                refresh_token: Some(pair.refresh.expose()),
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
            let why = format!(
                "Too many attempts; try again in {}.",
                counted(seconds, "second")
            );
            Ok(failed("invalid_request", why).with("retry-after", seconds.to_string()))
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

fn granted(call: &Call<'_>) -> std::result::Result<(GrantAnswer, Option<String>), Failure> {
    if no_credentials_in_query(call, FIELDS).is_err() {
        return Err(refused("The parameters belong into the body."));
    }
    header(call, "authorization")?;
    let form = form::read(call.request)?;
    narrowed(form.names(), FIELDS)?;
    let mut form = form.with_names(FIELDS)?;
    let grant =
        take(&mut form, "grant_type").ok_or_else(|| refused("The grant_type is missing."))?;
    let scope = scope(&mut form)?;
    let read_only = flag("readOnly", take(&mut form, "readOnly"))?;
    let origin = call.trust.origin(call.request);
    let app = call.app;
    let mut needed = |name: &str| {
        take(&mut form, name).ok_or_else(|| refused(&format!("The grant needs {name}.")))
    };
    let granted = match grant.as_str() {
        "password" => {
            let (Ok(name), Ok(password)) = (needed("username"), needed("password")) else {
                return Err(refused("The grant needs username and password."));
            };
            // This is our own extension: for a locked account, the password and the code must be in the same request.
            let code = needed("mfa_code").ok();
            let why = "The user name or the password is not right, or the user is disabled.";
            let granted =
                tokens::sign_in(app, &name, &password, code.as_deref(), read_only, origin);
            match granted.map_err(|err| no_grant(err, why))? {
                tokens::TokenGrant::Pair(pair) => GrantAnswer::Pair(pair),
                tokens::TokenGrant::CodeNeeded(mfa_token) => {
                    GrantAnswer::Step(StepBody { mfa_token })
                }
            }
        }
        "mfa" => {
            let (step, code) = (needed("mfa_token")?, needed("mfa_code")?);
            let why =
                "The code is not right or was used before, or the mfa_token is not valid any more.";
            tokens::sign_in_with_code(app, &step, &code, read_only, origin)
                .map(GrantAnswer::Pair)
                .map_err(|err| no_grant(err, why))?
        }
        "refresh_token" => {
            let why = "The refresh token is not valid any more.";
            tokens::refresh(app, &needed("refresh_token")?, read_only, origin)
                .map(GrantAnswer::Pair)
                .map_err(|err| no_grant(err, why))?
        }
        "as" => {
            let (token, uid) = (needed("refresh_token")?, needed("userUid")?);
            let uid = Uid::parse(&uid).ok_or_else(|| refused("userUid must be a UUID."))?;
            let why = "The refresh token is not valid any more, or the user is not one of those whom you manage.";
            tokens::act_as(app, &token, &uid.to_string(), read_only, origin)
                .map(GrantAnswer::Alone)
                .map_err(|err| match err {
                    Error::NotFound(_) => no_grant(Error::Unauthenticated, why),
                    err => no_grant(err, why),
                })?
        }
        _ => {
            let why = "The grant_type must be password, refresh_token, mfa or as.";
            return Err(Failure::Word("unsupported_grant_type", why.to_owned()));
        }
    };
    Ok((granted, scope))
}

/// The value of a parameter; an empty one counts as absent (RFC 6749, section 3.2).
pub fn take(form: &mut Query, name: &str) -> Option<String> {
    form.take(name).filter(|value| !value.is_empty())
}

/// Checks the requested scopes, which must exist. The client always receives all scopes, and the answer lists them.
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

/// Parses a parameter that is true or false: with any grant, `readOnly` requests a read-only token (1D-28).
pub fn flag(name: &str, value: Option<String>) -> Result<bool> {
    match value {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(Error::invalid(name, refusals::values::flag())),
    }
}

/// Refuses fields of the body that are in the query, because proxies log the query. Other parameters are ignored.
pub fn no_credentials_in_query(call: &Call<'_>, fields: &[&str]) -> Result<()> {
    match call.query_of(fields)?.names().next() {
        None => Ok(()),
        Some(_) => Err(Error::Malformed(refusals::verbatim(
            "the parameters belong into the body",
        ))),
    }
}

/// Refuses unknown parameters whose name suggests a restriction, such as `read_only` or `expires`. Other unknown
/// parameters are ignored, but ignoring these would grant more than the client requested.
pub fn narrowed<'a>(mut names: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<()> {
    let seems = |name: &&str| {
        let letters = name.chars().filter(char::is_ascii_alphabetic);
        let folded: String = letters.map(|c| c.to_ascii_lowercase()).collect();
        let narrows = [
            "read",
            "expir",
            "notafter",
            "validuntil",
            "lifetime",
            "allowedip",
            "accesslevel",
        ];
        let is_known = known.iter().any(|it| it.eq_ignore_ascii_case(name));
        !is_known && (folded == "ttl" || narrows.iter().any(|it| folded.contains(it)))
    };
    match names.find(seems) {
        None => Ok(()),
        Some(name) => {
            let shown = refusals::quoted(name, NAME_CHARS_SHOWN);
            Err(Error::Malformed(refusals::requests::parameter_unknown(
                shown,
            )))
        }
    }
}

fn refused(why: &str) -> Failure {
    Failure::Word("invalid_request", why.to_owned())
}

/// The answer must not reveal whether the cause is a wrong password or something else.
fn no_grant(err: Error, why: &str) -> Failure {
    match err {
        Error::Unauthenticated => Failure::Word("invalid_grant", why.to_owned()),
        Error::Forbidden(why) => Failure::Word("unauthorized_client", sentence(&why.to_string())),
        other => other.into(),
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Failure {
        match err {
            Error::TooMany { retry_after_s } => Failure::TooMany(retry_after_s.max(1)),
            Error::Internal(_) | Error::Unavailable(_) => Failure::Server(err),
            Error::Invalid { field, reason } => refused(&format!("{field} {reason}.")),
            other => Failure::Word(
                "invalid_request",
                format!("The request is refused: {other}."),
            ),
        }
    }
}
