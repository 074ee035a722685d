//! The permissions of this server: the scopes of the built-in catalog `latchkey`.

use crate::domain::catalogs::{BUILT_IN, Definition, Scope};

/// What a management credential may do. Each `…Write` permission includes the corresponding `…Read`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[rustfmt::skip]
pub enum Permission {
    KeysRead, KeysWrite, KeysVerify, KeysReveal, WorkspacesRead, WorkspacesWrite, UsersRead, UsersWrite,
    PoliciesRead, PoliciesWrite, CatalogsRead, CatalogsWrite, AuditRead, ServerAdmin, LeaksReport,
}

use Permission::*;

/// Every permission: its scope, its label, and the permission that it includes.
#[rustfmt::skip]
const TABLE: [(Permission, &str, &str, Option<Permission>); 15] = [
    (KeysRead,        "keys:read",        "Read keys and their usage",              None),
    (KeysWrite,       "keys:write",       "Issue, edit, rotate and delete keys",    Some(KeysRead)),
    (KeysVerify,      "keys:verify",      "Verify keys",                            None),
    (KeysReveal,      "keys:reveal",      "Show sealed secrets again",              None),
    (WorkspacesRead,  "workspaces:read",  "Read workspaces",                        None),
    (WorkspacesWrite, "workspaces:write", "Create, edit and delete workspaces",     Some(WorkspacesRead)),
    (UsersRead,       "users:read",       "Read users and their roles",             None),
    (UsersWrite,      "users:write",      "Create, edit and delete users",          Some(UsersRead)),
    (PoliciesRead,    "policies:read",    "Read policies",                          None),
    (PoliciesWrite,   "policies:write",   "Create, edit and delete policies",       Some(PoliciesRead)),
    (CatalogsRead,    "catalogs:read",    "Read catalogs",                          None),
    (CatalogsWrite,   "catalogs:write",   "Put and delete catalogs",                Some(CatalogsRead)),
    (AuditRead,       "audit:read",       "Read the audit log",                     None),
    (ServerAdmin,     "server:admin",     "Run the server: backup and maintenance", None),
    (LeaksReport,     "leaks:report",     "Report leaked secrets",                  None),
];

impl Permission {
    /// The permission that a scope grants.
    pub fn of_scope(scope: &str) -> Option<Permission> {
        let mut rows = TABLE.iter();
        rows.find(|row| row.1 == scope).map(|row| row.0)
    }

    /// The scope that grants this permission.
    pub fn scope(self) -> &'static str {
        TABLE[self as usize].1
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Permissions(u32);

impl Permissions {
    /// These permissions and the permissions that they include.
    pub fn of(list: &[Permission]) -> Permissions {
        list.iter().fold(Permissions(0), |set, one| {
            let included = TABLE[*one as usize].3.map_or(0, |read| 1 << read as u32);
            Permissions(set.0 | 1 << *one as u32 | included)
        })
    }

    /// All permissions.
    pub fn all() -> Permissions {
        Permissions((1 << TABLE.len()) - 1)
    }

    /// The permissions that change nothing. A read-only credential has no others.
    pub fn reading() -> Permissions {
        Permissions::of(&[
            KeysRead,
            KeysVerify,
            WorkspacesRead,
            UsersRead,
            PoliciesRead,
            CatalogsRead,
            AuditRead,
        ])
    }

    /// The permissions that scopes of the built-in catalog grant; other words grant nothing.
    pub fn from_scopes<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Permissions {
        let known: Vec<Permission> = scopes
            .into_iter()
            .filter_map(|scope| TABLE.iter().find(|row| row.1 == scope).map(|row| row.0))
            .collect();
        Permissions::of(&known)
    }

    pub fn contains(self, one: Permission) -> bool {
        self.0 & 1 << one as u32 != 0
    }

    /// Whether this set contains every permission of `other`.
    pub fn covers(self, other: Permissions) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn and(self, other: Permissions) -> Permissions {
        Permissions(self.0 & other.0)
    }

    pub fn or(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// The scopes of the set, in the order of the table.
    pub fn scopes(self) -> impl Iterator<Item = &'static str> {
        TABLE
            .iter()
            .filter(move |row| self.contains(row.0))
            .map(|row| row.1)
    }
}

/// The built-in catalog. It has no operations, because `ops` checks permissions itself.
pub fn built_in_catalog() -> Definition {
    let scope = |row: &(Permission, &str, &str, Option<Permission>)| Scope {
        name: row.1.to_owned(),
        label: row.2.to_owned(),
        implies: row
            .3
            .map(|read| read.scope().to_owned())
            .into_iter()
            .collect(),
        root_only: false,
    };
    Definition {
        name: BUILT_IN.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: TABLE.iter().map(scope).collect(),
        operations: Vec::new(),
        source: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (position, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, position);
        }
    }

    #[test]
    fn write_includes_read_and_nothing_else() {
        let set = Permissions::from_scopes(["keys:write", "keys:*", "stranger"]);
        let scopes: Vec<&str> = set.scopes().collect();
        assert_eq!(scopes, ["keys:read", "keys:write"]);
        assert!(!Permissions::reading().contains(KeysWrite));
    }
}
