//! Shutdown under load, and a second server on the same folder.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use super::writer::Writer;
use super::{file, list};
use crate::support::{Server, refusal, wait};

// attacks 43
#[test]
fn sigterm_under_writing_load_loses_nothing_and_exits_0() {
    let mut server = Server::start();
    let mut writers: Vec<Writer> = (0..8)
        .map(|number| Writer::new(number, number as u64))
        .collect();
    let admin = server.admin();
    let ended = thread::scope(|scope| {
        for writer in &mut writers {
            let admin = admin.clone();
            scope.spawn(move || writer.work(&admin));
        }
        wait::until("each writer has changed some keys", || {
            let keys = admin.get("/v1/keys?limit=500").expect(200).text();
            (0..8).all(|number| keys.matches(&format!("\"writer {number} ")).count() > 2)
        });
        server.signal(Signal::TERM);
        server.wait()
    });
    assert!(ended.success(), "{ended}\n{}", server.log());
    assert!(
        !server.data.join("latchkey.db-wal").exists(),
        "the log was not emptied"
    );

    server.restart();
    let admin = server.admin();
    let found = list::all_keys(&admin);
    for writer in &mut writers {
        writer.settle(&admin);
        writer.check_all(&admin, &found);
        assert!(!writer.acknowledged.is_empty());
    }
    server.stop();
    file::check(&server.data);
}

#[test]
fn sigterm_writes_the_usage_that_waits() {
    let mut server = Server::start_with(&[], &[("LATCHKEY_USAGE_INTERVAL_S", "3600")]);
    let id = server.key["id"].as_str().expect("an id").to_owned();
    for _ in 0..7 {
        assert_eq!(server.admin().verdict(&server.secret), "VALID");
    }
    assert!(server.stop().is_some_and(|status| status.success()));
    server.restart();
    let key = server
        .admin()
        .get(&format!("/v1/keys/{id}"))
        .expect(200)
        .json();
    assert_eq!(key["use_count"], 7, "{key}");
}

// attacks 44 and 224
#[test]
fn a_second_server_on_the_same_folder_names_the_first_and_harms_nothing() {
    let server = Server::start();
    let socket = |server: &Server| fs::metadata(&server.socket).map(|found| found.ino()).ok();
    let before = socket(&server);
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ended = refusal::serve(&server.data);
                let process = format!("process {}", server.pid);
                ended.expect_refused(&[
                    process.as_str(),
                    "in use by another latchkey",
                    "nothing was changed",
                ]);
                refused.fetch_add(1, SeqCst);
            });
        }
        while refused.load(SeqCst) < 4 {
            server.assert_alive();
            server.admin().issue(json!({ "name": "meanwhile" }));
        }
    });
    assert!(before.is_some());
    assert_eq!(socket(&server), before, "the socket is another one");
    assert_eq!(server.local().verdict(&server.secret), "VALID");
}

#[test]
fn a_start_waits_for_a_command_that_uses_the_folder() {
    let mut server = Server::start();
    server.stop();
    let lock = fs::File::open(server.data.join("latchkey.lock")).expect("it is there");
    lock.lock().expect("it is free");
    thread::scope(|scope| {
        let waits = server.log_reader();
        scope.spawn(move || {
            wait::until("the start waits", || waits().contains("waiting"));
            lock.unlock().expect("it is held");
        });
        server.restart();
    });
    assert_eq!(server.anonymous().verdict(&server.secret), "VALID");
}
