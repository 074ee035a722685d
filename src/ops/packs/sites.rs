//! The life of a site: adding, listing, editing and removing it.

use super::given::{Given, is_strong};
use super::lend::{self, Unspent};
pub use super::views::{LinkView, SiteView};
use super::views::{count_given, lease_end, slugs, view, views};
use super::{EDIT, find, identity, record, remove_but, require, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::keys::live::Live;
use crate::domain::keys::passphrase;
use crate::domain::keys::quota::USES_MAX;
use crate::domain::packs::enrolment::Enrolment;
use crate::domain::packs::site::{
    LEND, MAX_STALE_S, MAX_STALE_S_MAX, MAX_STALE_S_MIN, PARTS_MAX, SITES_MAX, Site, UNTIL_S,
    UNTIL_S_MAX, UNTIL_S_MIN, key_purpose,
};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::standing::Unconfirmed;
use crate::domain::packs::{is_server_name, is_site_name};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::PARTS;
use crate::index::directory::Directory;
use crate::ops::idempotency::Retry;
use crate::ops::secrets::rotate::{self, Rotated};
use crate::ops::{App, idempotency};
use crate::refusals;
use crate::store::sites::EndedAtSite;
use crate::store::{Read, packs, site_links, sites as rows};

const ADD: &str = "site.add";
const REMOVE: &str = "site.remove";
/// The number of keys that a view names.
const NAMED_MAX: usize = 100;

/// The members of a new site.
#[derive(Clone, Debug)]
pub struct NewSite {
    pub name: String,
    /// Slugs or uids; at least one.
    pub workspaces: Vec<String>,
    /// Empty for the keys of all catalogs and of none.
    pub catalogs: Vec<String>,
    pub minimal: bool,
    pub until_s: Option<u64>,
    pub lend: Option<u64>,
    pub max_stale_s: Option<u64>,
    /// The name of this server, for the first site.
    pub server: String,
    /// Protects the enrolment.
    pub passphrase: String,
}

/// What an edit changes.
#[derive(Clone, Debug, Default)]
pub struct SiteEdit {
    pub workspaces: Option<Vec<String>>,
    pub catalogs: Option<Vec<String>>,
    pub minimal: Option<bool>,
    pub until_s: Option<u64>,
    pub lend: Option<u64>,
    /// The life of its state to which uses are lent from now on. What another one was lent counts as spent.
    pub life: Option<Uid>,
    pub max_stale_s: Option<u64>,
    /// Drops its live link: the site is gone, and no change waits for its lease any more.
    pub unlinks: bool,
}

/// What became of a site that was removed.
#[derive(Debug)]
pub struct Removed {
    /// The new version of the pepper, if there is one.
    pub rotated: Option<Rotated>,
    pub uses: Unspent,
    /// Until when the site may go on to give verdicts; `None` if it has nothing to give them by.
    pub may_answer_until: Option<Timestamp>,
}

/// What a view of one site has in addition.
#[derive(Clone, Debug)]
pub struct SiteDetail {
    pub view: SiteView,
    /// The keys that it is given.
    pub keys: u64,
    /// Of these, keys that were made or changed since what it is known to have; `None` if that is not known.
    pub changed: Option<u64>,
    /// Keys that stay out of packs because another system has made their secrets, and the first of them.
    pub left_out: u64,
    pub left_out_ids: Vec<KeyId>,
    /// Keys that the site has ended and that are still enabled here.
    pub ended_there: Vec<EndedAtSite>,
}

/// Enrols a site. Returns it, and the content of the enrolment file.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine: the file has the peppers.
pub fn add(
    app: &App,
    caller: &Caller,
    new: NewSite,
    retry: Option<Retry>,
) -> Result<(SiteView, String)> {
    let passphrase = new.passphrase.clone();
    let (site, enrolment) = enrol(app, caller, new, retry)?;
    Ok((site, enrolment.lock(&passphrase)?))
}

/// Does the same, without the passphrase.
pub(in crate::ops) fn enrol(
    app: &App,
    caller: &Caller,
    new: NewSite,
    retry: Option<Retry>,
) -> Result<(SiteView, Enrolment)> {
    require_local(app, caller, ADD)?;
    if !is_site_name(&new.name) {
        return Err(Error::invalid("name", refusals::packs::site_name()));
    }
    if !is_server_name(&new.server) {
        return Err(Error::invalid("server", refusals::packs::server_name()));
    }
    if new.passphrase.chars().count() < passphrase::PASSPHRASE_CHARS_MIN {
        let least = refusals::values::characters_at_least(passphrase::PASSPHRASE_CHARS_MIN);
        return Err(Error::invalid("passphrase", least));
    }
    let (until_s, lend) = (new.until_s.unwrap_or(UNTIL_S), new.lend.unwrap_or(LEND));
    let max_stale_s = new.max_stale_s.unwrap_or(MAX_STALE_S);
    check_times(until_s, lend)?;
    check_max_stale(max_stale_s)?;
    let files = app.key_files();
    let (index, who) = (app.index.clone(), caller.clone());
    let name = new.name.clone();
    let added = app.change(caller, ADD, Target::server(), move |tx, now| {
        if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
            return Ok((None, earlier));
        }
        let directory = index.directory();
        if rows::find(tx, &new.name)?.is_some() {
            return Err(Error::Conflict(refusals::packs::site_exists(&new.name)));
        }
        if rows::count(tx)? >= SITES_MAX as u64 {
            return Err(Error::Conflict(refusals::packs::sites_most(SITES_MAX)));
        }
        identity::ensure(tx, &files.sealing, &new.server, now)?;
        let key = SiteKey::generate()?;
        let sealed = files
            .sealing
            .seal_bytes(&key_purpose(&new.name), key.expose())?;
        let site = Site {
            minimal: new.minimal,
            until_s,
            lend,
            max_stale_s,
            created_at: now,
            removed_at: None,
            sealed: Some(sealed),
            pack: 0,
            base: 0,
            lent_life: None,
            reported: None,
            workspaces: workspaces(&directory, &new.workspaces)?,
            catalogs: catalogs(&directory, new.catalogs)?,
            name: new.name,
        };
        rows::insert(tx, &site)?;
        idempotency::remember(tx, &files, &who, retry.as_ref(), &site.name, now)?;
        let changes = changes(&directory, None, &site);
        Ok((Some(record(&site.name, changes)), site.name))
    })?;
    debug_assert_eq!(added, name);
    app.read(|read| {
        let site = find(read, &added)?;
        let enrolment = enrolment(app, read, &site)?;
        Ok((view(app, read, site)?, enrolment))
    })
}

