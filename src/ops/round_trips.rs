//! How often a change waits for the server of its database. Over a network, that is what a change costs.

use crate::authz::caller::{Caller, Origin};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::ops::clock::Sources;
use crate::ops::keys::issue::{self, NewKey};
use crate::ops::setup::{self, OwnerPassword, SampleKey};
use crate::ops::{App, keys};
use crate::store::postgres::{server, waits};
use crate::store::{Durability, Location};
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

#[test]
fn a_change_waits_a_few_times_for_the_server() {
    let Some((database, address)) = server::empty_database() else {
        return;
    };
    let folder = std::env::temp_dir().join(format!("latchkey-waits-{}", std::process::id()));
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
    let issue = |number: u64| {
        let (app, local) = (&app, &local);
        move || -> KeyId {
            let mut new = NewKey::default();
            new.members.name = Some(format!("k{number}"));
            issue::issue(app, local, new, None).unwrap().view.key.id
        }
    };
    // The first time, each statement is prepared.
    keys::delete(&app, &local, issue(0)(), None).unwrap();
    let (issued, ids) = waits_of(&app, (1..=TOGETHER).map(issue).collect());
    let delete = |id: KeyId| {
        let (app, local) = (&app, &local);
        move || keys::delete(app, local, id, None).unwrap()
    };
    let (deleted, _) = waits_of(&app, ids.into_iter().map(delete).collect());
    println!("{issued} waits for a new key, {deleted} for a deletion");
    // Debug builds read twice more for each change, to compare its events with what it has touched.
    assert!(issued <= 6.0, "{issued}");
    assert!(deleted <= 11.0, "{deleted}");
    app.close();
    drop(database);
    std::fs::remove_dir_all(&folder).unwrap();
}
