//! Sealing rows again after a rotation of the seal key, in transactions of bounded size. Until everything is sealed again,
//! seals of the older versions count too. A row that does not fit its seal keeps it, so it never becomes valid.

use super::bearers::{self, Bearer};
use super::keys;
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::error::Result;
use crate::store::{Read, Write, audit, sites};
use std::collections::BTreeMap;

/// The number of rows that are read in one transaction.
const ROWS_MAX: usize = 1_000;

/// Where the work goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The head and the checkpoint of the audit log.
    Start,
    /// Things with a row in `row_seals`, after this one.
    Rows(String, String),
    Sessions(String),
    RefreshTokens(String),
    Keys(String),
    /// What sites were lent, after this site and key.
    Lent(String, String),
}

/// Seals some rows again, and returns where to go on; `None` at the end.
pub fn seal_some(tx: &Write<'_>, seal_keys: &SealKeys, place: &Place) -> Result<Option<Place>> {
    let bearers =
        |part, after: &str| bearers::seal_some_again(tx, seal_keys, part, after, ROWS_MAX);
    let start = String::new;
    Ok(Some(match place {
        Place::Start => {
            audit::seal_again(tx, seal_keys, seal_keys)?;
            Place::Rows(start(), start())
        }
        Place::Rows(kind, id) => match rows(tx, seal_keys, (kind, id))? {
            Some((kind, id)) => Place::Rows(kind, id),
            None => Place::Sessions(start()),
        },
        Place::Sessions(after) => match bearers(Bearer::Session, after)? {
            Some(last) => Place::Sessions(last),
            None => Place::RefreshTokens(start()),
        },
        Place::RefreshTokens(after) => match bearers(Bearer::RefreshToken, after)? {
            Some(last) => Place::RefreshTokens(last),
            None => Place::Keys(start()),
        },
        Place::Keys(after) => match some_keys(tx, seal_keys, after)? {
            Some(last) => Place::Keys(last),
            None => Place::Lent(start(), start()),
        },
        Place::Lent(site, key) => {
            let after = (site.as_str(), key.as_str());
            match sites::seal_some_lent_again(tx, seal_keys, after, ROWS_MAX)? {
                Some((site, key)) => Place::Lent(site, key),
                None => return Ok(None),
            }
        }
    }))
}

/// Seals things after this one again, and returns the last one.
fn rows(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    after: (&str, &str),
) -> Result<Option<(String, String)>> {
    let found = tx.query(
        "SELECT kind, id FROM row_seals WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3",
        &[&after.0, &after.1, &(ROWS_MAX as i64)],
        |row| Ok((row.get::<String>("kind")?, row.get::<String>("id")?)),
    )?;
    let newest = seal_keys.newest();
    for (kind, id) in &found {
        let Some(kind) = Kind::parse(kind) else {
            continue;
        };
        let target = Target::new(kind, id);
        let sealer = super::sealer(tx, seal_keys, &target, super::COLUMNS)?;
        if sealer.flatten().is_some_and(|sealer| sealer != newest) {
            super::put(tx, seal_keys, &target)?;
        }
    }
    Ok(found.into_iter().next_back())
}

/// Seals keys after an id again, deleted ones too, and returns the last id.
fn some_keys(tx: &Write<'_>, seal_keys: &SealKeys, after: &str) -> Result<Option<String>> {
    let ids = tx.query(
        "SELECT id FROM keys WHERE id > $1 ORDER BY id LIMIT $2",
        &[&after, &(ROWS_MAX as i64)],
        |row| row.get::<String>("id"),
    )?;
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(None);
    };
    let ends = KeyId::parse(first).zip(KeyId::parse(last));
    let newest = seal_keys.newest();
    let mut older = Vec::new();
    if let Some(range) = ends {
        keys::each(tx, Some(seal_keys), range, true, |found| {
            if found.sealer.is_some_and(|sealer| sealer != newest) {
                older.push(found.key.id);
            }
            Ok(())
        })?;
    }
    let seq = audit::head(tx)?.map_or(0, |head| head.seq);
    for id in older {
        keys::put(tx, seal_keys, id, seq)?;
    }
    Ok(Some(last.clone()))
}