fn enrolment(app: &App, read: &Read, site: &Site) -> Result<Enrolment> {
    let server = packs::find_server(read)?;
    let server = server.ok_or_else(|| Error::internal("the server has no identity"))?;
    let version = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let peppers = app.peppers.expose().into_iter();
    Ok(Enrolment {
        site: site.name.clone(),
        origin: server.name,
        server: server.uid,
        reign: server.reign,
        keys: vec![identity::public_key(read)?],
        site_key: site_key(app, site)?,
        is_used: false,
        peppers: peppers
            .map(|(number, bytes)| (version(number), bytes))
            .collect(),
    })
}

/// The key that a site has alone with this server.
pub(super) fn site_key(app: &App, site: &Site) -> Result<SiteKey> {
    let sealed = site.sealed.as_ref();
    let bytes = sealed.and_then(|sealed| app.sealing.open_bytes(&key_purpose(&site.name), sealed));
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    let lost = || Error::Unavailable(refusals::packs::site_sealed(&site.name));
    bytes.map(SiteKey::of).ok_or_else(lost)
}

/// Whether there is a site, for a caller who may know.
pub fn is_any(app: &App, caller: &Caller) -> Result<bool> {
    match require(app, caller) {
        Ok(()) => app.read(rows::is_any),
        Err(_) => Ok(false),
    }
}

/// Whether the name of a new site is one, and no site has it or had it.
pub fn check_name(app: &App, caller: &Caller, name: &str) -> Result<()> {
    require(app, caller)?;
    if !is_site_name(name) {
        return Err(Error::invalid("name", refusals::packs::site_name()));
    }
    match app.read(|read| rows::find(read, name))? {
        None => Ok(()),
        Some(_) => Err(Error::invalid("name", refusals::packs::site_exists(name))),
    }
}

/// Whether a site can be given this; nothing is changed.
pub fn check(app: &App, caller: &Caller, edit: &SiteEdit) -> Result<()> {
    require(app, caller)?;
    let directory = app.index.directory();
    if let Some(asked) = &edit.workspaces {
        workspaces(&directory, asked)?;
    }
    if let Some(asked) = &edit.catalogs {
        catalogs(&directory, asked.clone())?;
    }
    check_times(edit.until_s.unwrap_or(UNTIL_S), edit.lend.unwrap_or(LEND))?;
    check_max_stale(edit.max_stale_s.unwrap_or(MAX_STALE_S))
}

/// One site, without what needs a look at every key.
pub fn find_view(app: &App, caller: &Caller, name: &str) -> Result<SiteView> {
    require(app, caller)?;
    app.read(|read| view(app, read, find(read, name)?))
}

/// Every site, by name.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<SiteView>> {
    require(app, caller)?;
    all(app)
}

