//! How often keys are used at a site, for its reports: written in batches, as usage is at a server.

use crate::domain::keys::KeyId;
use crate::domain::text::counted;
use crate::error::Error;
use crate::index::trips::{Trip, Wire};
use crate::index::usage::Pending;
use crate::ops::App;
use crate::store::site::UseRow;
use crate::store::{self, Durability};

/// The code of a use of a decoy.
pub const TRIPPED: &str = "TRIPPED";
/// The code of a use of a secret that has ended.
pub const OLD_SECRET: &str = "OLD_SECRET";

/// Writes the usage of one interval.
pub fn write(app: &App, batch: &[(KeyId, Pending)]) {
    let now = app.now().wall;
    let rows = batch.iter().flat_map(|(key, pending)| {
        let used = pending.last_used.map_or(now, |(at, _)| at);
        pending.verdicts().map(move |(_, code, count)| UseRow {
            key: *key,
            code: code.as_str().to_owned(),
            count: *count,
            last_at: match code.as_str() {
                "VALID" => used,
                _ => now,
            },
        })
    });
    if let Err(err) = add(app, rows.collect()) {
        let keys = counted(batch.len() as u64, "key");
        match err {
            Error::Unavailable(why) => {
                app.index.usage.put_back(batch);
                log::warn!("upkeep: the usage of {keys} waits: {why}");
            }
            err => log::warn!("upkeep: the usage of {keys} is lost: {err}"),
        }
    }
}

/// Writes what tripwires have found. A decoy that is used at a site is an alarm there, and at the server when it hears of it.
pub fn write_trips(app: &App, batch: &[(KeyId, Wire, Trip)]) {
    let row = |(key, wire, trip): &(KeyId, Wire, Trip)| UseRow {
        key: *key,
        code: match wire {
            Wire::Decoy => TRIPPED,
            Wire::Retired => OLD_SECRET,
        }
        .to_owned(),
        count: trip.count,
        last_at: trip.at,
    };
    for (key, wire, trip) in batch {
        let what = match wire {
            Wire::Decoy => "the decoy",
            Wire::Retired => "a secret that has ended, of key",
        };
        log::warn!("tripwires: {what} {key} was tried {} times", trip.count);
    }
    if let Err(err) = add(app, batch.iter().map(row).collect()) {
        log::warn!("tripwires: what was found is not in the next report: {err}");
    }
}

fn add(app: &App, rows: Vec<UseRow>) -> crate::error::Result<()> {
    app.store.write(Durability::Relaxed, move |tx| {
        rows.iter().try_for_each(|row| store::site::add_use(tx, row))
    })
}
