//! What is in a pack becomes what the index has: as a whole, or only what has changed. Steps over a link are in `link/step.rs`.

use super::Site;
use crate::domain::catalogs::{BUILT_IN, Catalog, Definition};
use crate::domain::hex::hex;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, SharedPart, StoredSecret};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::quota::Uses;
use crate::domain::locks::lock;
use crate::domain::packs::Checked;
use crate::domain::packs::body::Body;
use crate::domain::packs::content::Content;
use crate::domain::packs::keys::PackedKey;
use crate::domain::packs::report::OLDER_BYTES;
use crate::domain::packs::revocations::{EndedSecret, START_BYTES, start_of};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::state::State;
use crate::domain::packs::table::Table;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions;
use crate::error::Result;
use crate::index::NewKeys;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals;
use crate::store::{self, Read, Write};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What lies above every pack: what has ended here, and what was spent here.
#[derive(Default)]
pub struct Overlay {
    ended: HashSet<KeyId>,
    digests: HashSet<[u8; 32]>,
    /// Secrets that have ended, by key, with the start of the digest.
    secrets: HashSet<(KeyId, [u8; START_BYTES])>,
    /// All secrets that stay ended, for texts that a pack has under another version of the pepper.
    starts: Arc<Starts>,
    spent: HashMap<KeyId, u64>,
    /// Whether the site may spend the uses that its pack lends.
    may_spend: bool,
}

/// The starts of the digests of secrets that stay ended, by key.
pub type Starts = HashMap<KeyId, Vec<[u8; START_BYTES]>>;

/// Reads the secrets that stay ended.
fn starts(digests: &[([u8; 32], KeyId)], secrets: &[EndedSecret]) -> Starts {
    let mut starts = Starts::new();
    for (digest, key) in digests {
        starts.entry(*key).or_default().push(start_of(digest));
    }
    for secret in secrets {
        starts.entry(secret.key).or_default().push(secret.start);
    }
    starts
}

/// What a pack has changed, for the answer and the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Applied {
    pub pack: u64,
    pub base: u64,
    pub made: Timestamp,
    pub until: Timestamp,
    pub keys: u64,
    pub counts: Counts,
}

/// How many keys a pack has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub added: u64,
    pub changed: u64,
    /// They are gone, or disabled now.
    pub ended: u64,
}

impl Overlay {
    pub fn read(read: &Read, state: &State) -> Result<Overlay> {
        let ended = store::site::list_ended(read)?;
        let digests = store::site::list_ended_digests(read, true)?;
        let secrets = store::site::list_ended_secrets(read)?;
        Ok(Overlay {
            starts: Arc::new(starts(&digests, &secrets)),
            ended: ended.into_iter().map(|ended| ended.key).collect(),
            digests: digests.into_iter().map(|(digest, _)| digest).collect(),
            secrets: secrets
                .into_iter()
                .map(|one| (one.key, one.start))
                .collect(),
            spent: store::site::list_spent(read)?.into_iter().collect(),
            may_spend: state.may_spend(),
        })
    }

    /// Whether a secret has ended here, also if its pack has it.
    fn has_ended(&self, key: KeyId, digest: &[u8; 32]) -> bool {
        self.digests.contains(digest) || self.secrets.contains(&(key, start_of(digest)))
    }

    /// The same of some keys alone.
    pub fn read_of<'k>(
        read: &Read,
        site: &Site,
        state: &State,
        keys: impl Iterator<Item = &'k PackedKey<'k>>,
    ) -> Result<Overlay> {
        let mut overlay = Overlay {
            may_spend: state.may_spend(),
            starts: site.ended_starts(read)?,
            ..Overlay::default()
        };
        let secrets = store::site::list_ended_secrets(read)?;
        overlay.secrets = secrets
            .into_iter()
            .map(|one| (one.key, one.start))
            .collect();
        for key in keys {
            if store::site::find_ended(read, key.id)?.is_some() {
                overlay.ended.insert(key.id);
            }
            for digest in digests_of(key) {
                if store::site::stays_ended(read, &digest)? {
                    overlay.digests.insert(digest);
                }
            }
            if key.lent.is_some() {
                let spent = store::site::find_spent(read, key.id)?;
                overlay.spent.insert(key.id, spent);
            }
        }
        Ok(overlay)
    }
}

