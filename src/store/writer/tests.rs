//! Tests of the writer with real files: group commit, failing changes, failing commits.

use super::super::{Durability, Publish, Store, Write};
use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
#[cfg(feature = "postgres")]
use crate::store::Location;
#[cfg(feature = "postgres")]
use crate::store::Read;
#[cfg(feature = "postgres")]
use crate::store::postgres::{Address, Postgres, server};
use crate::store::{audit, idempotency};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
#[cfg(feature = "postgres")]
use std::time::Duration;

/// A store in a folder of its own, with a record of the updates of the index.
struct Fixture {
    store: Arc<Store>,
    commits: Arc<AtomicUsize>,
    published: Arc<Mutex<Vec<Target>>>,
    /// The number of following index updates that panic.
    panics: Arc<AtomicUsize>,
    folder: PathBuf,
    #[cfg(feature = "postgres")]
    _database: Option<server::Database>,
}

/// Opens the store of a fixture whose files are in the folder of this path.
type Open<'a> = &'a dyn Fn(&Path, Publish) -> Store;

/// Opens a store on PostgreSQL whose files are in the folder of this path.
#[cfg(feature = "postgres")]
fn open_at(address: &Address, path: &Path, publish: Publish) -> Store {
    let location = Location::on_a_server(path, address.clone());
    Store::open(location, &KeyFiles::generate(), Timestamp(1), publish).unwrap()
}

impl Fixture {
    /// A fixture on SQLite.
    fn new() -> Fixture {
        Fixture::with(&|path, publish| {
            Store::create(path).unwrap();
            Store::open(path, &KeyFiles::generate(), Timestamp(1), publish).unwrap()
        })
    }

    /// A fixture on each engine that there is here.
    fn each() -> Vec<Fixture> {
        #[cfg(feature = "postgres")]
        let more = Fixture::on_server().map(|(fixture, _)| fixture);
        #[cfg(not(feature = "postgres"))]
        let more = None;
        [Fixture::new()].into_iter().chain(more).collect()
    }

    /// A fixture on PostgreSQL, if there is one here, and the address of its database.
    #[cfg(feature = "postgres")]
    fn on_server() -> Option<(Fixture, Address)> {
        let (database, address) = server::new_database()?;
        let mut fixture = Fixture::with(&|path, publish| open_at(&address, path, publish));
        fixture._database = Some(database);
        Some((fixture, address))
    }

    fn with(open: Open<'_>) -> Fixture {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "latchkey-writer-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, SeqCst)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("test.db");
        let (commits, panics) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let published = Arc::<Mutex<Vec<Target>>>::default();
        let (counting, panicking, noting) = (commits.clone(), panics.clone(), published.clone());
        let publish: Publish = Box::new(move |_, targets| {
            counting.fetch_add(1, SeqCst);
            let (panicking, noting, targets) =
                (panicking.clone(), noting.clone(), targets.to_vec());
            Ok(Box::new(move || {
                let left = panicking.load(SeqCst);
                panicking.store(left.saturating_sub(1), SeqCst);
                assert!(left == 0, "on purpose");
                noting.lock().unwrap().extend(targets);
            }))
        });
        Fixture {
            store: Arc::new(open(&path, publish)),
            commits,
            published,
            panics,
            folder,
            #[cfg(feature = "postgres")]
            _database: None,
        }
    }

    fn write(&self, number: usize) -> Result<()> {
        self.write_with(move |tx| row(tx, number))
    }

