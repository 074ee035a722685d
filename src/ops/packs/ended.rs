//! What has ended here since the event that a site is known to have: keys and secrets that the site may still accept, and that
//! are not accepted here, or not given to it, any more.
//!
//! The audit log has what things were at that event ([`super::history`]). A key has ended if it would have been accepted as it was
//! then, at this moment, and is not accepted as it is now: the key itself can have ended it, its owner, its workspace or one
//! above, its policy, or what the site is given.
//!
//! A secret is known to the site by its digest. If uses here have replaced digests since, by ones under a newer pepper, the former
//! ones are not known any more: then the key counts as a whole.

use super::given::{Given, is_strong};
use super::history::History;
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::{Key, KeyId};
use crate::domain::packs::revocations::{EndedSecret, start_of};
use crate::domain::packs::site::Site;
use crate::domain::policies::{Policy, TiedTo};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::index::PARTS;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::store::{Read, audit, key_files, keys, retired};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// More workspaces than any path has: so a circle in damaged rows ends.
const DEPTH_MAX: usize = 100;

/// Since when, and for whom.
pub struct Asked<'a> {
    /// `None` for everything of this server.
    pub site: Option<&'a Site>,
    /// The audit event that the site is known to have.
    pub after: u64,
    /// Also what was made since: the site may have a later pack than it is known to have.
    pub with_new: bool,
}

/// What has ended.
#[derive(Debug, Default)]
pub struct Ended {
    pub keys: BTreeSet<KeyId>,
    /// Of keys that go on.
    pub secrets: BTreeSet<EndedSecret>,
    /// Keys that go on, and of which secrets have ended whose digests at the site are not known.
    pub whole: BTreeSet<KeyId>,
    /// The number of secrets of keys that go on which the site can have: not those that were made since and have ended already.
    known_secrets: usize,
}

impl Ended {
    /// The number of keys and secrets that the site may still accept.
    pub fn count(&self) -> u64 {
        (self.keys.len() + self.known_secrets) as u64
    }
}

/// What has ended, for each question; `None` if the log does not reach back to the event, so that it is not known. The log is read
/// once, from its end back to the earliest of the events.
pub fn ended(app: &App, read: &Read, asked: &[Asked<'_>]) -> Result<Vec<Option<Ended>>> {
    let mut order = Vec::new();
    for (place, one) in asked.iter().enumerate() {
        if audit::events::has_all_after(read, one.after)? {
            order.push(place);
        }
    }
    order.sort_by_key(|place| std::cmp::Reverse(asked[*place].after));
    let mut found: Vec<Option<Ended>> = asked.iter().map(|_| None).collect();
    let Some(earliest) = order.last().map(|place| asked[*place].after) else {
        return Ok(found);
    };
    let mut rows = Rows::default();
    let mut history = History::default();
    let mut open = order.into_iter().peekable();
    let mut look = |place: usize, history: &History| -> Result<()> {
        let compared = Compared::new(app, read, history, &asked[place]);
        found[place] = Some(compared.run(&mut rows)?);
        Ok(())
    };
    audit::events::each_back_to(read, earliest, |event| {
        let seq = event.seq.unsigned_abs();
        while let Some(place) = open.next_if(|place| seq <= asked[*place].after) {
            look(place, &history)?;
        }
        history.undo(&event);
        Ok(())
    })?;
    open.try_for_each(|place| look(place, &history))?;
    Ok(found)
}

/// Rows of keys that were read already.
#[derive(Default)]
struct Rows(BTreeMap<KeyId, Option<Key>>);

impl Rows {
    fn find(&mut self, read: &Read, id: KeyId) -> Result<Option<&Key>> {
        if let Entry::Vacant(place) = self.0.entry(id) {
            place.insert(keys::find(read, id)?);
        }
        Ok(self.0.get(&id).and_then(Option::as_ref))
    }
}

/// What decides whether a key is accepted at all.
#[derive(Clone)]
struct Facts<'a> {
    workspace: Uid,
    owner: Option<Uid>,
    policy: &'a str,
    catalog: Option<&'a str>,
    enabled: bool,
    expires_at: Timestamp,
}

/// The end of a key without one.
const NEVER: Timestamp = Timestamp(i64::MAX);

