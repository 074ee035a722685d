//! How the chain of events goes on from an event that an index has. Other nodes may have added to it; and the chain may be another
//! one, if an older copy of the database, or another server, has taken the place of the one before.

use super::audit::{self, events};
pub use super::connection::Head;
use super::{Read, sites};
use crate::domain::audit::named::{Named, named};
use crate::domain::audit::{Event, Kind, Target};
use crate::error::Result;

/// What is between an event that an index has and the newest one.
#[derive(Debug)]
pub enum Gap {
    /// The next events in their order, as many as were wanted at most; none if the index has the newest one.
    Events(Vec<Event>),
    /// The chain does not have the event.
    Fork,
    /// Some events were deleted or cannot be read.
    Unread,
}

/// The newest event.
pub fn newest(read: &Read) -> Result<Head> {
    let head = audit::head(read)?;
    Ok(head.map_or(Head::NONE, |head| Head {
        seq: head.seq,
        hash: head.hash,
    }))
}

/// What is between `mine` and the newest event `head`; at most `limit` events.
pub fn gap(read: &Read, mine: Head, head: Head, limit: u32) -> Result<Gap> {
    if head == mine {
        return Ok(Gap::Events(Vec::new()));
    }
    if head.seq <= mine.seq {
        return Ok(Gap::Fork);
    }
    let mut last = mine;
    let mut found = Vec::new();
    for (seq, event) in events::list_after(read, mine.seq, limit)? {
        let follows = |event: &Event| event.seq == last.seq + 1 && event.previous == last.hash;
        let Some(event) = event.filter(|event| seq == event.seq && follows(event)) else {
            break;
        };
        last = Head {
            seq,
            hash: event.hash(),
        };
        found.push(event);
    }
    let is_whole = last == head || (found.len() == limit as usize && last.seq < head.seq);
    match is_whole {
        true => Ok(Gap::Events(found)),
        false if has(read, mine)? == Some(false) => Ok(Gap::Fork),
        false => Ok(Gap::Unread),
    }
}

/// Whether an event is in the chain. `None` if that cannot be known, because the event was deleted or cannot be read.
pub fn has(read: &Read, event: Head) -> Result<Option<bool>> {
    if event == Head::NONE {
        return Ok(Some(true));
    }
    let found = events::list_after(read, event.seq - 1, 1)?;
    let found = found.into_iter().find(|(seq, _)| *seq == event.seq);
    if let Some((_, found)) = found {
        return Ok(found.map(|found| found.hash() == event.hash));
    }
    if newest(read)?.seq < event.seq {
        return Ok(Some(false));
    }
    let cut = audit::checkpoint(read)?.filter(|cut| cut.seq == event.seq);
    Ok(cut.map(|cut| cut.hash == event.hash))
}

/// What these events name; `None` if they name more than they list ([`Named::Everything`]).
pub fn named_by(read: &Read, events: &[Event]) -> Result<Option<Vec<Target>>> {
    let mut targets = Vec::new();
    let key = |id| Target::new(Kind::Key, id);
    for event in events {
        match named(event) {
            Named::Everything => return Ok(None),
            Named::Keys(ids) => targets.extend(ids.into_iter().map(key)),
            Named::Nothing => {}
            Named::NumberedKeys(first, last) => {
                let ids = sites::list_numbered(read, (first, last), u32::MAX)?;
                targets.extend(ids.into_iter().map(key));
            }
            Named::Target(target) => targets.push(target),
        }
    }
    Ok(Some(targets))
}
