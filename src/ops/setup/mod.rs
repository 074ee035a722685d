//! The first start, which fills an empty database, and opening an existing one.

pub mod first_run;
#[cfg(test)]
pub mod fixture;
mod seed;

use crate::authz::caller::root;
use crate::domain::clock::first;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::secret::Secret;
use crate::domain::locks::lock;
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::domain::users::password;
use crate::domain::users::password::SlowDigest;
use crate::error::Result;
use crate::index::Index;
use crate::index::directory::Directory;
use crate::ops::applier::Applier;
use crate::ops::attempts;
use crate::ops::audit::denied::Denials;
use crate::ops::changed_outside;
use crate::ops::clock::{Clock, Sources};
#[cfg(feature = "postgres")]
use crate::ops::fence::renewal;
use crate::ops::index_updates;
use crate::ops::moving;
use crate::ops::nodes::{self, OwnNode};
use crate::ops::older_copy::{self, Closer};
use crate::ops::packs::feed::{Feed, ask};
use crate::ops::packs::kept_keys;
use crate::ops::policies::presets::{self, Preset};
use crate::ops::sessions::password_gate::PasswordGate;
use crate::ops::{App, site, verify};
use crate::store::audit::events;
use crate::store::nodes::open_file;
use crate::store::{
    Durability, IndexSteps, Location, Read, Store, Urgency, clock, foreign, key_files,
};
use seed::seed;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

pub use seed::{fill, insert_basis};

/// The user name of the first owner.
pub const OWNER: &str = "owner";
/// The number of threads that read keys at the start.
const LOADERS: usize = 2;

/// How the first owner gets a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OwnerPassword {
    /// It is generated and shown once.
    Generated,
    /// The owner sets it in the console, with a code that the server prints ([`first_run`]).
    SetUp,
}

/// Whether a new store has a key to try a verification with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SampleKey {
    /// One without an end, for tests that move the clock.
    Endless,
    /// One that ends after a day, so that no open key remains after a trial.
    ForADay,
    None,
}

/// The secrets of a new store, which are shown once.
pub struct Seeds {
    /// Absent if the owner sets the password in the console.
    pub password: Option<String>,
    pub management: Secret,
    /// A key to try a verification with, if one was wanted.
    pub sample: Option<Secret>,
    /// When the store was created.
    pub now: Timestamp,
}

/// Creates a new database at `location` with a root workspace, an owner, a management key and, if wanted, a sample key.
pub fn create(
    location: impl Into<Location>,
    files: KeyFiles,
    presets: &'static [Preset],
    owner: OwnerPassword,
    sample: SampleKey,
    sources: Sources,
) -> Result<Seeds> {
    let location = location.into();
    let (wall, uptime) = ((sources.wall)(), (sources.uptime)());
    let recorded = first(wall, Some(uptime));
    let now = wall.max(recorded.mark);
    let password = match owner {
        OwnerPassword::Generated => Some(password::generate()?),
        OwnerPassword::SetUp => None,
    };
    let stretched = password.as_deref().map(SlowDigest::new).transpose()?;
    // Before the database, so that a file that cannot be used leaves nothing behind.
    let node = open_file(&location.path.with_file_name(nodes::FILE))?;
    location.database.create()?;
    let store = Store::open(location, &files, now, Box::new(|_, _| Ok(Box::new(|| {}))))?;
    let (management, sample) = store.write(Durability::Full, move |tx| {
        clock::record(tx, node, &recorded)?;
        let seeds = seed(tx, &files, stretched, sample, now)?;
        presets::install(tx, &files.seal, presets, now)?;
        Ok(seeds)
    })?;
    store.close();
    Ok(Seeds {
        password,
        management,
        sample,
        now,
    })
}

/// Opens the database at `location` for a server. Things that were changed outside Latchkey are closed in the store. Keys
/// are read in the background; until this is complete, a missing key is looked up in the store.
pub fn open(
    location: impl Into<Location>,
    files: KeyFiles,
    presets: &'static [Preset],
    sources: Sources,
) -> Result<Arc<App>> {
    opened(location.into(), files, presets, sources, true)
}

/// Does the same as [`open`] for a single command. Things that were changed outside Latchkey are closed only in
/// memory, so that a command that only reads does not change the database.
pub fn open_for_a_command(
    location: impl Into<Location>,
    files: KeyFiles,
    presets: &'static [Preset],
    sources: Sources,
) -> Result<Arc<App>> {
    let app = opened(location.into(), files, presets, sources, false)?;
    read_keys(&app)?;
    Ok(app)
}

