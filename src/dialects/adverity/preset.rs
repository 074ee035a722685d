//! The policies of both kinds of keys, and the catalog with their scopes.

use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, Policy, Presence, ReadOnlyBy,
    TiedTo,
};
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::ops::policies::presets::{EarlierPreset, Preset};

/// The catalog for both kinds of keys.
pub const CATALOG: &str = "adverity";
/// The policy of keys that are created with user name and password.
pub const TOKEN: &str = "adverity-token";
/// The policy of keys that belong to a workspace.
pub const UI: &str = "adverity-ui";
/// The scope of keys created with a password: everything that their user may do, except to other users (1C-26, 1C-28).
pub const ACCOUNT: &str = "account:write";
/// The prefix of scopes that stand for several others; they are the two choices in Adverity's menus.
pub const ALL: &str = "all:";

/// The maximum number of live keys of one user. Clients sign in at each start and delete no key, so an additional key
/// replaces the one that was unused for the longest time (1C-27).
const TOKENS_MAX: u32 = 100;
/// The maximum number of keys of one workspace (1C-15).
const KEYS_MAX: u32 = 5;

pub const PRESET_TOKEN: Preset = Preset {
    policy: token,
    catalog: Some(catalog),
    former: &[EarlierPreset {
        before_schema: 3,
        policy: refused_token,
    }],
};
/// The other preset contains the catalog of this one.
pub const PRESET_UI: Preset = Preset {
    policy: ui,
    catalog: None,
    former: &[EarlierPreset {
        before_schema: 3,
        policy: bounded_ui,
    }],
};

/// The permissions on this server that the scopes of a workspace's key grant.
pub const GRANTS: &[(&str, &[Permission])] = &[
    ("workspace:read", &[Permission::WorkspacesRead]),
    ("workspace:write", &[Permission::WorkspacesWrite]),
];

/// Resources, their labels, and whether their scopes include `write` and `read` (1C-29).
#[rustfmt::skip]
const RESOURCES: &[(&str, &str, bool, bool)] = &[
    ("workspace",       "Workspace",      true,  true),
    ("authorization",   "Authorization",  true,  true),
    ("datastream",      "Datastream",     true,  true),
    ("destination",     "Destination",    true,  true),
    ("transformations", "Transformation", true,  true),
    ("monitor",         "Monitor",        true,  true),
    ("usage",           "Usage",          true,  false),
    ("user",            "User",           false, true),
];

/// Scopes that are effective only in the root workspace (1C-29).
const ROOT_ONLY: &[&str] = &["destination:write", "user:write"];

/// Groups of endpoints, and the resource whose scopes open them (1C-32, 1C-33; the rest according to Adverity's table
/// of endpoints).
#[rustfmt::skip]
const ENDPOINTS: &[(&str, &str)] = &[
    ("stacks",              "workspace"),
    ("storage",             "workspace"),
    ("v1/workspaces",       "workspace"),
    ("connections",         "authorization"),
    ("connection-types",    "authorization"),
    ("connection-invite",   "authorization"),
    ("datastreams",         "datastream"),
    ("datastream-types",    "datastream"),
    ("columns",             "datastream"),
    ("jobs",                "datastream"),
    ("errors",              "datastream"),
    ("extracts",            "datastream"),
    ("v1/datastreams",      "datastream"),
    ("v2/datastreams",      "datastream"),
    ("v1/extracts/requeue", "destination"),
    ("v1/bindings",         "destination"),
    ("target-types",        "destination"),
    ("target-columns",      "destination"),
    ("transformer",         "transformations"),
    ("mapping-tables",      "transformations"),
    ("value-tables",        "transformations"),
    ("billing-objects",     "usage"),
    ("billings",            "usage"),
    ("notifications",       "user"),
    ("v1/users",            "user"),
];

/// The scopes that keys created with a password inherit from the roles of their user: what the user may do in the
/// workspaces of this server (1C-26). Auditors correspond to Adverity's Viewers. Members inherit nothing, as on the
/// routes of this folder.
const ROLES: &[(Role, &str, bool)] = &[
    (Role::Owner, ACCOUNT, false),
    (Role::Administrator, ACCOUNT, false),
    (Role::KeyManager, "all:read", true),
    (Role::Auditor, "all:read", true),
];

fn role_rule((role, scope, read_only): &(Role, &str, bool)) -> RoleRule {
    RoleRule {
        role: *role,
        scopes: vec![(*scope).into()],
        read_only: *read_only,
    }
}

