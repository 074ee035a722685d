//! Callers of the management API: who they are and what they may do.
//!
//! What a caller may do is the intersection of three things: the permissions of the credential, the roles of its
//! owner, and the subtree of its workspace. Things that a caller may not see are reported as not found.

use super::App;
use super::users;
use super::verify::{self, Outcome, Verdict};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::keys::secret::{PREFIX_SESSION, Presented};
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::roles::Roles;
use crate::domain::policies::{CredentialHeader, IssuedBy, Policy};
use crate::domain::sessions::Session;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::domain::users::{Binding, Role, User};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use std::net::IpAddr;
use std::sync::Arc;

/// The principal of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name in the audit log: `key:<id>`, `user:<name>`, `local:<uid>` or `system`.
    pub actor: String,
    pub identity: Identity,
    /// What the credential permits. The roles of its owner are looked up for each decision.
    pub permissions: Permissions,
    /// The workspace to whose subtree the credential is restricted.
    pub reach: Uid,
    /// The user whose roles limit the caller.
    pub user: Option<Uid>,
    /// For a key that acts for its owner: the policy that defines what each of the owner's roles passes on to the
    /// key.
    pub bound_by: Option<Arc<Policy>>,
    /// The client's address, `unix`, or empty.
    pub source: String,
    pub request_id: String,
    /// Whether the request only takes something away. Such a request is not charged, and has capacity of its own in
    /// every queue and on the disk.
    pub takes_away: bool,
}

/// The kind of credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// A session in which a user acts as another user whom they manage. The actor is the acting user.
    Acting(KeyId),
    /// A key that was accepted as the user who owns it ([`as_owner`]).
    ForOwner(KeyId),
    Key(KeyId),
    /// The administrator of the machine, through the Unix socket or the command line.
    Local,
    /// A user who has just proved their password, for this one request. It is valid as long as the user has this
    /// generation.
    Password {
        generation: i64,
    },
    Session(KeyId),
}

/// The origin of a request.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The address that is compared with address lists; `None` if it is not known.
    pub address: Option<IpAddr>,
    /// The address for which attempts are counted: the client's, or that of the proxy if the client's is not known.
    /// `None` only on the Unix socket.
    pub counted: Option<IpAddr>,
    /// Whether the request comes from the administrator of the machine, through the Unix socket.
    pub is_local: bool,
    /// For the audit log: the address in `counted`, or `unix`.
    pub source: String,
    pub request_id: String,
}

impl Caller {
    /// The administrator of the machine, who may do everything.
    pub fn local(app: &App, uid: u32, origin: Origin) -> Result<Caller> {
        Ok(Caller {
            bound_by: None,
            actor: format!("local:{uid}"),
            identity: Identity::Local,
            permissions: Permissions::all(),
            reach: root(&app.index.directory())?,
            user: None,
            source: origin.source,
            request_id: origin.request_id,
            takes_away: false,
        })
    }

    /// The server itself, for what its settings and its timers do.
    pub fn system(app: &App) -> Result<Caller> {
        Ok(Caller {
            actor: "system".to_owned(),
            ..Caller::local(app, 0, Origin::default())?
        })
    }

    /// Whether the caller is this user in a session of their own. Neither a key of the user nor another user who acts
    /// as them counts.
    pub fn is_session_of(&self, user: Uid) -> bool {
        matches!(self.identity, Identity::Session(_)) && self.user == Some(user)
    }

    /// Whether the caller is this user in a session of their own, or a key or another user that acts for them.
    pub fn is_himself(&self, user: Uid) -> bool {
        let for_him = matches!(self.identity, Identity::Acting(_) | Identity::ForOwner(_));
        (for_him && self.user == Some(user)) || self.is_session_of(user)
    }

    /// Whether the caller is this key.
    pub fn is_key(&self, id: KeyId) -> bool {
        [Identity::ForOwner(id), Identity::Key(id)].contains(&self.identity)
    }

    /// Whether the credential permits only reading.
    pub fn only_reads(&self) -> bool {
        Permissions::reading().covers(self.permissions)
    }

