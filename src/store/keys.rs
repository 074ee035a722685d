//! Rows of keys and of the digests of their secrets.

use super::connection::{ToValue, Value};
use super::key_columns::{
    EXACT_SINCE, FIND, FIND_INEXACT, INSERT, UPDATE, edited_values, from_row, values,
};
use super::{Read, Row, Write, retired, seals, uses};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::metadata;
use crate::domain::keys::pepper::Digest;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::scheme::{GivenDigest, Scheme};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::sealing::Sealed;
use crate::domain::keys::{Key, KeyId};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals;

/// One row of `secrets`.
#[derive(Clone, Debug)]
pub struct SecretRow {
    pub secret: StoredSecret,
    /// The digest as it was given, if it was made by another system and is not replaced yet.
    pub given: Option<Box<GivenDigest>>,
    /// End of the grace period; `None` for the newest secret.
    pub expires_at: Option<Timestamp>,
    pub until_first_use: bool,
    /// Of the secret before the newest: its start and end. `None` for the newest, whose hint its key has.
    pub hint: Option<String>,
}

/// A secret to store.
pub enum NewSecret<'a> {
    /// One that this server made, with an encrypted copy if the policy of its key shows secrets again.
    Made(StoredSecret, Option<Sealed>),
    /// One of which only a digest is known.
    Given {
        digest: &'a GivenDigest,
        is_foreign: bool,
    },
}

/// Which keys a list contains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    All,
    /// Keys whose `created_by` is this actor.
    MadeBy(String),
    OfOwner(Uid),
    OfWorkspace(Uid),
    /// Whose metadata has a member with this value.
    With(String, String),
}

/// Stores a new, sealed key with its first secret, before there is an event about it.
pub fn insert(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    key: &Key,
    secret: &NewSecret<'_>,
    now: Timestamp,
) -> Result<()> {
    insert_after(tx, seal_keys, key, secret, now, 0)
}

/// As [`insert`], after the event `seq`, which is the newest one.
pub fn insert_after(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    key: &Key,
    secret: &NewSecret<'_>,
    now: Timestamp,
    seq: i64,
) -> Result<()> {
    let columns = values(key);
    let of_secret = seals::keys::secret_values(secret, now);
    let is_exact = exactness(tx, key.rate_limit)?;
    let marks = seals::key_rows::Marks {
        is_counted: key.uses_left.is_some(),
        is_exact: is_exact == Some(true),
    };
    let seal = seals::keys::of_new(seal_keys, &columns, marks, &of_secret, seq);
    let mut values: Vec<&dyn ToValue> = Vec::with_capacity(columns.len() + 1);
    values.extend(columns.iter().map(|value| value as &dyn ToValue));
    values.push(&seal);
    tx.send(INSERT, &values)?;
    if is_exact == Some(true) {
        tx.send("UPDATE keys SET rate_exact = 1 WHERE id = $1", &[&key.id])?;
    }
    insert_secret_values(tx, key.id, &of_secret)?;
    insert_metadata(tx, key.id, &key.metadata)?;
    match key.uses_left {
        None => Ok(()),
        some => uses::set(tx, seal_keys, key.id, some),
    }
}

/// Stores the newest secret of a key. The end of the transaction seals the key again.
pub fn insert_secret(
    tx: &Write<'_>,
    id: KeyId,
    secret: &NewSecret<'_>,
    now: Timestamp,
) -> Result<()> {
    tx.touch(Target::new(Kind::Key, id));
    insert_secret_values(tx, id, &seals::keys::secret_values(secret, now))
}

fn insert_secret_values(
    tx: &Write<'_>,
    id: KeyId,
    values: &[Value; seals::key_rows::SECRET_COLUMNS],
) -> Result<()> {
    let mut params: Vec<&dyn ToValue> = vec![&id];
    params.extend(values.iter().map(|value| value as &dyn ToValue));
    tx.send(
        "INSERT INTO secrets (key_id, digest, pepper, created_at, expires_at, until_first_use, sealed, sealing_key,
                              scheme, is_foreign, hmac_key, found_by, old_hint)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &params,
    )
}

