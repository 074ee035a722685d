//! Periodic work: writing usage, recording the mark of the clock, and deleting old rows.

use super::audit::retention::{Retention, RetentionTimer};
use super::idempotency::REMEMBERED_MS;
use super::keys::upgrade;
use super::packs::feed::ask;
use super::packs::kept_keys;
use super::usage::is_management;
use super::{App, attempts, site, tripwires};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::Block;
use crate::domain::locks::lock;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::usage::Pending;
use crate::store::idempotency;
use crate::store::seals::keys::RemainingUses;
use crate::store::usage;
use crate::store::usage::UsageDelta;
use crate::store::{Durability, clock, retired, seals, shared_attempts, uses};
use std::sync::Mutex;
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
        if app.site.is_none()
            && let Err(err) = kept_keys::keep(app)
        {
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
        let lost = counted(lost, "verdict");
        log::warn!("upkeep: {lost} not counted, because too many keys were in use at once");
    }
}

/// The last round: writes the waiting usage, and returns the reserved uses to the store.
pub fn flush(app: &App) {
    write_last_usage(app);
    site::uses::write_verdicts(app);
    upgrade::write_all(app);
    attempts::save_all(app);
    let reserved = app.index.take_reserved();
    for batch in reserved.chunks(KEYS_A_BATCH) {
        if let Err(err) = give_back(app, batch.to_vec()) {
            log::warn!("upkeep: reserved uses were not given back: {err}");
        }
    }
    if let Err(err) = site::lent::tell(app) {
        log::warn!("upkeep: an older copy of the database may go unnoticed: {err}");
    }
}

/// The batches of usage of this process. Each has a number, by which the store knows whether it is written.
#[derive(Default)]
pub struct UsageBatches(Mutex<Batches>);

#[derive(Default)]
struct Batches {
    newest: i64,
    /// The batch of which it is not known whether it is written, and how often the store refused it. It is all that is on its
    /// way to the store, and no other one is written before it.
    unknown: Option<(i64, u32)>,
}

/// How often a batch is refused before it is given up, so that one that can never be written does not stop all others. While the
/// store is not available, nothing is known about the batch, and it waits.
const TRIES_MAX: u32 = 20;

/// The number of refusals of a batch after another failure. A store that is not available refuses nothing.
fn refused(before: u32, err: &Error) -> u32 {
    match err {
        Error::Unavailable(_) => before,
        _ => before + 1,
    }
}

/// Writes the waiting usage. Returns whether there was any.
///
/// After an error it is not known whether the batch is written: the store may have failed after the commit. So the same batch is
/// tried again in the next round, under its number; if it was written, it does not count again.
pub fn write_usage(app: &App) -> bool {
    let mut batches = lock(&app.usage_batches.0);
    let usage = &app.index.usage;
    if let Some((number, tries)) = batches.unknown {
        match write_batch(app, number, &usage.leaving()) {
            Ok(()) => {}
            Err(err) if refused(tries, &err) < TRIES_MAX => {
                log::warn!("upkeep: it is still not known whether some usage is written: {err}");
                batches.unknown = Some((number, refused(tries, &err)));
                return false;
            }
            Err(err) => log::warn!("upkeep: some usage may be lost: {err}"),
        }
        batches.unknown = None;
        usage.written();
    }
    // Sorted by the order of the tables, so that keys which are written together share pages, and each page is
    // written once.
    let taken = usage.take();
    for (position, batch) in taken.chunks(KEYS_A_BATCH).enumerate() {
        batches.newest += 1;
        let keys = counted(batch.len() as u64, "key");
        match write_batch(app, batches.newest, batch) {
            Ok(()) => {}
            Err(err) => {
                log::warn!("upkeep: it is not known whether the usage of {keys} is written: {err}");
                batches.unknown = Some((batches.newest, refused(0, &err)));
                let rest = &taken[position * KEYS_A_BATCH + batch.len()..];
                usage.keep_leaving(batch, rest);
                return true;
            }
        }
    }
    usage.written();
    !taken.is_empty()
}

/// Writes all waiting usage at the end of the process, each batch once: no later round tries again.
fn write_last_usage(app: &App) {
    let mut batches = lock(&app.usage_batches.0);
    let usage = &app.index.usage;
    let write = |number, batch: &[(KeyId, Pending)]| {
        if let Err(err) = write_batch(app, number, batch) {
            let keys = counted(batch.len() as u64, "key");
            log::warn!(
                "upkeep: the usage of {keys} is lost, unless it was written without an answer: {err}"
            );
        }
    };
    if let Some((number, _)) = batches.unknown.take() {
        write(number, &usage.leaving());
        usage.written();
    }
    for batch in usage.take().chunks(KEYS_A_BATCH) {
        batches.newest += 1;
        write(batches.newest, batch);
    }
    usage.written();
}

