//! Secrets that other systems have made: how their keys are found, and how their digests are replaced.

use super::{Read, Row, Write, keys};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::pepper::Digest;
use crate::domain::keys::scheme::{Method, Scheme, starts};
use crate::error::Result;

/// Replaces the digest of a secret by one under the pepper. `false` if the key does not have the old one any more. The end
/// of the transaction seals the key again.
pub fn replace_digest(
    tx: &Write<'_>,
    id: KeyId,
    old: &StoredSecret,
    new: &StoredSecret,
) -> Result<bool> {
    let rows = keys::list_secrets(tx, id)?;
    let Some(row) = rows.iter().find(|row| row.secret == *old) else {
        return Ok(false);
    };
    let stored = match &row.given {
        Some(given) => given.bytes.clone(),
        None => old.digest.0.to_vec(),
    };
    let changed = tx.execute(
        "UPDATE secrets
         SET digest = $1, pepper = $2, scheme = $3, hmac_key = NULL, found_by = NULL
         WHERE key_id = $4 AND digest = $5",
        &[
            &new.digest.0,
            &u32::from(new.pepper),
            &new.scheme.number(),
            &id,
            &stored,
        ],
    )?;
    if changed > 0 {
        tx.touch(Target::new(Kind::Key, id));
    }
    Ok(changed == 1)
}

/// The methods by which secrets of other systems are found, and whether some have slow digests.
pub fn list_methods(read: &Read) -> Result<(Vec<Method>, bool)> {
    let found = read.query(
        "SELECT DISTINCT scheme, pepper, hmac_key FROM secrets WHERE is_foreign = 1",
        &[],
        |row| {
            let scheme = Scheme::of_number(row.get("scheme")?);
            let pepper = u16::try_from(row.get::<u32>("pepper")?).unwrap_or(u16::MAX);
            let hmac_key: Option<String> = row.get("hmac_key")?;
            Ok(scheme.map(|scheme| Method {
                scheme,
                pepper,
                hmac_key: hmac_key.map(Into::into),
            }))
        },
    )?;
    let (slow, fast) = found
        .into_iter()
        .flatten()
        .partition::<Vec<Method>, _>(|method| method.scheme.is_slow());
    Ok((fast, !slow.is_empty()))
}

/// The keys that have a secret of another system with this digest. Of a longer digest, the first 32 bytes count.
pub fn list(read: &Read, method: &Method, digest: &Digest) -> Result<Vec<KeyId>> {
    let last = [&digest.0[..], &[u8::MAX; 32]].concat();
    let (scheme, pepper) = (method.scheme.number(), u32::from(method.pepper));
    let id = |row: &Row<'_>| row.get("key_id");
    match method.hmac_key.as_deref() {
        None => read.query(
            "SELECT key_id FROM secrets
             WHERE is_foreign = 1 AND scheme = $1 AND pepper = $2 AND hmac_key IS NULL AND digest BETWEEN $3 AND $4",
            &[&scheme, &pepper, &digest.0, &last],
            id,
        ),
        Some(name) => read.query(
            "SELECT key_id FROM secrets
             WHERE is_foreign = 1 AND scheme = $1 AND pepper = $2 AND hmac_key = $3 AND digest BETWEEN $4 AND $5",
            &[&scheme, &pepper, &name, &digest.0, &last],
            id,
        ),
    }
}

/// The keys with a slow digest whose start a text has.
pub fn list_found_by(read: &Read, text: &str) -> Result<Vec<KeyId>> {
    let mut found = Vec::new();
    for start in starts(text) {
        found.extend(list_by_start(read, start)?);
    }
    Ok(found)
}

/// The keys with a slow digest that is found by exactly this start.
pub fn list_by_start(read: &Read, start: &str) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT key_id FROM secrets WHERE found_by = $1",
        &[&start],
        |row| row.get("key_id"),
    )
}
