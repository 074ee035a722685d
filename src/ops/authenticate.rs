//! Authentication: finds the caller of a credential.

use crate::authz::caller::{Caller, FoundBy, Identity, Origin, in_force, passed_on, root};
use crate::authz::users;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::keys::secret::{PREFIX_SESSION, Presented};
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::{CredentialHeader, IssuedBy};
use crate::domain::sessions::Session;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::authenticators::demand::require_none_lacking;
use crate::ops::verify::{self, Outcome, Verdict};
use crate::refusals;
use crate::store::sessions;
use std::net::IpAddr;

/// Finds the caller for a secret, which is a management key or an access token. All failures have the same error.
///
/// `None` means that the limits of the key cannot be decided without the store. The caller of this function must then
/// repeat it where waiting is allowed.
pub fn authenticate(
    app: &App,
    secret: &str,
    header: CredentialHeader,
    origin: Origin,
    may_wait: bool,
) -> Result<Option<Caller>> {
    let presented = Presented::parse(secret).ok_or(Error::Unauthenticated)?;
    if presented.prefix() == PREFIX_SESSION {
        let session = session(app, presented, may_wait)?;
        return session
            .map(|session| caller_of_session(app, &session, origin))
            .transpose();
    }
    // A management key can have limits for addresses, rate and uses. These limits apply here too.
    let question = Question {
        address: origin.address,
        header: Some(header),
        via: "management",
        own_secrets_only: true,
        cost: 1,
        ..Question::default()
    };
    let told = |verdict: &Verdict<'_>| caller_of(verdict, &origin);
    if may_wait {
        return verify::verify_blocking(app, secret, &question, None, told)?.map(Some);
    }
    match verify::verify(app, secret, &question, None, told) {
        Outcome::Done(caller) => caller.map(Some),
        Outcome::MustWait => Ok(None),
    }
}

/// The caller as a user of the server, for API modules that are meant for users. A signed-in user is accepted as they
/// are. A key is accepted as its owner if its policy lets it act for the owner and if it has `scope` of `catalog`.
/// Only its owner can have issued such a key (`domain::policies::definition`), and only with a credential that permits
/// everything that the owner may do through the key (`authz::bounds`).
///
/// # Errors
/// `Unauthenticated` for a key of any other kind, which is not a credential here. `Forbidden` for a key without the
/// scope, and for a read-only credential if the request `writes`.
pub fn as_owner(
    app: &App,
    caller: &Caller,
    catalog: &str,
    scope: &str,
    writes: bool,
) -> Result<Caller> {
    let caller = match caller.identity {
        Identity::Key(id) => key_as_owner(app, caller, id, catalog, scope)?,
        _ => caller.clone(),
    };
    if writes {
        caller.require_writing()?;
    }
    Ok(caller)
}

fn key_as_owner(
    app: &App,
    caller: &Caller,
    id: KeyId,
    catalog: &str,
    scope: &str,
) -> Result<Caller> {
    let shared = app.index.with_key(id, |key| key.shared.clone());
    let shared = shared.ok_or(Error::Unauthenticated)?;
    let directory = app.index.directory();
    let acts = directory
        .policy(&shared.policy)
        .is_some_and(|policy| policy.acts_for_owner);
    let owner = shared.owner.and_then(|owner| directory.user(owner));
    let owner = owner.filter(|owner| acts && owner.is_active());
    let owner = owner.filter(|_| shared.catalog.as_deref() == Some(catalog));
    let owner = owner.ok_or(Error::Unauthenticated)?;
    if !shared.scopes.iter().any(|held| **held == *scope) {
        return Err(Error::Forbidden(refusals::access::key_lacks_scope(scope)));
    }
    let policy = directory
        .policy(&shared.policy)
        .ok_or(Error::Unauthenticated)?;
    let acts = owner.roles.iter().any(|binding| {
        let rests = !in_force(&directory, binding, binding.workspace);
        !rests && passed_on(policy, binding.role) != Permissions::default()
    });
    if !acts {
        return Err(Error::Forbidden(refusals::access::owner_has_no_role()));
    }
    Ok(Caller {
        identity: Identity::ForOwner(id),
        permissions: if shared.read_only {
            Permissions::reading()
        } else {
            Permissions::all()
        },
        bound_by: Some(policy.clone()),
        reach: root(&directory)?,
        user: Some(owner.uid),
        ..caller.clone()
    })
}