impl Facts<'_> {
    fn of(key: &Key) -> Facts<'_> {
        Facts {
            workspace: key.workspace,
            owner: key.owner,
            policy: &key.policy,
            catalog: key.catalog.as_deref(),
            enabled: key.enabled && key.deleted_at.is_none(),
            expires_at: key.expires_at.unwrap_or(NEVER),
        }
    }

    fn of_live(key: &Live) -> Facts<'_> {
        Facts {
            workspace: key.shared.workspace,
            owner: key.shared.owner,
            policy: &key.shared.policy,
            catalog: key.shared.catalog.as_deref(),
            enabled: key.enabled,
            expires_at: key.expires_at,
        }
    }
}

/// What a policy decides about whether its keys are accepted.
struct Rules {
    decoy: bool,
    /// The keys need their owner.
    needs_owner: bool,
    acts_for_owner: bool,
}

/// A workspace: whether it is in force, and whether the site is given it.
#[derive(Clone, Copy)]
struct Place {
    active: bool,
    given: bool,
}

/// One comparison of then and now.
struct Compared<'a> {
    app: &'a App,
    read: &'a Read,
    history: &'a History,
    asked: &'a Asked<'a>,
    now: Timestamp,
    given: Option<Given>,
    /// What the site was given then; `None` if it is the same, or everything.
    given_then: Option<(HashSet<Uid>, Option<HashSet<String>>)>,
    places: HashMap<Uid, (Place, Place)>,
}

