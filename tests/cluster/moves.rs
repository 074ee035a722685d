//! `latchkey move`: there and back, and what an interruption leaves.

use crate::postgres::{Database, database};
use crate::program::{Folder, text};
use crate::wait::pause;
use std::time::Duration;

/// The first kill comes after this time, and each later one after a longer time.
const FIRST_KILL: Duration = Duration::from_millis(50);

#[test]
fn all_goes_to_the_server_and_comes_back_and_the_old_place_is_not_used() {
    let Some(database) = database() else { return };
    let address = database.address();
    let folder = Folder::new();
    let secrets = folder.file("secrets");
    folder.good(&["init", "--keys", "1000", "--secrets", text(&secrets)]);
    let secrets = std::fs::read_to_string(secrets).unwrap();
    let mut secrets = secrets.lines();
    let (first, last) = (secrets.next().unwrap(), secrets.next_back().unwrap());
    let (ended, gone) = folder.issue("gone");
    folder.good(&["key", "delete", &ended, "--yes"]);
    let backup = folder.file("before.db");
    folder.good(&["backup", text(&backup)]);

    folder.good(&["move", "--to", &address, "--yes"]);
    assert!(!folder.has("latchkey.db") && !folder.has("latchkey.db-wal"));
    assert_eq!(
        [first, last].map(|secret| folder.verify(secret)),
        ["VALID", "VALID"]
    );
    assert_ne!(folder.verify(&gone), "VALID");
    for check in [
        "database",
        "schema",
        "audit log",
        "keys and audit log",
        "users as recorded",
    ] {
        let found = folder.finding(check);
        assert!(found.starts_with("ok"), "{found}");
    }
    // The old file says where its content is, also in another folder.
    let old = Folder::with_keys_of(&folder);
    let mut files = std::fs::read_dir(&folder.path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let kept = files
        .find(|path| text(path).contains("latchkey.db.moved-"))
        .unwrap();
    std::fs::copy(kept, old.path.join("latchkey.db")).unwrap();
    for command in [
        ["key", "list"].as_slice(),
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        old.refused(command, &format!("was moved to {address}"));
    }
    old.good(&["restore", text(&backup), "--yes"]);
    assert_eq!(old.verify(first), "VALID");

    let second = Folder::with_keys_of(&folder);
    second.good(&["init", "--join", "--database", &address]);
    let (later, also_gone) = second.issue("later");
    second.good(&["key", "delete", &later, "--yes"]);
    let third = Folder::new();
    folder.good(&["move", "--to", text(&third.path), "--yes"]);
    assert_eq!(
        [first, last].map(|secret| third.verify(secret)),
        ["VALID", "VALID"]
    );
    assert_ne!(third.verify(&gone), "VALID");
    assert_ne!(third.verify(&also_gone), "VALID");
    assert!(third.finding("audit log").starts_with("ok"));
    for node in [&folder, &second] {
        node.refused(&["key", "list"], "its content was moved away");
    }
    third.good(&["key", "issue", "after"]);
}

#[test]
fn a_database_in_use_is_not_overwritten() {
    let Some(database) = database() else { return };
    let node = Folder::new();
    node.good(&["init", "--database", &database.address()]);
    let folder = Folder::new();
    folder.good(&["init"]);
    let (_, secret) = folder.issue("mine");
    let to_server = ["move", "--yes", "--to", &database.address()];
    folder.refused(&to_server, "has a schema latchkey already");
    assert_eq!(folder.verify(&secret), "VALID");
    node.good(&["key", "list"]);
    node.refused(
        &["move", "--yes", "--to", text(&folder.path)],
        "is there already and has data",
    );
    node.good(&["key", "list"]);
    folder.refused(
        &["move", "--yes", "--to", text(&folder.path)],
        "is a file already",
    );
}

/// Kills the move again and again, later each time, until a run ends before it. `look` looks at what each kill has left; the
/// next run of the same command goes on from there.
fn kill_until_it_is_done(folder: &Folder, to: &str, look: impl Fn()) {
    let mut time = FIRST_KILL;
    loop {
        let mut child = folder.begin(&["move", "--yes", "--to", to]);
        pause(time);
        let _ = child.kill();
        // A run that ended before the kill has finished the move, or has found nothing to move.
        if child.wait().unwrap().code().is_some() {
            return;
        }
        look();
        time = time.mul_f64(1.4);
    }
}

/// Whether the database on the server can be used: it is there, and its newest event is not that of a move.
fn is_used_there(database: &Database) -> bool {
    let is_there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'latchkey'";
    if database.ask(is_there) == "0" {
        return false;
    }
    let newest = "SELECT action FROM latchkey.audit_events ORDER BY seq DESC LIMIT 1";
    database.ask(newest) != "server.move"
}

/// Whether the file in the folder can be used: a copy of it is opened.
fn is_used_here(folder: &Folder) -> bool {
    if !folder.has("latchkey.db") {
        return false;
    }
    let copy = Folder::with_keys_of(folder);
    for name in ["latchkey.db", "latchkey.db-wal"] {
        if folder.has(name) {
            std::fs::copy(folder.path.join(name), copy.path.join(name)).unwrap();
        }
    }
    copy.run(&["key", "list"]).is_good
}

#[test]
fn a_killed_move_is_finished_by_the_same_command() {
    let Some(database) = database() else { return };
    let address = database.address();
    let folder = Folder::new();
    folder.good(&[
        "init",
        "--keys",
        "300",
        "--secrets",
        text(&folder.file("secrets")),
    ]);
    let (_, secret) = folder.issue("kept");
    let look = || {
        let used = (is_used_there(&database), is_used_here(&folder));
        assert_ne!(used, (true, true), "two places are in use");
    };
    kill_until_it_is_done(&folder, &address, look);
    assert_eq!(folder.verify(&secret), "VALID");
    assert!(folder.has("database.toml") && !folder.has("latchkey.db"));
    assert!(folder.finding("audit log").starts_with("ok"));
    kill_until_it_is_done(&folder, text(&folder.path), look);
    assert_eq!(folder.verify(&secret), "VALID");
    assert!(!folder.has("database.toml") && folder.has("latchkey.db"));
    assert!(folder.finding("audit log").starts_with("ok"));
}
