//! Uses of counted keys: a site spends only what the server has lent it. The number that it has taken grows, is stored before
//! a use is spent, and is subtracted from what was lent in all according to a pack; so neither a crash nor an older pack restores a
//! use. Nor does an older copy of the database: an event says that uses were taken, by which the next start notices the copy.

use crate::domain::audit::{Event, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{Block, Counters, block};
use crate::domain::locks::lock;
use crate::error::Result;
use crate::ops::App;
use crate::store::{self, Durability, audit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The action of the event.
const TAKEN: &str = "site.uses_taken";
/// While uses are taken, there is an event so often, and one at the end of the process.
const EVERY_MS: u64 = 10_000;
const NEVER: u64 = u64::MAX;

/// Whether there is an event of the uses that were taken last.
pub struct Taken {
    told_ms: AtomicU64,
    is_untold: AtomicBool,
}

impl Default for Taken {
    fn default() -> Taken {
        Taken {
            told_ms: AtomicU64::new(NEVER),
            is_untold: AtomicBool::new(false),
        }
    }
}

impl Taken {
    fn is_due(&self, now_ms: u64) -> bool {
        match self.told_ms.load(Relaxed) {
            NEVER => true,
            told_ms => now_ms.saturating_sub(told_ms) >= EVERY_MS,
        }
    }
}

/// Takes a block of uses, durably, and only then allows memory to spend it.
pub fn reserve(app: &App, id: KeyId, cost: u64, counters: Arc<Mutex<Counters>>) -> Result<()> {
    let site = app.own_site()?;
    let lent = site.lent_of(id);
    let now = app.now();
    let is_due = site.taken.is_due(now.steady_ms);
    let seal_keys = app.seal_keys.clone();
    app.store.write(Durability::Full, move |tx| {
        let reserved = lock(&counters).uses.map_or(0, |uses| uses.reserved);
        let spent = store::site::find_spent(tx, id)?;
        let left = lent.saturating_sub(spent);
        let taken = block(left, reserved, cost);
        if taken > 0 {
            store::site::set_spent(tx, id, spent + taken)?;
            if is_due {
                let event = Event::of_system(TAKEN, Target::server(), now.wall);
                audit::append(tx, &seal_keys, event)?;
            }
        }
        tx.after_commit(move || {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.reserved += taken;
                uses.stored = left - taken;
            }
        });
        Ok(())
    })?;
    match is_due {
        true => {
            site.taken.told_ms.store(now.steady_ms, Relaxed);
            mark(app);
        }
        false => site.taken.is_untold.store(true, Relaxed),
    }
    site.unreported.note([id]);
    Ok(())
}

/// Writes the event of what was taken since the last one, at the end of the process.
pub fn tell(app: &App) -> Result<()> {
    let Some(site) = &app.site else {
        return Ok(());
    };
    if !site.taken.is_untold.swap(false, Relaxed) {
        return Ok(());
    }
    let (seal_keys, now) = (app.seal_keys.clone(), app.now().wall);
    app.store.write(Durability::Full, move |tx| {
        let event = Event::of_system(TAKEN, Target::server(), now);
        audit::append(tx, &seal_keys, event)
    })?;
    mark(app);
    Ok(())
}

/// Has the file of tombstones know of the newest event.
fn mark(app: &App) {
    if let Err(err) = app.store.mark_tombstones() {
        log::warn!("site: an older copy of the database may go unnoticed: {err}");
    }
}

/// Gives back what was taken and not spent, at the end of the process.
pub fn give_back(app: &App, batch: Vec<(KeyId, Block)>) -> Result<()> {
    app.store.write(Durability::Full, move |tx| {
        for (id, unspent) in &batch {
            let spent = store::site::find_spent(tx, *id)?;
            store::site::set_spent(tx, *id, spent.saturating_sub(unspent.count))?;
        }
        Ok(())
    })
}
