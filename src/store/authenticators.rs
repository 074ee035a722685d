//! Rows of authenticators: the one-time codes of users.

use crate::domain::audit::{Kind, Target};
use crate::domain::authenticators::Authenticator;
use crate::domain::keys::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::store::{Read, Row, Write};

pub fn insert(tx: &Write<'_>, one: &Authenticator) -> Result<()> {
    tx.execute(
        "INSERT INTO authenticators (number, user_uid, description, scopes, enabled, created_at, sealed, sealing_key, used_step)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &one.number,
            &one.user,
            &one.description,
            &one.scopes.join(" "),
            &one.enabled,
            &one.created_at,
            &one.secret.bytes,
            &one.secret.version,
            &one.used_step,
        ],
    )?;
    Ok(())
}

/// All authenticators that are not deleted, by number.
pub fn list(read: &Read) -> Result<Vec<Authenticator>> {
    read.query(
        "SELECT number, user_uid, description, scopes, enabled, created_at, sealed, sealing_key, used_step
         FROM authenticators
         WHERE deleted_at IS NULL
         ORDER BY number",
        &[],
        from_row,
    )
}

/// The authenticators of one user that are not deleted, by number.
pub fn list_of_user(read: &Read, user: Uid) -> Result<Vec<Authenticator>> {
    read.query(
        "SELECT number, user_uid, description, scopes, enabled, created_at, sealed, sealing_key, used_step
         FROM authenticators
         WHERE user_uid = $1 AND deleted_at IS NULL
         ORDER BY number",
        &[&user],
        from_row,
    )
}

/// Whether an authenticator of the user, deleted or not, was created in this time, its ends included.
pub fn has_created(read: &Read, user: Uid, since: Timestamp, until: Timestamp) -> Result<bool> {
    let found = read.query_one(
        "SELECT number
         FROM authenticators
         WHERE user_uid = $1 AND created_at >= $2 AND created_at <= $3
         LIMIT 1",
        &[&user, &since, &until],
        |row| row.get::<i64>("number"),
    )?;
    Ok(found.is_some())
}

/// Writes the members that an edit may change.
pub fn update(tx: &Write<'_>, one: &Authenticator) -> Result<()> {
    tx.execute(
        "UPDATE authenticators SET description = $1, enabled = $2 WHERE number = $3",
        &[&one.description, &one.enabled, &one.number],
    )?;
    Ok(())
}

/// Marks the code of a step as used; `false` if it or a later one was used before, or the authenticator is deleted.
pub fn spend_step(tx: &Write<'_>, number: i64, step: i64) -> Result<bool> {
    let spent = tx.query_one(
        "UPDATE authenticators SET used_step = $1 WHERE number = $2 AND used_step < $3 RETURNING user_uid",
        &[&step, &number, &step],
        |row| row.get::<Uid>("user_uid"),
    )?;
    // The seal of the user covers the used step, so that a step cannot be set back in the database.
    if let Some(user) = spent {
        tx.touch_lightly(Target::new(Kind::User, user));
    }
    Ok(spent.is_some())
}

pub fn delete(tx: &Write<'_>, number: i64, now: Timestamp) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE authenticators
         SET deleted_at = $1, sealed = NULL, sealing_key = NULL, used_step = NULL
         WHERE number = $2 AND deleted_at IS NULL",
        &[&now, &number],
    )?;
    Ok(changed == 1)
}

pub fn delete_of_user(tx: &Write<'_>, user: Uid, now: Timestamp) -> Result<usize> {
    tx.execute(
        "UPDATE authenticators
         SET deleted_at = $1, sealed = NULL, sealing_key = NULL, used_step = NULL
         WHERE user_uid = $2 AND deleted_at IS NULL",
        &[&now, &user],
    )
}

fn from_row(row: &Row<'_>) -> Result<Authenticator> {
    let broken = || Error::internal("an authenticator has nothing to work with");
    let scopes: String = row.get("scopes")?;
    Ok(Authenticator {
        number: row.get("number")?,
        user: row.get("user_uid")?,
        description: row.get("description")?,
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        enabled: row.get("enabled")?,
        created_at: row.get("created_at")?,
        secret: Sealed {
            bytes: row.get::<Option<Vec<u8>>>("sealed")?.ok_or_else(broken)?,
            version: row.get::<Option<u32>>("sealing_key")?.ok_or_else(broken)?,
        },
        used_step: row.get::<Option<i64>>("used_step")?.ok_or_else(broken)?,
    })
}
