//! Building the body of a step: the current records of what was touched, as far as a site is given it, and what they name.

use super::known::Known;
use super::path::Touched;
use super::snapshot::Snapshot;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::packs::body::sha256;
use crate::domain::packs::step::{Gone, TOUCHED_MAX, write};
use crate::domain::policies::Policy;
use crate::domain::uid::Uid;
use crate::domain::users::Binding;
use crate::error::Result;
use crate::index::directory::Directory;
use crate::ops::packs::given::Given;
use crate::ops::packs::make::Draft;
use crate::store::sites;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// The body of a step.
#[derive(Clone, Debug)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub sha256: [u8; 32],
    /// Counted keys among those that were touched: what a site may use of them is its own.
    pub counted: BTreeSet<KeyId>,
}

/// What the step needs besides the snapshot.
pub struct Shared<'a> {
    pub given: &'a Arc<Given>,
    /// The workspaces above those of the site.
    pub above: &'a HashSet<Uid>,
    /// Whether uses are lent to the life of the site that asks. Another one has none.
    pub is_lent: bool,
}

/// What a body has so far.
struct Parts<'a> {
    snapshot: &'a Snapshot<'a>,
    shared: Shared<'a>,
    draft: Draft,
    gone: Gone,
    counted: BTreeSet<KeyId>,
    policies: Rc<HashMap<String, Policy>>,
    users: BTreeSet<Uid>,
    workspaces: BTreeSet<Uid>,
    is_empty: bool,
}

/// Builds the body for a site; `None` if only a pack can say what has changed. `extra` are keys that the site has to learn about
/// without an event.
pub fn build(
    snapshot: &Snapshot<'_>,
    known: &Known,
    shared: Shared<'_>,
    touched: &Touched,
    extra: &BTreeSet<KeyId>,
) -> Result<Option<Built>> {
    if *touched == Touched::default() && extra.is_empty() {
        // What most questions are answered with, without reading anything.
        return Ok(Some(Built {
            bytes: Vec::new(),
            sha256: sha256(&[]),
            counted: BTreeSet::new(),
        }));
    }
    let policies = snapshot.policies()?;
    let mut parts = Parts {
        draft: Draft::of_step(snapshot.app, known.site.clone(), shared.given),
        snapshot,
        shared,
        gone: Gone::default(),
        counted: BTreeSet::new(),
        policies,
        users: BTreeSet::new(),
        workspaces: BTreeSet::new(),
        is_empty: true,
    };
    let mut keys = snapshot.keys_of(touched)?;
    keys.extend(extra.iter().map(|id| (*id, false)));
    keys.sort_unstable();
    keys.dedup_by_key(|(id, _)| *id);
    if keys.len() > TOUCHED_MAX {
        return Ok(None);
    }
    let mut directory = Directory::default();
    directory.put_policies(parts.policies.values().cloned().collect());
    for (id, has_moved) in keys {
        parts.key(id, has_moved, &touched.left, &directory)?;
    }
    let fits = parts.touched(touched)?;
    if !fits {
        return Ok(None);
    }
    parts.finish().map(Some)
}

