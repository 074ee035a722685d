//! The policy and the catalog of Aware: seven permissions, which never change after a key is issued, and the operations
//! that they open.

use super::NAME;
use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, OnLeak, OnReuse, Policy,
    Presence, ReadOnlyBy, SecretShown, SelfRotation, TiedTo,
};
use crate::ops::policies::presets::Preset;

pub const PRESET: Preset = Preset {
    policy,
    catalog: Some(catalog),
    former: &[],
};

/// The permissions (1A-22) with Aware's labels, and the permission that each includes (1A-16).
#[rustfmt::skip]
const PERMISSIONS: [(&str, &str, Option<&str>); 7] = [
    ("data_holds:read",           "Data Holds Read-only",             None),
    ("data_holds:full",           "Data Holds Full Access",           Some("data_holds:read")),
    ("platforms:read",            "Platforms Read-only",              None),
    ("audit_logs:read",           "Audit Logs Read-only",             None),
    ("signal_events:read",        "Signal Events Read-only",          None),
    ("user_content_exports:read", "User Content Exports Read-only",   None),
    ("user_content_exports:full", "User Content Exports Full Access", Some("user_content_exports:read")),
];

const HOLDS: &[&str] = &["data_holds:read", "data_holds:full"];
const HOLDS_FULL: &[&str] = &["data_holds:full"];
/// Related resources: creating a hold requires the id of a platform (1A-18, 1A-26).
const PLATFORMS: &[&str] = &["platforms:read", "data_holds:read", "data_holds:full"];
const AUDIT_LOGS: &[&str] = &["audit_logs:read"];
const SIGNAL_EVENTS: &[&str] = &["signal_events:read"];
const EXPORTS: &[&str] = &["user_content_exports:read", "user_content_exports:full"];
const EXPORTS_FULL: &[&str] = &["user_content_exports:full"];

/// The operations (1A-30): id, method, path, whether the operation writes, and the permissions of which one is
/// required. Some operations that only read use POST (1A-31). Two entries are our own interpretation: the path of
/// `ListPlatformsV1`, and that a permission to read is enough for the download URL.
#[rustfmt::skip]
const OPERATIONS: [(&str, &str, &str, bool, &[&str]); 11] = [
    ("ListDataHoldsV1",                    "GET",  "/external/dataholds/v1",                                           false, HOLDS),
    ("GetDataHoldV1",                      "GET",  "/external/dataholds/v1/{holdRequestModelId}",                      false, HOLDS),
    ("CreateDataHoldV1",                   "POST", "/external/dataholds/v1",                                           true,  HOLDS_FULL),
    ("UpdateDataHoldV1",                   "PUT",  "/external/dataholds/v1/{holdRequestModelId}",                      true,  HOLDS_FULL),
    ("ListPlatformsV1",                    "GET",  "/external/system/platforms/v1",                                    false, PLATFORMS),
    ("ListAuditLogsV1",                    "GET",  "/external/system/auditlogs/v1",                                    false, AUDIT_LOGS),
    ("ListSignalEventsV1",                 "POST", "/external/signal/events/v1",                                       false, SIGNAL_EVENTS),
    ("QueryUserContentExports",            "POST", "/external/search/v1/user-content-exports/query",                   false, EXPORTS),
    ("GetUserContentExport",               "GET",  "/external/search/v1/user-content-exports/{exportId}",              false, EXPORTS),
    ("CreateUserContentExport",            "POST", "/external/search/v1/user-content-exports",                         true,  EXPORTS_FULL),
    ("CreateUserContentExportDownloadUrl", "POST", "/external/search/v1/user-content-exports/{exportId}/download-url", false, EXPORTS),
];

fn policy() -> Policy {
    Policy {
        name: NAME.to_owned(),
        description: "API tokens as Aware has them: permissions that never change, a secret that can be copied again."
            .to_owned(),
        issued_by: IssuedBy::Manager,
        // A token identifies the user who makes a request (1A-2).
        owner: Presence::Required,
        catalog: Some(NAME.to_owned()),
        scopes: Presence::Required,
        headers: vec![CredentialHeader::Named("x-aware-api-key".to_owned())],
        read_only_by: ReadOnlyBy::Operation,
        expiry: Expiry::Forbidden,
        expiry_s_max: None,
        expiry_months_max: None,
        addresses: AddressRule::Off,
        keys_per_workspace_max: None,
        keys_per_owner_max: None,
        at_owner_max: AtMax::Refuse,
        name_unique: false,
        secret_shown: SecretShown::Sealed,
        editable: Editable::Only(Vec::new()),
        can_disable: false,
        can_rotate: false,
        self_rotation: SelfRotation::No,
        confirm_name: false,
        second_factor: false,
        decoy: false,
        on_reuse: OnReuse::Note,
        on_leak: OnLeak::Note,
        expiry_notice_days: Policy::EXPIRY_NOTICE_DAYS.to_vec(),
        tied_to: TiedTo::OwnerAndWorkspace,
        rate_limit: None,
        rate_limit_max: None,
        prefix: NAME.to_owned(),
        acts_for_owner: false,
        roles: Vec::new(),
        source: String::new(),
    }
}

fn catalog() -> Definition {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let scope = |(name, label, implies): (&str, &str, Option<&str>)| Scope {
        name: name.to_owned(),
        label: label.to_owned(),
        implies: implies.map(str::to_owned).into_iter().collect(),
        root_only: false,
    };
    let operation =
        |(id, method, path, writes, any_of): (&str, &str, &str, bool, &[&str])| Operation {
            id: id.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            host: None,
            writes,
            preflight: false,
            requirement: Requirement::one_of(owned(any_of)),
        };
    Definition {
        name: NAME.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: PERMISSIONS.into_iter().map(scope).collect(),
        operations: OPERATIONS.into_iter().map(operation).collect(),
        source: String::new(),
    }
}
