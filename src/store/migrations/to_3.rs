//! From schema 2 to 3.

use super::Step;
use crate::domain::audit::Kind;
use crate::domain::key::KeyId;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::{Write, keys};

pub const STEP: Step = Step {
    to: 3,
    sql: include_str!("to_3.sql"),
    sealed_before,
    act,
};

fn act(tx: &Write<'_>, _: &KeyFiles, _: Timestamp) -> Result<()> {
    list_metadata(tx)
}

/// Makes lists of keys find the metadata that there is.
fn list_metadata(tx: &Write<'_>) -> Result<()> {
    let all = tx.query(
        "SELECT id, metadata FROM keys WHERE metadata <> '{}'",
        &[],
        |row| Ok((row.get::<KeyId>("id")?, row.get::<String>("metadata")?)),
    )?;
    for (id, metadata) in all {
        keys::insert_metadata(tx, id, &metadata)?;
    }
    Ok(())
}

/// The columns that schema 2 sealed.
fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive FROM catalogs WHERE name = $1",
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
                    rate_window_s, prefix, acts_for_owner, self_rotation
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation,
                    created_at, deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, kind, description, scopes, read_only, enabled, created_at, deleted_at, public_key, sealed,
                    sealing_key, used_step
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
