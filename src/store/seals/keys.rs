//! Seals of keys: one over the row of a key and its secrets, and one over the remaining uses of a key with a use
//! limit.
//!
//! Each seal is stored in the row that it seals. The seal of a key is 40 bytes: the number of the newest audit event
//! at the time of sealing, and the HMAC. It covers every column of `keys` and `secrets`, and whether the key has a
//! use limit and whether its rate limit is exact. If an older row is put back together with its older seal, the newest
//! audit event of the key reveals this, because its number is higher than the number in the seal. The seal of the uses
//! also covers the seal of the key, so uses from before the last change of the key do not match. An attacker can still put back an older number
//! of uses since that change together with its own seal.

use super::key_rows::{BETWEEN, Marks, SECRET_COLUMNS, rows};
use super::recorded;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::connection::{Announced, ToValue, Value};
use crate::store::key_columns::{COLUMNS, from_row};
use crate::store::keys::{NewSecret, SecretRow, digest_from_row};
use crate::store::{Read, Row, Write};

/// The number of the newest event, and the HMAC.
pub type Seal = [u8; 40];

/// What each seal covers. The two values differ, so that one seal is not accepted in the place of the other.
const KEY: &str = "key";
const USES: &str = "uses";

/// A key with its secrets, and whether it is what Latchkey last wrote.
pub struct KeyWithSeal {
    pub key: Key,
    /// Sorted by digest.
    pub secrets: Vec<SecretRow>,
    /// The version of the seal key, the older one if the key and its uses were sealed with different versions; `None` if
    /// the key is not what Latchkey last wrote.
    pub sealer: Option<u32>,
    /// The epoch of its remaining uses (`domain::keys::quota::Uses::epoch`); 0 if it has no use limit.
    pub epoch: u64,
}

impl KeyWithSeal {
    /// Whether the key is what Latchkey last wrote.
    pub fn fits(&self) -> bool {
        self.sealer.is_some()
    }
}

/// What decides whether a key fits its seals, while its rows are read; there is one row for each secret.
struct PartialKey {
    id: KeyId,
    seal: Option<Seal>,
    uses: Option<(Counted, Option<[u8; 32]>)>,
    newest: Option<i64>,
}

impl PartialKey {
    fn begin(
        row: &Row<'_>,
        columns: usize,
        id: KeyId,
        is_exact: bool,
        text: &mut Vec<u8>,
    ) -> Result<PartialKey> {
        text.clear();
        text.extend([0; 8]);
        row.encode(0..columns, text)?;
        let uses_left: Option<u64> = row.get("uses_left")?;
        let is_counted = uses_left.is_some();
        let marks = Marks {
            is_counted,
            is_exact,
        };
        text.push(marks.byte());
        Ok(PartialKey {
            id,
            seal: row.get("seal")?,
            uses: match uses_left {
                None => None,
                Some(left) => {
                    let epoch = row.get("epoch")?;
                    Some((Counted { left, epoch }, row.get("uses_seal")?))
                }
            },
            newest: row.get("newest")?,
        })
    }

    /// Compares the key with both seals. Returns the older of their versions; `None` if it does not fit.
    fn sealer(&self, seal_keys: &SealKeys, text: &mut [u8]) -> Option<u32> {
        let (seq, hmac) = self.seal.as_ref().and_then(halves)?;
        text[..8].copy_from_slice(&seq.to_be_bytes());
        let is_newest = self.newest.is_none_or(|newest| newest <= seq);
        let of_uses = match (&self.uses, &self.seal) {
            (None, _) => u32::MAX,
            (Some((counted, Some(seal))), Some(of_key)) => {
                let text = uses_text(self.id, *counted, of_key);
                seal_keys.sealer_of(USES, sealed_part(&text, *counted), seal)?
            }
            _ => return None,
        };
        let of_key = seal_keys.sealer_of(KEY, text, hmac)?;
        is_newest.then_some(of_key.min(of_uses))
    }
}

fn halves(seal: &Seal) -> Option<(i64, &[u8; 32])> {
    let (seq, hmac) = seal.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*seq), hmac.try_into().ok()?))
}

