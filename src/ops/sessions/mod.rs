//! Signing in and out, and setting passwords.

pub mod console;
pub mod ended;
pub mod listed;
pub mod look_ups;
pub mod password_gate;
pub mod tokens;

use super::attempts;
use super::attempts::Attempt;
use super::authenticators::demand::require_none_lacking;
use super::authenticators::proof::{self, Proof};
use super::users::{manageable, record, visible};
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity, Origin, root};
use crate::domain::attempts::Account;
use crate::domain::audit::{Changes, Event, Kind, Outcome, Target};
use crate::domain::authenticators::Authenticator;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::secret::{PREFIX_SESSION, Secret, generate_id};
use crate::domain::sessions::{ACCESS_TOKEN_S, FRESH_S, Session};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::password;
use crate::domain::users::password::{Match, PasswordDigest};
use crate::domain::users::permissions::{Permission, Permissions};
use crate::domain::users::{User, normal_user_name};
use crate::error::{Error, Result};
use crate::ops::{App, Record, keys};
use crate::refusals;
use crate::store::{Durability, Read, Write, refresh_tokens, seals, sessions, sign_ins, users};
use std::sync::Arc;

/// The actions of callers who are about to have a session, and whose proof of identity is checked in another way.
pub(in crate::ops) const BEGINNINGS: [&str; 3] = [
    "session.create",
    "session.refresh",
    "user.recovery_code_use",
];

/// Checks in the transaction of a change that the credential of its caller is still in force: a session that has not ended,
/// of a user whose password has not changed since, or a key that is neither disabled nor deleted. Without this, a request
/// that began before its session was ended could undo what ended it.
pub(in crate::ops) fn require_in_force(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    identity: Identity,
) -> Result<()> {
    let is_in_force = match identity {
        Identity::Acting(id) | Identity::Enrolling(id) | Identity::Session(id) => {
            let Some(session) = sessions::find(tx, seal_keys, id)? else {
                return Err(Error::Unauthenticated);
            };
            let mut bearers = vec![(session.user, session.generation)];
            bearers.extend(
                session
                    .acting
                    .map(|acting| (acting.user, acting.generation)),
            );
            let mut all = true;
            for (user, generation) in bearers {
                let user = users::find(tx, user)?;
                all &= user.is_some_and(|user| user.is_active() && user.generation == generation);
            }
            all
        }
        Identity::ForOwner(id) | Identity::Key(id) => {
            let key = crate::store::keys::find(tx, id)?;
            key.is_some_and(|key| key.enabled && key.deleted_at.is_none())
        }
        Identity::Local | Identity::Password { .. } => true,
    };
    is_in_force.then_some(()).ok_or(Error::Unauthenticated)
}

/// Refuses users who change what they sign in with in a session whose sign-in is some time ago, so that an access token
/// that was stolen or forgotten is not enough for it.
pub(in crate::ops) fn require_fresh(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    identity: Identity,
    now: Timestamp,
) -> Result<()> {
    let Identity::Session(id) = identity else {
        return Ok(());
    };
    let session = sessions::find(tx, seal_keys, id)?.ok_or(Error::Unauthenticated)?;
    let began_at = refresh_tokens::family_began_at(tx, id)?.unwrap_or(session.issued_at);
    match now > began_at.plus_s(FRESH_S) {
        true => Err(Error::Forbidden(refusals::authenticators::sign_in_again())),
        false => Ok(()),
    }
}

/// A new access token.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Secret,
    pub expires_in_s: u64,
}

