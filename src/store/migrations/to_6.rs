//! The step from schema 5 to 6: sites have a longest time without a word of the server, and they and the uses that they were lent
//! have seals.

use super::Step;
use crate::domain::audit::Kind;
use crate::store::{seals, sites};

pub const STEP: Step = Step {
    to: 6,
    sql: include_str!("to_6.sql"),
    sealed_before,
    sound_keys: |read, keys| seals::keys::list_fitting(read, keys, &KEYS_OF_5),
    // No version before has sealed what sites were lent, so every row counts as it is.
    act: |tx, keys, _| sites::seal_all_lent(tx, &keys.files.seal),
};

const KEYS_OF_5: seals::keys::OlderRows = seals::keys::OlderRows {
    sql: "SELECT keys.id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled,
            not_before, keys.expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by, keys.created_at,
            rotated_at, deleted_at, hint, self_rotated_from, contact, source, weak, declared_name, declared_digest,
            declared_state, held, uses_left,
            digest, pepper, secrets.created_at AS secret_created_at, secrets.expires_at AS secret_expires_at,
            until_first_use, sealed, sealing_key, scheme, is_foreign, hmac_key, found_by, old_hint,
            keys.seal AS seal, key_uses.seal AS uses_seal, 0 AS epoch,
            (SELECT max(seq) FROM audit_events
             WHERE target_kind = 'key' AND target_id = keys.id AND outcome = 'allowed') AS newest
     FROM keys
     LEFT JOIN secrets ON secrets.key_id = keys.id
     LEFT JOIN key_uses ON key_uses.key_id = keys.id
     ORDER BY keys.id, digest",
    key_columns: 30,
    secret_columns: 12,
};

/// The columns that schema 5 sealed.
fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive, source, resource_metadata FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, preflight, any_key, all_of, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner, self_rotation, at_owner_max, rate_limit_max,
                    rate_limit_max_window_s, source, second_factor, decoy, on_reuse, on_leak,
                    expiry_notice_days
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, password_seal_key, enabled,
                    generation, created_at, deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key, used_step
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
            "SELECT digest, seal_key, used_at FROM recovery_codes WHERE user_uid = $1 ORDER BY digest",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session | Kind::Site => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::super::{STEPS, run};
    use super::*;
    use crate::domain::audit::Target;
    use crate::domain::keys::keyfile::KeyFiles;
    use crate::domain::time::Timestamp;
    use crate::domain::uid::Uid;
    use crate::store::seals::Standing;
    use crate::store::sites::{Lent, LentRow};
    use crate::store::sqlite;
    use std::path::Path;

    const LIFE: &str = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11";

    #[test]
    fn a_site_is_sealed_as_it_is_and_keeps_what_it_was_lent() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/5");
        let folder = folder("to_6");
        let path = folder.join("db");
        std::fs::copy(fixture.join("latchkey.db"), &path).unwrap();
        let read = sqlite::open_writer(&path, |_| Ok(())).unwrap();
        read.batch(&format!(
            "INSERT INTO sites (name, minimal, until_s, lend, created_at, sealed, sealing_key, pack, base, life, report,
                                reported_at, applied, applied_events)
             VALUES ('plant-7', 0, 604800, 100, 1, zeroblob(60), 1, 3, 2, '{LIFE}', 1, 5, 3, 9),
                    ('plant-8', 1, 60, 0, 1, zeroblob(60), 1, 0, 0, NULL, NULL, NULL, NULL, NULL);
             INSERT INTO site_parts (site, kind, id) SELECT 'plant-7', 'workspace', uid FROM workspaces;
             INSERT INTO site_lent (site, key_id, lent, spent) SELECT 'plant-7', id, 100, 30 FROM keys LIMIT 2"
        ))
        .unwrap();
        drop(read);
        let files = KeyFiles::of_folder(&fixture);
        let read = sqlite::open_writer(&path, |_| Ok(())).unwrap();
        run(&read, &path, &files, Timestamp(1), STEPS).unwrap();
        for name in ["plant-7", "plant-8"] {
            let target = Target::new(Kind::Site, name);
            let standing = seals::look(&read, &files.seal, &target).unwrap();
            assert_eq!(standing, Standing::Sound, "{name}");
        }
        let lent = sites::list_lent(&read, &files.seal, "plant-7").unwrap();
        let row = LentRow::Sound(Lent {
            lent: 100,
            spent: 30,
            epoch: 0,
        });
        assert_eq!(lent.values().copied().collect::<Vec<_>>(), [row, row]);
        let site = sites::find(&read, "plant-7").unwrap().unwrap();
        assert_eq!((site.lent_life, site.max_stale_s), (Uid::parse(LIFE), 10));
        let other = sites::find(&read, "plant-8").unwrap().unwrap();
        assert_eq!(other.lent_life, None);
        let _ = std::fs::remove_dir_all(folder);
    }
}
