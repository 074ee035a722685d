//! The step from schema 3 to 4.

use super::Step;
use super::to_3::KEYS_OF_2;
use crate::domain::audit::Kind;
use crate::store::seals;

pub const STEP: Step = Step {
    to: 4,
    sql: include_str!("to_4.sql"),
    sealed_before,
    // Schema 3 sealed keys as schema 2 did.
    sound_keys: |read, keys| seals::keys::list_fitting(read, keys, &KEYS_OF_2),
    act: |_, _, _| Ok(()),
};

/// The columns that schema 3 sealed.
pub(super) fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, any_key, all_of, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner, self_rotation, at_owner_max, rate_limit_max,
                    rate_limit_max_window_s
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
            "SELECT number, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key, used_step
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session | Kind::Site => &[],
    }
}
