//! The state of the database that the answers of one round describe. What several sites need is read once.

use super::newest;
use super::path::Touched;
use crate::domain::audit::Event;
use crate::domain::catalogs::Catalog;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::SharedPart;
use crate::domain::packs::question::Events;
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::domain::workspaces::Workspace;
use crate::error::Result;
use crate::ops::{App, index_updates};
use crate::store::audit::{self, events};
use crate::store::seals::keys::KeyWithSeal;
use crate::store::sites::OwnedPart;
use crate::store::{Read, seals, sites};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

/// See the heading.
pub struct Snapshot<'a> {
    pub app: &'a App,
    pub read: &'a Read,
    /// The newest event that it has.
    pub head: Events,
    pub now: Timestamp,
    histories: Memo<u64, Rc<History>>,
    keys: Memo<KeyId, Option<Rc<KeyWithSeal>>>,
    imported: Memo<(i64, i64), Rc<Vec<KeyId>>>,
    places: Memo<Uid, Rc<Vec<KeyId>>>,
    policies: OnceCell<Rc<HashMap<String, Policy>>>,
    users: Memo<Uid, Option<Rc<User>>>,
    owned: Memo<Uid, Rc<Vec<OwnedPart>>>,
    catalogs: Memo<String, Option<std::sync::Arc<Catalog>>>,
    workspaces: Memo<Uid, Option<Rc<Workspace>>>,
    has_used_keys: Cell<bool>,
}

/// What has happened since an event.
pub enum History {
    /// Too much, or the log does not have it any more.
    Unknown,
    /// The log is damaged: this event cannot be read, is missing, or does not follow the one before.
    Unread { event: u64 },
    /// The hash of the event itself, and those after it.
    Known { hash: [u8; 32], events: Vec<Event> },
}

