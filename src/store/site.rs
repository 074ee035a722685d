//! What a site stores: its state, sealed as a whole; what has ended here, also if a pack has it; the uses that it has taken
//! from those that the server has lent; and counts for reports. A server has none of these rows.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::sealing::Sealed;
use crate::domain::packs::revocations::EndedSecret;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Why a key opens nothing at a site, although its pack may hold it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The site knew that it was disabled when the server was restored.
    Fork,
    /// The server has revoked it in a list that is newer than the pack.
    Revoked,
    /// The operator of the site has disabled it.
    Site,
}

/// A key that has ended at a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EndedKey {
    pub key: KeyId,
    pub reason: Reason,
    pub at: Timestamp,
    /// For a revocation: a pack with this event of the server has it itself. 0 for the others.
    pub events: u64,
}

/// How often a key was used at a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UseRow {
    pub key: KeyId,
    pub uses: u64,
    pub refusals: u64,
    pub last_used_at: Option<Timestamp>,
}

impl Reason {
    const ALL: [Reason; 3] = [Reason::Fork, Reason::Revoked, Reason::Site];

    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Fork => "fork",
            Reason::Revoked => "revoked",
            Reason::Site => "site",
        }
    }
}

/// The sealed state; `None` in the database of a server.
pub fn find_state(read: &Read) -> Result<Option<Sealed>> {
    read.query_one(
        "SELECT sealed, sealing_key FROM site_state WHERE one = 1",
        &[],
        |row| {
            Ok(Sealed {
                bytes: row.get("sealed")?,
                version: row.get("sealing_key")?,
            })
        },
    )
}

/// Replaces the sealed state.
pub fn put_state(tx: &Write<'_>, sealed: &Sealed) -> Result<()> {
    tx.execute(
        "INSERT INTO site_state (one, sealed, sealing_key) VALUES (1, $1, $2)
         ON CONFLICT (one) DO UPDATE SET sealed = excluded.sealed, sealing_key = excluded.sealing_key",
        &[&sealed.bytes, &sealed.version],
    )?;
    Ok(())
}

/// Ends a key here; `false` if it had ended already, and then the first reason stands, unless the new one lasts longer.
pub fn end_key(tx: &Write<'_>, ended: &EndedKey) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO site_ended (key_id, reason, ended_at, events) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key_id) DO UPDATE
         SET reason = excluded.reason, ended_at = excluded.ended_at, events = excluded.events
         WHERE site_ended.reason = 'revoked' AND (excluded.reason <> 'revoked' OR excluded.events > site_ended.events)",
        &[&ended.key, &ended.reason.as_str(), &ended.at, &ended.events],
    )?;
    Ok(changed == 1)
}

/// What has ended a key here; `None` if nothing has.
pub fn find_ended(read: &Read, key: KeyId) -> Result<Option<EndedKey>> {
    read.query_one(
        "SELECT key_id, reason, ended_at, events FROM site_ended WHERE key_id = $1",
        &[&key],
        ended_of,
    )
}

fn ended_of(row: &Row<'_>) -> Result<EndedKey> {
    let word = row.get::<String>("reason")?;
    let mut known = Reason::ALL.into_iter();
    Ok(EndedKey {
        key: row.get("key_id")?,
        // An unknown reason would be the work of another program. What lasts longest is the safe one.
        reason: known
            .find(|reason| reason.as_str() == word)
            .unwrap_or(Reason::Site),
        at: row.get("ended_at")?,
        events: row.get("events")?,
    })
}

/// The keys that have ended here, in the order of their ids.
pub fn list_ended(read: &Read) -> Result<Vec<EndedKey>> {
    read.query(
        "SELECT key_id, reason, ended_at, events FROM site_ended ORDER BY key_id",
        &[],
        ended_of,
    )
}

/// Remembers a secret that has ended by a list of the server with this event.
pub fn end_secret(tx: &Write<'_>, secret: &EndedSecret, events: u64) -> Result<()> {
    tx.execute(
        "INSERT INTO site_ended_secrets (key_id, start, events) VALUES ($1, $2, $3)
         ON CONFLICT (key_id, start) DO UPDATE SET events = excluded.events
         WHERE site_ended_secrets.events < excluded.events",
        &[&secret.key, &secret.start, &events],
    )?;
    Ok(())
}

/// The secrets that have ended by lists of the server.
pub fn list_ended_secrets(read: &Read) -> Result<Vec<EndedSecret>> {
    read.query(
        "SELECT key_id, start FROM site_ended_secrets ORDER BY key_id, start",
        &[],
        |row: &Row<'_>| {
            Ok(EndedSecret {
                key: row.get("key_id")?,
                start: row.get("start")?,
            })
        },
    )
}