impl<'a> Compared<'a> {
    fn new(
        app: &'a App,
        read: &'a Read,
        history: &'a History,
        asked: &'a Asked<'a>,
    ) -> Compared<'a> {
        let directory = app.index.directory();
        let then = asked.site.and_then(|site| {
            let then = history.given.get(&site.name)?;
            let uid = |text: &String| match directory.find_place(text) {
                Some(place) => Some(place.workspace.uid),
                None => Uid::parse(text),
            };
            let workspaces = match &then.workspaces {
                Some(texts) => texts.iter().filter_map(uid).collect(),
                None => site.workspaces.iter().copied().collect(),
            };
            let catalogs = then.catalogs.as_ref().unwrap_or(&site.catalogs);
            let catalogs = (!catalogs.is_empty()).then(|| catalogs.iter().cloned().collect());
            Some((workspaces, catalogs))
        });
        Compared {
            given: asked.site.map(|site| Given::of(site, &directory)),
            given_then: then,
            app,
            read,
            history,
            asked,
            now: app.now().wall,
            places: HashMap::new(),
        }
    }

    fn run(mut self, rows: &mut Rows) -> Result<Ended> {
        let mut ended = Ended::default();
        for (id, then) in &self.history.keys {
            let is_asked = self.asked.with_new || !then.is_new;
            let Some(key) = rows.find(self.read, *id)?.filter(|_| is_asked) else {
                continue;
            };
            // The packs have no key whose secret another system has made.
            if key.weak && then.rotations == 0 {
                continue;
            }
            let now = Facts::of(key);
            let was_there = key.deleted_at.is_none() || then.was_there;
            let before = Facts {
                owner: then.owner.unwrap_or(now.owner),
                enabled: was_there && then.enabled.unwrap_or(key.enabled),
                expires_at: match then.expires_at {
                    None => now.expires_at,
                    Some(end) => end.unwrap_or(NEVER),
                },
                ..now.clone()
            };
            let directory = self.app.index.directory();
            let was_accepted = self.was_accepted(&directory, &before);
            let is_accepted = self.is_accepted(&directory, &now);
            drop(directory);
            if was_accepted && !is_accepted {
                ended.keys.insert(*id);
            } else if was_accepted && then.has_lost_secrets {
                self.secrets(*id, then.rotations, &mut ended)?;
            }
        }
        if self
            .history
            .concerns_many(self.asked.site.map(|site| site.name.as_str()))
        {
            self.all_others(&mut ended);
        }
        Ok(ended)
    }

    /// Keys that are as they were, while something around them has changed.
    fn all_others(&mut self, ended: &mut Ended) {
        let (app, history) = (self.app, self.history);
        for part in 0..PARTS {
            let directory = app.index.directory();
            app.index.each_of_part(part, |key| {
                if history.keys.contains_key(&key.id) || !is_strong(&key.secret) {
                    return;
                }
                let facts = Facts::of_live(key);
                if self.was_accepted(&directory, &facts) && !self.is_accepted(&directory, &facts) {
                    ended.keys.insert(key.id);
                }
            });
        }
    }

    /// The secrets of a key that have ended since.
    fn secrets(&self, id: KeyId, rotations: usize, ended: &mut Ended) -> Result<()> {
        let begin = i64::try_from(self.asked.after).unwrap_or(i64::MAX);
        // If the event was cut off from the log, every secret that has ended counts.
        let begin = audit::time_of(self.read, begin)?.unwrap_or(Timestamp(0));
        let mut over: BTreeMap<EndedSecret, u32> = BTreeMap::new();
        let mut live = 0;
        let mut add = |start, pepper: u32| over.insert(EndedSecret { key: id, start }, pepper);
        for row in keys::list_secrets(self.read, id)? {
            match row.expires_at {
                Some(end) if end <= self.now && is_strong(&row.secret) => {
                    let StoredSecret { digest, pepper, .. } = row.secret;
                    add(start_of(&digest.0), u32::from(pepper));
                }
                Some(end) if end <= self.now => {}
                _ => live += 1,
            }
        }
        for row in retired::list_since(self.read, id, begin)? {
            add(row.digest, row.pepper);
        }
        // Those that were made since and have ended already were never at the site.
        let unknown = rotations.saturating_sub(live);
        let known = over.len().saturating_sub(unknown);
        let is_lost = self.history.had_other_digests(id)
            && has_newer(self.read, begin, over.values().copied())?;
        match is_lost {
            true => drop(ended.whole.insert(id)),
            false => ended.secrets.extend(over.into_keys()),
        }
        ended.known_secrets += known;
        Ok(())
    }

    fn was_accepted(&mut self, directory: &Directory, key: &Facts<'_>) -> bool {
        let (then, _) = self.place(directory, key.workspace);
        let has_catalog = match (&self.given_then, &self.given) {
            (Some((_, Some(names))), _) => key.catalog.is_some_and(|name| names.contains(name)),
            (Some((_, None)), _) | (None, None) => true,
            (None, Some(given)) => given.has_catalog(key.catalog),
        };
        let rules = self.rules_then(directory, key.policy);
        let has_owner = |owner| self.had_owner(directory, owner);
        has_catalog && accepts(key, then, rules, has_owner, self.now)
    }

    fn is_accepted(&mut self, directory: &Directory, key: &Facts<'_>) -> bool {
        let (_, now) = self.place(directory, key.workspace);
        let given = self.given.as_ref();
        let has_catalog = given.is_none_or(|given| given.has_catalog(key.catalog));
        let rules = directory.policy(key.policy).map(|policy| rules_of(policy));
        let acts = rules.as_ref().is_some_and(|rules| rules.acts_for_owner);
        let has_owner = |owner| has_owner(directory, owner);
        has_catalog
            && accepts(key, now, rules, has_owner, self.now)
            && !(acts && self.has_lost_roles(directory, key))
    }

    /// Whether the owner of a key that acts for its owner has no role there any more, and had one that was taken away since.
    fn has_lost_roles(&self, directory: &Directory, key: &Facts<'_>) -> bool {
        let Some(owner) = key.owner else {
            return false;
        };
        let changed = self.history.users.get(&owner);
        let path = directory.path(key.workspace);
        let reaches = directory.user(owner).is_some_and(|user| {
            let mut roles = user.roles.iter();
            roles.any(|binding| path.contains(&binding.workspace))
        });
        changed.is_some_and(|then| then.had_other_roles) && !reaches
    }

    fn had_owner(&self, directory: &Directory, owner: Uid) -> bool {
        let is_there = directory.user(owner).is_some();
        match self.history.users.get(&owner) {
            None => has_owner(directory, owner),
            Some(then) if then.is_new && !self.asked.with_new => false,
            Some(then) if !is_there && !then.was_there => false,
            Some(then) => match then.enabled {
                Some(enabled) => enabled,
                None => !is_there || has_owner(directory, owner),
            },
        }
    }

    fn rules_then(&self, directory: &Directory, name: &str) -> Option<Rules> {
        let now = directory.policy(name).map(|policy| rules_of(policy));
        let Some(then) = self.history.policies.get(name) else {
            return now;
        };
        // A policy that was closed since had rules that are not known any more; the safe ones are those that accept.
        let known = now.or(then.was_there.then_some(Rules {
            decoy: false,
            needs_owner: false,
            acts_for_owner: false,
        }))?;
        Some(Rules {
            decoy: then.decoy.unwrap_or(known.decoy),
            needs_owner: match then.tied_to {
                Some(tied_to) => tied_to != TiedTo::Workspace,
                None => known.needs_owner,
            },
            acts_for_owner: then.acts_for_owner.unwrap_or(known.acts_for_owner),
        })
    }

    /// A workspace as it was and as it is.
    fn place(&mut self, directory: &Directory, uid: Uid) -> (Place, Place) {
        if let Some(known) = self.places.get(&uid) {
            return *known;
        }
        let now = Place {
            active: directory.place(uid).is_some_and(|place| place.active),
            given: match &self.given {
                None => true,
                Some(given) => given.workspaces.contains(&uid),
            },
        };
        let then = match self.history.workspaces.is_empty() && self.given_then.is_none() {
            true => now,
            false => self.place_then(directory, uid),
        };
        self.places.insert(uid, (then, now));
        (then, now)
    }

    fn place_then(&self, directory: &Directory, uid: Uid) -> Place {
        let mut place = Place {
            active: true,
            given: self.asked.site.is_none(),
        };
        let given = |uid: &Uid| match (&self.given_then, self.asked.site) {
            (Some((workspaces, _)), _) => workspaces.contains(uid),
            (None, Some(site)) => site.workspaces.contains(uid),
            (None, None) => true,
        };
        let mut next = Some(uid);
        for _ in 0..DEPTH_MAX {
            let Some(uid) = next else {
                return place;
            };
            let now = directory.place(uid).map(|place| &place.workspace);
            let then = self.history.workspaces.get(&uid);
            let was_there = match then {
                None => now.is_some(),
                Some(then) => {
                    let was_made = self.asked.with_new || !then.is_new;
                    was_made && (now.is_some() || then.was_there)
                }
            };
            let enabled = then.and_then(|then| then.enabled);
            place.active &= was_there && enabled.unwrap_or(now.is_none_or(|now| now.enabled));
            place.given |= given(&uid);
            next = match then.and_then(|then| then.parent) {
                Some(parent) => parent,
                None => now.and_then(|now| now.parent),
            };
        }
        place
    }
}

