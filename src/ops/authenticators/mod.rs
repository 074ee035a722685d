//! Authenticators of users, which are one-time codes: how they are listed, changed and deleted, and which roles demand
//! them.
//!
//! Users register them only for themselves and never with a key: a credential that was made by signing in must not
//! create another credential for signing in. A caller who manages a user can delete or disable the user's
//! authenticators.

pub mod demand;
pub mod enrol;
pub mod proof;
pub mod recovery_codes;

use super::sessions::{self, ended};
use super::users::{manageable, record, visible};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::{Authenticator, KIND};
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::idempotency;
use crate::ops::idempotency::Retry;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Read, Write, authenticators, refresh_tokens, users};
use std::collections::HashSet;
use std::sync::Arc;

/// The name that authenticator apps show together with the user's name.
const ISSUER: &str = "Latchkey";
const DELETED: &str = "user.authenticator_delete";

/// How users confirm a change of their own second factor, so that a stolen session is not enough for it.
#[derive(Clone, Copy, Debug)]
pub enum Confirmation<'a> {
    /// The sign-in is so recent that the password is not asked for again.
    Fresh,
    Password(Option<&'a str>),
}

impl Confirmation<'_> {
    fn check(self, app: &App, caller: &Caller, user: &User) -> Result<()> {
        let is_session = matches!(caller.identity, Identity::Session(_));
        if is_session {
            caller.require_writing()?;
        }
        match self {
            Confirmation::Fresh => Ok(()),
            Confirmation::Password(current) => sessions::check_current(app, caller, user, current),
        }
    }
}

/// The authenticators of some users, whom the caller may see, by number.
pub fn list(app: &App, users: &[Arc<User>]) -> Result<Vec<Authenticator>> {
    if let [user] = users {
        return app.read(|read| authenticators::list_of_user(read, user.uid));
    }
    let mut all = app.read(authenticators::list)?;
    let seen: HashSet<Uid> = users.iter().map(|user| user.uid).collect();
    all.retain(|one| seen.contains(&one.user));
    Ok(all)
}

/// Which of some users must enter a second factor.
pub fn users_with_codes(app: &App, users: &[Arc<User>]) -> Result<HashSet<Uid>> {
    let all = list(app, users)?.into_iter();
    Ok(all.filter(|one| one.enabled).map(|one| one.user).collect())
}

/// An authenticator of a user whom the caller may see.
pub fn find(app: &App, caller: &Caller, user: &str, number: i64) -> Result<Authenticator> {
    let uid = {
        let directory = app.index.directory();
        visible(&directory, caller, user)?.uid
    };
    app.read(|read| of_number(read, uid, number))
}

/// What an edit changes.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

/// Changes an authenticator. Its user may do this when signed in, and so may a caller who manages that user.
pub fn edit(
    app: &App,
    caller: &Caller,
    user: &str,
    number: i64,
    edit: Edit,
) -> Result<Authenticator> {
    if let Some(description) = &edit.description {
        text::check_description("description", description)?;
    }
    let (who, index, text) = (caller.clone(), app.index.clone(), user.to_owned());
    let seal_keys = app.seal_keys.clone();
    let is_demanded = demanded(app, caller);
    let action = "user.authenticator_edit";
    app.change_all(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, now| {
            let owner = owned(tx, &index.directory(), &who, &text)?;
            sessions::require_fresh(tx, &seal_keys, who.identity, now)?;
            let before = of_number(tx, owner.uid, number)?;
            if before.enabled && edit.enabled == Some(false) {
                require_dispensable(&who, &owner, is_demanded)?;
            }
            let mut after = before.clone();
            if let Some(description) = edit.description {
                after.description = description;
            }
            after.enabled = edit.enabled.unwrap_or(before.enabled);
            let mut changes = Changes::default();
            changes.note("description", &before.description, &after.description);
            changes.note("enabled", &before.enabled, &after.enabled);
            if changes.is_empty() {
                return Ok((Vec::new(), after));
            }
            changes.note("number", &String::new(), &number.to_string());
            authenticators::update(tx, &after)?;
            let mut records = vec![(action, record(&owner, changes))];
            if after.enabled && !before.enabled {
                // This session was begun without a code too.
                let ended = refresh_tokens::delete_of_user(tx, owner.uid)?;
                records.extend(ended::each(ended, "session.delete"));
            }
            Ok((records, after))
        },
    )
}

