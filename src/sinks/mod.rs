//! Sinks: threads that send notices and audit events to other programs and machines. Nothing is sent unless the
//! administrator has set a sink, and a sink that fails stops nothing but itself: its position waits.

mod body;
mod connect;
pub mod feed;
pub mod file;
mod names;
mod refused;
pub mod syslog;
pub mod webhook;

use crate::domain::keys::address::AddressList;
use crate::domain::notices::filter::Filter;
use crate::domain::notices::sink::{Series, Sink, WebhookKey};
use crate::error::{Error, Result};
use crate::http1::tls::client::Authorities;
use crate::ops::App;
use crate::ops::notices::sinks::{self, SinkState};
use crate::refusals;
use body::Message;
use file::FileSettings;
use refused::{Refusals, Refused};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use syslog::SyslogAddress;
use webhook::WebhookUrl;

/// The time until the next attempt after a failure; it doubles up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long an idle sink waits before it looks at its settings of time again.
const IDLE: Duration = Duration::from_secs(60);

/// A sink as it is set.
#[derive(Debug)]
pub struct Setting {
    pub target: Target,
    pub filter: Filter,
    /// Whether it gets the events of the audit log too.
    pub has_audit: bool,
}

/// Where a sink sends to.
#[derive(Debug)]
pub enum Target {
    File(FileSettings),
    Syslog(SyslogAddress, Reach),
    Webhook(WebhookUrl, WebhookKey, Reach),
}

/// Which machines a sink may reach.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Absent if no connection is encrypted.
    pub authorities: Option<Authorities>,
    /// Private addresses that a name may stand for.
    pub allowed: Option<AddressList>,
}

/// A sink at work.
enum Open {
    File(file::FileSink),
    Syslog(syslog::SyslogSink),
    Webhook(webhook::WebhookSink),
}

impl Target {
    /// The kind of the sink.
    pub fn sink(&self) -> Sink {
        match self {
            Target::File(_) => Sink::File,
            Target::Syslog(..) => Sink::Syslog,
            Target::Webhook(..) => Sink::Webhook,
        }
    }

    fn open(self) -> Open {
        match self {
            Target::File(settings) => Open::File(file::FileSink::new(settings)),
            Target::Syslog(address, reach) => Open::Syslog(syslog::SyslogSink::new(address, reach)),
            Target::Webhook(url, key, reach) => {
                Open::Webhook(webhook::WebhookSink::new(url, key, reach))
            }
        }
    }
}

impl Open {
    fn send(&mut self, app: &App, message: &Message) -> io::Result<()> {
        match self {
            Open::File(sink) => sink.send(message),
            Open::Syslog(sink) => sink.send(message),
            Open::Webhook(sink) => sink.send(message, app.clock.reading().wall),
        }
    }

    /// Makes sure that what was sent is out of this process, before the position is stored.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Open::File(sink) => sink.flush(),
            Open::Syslog(sink) => sink.flush(),
            Open::Webhook(_) => Ok(()),
        }
    }
}

/// Starts a thread for each sink.
pub fn start(app: &Arc<App>, settings: Vec<Setting>) -> Result<()> {
    let states: Vec<Arc<SinkState>> = settings
        .iter()
        .map(|one| {
            let state = SinkState::new(one.target.sink(), one.filter.clone(), one.has_audit);
            Arc::new(state)
        })
        .collect();
    sinks::begin(app, states.clone())?;
    for (state, setting) in states.into_iter().zip(settings) {
        let unknown = sinks::unknown_workspaces(app, &state);
        if !unknown.is_empty() {
            log::warn!(
                "notice-workspaces: the sink {} is set for workspaces that do not exist: {}",
                state.sink.as_str(),
                unknown.join(", ")
            );
        }
        if let Target::File(FileSettings { path, .. }) = &setting.target
            && let Err(err) = file::check(path)
        {
            state.note_outcome(app.now().wall, Err(&err.to_string()));
        }
        let app = app.clone();
        std::thread::Builder::new()
            .name(format!("sink {}", state.sink.as_str()))
            .spawn(move || run(&app, &state, setting.target.open()))
            .map_err(|err| {
                let why = refusals::verbatim(format!("no thread can be started: {err}"));
                Error::Unavailable(why)
            })?;
    }
    Ok(())
}

