//! Rows of sessions.

use super::seals::bearers;
use super::{Read, Row, Write, token_digest};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::sessions::{Acting, Browser, Session};
use crate::domain::time::Timestamp;
use crate::error::Result;

pub fn insert(tx: &Write<'_>, seal_keys: &SealKeys, session: &Session) -> Result<()> {
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
            &u32::from(session.secret.pepper),
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
    bearers::put_session(tx, seal_keys, session.id)
}

/// Records a request of a console session, unless the session does not fit its seal.
pub fn touch(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId, now: Timestamp) -> Result<()> {
    if find(tx, seal_keys, id)?.is_none() {
        return Ok(());
    }
    tx.execute(
        "UPDATE sessions SET used_at = $1 WHERE id = $2 AND used_at < $3",
        &[&now, &id, &now],
    )?;
    bearers::put_session(tx, seal_keys, id)
}

/// A session by id, if it fits its seal.
pub fn find(read: &Read, seal_keys: &SealKeys, id: KeyId) -> Result<Option<Session>> {
    let found = read.query_one(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                acting_generation, acting_family, used_at, source, agent, seal
         FROM sessions
         WHERE id = $1",
        &[&id],
        |row| if_sound(row, seal_keys),
    )?;
    Ok(found.flatten())
}

/// The sessions that have not expired and that fit their seals.
pub fn list(read: &Read, seal_keys: &SealKeys, now: Timestamp) -> Result<Vec<Session>> {
    let found = read.query(
        "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                acting_generation, acting_family, used_at, source, agent, seal
         FROM sessions
         WHERE expires_at > $1",
        &[&now],
        |row| if_sound(row, seal_keys),
    )?;
    Ok(found.into_iter().flatten().collect())
}

pub fn delete(tx: &Write<'_>, id: KeyId) -> Result<bool> {
    let changed = tx.execute("DELETE FROM sessions WHERE id = $1", &[&id])?;
    Ok(changed == 1)
}

/// Deletes expired sessions, which no other row refers to.
pub fn delete_expired(tx: &Write<'_>, now: Timestamp) -> Result<usize> {
    tx.execute("DELETE FROM sessions WHERE expires_at <= $1", &[&now])
}

fn if_sound(row: &Row<'_>, seal_keys: &SealKeys) -> Result<Option<Session>> {
    match bearers::fits(seal_keys, bearers::SESSION, bearers::SESSION_COLUMNS, row)? {
        true => from_row(row).map(Some),
        false => Ok(None),
    }
}

fn from_row(row: &Row<'_>) -> Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        secret: token_digest(row)?,
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