/// The same, with the keys that linked sites are given. This looks at every key.
pub fn list_with_keys(app: &App, caller: &Caller) -> Result<Vec<SiteView>> {
    let mut views = list(app, caller)?;
    count_given(app, &mut views);
    Ok(views)
}

/// The same as [`list`], for the server's own use.
pub fn all(app: &App) -> Result<Vec<SiteView>> {
    app.read(|read| views(app, read, rows::list(read)?))
}

/// One site. This looks at every key.
pub fn show(app: &App, caller: &Caller, name: &str) -> Result<SiteDetail> {
    require(app, caller)?;
    let (mut view, ended_there, changed) = app.read(|read| {
        let view = view(app, read, find(read, name)?)?;
        let has_log = view.unconfirmed != Unconfirmed::LogTooShort;
        let events = view.known_events().filter(|_| has_log);
        let changed = events.map(|events| rows::list_changed_since(read, events));
        Ok((view, rows::list_ended(read, name)?, changed.transpose()?))
    })?;
    let given = Given::of(&view.site, &app.index.directory());
    let has = |id: &KeyId| {
        let has = |key: &Live| given.has_key(key) && is_strong(&key.secret);
        app.index.with_key(*id, has) == Some(true)
    };
    let changed = changed.map(|ids| ids.iter().filter(|id| has(id)).count() as u64);
    let (mut keys, mut left_out, mut left_out_ids) = (0, 0, Vec::new());
    for part in 0..PARTS {
        app.index.each_of_part(part, |key| {
            if !given.has_key(key) {
                return;
            }
            if is_strong(&key.secret) {
                keys += 1;
                return;
            }
            left_out += 1;
            if left_out_ids.len() < NAMED_MAX {
                left_out_ids.push(key.id);
            }
        });
    }
    left_out_ids.sort_unstable();
    view.given_keys = view.link.filter(|link| link.is_linked).map(|_| keys);
    Ok(SiteDetail {
        view,
        keys,
        changed,
        left_out,
        left_out_ids,
        ended_there,
    })
}

/// Changes what a site is given from the next pack on. If the site is linked, this looks at every key.
pub fn edit(app: &App, caller: &Caller, name: &str, edit: SiteEdit) -> Result<SiteView> {
    let (index, who, asked) = (app.index.clone(), caller.clone(), name.to_owned());
    let unlinks = edit.unlinks;
    // No link is recorded while one is removed.
    let _recording = unlinks.then(|| app.feed.hold_recording());
    let is_linked = unlinks && app.feed.is_known(name);
    let edited = app.change(caller, EDIT, Target::server(), move |tx, _| {
        let directory = index.directory();
        who.require_global(&directory, Permission::ServerAdmin)?;
        let before = find(tx, &asked)?;
        let mut after = before.clone();
        if let Some(asked) = &edit.workspaces {
            after.workspaces = workspaces(&directory, asked)?;
        }
        if let Some(asked) = edit.catalogs {
            after.catalogs = catalogs(&directory, asked)?;
        }
        after.minimal = edit.minimal.unwrap_or(after.minimal);
        after.until_s = edit.until_s.unwrap_or(after.until_s);
        after.lend = edit.lend.unwrap_or(after.lend);
        after.max_stale_s = edit.max_stale_s.unwrap_or(after.max_stale_s);
        check_times(after.until_s, after.lend)?;
        after.lent_life = edit.life.or(before.lent_life);
        check_max_stale(after.max_stale_s)?;
        let mut changes = changes(&directory, Some(&before), &after);
        if let Some(life) = edit.life.filter(|life| before.lent_life == Some(*life)) {
            // The site has no pack that names it yet, or its operator would not ask for this.
            changes.note_always("life", Some(&life.to_string()));
        }
        if edit.unlinks && (site_links::delete(tx, &after.name)? || is_linked) {
            changes.note("linked", &true, &false);
        }
        if changes.is_empty() {
            return Ok((None, after));
        }
        rows::update(tx, &after)?;
        if let Some(life) = edit.life {
            rows::lend_to(tx, &after.name, life)?;
        }
        Ok((Some(record(&after.name, changes)), after))
    })?;
    if unlinks {
        app.feed.unlink(&edited.name);
    }
    let mut view = app.read(|read| view(app, read, edited))?;
    count_given(app, std::slice::from_mut(&mut view));
    Ok(view)
}

