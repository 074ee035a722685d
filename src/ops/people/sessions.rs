//! Signing in and out, and the password that it takes.

use super::{authenticators, manageable, record, visible};
use crate::domain::audit::{Changes, Event, Kind, Outcome, Target};
use crate::domain::key::KeyId;
use crate::domain::key::pepper::Peppers;
use crate::domain::key::secret::{PREFIX_SESSION, Secret, generate_id};
use crate::domain::people::password::{self, PasswordDigest};
use crate::domain::people::permission::{Permission, Permissions};
use crate::domain::people::session::{ACCESS_TOKEN_S, Session};
use crate::domain::people::{User, normal_user_name};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::access::{Caller, Identity, Origin, root};
use crate::ops::keys::issue::digested;
use crate::ops::keys::{self, bounds};
use crate::ops::{App, Record, system_event};
use crate::store::{Read, people, seals, tokens};
use std::sync::Arc;

/// A token that was issued just now.
#[derive(Debug)]
pub struct SignedIn {
    pub token: Secret,
    pub expires_in_s: u64,
}

/// Sets a password. The user himself must know the current one; whoever manages users need not. All sessions of
/// the user end, and so do keys that were issued to whoever knew the old one.
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
        true => check_current(app, &user, current),
        false => {
            let directory = app.index.directory();
            caller.require(&directory, Permission::UsersWrite, user.home, None)
        }
    };
    app.decided(caller, action, target.clone(), allowed)?;
    password::check("password", new, &user.user_name)?;
    let stretched = app.passwords.stretch(new)?;
    let (index, who, peppers) = (app.index.clone(), caller.clone(), app.peppers.clone());
    app.change_all(caller, action, target, move |tx, now| {
        let user = match own {
            true => still_proven(tx, &peppers, user.uid, user.generation)?,
            false => {
                bounds::require_unlimited(tx, &who)?;
                manageable(tx, &index.directory(), &who, &user.uid.to_string())?
            }
        };
        let digest = stretched.bound(user.uid, &peppers);
        people::update_password(tx, user.uid, &digest, user.generation + 1)?;
        let mut records = vec![(action, record(&user, Changes::default()))];
        records.extend(keys::end_those_of_password(tx, user.uid, now)?);
        Ok((records, ()))
    })
}

/// The user, if his password is still the one that he proved when he was of this generation: it takes a while to
/// compare one, and whoever knows the old one must not be quicker than the new one.
pub(in crate::ops) fn still_proven(
    read: &Read,
    peppers: &Peppers,
    user: Uid,
    generation: i64,
) -> Result<User> {
    if !seals::is_sound_user(read, peppers, user)? {
        return Err(Error::Unauthenticated);
    }
    people::find(read, user)?
        .filter(|user| user.is_active() && user.generation == generation)
        .ok_or(Error::Unauthenticated)
}

/// Whether the user knows his password; counted as an attempt to sign in.
fn check_current(app: &App, user: &User, current: Option<&str>) -> Result<()> {
    let current = current.ok_or_else(|| {
        Error::invalid("current_password", "is needed to change your own password")
    })?;
    app.passwords
        .admit(&user.user_name, None, app.now().steady_ms)?;
    let stored = sound_password(app, user.uid)?;
    if app.passwords.matches(stored.as_ref(), user.uid, current)? {
        return Ok(());
    }
    Err(Error::Forbidden(
        "the current password is another one".to_owned(),
    ))
}

