//! Updates of the index from the store: at the start, and after each commit for what the commit touched.

use crate::domain::audit::{Kind, Target};
use crate::domain::catalogs::{BUILT_IN, Catalog, Definition};
use crate::domain::keys::live::{Live, OlderSecret, SharedPart, StoredSecret};
use crate::domain::keys::quota::{Counters, Uses};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId};
use crate::domain::locks::lock;
use crate::domain::policies::Policy;
use crate::domain::sessions::Session;
use crate::domain::uid::Uid;
use crate::domain::users::{User, permissions};
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::index::foreign::ForeignSecret;
use crate::index::retired::{RETIRED_MAX, Retired};
use crate::index::{Index, NewKeys};
use crate::store::keys::SecretRow;
use crate::store::retired::RetiredRow;
use crate::store::seals::keys::KeyWithSeal;
use crate::store::seals::{self, ANNOUNCED_MAX, Standing};
use crate::store::{Read, catalogs, policies, retired, sessions, users, workspaces};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// One entry that the index adds, replaces or removes when the transaction is committed.
enum IndexUpdate {
    Catalog(String, Option<Arc<Catalog>>),
    /// With the secrets of the key that have ended, if something about them may have changed.
    Key(KeyId, Option<Box<KeyInForce>>, Vec<Retired>),
    Policies(Vec<Policy>),
    Session(KeyId, Option<Session>),
    User(Uid, Option<User>),
    Workspace(Uid, Option<Workspace>),
}

/// A key as verdicts use it.
struct KeyInForce {
    key: Key,
    secrets: Vec<SecretRow>,
    /// The epoch of its remaining uses.
    epoch: u64,
}

/// Reads the current state of the targets, and returns the step that puts it into the index.
pub fn prepare(
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    read: &Read,
    targets: &[Target],
) -> Result<Box<dyn FnOnce()>> {
    let mut seen = HashSet::new();
    let mut is_first = |target: &&Target| {
        seen.insert(match target.kind {
            Kind::Policy => Target::new(target.kind, ""),
            _ => (*target).clone(),
        })
    };
    let targets: Vec<&Target> = targets.iter().filter(|target| is_first(target)).collect();
    let mut news = Vec::new();
    for some in targets.chunks(ANNOUNCED_MAX) {
        let _announced = seals::keys::announce(read, some.iter().copied())?;
        for target in some {
            news.extend(look(index, read, seal_keys, target)?);
        }
    }
    let index = index.clone();
    Ok(Box::new(move || install_all(&index, news)))
}

/// Puts the updates of one commit into the index. The directory changes under one lock, so that no reader sees half
/// of a commit. It changes before the keys, because verdicts on keys depend on it.
fn install_all(index: &Index, news: Vec<IndexUpdate>) {
    let (in_directory, others): (Vec<IndexUpdate>, Vec<IndexUpdate>) =
        news.into_iter().partition(IndexUpdate::is_in_directory);
    if !in_directory.is_empty() {
        let mut directory = index.directory_mut();
        let mut workspaces = Vec::new();
        for item in in_directory {
            match item {
                IndexUpdate::Catalog(name, catalog) => directory.put_catalog(&name, catalog),
                IndexUpdate::Policies(list) => directory.put_policies(list),
                IndexUpdate::User(uid, user) => directory.put_user(uid, user),
                IndexUpdate::Workspace(uid, workspace) => workspaces.push((uid, workspace)),
                IndexUpdate::Key(..) | IndexUpdate::Session(..) => {}
            }
        }
        directory.put_some_workspaces(workspaces);
    }
    for item in others {
        match item {
            IndexUpdate::Key(id, found, retired) => {
                match found {
                    Some(found) => put_key(index, &found),
                    None => index.remove_key(id),
                }
                index.retired.add(&retired);
            }
            IndexUpdate::Session(id, session) => index.put_session(id, session),
            IndexUpdate::Catalog(..)
            | IndexUpdate::Policies(_)
            | IndexUpdate::User(..)
            | IndexUpdate::Workspace(..) => {}
        }
    }
}

impl IndexUpdate {
    fn is_in_directory(&self) -> bool {
        !matches!(self, IndexUpdate::Key(..) | IndexUpdate::Session(..))
    }
}

