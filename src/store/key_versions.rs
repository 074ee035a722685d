//! What stands under each version of a key file: digests under the peppers, copies of secrets under the sealing keys, and
//! digests of passwords. `seals::again` counts what is sealed under the seal keys.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::keys::pepper::Digest;
use crate::domain::keys::scheme::Scheme;
use crate::domain::keys::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;

/// How many things are under a version, and when one of them was last used, if that is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Count {
    pub version: u32,
    pub count: u64,
    pub last_used_at: Option<Timestamp>,
}

/// How many secrets have digests of a scheme that is not the pepper's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForeignCount {
    pub scheme: Scheme,
    pub hmac_key: Option<String>,
    pub count: u64,
    /// When a key with such a secret was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A digest that a version of the pepper made, and that still opens something at `now` or may do so again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PepperedSecret {
    pub key: KeyId,
    /// Whether this is the newest secret of the key; the older one is in its grace period.
    pub is_newest: bool,
}

/// A copy of a secret under a version of the sealing key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyOfSecret {
    pub key: KeyId,
    pub digest: Vec<u8>,
    pub sealed: Sealed,
}

/// The secret of one-time codes under a version of the sealing key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyOfCodes {
    pub number: i64,
    pub user: Uid,
    pub sealed: Sealed,
}

/// Counts digests of secrets of keys, without those whose grace period is over.
pub fn count_secrets(read: &Read, now: Timestamp) -> Result<Vec<Count>> {
    read.query(
        "SELECT pepper AS version, count(*) AS count, max(last_used_at) AS last_used_at
         FROM secrets LEFT JOIN key_usage ON key_usage.key_id = secrets.key_id
         WHERE scheme = 1 AND (expires_at IS NULL OR expires_at > $1)
         GROUP BY pepper",
        &[&now],
        count_from_row,
    )
}

