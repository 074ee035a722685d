//! Roles: what each permits in its workspace and below.

use super::permissions::{Permission, Permissions};

/// The rights of a user in a workspace, the most powerful role first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Owner,
    Administrator,
    KeyManager,
    Auditor,
    Member,
}

/// Every role with its word in the API and the store.
const ROLES: [(Role, &str); 5] = [
    (Role::Owner, "owner"),
    (Role::Administrator, "administrator"),
    (Role::KeyManager, "key_manager"),
    (Role::Auditor, "auditor"),
    (Role::Member, "member"),
];

impl Role {
    /// Every role, the one with the most rights first.
    pub fn all() -> impl Iterator<Item = Role> {
        ROLES.iter().map(|(role, _)| *role)
    }

    /// The word that the API and the store use.
    pub fn as_str(self) -> &'static str {
        ROLES
            .iter()
            .find(|(role, _)| *role == self)
            .map_or("", |(_, word)| word)
    }

    /// The role for a word.
    pub fn parse(text: &str) -> Option<Role> {
        ROLES
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(role, _)| *role)
    }

    /// The permissions of the role in its workspace and below (docs/security-model.md).
    pub fn permissions(self) -> Permissions {
        use Permission::*;
        match self {
            Role::Owner => Permissions::all(),
            Role::Administrator => Permissions::of(&[
                KeysRead,
                KeysWrite,
                KeysVerify,
                KeysReveal,
                WorkspacesRead,
                WorkspacesWrite,
                UsersRead,
                UsersWrite,
                PoliciesRead,
                CatalogsRead,
                AuditRead,
                LeaksReport,
            ]),
            Role::KeyManager => Permissions::of(&[
                KeysRead,
                KeysWrite,
                KeysVerify,
                WorkspacesRead,
                PoliciesRead,
                CatalogsRead,
                LeaksReport,
            ]),
            Role::Auditor => Permissions::of(&[
                KeysRead,
                AuditRead,
                WorkspacesRead,
                UsersRead,
                PoliciesRead,
                CatalogsRead,
            ]),
            // The key permissions of a member apply only to the member's own keys; `authz::caller` enforces this.
            Role::Member => Permissions::of(&[KeysRead, KeysWrite, PoliciesRead, CatalogsRead]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_word_back() {
        for (role, word) in ROLES {
            assert_eq!((Role::parse(word), role.as_str()), (Some(role), word));
        }
    }
}