/// Sets a password. Users who change their own must know the current one; callers who manage users need not. All
/// sessions of the user end, and so do keys that were issued for the old password.
pub fn set_password(
    app: &App,
    caller: &Caller,
    text: &str,
    new: &str,
    current: Option<&str>,
) -> Result<()> {
    let user = {
        let directory = app.index.directory();
        let own = directory
            .find_user(&text.to_ascii_lowercase())
            .filter(|user| caller.is_session_of(user.uid));
        match own {
            Some(user) => user.clone(),
            None => visible(&directory, caller, text)?,
        }
    };
    let own = caller.is_session_of(user.uid);
    let (action, target) = ("user.password", Target::new(Kind::User, user.uid));
    let allowed = match own {
        true => caller
            .require_writing()
            .and_then(|()| check_current(app, caller, &user, current)),
        false => {
            let directory = app.index.directory();
            caller.require(&directory, Permission::UsersWrite, user.home, None)
        }
    };
    app.decided(caller, action, target.clone(), allowed)?;
    password::check("password", new, &user.user_name)?;
    let stretched = app.passwords.stretch(new)?;
    let (index, who, seal_keys) = (app.index.clone(), caller.clone(), app.seal_keys.clone());
    let saving = attempts::Saving::of(app);
    app.change_all(caller, action, target, move |tx, now| {
        let user = match own {
            true => still_proven(tx, &seal_keys, user.uid, user.generation)?,
            false => {
                bounds::require_unlimited(tx, &who)?;
                manageable(tx, &index.directory(), &who, &user.uid.to_string())?
            }
        };
        let digest = stretched.bound(user.uid, &seal_keys);
        users::update_password(tx, user.uid, &digest, user.generation + 1)?;
        attempts::begin_again(tx, saving, user.uid)?;
        let mut records = vec![(action, record(&user, Changes::default()))];
        records.extend(keys::end_those_of_password(tx, user.uid, now)?);
        Ok((records, ()))
    })
}

/// Whether a code for a locked account is right. It counts as an attempt only now that the password was right. After too
/// many codes the answer is that of a wrong one, because a wait would reveal that the password was right.
fn code_of_locked(
    app: &App,
    (account, user): (Account, &User),
    factor: &Authenticator,
    code: &str,
    origin: &Origin,
) -> Result<bool> {
    let attempt = match Attempt::with_code(app, account, origin) {
        Err(Error::TooMany { .. }) => return Ok(false),
        begun => begun?,
    };
    let right = proof::prove_code(app, user, factor, code, origin)?;
    if !right {
        attempt.failed_quietly();
    }
    Ok(right)
}

/// The user, if the password has not changed since it was compared, at this generation. A comparison takes a while, and
/// a client that knows the old password must not overtake a change of it.
pub(in crate::ops) fn still_proven(
    read: &Read,
    seal_keys: &SealKeys,
    user: Uid,
    generation: i64,
) -> Result<User> {
    if !seals::is_sound_user(read, seal_keys, user)? {
        return Err(Error::Unauthenticated);
    }
    users::find(read, user)?
        .filter(|user| user.is_active() && user.generation == generation)
        .ok_or(Error::Unauthenticated)
}

/// Checks that the user knows the current password. Failures count for the sign-in that the session came from, so that
/// other clients cannot prevent the user from changing the password.
pub(in crate::ops) fn check_current(
    app: &App,
    caller: &Caller,
    user: &User,
    current: Option<&str>,
) -> Result<()> {
    let current = current.ok_or_else(|| {
        Error::invalid(
            "current_password",
            refusals::sessions::current_password_needed(),
        )
    })?;
    let (Identity::Enrolling(id) | Identity::Session(id)) = caller.identity else {
        return Err(Error::NotFound("session: this caller is not one"));
    };
    let attempt = Attempt::in_session(app, family(app, id)?)?;
    let stored = sound_password(app, user.uid)?;
    let is_known = attempt.is_known();
    if is_password(app, user.uid, stored, current, is_known)? {
        return Ok(());
    }
    attempt.failed_quietly();
    Err(Error::Forbidden(
        refusals::sessions::current_password_wrong(),
    ))
}

/// The sign-in that a session belongs to. A session that is renewed stays in the same sign-in.
fn family(app: &App, session: KeyId) -> Result<KeyId> {
    let family = app.read(|read| refresh_tokens::find_family(read, session))?;
    Ok(family.unwrap_or(session))
}