/// Counts secrets whose digests other systems made.
pub fn count_foreign(read: &Read) -> Result<Vec<ForeignCount>> {
    let found = read.query(
        "SELECT scheme, hmac_key, count(*) AS count, max(last_used_at) AS last_used_at
         FROM secrets LEFT JOIN key_usage ON key_usage.key_id = secrets.key_id
         WHERE scheme <> 1
         GROUP BY scheme, hmac_key
         ORDER BY scheme, hmac_key",
        &[],
        |row| {
            let scheme = Scheme::of_number(row.get("scheme")?);
            let (hmac_key, count) = (row.get("hmac_key")?, row.get("count")?);
            let last_used_at = row.get("last_used_at")?;
            Ok(scheme.map(|scheme| ForeignCount {
                scheme,
                hmac_key,
                count,
                last_used_at,
            }))
        },
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// Counts sessions that are not over.
pub fn count_sessions(read: &Read, now: Timestamp) -> Result<Vec<Count>> {
    read.query(
        "SELECT pepper AS version, count(*) AS count, max(used_at) AS last_used_at
         FROM sessions
         WHERE expires_at > $1
         GROUP BY pepper",
        &[&now],
        count_from_row,
    )
}

/// Counts refresh tokens that can still be used.
pub fn count_refresh_tokens(read: &Read, now: Timestamp) -> Result<Vec<Count>> {
    read.query(
        "SELECT pepper AS version, count(*) AS count, NULL AS last_used_at
         FROM refresh_tokens
         WHERE expires_at > $1 AND used_at IS NULL
         GROUP BY pepper",
        &[&now],
        count_from_row,
    )
}

/// Counts digests of passwords that a version of the pepper or of the seal key binds.
pub fn count_passwords(read: &Read, kind: KeyKind) -> Result<Vec<Count>> {
    let sql = match kind {
        KeyKind::Pepper => {
            "SELECT password_pepper AS version, count(*) AS count, NULL AS last_used_at
             FROM users
             WHERE password_pepper IS NOT NULL
             GROUP BY password_pepper"
        }
        KeyKind::SealKey => {
            "SELECT password_seal_key AS version, count(*) AS count, NULL AS last_used_at
             FROM users
             WHERE password_seal_key IS NOT NULL
             GROUP BY password_seal_key"
        }
        KeyKind::SealingKey => return Ok(Vec::new()),
    };
    read.query(sql, &[], count_from_row)
}

/// Counts recovery codes that were not used, by the version of the seal key that made their digests.
pub fn count_recovery_codes(read: &Read) -> Result<Vec<Count>> {
    read.query(
        "SELECT seal_key AS version, count(*) AS count, NULL AS last_used_at
         FROM recovery_codes
         WHERE used_at IS NULL
         GROUP BY seal_key",
        &[],
        count_from_row,
    )
}

/// Some of the users with recovery codes under a version of the seal key.
pub fn list_recovery_codes(read: &Read, version: u32, limit: u32) -> Result<Vec<Uid>> {
    read.query(
        "SELECT DISTINCT user_uid FROM recovery_codes
         WHERE seal_key = $1 AND used_at IS NULL
         ORDER BY user_uid
         LIMIT $2",
        &[&version, &limit],
        |row| row.get("user_uid"),
    )
}

/// Counts copies of secrets of keys, secrets of one-time codes, keys of sites, and keys that sign packs.
pub fn count_copies(read: &Read) -> Result<Vec<Count>> {
    let mut counts = read.query(
        "SELECT sealing_key AS version, count(*) AS count, NULL AS last_used_at
         FROM secrets
         WHERE sealing_key IS NOT NULL
         GROUP BY sealing_key",
        &[],
        count_from_row,
    )?;
    counts.extend(read.query(
        "SELECT sealing_key AS version, count(*) AS count, NULL AS last_used_at
         FROM authenticators
         WHERE sealing_key IS NOT NULL
         GROUP BY sealing_key",
        &[],
        count_from_row,
    )?);
    for sql in [
        "SELECT sealing_key AS version, count(*) AS count, NULL AS last_used_at
         FROM sites
         WHERE sealing_key IS NOT NULL
         GROUP BY sealing_key",
        "SELECT sealing_key AS version, count(*) AS count, NULL AS last_used_at
         FROM pack_signing_keys
         GROUP BY sealing_key",
    ] {
        counts.extend(read.query(sql, &[], count_from_row)?);
    }
    Ok(counts)
}

/// Counts everything that has a seal, without looking at the seals.
pub fn count_sealed(read: &Read) -> Result<u64> {
    let count = read.query_one(
        "SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM row_seals) + (SELECT count(*) FROM sessions)
                + (SELECT count(*) FROM refresh_tokens) + (SELECT count(*) FROM audit_head)
                + (SELECT count(*) FROM audit_checkpoint) AS count",
        &[],
        |row| row.get("count"),
    )?;
    Ok(count.unwrap_or(0))
}

/// Some of the secrets under a version of the pepper, in the order of their keys, beginning with the key `from`.
pub fn list_secrets(
    read: &Read,
    version: u32,
    now: Timestamp,
    from: &str,
    limit: u32,
) -> Result<Vec<PepperedSecret>> {
    read.query(
        "SELECT key_id, expires_at IS NULL AS is_newest
         FROM secrets
         WHERE key_id >= $1 AND scheme = 1 AND pepper = $2 AND (expires_at IS NULL OR expires_at > $3)
         ORDER BY key_id
         LIMIT $4",
        &[&from, &version, &now, &limit],
        |row| {
            Ok(PepperedSecret {
                key: row.get("key_id")?,
                is_newest: row.get("is_newest")?,
            })
        },
    )
}

/// Some of the sessions under a version of the pepper.
pub fn list_sessions(read: &Read, version: u32, now: Timestamp, limit: u32) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM sessions WHERE pepper = $1 AND expires_at > $2 ORDER BY id LIMIT $3",
        &[&version, &now, &limit],
        |row| row.get("id"),
    )
}

