//! Access tokens that are renewed without the password: pairs, and the exchange of a refresh token for a new pair.
//!
//! A refresh token works once (RFC 9700, section 4.14.2). If a client presents it a second time, either another client
//! got the new pair or this client has lost it. The server cannot distinguish the two cases, so the whole family ends
//! and the user has to sign in again.

use super::{Code, SignedIn, listed};
use crate::authz::caller::{Caller, Origin, root};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::secret::{PREFIX_REFRESH, PREFIX_SESSION, Presented, Secret, generate_id};
use crate::domain::sessions::refresh::{
    FAMILY_S, REFRESH_TOKEN_S, REFRESHES_AN_HOUR_MAX, RefreshToken,
};
use crate::domain::sessions::{ACCESS_TOKEN_S, Acting, Session, is_untimely};
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::domain::users::User;
use crate::domain::users::permissions::Permissions;
use crate::error::{Error, Result};
use crate::ops::authenticators::demand::require_none_lacking;
use crate::ops::authenticators::proof::{self, Proof};
use crate::ops::users::{manageable, visible};
use crate::ops::{App, Record, sessions};
use crate::refusals;
use crate::store::{Write, refresh_tokens, seals, sign_ins, users};

/// The result of a sign-in or an exchange.
#[derive(Debug)]
pub struct Pair {
    pub access: Secret,
    pub refresh: Secret,
    /// The lifetime of the access token.
    pub expires_in_s: u64,
    /// See [`Pair::expires_in_s`].
    pub expires_at: Timestamp,
}

/// A pair and its rows, before they are stored.
struct NewPair {
    pair: Pair,
    session: Session,
    token: RefreshToken,
}

/// The result of a right password.
#[derive(Debug)]
pub enum TokenGrant {
    /// The user has a second factor. The client sends this text back together with the code ([`sign_in_with_code`]).
    CodeNeeded(String),
    Pair(Pair),
}

/// Signs a user in and issues a pair. Failures are answered and limited as in [`sessions::sign_in`]. A request that has
/// a code as well as the password needs no second step.
pub fn sign_in(
    app: &App,
    user_name: &str,
    text: &str,
    code: Option<&str>,
    read_only: bool,
    origin: Origin,
) -> Result<TokenGrant> {
    let code = code.map_or(Code::InSecondStep, Code::Given);
    let proven = sessions::proven(app, user_name, text, code, &origin, "session.create")?;
    let user = proven.user;
    require_none_lacking(app, &user)?;
    if let Some(factor) = proven.awaits {
        let step = proof::await_code(app, &user, &factor, read_only)?;
        return Ok(TokenGrant::CodeNeeded(step));
    }
    let begun = PairSignIn {
        read_only,
        ..PairSignIn::default()
    };
    begin(app, &user, proven.proof, begun, origin).map(TokenGrant::Pair)
}

/// The second step of [`sign_in`]. `read_only` can only be added to the request of the first step.
///
/// # Errors
/// `Unauthenticated` for a wrong code, and for a step that is over, used or invalid.
pub fn sign_in_with_code(
    app: &App,
    step: &str,
    code: &str,
    read_only: bool,
    origin: Origin,
) -> Result<Pair> {
    let (user, asked) = proof::after_code(app, step, code, &origin)?;
    let begun = PairSignIn {
        read_only: read_only || asked,
        ..PairSignIn::default()
    };
    begin(app, &user, Proof::Complete, begun, origin)
}

/// Issues a pair to a user whose identity is proven.
fn begin(app: &App, user: &User, proof: Proof, begun: PairSignIn, origin: Origin) -> Result<Pair> {
    let NewPair {
        pair,
        session,
        token,
    } = draw(app, user, begun)?;
    let id = session.id;
    let caller = Caller::signing_in(user, id, origin);
    let target = Target::new(Kind::Session, id);
    let (seal_keys, source) = (app.seal_keys.clone(), caller.source.clone());
    app.change_all(&caller, "session.create", target, move |tx, now| {
        proof::require_current(tx, session.user, proof)?;
        sign_ins::replace(tx, session.user, now, &source)?;
        if !seals::is_sound_user(tx, &seal_keys, session.user)? {
            return Err(Error::Unauthenticated);
        }
        insert(tx, &seal_keys, &session, &token, now)?;
        Ok((sessions::ended::each(vec![id], "session.create"), ()))
    })?;
    Ok(pair)
}