impl Site {
    /// The secrets that stay ended here. They are read once, and again after a change.
    fn ended_starts(&self, read: &Read) -> Result<Arc<Starts>> {
        let mut known = lock(&self.ended_starts);
        if let Some(starts) = &*known {
            return Ok(starts.clone());
        }
        let digests = store::site::list_ended_digests(read, true)?;
        let secrets = store::site::list_ended_secrets(read)?;
        let starts = Arc::new(starts(&digests, &secrets));
        *known = Some(starts.clone());
        Ok(starts)
    }

    /// Has the secrets that stay ended read again: some were added or forgotten.
    pub(super) fn forget_ended_starts(&self) {
        *lock(&self.ended_starts) = None;
    }
}

/// The digests of the secrets of a key.
pub fn digests_of(key: &PackedKey<'_>) -> impl Iterator<Item = [u8; 32]> {
    [Some(key.digest), key.older.map(|older| older.digest)]
        .into_iter()
        .flatten()
}

pub type Parts = HashMap<u32, Arc<SharedPart>>;

/// The key as verification needs it. What was counted so far goes on counting.
pub fn live_of(app: &App, key: &PackedKey<'_>, parts: &Parts, overlay: &Overlay) -> Option<Live> {
    let part = parts.get(&key.shared)?.clone();
    let spent = overlay.spent.get(&key.id).copied().unwrap_or(0);
    let lent = key
        .lent
        .map(|lent| if overlay.may_spend { lent } else { 0 });
    let mut live = PackedKey {
        lent,
        ..key.clone()
    }
    .live(part, spent);
    if overlay.ended.contains(&key.id) || overlay.has_ended(key.id, &key.digest) {
        live.enabled = false;
    }
    if let Some(optional) = &mut live.optional
        && let Some(older) = &mut optional.older
        && overlay.has_ended(key.id, &older.secret.digest.0)
    {
        // It stays in the index, so that reports name it until the server has ended it too.
        *older.retired.get_mut() = true;
    }
    let own: Vec<_> = digests_of(key).map(|digest| start_of(&digest)).collect();
    let ended = overlay.starts.get(&key.id).into_iter().flatten();
    for start in ended.filter(|start| !own.contains(start)) {
        live.optional.get_or_insert_default().end(*start);
    }
    if let Some(known) = app.index.counters(key.id) {
        let stored = lent.map(|lent| lent.saturating_sub(spent));
        let mut counters = lock(&known);
        let reserved = counters.uses.map_or(0, |uses| uses.reserved);
        counters.uses = stored.map(|stored| Uses {
            reserved,
            ..Uses::stored(0, stored)
        });
        drop(counters);
        live.optional.get_or_insert_default().counters = Some(known);
    }
    Some(live)
}

/// What keys share. A part that a key of the index has already is the same one.
pub fn parts_of(app: &App, content: &Content) -> Parts {
    let part = |(number, part): (&u32, &SharedPart)| (*number, app.index.shared(part.clone()));
    content.shared.iter().map(part).collect()
}

/// The directory of a pack. Catalogs that have not changed are not compiled again.
fn directory_of(app: &App, site: &Site, content: &Content) -> Directory {
    let mut directory = Directory::default();
    let has_root = content.workspaces.iter().any(|one| one.parent.is_none());
    let mut workspaces = content.workspaces.clone();
    if !has_root {
        workspaces.extend(site.own.places().map(|place| place.workspace.clone()));
    }
    directory.put_workspaces(workspaces);
    directory.put_policies(content.policies.clone());
    for user in &content.users {
        directory.put_user(user.uid, Some(user.clone()));
    }
    let before = app.index.directory();
    for definition in &content.catalogs {
        let known = before.catalog(&definition.name);
        let same = known.filter(|known| known.definition() == definition);
        let catalog = match same {
            Some(same) => Some(same.clone()),
            None => compiled(definition),
        };
        directory.put_catalog(&definition.name, catalog);
    }
    let built_in = Catalog::compile(permissions::built_in_catalog());
    directory.put_catalog(BUILT_IN, built_in.ok().map(Arc::new));
    directory
}

