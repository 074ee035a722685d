//! The keys of a site in a browser that its administrator has let in: a list, a page for each key, and the key of a secret. Nothing
//! here changes anything. The rest of the console at a site is in [`super::site`].

use super::auth::cookie::Cookie;
use super::auth::{channel, own_form, redirect};
use super::keys::trial::{self, TrialForm};
use super::keys::{Badge, SOON_S, badge};
use super::layout::moment::{DisplayTime, LastDay, span};
use super::layout::{Layout, html};
use super::site::{require_here, shown};
use super::text::{self, Texts};
use super::{MOUNT, keys};
use crate::domain::keys::secret::may_hold_secret;
use crate::error::{Error, Result};
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::site::keys::{self as own_keys, Known, SiteKey};
use crate::ops::site::{self, browsers, fresh::Age};
use crate::ops::verify::Fit;
use crate::store::site::Reason;
use askama::Template;

/// The number of keys on a page.
const PAGE_KEYS: usize = 50;

#[derive(Template)]
#[template(path = "console/site_keys.html")]
struct ListPage {
    s: Layout,
    lead: String,
    /// The name of the site.
    site: String,
    is_stale: bool,
    query: String,
    total: String,
    rows: Vec<KeyRow>,
    previous: Option<String>,
    next: Option<String>,
    /// What is known about a secret that belongs to no key here, or why the search was refused.
    outcome: Option<String>,
}

struct KeyRow {
    href: String,
    name: String,
    hint: String,
    owner: String,
    workspace: String,
    end: Option<LastDay>,
    is_soon: bool,
    badge: Badge,
}