/// Whether one of the versions of the pepper is at least as new as the newest one at a time: only such digests have replaced
/// others since.
fn has_newer(read: &Read, at: Timestamp, versions: impl Iterator<Item = u32>) -> Result<bool> {
    let rows = key_files::list(read, KeyKind::Pepper)?;
    let then = rows
        .iter()
        .filter(|row| row.added_at.is_none_or(|added| added <= at));
    let newest = then.map(|row| row.number).max().unwrap_or(0);
    Ok(versions.max().is_some_and(|version| version >= newest))
}

fn has_owner(directory: &Directory, owner: Uid) -> bool {
    directory.user(owner).is_some_and(|user| user.is_active())
}

fn rules_of(policy: &Policy) -> Rules {
    Rules {
        decoy: policy.decoy,
        needs_owner: policy.tied_to != TiedTo::Workspace,
        acts_for_owner: policy.acts_for_owner,
    }
}

/// Whether a key is accepted for any request. Its beginning does not count: what has not begun yet has not ended.
fn accepts(
    key: &Facts<'_>,
    place: Place,
    rules: Option<Rules>,
    has_owner: impl Fn(Uid) -> bool,
    now: Timestamp,
) -> bool {
    let Some(rules) = rules.filter(|rules| !rules.decoy) else {
        return false;
    };
    let needs_owner = rules.needs_owner || rules.acts_for_owner;
    let is_owned = key
        .owner
        .is_none_or(|owner| !needs_owner || has_owner(owner));
    place.active && place.given && is_owned && key.enabled && now < key.expires_at
}
