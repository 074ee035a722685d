//! The console at a site, which shows the pack and its age, and changes nothing. A site has no users, so there is no sign-in: the
//! pages are only for this machine, and the first one names no key. [`super::site_keys`] has those that do.

use super::layout::moment::DisplayTime;
use super::layout::{Layout, html};
use super::{assets, auth, site_keys};
use crate::error::{Error, Result};
use crate::http::client::Locality;
use crate::http::reply::Reply;
use crate::http::route::Access::Public;
use crate::http::route::{Call, Route, Surface, get, inline, post};
use crate::http1::BodyRule;
use crate::ops::site::{self, fresh::Age};
use crate::refusals;
use askama::Template;

pub const SURFACE: Surface = Surface {
    routes: ROUTES,
    would_authenticate: None,
    ..super::SURFACE
};

/// The front page leads to the page of the site.
pub const FRONT: Surface = Surface {
    name: "front",
    mount: "",
    movable: false,
    routes: &[inline("GET", "", Public, BodyRule::Ignore, auth::front)],
    ..SURFACE
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get   ("",                Public, show),
    get   ("/open",           Public, site_keys::open),
    get   ("/keys",           Public, site_keys::list),
    get   ("/keys/{id}",      Public, site_keys::show),
    post  ("/secret",         Public, site_keys::find),
    inline("GET", "/assets/{name}", Public, BodyRule::Ignore, assets::send),
    // What changes keys is at the server, as everything else is.
    inline("*",   "/keys",      Public, BodyRule::Ignore, refuse),
    inline("*",   "/keys/{id}", Public, BodyRule::Ignore, refuse),
    inline("*",   "/{path...}", Public, BodyRule::Ignore, refuse),
];

#[derive(Template)]
#[template(path = "console/site.html")]
struct SitePage {
    s: Layout,
    lead: String,
    name: String,
    /// What is wrong, or soon will be; empty if nothing is.
    warning: String,
    is_bad: bool,
    /// What the link does; empty without one.
    link: String,
    /// Why the last question had no answer; empty if it had one.
    fault: String,
    pack: String,
    made: Option<DisplayTime>,
    until: Option<DisplayTime>,
    keys: String,
    ended: String,
    /// Whether this browser may see keys.
    is_let_in: bool,
    /// Whether the link to the keys counts no longer.
    is_late: bool,
}

fn refuse(call: &Call<'_>) -> Result<Option<Reply>> {
    Err(site::refusal(call.app, ""))
}

/// Refuses requests from other machines.
pub fn require_here(call: &Call<'_>) -> Result<()> {
    match Locality::of(call.request) {
        Locality::Elsewhere => Err(Error::Forbidden(refusals::site::page_is_local())),
        Locality::Local | Locality::Unmarked => Ok(()),
    }
}

/// `GET /console` at a site
fn show(call: &Call<'_>) -> Result<Reply> {
    require_here(call)?;
    shown(call, 200)
}

/// The page; with another status than 200 after a link that counts no longer.
pub fn shown(call: &Call<'_>, status: u16) -> Result<Reply> {
    let view = site::view(call.app)?;
    let s = Layout::bare(call.request, "site.title");
    let texts = super::text::of_browser(call.request);
    let now = call.app.now().wall;
    let shown = |at| DisplayTime::new(texts, at, now);
    let link = view.link.as_ref().map(|link| link.is_up);
    let warning = match (view.age, link) {
        (Age::Fresh, _) => "",
        (Age::Aging, None) => s.t("site.aging"),
        (Age::Over, None) => s.t("site.over"),
        (Age::None, None) => s.t("site.none"),
        (Age::Aging, Some(_)) => s.t("site.link_aging"),
        (Age::Over, Some(_)) => s.t("site.link_over"),
        (Age::None, Some(_)) => s.t("site.link_none"),
    };
    let page = SitePage {
        lead: texts.with("site.lead", &view.origin),
        name: view.site,
        warning: warning.to_owned(),
        is_bad: matches!(view.age, Age::None | Age::Over),
        link: match link {
            None => String::new(),
            Some(true) => s.t("site.link_up").to_owned(),
            Some(false) => s.t("site.link_down").to_owned(),
        },
        fault: view.link.and_then(|link| link.fault).unwrap_or_default(),
        pack: view.pack.to_string(),
        made: view.made.map(shown),
        // With a link it does not matter.
        until: view.until.filter(|_| link.is_none()).map(shown),
        keys: texts.number(view.keys),
        ended: texts.number(view.ended.len() as u64),
        is_let_in: site_keys::is_let_in(call),
        is_late: status != 200,
        s,
    };
    html(status, &page)
}
