//! From schema 1 to 2.

use super::Step;
use crate::domain::audit::Kind;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Write;
use std::collections::BTreeSet;

pub const STEP: Step = Step {
    to: 2,
    sql: include_str!("to_2.sql"),
    sealed_before,
    act,
};

/// The members of a key that an edit could change under schema 1.
const EDITABLE_OF_1: [&str; 10] = [
    "allowed_ips",
    "description",
    "expires_at",
    "metadata",
    "name",
    "not_before",
    "rate_limit",
    "read_only",
    "scopes",
    "uses_left",
];

fn act(tx: &Write<'_>, _: &KeyFiles, _: Timestamp) -> Result<()> {
    store_everything_as_such(tx)
}

/// A policy that lists every member means that everything may be edited: a member that a later version adds as well.
fn store_everything_as_such(tx: &Write<'_>) -> Result<()> {
    let policies = tx.query("SELECT name, editable FROM policies", &[], |row| {
        Ok((row.get::<String>("name")?, row.get::<String>("editable")?))
    })?;
    for (name, editable) in policies {
        let listed: BTreeSet<&str> = editable.split(' ').collect();
        if listed == BTreeSet::from(EDITABLE_OF_1) {
            tx.execute(
                "UPDATE policies SET editable = '*' WHERE name = $1",
                &[&name],
            )?;
        }
    }
    Ok(())
}

/// What schema 1 sealed.
fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner
             FROM policies
             WHERE name = $1",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, enabled, generation, created_at,
                    deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, kind, description, scopes, read_only, enabled, created_at, deleted_at, public_key, sealed,
                    sealing_key
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session => &[],
    }
}
