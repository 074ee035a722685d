//! Authenticators of users: one-time codes and public keys, how they come and go, and how codes are checked. Signing in
//! with a key is in `public_keys`.
//!
//! Nobody registers one for somebody else, and nobody for himself with a key: what signs in must not come of what was
//! made by signing in. Whoever manages a user can take one away, or turn it off.

use super::{manageable, record, sessions, visible};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::people::User;
use crate::domain::people::authenticator::challenge::{Awaited, CODE_S, Challenge};
use crate::domain::people::authenticator::one_time::CodeSecret;
use crate::domain::people::authenticator::{Authenticator, Material, purpose};
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::access::{Caller, Origin};
use crate::ops::keys::bounds;
use crate::ops::retry::{self, Retry};
use crate::ops::{App, Record};
use crate::store::people::{self, authenticators};
use crate::store::{Durability, Read, Write, numbers, seals, tokens};
use std::collections::HashSet;
use std::sync::Arc;

/// What apps show beside the user's name.
const ISSUER: &str = "Latchkey";

/// What is said of a new one.
#[derive(Clone, Debug, Default)]
pub struct NewAuthenticator {
    pub description: String,
    pub scopes: Vec<String>,
    pub read_only: bool,
}

/// A secret for one-time codes, which nobody has yet.
pub struct Drawn {
    /// Base32.
    pub secret: String,
    /// For a QR code.
    pub url: String,
}

/// Draws a secret for the caller's own app. Nothing is kept: it comes back when it is registered.
pub fn draw(app: &App, caller: &Caller) -> Result<Drawn> {
    let uid = caller.user.ok_or(Error::NotFound("user"))?;
    let name = {
        let directory = app.index.directory();
        let user = directory.user(uid).ok_or(Error::NotFound("user"))?;
        user.user_name.clone()
    };
    let secret = CodeSecret::generate()?;
    Ok(Drawn {
        secret: secret.expose(),
        url: secret.expose_url(ISSUER, &name),
    })
}

/// Registers one-time codes for the caller himself, who shows with one that his app has the secret.
pub fn add_codes(
    app: &App,
    caller: &Caller,
    url: &str,
    code: &str,
    new: NewAuthenticator,
    retry: Option<Retry>,
) -> Result<Authenticator> {
    let secret = CodeSecret::of_url(url).map_err(|why| Error::invalid("secret", why))?;
    let now = app.now();
    let (code, sealing) = (code.to_owned(), app.sealing.clone());
    let material = move |number, user| {
        let used_step = secret
            .step_of(&code, now.wall, -1)
            .ok_or_else(|| Error::invalid("code", "is not the one that follows from the secret"))?;
        Ok(Material::OneTimeCode {
            secret: sealing.seal_bytes(&purpose(number, user), secret.expose_bytes())?,
            used_step,
        })
    };
    add(app, caller, new, retry, move |tx, number, user| {
        let known = authenticators::list_of_user(tx, user)?;
        if known.iter().any(is_codes) {
            return Err(Error::Conflict(
                "you have one-time codes already; delete these first".to_owned(),
            ));
        }
        material(number, user)
    })
}