/// Calls `take` with the keys of a range of ids, in ascending order; with deleted keys if `deleted_too`. Without
/// `seal_keys` no key counts as matching its seal.
pub fn each(
    read: &Read,
    seal_keys: Option<&SealKeys>,
    (from, to): (KeyId, KeyId),
    deleted_too: bool,
    mut take: impl FnMut(KeyWithSeal) -> Result<()>,
) -> Result<()> {
    type Reading = (PartialKey, Option<Key>, Vec<SecretRow>);
    let mut text = Vec::new();
    let mut reading: Option<Reading> = None;
    let mut end = |reading: Option<Reading>, text: &mut Vec<u8>| match reading {
        Some((held, Some(key), secrets)) => {
            let sealer = seal_keys.and_then(|seal_keys| held.sealer(seal_keys, text));
            take(KeyWithSeal {
                key,
                secrets,
                sealer,
                epoch: held.uses.map_or(0, |(counted, _)| counted.epoch),
            })
        }
        // A key that cannot be read opens nothing, but the other keys are loaded.
        Some((_, None, _)) | None => Ok(()),
    };
    read.each(rows(read)?, &[&from, &to, &deleted_too], &mut |row| {
        let Ok(id) = row.get::<KeyId>("id") else {
            log::error!("store: a key has an id that cannot be read and is passed over");
            return Ok(());
        };
        if reading.as_ref().is_none_or(|(held, ..)| held.id != id) {
            end(reading.take(), &mut text)?;
            let held = PartialKey::begin(row, COLUMNS, id, row.get("rate_exact")?, &mut text)?;
            let key = from_row(row).inspect_err(|err| {
                log::error!("store: key {id} cannot be read and is passed over: {err}");
            });
            reading = Some((held, key.ok(), Vec::new()));
        }
        if let Some((_, key, secrets)) = &mut reading
            && encode_secret(row, (COLUMNS, BETWEEN), SECRET_COLUMNS, &mut text)?
        {
            match secret_of_key(row) {
                Ok(secret) => secrets.push(secret),
                Err(err) => {
                    log::error!("store: a secret of key {id} cannot be read, and the key is passed over: {err}");
                    *key = None;
                }
            }
        }
        Ok(())
    })?;
    end(reading, &mut text)
}

/// Reads the columns of a secret that were read together with those of its key.
fn secret_of_key(row: &Row<'_>) -> Result<SecretRow> {
    let (secret, given) = digest_from_row(row)?;
    Ok(SecretRow {
        secret,
        given,
        expires_at: row.get("secret_expires_at")?,
        until_first_use: row.get("until_first_use")?,
        hint: row.get("old_hint")?,
    })
}

/// How an older schema read keys: the columns of a key, its uses, the columns of one of its secrets, and the seals.
pub struct OlderRows {
    pub sql: &'static str,
    pub key_columns: usize,
    pub secret_columns: usize,
}

/// The keys that fit their seals in a database of an older schema.
pub fn list_fitting(read: &Read, seal_keys: &SealKeys, rows: &OlderRows) -> Result<Vec<KeyId>> {
    let columns = rows.key_columns;
    let mut text = Vec::new();
    let mut fitting = Vec::new();
    let mut reading: Option<PartialKey> = None;
    let mut end = |held: Option<PartialKey>, text: &mut Vec<u8>| {
        let fits = |held: &PartialKey| held.sealer(seal_keys, text).is_some();
        fitting.extend(held.filter(fits).map(|held| held.id));
    };
    read.each(rows.sql, &[], &mut |row| {
        let Ok(id) = row.get::<KeyId>("id") else {
            return Ok(());
        };
        if reading.as_ref().is_none_or(|held| held.id != id) {
            end(reading.take(), &mut text);
            reading = Some(PartialKey::begin(row, columns, id, false, &mut text)?);
        }
        // The remaining uses are between the key and its secret.
        encode_secret(row, (columns, 1), rows.secret_columns, &mut text).map(drop)
    })?;
    end(reading, &mut text);
    Ok(fitting)
}

/// Adds the secret of a row to what is sealed; `false` if the row has none.
fn encode_secret(
    row: &Row<'_>,
    (key_columns, between): (usize, usize),
    secret_columns: usize,
    text: &mut Vec<u8>,
) -> Result<bool> {
    if row.get::<Option<Vec<u8>>>("digest")?.is_none() {
        return Ok(false);
    }
    let first = key_columns + between;
    row.encode(first..first + secret_columns, text)?;
    Ok(true)
}

