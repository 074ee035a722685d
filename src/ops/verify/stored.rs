//! What a verification changes in the store before its verdict: uses are reserved, and the old secret of a rotation ends.

use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::block;
use crate::domain::locks::lock;
use crate::error::Result;
use crate::ops::App;
use crate::ops::site::{ended, lent};
use crate::store::seals::keys::RemainingUses;
use crate::store::{Durability, audit, keys, seals};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex};

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
        let reserved = lock(&counters).uses.map_or(0, |uses| uses.reserved);
        let stored = match seals::keys::find_uses(tx, &seal_keys, id)? {
            RemainingUses::Counted(stored) => stored,
            RemainingUses::Unlimited => 0,
            RemainingUses::Broken => {
                // The end of the transaction compares the key with its seal, and closes it.
                tx.touch_lightly(Target::new(Kind::Key, id));
                return Ok(());
            }
        };
        let taken = block(stored, reserved, cost);
        keys::update_uses(tx, &seal_keys, id, Some(stored - taken))?;
        tx.after_commit(move || {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.reserved += taken;
                uses.stored = stored - taken;
            }
        });
        Ok(())
    })
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