/// Signs a user in and issues an access token. Unknown names, wrong passwords and disabled users get the same answer
/// after the same time.
///
/// # Errors
/// `Invalid` of `code` if the password is right, the user has a second factor, and the request has no code.
pub fn sign_in(
    app: &App,
    user_name: &str,
    text: &str,
    code: Option<&str>,
    origin: Origin,
) -> Result<SignedIn> {
    let now = app.now();
    let code = code.map_or(Code::Missing, Code::Given);
    let ProvenUser { user, proof, .. } =
        proven(app, user_name, text, code, &origin, "session.create")?;
    require_none_lacking(app, &user)?;
    let id = generate_id()?;
    let token = Secret::generate(PREFIX_SESSION, id)?;
    let session = Session {
        id,
        secret: StoredSecret::of(&app.peppers, &token),
        user: user.uid,
        generation: user.generation,
        read_only: false,
        issued_at: now.wall,
        expires_at: now.wall.plus_s(ACCESS_TOKEN_S),
        acting: None,
        console: None,
    };
    let caller = Caller::signing_in(&user, id, origin);
    let (seal_keys, source) = (app.seal_keys.clone(), caller.source.clone());
    app.change(
        &caller,
        "session.create",
        Target::new(Kind::Session, id),
        move |tx, now| {
            proof::require_current(tx, session.user, proof)?;
            sign_ins::replace(tx, session.user, now, &source)?;
            sessions::delete_expired(tx, now)?;
            sessions::insert(tx, &seal_keys, &session)?;
            Ok((
                Some(Record {
                    target: Target::new(Kind::Session, id),
                    workspace: None,
                    changes: Changes::default(),
                }),
                (),
            ))
        },
    )?;
    Ok(SignedIn {
        token,
        expires_in_s: ACCESS_TOKEN_S,
    })
}

/// The user behind a name and a password, as the caller of this one request. Users who have a second factor cannot use
/// this, because the request has no field for a code; they sign in another way.
pub fn prove(
    app: &App,
    user_name: &str,
    text: &str,
    origin: Origin,
    action: &'static str,
) -> Result<Caller> {
    let ProvenUser { user, .. } = proven(app, user_name, text, Code::NoRoom, &origin, action)?;
    require_none_lacking(app, &user)?;
    Ok(Caller {
        bound_by: None,
        found_by: None,
        actor: format!("user:{}", user.user_name),
        identity: Identity::Password {
            generation: user.generation,
        },
        permissions: Permissions::all(),
        reach: root(&app.index.directory())?,
        user: Some(user.uid),
        source: origin.source,
        request_id: origin.request_id,
        takes_away: false,
    })
}

/// How a kind of sign-in handles one-time codes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code<'a> {
    Given(&'a str),
    /// The code is requested after the password.
    InSecondStep,
    /// The request may have a code in addition to the password, and has none.
    Missing,
    /// The request has no field for a code.
    NoRoom,
}

/// A user who has proved their password.
pub(super) struct ProvenUser {
    pub user: Arc<User>,
    /// The authenticator whose code is needed in a second step. If `None`, the sign-in is complete and recorded.
    pub awaits: Option<Authenticator>,
    /// How the sign-in was proven, if it is complete.
    pub proof: Proof,
}

