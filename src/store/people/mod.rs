//! Rows of users, their roles and their sessions.

pub mod attempts;
pub mod authenticators;

use super::{Read, Row, Write, stored_secret};
use crate::domain::key::KeyId;
use crate::domain::people::password::PasswordDigest;
use crate::domain::people::session::{Acting, Browser, Session};
use crate::domain::people::{Binding, Role, User};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use std::collections::HashMap;

pub fn insert(tx: &Write<'_>, user: &User, password: Option<&PasswordDigest>) -> Result<()> {
    let digest = password.map(|digest| digest.0.clone());
    tx.execute(
        "INSERT INTO users (uid, number, user_name, email, home_uid, password_digest, enabled, generation, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &user.uid,
            &user.number,
            &user.user_name,
            &user.email,
            &user.home,
            &digest,
            &user.enabled,
            &user.generation,
            &user.created_at,
        ],
    )?;
    replace_roles(tx, user.uid, &user.roles)
}

/// A user by uid, deleted ones too.
pub fn find(read: &Read, uid: Uid) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at
         FROM users
         WHERE uid = $1",
        &[&uid],
        from_row,
    )?;
    user.map(|user| with_roles(read, user)).transpose()
}

/// A user by name in its stored form; deleted ones have no name any more.
pub fn find_by_name(read: &Read, user_name: &str) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at
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
        "SELECT password_digest FROM users WHERE uid = $1",
        &[&uid],
        |row| row.get::<Option<Vec<u8>>>("password_digest"),
    )?;
    Ok(found.flatten().map(PasswordDigest))
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
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at
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

/// Writes the members that an edit may change.
pub fn update(tx: &Write<'_>, user: &User) -> Result<()> {
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
    tx.execute(
        "UPDATE users SET password_digest = $1, generation = $2 WHERE uid = $3",
        &[&digest.0, &generation, &uid],
    )?;
    Ok(())
}

/// Ends a user for good; the tombstone has neither password nor roles nor authenticators.
pub fn delete(tx: &Write<'_>, uid: Uid, now: Timestamp) -> Result<bool> {
    replace_roles(tx, uid, &[])?;
    authenticators::delete_of_user(tx, uid, now)?;
    attempts::delete_of_user(tx, uid)?;
    let changed = tx.execute(
        "UPDATE users
         SET deleted_at = $1, password_digest = NULL, generation = generation + 1
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

/// Takes away every role in a workspace; returns whose.
pub fn delete_roles_in(tx: &Write<'_>, workspace: Uid) -> Result<Vec<Uid>> {
    tx.query(
        "DELETE FROM role_bindings WHERE workspace_uid = $1 RETURNING user_uid",
        &[&workspace],
        |row| row.get("user_uid"),
    )
}

/// The names of users at home in a workspace, deleted ones not.
pub fn list_at_home(read: &Read, workspace: Uid) -> Result<Vec<String>> {
    read.query(
        "SELECT user_name FROM users WHERE home_uid = $1 AND deleted_at IS NULL ORDER BY user_name",
        &[&workspace],
        |row| row.get("user_name"),
    )
}

/// How many active users hold the owner's role in a workspace.
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

pub fn insert_session(tx: &Write<'_>, session: &Session) -> Result<()> {
    let (browser, acting) = (session.console.as_ref(), session.acting);
    let used_at = browser.map(|browser| browser.used_at);
    let source = browser.map(|browser| browser.source.clone());
    let agent = browser.map(|browser| browser.agent.clone());
    tx.execute(
        "INSERT INTO sessions
             (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, authenticator, acting_uid,
              acting_generation, acting_family, used_at, source, agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        &[
            &session.id,
            &session.secret.digest.0,
            &session.secret.pepper,
            &session.user,
            &session.generation,
            &session.read_only,
            &session.issued_at,
            &session.expires_at,
            &session.authenticator,
            &acting.map(|acting| acting.user),
            &acting.map(|acting| acting.generation),
            &acting.map(|acting| acting.family),
            &used_at,
            &source,
            &agent,
        ],
    )?;
    Ok(())
}

/// Notes a request of a console session.
pub fn touch_session(tx: &Write<'_>, id: KeyId, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE sessions SET used_at = $1 WHERE id = $2 AND used_at < $3",
        &[&now, &id, &now],
    )?;
    Ok(())
}

/// Whether a user who holds the owner's role in a workspace can sign in.
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

pub fn find_session(read: &Read, id: KeyId) -> Result<Option<Session>> {
    read.query_one(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, authenticator, acting_uid,
                acting_generation, acting_family, used_at, source, agent
         FROM sessions
         WHERE id = $1",
        &[&id],
        session_from_row,
    )
}

/// Sessions that have not expired.
pub fn list_sessions(read: &Read, now: Timestamp) -> Result<Vec<Session>> {
    read.query(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, authenticator, acting_uid,
                acting_generation, acting_family, used_at, source, agent
         FROM sessions
         WHERE expires_at > $1",
        &[&now],
        session_from_row,
    )
}

pub fn delete_session(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute("DELETE FROM sessions WHERE id = $1", &[&id])?;
    Ok(changed == 1)
}

/// Removes what has expired; nothing refers to it.
pub fn delete_expired_sessions(tx: &Write<'_>, now: Timestamp) -> Result<usize> {
    tx.execute("DELETE FROM sessions WHERE expires_at <= $1", &[&now])
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
        roles: Vec::new(),
    })
}

fn session_from_row(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        secret: stored_secret(row)?,
        user: row.get("user_uid")?,
        generation: row.get("generation")?,
        read_only: row.get("read_only")?,
        issued_at: row.get("issued_at")?,
        expires_at: row.get("expires_at")?,
        authenticator: row.get("authenticator")?,
        acting: match row.get("acting_uid")? {
            None => None,
            Some(user) => Some(Acting {
                user,
                generation: row.get("acting_generation")?,
                family: row.get("acting_family")?,
            }),
        },
        console: match row.get("used_at")? {
            None => None,
            Some(used_at) => Some(Browser {
                used_at,
                source: row.get("source")?,
                agent: row.get("agent")?,
            }),
        },
    })
}
