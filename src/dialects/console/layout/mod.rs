//! The shared part of all pages: the layout with its navigation, the labels and the headers.

pub mod delete;
pub mod error;
mod may;
pub mod moment;

use super::auth::Visit;
use super::auth::cookie::Cookie;
use super::text::{self, Texts};
use super::{MOUNT, assets};
use crate::dialects::console::sections::{SECTIONS, Section};
use crate::domain::clock::State;
use crate::domain::keys::KeyId;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::domain::users::preferences::Theme;
use crate::error::{Error, Result};
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::request::Head;
use crate::http::route::Call;
use crate::ops::keys::offered::concerns;
use crate::ops::notices::list;
use crate::ops::packs::sites;
use crate::ops::policies::pages;
use askama::Template;

/// Pages load no resource of another origin, run no inline script, and cannot be framed by any site (attacks 181, 182).
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The layout of one page.
pub struct Layout {
    texts: &'static Texts,
    pub theme: Theme,
    pub title: String,
    /// Empty if no user is signed in.
    pub nav: Vec<NavItem>,
    /// The name of the signed-in user.
    pub user: String,
    pub form_token: String,
    /// A warning about the machine's clock; every page displays it, because a wrong clock affects all times.
    pub clock: Option<String>,
    /// A warning that the page may be older than it looks, at a node that may be behind the database that it shares.
    pub stale: Option<String>,
    /// The confirmation of the action that the user has just performed.
    pub done: Option<&'static str>,
    /// What the user may do here, if it is not everything.
    pub may: Option<String>,
    /// The address of a form that takes that action back.
    pub undo: Option<String>,
    /// Whether the browser should load the page again immediately.
    pub reloads: bool,
    /// Whether the user may read the audit log.
    reads_audit: bool,
}

/// The part of the document above the content of the page.
#[derive(Template)]
#[template(path = "console/frame.html")]
pub struct Frame<'a> {
    s: &'a Layout,
}

/// An entry of the navigation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nav {
    Account,
    Audit,
    Backups,
    Catalogs,
    Connect,
    Keys,
    None,
    Notices,
    Overview,
    Policies,
    /// The keys of one policy, for which a dialect has its own words.
    Section(&'static str),
    Sites,
    Users,
    Workspaces,
}

/// One displayed entry of the navigation.
pub struct NavItem {
    pub href: String,
    pub label: String,
    /// An SVG path in a square with a side of 24 units.
    pub icon: &'static str,
    pub current: bool,
    /// For the keys of another system: where that system has them in its own menus, such as `Settings › API Keys`.
    pub path: String,
    /// Whether the entries for other systems begin with this one.
    pub begins_others: bool,
    /// How many things behind the entry are new, in words; empty if none.
    pub news: String,
}

/// The icon of a key.
const KEY: &str = "M8 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm4-4h9m-3 0v4m-3-4v3";

/// The navigation; an entry is visible to users with its permission.
#[rustfmt::skip] // Columns are the point of this table.
const NAVIGATION: &[(Nav, &str, &str, Option<Permission>, &str)] = &[
    (Nav::Overview, "",      "nav.overview", None,                       "M4 13h6V4H4zm0 7h6v-4H4zm10 0h6v-9h-6zm0-16v4h6V4z"),
    (Nav::Keys,     "/keys", "nav.keys",     Some(Permission::KeysRead), KEY),
    (Nav::Workspaces, "/workspaces", "nav.workspaces", Some(Permission::WorkspacesRead), "M9 4h6v5H9zM3 15h6v5H3zm12 0h6v5h-6zM12 9v3M6 15v-3h12v3"),
    (Nav::Users, "/users", "nav.users", Some(Permission::UsersRead), "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zm-6 9c0-4 3-6 6-6s6 2 6 6zm13-9a3 3 0 1 0 0-6m1 9c2.500.500 4 2.500 4 6h-3"),
    (Nav::Policies, "/policies", "nav.policies", Some(Permission::PoliciesRead), "M6 3h9l4 4v14H6zm8 0v5h5M9 12h7m-7 4h7"),
    (Nav::Catalogs, "/catalogs", "nav.catalogs", Some(Permission::CatalogsRead), "M4 5h7v15H4zm9 0h7v15h-7zM6.5 9h2m-2 3h2m7-3h2m-2 3h2"),
    (Nav::Connect, "/connect", "nav.connect", Some(Permission::CatalogsRead), "M10 7H6v10h4m4-10h4v10h-4M3 12h3m12 0h3m-11 0h4"),
    (Nav::Sites, "/sites", "nav.sites", Some(Permission::ServerAdmin), "M12 21s-6-5.500-6-11a6 6 0 0 1 12 0c0 5.500-6 11-6 11zm0-13.500v5m-2.500-2.500h5"),
    (Nav::Notices, "/notices", "nav.notices", Some(Permission::KeysRead), "M6 17V10a6 6 0 0 1 12 0v7l2 2H4zm4 4h4"),
    (Nav::Audit, "/audit", "nav.audit", Some(Permission::AuditRead), "M5 4h14v16H5zm3 4h8m-8 4h8m-8 4h5"),
    (Nav::Backups, "/backups", "nav.backups", Some(Permission::ServerAdmin), "M4 4h16v5H4zm1 5v11h14V9m-9 4h4"),
];