/// Writes a batch, unless it is written already.
fn write_batch(app: &App, number: i64, batch: &[(KeyId, Pending)]) -> Result<()> {
    let (node, now) = (app.node()?, app.now().wall);
    if app.site.is_some() {
        return site::uses::write(app, node, number, batch);
    }
    let deltas: Vec<UsageDelta> = batch.iter().map(|one| delta(app, one)).collect();
    let new_networks = app.store.write(Durability::Relaxed, move |tx| {
        let mut new_networks = Vec::new();
        if !usage::begin_batch(tx, node, number)? {
            return Ok(new_networks);
        }
        usage::add_totals(tx, &deltas)?;
        let found = usage::add_usage(tx, &deltas)?;
        for (delta, known) in deltas.iter().zip(found) {
            if let Some(known) = known.filter(|_| !delta.networks.is_empty()) {
                let new = tripwires::note_networks(tx, delta, &known, now)?;
                new_networks.extend(new.into_iter().map(|network| (delta.key, network)));
            }
        }
        Ok(new_networks)
    })?;
    tripwires::tell_networks(app, &new_networks);
    Ok(())
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

pub(super) fn give_back(app: &App, batch: Vec<(KeyId, Block)>) -> Result<()> {
    if app.site.is_some() {
        return site::lent::give_back(app, batch);
    }
    let seal_keys = app.seal_keys.clone();
    app.store.write(Durability::Full, move |tx| {
        for (id, Block { epoch, count }) in &batch {
            // Nothing is added to a number that was changed without Latchkey, or set since.
            if let RemainingUses::Counted(_) = seals::keys::find_uses(tx, &seal_keys, *id)? {
                uses::give_back(tx, &seal_keys, *id, *epoch, *count)?;
            }
        }
        Ok(())
    })
}

fn sweep(app: &App, mark: Timestamp) -> Result<()> {
    let (node, recorded) = (app.node.id(), app.clock.clone());
    let forgotten = app.store.write(Durability::Relaxed, move |tx| {
        clock::record(tx, node, &recorded.recorded())?;
        usage::delete_hours_before(tx, mark.hour() - HOURS_KEPT)?;
        idempotency::delete_before(tx, Timestamp(mark.0 - REMEMBERED_MS))?;
        if tx.is_shared() {
            shared_attempts::delete_before(tx, Timestamp(mark.0 - shared_attempts::KEPT_MS))?;
        }
        retired::delete_before(tx, Timestamp(mark.0 - retired::KEPT_MS))
    })?;
    if forgotten > 0 && app.index.is_complete() {
        app.applier.reload_retired(&app.store)?;
    }
    app.store.forget_exact_windows()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::verdict::Question;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::verify::verify_blocking;
    use crate::store::{self, Write};
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc::channel;

    fn key(fixture: &Fixture) -> (KeyId, String) {
        let members = KeyMembers {
            name: Some("used".to_owned()),
            ..KeyMembers::default()
        };
        let new = NewKey {
            members,
            ..NewKey::default()
        };
        let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
        let secret = issued.secret.unwrap();
        (issued.view.key.id, secret.expose().to_owned())
    }

    fn use_it(app: &App, secret: &str, times: usize) {
        for _ in 0..times {
            let question = Question {
                cost: 1,
                ..Question::default()
            };
            verify_blocking(app, secret, &question, None, |it| it.code).unwrap();
        }
    }

    fn written(app: &App, id: KeyId) -> (u64, u64) {
        let read = |read: &store::Read| {
            let all = usage::list_totals(read, 1, 0)?;
            Ok((
                usage::find_usage(read, id)?.use_count,
                all.iter().map(|row| row.count).sum(),
            ))
        };
        app.read(read).unwrap()
    }

    /// Writes the usage in one batch of changes with another change, which follows it.
    fn write_with(app: &App, other: impl FnOnce(&Write<'_>) -> Result<()> + Send + 'static) {
        let (release, wait) = channel::<()>();
        let (running, started) = channel();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| {
                app.store.write(Durability::Full, move |_| {
                    running.send(()).unwrap();
                    let _ = wait.recv();
                    Ok(())
                })
            });
            started.recv().unwrap();
            let waits_for = |count: i64| {
                while app.figures().changes_waiting.load(Relaxed) < count {
                    std::thread::yield_now();
                }
            };
            let writing = scope.spawn(|| write_usage(app));
            waits_for(1);
            let other = scope.spawn(|| app.store.write(Durability::Relaxed, other));
            waits_for(2);
            drop(release);
            held.join().unwrap().unwrap();
            assert!(writing.join().unwrap());
            assert!(other.join().unwrap().is_err());
        });
    }

    /// The commit is made, and its outcome is not known.
    #[test]
    fn usage_that_was_written_without_an_answer_counts_once() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = key(&fixture);
        use_it(app, &secret, 5);
        write_with(app, |tx| {
            tx.after_commit(|| panic!("on purpose"));
            Ok(())
        });
        use_it(app, &secret, 2);
        assert!(app.index.usage.last_used(id).is_some());
        assert!(write_usage(app));
        assert_eq!(written(app, id), (7, 7));
        assert!(!write_usage(app));
        use_it(app, &secret, 1);
        assert!(write_usage(app));
        assert_eq!(written(app, id), (8, 8));
    }

    /// The commit fails with an error that leaves open whether anything was saved.
    #[test]
    fn usage_whose_commit_failed_is_not_lost() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = key(&fixture);
        use_it(app, &secret, 5);
        write_with(app, |tx| {
            tx.execute("PRAGMA defer_foreign_keys = ON", &[])?;
            tx.execute(
                "INSERT INTO key_usage (key_id, use_count) VALUES ('nobody', 1)",
                &[],
            )?;
            Ok(())
        });
        assert_eq!(written(app, id).0, 0);
        assert!(app.index.usage.last_used(id).is_some());
        assert_eq!(
            app.index
                .usage
                .pending(id)
                .map_or(0, |pending| pending.uses),
            0
        );
        write_usage(app);
        assert_eq!(written(app, id), (5, 5));
    }

    /// The file of the database is away after the commit, so that it is not available, although the usage is written.
    #[test]
    fn usage_that_was_written_before_the_store_went_away_counts_once() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let (id, secret) = key(&fixture);
        let (path, away) = (fixture.folder.join("db"), fixture.folder.join("away"));
        use_it(app, &secret, 5);
        let (from, to) = (path.clone(), away.clone());
        write_with(app, |tx| {
            tx.after_commit(move || std::fs::rename(from, to).unwrap());
            Ok(())
        });
        // It waits for as long as the store is away.
        use_it(app, &secret, 2);
        for _ in 0..2 * TRIES_MAX {
            assert!(!write_usage(app));
        }
        std::fs::rename(away, path).unwrap();
        assert!(write_usage(app));
        assert_eq!(written(app, id), (7, 7));
    }

    /// Three keys: the usage of the first is written, that of the second is refused, and that of the third waits. The store refuses
    /// every key that was used as often as another one.
    fn refused_between(fixture: &Fixture) -> [KeyId; 3] {
        let app = &fixture.app;
        let [(first, a), (never, b), (later, c)] = [(); 3].map(|()| key(fixture));
        let sql = "CREATE UNIQUE INDEX equal_counts ON key_usage (use_count)";
        let refuse = move |tx: &Write<'_>| tx.execute(sql, &[]);
        app.store.write(Durability::Full, refuse).unwrap();
        use_it(app, &a, 5);
        assert!(write_usage(app));
        use_it(app, &b, 5);
        assert!(write_usage(app));
        use_it(app, &c, 3);
        [first, never, later]
    }

    #[test]
    fn usage_that_is_always_refused_stops_no_other_for_good() {
        let fixture = Fixture::new();
        let (app, keys) = (&fixture.app, refused_between(&fixture));
        for _ in 2..TRIES_MAX {
            assert!(!write_usage(app));
        }
        assert_eq!(written(app, keys[2]).0, 0);
        assert!(write_usage(app));
        let counts = keys.map(|id| written(app, id).0);
        assert_eq!(counts, [5, 0, 3]);
    }

    #[test]
    fn the_last_round_writes_what_can_be_written() {
        let fixture = Fixture::new();
        let (app, keys) = (&fixture.app, refused_between(&fixture));
        flush(app);
        let counts = keys.map(|id| written(app, id).0);
        assert_eq!(counts, [5, 0, 3]);
        // Nothing is left that a second end of the process could write.
        flush(app);
        assert_eq!(written(app, keys[2]), (3, 8));
    }

    /// A process that is killed has written some batches; the next one of the same node begins with other numbers.
    #[test]
    fn the_next_process_of_a_node_is_not_taken_for_the_last() {
        let mut fixture = Fixture::new();
        let (id, secret) = key(&fixture);
        for round in 1..=3 {
            use_it(&fixture.app, &secret, 2);
            write_usage(&fixture.app);
            assert_eq!(written(&fixture.app, id).0, 4 * round - 2);
            use_it(&fixture.app, &secret, 1);
            write_usage(&fixture.app);
            use_it(&fixture.app, &secret, 1);
            fixture.reopen(&[]);
            assert_eq!(written(&fixture.app, id).0, 4 * round);
        }
    }
}
