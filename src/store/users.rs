//! Rows of users and their roles.

use super::{Read, Row, Write, retired_names};
use crate::domain::audit::Kind;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::password::{BoundBy, PasswordDigest};
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::error::{Error, Result};
use std::collections::HashMap;

pub fn insert(tx: &Write<'_>, user: &User, password: Option<&PasswordDigest>) -> Result<()> {
    let digest = password.map(|digest| digest.bytes.clone());
    let (pepper, seal_key) = versions(password);
    tx.execute(
        "INSERT INTO users (uid, number, user_name, email, home_uid, password_digest, password_pepper, password_seal_key,
                            enabled, generation, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &user.uid,
            &user.number,
            &user.user_name,
            &user.email,
            &user.home,
            &digest,
            &pepper,
            &seal_key,
            &user.enabled,
            &user.generation,
            &user.created_at,
        ],
    )?;
    replace_roles(tx, user.uid, &user.roles)
}

/// A user by uid, even if the user is deleted.
pub fn find(read: &Read, uid: Uid) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at,
                EXISTS (SELECT 1 FROM authenticators
                        WHERE user_uid = users.uid AND authenticators.enabled = 1 AND authenticators.deleted_at IS NULL)
                AS has_second_factor
         FROM users
         WHERE uid = $1",
        &[&uid],
        from_row,
    )?;
    user.map(|user| with_roles(read, user)).transpose()
}

/// A user by name in its stored form. Deleted users have no name any more.
pub fn find_by_name(read: &Read, user_name: &str) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at,
                EXISTS (SELECT 1 FROM authenticators
                        WHERE user_uid = users.uid AND authenticators.enabled = 1 AND authenticators.deleted_at IS NULL)
                AS has_second_factor
         FROM users
         WHERE user_name = $1 AND deleted_at IS NULL",
        &[&user_name],
        from_row,
    )?;
    user.map(|user| with_roles(read, user)).transpose()
}

/// The password digest of a user who has a password.
pub fn find_password(read: &Read, uid: Uid) -> Result<Option<PasswordDigest>> {
    let found = read.query_one(
        "SELECT password_digest, password_pepper, password_seal_key FROM users WHERE uid = $1",
        &[&uid],
        |row| {
            let bytes: Option<Vec<u8>> = row.get("password_digest")?;
            let pepper: Option<u32> = row.get("password_pepper")?;
            let seal_key: Option<u32> = row.get("password_seal_key")?;
            let bound_by = seal_key
                .map(BoundBy::SealKey)
                .or(pepper.map(BoundBy::Pepper));
            let both = bytes.zip(bound_by);
            Ok(both.map(|(bytes, bound_by)| PasswordDigest { bytes, bound_by }))
        },
    )?;
    Ok(found.flatten())
}

/// Users who have a password.
pub fn list_with_password(read: &Read) -> Result<Vec<Uid>> {
    read.query(
        "SELECT uid FROM users WHERE password_digest IS NOT NULL AND deleted_at IS NULL",
        &[],
        |row| row.get("uid"),
    )
}

/// Every user that is not deleted, with roles, by name.
pub fn list(read: &Read) -> Result<Vec<User>> {
    let mut roles: HashMap<Uid, Vec<Binding>> = HashMap::new();
    read.each(
        "SELECT user_uid, workspace_uid, role FROM role_bindings",
        &[],
        &mut |row| {
            roles
                .entry(row.get("user_uid")?)
                .or_default()
                .push(binding(row)?);
            Ok(())
        },
    )?;
    let mut users = read.query(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at,
                EXISTS (SELECT 1 FROM authenticators
                        WHERE user_uid = users.uid AND authenticators.enabled = 1 AND authenticators.deleted_at IS NULL)
                AS has_second_factor
         FROM users
         WHERE deleted_at IS NULL
         ORDER BY user_name",
        &[],
        from_row,
    )?;
    for user in &mut users {
        user.roles = roles.remove(&user.uid).unwrap_or_default();
    }
    Ok(users)
}

