//! Seals of sessions and refresh tokens. Each seal stands in the row that it seals and covers every other column. A
//! row that does not match its seal is not accepted.

use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::error::Result;
use crate::store::{Read, Row, Write};
use std::collections::BTreeSet;

/// What a seal covers, as a part of the sealed text.
pub const SESSION: &str = "session";
pub const REFRESH_TOKEN: &str = "refresh token";

/// The number of sealed columns of a session and of a refresh token. The seal is the column after them.
pub const SESSION_COLUMNS: usize = 14;
pub const REFRESH_TOKEN_COLUMNS: usize = 12;

/// Computes the seal over the first `columns` columns of a row.
fn of_row(peppers: &Peppers, what: &str, columns: usize, row: &Row<'_>) -> Result<[u8; 32]> {
    let mut text = Vec::new();
    row.encode(0..columns, &mut text)?;
    Ok(peppers.current().seal_bytes(what, &text))
}

/// Whether the first `columns` columns of a row match its column `seal`.
pub fn fits(peppers: &Peppers, what: &str, columns: usize, row: &Row<'_>) -> Result<bool> {
    let mut text = Vec::new();
    row.encode(0..columns, &mut text)?;
    let seal: Option<[u8; 32]> = row.get("seal")?;
    Ok(seal.is_some_and(|seal| peppers.have_sealed(what, &text, &seal)))
}

const SESSIONS: &str =
    "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
            acting_generation, acting_family, used_at, source, agent, seal
     FROM sessions
     WHERE id BETWEEN $1 AND $2";

const REFRESH_TOKENS: &str = "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, family_began_at,
            session_id, used_at, seal
     FROM refresh_tokens
     WHERE id BETWEEN $1 AND $2";

/// Bounds that come before and after every id of ten letters and digits.
const FIRST: &str = "";
const LAST: &str = "~";

/// Seals the current state of a session.
pub fn put_session(tx: &Write<'_>, peppers: &Peppers, id: KeyId) -> Result<()> {
    let seal = tx.query_one(SESSIONS, &[&id, &id], |row| {
        of_row(peppers, SESSION, SESSION_COLUMNS, row)
    })?;
    if let Some(seal) = seal {
        tx.execute("UPDATE sessions SET seal = $1 WHERE id = $2", &[&seal, &id])?;
    }
    Ok(())
}

/// Seals the current state of a refresh token.
pub fn put_refresh_token(tx: &Write<'_>, peppers: &Peppers, id: KeyId) -> Result<()> {
    let seal = tx.query_one(REFRESH_TOKENS, &[&id, &id], |row| {
        of_row(peppers, REFRESH_TOKEN, REFRESH_TOKEN_COLUMNS, row)
    })?;
    if let Some(seal) = seal {
        tx.execute(
            "UPDATE refresh_tokens SET seal = $1 WHERE id = $2",
            &[&seal, &id],
        )?;
    }
    Ok(())
}

/// Deletes the sessions and refresh tokens that do not match their seals. Returns these sessions and the sessions of
/// these tokens.
pub fn end_broken(tx: &Write<'_>, peppers: &Peppers) -> Result<Vec<Target>> {
    let broken = broken(tx, peppers)?;
    for id in &broken.sessions {
        tx.execute("DELETE FROM sessions WHERE id = $1", &[id])?;
    }
    for (id, _) in &broken.tokens {
        tx.execute("DELETE FROM refresh_tokens WHERE id = $1", &[id])?;
    }
    Ok(broken.targets())
}

/// The sessions that do not match their seals, and the sessions whose refresh tokens do not.
pub fn list_broken(read: &Read, peppers: &Peppers) -> Result<Vec<Target>> {
    Ok(broken(read, peppers)?.targets())
}

struct Broken {
    sessions: Vec<String>,
    /// Each token with the session that it belongs to.
    tokens: Vec<(String, String)>,
}

impl Broken {
    fn targets(self) -> Vec<Target> {
        let of_tokens = self.tokens.into_iter().map(|(_, session)| session);
        let all: BTreeSet<String> = self.sessions.into_iter().chain(of_tokens).collect();
        let target = |id| Target::new(Kind::Session, id);
        all.into_iter().map(target).collect()
    }
}

fn broken(read: &Read, peppers: &Peppers) -> Result<Broken> {
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    read.each(SESSIONS, &[&FIRST, &LAST], &mut |row| {
        if !fits(peppers, SESSION, SESSION_COLUMNS, row)? {
            sessions.push(row.get("id")?);
        }
        Ok(())
    })?;
    read.each(REFRESH_TOKENS, &[&FIRST, &LAST], &mut |row| {
        if !fits(peppers, REFRESH_TOKEN, REFRESH_TOKEN_COLUMNS, row)? {
            tokens.push((row.get("id")?, row.get("session_id")?));
        }
        Ok(())
    })?;
    Ok(Broken { sessions, tokens })
}