    /// Whether the caller has a permission in a workspace, for a thing that belongs to `owner`.
    pub fn may(
        &self,
        directory: &Directory,
        permission: Permission,
        workspace: Uid,
        owner: Option<Uid>,
    ) -> bool {
        if !self.permissions.contains(permission) || !directory.reaches(self.reach, workspace) {
            return false;
        }
        let Some(user) = self.user else {
            return true;
        };
        let Some(user) = directory.user(user) else {
            return false;
        };
        user.roles.iter().any(|binding| {
            let applies = in_force(directory, binding, workspace);
            let own =
                binding.role != Role::Member || owner == Some(user.uid) || !about_keys(permission);
            applies && own && self.permissions_of(binding.role).contains(permission)
        })
    }

    /// What a role of the user permits to this caller. For a key that acts for the user, this is what its policy
    /// passes on.
    fn permissions_of(&self, role: Role) -> Permissions {
        match &self.bound_by {
            None => role.permissions(),
            Some(policy) => passed_on(policy, role),
        }
    }

    /// Does the same as [`Caller::may`], but returns the error for the client.
    pub fn require(
        &self,
        directory: &Directory,
        permission: Permission,
        workspace: Uid,
        owner: Option<Uid>,
    ) -> Result<()> {
        if self.may(directory, permission, workspace, owner) {
            return Ok(());
        }
        let scope = permission.scope();
        Err(Error::Forbidden(if self.permissions.contains(permission) {
            format!("this credential does not have {scope} in that workspace")
        } else {
            format!("this credential does not have {scope}")
        }))
    }

    /// Requires a permission in the root workspace, for things that belong to the whole server.
    pub fn require_global(&self, directory: &Directory, permission: Permission) -> Result<()> {
        self.require(directory, permission, root(directory)?, None)
    }

    /// Requires an administrator of the root workspace: a caller with write permission for both keys and workspaces
    /// there.
    pub fn require_root_administrator(&self, directory: &Directory) -> Result<()> {
        let both = Permissions::of(&[Permission::KeysWrite, Permission::WorkspacesWrite]);
        if self
            .permissions_in(directory, root(directory)?)
            .covers(both)
        {
            return Ok(());
        }
        Err(Error::Forbidden(
            "this takes an administrator of the root workspace".to_owned(),
        ))
    }

    /// Whether the caller manages the root workspace: an owner or administrator of it, a key in it with
    /// `server:admin`, or the administrator of the machine.
    pub fn manages_root(&self, directory: &Directory) -> bool {
        root(directory).is_ok_and(|root| {
            self.require_root_administrator(directory).is_ok()
                || self.may(directory, Permission::ServerAdmin, root, None)
        })
    }