/// A key by id, even if it is deleted.
pub fn find(read: &Read, seal_keys: &SealKeys, id: KeyId) -> Result<Option<KeyWithSeal>> {
    let mut found = None;
    each(read, Some(seal_keys), (id, id), true, |one| {
        found = Some(one);
        Ok(())
    })?;
    Ok(found)
}

/// Announces that the keys among these targets are read next, with [`find`] or [`put`]. None of them may be changed before
/// it is read. A file answers each query at once, so nothing is done for it.
pub fn announce<'a, 't>(
    read: &'a Read,
    targets: impl IntoIterator<Item = &'t Target>,
) -> Result<Announced<'a>> {
    if !read.is_shared() {
        return read.announce(rows(read)?, &[]);
    }
    let keys = targets
        .into_iter()
        .filter(|target| target.kind == Kind::Key);
    let ids: Vec<KeyId> = keys.filter_map(recorded::id_of).collect();
    let params: Vec<[&dyn ToValue; 3]> = ids
        .iter()
        .map(|id| [id as _, id as _, &true as _])
        .collect();
    let params: Vec<&[&dyn ToValue]> = params.iter().map(|each| &each[..]).collect();
    read.announce(rows(read)?, &params)
}

/// Seals the current state of a key, its secrets and its uses. `seq` is the number of the newest audit event.
pub fn put(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId, seq: i64) -> Result<()> {
    let mut text = Vec::new();
    let (mut is_there, mut is_counted) = (false, false);
    tx.each(rows(tx)?, &[&id, &id, &true], &mut |row| {
        if !is_there {
            is_there = true;
            let held = PartialKey::begin(row, COLUMNS, id, row.get("rate_exact")?, &mut text)?;
            is_counted = held.uses.is_some();
        }
        encode_secret(row, (COLUMNS, BETWEEN), SECRET_COLUMNS, &mut text).map(drop)
    })?;
    if !is_there {
        return Ok(());
    }
    let seal = seal_of(seal_keys, &mut text, seq);
    tx.send("UPDATE keys SET seal = $1 WHERE id = $2", &[&seal, &id])?;
    match is_counted {
        false => Ok(()),
        true => seal_uses(tx, seal_keys, id),
    }
}

fn seal_of(seal_keys: &SealKeys, text: &mut [u8], seq: i64) -> Seal {
    text[..8].copy_from_slice(&seq.to_be_bytes());
    let mut seal = [0; 40];
    seal[..8].copy_from_slice(&seq.to_be_bytes());
    seal[8..].copy_from_slice(&seal_keys.seal_bytes(KEY, text));
    seal
}

/// The remaining uses of a key with a use limit, as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counted {
    pub left: u64,
    /// See `domain::keys::quota::Uses::epoch`. 0 if schema 5 or an older one has written it; the seal has only later ones.
    pub epoch: u64,
}

/// The remaining uses of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RemainingUses {
    /// The number is not what Latchkey last wrote.
    Broken,
    Counted(Counted),
    Unlimited,
}

/// The remaining uses of a key as stored, compared with their seal.
pub fn find_uses(read: &Read, seal_keys: &SealKeys, id: KeyId) -> Result<RemainingUses> {
    let found = read.query_one(
        "SELECT uses_left, epoch, key_uses.seal AS uses_seal, keys.seal AS seal
         FROM key_uses JOIN keys ON keys.id = key_uses.key_id
         WHERE key_id = $1",
        &[&id],
        |row| {
            let counted = counted_from_row(row)?;
            let seal: Option<[u8; 32]> = row.get("uses_seal")?;
            let of_key: Option<Seal> = row.get("seal")?;
            let fits = seal.zip(of_key).is_some_and(|(seal, of_key)| {
                let text = uses_text(id, counted, &of_key);
                seal_keys.have_sealed(USES, sealed_part(&text, counted), &seal)
            });
            Ok(if fits {
                RemainingUses::Counted(counted)
            } else {
                RemainingUses::Broken
            })
        },
    )?;
    Ok(found.unwrap_or(RemainingUses::Unlimited))
}

fn counted_from_row(row: &Row<'_>) -> Result<Counted> {
    Ok(Counted {
        left: row.get("uses_left")?,
        epoch: row.get("epoch")?,
    })
}

