//! Notices: found in memory by what answers requests, in the audit log, in the times of keys and in the state of the
//! machine; stored in batches by a thread of their own, so that nothing else waits for them.

mod from_events;
mod keys;
pub mod list;
mod machine;
pub mod sinks;

use super::App;
use crate::domain::audit::{self, Target};
use crate::domain::locks::lock;
use crate::domain::notices::repeats::Waiting;
use crate::domain::notices::sink::Series;
use crate::domain::notices::{Data, Draft, Kind};
use crate::domain::time::Moment;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::store::{Durability, Write, notices};
use sinks::SinkState;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The time between two rounds of [`run`].
const ROUND: Duration = Duration::from_secs(1);
/// The same after a round in which notices could not be stored.
const PAUSE: Duration = Duration::from_secs(10);
/// How often keys and the machine are looked at.
const LOOK_MS: u64 = 60_000;
/// The number of stored notices; beyond it, the oldest are deleted.
const STORED_MAX: u64 = 10_000;
/// How many are deleted together.
const DELETED: i64 = 1_000;
/// After an event, so many rounds ask a database on a server, which other nodes may add notices to. Later only each so many-th one does.
const ASKS_AFTER_EVENT: u32 = 3;
const ASKS_EVERY: u32 = 30;
/// More than this of one kind in one workspace at once are one notice.
const SINGLE_MAX: usize = 20;

/// Notices that wait for the store, and the sinks that wait for notices.
#[derive(Default)]
pub struct Notices {
    waiting: Mutex<Waiting>,
    sinks: OnceLock<Vec<Arc<SinkState>>>,
    /// The newest number of each series.
    newest: [AtomicI64; 2],
    /// Grows whenever sinks have something to do.
    turn: Mutex<u64>,
    turned: Condvar,
    machine: Mutex<machine::Reported>,
    /// Whether [`run`] has begun: a single command finds and stores nothing.
    running: AtomicBool,
}

impl Notices {
    /// Notes that something has happened, in memory only: this waits for no disk. Within ten minutes the same kind and
    /// subject is only counted, and `data` is not called.
    pub fn note(&self, now: Moment, kind: Kind, subject: Target, data: impl FnOnce() -> Data) {
        lock(&self.waiting).note(now, kind, subject, data);
    }