#[derive(Template)]
#[template(path = "console/site_key.html")]
struct KeyPage {
    s: Layout,
    name: String,
    badge: Badge,
    is_stale: bool,
    /// What is known about the secret that led here, and whether it works.
    secret: Option<(&'static str, bool)>,
    /// When and why the key has ended here.
    ended: Option<(DisplayTime, &'static str)>,
    /// The label and the value.
    facts: Vec<(&'static str, String)>,
    starts: Option<DisplayTime>,
    end: Option<LastDay>,
    scopes: Vec<String>,
    addresses: Vec<String>,
    trial: TrialForm,
}

/// Whether the browser was let in.
pub fn is_let_in(call: &Call<'_>) -> bool {
    let secret = Cookie::Site.read(call.request, channel(call));
    secret.is_some_and(|secret| browsers::is_known(call.app, secret))
}

/// `GET /console/open` at a site: a link that `latchkey site console` has printed.
pub fn open(call: &Call<'_>) -> Result<Reply> {
    require_here(call)?;
    let code = call.query()?.take("code").unwrap_or_default();
    match browsers::enter(call.app, &code)? {
        None => shown(call, 403),
        Some(secret) => {
            let cookie = Cookie::Site.set(channel(call), &secret);
            Ok(redirect(&format!("{MOUNT}/keys")).also("set-cookie", cookie))
        }
    }
}

/// Runs `show` for a browser that was let in; any other is led to the page that explains how.
fn page(call: &Call<'_>, show: &dyn Fn(&'static Texts) -> Result<Reply>) -> Result<Reply> {
    require_here(call)?;
    match is_let_in(call) {
        true => show(text::of_browser(call.request)),
        false => Ok(redirect(MOUNT)),
    }
}

/// `GET /console/keys` at a site
pub fn list(call: &Call<'_>) -> Result<Reply> {
    page(call, &|texts| {
        let mut query = call.query()?;
        let (asked, page) = (query.take("q"), query.take_number("page")?);
        query.finish()?;
        let asked = asked.unwrap_or_default().trim().to_owned();
        if may_hold_secret(&asked) {
            // A secret belongs into no address; the other form takes it.
            return Ok(redirect(&format!("{MOUNT}/keys")));
        }
        let page = page.and_then(|page| usize::try_from(page).ok());
        listed(call, texts, &asked, page.unwrap_or(0), None)
    })
}

/// `POST /console/secret` at a site: leads to the key of a secret, with what is known about it.
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let form = own_form(call)?;
    page(call, &|texts| {
        let unknown = |name: &str| {
            let why = texts.get(name).to_owned();
            listed(call, texts, "", 0, Some(why))
        };
        match own_keys::identify(call.app, form.text("secret")) {
            Known::Malformed => unknown("site.secret_malformed"),
            Known::NoKey => unknown("site.secret_unknown"),
            Known::Key(id, fit) => {
                let word = match fit {
                    Fit::Ended => "ended",
                    Fit::Newest => "newest",
                    Fit::None => "other",
                    Fit::Older => "older",
                };
                Ok(redirect(&format!("{}?secret={word}", keys::address(id))))
            }
        }
    })
}

fn listed(
    call: &Call<'_>,
    texts: &'static Texts,
    asked: &str,
    page: usize,
    outcome: Option<String>,
) -> Result<Reply> {
    let view = site::view(call.app)?;
    let from = page.saturating_mul(PAGE_KEYS);
    let range = from..from.saturating_add(PAGE_KEYS);
    let (found, status, outcome) = match own_keys::list(call.app, asked, range) {
        Ok(found) => (found, 200, outcome),
        Err(err @ Error::Invalid { .. }) => {
            let none = own_keys::Found {
                items: Vec::new(),
                total: 0,
            };
            (none, 422, Some(texts.error(&err)))
        }
        Err(err) => return Err(err),
    };
    let link = |page: usize| format!("{MOUNT}/keys?q={}&page={page}", encode(asked));
    let to = from + found.items.len();
    let total = match found.total <= PAGE_KEYS {
        true => texts.count("keys.count", found.total as u64),
        false => texts
            .count("keys.shown", found.total as u64)
            .replacen("{from}", &texts.number(from as u64 + 1), 1)
            .replacen("{to}", &texts.number(to as u64), 1),
    };
    let list = ListPage {
        s: Layout::bare(call.request, "site.keys_title"),
        lead: texts.with("site.keys_lead", &view.origin),
        site: view.site,
        is_stale: matches!(view.age, Age::None | Age::Over),
        query: asked.to_owned(),
        total,
        rows: found
            .items
            .iter()
            .map(|key| row(call, texts, key))
            .collect(),
        previous: (page > 0).then(|| link(page - 1)),
        next: (to < found.total).then(|| link(page + 1)),
        outcome,
    };
    html(status, &list)
}

fn row(call: &Call<'_>, texts: &Texts, key: &SiteKey) -> KeyRow {
    let now = call.app.now().wall;
    KeyRow {
        href: keys::address(key.id),
        name: name(key),
        hint: key.hint.clone(),
        owner: key.owner.clone().unwrap_or_default(),
        workspace: key.workspace.clone(),
        is_soon: key
            .ends_at
            .is_some_and(|end| end > now && end <= now.plus_s(SOON_S)),
        end: key.ends_at.map(|end| LastDay::new(texts, end, now)),
        badge: badge(texts, key.state),
    }
}

/// The name of a key, or its id.
fn name(key: &SiteKey) -> String {
    match key.name.is_empty() {
        true => key.id.to_string(),
        false => key.name.clone(),
    }
}

/// `GET /console/keys/{id}` at a site
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|texts| {
        let id = keys::id(call)?;
        let key = own_keys::find(call.app, id).ok_or(Error::NotFound("key"))?;
        let mut query = call.query()?;
        let secret = query
            .take("secret")
            .and_then(|word| secret_words(texts, &word));
        let by_path = key.catalog.is_some();
        let trial = trial::take_with(texts, &mut query, by_path, &|request| {
            own_keys::try_key(call.app, id, request)
        })?;
        query.finish()?;
        let (view, now) = (site::view(call.app)?, call.app.now().wall);
        let ended = own_keys::ended(call.app, id)?.map(|ended| {
            let why = match ended.reason {
                Reason::Fork => "site.reason_fork",
                Reason::Revoked => "site.reason_revoked",
                Reason::Site => "site.reason_site",
            };
            (DisplayTime::new(texts, ended.at, now), texts.get(why))
        });
        let mut s = Layout::bare(call.request, "site.keys_title");
        s.title = name(&key);
        let shown = KeyPage {
            s,
            name: name(&key),
            badge: badge(texts, key.state),
            is_stale: matches!(view.age, Age::None | Age::Over),
            secret,
            ended,
            facts: facts(texts, &key),
            starts: key.starts_at.map(|at| DisplayTime::new(texts, at, now)),
            end: key.ends_at.map(|end| LastDay::new(texts, end, now)),
            scopes: key.scopes.clone(),
            addresses: key.addresses.clone(),
            trial,
        };
        html(200, &shown)
    })
}

/// What is known about the secret that led to a key, and whether it works.
fn secret_words(texts: &Texts, word: &str) -> Option<(&'static str, bool)> {
    let (name, works) = match word {
        "ended" => ("site.secret_ended", false),
        "newest" => ("site.secret_newest", true),
        "older" => ("site.secret_older", true),
        "other" => ("site.secret_other", false),
        _ => return None,
    };
    Some((texts.get(name), works))
}

fn facts(texts: &Texts, key: &SiteKey) -> Vec<(&'static str, String)> {
    let access = match key.read_only {
        true => "access.read",
        false => "access.write",
    };
    let rate = key.rate_limit.map(|rate| {
        texts
            .count("key.rate", rate.limit)
            .replacen("{}", &span(texts, rate.window_s), 1)
    });
    let older = key
        .has_previous
        .then(|| texts.get("site.older_works").to_owned());
    let all = [
        ("field.id", Some(key.id.to_string())),
        ("field.hint", Some(key.hint.clone())),
        ("field.workspace", Some(key.workspace.clone())),
        ("field.owner", key.owner.clone()),
        ("field.policy", Some(key.policy.clone())),
        ("field.catalog", key.catalog.clone()),
        ("field.read_only", Some(texts.get(access).to_owned())),
        ("field.rate_limit", rate),
        ("site.older", older),
    ];
    all.into_iter()
        .filter_map(|(label, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((texts.get(label), value))
        })
        .collect()
}