/// Lets lists find a key by the members of its metadata.
pub fn insert_metadata(tx: &Write<'_>, id: KeyId, metadata: &str) -> Result<()> {
    let members = metadata::members(metadata).into_iter();
    for (name, value) in members.filter(|(name, _)| metadata::is_listed(name)) {
        tx.send(
            "INSERT INTO key_metadata (name, value, key_id)
             VALUES ($1, $2, $3)
             ON CONFLICT (name, value, key_id) DO NOTHING",
            &[&name, &value, &id],
        )?;
    }
    Ok(())
}

/// A key by id, even if it is deleted.
pub fn find(read: &Read, id: KeyId) -> Result<Option<Key>> {
    let sql = match read.has_schema(EXACT_SINCE)? {
        true => FIND,
        false => FIND_INEXACT,
    };
    read.query_one(sql, &[&id], from_row)
}

/// Whether a rate limit is exact; `None` in a database that has no place for it.
///
/// # Errors
/// `Conflict` if it is exact and there is no place for it.
pub fn exactness(read: &Read, rate: Option<RateLimit>) -> Result<Option<bool>> {
    let is_exact = rate.is_some_and(|rate| rate.exact);
    match read.has_schema(EXACT_SINCE)? {
        true => Ok(Some(is_exact)),
        false if is_exact => Err(Error::Conflict(refusals::server::exact_needs_upgrade(
            read.version()?,
        ))),
        false => Ok(None),
    }
}

/// Whether there is a key with this id, even a deleted one.
pub fn exists(read: &Read, id: KeyId) -> Result<bool> {
    let found = read.query_one("SELECT 1 AS found FROM keys WHERE id = $1", &[&id], |row| {
        row.get::<bool>("found")
    })?;
    Ok(found.is_some())
}

/// The id of the key with this number, even if it is deleted.
pub fn find_id_by_number(read: &Read, number: i64) -> Result<Option<KeyId>> {
    read.query_one("SELECT id FROM keys WHERE number = $1", &[&number], |row| {
        row.get("id")
    })
}

/// The ids that follow `after`, in ascending order.
pub fn list_ids(
    read: &Read,
    source: &Source,
    after: Option<KeyId>,
    limit: u32,
) -> Result<Vec<KeyId>> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let id = |row: &Row<'_>| row.get("id");
    match source {
        Source::All => read.query(IDS, &[&after, &limit], id),
        Source::MadeBy(actor) => read.query(IDS_MADE_BY, &[actor, &after, &limit], id),
        Source::OfOwner(owner) => read.query(IDS_OF_OWNER, &[owner, &after, &limit], id),
        Source::OfWorkspace(uid) => read.query(IDS_OF_WORKSPACE, &[uid, &after, &limit], id),
        Source::With(name, value) => read.query(IDS_WITH, &[name, value, &after, &limit], id),
    }
}

const IDS: &str = "SELECT id FROM keys WHERE id > $1 ORDER BY id LIMIT $2";
const IDS_MADE_BY: &str =
    "SELECT id FROM keys WHERE created_by = $1 AND id > $2 ORDER BY id LIMIT $3";
const IDS_OF_OWNER: &str =
    "SELECT id FROM keys WHERE owner_uid = $1 AND id > $2 ORDER BY id LIMIT $3";
const IDS_OF_WORKSPACE: &str =
    "SELECT id FROM keys WHERE workspace_uid = $1 AND id > $2 ORDER BY id LIMIT $3";
const IDS_WITH: &str =
    "SELECT key_id AS id FROM key_metadata WHERE name = $1 AND value = $2 AND key_id > $3
     ORDER BY key_id LIMIT $4";

/// The secrets of a key, newest first.
pub fn list_secrets(read: &Read, id: KeyId) -> Result<Vec<SecretRow>> {
    read.query(
        "SELECT digest, pepper, scheme, is_foreign, hmac_key, found_by, expires_at, until_first_use, old_hint
         FROM secrets
         WHERE key_id = $1
         ORDER BY expires_at IS NOT NULL, created_at DESC",
        &[&id],
        secret_from_row,
    )
}

/// The encrypted copy of the newest secret of a key, and the digest of that secret.
pub fn find_sealed(read: &Read, id: KeyId) -> Result<Option<(Sealed, StoredSecret)>> {
    read.query_one(
        "SELECT sealed, sealing_key, digest, pepper, scheme, is_foreign, hmac_key, found_by
         FROM secrets
         WHERE key_id = $1 AND expires_at IS NULL AND sealed IS NOT NULL",
        &[&id],
        |row| {
            let sealed = Sealed {
                bytes: row.get("sealed")?,
                version: row.get("sealing_key")?,
            };
            Ok((sealed, digest_from_row(row)?.0))
        },
    )
}

