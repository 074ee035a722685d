//! The console at a site: one page that shows the pack and its age. A site has no users, so there is no sign-in; the page is
//! only for this machine, has no form, and names no key.

use super::layout::moment::DisplayTime;
use super::layout::{Layout, html};
use super::{assets, auth};
use crate::error::{Error, Result};
use crate::http::client::Locality;
use crate::http::reply::Reply;
use crate::http::route::Access::Public;
use crate::http::route::{Call, Route, Surface, get, inline};
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
    inline("GET", "/assets/{name}", Public, BodyRule::Ignore, assets::send),
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
    pack: String,
    made: Option<DisplayTime>,
    until: Option<DisplayTime>,
    keys: String,
    ended: String,
}

fn refuse(call: &Call<'_>) -> Result<Option<Reply>> {
    Err(site::refusal(call.app))
}

/// `GET /console` at a site
fn show(call: &Call<'_>) -> Result<Reply> {
    if Locality::of(call.request) == Locality::Elsewhere {
        return Err(Error::Forbidden(refusals::site::page_is_local()));
    }
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
        pack: view.pack.to_string(),
        made: view.made.map(shown),
        // With a link it does not matter.
        until: view.until.filter(|_| link.is_none()).map(shown),
        keys: texts.number(view.keys),
        ended: texts.number(view.ended.len() as u64),
        s,
    };
    html(200, &page)
}