/// Keys that `POST /api/auth/token/` creates: 1C-4 to 1C-11, 1C-26 to 1C-28.
fn token() -> Policy {
    Policy {
        name: TOKEN.to_owned(),
        description: "Adverity keys made with user name and password; used as Token.".to_owned(),
        issued_by: IssuedBy::Password,
        owner: Presence::Required,
        catalog: Some(CATALOG.to_owned()),
        scopes: Presence::Required,
        headers: vec![CredentialHeader::Token],
        read_only_by: ReadOnlyBy::Operation,
        expiry: Expiry::Optional,
        addresses: AddressRule::Off,
        keys_per_owner_max: Some(TOKENS_MAX),
        at_owner_max: AtMax::Replace,
        editable: Editable::Only(Vec::new()),
        can_disable: false,
        tied_to: TiedTo::OwnerAndWorkspace,
        acts_for_owner: true,
        roles: ROLES.iter().map(role_rule).collect(),
        ..Policy::standard()
    }
}

/// Before schema 3 an additional key was refused instead of replacing another one.
fn refused_token() -> Policy {
    Policy {
        at_owner_max: AtMax::Refuse,
        ..token()
    }
}

/// Keys of a workspace, which administrators of the root workspace create: 1C-12 to 1C-22.
fn ui() -> Policy {
    Policy {
        name: UI.to_owned(),
        description: "Adverity keys of a workspace and those below it; used as Bearer.".to_owned(),
        issued_by: IssuedBy::RootAdministrator,
        owner: Presence::Forbidden,
        catalog: Some(CATALOG.to_owned()),
        scopes: Presence::Required,
        headers: vec![CredentialHeader::Bearer],
        read_only_by: ReadOnlyBy::Operation,
        expiry: Expiry::Forbidden,
        addresses: AddressRule::Off,
        keys_per_workspace_max: Some(KEYS_MAX),
        name_unique: true,
        editable: Editable::Only(Vec::new()),
        can_disable: false,
        confirm_name: true,
        tied_to: TiedTo::Workspace,
        // They have no owner.
        keys_per_owner_max: None,
        ..Policy::standard()
    }
}

/// With the maximum of the default policy, which says nothing about keys without an owner.
fn bounded_ui() -> Policy {
    Policy {
        keys_per_owner_max: Policy::standard().keys_per_owner_max,
        ..ui()
    }
}

fn catalog() -> Definition {
    Definition {
        name: CATALOG.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: scopes(),
        operations: operations(),
        source: String::new(),
    }
}

/// `all:read` and `all:write` are Read-only and Write of the seed; newer keys choose from the other scopes.
fn scopes() -> Vec<Scope> {
    let of = |action: &str, wanted: fn(&str) -> bool| -> Vec<String> {
        let has = |row: &&(&str, &str, bool, bool)| if action == "read" { row.2 } else { row.3 };
        let rows = RESOURCES.iter().filter(has).filter(|row| wanted(row.0));
        rows.map(|row| format!("{}:{action}", row.0)).collect()
    };
    let everything = |resource: &str| !resource.is_empty();
    let but_users = |resource: &str| resource != "user";
    let scope = |name: &str, label: &str, implies: Vec<String>| Scope {
        name: name.to_owned(),
        label: label.to_owned(),
        implies,
        root_only: ROOT_ONLY.contains(&name),
    };
    let write = |also: &str, which: fn(&str) -> bool| {
        let mut implied = of("write", which);
        implied.push(also.to_owned());
        implied
    };
    let mut scopes = vec![
        scope("all:read", "Read-only", of("read", everything)),
        scope("all:write", "Write", write("all:read", everything)),
        scope(
            ACCOUNT,
            "All rights of the user",
            write("all:read", but_users),
        ),
    ];
    for (resource, label, read, written) in RESOURCES {
        let reading = format!("{resource}:read");
        if *read {
            scopes.push(scope(&reading, &format!("{label}: Read-only"), Vec::new()));
        }
        if *written {
            let implied = read.then_some(reading).into_iter().collect();
            let name = format!("{resource}:write");
            scopes.push(scope(&name, &format!("{label}: Write"), implied));
        }
    }
    scopes
}

