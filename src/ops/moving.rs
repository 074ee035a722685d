//! Moving a database to another place: the event with which it leaves one place, and the one with which it arrives at another.
//!
//! A database whose newest event is the first one is not used, wherever it is. So a copy that was made together with that event
//! is not used either until it has arrived, and at no moment two places are in use.

use crate::domain::audit::{actions, changes};
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::heads::Head;
use crate::store::{Read, audit};

/// The event with which a database was left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Departure {
    /// Where the data went: the address of a database on a server, or a folder.
    pub to: String,
    /// The event itself.
    pub event: Head,
}

impl Departure {
    /// Why a database that was left is not used.
    pub fn refusal(&self) -> Error {
        Error::Unavailable(refusals::server::moved(&self.to))
    }
}

/// The departure, if it is the newest event.
pub fn departure(read: &Read) -> Result<Option<Departure>> {
    let newest = audit::newest(read)?.filter(|event| event.action == actions::LEAVE);
    Ok(newest.map(|event| Departure {
        to: changes::after(&event.changes, "to").unwrap_or_default(),
        event: Head {
            seq: event.seq,
            hash: event.hash(),
        },
    }))
}

/// Refuses a database that was left.
pub fn refuse_left(read: &Read) -> Result<()> {
    match departure(read)? {
        None => Ok(()),
        Some(left) => Err(left.refusal()),
    }
}

#[cfg(feature = "postgres")]
pub use carried_out::*;

/// What `latchkey move` does.
#[cfg(feature = "postgres")]
mod carried_out {
    use super::{Departure, departure};
    use crate::domain::audit::{Changes, Event, Target, actions};
    use crate::domain::keys::keyfile::KeyFiles;
    use crate::domain::time::Timestamp;
    use crate::error::{Error, Result};
    use crate::ops::restore;
    use crate::store::postgres::{Address, Earlier, load};
    use crate::store::{Durability, Location, Read, Store, audit};
    use std::sync::Arc;

    /// Who moves a database, and when.
    #[derive(Clone)]
    pub struct Mover {
        pub files: KeyFiles,
        /// The actor in the audit log.
        pub actor: String,
        pub now: Timestamp,
    }

    impl Mover {
        fn event(&self, action: &str, member: &'static str, place: &str) -> Event {
            let mut changes = Changes::default();
            changes.note(member, &"", &place);
            Event {
                actor: self.actor.clone(),
                changes: changes.into_json(),
                ..Event::of_system(action, Target::server(), self.now)
            }
        }

        fn open(&self, location: impl Into<Location>) -> Result<Store> {
            Store::open(
                location,
                &self.files,
                self.now,
                Box::new(|_, _| Ok(Box::new(|| {}))),
            )
        }

        /// Leaves a database: writes the event, and before that is committed, calls `work` in its transaction.
        pub fn leave(
            &self,
            location: impl Into<Location>,
            to: &str,
            work: impl FnOnce(&Read) -> Result<()> + Send + 'static,
        ) -> Result<()> {
            let store = self.open(location)?;
            let (event, seal_keys) = (
                self.event(actions::LEAVE, "to", to),
                self.files.seal.clone(),
            );
            let left = store.write(Durability::Full, move |tx| {
                audit::append(tx, &seal_keys, event)?;
                work(tx)
            });
            store.close();
            left
        }

        /// Copies a database, from inside a transaction, to a server that has none of Latchkey; see [`load`]. The copy is
        /// checked as a restore checks a backup.
        pub fn load(
            &self,
            address: &Address,
            from: &Read,
            mut progress: impl FnMut(u64, u64),
        ) -> Result<()> {
            let check = |copy: &Read| restore::check_content(copy, &self.files).map(drop);
            load(address, from, &Earlier::OnlyOfAMove, &check, &mut progress).map(drop)
        }

        /// Begins to use the copy at `location`, which must end with the departure. If the copy has arrived already, nothing changes.
        pub fn arrive(
            &self,
            location: impl Into<Location>,
            left: &Departure,
            from: &str,
        ) -> Result<()> {
            let store = self.open(location)?;
            let (event, seal_keys) = (
                self.event(actions::ARRIVE, "from", from),
                Arc::clone(&self.files.seal),
            );
            let left = left.clone();
            let arrived = store.write(Durability::Full, move |tx| match departure(tx)? {
                Some(found) if found == left => audit::append(tx, &seal_keys, event),
                _ if has_arrived(tx, &left)? => Ok(()),
                _ => Err(Error::internal(
                    "the database there is not the copy that was made of this one; it was left as it is",
                )),
            });
            store.close();
            arrived
        }
    }

    /// Whether the event after the departure is an arrival.
    pub fn has_arrived(read: &Read, left: &Departure) -> Result<bool> {
        let departed = audit::find(read, left.event.seq)?.map(|event| event.hash());
        let next = audit::find(read, left.event.seq + 1)?;
        Ok(departed == Some(left.event.hash)
            && next.is_some_and(|event| event.action == actions::ARRIVE))
    }
}