/// The catalog of a definition. Without one, the keys of the catalog open nothing.
pub fn compiled(definition: &Definition) -> Option<Arc<Catalog>> {
    match Catalog::load(definition.clone()) {
        Ok(catalog) => Some(Arc::new(catalog)),
        Err(err) => {
            log::error!("site: catalog {} cannot be used: {err}", definition.name);
            None
        }
    }
}

/// What may have been spent, and what may have ended, since the copy of the database was made that has replaced it.
#[derive(Default)]
pub struct Distrusted {
    /// Keys with all uses that they were lent.
    pub lent: Vec<(KeyId, u64)>,
    /// Older secrets that end with the first use of the newer one.
    pub older: Vec<(KeyId, [u8; 32])>,
}

impl Distrusted {
    /// Of these keys.
    pub fn of<'k>(keys: impl Iterator<Item = PackedKey<'k>>) -> Distrusted {
        let mut found = Distrusted::default();
        for key in keys {
            found.lent.extend(key.lent.map(|lent| (key.id, lent)));
            let older = key.older.filter(|older| older.until_first_use);
            found
                .older
                .extend(older.map(|older| (key.id, older.digest)));
        }
        found
    }

    /// Counts all of it as spent and as ended.
    pub fn store(&self, tx: &Write<'_>) -> Result<()> {
        for (key, lent) in &self.lent {
            let known = store::site::find_spent(tx, *key)?;
            store::site::set_spent(tx, *key, known.max(*lent))?;
        }
        for (key, digest) in &self.older {
            store::site::end_digest(tx, digest, *key, true)?;
        }
        Ok(())
    }
}

/// The uses that the server has lent in all, by key; none if they are lent to a state that the site had before.
pub fn lent(content: &Content, state: &State) -> HashMap<KeyId, u64> {
    let keys = content.counted().filter(|_| state.may_spend());
    keys.filter_map(|key| Some((key.id, key.lent?))).collect()
}

/// A whole content, ready to replace what the index has.
pub struct Whole {
    directory: Directory,
    keys: NewKeys,
}

impl Whole {
    pub fn build(app: &App, site: &Site, content: &Content, overlay: &Overlay) -> Whole {
        let parts = parts_of(app, content);
        let mut keys = NewKeys::with_room(content.key_count());
        for key in content.keys() {
            if let Some(live) = live_of(app, &key, &parts, overlay) {
                keys.insert(live);
            }
        }
        Whole {
            directory: directory_of(app, site, content),
            keys,
        }
    }

    pub fn install(self, app: &App, peppers: Peppers) {
        let replace = || app.peppers.replace(peppers);
        app.index.replace_all(self.directory, self.keys, replace);
    }
}

/// The state without a pack: no key, and the directory of the site itself.
pub fn install_nothing(app: &App, site: &Site) {
    let mut directory = Directory::default();
    let own = site.own.places().map(|place| place.workspace.clone());
    directory.put_workspaces(own.collect());
    app.index.replace_all(directory, NewKeys::default(), || ());
}

/// Puts into the index what differs between two contents of the same base.
pub fn install_some(
    app: &App,
    site: &Site,
    content: &Content,
    touched: &[KeyId],
    overlay: &Overlay,
    peppers: Peppers,
) {
    let parts = parts_of(app, content);
    let found = content.find(touched);
    let changed = touched.iter().zip(found).map(|(id, key)| {
        let live = key.and_then(|key| live_of(app, &key, &parts, overlay));
        (*id, live)
    });
    let changed = changed.collect();
    let directory = directory_of(app, site, content);
    let replace = || app.peppers.replace(peppers);
    app.index.replace_some(directory, changed, replace);
}

/// Ends the older secrets of these keys whose first use was recorded while the keys were being replaced.
pub fn end_older_again(app: &App, ids: &[KeyId]) {
    for id in ids {
        let waiting = |key: &Live| {
            let older = key.optional.as_ref()?.older.as_ref()?;
            older.until_first_use.then_some(older.secret.digest.0)
        };
        let Some(digest) = app.index.with_key(*id, waiting).flatten() else {
            continue;
        };
        match app.read(|read| store::site::stays_ended(read, &digest)) {
            Ok(false) => {}
            // In doubt it has ended.
            Ok(true) | Err(_) => end_older_in_index(app, *id, &digest),
        }
    }
}