    /// Requires that the credential has the permission; used for lists, where each row is then decided separately.
    pub fn require_somewhere(&self, permission: Permission) -> Result<()> {
        if self.permissions.contains(permission) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this credential does not have {}",
            permission.scope()
        )))
    }

    /// Requires the permission in at least one workspace.
    pub fn require_in_any(&self, directory: &Directory, permission: Permission) -> Result<()> {
        match self.permissions_somewhere(directory).contains(permission) {
            true => Ok(()),
            false => self.require_global(directory, permission),
        }
    }

    /// Whether the caller can see a workspace, which is the case if it has any permission there. Other workspaces are
    /// reported as not found.
    pub fn knows(&self, directory: &Directory, workspace: Uid) -> bool {
        self.permissions_in(directory, workspace) != Permissions::default()
    }

    /// The permissions that the caller has in at least one workspace; the console offers only these actions.
    pub fn permissions_somewhere(&self, directory: &Directory) -> Permissions {
        let places = directory.places().map(|place| place.workspace.uid);
        places.fold(Permissions::default(), |sum, uid| {
            sum.or(self.permissions_in(directory, uid))
        })
    }

    /// All permissions of the caller in a workspace. The caller can pass on no more than these.
    pub fn permissions_in(&self, directory: &Directory, workspace: Uid) -> Permissions {
        if !directory.reaches(self.reach, workspace) {
            return Permissions::default();
        }
        let Some(user) = self.user else {
            return self.permissions;
        };
        let roles = directory.user(user).map_or(&[][..], |user| &user.roles);
        roles
            .iter()
            .filter(|binding| in_force(directory, binding, workspace))
            .fold(Permissions::default(), |sum, binding| {
                sum.or(self.permissions_of(binding.role))
            })
            .and(self.permissions)
    }
}

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
        return session(app, presented, origin).map(Some);
    }
    // A management key can have limits for addresses, rate and uses. These limits apply here too.
    let question = Question {
        address: origin.address,
        header: Some(header),
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
/// everything that the owner may do through the key (`ops::keys::bounds`).
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
    if writes && caller.only_reads() {
        return Err(Error::Forbidden(
            "this credential has read access only".to_owned(),
        ));
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
    let kin = app.index.with_key(id, |key| key.kin.clone());
    let kin = kin.ok_or(Error::Unauthenticated)?;
    let directory = app.index.directory();
    let acts = directory
        .policy(&kin.policy)
        .is_some_and(|policy| policy.acts_for_owner);
    let owner = kin.owner.and_then(|owner| directory.user(owner));
    let owner = owner.filter(|owner| acts && owner.is_active());
    let owner = owner.filter(|_| kin.catalog.as_deref() == Some(catalog));
    let owner = owner.ok_or(Error::Unauthenticated)?;
    if !kin.scopes.iter().any(|held| **held == *scope) {
        return Err(Error::Forbidden(format!(
            "this key does not have the scope {scope}"
        )));
    }
    let policy = directory
        .policy(&kin.policy)
        .ok_or(Error::Unauthenticated)?;
    let acts = owner.roles.iter().any(|binding| {
        let rests = !in_force(&directory, binding, binding.workspace);
        !rests && passed_on(policy, binding.role) != Permissions::default()
    });
    if !acts {
        return Err(Error::Forbidden(
            "the owner of this key has no role that permits this".to_owned(),
        ));
    }
    Ok(Caller {
        identity: Identity::ForOwner(id),
        permissions: if kin.read_only {
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

/// What a role of the owner passes on to a key that acts for the owner, by the rules of the policy.
fn passed_on(policy: &Policy, role: Role) -> Permissions {
    let rules = policy.rules_of(Roles::default().with(role), false);
    rules.fold(Permissions::default(), |sum, rule| {
        sum.or(match rule.read_only {
            true => role.permissions().and(Permissions::reading()),
            false => role.permissions(),
        })
    })
}

/// The caller with the permissions that the scopes of its key grant, for API modules whose keys act in their own
/// right. Each scope of `catalog` that the key has adds its permissions in the key's workspace and below.
///
/// Returns `None` if the caller is not a key of `catalog` that only an administrator of the root workspace can have
/// issued or received (`ops::keys::admission`), because any other key must not have more rights than its issuer.
pub fn as_granted(
    app: &App,
    caller: &Caller,
    catalog: &str,
    grants: &[(&str, &[Permission])],
) -> Option<Caller> {
    let Identity::Key(id) = caller.identity else {
        return None;
    };
    let kin = app.index.with_key(id, |key| key.kin.clone())?;
    let directory = app.index.directory();
    let policy = directory.policy(&kin.policy)?;
    if policy.issued_by != IssuedBy::RootAdministrator || kin.catalog.as_deref() != Some(catalog) {
        return None;
    }
    let catalog = directory.catalog(catalog)?;
    let granted = grants
        .iter()
        .filter(|(scope, _)| catalog.grants(&kin.scopes, directory.is_root(kin.workspace), scope))
        .fold(Permissions::default(), |sum, (_, permissions)| {
            sum.or(Permissions::of(permissions))
        });
    Some(Caller {
        permissions: match kin.read_only {
            true => granted.and(Permissions::reading()),
            false => granted,
        },
        ..caller.clone()
    })
}

/// The caller that [`authenticate`] would find now, according to the index. Spends nothing and counts nothing.
pub fn foresees(
    app: &App,
    secret: &str,
    header: CredentialHeader,
    address: Option<IpAddr>,
) -> Option<Caller> {
    let presented = Presented::parse(secret)?;
    if presented.prefix() == PREFIX_SESSION {
        return session(app, presented, Origin::default()).ok();
    }
    let question = Question {
        address,
        header: Some(header),
        cost: 0,
        ..Question::default()
    };
    verify::foresees(app, presented, &question, |key| {
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
    Ok(caller_of_key(key, origin))
}

fn caller_of_key(key: &Live, origin: &Origin) -> Caller {
    let management = key.kin.catalog.as_deref() == Some(BUILT_IN);
    let scopes = key
        .kin
        .scopes
        .iter()
        .filter(|_| management)
        .map(|scope| &**scope);
    let granted = Permissions::from_scopes(scopes);
    Caller {
        bound_by: None,
        actor: format!("key:{}", key.id),
        identity: Identity::Key(key.id),
        permissions: if key.kin.read_only {
            granted.and(Permissions::reading())
        } else {
            granted
        },
        reach: key.kin.workspace,
        user: key.kin.owner,
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        takes_away: false,
    }
}

/// The caller for an access token. A session of the console is not accepted here.
fn session(app: &App, presented: Presented<'_>, origin: Origin) -> Result<Caller> {
    let session = session_of(app, presented)?;
    if session.console.is_some() {
        return Err(Error::Unauthenticated);
    }
    caller_of_session(app, &session, origin)
}

/// The session that a secret belongs to, unless it is over.
pub fn session_of(app: &App, presented: Presented<'_>) -> Result<Session> {
    let session = app
        .index
        .session(presented.id)
        .ok_or(Error::Unauthenticated)?;
    let pepper = app
        .peppers
        .version(session.secret.pepper)
        .ok_or(Error::Unauthenticated)?;
    if !pepper.matches(presented.text, &session.secret.digest) || session.is_over(app.now().wall) {
        return Err(Error::Unauthenticated);
    }
    Ok(session)
}

/// The caller for a session. Its user must be active and must not have changed the password since the sign-in. If
/// another user acts as this user, the same applies to the acting user, who must also manage the user.
pub fn caller_of_session(app: &App, session: &Session, origin: Origin) -> Result<Caller> {
    let directory = app.index.directory();
    let user = directory
        .user(session.user)
        .filter(|user| user.is_active() && user.generation == session.generation);
    let user = user.ok_or(Error::Unauthenticated)?;
    let all = Permissions::all();
    let (actor, identity) = match session.acting {
        None => (&user.user_name, Identity::Session(session.id)),
        Some(acting) => {
            let by = directory
                .user(acting.user)
                .filter(|by| by.is_active() && by.generation == acting.generation)
                .filter(|by| users::manages(&directory, by, user));
            let by = by.ok_or(Error::Unauthenticated)?;
            (&by.user_name, Identity::Acting(session.id))
        }
    };
    Ok(Caller {
        bound_by: None,
        actor: format!("user:{actor}"),
        identity,
        permissions: if session.read_only {
            Permissions::reading()
        } else {
            all
        },
        reach: root(&directory)?,
        user: Some(user.uid),
        source: origin.source,
        request_id: origin.request_id,
        takes_away: false,
    })
}

/// The uid of the root workspace.
pub fn root(directory: &Directory) -> Result<Uid> {
    let root = directory
        .root()
        .ok_or_else(|| Error::internal("the store has no root workspace"))?;
    Ok(root.workspace.uid)
}

fn about_keys(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::KeysRead
            | Permission::KeysWrite
            | Permission::KeysReveal
            | Permission::KeysVerify
    )
}

/// The roles of a user that are in force in a workspace.
pub fn roles_in(directory: &Directory, user: &User, workspace: Uid) -> Roles {
    user.roles
        .iter()
        .filter(|binding| in_force(directory, binding, workspace))
        .fold(Roles::default(), |roles, binding| roles.with(binding.role))
}

/// Whether a role applies in a workspace. The roles in a disabled workspace are not in force.
pub(super) fn in_force(directory: &Directory, binding: &Binding, workspace: Uid) -> bool {
    let place = directory.place(binding.workspace);
    place.is_some_and(|place| place.active) && directory.reaches(binding.workspace, workspace)
}
