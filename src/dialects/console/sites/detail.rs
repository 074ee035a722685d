//! The page of a site: what it has, what it lacks, its packs, and what was ended there.

use super::{Badge, Link, Unconfirmed, address, as_of, pack_words};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::backups::size;
use crate::dialects::console::keys;
use crate::dialects::console::layout::moment::{DisplayTime, span};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::KeyId;
use crate::domain::packs::site::{MadePack, file_name};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::edit;
use crate::ops::keys::find as find_key;
use crate::ops::packs::pending::{self, Named};
use crate::ops::packs::sites::{self, SiteDetail};
use askama::Template;

/// The number of keys that a list of the page names.
const NAMED: usize = 20;

#[derive(Template)]
#[template(path = "console/one_site.html")]
struct SitePage {
    s: Layout,
    href: String,
    name: String,
    badge: Badge,
    unconfirmed: Unconfirmed,
    link: Option<Link>,
    /// How long it may answer without a word, and the newest event that it has, if it is linked.
    max_stale: String,
    as_of: String,
    /// The pack that it is known to have, in words, with its times; for a site that is not linked.
    pack: String,
    made: Option<DisplayTime>,
    until: Option<DisplayTime>,
    reported: Option<DisplayTime>,
    created: DisplayTime,
    workspaces: Vec<(String, String)>,
    catalogs: Vec<String>,
    is_minimal: bool,
    /// How long a pack counts.
    span: String,
    lend: String,
    /// The keys that it is given now, and those that stay out of packs.
    keys: String,
    left_out: KeyNames,
    files: Vec<File>,
    /// Keys that have ended, and keys that were made or changed, of which it is not known to have heard.
    ended: KeyNames,
    changed: KeyNames,
    ended_there: Vec<EndedThere>,
    lent: Vec<LentRow>,
    lent_more: String,
    /// Its events in the audit log; empty if the user may not read it.
    events: String,
    outcome: Option<String>,
}

/// Some keys by name.
#[derive(Default)]
struct KeyNames {
    /// How many, as a number; empty if none.
    count: String,
    named: Vec<KeyName>,
    more: String,
}

/// A key with the address of its page.
struct KeyName {
    href: String,
    name: String,
}

/// A pack that can be downloaded.
struct File {
    href: String,
    name: String,
    made: DisplayTime,
    until: DisplayTime,
    size: String,
    /// Whether it is the difference from the whole pack.
    is_difference: bool,
    /// Whether the site needs it together with the newest one.
    is_base: bool,
}

/// A key that was ended at the site and is still enabled here.
struct EndedThere {
    key: KeyName,
    at: DisplayTime,
    /// The address that disables it here; empty if the caller may not.
    disable: String,
}

struct LentRow {
    key: KeyName,
    lent: String,
    spent: String,
    left: String,
}

/// `GET /console/sites/{name}`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| shown(visit, 200, None))
}

/// `POST /console/sites/{name}/keys/{id}/disable`: disables a key here that was ended at the site.
pub fn disable(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let id = keys::id(call)?;
        let detail = sites::show(call.app, &visit.caller, call.param("name"))?;
        let is_proposed = detail.ended_there.iter().any(|ended| ended.id == id);
        if !is_proposed {
            return Err(Error::NotFound("key"));
        }
        edit::switch(call.app, &visit.caller, id, false)?;
        let href = address(&detail.view.site.name);
        Ok(visit.done(&format!("key_disabled.{id}"), &href))
    })
}

