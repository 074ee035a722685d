//! Closing an older copy that has taken the place of the database: at a start, and at a node on a server while it runs.
//!
//! The database was restored, or a server has taken over that lacks what was acknowledged. The tombstone file of a node knows what has
//! ended since, and ends it again. On a server, each node knows something, so the nodes do this in turn, under the lock on the newest
//! event, each against the time of the last event that it and the copy have in common. The first of them ends what needs no tombstone,
//! and records for which nodes all of them wait: those that it remembers ([`known`]), and those that had a lease in the copy. Until all
//! of these have closed the copy or are given up ([`forget`]), nothing else is changed, and a node that has closed nothing gives no
//! verdicts. All of this only takes access away.
//!
//! A node that was away closes the copy when it comes back, even if no node waits for it, and even if the log was cut meanwhile: the event
//! that closed the copy stays recorded, and a tombstone file that belongs to the log after it has the mark of that event.

#[cfg(test)]
#[cfg(feature = "postgres")]
mod several_copies;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests;

pub mod forget;
mod keeper;
mod known;

use crate::domain::audit::{Event, Target};
use crate::domain::clock::after_copy;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::{Mark, Tombstones};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::clock::Reading;
use crate::ops::restore::closing::{ClosedThings, Closing};
use crate::refusals;
use crate::store::audit::{Cut, events};
use crate::store::heads::{Common, Head};
use crate::store::leases::{self, NamedNode};
use crate::store::nodes::name_of_machine;
use crate::store::older_copy::{self, ClosingState, OlderCopy};
use crate::store::{Durability, Store, Urgency, Write, audit, heads, packs};
use std::sync::Arc;

pub use keeper::begin;

/// How far numbers go on after those that a node knows: other nodes may have given numbers that it has not seen.
const NUMBERS_AHEAD: i64 = 65_536;
/// How long two servers may have been written to at the same time before one of them is found to lack what the other one has.
const SPLIT_MS: i64 = 3_600_000;
/// How long before the newest event of a copy a node may have renewed its lease that was in use at that event.
const LEASE_MS: i64 = 120_000;

/// What closes a copy.
pub struct Closer {
    pub node: NodeId,
    pub seal_keys: Arc<SealKeys>,
    pub clock: Reading,
    /// The newest event that the index has; `None` before it is loaded.
    pub newest: Option<Head>,
}

/// The turn of a node.
struct Turn {
    copied_at: Timestamp,
    is_first: bool,
}

impl Closer {
    /// Ends again what the tombstones of this node know to have ended; `false` if that was done already.
    pub fn close(self, store: &Store, tombstones: Tombstones) -> Result<bool> {
        let remembered = known::read(store.path());
        let work = move |tx: &Write<'_>| self.run(tx, &tombstones, &remembered);
        let Some(closed) = store.write_in(Urgency::Closing, Durability::Full, work)? else {
            return Ok(false);
        };
        log::warn!(
            "the database is an older copy than the tombstone file of this node knows; what has ended since was ended again"
        );
        closed.lines().iter().for_each(|line| log::warn!("{line}"));
        Ok(true)
    }

    fn run(
        &self,
        tx: &Write<'_>,
        tombstones: &Tombstones,
        remembered: &[NamedNode],
    ) -> Result<Option<ClosedThings>> {
        let newest = events::newest(tx)?;
        let is_shared = tx.is_shared();
        let turn = match is_shared {
            true => self.turn(tx, tombstones, remembered)?,
            false => Some(Turn {
                copied_at: tombstones.copied_at(newest),
                is_first: true,
            }),
        };
        let Some(turn) = turn else {
            return Ok(None);
        };
        let reading = &self.clock;
        let copied_at = newest.map_or(reading.now, |event| event.at);
        let known = [copied_at, tombstones.latest.unwrap_or(copied_at)];
        let (now, doubted) = after_copy(reading.now, &known);
        let closing = Closing {
            seal_keys: &self.seal_keys,
            tombstones,
            copied_at: turn.copied_at,
            now,
            doubted,
            mark: match doubted {
                None => known[1].max(copied_at).max(reading.mark),
                Some(_) => reading.mark,
            },
            template: Event::of_system("", Target::server(), now),
            keeps_uses: false,
            is_first: turn.is_first,
            given: match is_shared {
                true => tombstones.given.raised_by(NUMBERS_AHEAD),
                false => tombstones.given,
            },
        };
        let closed = closing.run(tx)?;
        if turn.is_first {
            // Sites may have events that this copy lacks; other ones will have their numbers.
            packs::begin_reign(tx, now)?;
        }
        let mut changes = closed.changes();
        if is_shared {
            let node = format!("{} {}", name_of_machine(), self.node);
            changes.note("node", &String::new(), &node);
        }
        let event = Event {
            changes: changes.into_json(),
            ..Event::of_system("server.close_older_copy", Target::server(), now)
        };
        audit::append(tx, &self.seal_keys, event)?;
        if is_shared && turn.is_first {
            let copy = OlderCopy {
                closed_by: heads::newest(tx)?,
                copied_at: turn.copied_at,
            };
            older_copy::replace(tx, &copy)?;
        }
        Ok(Some(closed))
    }

