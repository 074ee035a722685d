//! A site: a server that verifies keys from the packs of another one. It has no users, issues nothing, and can only end.
//!
//! What it answers from is in the index as at every server, but it comes from packs ([`apply`], [`content`]), or over a live
//! link to the server ([`link`]), and never from the tables of the database, which has only the state of the site, its own audit log and its counts. Who may change
//! something here is the administrator of the machine alone.

pub mod apply;
pub mod browsers;
mod content;
#[cfg(test)]
mod continuity;
#[cfg(test)]
mod damage;
pub mod ended;
pub mod enrol;
#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod fleet;
pub mod fresh;
mod held;
pub mod keys;
pub mod lent;
pub mod link;
mod recover;
pub mod report;
pub mod reset;
pub mod revoke;
#[cfg(test)]
mod tests;
mod unreported;
pub mod uses;

pub use content::Applied;

use super::{App, Record};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::locks::{lock, read, write};
use crate::domain::packs::head::Head;
use crate::domain::packs::note::PublicKey;
use crate::domain::packs::question::Events;
use crate::domain::packs::site::DISABLE;
use crate::domain::packs::state::{Fork, State};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::append_all;
use crate::refusals;
use crate::store::{self, Durability, Read, Urgency, Write};
use fresh::{Age, Freshness};
use held::Held;
use link::Link;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use unreported::Unreported;

/// The folder of packs, next to the database.
const PACKS: &str = "packs";
/// What the sealed state is bound to.
const PURPOSE: &str = "latchkey: state of this site";

/// What a site has in memory besides the index.
pub struct Site {
    pub fresh: Freshness,
    folder: PathBuf,
    /// As it is stored.
    state: Mutex<State>,
    /// Held while a pack is applied, or while something changes that outlives packs.
    turn: Mutex<()>,
    /// The packs that are in force; `None` if there are none, or if the folder has lost them.
    held: RwLock<Option<Arc<Held>>>,
    /// Which state of the server the index has; `None` if it has none.
    position: Mutex<Option<Position>>,
    /// The keys in which the index differs from the packs that are held, because of steps over the link.
    stepped: Mutex<Stepped>,
    /// The uses that the server has lent in all, by key.
    lent: RwLock<HashMap<KeyId, u64>>,
    taken: lent::Taken,
    /// The secrets that stay ended, once they were read.
    ended_starts: Mutex<Option<Arc<content::Starts>>>,
    verdicts: uses::Stored,
    pub unreported: Unreported,
    pub link: Link,
    /// Before the first pack, and if a pack has no root workspace: what the administrator of the machine works in.
    own: Directory,
    /// Browsers of this machine that may show its keys.
    pub browsers: browsers::Browsers,
}

/// The state of the server that the index of a site has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    pub reign: u64,
    /// The newest pack that was applied, and the whole one that it follows.
    pub pack: u64,
    pub base: u64,
    /// Of that pack, or of the last step after it.
    pub events: Events,
    /// The number of keys.
    pub keys: u64,
}

/// Keys that steps have changed.
#[derive(Default)]
struct Stepped {
    ids: BTreeSet<KeyId>,
    /// There are so many that they are not kept any more: every key can differ.
    is_any: bool,
}

/// The number of keys that steps have changed and that are kept one by one.
const STEPPED_MAX: usize = 200_000;

impl Stepped {
    fn add(&mut self, ids: &[KeyId]) {
        if !self.is_any {
            self.ids.extend(ids);
        }
        if self.ids.len() > STEPPED_MAX {
            *self = Stepped {
                is_any: true,
                ..Stepped::default()
            };
        }
    }
}

/// A site as its administrator sees it.
#[derive(Clone, Debug)]
pub struct View {
    pub site: String,
    pub origin: String,
    pub server: String,
    pub reign: u64,
    /// The newest pack that was ever applied; 0 for none.
    pub pack: u64,
    /// The whole pack that is held, if one is.
    pub base: Option<u64>,
    /// Whether what was applied is in force.
    pub is_loaded: bool,
    pub made: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub age_s: Option<u64>,
    pub age: Age,
    pub keys: u64,
    /// Keys that have ended here, also if the pack has them.
    pub ended: Vec<store::site::EndedKey>,
    pub fork: Fork,
    /// The next pack may have been made before the newest one.
    pub is_date_open: bool,
    /// An older copy has replaced the database: no verdict is given before a pack that was made then or later, or a word of the link.
    pub needs_made: Option<Timestamp>,
    pub reports: u64,
    /// Of this state; reports have it.
    pub life: String,
    /// Whether the uses that the pack lends are lent to this state.
    pub may_spend: bool,
    /// `None` if there is no link.
    pub link: Option<link::View>,
}

