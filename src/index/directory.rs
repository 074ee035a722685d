//! Workspaces, users, policies and catalogs: what keys are judged against and callers are authorised by.

use crate::domain::catalog::Catalog;
use crate::domain::people::User;
use crate::domain::policy::{CredentialHeader, Policy};
use crate::domain::uid::Uid;
use crate::domain::workspace::Workspace;
use crate::index::IdHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Uids are drawn by us at random, as ids of keys are.
type ByUid<T> = HashMap<Uid, T, BuildHasherDefault<IdHasher>>;

/// One consistent state of all four.
#[derive(Default)]
pub struct Directory {
    places: ByUid<Place>,
    slugs: HashMap<String, Uid>,
    users: ByUid<Arc<User>>,
    user_names: HashMap<String, Uid>,
    /// By names that administrators give: these need no hash that strangers cannot foresee.
    policies: HashMap<String, Arc<Policy>, BuildHasherDefault<IdHasher>>,
    catalogs: BTreeMap<String, Arc<Catalog>>,
    /// Headers of their own that some policy names.
    named_headers: Vec<String>,
}

/// A workspace and where it is in the tree.
pub struct Place {
    pub workspace: Workspace,
    /// It and all above it are enabled.
    pub active: bool,
    /// Itself first, the root last.
    path: Vec<Uid>,
}

impl Directory {
    /// The workspace with this uid.
    pub fn place(&self, uid: Uid) -> Option<&Place> {
        self.places.get(&uid)
    }

    /// The workspace with this slug or uid.
    pub fn find_place(&self, text: &str) -> Option<&Place> {
        // No slug looks like a uid (`check_slug`), so neither can be taken for the other.
        let uid = Uid::parse(text).or_else(|| self.slugs.get(text).copied())?;
        self.places.get(&uid)
    }

    /// Every workspace.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values()
    }

    /// Whether this is the workspace without a parent.
    pub fn is_root(&self, uid: Uid) -> bool {
        let place = self.places.get(&uid);
        place.is_some_and(|place| place.workspace.parent.is_none())
    }

    /// The workspace without a parent.
    pub fn root(&self) -> Option<&Place> {
        self.places
            .values()
            .find(|place| place.workspace.parent.is_none())
    }

    /// Whether `to` is `from` or below it.
    pub fn reaches(&self, from: Uid, to: Uid) -> bool {
        self.places
            .get(&to)
            .is_some_and(|place| place.path.contains(&from))
    }

    /// `uid` and all workspaces below it.
    pub fn subtree(&self, uid: Uid) -> impl Iterator<Item = Uid> {
        self.places
            .values()
            .filter(move |place| place.path.contains(&uid))
            .map(|place| place.workspace.uid)
    }

    /// A user, deleted ones not.
    pub fn user(&self, uid: Uid) -> Option<&Arc<User>> {
        self.users.get(&uid)
    }

    /// A user by name in its stored form, or by uid.
    pub fn find_user(&self, text: &str) -> Option<&Arc<User>> {
        // No user name looks like a uid (`normal_user_name`), so neither can be taken for the other.
        let uid = Uid::parse(text).or_else(|| self.user_names.get(text).copied())?;
        self.users.get(&uid)
    }

    /// Every user that is not deleted.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    pub fn catalog(&self, name: &str) -> Option<&Arc<Catalog>> {
        self.catalogs.get(name)
    }

    pub fn catalogs(&self) -> impl Iterator<Item = &Arc<Catalog>> {
        self.catalogs.values()
    }

    /// Headers, besides `Authorization`, that may carry a secret; lower case.
    pub fn named_headers(&self) -> &[String] {
        &self.named_headers
    }

    /// Replaces all workspaces.
    pub fn put_workspaces(&mut self, list: Vec<Workspace>) {
        let by_uid: HashMap<Uid, &Workspace> = list
            .iter()
            .map(|workspace| (workspace.uid, workspace))
            .collect();
        self.places = list
            .iter()
            .map(|workspace| (workspace.uid, Place::new(workspace, &by_uid)))
            .collect();
        self.slugs = list
            .iter()
            .map(|workspace| (workspace.slug.clone(), workspace.uid))
            .collect();
    }

    /// Replaces one user; `None` or a deleted one removes it.
    pub fn put_user(&mut self, uid: Uid, user: Option<User>) {
        if let Some(old) = self.users.remove(&uid) {
            self.user_names.remove(&old.user_name);
        }
        if let Some(user) = user.filter(|user| user.deleted_at.is_none()) {
            self.user_names.insert(user.user_name.clone(), uid);
            self.users.insert(uid, Arc::new(user));
        }
    }

    /// Replaces all policies.
    pub fn put_policies(&mut self, list: Vec<Policy>) {
        let mut named: Vec<String> = Vec::new();
        for policy in &list {
            for header in &policy.headers {
                if let CredentialHeader::Named(name) = header
                    && !named.contains(name)
                {
                    named.push(name.clone());
                }
            }
        }
        self.named_headers = named;
        self.policies = list
            .into_iter()
            .map(|policy| (policy.name.clone(), Arc::new(policy)))
            .collect();
    }

    /// Replaces one catalog; `None` removes it.
    pub fn put_catalog(&mut self, name: &str, catalog: Option<Arc<Catalog>>) {
        match catalog {
            Some(catalog) => self.catalogs.insert(name.to_owned(), catalog),
            None => self.catalogs.remove(name),
        };
    }
}