    /// Waits until there may be something to send after the turn `seen`, or until the time is over. Returns the current
    /// turn.
    pub fn wait(&self, seen: u64, patience: Duration) -> u64 {
        let turn = lock(&self.turn);
        let waited = self
            .turned
            .wait_timeout_while(turn, patience, |turn| *turn == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes the sinks.
    fn wake(&self) {
        *lock(&self.turn) += 1;
        self.turned.notify_all();
    }

    /// Records the newest number of a series, and wakes the sinks if it has grown.
    fn note_newest(&self, series: Series, newest: i64) {
        if self.newest[series as usize].swap(newest, Relaxed) != newest {
            self.wake();
        }
    }
}

/// Which rounds ask the database. The index follows the events of all nodes in any case, so an idle node rarely asks a server.
#[derive(Default)]
struct Rounds {
    /// The newest event that the index had in the latest round.
    applied: i64,
    /// The number of rounds since it had another one.
    since: u32,
}

impl Rounds {
    /// Begins a round; `true` if it is one that asks.
    fn next(&mut self, app: &App) -> bool {
        let applied = app.applier.applied();
        self.since = match self.applied == applied {
            true => self.since.saturating_add(1),
            false => 0,
        };
        self.applied = applied;
        !app.store.is_shared()
            || self.since < ASKS_AFTER_EVENT
            || self.since.is_multiple_of(ASKS_EVERY)
    }
}

/// Finds and stores notices until the server stops.
pub fn run(app: &App) {
    app.notices.running.store(true, Relaxed);
    let mut looked_ms = None;
    let mut rounds = Rounds::default();
    while !app.is_closed() {
        let steady_ms = app.now().steady_ms;
        if looked_ms.is_none_or(|at| steady_ms.saturating_sub(at) >= LOOK_MS) {
            looked_ms = Some(steady_ms);
            look(app);
        }
        let pause = match begun_round(app, rounds.next(app)) {
            Ok(()) => ROUND,
            // A full disk stays full for longer than a second.
            Err(err) => {
                rounds = Rounds::default();
                log::warn!("notices: {err}");
                PAUSE
            }
        };
        std::thread::sleep(pause);
    }
    app.notices.wake();
}

/// Looks at everything that changes slowly: the times of keys, and the machine.
pub fn look(app: &App) {
    machine::look(app);
    if let Err(err) = keys::look(app) {
        log::warn!("notices: {err}");
    }
}

/// A round that asks the database.
fn round(app: &App) -> Result<()> {
    begun_round(app, true)
}

/// One round. It writes only if there is something to store, so an idle server writes nothing; and it reads if `asks` is set, or if it
/// has written.
fn begun_round(app: &App, asks: bool) -> Result<()> {
    if asks {
        from_events::read(app)?;
    }
    if write_waiting(app)? || asks {
        let newest = app.read(notices::newest)?;
        app.notices.note_newest(Series::Notices, newest);
    }
    Ok(())
}

/// Stores what has been found in the last second before the server stops.
pub(super) fn flush(app: &App) {
    if !app.notices.running.load(Relaxed) {
        return;
    }
    if let Err(err) = round(app) {
        log::warn!("notices: {err}");
    }
}

/// Stores the notices that wait in memory; `false` if there are none.
fn write_waiting(app: &App) -> Result<bool> {
    let drafts = lock(&app.notices.waiting).take(app.now());
    if drafts.is_empty() {
        return Ok(false);
    }
    let (copies, sinks) = (drafts.clone(), cursors(app));
    let written = app.store.write(Durability::Relaxed, move |tx| {
        insert_all(tx, &copies, &sinks)
    });
    if written.is_err() {
        lock(&app.notices.waiting).put_back(drafts);
    }
    written.map(|()| true)
}

/// Stores notices of a reader together with its new position, so that each is found once. Those whose kind and subject
/// were noted in the last ten minutes are counted only.
fn write_found(
    app: &App,
    reader: &'static str,
    series: &str,
    position: i64,
    drafts: Vec<Draft>,
) -> Result<()> {
    let now = app.now();
    let mut different: Vec<Draft> = Vec::new();
    for draft in drafts {
        let is_same = |one: &&mut Draft| (one.kind, &one.subject) == (draft.kind, &draft.subject);
        match different.iter_mut().find(is_same) {
            // Several of one round are one notice with their number.
            Some(first) => first.add(&draft),
            None => different.push(draft),
        }
    }
    let different = gathered(app, different)?;
    let waiting = lock(&app.notices.waiting);
    let (counted, fresh): (Vec<Draft>, Vec<Draft>) = different
        .into_iter()
        .partition(|draft| waiting.knows(draft.kind, &draft.subject));
    drop(waiting);
    let (copies, sinks) = (fresh.clone(), cursors(app));
    let of_series = series.to_owned();
    app.store.write(Durability::Relaxed, move |tx| {
        insert_all(tx, &copies, &sinks)?;
        notices::put_cursor(tx, reader, &of_series, position)
    })?;
    let mut waiting = lock(&app.notices.waiting);
    fresh.iter().for_each(|draft| waiting.open(now, draft));
    for draft in counted {
        for _ in 0..draft.count {
            waiting.note(now, draft.kind, draft.subject.clone(), || {
                draft.data.clone()
            });
        }
    }
    Ok(())
}

/// The same notices, but one for each workspace and kind of which there are more than [`SINGLE_MAX`]. What is in no
/// workspace counts together too.
fn gathered(app: &App, drafts: Vec<Draft>) -> Result<Vec<Draft>> {
    if drafts.len() <= SINGLE_MAX {
        return Ok(drafts);
    }
    let places = app.read(|read| {
        let places = drafts.iter().map(|draft| {
            let (workspace, _) = notices::find_place(read, &draft.subject)?;
            Ok((draft.kind, workspace))
        });
        places.collect::<Result<Vec<_>>>()
    })?;
    let mut sizes: HashMap<(Kind, Option<Uid>), usize> = HashMap::new();
    for place in &places {
        *sizes.entry(*place).or_default() += 1;
    }
    let mut found: Vec<Draft> = Vec::new();
    let mut begun: HashMap<(Kind, Option<Uid>), usize> = HashMap::new();
    for (draft, place) in drafts.into_iter().zip(places) {
        let size = sizes.get(&place).copied().unwrap_or(0);
        if size <= SINGLE_MAX {
            found.push(draft);
            continue;
        }
        let known = begun.get(&place).and_then(|at| found.get_mut(*at));
        if let Some(first) = known {
            first.add(&draft);
            continue;
        }
        begun.insert(place, found.len());
        let subject = match place.1 {
            Some(uid) => Target::new(audit::Kind::Workspace, uid),
            None => Target::server(),
        };
        let data = Data::default()
            .with("subjects", size)
            .with("first", &draft.subject.id);
        found.push(Draft {
            subject,
            data,
            ..draft
        });
    }
    Ok(found)
}

/// The names under which the positions of the configured sinks are stored.
fn cursors(app: &App) -> Vec<&'static str> {
    let sinks = app.notices.sinks().iter();
    sinks.map(|state| state.sink.as_str()).collect()
}

/// Stores notices. If there are too many, the oldest go, and one more notice reports it: with the sinks that have not sent
/// all of those, or else because users may not have seen them.
fn insert_all(tx: &Write<'_>, drafts: &[Draft], sinks: &[&'static str]) -> Result<()> {
    let mut newest = 0;
    for draft in drafts {
        newest = notices::insert(tx, draft)?;
    }
    let count = notices::count(tx)?;
    if count <= STORED_MAX {
        return Ok(());
    }
    let oldest = newest + 1 - i64::try_from(count).unwrap_or(0);
    let last = newest - i64::try_from(STORED_MAX).unwrap_or(0) + DELETED;
    let deleted = notices::delete_until(tx, last)?;
    let mut lost = 0;
    let mut late = Vec::new();
    for sink in sinks {
        let series = Series::Notices.as_str();
        let position = notices::find_cursor(tx, sink, series)?.unwrap_or(last);
        if position < last {
            lost = lost.max(last + 1 - oldest.max(position + 1));
            late.push(*sink);
        }
    }
    let Some(at) = drafts.last().map(|draft| draft.last_at) else {
        return Ok(());
    };
    let (count, data) = match late.is_empty() {
        true => (
            u64::try_from(deleted).unwrap_or(0),
            Data::default().with("reason", "the oldest were deleted to make room"),
        ),
        false => (
            u64::try_from(lost).unwrap_or(0),
            Data::default()
                .with("reason", "too old to be sent")
                .with("sinks", late.join(" ")),
        ),
    };
    let draft = Draft {
        count,
        ..Draft::once(Kind::NoticesLost, Target::server(), at, data)
    };
    notices::insert(tx, &draft).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notices::Notice;
    use crate::domain::notices::filter::Filter;
    use crate::domain::notices::sink::Sink;
    use crate::ops::setup::fixture::Fixture;

    pub fn stored(app: &App) -> Vec<Notice> {
        let found = app
            .read(|read| notices::list_after(read, 0, 1_000))
            .unwrap();
        found.into_iter().filter_map(|(_, notice)| notice).collect()
    }

    #[test]
    fn what_is_noted_is_stored_with_the_place_of_its_subject() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let mut key = None;
        app.index
            .each_key(|_, live| key = Some((live.id, live.shared.workspace)));
        let (id, workspace) = key.unwrap();
        let subject = Target::new(audit::Kind::Key, id);
        for _ in 0..3 {
            app.notices
                .note(app.now(), Kind::KeyTripped, subject.clone(), || {
                    Data::default().with("address", "192.0.2.1")
                });
        }
        round(app).unwrap();
        round(app).unwrap();
        let found = stored(app);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].count), (Kind::KeyTripped, 3));
        assert_eq!(found[0].workspace, Some(workspace));
        assert_eq!(found[0].subject, subject);
    }

    #[test]
    fn the_oldest_go_and_a_late_sink_is_reported() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let state = SinkState::new(Sink::File, Filter::default(), false);
        sinks::begin(app, vec![Arc::new(state)]).unwrap();
        let draft = Draft::once(
            Kind::DiskLow,
            Target::server(),
            app.now().wall,
            Data::default(),
        );
        let drafts = vec![draft; 10_001];
        let write = move |tx: &Write<'_>| insert_all(tx, &drafts, &["file"]);
        app.store.write(Durability::Relaxed, write).unwrap();
        let found = app.read(notices::count).unwrap();
        assert_eq!(found, STORED_MAX - 1_000 + 1);
        let newest = app
            .read(|read| notices::list_before(read, i64::MAX, 1))
            .unwrap();
        let notice = newest[0].1.clone().unwrap();
        assert_eq!((notice.kind, notice.count), (Kind::NoticesLost, 1_001));
        // A sink that has sent everything misses nothing, but users may.
        sinks::advance(app, &app.notices.sinks()[0], Series::Notices, 10_002).unwrap();
        let drafts = vec![
            Draft::once(
                Kind::DiskLow,
                Target::server(),
                app.now().wall,
                Data::default()
            );
            1_000
        ];
        let write = move |tx: &Write<'_>| insert_all(tx, &drafts, &["file"]);
        app.store.write(Durability::Relaxed, write).unwrap();
        let newest = app
            .read(|read| notices::list_before(read, i64::MAX, 1))
            .unwrap();
        let notice = newest[0].1.clone().unwrap();
        assert_eq!((notice.kind, notice.count), (Kind::NoticesLost, 1_001));
        assert!(!notice.data.contains("sinks"), "{}", notice.data);
    }

    #[test]
    fn a_message_that_is_refused_is_left_out_and_reported_once() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let state = Arc::new(SinkState::new(Sink::Webhook, Filter::default(), false));
        sinks::begin(app, vec![state.clone()]).unwrap();
        app.notices
            .note(app.now(), Kind::DiskLow, Target::server(), Data::default);
        round(app).unwrap();
        let leave_out = || {
            let (items, _) = sinks::next(app, &state, Series::Notices).unwrap().unwrap();
            sinks::leave_out(app, &state, Series::Notices, &items[0]).unwrap();
        };
        leave_out();
        let found = stored(app);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].kind, Kind::NoticesLost);
        for fact in [
            "refused by the receiver",
            r#""sinks":"webhook""#,
            r#""number":"1""#,
        ] {
            assert!(found[1].data.contains(fact), "{}", found[1].data);
        }
        let stored_position = |read: &crate::store::Read| {
            notices::find_cursor(read, "webhook", Series::Notices.as_str())
        };
        assert_eq!(app.read(stored_position).unwrap(), Some(1));
        // A report that is refused too makes no further one.
        leave_out();
        assert_eq!(stored(app).len(), 2);
        assert!(sinks::next(app, &state, Series::Notices).unwrap().is_none());
    }

    #[test]
    fn many_of_one_workspace_at_once_are_one_notice() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let drafts = |first: usize, last: usize| -> Vec<Draft> {
            let subjects = (first..=last).map(|one| Target::new(audit::Kind::Policy, one));
            let once =
                |subject| Draft::once(Kind::StoreEdited, subject, app.now().wall, Data::default());
            subjects.map(once).collect()
        };
        write_found(app, "events", "audit", 1, drafts(1, SINGLE_MAX)).unwrap();
        assert_eq!(stored(app).len(), SINGLE_MAX);
        write_found(app, "events", "audit", 2, drafts(100, 100 + SINGLE_MAX)).unwrap();
        let found = stored(app);
        assert_eq!(found.len(), SINGLE_MAX + 1);
        assert_eq!(
            (found[SINGLE_MAX].count, &found[SINGLE_MAX].subject),
            (21, &Target::server())
        );
        write_found(app, "events", "audit", 3, drafts(200, 200 + SINGLE_MAX)).unwrap();
        assert_eq!(stored(app).len(), SINGLE_MAX + 1, "those are counted");
    }

    #[test]
    fn what_cannot_be_stored_waits() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        app.notices
            .note(app.now(), Kind::DiskLow, Target::server(), Data::default);
        app.store.close();
        assert!(round(app).is_err());
        assert_eq!(lock(&app.notices.waiting).take(app.now()).len(), 1);
    }
}