/// Forgets what was counted here, at the begin of a new state: its sums begin at zero.
pub fn forget_counts(tx: &Write<'_>) -> Result<()> {
    for sql in [
        "DELETE FROM site_spent",
        "DELETE FROM site_uses",
        "DELETE FROM site_verdicts",
    ] {
        tx.execute(sql, &[])?;
    }
    Ok(())
}

/// Has all revocations stay, also if a pack has the keys: after a fork its numbers of events are others.
pub fn keep_revoked(tx: &Write<'_>) -> Result<()> {
    tx.execute(
        "UPDATE site_ended SET reason = 'fork' WHERE reason = 'revoked'",
        &[],
    )?;
    tx.execute("UPDATE site_ended_secrets SET events = NULL", &[])?;
    Ok(())
}

/// Forgets the revocations that a pack with this event of the server has itself.
pub fn forget_revoked(tx: &Write<'_>, events: u64) -> Result<()> {
    tx.execute(
        "DELETE FROM site_ended WHERE reason = 'revoked' AND events <= $1",
        &[&events],
    )?;
    tx.execute(
        "DELETE FROM site_ended_secrets WHERE events <= $1",
        &[&events],
    )?;
    Ok(())
}

/// Remembers a digest that has ended. `stays`: also if a pack has it.
pub fn end_digest(tx: &Write<'_>, digest: &[u8; 32], key: KeyId, stays: bool) -> Result<()> {
    tx.execute(
        "INSERT INTO site_ended_digests (digest, key_id, stays) VALUES ($1, $2, $3)
         ON CONFLICT (digest) DO UPDATE SET stays = excluded.stays WHERE excluded.stays = 1",
        &[digest, &key, &stays],
    )?;
    Ok(())
}

/// Forgets a digest that a pack holds again, unless it stays ended.
pub fn forget_digest(tx: &Write<'_>, digest: &[u8; 32]) -> Result<()> {
    tx.execute(
        "DELETE FROM site_ended_digests WHERE digest = $1 AND stays = 0",
        &[digest],
    )?;
    Ok(())
}

/// Makes every ended digest stay ended.
pub fn keep_digests_ended(tx: &Write<'_>) -> Result<()> {
    tx.execute(
        "UPDATE site_ended_digests SET stays = 1 WHERE stays = 0",
        &[],
    )?;
    Ok(())
}

/// The digests that have ended and stay ended, or those that a pack may hold again, with their keys.
pub fn list_ended_digests(read: &Read, stays: bool) -> Result<Vec<([u8; 32], KeyId)>> {
    read.query(
        "SELECT digest, key_id FROM site_ended_digests WHERE stays = $1 ORDER BY digest",
        &[&stays],
        |row: &Row<'_>| Ok((row.get("digest")?, row.get("key_id")?)),
    )
}

/// Whether a digest has ended and stays ended, whatever a pack holds.
pub fn stays_ended(read: &Read, digest: &[u8; 32]) -> Result<bool> {
    let found = read.query_one(
        "SELECT stays FROM site_ended_digests WHERE digest = $1",
        &[digest],
        |row: &Row<'_>| row.get::<bool>("stays"),
    )?;
    Ok(found == Some(true))
}

/// The uses that were taken so far from those that the server has lent.
pub fn find_spent(read: &Read, key: KeyId) -> Result<u64> {
    let found = read.query_one(
        "SELECT spent FROM site_spent WHERE key_id = $1",
        &[&key],
        |row: &Row<'_>| row.get("spent"),
    )?;
    Ok(found.unwrap_or(0))
}

/// The same of all keys.
pub fn list_spent(read: &Read) -> Result<Vec<(KeyId, u64)>> {
    read.query(
        "SELECT key_id, spent FROM site_spent ORDER BY key_id",
        &[],
        |row: &Row<'_>| Ok((row.get("key_id")?, row.get("spent")?)),
    )
}

/// Stores how many uses were taken so far.
pub fn set_spent(tx: &Write<'_>, key: KeyId, spent: u64) -> Result<()> {
    tx.execute(
        "INSERT INTO site_spent (key_id, spent) VALUES ($1, $2)
         ON CONFLICT (key_id) DO UPDATE SET spent = excluded.spent",
        &[&key, &spent],
    )?;
    Ok(())
}

/// The counts of a key.
pub fn find_use(read: &Read, key: KeyId) -> Result<Option<UseRow>> {
    read.query_one(
        "SELECT key_id, uses, refusals, last_used_at FROM site_uses WHERE key_id = $1",
        &[&key],
        use_of,
    )
}

fn use_of(row: &Row<'_>) -> Result<UseRow> {
    Ok(UseRow {
        key: row.get("key_id")?,
        uses: row.get("uses")?,
        refusals: row.get("refusals")?,
        last_used_at: row.get("last_used_at")?,
    })
}

