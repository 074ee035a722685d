//! Commits of unknown outcome on a server: the connection broke before the answer came, the answer came too late, or it came with
//! a warning.
//!
//! Nothing is repeated and nothing is cancelled. Over another connection, a transaction that waits for all earlier ones and is itself
//! committed durably ([`Database::open_writer`]) decides the outcome: either the newest event of the batch is in the chain now, or it
//! never will be. Until this is known, nothing else is written, the callers wait, and what is to follow the commit is kept. Callers
//! who have waited long enough learn that the outcome is not known. A batch without an event leaves no trace to look for; its
//! callers can repeat what they do.
//!
//! [`Database::open_writer`]: super::Database::open_writer

use super::batch::{Answer, answer_all, run_steps};
use super::{OPEN_MAX, Queue, Within, Writer};
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::connection::{Effects, Fault, FaultKind, Read};
use crate::store::heads::{self, Head};
use crate::store::tombstones::SharedTombstoneFile;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The pauses between attempts to find the outcome out: the first one, and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A batch of which it is not known whether it is saved.
pub(super) struct Unresolved {
    /// Its newest event.
    event: Head,
    effects: Effects,
    /// Empty when the callers know that the outcome is not known.
    answers: Vec<Answer>,
    /// Until when the callers wait.
    until: Instant,
}

impl Writer {
    /// The event by which the outcome of a failed commit can be found out.
    pub(super) fn event_to_find(&self, fault: &Fault) -> Option<Head> {
        let connection = self.connection.as_ref()?;
        let is_unknown = fault.kind == FaultKind::Unknown && self.database.is_shared();
        connection.new_events_end().filter(|_| is_unknown)
    }

    /// Keeps a batch whose commit was not answered, and finds out what became of it.
    pub(super) fn find_out(
        &mut self,
        event: Head,
        mut effects: Effects,
        answers: Vec<Answer>,
        waiting: &Queue,
    ) {
        self.connection = None;
        self.before = None;
        self.database.reconsider();
        // Events need not name all of it.
        self.doubtful.append(&mut effects.touched);
        self.unresolved = Some(Unresolved {
            event,
            effects,
            answers,
            until: Instant::now() + self.database.resolve_max(),
        });
        let mut pause = PAUSE_MIN;
        while let Err(err) = self.reopen_on_server(Within::HeadLock) {
            let Some(unresolved) = &mut self.unresolved else {
                return log::error!("store: changes are refused for now: {err}");
            };
            if unresolved.left().is_zero() || waiting.is_closed() {
                log::error!("store: it is still not known what became of a commit: {err}");
                return unresolved.let_callers_go();
            }
            std::thread::sleep(pause.min(unresolved.left()));
            pause = (pause * 2).min(PAUSE_MAX);
        }
        log::warn!("store: the database was opened again; changes are accepted");
    }

    /// How long the writer waits for a batch before it looks again for an outcome that is not known.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.unresolved.as_ref().map(|_| PAUSE_MAX)
    }

    /// Looks once more for an outcome that no caller waits for.
    pub(super) fn resolve_later(&mut self) {
        if self.unresolved.is_some() && self.reopen_on_server(Within::HeadLock).is_ok() {
            log::warn!("store: the outcome of a commit is known now; changes are accepted");
        }
    }

    /// Opens the database after a fault, as the heading describes.
    pub(super) fn reopen_on_server(&mut self, within: Within) -> Result<()> {
        let limit = match &self.unresolved {
            Some(unresolved) if !unresolved.answers.is_empty() => unresolved.left(),
            _ => OPEN_MAX,
        };
        let connection = self.database.open_writer(limit)?;
        if let Some(unresolved) = &mut self.unresolved {
            let event = unresolved.event;
            match connection.in_snapshot(|read| heads::has(read, event))? {
                Some(true) => {}
                Some(false) => {
                    log::warn!("store: a commit without an answer was not saved");
                    self.figures.unanswered_not_saved.fetch_add(1, Relaxed);
                    let not_saved = Error::Unavailable(refusals::server::not_saved());
                    answer_all(std::mem::take(&mut unresolved.answers), &Err(not_saved));
                    self.unresolved = None;
                }
                // The log was cut beyond the event meanwhile.
                None => {
                    unresolved.let_callers_go();
                    self.unresolved = None;
                }
            }
        }
        self.begin_on(&connection, true, within)
            .map_err(|fault| fault.error)?;
        let published = match within == Within::Closing && self.unresolved.is_none() {
            // An older copy would bring back what has ended. Everything is loaded again after it is closed.
            true => Ok(()),
            false => self.publish_resolved(&connection),
        };
        connection.end();
        published?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Puts what a commit has saved into the index, which has followed its events, and answers its callers.
    fn publish_resolved(&mut self, connection: &Read) -> Result<()> {
        self.publish_again(connection)?;
        let Some(mut unresolved) = self.unresolved.take() else {
            return self.book.flush(connection);
        };
        log::warn!("store: a commit without an answer was saved");
        self.figures.unanswered_saved.fetch_add(1, Relaxed);
        let book: &SharedTombstoneFile = &self.book;
        let completing = || {
            book.note(std::mem::take(&mut unresolved.effects.notes), None);
            run_steps(&mut unresolved.effects);
            book.flush(connection)
        };
        let completed = catch_unwind(AssertUnwindSafe(completing))
            .unwrap_or_else(|_| Err(Error::internal("a step after a commit failed; see the log")));
        answer_all(std::mem::take(&mut unresolved.answers), &completed);
        Ok(())
    }
}

impl Unresolved {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn let_callers_go(&mut self) {
        let unknown = Error::Unavailable(refusals::server::outcome_unknown());
        answer_all(std::mem::take(&mut self.answers), &Err(unknown));
    }
}
