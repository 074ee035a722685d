//! The live link of a site to its server: which question it asks next, and what it does with the answer. `sinks/feed.rs` has the
//! connection.
//!
//! The site asks, and the server answers with a signed word that repeats the nonce of the question. Only such a word lets the
//! site go on answering, for the span of its [`lease`], which counts from the moment at which the question was sent. So an
//! answer that was recorded, changed, held up or brought out of order never does.

pub mod lease;
pub mod leaving;
mod pause;
mod step;
#[cfg(test)]
mod tests;

use super::apply::{self, Files};
use super::report::{self, Batch};
use super::{Position, Site};
use crate::authz::caller::Caller;
use crate::domain::locks::lock;
use crate::domain::packs::question::{Events, Nonce, Question};
use crate::domain::packs::rules::Way;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::state::{Fork, State};
use crate::domain::packs::step::Step;
use crate::domain::packs::word::{SignedWord, Word, WordKind, read_packs};
use crate::domain::random;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use lease::{Lease, Left, Sent, SteadyClock};
use leaving::Leaving;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The longest time for which a server leaves a question without an answer, in milliseconds: a quarter of the lease, at most this.
const POLL_MS: u64 = 1_000;
/// How much later than that an answer may come, in milliseconds.
const LATE_MS: u64 = 2_000;
/// The same without a lease, when it is more useful to wait than to begin again: the server may have much to look at.
const LATE_WITHOUT_LEASE_MS: u64 = 10_000;
/// The same for a question that a pack will answer, which may have to be made.
const PACK_MS: u64 = 60_000;
/// How often one report follows another.
const REPORT_MS: i64 = 10_000;
/// After the server has left a report out twice, the time before the next one, which doubles each time; and the longest one.
const AGAIN_MS: i64 = 2_000;
const AGAIN_MS_MAX: i64 = 300_000;
/// The time before the next question if the server was restored, and an operator has to decide.
const FORK: Duration = Duration::from_secs(30);
/// The least time between two questions if nothing has happened, in milliseconds.
const LEAST_MS: i64 = 50;
/// So many packs in a row, and no step, are a fault.
const PACKS_MAX: u32 = 3;

/// What an administrator has set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL of the server.
    pub server: String,
    /// How long the site asks to answer without a further word.
    pub max_stale_s: u64,
    pub clock: SteadyClock,
}

/// The link of a site. Without settings there is none.
#[derive(Default)]
pub struct Link {
    settings: OnceLock<Settings>,
    status: Mutex<Status>,
    /// Ends a wait before its time.
    bell: (Mutex<bool>, Condvar),
    pub leaving: Leaving,
}

/// What became of the questions so far.
#[derive(Default)]
struct Status {
    is_up: bool,
    /// The server has removed the site.
    is_removed: bool,
    /// Failures in a row.
    failures: u32,
    /// The last one, if nothing succeeded since.
    fault: Option<String>,
    word_at: Option<Timestamp>,
    /// The newest event of the server that a word named.
    server: u64,
    /// Whether the state that was stored is in the history of the server. After a restart the index can be older than it.
    has_checked_history: bool,
    /// What the site has cannot be brought further by steps.
    needs_pack: bool,
    packs_in_row: u32,
    /// Of the last word whose body was applied.
    applied: Nonce,
    /// Of the last word whose body has arrived whole.
    arrived: Nonce,
    /// Of this process, and the number of questions that it has made.
    process: Option<Nonce>,
    asked: u64,
    steps: u64,
    reporting: Reporting,
    /// Whether the end of the lease was logged.
    has_logged_end: bool,
}

/// The reports over the link.
#[derive(Default)]
struct Reporting {
    /// When the last one was sent, by the clock of leases.
    sent_ms: Option<i64>,
    /// The newest number that the server has taken in.
    taken: u64,
    /// Keys were left for the next one.
    has_more: bool,
    /// How often in a row the server has answered, and not taken the report in.
    left_out: u32,
    codes: Vec<(String, u64)>,
}

