//! The open sessions of a user: who may see them, and who may end them.

use super::ended;
use crate::authz::caller::{Caller, Identity};
use crate::authz::users::require_managed;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::sessions::Session;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::users::{manageable, visible};
use crate::store::{refresh_tokens, sessions};
use std::sync::Arc;

const ACTION: &str = "session.delete";

/// The sessions of a user that are not over, including access tokens, the newest first. Users see their own, callers those
/// of the users whom they manage.
pub fn list(app: &App, caller: &Caller, text: &str) -> Result<Vec<Session>> {
    let user = seen(app, caller, text)?;
    Ok(open(app, &user))
}

/// How many sessions of a user are not over. The caller of this function has checked that the user may be seen.
pub fn count(app: &App, user: &User) -> usize {
    open(app, user).len()
}

fn open(app: &App, user: &User) -> Vec<Session> {
    let now = app.now().wall;
    let mut sessions = app.index.sessions_of(user.uid);
    sessions.retain(|session| !session.is_over(now) && session.generation == user.generation);
    sessions.sort_by_key(|session| std::cmp::Reverse((session.issued_at, session.id.0)));
    sessions
}

fn seen(app: &App, caller: &Caller, text: &str) -> Result<Arc<User>> {
    let directory = app.index.directory();
    let user = visible(&directory, caller, text)?;
    if !caller.is_session_of(user.uid) {
        require_managed(&directory, caller, &user)?;
    }
    Ok(user)
}

/// Ends one session of a user, and the sign-in that an access token belongs to, so that it cannot be renewed.
pub fn end(app: &App, caller: &Caller, text: &str, id: KeyId) -> Result<()> {
    let (who, index, text) = (caller.clone(), app.index.clone(), text.to_owned());
    let seal_keys = app.seal_keys.clone();
    let target = Target::new(Kind::Session, id);
    app.change_all(caller, ACTION, target, move |tx, _| {
        let directory = index.directory();
        let user = match enrolling(&directory, &who, &text) {
            Some(user) => user,
            None => {
                let user = visible(&directory, &who, &text)?.uid;
                match who.is_session_of(user) {
                    true => who.require_writing()?,
                    false => drop(manageable(tx, &directory, &who, &text)?),
                }
                user
            }
        };
        sessions::find(tx, &seal_keys, id)?
            .filter(|session| session.user == user)
            .ok_or(Error::NotFound("session"))?;
        let ended = match refresh_tokens::find_family(tx, id)? {
            Some(family) => refresh_tokens::delete_family(tx, family)?,
            None => {
                sessions::delete(tx, id)?;
                vec![id]
            }
        };
        Ok((ended::each(ended, ACTION), ()))
    })
}

/// The user with this name, if that is the caller, who must set up a second factor before anything else and may end their
/// own sessions nevertheless.
pub(super) fn enrolling(directory: &Directory, who: &Caller, text: &str) -> Option<Uid> {
    let user = directory.find_user(&text.to_ascii_lowercase());
    user.map(|user| user.uid)
        .filter(|uid| who.is_enrolling(*uid))
}

/// Ends all sessions of the caller's own user but the one that asks for it.
pub fn end_others(app: &App, caller: &Caller) -> Result<()> {
    let (user, own) = own(caller)?;
    caller.require_writing()?;
    app.change_all(
        caller,
        ACTION,
        Target::new(Kind::User, user),
        move |tx, _| {
            let ended = refresh_tokens::delete_of_user_but(tx, user, own)?;
            Ok((ended::each(ended, ACTION), ()))
        },
    )
}

fn own(caller: &Caller) -> Result<(Uid, KeyId)> {
    match (caller.identity, caller.user) {
        (Identity::Session(id), Some(user)) => Ok((user, id)),
        _ => Err(Error::NotFound("session: this caller is not one")),
    }
}
