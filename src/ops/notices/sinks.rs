//! What sinks have still to send, and how far each is. The sending itself is in `sinks`; a sink that fails keeps its
//! position and stops nothing else.

use super::Notices;
use crate::authz::caller::Caller;
use crate::domain::audit::{Event, Target};
use crate::domain::locks::lock;
use crate::domain::notices::filter::Filter;
use crate::domain::notices::sink::{Series, Sink};
use crate::domain::notices::{Data, Draft, Kind, Notice};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::audit::{events, newest_number};
use crate::store::{Durability, notices};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number of rows that are read at once.
const BATCH: u32 = 100;
/// How long a test notice may take.
const TEST_PATIENCE: Duration = Duration::from_secs(15);

/// A configured sink.
#[derive(Debug)]
pub struct SinkState {
    pub sink: Sink,
    pub filter: Filter,
    /// Whether it gets the events of the audit log too.
    pub has_audit: bool,
    /// Deliveries that failed since the start.
    pub failures: AtomicU64,
    /// The last failure since the last success: when, and why.
    fault: Mutex<Option<(Timestamp, String)>>,
    /// The last numbers that were handled.
    positions: [AtomicI64; 2],
    /// Whether a test is under way; there is one at a time.
    is_tested: AtomicBool,
    /// Who waits for a test notice that has not begun.
    tester: Mutex<Option<Tester>>,
}

/// What is to be sent next.
#[derive(Debug)]
pub enum Item {
    Event(Box<Event>),
    Notice(Box<Notice>),
}

/// Who waits for the outcome of a test.
pub type Tester = SyncSender<std::result::Result<(), String>>;

impl SinkState {
    pub fn new(sink: Sink, filter: Filter, has_audit: bool) -> SinkState {
        SinkState {
            sink,
            filter,
            has_audit,
            failures: AtomicU64::new(0),
            fault: Mutex::default(),
            positions: Default::default(),
            is_tested: AtomicBool::new(false),
            tester: Mutex::default(),
        }
    }

    /// The series that the sink gets.
    pub fn series(&self) -> &'static [Series] {
        match self.has_audit {
            true => &[Series::Notices, Series::Audit],
            false => &[Series::Notices],
        }
    }

    /// Records the outcome of a delivery.
    pub fn note_outcome(&self, at: Timestamp, outcome: std::result::Result<(), &str>) {
        let mut fault = lock(&self.fault);
        match outcome {
            Ok(()) => *fault = None,
            Err(why) => {
                self.failures.fetch_add(1, Relaxed);
                if fault.as_ref().is_none_or(|(_, known)| known != why) {
                    log::warn!("notices: the sink {} failed: {why}", self.sink.as_str());
                }
                *fault = Some((at, why.to_owned()));
            }
        }
    }

    /// The last failure since the last success.
    pub fn fault(&self) -> Option<(Timestamp, String)> {
        lock(&self.fault).clone()
    }

    /// The caller who waits for a test notice, to be answered.
    pub fn take_tester(&self) -> Option<Tester> {
        lock(&self.tester).take()
    }

    /// Whether a caller waits for a test notice.
    pub fn has_tester(&self) -> bool {
        lock(&self.tester).is_some()
    }

    fn position(&self, series: Series) -> &AtomicI64 {
        &self.positions[series as usize]
    }
}

impl Notices {
    /// The configured sinks.
    pub fn sinks(&self) -> &[Arc<SinkState>] {
        self.sinks.get().map_or(&[], Vec::as_slice)
    }

    /// How many notices, or events, a sink has not handled yet. Those that its filter leaves out are included until it
    /// has passed them.
    pub fn pending(&self, sink: &SinkState, series: Series) -> u64 {
        let newest = self.newest[series as usize].load(Relaxed);
        let position = sink.position(series).load(Relaxed);
        u64::try_from(newest - position).unwrap_or(0)
    }
}

/// Sets the sinks of this server. A sink that is new begins with what happens from now on.
pub fn begin(app: &App, states: Vec<Arc<SinkState>>) -> Result<()> {
    if states.is_empty() {
        return Ok(());
    }
    let all = states.clone();
    app.store.write(Durability::Full, move |tx| {
        for state in &all {
            for series in state.series() {
                let newest = match series {
                    Series::Audit => newest_number(tx)?,
                    Series::Notices => notices::newest(tx)?,
                };
                let name = state.sink.as_str();
                let known = notices::find_cursor(tx, name, series.as_str())?;
                // A restored database may end earlier.
                let position = known.unwrap_or(newest).min(newest);
                if known != Some(position) {
                    notices::put_cursor(tx, name, series.as_str(), position)?;
                }
                state.position(*series).store(position, Relaxed);
            }
        }
        Ok(())
    })?;
    let _ = app.notices.sinks.set(states);
    Ok(())
}

