//! The content of a whole body: what a site answers from. Everything that a record names is there.

use super::body::Body;
use super::keys::{self, PackedKey};
use super::site_key::SealedPepper;
use super::table::{Entry, Table};
use super::{Checked, directory};
use crate::domain::catalogs::{BUILT_IN, Definition};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::SharedPart;
use crate::domain::policies::Policy;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::domain::workspaces::Workspace;
use crate::refusals;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A whole body, decoded except for the keys, which stay in their bytes: there may be a million.
pub struct Content {
    body: Arc<Body>,
    /// The keys with a number of uses that were lent.
    counted: Arc<Vec<KeyId>>,
    /// If this is what a difference makes of another content, the body has only the keys that differ.
    over: Option<Over>,
    pub workspaces: Vec<Workspace>,
    pub users: Vec<User>,
    pub policies: Vec<Policy>,
    /// Without the built-in catalog, which each program has itself.
    pub catalogs: Vec<Definition>,
    /// What keys share, by number.
    pub shared: HashMap<u32, SharedPart>,
    /// Every version of the pepper, sealed to the site.
    pub peppers: Vec<(u16, SealedPepper)>,
}

/// What lies below a difference.
struct Over {
    base: Arc<Body>,
    counted: Arc<Vec<KeyId>>,
    /// The keys that are not those of the base, in ascending order.
    ids: Vec<[u8; 8]>,
    /// The number of keys of both.
    keys: usize,
}

impl Over {
    fn has(&self, id: &[u8]) -> bool {
        self.ids.binary_search_by(|own| own[..].cmp(id)).is_ok()
    }
}

impl Content {
    /// Decodes a whole body.
    ///
    /// # Errors
    /// Something is named that is not there; or the body is a difference.
    pub fn of(body: Body) -> Checked<Content> {
        Content::checked(body, true)
    }

    /// Decodes the records of a step, which are a whole body without peppers: a new version of the pepper comes with a pack.
    pub(super) fn of_step(body: Body) -> Checked<Content> {
        Content::checked(body, false)
    }

    fn checked(body: Body, has_peppers: bool) -> Checked<Content> {
        let lacks = || refusals::packs::body("references");
        let mut content = Content::decode(body).ok_or_else(lacks)?;
        content.check(has_peppers).ok_or_else(lacks)?;
        Ok(content)
    }

    /// The content that a difference makes of this one. It shares the bytes of keys that do not differ.
    ///
    /// # Errors
    /// It is the difference from another body, or something would be named that is not there.
    pub fn after(&self, delta: &Body) -> Checked<Content> {
        let Some(changed) = self.body.changed_by(delta)? else {
            return Content::of(self.body.apply(delta)?);
        };
        let content = Content::of(changed.body)?;
        let over = Over {
            base: self.body.clone(),
            counted: self.counted.clone(),
            ids: changed.ids,
            keys: changed.keys,
        };
        Ok(Content {
            over: Some(over),
            ..content
        })
    }