impl Position {
    fn of(head: &Head) -> Position {
        Position {
            reign: head.reign,
            pack: head.pack,
            base: match head.base {
                0 => head.pack,
                base => base,
            },
            events: Events {
                number: head.events,
                hash: head.events_hash,
            },
            keys: head.keys,
        }
    }
}

impl Site {
    fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The name of the server, for sentences.
    pub fn server_name(&self) -> String {
        lock(&self.state).origin.clone()
    }

    fn held(&self) -> Option<Arc<Held>> {
        read(&self.held).clone()
    }

    /// Puts a state in place that was stored.
    fn set(&self, state: State, lent: HashMap<KeyId, u64>) {
        *lock(&self.state) = state;
        *write(&self.lent) = lent;
    }

    /// Which state of the server the index has; `None` if it has none.
    fn position(&self) -> Option<Position> {
        *lock(&self.position)
    }

    /// Gives verdicts from these packs, whose content the index has already. There are none in four cases: there are no packs; an
    /// older copy replaced the database after the packs were made, so what has ended here since is not known any more; the packs
    /// are older than what a link has brought, whose steps are not kept; or their date is wrong, so their age is not known.
    fn hold(&self, held: Option<Held>) {
        let (oldest, known, is_date_open, needs_made) = {
            let state = lock(&self.state);
            let known = (state.reign, state.events);
            (state.made, known, state.is_date_open, state.needs_made())
        };
        let head = held.as_ref().map(Held::head);
        let counts = |head: &&Head| {
            !is_date_open && oldest <= head.made && known <= (head.reign, head.events)
        };
        match head.filter(counts) {
            Some(head) => self.fresh.set(head.made, head.until),
            None => self.fresh.clear(needs_made),
        }
        *lock(&self.position) = head.map(Position::of);
        *lock(&self.stepped) = Stepped::default();
        *write(&self.held) = held.map(Arc::new);
    }

    fn lent_of(&self, id: KeyId) -> u64 {
        read(&self.lent).get(&id).copied().unwrap_or(0)
    }
}

impl App {
    /// The site, if this is one.
    pub fn site(&self) -> Option<&Site> {
        self.site.as_ref()
    }

    fn own_site(&self) -> Result<&Site> {
        self.site.as_ref().ok_or(Error::NotFound("path"))
    }
}

/// Refuses to serve a site as a server, and the reverse.
pub fn require_kind(app: &App, as_site: bool) -> Result<()> {
    match &app.site {
        Some(site) if !as_site => {
            let state = site.state();
            Err(Error::Unavailable(refusals::site::serve_as_site(
                state.site,
                state.origin,
            )))
        }
        None if as_site => Err(Error::Unavailable(refusals::site::not_site())),
        _ => Ok(()),
    }
}

/// What a site answers to a request for anything that only its server has. `path` begins below the mount.
pub fn refusal(app: &App, path: &str) -> Error {
    let server = app.site.as_ref().map(Site::server_name).unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next();
    Error::Forbidden(match first.unwrap_or_default() {
        "backups" if path.ends_with("secrets") => refusals::site::key_files(server),
        "backups" => refusals::site::no_backup(server),
        "secrets" => refusals::site::key_files(server),
        "packs" | "sites" => refusals::site::at_server(server),
        "audit-events" | "notices" | "restore" | "usage" => refusals::site::of_server(server),
        _ => refusals::site::change_keys_there(server),
    })
}

/// The folder of packs of a database.
pub fn folder_of(database: &Path) -> PathBuf {
    database.with_file_name(PACKS)
}

/// The state in a database; `None` in that of a server.
///
/// # Errors
/// It was changed, or sealed under another key.
pub fn find_state(read: &Read, sealing: &SealingKeys) -> Result<Option<State>> {
    let Some(sealed) = store::site::find_state(read)? else {
        return Ok(None);
    };
    let bytes = sealing.open_bytes(PURPOSE, &sealed);
    let state = bytes.as_deref().and_then(State::parse);
    let damaged = || Error::Unavailable(refusals::site::state_damaged());
    state.map(Some).ok_or_else(damaged)
}