/// How many rows are sealed under each version; under `None`, those that do not fit their seals. This reads everything.
pub fn count(read: &Read, seal_keys: &SealKeys) -> Result<BTreeMap<Option<u32>, u64>> {
    let mut counts = BTreeMap::new();
    let mut add = |sealer: Option<u32>| *counts.entry(sealer).or_default() += 1;
    audit::sealers(read, seal_keys)?
        .into_iter()
        .for_each(&mut add);
    let rows = read.query("SELECT kind, id FROM row_seals", &[], |row| {
        Ok((row.get::<String>("kind")?, row.get::<String>("id")?))
    })?;
    for (kind, id) in rows {
        let target = Kind::parse(&kind).map(|kind| Target::new(kind, id));
        let sealer = match target {
            Some(target) => super::sealer(read, seal_keys, &target, super::COLUMNS)?,
            None => None,
        };
        add(sealer.flatten());
    }
    bearers::each_sealer(read, seal_keys, &mut add)?;
    sites::each_lent_sealer(read, seal_keys, &mut add)?;
    keys::each(read, Some(seal_keys), super::recorded::ALL, true, |found| {
        add(found.sealer);
        Ok(())
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Event;
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::domain::keys::{Key, KeyId};
    use crate::domain::policies::Policy;
    use crate::domain::sessions::Session;
    use crate::domain::time::Timestamp;
    use crate::domain::uid::Uid;
    use crate::store::keys::NewSecret;
    use crate::store::{policies, seals, sessions, testing};

    /// A database with more keys than one transaction seals, a policy, a session and an event, all sealed; a key, a
    /// policy and a session that do not fit their seals.
    fn sealed(read: Read) -> (Read, String) {
        read.ignore_references();
        let (seal_keys, file) = SealKeys::generate().unwrap();
        let tx = read.write();
        audit::append(
            &tx,
            &seal_keys,
            Event::of_system("server.init", Target::server(), Timestamp(1)),
        )
        .unwrap();
        for number in 1..=ROWS_MAX as u64 + 2 {
            let key = Key {
                id: KeyId(number),
                number: number as i64,
                uses_left: (number % 3 == 0).then_some(5),
                ..Key::sample()
            };
            let secret = StoredSecret::peppered(Digest([1; 32]), 1);
            let secret = NewSecret::Made(secret, None);
            crate::store::keys::insert(&tx, &seal_keys, &key, &secret, Timestamp(3)).unwrap();
        }
        for name in ["changed", "sound"] {
            let policy = Policy {
                name: name.to_owned(),
                ..Policy::standard()
            };
            policies::insert(&tx, &policy).unwrap();
            seals::put(&tx, &seal_keys, &Target::new(Kind::Policy, name)).unwrap();
        }
        for id in [KeyId(1), KeyId(2)] {
            let session = Session {
                id,
                secret: StoredSecret::peppered(Digest([1; 32]), 1),
                user: Uid(1),
                generation: 0,
                read_only: false,
                issued_at: Timestamp(1),
                expires_at: Timestamp(9),
                acting: None,
                console: None,
            };
            sessions::insert(&tx, &seal_keys, &session).unwrap();
        }
        read.batch(
            "UPDATE policies SET can_rotate = 0 WHERE name = 'changed';
             UPDATE sessions SET read_only = 1 WHERE id = '0000000002';
             UPDATE keys SET name = 'x' WHERE id = '0000000007'",
        )
        .unwrap();
        (read, file)
    }

    #[test]
    fn what_fits_is_sealed_under_the_newest_version_and_nothing_else_is() {
        for read in testing::stores() {
            let (read, file) = sealed(read);
            let seal_keys = SealKeys::parse(&file).unwrap();
            let all = ROWS_MAX as u64 + 2 + 2 + 2 + 1;
            let before = BTreeMap::from([(None, 3), (Some(1), all - 3)]);
            assert_eq!(count(&read, &seal_keys).unwrap(), before);
            let text = format!("2 {}\n", "ab".repeat(32));
            let newer = SealKeys::parse(&text).unwrap();
            assert_eq!(count(&read, &newer).unwrap(), BTreeMap::from([(None, all)]));

            let rotated = SealKeys::parse(&format!("{file}{text}")).unwrap();
            let mut place = Some(Place::Start);
            let mut steps = 0;
            while let Some(here) = place {
                place = seal_some(&read.write(), &rotated, &here).unwrap();
                steps += 1;
            }
            assert!(steps > 5, "{steps}");
            let after = BTreeMap::from([(None, 3), (Some(2), all - 3)]);
            assert_eq!(count(&read, &rotated).unwrap(), after);
            assert_eq!(count(&read, &newer).unwrap(), after);
        }
    }
}