/// Ends the older secret of a key in the index, if it is still this one.
pub fn end_older_in_index(app: &App, id: KeyId, digest: &[u8; 32]) {
    app.index.with_key(id, |key| {
        let optional = key.optional.as_ref();
        if let Some(older) = optional.and_then(|optional| optional.older.as_ref())
            && older.secret.digest.0 == *digest
        {
            older.retired.store(true, Ordering::Release);
        }
    });
}

/// The keys that can differ between what is held, a whole pack with or without a delta, and a new delta to it: those that
/// either of the two puts or takes away. `None` if a number of a shared part of the base means something else: then every
/// key can differ.
pub fn touched(base: &Content, before: Option<&Body>, delta: &Body) -> Option<BTreeSet<KeyId>> {
    let mut ids = BTreeSet::new();
    for body in before.into_iter().chain([delta]) {
        // The numbers beyond those of the base belong to keys that are in the delta themselves.
        let parts: Vec<&[u8]> = body.entries(Table::Shared).map(|(id, _)| id).collect();
        let known = base.body().find(Table::Shared, &parts);
        if known.iter().any(Option::is_some) {
            return None;
        }
        for table in [Table::Keys, Table::Extras] {
            let put = body.entries(table).map(|(id, _)| id);
            for id in put.chain(body.gone(table)) {
                ids.insert(KeyId(u64::from_be_bytes(id.try_into().ok()?)));
            }
        }
    }
    Some(ids)
}

/// The versions of the pepper that a content needs. The state remembers them.
pub fn peppers(state: &mut State, content: &Content) -> Checked<Peppers> {
    let key = SiteKey::of(state.key);
    let (mut text, mut all) = (String::new(), Vec::new());
    for (version, sealed) in &content.peppers {
        let opened = key.open_pepper(state.server, &state.site, *version, sealed);
        let pepper = opened.ok_or_else(|| refusals::packs::body("peppers"))?;
        text += &format!("{version} {}\n", hex(&pepper));
        all.push(pepper);
    }
    let peppers = Peppers::parse(&text).ok_or_else(|| refusals::packs::body("peppers"))?;
    state.note_peppers(all.into_iter());
    Ok(peppers.with_former(&state.peppers))
}

/// What a content ends of what the index has: the digests of secrets, with their keys.
pub struct Ended {
    pub digests: Vec<([u8; 32], KeyId)>,
    pub counts: Counts,
}

/// Compares the index with a content; with these keys of it only, if they are named.
pub fn compare(app: &App, content: &Content, touched: Option<&[KeyId]>) -> Ended {
    let mut ended = Ended {
        digests: Vec::new(),
        counts: Counts::default(),
    };
    match touched {
        Some(ids) => return compare_some(app, ids, &content.find(ids)),
        None => {
            let (mut known, mut there) = (0, HashSet::new());
            for new in content.keys() {
                there.insert(new.id);
                let old = app
                    .index
                    .with_key(new.id, |old| ended.note(old, Some(&new)));
                known += u64::from(old.is_some());
            }
            ended.counts.added = content.key_count() as u64 - known;
            app.index.each_key(|_, old| {
                if !there.contains(&old.id) {
                    ended.note(old, None);
                }
            });
        }
    }
    ended
}