fn look(
    index: &Index,
    read: &Read,
    seal_keys: &SealKeys,
    target: &Target,
) -> Result<Option<IndexUpdate>> {
    let no_such = || {
        Error::internal(format!(
            "an audit event names the {} {:?}",
            target.kind.as_str(),
            target.id
        ))
    };
    Ok(Some(match target.kind {
        Kind::Catalog if target.id == BUILT_IN => {
            IndexUpdate::Catalog(target.id.clone(), built_in()?)
        }
        Kind::Catalog => {
            IndexUpdate::Catalog(target.id.clone(), catalog(read, seal_keys, &target.id)?)
        }
        Kind::Key => {
            let id = KeyId::parse(&target.id).ok_or_else(no_such)?;
            let found = live_key(read, seal_keys, id)?;
            let retired = match changes_ended(index, id, found.as_ref()) {
                true => retired_of(retired::list_of(read, id)?),
                false => Vec::new(),
            };
            IndexUpdate::Key(id, found.map(Box::new), retired)
        }
        Kind::Policy => IndexUpdate::Policies(policies_in_force(read, seal_keys)?),
        Kind::Server | Kind::Site => return Ok(None),
        Kind::Session => {
            let id = KeyId::parse(&target.id).ok_or_else(no_such)?;
            IndexUpdate::Session(id, sessions::find(read, seal_keys, id)?)
        }
        Kind::User => {
            let uid = Uid::parse(&target.id).ok_or_else(no_such)?;
            IndexUpdate::User(uid, user(read, seal_keys, uid)?)
        }
        Kind::Workspace => {
            let uid = Uid::parse(&target.id).ok_or_else(no_such)?;
            IndexUpdate::Workspace(uid, workspace(read, seal_keys, uid)?)
        }
    }))
}

/// Whether a change may have ended a secret of a key, or have changed what is known about those that had ended, as a
/// rotation and enabling do; or the index does not know all secrets yet.
fn changes_ended(index: &Index, id: KeyId, found: Option<&KeyInForce>) -> bool {
    let secrets = found.map_or(&[][..], |found| &found.secrets);
    let is_enabled = found.is_some_and(|found| found.key.enabled);
    let lives = |secret: &StoredSecret| secrets.iter().any(|row| row.secret == *secret);
    let is_newest = |secret: &StoredSecret| {
        let mut newest = secrets.iter().filter(|row| row.expires_at.is_none());
        newest.any(|row| row.secret == *secret)
    };
    let known = index.with_key(id, |key| {
        let older = key
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref());
        is_newest(&key.secret)
            && older.is_none_or(|older| lives(&older.secret))
            && (key.enabled || !is_enabled)
    });
    match known {
        Some(same) => !same,
        None => !index.is_complete(),
    }
}

/// The secrets that have ended, as many as there is room for.
pub fn list_retired(read: &Read) -> Result<Vec<Retired>> {
    retired::list(read, RETIRED_MAX).map(retired_of)
}

fn retired_of(rows: Vec<RetiredRow>) -> Vec<Retired> {
    let rows = rows.into_iter().map(|row| Retired {
        key: row.key,
        digest: row.digest,
        pepper: row.pepper,
        after_use: row.after_use,
    });
    rows.collect()
}

/// A key with its secrets; `None` if it is deleted.
fn live_key(read: &Read, seal_keys: &SealKeys, id: KeyId) -> Result<Option<KeyInForce>> {
    let found = seals::keys::find(read, seal_keys, id)?.map(in_force);
    Ok(found.filter(|found| found.key.deleted_at.is_none()))
}

/// A key as verdicts use it: if it is not what Latchkey last wrote, it is disabled, regardless of its row.
fn in_force(found: KeyWithSeal) -> KeyInForce {
    let KeyWithSeal {
        mut key,
        secrets,
        sealer,
        epoch,
    } = found;
    key.enabled &= sealer.is_some();
    KeyInForce {
        key,
        secrets,
        epoch,
    }
}

/// A user as decisions use it: if it is not what Latchkey last wrote, it is disabled, regardless of its row.
pub fn user(read: &Read, seal_keys: &SealKeys, uid: Uid) -> Result<Option<User>> {
    let Some(mut user) = users::find(read, uid)? else {
        return Ok(None);
    };
    user.enabled &= seals::is_sound_user(read, seal_keys, uid)?;
    Ok(Some(user))
}

/// A workspace as decisions use it, with the same rule as [`user`].
pub fn workspace(read: &Read, seal_keys: &SealKeys, uid: Uid) -> Result<Option<Workspace>> {
    let Some(mut found) = workspaces::find(read, uid)? else {
        return Ok(None);
    };
    let target = Target::new(Kind::Workspace, uid);
    found.enabled &= seals::look(read, seal_keys, &target)? == Standing::Sound;
    Ok(Some(found))
}

