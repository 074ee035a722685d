//! The step from schema 1 to 2.

use super::{Keys, Step};
use crate::domain::audit::{Kind, changes};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::password::SlowDigest;
use crate::error::{Error, Result};
use crate::store::retired_names;
use crate::store::seals::recorded;
use crate::store::{Read, Row, Write, key_columns};
use std::collections::BTreeSet;

pub const STEP: Step = Step {
    to: 2,
    sql: include_str!("to_2.sql"),
    sealed_before,
    sound_keys,
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

fn act(tx: &Write<'_>, keys: &Keys<'_>, _: Timestamp) -> Result<()> {
    store_everything_as_such(tx)?;
    bound_keys_of_an_owner(tx)?;
    retire_former_names(tx)?;
    bind_passwords(tx, keys.former)
}

/// Records the names that users and workspaces no longer have, according to the audit log.
fn retire_former_names(tx: &Write<'_>) -> Result<()> {
    for (kind, member) in [(Kind::User, "user_name"), (Kind::Workspace, "slug")] {
        let all = tx.query(
            "SELECT changes FROM audit_events WHERE target_kind = $1 AND outcome = 'allowed'",
            &[&kind.as_str()],
            |row| row.get::<String>("changes"),
        )?;
        for name in all.iter().filter_map(|text| changes::before(text, member)) {
            if !name.is_empty() {
                retired_names::retire_unknown(tx, kind, &name)?;
            }
        }
    }
    Ok(())
}

/// Binds the stored form of each password to its user, under the pepper.
fn bind_passwords(tx: &Write<'_>, former: &SealKeys) -> Result<()> {
    let users = tx.query(
        "SELECT uid, password_digest FROM users WHERE password_digest IS NOT NULL",
        &[],
        |row| {
            Ok((
                row.get::<Uid>("uid")?,
                row.get::<Vec<u8>>("password_digest")?,
            ))
        },
    )?;
    for (uid, bytes) in users {
        let stretched = SlowDigest::of_schema_1(bytes)
            .ok_or_else(|| Error::internal("a stored password digest has another length"))?;
        let digest = stretched.bound(uid, former);
        tx.execute(
            "UPDATE users SET password_digest = $1, password_pepper = $2 WHERE uid = $3",
            &[&digest.bytes, &former.newest(), &uid],
        )?;
    }
    Ok(())
}

/// Keys had no seals. A key is sound if it agrees with the last event about it in the audit log. All other keys stay
/// without a seal, and the next start closes them.
fn sound_keys(read: &Read, _: &SealKeys) -> Result<Vec<KeyId>> {
    let mut log = recorded::Log::read(read)?;
    let mut sound = Vec::new();
    read.each(
        "SELECT id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled,
                not_before, expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by, created_at,
                rotated_at, deleted_at, hint, uses_left
         FROM keys LEFT JOIN key_uses ON key_uses.key_id = keys.id",
        &[],
        &mut |row| {
            match key_of_1(row) {
                Ok(key) if log.compare(&key, true).is_none() => sound.push(key.id),
                Ok(_) => {}
                Err(err) => log::error!("store: a key cannot be read and is not sealed: {err}"),
            }
            Ok(())
        },
    )?;
    Ok(sound)
}

/// A key of schema 1.
fn key_of_1(row: &Row<'_>) -> Result<Key> {
    Ok(Key {
        id: row.get("id")?,
        number: row.get("number")?,
        name: row.get("name")?,
        description: row.get("description")?,
        workspace: row.get("workspace_uid")?,
        owner: row.get("owner_uid")?,
        policy: row.get("policy")?,
        catalog: row.get("catalog")?,
        scopes: key_columns::scopes(row)?,
        read_only: row.get("read_only")?,
        enabled: row.get("enabled")?,
        not_before: row.get("not_before")?,
        expires_at: row.get("expires_at")?,
        allowed_ips: key_columns::addresses(row)?,
        rate_limit: key_columns::rate_limit(row)?,
        metadata: row.get("metadata")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        rotated_at: row.get("rotated_at")?,
        deleted_at: row.get("deleted_at")?,
        hint: row.get("hint")?,
        uses_left: row.get("uses_left")?,
        ..Key::blank()
    })
}

/// A policy that lists every member permits every edit, so it should also permit edits of members that a later version
/// adds.
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

/// The policy `standard` now bounds the keys of an owner, unless it was edited. Keys beyond the bound stay.
fn bound_keys_of_an_owner(tx: &Write<'_>) -> Result<()> {
    tx.execute(
        "UPDATE policies
         SET keys_per_owner_max = $1
         WHERE name = 'standard' AND description = 'Keys with every option, none of them required.'
             AND issued_by = 'manager_or_owner' AND owner = 'optional' AND catalog IS NULL AND scopes = 'optional'
             AND headers = 'bearer token x-api-key' AND read_only_by = 'operation' AND expiry = 'optional'
             AND expiry_s_max IS NULL AND expiry_months_max IS NULL AND addresses = 'cidr'
             AND keys_per_workspace_max IS NULL AND keys_per_owner_max IS NULL AND name_unique = 0
             AND secret_shown = 'once' AND editable = '*' AND can_disable = 1 AND can_rotate = 1 AND confirm_name = 0
             AND tied_to = 'owner_and_workspace' AND acts_for_owner = 0 AND rate_limit IS NULL AND prefix = 'lk'",
        &[&1_000_i64],
    )?;
    Ok(())
}

/// The columns that schema 1 sealed.
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
        Kind::Key | Kind::Server | Kind::Session | Kind::Site => &[],
    }
}