/// Deletes the encrypted copies of all secrets under a policy.
pub fn delete_sealed(tx: &Write<'_>, policy: &str) -> Result<usize> {
    let keys = tx.query(
        "UPDATE secrets
         SET sealed = NULL, sealing_key = NULL
         WHERE sealed IS NOT NULL AND key_id IN (SELECT id FROM keys WHERE policy = $1)
         RETURNING key_id",
        &[&policy],
        |row| row.get::<KeyId>("key_id"),
    )?;
    for key in &keys {
        tx.touch_lightly(Target::new(Kind::Key, key));
    }
    Ok(keys.len())
}

/// Writes the members that an edit may change. If this enables the key, secrets that have ended do not disable it again.
pub fn update(tx: &Write<'_>, key: &Key) -> Result<bool> {
    if key.enabled {
        retired::forget_use_of_disabled(tx, key.id)?;
    }
    let changed = tx.execute(
        UPDATE,
        &edited_values(key)
            .each_ref()
            .map(|value| value as &dyn ToValue),
    )?;
    if let Some(is_exact) = exactness(tx, key.rate_limit)? {
        tx.send(
            "UPDATE keys SET rate_exact = $1 WHERE id = $2 AND deleted_at IS NULL AND rate_exact <> $1",
            &[&is_exact, &key.id],
        )?;
    }
    if changed == 1 {
        tx.execute("DELETE FROM key_metadata WHERE key_id = $1", &[&key.id])?;
        insert_metadata(tx, key.id, &key.metadata)?;
    }
    Ok(changed == 1)
}

/// Starts a grace period: the newest secret becomes the older one, keeps the hint that its key has until now, and loses
/// its encrypted copy; the previous older secret is deleted. Secrets that have ended before do not disable the key any more.
///
/// If `ends_at` is now or in the past, no older secret is kept.
pub fn retire_secrets(
    tx: &Write<'_>,
    id: KeyId,
    ends_at: Option<Timestamp>,
    until_first_use: bool,
    now: Timestamp,
) -> Result<()> {
    retired::forget_use(tx, id)?;
    match ends_at {
        None => retired::insert_all(tx, id, now)?,
        Some(_) => retired::insert_older(tx, id, false, now)?,
    }
    tx.execute(
        "DELETE FROM secrets WHERE key_id = $1 AND expires_at IS NOT NULL",
        &[&id],
    )?;
    match ends_at {
        None => tx.execute("DELETE FROM secrets WHERE key_id = $1", &[&id])?,
        Some(ends_at) => tx.execute(
            "UPDATE secrets
             SET expires_at = $1, until_first_use = $2, sealed = NULL, sealing_key = NULL,
                 old_hint = (SELECT keys.hint FROM keys WHERE keys.id = key_id)
             WHERE key_id = $3",
            &[&ends_at, &until_first_use, &id],
        )?,
    };
    Ok(())
}

/// Deletes the older secret of a key; `false` if there was none. `after_use`: the first use of the newest one ends it.
pub fn delete_older_secret(
    tx: &Write<'_>,
    id: KeyId,
    after_use: bool,
    now: Timestamp,
) -> Result<bool> {
    retired::insert_older(tx, id, after_use, now)?;
    let changed = tx.execute(
        "DELETE FROM secrets WHERE key_id = $1 AND expires_at IS NOT NULL",
        &[&id],
    )?;
    Ok(changed > 0)
}

/// Records a rotation: its time, the hint of the newest secret, that this server has made that secret, and, if the key
/// rotated itself, the address of that request.
pub fn update_rotated(tx: &Write<'_>, key: &Key, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE keys SET rotated_at = $1, hint = $2, self_rotated_from = $3, weak = 0 WHERE id = $4",
        &[&now, &key.hint, &key.self_rotated_from, &key.id],
    )?;
    Ok(())
}

