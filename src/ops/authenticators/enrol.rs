//! Setting up one-time codes. The server generates the secret and does not keep it: the client gets it sealed, and sends it
//! back with the first code. Only then is it stored, and it is in force at once.

use super::proof::step_of;
use super::{
    Confirmation, DELETED, ISSUER, end, end_sessions_without_codes, of_number, recovery_codes,
};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::one_time::CodeSecret;
use crate::domain::authenticators::pending::{self, PENDING_S, Pending};
use crate::domain::authenticators::{Authenticator, KIND, purpose};
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::clock::Clock;
use crate::ops::idempotency;
use crate::ops::idempotency::Retry;
use crate::ops::sessions;
use crate::ops::users::{record, visible};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Write, authenticators, numbers, users};
use std::sync::Arc;

const ACTION: &str = "user.authenticator_add";

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

/// A secret that waits for its first code.
pub struct Setup {
    pub generated: GeneratedSecret,
    /// The sealed secret, which the client sends back ([`finish`]).
    pub setup: String,
    pub ends_at: Timestamp,
}

/// One-time codes that are in force, and the recovery codes for them, which no later answer has.
pub struct Enrolled {
    pub authenticator: Authenticator,
    pub recovery_codes: Vec<String>,
}

/// Generates a secret for the caller's own app. The server does not keep it: the app sends it back to register it.
pub fn draw(app: &App, caller: &Caller) -> Result<GeneratedSecret> {
    let uid = caller.user.ok_or(Error::NotFound("user"))?;
    let user = app.index.directory().user(uid).cloned();
    let user = user.ok_or(Error::NotFound("user"))?;
    Ok(generated(&CodeSecret::generate()?, &user))
}

fn generated(secret: &CodeSecret, user: &User) -> GeneratedSecret {
    GeneratedSecret {
        secret: secret.expose(),
        url: secret.expose_url(ISSUER, &user.user_name),
    }
}

/// Generates a secret for a user who has no one-time codes yet. Nothing is stored.
pub fn begin(app: &App, caller: &Caller, text: &str) -> Result<Setup> {
    let user = app.decided(
        caller,
        ACTION,
        Target::new(Kind::User, text),
        enrolling(app, caller, text),
    )?;
    if user.has_second_factor {
        return Err(Error::Conflict(refusals::authenticators::exists()));
    }
    let ends_at = app.now().wall.plus_s(PENDING_S);
    let secret = CodeSecret::generate()?;
    let setup = pending::seal(&app.sealing, &secret, user.uid, user.generation, ends_at)?;
    Ok(Setup {
        generated: generated(&secret, &user),
        setup,
        ends_at,
    })
}

/// The secret of a setup that is not over, to show it once more after a wrong code.
pub fn resume(app: &App, caller: &Caller, text: &str, setup: &str) -> Result<GeneratedSecret> {
    let user = enrolling(app, caller, text)?;
    let pending = opened(app, &user, setup)?;
    Ok(generated(&pending.secret, &user))
}

/// Registers the secret of a setup, after one code that follows from it. The user's other sessions end.
///
/// # Errors
/// `Invalid` of `setup` if it is over, was used or is not the user's, and of `code` if the code is another one.
pub fn finish(
    app: &App,
    caller: &Caller,
    text: &str,
    (setup, code): (&str, &str),
    new: NewAuthenticator,
    confirmation: Confirmation<'_>,
) -> Result<Enrolled> {
    text::check_description("description", &new.description)?;
    let target = Target::new(Kind::User, text);
    let permitted = enrolling(app, caller, text);
    let user = app.decided(caller, ACTION, target.clone(), permitted)?;
    let Pending { secret, begun_at } = opened(app, &user, setup)?;
    let used_step = step_of(&app.clock, &secret, code, -1)
        .ok_or_else(|| Error::invalid("code", refusals::authenticators::code()))?;
    if caller.user == Some(user.uid) {
        let confirmed = confirmation.check(app, caller, &user);
        app.decided(caller, ACTION, target.clone(), confirmed)?;
    }
    let (sealing, seal_keys, who) = (app.sealing.clone(), app.seal_keys.clone(), caller.clone());
    let (uid, generation) = (user.uid, user.generation);
    app.change_all(caller, ACTION, target, move |tx, now| {
        let owner = users::find(tx, uid)?
            .filter(|user| user.deleted_at.is_none() && user.generation == generation)
            .ok_or(Error::NotFound("user"))?;
        let new = Registration {
            secret,
            used_step,
            new,
        };
        let mut records = end_disabled(tx, &owner, now)?;
        require_none(tx, uid)?;
        // A setup is used once: neither it nor its code works again after the codes were switched off.
        if authenticators::has_created(tx, uid, begun_at, now)? {
            return Err(setup_over());
        }
        let (added, one) = register(tx, &sealing, &who, &owner, new, now)?;
        records.extend(added);
        let (record, recovery_codes) = recovery_codes::replace(tx, &seal_keys, &owner)?;
        records.push((recovery_codes::CREATED, record));
        let enrolled = Enrolled {
            authenticator: one,
            recovery_codes,
        };
        Ok((records, enrolled))
    })
}

