//! The policy and the catalog of Awaretrain: keys have a name, expire after a year at most, and have scopes that do not
//! include each other.

use super::NAME;
use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::keys::Member;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, OnLeak, OnReuse, Policy,
    Presence, ReadOnlyBy, SecretShown, SelfRotation, TiedTo,
};
use crate::ops::policies::presets::{EarlierPreset, Preset};

pub const PRESET: Preset = Preset {
    policy,
    catalog: Some(catalog),
    former: &[EarlierPreset {
        before_schema: 3,
        policy: unbounded,
    }],
};

/// The maximum rate of every key (1B-30).
const A_MINUTE: RateLimit = RateLimit {
    limit: 60,
    window_s: 60,
    exact: false,
};

/// The scopes (1B-28). Writing does not include reading (1B-29).
#[rustfmt::skip]
const SCOPES: [(&str, &str); 6] = [
    ("user:read",            "List users, user details"),
    ("user:write",           "Create, update, soft-delete and recover users"),
    ("license:read",         "License details"),
    ("group:read",           "List groups, users of a group, group details"),
    ("group:write",          "Create, update and delete groups"),
    ("report_training:read", "Dump of the training report"),
];

/// The operations that the scopes describe: id, method, path, whether the operation writes, and its scope. Only the
/// path of `ListUsers` is known (1B-26); the others are our own interpretation of 1B-28, and an administrator can
/// replace the catalog.
#[rustfmt::skip]
const OPERATIONS: [(&str, &str, &str, bool, &str); 16] = [
    ("ListUsers",         "GET",    "/public/v1/users",                  false, "user:read"),
    ("GetUser",           "GET",    "/public/v1/users/{user}",           false, "user:read"),
    ("CreateUser",        "POST",   "/public/v1/users",                  true,  "user:write"),
    ("UpdateUser",        "PUT",    "/public/v1/users/{user}",           true,  "user:write"),
    ("PatchUser",         "PATCH",  "/public/v1/users/{user}",           true,  "user:write"),
    ("DeleteUser",        "DELETE", "/public/v1/users/{user}",           true,  "user:write"),
    ("RecoverUser",       "POST",   "/public/v1/users/{user}/recover",   true,  "user:write"),
    ("GetLicense",        "GET",    "/public/v1/license",                false, "license:read"),
    ("ListGroups",        "GET",    "/public/v1/groups",                 false, "group:read"),
    ("GetGroup",          "GET",    "/public/v1/groups/{group}",         false, "group:read"),
    ("ListGroupUsers",    "GET",    "/public/v1/groups/{group}/users",   false, "group:read"),
    ("CreateGroup",       "POST",   "/public/v1/groups",                 true,  "group:write"),
    ("UpdateGroup",       "PUT",    "/public/v1/groups/{group}",         true,  "group:write"),
    ("PatchGroup",        "PATCH",  "/public/v1/groups/{group}",         true,  "group:write"),
    ("DeleteGroup",       "DELETE", "/public/v1/groups/{group}",         true,  "group:write"),
    ("GetTrainingReport", "GET",    "/public/v1/reports/training",       false, "report_training:read"),
];

fn policy() -> Policy {
    Policy {
        name: NAME.to_owned(),
        description: "API keys as Awaretrain has them: made by key managers, with scopes, for a year at most.".to_owned(),
        // Only the super manager issues keys (1B-3).
        issued_by: IssuedBy::Manager,
        // Keys belong to the organisation (1B-31).
        owner: Presence::Forbidden,
        catalog: Some(NAME.to_owned()),
        scopes: Presence::Required,
        headers: vec![CredentialHeader::Bearer],
        read_only_by: ReadOnlyBy::Scope,
        expiry: Expiry::Required,
        expiry_s_max: None,
        // 1B-36: a key may be valid until the end of the same day of the next year.
        expiry_months_max: Some(12),
        addresses: AddressRule::Exact,
        keys_per_workspace_max: None,
        keys_per_owner_max: None,
        at_owner_max: AtMax::Refuse,
        name_unique: false,
        secret_shown: SecretShown::Once,
        // 1B-34
        editable: Editable::Only(vec![
            Member::Name,
            Member::ExpiresAt,
            Member::Scopes,
            Member::AllowedIps,
        ]),
        can_disable: false,
        can_rotate: false,
        self_rotation: SelfRotation::No,
        confirm_name: false,
        second_factor: false,
        decoy: false,
        on_reuse: OnReuse::Note,
        on_leak: OnLeak::Note,
        expiry_notice_days: Policy::EXPIRY_NOTICE_DAYS.to_vec(),
        tied_to: TiedTo::Workspace,
        // 1B-30
        rate_limit: Some(A_MINUTE),
        rate_limit_max: Some(A_MINUTE),
        prefix: NAME.to_owned(),
        acts_for_owner: false,
        roles: Vec::new(),
        source: String::new(),
    }
}

/// Before schema 3 the policy had a default rate limit, but no maximum.
fn unbounded() -> Policy {
    Policy {
        rate_limit_max: None,
        ..policy()
    }
}

fn catalog() -> Definition {
    let scope = |(name, label): (&str, &str)| Scope {
        name: name.to_owned(),
        label: label.to_owned(),
        implies: Vec::new(),
        root_only: false,
    };
    let operation = |(id, method, path, writes, scope): (&str, &str, &str, bool, &str)| Operation {
        id: id.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        host: None,
        writes,
        preflight: false,
        requirement: Requirement::one_of(vec![scope.to_owned()]),
    };
    Definition {
        name: NAME.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: SCOPES.into_iter().map(scope).collect(),
        operations: OPERATIONS.into_iter().map(operation).collect(),
        source: String::new(),
    }
}