    fn write_with(
        &self,
        work: impl FnOnce(&Write<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.store.write(Durability::Full, work)
    }

    fn has(&self, number: usize) -> bool {
        let found = self
            .store
            .read(|read| idempotency::find(read, "test", &number.to_string(), Timestamp(0)));
        found.unwrap().is_some()
    }

    /// Holds the writer up until the sender is dropped, so that the changes that arrive meanwhile are committed
    /// together.
    fn hold_up(&self) -> (Sender<()>, JoinHandle<Result<()>>) {
        let (release, wait): (Sender<()>, Receiver<()>) = channel();
        let (running, started) = channel();
        let store = self.store.clone();
        let held = thread::spawn(move || {
            store.write(Durability::Full, move |_| {
                running.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            })
        });
        started.recv().unwrap();
        (release, held)
    }

    /// Runs changes that reach the writer while it is held up, and returns the answers to their callers.
    fn together(&self, changes: Vec<fn(&Write<'_>, usize) -> Result<()>>) -> Vec<Result<()>> {
        let (release, held) = self.hold_up();
        let coming = Arc::new(AtomicUsize::new(0));
        let count = changes.len();
        let callers: Vec<_> = changes
            .into_iter()
            .enumerate()
            .map(|(number, change)| {
                let (store, coming) = (self.store.clone(), coming.clone());
                thread::spawn(move || {
                    coming.fetch_add(1, SeqCst);
                    store.write(Durability::Full, move |tx| change(tx, number))
                })
            })
            .collect();
        while coming.load(SeqCst) < count {
            thread::yield_now();
        }
        drop(release);
        held.join().unwrap().unwrap();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.store.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn row(tx: &Write<'_>, number: usize) -> Result<()> {
    let (seal_keys, _) = SealKeys::generate()?;
    let key = Target::new(Kind::Key, number);
    audit::append(
        tx,
        &seal_keys,
        Event::of_system("key.edit", key, Timestamp(1)),
    )?;
    idempotency::insert(tx, "test", &number.to_string(), &[0; 32], "", Timestamp(1))
}

fn row_then_error(tx: &Write<'_>, number: usize) -> Result<()> {
    row(tx, number)?;
    Err(Error::NotFound("key"))
}

fn row_then_panic(tx: &Write<'_>, number: usize) -> Result<()> {
    row(tx, number)?;
    panic!("on purpose");
}

/// A broken reference that only the COMMIT detects.
fn row_then_failed_commit(tx: &Write<'_>, number: usize) -> Result<()> {
    row(tx, number)?;
    tx.execute("PRAGMA defer_foreign_keys = ON", &[])?;
    tx.execute(
        "INSERT INTO key_usage (key_id, use_count) VALUES ('nobody', 1)",
        &[],
    )?;
    Ok(())
}

#[test]
fn changes_that_wait_together_are_committed_together() {
    for fixture in Fixture::each() {
        let told = fixture.together(vec![row; 200]);
        assert!(told.iter().all(Result::is_ok), "{told:?}");
        assert!((0..200).all(|number| fixture.has(number)));
        let commits = fixture.commits.load(SeqCst);
        assert!(commits < 50, "201 changes took {commits} commits");
        assert_eq!(fixture.published.lock().unwrap().len(), 200);
    }
}

#[test]
fn a_change_that_fails_undoes_only_itself() {
    for fixture in Fixture::each() {
        let told = fixture.together(vec![row, row_then_error, row]);
        assert!(told[0].is_ok() && told[2].is_ok(), "{told:?}");
        assert!(matches!(told[1], Err(Error::NotFound("key"))), "{told:?}");
        assert_eq!(
            [0, 1, 2].map(|number| fixture.has(number)),
            [true, false, true]
        );
        // The index does not receive the failed change.
        let published = fixture.published.lock().unwrap();
        assert!(
            !published.contains(&Target::new(Kind::Key, 1)),
            "{published:?}"
        );
    }
}

#[test]
fn a_panic_in_a_change_undoes_only_that_change_and_the_writer_lives() {
    for fixture in Fixture::each() {
        let told = fixture.together(vec![row, row_then_panic, row]);
        assert!(told[0].is_ok() && told[2].is_ok(), "{told:?}");
        assert!(matches!(told[1], Err(Error::Internal(_))), "{told:?}");
        assert_eq!(
            [0, 1, 2].map(|number| fixture.has(number)),
            [true, false, true]
        );
        fixture.write(3).unwrap();
    }
}

/// Another index, which follows the log alone, would not learn of such a change. Debug builds find it.
#[test]
#[cfg(debug_assertions)]
fn a_change_that_touches_more_than_its_events_name_is_undone() {
    let fixture = Fixture::new();
    let other = |number: usize| Target::new(Kind::Key, number + 1);
    let told = fixture.write_with(move |tx| {
        row(tx, 1)?;
        tx.touch(other(1));
        Ok(())
    });
    assert!(matches!(told, Err(Error::Internal(_))), "{told:?}");
    assert!(!fixture.has(1));
    let told = fixture.write_with(move |tx| {
        row(tx, 1)?;
        tx.touch_lightly(other(1));
        row(tx, 2)
    });
    assert!(told.is_ok() && fixture.has(1) && fixture.has(2), "{told:?}");
    let published = fixture.published.lock().unwrap().clone();
    assert_eq!(
        published,
        [1, 2, 2].map(|number| Target::new(Kind::Key, number))
    );
}

#[test]
fn a_failed_commit_is_told_to_every_caller_and_saves_nothing() {
    let fixture = Fixture::new();
    let (release, held) = fixture.hold_up();
    let store = fixture.store.clone();
    let failing = thread::spawn(move || {
        store.write(Durability::Full, |tx| {
            row(tx, 1)?;
            row_then_failed_commit(tx, 2)
        })
    });
    drop(release);
    assert!(held.join().unwrap().is_ok());
    assert!(matches!(failing.join().unwrap(), Err(Error::Internal(_))));
    assert!(!fixture.has(1) && !fixture.has(2));
    assert!(fixture.published.lock().unwrap().is_empty());
    fixture.write(3).unwrap();
    assert!(fixture.has(3));
}

#[test]
fn a_whole_batch_shares_the_fate_of_its_commit() {
    let fixture = Fixture::new();
    let told = fixture.together(vec![row, row_then_failed_commit, row]);
    for (number, told) in told.iter().enumerate() {
        assert_eq!(
            told.is_ok(),
            fixture.has(number),
            "change {number}: {told:?}"
        );
    }
    assert!(told[1].is_err());
}

/// The change is on the disk, but the index was not updated. The index must be updated before the next change,
/// regardless of the answer that the caller got. On a server, the caller waits until it is.
#[test]
fn the_index_follows_the_file_after_a_commit_of_unknown_outcome() {
    for fixture in Fixture::each() {
        // The step after the commit, and the step after the database was opened again.
        fixture.panics.store(2, SeqCst);
        let told = fixture.write(1);
        assert!(fixture.has(1));
        let published = || fixture.published.lock().unwrap().clone();
        let key = |number: usize| Target::new(Kind::Key, number);
        match fixture.store.database.is_shared() {
            true => {
                assert!(told.is_ok(), "{told:?}");
                assert_eq!(published(), [key(1)]);
            }
            false => {
                assert!(matches!(told, Err(Error::Internal(_))), "{told:?}");
                assert!(published().is_empty());
            }
        }
        fixture.write(2).unwrap();
        assert_eq!(published(), [key(1), key(2)]);
    }
}

/// As when the server is started again, or another one takes its place.
#[cfg(feature = "postgres")]
#[test]
fn a_server_that_ends_idle_connections_costs_no_change() {
    let Some((fixture, address)) = Fixture::on_server() else {
        return;
    };
    fixture.write(1).unwrap();
    assert!(fixture.has(1));
    let other = Postgres::open(&address).unwrap();
    let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    other.batch(end).unwrap();
    assert!(fixture.has(1));
    fixture.write(2).unwrap();
    assert!(fixture.has(2));
    assert_eq!(
        *fixture.published.lock().unwrap(),
        [1, 2].map(|number| Target::new(Kind::Key, number))
    );
}

/// The connection that reads the earlier state of rows is open only from the first change that needs it.
#[cfg(feature = "postgres")]
#[test]
fn a_lost_connection_to_the_earlier_state_costs_one_change() {
    let Some((fixture, address)) = Fixture::on_server() else {
        return;
    };
    let other = Read::from(Postgres::open(&address).unwrap());
    let open = || -> Vec<i64> {
        let sql = "SELECT CAST(pid AS BIGINT) AS pid FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        other.query(sql, &[], |row| row.get("pid")).unwrap()
    };
    // A user is compared with its earlier state even if it does not exist.
    let write = |number: usize| {
        fixture.store.write(Durability::Full, move |tx| {
            row(tx, number)?;
            let nobody = "00000000-0000-0000-0000-000000000000";
            tx.touch_lightly(Target::new(Kind::User, nobody));
            Ok(())
        })
    };
    let earlier = open();
    write(1).unwrap();
    let new: Vec<i64> = open()
        .into_iter()
        .filter(|pid| !earlier.contains(pid))
        .collect();
    assert_eq!(new.len(), 1, "{new:?}");
    let end = format!("SELECT pg_terminate_backend({}, 60000)", new[0]);
    other.batch(&end).unwrap();
    let refused = write(2);
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    write(3).unwrap();
    assert_eq!([2, 3].map(|number| fixture.has(number)), [false, true]);
}

/// A commit without an answer in time still waits for a standby, and no one sees its rows. They appear later: until then
/// the index must not be loaded, or it would never have them.
#[cfg(feature = "postgres")]
#[test]
fn the_index_is_loaded_only_when_an_earlier_commit_has_ended() {
    let Some(server) = server::Server::start() else {
        return;
    };
    let mut address = server.address(server::TEMPLATE);
    let admin = Read::from(Postgres::open(&address).unwrap());
    address.commit_max = Duration::from_millis(300);
    let fixture = Fixture::with(&|path, publish| open_at(&address, path, publish));
    let standbys = |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        admin.batch(&set).unwrap();
        admin.batch("SELECT pg_reload_conf()").unwrap();
    };
    let count = |sql: &'static str| {
        let found = admin.query_one(sql, &[], |row| row.get::<i64>("number"));
        found.unwrap().unwrap()
    };
    let wait_until = |otherwise: &str, sql: &'static str| {
        server::wait_for(otherwise, || (count(sql) == 1).then_some(()));
    };
    let waits = "SELECT count(*) AS number FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'";
    let written = |number| {
        let store = fixture.store.clone();
        thread::spawn(move || store.write(Durability::Full, move |tx| row(tx, number)))
    };
    fixture.write(1).unwrap();
    standbys("nobody");
    wait_until(
        "the setting is not in force",
        "SELECT count(*) AS number FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = 'nobody'",
    );

    let unknown = written(2);
    wait_until("the writer does not wait for the lost commit", waits);
    assert_eq!(fixture.published.lock().unwrap().len(), 1);
    // A fault while it waits: it waits again, over another connection.
    admin
        .batch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'",
        )
        .unwrap();
    let next = written(3);
    wait_until("the writer does not wait again", waits);
    assert_eq!(fixture.published.lock().unwrap().len(), 1);
    assert!(!fixture.has(2) && !unknown.is_finished() && !next.is_finished());
    // Releases the commit, as a standby that is there again does.
    standbys("");
    unknown.join().unwrap().unwrap();
    next.join().unwrap().unwrap();
    assert!(fixture.has(2) && fixture.has(3));
    assert_eq!(
        *fixture.published.lock().unwrap(),
        [1, 2, 3].map(|number| Target::new(Kind::Key, number))
    );
}

#[test]
fn a_store_that_is_closed_refuses_changes_and_keeps_what_was_acknowledged() {
    let fixture = Fixture::new();
    fixture.write(1).unwrap();
    fixture.store.close();
    assert!(matches!(fixture.write(2), Err(Error::Unavailable(_))));
    assert!(!fixture.folder.join("test.db-wal").exists());
    let again = Store::open(
        &fixture.folder.join("test.db"),
        &KeyFiles::generate(),
        Timestamp(1),
        Box::new(|_, _| Ok(Box::new(|| ()))),
    );
    let found = again
        .unwrap()
        .read(|read| idempotency::find(read, "test", "1", Timestamp(0)));
    assert!(found.unwrap().is_some());
}