/// Compares what the index has of some keys with what they are now.
pub fn compare_some(app: &App, ids: &[KeyId], found: &[Option<PackedKey<'_>>]) -> Ended {
    let mut ended = Ended {
        digests: Vec::new(),
        counts: Counts::default(),
    };
    for (id, new) in ids.iter().zip(found) {
        let known = app.index.with_key(*id, |old| ended.note(old, new.as_ref()));
        ended.counts.added += u64::from(known.is_none() && new.is_some());
    }
    ended
}

impl Ended {
    fn note(&mut self, old: &Live, new: Option<&PackedKey<'_>>) {
        let older = |old: &Live| {
            let older = old.optional.as_ref()?.older.as_ref()?;
            Some(older.secret.digest.0)
        };
        let lives = |digest: &[u8; 32]| {
            new.is_some_and(|new| {
                new.digest == *digest || new.older.is_some_and(|older| older.digest == *digest)
            })
        };
        for digest in [Some(old.secret.digest.0), older(old)]
            .into_iter()
            .flatten()
        {
            if !lives(&digest) {
                self.digests.push((digest, old.id));
            }
        }
        match new {
            None => self.counts.ended += 1,
            Some(new) if old.enabled && !new.enabled => self.counts.ended += 1,
            Some(new) => {
                let end = new.expires_at.unwrap_or(Timestamp(i64::MAX));
                let is_same = old.secret.digest.0 == new.digest
                    && old.enabled == new.enabled
                    && old.expires_at == end
                    && old.name == new.name;
                self.counts.changed += u64::from(!is_same);
            }
        }
    }
}

/// The keys that work no longer according to the pack: they, their workspace or their owner are disabled, or they have ended.
pub fn over(app: &App, now: Timestamp) -> Vec<KeyId> {
    let mut found = Vec::new();
    app.index.each_key(|directory, key| {
        let place = directory.place(key.shared.workspace);
        let owner = key.shared.owner.and_then(|owner| directory.user(owner));
        let works = key.enabled
            && now < key.expires_at
            && place.is_some_and(|place| place.active)
            && (key.shared.owner.is_none() || owner.is_some_and(|owner| owner.is_active()));
        if !works {
            found.push(key.id);
        }
    });
    found
}

/// The older secrets that end with the first use of the newer one, with their keys.
pub fn until_first_use(app: &App) -> Vec<(KeyId, [u8; 32])> {
    let mut found = Vec::new();
    app.index.each_key(|_, key| {
        let optional = key.optional.as_ref();
        if let Some(older) = optional.and_then(|optional| optional.older.as_ref())
            && older.until_first_use
        {
            found.push((key.id, older.secret.digest.0));
        }
    });
    found
}

/// The starts of the digests of older secrets that have ended here with the first use of the newer one: of one key, or of all.
pub fn older_ended(app: &App, of: Option<KeyId>) -> Vec<(KeyId, [u8; OLDER_BYTES])> {
    let look = |key: &Live| {
        let older = key.optional.as_ref()?.older.as_ref()?;
        let has_ended = older.until_first_use && older.retired.load(Ordering::Acquire);
        let start = older.secret.digest.0.first_chunk().copied()?;
        has_ended.then_some((key.id, start))
    };
    let mut found = Vec::new();
    match of {
        Some(id) => found.extend(app.index.with_key(id, look).flatten()),
        None => app.index.each_key(|_, key| found.extend(look(key))),
    }
    found
}

/// Ends keys in the index, after the store has recorded that they have ended here.
pub fn end_in_index(app: &App, ids: &[KeyId]) {
    for id in ids {
        app.index.change_key(*id, |key| key.enabled = false);
    }
}

/// Whether a secret that a list names still works for this key.
pub fn has_live_secret(key: &Live, ended: &EndedSecret) -> bool {
    let is_it = |secret: &StoredSecret| start_of(&secret.digest.0) == ended.start;
    let optional = key.optional.as_ref();
    let older = optional.and_then(|optional| optional.older.as_ref());
    let older = older.filter(|older| !older.retired.load(Ordering::Acquire));
    key.enabled && (is_it(&key.secret) || older.is_some_and(|older| is_it(&older.secret)))
}

/// Ends secrets in the index, after the store has recorded that they have ended here. A key whose newest secret has ended opens
/// nothing until a pack brings another one.
pub fn end_secrets_in_index(app: &App, secrets: &[EndedSecret]) {
    for ended in secrets {
        app.index.change_key(ended.key, |key| {
            let is_it = |secret: &StoredSecret| start_of(&secret.digest.0) == ended.start;
            if is_it(&key.secret) {
                key.enabled = false;
                return;
            }
            let optional = key.optional.as_ref();
            let older = optional.and_then(|optional| optional.older.as_ref());
            if let Some(older) = older.filter(|older| is_it(&older.secret)) {
                older.retired.store(true, Ordering::Release);
            }
            // The pack may have it under another version of the pepper.
            key.optional.get_or_insert_default().end(ended.start);
        });
    }
}
