//! What files have declared: the part of the rows of keys that concerns it, digests that never count again, and the files
//! from which everything was applied last.

use super::{Read, Row, Write};
use crate::domain::audit::Target;
use crate::domain::declared::Absent;
use crate::domain::keys::{Key, KeyId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// What is compared with the files of a key that a file has declared, even if the key is deleted.
#[derive(Clone, Debug)]
pub struct DeclaredRow {
    pub id: KeyId,
    pub name: String,
    pub digest: String,
    pub state: Option<String>,
    pub source: String,
    pub enabled: bool,
    pub held: bool,
    pub deleted_at: Option<Timestamp>,
}

/// A digest that another one has replaced.
#[derive(Clone, Debug)]
pub struct EndedDigest {
    pub digest: String,
    pub key: KeyId,
    pub at: Timestamp,
}

/// A file from which keys were applied.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AppliedFile {
    pub path: String,
    pub sha256: [u8; 32],
    /// What happens to keys that it names no more.
    pub absent: Absent,
}

/// Every key that a file has declared. One query, which does not read other keys. A row that was changed without Latchkey may
/// lack its digest.
pub fn list_keys(read: &Read) -> Result<Vec<DeclaredRow>> {
    read.query(LIST, &[], |row: &Row<'_>| {
        Ok(DeclaredRow {
            id: row.get("id")?,
            name: row.get("declared_name")?,
            // Missing only if the row was changed outside the server: then it fits no digest of a file.
            digest: row
                .get::<Option<String>>("declared_digest")?
                .unwrap_or_default(),
            state: row.get("declared_state")?,
            source: row.get("source")?,
            enabled: row.get("enabled")?,
            held: row.get("held")?,
            deleted_at: row.get("deleted_at")?,
        })
    })
}

const LIST: &str =
    "SELECT id, declared_name, coalesce(declared_digest, '') AS declared_digest, declared_state, source, enabled, held,
            deleted_at
     FROM keys
     WHERE declared_name IS NOT NULL";

/// The keys that have this declared digest, or had it before a file declared another one; deleted ones too.
pub fn list_with(read: &Read, digest: &str) -> Result<Vec<KeyId>> {
    let mut found = read.query(WITH, &[&digest], |row| row.get::<KeyId>("id"))?;
    found.extend(read.query(
        "SELECT key_id FROM ended_digests WHERE digest = $1",
        &[&digest],
        |row| row.get::<KeyId>("key_id"),
    )?);
    Ok(found)
}

const WITH: &str = "SELECT id FROM keys WHERE declared_digest = $1";

/// Writes what a file declares of a live key, apart from the members that an edit changes.
pub fn update_key(tx: &Write<'_>, key: &Key) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE keys
         SET source = $1, declared_name = $2, declared_digest = $3, declared_state = $4, held = $5, hint = $6, weak = $7
         WHERE id = $8 AND deleted_at IS NULL",
        &[
            &key.source,
            &key.declared_name,
            &key.declared_digest,
            &key.declared_state,
            &key.held,
            &key.hint,
            &key.weak,
            &key.id,
        ],
    )?;
    Ok(changed == 1)
}

/// Frees the declared name of a key, so that another one can have it in the same transaction.
pub fn clear_name(tx: &Write<'_>, id: KeyId) -> Result<()> {
    tx.execute("UPDATE keys SET declared_name = NULL WHERE id = $1", &[&id])?;
    Ok(())
}

pub fn list_ended(read: &Read) -> Result<Vec<EndedDigest>> {
    read.query(
        "SELECT digest, key_id, ended_at FROM ended_digests",
        &[],
        |row| {
            Ok(EndedDigest {
                digest: row.get("digest")?,
                key: row.get("key_id")?,
                at: row.get("ended_at")?,
            })
        },
    )
}

/// Records that a digest never counts again. The first time stands.
pub fn insert_ended(tx: &Write<'_>, digest: &str, key: KeyId, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO ended_digests (digest, key_id, ended_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (digest) DO NOTHING",
        &[&digest, &key, &now],
    )?;
    Ok(())
}

/// The number of the event about a thing that was recorded at a time; `None` if the log was cut since.
pub fn find_event_at(read: &Read, target: &Target, at: Timestamp) -> Result<Option<i64>> {
    read.query_one(
        "SELECT seq
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed' AND at = $3
         ORDER BY seq DESC
         LIMIT 1",
        &[&target.kind.as_str(), &target.id, &at],
        |row| row.get("seq"),
    )
}

/// Makes the next application compare everything: something that files declare was changed in another way.
pub fn forget_settings(tx: &Write<'_>) -> Result<()> {
    tx.execute("DELETE FROM declared_files WHERE path = ''", &[])?;
    Ok(())
}

/// The files from which everything was applied last, by path.
pub fn list_files(read: &Read) -> Result<Vec<AppliedFile>> {
    read.query(
        "SELECT path, sha256, absent FROM declared_files ORDER BY path",
        &[],
        |row| {
            let word: String = row.get("absent")?;
            let absent = Absent::parse(&word);
            let unknown = || Error::internal("a file of keys has an unknown word");
            Ok(AppliedFile {
                path: row.get("path")?,
                sha256: row.get("sha256")?,
                absent: absent.ok_or_else(unknown)?,
            })
        },
    )
}

/// Replaces the list of files.
pub fn replace_files(tx: &Write<'_>, files: &[AppliedFile]) -> Result<()> {
    tx.execute("DELETE FROM declared_files", &[])?;
    for file in files {
        tx.execute(
            "INSERT INTO declared_files (path, sha256, absent) VALUES ($1, $2, $3)",
            &[&file.path, &file.sha256, &file.absent.as_str()],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{sqlite, testing};
    use super::*;

    #[test]
    fn declared_keys_are_found_by_an_index() {
        let read = sqlite::in_memory().unwrap();
        let plan = sqlite::plan(&read, LIST);
        assert!(plan[0].contains("USING INDEX keys_declared "), "{plan:?}");
        assert_eq!(
            sqlite::plan(&read, WITH),
            ["SEARCH keys USING COVERING INDEX keys_declared_digest (declared_digest=?)"]
        );
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        for read in testing::stores() {
            let file = |path: &str| AppliedFile {
                path: path.to_owned(),
                sha256: [7; 32],
                absent: Absent::Disable,
            };
            let (one, two) = (file("/etc/a.toml"), file("/etc/b.toml"));
            replace_files(&read.write(), &[one.clone(), two.clone()]).unwrap();
            assert_eq!(list_files(&read).unwrap(), [one, two.clone()]);
            replace_files(&read.write(), std::slice::from_ref(&two)).unwrap();
            assert_eq!(list_files(&read).unwrap(), [two]);
        }
    }
}
