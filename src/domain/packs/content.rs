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

/// A whole body, decoded except for the keys, which stay in their bytes: there may be a million.
pub struct Content {
    body: Body,
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

impl Content {
    /// Decodes a whole body.
    ///
    /// # Errors
    /// Something is named that is not there; or the body is a difference.
    pub fn of(body: Body) -> Checked<Content> {
        let lacks = || refusals::packs::body("references");
        let content = Content::decode(body).ok_or_else(lacks)?;
        content.check().ok_or_else(lacks)?;
        Ok(content)
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Every key, in the order of ids.
    pub fn keys(&self) -> impl Iterator<Item = PackedKey<'_>> {
        each_key(&self.body).flatten()
    }

    /// The keys with these ids, which are in ascending order; `None` for one that is not there.
    pub fn find(&self, ids: &[KeyId]) -> Vec<Option<PackedKey<'_>>> {
        let bytes: Vec<[u8; 8]> = ids.iter().map(|id| id.0.to_be_bytes()).collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(|id| &id[..]).collect();
        let rows = self.body.find(Table::Keys, &bytes);
        let extras = self.body.find(Table::Extras, &bytes);
        let pairs = rows.into_iter().zip(extras);
        pairs
            .map(|(row, extras)| self.key_of(row?, extras))
            .collect()
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
        self.body.count(Table::Keys)
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
            body,
        })
    }

    fn check(&self) -> Option<()> {
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
            && parents.all(|parent| workspaces.contains(&parent))
            && is_tree(&above)
            && bindings.all(|binding| workspaces.contains(&binding.workspace))
            && self.shared.values().all(is_known);
        let mut all = 0;
        for key in each_key(&self.body) {
            let key = key?;
            let older = key
                .older
                .is_none_or(|older| versions.contains(&older.pepper));
            if !self.shared.contains_key(&key.shared) || !versions.contains(&key.pepper) || !older {
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
        (fits && all == self.key_count() && with == extras.count()).then_some(())
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
