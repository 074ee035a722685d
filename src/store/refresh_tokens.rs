//! Rows of refresh tokens, and the deletions that cover both refresh tokens and sessions.

use super::seals::bearers;
use super::{Read, Row, Write, token_digest};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::sessions::refresh::RefreshToken;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;

pub fn insert(tx: &Write<'_>, seal_keys: &SealKeys, token: &RefreshToken) -> Result<()> {
    tx.execute(
        "INSERT INTO refresh_tokens (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family,
                                     family_began_at, session_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &token.id,
            &token.secret.digest.0,
            &u32::from(token.secret.pepper),
            &token.user,
            &token.generation,
            &token.read_only,
            &token.issued_at,
            &token.expires_at,
            &token.family,
            &token.family_began_at,
            &token.session,
        ],
    )?;
    bearers::put_refresh_token(tx, seal_keys, token.id)
}

/// For each session and each refresh token: the session, the user to whom it belongs, and the user who acts as that
/// user.
pub fn list_bearers(read: &Read) -> Result<Vec<(KeyId, Uid, Option<Uid>)>> {
    read.query(
        "SELECT id, user_uid, acting_uid FROM sessions
         UNION ALL SELECT session_id, user_uid, NULL FROM refresh_tokens",
        &[],
        |row| Ok((row.get("id")?, row.get("user_uid")?, row.get("acting_uid")?)),
    )
}

/// A refresh token by id, even if it was used, provided that it matches its seal.
pub fn find(read: &Read, seal_keys: &SealKeys, id: KeyId) -> Result<Option<RefreshToken>> {
    let found = read.query_one(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, family_began_at,
                session_id, used_at, seal
         FROM refresh_tokens
         WHERE id = $1",
        &[&id],
        |row| {
            let columns = bearers::REFRESH_TOKEN_COLUMNS;
            match bearers::fits(seal_keys, bearers::REFRESH_TOKEN, columns, row)? {
                true => from_row(row).map(Some),
                false => Ok(None),
            }
        },
    )?;
    Ok(found.flatten())
}

/// The family that an access token belongs to, if it can be renewed.
pub fn find_family(read: &Read, session: KeyId) -> Result<Option<KeyId>> {
    read.query_one(
        "SELECT family FROM refresh_tokens WHERE session_id = $1",
        &[&session],
        |row| row.get("family"),
    )
}

/// When the sign-in began that an access token comes from, if it can be renewed.
pub fn family_began_at(read: &Read, session: KeyId) -> Result<Option<Timestamp>> {
    read.query_one(
        "SELECT family_began_at FROM refresh_tokens WHERE session_id = $1",
        &[&session],
        |row| row.get("family_began_at"),
    )
}

/// The number of tokens of a family that were issued after a time.
pub fn count_issued(read: &Read, family: KeyId, since: Timestamp) -> Result<u64> {
    let found = read.query_one(
        "SELECT count(*) AS issued FROM refresh_tokens WHERE family = $1 AND issued_at > $2",
        &[&family, &since],
        |row| row.get("issued"),
    )?;
    Ok(found.unwrap_or(0))
}

/// Marks a token as exchanged; `false` if it was exchanged before: the first time is kept.
pub fn update_used(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE refresh_tokens SET used_at = $1 WHERE id = $2 AND used_at IS NULL",
        &[&now, &id],
    )?;
    if changed == 1 {
        bearers::put_refresh_token(tx, seal_keys, id)?;
    }
    Ok(changed == 1)
}

/// Ends a sign-in and everything that was derived from it; returns the ids of its access tokens.
pub fn delete_family(tx: &Write<'_>, family: KeyId) -> Result<Vec<KeyId>> {
    let ended = tx.query(
        "DELETE FROM sessions
         WHERE id IN (SELECT session_id FROM refresh_tokens WHERE family = $1) OR acting_family = $2
         RETURNING id",
        &[&family, &family],
        |row| row.get("id"),
    )?;
    tx.execute("DELETE FROM refresh_tokens WHERE family = $1", &[&family])?;
    Ok(ended)
}

/// Deletes all sessions of a user, including those in which the user acts as another user, and the refresh tokens
/// that could renew them. Returns the ids of the sessions.
pub fn delete_of_user(tx: &Write<'_>, user: Uid) -> Result<Vec<KeyId>> {
    tx.execute("DELETE FROM refresh_tokens WHERE user_uid = $1", &[&user])?;
    tx.query(
        "DELETE FROM sessions WHERE user_uid = $1 OR acting_uid = $2 RETURNING id",
        &[&user, &user],
        |row| row.get("id"),
    )
}

/// Does the same as [`delete_of_user`], except for one session and the sign-in that it belongs to.
pub fn delete_of_user_but(tx: &Write<'_>, user: Uid, kept: KeyId) -> Result<Vec<KeyId>> {
    let family = find_family(tx, kept)?.unwrap_or(kept);
    let ended = tx.query(
        "DELETE FROM sessions
         WHERE (user_uid = $1 OR acting_uid = $2)
           AND id <> $3
           AND coalesce(acting_family, '') <> $4
           AND id NOT IN (SELECT session_id FROM refresh_tokens WHERE family = $5)
         RETURNING id",
        &[&user, &user, &kept, &family, &family],
        |row| row.get("id"),
    )?;
    tx.execute(
        "DELETE FROM refresh_tokens WHERE user_uid = $1 AND family <> $2",
        &[&user, &family],
    )?;
    Ok(ended)
}

/// Deletes expired refresh tokens; no other row refers to them.
pub fn delete_expired(tx: &Write<'_>, now: Timestamp) -> Result<usize> {
    tx.execute("DELETE FROM refresh_tokens WHERE expires_at <= $1", &[&now])
}

fn from_row(row: &Row<'_>) -> Result<RefreshToken> {
    Ok(RefreshToken {
        id: row.get("id")?,
        secret: token_digest(row)?,
        user: row.get("user_uid")?,
        generation: row.get("generation")?,
        read_only: row.get("read_only")?,
        issued_at: row.get("issued_at")?,
        expires_at: row.get("expires_at")?,
        family: row.get("family")?,
        family_began_at: row.get("family_began_at")?,
        session: row.get("session_id")?,
        used_at: row.get("used_at")?,
    })
}
