//! The policy and the catalog for keys of this dialect; both are named `vspc`.

use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::keys::Member;
use crate::domain::policies::{
    AddressRule, CredentialHeader, Editable, Expiry, IssuedBy, Policy, Presence, ReadOnlyBy,
    SelfRotation,
};
use crate::ops::policies::presets::{EarlierPreset, Preset};

/// The name of the policy.
pub const POLICY: &str = "vspc";
/// The name of the catalog.
pub const CATALOG: &str = "vspc";

/// The services that a key can open (1D-7), with their labels.
pub const SCOPES: [(&str, &str); 3] = [
    ("ui", "UI requests"),
    ("rest", "REST API requests"),
    ("integration", "Configure integrations"),
];

pub const PRESET: Preset = Preset {
    policy,
    catalog: Some(catalog),
    former: &[EarlierPreset {
        before_schema: 2,
        policy: unbounded,
    }],
};

/// Users issue these keys for themselves. The keys live until their user is disabled or deleted; a read-only key may
/// only use GET and HEAD (1D-1, 1D-2, 1D-8, 1D-45).
fn policy() -> Policy {
    Policy {
        name: POLICY.to_owned(),
        description: "REST API keys of Veeam Service Provider Console: issued by a user for himself, without an end."
            .to_owned(),
        issued_by: IssuedBy::Owner,
        owner: Presence::Required,
        catalog: Some(CATALOG.to_owned()),
        scopes: Presence::Required,
        headers: vec![CredentialHeader::Bearer],
        read_only_by: ReadOnlyBy::Method,
        expiry: Expiry::Forbidden,
        addresses: AddressRule::Off,
        editable: Editable::Only(vec![Member::Description, Member::Name]),
        can_rotate: false,
        self_rotation: SelfRotation::No,
        acts_for_owner: true,
        // All roles have access; auditors and members can only read (1D-24).
        roles: Policy::default_roles(),
        prefix: String::new(),
        ..Policy::standard()
    }
}

/// As before there was a maximum of keys for each user.
fn unbounded() -> Policy {
    Policy {
        keys_per_owner_max: None,
        ..policy()
    }
}

/// The scopes, and the whole REST API, for a proxy that protects another server of this kind.
fn catalog() -> Definition {
    let scope = |(name, label): (&str, &str)| Scope {
        name: name.to_owned(),
        label: label.to_owned(),
        implies: Vec::new(),
        root_only: false,
    };
    let operation = |method: &str| Operation {
        id: format!("{}Rest", method.to_lowercase()),
        method: method.to_owned(),
        path: "/api/v3/{path...}".to_owned(),
        host: None,
        writes: !matches!(method, "GET" | "HEAD"),
        preflight: false,
        requirement: Requirement::one_of(vec!["rest".to_owned()]),
    };
    Definition {
        name: CATALOG.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: SCOPES.into_iter().map(scope).collect(),
        operations: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
            .map(operation)
            .into(),
        source: String::new(),
    }
}
