//! Whether events name all that a transaction has touched, so that another index learns of it from the log alone.

use super::{Read, events};
use crate::domain::audit::named::{Named, named};
use crate::domain::audit::{Kind, Target};
use crate::error::Result;
use std::collections::HashSet;

/// The first of these targets that no event after `since` names. The server itself is nothing that an index has.
pub fn find_unnamed(read: &Read, since: i64, touched: &[Target]) -> Result<Option<Target>> {
    if touched.is_empty() {
        return Ok(None);
    }
    let (mut targets, mut ranges) = (HashSet::new(), Vec::new());
    let mut is_everything = false;
    events::each_after(read, since, |event| {
        match named(&event) {
            Named::Everything => is_everything = true,
            Named::Keys(ids) => {
                targets.extend(ids.into_iter().map(|id| Target::new(Kind::Key, id)));
            }
            Named::NumberedKeys(first, last) => ranges.push(first..=last),
            Named::Nothing => {}
            Named::Target(target) => drop(targets.insert(target)),
        }
        Ok(())
    })?;
    if is_everything {
        return Ok(None);
    }
    for target in touched {
        if target.kind == Kind::Server || targets.contains(target) {
            continue;
        }
        let is_numbered = target.kind == Kind::Key
            && !ranges.is_empty()
            && number_of(read, &target.id)?
                .is_some_and(|number| ranges.iter().any(|range| range.contains(&number)));
        if !is_numbered {
            return Ok(Some(target.clone()));
        }
    }
    Ok(None)
}

fn number_of(read: &Read, id: &str) -> Result<Option<i64>> {
    read.query_one("SELECT number FROM keys WHERE id = $1", &[&id], |row| {
        row.get("number")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::named::{NUMBERS, numbers_text};
    use crate::domain::audit::{Changes, Event};
    use crate::domain::keys::live::StoredSecret;
    use crate::domain::keys::pepper::Digest;
    use crate::domain::keys::seal_key::SealKeys;
    use crate::domain::keys::{Key, KeyId};
    use crate::domain::time::Timestamp;
    use crate::store::audit::append;
    use crate::store::keys::{self, NewSecret};
    use crate::store::testing;

    fn key(id: u64) -> Target {
        Target::new(Kind::Key, KeyId(id))
    }

    /// What the log does not name after its first event, of the keys 1 to 3 with the numbers 11 to 13.
    fn unnamed(
        action: &str,
        target: Target,
        changes: Changes,
        touched: &[Target],
    ) -> Option<Target> {
        let changes = changes.into_json();
        let find = |read| unnamed_in(read, action, &target, &changes, touched);
        let mut found: Vec<Option<Target>> = testing::stores().map(find).collect();
        found.dedup();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn unnamed_in(
        read: Read,
        action: &str,
        target: &Target,
        changes: &str,
        touched: &[Target],
    ) -> Option<Target> {
        read.ignore_references();
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for id in 1..=3 {
            let made = Key {
                id: KeyId(id),
                number: 10 + id as i64,
                ..Key::sample()
            };
            let secret = StoredSecret::peppered(Digest([id as u8; 32]), 1);
            let secret = NewSecret::Made(secret, None);
            keys::insert(&read.write(), &seal_keys, &made, &secret, Timestamp(1)).unwrap();
        }
        let log = |event: Event| append(&read.write(), &seal_keys, event).unwrap();
        log(Event::of_system("key.edit", key(3), Timestamp(1)));
        log(Event {
            changes: changes.to_owned(),
            ..Event::of_system(action, target.clone(), Timestamp(1))
        });
        find_unnamed(&read, 1, touched).unwrap()
    }

    #[test]
    fn what_is_touched_beside_the_log_is_found() {
        let edit = |touched: &[Target]| unnamed("key.edit", key(1), Changes::default(), touched);
        assert_eq!(edit(&[]), None);
        assert_eq!(edit(&[key(1), key(1)]), None);
        assert_eq!(edit(&[key(1), key(2)]), Some(key(2)));
        // An earlier event names it, which an index has followed already.
        assert_eq!(edit(&[key(3)]), Some(key(3)));
        let user = Target::new(Kind::User, key(1).id);
        assert_eq!(edit(std::slice::from_ref(&user)), Some(user));
    }

    #[test]
    fn numbers_name_keys_and_some_events_name_everything() {
        let mut changes = Changes::default();
        changes.note(NUMBERS, &String::new(), &numbers_text(11, 12));
        let touched = [Target::server(), key(1), key(2), key(3)];
        let found = unnamed("key.import", Target::server(), changes, &touched);
        assert_eq!(found, Some(key(3)));
        let all = unnamed(
            "clock.accept",
            Target::server(),
            Changes::default(),
            &touched,
        );
        assert_eq!(all, None);
    }
}