/// Checks a password, and a one-time code if the user has a second factor. A failure is recorded under the action that
/// was tried, and looks the same for every cause.
///
/// # Errors
/// `Forbidden` for an account that is locked, before a password is digested, whether the user exists or not.
/// `Invalid` of `code` if the password is right and a required code is missing.
pub(super) fn proven(
    app: &App,
    user_name: &str,
    text: &str,
    code: Code<'_>,
    origin: &Origin,
    action: &'static str,
) -> Result<ProvenUser> {
    app.require_serving()?;
    // A text that cannot be a user name becomes an empty name, which no user has.
    let name = normal_user_name("user_name", user_name).unwrap_or_default();
    let user = app
        .index
        .directory()
        .find_user(&name)
        .filter(|user| user.user_name == name)
        .cloned();
    let (account, shown) = attempts::account_of(app, user.as_deref(), user_name);
    let given = match code {
        Code::Given(code) => Some(code),
        Code::InSecondStep | Code::Missing | Code::NoRoom => None,
    };
    let attempt = Attempt::with_password(app, account, origin, given.is_some())?;
    // The look-up also happens for an unknown name, so that it takes the same time.
    let uid = user.as_ref().map_or(NO_USER, |user| user.uid);
    let stored = sound_password(app, uid)?;
    // This fails for a user whose row does not fit its seal. Only a client with the right password gets that error.
    let factor = proof::second_factor(app, uid);
    let known = text.len() <= password::BYTES_MAX
        && is_password(app, uid, stored, text, attempt.is_known())?;
    let Some(user) = user.filter(|user| known && user.is_active()) else {
        attempt.failed(action, &shown, WRONG, origin)?;
        return Err(Error::Unauthenticated);
    };
    let factor = factor?;
    if attempt.needs_code() {
        // For a locked account, the answer shows neither which of the two was wrong nor whether there is a second
        // factor.
        let right = match (&factor, given) {
            (Some(factor), Some(code)) => {
                code_of_locked(app, (account, &user), factor, code, origin)?
            }
            _ => false,
        };
        if !right {
            attempt.failed(action, &shown, WRONG, origin)?;
            return Err(Error::Unauthenticated);
        }
        drop(attempt);
        attempts::succeeded(app, user.uid, origin, true);
        return Ok(ProvenUser {
            user,
            awaits: None,
            proof: Proof::Complete,
        });
    }
    drop(attempt);
    let Some(factor) = factor else {
        attempts::succeeded(app, user.uid, origin, false);
        return Ok(ProvenUser {
            user,
            awaits: None,
            proof: Proof::PasswordAlone,
        });
    };
    match code {
        Code::Given(code) => {
            let attempt = Attempt::with_code(app, account, origin)?;
            if !proof::prove_code(app, &user, &factor, code, origin)? {
                attempt.failed(action, &shown, proof::WRONG_CODE, origin)?;
                return Err(Error::Unauthenticated);
            }
            drop(attempt);
            attempts::succeeded(app, user.uid, origin, true);
            Ok(ProvenUser {
                user,
                awaits: None,
                proof: Proof::Complete,
            })
        }
        Code::InSecondStep => Ok(ProvenUser {
            user,
            awaits: Some(factor),
            proof: Proof::PasswordAlone,
        }),
        Code::Missing => Err(Error::invalid("code", refusals::sessions::code_needed())),
        Code::NoRoom => {
            let why = refusals::sessions::code_unsupported();
            failed(app, action, &shown, &why.to_string(), origin)?;
            Err(Error::Forbidden(why))
        }
    }
}

/// A uid that no user has, for the look-up of an unknown name.
const NO_USER: Uid = Uid(0);
const WRONG: &str = "user name or password is not right";

/// Checks the password of a user who is signed in. Failures count for that sign-in.
pub(super) fn confirmed(
    app: &App,
    session: KeyId,
    user_name: &str,
    text: &str,
    origin: &Origin,
) -> Result<Arc<User>> {
    let user = app.index.directory().find_user(user_name).cloned();
    let user = user.ok_or(Error::NotFound("user"))?;
    let attempt = Attempt::in_session(app, family(app, session)?)?;
    let stored = sound_password(app, user.uid)?;
    let known = text.len() <= password::BYTES_MAX
        && is_password(app, user.uid, stored, text, attempt.is_known())?;
    if known && user.is_active() {
        return Ok(user);
    }
    attempt.failed("session.create", &user.user_name, WRONG, origin)?;
    Err(Error::Unauthenticated)
}

