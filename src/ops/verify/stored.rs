//! What a verification changes in the store before its verdict: uses are reserved, and the old secret of a rotation ends.

use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::keys::quota::block;
use crate::domain::locks::lock;
use crate::domain::time::Moment;
use crate::error::Result;
use crate::ops::App;
use crate::ops::site::{ended, lent};
use crate::store::seals::keys::RemainingUses;
use crate::store::{Durability, audit, keys, seals, uses};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex};

/// How often a reservation looks again, if another process has changed the number after it was read.
const TRIES: usize = 3;

/// Subtracts a block of uses from the stored number, durably, and only then allows memory to spend it. If many
/// verifications need a reservation at the same time, one reserves, and the others wait for it and try again.
pub fn reserve(app: &App, id: KeyId, cost: u64) -> Result<()> {
    let Some(_turn) = app.reserving.begin(id) else {
        return Ok(());
    };
    let Some(counters) = app.index.counters(id) else {
        return Ok(());
    };
    if app.site.is_some() {
        return lent::reserve(app, id, cost, counters);
    }
    let seal_keys = app.seal_keys.clone();
    app.store.write(Durability::Full, move |tx| {
        for _ in 0..TRIES {
            let counted = match seals::keys::find_uses(tx, &seal_keys, id)? {
                RemainingUses::Counted(counted) => counted,
                // The limit was removed, or the row was removed without Latchkey. The end of the transaction compares the key with its
                // seal, and closes it if it does not fit; otherwise the index learns that there is no limit.
                RemainingUses::Unlimited | RemainingUses::Broken => {
                    tx.touch_lightly(Target::new(Kind::Key, id));
                    return Ok(());
                }
            };
            let epoch = counted.epoch;
            let known = lock(&counters).uses;
            let reserved = known.map_or(0, |uses| uses.reserved_of(epoch));
            let taken = block(counted.left, reserved, cost);
            let Some(left) = uses::take(tx, &seal_keys, id, epoch, taken)? else {
                continue;
            };
            tx.after_commit(move || {
                if let Some(uses) = &mut lock(&counters).uses {
                    uses.follow(epoch, left, taken);
                }
            });
            return Ok(());
        }
        Ok(())
    })
}

/// Whether a key whose uses seem to be spent may have some: other nodes give uses back, and set other numbers. This is asked at most
/// once a second for each key.
pub fn may_look_at_uses(app: &App, key: &Live, now: Moment) -> bool {
    let counters = key.optional.as_ref().and_then(|it| it.counters.as_ref());
    app.fence.is_some() && counters.is_some_and(|counters| lock(counters).may_look(now.steady_ms))
}

/// Follows the stored number of uses of a key. If it cannot be read, the key stays as it is: it opens nothing.
pub fn look_at_uses(app: &App, id: KeyId) {
    let Some(counters) = app.index.counters(id) else {
        return;
    };
    if !lock(&counters).begin_look(app.now().steady_ms) {
        return;
    }
    match app.read(|read| seals::keys::find_uses(read, &app.seal_keys, id)) {
        Ok(RemainingUses::Counted(counted)) => {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.follow(counted.epoch, counted.left, 0);
            }
        }
        // The event of a removed limit is followed; what was changed without Latchkey opens nothing.
        Ok(RemainingUses::Unlimited | RemainingUses::Broken) => {}
        Err(err) => log::warn!("verify: the remaining uses of key {id} cannot be read: {err}"),
    }
}

/// Ends the old secret of a rotation, only in memory if the store cannot be written. The new secret is valid in any
/// case, and the old one must not stay valid after the new one was used. If the process ends before the store can be
/// written, the next use of the new secret repeats this.
pub fn retire_in_any_case(app: &App, id: KeyId) {
    let retired = match app.site {
        None => retire(app, id),
        Some(_) => ended::retire_older(app, id),
    };
    let Err(err) = retired else {
        return;
    };
    app.figures().events_lost.fetch_add(1, Ordering::Relaxed);
    log::error!("verify: the old secret of key {id} is ended in memory only: {err}");
    app.index.with_key(id, |key| {
        if let Some(older) = key
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref())
        {
            older.retired.store(true, Ordering::Release);
        }
    });
}

/// Ends the old secret of a rotation in the store; the index is then updated.
fn retire(app: &App, id: KeyId) -> Result<()> {
    let now = app.now().wall;
    let seal_keys = app.seal_keys.clone();
    app.store.write(Durability::Full, move |tx| {
        if keys::delete_older_secret(tx, id, true, now)? {
            let target = Target::new(Kind::Key, id);
            audit::append(
                tx,
                &seal_keys,
                Event::of_system("key.rotation_complete", target, now),
            )?;
        }
        Ok(())
    })
}

/// The reservations in progress, at most one for each key.
#[derive(Default)]
pub struct Reserving {
    keys: Mutex<HashSet<KeyId>>,
    ended: Condvar,
}

/// The right to reserve uses for one key; it ends when dropped.
struct Turn<'a> {
    reserving: &'a Reserving,
    id: KeyId,
}

