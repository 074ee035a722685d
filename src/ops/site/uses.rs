//! How often keys are used at a site, for its reports: written in batches, as usage is at a server.

use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::domain::locks::lock;
use crate::domain::metrics::CODES;
use crate::domain::nodes::Node;
use crate::error::Result;
use crate::index::trips::{Trip, Wire};
use crate::index::usage::Pending;
use crate::ops::App;
use crate::store::site::UseRow;
use crate::store::{self, Durability, usage};
use std::sync::Mutex;

/// The code of a use of a decoy.
const TRIPPED: &str = "TRIPPED";
/// The code of a use of a secret that has ended.
const OLD_SECRET: &str = "OLD_SECRET";

/// The verdicts of this process that are stored already, in the order of [`CODES`].
pub type Stored = Mutex<[u64; CODES.len()]>;

/// Writes a batch of usage, unless it is written already.
pub fn write(app: &App, node: Node, number: i64, batch: &[(KeyId, Pending)]) -> Result<()> {
    let row = |(key, pending): &(KeyId, Pending)| {
        let refused = pending
            .verdicts()
            .filter(|(_, code, _)| *code != Code::Valid);
        UseRow {
            key: *key,
            uses: pending.uses,
            refusals: refused.map(|(_, _, count)| count).sum(),
            last_used_at: pending.last_used.map(|(at, _)| at),
        }
    };
    let rows: Vec<UseRow> = batch.iter().map(row).collect();
    app.store.write(Durability::Relaxed, move |tx| {
        match usage::begin_batch(tx, node, number)? {
            true => rows
                .iter()
                .try_for_each(|row| store::site::add_use(tx, row)),
            false => Ok(()),
        }
    })?;
    if let Some(site) = &app.site {
        site.unreported.note(batch.iter().map(|(key, _)| *key));
    }
    Ok(())
}

/// Writes the verdicts since the last time, those on unknown secrets included.
pub fn write_verdicts(app: &App) {
    let Some(site) = &app.site else {
        return;
    };
    let mut stored = lock(&site.verdicts);
    let now = app.figures().verdicts();
    let since = CODES.iter().zip(now.iter().zip(stored.iter()));
    let more: Vec<(&'static str, u64)> = since
        .filter(|(_, (now, stored))| now > stored)
        .map(|(code, (now, stored))| (code.as_str(), now - stored))
        .collect();
    if more.is_empty() {
        return;
    }
    match add(app, Vec::new(), more) {
        Ok(()) => *stored = now,
        Err(err) => log::warn!("upkeep: the verdicts of this site wait: {err}"),
    }
}

/// Writes what tripwires have found. A decoy that is used at a site is an alarm there, and at the server when it hears of it.
pub fn write_trips(app: &App, batch: &[(KeyId, Wire, Trip)]) {
    let row = |(key, _, trip): &(KeyId, Wire, Trip)| UseRow {
        key: *key,
        uses: 0,
        refusals: trip.count,
        last_used_at: None,
    };
    let mut codes = Vec::new();
    for (key, wire, trip) in batch {
        let (what, code) = match wire {
            Wire::Decoy => ("the decoy", TRIPPED),
            Wire::Retired => ("a secret that has ended, of key", OLD_SECRET),
        };
        log::warn!("tripwires: {what} {key} was tried {} times", trip.count);
        codes.push((code, trip.count));
    }
    match add(app, batch.iter().map(row).collect(), codes) {
        Ok(()) => {
            let keys = batch.iter().map(|(key, ..)| *key);
            app.site
                .iter()
                .for_each(|site| site.unreported.note(keys.clone()));
        }
        Err(err) => log::warn!("tripwires: what was found is not in the next report: {err}"),
    }
}

fn add(app: &App, rows: Vec<UseRow>, codes: Vec<(&'static str, u64)>) -> Result<()> {
    app.store.write(Durability::Relaxed, move |tx| {
        for row in &rows {
            store::site::add_use(tx, row)?;
        }
        for (code, more) in &codes {
            store::site::add_verdicts(tx, code, *more)?;
        }
        Ok(())
    })
}