fn opened(
    location: Location,
    files: KeyFiles,
    presets: &'static [Preset],
    sources: Sources,
    closes: bool,
) -> Result<Arc<App>> {
    let index = Arc::new(Index::new(Directory::default(), Vec::new()));
    let feed = Arc::new(Feed::default());
    let applier = Applier::new(index.clone(), files.seal.clone(), feed.clone());
    let (applying, following, knowing) = (applier.clone(), applier.clone(), applier.clone());
    let path = location.path.clone();
    let path = path.as_path();
    let steps = IndexSteps {
        publish: Box::new(move |read, targets| applying.prepare(read, targets)),
        follow: Arc::new(move |read, book, within| following.follow(read, book, within)),
        known: Arc::new(move || knowing.known()),
    };
    let store = Store::open_with(location, &files, (sources.wall)(), steps)?;
    store.read(|read| key_files::check(read, &files))?;
    store.read(moving::refuse_left)?;
    let node = open_file(&path.with_file_name(nodes::FILE))?;
    let begin = |read: &Read| {
        // In a database on a server, another node may have written it, whose clock is wrong.
        let newest = match read.is_shared() {
            true => None,
            false => events::newest(read)?.map(|event| event.at),
        };
        let recorded = clock::find(read, node)?;
        Ok(Clock::new(sources, recorded.as_ref(), newest))
    };
    let mut clock = store.read(begin)?;
    let site = store.read(|read| site::find_state(read, &files.sealing))?;
    if site.is_some() {
        applier.leave_to_packs();
    }
    let was_older_copy = close_older_copy(&store, path, &files, &clock, node)?;
    if was_older_copy {
        clock = store.read(begin)?;
    }
    let clock = Arc::new(clock);
    if closes {
        close_altered(&store, &files, clock.now().wall)?;
    }
    store.read(|read| applier.load(read, closes, clock.now().wall))?;
    index.foreign.set_hmac_keys(files.hmac.clone());
    store.read(|read| {
        let (methods, has_slow) = foreign::list_methods(read)?;
        index.foreign.expect(methods, has_slow);
        Ok(())
    })?;
    root(&index.directory())?;
    store.keep_reserve(&path.with_file_name(RESERVE))?;
    let (known, now, is_server) = (files.clone(), clock.now().wall, site.is_none());
    store.write_in(Urgency::Closing, Durability::Full, move |tx| {
        key_files::insert(tx, &known, now)?;
        match is_server {
            true => presets::install(tx, &known.seal, presets, now),
            false => Ok(()),
        }
    })?;
    let attempts = store.read(attempts::load)?;
    let site = match site {
        None => None,
        Some(state) => {
            let own = store.read(|read| index_updates::load_directory_closed(read, &files.seal))?;
            Some(site::begin(state, path, own))
        }
    };
    let fence = store.is_shared().then(Arc::default);
    let app = App {
        store,
        index,
        peppers: files.peppers.clone(),
        seal_keys: files.seal.clone(),
        sealing: files.sealing.clone(),
        hmac: files.hmac.clone(),
        provided: files.provided.clone(),
        key_files_turn: Default::default(),
        clock,
        node: Arc::new(OwnNode::new(node)),
        usage_batches: Default::default(),
        passwords: PasswordGate::new(attempts, files.clone())?,
        demand: Default::default(),
        reserving: verify::Reserving::default(),
        counting: verify::exact::Counting::default(),
        look_ups: Default::default(),
        denials: Denials::default(),
        first_run: Default::default(),
        audit_minimum: Default::default(),
        importing: Default::default(),
        inspections: Default::default(),
        leak_reports: Default::default(),
        leak_keys: Default::default(),
        writable: Default::default(),
        backups: Default::default(),
        counted_keys: Default::default(),
        pages: Default::default(),
        upgrades: Default::default(),
        presets,
        budgets: Default::default(),
        declared: Default::default(),
        notices: Default::default(),
        site,
        packing: Default::default(),
        applier,
        fence,
        feed,
    };
    #[cfg(feature = "postgres")]
    renewal::begin(&app)?;
    if closes && let Err(err) = app.node() {
        log::warn!("nodes: this start is counted later: {err}");
    }
    if closes && app.site.is_none() {
        kept_keys::settle(&app);
        ask::begin(&app)?;
    }
    site::open(&app, was_older_copy)?;
    let app = Arc::new(app);
    if closes {
        app.store.start_following()?;
        older_copy::begin(&app)?;
    }
    Ok(app)
}

/// The name of the key that `quickstart` makes, to try a verification with.
pub const SAMPLE: &str = "sample, ends tomorrow";
/// The name that such a key had in earlier versions, which made one without an end.
pub const OLD_SAMPLE: &str = "sample";
/// How long it works: one day.
const SAMPLE_S: u64 = 86_400;
/// The name of the tombstone file in the data folder.
pub const TOMBSTONES: &str = "tombstones";
/// The name of the file that reserves disk space for changes on a full disk.
const RESERVE: &str = "reserve";

