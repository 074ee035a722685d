//! The numbers of keys, users and workspaces are never used twice, even if the database is lost or replaced.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::json;

use crate::command_line::Line;
use crate::support::Server;

/// The largest number in a table. The server must be stopped, because closing the file would release its locks.
fn latest(server: &Server, table: &str) -> i64 {
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = format!("SELECT max(number) FROM {table}");
    database.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Creates one key, one user and one workspace.
fn make(server: &Server, name: &str) {
    let admin = server.admin();
    admin.issue(json!({ "name": name }));
    admin.person(name, "member", "root");
    admin.workspace(name, "root");
}

fn numbers(server: &Server) -> [i64; 3] {
    ["keys", "users", "workspaces"].map(|table| latest(server, table))
}

#[test]
fn no_number_is_given_twice_after_a_restore() {
    let mut server = Server::start();
    make(&server, "before");
    let made = server.local().post("/v1/backups", json!({})).expect(201);
    let backup = PathBuf::from(made.json()["file"].as_str().unwrap());
    make(&server, "lost");
    make(&server, "lost-too");
    server.stop();
    let [_, users, workspaces] = numbers(&server);
    Line::of(&server).ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    server.restart();
    make(&server, "after");
    server.stop();
    let next = [users + 1, users + 2, workspaces + 1];
    assert_eq!(numbers(&server), next, "they go on where they were");
}

#[test]
fn no_number_is_given_twice_after_a_crash_or_when_an_older_copy_is_put_in_place() {
    let mut server = Server::start();
    make(&server, "before");
    server.stop();
    let copy = fs::read(server.data.join("latchkey.db")).unwrap();
    server.restart();
    make(&server, "lost");
    server.kill9();
    server.restart();
    make(&server, "lost-too");
    server.kill9();
    let before = numbers(&server);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(server.data.join(format!("latchkey.db{suffix}")));
    }
    fs::write(server.data.join("latchkey.db"), copy).unwrap();
    // Nothing has ended since the copy was made, so only the numbers show that the database is a copy.
    server.restart();
    make(&server, "after");
    server.stop();
    let after = numbers(&server);
    for (before, after) in before.into_iter().zip(after) {
        assert!(after > before, "{after} may have been given before");
        assert!(after < before + 2_000, "{after} wastes too many");
    }
}