/// Answers that were looked up before.
struct Memo<K, V>(RefCell<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Memo<K, V> {
        Memo(RefCell::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    fn find(&self, key: &K, look_up: impl FnOnce() -> Result<V>) -> Result<V> {
        if let Some(known) = self.0.borrow().get(key) {
            return Ok(known.clone());
        }
        let found = look_up()?;
        self.0.borrow_mut().insert(key.clone(), found.clone());
        Ok(found)
    }
}

/// The events after one, up to the newest, if each follows the one before.
fn chain(since: u64, rows: Vec<(i64, Option<Event>)>, head: Events) -> History {
    let (mut number, mut end, mut start) = (since, None, None);
    let mut events = Vec::with_capacity(rows.len());
    for (seq, event) in rows {
        let follows = |event: &Event| end.is_none_or(|hash| hash == event.previous);
        let event = event
            .filter(|event| seq.unsigned_abs() == number + 1 && event.seq == seq && follows(event));
        let Some(event) = event else {
            return History::Unread { event: number + 1 };
        };
        number += 1;
        start = start.or(Some(event.previous));
        end = Some(event.hash());
        events.push(event);
    }
    match (start, end) {
        (Some(hash), Some(end)) if number == head.number && end == head.hash => {
            History::Known { hash, events }
        }
        _ => History::Unread { event: number + 1 },
    }
}

impl<'a> Snapshot<'a> {
    /// The state of the transaction of `read`. The index has everything that it has.
    /// `None` if it does not follow for now.
    pub fn begin(app: &'a App, read: &'a Read) -> Result<Option<Snapshot<'a>>> {
        let head = newest(read)?;
        if !app.feed.await_installed(head.number) {
            return Ok(None);
        }
        Ok(Some(Snapshot {
            app,
            read,
            head,
            now: app.now().wall,
            histories: Memo::default(),
            keys: Memo::default(),
            imported: Memo::default(),
            places: Memo::default(),
            policies: OnceCell::new(),
            users: Memo::default(),
            owned: Memo::default(),
            catalogs: Memo::default(),
            workspaces: Memo::default(),
            has_used_keys: Cell::new(false),
        }))
    }

    /// Calls `with` for what keys share with others, as the index has it, which may be newer: see [`Snapshot::has_used_keys`].
    pub fn each_shared_part(&self, with: impl FnMut(&SharedPart)) {
        self.has_used_keys.set(true);
        self.app.index.each_shared_part(with);
    }

    /// Whether something depends on the keys of the index.
    pub fn has_used_keys(&self) -> bool {
        self.has_used_keys.get()
    }

    /// What has happened since an event.
    pub fn history(&self, since: u64) -> Result<Rc<History>> {
        self.histories
            .find(&since, || self.history_since(since).map(Rc::new))
    }

    fn history_since(&self, since: u64) -> Result<History> {
        if since == self.head.number {
            return Ok(History::Known {
                hash: self.head.hash,
                events: Vec::new(),
            });
        }
        let after = i64::try_from(since).ok();
        // What comes later than all that there is belongs to another history.
        let Some(after) = after.filter(|_| since < self.head.number) else {
            return Ok(History::Unknown);
        };
        let first = audit::ends(self.read)?.map(|(first, _)| first);
        let rows = events::list_after(self.read, after, TOUCHED_MAX as u32 + 1)?;
        let is_cut = first.is_none_or(|first| first > after + 1);
        if is_cut || rows.len() > TOUCHED_MAX {
            return Ok(History::Unknown);
        }
        Ok(chain(since, rows, self.head))
    }

    /// A key with its secrets, also one that was deleted.
    pub fn key(&self, id: KeyId) -> Result<Option<Rc<KeyWithSeal>>> {
        self.keys.find(&id, || {
            let found = seals::keys::find(self.read, &self.app.seal_keys, id)?;
            Ok(found.map(Rc::new))
        })
    }

    /// The ids of the keys that were touched, and whether each may have been given to other sites before.
    pub fn keys_of(&self, touched: &Touched) -> Result<Vec<(KeyId, bool)>> {
        let mut keys = touched.keys.clone();
        for range in &touched.imported {
            let ids = self.imported.find(range, || {
                let ids = sites::list_numbered(self.read, *range, TOUCHED_MAX as u32)?;
                Ok(Rc::new(ids))
            })?;
            keys.extend(ids.iter().map(|id| (*id, false)));
        }
        Ok(keys.into_iter().collect())
    }

    /// The keys of a workspace, if they are no more than a step can have; then one more than that.
    pub fn keys_in(&self, workspace: Uid) -> Result<Rc<Vec<KeyId>>> {
        self.places.find(&workspace, || {
            let ids = sites::list_in_workspace(self.read, workspace, TOUCHED_MAX as u32 + 1)?;
            Ok(Rc::new(ids))
        })
    }

    /// The policies in force, by name.
    pub fn policies(&self) -> Result<Rc<HashMap<String, Policy>>> {
        if let Some(known) = self.policies.get() {
            return Ok(known.clone());
        }
        let list = index_updates::policies_in_force(self.read, &self.app.seal_keys)?;
        let by_name = list.into_iter().map(|policy| (policy.name.clone(), policy));
        let by_name: Rc<HashMap<String, Policy>> = Rc::new(by_name.collect());
        Ok(self.policies.get_or_init(|| by_name).clone())
    }

    /// A user that was not deleted.
    pub fn user(&self, uid: Uid) -> Result<Option<Rc<User>>> {
        self.users.find(&uid, || {
            let found = index_updates::user(self.read, &self.app.seal_keys, uid)?;
            let found = found.filter(|user| user.deleted_at.is_none());
            Ok(found.map(Rc::new))
        })
    }

    /// Where the keys of a user are, and by what rules they live.
    pub fn owned(&self, uid: Uid) -> Result<Rc<Vec<OwnedPart>>> {
        self.owned.find(&uid, || {
            Ok(Rc::new(sites::list_parts_of_owner(self.read, uid)?))
        })
    }

    pub fn catalog(&self, name: &str) -> Result<Option<std::sync::Arc<Catalog>>> {
        self.catalogs.find(&name.to_owned(), || {
            index_updates::catalog(self.read, &self.app.seal_keys, name)
        })
    }

    pub fn workspace(&self, uid: Uid) -> Result<Option<Rc<Workspace>>> {
        self.workspaces.find(&uid, || {
            let found = index_updates::workspace(self.read, &self.app.seal_keys, uid)?;
            Ok(found.map(Rc::new))
        })
    }
}