/// The policies that are what Latchkey last wrote. A key with any other policy opens nothing.
pub fn policies_in_force(read: &Read, seal_keys: &SealKeys) -> Result<Vec<Policy>> {
    let mut sound = Vec::new();
    for policy in policies::list(read)? {
        let target = Target::new(Kind::Policy, &policy.name);
        if seals::look(read, seal_keys, &target)? == Standing::Sound {
            sound.push(policy);
        }
    }
    Ok(sound)
}

/// The stored catalog. If it is not what Latchkey last wrote, it has neither scopes nor operations.
pub fn catalog(read: &Read, seal_keys: &SealKeys, name: &str) -> Result<Option<Arc<Catalog>>> {
    let target = Target::new(Kind::Catalog, name);
    let sound = seals::look(read, seal_keys, &target)? == Standing::Sound;
    let definition = catalogs::find(read, name)?.map(|definition| match sound {
        true => definition,
        false => Definition {
            name: definition.name,
            ..Definition::default()
        },
    });
    definition
        .map(|definition| Catalog::load(definition).map(Arc::new))
        .transpose()
}

/// A catalog as a transaction has written it, before it is sealed.
pub fn catalog_within(read: &Read, name: &str) -> Result<Option<Arc<Catalog>>> {
    catalogs::find(read, name)?
        .map(|definition| Catalog::load(definition).map(Arc::new))
        .transpose()
}

/// Replaces a key in the index and keeps its counters.
fn put_key(index: &Index, found: &KeyInForce) {
    let counters = index.counters(found.key.id);
    match live(index, found, counters) {
        Some(live) => index.put_key(live, foreign(&found.secrets)),
        None => index.remove_key(found.key.id),
    }
}

/// Those secrets of a key that other systems made.
fn foreign(secrets: &[SecretRow]) -> Vec<ForeignSecret> {
    let foreign = secrets.iter().filter(|row| row.secret.is_foreign);
    foreign
        .map(|row| ForeignSecret {
            secret: row.secret,
            given: row.given.clone(),
        })
        .collect()
}

/// All keys of the database, to replace all keys of the index.
pub struct AllKeys {
    pub keys: NewKeys,
    /// Those of their secrets that other systems made.
    pub foreign: Vec<(KeyId, Vec<ForeignSecret>)>,
}

/// Reads all keys, with the counters that the index has.
pub fn load_all_keys(index: &Index, seal_keys: &SealKeys, read: &Read) -> Result<AllKeys> {
    let mut loaded = AllKeys {
        keys: NewKeys::default(),
        foreign: Vec::new(),
    };
    let all = (KeyId(0), KeyId::LAST);
    seals::keys::each(read, Some(seal_keys), all, false, |found| {
        let found = in_force(found);
        let id = found.key.id;
        if let Some(live) = live(index, &found, index.counters(id)) {
            let foreign = foreign(&found.secrets);
            if !foreign.is_empty() {
                loaded.foreign.push((id, foreign));
            }
            loaded.keys.insert(live);
        }
        Ok(())
    })?;
    Ok(loaded)
}

/// Adds a key that was read while the index is being filled.
fn add_key(index: &Index, found: &KeyInForce) {
    if let Some(live) = live(index, found, None) {
        index.add_key(live, foreign(&found.secrets));
    }
}

/// Reads one key from the store and adds it, for a verification that comes before the index is complete.
pub fn fault_in(index: &Index, seal_keys: &SealKeys, read: &Read, id: KeyId) -> Result<()> {
    if let Some(found) = live_key(read, seal_keys, id)? {
        add_key(index, &found);
    }
    Ok(())
}

/// Whether this older secret has already been ended in memory. A new state of the key must not make it valid again.
fn was_retired(index: &Index, id: KeyId, secret: &StoredSecret) -> bool {
    let retired = |key: &Live| {
        let older = key
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref());
        older.is_some_and(|older| older.secret == *secret && older.retired.load(Ordering::Acquire))
    };
    index.with_key(id, retired).unwrap_or(false)
}