    /// Takes the turn of this node among those that share the database; `None` if it has closed the copy already, and only its file
    /// does not have that, or if the log of the database is the one that it knows.
    fn turn(
        &self,
        tx: &Write<'_>,
        tombstones: &Tombstones,
        remembered: &[NamedNode],
    ) -> Result<Option<Turn>> {
        let common = heads::common(tx, tombstones)?;
        let nodes = older_copy::list(tx)?;
        let own = nodes.iter().find(|node| node.id == self.node);
        let own = own.map(|node| node.state);
        let is_left = heads::is_left(tx, tombstones)? || self.index_is_left(tx)?;
        let recorded = older_copy::find(tx)?;
        let recorded =
            recorded.filter(|copy| !is_left || !left_behind(copy, tombstones, common, own));
        let turn = match recorded {
            Some(_) if own == Some(ClosingState::Closed) => return Ok(None),
            _ if !is_left && own != Some(ClosingState::Waiting) => return Ok(None),
            Some(copy) => Turn {
                copied_at: match common {
                    Common::Mark(mark) => tombstones.copied_at(Some(mark)),
                    Common::Nothing | Common::Unknown => copy.copied_at,
                },
                is_first: false,
            },
            None => Turn {
                copied_at: match common {
                    // What comes after the last event that this node knows may be of others that lack what has ended.
                    Common::Mark(mark) => tombstones.copied_at(Some(mark)),
                    Common::Nothing | Common::Unknown => copied_before(tx, tombstones)?,
                },
                is_first: true,
            },
        };
        if turn.is_first {
            older_copy::forget_closed(tx)?;
        }
        if turn.is_first || nodes.is_empty() {
            // The nodes that were in use when the copy was made.
            for (id, name) in leases::seen_since(tx, Timestamp(turn.copied_at.0 - LEASE_MS))? {
                older_copy::expect(tx, id, &name)?;
            }
        }
        for (id, name) in remembered {
            older_copy::expect(tx, *id, name)?;
        }
        older_copy::set_closed(tx, self.node, &name_of_machine())?;
        Ok(Some(turn))
    }

    /// Whether the log lacks the newest event that the index has.
    fn index_is_left(&self, tx: &Write<'_>) -> Result<bool> {
        match self.newest {
            Some(newest) => Ok(heads::has(tx, newest)? == Some(false)),
            None => Ok(false),
        }
    }
}

/// Whether a node whose log is another one had gone on with a recorded copy before, so that what it has found is another copy.
fn left_behind(
    copy: &OlderCopy,
    tombstones: &Tombstones,
    common: Common,
    own: Option<ClosingState>,
) -> bool {
    let is_closed = own == Some(ClosingState::Closed);
    copy.is_known_to(tombstones)
        || match common {
            Common::Mark(mark) => mark.seq > copy.closed_by.seq,
            Common::Nothing => is_closed,
            Common::Unknown => false,
        }
}

/// A time before which a copy was certainly made of which no mark of a node is left: that of the newest event from before the last one
/// that the node knows.
fn copied_before(tx: &Write<'_>, tombstones: &Tombstones) -> Result<Timestamp> {
    let end = tombstones.mark.map_or(0, |mark| mark.at.0);
    let last = audit::last(tx, Cut::Before(Timestamp(end - SPLIT_MS)))?;
    let event = audit::find(tx, last)?;
    Ok(event.map_or(Timestamp(0), |event| {
        tombstones.copied_at(Some(Mark::of(&event)))
    }))
}

impl App {
    /// Closes the older copy that has taken the place of the database, and goes on with it.
    fn close_older_copy(&self) -> Result<()> {
        let tombstones = self.store.begin_closing()?;
        let closer = Closer {
            node: self.node.id(),
            seal_keys: self.seal_keys.clone(),
            clock: self.clock.reading(),
            newest: self.applier.newest(),
        };
        closer.close(&self.store, tombstones)?;
        self.store
            .read_from_now(|read| self.applier.take_over(read))
    }

    /// How often the database was found to be an older copy while this node runs; `None` if it shares the database with no other node.
    pub fn forks(&self) -> Option<u64> {
        self.store.is_shared().then(|| self.applier.fork_count())
    }

    /// Whether this node has to close an older copy.
    fn must_close(&self) -> bool {
        let own = self.applier.closing_state(self.node.id());
        self.applier.fork().is_some() || own == Some(ClosingState::Waiting)
    }

    /// Refuses verdicts of a node that does not know what an older copy of its database lacks, as long as nodes that may know it are
    /// waited for.
    pub(in crate::ops) fn require_protection(&self) -> Result<()> {
        if !self.applier.is_waiting()
            || self.applier.fork().is_some()
            || self.applier.closing_state(self.node.id()) == Some(ClosingState::Closed)
        {
            return Ok(());
        }
        let nodes = self.applier.waited_for();
        Err(Error::Unavailable(refusals::server::knows_too_little(
            nodes,
        )))
    }

    /// Refuses changes as long as nodes have to close an older copy.
    pub(in crate::ops) fn require_closed(&self) -> Result<()> {
        match self.applier.is_waiting() {
            true => Err(self.applier.waits_for_nodes()),
            false => Ok(()),
        }
    }
}