/// Deletes one-time codes that are disabled: new ones replace them.
fn end_disabled(
    tx: &Write<'_>,
    owner: &User,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let mut records = Vec::new();
    for one in authenticators::list_of_user(tx, owner.uid)? {
        if !one.enabled {
            records.extend(end(tx, DELETED, owner, &one, now)?);
        }
    }
    Ok(records)
}

fn opened(app: &App, user: &User, setup: &str) -> Result<Pending> {
    let now = app.now().wall;
    pending::open(&app.sealing, setup, user.uid, user.generation, now).ok_or_else(setup_over)
}

fn setup_over() -> Error {
    Error::invalid("setup", refusals::authenticators::setup_over())
}

/// The user, if the caller may set up one-time codes for them: users for themselves when they are signed in, also those
/// who have to before anything else; and the administrator of the machine for every user.
fn enrolling(app: &App, caller: &Caller, text: &str) -> Result<Arc<User>> {
    let directory = app.index.directory();
    let own = directory
        .find_user(&text.to_ascii_lowercase())
        .filter(|user| caller.user == Some(user.uid));
    match (caller.identity, own) {
        (Identity::Enrolling(_) | Identity::Session(_), Some(user)) if user.is_active() => {
            Ok(user.clone())
        }
        (Identity::Local, _) => visible(&directory, caller, text),
        _ => {
            visible(&directory, caller, text)?;
            Err(Error::Forbidden(refusals::authenticators::personal()))
        }
    }
}

/// Registers one-time codes for the caller, who proves with one code that their app has the secret. This is for API modules
/// whose clients send the secret themselves.
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
    let (who, files) = (caller.clone(), app.key_files());
    let user = caller.user.ok_or(Error::NotFound("user"))?;
    let target = Target::new(Kind::User, user);
    app.change_all(caller, ACTION, target, move |tx, now| {
        if !who.is_session_of(user) {
            return Err(Error::Forbidden(refusals::authenticators::personal()));
        }
        if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
            let number = earlier.parse().unwrap_or_default();
            return Ok((Vec::new(), of_number(tx, user, number)?));
        }
        sessions::require_fresh(tx, &files.seal, who.identity, now)?;
        let owner = users::find(tx, user)?.ok_or(Error::NotFound("user"))?;
        let used_step = proven(tx, user, &clock, &secret, &code)?;
        let new = Registration {
            secret,
            used_step,
            new,
        };
        let (records, one) = register(tx, &sealing, &who, &owner, new, now)?;
        idempotency::remember(tx, &files, &who, retry.as_ref(), one.number, now)?;
        Ok((records, one))
    })
}

/// The step of the code, for a user who has no one-time codes.
fn proven(
    tx: &Write<'_>,
    user: Uid,
    clock: &Clock,
    secret: &CodeSecret,
    code: &str,
) -> Result<i64> {
    require_none(tx, user)?;
    step_of(clock, secret, code, -1)
        .ok_or_else(|| Error::invalid("code", refusals::authenticators::code()))
}

fn require_none(tx: &Write<'_>, user: Uid) -> Result<()> {
    match authenticators::list_of_user(tx, user)?.is_empty() {
        true => Ok(()),
        false => Err(Error::Conflict(refusals::authenticators::exists())),
    }
}

/// One-time codes that are about to be stored.
struct Registration {
    secret: CodeSecret,
    used_step: i64,
    new: NewAuthenticator,
}

/// Stores one-time codes, and ends what the user began with the password alone.
fn register(
    tx: &Write<'_>,
    sealing: &SealingKeys,
    who: &Caller,
    owner: &User,
    registration: Registration,
    now: Timestamp,
) -> Result<(Vec<(&'static str, Record)>, Authenticator)> {
    require_none(tx, owner.uid)?;
    let number = numbers::next_of_keys(tx)?;
    let secret = registration.secret.expose_bytes();
    let one = Authenticator {
        number,
        user: owner.uid,
        description: registration.new.description,
        scopes: registration.new.scopes,
        enabled: true,
        created_at: now,
        secret: sealing.seal_bytes(&purpose(number, owner.uid), secret)?,
        used_step: registration.used_step,
    };
    authenticators::insert(tx, &one)?;
    let mut changes = Changes::default();
    changes.note("number", &String::new(), &number.to_string());
    changes.note("kind", &String::new(), &KIND.to_owned());
    changes.note("description", &String::new(), &one.description);
    changes.note("scopes", &String::new(), &one.scopes.join(" "));
    let mut records = vec![(ACTION, record(owner, changes))];
    records.extend(end_sessions_without_codes(tx, who, owner.uid)?);
    Ok((records, one))
}
