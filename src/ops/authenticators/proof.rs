//! What a sign-in needs besides the password: a one-time code, or one of the recovery codes in its place. Every sign-in
//! that takes a password checks it here.

use crate::authz::caller::{Caller, Origin};
use crate::domain::attempts::{Account, NOBODY};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::challenge::{CODE_S, Challenge, Opened};
use crate::domain::authenticators::one_time::CodeSecret;
use crate::domain::authenticators::recovery_codes::RecoveryCode;
use crate::domain::authenticators::{Authenticator, purpose};
use crate::domain::keys::KeyId;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::attempts::{self, Attempt};
use crate::ops::clock::Clock;
use crate::ops::{App, Record};
use crate::store::{Durability, Read, Write, authenticators, challenges, recovery_codes, seals};
use std::sync::Arc;

/// How the user of a new session was proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// With everything that the user needs.
    Complete,
    /// With the password, and by an earlier session that was begun with everything that the user needs. That one ends, and
    /// must not have ended before.
    Renewed,
    /// With the password alone: the user had no second factor at that time.
    PasswordAlone,
}

/// Refuses to begin a session with the password alone if the user has a second factor by now. Every transaction that
/// begins a session calls this, so that no session of a user with a second factor was begun without it.
pub(in crate::ops) fn require_current(read: &Read, user: Uid, proof: Proof) -> Result<()> {
    let is_current = match proof {
        Proof::Complete | Proof::Renewed => true,
        Proof::PasswordAlone => {
            let all = authenticators::list_of_user(read, user)?;
            !all.iter().any(|one| one.enabled)
        }
    };
    is_current.then_some(()).ok_or(Error::Unauthenticated)
}

/// The second factor that a user needs in addition to the password. Every sign-in that takes a password calls this.
pub(in crate::ops) fn second_factor(app: &App, user: Uid) -> Result<Option<Authenticator>> {
    let all = app.read(|read| {
        // An authenticator may have been removed from the database without Latchkey; then the user does not fit the
        // seal.
        match seals::is_sound_user(read, &app.seal_keys, user)? {
            true => authenticators::list_of_user(read, user),
            false => Err(Error::Unauthenticated),
        }
    })?;
    Ok(all.into_iter().find(|one| one.enabled))
}

/// Seals the fact that the user's password was right, until the code comes.
pub(in crate::ops) fn await_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    read_only: bool,
) -> Result<String> {
    let challenge = Challenge {
        user: user.uid,
        generation: user.generation,
        number: factor.number,
        read_only,
        ends_at: app.now().wall.plus_s(CODE_S),
    };
    challenge.seal(&app.seal_keys)
}

/// The error for a wrong code.
pub(in crate::ops) const WRONG_CODE: &str = "the one-time code is not right";

/// The user, from the step that [`await_code`] sealed and a code, and whether the first step asked for read-only
/// access.
///
/// # Errors
/// `Unauthenticated` for every invalid step or code; `TooMany` for an account or a network that tries too often.
pub(in crate::ops) fn after_code(
    app: &App,
    step: &str,
    code: &str,
    origin: &Origin,
) -> Result<(Arc<User>, bool)> {
    let now = app.now();
    let action = "session.create";
    let mut opened = Opened::parse(&app.seal_keys, step, now.wall);
    if let Some(known) = &opened
        && app.read(|read| challenges::is_spent(read, &known.seal, known.challenge.ends_at))?
    {
        opened = None;
    }
    let user = opened.as_ref().and_then(|opened| {
        let directory = app.index.directory();
        directory.user(opened.challenge.user).cloned()
    });
    let (Some(Opened { challenge, seal }), Some(user)) = (opened, user) else {
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
    if !prove_code(app, &user, &factor, code, origin)? {
        attempt.failed(action, &user.user_name, WRONG_CODE, origin)?;
        return Err(Error::Unauthenticated);
    }
    drop(attempt);
    let ends_at = challenge.ends_at;
    let spend = move |tx: &Write<'_>| challenges::spend(tx, &seal, ends_at, now.wall);
    if !app.store.write(Durability::Full, spend)? {
        return Err(Error::Unauthenticated);
    }
    attempts::succeeded(app, user.uid, origin, true);
    Ok((user, challenge.read_only))
}

/// The step of a code, by each time that may be right while the clock is in doubt.
pub(super) fn step_of(clock: &Clock, secret: &CodeSecret, code: &str, used: i64) -> Option<i64> {
    let (now, other) = clock.code_times();
    let step = secret.step_of(code, now, used);
    step.or_else(|| secret.step_of(code, other?, used))
}

/// Checks a one-time code or a recovery code, and marks it as used if it is right.
pub(in crate::ops) fn prove_code(
    app: &App,
    user: &User,
    factor: &Authenticator,
    code: &str,
    origin: &Origin,
) -> Result<bool> {
    if let Some(code) = RecoveryCode::parse(code) {
        return spend_recovery_code(app, user, &code, origin);
    }
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

/// Spends a recovery code; `false` if it is none of the user's, or was used before. The event is committed together with
/// the use, before the sign-in goes on.
fn spend_recovery_code(
    app: &App,
    user: &User,
    code: &RecoveryCode,
    origin: &Origin,
) -> Result<bool> {
    let uid = user.uid;
    let unused = app.read(|read| recovery_codes::list_unused(read, uid))?;
    let is_it = |stored: &&_| code.is(stored, &app.seal_keys, uid);
    let Some(found) = unused.iter().find(is_it).copied() else {
        return Ok(false);
    };
    // The session begins later, so that its id is not known yet.
    let caller = Caller::signing_in(user, KeyId(0), origin.clone());
    let (seal_keys, home) = (app.seal_keys.clone(), user.home);
    let target = Target::new(Kind::User, uid);
    app.change(
        &caller,
        "user.recovery_code_use",
        target.clone(),
        move |tx, now| {
            let is_sound = seals::is_sound_user(tx, &seal_keys, uid)?;
            if !is_sound || !recovery_codes::spend(tx, uid, &found, now)? {
                return Ok((None, false));
            }
            let left = recovery_codes::list_unused(tx, uid)?.len();
            let mut changes = Changes::default();
            changes.note("recovery_codes_left", &(left + 1), &left);
            let record = Record {
                target,
                workspace: Some(home),
                changes,
            };
            Ok((Some(record), true))
        },
    )
}
