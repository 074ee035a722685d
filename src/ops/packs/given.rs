//! What a site is given, with everything below its workspaces.

use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::scheme::Scheme;
use crate::domain::packs::site::Site;
use crate::domain::uid::Uid;
use crate::index::directory::Directory;
use std::collections::HashSet;

/// Which keys a site is given.
#[derive(Clone, Debug)]
pub struct Given {
    /// With all workspaces below.
    pub workspaces: HashSet<Uid>,
    /// `None` for the keys of all catalogs and of none.
    catalogs: Option<HashSet<String>>,
}

impl Given {
    pub fn of(site: &Site, directory: &Directory) -> Given {
        let below = site
            .workspaces
            .iter()
            .flat_map(|uid| directory.subtree(*uid));
        let catalogs = site.catalogs.iter().cloned();
        Given {
            workspaces: below.collect(),
            catalogs: (!site.catalogs.is_empty()).then(|| catalogs.collect()),
        }
    }

    /// All keys of these workspaces.
    #[cfg(test)]
    pub fn for_tests(workspaces: HashSet<Uid>) -> Given {
        Given {
            workspaces,
            catalogs: None,
        }
    }

    /// Whether the site is given the keys of this workspace and this catalog.
    pub fn has(&self, workspace: Uid, catalog: Option<&str>) -> bool {
        self.workspaces.contains(&workspace) && self.has_catalog(catalog)
    }

    /// Whether the site is given keys of this catalog.
    pub fn has_catalog(&self, catalog: Option<&str>) -> bool {
        match &self.catalogs {
            None => true,
            Some(catalogs) => catalog.is_some_and(|name| catalogs.contains(name)),
        }
    }

    /// Whether the site is given this key of the index.
    pub fn has_key(&self, key: &Live) -> bool {
        self.has(key.shared.workspace, key.shared.catalog.as_deref())
    }

    /// The workspaces above those of the site, which decide whether these are in force.
    pub fn above(&self, directory: &Directory) -> HashSet<Uid> {
        let paths = self.workspaces.iter().flat_map(|uid| directory.path(*uid));
        paths
            .filter(|uid| !self.workspaces.contains(uid))
            .copied()
            .collect()
    }
}

/// Whether a secret may go to sites: this server has made it, so it has 256 random bits, and its digest reveals nothing.
pub fn is_strong(secret: &StoredSecret) -> bool {
    secret.scheme == Scheme::Pepper && !secret.is_foreign
}
