//! Making packs: one pass over all keys serves all sites for which packs are made. A number is recorded before its file gets
//! its name, so no two packs of a site have one number.

use super::given::{Given, is_strong};
use super::identity::{Signer, signer};
use super::{find, lend, record, remove_but, require, require_sound, sites};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::clock::State;
use crate::domain::keys::live::{SharedPart, tail_of};
use crate::domain::keys::{KeyId, NO_METADATA};
use crate::domain::locks::lock;
use crate::domain::packs::body::{Body, sha256};
use crate::domain::packs::builder::Builder;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::keys::{PackedKey, PackedOlder};
use crate::domain::packs::past::Point;
use crate::domain::packs::site::{MadePack, Site, file_name};
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::Binding;
use crate::error::{Error, Result};
use crate::files::{private, read_regular_up_to};
use crate::index::directory::Directory;
use crate::ops::{App, index_updates};
use crate::refusals;
use crate::store::keys::SecretRow;
use crate::store::seals::keys::{KeyWithSeal, each};
use crate::store::sites::LentRow;
use crate::store::{Read, audit, key_versions, packs, sites as rows};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const MAKE: &str = "site.pack";
/// The largest id of a key.
const LAST: KeyId = KeyId(62_u64.pow(10) - 1);
/// A difference that is larger than this part of the whole is made whole.
const PART_OF_WHOLE: usize = 2;

/// For which sites packs are made.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `None` for all.
    pub sites: Option<Vec<String>>,
    /// Whole packs, even where a difference would do.
    pub whole: bool,
}

/// A pack that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub pack: MadePack,
    pub path: PathBuf,
    /// The whole pack that the difference needs, if the site is not known to have it.
    pub base: Option<PathBuf>,
    /// Keys that stay out, because another system has made their secrets.
    pub left_out: u64,
}

/// Makes a pack for each site. Its file lies in the data folder.
///
/// # Errors
/// `Conflict` if there is no site. `Unavailable` if a file cannot be written.
pub fn make(app: &App, caller: &Caller, wanted: Wanted) -> Result<Vec<Made>> {
    app.decided(caller, MAKE, Target::server(), require(app, caller))?;
    // Sites take no pack that was made before the one that they have, so a wrong date would lock them.
    if app.clock.reading().state == State::Ahead {
        return Err(Error::Conflict(refusals::packs::clock_ahead()));
    }
    let _turn = lock(&app.packing.turn);
    let chosen = app.read(|read| match &wanted.sites {
        None => rows::list(read),
        Some(names) => {
            let names: BTreeSet<&String> = names.iter().collect();
            names.into_iter().map(|name| find(read, name)).collect()
        }
    })?;
    if chosen.is_empty() {
        return Err(Error::Conflict(refusals::packs::no_site()));
    }
    let chosen = sound(app, chosen, wanted.sites.is_some())?;
    let given = |site: Site| {
        let given = Given::of(&site, &app.index.directory());
        (site, given)
    };
    let chosen: Vec<(Site, Given)> = chosen.into_iter().map(given).collect();
    lend::lend(app, &chosen)?;
    let now = app.now().wall.whole_second();
    let drawn = app.read(|read| draw(app, read, chosen, wanted.whole))?;
    let events = drawn.events;
    let ready = finish_all(app, drawn, now)?;
    note(app, caller, &ready, events)?;
    ready.into_iter().map(|one| one.publish(app)).collect()
}

/// Those of the sites whose rows are what Latchkey last wrote. The others get nothing, and keep none of the rest waiting, unless they
/// were named.
fn sound(app: &App, chosen: Vec<Site>, are_named: bool) -> Result<Vec<Site>> {
    let mut sound = Vec::new();
    let mut refused = Ok(());
    for site in chosen {
        match app.read(|read| require_sound(app, read, &site)) {
            Ok(()) => sound.push(site),
            Err(err) if are_named => return Err(err),
            Err(err) => {
                log::error!("packs: {err}");
                refused = Err(err);
            }
        }
    }
    if sound.is_empty() {
        refused?;
    }
    Ok(sound)
}

