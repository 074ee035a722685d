//! Authenticators of users, which are one-time codes: how they are registered, changed and deleted, and how codes are
//! checked.
//!
//! Users register them only for themselves and never with a key: a credential that was made by signing in must not
//! create another credential for signing in. A caller who manages a user can delete or disable the user's
//! authenticators.

use super::attempts;
use super::attempts::Attempt;
use super::sessions::ended;
use super::users::{manageable, record, visible};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity, Origin};
use crate::domain::attempts::{Account, NOBODY};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::challenge::{CODE_S, Challenge};
use crate::domain::authenticators::one_time::CodeSecret;
use crate::domain::authenticators::{Authenticator, KIND, purpose};
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::clock::Clock;
use crate::ops::idempotency;
use crate::ops::idempotency::Retry;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{
    Durability, Read, Write, authenticators, numbers, refresh_tokens, seals, users,
};
use std::collections::HashSet;
use std::sync::Arc;

/// The name that authenticator apps show together with the user's name.
const ISSUER: &str = "Latchkey";

/// The properties of a new authenticator.
#[derive(Clone, Debug, Default)]
pub struct NewAuthenticator {
    pub description: String,
    pub scopes: Vec<String>,
}

/// A generated secret for one-time codes that is not registered yet.
pub struct GeneratedSecret {
    /// Base32.
    pub secret: String,
    /// For a QR code.
    pub url: String,
}

/// Generates a secret for the caller's own app. The server does not keep it: the app sends it back to register it.
pub fn draw(app: &App, caller: &Caller) -> Result<GeneratedSecret> {
    let uid = caller.user.ok_or(Error::NotFound("user"))?;
    let name = {
        let directory = app.index.directory();
        let user = directory.user(uid).ok_or(Error::NotFound("user"))?;
        user.user_name.clone()
    };
    let secret = CodeSecret::generate()?;
    Ok(GeneratedSecret {
        secret: secret.expose(),
        url: secret.expose_url(ISSUER, &name),
    })
}

