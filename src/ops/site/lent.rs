//! Uses of counted keys: a site spends only what the server has lent it. The number that it has taken grows, is stored before
//! a use is spent, and is subtracted from what was lent in all according to a pack; so neither a crash nor an older pack restores a
//! use.

use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{Block, Counters, block};
use crate::domain::locks::lock;
use crate::error::Result;
use crate::ops::App;
use crate::store::{self, Durability};
use std::sync::{Arc, Mutex};

/// Takes a block of uses, durably, and only then allows memory to spend it.
pub fn reserve(app: &App, id: KeyId, cost: u64, counters: Arc<Mutex<Counters>>) -> Result<()> {
    let site = app.own_site()?;
    let lent = site.lent_of(id);
    app.store.write(Durability::Full, move |tx| {
        let reserved = lock(&counters).uses.map_or(0, |uses| uses.reserved);
        let spent = store::site::find_spent(tx, id)?;
        let left = lent.saturating_sub(spent);
        let taken = block(left, reserved, cost);
        if taken > 0 {
            store::site::set_spent(tx, id, spent + taken)?;
        }
        tx.after_commit(move || {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.reserved += taken;
                uses.stored = left - taken;
            }
        });
        Ok(())
    })?;
    site.unreported.note([id]);
    Ok(())
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
