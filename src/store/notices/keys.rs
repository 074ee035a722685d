//! Keys that notices are about: those that end, and those that are not used.

use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::{Read, Row};

/// The members of a key that a notice needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoticedKey {
    pub id: KeyId,
    pub workspace: Uid,
    pub policy: String,
    /// When the key ends, or when it was last used.
    pub at: Timestamp,
}

/// Live, enabled keys that end after `after` and not later than `until`, if they were issued more than `life_ms` before
/// their end. The soonest come first.
pub fn list_ending(
    read: &Read,
    after: Timestamp,
    until: Timestamp,
    life_ms: i64,
    limit: u32,
) -> Result<Vec<NoticedKey>> {
    read.query(
        "SELECT id, workspace_uid, policy, expires_at AS at
         FROM keys
         WHERE expires_at > $1 AND expires_at <= $2 AND created_at < expires_at - $3 AND deleted_at IS NULL AND enabled = 1
         ORDER BY expires_at, id
         LIMIT $4",
        &[&after, &until, &life_ms, &limit],
        from_row,
    )
}

/// Live, enabled keys that are not over at `now` and were last used, or else issued, after `after` and not later than
/// `until`. Decoys are left out: they are made to be used by nobody. This reads all keys.
pub fn list_unused(
    read: &Read,
    now: Timestamp,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<NoticedKey>> {
    read.query(
        "SELECT id, workspace_uid, policy, coalesce(last_used_at, created_at) AS at
         FROM keys
         LEFT JOIN key_usage ON key_usage.key_id = keys.id
         WHERE coalesce(last_used_at, created_at) > $1 AND coalesce(last_used_at, created_at) <= $2
               AND deleted_at IS NULL AND enabled = 1 AND (expires_at IS NULL OR expires_at > $3)
               AND policy NOT IN (SELECT name FROM policies WHERE decoy = 1)
         ORDER BY at, id",
        &[&after, &until, &now],
        from_row,
    )
}

fn from_row(row: &Row<'_>) -> Result<NoticedKey> {
    Ok(NoticedKey {
        id: row.get("id")?,
        workspace: row.get("workspace_uid")?,
        policy: row.get("policy")?,
        at: row.get("at")?,
    })
}
