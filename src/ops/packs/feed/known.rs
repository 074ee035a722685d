//! The rows of sites and their keys, which every question needs: in memory until something about sites changes.

use crate::domain::locks::lock;
use crate::domain::packs::site::Site;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::ops::App;
use crate::ops::packs::require_sound;
use crate::ops::packs::sites::site_key;
use crate::store::packs::Server;
use crate::store::{Read, packs, sites};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A site that was not removed.
pub struct Known {
    pub site: Site,
    pub key: SiteKey,
    pub server: Server,
    pub share: Share,
}

/// What a site is given. Sites of which this is the same get the same steps.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Share {
    pub workspaces: Vec<Uid>,
    pub catalogs: Vec<String>,
    pub minimal: bool,
}

/// See the heading.
#[derive(Default)]
pub struct KnownSites {
    /// Grows whenever something about sites changes.
    generation: AtomicU64,
    /// With the generation that they belong to.
    all: Mutex<(u64, HashMap<String, Arc<Known>>)>,
}

impl KnownSites {
    /// Forgets all, because something about sites has changed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, SeqCst);
    }

    /// To be read before the transaction in which [`KnownSites::find`] reads.
    pub fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// A site that is in memory.
    pub fn remembered(&self, name: &str) -> Option<Arc<Known>> {
        let all = lock(&self.all);
        let found = all.1.get(name).filter(|_| all.0 == self.generation());
        found.cloned()
    }

    /// A site; `None` if there is none of this name.
    pub fn find(
        &self,
        app: &App,
        read: &Read,
        name: &str,
        generation: u64,
    ) -> Result<Option<Arc<Known>>> {
        let known = {
            let mut all = lock(&self.all);
            if all.0 != generation {
                *all = (generation, HashMap::new());
            }
            all.1.get(name).cloned()
        };
        if known.is_some() {
            return Ok(known);
        }
        let found = sites::find(read, name)?.filter(|site| site.removed_at.is_none());
        let (Some(site), Some(server)) = (found, packs::find_server(read)?) else {
            return Ok(None);
        };
        require_sound(app, read, &site)?;
        let known = Arc::new(Known {
            key: site_key(app, &site)?,
            share: Share {
                workspaces: site.workspaces.clone(),
                catalogs: site.catalogs.clone(),
                minimal: site.minimal,
            },
            site,
            server,
        });
        let mut all = lock(&self.all);
        if all.0 == generation {
            all.1.insert(name.to_owned(), known.clone());
        }
        Ok(Some(known))
    }
}