/// The caller with the permissions that the scopes of its key grant, for API modules whose keys act in their own
/// right. Each scope of `catalog` that the key has adds its permissions in the key's workspace and below.
///
/// Returns `None` if the caller is not a key of `catalog` that only an administrator of the root workspace can have
/// issued or received (`ops::keys::room`), because any other key must not have more rights than its issuer.
pub fn as_granted(
    app: &App,
    caller: &Caller,
    catalog: &str,
    grants: &[(&str, &[Permission])],
) -> Option<Caller> {
    let Identity::Key(id) = caller.identity else {
        return None;
    };
    let shared = app.index.with_key(id, |key| key.shared.clone())?;
    let directory = app.index.directory();
    let policy = directory.policy(&shared.policy)?;
    if policy.issued_by != IssuedBy::RootAdministrator || shared.catalog.as_deref() != Some(catalog)
    {
        return None;
    }
    let catalog = directory.catalog(catalog)?;
    let granted = grants
        .iter()
        .filter(|(scope, _)| {
            catalog.grants(&shared.scopes, directory.is_root(shared.workspace), scope)
        })
        .fold(Permissions::default(), |sum, (_, permissions)| {
            sum.or(Permissions::of(permissions))
        });
    Some(Caller {
        permissions: match shared.read_only {
            true => granted.and(Permissions::reading()),
            false => granted,
        },
        ..caller.clone()
    })
}

/// The caller that [`authenticate`] would find now, according to the index. Spends nothing and counts nothing.
pub fn would_authenticate(
    app: &App,
    secret: &str,
    header: CredentialHeader,
    address: Option<IpAddr>,
) -> Option<Caller> {
    let presented = Presented::parse(secret)?;
    if presented.prefix() == PREFIX_SESSION {
        let session = token_session(session_of(app, presented).ok()?).ok()?;
        return caller_of_session(app, &session, Origin::default()).ok();
    }
    let question = Question {
        address,
        header: Some(header),
        cost: 0,
        ..Question::default()
    };
    verify::would_authenticate(app, presented, &question, |key| {
        caller_of_key(key, &Origin::default())
    })
}

/// The caller for a valid key. A key of a catalog other than the built-in one has only the permission to read itself.
fn caller_of(verdict: &Verdict<'_>, origin: &Origin) -> Result<Caller> {
    let key = match (verdict.code, verdict.key) {
        (Code::Valid, Some(key)) => key,
        (Code::RateLimited, _) => {
            return Err(Error::TooMany {
                retry_after_s: verdict.retry_after_s(),
            });
        }
        _ => return Err(Error::Unauthenticated),
    };
    Ok(Caller {
        found_by: verdict.secret.map(|secret| FoundBy::of(key, &secret)),
        ..caller_of_key(key, origin)
    })
}

fn caller_of_key(key: &Live, origin: &Origin) -> Caller {
    let management = key.shared.catalog.as_deref() == Some(BUILT_IN);
    let scopes = key
        .shared
        .scopes
        .iter()
        .filter(|_| management)
        .map(|scope| &**scope);
    let granted = Permissions::from_scopes(scopes);
    Caller {
        bound_by: None,
        found_by: None,
        actor: format!("key:{}", key.id),
        identity: Identity::Key(key.id),
        permissions: if key.shared.read_only {
            granted.and(Permissions::reading())
        } else {
            granted
        },
        reach: key.shared.workspace,
        user: key.shared.owner,
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        takes_away: false,
    }
}

/// The caller for an access token of a user who must set up a second factor before anything else; `None` for every other
/// secret. Such a caller has no permission, and may only end sessions of their own.
pub fn enrolling(app: &App, secret: &str, origin: Origin) -> Option<Caller> {
    let presented = Presented::parse(secret).filter(|it| it.prefix() == PREFIX_SESSION)?;
    let session = session_of(app, presented).ok()?;
    let directory = app.index.directory();
    let user = directory
        .user(session.user)
        .filter(|user| user.is_active() && user.generation == session.generation)
        .filter(|user| app.lacks_second_factor(user))?;
    let is_token = session.console.is_none() && session.acting.is_none();
    is_token.then(|| Caller {
        permissions: Permissions::default(),
        identity: Identity::Enrolling(session.id),
        ..Caller::signing_in(user, session.id, origin)
    })
}

