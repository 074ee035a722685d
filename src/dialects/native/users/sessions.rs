//! Handlers for the sessions of a user: `/v1/users/{id}/sessions`.

use crate::domain::keys::KeyId;
use crate::domain::sessions::Session;
use crate::domain::users::permissions::Permission::UsersWrite;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, answer};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions::{listed, tokens};

answer! {
    struct SessionBody as "Session" {
        id: String = "rONKRWaVVl",
        /// Whether the session is of a browser in the console, or an access token.
        kind: &'static str [enum = ["console", "access_token"]] = "console",
        read_only: bool,
        /// The user who acts as this user in the session, if one does.
        acting_user: Option<String>,
        /// When the user signed in, or the access token was renewed.
        issued_at: Time,
        expires_at: Time,
        /// Sessions of the console only: the last request, at most a minute ago.
        used_at: Option<Time>,
        /// Sessions of the console only: the address that signed in.
        source: Option<String> = "203.0.113.7",
        /// Sessions of the console only: the browser, as it describes itself.
        agent: Option<String>,
    }
}

/// `GET /v1/users/{id}/sessions`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = listed::list(call.app, call.caller()?, call.param("id"))?;
    let items = found.into_iter().map(|one| shown(call, one)).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `DELETE /v1/users/{id}/sessions`
pub fn end_all(call: &Call<'_>) -> Result<Reply> {
    tokens::end_all(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::new(204))
}

/// `DELETE /v1/users/{id}/sessions/{session}`
pub fn end(call: &Call<'_>) -> Result<Reply> {
    let id = KeyId::parse(call.param("session")).ok_or(Error::NotFound("session"))?;
    listed::end(call.app, call.caller()?, call.param("id"), id)?;
    Ok(Reply::new(204))
}

fn shown(call: &Call<'_>, session: Session) -> SessionBody {
    let directory = call.app.index.directory();
    let acting = session.acting.and_then(|by| directory.user(by.user));
    SessionBody {
        id: session.id.to_string(),
        kind: match session.console {
            Some(_) => "console",
            None => "access_token",
        },
        read_only: session.read_only,
        acting_user: acting.map(|user| user.user_name.clone()),
        issued_at: Time(session.issued_at),
        expires_at: Time(session.expires_at),
        used_at: session
            .console
            .as_ref()
            .map(|browser| Time(browser.used_at)),
        source: session
            .console
            .as_ref()
            .map(|browser| browser.source.clone()),
        agent: session.console.map(|browser| browser.agent),
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    let permitted = "Permitted to the user, signed in, and to a caller with `users:write` and all the rights of the user.";
    document
        .add(
            "get /v1/users/{id}/sessions",
            "listSessions",
            "List the open sessions of a user",
        )
        .about(permitted)
        .needs(&[UsersWrite])
        .answers::<ListBody<SessionBody>>(
            200,
            "The sessions of the console and the access tokens, the newest first.",
        );
    document
        .add(
            "delete /v1/users/{id}/sessions",
            "endSessions",
            "End all sessions of a user",
        )
        .about(permitted)
        .needs(&[UsersWrite])
        .ends(204, "The user has to sign in again everywhere.");
    document
        .add(
            "delete /v1/users/{id}/sessions/{session}",
            "endSession",
            "End one session of a user",
        )
        .about(permitted)
        .needs(&[UsersWrite])
        .ends(204, "The session is over, and cannot be renewed.");
}