impl Layout {
    /// The layout for a signed-in user.
    pub fn of(visit: &Visit<'_>, title: String, nav: Nav, form_token: String) -> Layout {
        let call = visit.call;
        let permissions = visit
            .caller
            .permissions_somewhere(&call.app.index.directory());
        let channel = super::auth::channel(call);
        let done = Cookie::Done.read(call.request, channel);
        let (done, key) = match done.and_then(|done| done.split_once('.')) {
            Some((done, key)) => (Some(done), KeyId::parse(key)),
            None => (done, None),
        };
        Layout {
            texts: visit.texts,
            theme: visit.preferences.theme,
            title,
            // A user who has to set up a second factor first can go nowhere else.
            nav: match visit.must_enrol() {
                true => Vec::new(),
                false => navigation(visit, nav, permissions),
            },
            user: visit.user_name(),
            form_token,
            clock: clock_note(visit),
            stale: stale_note(visit),
            done: done.and_then(|done| visit.texts.find(&format!("done.{done}"))),
            may: may::note(visit, nav),
            undo: key.map(|id| format!("{MOUNT}/keys/{id}/enable")),
            reloads: false,
            reads_audit: permissions.contains(Permission::AuditRead),
        }
    }

    /// The layout without navigation, for a client that is not signed in.
    pub fn bare(head: &Head, title: &str) -> Layout {
        let texts = text::of_browser(head);
        Layout {
            texts,
            theme: Theme::default(),
            title: texts.get(title).to_owned(),
            nav: Vec::new(),
            user: String::new(),
            form_token: String::new(),
            clock: None,
            stale: None,
            done: None,
            may: None,
            undo: None,
            reloads: false,
            reads_audit: false,
        }
    }

    /// The layout for a user who signs in with this request.
    pub fn resumed(call: &Call<'_>, form_token: String) -> Layout {
        Layout {
            form_token,
            ..Layout::bare(call.request, "resume.title")
        }
    }

    /// The part above the content. All pages share this template, so that it is compiled once.
    pub fn frame(&self) -> Frame<'_> {
        Frame { s: self }
    }

    /// The name of the time zone of all times on the page.
    pub fn zone(&self) -> &str {
        self.texts.zone.name()
    }

    /// The text with this name.
    pub fn t(&self, name: &str) -> &'static str {
        self.texts.get(name)
    }

    /// The text with this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&'static str> {
        self.texts.find(name)
    }

    /// What is wrong, as a sentence.
    pub fn error(&self, err: &Error) -> String {
        self.texts.error(err)
    }

    /// The translation of a system's own label.
    pub fn word(&self, english: &'static str) -> &'static str {
        self.texts.word(english)
    }

    /// The text with this name, with a value filled in.
    pub fn t1(&self, name: &str, value: &str) -> String {
        self.texts.with(name, value)
    }

    /// The parts of the text with this name before and after its value.
    pub fn around(&self, name: &str) -> (&'static str, &'static str) {
        self.texts.around(name)
    }

    /// The text with this name, with a number filled in.
    pub fn tn(&self, name: &str, number: u64) -> String {
        self.texts.count(name, number)
    }

    /// The events about a thing, as a filter of the audit log names it; empty if the user may not read the log.
    pub fn events_of(&self, target: &str) -> String {
        match self.reads_audit {
            true => format!("{MOUNT}/audit?target={}", encode(target)),
            false => String::new(),
        }
    }

    /// The events with an action, or with all actions of a noun; empty if the user may not read the log.
    pub fn events_with_action(&self, action: &str) -> String {
        match self.reads_audit {
            true => format!("{MOUNT}/audit?action={action}"),
            false => String::new(),
        }
    }

    /// A number in the language of the page.
    pub fn number(&self, number: &u64) -> String {
        self.texts.number(*number)
    }

    /// The address of an asset.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

impl Visit<'_> {
    /// The slug of the user's home workspace, which is selected by default where a form needs a workspace.
    pub fn home(&self) -> String {
        let directory = self.call.app.index.directory();
        let user = self.caller.user.and_then(|uid| directory.user(uid));
        let place = user.and_then(|user| directory.place(user.home));
        place.map_or_else(String::new, |place| place.workspace.slug.clone())
    }

    /// The name of the signed-in user.
    pub fn user_name(&self) -> String {
        let directory = self.call.app.index.directory();
        let user = self.caller.user.and_then(|uid| directory.user(uid));
        user.map_or_else(String::new, |user| user.user_name.clone())
    }
}