/// The page, with the reason why something was refused.
pub(super) fn shown(visit: &Visit<'_>, status: u16, outcome: Option<String>) -> Result<Reply> {
    let (app, texts) = (visit.call.app, visit.texts);
    let name = visit.call.param("name");
    let detail = sites::show(app, &visit.caller, name)?;
    let pending = pending::pending(app, &visit.caller, name)?;
    let now = app.now().wall;
    let when = |at: Timestamp| DisplayTime::new(texts, at, now);
    let SiteDetail {
        view,
        keys,
        left_out,
        left_out_ids,
        ended_there,
        ..
    } = detail;
    let pack = view.applied.as_ref().or(view.newest.as_ref());
    let left_out = Named {
        count: usize::try_from(left_out).unwrap_or(usize::MAX),
        first: left_out_ids,
    };
    let s = visit.shell(view.site.name.clone(), Nav::Sites);
    let href = address(&view.site.name);
    let lent = pending.lent.iter().map(|(id, lent)| LentRow {
        key: key_name(visit, *id),
        lent: texts.number(lent.lent),
        spent: texts.number(lent.spent),
        left: texts.number(lent.lent.saturating_sub(lent.spent)),
    });
    let workspace = |slug: &String| {
        let href = format!("{MOUNT}/workspaces/{}", encode(slug));
        (href, slug.clone())
    };
    let one = SitePage {
        badge: Badge::of(texts, view.standing(now)),
        unconfirmed: Unconfirmed::of(texts, &view),
        link: Link::of(visit, &view),
        as_of: as_of(texts, &view),
        max_stale: span(texts, view.site.max_stale_s),
        pack: pack_words(texts, &view),
        made: pack.map(|pack| when(pack.made_at)),
        until: pack.map(|pack| when(pack.until)),
        reported: view.site.reported.as_ref().map(|report| when(report.at)),
        created: when(view.site.created_at),
        workspaces: view.workspaces.iter().map(workspace).collect(),
        catalogs: view.site.catalogs.clone(),
        is_minimal: view.site.minimal,
        span: span(texts, view.site.until_s),
        lend: texts.number(view.site.lend),
        keys: texts.number(keys),
        left_out: named(visit, &left_out),
        files: files(visit, &view, &href),
        ended: named(visit, &pending.ended),
        changed: named(visit, &pending.changed),
        ended_there: ended_there
            .iter()
            .map(|ended| EndedThere {
                key: key_name(visit, ended.id),
                at: when(ended.ended_at),
                disable: format!("{href}/keys/{}/disable", ended.id),
            })
            .collect(),
        lent: lent.collect(),
        lent_more: match pending.lent_count.saturating_sub(pending.lent.len()) {
            0 => String::new(),
            more => texts.with("keys.more", &texts.number(more as u64)),
        },
        events: s.events_with_action("site"),
        name: view.site.name,
        href,
        s,
        outcome,
    };
    html(status, &one)
}

/// The newest pack, and the whole one that it follows.
fn files(visit: &Visit<'_>, view: &sites::SiteView, href: &str) -> Vec<File> {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    let Some(newest) = &view.newest else {
        return Vec::new();
    };
    let applied = view.site.reported.as_ref();
    let applied = applied.map_or(0, |reported| reported.applied);
    let file = |pack: &MadePack, is_base: bool| File {
        href: format!("{href}/packs/{}", pack.number),
        name: file_name(pack.number, pack.base),
        made: DisplayTime::new(texts, pack.made_at, now),
        until: DisplayTime::new(texts, pack.until, now),
        size: size(texts, pack.bytes),
        is_difference: pack.base != 0,
        is_base,
    };
    let mut files = vec![file(newest, false)];
    if let Some(base) = view
        .base
        .as_ref()
        .filter(|base| base.number != newest.number)
    {
        files.push(file(base, applied < base.number));
    }
    files
}

fn named(visit: &Visit<'_>, ids: &Named) -> KeyNames {
    let texts = visit.texts;
    let shown = ids.first.iter().take(NAMED);
    let named: Vec<KeyName> = shown.map(|id| key_name(visit, *id)).collect();
    KeyNames {
        count: match ids.count {
            0 => String::new(),
            count => texts.number(count as u64),
        },
        more: match ids.count.saturating_sub(named.len()) {
            0 => String::new(),
            more => texts.with("keys.more", &texts.number(more as u64)),
        },
        named,
    }
}

/// The name of a key; its id if it is gone, or if it has no name that the user may see.
fn key_name(visit: &Visit<'_>, id: KeyId) -> KeyName {
    let found = find_key(visit.call.app, &visit.caller, id);
    let name = found.map(|view| view.key.name).unwrap_or_default();
    KeyName {
        href: keys::address(id),
        name: match name.is_empty() {
            true => id.to_string(),
            false => name,
        },
    }
}
