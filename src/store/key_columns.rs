//! The columns of keys: how rows are written, read and sealed.

use super::Row;
use super::connection::{ToValue, Value};
use crate::domain::keys::Key;
use crate::domain::keys::address::AddressList;
use crate::domain::keys::quota::RateLimit;
use crate::error::{Error, Result};

/// Selects the columns of a key in the order in which they are read and sealed. A new one comes last.
macro_rules! select_key {
    () => {
        "SELECT keys.id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled,
         not_before, keys.expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by, keys.created_at,
         rotated_at, deleted_at, hint, self_rotated_from, contact, source, weak, declared_name, declared_digest,
         declared_state, held"
    };
}
pub(super) use select_key;

/// The number of columns that [`select_key`] selects.
pub const COLUMNS: usize = 30;

/// Reads a key by its id. Whether its rate limit is exact is sealed apart from these columns, as a schema that lacks it seals keys.
pub const FIND: &str = concat!(
    select_key!(),
    ", rate_exact, uses_left
     FROM keys LEFT JOIN key_uses ON key_uses.key_id = keys.id
     WHERE keys.id = $1"
);

/// The same before schema [`EXACT_SINCE`].
pub const FIND_INEXACT: &str = concat!(
    select_key!(),
    ", CAST(0 AS BIGINT) AS rate_exact, uses_left
     FROM keys LEFT JOIN key_uses ON key_uses.key_id = keys.id
     WHERE keys.id = $1"
);

/// The first schema in which rate limits can be exact.
pub const EXACT_SINCE: i64 = 8;

pub const INSERT: &str =
    "INSERT INTO keys (id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only,
                       enabled, not_before, expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by,
                       created_at, rotated_at, deleted_at, hint, self_rotated_from, contact, source, weak,
                       declared_name, declared_digest, declared_state, held, seal)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
             $24, $25, $26, $27, $28, $29, $30, $31)";

pub const UPDATE: &str =
    "UPDATE keys
     SET name = $1, description = $2, scopes = $3, read_only = $4, enabled = $5, not_before = $6, expires_at = $7,
         allowed_ips = $8, rate_limit = $9, rate_window_s = $10, metadata = $11, owner_uid = $12,
         contact = $13
     WHERE id = $14 AND deleted_at IS NULL";

/// The values of those columns.
pub fn values(key: &Key) -> [Value; COLUMNS] {
    [
        key.id.to_value(),
        key.number.to_value(),
        key.name.to_value(),
        key.description.to_value(),
        key.workspace.to_value(),
        key.owner.to_value(),
        key.policy.to_value(),
        key.catalog.to_value(),
        key.scopes.join(" ").to_value(),
        key.read_only.to_value(),
        key.enabled.to_value(),
        key.not_before.to_value(),
        key.expires_at.to_value(),
        key.allowed_ips
            .as_ref()
            .map(AddressList::to_string)
            .to_value(),
        key.rate_limit.map(|rate| rate.limit).to_value(),
        key.rate_limit.map(|rate| rate.window_s).to_value(),
        key.metadata.to_value(),
        key.created_by.to_value(),
        key.created_at.to_value(),
        key.rotated_at.to_value(),
        key.deleted_at.to_value(),
        key.hint.to_value(),
        key.self_rotated_from.to_value(),
        key.contact.to_value(),
        key.source.to_value(),
        key.weak.to_value(),
        key.declared_name.to_value(),
        key.declared_digest.to_value(),
        key.declared_state.to_value(),
        key.held.to_value(),
    ]
}

/// The values for [`UPDATE`]: what an edit may change, and the id.
pub fn edited_values(key: &Key) -> [Value; 14] {
    [
        key.name.to_value(),
        key.description.to_value(),
        key.scopes.join(" ").to_value(),
        key.read_only.to_value(),
        key.enabled.to_value(),
        key.not_before.to_value(),
        key.expires_at.to_value(),
        key.allowed_ips
            .as_ref()
            .map(AddressList::to_string)
            .to_value(),
        key.rate_limit.map(|rate| rate.limit).to_value(),
        key.rate_limit.map(|rate| rate.window_s).to_value(),
        key.metadata.to_value(),
        key.owner.to_value(),
        key.contact.to_value(),
        key.id.to_value(),
    ]
}