fn clock_note(visit: &Visit<'_>) -> Option<String> {
    let reading = visit.call.app.clock.reading();
    let name = match reading.state {
        State::InStep => return None,
        State::Behind => "frame.clock_behind",
        State::Ahead => "frame.clock_ahead",
    };
    Some(visit.texts.with(name, &visit.texts.instant(reading.wall)))
}

fn stale_note(visit: &Visit<'_>) -> Option<String> {
    let age_s = visit.call.app.known_age_s()?;
    Some(visit.texts.with("frame.stale", &age_s.to_string()))
}

fn navigation(visit: &Visit<'_>, current: Nav, permissions: Permissions) -> Vec<NavItem> {
    let own = NAVIGATION
        .iter()
        .filter(|line| line.3.is_none_or(|needed| permissions.contains(needed)))
        .filter(|line| line.0 != Nav::Sites || current == Nav::Sites || has_sites(visit))
        .map(|(nav, path, label, _, icon)| NavItem {
            href: format!("{MOUNT}{path}"),
            label: visit.texts.get(label).to_owned(),
            icon,
            current: *nav == current,
            path: String::new(),
            begins_others: false,
            news: match nav {
                Nav::Notices => news(visit),
                _ => String::new(),
            },
        });
    own.chain(sections(visit, current)).collect()
}

/// Whether there are sites. Without one, the navigation does not lead to them; the page *Connect* does.
fn has_sites(visit: &Visit<'_>) -> bool {
    sites::is_any(visit.call.app, &visit.caller).unwrap_or_else(|err| {
        log::warn!("the console does not know whether there are sites: {err}");
        false
    })
}

/// How many notices the user has not seen yet.
fn news(visit: &Visit<'_>) -> String {
    let unread = visit
        .caller
        .user
        .map(|user| list::unread(visit.call.app, &visit.caller, user));
    match unread {
        Some(Ok(count)) if count > 0 => visit.texts.count("notices.unread", count as u64),
        Some(Err(err)) => {
            log::warn!("the console does not know whether there are notices: {err}");
            String::new()
        }
        _ => String::new(),
    }
}

/// The entries for other systems that are offered or have keys, under their products' names. A user sees those
/// whose keys they may see or issue.
fn sections(visit: &Visit<'_>, current: Nav) -> Vec<NavItem> {
    let app = visit.call.app;
    let concerned = |section: &&&Section| {
        let directory = app.index.directory();
        let policy = directory.policy(section.policy);
        policy.is_some_and(|policy| concerns(&directory, &visit.caller, policy))
    };
    let word = |text| visit.texts.word(text);
    let item = |(position, section): (usize, &&Section)| NavItem {
        href: format!("{MOUNT}/keys?policy={}", section.policy),
        label: word(section.short).to_owned(),
        icon: KEY,
        current: current == Nav::Section(section.policy),
        path: format!("{} › {}", word(section.menu), word(section.page)),
        begins_others: position == 0,
        news: String::new(),
    };
    let offered = SECTIONS.iter().filter(concerned);
    let offered = offered.filter(|section| is_shown(visit, section));
    offered.enumerate().map(item).collect()
}

/// Whether the pages of a system are in the navigation: they are switched on, or the system has keys.
pub fn is_shown(visit: &Visit<'_>, section: &Section) -> bool {
    pages::is_shown(visit.call.app, section.policy).unwrap_or_else(|err| {
        log::warn!(
            "the console does not know whether {} is in use: {err}",
            section.policy
        );
        false
    })
}

/// A rendered page as a reply.
pub fn html(status: u16, page: &impl Template) -> Result<Reply> {
    let text = page.render().map_err(Error::internal)?;
    Ok(guarded(status, text))
}

fn guarded(status: u16, text: String) -> Reply {
    Reply::new(status)
        .with("content-security-policy", POLICY)
        .with("referrer-policy", "same-origin")
        .with("x-frame-options", "DENY")
        .with("cross-origin-opener-policy", "same-origin")
        .with("cross-origin-resource-policy", "same-origin")
        .body("text/html; charset=utf-8", text.into_bytes())
}

/// Whether the user followed a link on another site. In that case the browser does not send the cookie
/// (`SameSite=Strict`).
pub fn is_from_elsewhere(head: &Head) -> bool {
    let site = head.header("sec-fetch-site").ok().flatten();
    head.method == "GET" && matches!(site, Some("cross-site" | "same-site"))
}

#[derive(Template)]
#[template(path = "console/again.html")]
struct AgainPage {
    s: Layout,
}

/// A page that loads itself again: the second request comes from this site, so that the browser sends the cookie.
pub fn again(head: &Head) -> Reply {
    let page = AgainPage {
        s: Layout {
            reloads: true,
            ..Layout::bare(head, "again.title")
        },
    };
    html(200, &page).unwrap_or_else(|err| {
        log::error!("a page could not be written: {err}");
        Reply::new(500)
    })
}
