//! The versions of the key files with which this database was made: peppers, sealing keys and seal keys.

use super::{Read, Row, Write};
use crate::domain::keys::keyfile::{KeyFiles, KeyKind};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// A version of a key file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version {
    pub number: u32,
    fingerprint: [u8; 32],
    /// When the database first had it; `None` if that was under schema 4 or an older one.
    pub added_at: Option<Timestamp>,
    /// When `latchkey secrets backup` last saved it, if it did.
    pub backed_up_at: Option<Timestamp>,
    /// Whether everything that can be made again under this version was. The pepper has nothing of that kind.
    pub is_settled: bool,
}

/// Records every version of every key file that is in use. `now` is the time for those that the database does not have
/// yet. Where nodes share the database, a version that is older than its newest one was retired on another node, whose files
/// lack it: it is not recorded again.
pub fn insert(tx: &Write<'_>, files: &KeyFiles, now: Timestamp) -> Result<()> {
    for kind in KeyKind::ALL {
        let known = list(tx, kind)?;
        let newest = known.last().map_or(0, |newest| newest.number);
        for (version, fingerprint) in files.fingerprints(kind) {
            if version > newest || !tx.is_shared() {
                insert_version(tx, kind, version, &fingerprint, now, known.is_empty())?;
            }
        }
    }
    Ok(())
}

fn insert_version(
    tx: &Write<'_>,
    kind: KeyKind,
    version: u32,
    fingerprint: &[u8; 32],
    now: Timestamp,
    is_settled: bool,
) -> Result<()> {
    let sql = match kind {
        KeyKind::Pepper => {
            return tx
                .execute(
                    "INSERT INTO peppers (version, fingerprint, added_at)
                     VALUES ($1, $2, $3)
                     ON CONFLICT (version) DO NOTHING",
                    &[&version, fingerprint, &now],
                )
                .map(drop);
        }
        KeyKind::SealKey => {
            "INSERT INTO seal_keys (version, fingerprint, added_at, settled)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (version) DO NOTHING"
        }
        KeyKind::SealingKey => {
            "INSERT INTO sealing_keys (version, fingerprint, added_at, settled)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (version) DO NOTHING"
        }
    };
    tx.execute(sql, &[&version, fingerprint, &now, &is_settled])
        .map(drop)
}

/// The versions of a key file, the oldest first.
pub fn list(read: &Read, kind: KeyKind) -> Result<Vec<Version>> {
    let sql = match kind {
        KeyKind::Pepper => {
            "SELECT version, fingerprint, added_at, backed_up_at, 1 AS settled FROM peppers ORDER BY version"
        }
        KeyKind::SealKey => {
            "SELECT version, fingerprint, added_at, backed_up_at, settled FROM seal_keys ORDER BY version"
        }
        KeyKind::SealingKey => {
            "SELECT version, fingerprint, added_at, backed_up_at, settled FROM sealing_keys ORDER BY version"
        }
    };
    read.query(sql, &[], version_from_row)
}

/// Records that everything that can be made again under a version was.
pub fn settle(tx: &Write<'_>, kind: KeyKind, version: u32) -> Result<()> {
    let sql = match kind {
        KeyKind::Pepper => return Ok(()),
        KeyKind::SealKey => "UPDATE seal_keys SET settled = 1 WHERE version = $1",
        KeyKind::SealingKey => "UPDATE sealing_keys SET settled = 1 WHERE version = $1",
    };
    tx.execute(sql, &[&version]).map(drop)
}

/// Records that the versions up to this one were saved.
pub fn note_backup(tx: &Write<'_>, kind: KeyKind, newest: u32, now: Timestamp) -> Result<()> {
    let sql = match kind {
        KeyKind::Pepper => "UPDATE peppers SET backed_up_at = $1 WHERE version <= $2",
        KeyKind::SealKey => "UPDATE seal_keys SET backed_up_at = $1 WHERE version <= $2",
        KeyKind::SealingKey => "UPDATE sealing_keys SET backed_up_at = $1 WHERE version <= $2",
    };
    tx.execute(sql, &[&now, &newest]).map(drop)
}

/// Forgets a version; `false` if the database does not have it.
pub fn delete(tx: &Write<'_>, kind: KeyKind, version: u32) -> Result<bool> {
    let sql = match kind {
        KeyKind::Pepper => "DELETE FROM peppers WHERE version = $1",
        KeyKind::SealKey => "DELETE FROM seal_keys WHERE version = $1",
        KeyKind::SealingKey => "DELETE FROM sealing_keys WHERE version = $1",
    };
    Ok(tx.execute(sql, &[&version])? == 1)
}

/// Checks that the key files are those with which this database was created; the error explains the difference.
pub fn check(read: &Read, files: &KeyFiles) -> Result<()> {
    for kind in KeyKind::ALL {
        let stored = list(read, kind)?;
        let stored = stored.iter().map(|one| (one.number, one.fingerprint));
        check_fingerprints(kind, stored.collect(), &files.fingerprints(kind))?;
    }
    Ok(())
}

/// As [`check`], for a database of schema 4 or older, which has no seal key.
pub fn check_before_5(read: &Read, files: &KeyFiles) -> Result<()> {
    for (kind, sql) in [
        (KeyKind::Pepper, "SELECT version, fingerprint FROM peppers"),
        (
            KeyKind::SealingKey,
            "SELECT version, fingerprint FROM sealing_keys",
        ),
    ] {
        let stored = read.query(sql, &[], |row| {
            Ok((row.get("version")?, row.get("fingerprint")?))
        })?;
        check_fingerprints(kind, stored, &files.fingerprints(kind))?;
    }
    Ok(())
}

fn check_fingerprints(
    kind: KeyKind,
    stored: Vec<(u32, [u8; 32])>,
    found: &[(u32, [u8; 32])],
) -> Result<()> {
    let file = kind.as_str();
    for (version, fingerprint) in stored {
        let known = found.iter().find(|(known, _)| *known == version);
        match known {
            None => {
                return Err(Error::internal(format!(
                    "the {file} file lacks version {version}, which this database was made with; put the right file back"
                )));
            }
            Some((_, other)) if *other != fingerprint => {
                return Err(Error::internal(format!(
                    "the {file} file is not the one this database was made with (version {version} differs); put the right file back"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn version_from_row(row: &Row<'_>) -> Result<Version> {
    Ok(Version {
        number: row.get("version")?,
        fingerprint: row.get("fingerprint")?,
        added_at: row.get("added_at")?,
        backed_up_at: row.get("backed_up_at")?,
        is_settled: row.get("settled")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::keyfile::with_new_version;
    use crate::store::testing;

    /// A version that comes back would keep every node whose files lack it from starting.
    #[test]
    fn a_version_that_another_node_has_retired_is_not_recorded_again() {
        for read in testing::stores() {
            let tx = read.write();
            let kind = KeyKind::Pepper;
            let numbers = || -> Vec<u32> {
                let found = list(&read, kind).unwrap();
                found.iter().map(|version| version.number).collect()
            };
            let files = KeyFiles::generate();
            let first = format!("1 {}\n", "ab".repeat(32));
            let (_, both) = with_new_version(&first).unwrap().unwrap();
            files.replace(kind, &both).unwrap();
            insert(&tx, &files, Timestamp(0)).unwrap();
            assert_eq!(numbers(), [1, 2]);
            assert!(delete(&tx, kind, 1).unwrap());
            insert(&tx, &files, Timestamp(0)).unwrap();
            let expected: &[u32] = match read.is_shared() {
                true => &[2],
                false => &[1, 2],
            };
            assert_eq!(numbers(), expected);
        }
    }
}