/// Reads the columns in the order of the query, which is fastest.
pub fn from_row(row: &Row<'_>) -> Result<Key> {
    Ok(Key {
        id: row.get("id")?,
        number: row.get("number")?,
        name: row.get("name")?,
        description: row.get("description")?,
        workspace: row.get("workspace_uid")?,
        owner: row.get("owner_uid")?,
        policy: row.get("policy")?,
        catalog: row.get("catalog")?,
        scopes: scopes(row)?,
        read_only: row.get("read_only")?,
        enabled: row.get("enabled")?,
        not_before: row.get("not_before")?,
        expires_at: row.get("expires_at")?,
        allowed_ips: addresses(row)?,
        rate_limit: match rate_limit(row)? {
            Some(rate) => Some(RateLimit {
                exact: row.get("rate_exact")?,
                ..rate
            }),
            None => None,
        },
        metadata: row.get("metadata")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        rotated_at: row.get("rotated_at")?,
        deleted_at: row.get("deleted_at")?,
        hint: row.get("hint")?,
        self_rotated_from: row.get("self_rotated_from")?,
        contact: row.get("contact")?,
        source: row.get("source")?,
        weak: row.get("weak")?,
        declared_name: row.get("declared_name")?,
        declared_digest: row.get("declared_digest")?,
        declared_state: row.get("declared_state")?,
        held: row.get("held")?,
        uses_left: row.get("uses_left")?,
    })
}

pub fn scopes(row: &Row<'_>) -> Result<Vec<String>> {
    let text: String = row.get("scopes")?;
    Ok(text
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect())
}

/// A list that cannot be read is an error: the key must not become valid from every address.
pub fn addresses(row: &Row<'_>) -> Result<Option<AddressList>> {
    let text: Option<String> = row.get("allowed_ips")?;
    text.map(|text| AddressList::parse("allowed_ips", text.split(' ')))
        .transpose()
        .map_err(Error::internal)
}

/// The limit without its exactness, which is another column.
pub fn rate_limit(row: &Row<'_>) -> Result<Option<RateLimit>> {
    let limit: Option<u64> = row.get("rate_limit")?;
    let window_s: Option<u64> = row.get("rate_window_s")?;
    Ok(limit.zip(window_s).map(|(limit, window_s)| RateLimit {
        limit,
        window_s,
        exact: false,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::keys::{NewSecret, find, insert, update};
    use super::super::testing;
    use super::super::uses;
    use super::*;
    use crate::domain::keys::Member;
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::domain::keys::seal_key::SealKeys;
    use crate::domain::time::Timestamp;

    /// A member without a column would be lost, and one that [`UPDATE`] leaves out could not be edited.
    #[test]
    fn a_key_is_read_back_as_it_was_stored_and_as_it_was_edited() {
        for read in testing::stores() {
            read.ignore_references();
            let (tx, seal_keys) = (read.write(), SealKeys::generate().unwrap().0);
            let secret = StoredSecret::peppered(Digest([1; 32]), 1);
            let full = Key::full();
            let plain = Key {
                name: "plain".to_owned(),
                hint: "lk_".to_owned(),
                ..Key::blank()
            };
            for key in [&full, &plain] {
                let secret = NewSecret::Made(secret, None);
                insert(&tx, &seal_keys, key, &secret, Timestamp(3)).unwrap();
            }
            let stored = find(&read, full.id).unwrap().unwrap();
            let mut edited = plain.clone();
            for member in Member::editable() {
                member.copy(&full, &mut edited);
            }
            Member::Enabled.copy(&full, &mut edited);
            update(&tx, &edited).unwrap();
            uses::set(&tx, &seal_keys, edited.id, edited.uses_left).unwrap();
            let found = find(&read, edited.id).unwrap().unwrap();
            for member in Member::ALL {
                let word = member.word();
                assert_eq!(member.text(&stored), member.text(&full), "INSERT: {word}");
                assert_eq!(member.text(&found), member.text(&edited), "UPDATE: {word}");
            }
        }
    }
}