/// Deletes the key for good, with its digests. `false` if it was deleted before; the first deletion time is kept.
pub fn delete(tx: &Write<'_>, id: KeyId, now: Timestamp) -> Result<bool> {
    retired::insert_all(tx, id, now)?;
    tx.send("DELETE FROM secrets WHERE key_id = $1", &[&id])?;
    let changed = tx.execute(
        "UPDATE keys SET deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL",
        &[&now, &id],
    )?;
    Ok(changed == 1)
}

/// The number of live keys of a policy in one workspace.
pub fn count_of_policy(read: &Read, policy: &str, workspace: Uid) -> Result<u64> {
    let found = read.query_one(
        "SELECT count(*) AS live FROM keys WHERE policy = $1 AND workspace_uid = $2 AND deleted_at IS NULL",
        &[&policy, &workspace],
        |row| row.get("live"),
    )?;
    Ok(found.unwrap_or(0))
}

/// The number of live keys of a policy that one user owns. Expired keys do not count, because a client that requests
/// a new key every hour never deletes the old ones.
pub fn count_of_owner(read: &Read, policy: &str, owner: Uid, now: Timestamp) -> Result<u64> {
    let found = read.query_one(
        "SELECT count(*) AS live FROM keys
         WHERE owner_uid = $1 AND policy = $2 AND deleted_at IS NULL
           AND (expires_at IS NULL OR expires_at > $3)",
        &[&owner, &policy, &now],
        |row| row.get("live"),
    )?;
    Ok(found.unwrap_or(0))
}

/// A live key of an owner, and how long ago it was of use.
#[derive(Clone, Copy, Debug)]
pub struct ReplacementCandidate {
    pub id: KeyId,
    pub number: i64,
    pub workspace: Uid,
    /// It has an end of its own.
    pub ends: bool,
    /// When its newest secret was made.
    pub secret_at: Timestamp,
    /// `None` if it was never used, as far as uses are written.
    pub used_at: Option<Timestamp>,
}

/// The keys that [`count_of_owner`] counts.
pub fn list_by_use(
    read: &Read,
    policy: &str,
    owner: Uid,
    now: Timestamp,
) -> Result<Vec<ReplacementCandidate>> {
    read.query(
        "SELECT id, number, workspace_uid, expires_at, coalesce(rotated_at, created_at) AS secret_at, last_used_at
         FROM keys LEFT JOIN key_usage ON key_usage.key_id = keys.id
         WHERE owner_uid = $1 AND policy = $2 AND deleted_at IS NULL
           AND (expires_at IS NULL OR expires_at > $3)",
        &[&owner, &policy, &now],
        |row| {
            Ok(ReplacementCandidate {
                id: row.get("id")?,
                number: row.get("number")?,
                workspace: row.get("workspace_uid")?,
                ends: row.get::<Option<Timestamp>>("expires_at")?.is_some(),
                secret_at: row.get("secret_at")?,
                used_at: row.get("last_used_at")?,
            })
        },
    )
}

/// Whether any live key follows a policy.
pub fn any_of_policy(read: &Read, policy: &str) -> Result<bool> {
    let found = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM keys WHERE policy = $1 AND deleted_at IS NULL) AS used",
        &[&policy],
        |row| row.get::<bool>("used"),
    )?;
    Ok(found == Some(true))
}

/// The names of the live keys of a policy in one workspace.
pub fn list_names(read: &Read, policy: &str, workspace: Uid) -> Result<Vec<(KeyId, String)>> {
    read.query(
        "SELECT id, name FROM keys WHERE policy = $1 AND workspace_uid = $2 AND deleted_at IS NULL",
        &[&policy, &workspace],
        |row| Ok((row.get("id")?, row.get("name")?)),
    )
}

/// The live keys of a user under policies that issue keys for a password.
pub fn list_of_password(read: &Read, owner: Uid) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id
         FROM keys JOIN policies ON policies.name = keys.policy
         WHERE owner_uid = $1 AND issued_by = 'password' AND deleted_at IS NULL
         ORDER BY id",
        &[&owner],
        |row| row.get("id"),
    )
}

/// The live keys of a workspace.
pub fn list_of_workspace(read: &Read, workspace: Uid) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys WHERE workspace_uid = $1 AND deleted_at IS NULL ORDER BY id",
        &[&workspace],
        |row| row.get("id"),
    )
}

