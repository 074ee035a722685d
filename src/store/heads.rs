//! How the chain of events goes on from an event that an index has. Other nodes may have added to it; and the chain may be another
//! one, if an older copy of the database, or another server, has taken the place of the one before.

use super::audit::{self, events};
pub use super::connection::Head;
use super::{Read, older_copy, sites};
use crate::domain::audit::named::{Named, named};
use crate::domain::audit::{Event, Kind, Target};
use crate::domain::tombstones::{Mark, Tombstones};
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

/// Whether the event of a mark is in the chain; `None` if that cannot be known, because the event was deleted.
pub fn has_mark(read: &Read, mark: Mark) -> Result<Option<bool>> {
    if let Some(event) = audit::find(read, mark.seq)? {
        return Ok(Some(Mark::of(&event).hash == mark.hash));
    }
    Ok((mark.seq > newest(read)?.seq).then_some(false))
}

/// How far the chain is the log that a tombstone file belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Common {
    /// Up to this mark, or to an event between it and the next one.
    Mark(Mark),
    /// The chain has the event of no mark.
    Nothing,
    /// That cannot be known, because events were deleted from the chain.
    Unknown,
}

impl Common {
    pub fn mark(self) -> Option<Mark> {
        match self {
            Common::Mark(mark) => Some(mark),
            Common::Nothing | Common::Unknown => None,
        }
    }
}

/// Compares the chain with the marks of a tombstone file.
pub fn common(read: &Read, known: &Tombstones) -> Result<Common> {
    let may_have = |mark| Ok(has_mark(read, mark)? != Some(false));
    let Some(last) = known.marks.last_of(may_have)? else {
        return Ok(Common::Nothing);
    };
    Ok(match has_mark(read, last)? {
        Some(_) => Common::Mark(last),
        None => Common::Unknown,
    })
}

/// Whether the chain is not the log that a tombstone file belongs to: it lacks the last event that the file knows.
///
/// If that event was deleted from the chain, other nodes may have closed an older copy before. Then the file belongs to the chain only
/// if it knows the event of that, or ends before the copy was made. Without other nodes it belongs to the chain, because every cut
/// writes a mark of its own.
pub fn is_left(read: &Read, known: &Tombstones) -> Result<bool> {
    let Some(mark) = known.mark else {
        return Ok(false);
    };
    if let Some(has) = has_mark(read, mark)? {
        return Ok(!has);
    }
    if !read.is_shared() {
        return Ok(false);
    }
    let copy = older_copy::find(read)?;
    Ok(copy.is_some_and(|copy| !copy.is_known_to(known) && !copy.is_later_than(known)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::seal_key::SealKeys;
    use crate::domain::time::Timestamp;
    use crate::store::audit::{Cut, append, prune};
    use crate::store::testing;

    /// A chain of five events about the keys 1 to 5, and where it was after each of them.
    fn chain(read: &Read, seal_keys: &SealKeys) -> Vec<Head> {
        let mut heads = vec![newest(read).unwrap()];
        for id in 1..=5 {
            let event = Event::of_system("key.edit", Target::new(Kind::Key, id), Timestamp(id));
            append(&read.write(), seal_keys, event).unwrap();
            heads.push(newest(read).unwrap());
        }
        heads
    }

    /// The numbers of the events in a gap, or what it is.
    fn numbers(read: &Read, mine: Head, limit: u32) -> std::result::Result<Vec<i64>, String> {
        match gap(read, mine, newest(read).unwrap(), limit).unwrap() {
            Gap::Events(events) => Ok(events.iter().map(|event| event.seq).collect()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn events_are_followed_in_steps_as_far_as_the_chain_goes() {
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for read in testing::stores() {
            let heads = chain(&read, &seal_keys);
            assert_eq!(heads[0], Head::NONE);
            assert_eq!(numbers(&read, heads[0], 9), Ok(vec![1, 2, 3, 4, 5]));
            assert_eq!(numbers(&read, heads[2], 2), Ok(vec![3, 4]));
            assert_eq!(numbers(&read, heads[4], 1), Ok(vec![5]));
            assert_eq!(numbers(&read, heads[5], 9), Ok(vec![]));
            for (seq, head) in heads.iter().enumerate() {
                assert_eq!(has(&read, *head).unwrap(), Some(true), "{seq}");
            }
        }
    }

    #[test]
    fn another_chain_is_a_fork_even_if_it_is_longer() {
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for read in testing::stores() {
            let heads = chain(&read, &seal_keys);
            let other = |seq| Head { seq, hash: [7; 32] };
            for seq in [3, 5, 6] {
                assert_eq!(numbers(&read, other(seq), 9), Err("Fork".to_owned()));
                assert_eq!(has(&read, other(seq)).unwrap(), Some(false));
            }
            // The checkpoint of a cut shows it.
            prune(&read.write(), &seal_keys, Cut::Keep(2), i64::MAX).unwrap();
            assert_eq!(numbers(&read, other(3), 9), Err("Fork".to_owned()));
            assert_eq!(numbers(&read, heads[3], 9), Ok(vec![4, 5]));
            assert_eq!(has(&read, heads[3]).unwrap(), Some(true));
        }
    }

    #[test]
    fn what_was_cut_or_changed_is_neither_followed_nor_a_fork() {
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for read in testing::stores() {
            let heads = chain(&read, &seal_keys);
            read.tamper("UPDATE audit_events SET actor = 'x' WHERE seq = 4");
            assert_eq!(numbers(&read, heads[2], 9), Err("Unread".to_owned()));
            prune(&read.write(), &seal_keys, Cut::Keep(2), i64::MAX).unwrap();
            assert_eq!(numbers(&read, heads[1], 9), Err("Unread".to_owned()));
            assert_eq!(has(&read, heads[1]).unwrap(), None);
        }
    }
}