/// Exchanges a refresh token for a new pair. `read_only` can only be added, never taken away.
///
/// # Errors
/// `Unauthenticated` for every invalid token, without the reason; `TooMany` for a family that is renewed too often.
pub fn refresh(app: &App, text: &str, read_only: bool, origin: Origin) -> Result<Pair> {
    let old = presented(app, text)?.ok_or(Error::Unauthenticated)?;
    let user = app.index.directory().user(old.user).cloned();
    let user = user.ok_or(Error::Unauthenticated)?;
    require_none_lacking(app, &user)?;
    let NewPair {
        pair,
        session,
        token,
    } = draw(
        app,
        &user,
        PairSignIn {
            family: Some((old.family, old.family_began_at)),
            read_only: read_only || old.read_only,
        },
    )?;
    let caller = Caller::signing_in(&user, old.family, origin);
    let id = session.id;
    let target = Target::new(Kind::Session, old.family);
    let seal_keys = app.seal_keys.clone();
    let exchanged = app.change_all(&caller, "session.refresh", target, move |tx, now| {
        // The row decides: another exchange may have come first.
        let Some(old) = refresh_tokens::find(tx, &seal_keys, old.id)? else {
            return Ok((Vec::new(), false));
        };
        if old.used_at.is_some() {
            // At least one event is written: some client has a token that was not issued to it.
            let mut ended = refresh_tokens::delete_family(tx, old.family)?;
            if ended.is_empty() {
                ended.push(old.session);
            }
            return Ok((sessions::ended::each(ended, "session.reuse"), false));
        }
        let user = users::find(tx, old.user)?;
        let current = seals::is_sound_user(tx, &seal_keys, old.user)?
            && user.is_some_and(|user| user.is_active() && user.generation == old.generation);
        if !current || old.expires_at <= now || is_untimely(old.issued_at, now) {
            return Ok((Vec::new(), false));
        }
        let since = Timestamp(now.0 - HOUR_MS);
        if refresh_tokens::count_issued(tx, old.family, since)? >= REFRESHES_AN_HOUR_MAX {
            return Err(Error::TooMany {
                retry_after_s: (HOUR_MS / 1000).unsigned_abs(),
            });
        }
        refresh_tokens::update_used(tx, &seal_keys, old.id, now)?;
        insert(tx, &seal_keys, &session, &token, now)?;
        Ok((sessions::ended::each(vec![id], "session.refresh"), true))
    })?;
    if exchanged {
        return Ok(pair);
    }
    Err(Error::Unauthenticated)
}

/// Issues an access token with which a manager acts as another user. The manager proves their identity with a refresh
/// token, which is not used up. The access token cannot be renewed, ends with the manager's sign-in, and works only as
/// long as the manager may manage the user. The audit log records the manager as the actor.
///
/// # Errors
/// `Unauthenticated` for an invalid refresh token, `NotFound` and `Forbidden` for users whom the manager may not
/// manage.
pub fn act_as(
    app: &App,
    text: &str,
    user: &str,
    read_only: bool,
    origin: Origin,
) -> Result<SignedIn> {
    let shown = presented(app, text)?.ok_or(Error::Unauthenticated)?;
    let by = app.index.directory().user(shown.user).cloned();
    let by = by.ok_or(Error::Unauthenticated)?;
    require_none_lacking(app, &by)?;
    let id = generate_id()?;
    let token = Secret::generate(PREFIX_SESSION, id)?;
    let secret = StoredSecret::of(&app.peppers, &token);
    let who = Caller {
        permissions: match shown.read_only {
            true => Permissions::reading(),
            false => Permissions::all(),
        },
        reach: root(&app.index.directory())?,
        ..Caller::signing_in(&by, shown.family, origin)
    };
    let (caller, index, user) = (who.clone(), app.index.clone(), user.to_owned());
    let target = Target::new(Kind::User, &user);
    let seal_keys = app.seal_keys.clone();
    let begun = app.change_all(&caller, "session.create", target, move |tx, now| {
        let Some(row) = refresh_tokens::find(tx, &seal_keys, shown.id)? else {
            return Ok((Vec::new(), None));
        };
        if row.used_at.is_some() {
            let mut ended = refresh_tokens::delete_family(tx, row.family)?;
            if ended.is_empty() {
                ended.push(row.session);
            }
            return Ok((sessions::ended::each(ended, "session.reuse"), None));
        }
        let by = users::find(tx, row.user)?
            .filter(|by| by.is_active() && by.generation == row.generation)
            .filter(|_| now < row.expires_at && !is_untimely(row.issued_at, now));
        let Some(by) = by else {
            return Ok((Vec::new(), None));
        };
        let seen = manageable(tx, &index.directory(), &who, &user)?;
        if !seen.is_active() {
            return Err(Error::Forbidden(refusals::sessions::user_disabled()));
        }
        let family_ends_at = row.family_began_at.plus_s(FAMILY_S);
        let expires_at = now.plus_s(ACCESS_TOKEN_S).min(family_ends_at);
        crate::store::sessions::delete_expired(tx, now)?;
        crate::store::sessions::insert(
            tx,
            &seal_keys,
            &Session {
                id,
                secret,
                user: seen.uid,
                generation: seen.generation,
                read_only: read_only || row.read_only,
                issued_at: now,
                expires_at,
                acting: Some(Acting {
                    user: by.uid,
                    generation: by.generation,
                    family: row.family,
                }),
                console: None,
            },
        )?;
        let mut changes = Changes::default();
        changes.note("acts_as", &String::new(), &seen.user_name);
        let record = Record {
            target: Target::new(Kind::Session, id),
            workspace: None,
            changes,
        };
        let records = vec![("session.create", record)];
        Ok((records, Some(now.seconds_until(expires_at))))
    })?;
    let expires_in_s = begun.ok_or(Error::Unauthenticated)?;
    Ok(SignedIn {
        token,
        expires_in_s,
    })
}