impl Place {
    fn new(workspace: &Workspace, by_uid: &HashMap<Uid, &Workspace>) -> Place {
        let mut path = vec![workspace.uid];
        let mut active = workspace.enabled;
        let mut above = workspace.parent;
        while let Some(uid) = above {
            let parent = by_uid.get(&uid);
            // The schema allows neither; a damaged store must not hang or allow.
            if path.contains(&uid) || parent.is_none() {
                active = false;
                break;
            }
            path.push(uid);
            active &= parent.is_some_and(|parent| parent.enabled);
            above = parent.and_then(|parent| parent.parent);
        }
        Place {
            workspace: workspace.clone(),
            active,
            path,
        }
    }

    /// Workspaces from the root down to this one.
    pub fn depth(&self) -> usize {
        self.path.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn workspace(uid: u128, parent: Option<u128>, enabled: bool) -> Workspace {
        Workspace {
            uid: Uid(uid),
            number: 1,
            slug: format!("w{uid}"),
            name: String::new(),
            parent: parent.map(Uid),
            enabled,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_workspace_reaches_itself_and_what_is_below() {
        let mut directory = Directory::default();
        directory.put_workspaces(vec![
            workspace(1, None, true),
            workspace(2, Some(1), false),
            workspace(3, Some(2), true),
            workspace(4, Some(1), true),
        ]);
        assert!(
            directory.reaches(Uid(1), Uid(3))
                && directory.reaches(Uid(2), Uid(3))
                && directory.reaches(Uid(3), Uid(3))
        );
        assert!(
            !directory.reaches(Uid(3), Uid(2))
                && !directory.reaches(Uid(4), Uid(3))
                && !directory.reaches(Uid(1), Uid(9))
        );
        let active = |uid| directory.place(Uid(uid)).unwrap().active;
        assert_eq!(
            [active(1), active(2), active(3), active(4)],
            [true, false, false, true]
        );
        assert_eq!(directory.subtree(Uid(2)).count(), 2);
        assert_eq!(directory.root().unwrap().workspace.uid, Uid(1));
    }

    #[test]
    fn a_circle_in_a_damaged_store_is_inactive_and_ends() {
        let mut directory = Directory::default();
        directory.put_workspaces(vec![
            workspace(1, Some(2), true),
            workspace(2, Some(1), true),
        ]);
        assert!(!directory.place(Uid(1)).unwrap().active);
    }
}
