//! Signing in with an RSA key in place of a password: the server encrypts a challenge to the public key, and whoever
//! can read it has the private one. It is two things at once, possession and what protects it, so no one-time code is
//! asked for beside it.

use super::attempts::{self, Attempt};
use super::authenticators::{self, NewAuthenticator};
use super::tokens::{self, Begun, Pair};
use crate::domain::people::attempts::{Account, NOBODY};
use crate::domain::people::authenticator::challenge::{Awaited, Challenge, PUBLIC_KEY_S};
use crate::domain::people::authenticator::public_key::{PublicKey, REFUSED};
use crate::domain::people::authenticator::{Authenticator, Material, PUBLIC_KEYS_MAX};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::access::{Caller, Origin};
use crate::ops::retry::Retry;
use crate::store::people::authenticators as rows;

/// Registers a public key for the caller himself.
pub fn add(
    app: &App,
    caller: &Caller,
    key: &[u8],
    new: NewAuthenticator,
    retry: Option<Retry>,
) -> Result<Authenticator> {
    let key = PublicKey::read(key).ok_or_else(|| Error::invalid("public_key", REFUSED))?;
    let bytes = key.to_bytes()?;
    authenticators::add(app, caller, new, retry, move |tx, _, user| {
        let known = rows::list_of_user(tx, user)?;
        let keys = known
            .iter()
            .filter(|one| matches!(one.material, Material::PublicKey(_)));
        if keys.count() >= PUBLIC_KEYS_MAX {
            return Err(Error::Conflict(format!(
                "you have {PUBLIC_KEYS_MAX} public keys already; delete one first"
            )));
        }
        if rows::find_by_public_key(tx, &bytes)?.is_some() {
            return Err(Error::Conflict(
                "this public key is registered already".to_owned(),
            ));
        }
        Ok(Material::PublicKey(bytes))
    })
}

/// The first step: a challenge, encrypted to a public key that is registered, in Base64.
///
/// # Errors
/// `Unauthenticated` for a key that signs nobody in, whatever the reason.
pub fn challenge(app: &App, key: &str, read_only: bool, origin: Origin) -> Result<String> {
    let now = app.now();
    let key = PublicKey::read(key.as_bytes());
    let found = match &key {
        None => None,
        Some(key) => {
            let bytes = key.to_bytes()?;
            app.read(|read| rows::find_by_public_key(read, &bytes))?
        }
    };
    let user = found.as_ref().and_then(|one| {
        let directory = app.index.directory();
        directory.user(one.user).cloned()
    });
    let account = user.as_ref().map_or(NOBODY, |user| Account::User(user.uid));
    let attempt = Attempt::with_other(app, account, &origin)?;
    let (Some(key), Some(one), Some(user)) = (key, found, user) else {
        let why = "the public key is not registered";
        attempt.failed("session.create", "", why, &origin)?;
        return Err(Error::Unauthenticated);
    };
    if !one.enabled || !user.is_active() {
        let why = "the public key or its user is disabled";
        attempt.failed("session.create", &user.user_name, why, &origin)?;
        return Err(Error::Unauthenticated);
    }
    drop(attempt);
    let sealed = app.challenges.seal(&Challenge {
        awaited: Awaited::Decryption,
        user: user.uid,
        generation: user.generation,
        number: one.number,
        read_only,
        ends_at: now.wall.plus_s(PUBLIC_KEY_S),
    })?;
    key.encrypt(&sealed)
}

/// The second step: the challenge in plain text, for a pair. It works once.
///
/// # Errors
/// `Unauthenticated` for everything that is no good any more, `Forbidden` for a key that lacks `scope`.
pub fn sign_in(
    app: &App,
    text: &str,
    scope: &str,
    read_only: bool,
    origin: Origin,
) -> Result<Pair> {
    let now = app.now();
    let challenge = app.challenges.open(text, Awaited::Decryption, now.wall);
    let user = challenge.as_ref().and_then(|challenge| {
        let directory = app.index.directory();
        directory.user(challenge.user).cloned()
    });
    let (Some(challenge), Some(user)) = (challenge, user) else {
        let attempt = Attempt::with_other(app, NOBODY, &origin)?;
        let why = "the challenge is not right, or over, or was used before";
        attempt.failed("session.create", "", why, &origin)?;
        return Err(Error::Unauthenticated);
    };
    let known = app.read(|read| rows::list_of_user(read, user.uid))?;
    let one = known
        .into_iter()
        .find(|one| one.number == challenge.number && one.enabled);
    let current = user.is_active() && user.generation == challenge.generation;
    let one = one.filter(|_| current).ok_or(Error::Unauthenticated)?;
    if !app.challenges.spend(text, &challenge, now.wall) {
        return Err(Error::Unauthenticated);
    }
    if !one.scopes.iter().any(|held| held == scope) {
        return Err(Error::Forbidden(format!(
            "this public key does not have the scope {scope}"
        )));
    }
    let begun = Begun {
        authenticator: Some(one.number),
        read_only: read_only || challenge.read_only || one.read_only,
        ..Begun::default()
    };
    let pair = tokens::begin(app, &user, begun, origin.clone())?;
    attempts::succeeded(app, user.uid, &origin, true);
    Ok(pair)
}
