//! The rows of sites and their keys, which every question needs: in memory until something about sites changes. So are the names
//! of all sites, so that a question of a stranger needs no look at the database.

use crate::domain::locks::lock;
use crate::domain::packs::site::Site;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::given::Given;
use crate::ops::packs::require_sound;
use crate::ops::packs::sites::site_key;
use crate::refusals::Refusal;
use crate::store::packs::Server;
use crate::store::{Read, packs, sites};
use std::collections::{HashMap, HashSet};
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

/// The workspaces of a share.
pub struct Workspaces {
    pub given: Arc<Given>,
    pub above: HashSet<Uid>,
}

impl Workspaces {
    pub fn of(app: &App, known: &Known) -> Workspaces {
        let directory = app.index.directory();
        let given = Given::of(&known.site, &directory);
        Workspaces {
            above: given.above(&directory),
            given: Arc::new(given),
        }
    }
}

/// See the heading.
#[derive(Default)]
pub struct KnownSites {
    /// Grows whenever something about sites changes.
    generation: AtomicU64,
    all: Mutex<All>,
}

/// What was read of one generation.
#[derive(Default)]
struct All {
    generation: u64,
    sites: HashMap<String, Arc<Known>>,
    /// All sites; `None` while they were not read.
    names: Option<HashSet<String>>,
    /// Sites that get nothing, with the reason, and until when they are not looked at again.
    refused: HashMap<String, (u64, Refused)>,
}

/// Why a site gets nothing.
enum Refused {
    Conflict(Refusal),
    Unavailable(Refusal),
}

/// What is in memory about the site of a question.
pub enum Remembered {
    Known(Arc<Known>),
    /// It gets nothing, for the reason that was found a moment ago.
    Refused(Error),
    /// There is no site of this name.
    Stranger,
    /// Only the database knows.
    Unread,
}

/// How long a site that gets nothing is not looked at again.
const REFUSED_MS: u64 = 1_000;

/// Whether an error is about one site, and no reason to refuse others.
pub fn is_of_one_site(err: &Error) -> bool {
    Refused::of(err).is_some()
}

impl Refused {
    fn of(err: &Error) -> Option<Refused> {
        match err {
            Error::Conflict(why) => Some(Refused::Conflict(why.clone())),
            Error::Unavailable(why) => Some(Refused::Unavailable(why.clone())),
            _ => None,
        }
    }

    fn error(&self) -> Error {
        match self {
            Refused::Conflict(why) => Error::Conflict(why.clone()),
            Refused::Unavailable(why) => Error::Unavailable(why.clone()),
        }
    }
}

impl All {
    /// Forgets what is of another generation.
    fn at(&mut self, generation: u64) -> &mut All {
        if self.generation != generation {
            *self = All {
                generation,
                ..All::default()
            };
        }
        self
    }
}

impl Known {
    /// Whether uses are lent to a life of the site; to the first one of its enrolment, while none is named.
    pub fn lends_to(&self, life: Uid) -> bool {
        match self.site.lent_life {
            None => self.key.is_first(life),
            Some(own) => own == life,
        }
    }
}

impl KnownSites {
    /// Forgets all, because something about sites has changed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, SeqCst);
    }

    /// Forgets one site, so that it is read again.
    pub fn forget_one(&self, name: &str) {
        lock(&self.all).sites.remove(name);
    }

    /// To be read before the transaction in which [`KnownSites::find`] reads.
    pub fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// What is in memory about a site.
    pub fn remembered(&self, name: &str, now_ms: u64) -> Remembered {
        let all = lock(&self.all);
        if all.generation != self.generation() {
            return Remembered::Unread;
        }
        if let Some(known) = all.sites.get(name) {
            return Remembered::Known(known.clone());
        }
        match (all.refused.get(name), &all.names) {
            (Some((until_ms, why)), _) if now_ms < *until_ms => Remembered::Refused(why.error()),
            (_, Some(names)) if !names.contains(name) => Remembered::Stranger,
            _ => Remembered::Unread,
        }
    }

    /// Reads the names of all sites, unless that was done.
    fn read_names(&self, read: &Read, generation: u64) -> Result<()> {
        if lock(&self.all).at(generation).names.is_some() {
            return Ok(());
        }
        let names = sites::list_names_in_use(read)?.into_iter().collect();
        let mut all = lock(&self.all);
        if all.generation == generation {
            all.names = Some(names);
        }
        Ok(())
    }

    /// A site; `None` if there is none of this name.
    pub fn find(
        &self,
        app: &App,
        read: &Read,
        name: &str,
        generation: u64,
    ) -> Result<Option<Arc<Known>>> {
        let known = lock(&self.all).at(generation).sites.get(name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        self.read_names(read, generation)?;
        let found = read_site(app, read, name);
        let mut all = lock(&self.all);
        if all.generation == generation {
            match &found {
                Ok(Some(known)) => drop(all.sites.insert(name.to_owned(), known.clone())),
                Ok(None) => {}
                Err(err) => {
                    let until_ms = app.now().steady_ms.saturating_add(REFUSED_MS);
                    let why = Refused::of(err).map(|why| (until_ms, why));
                    all.refused
                        .extend(why.map(|refused| (name.to_owned(), refused)));
                }
            }
        }
        found
    }
}

/// Reads a site that is sound; `None` if there is none of this name.
fn read_site(app: &App, read: &Read, name: &str) -> Result<Option<Arc<Known>>> {
    let found = sites::find(read, name)?.filter(|site| site.removed_at.is_none());
    let (Some(site), Some(server)) = (found, packs::find_server(read)?) else {
        return Ok(None);
    };
    require_sound(app, read, &site)?;
    Ok(Some(Arc::new(Known {
        key: site_key(app, &site)?,
        share: Share {
            workspaces: site.workspaces.clone(),
            catalogs: site.catalogs.clone(),
            minimal: site.minimal,
        },
        site,
        server,
    })))
}