/// Registers an authenticator for the caller himself.
pub(super) fn add(
    app: &App,
    caller: &Caller,
    new: NewAuthenticator,
    retry: Option<Retry>,
    material: impl FnOnce(&Write<'_>, i64, Uid) -> Result<Material> + Send + 'static,
) -> Result<Authenticator> {
    text::check_description("description", &new.description)?;
    let (action, who, peppers) = (
        "user.authenticator_add",
        caller.clone(),
        app.peppers.clone(),
    );
    let user = caller.user.ok_or(Error::NotFound("user"))?;
    app.change(
        caller,
        action,
        Target::new(Kind::User, user),
        move |tx, now| {
            if !who.is_session_of(user) {
                return Err(Error::Forbidden(
                    "this takes a user who has signed in; a key cannot do it for him".to_owned(),
                ));
            }
            if let Some(earlier) = retry::find(tx, &peppers, &who, retry.as_ref(), now)? {
                let number = earlier.parse().unwrap_or_default();
                return Ok((None, of_number(tx, user, number)?));
            }
            let owner = people::find(tx, user)?.ok_or(Error::NotFound("user"))?;
            let number = numbers::next_of_keys(tx)?;
            let one = Authenticator {
                number,
                user,
                description: new.description,
                scopes: new.scopes,
                read_only: new.read_only,
                enabled: true,
                created_at: now,
                material: material(tx, number, user)?,
            };
            authenticators::insert(tx, &one)?;
            retry::remember(tx, &peppers, &who, retry.as_ref(), number, now)?;
            let mut changes = Changes::default();
            changes.note("number", &String::new(), &number.to_string());
            changes.note("kind", &String::new(), &one.material.kind().to_owned());
            changes.note("description", &String::new(), &one.description);
            changes.note("scopes", &String::new(), &one.scopes.join(" "));
            changes.note("read_only", &false, &one.read_only);
            Ok((Some(record(&owner, changes)), one))
        },
    )
}

/// Those of some users, whom the caller may see, by number.
pub fn list(app: &App, users: &[Arc<User>]) -> Result<Vec<Authenticator>> {
    if let [user] = users {
        return app.read(|read| authenticators::list_of_user(read, user.uid));
    }
    let mut all = app.read(authenticators::list)?;
    let seen: HashSet<Uid> = users.iter().map(|user| user.uid).collect();
    all.retain(|one| seen.contains(&one.user));
    Ok(all)
}

/// Those of some users who have a second factor that is asked for.
pub fn users_with_codes(app: &App, users: &[Arc<User>]) -> Result<HashSet<Uid>> {
    let all = list(app, users)?.into_iter();
    Ok(all
        .filter(|one| one.enabled && is_codes(one))
        .map(|one| one.user)
        .collect())
}

/// One of a user whom the caller may see.
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

/// Changes an authenticator: the user himself, signed in, or whoever manages him. What a public key has begun ends
/// when it is turned off.
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
            if !after.enabled {
                records.extend(end_sessions(tx, number)?);
            }
            Ok((records, after))
        },
    )
}

/// Takes one away for good; who may is said at [`edit`].
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
            if retry::find(tx, &peppers, &who, retry.as_ref(), now)?.is_some() {
                return Ok((Vec::new(), ()));
            }
            let directory = index.directory();
            let one = of_number(tx, visible(&directory, &who, &text)?.uid, number)?;
            let owner = owned(tx, &directory, &who, &text)?;
            retry::remember(tx, &peppers, &who, retry.as_ref(), number, now)?;
            Ok((end(tx, action, &owner, &one, now)?, ()))
        },
    )
}

/// Takes all of a user's away, as whoever manages him does when an app or a private key is lost.
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

/// Ends the sessions that a public key has begun: for its user, or whoever manages him.
pub fn end_sessions_of(app: &App, caller: &Caller, user: &str, number: i64) -> Result<()> {
    let (who, index, text) = (caller.clone(), app.index.clone(), user.to_owned());
    let target = Target::new(Kind::User, user);
    app.change_all(caller, "session.delete", target, move |tx, _| {
        let directory = index.directory();
        let seen = visible(&directory, &who, &text)?;
        if !who.is_himself(seen.uid) {
            manageable(tx, &directory, &who, &text)?;
        }
        let one = of_number(tx, seen.uid, number)?;
        Ok((end_sessions(tx, one.number)?, ()))
    })
}

/// Ends one, and what it has begun.
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
    changes.note("kind", &one.material.kind().to_owned(), &String::new());
    let mut records = vec![(action, record(owner, changes))];
    records.extend(end_sessions(tx, one.number)?);
    Ok(records)
}

