//! Periodic work: writing usage, recording the mark of the clock, and deleting old rows.

use super::audit::retention::{Retention, RetentionTimer};
use super::idempotency::REMEMBERED_MS;
use super::{App, attempts};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::usage::Pending;
use crate::store::idempotency;
use crate::store::seals::keys::RemainingUses;
use crate::store::usage;
use crate::store::usage::UsageDelta;
use crate::store::{Durability, clock, keys, seals};
use std::time::Duration;

/// How long hourly totals are kept: 92 days.
const HOURS_KEPT: i64 = 92 * 24;
/// The number of keys whose usage is written in one transaction, so that other changes never wait long.
const KEYS_A_BATCH: usize = 1_000;
/// How often the mark is recorded and old rows are deleted while no key is used.
const SWEEP_MS: u64 = 60_000;

/// Runs until the process ends: one round every `interval`, earlier if much usage is waiting.
pub fn run(app: &App, interval: Duration, retention: Retention) {
    let mut keeper = RetentionTimer::new(retention);
    let mut swept_ms = None;
    loop {
        app.index.usage.wait(interval);
        round(app, &mut swept_ms);
        keeper.round(app);
    }
}

/// One round. An idle server writes to its disk only once a minute. This is safe, because no client has received a
/// time since the last record.
fn round(app: &App, swept_ms: &mut Option<u64>) {
    let before = app.index.usage.lost();
    let used = write_usage(app);
    attempts::save_all(app);
    let mark = app.clock.tick();
    let steady_ms = app.now().steady_ms;
    if used || swept_ms.is_none_or(|at| steady_ms.saturating_sub(at) >= SWEEP_MS) {
        *swept_ms = Some(steady_ms);
        if let Err(err) = sweep(app, mark) {
            log::warn!("upkeep: {err}");
        }
    }
    if let Err(err) = app.store.compact_tombstones() {
        log::warn!("upkeep: {err}");
    }
    // A session that is over by an untrusted wall clock may become valid again, and a session that was begun by that
    // clock is valid now. So a session is removed only if it is over by both times.
    let now = app.now().wall;
    app.index
        .retain_sessions(|session| !session.is_over(mark) || !session.is_over(now));
    let lost = app.index.usage.lost() - before;
    if lost > 0 {
        log::warn!("upkeep: {lost} verdicts were not counted, too many keys were in use at once");
    }
}

/// The last round: writes the waiting usage, and returns the reserved uses to the store.
pub fn flush(app: &App) {
    write_usage(app);
    attempts::save_all(app);
    let reserved = app.index.take_reserved();
    for batch in reserved.chunks(KEYS_A_BATCH) {
        if let Err(err) = give_back(app, batch.to_vec()) {
            log::warn!("upkeep: reserved uses were not given back: {err}");
        }
    }
}

/// Writes the waiting usage. Returns whether there was any.
fn write_usage(app: &App) -> bool {
    // Sorted by the order of the tables, so that keys which are written together share pages, and each page is
    // written once.
    let taken = app.index.usage.take();
    for batch in taken.chunks(KEYS_A_BATCH) {
        let deltas: Vec<UsageDelta> = batch.iter().map(delta).collect();
        let written = app.store.write(Durability::Relaxed, move |tx| {
            usage::add_totals(tx, &deltas)?;
            deltas
                .iter()
                .try_for_each(|delta| usage::add_usage(tx, delta))
        });
        match written {
            Ok(()) => {}
            // Nothing was saved, so the usage can be counted again.
            Err(Error::Unavailable(why)) => {
                app.index.usage.put_back(batch);
                log::warn!("upkeep: the usage of {} keys waits: {why}", batch.len());
            }
            Err(err) => log::warn!("upkeep: the usage of {} keys is lost: {err}", batch.len()),
        }
    }
    app.index.usage.written();
    !taken.is_empty()
}

fn delta((key, pending): &(KeyId, Pending)) -> UsageDelta {
    UsageDelta {
        key: *key,
        uses: pending.uses,
        last_used: pending.last_used,
        verdicts: pending
            .verdicts()
            .map(|(hour, code, count)| (*hour, code.as_str(), *count))
            .collect(),
    }
}

fn give_back(app: &App, batch: Vec<(KeyId, u64)>) -> Result<()> {
    let peppers = app.peppers.clone();
    app.store.write(Durability::Full, move |tx| {
        for (id, reserved) in &batch {
            if let RemainingUses::Counted(stored) = seals::keys::find_uses(tx, &peppers, *id)? {
                keys::update_uses(tx, &peppers, *id, Some(stored + reserved))?;
            }
        }
        Ok(())
    })
}

fn sweep(app: &App, mark: Timestamp) -> Result<()> {
    let recorded = app.clock.clone();
    app.store.write(Durability::Relaxed, move |tx| {
        clock::record(tx, &recorded.recorded())?;
        usage::delete_hours_before(tx, mark.hour() - HOURS_KEPT)?;
        idempotency::delete_before(tx, Timestamp(mark.0 - REMEMBERED_MS))?;
        Ok(())
    })
}