/// Removes a site: no pack is made for it any more, and its reports are refused. With `rotate` the pepper gets a new version,
/// so that the removed site cannot verify secrets that are made from now on. Uses of counted keys that it was lent and has not
/// reported as spent may be spent, and stay so unless the caller returns them.
pub fn remove(
    app: &App,
    caller: &Caller,
    name: &str,
    rotate: bool,
    returns_uses: bool,
) -> Result<Removed> {
    if rotate {
        require_local(app, caller, REMOVE)?;
    }
    let (index, who, asked) = (app.index.clone(), caller.clone(), name.to_owned());
    let seal_keys = app.seal_keys.clone();
    // Its key is gone with its row. A site that cannot be known goes on until its lease is over.
    let known = app.feed.find(app, name);
    let (removed, uses, pack_end) =
        app.change(caller, REMOVE, Target::server(), move |tx, now| {
            who.require_global(&index.directory(), Permission::ServerAdmin)?;
            let site = find(tx, &asked)?;
            let uses = lend::take_back(tx, &index, &seal_keys, &site.name, returns_uses)?;
            let pack_end = packs::find_last_until(tx, &site.name)?;
            rows::remove(tx, &site.name, now)?;
            let mut changes = Changes::default();
            changes.note("uses_returned", &0, &uses.returned);
            changes.note("uses_kept", &0, &uses.kept);
            Ok((
                Some(record(&site.name, changes)),
                (site.name, uses, pack_end),
            ))
        })?;
    if let Some(known) = known {
        app.feed.note_removed(known, app.now().steady_ms);
    }
    remove_but(&app.packs_of(&removed), &[]);
    let rotated = match rotate {
        true => Some(rotate::rotate(app, caller, KeyKind::Pepper)?),
        false => None,
    };
    // Now it gets no further word.
    let (lease_end, now) = (lease_end(app, &removed), app.now().wall);
    Ok(Removed {
        rotated,
        uses,
        may_answer_until: lease_end.max(pack_end).filter(|until| *until > now),
    })
}

fn check_times(until_s: u64, lend: u64) -> Result<()> {
    if !(UNTIL_S_MIN..=UNTIL_S_MAX).contains(&until_s) {
        let between = refusals::packs::until(UNTIL_S_MIN, UNTIL_S_MAX);
        return Err(Error::invalid("until_s", between));
    }
    match lend > USES_MAX {
        true => Err(Error::invalid("lend", refusals::values::at_most(USES_MAX))),
        false => Ok(()),
    }
}

fn check_max_stale(max_stale_s: u64) -> Result<()> {
    match (MAX_STALE_S_MIN..=MAX_STALE_S_MAX).contains(&max_stale_s) {
        true => Ok(()),
        false => {
            let between = refusals::packs::until(MAX_STALE_S_MIN, MAX_STALE_S_MAX);
            Err(Error::invalid("max_stale_s", between))
        }
    }
}

fn workspaces(directory: &Directory, asked: &[String]) -> Result<Vec<Uid>> {
    if asked.is_empty() || asked.len() > PARTS_MAX {
        let entries = refusals::values::entries(PARTS_MAX);
        return Err(Error::invalid("workspaces", entries));
    }
    let mut found = Vec::new();
    for (position, text) in asked.iter().enumerate() {
        let place = directory.find_place(text).ok_or_else(|| {
            let field = format!("workspaces[{position}]");
            Error::invalid(field, refusals::workspaces::unknown())
        })?;
        if !found.contains(&place.workspace.uid) {
            found.push(place.workspace.uid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn catalogs(directory: &Directory, mut asked: Vec<String>) -> Result<Vec<String>> {
    if asked.len() > PARTS_MAX {
        let most = refusals::values::entries_at_most(PARTS_MAX);
        return Err(Error::invalid("catalogs", most));
    }
    for (position, name) in asked.iter().enumerate() {
        if directory.catalog(name).is_none() {
            let field = format!("catalogs[{position}]");
            return Err(Error::invalid(field, refusals::packs::unknown_catalog()));
        }
    }
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}

/// A member of a site as the audit log has it.
type Part = fn(&Site) -> String;

/// The changes of a site that was added or edited, for the audit log.
fn changes(directory: &Directory, before: Option<&Site>, after: &Site) -> Changes {
    let slugs = |site: &Site| slugs(directory, site).join(" ");
    let mut changes = Changes::default();
    let of = |part: Part| (before.map(part), Some(part(after)));
    let given = (before.map(slugs), Some(slugs(after)));
    changes.note_option("workspaces", &given.0, &given.1);
    let members: [(&'static str, Part); 5] = [
        ("catalogs", |site| site.catalogs.join(" ")),
        ("minimal", |site| site.minimal.to_string()),
        ("until_s", |site| site.until_s.to_string()),
        ("lend", |site| site.lend.to_string()),
        ("max_stale_s", |site| site.max_stale_s.to_string()),
    ];
    for (name, part) in members {
        let (before, after) = of(part);
        changes.note_option(name, &before, &after);
    }
    let life = before.and_then(|site| site.lent_life);
    changes.note_option("life", &life, &after.lent_life);
    changes
}