/// Seals the remaining uses of a key together with the current seal of the key. Does nothing if the key has no use limit.
pub fn seal_uses(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId) -> Result<()> {
    // From the first statement on nobody else can change the row, so what is sealed is what is stored.
    let counted = tx.query_one(
        "UPDATE key_uses SET seal = NULL WHERE key_id = $1 RETURNING uses_left, epoch",
        &[&id],
        counted_from_row,
    )?;
    match counted {
        Some(counted) => seal_counted(tx, seal_keys, id, counted),
        None => Ok(()),
    }
}

/// Seals remaining uses that this transaction has just written, without a seal. Does nothing if the key has no seal.
pub fn seal_counted(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    counted: Counted,
) -> Result<()> {
    let of_key = tx.query_one("SELECT seal FROM keys WHERE id = $1", &[&id], |row| {
        row.get::<Option<Seal>>("seal")
    })?;
    let Some(of_key) = of_key.flatten() else {
        return Ok(());
    };
    let text = uses_text(id, counted, &of_key);
    let seal = seal_keys.seal_bytes(USES, sealed_part(&text, counted));
    tx.execute(
        "UPDATE key_uses SET seal = $1 WHERE key_id = $2",
        &[&seal, &id],
    )?;
    Ok(())
}

fn uses_text(id: KeyId, counted: Counted, of_key: &Seal) -> [u8; 64] {
    let mut text = [0; 64];
    text[..8].copy_from_slice(&id.0.to_be_bytes());
    text[8..16].copy_from_slice(&counted.left.to_be_bytes());
    text[16..56].copy_from_slice(of_key);
    text[56..].copy_from_slice(&counted.epoch.to_be_bytes());
    text
}

/// The part of the text that the seal covers.
fn sealed_part(text: &[u8; 64], counted: Counted) -> &[u8] {
    match counted.epoch {
        0 => &text[..56],
        _ => text,
    }
}

/// The seal of a key that is about to be stored with its first secret. `seq` is the number of the newest audit event.
pub fn of_new(
    seal_keys: &SealKeys,
    key: &[Value; COLUMNS],
    marks: Marks,
    secret: &[Value; SECRET_COLUMNS],
    seq: i64,
) -> Seal {
    let mut text = vec![0; 8];
    key.iter().for_each(|value| value.encode(&mut text));
    text.push(marks.byte());
    secret.iter().for_each(|value| value.encode(&mut text));
    seal_of(seal_keys, &mut text, seq)
}