/// Sends until the server stops.
fn run(app: &App, state: &SinkState, mut sink: Open) {
    let mut turn = 0;
    let mut again = AGAIN.0;
    let mut refusals = <[Refusals; 2]>::default();
    while !app.is_closed() {
        if let Some(tester) = state.take_tester() {
            let now = app.now().wall;
            let outcome = Message::test(now).and_then(|message| {
                sink.send(app, &message)?;
                sink.flush()
            });
            let outcome = outcome.map_err(|err| err.to_string());
            state.note_outcome(now, outcome.as_ref().map(drop).map_err(String::as_str));
            let _ = tester.send(outcome);
        }
        let patience = match send_waiting(app, state, &mut sink, &mut refusals) {
            Ok(()) => {
                again = AGAIN.0;
                IDLE
            }
            Err(err) => {
                state.note_outcome(app.now().wall, Err(&err.to_string()));
                let patience = again;
                again = (again * 2).min(AGAIN.1);
                patience
            }
        };
        turn = wait(app, state, turn, patience);
    }
}

/// Waits for something to send. After a failure, new notices do not shorten the wait, but a test does.
fn wait(app: &App, state: &SinkState, turn: u64, patience: Duration) -> u64 {
    let began = app.now().steady_ms;
    let mut turn = turn;
    loop {
        let waited = Duration::from_millis(app.now().steady_ms.saturating_sub(began));
        let Some(left) = patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return turn;
        };
        turn = app.notices.wait(turn, left);
        if patience == IDLE || state.has_tester() || app.is_closed() {
            return turn;
        }
    }
}

/// Sends everything that waits. A series that fails does not hold up the other one; the first failure is returned.
fn send_waiting(
    app: &App,
    state: &SinkState,
    sink: &mut Open,
    refusals: &mut [Refusals; 2],
) -> io::Result<()> {
    let mut outcome = Ok(());
    for series in state.series() {
        let refusals = &mut refusals[*series as usize];
        outcome = outcome.and(send_series(app, state, sink, *series, refusals));
    }
    outcome
}

/// Sends everything that waits of a series, in its order. After a failure the position is that of the last message that
/// was sent.
fn send_series(
    app: &App,
    state: &SinkState,
    sink: &mut Open,
    series: Series,
    refusals: &mut Refusals,
) -> io::Result<()> {
    while !app.is_closed() && !state.has_tester() {
        let found = sinks::next(app, state, series);
        let Some((items, last)) = found.map_err(io::Error::other)? else {
            break;
        };
        send_batch(app, state, sink, series, refusals, &items, last)?;
    }
    Ok(())
}

fn send_batch(
    app: &App,
    state: &SinkState,
    sink: &mut Open,
    series: Series,
    refusals: &mut Refusals,
    items: &[sinks::Item],
    last: i64,
) -> io::Result<()> {
    let mut sent = None;
    let mut refused = None;
    let mut outcome = Ok(());
    for item in items {
        match Message::of(item) {
            Ok(message) => outcome = sink.send(app, &message),
            // A row that was changed in the database and is unreadable must not hold up the rest.
            Err(err) => log::error!("notices: one is unreadable and is not sent: {err}"),
        }
        if let Err(err) = &outcome {
            refused = Refused::is(err).then_some(item);
            break;
        }
        sent = Some(sinks::number(item));
    }
    let flushed = sink.flush();
    let position = match (&outcome, &flushed) {
        (_, Err(_)) => None,
        (Ok(()), Ok(())) => Some(last),
        (Err(_), Ok(())) => sent,
    };
    if let Some(position) = position {
        if sent.is_some() {
            state.note_outcome(app.now().wall, Ok(()));
        }
        sinks::advance(app, state, series, position).map_err(io::Error::other)?;
    }
    let is_flushed = flushed.is_ok();
    outcome = outcome.and(flushed);
    let (Some(item), Err(err), true) = (refused, &outcome, is_flushed) else {
        return outcome;
    };
    if !refusals.note(sinks::number(item), app.now().steady_ms) {
        return outcome;
    }
    state.note_outcome(app.now().wall, Err(&err.to_string()));
    sinks::leave_out(app, state, series, item).map_err(io::Error::other)
}