/// Registers one-time codes for the caller, who proves with one code that their app has the secret.
pub fn add_codes(
    app: &App,
    caller: &Caller,
    url: &str,
    code: &str,
    new: NewAuthenticator,
    retry: Option<Retry>,
) -> Result<Authenticator> {
    text::check_description("description", &new.description)?;
    let secret = CodeSecret::of_url(url).map_err(|why| Error::invalid("secret", why))?;
    let (code, sealing, clock) = (code.to_owned(), app.sealing.clone(), app.clock.clone());
    let (who, peppers) = (caller.clone(), app.peppers.clone());
    let action = "user.authenticator_add";
    let user = caller.user.ok_or(Error::NotFound("user"))?;
    app.change_all(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, now| {
            if !who.is_session_of(user) {
                return Err(Error::Forbidden(refusals::authenticators::personal()));
            }
            if let Some(earlier) = idempotency::find(tx, &peppers, &who, retry.as_ref(), now)? {
                let number = earlier.parse().unwrap_or_default();
                return Ok((Vec::new(), of_number(tx, user, number)?));
            }
            let owner = users::find(tx, user)?.ok_or(Error::NotFound("user"))?;
            if !authenticators::list_of_user(tx, user)?.is_empty() {
                return Err(Error::Conflict(refusals::authenticators::exists()));
            }
            let used_step = step_of(&clock, &secret, &code, -1)
                .ok_or_else(|| Error::invalid("code", refusals::authenticators::code()))?;
            let number = numbers::next_of_keys(tx)?;
            let one = Authenticator {
                number,
                user,
                description: new.description,
                scopes: new.scopes,
                enabled: true,
                created_at: now,
                secret: sealing.seal_bytes(&purpose(number, user), secret.expose_bytes())?,
                used_step,
            };
            authenticators::insert(tx, &one)?;
            idempotency::remember(tx, &peppers, &who, retry.as_ref(), number, now)?;
            let mut changes = Changes::default();
            changes.note("number", &String::new(), &number.to_string());
            changes.note("kind", &String::new(), &KIND.to_owned());
            changes.note("description", &String::new(), &one.description);
            changes.note("scopes", &String::new(), &one.scopes.join(" "));
            let mut records = vec![(action, record(&owner, changes))];
            records.extend(end_sessions_without_codes(tx, &who, user)?);
            Ok((records, one))
        },
    )
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
    let action = "user.authenticator_edit";
    app.change_all(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, _| {
            let owner = owned(tx, &index.directory(), &who, &text)?;
            let before = of_number(tx, owner.uid, number)?;
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
                records.extend(end_sessions_without_codes(tx, &who, owner.uid)?);
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
    let (retry, peppers) = (retry.cloned(), app.peppers.clone());
    let action = "user.authenticator_delete";
    app.change_all(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, now| {
            if idempotency::find(tx, &peppers, &who, retry.as_ref(), now)?.is_some() {
                return Ok((Vec::new(), ()));
            }
            let directory = index.directory();
            let one = of_number(tx, visible(&directory, &who, &text)?.uid, number)?;
            let owner = owned(tx, &directory, &who, &text)?;
            idempotency::remember(tx, &peppers, &who, retry.as_ref(), number, now)?;
            Ok((end(tx, action, &owner, &one, now)?, ()))
        },
    )
}

/// Deletes all authenticators of a user, for a caller who manages that user, for example after the loss of a phone.
pub fn delete_all(app: &App, caller: &Caller, user: &str) -> Result<()> {
    let (who, index, text) = (caller.clone(), app.index.clone(), user.to_owned());
    let action = "user.authenticator_delete";
    let target = Target::new(Kind::User, user);
    app.change_all(caller, action, target, move |tx, now| {
        let owner = owned(tx, &index.directory(), &who, &text)?;
        let mut records = Vec::new();
        for one in authenticators::list_of_user(tx, owner.uid)? {
            records.extend(end(tx, action, &owner, &one, now)?);
        }
        Ok((records, ()))
    })
}

/// Deletes an authenticator.
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
        Identity::Session(own) if who.user == Some(user) => {
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
    let owner = manageable(tx, directory, who, text)?;
    bounds::require_unlimited(tx, who)?;
    Ok(owner)
}

fn of_number(read: &Read, user: Uid, number: i64) -> Result<Authenticator> {
    let all = authenticators::list_of_user(read, user)?;
    let found = all.into_iter().find(|one| one.number == number);
    found.ok_or(Error::NotFound("authenticator"))
}

/// The second factor that a user needs in addition to the password. Every sign-in that takes a password calls this.
pub(super) fn second_factor(app: &App, user: Uid) -> Result<Option<Authenticator>> {
    let all = app.read(|read| {
        // An authenticator may have been removed from the database without Latchkey; then the user does not fit the
        // seal.
        match seals::is_sound_user(read, &app.peppers, user)? {
            true => authenticators::list_of_user(read, user),
            false => Err(Error::Unauthenticated),
        }
    })?;
    Ok(all.into_iter().find(|one| one.enabled))
}

/// Seals the fact that the user's password was right, until the code comes.
pub(super) fn await_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    read_only: bool,
) -> Result<String> {
    app.challenges.seal(&Challenge {
        user: user.uid,
        generation: user.generation,
        number: factor.number,
        read_only,
        ends_at: app.now().wall.plus_s(CODE_S),
    })
}

/// The error for a wrong code.
pub(super) const WRONG_CODE: &str = "the one-time code is not right";

/// The user, from the step that [`await_code`] sealed and a code, and whether the first step asked for read-only
/// access.
///
/// # Errors
/// `Unauthenticated` for every invalid step or code; `TooMany` for an account or a network that tries too often.
pub(super) fn after_code(
    app: &App,
    step: &str,
    code: &str,
    origin: &Origin,
) -> Result<(Arc<User>, bool)> {
    let now = app.now();
    let action = "session.create";
    let challenge = app.challenges.open(step, now.wall);
    let user = challenge.as_ref().and_then(|challenge| {
        let directory = app.index.directory();
        directory.user(challenge.user).cloned()
    });
    let (Some(challenge), Some(user)) = (challenge, user) else {
        let attempt = Attempt::with_other(app, NOBODY, origin)?;
        let why = "the first step of this sign-in is over, or there was none";
        attempt.failed(action, "", why, origin)?;
        return Err(Error::Unauthenticated);
    };
    let attempt = Attempt::with_code(app, Account::User(user.uid), origin)?;
    // The authenticator of the first step must still be the one in force: it may have been disabled or replaced.
    let factor = second_factor(app, user.uid)?.filter(|one| one.number == challenge.number);
    let current = user.is_active() && user.generation == challenge.generation;
    let (Some(factor), true) = (factor, current) else {
        return Err(Error::Unauthenticated);
    };
    if !prove_code(app, &user, &factor, code)? {
        attempt.failed(action, &user.user_name, WRONG_CODE, origin)?;
        return Err(Error::Unauthenticated);
    }
    drop(attempt);
    if !app.challenges.spend(step, &challenge, now.wall) {
        return Err(Error::Unauthenticated);
    }
    attempts::succeeded(app, user.uid, origin, true);
    Ok((user, challenge.read_only))
}

/// The step of a code, by each time that may be right while the clock is in doubt.
fn step_of(clock: &Clock, secret: &CodeSecret, code: &str, used: i64) -> Option<i64> {
    let (now, other) = clock.code_times();
    let step = secret.step_of(code, now, used);
    step.or_else(|| secret.step_of(code, other?, used))
}

/// Checks a code, and marks it as used if it is right.
pub(super) fn prove_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    code: &str,
) -> Result<bool> {
    let bytes = app
        .sealing
        .open_bytes(&purpose(factor.number, user.uid), &factor.secret);
    let secret = bytes.map(CodeSecret::of_bytes).ok_or_else(|| {
        Error::internal("the secret of one-time codes cannot be opened with this sealing key")
    })?;
    let number = factor.number;
    match step_of(&app.clock, &secret, code, factor.used_step) {
        None => Ok(false),
        Some(step) => app.store.write(Durability::Full, move |tx| {
            authenticators::spend_step(tx, number, step)
        }),
    }
}