/// The columns of a new secret, in the order in which they are sealed.
pub fn secret_values(secret: &NewSecret<'_>, now: Timestamp) -> [Value; SECRET_COLUMNS] {
    let (digest, pepper, scheme, is_foreign, given, sealed) = match secret {
        NewSecret::Made(secret, sealed) => (
            secret.digest.0.to_value(),
            u32::from(secret.pepper),
            secret.scheme,
            secret.is_foreign,
            None,
            sealed.as_ref(),
        ),
        NewSecret::Given { digest, is_foreign } => (
            digest.bytes.to_value(),
            0,
            digest.scheme,
            *is_foreign,
            Some(digest),
            None,
        ),
    };
    [
        digest,
        pepper.to_value(),
        now.to_value(),
        None::<Timestamp>.to_value(),
        false.to_value(),
        sealed.map(|sealed| sealed.bytes.clone()).to_value(),
        sealed.map(|sealed| sealed.version).to_value(),
        scheme.number().to_value(),
        is_foreign.to_value(),
        given.and_then(|given| given.hmac_key.clone()).to_value(),
        given.and_then(|given| given.found_by.clone()).to_value(),
        None::<String>.to_value(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::store::{keys, sqlite, testing, uses};

    /// A store with one sealed key that has a use limit, and the seal_keys that sealed it.
    fn sealed(read: Read) -> (Read, SealKeys, Key) {
        read.ignore_references();
        let (seal_keys, _) = SealKeys::generate().unwrap();
        let key = Key {
            uses_left: Some(5),
            ..Key::sample()
        };
        let secret = StoredSecret::peppered(Digest([1; 32]), 1);
        let secret = NewSecret::Made(secret, None);
        keys::insert(&read.write(), &seal_keys, &key, &secret, Timestamp(3)).unwrap();
        (read, seal_keys, key)
    }

    fn fits(read: &Read, seal_keys: &SealKeys) -> bool {
        find(read, seal_keys, KeyId(1)).unwrap().unwrap().fits()
    }

    #[test]
    fn a_key_fits_the_seal_that_it_was_stored_with_and_each_later_one() {
        for read in testing::stores() {
            let (read, seal_keys, key) = sealed(read);
            let tx = read.write();
            assert!(fits(&read, &seal_keys));
            uses::take(&tx, &seal_keys, key.id, 1, 1).unwrap();
            assert!(fits(&read, &seal_keys));
            assert_eq!(
                find_uses(&read, &seal_keys, key.id).unwrap(),
                RemainingUses::Counted(Counted { left: 4, epoch: 1 })
            );
            let renamed = Key {
                name: "renamed".to_owned(),
                ..key
            };
            keys::update(&tx, &renamed).unwrap();
            assert!(!fits(&read, &seal_keys));
            put(&tx, &seal_keys, renamed.id, 7).unwrap();
            assert!(fits(&read, &seal_keys));
            let (others, _) = SealKeys::generate().unwrap();
            assert!(!fits(&read, &others));
        }
    }

    /// This test finds a column that the seal does not cover: a new column has to be added to [`select_key`].
    #[test]
    fn a_key_does_not_fit_once_a_column_was_changed() {
        let on_sqlite = || {
            let read = sqlite::in_memory().unwrap();
            read.batch("PRAGMA ignore_check_constraints = ON").unwrap();
            sealed(read)
        };
        let (read, ..) = on_sqlite();
        let columns = |table: &str| -> Vec<String> {
            let sql = match table {
                "keys" => "SELECT name FROM pragma_table_info('keys')",
                _ => "SELECT name FROM pragma_table_info('secrets')",
            };
            read.query(sql, &[], |row| row.get("name")).unwrap()
        };
        for table in ["keys", "secrets"] {
            for column in columns(table) {
                if ["id", "key_id"].contains(&column.as_str()) {
                    continue;
                }
                let (read, seal_keys, _) = on_sqlite();
                read.batch(&format!(
                    "UPDATE {table} SET {column} = CASE typeof({column})
                         WHEN 'integer' THEN {column} + 1
                         WHEN 'text' THEN {column} || 'x'
                         WHEN 'blob' THEN zeroblob(length({column}))
                         ELSE CASE WHEN '{column}' IN ('owner_uid', 'catalog', 'allowed_ips') THEN '10.0.0.1'
                              WHEN '{column}' = 'sealed' THEN x'00' ELSE 1 END END"
                ))
                .unwrap_or_else(|err| panic!("{column}: {err}"));
                let found = find(&read, &seal_keys, KeyId(1));
                let fits = found.is_ok_and(|found| found.is_some_and(|found| found.fits()));
                assert!(!fits, "{table}.{column}");
            }
        }
    }

    #[test]
    fn uses_that_were_changed_do_not_fit_nor_do_older_ones_after_a_change_of_the_key() {
        for sql in [
            "UPDATE key_uses SET uses_left = 6",
            "UPDATE key_uses SET epoch = 2",
            "UPDATE key_uses SET epoch = 0",
            "UPDATE key_uses SET seal = NULL",
            "DELETE FROM key_uses",
        ] {
            for read in testing::stores() {
                let (read, seal_keys, _) = sealed(read);
                read.batch(sql).unwrap();
                assert!(!fits(&read, &seal_keys), "{sql}");
            }
        }
        for read in testing::stores() {
            let (read, seal_keys, key) = sealed(read);
            read.batch("CREATE TEMP TABLE old AS SELECT * FROM key_uses")
                .unwrap();
            put(&read.write(), &seal_keys, key.id, 9).unwrap();
            assert!(fits(&read, &seal_keys));
            read.batch("DELETE FROM key_uses; INSERT INTO key_uses SELECT * FROM old")
                .unwrap();
            assert!(!fits(&read, &seal_keys));
            assert_eq!(
                find_uses(&read, &seal_keys, key.id).unwrap(),
                RemainingUses::Broken
            );
        }
    }

    /// A query that reads in another order would seal other bytes, and a query that sorts would be slow.
    #[test]
    fn keys_are_read_in_the_order_of_their_ids_and_never_sorted() {
        let read = sqlite::in_memory().unwrap();
        let plan = sqlite::plan(&read, rows(&read).unwrap());
        let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        let newest = "SEARCH audit_events USING COVERING INDEX audit_events_target";
        assert!(!sorts, "{plan:#?}");
        assert!(
            plan.iter().any(|step| step.starts_with(newest)),
            "{plan:#?}"
        );
    }
}
