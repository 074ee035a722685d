//! Tripwires: what is recorded when a decoy or a secret that has ended was tried, or when a key is used from a network that
//! it was never used from.
//!
//! Verifications only note in memory what they have found. A thread of its own writes it: a count for each key and kind,
//! and at most one audit event in ten minutes, so that repeated attempts with such a secret cannot fill the log.

use super::keys::edit::switch_one;
use super::{App, Record, append_all, keys, site};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::alarms::{Alarm, AlarmKind, is_due};
use crate::domain::keys::network::{Network, merge};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId};
use crate::domain::notices::{Data, Kind as NoticeKind};
use crate::domain::policies::OnReuse;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::trips::{Trip, Wire};
use crate::store::alarms::Found;
use crate::store::usage::{KnownNetworks, UsageDelta, set_networks};
use crate::store::{Durability, Write, alarms, keys as rows, retired};
use std::sync::Arc;
use std::time::Duration;

/// The number of keys whose trips are recorded in one transaction.
const BATCH: usize = 100;
/// How long trips wait at least until they are recorded, so that many of them become one write.
const PAUSE_MS_MIN: u64 = 500;
/// How much longer they wait at random. No trip wakes the thread, so the time of its write does not show when one happened.
const PAUSE_MS_MORE: u64 = 1_000;
/// How long trips wait that the store could not take.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(5);
/// How long networks that a key is used from are learnt, if it was used before any network was known: an hour.
const LEARNING_S: u64 = 3_600;

/// Records trips until the process ends.
pub fn run(app: &App) {
    let mut pause = some_pause();
    while !app.is_closed() {
        std::thread::sleep(pause);
        pause = match record_all(app) {
            true => some_pause(),
            false => PAUSE_AFTER_FAULT,
        };
    }
}

/// A random time of 0.5 to 1.5 seconds. Without random bytes it is the longest.
fn some_pause() -> Duration {
    let mut random = [0; 8];
    let more = match crate::domain::random::fill(&mut random) {
        Ok(()) => u64::from_le_bytes(random) % PAUSE_MS_MORE,
        Err(_) => PAUSE_MS_MORE,
    };
    Duration::from_millis(PAUSE_MS_MIN + more)
}

/// Records the trips that wait. `false` if some have to wait longer.
pub fn record_all(app: &App) -> bool {
    let mut is_done = true;
    let lost = app.index.trips.take_lost();
    if lost > 0 {
        let lost = counted(lost, "trip");
        log::warn!("tripwires: only the number is known of {lost}, over too many keys at once");
    }
    let taken = app.index.trips.take();
    for batch in taken.chunks(BATCH) {
        if app.site.is_some() {
            site::uses::write_trips(app, batch);
            continue;
        }
        match record(app, batch.to_vec()) {
            Ok(disabled) => disabled.iter().for_each(|id| {
                log::warn!(
                    "tripwires: key {id} is disabled: an old secret was tried after the new one was used"
                );
            }),
            Err(Error::Unavailable(why)) => {
                log::warn!(
                    "tripwires: what was found about {} keys waits: {why}",
                    batch.len()
                );
                app.index.trips.put_back(batch.to_vec());
                is_done = false;
            }
            Err(err) => log::error!(
                "tripwires: what was found about {} keys is lost: {err}",
                batch.len()
            ),
        }
    }
    is_done
}

/// Records trips together with what they demand, so that no end of the process separates the two. Returns the keys that
/// were disabled.
fn record(app: &App, batch: Vec<(KeyId, Wire, Trip)>) -> Result<Vec<KeyId>> {
    let (index, seal_keys, now) = (app.index.clone(), app.seal_keys.clone(), app.now().wall);
    app.store.write(Durability::Full, move |tx| {
        let mut disabled = Vec::new();
        for (id, wire, trip) in &batch {
            record_one(tx, &seal_keys, *id, kind_of(*wire), trip, now)?;
            let is_reuse = *wire == Wire::Retired && trip.after_use;
            if is_reuse && react(tx, &index, &seal_keys, *id, now)? {
                disabled.push(*id);
            }
        }
        Ok(disabled)
    })
}

fn kind_of(wire: Wire) -> AlarmKind {
    match wire {
        Wire::Decoy => AlarmKind::Tripped,
        Wire::Retired => AlarmKind::OldSecret,
    }
}