/// The user who had a name at a time, even if that user is deleted now: another user can get the name later.
pub fn find_by_name_at(read: &Read, user_name: &str, at: Timestamp) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at,
                EXISTS (SELECT 1 FROM authenticators
                        WHERE user_uid = users.uid AND authenticators.enabled = 1 AND authenticators.deleted_at IS NULL)
                AS has_second_factor
         FROM users
         WHERE user_name = $1 AND created_at <= $2
         ORDER BY created_at DESC, number DESC
         LIMIT 1",
        &[&user_name, &at],
        from_row,
    )?;
    user.map(|user| with_roles(read, user)).transpose()
}

/// Writes the members that an edit may change.
pub fn update(tx: &Write<'_>, user: &User) -> Result<()> {
    if let Some(before) = find(tx, user.uid)?
        && before.user_name != user.user_name
    {
        retired_names::retire(tx, Kind::User, &before.user_name, user.uid)?;
    }
    tx.execute(
        "UPDATE users
         SET user_name = $1, email = $2, enabled = $3, generation = $4
         WHERE uid = $5 AND deleted_at IS NULL",
        &[
            &user.user_name,
            &user.email,
            &user.enabled,
            &user.generation,
            &user.uid,
        ],
    )?;
    Ok(())
}

pub fn update_password(
    tx: &Write<'_>,
    uid: Uid,
    digest: &PasswordDigest,
    generation: i64,
) -> Result<()> {
    let (pepper, seal_key) = versions(Some(digest));
    tx.execute(
        "UPDATE users
         SET password_digest = $1, password_pepper = $2, password_seal_key = $3, generation = $4
         WHERE uid = $5",
        &[&digest.bytes, &pepper, &seal_key, &generation, &uid],
    )?;
    Ok(())
}

/// Replaces the digest of a user's password by another one of the same password; `false` if the stored digest is
/// `before` no longer.
pub fn replace_digest(
    tx: &Write<'_>,
    uid: Uid,
    before: &PasswordDigest,
    after: &PasswordDigest,
) -> Result<bool> {
    let (pepper, seal_key) = versions(Some(after));
    let changed = tx.execute(
        "UPDATE users
         SET password_digest = $1, password_pepper = $2, password_seal_key = $3
         WHERE uid = $4 AND password_digest = $5 AND deleted_at IS NULL",
        &[&after.bytes, &pepper, &seal_key, &uid, &before.bytes],
    )?;
    Ok(changed == 1)
}

/// The versions of the pepper and of the seal key for the columns of a digest: at most one of them is set.
fn versions(digest: Option<&PasswordDigest>) -> (Option<u32>, Option<u32>) {
    match digest.map(|digest| digest.bound_by) {
        Some(BoundBy::Pepper(version)) => (Some(version), None),
        Some(BoundBy::SealKey(version)) => (None, Some(version)),
        None => (None, None),
    }
}

/// Ends a user for good. The tombstone has neither password nor roles nor authenticators, and the name is retired.
pub fn delete(tx: &Write<'_>, uid: Uid, now: Timestamp) -> Result<bool> {
    if let Some(user) = find(tx, uid)?.filter(|user| user.deleted_at.is_none()) {
        retired_names::retire(tx, Kind::User, &user.user_name, uid)?;
    }
    replace_roles(tx, uid, &[])?;
    super::authenticators::delete_of_user(tx, uid, now)?;
    super::recovery_codes::delete_of_user(tx, uid)?;
    super::sign_ins::delete(tx, uid)?;
    super::attempts::delete_of_user(tx, uid)?;
    let changed = tx.execute(
        "UPDATE users
         SET deleted_at = $1, password_digest = NULL, password_pepper = NULL, password_seal_key = NULL,
             generation = generation + 1
         WHERE uid = $2 AND deleted_at IS NULL",
        &[&now, &uid],
    )?;
    Ok(changed == 1)
}

