//! Attempts to sign in where several nodes share the database: each node counts those of all, so that more nodes do not allow more
//! guesses. Before an attempt begins, this node hears of the others' and announces its own, in one transaction.

use super::App;
use crate::domain::attempts::shared::{Announcement, Outcome};
use crate::domain::attempts::{Attempts, Refusal, Ticket};
use crate::domain::locks::lock;
use crate::domain::nodes::NodeId;
use crate::domain::time::Moment;
use crate::error::Result;
use crate::store::{Durability, Read, Write, shared_attempts as rows};
use std::sync::{Arc, Mutex};

/// How far the newest number may be behind what was heard of, because another connection read it a little earlier.
const NUMBERS_SLACK_MS: i64 = 60_000;

/// What a transaction needs to follow and to announce.
#[derive(Clone)]
pub(in crate::ops) struct Sharing {
    node: NodeId,
    attempts: Arc<Mutex<Attempts>>,
    now: Moment,
}

/// Begins an attempt that every node counts. `begin` is asked again when this node has heard of the attempts at the others. Returns
/// the number under which the others know of this one.
///
/// # Errors
/// If the attempt cannot be announced, it does not begin.
pub(in crate::ops) fn begin(
    app: &App,
    sharing: &Sharing,
    begin: impl Fn(&mut Attempts, u64) -> std::result::Result<Ticket, Refusal> + Send + 'static,
) -> Result<std::result::Result<(Ticket, i64), Refusal>> {
    let steady_ms = sharing.now.steady_ms;
    // A refusal by what this node knows itself needs no transaction.
    let own = || begin(&mut lock(&sharing.attempts), steady_ms);
    let first = match own() {
        Err(_) if lock(&sharing.attempts).has_old_news(sharing.now) => {
            app.read(|read| sharing.follow(read))?;
            own()
        }
        first => first,
    };
    let first = match first {
        Ok(ticket) => ticket,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // The reservation that this attempt has.
    let held = Arc::new(Mutex::new(Some(first)));
    let (holding, announces) = (held.clone(), sharing.clone());
    let begun = app.store.write(Durability::Relaxed, move |tx| {
        announces.follow(tx)?;
        announces.release(&holding);
        let begun = begin(&mut lock(&announces.attempts), steady_ms);
        let ticket = match begun {
            Ok(ticket) => ticket,
            Err(refusal) => return Ok(Err(refusal)),
        };
        *lock(&holding) = Some(ticket);
        announces.announce(tx)?;
        let announced = Announcement::Attempt(ticket);
        let number = rows::insert(
            tx,
            announces.node,
            &announced,
            Outcome::Pending,
            announces.now.wall,
        )?;
        Ok(Ok((ticket, number)))
    });
    if begun.is_err() {
        sharing.release(&held);
    }
    begun
}

/// Hears what other nodes have announced, and announces what has ended here.
pub(in crate::ops) fn exchange(app: &App) {
    let Some(sharing) = Sharing::of(app) else {
        return;
    };
    let heard = app.read(|read| sharing.follow(read));
    let announced = heard.and_then(|()| {
        if !lock(&sharing.attempts).has_unannounced() {
            return Ok(());
        }
        app.store
            .write(Durability::Relaxed, move |tx| sharing.announce(tx))
    });
    if let Err(err) = announced {
        log::warn!("attempts to sign in are not shared with other nodes: {err}");
    }
}

impl Sharing {
    /// `None` if no other node can use the database.
    pub(in crate::ops) fn of(app: &App) -> Option<Sharing> {
        app.store.is_shared().then(|| Sharing {
            node: app.node.id(),
            attempts: app.passwords.shared_attempts(),
            now: app.now(),
        })
    }

    /// Counts what other nodes have announced since this was last called.
    pub(in crate::ops) fn follow(&self, read: &Read) -> Result<()> {
        let mut seen = lock(&self.attempts).others.seen;
        let newest = rows::newest(read)?;
        // A server that has failed has lost the table, and the clock by which numbers go on may be another one.
        if newest.saturating_add(NUMBERS_SLACK_MS) < seen {
            seen = 0;
            lock(&self.attempts).others.seen = 0;
        }
        let rows = match newest > seen {
            true => rows::list_after(read, seen, self.node)?,
            false => Vec::new(),
        };
        lock(&self.attempts).hear(&rows, self.now);
        Ok(())
    }

    /// Announces what has ended here. If this is undone, the other nodes count the attempts as failures.
    pub(in crate::ops) fn announce(&self, tx: &Write<'_>) -> Result<()> {
        let (outcomes, announced) = lock(&self.attempts).take_unannounced();
        for (number, outcome) in outcomes {
            rows::update_outcome(tx, number, outcome, self.now.wall)?;
        }
        for announced in announced {
            self.announce_one(tx, &announced)?;
        }
        Ok(())
    }

    /// Announces one thing that this transaction does.
    pub(in crate::ops) fn announce_one(
        &self,
        tx: &Write<'_>,
        announced: &Announcement,
    ) -> Result<()> {
        rows::insert(tx, self.node, announced, Outcome::NoFailure, self.now.wall).map(drop)
    }

    fn release(&self, held: &Mutex<Option<Ticket>>) {
        if let Some(ticket) = lock(held).take() {
            let Moment { wall, steady_ms } = self.now;
            lock(&self.attempts).end(ticket, false, steady_ms, wall);
        }
    }
}