/// The index entry of a key; `None` for a key without a secret, which opens nothing.
fn live(index: &Index, found: &KeyInForce, counters: Option<Arc<Mutex<Counters>>>) -> Option<Live> {
    let KeyInForce {
        key,
        secrets,
        epoch,
    } = found;
    let newest = secrets.iter().find(|row| row.expires_at.is_none())?;
    let older = secrets.iter().find_map(|row| {
        Some(OlderSecret {
            secret: row.secret,
            expires_at: row.expires_at?,
            until_first_use: row.until_first_use,
            retired: AtomicBool::new(was_retired(index, key.id, &row.secret)),
        })
    });
    let limited = key.rate_limit.is_some() || key.uses_left.is_some();
    // A key without a limit of its own has counters if its policy bounds requests, and an edit gives no quota back.
    let counters = counters.or_else(|| limited.then(Arc::default));
    if let Some(counters) = &counters {
        settle_uses(counters, key.uses_left, *epoch);
    }
    Some(Live::new(
        key,
        index.shared(SharedPart::of(key)),
        newest.secret,
        older,
        counters,
    ))
}

/// Updates the uses in memory from the store. What is reserved of the number is kept, unless the limit was removed or the
/// number was set, which the later epoch shows.
fn settle_uses(counters: &Mutex<Counters>, stored: Option<u64>, epoch: u64) {
    let mut counters = lock(counters);
    let known = counters.uses;
    counters.uses = stored.map(|stored| {
        let mut uses = known.unwrap_or(Uses::stored(epoch, stored));
        uses.follow(epoch, stored, 0);
        uses
    });
}

/// Loads everything except the keys, for the start. Users and workspaces that are not what Latchkey last wrote have
/// been closed in the store before.
pub fn load_directory(read: &Read, seal_keys: &SealKeys) -> Result<Directory> {
    let mut directory = Directory::default();
    directory.put_workspaces(workspaces::list(read)?);
    directory.put_policies(policies_in_force(read, seal_keys)?);
    for user in users::list(read)? {
        directory.put_user(user.uid, Some(user));
    }
    for name in catalogs::names(read)? {
        let catalog = if name == BUILT_IN {
            built_in()?
        } else {
            catalog(read, seal_keys, &name)?
        };
        directory.put_catalog(&name, catalog);
    }
    Ok(directory)
}

/// Does the same as [`load_directory`], and disables users and workspaces that are not what Latchkey last wrote.
pub fn load_directory_closed(read: &Read, seal_keys: &SealKeys) -> Result<Directory> {
    let mut directory = load_directory(read, seal_keys)?;
    let mut all = workspaces::list(read)?;
    for workspace in &mut all {
        let target = Target::new(Kind::Workspace, workspace.uid);
        workspace.enabled &= seals::look(read, seal_keys, &target)? == Standing::Sound;
    }
    directory.put_workspaces(all);
    for user in users::list(read)? {
        directory.put_user(
            user.uid,
            crate::ops::index_updates::user(read, seal_keys, user.uid)?,
        );
    }
    Ok(directory)
}

/// The built-in catalog comes from the program, so that the permissions of a new version are available at once.
fn built_in() -> Result<Option<Arc<Catalog>>> {
    Catalog::compile(permissions::built_in_catalog()).map(|catalog| Some(Arc::new(catalog)))
}

/// Loads all keys of a range of ids into the index. Returns those that are not what Latchkey last wrote; the index
/// has them as disabled.
pub fn load_keys(
    index: &Index,
    seal_keys: &SealKeys,
    read: &Read,
    range: (KeyId, KeyId),
) -> Result<Vec<KeyId>> {
    let mut broken = Vec::new();
    seals::keys::each(read, Some(seal_keys), range, false, |found| {
        if !found.fits() {
            broken.push(found.key.id);
        }
        add_key(index, &in_force(found));
        Ok(())
    })?;
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn user(uid: u128, generation: i64) -> IndexUpdate {
        let user = User {
            uid: Uid(uid),
            number: 1,
            user_name: format!("u{uid}"),
            email: None,
            home: Uid(1),
            enabled: true,
            generation,
            created_at: Timestamp(0),
            deleted_at: None,
            has_second_factor: false,
            roles: Vec::new(),
        };
        IndexUpdate::User(Uid(uid), Some(user))
    }

    #[test]
    fn a_reader_sees_all_of_a_commit_or_nothing() {
        let index = Index::new(Directory::default(), Vec::new());
        let commit = |number| install_all(&index, vec![user(1, number), user(2, number)]);
        commit(0);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let directory = index.directory();
                    let generation = |uid| directory.user(Uid(uid)).unwrap().generation;
                    assert_eq!(generation(1), generation(2));
                }
            });
            for number in 1..20_000 {
                commit(number);
            }
            ended.store(true, Ordering::Relaxed);
        });
    }
}
