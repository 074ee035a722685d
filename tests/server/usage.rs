//! Usage is counted in memory and written in batches: little is lost, nothing is counted twice, and writes are few.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Server, wait};

const EVERY_SECOND: [(&str, &str); 1] = [("LATCHKEY_USAGE_INTERVAL_S", "1")];

fn use_count(server: &Server) -> u64 {
    let id = server.key["id"].as_str().expect("an id");
    let key = server.admin().get(&format!("/v1/keys/{id}")).expect(200);
    key.json()["use_count"].as_u64().expect("a number")
}

/// One batch verifies 100 times.
fn verify_hundred(server: &Server) {
    let items: Vec<Value> = (0..100).map(|_| json!({ "key": server.secret })).collect();
    let told = server
        .admin()
        .post("/v1/verify/batch", json!({ "items": items }));
    assert!(told.expect(200).text().matches("VALID").count() == 100);
}

// attacks 156
#[test]
fn a_kill_loses_at_most_one_interval_of_usage_and_doubles_none() {
    let mut server = Server::start_with(&[], &EVERY_SECOND);
    let (mut least, mut most) = (0, 0);
    for _ in 0..3 {
        verify_hundred(&server);
        most += 100;
        least = all_written(&server);
        verify_hundred(&server);
        most += 100;
        server.kill9();
        server.restart();
        let count = use_count(&server);
        assert!(
            (least..=most).contains(&count),
            "{count} is not in {least}..={most}"
        );
        // Lost counts stay lost.
        most = count;
    }
    assert!(least >= 100);
}

/// Waits until all counts are in the file, and returns the count. The server's own answer includes counts that are not
/// written yet.
#[track_caller]
fn all_written(server: &Server) -> u64 {
    let id = server.key["id"].as_str().expect("an id");
    wait_until_written(&server.data, id, use_count(server))
}

/// Waits until so many uses of a key are in the file, and returns their number.
#[track_caller]
pub fn wait_until_written(data: &Path, id: &str, wanted: u64) -> u64 {
    wait::some(&format!("{wanted} uses are in the file"), || {
        Some(written(data, id)).filter(|written| *written >= wanted)
    })
}

fn written(data: &Path, id: &str) -> u64 {
    let connection = Connection::open(data.join("latchkey.db")).expect("it can be opened");
    let count = connection.query_row(
        "SELECT use_count FROM key_usage WHERE key_id = $1",
        [id],
        |row| row.get::<_, i64>(0),
    );
    count.map_or(0, |count| u64::try_from(count).expect("never negative"))
}

// attacks 154
#[test]
fn many_verifies_of_one_key_are_one_write_an_interval() {
    let server = Server::start_with(&[], &EVERY_SECOND);
    let before = commits(&server.data);
    let watch = wait::Stopwatch::start();
    for _ in 0..30 {
        verify_hundred(&server);
    }
    all_written(&server);
    let intervals = watch.time().as_secs() + 2;
    let made = commits(&server.data) - before;
    // One commit for usage and one for the mark of the clock.
    assert!(
        made <= 2 * intervals,
        "{made} commits in {intervals} intervals"
    );
    assert_eq!(use_count(&server), 3000);
}

/// Commits in the write-ahead log: frames that contain the size of the database (sqlite.org/fileformat.html, 4.1).
fn commits(data: &Path) -> u64 {
    let log = fs::read(data.join("latchkey.db-wal")).expect("there is a log");
    let frames = log.get(32..).unwrap_or_default().chunks_exact(24 + 4096);
    frames.filter(|frame| frame[4..8] != [0; 4]).count() as u64
}

/// Attacks 237: simulates a clock that falls back by an hour while the server is off.
#[test]
fn a_clock_that_was_put_back_revives_no_expired_key() {
    let mut server = Server::start();
    let issued = server
        .admin()
        .issue(json!({ "name": "short", "expires_in_s": 1800 }));
    assert_eq!(server.admin().verdict(&issued.secret), "VALID");
    server.stop();
    let connection = Connection::open(server.data.join("latchkey.db")).expect("it can be opened");
    connection
        .execute("UPDATE clock SET mark = mark + 3600000", [])
        .expect("it can be changed");
    drop(connection);
    for _ in 0..2 {
        server.restart();
        assert_eq!(server.admin().verdict(&issued.secret), "EXPIRED");
        server.kill9();
    }
}
