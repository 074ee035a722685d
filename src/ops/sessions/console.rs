//! Sessions of the console. A session begins with a password, belongs to one browser, and its user can end it.

use super::{Code, ProvenUser, SignedIn, confirmed, proven};
use crate::authz::caller::{Caller, Origin, root};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::secret::{PREFIX_CONSOLE, Presented, Secret, generate_id};
use crate::domain::sessions::{Browser, CONSOLE_S, Session};
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::authenticators::proof::{self, Proof};
use crate::ops::{App, Record, authenticate};
use crate::store::{Durability, sessions, sign_ins};

/// The greatest number of characters of a `User-Agent` header that are stored.
const AGENT_CHARS_MAX: usize = 200;
/// The last use of a console session is written only if it falls into another minute than the last use before.
const TOUCH_MS: i64 = 60_000;

/// The result of a right password at the console.
pub enum SignInResult {
    /// The user has a second factor. The client sends this text back together with the code ([`open_with_code`]).
    CodeNeeded(String),
    SignedIn(SignedIn),
}

/// Signs a user in to the console. `former` is the session that the browser had until now. It ends, so that a secret
/// that an attacker knew before the sign-in is worthless afterwards (attacks 169).
pub fn open(
    app: &App,
    user_name: &str,
    password: &str,
    code: Option<&str>,
    origin: Origin,
    agent: &str,
    former: Option<KeyId>,
) -> Result<SignInResult> {
    let code = code.map_or(Code::InSecondStep, Code::Given);
    let ProvenUser {
        user,
        awaits,
        proof,
    } = proven(app, user_name, password, code, &origin, "session.create")?;
    if let Some(factor) = awaits {
        let step = proof::await_code(app, &user, &factor, false)?;
        return Ok(SignInResult::CodeNeeded(step));
    }
    begin(app, &user, proof, origin, agent, former).map(SignInResult::SignedIn)
}

/// The second step of [`open`].
pub fn open_with_code(
    app: &App,
    step: &str,
    code: &str,
    origin: Origin,
    agent: &str,
    former: Option<KeyId>,
) -> Result<SignedIn> {
    let (user, _) = proof::after_code(app, step, code, &origin)?;
    begin(app, &user, Proof::Complete, origin, agent, former)
}

/// Replaces a session by a new one, for a user who enters their password again. The old session has already checked the
/// second factor.
pub fn renew(
    app: &App,
    user_name: &str,
    password: &str,
    origin: Origin,
    agent: &str,
    former: KeyId,
) -> Result<SignedIn> {
    let user = confirmed(app, former, user_name, password, &origin)?;
    begin(app, &user, Proof::Renewed, origin, agent, Some(former))
}

/// Begins a session of a user whose identity is proven. A user who must set up a second factor first gets a session that
/// permits nothing else.
pub fn begin(
    app: &App,
    user: &User,
    proof: Proof,
    origin: Origin,
    agent: &str,
    former: Option<KeyId>,
) -> Result<SignedIn> {
    let now = app.now().wall;
    let id = generate_id()?;
    let token = Secret::generate(PREFIX_CONSOLE, id)?;
    let agent = agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    let session = Session {
        id,
        secret: StoredSecret::of(&app.peppers, &token),
        user: user.uid,
        generation: user.generation,
        read_only: false,
        issued_at: now,
        expires_at: now.plus_s(CONSOLE_S),
        acting: None,
        console: Some(Browser {
            used_at: now,
            source: origin.source.clone(),
            agent: agent.take(AGENT_CHARS_MAX).collect(),
        }),
    };
    let caller = Caller {
        reach: root(&app.index.directory())?,
        ..Caller::signing_in(user, id, origin)
    };
    let (seal_keys, source) = (app.seal_keys.clone(), caller.source.clone());
    app.change_all(
        &caller,
        "session.create",
        Target::new(Kind::Session, id),
        move |tx, now| {
            proof::require_current(tx, session.user, proof)?;
            sign_ins::replace(tx, session.user, now, &source)?;
            sessions::delete_expired(tx, now)?;
            sessions::insert(tx, &seal_keys, &session)?;
            let mut records = vec![("session.create", record(id))];
            if let Some(former) = former {
                match sessions::delete(tx, former)? {
                    true => records.push(("session.delete", record(former))),
                    // What a session has proven ends with it.
                    false if proof == Proof::Renewed => return Err(Error::Unauthenticated),
                    false => {}
                }
            }
            Ok((records, ()))
        },
    )?;
    Ok(SignedIn {
        token,
        expires_in_s: CONSOLE_S,
    })
}

/// The caller that [`authenticate`] would find now, according to the index. It does not record a use.
pub fn would_authenticate(app: &App, secret: &str) -> Option<Caller> {
    let session = Presented::parse(secret)
        .filter(|presented| presented.prefix() == PREFIX_CONSOLE)
        .and_then(|presented| authenticate::session_of(app, presented).ok())?;
    authenticate::caller_of_session(app, &session, Origin::default()).ok()
}

/// The caller behind a console session's secret, and the session. It records the use of the session.
pub fn authenticate(app: &App, secret: &str, origin: Origin) -> Result<(Caller, Session)> {
    let presented = Presented::parse(secret)
        .filter(|presented| presented.prefix() == PREFIX_CONSOLE)
        .ok_or(Error::Unauthenticated)?;
    let session = authenticate::present_session(app, presented)?;
    let caller = authenticate::caller_of_session(app, &session, origin)?;
    let (id, now) = (session.id, app.now().wall);
    let before = app.index.touch_session(id, now);
    if before.is_some_and(|before| before.0.div_euclid(TOUCH_MS) != now.0.div_euclid(TOUCH_MS)) {
        let seal_keys = app.seal_keys.clone();
        let written = app.store.write(Durability::Relaxed, move |tx| {
            sessions::touch(tx, &seal_keys, id, now)
        });
        // Users who only read may go on while the store cannot write.
        if let Err(err) = written {
            log::warn!("the last use of a console session was not written: {err}");
        }
    }
    Ok((caller, session))
}

fn record(id: KeyId) -> Record {
    Record {
        target: Target::new(Kind::Session, id),
        workspace: None,
        changes: Changes::default(),
    }
}