/// Signs a user in and issues an access token. Unknown names, wrong passwords and disabled users are told alike
/// and take the same time.
///
/// # Errors
/// `Invalid` of `code` if the password is right, the user has a second factor, and there is no code of it.
pub fn sign_in(
    app: &App,
    user_name: &str,
    text: &str,
    code: Option<&str>,
    origin: Origin,
) -> Result<SignedIn> {
    let now = app.now();
    let user = proven(app, user_name, text, &origin, "session.create")?;
    if let Some(factor) = authenticators::second_factor(app, user.uid)? {
        let code = code.ok_or_else(|| {
            Error::invalid("code", "is needed: this user signs in with one-time codes")
        })?;
        authenticators::prove_code(app, &user, &factor, code, &origin)?;
    }
    let id = generate_id()?;
    let token = Secret::generate(PREFIX_SESSION, id)?;
    let session = Session {
        id,
        secret: digested(&app.peppers, &token),
        user: user.uid,
        generation: user.generation,
        read_only: false,
        issued_at: now.wall,
        expires_at: now.wall.plus_s(ACCESS_TOKEN_S),
        authenticator: None,
        acting: None,
        console: None,
    };
    let caller = Caller {
        bound_by: None,
        actor: format!("user:{}", user.user_name),
        identity: Identity::Session(id),
        permissions: Default::default(),
        reach: user.home,
        user: Some(user.uid),
        source: origin.source,
        request_id: origin.request_id,
        takes_away: false,
    };
    let peppers = app.peppers.clone();
    app.change(
        &caller,
        "session.create",
        Target::new(Kind::Session, id),
        move |tx, now| {
            people::delete_expired_sessions(tx, now)?;
            people::insert_session(tx, &peppers, &session)?;
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

/// The user behind a name and a password, as a caller for this one request. Whoever has a second factor proves himself
/// elsewhere: there is no room for a code here.
pub fn prove(
    app: &App,
    user_name: &str,
    text: &str,
    origin: Origin,
    action: &'static str,
) -> Result<Caller> {
    let user = proven(app, user_name, text, &origin, action)?;
    if authenticators::second_factor(app, user.uid)?.is_some() {
        let why =
            "this user signs in with one-time codes as well; the password alone is not enough";
        failed(app, action, &user.user_name, why, &origin)?;
        return Err(Error::Forbidden(why.to_owned()));
    }
    Ok(Caller {
        bound_by: None,
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

/// Checks a password, and nothing else: see [`authenticators::second_factor`]. A failure is recorded under the action
/// that was tried, and looks the same whatever its cause.
pub(super) fn proven(
    app: &App,
    user_name: &str,
    text: &str,
    origin: &Origin,
    action: &'static str,
) -> Result<Arc<User>> {
    let now = app.now();
    // What cannot be a name is nobody's; all such attempts count as one account's.
    let name = normal_user_name("user_name", user_name).unwrap_or_default();
    app.passwords.admit(&name, origin.counted, now.steady_ms)?;
    let user = app
        .index
        .directory()
        .find_user(&name)
        .filter(|user| user.user_name == name)
        .cloned();
    let stored = match &user {
        Some(user) => sound_password(app, user.uid)?,
        None => None,
    };
    let uid = user.as_ref().map_or(Uid(0), |user| user.uid);
    let known =
        text.len() <= password::BYTES_MAX && app.passwords.matches(stored.as_ref(), uid, text)?;
    if let Some(user) = user.filter(|user| known && user.is_active()) {
        return Ok(user);
    }
    let shown: String = user_name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(100)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let why = "user name or password is not right";
    failed(app, action, &shown, why, origin)?;
    Err(Error::Unauthenticated)
}

/// What is stored of a user's password; nothing if the user's row is not what Latchkey last wrote.
fn sound_password(app: &App, user: Uid) -> Result<Option<PasswordDigest>> {
    app.read(|read| {
        let stored = people::find_password(read, user)?;
        match seals::is_sound_user(read, &app.peppers, user)? {
            true => Ok(stored),
            false => {
                log::error!(
                    "user {user} was changed past Latchkey while the server runs, and is not let in; see latchkey doctor"
                );
                Ok(None)
            }
        }
    })
}

/// Records that somebody has not proved to be who he says he is.
pub(super) fn failed(
    app: &App,
    action: &'static str,
    shown: &str,
    why: &str,
    origin: &Origin,
) -> Result<()> {
    app.record_failed_proof(Event {
        outcome: Outcome::Denied,
        reason: why.to_owned(),
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        ..system_event(action, Target::new(Kind::User, shown), app.now().wall)
    })
}

/// Ends the session that the caller came with, and what it could be renewed with.
pub fn sign_out(app: &App, caller: &Caller) -> Result<()> {
    let (Identity::Acting(id) | Identity::Session(id)) = caller.identity else {
        return Err(Error::NotFound("session: this caller is not one"));
    };
    app.change_all(
        caller,
        "session.delete",
        Target::new(Kind::Session, id),
        move |tx, _| {
            let ended = match tokens::find_family(tx, id)? {
                Some(family) => tokens::delete_family(tx, family)?,
                None => {
                    people::delete_session(tx, id)?;
                    vec![id]
                }
            };
            Ok((each(ended, "session.delete"), ()))
        },
    )
}

/// One record for each token.
pub(super) fn each(ids: Vec<KeyId>, action: &'static str) -> Vec<(&'static str, Record)> {
    let one = |id| Record {
        target: Target::new(Kind::Session, id),
        workspace: None,
        changes: Changes::default(),
    };
    ids.into_iter().map(|id| (action, one(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::CredentialHeader;
    use crate::ops::access::authenticate;
    use crate::ops::people::{NewUser, create};
    use crate::ops::setup::fixture::Fixture;

    const PASSWORD: &str = "a passphrase of some length";

    /// Whoever still knows the old one must not undo a change that was made meanwhile.
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