/// Stores a state.
fn put_state(tx: &Write<'_>, sealing: &SealingKeys, state: &State) -> Result<()> {
    let sealed = sealing.seal_bytes(PURPOSE, &state.to_bytes())?;
    store::site::put_state(tx, &sealed)
}

/// Opens the site of a database, and puts what it has applied into the index. Whether this succeeds is not the condition of
/// the start: without a pack the site runs, refuses every verdict, and takes a newer one.
pub(super) fn open(app: &App, was_older_copy: bool) -> Result<()> {
    let Some(site) = &app.site else {
        return Ok(());
    };
    app.index.set_complete();
    let _turn = lock(&site.turn);
    recover::recover(app, site, was_older_copy)
}

/// A site without anything in memory yet.
pub(super) fn begin(state: State, database: &Path, own: Directory) -> Site {
    Site {
        fresh: Freshness::default(),
        folder: folder_of(database),
        state: Mutex::new(state),
        turn: Mutex::default(),
        held: RwLock::default(),
        position: Mutex::default(),
        stepped: Mutex::default(),
        lent: RwLock::default(),
        taken: lent::Taken::default(),
        ended_starts: Mutex::default(),
        verdicts: uses::Stored::default(),
        unreported: Unreported::default(),
        link: Link::default(),
        own,
        browsers: browsers::Browsers::default(),
    }
}

/// Refuses everybody but the administrator of the machine.
pub fn require_local(caller: &Caller) -> Result<()> {
    match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::site::is_local())),
    }
}

/// The action of a step over the link.
const STEP: &str = "site.step";
/// The action of a list of revocations.
const REVOKE: &str = "site.revoke";

/// What only ends something comes first, and may use the reserved disk space, as at a server.
fn urgency(action: &str) -> Urgency {
    match action {
        DISABLE | REVOKE => Urgency::First,
        _ => Urgency::Usual,
    }
}

/// Runs a change of the site and writes its event. The site is another one only when it is committed.
fn change<T: Send + 'static>(
    app: &App,
    caller: &Caller,
    action: &'static str,
    target: Target,
    work: impl FnOnce(&Write<'_>, &SealingKeys, &mut Changes) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (seal_keys, sealing): (Arc<SealKeys>, Arc<SealingKeys>) =
        (app.seal_keys.clone(), app.sealing.clone());
    let draft = super::draft(caller, action, app.now().wall);
    let value = app
        .store
        .write_in(urgency(action), Durability::Full, move |tx| {
            let mut changes = Changes::default();
            let value = work(tx, &sealing, &mut changes)?;
            let record = Record {
                target,
                workspace: None,
                changes,
            };
            append_all(tx, &seal_keys, &draft, vec![(action, record)])?;
            Ok(value)
        })?;
    if let Some(site) = app.site.as_ref().filter(|_| action != STEP) {
        site.forget_ended_starts();
    }
    // None of these events has a tombstone, and an older copy of the database gives back uses.
    if let Err(err) = app.store.mark_tombstones() {
        log::warn!("site: an older copy of the database may go unnoticed: {err}");
    }
    Ok(value)
}

/// The state of the site. Only for the administrator of the machine.
pub fn show(app: &App, caller: &Caller) -> Result<View> {
    require_local(caller)?;
    view(app)
}

/// The state of the site, for a page that only this machine reads.
pub fn view(app: &App) -> Result<View> {
    let site = app.own_site()?;
    let (state, held, now) = (site.state(), site.held(), app.now().wall);
    let head = held.as_ref().map(|held| held.head());
    let position = site.position();
    Ok(View {
        life: state.life.to_string(),
        may_spend: state.may_spend(),
        needs_made: state.needs_made(),
        site: state.site,
        origin: state.origin,
        server: state.server.to_string(),
        reign: state.reign,
        pack: state.pack,
        base: state.base.map(|base| base.pack),
        is_loaded: held.is_some(),
        made: head.map(|head: &Head| head.made),
        until: head.map(|head: &Head| head.until),
        age_s: site.fresh.pack_age_s(now),
        age: site.fresh.age(now),
        keys: position.map_or(0, |position| position.keys),
        ended: app.read(store::site::list_ended)?,
        fork: state.fork,
        is_date_open: state.is_date_open,
        reports: state.reports,
        link: site.link.view(site, now),
    })
}

/// The public keys whose signatures count here.
pub fn trusted_keys(app: &App, caller: &Caller) -> Result<Vec<String>> {
    require_local(caller)?;
    let state = app.own_site()?.state();
    Ok(state.trusted.iter().map(PublicKey::to_text).collect())
}
