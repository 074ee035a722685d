//! The pages of sites: what each site was given and is known to have, its packs, and what came back from it.

pub mod detail;
pub mod edit;
pub mod enrol;
mod fields;
pub mod packs;

use super::MOUNT;
use super::auth::{Visit, page};
use super::layout::moment::DisplayTime;
use super::layout::{Layout, Nav, html};
use super::text::Texts;
use crate::domain::packs::standing::Standing;
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::sites::{self, SiteView};
use askama::Template;

#[derive(Template)]
#[template(path = "console/sites.html")]
struct SitesPage {
    s: Layout,
    rows: Vec<SiteRow>,
    /// How many revocations are not confirmed, in words; empty if none.
    behind: String,
    /// Why a report was refused.
    refusal: Option<String>,
    /// Whether a site has a live link, so that the list has a column for it.
    has_links: bool,
}

struct SiteRow {
    href: String,
    name: String,
    /// The workspaces and the catalogs that it was given.
    given: String,
    badge: Badge,
    unconfirmed: Unconfirmed,
    link: Option<Link>,
    pack: String,
    /// The newest event that a site with a live link has; empty without one.
    as_of: String,
    made: Option<DisplayTime>,
    until: Option<DisplayTime>,
    keys: String,
}

/// How a site stands, as pages display it.
pub struct Badge {
    pub class: &'static str,
    pub label: &'static str,
    /// What follows from it, and what to do.
    pub why: &'static str,
}

/// The live link to a site, as pages display it.
pub struct Link {
    pub class: &'static str,
    pub label: &'static str,
    pub asked: DisplayTime,
    /// How far the site is behind, in words; empty if it is not.
    pub lag: String,
}

/// The revocations that a site is not known to have.
pub struct Unconfirmed {
    /// A number, or that it is not known.
    pub text: String,
    pub is_some: bool,
}

impl Badge {
    fn of(texts: &Texts, standing: Standing) -> Badge {
        let (class, name) = match standing {
            Standing::Aging => ("badge-warn", "aging"),
            Standing::Behind => ("badge-bad", "behind"),
            Standing::Cut => ("badge-bad", "cut"),
            Standing::Good => ("badge-good", "good"),
            Standing::Linked => ("badge-good", "linked"),
            Standing::NoPack => ("badge-warn", "no_pack"),
            Standing::Over => ("badge-bad", "over"),
            Standing::Silent => ("", "silent"),
        };
        Badge {
            class,
            label: texts.get(&format!("site_state.{name}")),
            why: texts.get(&format!("site_why.{name}")),
        }
    }
}

impl Link {
    fn of(visit: &Visit<'_>, view: &SiteView) -> Option<Link> {
        let (texts, now) = (visit.texts, visit.call.app.now().wall);
        let link = view.live_link()?;
        let (class, label) = match link.is_linked {
            true => ("badge-good", "sites.link_up"),
            false => ("badge-bad", "sites.link_down"),
        };
        Some(Link {
            class,
            label: texts.get(label),
            asked: DisplayTime::new(texts, link.asked_at, now),
            lag: match link.lag {
                0 => String::new(),
                lag => texts.count("sites.lag", lag),
            },
        })
    }
}

impl Unconfirmed {
    fn of(texts: &Texts, view: &SiteView) -> Unconfirmed {
        Unconfirmed {
            text: match view.unconfirmed.count() {
                None => texts.get("sites.unknown").to_owned(),
                Some(count) => texts.number(count),
            },
            is_some: view.unconfirmed.at_least() > 0,
        }
    }
}

/// `GET /console/sites`
pub fn show_all(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| list(visit, 200, None))
}

/// The list, with the reason why a report was refused.
fn list(visit: &Visit<'_>, status: u16, refusal: Option<String>) -> Result<Reply> {
    let found = sites::list(visit.call.app, &visit.caller)?;
    let behind = found.iter().map(|view| view.unconfirmed.at_least()).sum();
    let sites = SitesPage {
        s: visit.shell(visit.texts.get("sites.title"), Nav::Sites),
        rows: found.iter().map(|view| row(visit, view)).collect(),
        has_links: found.iter().any(|view| view.live_link().is_some()),
        behind: match behind {
            0 => String::new(),
            count => visit.texts.count("sites.behind", count),
        },
        refusal,
    };
    html(status, &sites)
}

fn row(visit: &Visit<'_>, view: &SiteView) -> SiteRow {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    // What a site with a live link has is newer than any pack.
    let is_linked = view.live_link().is_some();
    let pack = view.applied.as_ref().or(view.newest.as_ref());
    let pack = pack.filter(|_| !is_linked);
    let when = |at| DisplayTime::new(texts, at, now);
    SiteRow {
        href: address(&view.site.name),
        name: view.site.name.clone(),
        given: match view.site.catalogs.is_empty() {
            true => view.workspaces.join(", "),
            false => format!(
                "{} · {}",
                view.workspaces.join(", "),
                view.site.catalogs.join(", ")
            ),
        },
        badge: Badge::of(texts, view.standing(now)),
        unconfirmed: Unconfirmed::of(texts, view),
        link: Link::of(visit, view),
        pack: match is_linked {
            true => texts.get("sites.over_link").to_owned(),
            false => pack_words(texts, view),
        },
        as_of: as_of(texts, view),
        made: pack.map(|pack| when(pack.made_at)),
        until: pack.map(|pack| when(pack.until)),
        keys: pack.map_or_else(String::new, |pack| texts.number(pack.keys)),
    }
}

/// The pack that a site is known to have applied, with the newest one if that is another.
fn pack_words(texts: &Texts, view: &SiteView) -> String {
    let newest = match view.site.pack {
        0 => return texts.get("sites.no_pack").to_owned(),
        newest => newest.to_string(),
    };
    let applied = view.site.reported.as_ref();
    match applied.map(|reported| reported.applied) {
        Some(applied) if applied == view.site.pack => newest,
        Some(0) => texts.with("sites.none_applied", &newest),
        Some(applied) => texts
            .with("sites.older_applied", &applied.to_string())
            .replacen("{}", &newest, 1),
        None => texts.with("sites.not_reported", &newest),
    }
}

/// The newest event that a site with a live link is known to have, in words; empty without one, or if it has not asked yet.
fn as_of(texts: &Texts, view: &SiteView) -> String {
    match view.live_link().map(|link| link.applied) {
        None | Some(0) => String::new(),
        Some(event) => texts.with("sites.as_of", &texts.number(event)),
    }
}

/// The address of a site's page.
fn address(name: &str) -> String {
    format!("{MOUNT}/sites/{}", encode(name))
}
