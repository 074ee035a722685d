//! What tripwires have found about a key: one row for each kind, with a count.

use super::{Read, Row, Write};
use crate::domain::keys::KeyId;
use crate::domain::keys::alarms::{Alarm, AlarmKind};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// What was found since the last time.
pub struct Found<'a> {
    pub count: u64,
    pub at: Timestamp,
    /// The client's address, if it is known.
    pub address: Option<String>,
    /// The request, or where a leaked secret was found.
    pub place: &'a str,
}

/// Adds to the alarms of a key. Returns when the last event about this kind was recorded, which is none if the key has
/// no alarm of it, or `None` if there is no such key.
pub fn add(
    tx: &Write<'_>,
    key: KeyId,
    kind: AlarmKind,
    found: &Found<'_>,
) -> Result<Option<Option<Timestamp>>> {
    tx.query_one(
        "INSERT INTO key_alarms (key_id, kind, count, first_at, last_at, last_ip, place)
         SELECT id, $1, $2, $3, $3, $4, $5 FROM keys WHERE id = $6
         ON CONFLICT (key_id, kind) DO UPDATE
         SET count = key_alarms.count + excluded.count, last_at = excluded.last_at, last_ip = excluded.last_ip, place = excluded.place
         RETURNING recorded_at",
        &[&kind.as_str(), &found.count, &found.at, &found.address, &found.place, &key],
        |row| row.get("recorded_at"),
    )
}

/// Notes that an event about a kind was recorded.
pub fn set_recorded(tx: &Write<'_>, key: KeyId, kind: AlarmKind, at: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE key_alarms SET recorded_at = $1 WHERE key_id = $2 AND kind = $3",
        &[&at, &key, &kind.as_str()],
    )?;
    Ok(())
}

/// The alarms of a key, by kind.
pub fn list(read: &Read, key: KeyId) -> Result<Vec<Alarm>> {
    read.query(
        "SELECT kind, count, first_at, last_at, last_ip, place FROM key_alarms WHERE key_id = $1 ORDER BY kind",
        &[&key],
        |row: &Row<'_>| {
            let kind = AlarmKind::parse(&row.get::<String>("kind")?);
            Ok(Alarm {
                kind: kind.ok_or_else(|| Error::internal("a key has an alarm of an unknown kind"))?,
                count: row.get("count")?,
                first_at: row.get("first_at")?,
                last_at: row.get("last_at")?,
                address: row.get("last_ip")?,
                place: row.get("place")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn alarms_add_up_and_tell_when_the_last_event_was() {
        for read in testing::stores() {
            read.ignore_references();
            read.batch(
            "INSERT INTO keys (id, number, name, description, workspace_uid, policy, scopes, read_only, enabled,
                               metadata, created_by, created_at, hint)
             VALUES ('0000000001', 1, 'k', '', '', '', '', 0, 1, '{}', '', 0, '')",
        )
        .unwrap();
            let tx = read.write();
            let found = |count, at| Found {
                count,
                at: Timestamp(at),
                address: Some("192.0.2.1".to_owned()),
                place: "GET /x",
            };
            let kind = AlarmKind::Tripped;
            assert_eq!(add(&tx, KeyId(2), kind, &found(1, 5)).unwrap(), None);
            assert_eq!(add(&tx, KeyId(1), kind, &found(1, 5)).unwrap(), Some(None));
            set_recorded(&tx, KeyId(1), kind, Timestamp(6)).unwrap();
            let recorded = add(&tx, KeyId(1), kind, &found(2, 7)).unwrap();
            assert_eq!(recorded, Some(Some(Timestamp(6))));
            let alarms = list(&read, KeyId(1)).unwrap();
            assert_eq!(alarms.len(), 1);
            assert_eq!(
                (alarms[0].count, alarms[0].first_at, alarms[0].last_at),
                (3, Timestamp(5), Timestamp(7))
            );
        }
    }
}
