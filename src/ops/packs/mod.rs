//! Sites, which verify without this server, and the packs that are made for them.
//!
//! A pack contains what verification at a site needs. It grants no right here: a site has no users, and cannot issue or
//! widen a key. Everything in this folder needs `server:admin` for the whole server, and what hands over keys needs the
//! administrator of the machine.

pub mod collect;
mod ended;
pub mod far;
pub mod feed;
mod given;
mod history;
pub mod identity;
pub mod kept_keys;
mod lend;
pub mod make;
pub mod pending;
pub mod revocations;
pub mod rotate_key;
pub mod sites;
#[cfg(test)]
pub mod tests;
#[cfg(test)]
mod unconfirmed;
mod views;

use super::{App, Record};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::locks::lock;
use crate::domain::packs::site::Site;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::files::private;
use crate::refusals;
use crate::store::seals::{self, Standing};
use crate::store::{Read, sites as rows};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use views::SiteView;

/// What the server knows about its packs while it runs.
#[derive(Default)]
pub struct Packing {
    /// Held while packs are made, so that a number is given once.
    turn: Mutex<()>,
    /// The last figures, and the steady time at which they were made.
    figures: Mutex<Option<(u64, Option<SiteFigures>)>>,
}

/// The action of a change of what a site is given.
const EDIT: &str = "site.edit";
/// How long figures are reused.
const FIGURES_MS: u64 = 10_000;

/// What all sites together are waiting for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SiteFigures {
    /// Of the oldest among the newest packs of each site that takes packs by file; 0 if none was made yet. `None` if all sites are
    /// linked: the pack of a linked site is old because it follows in steps.
    pub age_ms: Option<i64>,
    /// Keys and secrets that ended here and of which a site that has reported is not known to have heard; summed over sites. An unknown
    /// number counts as one.
    pub unconfirmed: u64,
}

/// The figures of all sites, up to ten seconds old; `None` without sites.
pub fn figures(app: &App) -> Result<Option<SiteFigures>> {
    let now = app.now();
    let mut last = lock(&app.packing.figures);
    if let Some((at, figures)) = *last
        && now.steady_ms.saturating_sub(at) < FIGURES_MS
    {
        return Ok(figures);
    }
    let sites = sites::all(app)?;
    let is_linked = |view: &SiteView| view.link.is_some_and(|link| link.is_linked);
    let by_file: Vec<&SiteView> = sites.iter().filter(|view| !is_linked(view)).collect();
    let made = by_file.iter().filter_map(|view| view.newest.as_ref());
    let oldest = made.map(|made| made.made_at).min();
    let age_ms = oldest.map_or(0, |at| now.wall.0.saturating_sub(at.0));
    let figures = SiteFigures {
        age_ms: (!by_file.is_empty()).then_some(age_ms),
        unconfirmed: sites.iter().map(|view| view.unconfirmed.at_least()).sum(),
    };
    let figures = (!sites.is_empty()).then_some(figures);
    *last = Some((now.steady_ms, figures));
    Ok(figures)
}

/// The folder of packs in the data folder.
const FOLDER: &str = "packs";

impl App {
    /// The folder with the packs of a site.
    fn packs_of(&self, site: &str) -> PathBuf {
        self.store.path().with_file_name(FOLDER).join(site)
    }
}

/// Removes all files of a folder but these.
fn remove_but(folder: &Path, kept: &[&PathBuf]) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !kept.contains(&&path)
            && let Err(err) = private::remove(&path)
        {
            log::warn!("packs: {} was not removed: {err}", path.display());
        }
    }
}

/// Refuses a caller who does not administer the server.
fn require(app: &App, caller: &Caller) -> Result<()> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)
}

/// Refuses everybody but the administrator of the machine.
fn require_local(app: &App, caller: &Caller, action: &'static str) -> Result<()> {
    let permitted = require(app, caller).and_then(|()| match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::packs::local())),
    });
    app.decided(caller, action, Target::server(), permitted)
}

/// A site that was not removed.
fn find(read: &Read, name: &str) -> Result<Site> {
    let found = rows::find(read, name)?.filter(|site| site.removed_at.is_none());
    found.ok_or(Error::NotFound("site"))
}

/// Refuses a site whose rows are not what Latchkey last wrote: it gets nothing.
fn require_sound(app: &App, read: &Read, site: &Site) -> Result<()> {
    match is_sound(app, read, site)? {
        true => Ok(()),
        false => Err(Error::Conflict(refusals::packs::site_altered(&site.name))),
    }
}

fn is_sound(app: &App, read: &Read, site: &Site) -> Result<bool> {
    let standing = seals::look(read, &app.seal_keys, &Target::new(Kind::Site, &site.name))?;
    Ok(standing == Standing::Sound && !rows::has_altered_lent(read, &app.seal_keys, &site.name)?)
}

/// The record of a change about a site.
fn record(site: &str, mut changes: Changes) -> Record {
    changes.note("site", &"", &site);
    Record {
        target: Target::new(Kind::Site, site),
        workspace: None,
        changes,
    }
}
