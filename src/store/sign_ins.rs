//! When and from where users last signed in. It is shown, and decides nothing.

use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::{Read, Row, Write};
use std::collections::HashMap;

/// The last time that a user signed in with a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignIn {
    pub at: Timestamp,
    /// The address of the client, or `unix`.
    pub source: String,
}

pub fn replace(tx: &Write<'_>, user: Uid, at: Timestamp, source: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO user_sign_ins (user_uid, at, source)
         VALUES ($1, $2, $3)
         ON CONFLICT (user_uid) DO UPDATE SET at = excluded.at, source = excluded.source",
        &[&user, &at, &source],
    )?;
    Ok(())
}

pub fn find(read: &Read, user: Uid) -> Result<Option<SignIn>> {
    read.query_one(
        "SELECT at, source FROM user_sign_ins WHERE user_uid = $1",
        &[&user],
        from_row,
    )
}

/// The last sign-in of each user who has signed in.
pub fn list(read: &Read) -> Result<HashMap<Uid, SignIn>> {
    let found = read.query(
        "SELECT user_uid, at, source FROM user_sign_ins",
        &[],
        |row| Ok((row.get("user_uid")?, from_row(row)?)),
    )?;
    Ok(found.into_iter().collect())
}

pub fn delete(tx: &Write<'_>, user: Uid) -> Result<()> {
    tx.execute("DELETE FROM user_sign_ins WHERE user_uid = $1", &[&user])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<SignIn> {
    Ok(SignIn {
        at: row.get("at")?,
        source: row.get("source")?,
    })
}
