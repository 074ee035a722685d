//! Sites with what is known about them: their packs, their reports, their links.

use super::ended::{Asked, ended};
use super::feed;
use super::given::{Given, is_strong};
use super::is_sound;
use crate::domain::keys::live::SharedPart;
use crate::domain::packs::site::{MadePack, Site};
use crate::domain::packs::standing::{Standing, Unconfirmed};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::PARTS;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::store::{Read, audit, packs, site_links};
use std::collections::HashMap;
use std::sync::Arc;

/// A site with what is known about it.
#[derive(Clone, Debug)]
pub struct SiteView {
    pub site: Site,
    /// The slugs of its workspaces; a deleted one has its uid.
    pub workspaces: Vec<String>,
    /// The newest pack.
    pub newest: Option<MadePack>,
    /// Whether the rows of the site are what Latchkey last wrote; otherwise it gets nothing.
    pub is_sound: bool,
    /// The whole pack that the newest one has to be applied to, or the newest one itself.
    pub base: Option<MadePack>,
    /// The pack that it has applied, if it has reported that lately enough.
    pub applied: Option<MadePack>,
    /// Keys and secrets that ended here, and of which the site is not known to have heard.
    pub unconfirmed: Unconfirmed,
    /// `None` if it has never asked over a link, or its link was dropped since.
    pub link: Option<LinkView>,
    /// While it is linked, the keys that it is given now, if they were counted: see [`count_given`].
    pub given_keys: Option<u64>,
    /// Until when it may still answer by its last word, if its link was dropped.
    pub dropped_until: Option<Timestamp>,
}

/// The live link to a site.
#[derive(Clone, Copy, Debug)]
pub struct LinkView {
    /// Whether the site may answer by the last word that it got.
    pub is_linked: bool,
    /// When it asked last; up to a minute earlier if that was before the start of this server.
    pub asked_at: Timestamp,
    /// The newest event that it had applied then.
    pub applied: u64,
    /// The pack that it had applied then; `None` if it has not asked since the start.
    pub pack: Option<u64>,
    /// Where the audit log could not be read, so that it got a pack in the place of a step.
    pub unread: Option<u64>,
    /// The events that are newer.
    pub lag: u64,
}

impl SiteView {
    /// How the site stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let (newest, applied) = (self.newest.as_ref(), self.applied.as_ref());
        let linked = self.live_link().map(|link| link.is_linked);
        Standing::of(newest, applied, self.unconfirmed, linked, now)
    }

    /// The link, unless a later report has come on another way.
    pub fn live_link(&self) -> Option<&LinkView> {
        let reported = self.site.reported.as_ref().map(|reported| reported.at);
        self.link
            .as_ref()
            .filter(|link| reported <= Some(link.asked_at))
    }

    /// As of when the site is known to have everything: its last question over the link, or when the pack was made that it has.
    pub fn as_of(&self) -> Option<Timestamp> {
        match self.live_link() {
            Some(link) => Some(link.asked_at),
            None => self.applied.as_ref().map(|pack| pack.made_at),
        }
    }

    /// The newest event that the site is known to have applied.
    pub fn known_events(&self) -> Option<u64> {
        known_events(&self.site, self.link.as_ref())
    }
}

pub(super) fn view(app: &App, read: &Read, site: Site) -> Result<SiteView> {
    let mut views = views(app, read, vec![site])?;
    views.pop().ok_or(Error::NotFound("site"))
}

/// The views of sites, in their order.
pub(super) fn views(app: &App, read: &Read, sites: Vec<Site>) -> Result<Vec<SiteView>> {
    let newest = audit::newest_number(read)?.unsigned_abs();
    let mut links = Vec::new();
    for site in &sites {
        links.push(link(app, read, &site.name, newest)?);
    }
    let known = |place: usize| known_events(&sites[place], links[place].as_ref());
    let asked = sites.iter().enumerate().filter_map(|(place, site)| {
        Some(Asked {
            site: Some(site),
            after: known(place)?,
            with_new: false,
        })
    });
    let asked: Vec<Asked<'_>> = asked.collect();
    let mut counts = ended(app, read, &asked)?.into_iter();
    let mut counted = Vec::new();
    for place in 0..sites.len() {
        let ended = known(place).and_then(|_| counts.next());
        counted.push(match ended {
            None => Unconfirmed::NeverReported,
            Some(None) => Unconfirmed::LogTooShort,
            Some(Some(ended)) => Unconfirmed::Count(ended.count()),
        });
    }
    let all = sites.into_iter().zip(links).zip(counted);
    let views = all.map(|((site, link), unconfirmed)| {
        Ok(SiteView {
            workspaces: slugs(&app.index.directory(), &site),
            newest: packs::find(read, &site.name, site.pack)?,
            base: packs::find(read, &site.name, site.base)?,
            applied: match &site.reported {
                None => None,
                Some(reported) => packs::find(read, &site.name, reported.applied)?,
            },
            is_sound: is_sound(app, read, &site)?,
            unconfirmed,
            dropped_until: dropped_until(app, &site.name),
            link,
            given_keys: None,
            site,
        })
    });
    views.collect()
}

