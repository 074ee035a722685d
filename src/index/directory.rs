//! Workspaces, users, policies and catalogs: the data that verdicts on keys and the authorisation of callers depend
//! on.

use crate::domain::catalogs::Catalog;
use crate::domain::policies::{CredentialHeader, Policy};
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::domain::workspaces::Workspace;
use crate::index::IdHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

/// Uids are drawn at random by the server, as the ids of keys are.
type ByUid<T> = HashMap<Uid, T, BuildHasherDefault<IdHasher>>;

/// One consistent state of all four.
#[derive(Default)]
pub struct Directory {
    places: ByUid<WorkspaceEntry>,
    slugs: HashMap<String, Uid>,
    /// The workspace without a parent.
    root: Option<Uid>,
    users: ByUid<Arc<User>>,
    user_names: HashMap<String, Uid>,
    /// Only administrators choose these names, so the hash need not resist an attacker who picks colliding names.
    policies: HashMap<String, Arc<Policy>, BuildHasherDefault<IdHasher>>,
    catalogs: BTreeMap<String, Arc<Catalog>>,
    /// The headers that policies name for credentials, besides `Authorization`.
    named_headers: Vec<String>,
}

/// A workspace and its position in the tree.
pub struct WorkspaceEntry {
    pub workspace: Workspace,
    /// The workspace and all above it are enabled.
    pub active: bool,
    /// The workspace itself first, the root last.
    path: Vec<Uid>,
}

impl Directory {
    /// The workspace with this uid.
    pub fn place(&self, uid: Uid) -> Option<&WorkspaceEntry> {
        self.places.get(&uid)
    }

    /// The workspace with this slug or uid.
    pub fn find_place(&self, text: &str) -> Option<&WorkspaceEntry> {
        // No slug has the form of a uid (`check_slug`), so the two cannot be confused.
        let uid = Uid::parse(text).or_else(|| self.slugs.get(text).copied())?;
        self.places.get(&uid)
    }

    /// Every workspace.
    pub fn places(&self) -> impl Iterator<Item = &WorkspaceEntry> {
        self.places.values()
    }

    /// The number of workspaces.
    pub fn workspace_count(&self) -> usize {
        self.places.len()
    }

    /// The workspace and all those above it, the root last; empty if there is no such workspace.
    pub fn path(&self, uid: Uid) -> &[Uid] {
        self.places.get(&uid).map_or(&[], |place| &place.path)
    }

    /// Whether this is the workspace without a parent.
    pub fn is_root(&self, uid: Uid) -> bool {
        let place = self.places.get(&uid);
        place.is_some_and(|place| place.workspace.parent.is_none())
    }

