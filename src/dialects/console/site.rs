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
    pack: String,
    made: Option<DisplayTime>,
    until: Option<DisplayTime>,
    keys: String,
    ended: String,
}

fn refuse(call: &Call<'_>) -> Result<Option<Reply>> {
    Err(site::refusal(call.app, ""))
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
    let warning = match view.age {
        Age::Fresh => "",
        Age::Aging => s.t("site.aging"),
        Age::Over => s.t("site.over"),
        Age::None => s.t("site.none"),
    };
    let page = SitePage {
        lead: texts.with("site.lead", &view.origin),
        name: view.site,
        warning: warning.to_owned(),
        is_bad: matches!(view.age, Age::None | Age::Over),
        pack: view.pack.to_string(),
        made: view.made.map(shown),
        until: view.until.map(shown),
        keys: texts.number(view.keys),
        ended: texts.number(view.ended.len() as u64),
        s,
    };
    html(200, &page)
}