/// Ends all sessions of a user, who is the caller or a user whom the caller may manage.
pub fn end_all(app: &App, caller: &Caller, text: &str) -> Result<()> {
    let (index, who, text) = (app.index.clone(), caller.clone(), text.to_owned());
    let target = Target::new(Kind::User, &text);
    app.change_all(caller, "session.delete", target, move |tx, _| {
        let directory = index.directory();
        let user = match listed::enrolling(&directory, &who, &text) {
            Some(user) => user,
            None => {
                let seen = visible(&directory, &who, &text)?;
                match who.acts_as(seen.uid) {
                    true => seen.uid,
                    false => manageable(tx, &directory, &who, &text)?.uid,
                }
            }
        };
        let ended = refresh_tokens::delete_of_user(tx, user)?;
        Ok((sessions::ended::each(ended, "session.delete"), ()))
    })
}

/// The stored refresh token for a text, used or not; `None` if the text is no refresh token.
fn presented(app: &App, text: &str) -> Result<Option<RefreshToken>> {
    let Some(presented) = Presented::parse(text).filter(|it| it.prefix() == PREFIX_REFRESH) else {
        return Ok(None);
    };
    let found = app.read(|read| refresh_tokens::find(read, &app.seal_keys, presented.id))?;
    let matches = |row: &RefreshToken| row.secret.matches(&app.peppers, presented.text);
    Ok(found.filter(matches))
}

/// The sign-in that a pair belongs to.
#[derive(Clone, Copy, Default)]
struct PairSignIn {
    /// The sign-in that is renewed, and its time; `None` for a new sign-in.
    pub family: Option<(KeyId, Timestamp)>,
    pub read_only: bool,
}

fn draw(app: &App, user: &User, begun: PairSignIn) -> Result<NewPair> {
    let (now, read_only) = (app.now().wall, begun.read_only);
    let (session_id, token_id) = (generate_id()?, generate_id()?);
    let access = Secret::generate(PREFIX_SESSION, session_id)?;
    let refresh = Secret::generate(PREFIX_REFRESH, token_id)?;
    let (family, family_began_at) = begun.family.unwrap_or((session_id, now));
    let family_ends_at = family_began_at.plus_s(FAMILY_S);
    let expires_at = now.plus_s(ACCESS_TOKEN_S).min(family_ends_at);
    let session = Session {
        id: session_id,
        secret: StoredSecret::of(&app.peppers, &access),
        user: user.uid,
        generation: user.generation,
        read_only,
        issued_at: now,
        expires_at,
        acting: None,
        console: None,
    };
    let token = RefreshToken {
        id: token_id,
        secret: StoredSecret::of(&app.peppers, &refresh),
        user: user.uid,
        generation: user.generation,
        read_only,
        issued_at: now,
        expires_at: now.plus_s(REFRESH_TOKEN_S).min(family_ends_at),
        family,
        family_began_at,
        session: session_id,
        used_at: None,
    };
    let pair = Pair {
        access,
        refresh,
        expires_in_s: now.seconds_until(expires_at),
        expires_at,
    };
    Ok(NewPair {
        pair,
        session,
        token,
    })
}

/// Stores a pair, and deletes expired ones.
fn insert(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    session: &Session,
    token: &RefreshToken,
    now: Timestamp,
) -> Result<()> {
    crate::store::sessions::delete_expired(tx, now)?;
    refresh_tokens::delete_expired(tx, now)?;
    crate::store::sessions::insert(tx, seal_keys, session)?;
    refresh_tokens::insert(tx, seal_keys, token)
}