    /// The workspace without a parent.
    pub fn root(&self) -> Option<&WorkspaceEntry> {
        self.places.get(&self.root?)
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

    /// A user, unless deleted.
    pub fn user(&self, uid: Uid) -> Option<&Arc<User>> {
        self.users.get(&uid)
    }

    /// A user by name in its stored form, or by uid.
    pub fn find_user(&self, text: &str) -> Option<&Arc<User>> {
        // No user name has the form of a uid (`normal_user_name`), so the two cannot be confused.
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

    /// Headers, besides `Authorization`, that may carry a secret; in lower case.
    pub fn named_headers(&self) -> &[String] {
        &self.named_headers
    }

    /// Replaces all workspaces.
    pub fn put_workspaces(&mut self, list: Vec<Workspace>) {
        self.slugs = list
            .iter()
            .map(|workspace| (workspace.slug.clone(), workspace.uid))
            .collect();
        let roots = list.iter().filter(|one| one.parent.is_none());
        self.root = roots.map(|root| root.uid).next();
        let place = |workspace: Workspace| (workspace.uid, WorkspaceEntry::alone(workspace));
        self.places = list.into_iter().map(place).collect();
        let all: Vec<Uid> = self.places.keys().copied().collect();
        self.settle(&all);
    }

    /// Replaces some workspaces; `None` removes one. The cost does not depend on the number of other workspaces,
    /// unless a workspace that has children is moved, enabled, disabled or removed.
    pub fn put_some_workspaces(&mut self, changed: Vec<(Uid, Option<Workspace>)>) {
        let mut unsettled = Vec::new();
        let mut moved: HashSet<Uid> = HashSet::new();
        for (uid, workspace) in changed {
            let old = self.places.remove(&uid);
            if let Some(old) = &old {
                // Another workspace may have taken over the slug in the same commit.
                if self.slugs.get(&old.workspace.slug) == Some(&uid) {
                    self.slugs.remove(&old.workspace.slug);
                }
            }
            let placed = |it: &Workspace| (it.parent, it.enabled);
            let after = workspace.as_ref().map(placed);
            if old.is_some_and(|old| Some(placed(&old.workspace)) != after) {
                moved.insert(uid);
            }
            if let Some(workspace) = workspace {
                self.slugs.insert(workspace.slug.clone(), uid);
                if workspace.parent.is_none() {
                    self.root = Some(uid);
                }
                self.places.insert(uid, WorkspaceEntry::alone(workspace));
                unsettled.push(uid);
            }
        }
        if !moved.is_empty() {
            let below = |place: &&WorkspaceEntry| place.path.iter().any(|uid| moved.contains(uid));
            let below = self.places.values().filter(below);
            unsettled.extend(below.map(|place| place.workspace.uid));
        }
        self.settle(&unsettled);
    }

    /// Recomputes the positions of workspaces in the tree.
    fn settle(&mut self, unsettled: &[Uid]) {
        for uid in unsettled {
            if let Some((path, active)) = self.walk_up(*uid)
                && let Some(place) = self.places.get_mut(uid)
            {
                place.path = path;
                place.active = active;
            }
        }
    }

    /// The path of a workspace, and whether it and all above it are enabled.
    fn walk_up(&self, uid: Uid) -> Option<(Vec<Uid>, bool)> {
        let workspace = &self.places.get(&uid)?.workspace;
        let mut path = vec![uid];
        let mut active = workspace.enabled;
        let mut above = workspace.parent;
        while let Some(uid) = above {
            let parent = self.places.get(&uid).map(|place| &place.workspace);
            // The schema allows neither a cycle nor a missing parent. With a damaged store this function must not
            // hang, and the workspace must not count as enabled.
            if path.contains(&uid) || parent.is_none() {
                active = false;
                break;
            }
            path.push(uid);
            active &= parent.is_some_and(|parent| parent.enabled);
            above = parent.and_then(|parent| parent.parent);
        }
        Some((path, active))
    }

    /// Replaces one user; `None` or a deleted user removes the entry.
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

impl WorkspaceEntry {
    /// A workspace whose position in the tree is not known yet.
    fn alone(workspace: Workspace) -> WorkspaceEntry {
        WorkspaceEntry {
            path: vec![workspace.uid],
            active: false,
            workspace,
        }
    }

    /// The number of workspaces from the root down to this one.
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

    /// Replacing workspaces piece by piece has the same result as replacing all of them at once.
    #[track_caller]
    fn check_same(pieces: &Directory, list: &[Workspace]) {
        let mut whole = Directory::default();
        whole.put_workspaces(list.to_vec());
        assert_eq!(pieces.workspace_count(), list.len());
        assert_eq!(pieces.root().map(|root| root.workspace.uid), whole.root);
        assert_eq!(pieces.slugs, whole.slugs);
        for workspace in list {
            let (one, other) = (
                &pieces.places[&workspace.uid],
                &whole.places[&workspace.uid],
            );
            assert_eq!(one.workspace, *workspace);
            assert_eq!((&one.path, one.active), (&other.path, other.active));
        }
    }

    #[test]
    fn workspaces_that_are_put_one_by_one_are_where_they_would_be_if_all_were_put() {
        let mut directory = Directory::default();
        let (root, mut two, mut three) = (
            workspace(1, None, true),
            workspace(2, Some(1), true),
            workspace(3, Some(2), true),
        );
        let put = |directory: &mut Directory, some: &[&Workspace]| {
            let some = some.iter().map(|one| (one.uid, Some((*one).clone())));
            directory.put_some_workspaces(some.collect());
        };
        // A child comes before its parent in one commit.
        put(&mut directory, &[&three, &root, &two]);
        check_same(&directory, &[root.clone(), two.clone(), three.clone()]);

        two.enabled = false;
        put(&mut directory, &[&two]);
        check_same(&directory, &[root.clone(), two.clone(), three.clone()]);

        // Two workspaces exchange their slugs, and one of them moves.
        (two.slug, three.slug) = (three.slug.clone(), two.slug.clone());
        three.parent = Some(Uid(1));
        put(&mut directory, &[&two, &three]);
        check_same(&directory, &[root.clone(), two.clone(), three.clone()]);

        // One workspace is removed, and another takes its slug in the same commit.
        three.slug = two.slug.clone();
        directory.put_some_workspaces(vec![(three.uid, Some(three.clone())), (two.uid, None)]);
        check_same(&directory, &[root.clone(), three.clone()]);
        assert!(directory.find_place("w3").is_some_and(|place| place.active));
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