    /// The body; without the keys of the base if this is the content [after](Content::after) a difference.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Every key, in the order of ids.
    pub fn keys(&self) -> impl Iterator<Item = PackedKey<'_>> {
        let below = self.over.iter().flat_map(|over| {
            let own = |key: &PackedKey<'_>| !over.has(&key.id.0.to_be_bytes());
            each_key(&over.base).flatten().filter(own)
        });
        let (mut below, mut own) = (below.peekable(), each_key(&self.body).flatten().peekable());
        std::iter::from_fn(move || match (below.peek(), own.peek()) {
            (Some(one), Some(other)) if one.id < other.id => below.next(),
            (_, Some(_)) => own.next(),
            (_, None) => below.next(),
        })
    }

    /// The keys with a number of uses that were lent.
    pub fn counted(&self) -> impl Iterator<Item = PackedKey<'_>> {
        let below = self.over.iter().flat_map(|over| {
            let is_same = |id: &&KeyId| !over.has(&id.0.to_be_bytes());
            over.counted.iter().filter(is_same)
        });
        let ids: Vec<KeyId> = below.chain(self.counted.iter()).copied().collect();
        self.find(&ids).into_iter().flatten()
    }

    /// The keys with these ids; `None` for one that is not there.
    pub fn find(&self, ids: &[KeyId]) -> Vec<Option<PackedKey<'_>>> {
        let one = |id: &KeyId| {
            let id = id.0.to_be_bytes();
            let body = match &self.over {
                Some(over) if !over.has(&id) => &over.base,
                _ => &self.body,
            };
            let row = body.find(Table::Keys, &[&id]).pop()??;
            let extras = body.find(Table::Extras, &[&id]).pop()?;
            self.key_of(row, extras)
        };
        ids.iter().map(one).collect()
    }

    fn key_of<'a>(&self, row: Entry<'a>, extras: Option<Entry<'a>>) -> Option<PackedKey<'a>> {
        let own = match extras {
            Some((_, record)) => keys::extras(record)?,
            None => Default::default(),
        };
        PackedKey::of(keys::row(row.0, row.1)?, own, self.body.pepper())
    }

    /// The number of keys.
    pub fn key_count(&self) -> usize {
        let over = self.over.as_ref();
        over.map_or_else(|| self.body.count(Table::Keys), |over| over.keys)
    }

    fn decode(body: Body) -> Option<Content> {
        if body.base().is_some() {
            return None;
        }
        let all = |table| body.entries(table);
        let shared = |(id, record): (&[u8], &[u8])| {
            let number = u32::from_be_bytes(id.try_into().ok()?);
            Some((number, keys::shared(record)?))
        };
        let pepper = |(id, record): (&[u8], &[u8])| {
            let version = u16::from_be_bytes(id.try_into().ok()?);
            Some((version, record.try_into().ok()?))
        };
        Some(Content {
            workspaces: all(Table::Workspaces)
                .map(|(id, record)| directory::workspace(id, record))
                .collect::<Option<_>>()?,
            users: all(Table::Users)
                .map(|(id, record)| directory::user(id, record))
                .collect::<Option<_>>()?,
            policies: all(Table::Policies)
                .map(|(id, record)| directory::policy(id, record))
                .collect::<Option<_>>()?,
            catalogs: all(Table::Catalogs)
                .map(|(id, record)| directory::catalog(id, record))
                .collect::<Option<_>>()?,
            shared: all(Table::Shared).map(shared).collect::<Option<_>>()?,
            peppers: all(Table::Peppers).map(pepper).collect::<Option<_>>()?,
            body: Arc::new(body),
            counted: Arc::default(),
            over: None,
        })
    }

    /// Whether everything that is named is there. Notes the counted keys.
    fn check(&mut self, has_peppers: bool) -> Option<()> {
        let workspaces: HashSet<Uid> = self.workspaces.iter().map(|one| one.uid).collect();
        let policies: HashSet<&str> = self.policies.iter().map(|one| &*one.name).collect();
        let catalogs = self.catalogs.iter().map(|one| &*one.name);
        let catalogs: HashSet<&str> = catalogs.chain([BUILT_IN]).collect();
        let versions: HashSet<u16> = self.peppers.iter().map(|(version, _)| *version).collect();
        let roots = self.workspaces.iter().filter(|one| one.parent.is_none());
        let mut parents = self.workspaces.iter().filter_map(|one| one.parent);
        let mut bindings = self.users.iter().flat_map(|user| &user.roles);
        let above: HashMap<Uid, Option<Uid>> = (self.workspaces.iter())
            .map(|one| (one.uid, one.parent))
            .collect();
        let is_known = |part: &SharedPart| {
            workspaces.contains(&part.workspace)
                && policies.contains(&*part.policy)
                && part
                    .catalog
                    .as_deref()
                    .is_none_or(|name| catalogs.contains(name))
        };
        let fits = roots.count() <= 1
            && (has_peppers || self.peppers.is_empty())
            && parents.all(|parent| workspaces.contains(&parent))
            && is_tree(&above)
            && bindings.all(|binding| workspaces.contains(&binding.workspace))
            && self.shared.values().all(is_known);
        let (mut all, mut counted) = (0, Vec::new());
        for key in each_key(&self.body) {
            let key = key?;
            counted.extend(key.lent.map(|_| key.id));
            let is_there = |version: &u16| !has_peppers || versions.contains(version);
            let older = key.older.is_none_or(|older| is_there(&older.pepper));
            if !self.shared.contains_key(&key.shared) || !is_there(&key.pepper) || !older {
                return None;
            }
            all += 1;
        }
        // Extras of a key that has none, or that is not there, are left over.
        let extras = self.body.entries(Table::Extras);
        let rows = self
            .body
            .entries(Table::Keys)
            .filter_map(|(id, row)| keys::row(id, row));
        let with = rows.filter(|row| row.has_extras).count();
        let fits = fits && all == self.key_count() && with == extras.count();
        self.counted = Arc::new(counted);
        fits.then_some(())
    }
}

/// Whether no workspace is above itself; `above` has the parent of each.
fn is_tree(above: &HashMap<Uid, Option<Uid>>) -> bool {
    let mut grounded: HashSet<Uid> = HashSet::new();
    above.keys().all(|start| {
        let mut path = Vec::new();
        let mut next = Some(*start);
        while let Some(uid) = next.filter(|uid| !grounded.contains(uid)) {
            if path.len() == above.len() {
                return false;
            }
            path.push(uid);
            next = above.get(&uid).copied().flatten();
        }
        grounded.extend(path);
        true
    })
}

/// Every key of a whole body; `None` in the place of one whose parts do not fit each other.
fn each_key(body: &Body) -> impl Iterator<Item = Option<PackedKey<'_>>> {
    let mut extras = body.entries(Table::Extras).peekable();
    body.entries(Table::Keys).map(move |(id, record)| {
        let row = keys::row(id, record)?;
        let own = match row.has_extras {
            true => {
                let (_, record) = extras.next_if(|(of, _)| *of == id)?;
                keys::extras(record)?
            }
            false => Default::default(),
        };
        PackedKey::of(row, own, body.pepper())
    })
}