/// Adds to the counts of a key.
pub fn add_use(tx: &Write<'_>, more: &UseRow) -> Result<()> {
    tx.execute(
        "INSERT INTO site_uses (key_id, uses, refusals, last_used_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key_id) DO UPDATE
         SET uses = site_uses.uses + excluded.uses, refusals = site_uses.refusals + excluded.refusals,
             last_used_at = coalesce(excluded.last_used_at, site_uses.last_used_at)",
        &[&more.key, &more.uses, &more.refusals, &more.last_used_at],
    )?;
    Ok(())
}

/// The counts of all keys, in the order of their ids.
pub fn list_uses(read: &Read) -> Result<Vec<UseRow>> {
    read.query(
        "SELECT key_id, uses, refusals, last_used_at FROM site_uses ORDER BY key_id",
        &[],
        use_of,
    )
}

/// Adds to the number of verdicts with a code.
pub fn add_verdicts(tx: &Write<'_>, code: &str, more: u64) -> Result<()> {
    tx.execute(
        "INSERT INTO site_verdicts (code, count) VALUES ($1, $2)
         ON CONFLICT (code) DO UPDATE SET count = site_verdicts.count + excluded.count",
        &[&code, &more],
    )?;
    Ok(())
}

/// The verdicts by code.
pub fn list_verdicts(read: &Read) -> Result<Vec<(String, u64)>> {
    read.query(
        "SELECT code, count FROM site_verdicts ORDER BY code",
        &[],
        |row: &Row<'_>| Ok((row.get("code")?, row.get("count")?)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn ended(key: u64, reason: Reason, events: u64) -> EndedKey {
        EndedKey {
            key: KeyId(key),
            reason,
            at: Timestamp(5),
            events,
        }
    }

    #[test]
    fn what_was_ended_here_outlives_the_packs_that_have_a_revocation() {
        for read in testing::stores() {
            let tx = read.write();
            assert!(end_key(&tx, &ended(1, Reason::Revoked, 7)).unwrap());
            assert!(end_key(&tx, &ended(2, Reason::Site, 0)).unwrap());
            assert!(end_key(&tx, &ended(3, Reason::Revoked, 7)).unwrap());
            assert!(end_key(&tx, &ended(3, Reason::Site, 0)).unwrap());
            assert!(!end_key(&tx, &ended(2, Reason::Revoked, 9)).unwrap());
            assert!(end_key(&tx, &ended(1, Reason::Revoked, 9)).unwrap());
            assert!(!end_key(&tx, &ended(1, Reason::Revoked, 8)).unwrap());
            forget_revoked(&tx, 8).unwrap();
            assert_eq!(list_ended(&read).unwrap().len(), 3);
            forget_revoked(&tx, 9).unwrap();
            let left = [ended(2, Reason::Site, 0), ended(3, Reason::Site, 0)];
            assert_eq!(list_ended(&read).unwrap(), left);
        }
    }

    #[test]
    fn a_digest_that_stays_ended_is_never_forgotten() {
        for read in testing::stores() {
            let tx = read.write();
            end_digest(&tx, &[1; 32], KeyId(1), false).unwrap();
            end_digest(&tx, &[2; 32], KeyId(2), false).unwrap();
            end_digest(&tx, &[3; 32], KeyId(3), true).unwrap();
            forget_digest(&tx, &[1; 32]).unwrap();
            forget_digest(&tx, &[3; 32]).unwrap();
            end_digest(&tx, &[3; 32], KeyId(3), false).unwrap();
            assert_eq!(
                list_ended_digests(&read, true).unwrap(),
                [([3; 32], KeyId(3))]
            );
            keep_digests_ended(&tx).unwrap();
            let both = [([2; 32], KeyId(2)), ([3; 32], KeyId(3))];
            assert_eq!(list_ended_digests(&read, true).unwrap(), both);
        }
    }

    #[test]
    fn counts_and_spent_uses_add_up() {
        for read in testing::stores() {
            let tx = read.write();
            let row = |uses, at: Option<i64>| UseRow {
                key: KeyId(1),
                uses,
                refusals: 1,
                last_used_at: at.map(Timestamp),
            };
            add_use(&tx, &row(1, Some(9))).unwrap();
            add_use(&tx, &row(0, None)).unwrap();
            let sum = UseRow {
                refusals: 2,
                ..row(1, Some(9))
            };
            assert_eq!(list_uses(&read).unwrap(), [sum]);
            add_verdicts(&tx, "VALID", 2).unwrap();
            add_verdicts(&tx, "VALID", 3).unwrap();
            assert_eq!(list_verdicts(&read).unwrap(), [("VALID".to_owned(), 5)]);
            assert_eq!(find_spent(&read, KeyId(1)).unwrap(), 0);
            set_spent(&tx, KeyId(1), 7).unwrap();
            assert_eq!(list_spent(&read).unwrap(), [(KeyId(1), 7)]);
        }
    }
}
