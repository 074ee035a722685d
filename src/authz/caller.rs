//! Callers: who they are and what they may do.
//!
//! What a caller may do is the intersection of three things: the permissions of the credential, the roles of its
//! owner, and the subtree of its workspace. Things that a caller may not see are reported as not found.

use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, SharedPart, StoredSecret};
use crate::domain::policies::Policy;
use crate::domain::policies::roles::Roles;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::short;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
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
    /// The key by which the caller was found, as it was then.
    pub found_by: Option<FoundBy>,
    /// The client's address, `unix`, or empty.
    pub source: String,
    pub request_id: String,
    /// Whether the request only takes something away. Such a request is not charged, and has capacity of its own in
    /// every queue and on the disk.
    pub takes_away: bool,
}

/// What the rights of a key depend on, and its secret that was presented.
#[derive(Clone, Debug)]
pub struct FoundBy {
    shared: Arc<SharedPart>,
    /// The first eight bytes of the digest: another secret has others.
    digest: u64,
}

impl FoundBy {
    /// A key of which this secret was presented.
    pub fn of(key: &Live, secret: &StoredSecret) -> FoundBy {
        FoundBy {
            shared: key.shared.clone(),
            digest: short(&secret.digest.0),
        }
    }

    /// Refuses if the key is not what it was, or the secret is none of it any more. Another request, or another node, may have
    /// changed it while the request waited.
    pub fn check(&self, key: &Live, now: Timestamp) -> Result<()> {
        let older = key
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref());
        let is_presented = |secret: &StoredSecret| short(&secret.digest.0) == self.digest;
        let is_older = older.is_some_and(|older| is_presented(&older.secret) && older.works(now));
        if !(key.enabled && now < key.expires_at && (is_presented(&key.secret) || is_older)) {
            return Err(Error::Unauthenticated);
        }
        match key.shared == self.shared {
            true => Ok(()),
            false => Err(Error::Unavailable(refusals::access::key_changed())),
        }
    }
}

/// The kind of credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// A session in which a user acts as another user whom they manage. The actor is the acting user.
    Acting(KeyId),
    /// A session of a user who must set up a second factor before anything else. It permits that and
    /// ending sessions only.
    Enrolling(KeyId),
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
    pub fn local(directory: &Directory, uid: u32, origin: Origin) -> Result<Caller> {
        Ok(Caller {
            bound_by: None,
            found_by: None,
            actor: format!("local:{uid}"),
            identity: Identity::Local,
            permissions: Permissions::all(),
            reach: root(directory)?,
            user: None,
            source: origin.source,
            request_id: origin.request_id,
            takes_away: false,
        })
    }

    /// The server itself, for what its settings and its timers do.
    pub fn system(directory: &Directory) -> Result<Caller> {
        Ok(Caller {
            actor: "system".to_owned(),
            ..Caller::local(directory, 0, Origin::default())?
        })
    }

    /// Whether the caller is this user in a session of their own. Neither a key of the user nor another user who acts
    /// as them counts.
    pub fn is_session_of(&self, user: Uid) -> bool {
        matches!(self.identity, Identity::Session(_)) && self.user == Some(user)
    }

    /// Whether the caller is this user, who must set up a second factor before anything else.
    pub fn is_enrolling(&self, user: Uid) -> bool {
        matches!(self.identity, Identity::Enrolling(_)) && self.user == Some(user)
    }

    /// Whether the caller is this user in a session of their own, or a key or another user that acts for them.
    pub fn acts_as(&self, user: Uid) -> bool {
        let for_user = matches!(self.identity, Identity::Acting(_) | Identity::ForOwner(_));
        (for_user && self.user == Some(user)) || self.is_session_of(user)
    }

    /// Whether the caller is this key.
    pub fn is_key(&self, id: KeyId) -> bool {
        [Identity::ForOwner(id), Identity::Key(id)].contains(&self.identity)
    }

    /// Whether the credential permits only reading.
    pub fn only_reads(&self) -> bool {
        Permissions::reading().covers(self.permissions)
    }

    /// Refuses a credential that permits only reading.
    pub fn require_writing(&self) -> Result<()> {
        match self.only_reads() {
            true => Err(Error::Forbidden(refusals::access::only_reads())),
            false => Ok(()),
        }
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

    /// A user as the caller of their own sign-in, a change for which they need no permission.
    pub fn signing_in(user: &User, session: KeyId, origin: Origin) -> Caller {
        Caller {
            bound_by: None,
            found_by: None,
            actor: format!("user:{}", user.user_name),
            identity: Identity::Session(session),
            permissions: Default::default(),
            reach: user.home,
            user: Some(user.uid),
            source: origin.source,
            request_id: origin.request_id,
            takes_away: false,
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
            refusals::access::lacks_in_workspace(scope)
        } else {
            refusals::access::lacks(scope)
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
        Err(Error::Forbidden(refusals::access::root_administrator()))
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
        Err(Error::Forbidden(refusals::access::lacks(
            permission.scope(),
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

/// What a role of the owner passes on to a key that acts for the owner, by the rules of the policy.
pub fn passed_on(policy: &Policy, role: Role) -> Permissions {
    let rules = policy.rules_of(Roles::default().with(role), false);
    rules.fold(Permissions::default(), |sum, rule| {
        sum.or(match rule.read_only {
            true => role.permissions().and(Permissions::reading()),
            false => role.permissions(),
        })
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

/// The permissions that a user's roles give the user in a workspace.
pub fn role_permissions_in(directory: &Directory, user: &User, workspace: Uid) -> Permissions {
    user.roles
        .iter()
        .filter(|binding| in_force(directory, binding, workspace))
        .fold(Permissions::default(), |sum, binding| {
            sum.or(binding.role.permissions())
        })
}

/// The roles of a user that are in force in a workspace.
pub fn roles_in(directory: &Directory, user: &User, workspace: Uid) -> Roles {
    user.roles
        .iter()
        .filter(|binding| in_force(directory, binding, workspace))
        .fold(Roles::default(), |roles, binding| roles.with(binding.role))
}

/// Whether a role applies in a workspace. The roles in a disabled workspace are not in force.
pub fn in_force(directory: &Directory, binding: &Binding, workspace: Uid) -> bool {
    let place = directory.place(binding.workspace);
    place.is_some_and(|place| place.active) && directory.reaches(binding.workspace, workspace)
}