impl Parts<'_> {
    /// Puts a key in, or among those that are gone.
    fn key(
        &mut self,
        id: KeyId,
        has_moved: bool,
        left: &BTreeSet<Uid>,
        directory: &Directory,
    ) -> Result<()> {
        let Some(found) = self.snapshot.key(id)? else {
            self.gone.keys.push(id);
            return Ok(());
        };
        let key = &found.key;
        let given = self.shared.given;
        if !given.has(key.workspace, key.catalog.as_deref()) {
            // Only where it may have been given to the site before: others are none of its business.
            if has_moved || left.contains(&key.workspace) {
                self.gone.keys.push(id);
            }
            return Ok(());
        }
        // A key whose policy is not in force opens nothing, and there is nothing that could be written in its place.
        let has_policy = self.policies.contains_key(&key.policy);
        let before = self.draft.keys;
        if key.deleted_at.is_none() && has_policy {
            if key.uses_left.is_some() {
                self.counted.insert(id);
                let (read, name) = (self.snapshot.read, &self.draft.site.name);
                if self.shared.is_lent {
                    let lent = sites::find_lent(read, &self.snapshot.app.seal_keys, name, id)?;
                    self.draft.lent.insert(id, lent);
                }
            }
            self.draft.take(&found, directory, self.snapshot.now)?;
        }
        match self.draft.keys > before {
            true => {
                self.is_empty = false;
                self.users.extend(key.owner);
                self.workspaces.insert(key.workspace);
            }
            false => self.gone.keys.push(id),
        }
        Ok(())
    }

    /// Puts in what else was touched, as far as keys of the site depend on it. `false` if a pack is needed.
    fn touched(&mut self, touched: &Touched) -> Result<bool> {
        for uid in &touched.users {
            let owned = self.snapshot.owned(*uid)?;
            let mut own = owned.iter();
            let given = self.shared.given;
            if own.any(|part| given.has(part.workspace, part.catalog.as_deref())) {
                self.users.insert(*uid);
            }
        }
        let (mut policies, mut catalogs) = (BTreeSet::new(), BTreeSet::new());
        if !touched.policies.is_empty() || !touched.catalogs.is_empty() {
            self.snapshot.each_shared_part(|part| {
                if !self
                    .shared
                    .given
                    .has(part.workspace, part.catalog.as_deref())
                {
                    return;
                }
                if touched.policies.contains(&*part.policy) {
                    policies.insert(part.policy.to_string());
                }
                if let Some(name) = part.catalog.as_deref()
                    && touched.catalogs.contains(name)
                {
                    catalogs.insert(name.to_owned());
                }
            });
        }
        for name in policies {
            match self.policies.contains_key(&name) {
                true => self.draft.policies.insert(name),
                // It was changed outside Latchkey: its keys open nothing, and packs say so of each.
                false => return Ok(false),
            };
        }
        self.draft.catalogs.extend(catalogs);
        let known = |uid: &&Uid| {
            self.shared.given.workspaces.contains(uid) || self.shared.above.contains(uid)
        };
        let workspaces: Vec<Uid> = touched.workspaces.iter().filter(known).copied().collect();
        self.workspaces.extend(workspaces);
        Ok(true)
    }

    fn finish(mut self) -> Result<Built> {
        self.write_policies_and_catalogs()?;
        self.write_users()?;
        self.write_workspaces()?;
        let body = match self.is_empty {
            true => None,
            false => Some(self.draft.builder.finish()),
        };
        let bytes = write(&self.gone, body.as_deref());
        Ok(Built {
            sha256: sha256(&bytes),
            bytes,
            counted: self.counted,
        })
    }

    fn write_policies_and_catalogs(&mut self) -> Result<()> {
        for name in std::mem::take(&mut self.draft.policies) {
            if let Some(policy) = self.policies.get(&name) {
                self.draft.builder.policy(policy);
                self.is_empty = false;
            }
        }
        for name in std::mem::take(&mut self.draft.catalogs) {
            if name == BUILT_IN {
                continue;
            }
            if let Some(catalog) = self.snapshot.catalog(&name)? {
                self.draft.builder.catalog(catalog.definition());
                self.is_empty = false;
            }
        }
        Ok(())
    }

    /// Writes owners. They have roles if one of their keys at the site acts for them, or is for asking the site.
    fn write_users(&mut self) -> Result<()> {
        for uid in std::mem::take(&mut self.users) {
            let Some(user) = self.snapshot.user(uid)? else {
                self.gone.users.push(uid);
                continue;
            };
            let owned = self.snapshot.owned(uid)?;
            let acts = owned.iter().any(|part| {
                let policy = self.policies.get(&part.policy);
                let catalog = part.catalog.as_deref();
                self.shared.given.has(part.workspace, catalog)
                    && (catalog == Some(BUILT_IN)
                        || policy.is_some_and(|policy| policy.acts_for_owner))
            });
            let is_there = |binding: &&Binding| {
                let uid = &binding.workspace;
                acts && (self.shared.given.workspaces.contains(uid)
                    || self.shared.above.contains(uid))
            };
            let roles: Vec<Binding> = user.roles.iter().filter(is_there).copied().collect();
            self.workspaces
                .extend(roles.iter().map(|binding| binding.workspace));
            self.draft.builder.user(&user, &roles);
            self.is_empty = false;
        }
        Ok(())
    }

    /// Writes workspaces, each with those above it.
    fn write_workspaces(&mut self) -> Result<()> {
        let directory = self.snapshot.app.index.directory();
        let paths = self.workspaces.iter().flat_map(|uid| directory.path(*uid));
        let all: BTreeSet<Uid> = paths.copied().collect();
        drop(directory);
        for uid in all {
            if let Some(workspace) = self.snapshot.workspace(uid)? {
                let is_given = self.shared.given.workspaces.contains(&uid);
                self.draft.builder.workspace(&workspace, is_given);
                self.is_empty = false;
            }
        }
        Ok(())
    }
}