/// Keys, even deleted ones, that an actor created and that act on this server: keys of the server's own catalog, keys
/// that act for their owner, and keys that only administrators issue.
pub fn list_acting_made_by(read: &Read, catalog: &str, actor: &str) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys
         WHERE created_by = $1
           AND (catalog = $2
                OR policy IN (SELECT name FROM policies
                              WHERE acts_for_owner = 1 OR issued_by = 'root_administrator'))
         ORDER BY id",
        &[&actor, &catalog],
        |row| row.get("id"),
    )
}

/// Does the same as [`list_acting_made_by`] for the keys that a user owns.
pub fn list_acting_of_owner(read: &Read, catalog: &str, owner: Uid) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys
         WHERE owner_uid = $1
           AND (catalog = $2 OR policy IN (SELECT name FROM policies WHERE acts_for_owner = 1))
         ORDER BY id",
        &[&owner, &catalog],
        |row| row.get("id"),
    )
}

/// The live keys of a catalog.
pub fn list_of_catalog(read: &Read, catalog: &str) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys WHERE catalog = $1 AND deleted_at IS NULL ORDER BY id",
        &[&catalog],
        |row| row.get("id"),
    )
}

/// The live keys of a catalog that have an owner, by number; only those of `owner` if it is set.
pub fn list_numbers(read: &Read, catalog: &str, owner: Option<Uid>) -> Result<Vec<(i64, KeyId)>> {
    let pair = |row: &Row<'_>| Ok((row.get("number")?, row.get("id")?));
    match owner {
        None => read.query(
            "SELECT number, id FROM keys
             WHERE catalog = $1 AND owner_uid IS NOT NULL AND deleted_at IS NULL",
            &[&catalog],
            pair,
        ),
        Some(owner) => read.query(
            "SELECT number, id FROM keys WHERE owner_uid = $1 AND catalog = $2 AND deleted_at IS NULL",
            &[&owner, &catalog],
            pair,
        ),
    }
}

fn secret_from_row(row: &Row<'_>) -> Result<SecretRow> {
    let (secret, given) = digest_from_row(row)?;
    Ok(SecretRow {
        secret,
        given,
        expires_at: row.get("expires_at")?,
        until_first_use: row.get("until_first_use")?,
        hint: row.get("old_hint")?,
    })
}

/// Reads the digest of a secret, and, if it was made by another system, the complete digest as it was given. A scheme that this
/// version does not know is an error: it is unknown what it matches.
pub fn digest_from_row(row: &Row<'_>) -> Result<(StoredSecret, Option<Box<GivenDigest>>)> {
    let number: u32 = row.get("scheme")?;
    let scheme = Scheme::of_number(number);
    let scheme = scheme.ok_or_else(|| Error::internal(format!("there is no scheme {number}")))?;
    let is_foreign = row.get("is_foreign")?;
    if scheme == Scheme::Pepper {
        let digest = Digest(row.get("digest")?);
        let secret = StoredSecret::peppered(digest, row.get("pepper")?);
        return Ok((
            StoredSecret {
                is_foreign,
                ..secret
            },
            None,
        ));
    }
    let given = GivenDigest {
        scheme,
        bytes: row.get("digest")?,
        hmac_key: row.get("hmac_key")?,
        found_by: row.get("found_by")?,
    };
    let secret = StoredSecret::given(&given, is_foreign);
    Ok((secret, Some(Box::new(given))))
}

#[cfg(test)]
mod tests {
    use super::super::sqlite;
    use super::*;

    #[test]
    fn lists_are_read_in_the_order_of_an_index_and_never_sorted() {
        let read = sqlite::in_memory().unwrap();
        for (sql, found) in [
            (IDS, "SEARCH keys USING PRIMARY KEY (id>?)"),
            (
                IDS_OF_OWNER,
                "SEARCH keys USING COVERING INDEX keys_owner (owner_uid=? AND id>?)",
            ),
            (
                IDS_OF_WORKSPACE,
                "SEARCH keys USING COVERING INDEX keys_workspace (workspace_uid=? AND id>?)",
            ),
            (
                IDS_WITH,
                "SEARCH key_metadata USING PRIMARY KEY (name=? AND value=? AND key_id>?)",
            ),
        ] {
            assert_eq!(sqlite::plan(&read, sql), [found], "{sql}");
        }
    }
}
