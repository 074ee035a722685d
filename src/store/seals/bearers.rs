//! Seals of sessions and refresh tokens. Each seal stands in the row that it seals and covers every other column. A
//! row that does not match its seal is not accepted.

use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
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
fn of_row(seal_keys: &SealKeys, what: &str, columns: usize, row: &Row<'_>) -> Result<[u8; 32]> {
    let mut text = Vec::new();
    row.encode(0..columns, &mut text)?;
    Ok(seal_keys.seal_bytes(what, &text))
}

/// Whether the first `columns` columns of a row match its column `seal`.
pub fn fits(seal_keys: &SealKeys, what: &str, columns: usize, row: &Row<'_>) -> Result<bool> {
    Ok(sealer(seal_keys, what, columns, row)?.is_some())
}

/// The version under which a row is sealed; `None` if it does not match its seal.
fn sealer(seal_keys: &SealKeys, what: &str, columns: usize, row: &Row<'_>) -> Result<Option<u32>> {
    let mut text = Vec::new();
    row.encode(0..columns, &mut text)?;
    let seal: Option<[u8; 32]> = row.get("seal")?;
    Ok(seal.and_then(|seal| seal_keys.sealer_of(what, &text, &seal)))
}

/// Calls `take` with the version under which each session and refresh token is sealed; with `None` for one that does
/// not match its seal.
pub fn each_sealer(
    read: &Read,
    seal_keys: &SealKeys,
    mut take: impl FnMut(Option<u32>),
) -> Result<()> {
    for (what, columns, sql) in [
        (SESSION, SESSION_COLUMNS, SESSIONS),
        (REFRESH_TOKEN, REFRESH_TOKEN_COLUMNS, REFRESH_TOKENS),
    ] {
        read.each(sql, &[&FIRST, &LAST], &mut |row| {
            take(sealer(seal_keys, what, columns, row)?);
            Ok(())
        })?;
    }
    Ok(())
}

/// Seals some of the sessions and refresh tokens again, those after an id, with the newest version. Rows that do not
/// match their seals keep them. Returns the id of the last row; `None` at the end.
pub fn seal_some_again(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    part: Bearer,
    after: &str,
    count: usize,
) -> Result<Option<String>> {
    let (what, columns, sql, update) = match part {
        Bearer::RefreshToken => (
            REFRESH_TOKEN,
            REFRESH_TOKEN_COLUMNS,
            "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, family_began_at,
                    session_id, used_at, seal
             FROM refresh_tokens
             WHERE id > $1
             ORDER BY id
             LIMIT $2",
            "UPDATE refresh_tokens SET seal = $1 WHERE id = $2",
        ),
        Bearer::Session => (
            SESSION,
            SESSION_COLUMNS,
            "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                    acting_generation, acting_family, used_at, source, agent, seal
             FROM sessions
             WHERE id > $1
             ORDER BY id
             LIMIT $2",
            "UPDATE sessions SET seal = $1 WHERE id = $2",
        ),
    };
    let newest = seal_keys.newest();
    let (mut sealed, mut last) = (Vec::new(), None);
    tx.each(sql, &[&after, &(count as i64)], &mut |row| {
        let id: String = row.get("id")?;
        let sealer = sealer(seal_keys, what, columns, row)?;
        if sealer.is_some_and(|sealer| sealer != newest) {
            sealed.push((id.clone(), of_row(seal_keys, what, columns, row)?));
        }
        last = Some(id);
        Ok(())
    })?;
    for (id, seal) in sealed {
        tx.execute(update, &[&seal, &id])?;
    }
    Ok(last)
}

/// What has a seal in its own row and belongs to a user who signed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bearer {
    RefreshToken,
    Session,
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

/// How sessions or refresh tokens are read and sealed again in one version of the schema.
pub struct Rows {
    /// What the seal covers ([`SESSION`], [`REFRESH_TOKEN`]).
    pub what: &'static str,
    /// The number of the columns that the seal covers; the column `seal` follows them.
    pub columns: usize,
    pub select: &'static str,
    /// Takes the seal and the id.
    pub update: &'static str,
}

/// Seals every row that fits its seal under `before` with the newest version of `after`. A row that does not fit keeps
/// its seal.
pub fn seal_again(tx: &Write<'_>, rows: &Rows, before: &SealKeys, after: &SealKeys) -> Result<()> {
    let mut sealed = Vec::new();
    tx.each(rows.select, &[], &mut |row| {
        if fits(before, rows.what, rows.columns, row)? {
            let seal = of_row(after, rows.what, rows.columns, row)?;
            sealed.push((row.get::<String>("id")?, seal));
        }
        Ok(())
    })?;
    for (id, seal) in sealed {
        tx.execute(rows.update, &[&seal, &id])?;
    }
    Ok(())
}

/// Bounds that come before and after every id of ten letters and digits.
const FIRST: &str = "";
const LAST: &str = "~";

/// Seals the current state of a session.
pub fn put_session(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId) -> Result<()> {
    let seal = tx.query_one(SESSIONS, &[&id, &id], |row| {
        of_row(seal_keys, SESSION, SESSION_COLUMNS, row)
    })?;
    if let Some(seal) = seal {
        tx.execute("UPDATE sessions SET seal = $1 WHERE id = $2", &[&seal, &id])?;
    }
    Ok(())
}

/// Seals the current state of a refresh token.
pub fn put_refresh_token(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId) -> Result<()> {
    let seal = tx.query_one(REFRESH_TOKENS, &[&id, &id], |row| {
        of_row(seal_keys, REFRESH_TOKEN, REFRESH_TOKEN_COLUMNS, row)
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
pub fn end_broken(tx: &Write<'_>, seal_keys: &SealKeys) -> Result<Vec<Target>> {
    let broken = broken(tx, seal_keys)?;
    for id in &broken.sessions {
        tx.execute("DELETE FROM sessions WHERE id = $1", &[id])?;
    }
    for (id, _) in &broken.tokens {
        tx.execute("DELETE FROM refresh_tokens WHERE id = $1", &[id])?;
    }
    Ok(broken.targets())
}

/// The sessions that do not match their seals, and the sessions whose refresh tokens do not.
pub fn list_broken(read: &Read, seal_keys: &SealKeys) -> Result<Vec<Target>> {
    Ok(broken(read, seal_keys)?.targets())
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

fn broken(read: &Read, seal_keys: &SealKeys) -> Result<Broken> {
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    read.each(SESSIONS, &[&FIRST, &LAST], &mut |row| {
        if !fits(seal_keys, SESSION, SESSION_COLUMNS, row)? {
            sessions.push(row.get("id")?);
        }
        Ok(())
    })?;
    read.each(REFRESH_TOKENS, &[&FIRST, &LAST], &mut |row| {
        if !fits(seal_keys, REFRESH_TOKEN, REFRESH_TOKEN_COLUMNS, row)? {
            tokens.push((row.get("id")?, row.get("session_id")?));
        }
        Ok(())
    })?;
    Ok(Broken { sessions, tokens })
}
