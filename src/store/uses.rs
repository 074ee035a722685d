//! The remaining uses of keys with a use limit.
//!
//! Several processes may spend the uses of one key, each from a block that it has taken off the stored number. So the number is
//! changed by differences, and only as long as it is of the epoch that the process knows: an edit sets another number with a later
//! epoch, which makes void what was taken off the former one.
//!
//! An epoch is the number of an audit event. After a restore, the numbers of events that the copy lacks are given again, and epochs with
//! them. A process that runs on during a restore could therefore take a new number for the one that it knows. With SQLite there is no
//! such process: the server must be stopped for a restore. Nodes that share a database must drop their blocks when it is replaced (`packs::begin_reign`
//! marks it), and what sites were lent is in the copy itself.

use super::seals::keys::{Counted, seal_counted};
use super::{Read, Write, audit};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::error::Result;

/// Sets the remaining uses of a key, with a later epoch; `None` removes the limit. If the key gains or loses its limit, the end
/// of the transaction seals the key again; for this the caller must record an event about the key.
pub fn set(tx: &Write<'_>, seal_keys: &SealKeys, id: KeyId, uses_left: Option<u64>) -> Result<()> {
    let Some(uses_left) = uses_left else {
        tx.execute("DELETE FROM key_uses WHERE key_id = $1", &[&id])?;
        return Ok(());
    };
    let counted = Counted {
        left: uses_left,
        epoch: next_epoch(tx)?,
    };
    tx.execute(
        "INSERT INTO key_uses (key_id, uses_left, epoch)
         VALUES ($1, $2, $3)
         ON CONFLICT (key_id) DO UPDATE
         SET uses_left = excluded.uses_left, epoch = excluded.epoch, seal = NULL",
        &[&id, &counted.left, &counted.epoch],
    )?;
    seal_counted(tx, seal_keys, id, counted)
}

/// The number of the event that this change will have. A limit that is removed and set again has a later one too, although
/// nothing is left of the row.
fn next_epoch(read: &Read) -> Result<u64> {
    Ok(audit::newest_number(read)?.unsigned_abs() + 1)
}

/// Takes uses off the stored number. Returns what is left of it; `None` if there are too few, or only of another epoch.
pub fn take(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    epoch: u64,
    count: u64,
) -> Result<Option<u64>> {
    let left = tx.query_one(
        "UPDATE key_uses SET uses_left = uses_left - $1, seal = NULL
         WHERE key_id = $2 AND epoch = $3 AND uses_left >= $1
         RETURNING uses_left",
        &[&count, &id, &epoch],
        |row| row.get("uses_left"),
    )?;
    seal_changed(tx, seal_keys, id, epoch, left)
}

/// Adds uses that were taken and not spent. Returns what is left then; `None` if the stored number is of another epoch.
pub fn give_back(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    epoch: u64,
    count: u64,
) -> Result<Option<u64>> {
    let left = tx.query_one(
        "UPDATE key_uses SET uses_left = uses_left + $1, seal = NULL
         WHERE key_id = $2 AND epoch = $3
         RETURNING uses_left",
        &[&count, &id, &epoch],
        |row| row.get("uses_left"),
    )?;
    seal_changed(tx, seal_keys, id, epoch, left)
}

/// Seals the row of a key, if what is left of its uses has changed.
fn seal_changed(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    epoch: u64,
    left: Option<u64>,
) -> Result<Option<u64>> {
    if let Some(left) = left {
        seal_counted(tx, seal_keys, id, Counted { left, epoch })?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Event, Kind, Target};
    use crate::domain::keys::Key;
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::domain::time::Timestamp;
    use crate::store::keys::{self, NewSecret};
    use crate::store::seals::keys::{Counted, RemainingUses, find_uses};
    use crate::store::testing;

    const ID: KeyId = KeyId(1);

    /// Adds a key of five uses to a store.
    fn add_counted(read: &Read) -> SealKeys {
        read.ignore_references();
        let (seal_keys, _) = SealKeys::generate().unwrap();
        let key = Key {
            id: ID,
            uses_left: Some(5),
            ..Key::sample()
        };
        let secret = StoredSecret::peppered(Digest([1; 32]), 1);
        let secret = NewSecret::Made(secret, None);
        keys::insert(&read.write(), &seal_keys, &key, &secret, Timestamp(3)).unwrap();
        seal_keys
    }

    fn stored(read: &Read, seal_keys: &SealKeys) -> (u64, u64) {
        match find_uses(read, seal_keys, ID).unwrap() {
            RemainingUses::Counted(Counted { left, epoch }) => (left, epoch),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn uses_are_taken_and_given_back_as_long_as_the_number_is_the_same() {
        for read in testing::stores() {
            let seal_keys = add_counted(&read);
            let tx = read.write();
            let took = |epoch, count| take(&tx, &seal_keys, ID, epoch, count).unwrap();
            let gave = |epoch, count| give_back(&tx, &seal_keys, ID, epoch, count).unwrap();
            assert_eq!(stored(&read, &seal_keys), (5, 1));
            assert_eq!((took(1, 6), took(0, 1), took(2, 1)), (None, None, None));
            assert_eq!(
                (took(1, 3), took(1, 2), took(1, 1)),
                (Some(2), Some(0), None)
            );
            assert_eq!((gave(1, 4), gave(2, 1)), (Some(4), None));
            assert_eq!(stored(&read, &seal_keys), (4, 1));
        }
    }

    #[test]
    fn a_number_that_is_set_has_a_later_epoch_even_if_there_was_none_between() {
        for read in testing::stores() {
            let seal_keys = add_counted(&read);
            let tx = read.write();
            let key = Target::new(Kind::Key, ID);
            let record = || {
                let event = Event::of_system("key.edit", key.clone(), Timestamp(1));
                audit::append(&tx, &seal_keys, event).unwrap();
            };
            assert_eq!(take(&tx, &seal_keys, ID, 1, 2).unwrap(), Some(3));
            record();
            set(&tx, &seal_keys, ID, Some(10)).unwrap();
            assert_eq!(stored(&read, &seal_keys), (10, 2));
            assert_eq!(give_back(&tx, &seal_keys, ID, 1, 2).unwrap(), None);
            record();
            set(&tx, &seal_keys, ID, None).unwrap();
            assert_eq!(take(&tx, &seal_keys, ID, 2, 1).unwrap(), None);
            record();
            set(&tx, &seal_keys, ID, Some(7)).unwrap();
            assert_eq!(
                read.query_one("SELECT epoch FROM key_uses", &[], |row| row.get("epoch"))
                    .unwrap(),
                Some(4_u64)
            );
        }
    }
}
