//! Rows of users, their roles and their sessions.

use super::seals::bearers;
use super::{Read, Row, Write, retired_names, stored_secret};
use crate::domain::audit::Kind;
use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::domain::sessions::{Acting, Browser, Session};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::password::PasswordDigest;
use crate::domain::users::{Binding, Role, User};
use crate::error::{Error, Result};
use std::collections::HashMap;

pub fn insert(tx: &Write<'_>, user: &User, password: Option<&PasswordDigest>) -> Result<()> {
    let digest = password.map(|digest| digest.bytes.clone());
    let pepper = password.map(|digest| digest.pepper);
    tx.execute(
        "INSERT INTO users (uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation,
                            created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            &user.uid,
            &user.number,
            &user.user_name,
            &user.email,
            &user.home,
            &digest,
            &pepper,
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
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at
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
        "SELECT password_digest, password_pepper FROM users WHERE uid = $1",
        &[&uid],
        |row| {
            let bytes: Option<Vec<u8>> = row.get("password_digest")?;
            let pepper: Option<u32> = row.get("password_pepper")?;
            let both = bytes.zip(pepper);
            Ok(both.map(|(bytes, pepper)| PasswordDigest { bytes, pepper }))
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

/// The user who had a name at a time, even if that user is deleted now: another user can get the name later.
pub fn find_by_name_at(read: &Read, user_name: &str, at: Timestamp) -> Result<Option<User>> {
    let user = read.query_one(
        "SELECT uid, number, user_name, email, home_uid, enabled, generation, created_at, deleted_at
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
    tx.execute(
        "UPDATE users SET password_digest = $1, password_pepper = $2, generation = $3 WHERE uid = $4",
        &[&digest.bytes, &digest.pepper, &generation, &uid],
    )?;
    Ok(())
}

/// Ends a user for good. The tombstone has neither password nor roles nor authenticators, and the name is retired.
pub fn delete(tx: &Write<'_>, uid: Uid, now: Timestamp) -> Result<bool> {
    if let Some(user) = find(tx, uid)?.filter(|user| user.deleted_at.is_none()) {
        retired_names::retire(tx, Kind::User, &user.user_name, uid)?;
    }
    replace_roles(tx, uid, &[])?;
    super::authenticators::delete_of_user(tx, uid, now)?;
    super::attempts::delete_of_user(tx, uid)?;
    let changed = tx.execute(
        "UPDATE users
         SET deleted_at = $1, password_digest = NULL, password_pepper = NULL, generation = generation + 1
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

/// Deletes every role in a workspace, and returns the users who had one.
pub fn delete_roles_in(tx: &Write<'_>, workspace: Uid) -> Result<Vec<Uid>> {
    tx.query(
        "DELETE FROM role_bindings WHERE workspace_uid = $1 RETURNING user_uid",
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

pub fn insert_session(tx: &Write<'_>, peppers: &Peppers, session: &Session) -> Result<()> {
    let (browser, acting) = (session.console.as_ref(), session.acting);
    let used_at = browser.map(|browser| browser.used_at);
    let source = browser.map(|browser| browser.source.clone());
    let agent = browser.map(|browser| browser.agent.clone());
    tx.execute(
        "INSERT INTO sessions
             (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
              acting_generation, acting_family, used_at, source, agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        &[
            &session.id,
            &session.secret.digest.0,
            &session.secret.pepper,
            &session.user,
            &session.generation,
            &session.read_only,
            &session.issued_at,
            &session.expires_at,
            &acting.map(|acting| acting.user),
            &acting.map(|acting| acting.generation),
            &acting.map(|acting| acting.family),
            &used_at,
            &source,
            &agent,
        ],
    )?;
    bearers::put_session(tx, peppers, session.id)
}

/// Records a request of a console session, unless the session does not fit its seal.
pub fn touch_session(tx: &Write<'_>, peppers: &Peppers, id: KeyId, now: Timestamp) -> Result<()> {
    if find_session(tx, peppers, id)?.is_none() {
        return Ok(());
    }
    tx.execute(
        "UPDATE sessions SET used_at = $1 WHERE id = $2 AND used_at < $3",
        &[&now, &id, &now],
    )?;
    bearers::put_session(tx, peppers, id)
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

/// A session by id, if it fits its seal.
pub fn find_session(read: &Read, peppers: &Peppers, id: KeyId) -> Result<Option<Session>> {
    let found = read.query_one(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                acting_generation, acting_family, used_at, source, agent, seal
         FROM sessions
         WHERE id = $1",
        &[&id],
        |row| session_if_sound(row, peppers),
    )?;
    Ok(found.flatten())
}

/// The sessions that have not expired and that fit their seals.
pub fn list_sessions(read: &Read, peppers: &Peppers, now: Timestamp) -> Result<Vec<Session>> {
    let found = read.query(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                acting_generation, acting_family, used_at, source, agent, seal
         FROM sessions
         WHERE expires_at > $1",
        &[&now],
        |row| session_if_sound(row, peppers),
    )?;
    Ok(found.into_iter().flatten().collect())
}

pub fn delete_session(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute("DELETE FROM sessions WHERE id = $1", &[&id])?;
    Ok(changed == 1)
}

/// Deletes expired sessions, which no other row refers to.
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

fn session_if_sound(row: &Row<'_>, peppers: &Peppers) -> Result<Option<Session>> {
    match bearers::fits(peppers, bearers::SESSION, bearers::SESSION_COLUMNS, row)? {
        true => session_from_row(row).map(Some),
        false => Ok(None),
    }
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