impl Reporting {
    /// Whether the next report is sent with a question at `now_ms`. One that does not wait for its time waits all the same if the
    /// server takes none in, as of a life that is not the newest one of the site.
    fn is_due(&self, now_ms: i64, is_urgent: bool) -> bool {
        let pause_ms = match self.left_out {
            0 | 1 => 0,
            times => (AGAIN_MS << (times - 2).min(10)).min(AGAIN_MS_MAX),
        };
        let least_ms = match is_urgent || self.has_more {
            true => pause_ms,
            false => pause_ms.max(REPORT_MS),
        };
        let waited = |sent_ms: i64| now_ms.saturating_sub(sent_ms) >= least_ms;
        self.sent_ms.is_none_or(waited)
    }
}

/// The link as the administrator of the site sees it.
#[derive(Clone, Debug)]
pub struct View {
    pub server: String,
    pub is_up: bool,
    pub left: Left,
    /// The newest event of the server that is in force here, and the newest of which the site knows.
    pub events: Option<u64>,
    pub server_events: u64,
    pub word_at: Option<Timestamp>,
    pub steps: u64,
    pub fault: Option<String>,
}

/// A question that was made, and what is known only here.
pub struct Asked {
    question: Question,
    /// The body of the request.
    pub body: String,
    sent: Sent,
    batch: Option<Batch>,
    aim: Aim,
}

/// The part of a question that is about the questions and words before it.
struct Counted {
    process: Nonce,
    number: u64,
    applied: Nonce,
    arrived: Nonce,
}

/// What a question is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Aim {
    /// To learn whether the server still has the state that was stored in its history.
    History,
    /// The site has nothing that steps could follow.
    Pack,
    Step,
}

/// When to ask again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    AtOnce,
    After(Duration),
}