/// Compares a text with the stored digest of a user's password. If the digest is not bound by the newest seal key, it is
/// bound anew.
fn is_password(
    app: &App,
    user: Uid,
    stored: Option<PasswordDigest>,
    text: &str,
    is_known: bool,
) -> Result<bool> {
    let found = app
        .passwords
        .compare(stored.as_ref(), user, text, is_known)?;
    if let (Match::SameToReplace(after), Some(before)) = (&found, stored) {
        let after = after.clone();
        let written = app.store.write(Durability::Relaxed, move |tx| {
            if users::replace_digest(tx, user, &before, &after)? {
                tx.touch_lightly(Target::new(Kind::User, user));
            }
            Ok(())
        });
        // The older digest stays valid, and the next sign-in tries again.
        if let Err(err) = written {
            log::warn!("sessions: a password was not bound anew: {err}");
        }
    }
    Ok(found != Match::Other)
}

/// The stored digest of a user's password; `None` if the user's row does not fit its seal.
fn sound_password(app: &App, user: Uid) -> Result<Option<PasswordDigest>> {
    app.read(|read| {
        let stored = users::find_password(read, user)?;
        match seals::is_sound_user(read, &app.seal_keys, user)? {
            true => Ok(stored),
            false if user == NO_USER => Ok(None),
            false => {
                log::error!(
                    "user {user} was changed past Latchkey while the server runs, and is not let in; see latchkey doctor"
                );
                Ok(None)
            }
        }
    })
}

/// Records a sign-in that was refused for a reason other than a wrong credential.
pub(super) fn failed(
    app: &App,
    action: &'static str,
    shown: &str,
    why: &str,
    origin: &Origin,
) -> Result<()> {
    let event = Event {
        outcome: Outcome::Denied,
        reason: why.to_owned(),
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        ..Event::of_system(action, Target::new(Kind::User, shown), app.now().wall)
    };
    app.record_failed_proof(event, |_| Ok(()))
}

/// Ends the session that the request used, and its refresh token.
pub fn sign_out(app: &App, caller: &Caller) -> Result<()> {
    let (Identity::Acting(id) | Identity::Enrolling(id) | Identity::Session(id)) = caller.identity
    else {
        return Err(Error::NotFound("session: this caller is not one"));
    };
    app.change_all(
        caller,
        "session.delete",
        Target::new(Kind::Session, id),
        move |tx, _| {
            let ended = match refresh_tokens::find_family(tx, id)? {
                Some(family) => refresh_tokens::delete_family(tx, family)?,
                None => {
                    sessions::delete(tx, id)?;
                    vec![id]
                }
            };
            Ok((ended::each(ended, "session.delete"), ()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policies::CredentialHeader;
    use crate::ops::authenticate::authenticate;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::users::{NewUser, create};

    const PASSWORD: &str = "a passphrase of some length";

    /// A client that still knows the old password must not undo a change that was made in the meantime.
    #[test]
    fn of_two_changes_of_a_password_at_once_one_is_made() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let alice = NewUser {
            user_name: "alice".to_owned(),
            email: None,
            workspace: None,
            password: Some(PASSWORD.to_owned()),
            roles: Vec::new(),
        };
        create(app, &fixture.local(), alice, None).unwrap();
        let origin = Origin::default;
        let token = sign_in(app, "alice", PASSWORD, None, origin())
            .unwrap()
            .token;
        let alice = authenticate(
            app,
            token.expose(),
            CredentialHeader::Bearer,
            origin(),
            true,
        );
        let alice = alice.unwrap().unwrap();
        let change = |new: &str| set_password(app, &alice, "alice", new, Some(PASSWORD));
        let (one, other) = ("one new passphrase of hers", "another new passphrase");
        let [one, other] = std::thread::scope(|scope| {
            let threads = [one, other].map(|new| scope.spawn(move || change(new)));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    }
}
