//! Idempotency keys of earlier requests.

use super::{Read, Write};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The effect of an earlier POST with the same Idempotency-Key: the digest of that request, and what it created.
pub fn find(
    read: &Read,
    actor: &str,
    name: &str,
    since: Timestamp,
) -> Result<Option<([u8; 32], String)>> {
    read.query_one(
        "SELECT request, target_id FROM idempotency_keys WHERE actor = $1 AND name = $2 AND created_at > $3",
        &[&actor, &name, &since],
        |row| Ok((row.get("request")?, row.get("target_id")?)),
    )
}

pub fn insert(
    tx: &Write<'_>,
    actor: &str,
    name: &str,
    request: &[u8; 32],
    target_id: &str,
    now: Timestamp,
) -> Result<()> {
    tx.send(
        "INSERT INTO idempotency_keys (actor, name, request, target_id, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (actor, name) DO UPDATE
         SET request = excluded.request, target_id = excluded.target_id, created_at = excluded.created_at",
        &[&actor, &name, request, &target_id, &now],
    )
}

pub fn delete_before(tx: &Write<'_>, before: Timestamp) -> Result<usize> {
    tx.execute(
        "DELETE FROM idempotency_keys WHERE created_at <= $1",
        &[&before],
    )
}
