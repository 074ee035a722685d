//! Creates keys with a password, and lets a key rotate and inspect itself.

use super::form::KeyRequest;
use super::{caller, error, preset};
use crate::domain::keys::Key;
use crate::domain::keys::rotation::Grace;
use crate::domain::policies::IssuedBy;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::credential::{self, Presented};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::inspect::{KeyInspection, inspect};
use crate::ops::keys::issue::{NewKey, issue_by_password};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::{RotatedExpiry, rotate_own};
use crate::ops::keys::{Issued, View};
use crate::refusals;
use serde::Serialize;

/// A key created with a password (1C-9); it has exactly these three members.
#[derive(Serialize)]
struct TokenBody<'a> {
    username: &'a str,
    token: &'a str,
    /// The lifetime in seconds; null if the key does not expire.
    expires_in: Option<u64>,
}

/// A key of a workspace after it has rotated itself (1C-40).
#[derive(Serialize)]
struct RotatedBody<'a> {
    id: i64,
    name: &'a str,
    workspace: WorkspaceBody<'a>,
    token: &'a str,
    expires_in: Option<u64>,
}

/// What a key can read about itself (1C-43).
#[derive(Serialize)]
struct ActiveBody<'a> {
    active: bool,
    name: &'a str,
    workspace: WorkspaceBody<'a>,
    scopes: Vec<&'a str>,
    expires_at: Option<String>,
    created: String,
}

#[derive(Serialize)]
struct InactiveBody {
    active: bool,
}

#[derive(Serialize)]
struct WorkspaceBody<'a> {
    id: i64,
    slug: &'a str,
}

/// `POST /api/auth/token/`: 1C-4 to 1C-10, 1C-38, 1C-39, 1C-41.
pub fn issue(call: &Call<'_>) -> Result<Reply> {
    let asked = match KeyRequest::read(call.request)? {
        Ok(asked) => asked,
        Err(faults) => return Ok(error::invalid(&faults)),
    };
    let new = NewKey {
        members: KeyMembers {
            name: Some(asked.username.to_ascii_lowercase()),
            scopes: Some(vec![preset::ACCOUNT.to_owned()]),
            expires_in_s: asked.expires_in_s.map(|wanted| at_most(call, wanted)),
            ..KeyMembers::default()
        },
        policy: Some(preset::TOKEN.to_owned()),
        ..NewKey::default()
    };
    let origin = call.trust.origin(call.request);
    let issued = issue_by_password(call.app, &asked.username, &asked.password, new, origin);
    token(&issued.map_err(refusal)?)
}

/// `POST /api/v1/auth/keys/current/rotate/`: 1C-23 to 1C-25, 1C-40. A body is ignored.
pub fn rotate(call: &Call<'_>) -> Result<Reply> {
    caller(call)?;
    let secret = call.secret.ok_or(Error::Unauthenticated)?.to_owned();
    let issued = rotate_own(
        call.app,
        call.caller()?,
        secret,
        Grace::AtOnce,
        RotatedExpiry::Renewed,
    )?;
    let by_password = {
        let directory = call.app.index.directory();
        let policy = directory.policy(&issued.view.key.policy);
        policy.is_some_and(|policy| policy.issued_by == IssuedBy::Password)
    };
    if by_password {
        return token(&issued);
    }
    let Issued { view, secret } = &issued;
    Ok(Reply::json(
        200,
        &RotatedBody {
            id: view.key.number,
            name: &view.key.name,
            workspace: workspace(call, view),
            token: secret.as_ref().map_or("", |secret| secret.expose()),
            expires_in: life_s(&view.key),
        },
    ))
}

/// `GET /api/v1/auth/keys/introspect/`: 1C-30, 1C-43. The answer never reveals why a key is inactive.
pub fn introspect(call: &Call<'_>) -> Result<Reply> {
    let presented = match credential::read(call.request, &[]) {
        Presented::One(found) => Some((found.secret, found.header)),
        Presented::Faulty | Presented::None => None,
        Presented::Many => {
            return Err(Error::Malformed(refusals::requests::credentials_several()));
        }
    };
    let origin = call.trust.origin(call.request);
    let Some(KeyInspection { view, granted }) = inspect(call.app, presented, &origin)? else {
        return Ok(Reply::json(200, &InactiveBody { active: false }));
    };
    let scopes = granted.iter().map(String::as_str);
    Ok(Reply::json(
        200,
        &ActiveBody {
            active: true,
            name: &view.key.name,
            workspace: workspace(call, &view),
            scopes: scopes
                .filter(|scope| !scope.starts_with(preset::ALL) && *scope != preset::ACCOUNT)
                .collect(),
            expires_at: view.key.expires_at.map(time),
            created: time(view.key.created_at),
        },
    ))
}

/// A point in time in the format of this API: `%Y-%m-%dT%H:%M:%SZ` (1C-36).
pub fn time(at: Timestamp) -> String {
    Timestamp(at.unix_s().saturating_mul(1000)).to_string()
}

fn token(issued: &Issued) -> Result<Reply> {
    let body = TokenBody {
        username: issued.view.owner.as_deref().unwrap_or_default(),
        token: issued.secret.as_ref().map_or("", |secret| secret.expose()),
        expires_in: life_s(&issued.view.key),
    };
    Ok(Reply::json(200, &body))
}

/// The whole lifetime that the key was issued with, in seconds.
fn life_s(key: &Key) -> Option<u64> {
    let began = key.rotated_at.unwrap_or(key.created_at);
    key.expires_at.map(|end| began.seconds_until(end))
}

/// The requested lifetime, limited to the maximum of the policy.
fn at_most(call: &Call<'_>, wanted: u64) -> u64 {
    let now = call.app.now().wall;
    let directory = call.app.index.directory();
    let policy = directory.policy(preset::TOKEN);
    let last = policy.and_then(|policy| policy.latest_end(now));
    // A key cannot expire after the latest representable time.
    let most = now.seconds_until(last.unwrap_or(now.plus_s(u64::MAX)));
    wanted.min(most)
}

fn workspace<'a>(call: &Call<'_>, view: &'a View) -> WorkspaceBody<'a> {
    let directory = call.app.index.directory();
    let place = directory.place(view.key.workspace);
    WorkspaceBody {
        id: place.map_or(0, |place| place.workspace.number),
        slug: &view.workspace,
    }
}

/// Renames the members at fault to those of this API. A wrong name and a wrong password have the same message.
fn refusal(err: Error) -> Error {
    match err {
        Error::Unauthenticated => Error::invalid_text(
            "non_field_errors",
            "Unable to log in with provided credentials.",
        ),
        Error::Invalid { field, reason } if field == "expires_at" || field == "expires_in_s" => {
            Error::invalid("expires_in", reason)
        }
        other => other,
    }
}
