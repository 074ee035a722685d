//! The packs that are in force, in memory and in the folder of the site, and finding them again at the start.

use super::Site;
use super::content::{self, Overlay};
use crate::domain::packs::Checked;
use crate::domain::packs::body::{Body, sha256};
use crate::domain::packs::content::Content;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::state::{HeldFile, State};
use crate::error::{Error, Result};
use crate::files::{private, read_regular_up_to};
use crate::ops::App;
use crate::refusals;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A whole pack, and the newest one that follows it.
pub struct Held {
    /// Of the newest.
    head: Head,
    base: Arc<Content>,
    delta: Option<Body>,
}

impl Held {
    pub fn new(head: Head, base: Content, delta: Option<Body>) -> Held {
        let base = Arc::new(base);
        Held { head, base, delta }
    }

    /// The same whole pack with a newer one that follows it.
    pub fn with(&self, head: Head, delta: Option<Body>) -> Held {
        let base = self.base.clone();
        Held { head, base, delta }
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn base(&self) -> &Content {
        &self.base
    }

    pub fn delta(&self) -> Option<&Body> {
        self.delta.as_ref()
    }

    /// The content after the delta, if there is one; otherwise the base is the content.
    pub fn current(&self) -> Checked<Option<Content>> {
        let delta = self.delta.as_ref();
        delta.map(|delta| after(&self.base, delta)).transpose()
    }
}

pub(super) fn read_pack(path: &Path) -> std::io::Result<Vec<u8>> {
    read_regular_up_to(path, file::FILE_BYTES_MAX as u64)
}

/// The content that a delta makes of a whole pack.
pub fn after(base: &Content, delta: &Body) -> Checked<Content> {
    base.after(delta)
}

impl Site {
    /// Where a pack of this state is.
    pub(super) fn path_of(&self, file: &HeldFile, base: Option<&HeldFile>) -> PathBuf {
        self.folder.join(file.name(base))
    }

    /// The packs in the folder that are none of the state's.
    pub(super) fn others(&self, state: &State) -> Vec<PathBuf> {
        let base = state.base.map(|base| self.path_of(&base, None));
        let delta = state
            .delta
            .map(|delta| self.path_of(&delta, state.base.as_ref()));
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let is_other = |path: &PathBuf| {
            let is_kept = [&base, &delta]
                .into_iter()
                .flatten()
                .any(|kept| kept == path);
            !is_kept && path.extension().is_some_and(|end| end == "lkpack")
        };
        paths.filter(is_other).collect()
    }

    /// Removes every file from the folder that is none of the state's.
    pub(super) fn sweep(&self, state: &State) {
        private::sweep(&self.folder);
        for path in self.others(state) {
            if let Err(err) = private::remove(&path) {
                log::warn!("site: {} was not removed: {err}", path.display());
            }
        }
    }
}

/// Reads what is in force according to the state. The state is sealed and has the hashes of the files, so no signature is checked.
fn load(site: &Site, state: &State) -> Result<Option<Held>> {
    let Some(base) = state.base else {
        return Ok(None);
    };
    let read = |held: &HeldFile, base: Option<&HeldFile>| {
        let path = site.path_of(held, base);
        let bytes = read_pack(&path).map_err(|err| {
            Error::Unavailable(refusals::server::file_unreadable(path.display(), err))
        })?;
        match sha256(&bytes) == held.sha256 {
            true => Ok(bytes),
            false => Err(Error::Unavailable(refusals::packs::changed())),
        }
    };
    let checked = |why| Error::Unavailable(why);
    let open = |bytes: &[u8]| -> Checked<(Head, Body)> {
        let parts = file::split(bytes)?;
        let (_, head) = Head::peek(parts.head)?;
        let body = file::body_of(&head, parts.body)?;
        Ok((head, body))
    };
    let (head, body) = open(&read(&base, None)?).map_err(checked)?;
    let content = Content::of(body).map_err(checked)?;
    let Some(delta) = &state.delta else {
        return Ok(Some(Held::new(head, content, None)));
    };
    let (head, body) = open(&read(delta, Some(&base))?).map_err(checked)?;
    Ok(Some(Held::new(head, content, Some(body))))
}

/// Puts into the index what is in force according to the stored state.
pub fn restore(app: &App, site: &Site) -> Result<()> {
    // A link may have brought more than the folder has.
    site.fresh.lease.end();
    let stored = app.read(|read| super::find_state(read, &app.sealing))?;
    let state = stored.ok_or_else(|| Error::Unavailable(refusals::site::state_damaged()))?;
    match load(site, &state).and_then(|held| put(app, site, state.clone(), held)) {
        Ok(()) => {}
        Err(err) => {
            log::error!(
                "site: pack {} cannot be used: {err}; apply it again",
                state.pack
            );
            put_nothing(app, site, state);
        }
    }
    Ok(())
}

fn put(app: &App, site: &Site, state: State, held: Option<Held>) -> Result<()> {
    let Some(held) = held else {
        put_nothing(app, site, state);
        return Ok(());
    };
    let current = held.current().map_err(Error::Unavailable)?;
    let current = current.as_ref().unwrap_or(&held.base);
    let mut state = state;
    let peppers = content::peppers(&mut state, current).map_err(Error::Unavailable)?;
    let overlay = app.read(|read| Overlay::read(read, &state))?;
    let lent = content::lent(current, &state);
    let installed = content::Whole::build(app, site, current, &overlay);
    site.set(state, lent);
    installed.install(app, peppers);
    site.hold(Some(held));
    Ok(())
}

/// Has no pack in force.
fn put_nothing(app: &App, site: &Site, state: State) {
    site.set(state, Default::default());
    site.hold(None);
    content::install_nothing(app, site);
}