/// Records the packs, each with its event.
fn note(app: &App, caller: &Caller, ready: &[Ready], events: (u64, [u8; 32])) -> Result<()> {
    let packs: Vec<MadePack> = ready.iter().map(|one| one.pack.clone()).collect();
    app.change_all(caller, MAKE, Target::server(), move |tx, _| {
        let mut records = Vec::new();
        for pack in &packs {
            if !packs::insert(tx, pack)? {
                return Err(Error::Conflict(refusals::packs::meanwhile(&pack.site)));
            }
            packs::insert_point(tx, &pack.site, Point::of(events.0, &events.1))?;
            let mut changes = Changes::default();
            changes.note("pack", &0, &pack.number);
            changes.note("base", &0, &pack.base);
            changes.note("keys", &0, &pack.keys);
            records.push((MAKE, record(&pack.site, changes)));
        }
        Ok((records, ()))
    })
}

/// The content of one state of the database.
struct Drawn {
    drafts: Vec<Draft>,
    signer: Signer,
    /// The number and the hash of the newest audit event.
    events: (u64, [u8; 32]),
}

/// A pack that is being built, or the records of a step.
pub(super) struct Draft {
    pub(super) site: Site,
    given: Arc<Given>,
    pub(super) builder: Builder,
    base: Option<Body>,
    pub(super) lent: HashMap<KeyId, LentRow>,
    past: Vec<Point>,
    pub(super) policies: BTreeSet<String>,
    pub(super) catalogs: BTreeSet<String>,
    owners: BTreeSet<Uid>,
    /// The number of those that were put in.
    pub(super) keys: u64,
    left_out: u64,
}

fn draw(app: &App, read: &Read, chosen: Vec<(Site, Given)>, whole: bool) -> Result<Drawn> {
    let directory = index_updates::load_directory_closed(read, &app.seal_keys)?;
    let now = app.now().wall;
    let pepper = usual_pepper(app, read, now)?;
    let mut drafts = Vec::new();
    for (site, _) in chosen {
        let base = if whole {
            None
        } else {
            base_of(app, read, &site)?
        };
        drafts.push(Draft {
            lent: rows::list_lent(read, &app.seal_keys, &site.name)?,
            past: packs::list_points(read, &site.name)?,
            ..Draft::new(Arc::new(Given::of(&site, &directory)), pepper, base, site)
        });
    }
    let mut by_workspace: HashMap<Uid, Vec<usize>> = HashMap::new();
    for (place, draft) in drafts.iter().enumerate() {
        for uid in &draft.given.workspaces {
            by_workspace.entry(*uid).or_default().push(place);
        }
    }
    each(
        read,
        Some(&app.seal_keys),
        (KeyId(0), LAST),
        false,
        |found| {
            let places = by_workspace.get(&found.key.workspace);
            for place in places.into_iter().flatten() {
                drafts[*place].take(&found, &directory, now)?;
            }
            Ok(())
        },
    )?;
    for draft in &mut drafts {
        draft.surround(app, read, &directory)?;
    }
    let head = audit::head(read)?;
    Ok(Drawn {
        drafts,
        signer: signer(read, &app.sealing)?,
        events: head.map_or((0, [0; 32]), |head| (head.seq.unsigned_abs(), head.hash)),
    })
}

/// The version of the pepper that most secrets are under, so that few keys have to name theirs.
fn usual_pepper(app: &App, read: &Read, now: Timestamp) -> Result<u16> {
    let newest = app.peppers.newest();
    let versions = app.peppers.fingerprints();
    let usual = match versions.as_slice() {
        [_] => newest,
        _ => {
            let counts = key_versions::count_secrets(read, now)?;
            let counts = counts.iter().filter(|count| {
                let mut known = versions.iter();
                known.any(|(version, _)| *version == count.version)
            });
            let most = counts.max_by_key(|count| (count.count, count.version));
            most.map_or(newest, |most| most.version)
        }
    };
    Ok(u16::try_from(usual).unwrap_or(u16::MAX))
}

