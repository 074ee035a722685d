//! How often a change waits for the server of its database. Over a network, that is what a change costs.

use crate::authz::caller::{Caller, Origin};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::verdict::Code;
use crate::ops::clock::Sources;
use crate::ops::keys::issue::{self, NewKey};
use crate::ops::setup::{self, OwnerPassword, SampleKey};
use crate::ops::{App, attempts, keys, maintenance, notices};
use crate::store::postgres::{server, waits};
use crate::store::{Durability, Location, usage};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::thread;

/// The number of changes that are committed together.
const TOGETHER: u64 = 16;

/// The waits for each of several changes that are committed together.
fn waits_of<T: Send>(app: &App, changes: Vec<impl FnOnce() -> T + Send>) -> (f64, Vec<T>) {
    let (go, may_go) = channel::<()>();
    let (begins, has_begun) = channel();
    let held = move |_: &crate::store::Write<'_>| {
        begins.send(()).unwrap();
        may_go.recv().unwrap();
        Ok(waits())
    };
    let count = changes.len() as f64;
    thread::scope(|scope| {
        let first = scope.spawn(|| app.store.write(Durability::Full, held).unwrap());
        has_begun.recv().unwrap();
        let changes: Vec<_> = changes
            .into_iter()
            .map(|change| scope.spawn(change))
            .collect();
        while app.store.figures.changes_waiting.load(Relaxed) < i64::try_from(TOGETHER).unwrap() {
            thread::yield_now();
        }
        go.send(()).unwrap();
        let begun = first.join().unwrap();
        let made = changes
            .into_iter()
            .map(|change| change.join().unwrap())
            .collect();
        let ended = app.store.write(Durability::Full, |_| Ok(waits())).unwrap();
        ((ended - begun) as f64 / count, made)
    })
}

/// Runs a test with a server on a new database and its administrator, unless there is no PostgreSQL here.
fn with_app(test: impl FnOnce(&App, &Caller)) {
    let Some((database, address)) = server::empty_database() else {
        return;
    };
    let folder = std::env::temp_dir().join(format!("latchkey-waits-{}", database.name()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("db");
    let location = || Location::on_a_server(&path, address.clone());
    let files = KeyFiles::generate();
    let sources = Sources {
        wall: server::date,
        uptime: || Uptime { boot: None, ms: 0 },
    };
    let (owner, sample) = (OwnerPassword::Generated, SampleKey::None);
    setup::create(location(), files.clone(), &[], owner, sample, sources).unwrap();
    let app = setup::open(location(), files, &[], sources).unwrap();
    setup::load_keys(&app).unwrap();
    let local = Caller::local(&app.index.directory(), 0, Origin::default()).unwrap();
    test(&app, &local);
    app.close();
    drop(database);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn new_key(app: &App, local: &Caller, number: u64) -> KeyId {
    let mut new = NewKey::default();
    new.members.name = Some(format!("k{number}"));
    issue::issue(app, local, new, None).unwrap().view.key.id
}

#[test]
fn a_change_waits_a_few_times_for_the_server() {
    with_app(|app, local| {
        let issue = |number| move || new_key(app, local, number);
        // The first time, each statement is prepared.
        keys::delete(app, local, issue(0)(), None).unwrap();
        let (issued, ids) = waits_of(app, (1..=TOGETHER).map(issue).collect());
        let delete = |id: KeyId| move || keys::delete(app, local, id, None).unwrap();
        let (deleted, _) = waits_of(app, ids.into_iter().map(delete).collect());
        println!("{issued} waits for a new key, {deleted} for a deletion");
        // Debug builds read twice more for each change, to compare its events with what it has touched.
        assert!(issued <= 6.0, "{issued}");
        assert!(deleted <= 9.0, "{deleted}");
    });
}

/// Other changes wait while usage is written.
#[test]
fn the_usage_of_many_keys_waits_as_often_as_that_of_one() {
    with_app(|app, local| {
        let ids: Vec<KeyId> = (0..40).map(|number| new_key(app, local, number)).collect();
        let use_of = |ids: &[KeyId]| {
            let waited = || app.store.write(Durability::Full, |_| Ok(waits())).unwrap();
            let from = Some([198, 51, 100, 7].into());
            for id in ids {
                app.index
                    .usage
                    .record(*id, Code::Valid, true, from, app.now().wall);
            }
            let before = waited();
            assert!(maintenance::write_usage(app));
            waited() - before
        };
        // The first time, each statement is prepared, and the keys have no networks.
        use_of(&ids);
        let (one, all) = (use_of(&ids[..1]), use_of(&ids));
        assert!(all <= one, "{all} waits for all, {one} for one");
        let recorded = |id| app.store.read(|read| usage::find_usage(read, id)).unwrap();
        assert_eq!(recorded(ids[0]).use_count, 3);
        assert_eq!(recorded(ids[39]).use_count, 2);
    });
}

/// An idle node may send two statements a second, and these are what it asks again and again besides its lease.
#[test]
fn an_idle_node_asks_each_thing_once() {
    with_app(|app, _| {
        let waits_of = |look: &dyn Fn()| {
            let before = waits();
            look();
            waits() - before
        };
        // The first time, each statement is prepared, and the positions of the readers are stored.
        notices::look(app);
        attempts::save_all(app);
        let bounds = waits_of(&|| app.read(|_| Ok(())).unwrap());
        let looked = waits_of(&|| notices::look(app));
        let exchanged = waits_of(&|| attempts::save_all(app));
        println!(
            "{looked} waits for keys that end, {exchanged} for attempts, {bounds} for the bounds of a transaction"
        );
        // A position and the keys since, for each of three lead times and for the end, and the position of keys without use.
        assert_eq!(looked, 9 * (bounds + 1));
        // The newest change of attempts.
        assert_eq!(exchanged, bounds + 1);
    });
}