pub fn replace_roles(tx: &Write<'_>, uid: Uid, roles: &[Binding]) -> Result<()> {
    tx.execute("DELETE FROM role_bindings WHERE user_uid = $1", &[&uid])?;
    for binding in roles {
        tx.execute(
            "INSERT INTO role_bindings (user_uid, workspace_uid, role) VALUES ($1, $2, $3)",
            &[&uid, &binding.workspace, &binding.role.as_str()],
        )?;
    }
    Ok(())
}

/// Deletes every role in a workspace.
pub fn delete_roles_in(tx: &Write<'_>, workspace: Uid) -> Result<()> {
    tx.execute(
        "DELETE FROM role_bindings WHERE workspace_uid = $1",
        &[&workspace],
    )?;
    Ok(())
}

/// The users who have a role in a workspace.
pub fn list_with_role_in(read: &Read, workspace: Uid) -> Result<Vec<Uid>> {
    read.query(
        "SELECT user_uid FROM role_bindings WHERE workspace_uid = $1 ORDER BY user_uid",
        &[&workspace],
        |row| row.get("user_uid"),
    )
}

/// The names of the users whose home is a workspace, without deleted users.
pub fn list_at_home(read: &Read, workspace: Uid) -> Result<Vec<String>> {
    read.query(
        "SELECT user_name FROM users WHERE home_uid = $1 AND deleted_at IS NULL ORDER BY user_name",
        &[&workspace],
        |row| row.get("user_name"),
    )
}

/// How many active users have the role of an owner in a workspace.
pub fn count_owners(read: &Read, workspace: Uid) -> Result<i64> {
    let found = read.query_one(
        "SELECT count(*) AS owners
         FROM role_bindings JOIN users ON users.uid = role_bindings.user_uid
         WHERE workspace_uid = $1 AND role = 'owner' AND enabled = 1 AND deleted_at IS NULL",
        &[&workspace],
        |row| row.get("owners"),
    )?;
    Ok(found.unwrap_or(0))
}

/// How many keys that are not deleted a user owns in each workspace.
pub fn count_keys(read: &Read, user: Uid) -> Result<Vec<(Uid, u64)>> {
    read.query(
        "SELECT workspace_uid, count(*) AS count
         FROM keys
         WHERE owner_uid = $1 AND deleted_at IS NULL
         GROUP BY workspace_uid",
        &[&user],
        |row| Ok((row.get("workspace_uid")?, row.get("count")?)),
    )
}

/// Whether a user with the role of an owner in a workspace can sign in.
pub fn has_owner_with_password(read: &Read, workspace: Uid) -> Result<bool> {
    let found = read.query_one(
        "SELECT count(*) AS owners
         FROM role_bindings JOIN users ON users.uid = role_bindings.user_uid
         WHERE workspace_uid = $1 AND role = 'owner' AND deleted_at IS NULL AND password_digest IS NOT NULL",
        &[&workspace],
        |row| row.get::<i64>("owners"),
    )?;
    Ok(found.unwrap_or(0) > 0)
}

fn with_roles(read: &Read, mut user: User) -> Result<User> {
    user.roles = read.query(
        "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
        &[&user.uid],
        binding,
    )?;
    Ok(user)
}

fn binding(row: &Row<'_>) -> Result<Binding> {
    let role: String = row.get("role")?;
    let role =
        Role::parse(&role).ok_or_else(|| Error::internal("a role binding has an unknown role"))?;
    Ok(Binding {
        workspace: row.get("workspace_uid")?,
        role,
    })
}

fn from_row(row: &Row<'_>) -> Result<User> {
    Ok(User {
        uid: row.get("uid")?,
        number: row.get("number")?,
        user_name: row.get("user_name")?,
        email: row.get("email")?,
        home: row.get("home_uid")?,
        enabled: row.get("enabled")?,
        generation: row.get("generation")?,
        created_at: row.get("created_at")?,
        deleted_at: row.get("deleted_at")?,
        has_second_factor: row.get("has_second_factor")?,
        roles: Vec::new(),
    })
}
