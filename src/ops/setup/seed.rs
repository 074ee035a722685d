//! What a new store begins with, and stores with many keys for measurements.

use super::{OLD_SAMPLE, OWNER, SAMPLE, SAMPLE_S, SampleKey};
use crate::authz::caller::root;
use crate::domain::audit::{Changes, Event, Kind, Target, named};
use crate::domain::catalogs::{BUILT_IN, Definition};
use crate::domain::keys::Key;
use crate::domain::keys::changes::born;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::secret::{PREFIX_DEFAULT, Secret, generate_id};
use crate::domain::numbers::Series;
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::password::SlowDigest;
use crate::domain::users::permissions::Permissions;
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::domain::workspaces::{ROOT_SLUG, Workspace};
use crate::error::Result;
use crate::ops::App;
use crate::ops::keys::issue;
use crate::store::{
    Durability, Write, audit, catalogs, key_files, numbers, policies, users, workspaces,
};

/// The number of keys that one transaction creates when a store is filled in bulk.
const KEYS_A_BATCH: u64 = 10_000;
/// The size of the page cache meanwhile.
const FILL_CACHE_MIB: u32 = 512;

/// Creates `count` keys without any limits for measurements, and calls `take` with each secret.
pub fn fill(app: &App, count: u64, mut take: impl FnMut(&Secret) -> Result<()>) -> Result<()> {
    let workspace = root(&app.index.directory())?;
    // Random ids touch every page of the tables. Without a large cache, each row would be read from the disk.
    app.store
        .write(Durability::Relaxed, |tx| tx.widen_cache(FILL_CACHE_MIB))?;
    let mut made = 0;
    while made < count {
        let batch = KEYS_A_BATCH.min(count - made);
        let (files, now) = (app.key_files(), app.now().wall);
        let secrets = app.store.write(Durability::Relaxed, move |tx| {
            let number = numbers::next_of_keys(tx)?;
            let one = |offset: u64| {
                let mut key = plain_key(&format!("filled {}", made + offset + 1), workspace, now)?;
                key.number = number + i64::try_from(offset).unwrap_or(0);
                insert(tx, &files, &mut key, now)
            };
            let secrets = (0..batch).map(one).collect::<Result<Vec<Secret>>>()?;
            let last = number + i64::try_from(batch).unwrap_or(0) - 1;
            tx.note_given(Series::Keys, last);
            let mut changes = Changes::default();
            changes.note(
                named::NUMBERS,
                &String::new(),
                &named::numbers_text(number, last),
            );
            let event = Event {
                changes: changes.into_json(),
                ..Event::of_system("server.fill", Target::server(), now)
            };
            audit::append(tx, &files.seal, event)?;
            Ok(secrets)
        })?;
        secrets.iter().try_for_each(&mut take)?;
        made += batch;
    }
    Ok(())
}

/// Writes what every new database begins with: the fingerprints of the key files, a root workspace, the standard policy and the
/// built-in catalog, and an event of this action. Returns the workspace.
pub fn insert_basis(
    tx: &Write<'_>,
    files: &KeyFiles,
    action: &'static str,
    now: Timestamp,
) -> Result<Workspace> {
    let workspace = Workspace {
        uid: Uid::generate()?,
        number: numbers::next_of_workspaces(tx)?,
        slug: ROOT_SLUG.to_owned(),
        name: "Root".to_owned(),
        parent: None,
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    key_files::insert(tx, files, now)?;
    workspaces::insert(tx, &workspace)?;
    policies::insert(tx, &Policy::standard())?;
    catalogs::replace(
        tx,
        &Definition {
            name: BUILT_IN.to_owned(),
            case_sensitive: false,
            ..Definition::default()
        },
    )?;
    let event = Event::of_system(action, Target::server(), now);
    audit::append(tx, &files.seal, event)?;
    for made in [
        Target::new(Kind::Workspace, workspace.uid),
        Target::new(Kind::Policy, STANDARD),
        Target::new(Kind::Catalog, BUILT_IN),
    ] {
        tx.touch(made);
    }
    Ok(workspace)
}

/// Writes what a new store begins with. Returns the secrets of the management key and of the sample key.
pub(super) fn seed(
    tx: &Write<'_>,
    files: &KeyFiles,
    password: Option<SlowDigest>,
    sample: SampleKey,
    now: Timestamp,
) -> Result<(Secret, Option<Secret>)> {
    let workspace = insert_basis(tx, files, "server.init", now)?;
    let owner = User {
        number: numbers::next_of_keys(tx)?,
        uid: Uid::generate()?,
        user_name: OWNER.to_owned(),
        email: None,
        home: workspace.uid,
        enabled: true,
        generation: 0,
        created_at: now,
        deleted_at: None,
        has_second_factor: false,
        roles: vec![Binding {
            workspace: workspace.uid,
            role: Role::Owner,
        }],
    };
    let seal_keys = &files.seal;
    let digest = password.map(|stretched| stretched.bound(owner.uid, seal_keys));
    users::insert(tx, &owner, digest.as_ref())?;
    tx.touch(Target::new(Kind::User, owner.uid));
    let mut management = Key {
        owner: Some(owner.uid),
        catalog: Some(BUILT_IN.to_owned()),
        scopes: Permissions::all().scopes().map(str::to_owned).collect(),
        ..plain_key("management", workspace.uid, now)?
    };
    let mut sample = match sample {
        SampleKey::Endless => Some(plain_key(OLD_SAMPLE, workspace.uid, now)?),
        SampleKey::None => None,
        SampleKey::ForADay => Some(Key {
            expires_at: Some(now.plus_s(SAMPLE_S)),
            ..plain_key(SAMPLE, workspace.uid, now)?
        }),
    };
    let issue = |key: &mut Key| {
        let secret = issue::store(tx, files, &Policy::standard(), key, PREFIX_DEFAULT, now)?;
        audit::append(
            tx,
            seal_keys,
            Event {
                workspace: key.workspace.to_string(),
                changes: born(key).into_json(),
                ..Event::of_system("key.issue", Target::new(Kind::Key, key.id), now)
            },
        )?;
        Ok(secret)
    };
    Ok((
        issue(&mut management)?,
        sample.as_mut().map(issue).transpose()?,
    ))
}

/// A key of the standard policy without any limits.
fn plain_key(name: &str, workspace: Uid, now: Timestamp) -> Result<Key> {
    Ok(Key {
        id: generate_id()?,
        name: name.to_owned(),
        workspace,
        created_by: "system".to_owned(),
        created_at: now,
        ..Key::blank()
    })
}

/// Stores a new key whose number is already set; otherwise the same as [`issue::store`].
fn insert(tx: &Write<'_>, files: &KeyFiles, key: &mut Key, now: Timestamp) -> Result<Secret> {
    let secret = Secret::generate(PREFIX_DEFAULT, key.id)?;
    key.hint = secret.hint();
    issue::insert(tx, files, &Policy::standard(), key, &secret, now)?;
    Ok(secret)
}
