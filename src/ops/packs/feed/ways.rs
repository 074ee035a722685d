//! How a site gets from the state that it has to that of this server: in a step, with a pack, or not at all.

use super::known::{Known, Workspaces};
use super::moved;
use super::path::{Path, Touched, path};
use super::snapshot::{History, Snapshot};
use crate::domain::audit::Event;
use crate::domain::packs::question::{Events, Question};
use crate::domain::packs::site::MadePack;
use crate::error::Result;

/// How a site gets to the state of the server.
pub(super) enum Way {
    Fork,
    Pack,
    Step(Touched),
}

/// The way from the state in a question.
pub(super) fn way(
    snapshot: &Snapshot<'_>,
    known: &Known,
    workspaces: &Workspaces,
    question: &Question,
) -> Result<Way> {
    let reign = known.server.reign;
    let (way, is_fork) = if question.pack == 0 {
        (Way::Pack, false)
    } else if question.reign > reign {
        (Way::Fork, true)
    } else {
        let way = way_from(snapshot, known, workspaces, question.events)?;
        let is_fork = matches!(way, Way::Fork);
        match question.reign == reign {
            true => (way, is_fork),
            // The site judges by the pack whether it can follow.
            false => (Way::Pack, is_fork),
        }
    };
    snapshot.app.feed.forks.note(&question.site, is_fork);
    Ok(way)
}

/// The way from a state of this reign.
pub(super) fn way_from(
    snapshot: &Snapshot<'_>,
    known: &Known,
    workspaces: &Workspaces,
    from: Events,
) -> Result<Way> {
    if from.number > snapshot.head.number {
        return Ok(Way::Fork);
    }
    if from.number == 0 {
        return Ok(Way::Pack);
    }
    Ok(match &*snapshot.history(from.number)? {
        History::Unknown | History::Unread { .. } => Way::Pack,
        History::Known { hash, .. } if *hash != from.hash => Way::Fork,
        History::Known { events, .. } => over(snapshot, known, workspaces, events)?,
    })
}

/// The way over these events.
fn over(
    snapshot: &Snapshot<'_>,
    known: &Known,
    workspaces: &Workspaces,
    events: &[Event],
) -> Result<Way> {
    let site = &known.site;
    let Path::Step(mut touched) = path(&site.name, &site.workspaces, events.iter()) else {
        return Ok(Way::Pack);
    };
    Ok(match moved::add(snapshot, workspaces, &mut touched)? {
        true => Way::Step(touched),
        false => Way::Pack,
    })
}

/// Whether steps lead from the newest pack of a site to what this server has now. If they do not, what has happened here needs another
/// one, and not what the site has asked.
pub(super) fn is_outdated(
    snapshot: &Snapshot<'_>,
    known: &Known,
    workspaces: &Workspaces,
    made: &MadePack,
) -> Result<bool> {
    if made.events > snapshot.head.number {
        return Ok(true);
    }
    Ok(match &*snapshot.history(made.events)? {
        History::Unknown | History::Unread { .. } => true,
        History::Known { events, .. } => {
            !matches!(over(snapshot, known, workspaces, events)?, Way::Step(_))
        }
    })
}