impl Link {
    /// Waits, unless something happens that the next question depends on.
    pub fn wait(&self, time: Duration) {
        let (rung, bell) = &self.bell;
        let waited = bell.wait_timeout_while(lock(rung), time, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// Ends a wait.
    pub fn wake(&self) {
        let (rung, bell) = &self.bell;
        *lock(rung) = true;
        bell.notify_all();
    }

    /// Gives up the lease, for the end of the process: no verdict is given any more.
    pub fn leave(&self) {
        self.leaving.ask_for(|| self.wake());
    }

    /// Counts the next question.
    fn count(&self) -> Result<Counted> {
        let mut status = lock(&self.status);
        let process = match status.process {
            Some(process) => process,
            None => *status.process.insert(Nonce::generate()?),
        };
        status.asked += 1;
        Ok(Counted {
            process,
            number: status.asked,
            applied: status.applied,
            arrived: status.arrived,
        })
    }

    pub(super) fn view(&self, site: &Site, now: Timestamp) -> Option<View> {
        let settings = self.settings.get()?;
        let status = lock(&self.status);
        Some(View {
            server: settings.server.clone(),
            is_up: status.is_up,
            left: site.fresh.lease.left(now),
            events: site.position().map(|position| position.events.number),
            server_events: status.server,
            word_at: status.word_at,
            steps: status.steps,
            fault: status.fault.clone(),
        })
    }
}

impl App {
    /// For metrics: whether the link is up, and what is left of the lease in milliseconds. `None` without a link.
    pub fn link_figures(&self) -> Option<(bool, i64)> {
        let view = self.site()?.link.view(self.site()?, self.now().wall)?;
        let left_ms = match view.left {
            Left::Running { left_ms, .. } => left_ms,
            Left::None | Left::Over { .. } => 0,
        };
        Some((view.is_up, left_ms))
    }
}

/// Makes the site a linked one, until the process ends: from now on it gives verdicts only under a lease.
pub fn begin(app: &App, settings: Settings) -> Result<()> {
    let site = app.own_site()?;
    site.fresh.lease.demand(settings.clock);
    let keys = app.read(report::keys_with_counts)?;
    site.unreported.begin(keys);
    let _ = site.link.settings.set(settings);
    Ok(())
}

/// Whether the server has removed the site, which is then to give its lease up.
pub fn is_removed(app: &App) -> bool {
    let site = app.site();
    site.is_some_and(|site| lock(&site.link.status).is_removed)
}

/// Ends the lease, and makes the question by which the server learns of it; `None` if there was no lease.
pub fn give_up(app: &App) -> Result<Option<String>> {
    let site = app.own_site()?;
    let lease = &site.fresh.lease;
    if !matches!(lease.left(app.now().wall), Left::Running { .. }) {
        return Ok(None);
    }
    lease.end();
    let state = site.state();
    let position = site.position().unwrap_or_default();
    let question = next_question(site, &state, position, 0)?;
    Ok(Some(question.write(&SiteKey::of(state.key), "")))
}

/// Makes the next question. The lease that its answer brings counts from now.
pub fn ask(app: &App) -> Result<Asked> {
    let site = app.own_site()?;
    let settings = site.link.settings.get();
    let settings = settings.ok_or_else(|| Error::internal("a site without a link has asked"))?;
    let sent = site.fresh.lease.sending(app.now().wall);
    let batch = next_report(app, site, sent.steady_ms);
    let state = site.state();
    let (aim, position) = aim_of(site, &state);
    let position = position.unwrap_or_default();
    let question = next_question(site, &state, position, settings.max_stale_s)?;
    let report = batch.as_ref().map_or("", |batch| batch.text.as_str());
    Ok(Asked {
        body: question.write(&SiteKey::of(state.key), report),
        question,
        sent,
        batch,
        aim,
    })
}

/// The next question, which names what is in force.
fn next_question(site: &Site, state: &State, position: Position, lease_s: u64) -> Result<Question> {
    let counted = site.link.count()?;
    Ok(Question {
        origin: state.origin.clone(),
        site: state.site.clone(),
        server: state.server,
        life: state.life,
        nonce: Nonce::generate()?,
        applied: counted.applied,
        arrived: counted.arrived,
        process: counted.process,
        number: counted.number,
        reign: position.reign,
        pack: position.pack,
        base: position.base,
        events: position.events,
        lease_s,
    })
}

/// What the next question is for, and the state that it names.
fn aim_of(site: &Site, state: &State) -> (Aim, Option<Position>) {
    let status = lock(&site.link.status);
    if state.fork == Fork::Accepted {
        return (Aim::Pack, None);
    }
    let position = site.position();
    let is_behind = position.is_none_or(|position| position.events.number < state.events);
    if state.pack > 0 && is_behind && !status.has_checked_history {
        // Also if a pack is needed: its head shows a fork only if it has the same number of events.
        let events = Events {
            number: state.events,
            hash: state.events_hash,
        };
        let known = Position {
            reign: state.reign,
            pack: state.pack,
            base: state.base.map_or(0, |base| base.pack),
            events,
            keys: 0,
        };
        return (Aim::History, Some(known));
    }
    match position.filter(|_| !status.needs_pack) {
        Some(position) => (Aim::Step, Some(position)),
        None => (Aim::Pack, None),
    }
}

/// The next report, if it is time for one.
fn next_report(app: &App, site: &Site, now_ms: i64) -> Option<Batch> {
    let (taken, codes) = {
        let reporting = &lock(&site.link.status).reporting;
        if !reporting.is_due(now_ms, site.unreported.is_urgent()) {
            return None;
        }
        (reporting.taken, reporting.codes.clone())
    };
    // A full disk delays reports. It must not end the lease.
    let batch = report::next_batch(app, site, taken, &codes).unwrap_or_else(|err| {
        log::warn!("link: the report of this site waits: {err}");
        None
    });
    let reporting = &mut lock(&site.link.status).reporting;
    reporting.sent_ms = Some(now_ms);
    reporting.has_more = batch.as_ref().is_some_and(|batch| batch.has_more);
    batch
}

impl Asked {
    /// How long the answer may take.
    pub fn patience(&self, app: &App) -> Duration {
        let lease = &app.site.as_ref().map(|site| &site.fresh.lease);
        let lasts_ms = lease.map(|lease| lease.left(app.now().wall));
        Duration::from_millis(match (self.aim, lasts_ms) {
            (Aim::Pack, _) => PACK_MS,
            (_, Some(Left::Running { lasts_ms, .. })) => {
                POLL_MS.min(lasts_ms.unsigned_abs() / 4) + LATE_MS
            }
            _ => POLL_MS + LATE_WITHOUT_LEASE_MS,
        })
    }
}

/// Reads the note of an answer, before its body has arrived.
///
/// # Errors
/// It is not the word of the server to this question.
pub fn open(app: &App, asked: &Asked, note: &[u8]) -> Result<SignedWord> {
    let state = app.own_site()?.state();
    let signed = Word::open_note(note, &state.trusted).map_err(Error::Conflict)?;
    match signed.word.answers(&asked.question) {
        true => Ok(signed),
        false => Err(Error::Conflict(refusals::site::other_question())),
    }
}

/// Follows an answer, and returns when to ask again.
///
/// # Errors
/// The answer does not lead further; then the connection it came over is of no more use.
pub fn take(app: &App, asked: Asked, signed: &SignedWord, body: &[u8]) -> Result<Next> {
    let site = app.own_site()?;
    note_word(app, site, &signed.word);
    if let Some(batch) = &asked.batch {
        settle_report(site, batch, signed.word.report);
    }
    if !signed.word.has(body) {
        return Err(Error::Conflict(refusals::packs::no_word()));
    }
    lock(&site.link.status).arrived = signed.word.nonce;
    let caller = Caller::system(&app.index.directory())?;
    let _turn = lock(&site.turn);
    let next = match signed.word.kind {
        WordKind::Fork => {
            apply::note_fork(app, site, &caller, site.state())?;
            return Err(Error::Conflict(refusals::site::fork(&signed.word.origin)));
        }
        WordKind::Removed => {
            return Err(Error::Conflict(refusals::site::removed(
                &signed.word.origin,
            )));
        }
        WordKind::Pack => take_packs(app, site, &caller, (asked.aim, signed.word.nonce), body)?,
        WordKind::Step => take_step(app, site, &caller, &asked, signed, body)?,
    };
    Ok(next)
}

fn note_word(app: &App, site: &Site, word: &Word) {
    let mut status = lock(&site.link.status);
    status.word_at = Some(app.now().wall);
    status.server = word.to.number;
    status.reporting.taken = word.report;
    status.is_removed = word.kind == WordKind::Removed;
}

/// Notes that the server has taken a report in, or that it has not.
fn settle_report(site: &Site, batch: &Batch, taken: u64) {
    let reporting = &mut lock(&site.link.status).reporting;
    if taken >= batch.number {
        reporting.codes = batch.codes.clone();
        reporting.left_out = 0;
    } else {
        reporting.left_out = reporting.left_out.saturating_add(1);
        site.unreported.put_back(batch.taken.clone());
    }
}

fn take_packs(
    app: &App,
    site: &Site,
    caller: &Caller,
    (aim, nonce): (Aim, Nonce),
    body: &[u8],
) -> Result<Next> {
    let files = read_packs(body).map_err(Error::Conflict)?;
    let (newest, base) = match files.as_slice() {
        [newest] => (*newest, None),
        [base, newest] => (*newest, Some(*base)),
        _ => return Err(Error::Conflict(refusals::packs::no_word())),
    };
    let in_row = {
        let mut status = lock(&site.link.status);
        // If the server answers with a pack, it cannot know more of the state that was stored.
        status.has_checked_history |= aim == Aim::History;
        status.packs_in_row += 1;
        status.packs_in_row
    };
    apply::take(app, site, caller, Files { newest, base }, Way::Link)?;
    {
        let mut status = lock(&site.link.status);
        (status.needs_pack, status.applied) = (false, nonce);
    }
    Ok(match in_row > PACKS_MAX {
        true => Next::After(pause::after(in_row, random_number())),
        false => Next::AtOnce,
    })
}

fn take_step(
    app: &App,
    site: &Site,
    caller: &Caller,
    asked: &Asked,
    signed: &SignedWord,
    body: &[u8],
) -> Result<Next> {
    let (word, state) = (&signed.word, site.state());
    match asked.aim {
        // A step that follows nothing cannot be applied.
        Aim::Pack => return Err(Error::Conflict(refusals::packs::no_word())),
        // The state is in the history of the server. What it has changed since is asked for again, from what the index has.
        Aim::History => {
            lock(&site.link.status).has_checked_history = true;
            return Ok(Next::AtOnce);
        }
        Aim::Step => {}
    }
    let follows =
        |position: &Position| (position.reign, position.events) == (word.reign, word.from);
    let Some(position) = site.position().filter(follows) else {
        // A pack was applied meanwhile.
        return Ok(Next::After(pause::after(1, random_number())));
    };
    let goes_back = word.to.number < state.events;
    let differs = word.to.number == state.events && word.to.hash != state.events_hash;
    if word.reign == state.reign && (goes_back || differs) {
        apply::note_fork(app, site, caller, state)?;
        return Err(Error::Conflict(refusals::site::fork(&word.origin)));
    }
    let step = Step::read(body).map_err(Error::Conflict);
    let applied = step.and_then(|step| step::apply(app, site, caller, position, signed, &step));
    if let Err(err) = applied {
        // What the server sends does not fit what the site has. A state that could not be stored is another matter.
        lock(&site.link.status).needs_pack = matches!(err, Error::Conflict(_));
        return Err(err);
    }
    let lasts_ms = i64::try_from(word.lease_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let lease = &site.fresh.lease;
    let has_jumped = Lease::has_jumped(asked.sent, lasts_ms, app.now().wall);
    // The time at which the word was signed has passed, also if the clock of this machine is behind.
    app.clock.raise(word.made);
    let is_granted = !has_jumped && lease.grant(asked.sent, lasts_ms, app.now().wall);
    succeed(site, word, is_granted);
    let took_ms = lease.sending(app.now().wall).steady_ms - asked.sent.steady_ms;
    Ok(match body.is_empty() && took_ms < LEAST_MS {
        true => Next::After(Duration::from_millis(LEAST_MS.unsigned_abs())),
        false => Next::AtOnce,
    })
}

/// Notes an answer that has led further.
fn succeed(site: &Site, word: &Word, is_granted: bool) {
    let mut status = lock(&site.link.status);
    status.applied = word.nonce;
    // The step follows what the index had, and leads at least to the state that was stored.
    status.has_checked_history = true;
    status.packs_in_row = 0;
    status.failures = 0;
    status.fault = None;
    status.steps += 1;
    if is_granted && !status.is_up {
        status.is_up = true;
        status.has_logged_end = false;
        log::info!(
            "link: this site follows its server, as of its event {}",
            status.server
        );
    }
}

/// Notes that a question had no answer, or none that leads further, and returns when to ask again.
pub fn failed(app: &App, lost: Option<Asked>, why: &str) -> Duration {
    let Some(site) = &app.site else {
        return FORK;
    };
    if let Some(batch) = lost.and_then(|asked| asked.batch) {
        site.unreported.put_back(batch.taken);
    }
    let mut status = lock(&site.link.status);
    status.failures = status.failures.saturating_add(1);
    if status.fault.as_deref() != Some(why) {
        log::warn!("link: {why}");
    }
    status.is_up = false;
    status.fault = Some(why.to_owned());
    if let (Left::Over { since_ms }, false) =
        (site.fresh.lease.left(app.now().wall), status.has_logged_end)
    {
        status.has_logged_end = true;
        log::error!(
            "link: no word of the server for {} s; every verdict is refused until there is one",
            since_ms / 1000
        );
    }
    match site.state().fork {
        Fork::Seen => FORK,
        Fork::Accepted | Fork::None => pause::after(status.failures, random_number()),
    }
}

/// Any number. Without a random source, waits have no spread.
fn random_number() -> u64 {
    let mut bytes = [0; 8];
    match random::fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        Err(_) => 0,
    }
}