impl Reserving {
    /// Returns `None` after waiting for the reservation of another thread.
    fn begin(&self, id: KeyId) -> Option<Turn<'_>> {
        let mut keys = lock(&self.keys);
        if keys.insert(id) {
            return Some(Turn {
                reserving: self,
                id,
            });
        }
        drop(self.ended.wait_while(keys, |keys| keys.contains(&id)));
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.reserving.keys).remove(&self.id);
        self.reserving.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::verdict::{Code, Question};
    use crate::ops::keys::edit;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::maintenance;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::verify::verify_blocking;
    use crate::store;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    fn members(uses: Option<u64>) -> KeyMembers {
        KeyMembers {
            uses_left: Some(uses),
            ..KeyMembers::default()
        }
    }

    fn counted(fixture: &Fixture, uses: u64) -> (KeyId, String) {
        let new = NewKey {
            members: KeyMembers {
                name: Some("counted".to_owned()),
                ..members(Some(uses))
            },
            ..NewKey::default()
        };
        let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
        let secret = issued.secret.unwrap();
        (issued.view.key.id, secret.expose().to_owned())
    }

    fn set(fixture: &Fixture, id: KeyId, uses: Option<u64>) {
        edit::edit(&fixture.app, &fixture.local(), id, members(uses)).unwrap();
    }

    fn is_valid(app: &App, secret: &str) -> bool {
        let question = Question {
            cost: 1,
            ..Question::default()
        };
        verify_blocking(app, secret, &question, None, |it| it.code).unwrap() == Code::Valid
    }

    fn valid(app: &App, secret: &str, tries: usize) -> usize {
        (0..tries).filter(|_| is_valid(app, secret)).count()
    }

    fn stored(app: &App, id: KeyId) -> (u64, u64) {
        let found = app.read(|read| seals::keys::find_uses(read, &app.seal_keys, id));
        match found.unwrap() {
            RemainingUses::Counted(counted) => (counted.left, counted.epoch),
            other => panic!("{other:?}"),
        }
    }

    /// Takes uses off the stored number, as another process does that verifies from the same database.
    fn take_elsewhere(app: &App, id: KeyId, count: u64) -> Option<u64> {
        let (_, epoch) = stored(app, id);
        let seal_keys = app.seal_keys.clone();
        let take = move |tx: &store::Write<'_>| uses::take(tx, &seal_keys, id, epoch, count);
        app.store.write(Durability::Full, take).unwrap()
    }

    #[test]
    fn a_block_that_was_reserved_of_another_number_is_void() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = counted(&fixture, 160);
        assert!(is_valid(app, &secret));
        // Nine of the block of ten are left.
        assert_eq!(stored(app, id).0, 150);
        set(&fixture, id, Some(4));
        assert_eq!(valid(app, &secret, 20), 4);
        // The same number again is another number.
        set(&fixture, id, Some(160));
        assert!(is_valid(app, &secret));
        set(&fixture, id, Some(160));
        assert_eq!(valid(app, &secret, 200), 160);
        set(&fixture, id, None);
        assert_eq!(valid(app, &secret, 20), 20);
        set(&fixture, id, Some(2));
        assert_eq!(valid(app, &secret, 20), 2);
    }

    /// The end of a process gives its blocks back, to the number of which they were taken.
    #[test]
    fn a_block_is_given_back_to_its_own_number_alone() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = counted(&fixture, 160);
        assert!(is_valid(app, &secret));
        let first = app.index.take_reserved();
        assert_eq!(first.len(), 1);
        maintenance::give_back(app, first.clone()).unwrap();
        assert_eq!(stored(app, id).0, 159);
        assert!(is_valid(app, &secret));
        let late = app.index.take_reserved();
        set(&fixture, id, Some(3));
        let (left, epoch) = stored(app, id);
        maintenance::give_back(app, late).unwrap();
        assert_eq!(stored(app, id), (left, epoch));
        // The limit was removed, and there is another one by now.
        set(&fixture, id, None);
        set(&fixture, id, Some(3));
        maintenance::give_back(app, first).unwrap();
        assert_eq!(stored(app, id).0, 3);
    }

    /// Two processes never spend more than there was, and each learns what is left when it reserves.
    #[test]
    fn what_another_process_takes_is_not_written_over() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = counted(&fixture, 100);
        let mut here = valid(app, &secret, 10);
        assert_eq!(take_elsewhere(app, id, 30), Some(100 - 11 - 30));
        assert_eq!(take_elsewhere(app, id, 90), None);
        here += valid(app, &secret, 200);
        assert_eq!(here, 70);
        assert_eq!(stored(app, id).0, 0);
        assert_eq!(take_elsewhere(app, id, 1), None);
    }

    /// Otherwise every request would wait for the writer for good, and the key would neither be open nor closed.
    #[test]
    fn a_number_that_is_removed_without_latchkey_closes_the_key() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = counted(&fixture, 160);
        assert_eq!(valid(app, &secret, 10), 10);
        let remove = move |tx: &store::Write<'_>| {
            tx.execute("DELETE FROM key_uses WHERE key_id = $1", &[&id])
        };
        app.store.write(Durability::Full, remove).unwrap();
        let newest = fixture.last_event();
        assert_eq!(valid(app, &secret, 20), 0);
        let question = Question::default();
        let code = verify_blocking(app, &secret, &question, None, |it| it.code).unwrap();
        assert_eq!(code, Code::Disabled);
        assert_eq!(fixture.last_event(), newest + 1, "one event is enough");
    }

    /// Requests that begin after an edit was acknowledged get no more than its number.
    #[test]
    fn an_edit_in_the_middle_of_reservations_gives_nothing_back() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = counted(&fixture, 1 << 20);
        let (is_set, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        let after = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !ends.load(Ordering::SeqCst) {
                        let began_after = is_set.load(Ordering::SeqCst);
                        if is_valid(app, &secret) && began_after {
                            after.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            for uses in [900, 700, 500, 40] {
                set(&fixture, id, Some(uses));
            }
            is_set.store(true, Ordering::SeqCst);
            while is_valid(app, &secret) {
                after.fetch_add(1, Ordering::SeqCst);
            }
            ends.store(true, Ordering::SeqCst);
        });
        let after = after.into_inner();
        assert!(after <= 40, "{after} after the edit");
        assert_eq!(stored(app, id).0, 0);
    }
}