/// The next rows for a sink, and the position after them; `None` if there are none. Rows that the filter of the sink
/// leaves out are passed over.
pub fn next(app: &App, sink: &SinkState, series: Series) -> Result<Option<(Vec<Item>, i64)>> {
    let position = sink.position(series).load(Relaxed);
    match series {
        Series::Audit => {
            let found = app.read(|read| events::list_after(read, position, BATCH))?;
            let Some(last) = found.last().map(|(seq, _)| *seq) else {
                return Ok(None);
            };
            // The numbers show the gap that an unreadable event leaves.
            let readable = found.into_iter().filter_map(|(_, event)| event);
            let items = readable.map(|event| Item::Event(Box::new(event)));
            Ok(Some((items.collect(), last)))
        }
        Series::Notices => {
            let found = app.read(|read| notices::list_after(read, position, BATCH))?;
            let Some(last) = found.last().map(|(seq, _)| *seq) else {
                return Ok(None);
            };
            let known = found.into_iter().filter_map(|(_, notice)| notice);
            let admitted = known.filter(|notice| {
                let path = path(app, notice.workspace);
                sink.filter.admits(notice.kind, &path)
            });
            Ok(Some((
                admitted.map(|one| Item::Notice(Box::new(one))).collect(),
                last,
            )))
        }
    }
}

/// The number of a row within its series.
pub fn number(item: &Item) -> i64 {
    match item {
        Item::Event(event) => event.seq,
        Item::Notice(notice) => notice.seq,
    }
}

/// Stores that a sink has sent everything up to a number. If the process is killed before this, the rows are sent again
/// with the same ids.
pub fn advance(app: &App, sink: &SinkState, series: Series, position: i64) -> Result<()> {
    // In memory first: if the store is full, what was sent is not sent again until the next start.
    sink.position(series).store(position, Relaxed);
    let name = sink.sink.as_str();
    app.store.write(Durability::Relaxed, move |tx| {
        notices::put_cursor(tx, name, series.as_str(), position)
    })
}

/// Passes over a message that the receiver refuses, and reports it, in one transaction. A lost report of a loss is not
/// reported again, or a receiver that refuses everything would make notices for ever.
pub fn leave_out(app: &App, sink: &SinkState, series: Series, item: &Item) -> Result<()> {
    let position = number(item);
    let name = sink.sink.as_str();
    let data = Data::default()
        .with("reason", "refused by the receiver")
        .with("sinks", name)
        .with("series", series.as_str())
        .with("number", position);
    let draft = Draft::once(Kind::NoticesLost, Target::server(), app.now().wall, data);
    let is_report = matches!(item, Item::Notice(notice) if notice.kind == Kind::NoticesLost);
    let drafts: Vec<Draft> = (!is_report).then_some(draft).into_iter().collect();
    let cursors = super::cursors(app);
    app.store.write(Durability::Full, move |tx| {
        notices::put_cursor(tx, name, series.as_str(), position)?;
        super::insert_all(tx, &drafts, &cursors)
    })?;
    sink.position(series).store(position, Relaxed);
    log::warn!(
        "notices: the sink {name} refuses number {position} of the series {}, which is left out",
        series.as_str()
    );
    Ok(())
}

/// The workspaces of a sink's filter that this server does not have, so that the sink gets nothing of them.
pub fn unknown_workspaces(app: &App, sink: &SinkState) -> Vec<String> {
    let directory = app.index.directory();
    let names = sink.filter.workspaces.iter();
    let unknown = names.filter(|name| directory.find_place(name).is_none());
    unknown.cloned().collect()
}

/// Refuses a caller who may not see and test the sinks.
pub fn require(app: &App, caller: &Caller) -> Result<()> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)
}

/// Sends a test notice through a sink and waits for the outcome; the inner error is why the sink has failed.
pub fn test(app: &App, sink: Sink) -> Result<std::result::Result<(), String>> {
    let mut sinks = app.notices.sinks().iter();
    let state = sinks
        .find(|state| state.sink == sink)
        .ok_or_else(|| Error::Conflict(refusals::notices::no_sink(sink.as_str())))?;
    if state.is_tested.swap(true, Relaxed) {
        return Ok(Err(
            "busy: another test of this sink is under way".to_owned()
        ));
    }
    let (sender, receiver) = sync_channel(1);
    *lock(&state.tester) = Some(sender);
    app.notices.wake();
    let outcome = receiver.recv_timeout(TEST_PATIENCE);
    // The caller does not wait any more, so a test that has not begun is not made.
    *lock(&state.tester) = None;
    state.is_tested.store(false, Relaxed);
    Ok(outcome.unwrap_or_else(|_| Err("no outcome within 15 seconds".to_owned())))
}

/// The workspace and all those above it, each as uid and slug.
fn path(app: &App, workspace: Option<Uid>) -> Vec<(Uid, String)> {
    let directory = app.index.directory();
    let uids = workspace.map_or(&[][..], |uid| directory.path(uid));
    let named = uids.iter().filter_map(|uid| {
        let place = directory.place(*uid)?;
        Some((*uid, place.workspace.slug.clone()))
    });
    named.collect()
}