/// Ends what an authenticator has begun.
fn end_sessions(tx: &Write<'_>, number: i64) -> Result<Vec<(&'static str, Record)>> {
    let ended = tokens::delete_of_authenticator(tx, number)?;
    Ok(sessions::each(ended, "session.delete"))
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
        return people::find(tx, seen.uid)?.ok_or(Error::NotFound("user"));
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

fn is_codes(one: &Authenticator) -> bool {
    matches!(one.material, Material::OneTimeCode { .. })
}

/// What a user must show besides his password. Every way in that takes a password asks for this.
pub(super) fn second_factor(app: &App, user: Uid) -> Result<Option<Authenticator>> {
    let all = app.read(|read| {
        // Somebody may have taken the second factor away past Latchkey.
        match seals::is_sound_user(read, &app.peppers, user)? {
            true => authenticators::list_of_user(read, user),
            false => Err(Error::Unauthenticated),
        }
    })?;
    Ok(all.into_iter().find(|one| one.enabled && is_codes(one)))
}

/// Says whose password was right, until the code comes.
pub(super) fn await_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    read_only: bool,
) -> Result<String> {
    app.challenges.seal(&Challenge {
        awaited: Awaited::Code,
        user: user.uid,
        generation: user.generation,
        number: factor.number,
        read_only,
        ends_at: app.now().wall.plus_s(CODE_S),
    })
}

/// The user behind a step that [`await_code`] has sealed and a code, and whether he asked to read only.
///
/// # Errors
/// `Unauthenticated` whatever is wrong; `TooMany` for an account or an address that tries too often.
pub(super) fn after_code(
    app: &App,
    step: &str,
    code: &str,
    origin: &Origin,
) -> Result<(Arc<User>, bool)> {
    let now = app.now();
    let challenge = app.challenges.open(step, Awaited::Code, now.wall);
    let user = challenge.as_ref().and_then(|challenge| {
        let directory = app.index.directory();
        directory.user(challenge.user).cloned()
    });
    let name = user.as_ref().map_or("", |user| user.user_name.as_str());
    app.passwords.admit(name, origin.counted, now.steady_ms)?;
    let (Some(challenge), Some(user)) = (challenge, user) else {
        let why = "the first step of this sign-in is over, or there was none";
        sessions::failed(app, "session.create", "", why, origin)?;
        return Err(Error::Unauthenticated);
    };
    // The factor of the first step, if it is still the one: it may have been turned off, or be another one.
    let factor = second_factor(app, user.uid)?.filter(|one| one.number == challenge.number);
    let current = user.is_active() && user.generation == challenge.generation;
    let (Some(factor), true) = (factor, current) else {
        return Err(Error::Unauthenticated);
    };
    prove_code(app, &user, &factor, code, origin)?;
    match app.challenges.spend(step, &challenge, now.wall) {
        true => Ok((user, challenge.read_only)),
        false => Err(Error::Unauthenticated),
    }
}

/// Checks a code and uses it up. Attempts are counted before, with those on the password.
pub(super) fn prove_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    code: &str,
    origin: &Origin,
) -> Result<()> {
    let Material::OneTimeCode { secret, used_step } = &factor.material else {
        return Err(Error::internal("a second factor has no codes"));
    };
    let bytes = app
        .sealing
        .open_bytes(&purpose(factor.number, user.uid), secret);
    let secret = bytes.map(CodeSecret::of_bytes).ok_or_else(|| {
        Error::internal("the secret of one-time codes cannot be opened with this sealing key")
    })?;
    let number = factor.number;
    let step = secret.step_of(code, app.now().wall, *used_step);
    let proved = match step {
        Some(step) => app.store.write(Durability::Full, move |tx| {
            authenticators::spend_step(tx, number, step)
        })?,
        None => false,
    };
    if proved {
        return Ok(());
    }
    let why = "the one-time code is not right";
    sessions::failed(app, "session.create", &user.user_name, why, origin)?;
    Err(Error::Unauthenticated)
}