impl Draft {
    fn new(given: Arc<Given>, pepper: u16, base: Option<Body>, site: Site) -> Draft {
        Draft {
            given,
            builder: Builder::new(site.minimal, pepper, base.as_ref()),
            lent: HashMap::new(),
            past: Vec::new(),
            base,
            policies: BTreeSet::new(),
            catalogs: BTreeSet::new(),
            owners: BTreeSet::new(),
            keys: 0,
            left_out: 0,
            site,
        }
    }

    /// The records of a step for a site that is given this.
    pub(super) fn of_step(app: &App, site: Site, given: &Arc<Given>) -> Draft {
        let newest = u16::try_from(app.peppers.newest()).unwrap_or(u16::MAX);
        Draft::new(given.clone(), newest, None, site)
    }

    /// Puts a key in, if the site is given it.
    pub(super) fn take(
        &mut self,
        found: &KeyWithSeal,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<()> {
        let key = &found.key;
        if !self.given.has(key.workspace, key.catalog.as_deref()) {
            return Ok(());
        }
        let Some(newest) = found.secrets.iter().find(|row| row.expires_at.is_none()) else {
            return Ok(());
        };
        if !is_strong(&newest.secret) {
            self.left_out += 1;
            return Ok(());
        }
        let part = SharedPart::of(key);
        let older = found.secrets.iter().find_map(|row| older(row, now));
        let metadata = Some(key.metadata.as_str()).filter(|text| *text != NO_METADATA);
        let lent = self.lent.get(&key.id).map_or(0, |row| row.lent());
        self.policies.insert(key.policy.clone());
        self.catalogs.extend(key.catalog.clone());
        self.owners.extend(key.owner);
        self.keys += 1;
        let shared = self.builder.shared(&part);
        self.builder.key(&PackedKey {
            id: key.id,
            digest: newest.secret.digest.0,
            pepper: newest.secret.pepper,
            shared,
            // A key that is not what this server last wrote opens nothing, nor does one whose policy is not.
            enabled: key.enabled && found.fits() && directory.policy(&key.policy).is_some(),
            expires_at: key.expires_at,
            not_before: key.not_before,
            addresses: key.allowed_ips.clone(),
            rate_limit: key.rate_limit,
            lent: key.uses_left.map(|_| lent),
            older,
            name: &key.name,
            metadata: metadata.unwrap_or_default(),
            tail: tail_of(&part.prefix, key).unwrap_or_default(),
        })
    }

    /// Puts in what verdicts on the keys depend on.
    fn surround(&mut self, app: &App, read: &Read, directory: &Directory) -> Result<()> {
        let key = sites::site_key(app, &self.site)?;
        let server = packs::find_server(read)?;
        let server = server.ok_or_else(|| Error::internal("the server has no identity"))?;
        for (version, pepper) in app.peppers.expose() {
            let version = u16::try_from(version).unwrap_or(u16::MAX);
            let sealed = key.seal_pepper(server.uid, &self.site.name, version, &pepper)?;
            self.builder.pepper(version, sealed);
        }
        let above = self.given.above(directory);
        for (uids, is_given) in [(&self.given.workspaces, true), (&above, false)] {
            for place in uids.iter().filter_map(|uid| directory.place(*uid)) {
                self.builder.workspace(&place.workspace, is_given);
            }
        }
        // The roles of owners bound keys that act for them, and keys with which callers ask a site.
        let mut acts = self.catalogs.iter().any(|name| name == BUILT_IN);
        for name in &self.policies {
            let placeholder = Policy {
                name: name.clone(),
                ..Policy::standard()
            };
            let known = directory.policy(name);
            let policy = known.map_or(&placeholder, |policy| &**policy);
            acts |= policy.acts_for_owner;
            self.builder.policy(policy);
        }
        debug_assert!(directory.policy(STANDARD).is_some() || !self.policies.contains(STANDARD));
        for name in self.catalogs.iter().filter(|name| *name != BUILT_IN) {
            if let Some(catalog) = directory.catalog(name) {
                self.builder.catalog(catalog.definition());
            }
        }
        for owner in self.owners.iter().filter_map(|uid| directory.user(*uid)) {
            let is_there = |binding: &&Binding| {
                let uid = &binding.workspace;
                acts && (self.given.workspaces.contains(uid) || above.contains(uid))
            };
            let roles: Vec<Binding> = owner.roles.iter().filter(is_there).copied().collect();
            self.builder.user(owner, &roles);
        }
        Ok(())
    }
}

/// The secret before the last rotation, while it works.
fn older(row: &SecretRow, now: Timestamp) -> Option<PackedOlder> {
    let expires_at = row.expires_at.filter(|end| now < *end)?;
    is_strong(&row.secret).then_some(PackedOlder {
        digest: row.secret.digest.0,
        pepper: row.secret.pepper,
        expires_at,
        until_first_use: row.until_first_use,
    })
}

/// The body from which a difference can be made; `None` if there is none, or if its file is not what was made.
fn base_of(app: &App, read: &Read, site: &Site) -> Result<Option<Body>> {
    let Some(made) = packs::find(read, &site.name, site.base)? else {
        return Ok(None);
    };
    let path = app.packs_of(&site.name).join(made.file_name());
    let body = read_file(&path).and_then(|bytes| {
        let parts = file::split(&bytes).ok()?;
        let fits = sha256(parts.body) == made.sha256;
        let (_, head) = Head::peek(parts.head).ok()?;
        let body = Body::read(parts.body.to_vec()).ok().filter(|_| fits)?;
        Some((head.reign, body))
    });
    let reign = packs::find_server(read)?.map(|server| server.reign);
    if let Some((made_in, _)) = &body
        && Some(*made_in) != reign
    {
        // This server was restored since: the sites take nothing that follows what it made before.
        return Ok(None);
    }
    let body = body.map(|(_, body)| body);
    if body.is_none() {
        log::warn!(
            "packs: {} cannot be used, so the next pack of {} is whole",
            path.display(),
            site.name
        );
    }
    Ok(body)
}

/// The content of a file; `None` if it cannot be read, or is too large for a pack.
pub(super) fn read_file(path: &Path) -> Option<Vec<u8>> {
    read_regular_up_to(path, file::FILE_BYTES_MAX as u64).ok()
}

/// A pack whose number is not recorded yet. Its file has another name until then.
struct Ready {
    pack: MadePack,
    site: Site,
    left_out: u64,
    temporary: PathBuf,
}

/// Signs the packs and writes them under temporary names, on all processors.
fn finish_all(app: &App, drawn: Drawn, now: Timestamp) -> Result<Vec<Ready>> {
    let Drawn {
        drafts,
        signer,
        events,
    } = drawn;
    let count = drafts.len();
    let waiting = Mutex::new(drafts.into_iter().enumerate());
    let ready = Mutex::new(Vec::with_capacity(count));
    let work = || -> Result<()> {
        loop {
            let next = lock(&waiting).next();
            let Some((place, draft)) = next else {
                return Ok(());
            };
            let one = finished(app, &signer, &events, draft, now)?;
            lock(&ready).push((place, one));
        }
    };
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|other| {
            let died = |_| Err(Error::internal("a thread that writes packs has panicked"));
            other.join().unwrap_or_else(died)
        });
        joined.fold(own, Result::and)
    })?;
    let mut ready = ready.into_inner().unwrap_or_else(PoisonError::into_inner);
    ready.sort_by_key(|(place, _)| *place);
    Ok(ready.into_iter().map(|(_, one)| one).collect())
}