/// Some of the refresh tokens under a version of the pepper, each with the session that it belongs to.
pub fn list_refresh_tokens(
    read: &Read,
    version: u32,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(KeyId, KeyId)>> {
    read.query(
        "SELECT id, session_id
         FROM refresh_tokens
         WHERE pepper = $1 AND expires_at > $2 AND used_at IS NULL
         ORDER BY id
         LIMIT $3",
        &[&version, &now, &limit],
        |row| Ok((row.get("id")?, row.get("session_id")?)),
    )
}

/// Some of the users whose password a version of the pepper or of the seal key binds.
pub fn list_passwords(read: &Read, kind: KeyKind, version: u32, limit: u32) -> Result<Vec<Uid>> {
    let sql = match kind {
        KeyKind::Pepper => "SELECT uid FROM users WHERE password_pepper = $1 ORDER BY uid LIMIT $2",
        KeyKind::SealKey => {
            "SELECT uid FROM users WHERE password_seal_key = $1 ORDER BY uid LIMIT $2"
        }
        KeyKind::SealingKey => return Ok(Vec::new()),
    };
    read.query(sql, &[&version, &limit], |row| row.get("uid"))
}

/// Replaces the newest digest of a key under a version of the pepper by one that no secret has, and deletes its copy.
pub fn end_newest(tx: &Write<'_>, id: KeyId, version: u32, nothing: (u32, Digest)) -> Result<()> {
    tx.execute(
        "UPDATE secrets
         SET digest = $1, pepper = $2, sealed = NULL, sealing_key = NULL
         WHERE key_id = $3 AND scheme = 1 AND pepper = $4 AND expires_at IS NULL",
        &[&nothing.1.0, &nothing.0, &id, &version],
    )?;
    Ok(())
}

/// Deletes the older secret of a key, if it is under a version of the pepper.
pub fn delete_older(tx: &Write<'_>, id: KeyId, version: u32) -> Result<()> {
    tx.execute(
        "DELETE FROM secrets
         WHERE key_id = $1 AND scheme = 1 AND pepper = $2 AND expires_at IS NOT NULL",
        &[&id, &version],
    )?;
    Ok(())
}

pub fn delete_refresh_token(tx: &Write<'_>, id: KeyId) -> Result<()> {
    tx.execute("DELETE FROM refresh_tokens WHERE id = $1", &[&id])?;
    Ok(())
}

/// Some of the copies of secrets under a version: ids of keys, names of users with one-time codes, sites and signing keys.
pub fn list_copies(read: &Read, version: u32, limit: u32) -> Result<Vec<String>> {
    read.query(
        "SELECT key_id AS holder FROM secrets WHERE sealing_key = $1
         UNION SELECT user_name FROM authenticators JOIN users ON users.uid = user_uid WHERE sealing_key = $1
         UNION SELECT 'site ' || name FROM sites WHERE sealing_key = $1
         UNION SELECT 'signing key ' || version FROM pack_signing_keys WHERE sealing_key = $1
         ORDER BY holder
         LIMIT $2",
        &[&version, &limit],
        |row| row.get("holder"),
    )
}

/// Some of the copies of secrets that are not under the newest version, those of keys after an id.
pub fn list_older_copies(
    read: &Read,
    newest: u32,
    after: &str,
    limit: u32,
) -> Result<Vec<CopyOfSecret>> {
    read.query(
        "SELECT key_id, digest, sealed, sealing_key
         FROM secrets
         WHERE key_id > $1 AND sealed IS NOT NULL AND sealing_key <> $2
         ORDER BY key_id
         LIMIT $3",
        &[&after, &newest, &limit],
        |row| {
            Ok(CopyOfSecret {
                key: row.get("key_id")?,
                digest: row.get("digest")?,
                sealed: sealed_from_row(row)?,
            })
        },
    )
}

/// Replaces the copy of a secret.
pub fn update_copy(tx: &Write<'_>, copy: &CopyOfSecret) -> Result<()> {
    tx.execute(
        "UPDATE secrets SET sealed = $1, sealing_key = $2 WHERE key_id = $3 AND digest = $4",
        &[
            &copy.sealed.bytes,
            &copy.sealed.version,
            &copy.key,
            &copy.digest,
        ],
    )?;
    Ok(())
}

/// Some of the secrets of one-time codes that are not under the newest version, those after a number.
pub fn list_codes(read: &Read, newest: u32, after: i64, limit: u32) -> Result<Vec<CopyOfCodes>> {
    read.query(
        "SELECT number, user_uid, sealed, sealing_key
         FROM authenticators
         WHERE number > $1 AND sealed IS NOT NULL AND sealing_key <> $2
         ORDER BY number
         LIMIT $3",
        &[&after, &newest, &limit],
        |row| {
            Ok(CopyOfCodes {
                number: row.get("number")?,
                user: row.get("user_uid")?,
                sealed: sealed_from_row(row)?,
            })
        },
    )
}

/// Replaces the secret of one-time codes.
pub fn update_codes(tx: &Write<'_>, codes: &CopyOfCodes) -> Result<()> {
    tx.execute(
        "UPDATE authenticators SET sealed = $1, sealing_key = $2 WHERE number = $3",
        &[&codes.sealed.bytes, &codes.sealed.version, &codes.number],
    )?;
    Ok(())
}

fn sealed_from_row(row: &Row<'_>) -> Result<Sealed> {
    Ok(Sealed {
        bytes: row.get("sealed")?,
        version: row.get("sealing_key")?,
    })
}

fn count_from_row(row: &Row<'_>) -> Result<Count> {
    Ok(Count {
        version: row.get("version")?,
        count: row.get("count")?,
        last_used_at: row.get("last_used_at")?,
    })
}
