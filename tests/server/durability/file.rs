//! The files of a stopped server: pages, rows and the audit chain, read without code of the product.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, Row};

use crate::support::fresh_folder;

/// How often each action was recorded, by action and target.
pub type Log = HashMap<(String, String), usize>;

/// Checks the database in a data folder.
#[track_caller]
pub fn check(data: &Path) -> Log {
    let connection =
        Connection::open(data.join("latchkey.db")).expect("the database can be opened");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(verdict, "ok");
    let broken_references = connection
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut statement| statement.exists([]));
    assert_eq!(broken_references, Ok(false));
    check_chain(&connection)
}

/// Checks a copy, so that the server finds its own files as they were after the kill.
#[track_caller]
pub fn check_copy(data: &Path) {
    let copy = fresh_folder();
    for name in ["latchkey.db", "latchkey.db-wal"] {
        if data.join(name).exists() {
            fs::copy(data.join(name), copy.join(name)).expect("files can be copied");
        }
    }
    check(&copy);
    let _ = fs::remove_dir_all(copy);
}

/// Attacks 206 and promise P9: the sequence has no gap, each event contains the hash of the previous one, and the
/// stored head is the last one.
#[track_caller]
fn check_chain(connection: &Connection) -> Log {
    let mut statement = connection
        .prepare(
            "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                    reason, changes, previous
             FROM audit_events ORDER BY seq",
        )
        .expect("the log can be read");
    let mut rows = statement.query([]).expect("the log can be read");
    let (mut last, mut expected) = (0, vec![0; 32]);
    let mut log = Log::new();
    while let Some(row) = rows.next().expect("the log can be read") {
        let seq: i64 = row.get("seq").expect("a number");
        assert_eq!(seq, last + 1, "a gap in the audit log");
        let previous: Vec<u8> = row.get("previous").expect("a hash");
        assert_eq!(
            previous, expected,
            "event {seq} is not bound to the one before"
        );
        expected = hash(row, seq, &previous);
        last = seq;
        let text = |name: &str| row.get::<_, String>(name).expect("a text");
        *log.entry((text("action"), text("target_id"))).or_default() += 1;
    }
    let head: (i64, Vec<u8>) = connection
        .query_row("SELECT seq, hash FROM audit_head", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("there is a head");
    assert_eq!(head, (last, expected), "the head is not the last event");
    log
}

/// SHA-256 over all members, each preceded by its length.
fn hash(row: &Row<'_>, seq: i64, previous: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    let mut member = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    member(previous);
    member(&seq.to_be_bytes());
    let at: i64 = row.get("at").expect("a time");
    member(&at.to_be_bytes());
    for name in [
        "actor",
        "action",
        "target_kind",
        "target_id",
        "workspace_uid",
        "source",
        "request_id",
        "outcome",
        "reason",
        "changes",
    ] {
        member(row.get::<_, String>(name).expect("a text").as_bytes());
    }
    context.finish().as_ref().to_vec()
}