/// Signs a pack and writes it under a temporary name.
fn finished(
    app: &App,
    signer: &Signer,
    events: &(u64, [u8; 32]),
    draft: Draft,
    now: Timestamp,
) -> Result<Ready> {
    let Draft {
        site,
        builder,
        base,
        keys,
        left_out,
        past,
        ..
    } = draft;
    let damaged = |why: refusals::Refusal| Error::internal(why.to_string());
    let body = Body::read(builder.finish()).map_err(damaged)?;
    let delta = base.map(|base| base.difference(&body));
    let delta = delta.filter(|delta| delta.len() < body.bytes().len() / PART_OF_WHOLE);
    let (number, base) = (site.pack + 1, delta.as_ref().map_or(0, |_| site.base));
    let content = delta.as_deref().unwrap_or(body.bytes());
    let head = Head {
        origin: signer.server.name.clone(),
        pack: number,
        base,
        site: site.name.clone(),
        server: signer.server.uid,
        reign: signer.server.reign,
        events: events.0,
        events_hash: events.1,
        made: now,
        until: now.plus_s(site.until_s),
        keys,
        bytes: content.len() as u64,
        sha256: sha256(content),
        lent: Some(match site.lent_life {
            Some(life) => life,
            None => sites::site_key(app, &site)?.enrolment(),
        }),
        past: Some(past),
        signers: signer.introductions.clone(),
    };
    let bytes = file::write(&head.sign(std::slice::from_ref(&signer.key)), content);
    let pack = MadePack {
        site: site.name.clone(),
        number,
        base,
        made_at: now,
        until: head.until,
        events: head.events,
        keys,
        bytes: bytes.len() as u64,
        sha256: head.sha256,
    };
    let folder = app.packs_of(&site.name);
    let temporary = folder.join(format!("{}.new", pack.file_name()));
    let written = private::make_folder(&folder).and_then(|()| private::replace(&temporary, &bytes));
    written.map_err(|err| unwritable(&temporary, &err))?;
    Ok(Ready {
        pack,
        site,
        left_out,
        temporary,
    })
}