/// The session of an access token. `None` if that must be looked up where waiting is allowed.
fn session(app: &App, presented: Presented<'_>, may_wait: bool) -> Result<Option<Session>> {
    let found = match may_wait {
        true => present_session(app, presented),
        false => session_of(app, presented),
    };
    match found {
        Err(Error::Unauthenticated) if !may_wait && app.fence.is_some() => Ok(None),
        found => token_session(found?).map(Some),
    }
}

/// A session, unless it is one of the console, which is not accepted as an access token.
fn token_session(session: Session) -> Result<Session> {
    match session.console {
        Some(_) => Err(Error::Unauthenticated),
        None => Ok(session),
    }
}

/// The session that a secret belongs to, unless it is over. If the index does not have it as one that goes on, the store decides at a
/// node that shares its database: the session may be used at another node.
pub fn present_session(app: &App, presented: Presented<'_>) -> Result<Session> {
    match session_of(app, presented) {
        Err(Error::Unauthenticated) if app.fence.is_some() => stored_session(app, presented),
        found => found,
    }
}

/// The session as the store has it now. Only for a client that has its secret is the index brought up to that.
fn stored_session(app: &App, presented: Presented<'_>) -> Result<Session> {
    let _one = app.look_ups.begin()?;
    let found = app.read(|read| sessions::find(read, &app.seal_keys, presented.id))?;
    let is_its_own = |session: &Session| session.secret.matches(&app.peppers, presented.text);
    let found = found.filter(is_its_own).ok_or(Error::Unauthenticated)?;
    app.applier.load_session(&app.store, found.id)?;
    session_of(app, presented)
}

/// The session that a secret belongs to, unless it is over, according to the index.
pub fn session_of(app: &App, presented: Presented<'_>) -> Result<Session> {
    app.require_serving()?;
    let session = app
        .index
        .session(presented.id)
        .ok_or(Error::Unauthenticated)?;
    if !session.secret.matches(&app.peppers, presented.text) || session.is_over(app.now().wall) {
        return Err(Error::Unauthenticated);
    }
    Ok(session)
}

/// The caller for a session. Its user must be active and must not have changed the password since the sign-in. If
/// another user acts as this user, the same applies to the acting user, who must also manage the user.
///
/// # Errors
/// `Unauthenticated` for a session that is over, and `Forbidden` for one of a user who must set up a second factor first.
/// A console session of such a user permits that and nothing else.
pub fn caller_of_session(app: &App, session: &Session, origin: Origin) -> Result<Caller> {
    let directory = app.index.directory();
    let user = directory
        .user(session.user)
        .filter(|user| user.is_active() && user.generation == session.generation);
    let user = user.ok_or(Error::Unauthenticated)?;
    let mut permitted = match session.read_only {
        true => Permissions::reading(),
        false => Permissions::all(),
    };
    let (actor, identity) = match session.acting {
        None if !app.lacks_second_factor(user) => (&user.user_name, Identity::Session(session.id)),
        None => {
            // Only in the console can the user set up a second factor.
            if session.console.is_none() {
                require_none_lacking(app, user)?;
            }
            permitted = Permissions::default();
            (&user.user_name, Identity::Enrolling(session.id))
        }
        Some(acting) => {
            let by = directory
                .user(acting.user)
                .filter(|by| by.is_active() && by.generation == acting.generation)
                .filter(|by| users::manages(&directory, by, user));
            let by = by.ok_or(Error::Unauthenticated)?;
            require_none_lacking(app, by)?;
            (&by.user_name, Identity::Acting(session.id))
        }
    };
    Ok(Caller {
        bound_by: None,
        found_by: None,
        actor: format!("user:{actor}"),
        identity,
        permissions: permitted,
        reach: root(&directory)?,
        user: Some(user.uid),
        source: origin.source,
        request_id: origin.request_id,
        takes_away: false,
    })
}