/// Counts the keys that each linked site is given now. This looks at every key.
pub(super) fn count_given(app: &App, views: &mut [SiteView]) {
    let directory = app.index.directory();
    let given = views.iter().map(|view| {
        let is_linked = view.link.is_some_and(|link| link.is_linked);
        is_linked.then(|| Given::of(&view.site, &directory))
    });
    let given: Vec<Option<Given>> = given.collect();
    drop(directory);
    if given.iter().all(Option::is_none) {
        return;
    }
    // One look at every key: keys that share their part are given to the same sites.
    let mut counts: HashMap<*const SharedPart, (Arc<SharedPart>, u64)> = HashMap::new();
    for part in 0..PARTS {
        app.index.each_of_part(part, |key| {
            if is_strong(&key.secret) {
                let shared = &key.shared;
                let count = counts.entry(Arc::as_ptr(shared));
                count.or_insert_with(|| (shared.clone(), 0)).1 += 1;
            }
        });
    }
    let of = |given: Given| -> u64 {
        let all = counts.values();
        let own = all.filter(|(part, _)| given.has(part.workspace, part.catalog.as_deref()));
        own.map(|(_, count)| count).sum()
    };
    for (view, given) in views.iter_mut().zip(given) {
        view.given_keys = given.map(of);
    }
}

/// The newest event that a site is known to have applied: every question of a linked one has it.
fn known_events(site: &Site, link: Option<&LinkView>) -> Option<u64> {
    let reported = site.reported.as_ref().map(|reported| reported.events);
    let linked = link.map(|link| link.applied).filter(|events| *events > 0);
    reported.max(linked)
}

/// What is known about the link to a site; `newest` is the newest event of all.
fn link(app: &App, read: &Read, name: &str, newest: u64) -> Result<Option<LinkView>> {
    let recorded = site_links::find(read, name)?;
    let now = app.now();
    let standing = app.feed.standing(name, now.steady_ms);
    let asked = standing.and_then(|standing| Some((standing, standing.asked_ago_ms?)));
    Ok(match (asked, recorded) {
        (Some((standing, ago_ms)), _) => Some(LinkView {
            is_linked: standing.is_linked,
            asked_at: Timestamp(now.wall.0.saturating_sub(ago_ms as i64)),
            applied: standing.applied_events,
            pack: Some(standing.pack),
            unread: standing.unread,
            lag: newest.saturating_sub(standing.applied_events),
        }),
        // It has not asked since the start.
        (None, Some(row)) => Some(LinkView {
            is_linked: false,
            asked_at: row.asked_at,
            applied: row.events.min(newest),
            pack: None,
            unread: None,
            lag: newest.saturating_sub(row.events),
        }),
        (None, None) => None,
    })
}

/// Until when a site whose link was dropped may still answer by its last word.
fn dropped_until(app: &App, name: &str) -> Option<Timestamp> {
    let now = app.now();
    let left_ms = app.feed.dropped_left_ms(name, now.steady_ms)?;
    Some(Timestamp(now.wall.0.saturating_add(left_ms as i64)))
}

/// Until when a site may still answer by its last word, of this node or of another one.
pub(super) fn lease_end(app: &App, name: &str) -> Option<Timestamp> {
    let elsewhere = feed::list_elsewhere(app);
    let elsewhere = elsewhere.iter().filter(|other| other.site == name);
    let ends_ms = elsewhere.map(|other| other.lease_end_ms);
    let end_ms = ends_ms.chain(app.feed.lease_end_ms(name)).max()?;
    let now = app.now();
    let left_ms = end_ms.checked_sub(now.steady_ms).filter(|left| *left > 0)?;
    Some(Timestamp(now.wall.0.saturating_add(left_ms as i64)))
}

/// The slugs of the workspaces of a site; a deleted one has its uid.
pub(super) fn slugs(directory: &Directory, site: &Site) -> Vec<String> {
    let slug = |uid: &Uid| match directory.place(*uid) {
        Some(place) => place.workspace.slug.clone(),
        None => uid.to_string(),
    };
    site.workspaces.iter().map(slug).collect()
}