fn unwritable(path: &Path, err: &std::io::Error) -> Error {
    Error::Unavailable(refusals::packs::unwritable(path.display(), err))
}

impl Ready {
    /// Gives the file its name, and removes the files that no later pack needs.
    fn publish(self, app: &App) -> Result<Made> {
        let folder = app.packs_of(&self.site.name);
        let path = folder.join(self.pack.file_name());
        private::rename(&self.temporary, &path).map_err(|err| unwritable(&path, &err))?;
        let base = match self.pack.base {
            0 => None,
            number => Some(folder.join(file_name(number, 0))),
        };
        let kept: Vec<&PathBuf> = [Some(&path), base.as_ref()].into_iter().flatten().collect();
        remove_but(&folder, &kept);
        let applied = self
            .site
            .reported
            .as_ref()
            .map_or(0, |reported| reported.applied);
        // A site whose newest applied pack is not older than the whole one has that as its base.
        let lacks = |_: &PathBuf| applied < self.pack.base;
        Ok(Made {
            base: base.filter(lacks),
            path,
            pack: self.pack,
            left_out: self.left_out,
        })
    }
}

/// The file of a pack; only the whole one and the newest one of a site are kept.
pub fn fetch(app: &App, caller: &Caller, site: &str, number: u64) -> Result<Vec<u8>> {
    require(app, caller)?;
    let made = app.read(|read| {
        let site = find(read, site)?;
        match number == site.pack || number == site.base {
            true => packs::find(read, &site.name, number),
            false => Ok(None),
        }
    })?;
    let made = made.ok_or(Error::NotFound("pack"))?;
    let path = app.packs_of(&made.site).join(made.file_name());
    read_file(&path).ok_or_else(|| Error::Unavailable(refusals::packs::unreadable(path.display())))
}
