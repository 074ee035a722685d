//! Periodic work: writing usage, recording the mark of the clock, and deleting old rows.

use super::audit::retention::{Retention, RetentionTimer};
use super::idempotency::REMEMBERED_MS;
use super::keys::upgrade;
use super::packs::feed::ask;
use super::usage::is_management;
use super::{App, attempts, index_updates, site, tripwires};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::Unspent;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::usage::Pending;
use crate::store::idempotency;
use crate::store::seals::keys::RemainingUses;
use crate::store::usage;
use crate::store::usage::UsageDelta;
use crate::store::{Durability, clock, retired, seals, uses};
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
    upgrade::write_all(app);
    attempts::save_all(app);
    let mark = app.clock.tick();
    let steady_ms = app.now().steady_ms;
    if used || swept_ms.is_none_or(|at| steady_ms.saturating_sub(at) >= SWEEP_MS) {
        *swept_ms = Some(steady_ms);
        if let Err(err) = sweep(app, mark) {
            log::warn!("upkeep: {err}");
        }
        if let Err(err) = ask::record_all(app) {
            log::warn!("upkeep: {err}");
        }
    }
    if let Some(site) = &app.site {
        site::uses::write_verdicts(app);
        site.fresh.tell(app.now().wall);
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
    site::uses::write_verdicts(app);
    upgrade::write_all(app);
    attempts::save_all(app);
    let reserved = app.index.take_reserved();
    for batch in reserved.chunks(KEYS_A_BATCH) {
        if let Err(err) = give_back(app, batch.to_vec()) {
            log::warn!("upkeep: reserved uses were not given back: {err}");
        }
    }
}

/// Writes the waiting usage. Returns whether there was any.
pub fn write_usage(app: &App) -> bool {
    // Sorted by the order of the tables, so that keys which are written together share pages, and each page is
    // written once.
    let (taken, now) = (app.index.usage.take(), app.now().wall);
    for batch in taken.chunks(KEYS_A_BATCH) {
        if app.site.is_some() {
            site::uses::write(app, batch);
            continue;
        }
        let deltas: Vec<UsageDelta> = batch.iter().map(|one| delta(app, one)).collect();
        let written = app.store.write(Durability::Relaxed, move |tx| {
            usage::add_totals(tx, &deltas)?;
            let mut new_networks = Vec::new();
            for delta in &deltas {
                let found = usage::add_usage(tx, delta)?;
                if let Some(known) = found.filter(|_| !delta.networks.is_empty()) {
                    let new = tripwires::note_networks(tx, delta, &known, now)?;
                    new_networks.extend(new.into_iter().map(|network| (delta.key, network)));
                }
            }
            Ok(new_networks)
        });
        match written {
            Ok(new_networks) => tripwires::tell_networks(app, &new_networks),
            // Nothing was saved, so the usage can be counted again.
            Err(Error::Unavailable(why)) => {
                app.index.usage.put_back(batch);
                let keys = counted(batch.len() as u64, "key");
                log::warn!("upkeep: the usage of {keys} waits: {why}");
            }
            Err(err) => {
                let keys = counted(batch.len() as u64, "key");
                log::warn!("upkeep: the usage of {keys} is lost: {err}");
            }
        }
    }
    app.index.usage.written();
    !taken.is_empty()
}

fn delta(app: &App, (key, pending): &(KeyId, Pending)) -> UsageDelta {
    UsageDelta {
        key: *key,
        is_management: is_management(app, *key),
        uses: pending.uses,
        last_used: pending.last_used,
        previous_used: pending.previous_used,
        networks: pending.networks().collect(),
        verdicts: pending
            .verdicts()
            .map(|(hour, code, count)| (*hour, code.as_str(), *count))
            .collect(),
    }
}

pub(super) fn give_back(app: &App, batch: Vec<(KeyId, Unspent)>) -> Result<()> {
    if app.site.is_some() {
        return site::lent::give_back(app, batch);
    }
    let seal_keys = app.seal_keys.clone();
    app.store.write(Durability::Full, move |tx| {
        for (id, Unspent { epoch, count }) in &batch {
            // Nothing is added to a number that was changed without Latchkey, or set since.
            if let RemainingUses::Counted(_) = seals::keys::find_uses(tx, &seal_keys, *id)? {
                uses::give_back(tx, &seal_keys, *id, *epoch, *count)?;
            }
        }
        Ok(())
    })
}

fn sweep(app: &App, mark: Timestamp) -> Result<()> {
    let recorded = app.clock.clone();
    let forgotten = app.store.write(Durability::Relaxed, move |tx| {
        clock::record(tx, &recorded.recorded())?;
        usage::delete_hours_before(tx, mark.hour() - HOURS_KEPT)?;
        idempotency::delete_before(tx, Timestamp(mark.0 - REMEMBERED_MS))?;
        retired::delete_before(tx, Timestamp(mark.0 - retired::KEPT_MS))
    })?;
    if forgotten > 0 && app.index.is_complete() {
        app.read(|read| index_updates::load_retired(&app.index, read))?;
    }
    Ok(())
}