fn record_one(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    id: KeyId,
    kind: AlarmKind,
    trip: &Trip,
    now: Timestamp,
) -> Result<()> {
    let request = format!("{} {}", trip.method, trip.path);
    let address = trip.address.map(|address| address.to_string());
    let found = Found {
        count: trip.count,
        at: trip.at,
        address: address.clone(),
        place: request.trim(),
    };
    let Some(recorded_at) = alarms::add(tx, id, kind, &found)? else {
        return Ok(());
    };
    let Some(key) = rows::find(tx, id)?.filter(|_| is_due(recorded_at, now)) else {
        return Ok(());
    };
    let mut changes = Changes::default();
    changes.note_always("times", Some(&trip.count.to_string()));
    changes.note_always("via", Some(trip.via));
    if !found.place.is_empty() {
        changes.note_always("request", Some(found.place));
    }
    let draft = Event {
        source: address.unwrap_or_default(),
        ..by_system(now)
    };
    let records = vec![(kind.action(), record_of(&key, changes))];
    append_all(tx, seal_keys, &draft, records)?;
    alarms::set_recorded(tx, id, kind, now)
}

/// An event of the server, without what it is about.
fn by_system(now: Timestamp) -> Event {
    Event::of_system("", Target::server(), now)
}

/// What an event about a key records.
pub(super) fn record_of(key: &Key, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::Key, key.id),
        workspace: Some(key.workspace),
        changes,
    }
}

/// Disables a key whose policy demands it, because an old secret was tried after the new one was used. Whether that is so
/// is read from the store: a rotation or an enabling of the key since then has cleared it. `true` if it is disabled now.
fn react(
    tx: &Write<'_>,
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    id: KeyId,
    now: Timestamp,
) -> Result<bool> {
    let Some(key) = rows::find(tx, id)?.filter(|key| key.enabled && key.deleted_at.is_none())
    else {
        return Ok(false);
    };
    let caller = {
        let directory = index.directory();
        let policy = directory.policy(&key.policy);
        if !policy.is_some_and(|policy| policy.on_reuse == OnReuse::Disable) {
            return Ok(false);
        }
        Caller::system(&directory)?
    };
    if !retired::has_ended_by_use(tx, id)? {
        return Ok(false);
    }
    let record = match switch_one(tx, index, seal_keys, &caller, id, false) {
        Ok((record, _)) => record,
        // What was found is recorded nevertheless. A refusal comes before anything is written.
        Err(err @ (Error::Conflict(_) | Error::Forbidden(_) | Error::NotFound(_))) => {
            log::error!("tripwires: key {id} could not be disabled: {err}");
            return Ok(false);
        }
        Err(err) => return Err(err),
    };
    let Some(record) = record else {
        return Ok(false);
    };
    append_all(
        tx,
        seal_keys,
        &by_system(now),
        vec![("key.disable", record)],
    )?;
    Ok(true)
}

/// Stores the networks that a key was used from in an interval. Returns those that it was never used from before.
pub fn note_networks(
    tx: &Write<'_>,
    delta: &UsageDelta,
    known: &KnownNetworks,
    now: Timestamp,
) -> Result<Vec<Network>> {
    let (networks, new) = merge(&known.networks, &delta.networks);
    // A key that was used before networks were remembered has used unknown ones.
    let from = match known.networks.is_empty() && known.was_used {
        true => Some(now.plus_s(LEARNING_S)),
        false => known.from,
    };
    if networks != known.networks || from != known.from {
        set_networks(tx, delta.key, &networks, from)?;
    }
    let is_learning = known.networks.is_empty() || from.is_some_and(|from| now < from);
    Ok(match is_learning {
        true => Vec::new(),
        false => new,
    })
}

/// Reports networks that keys were used from for the first time.
pub fn tell_networks(app: &App, new: &[(KeyId, Network)]) {
    for of_key in new.chunk_by(|(one, _), (other, _)| one == other) {
        let networks: Vec<String> = of_key
            .iter()
            .map(|(_, network)| network.to_string())
            .collect();
        if let Some((key, _)) = of_key.first() {
            let subject = Target::new(Kind::Key, key);
            app.notices
                .note(app.now(), NoticeKind::KeyNewSource, subject, || {
                    Data::default().with("networks", networks.join(" "))
                });
        }
    }
}

/// The alarms of a key that the caller may see.
pub fn of_key(app: &App, caller: &Caller, id: KeyId) -> Result<Vec<Alarm>> {
    keys::find(app, caller, id)?;
    app.read(|read| alarms::list(read, id))
}
