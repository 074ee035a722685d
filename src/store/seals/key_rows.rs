//! The rows that a key is sealed by: how they are read, and what besides their columns the seal covers.

use crate::error::Result;
use crate::store::Read;
use crate::store::key_columns::{EXACT_SINCE, select_key};

/// The rows of the keys in a range of ids, one for each secret.
pub const ROWS: &str = concat!(
    select_key!(),
    ", rate_exact, uses_left,
            digest, pepper, secrets.created_at AS secret_created_at, secrets.expires_at AS secret_expires_at,
            until_first_use, sealed, sealing_key, scheme, is_foreign, hmac_key, found_by, old_hint,
            keys.seal AS seal, key_uses.seal AS uses_seal, epoch,
            (SELECT max(seq) FROM audit_events
             WHERE target_kind = 'key' AND target_id = keys.id AND outcome = 'allowed') AS newest
     FROM keys
     LEFT JOIN secrets ON secrets.key_id = keys.id
     LEFT JOIN key_uses ON key_uses.key_id = keys.id
     WHERE keys.id BETWEEN $1 AND $2 AND (deleted_at IS NULL OR CAST($3 AS BIGINT) = 1)
     ORDER BY keys.id, digest"
);

/// The same before schema [`EXACT_SINCE`].
pub const ROWS_INEXACT: &str = concat!(
    select_key!(),
    ", CAST(0 AS BIGINT) AS rate_exact, uses_left,
            digest, pepper, secrets.created_at AS secret_created_at, secrets.expires_at AS secret_expires_at,
            until_first_use, sealed, sealing_key, scheme, is_foreign, hmac_key, found_by, old_hint,
            keys.seal AS seal, key_uses.seal AS uses_seal, epoch,
            (SELECT max(seq) FROM audit_events
             WHERE target_kind = 'key' AND target_id = keys.id AND outcome = 'allowed') AS newest
     FROM keys
     LEFT JOIN secrets ON secrets.key_id = keys.id
     LEFT JOIN key_uses ON key_uses.key_id = keys.id
     WHERE keys.id BETWEEN $1 AND $2 AND (deleted_at IS NULL OR CAST($3 AS BIGINT) = 1)
     ORDER BY keys.id, digest"
);

/// The query for the schema of the database.
pub fn rows(read: &Read) -> Result<&'static str> {
    Ok(match read.has_schema(EXACT_SINCE)? {
        true => ROWS,
        false => ROWS_INEXACT,
    })
}

/// What the seal of a key covers besides its columns and its secrets.
#[derive(Clone, Copy)]
pub struct Marks {
    /// Whether it has a use limit.
    pub is_counted: bool,
    /// Whether its rate limit is exact. Without that the byte is the one of the schemas that do not know it.
    pub is_exact: bool,
}

impl Marks {
    pub fn byte(self) -> u8 {
        u8::from(self.is_counted) | u8::from(self.is_exact) << 1
    }
}

/// The number of columns between those of a key and those of its secret.
pub const BETWEEN: usize = 2;

/// The number of the columns of a secret.
pub const SECRET_COLUMNS: usize = 12;