/// Starts to record tombstones. If an older copy has replaced the database without `latchkey restore`, everything
/// that has ended since is ended again before any request is accepted. Returns whether this was the case.
fn close_older_copy(
    store: &Store,
    path: &Path,
    files: &KeyFiles,
    clock: &Clock,
    node: NodeId,
) -> Result<bool> {
    let Some(tombstones) = store.keep_tombstones(&path.with_file_name(TOMBSTONES))? else {
        return Ok(false);
    };
    let closer = Closer {
        node,
        seal_keys: files.seal.clone(),
        clock: clock.reading(),
        newest: None,
    };
    closer.close(store, tombstones)?;
    Ok(true)
}

/// Closes users, workspaces, policies, catalogs and sessions that were changed outside Latchkey, before any request
/// is accepted. Keys are closed when they are read ([`load_keys`]).
fn close_altered(store: &Store, files: &KeyFiles, now: Timestamp) -> Result<()> {
    let seal_keys = files.seal.clone();
    let closed = store.write(Durability::Full, move |tx| {
        changed_outside::close_altered(tx, &seal_keys, now)
    })?;
    changed_outside::tell(&closed);
    Ok(())
}

/// Loads all keys into the index with several threads, and closes those that were changed outside Latchkey. Returns
/// the first error; until another attempt succeeds, verifications continue to read from the store.
pub fn load_keys(app: &App) -> Result<()> {
    if app.site.is_some() {
        return Ok(());
    }
    let broken = read_keys(app)?;
    changed_outside::close_keys_of(app, &broken);
    Ok(())
}

/// Loads all keys into the index. Returns those that were changed outside Latchkey; the index has them as disabled.
fn read_keys(app: &App) -> Result<Vec<KeyId>> {
    if app.site.is_some() {
        return Ok(Vec::new());
    }
    let failed = OnceLock::new();
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for range in ranges(LOADERS) {
            let (failed, broken) = (&failed, &broken);
            scope.spawn(move || {
                let load =
                    |read: &Read| index_updates::load_keys(&app.index, &app.seal_keys, read, range);
                match app.read(load) {
                    Ok(found) => lock(broken).extend(found),
                    Err(err) => drop(failed.set(err)),
                }
            });
        }
    });
    match failed.into_inner() {
        Some(err) => Err(err),
        None => {
            app.applier.reload_retired(&app.store)?;
            app.index.set_complete();
            app.index.foreign.settle();
            let broken = lock(&broken).clone();
            Ok(broken)
        }
    }
}

/// The ids from `0000000000` to `zzzzzzzzzz`, divided into `parts` ranges, in the order in which the store sorts
/// them.
fn ranges(parts: usize) -> Vec<(KeyId, KeyId)> {
    let last = KeyId::LAST.0;
    let part = last / parts as u64;
    let begin = |n: usize| n as u64 * part + u64::from(n > 0);
    (0..parts)
        .map(|n| {
            (
                KeyId(begin(n)),
                KeyId(if n + 1 == parts {
                    last
                } else {
                    begin(n + 1) - 1
                }),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Uptime;
    use crate::domain::keys::secret::BASE62;
    use crate::error::Error;
    use crate::files::private;
    use fixture::NOW;

    #[test]
    fn the_ranges_cover_every_id_once_in_the_order_of_the_text() {
        let ranges = ranges(3);
        assert_eq!(ranges[0].0.to_string(), "0000000000");
        assert_eq!(ranges[2].1.to_string(), "zzzzzzzzzz");
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].1.0 + 1, pair[1].0.0);
            assert!(pair[0].1.to_string() < pair[1].0.to_string());
        }
        assert!(BASE62.is_sorted());
    }

    /// The next attempt would find the database of the first one, and refuse.
    #[test]
    fn a_node_id_that_cannot_be_used_leaves_no_database_behind() {
        let folder = private::tests::folder("setup-node-id");
        let (path, id) = (folder.join("db"), folder.join(nodes::FILE));
        let create = || {
            let sources = Sources {
                wall: || NOW,
                uptime: || Uptime { boot: None, ms: 0 },
            };
            let owner = OwnerPassword::Generated;
            super::create(
                &path,
                KeyFiles::generate(),
                &[],
                owner,
                SampleKey::None,
                sources,
            )
        };
        std::fs::write(&id, "strange").unwrap();
        assert!(matches!(create(), Err(Error::Unavailable(_))));
        assert!(!path.exists());
        std::fs::remove_file(&id).unwrap();
        create().unwrap();
        let _ = std::fs::remove_dir_all(folder);
    }
}