/// Every endpoint, with and without a final slash, and all paths below it.
fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut add = |method: &str, path: String, requirement: Requirement| {
        let writes = !matches!(method, "GET" | "HEAD" | "OPTIONS");
        operations.push(Operation {
            id: format!("{method} {path}"),
            method: method.to_owned(),
            path,
            host: None,
            writes,
            preflight: false,
            requirement,
        });
    };
    for path in ["/api", "/api/"] {
        add("GET", path.to_owned(), Requirement::AnyKey);
    }
    for (endpoint, resource) in ENDPOINTS {
        for tail in ["", "/", "/{rest...}"] {
            for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] {
                let any_of = opened_by(endpoint, resource, method);
                let path = format!("/api/{endpoint}{tail}");
                add(method, path, Requirement::one_of(any_of));
            }
        }
    }
    operations
}

fn opened_by(endpoint: &str, resource: &str, method: &str) -> Vec<String> {
    let reads = matches!(method, "GET" | "HEAD" | "OPTIONS");
    let scope = match (endpoint, method) {
        // `workspace:write` does not include this (1C-33).
        ("stacks", "DELETE") => return vec![ACCOUNT.to_owned()],
        // Keys created with a password may use subscriptions too.
        ("notifications", _) => return vec!["user:write".to_owned(), ACCOUNT.to_owned()],
        // There is no scope for only reading users.
        ("v1/users", _) => "user:write".to_owned(),
        _ if reads => format!("{resource}:read"),
        ("billings", _) => return vec![ACCOUNT.to_owned(), "all:write".to_owned()],
        _ => format!("{resource}:write"),
    };
    let known = |name: &str| {
        let (resource, action) = name.split_once(':').unwrap_or_default();
        let row = RESOURCES.iter().find(|row| row.0 == resource);
        row.is_some_and(|row| if action == "read" { row.2 } else { row.3 })
    };
    match known(&scope) {
        true => vec![scope],
        // If no scope of the resource opens an operation, only scopes for writing everything do.
        false => vec!["all:write".to_owned(), ACCOUNT.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogs::Catalog;

    fn opens(held: &str, in_root: bool, method: &str, path: &str) -> bool {
        let catalog = Catalog::compile(catalog()).unwrap();
        let held: Vec<Box<str>> = vec![held.into()];
        let demand = catalog.demand(method, path, None).unwrap();
        let granted = |scope: &str| catalog.grants(&held, in_root, scope);
        demand.requirement.is_met(granted)
    }

    #[test]
    fn the_presets_make_sense() {
        for preset in [PRESET_TOKEN, PRESET_UI] {
            (preset.policy)().check_definition().unwrap();
        }
        assert!(Catalog::compile(catalog()).is_ok());
    }

    // 1C-29
    #[test]
    fn some_scopes_are_for_the_root_alone() {
        for (held, method, path, elsewhere) in [
            ("all:write", "POST", "/api/target-types/", false),
            ("all:write", "GET", "/api/target-types/", true),
            ("all:write", "GET", "/api/v1/users/", false),
            ("all:write", "POST", "/api/datastreams/", true),
            ("destination:write", "POST", "/api/target-types/", false),
        ] {
            assert!(opens(held, true, method, path), "{held} {method} {path}");
            assert_eq!(
                opens(held, false, method, path),
                elsewhere,
                "{held} {method} {path}"
            );
        }
    }

    // 1C-28, 1C-29, 1C-33
    #[test]
    fn scopes_open_what_they_name() {
        for (held, method, path, expected) in [
            ("all:read", "GET", "/api/datastreams/7/", true),
            ("all:read", "POST", "/api/datastreams/", false),
            ("all:read", "GET", "/api/v1/users/", false),
            ("all:write", "POST", "/api/datastreams/", true),
            ("all:write", "GET", "/api/v1/users/", true),
            ("all:write", "DELETE", "/api/stacks/emea/", false),
            ("account:write", "DELETE", "/api/stacks/emea/", true),
            ("account:write", "GET", "/api/v1/users/", false),
            ("account:write", "POST", "/api/notifications/", true),
            ("datastream:read", "GET", "/api/stacks/", false),
            ("workspace:write", "GET", "/api/stacks", true),
            ("usage:read", "GET", "/api/billings/", true),
            ("usage:read", "PATCH", "/api/billings/3/", false),
            ("usage:read", "GET", "/api/", true),
        ] {
            assert_eq!(
                opens(held, true, method, path),
                expected,
                "{held} {method} {path}"
            );
        }
    }
}