/// Deletes an authenticator for good, for the same callers as [`edit`].
pub fn delete(
    app: &App,
    caller: &Caller,
    user: &str,
    number: i64,
    retry: Option<&Retry>,
) -> Result<()> {
    let (who, index, text) = (caller.clone(), app.index.clone(), user.to_owned());
    let (retry, files) = (retry.cloned(), app.key_files());
    let is_demanded = demanded(app, caller);
    let action = DELETED;
    app.change_all(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, now| {
            if idempotency::find(tx, &files, &who, retry.as_ref(), now)?.is_some() {
                return Ok((Vec::new(), ()));
            }
            let directory = index.directory();
            let one = of_number(tx, visible(&directory, &who, &text)?.uid, number)?;
            let owner = owned(tx, &directory, &who, &text)?;
            sessions::require_fresh(tx, &files.seal, who.identity, now)?;
            require_dispensable(&who, &owner, is_demanded)?;
            idempotency::remember(tx, &files, &who, retry.as_ref(), number, now)?;
            Ok((end(tx, action, &owner, &one, now)?, ()))
        },
    )
}

/// Deletes all authenticators of a user: for a caller who manages that user, for example after the loss of a phone, and
/// for the user, who confirms it.
pub fn delete_all(
    app: &App,
    caller: &Caller,
    user: &str,
    confirmation: Confirmation<'_>,
) -> Result<()> {
    let action = DELETED;
    let target = Target::new(Kind::User, user);
    let is_demanded = demanded(app, caller);
    let own = app
        .index
        .directory()
        .find_user(&user.to_ascii_lowercase())
        .cloned();
    if let Some(own) = own.filter(|user| caller.is_session_of(user.uid)) {
        let confirmed = require_dispensable(caller, &own, is_demanded)
            .and_then(|()| confirmation.check(app, caller, &own));
        app.decided(caller, action, target.clone(), confirmed)?;
    }
    let (who, index, text) = (caller.clone(), app.index.clone(), user.to_owned());
    app.change_all(caller, action, target, move |tx, now| {
        let owner = owned(tx, &index.directory(), &who, &text)?;
        let mut records = Vec::new();
        for one in authenticators::list_of_user(tx, owner.uid)? {
            records.extend(end(tx, action, &owner, &one, now)?);
        }
        Ok((records, ()))
    })
}

/// Whether the caller is a user whose role demands a second factor.
fn demanded(app: &App, caller: &Caller) -> bool {
    let directory = app.index.directory();
    let user = caller.user.and_then(|user| directory.user(user));
    user.is_some_and(|user| app.demands_second_factor(user))
}

/// Refuses users who remove their own second factor although their role demands one. A caller who manages the user may
/// remove it: the user then has to set up a new one at the next sign-in.
fn require_dispensable(who: &Caller, owner: &User, is_demanded: bool) -> Result<()> {
    match is_demanded && who.user == Some(owner.uid) {
        true => Err(Error::Conflict(refusals::authenticators::demanded())),
        false => Ok(()),
    }
}

/// Deletes an authenticator. The recovery codes end with the last one.
fn end(
    tx: &Write<'_>,
    action: &'static str,
    owner: &User,
    one: &Authenticator,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    authenticators::delete(tx, one.number, now)?;
    let mut changes = Changes::default();
    changes.note("number", &one.number.to_string(), &String::new());
    changes.note("kind", &KIND.to_owned(), &String::new());
    if authenticators::list_of_user(tx, owner.uid)?.is_empty() {
        crate::store::recovery_codes::delete_of_user(tx, owner.uid)?;
    }
    Ok(vec![(action, record(owner, changes))])
}

/// Ends everything that began with the password alone, because a sign-in now takes a code as well (OWASP ASVS 7.4.3).
/// This concerns all sessions of the user and their refresh tokens, except for the session that makes this request, if
/// it is the user's own.
fn end_sessions_without_codes(
    tx: &Write<'_>,
    who: &Caller,
    user: Uid,
) -> Result<Vec<(&'static str, Record)>> {
    let ended = match who.identity {
        Identity::Enrolling(own) | Identity::Session(own) if who.user == Some(user) => {
            refresh_tokens::delete_of_user_but(tx, user, own)?
        }
        _ => refresh_tokens::delete_of_user(tx, user)?,
    };
    Ok(ended::each(ended, "session.delete"))
}

/// The user whose authenticators the caller may change.
fn owned(
    tx: &Write<'_>,
    directory: &crate::index::directory::Directory,
    who: &Caller,
    text: &str,
) -> Result<User> {
    let seen = visible(directory, who, text)?;
    if who.is_session_of(seen.uid) {
        return users::find(tx, seen.uid)?.ok_or(Error::NotFound("user"));
    }
    if who.user == Some(seen.uid) {
        // Neither a key of the user nor somebody who acts as the user.
        return Err(Error::Forbidden(refusals::authenticators::personal()));
    }
    let owner = manageable(tx, directory, who, text)?;
    bounds::require_unlimited(tx, who)?;
    Ok(owner)
}

fn of_number(read: &Read, user: Uid, number: i64) -> Result<Authenticator> {
    let all = authenticators::list_of_user(read, user)?;
    let found = all.into_iter().find(|one| one.number == number);
    found.ok_or(Error::NotFound("authenticator"))
}
