//! Secrets that can be displayed again: to whom, how this is recorded, and when it ends.

use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{Issued, Server, User, executable};

const PASSWORD: &str = "a passphrase of some length";

/// A server with a policy `copy` that keeps sealed copies, and a key with this policy.
fn with_sealed_key() -> (Server, Issued) {
    let server = Server::start();
    let policy = json!({ "name": "copy", "secret_shown": "sealed" });
    server.admin().post("/v1/policies", policy).expect(201);
    let key = server
        .admin()
        .issue(json!({ "name": "k", "policy": "copy" }));
    (server, key)
}

fn reveal(user: &User, id: &str) -> crate::support::Response {
    user.post(&format!("/v1/keys/{id}/reveal"), json!({}))
}

fn reveals(server: &Server, outcome: &str) -> usize {
    let events = server
        .admin()
        .get("/v1/audit-events?action=key.reveal")
        .expect(200)
        .json();
    let items = events["items"].as_array().unwrap();
    items
        .iter()
        .filter(|event| event["outcome"] == outcome)
        .count()
}

fn database(server: &Server) -> Connection {
    Connection::open(server.data.join("latchkey.db")).unwrap()
}

/// The content of the database and its write-ahead log.
fn stored_bytes(server: &Server) -> Vec<u8> {
    let names = ["latchkey.db", "latchkey.db-wal"];
    names
        .iter()
        .flat_map(|name| fs::read(server.data.join(name)).unwrap_or_default())
        .collect()
}

// attacks 137
#[test]
fn a_sealed_secret_is_shown_again_and_every_time_is_recorded() {
    let (server, key) = with_sealed_key();
    for times in 1..=2 {
        let shown = reveal(&server.admin(), &key.id).expect(200);
        assert_eq!(shown.header("cache-control"), Some("no-store"));
        let body = shown.json();
        assert_eq!(
            (&body["secret"], &body["key"]["id"]),
            (&json!(key.secret), &json!(key.id))
        );
        assert_eq!(reveals(&server, "allowed"), times);
    }
    let tail = &key.secret.as_bytes()[key.secret.len() - 20..];
    assert!(
        !stored_bytes(&server)
            .windows(tail.len())
            .any(|window| window == tail)
    );
    assert!(!server.log().contains(&key.secret));
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
}

#[test]
fn a_secret_that_is_shown_once_is_not_shown_again() {
    let (server, _) = with_sealed_key();
    let once = server.admin().issue(json!({ "name": "once" }));
    let answer = reveal(&server.admin(), &once.id).expect(409).json();
    assert!(
        answer["detail"].as_str().unwrap().contains("standard"),
        "{answer}"
    );
    let sealed: i64 = database(&server)
        .query_row(
            "SELECT count(*) FROM secrets WHERE sealed IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(sealed, 1);
    reveal(&server.admin(), "0000000000").expect(404);
}

// attacks 144
#[test]
fn the_sealed_copy_goes_with_its_secret() {
    let (server, key) = with_sealed_key();
    let count = || -> i64 {
        let sql = "SELECT count(*) FROM secrets WHERE sealed IS NOT NULL";
        database(&server)
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    };
    let new = server.admin().rotate(&key.id, json!({ "grace_s": 3600 }));
    assert_eq!(
        reveal(&server.admin(), &key.id).expect(200).json()["secret"],
        json!(new.secret)
    );
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
    assert_eq!(count(), 1);
    server
        .admin()
        .delete(&format!("/v1/keys/{}", key.id))
        .expect(204);
    assert_eq!(count(), 0);
    reveal(&server.admin(), &key.id).expect(409);
}

#[test]
fn a_policy_that_stops_showing_secrets_loses_its_copies() {
    let (server, key) = with_sealed_key();
    let admin = server.admin();
    admin
        .patch("/v1/policies/copy", json!({ "secret_shown": "once" }))
        .expect(200);
    reveal(&admin, &key.id).expect(409);
    let left: i64 = database(&server)
        .query_row(
            "SELECT count(*) FROM secrets WHERE sealed IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
    admin
        .patch("/v1/policies/copy", json!({ "secret_shown": "sealed" }))
        .expect(409);
}

// attacks 208
#[test]
fn revealing_takes_its_own_permission_and_covers_no_mightier_key() {
    let (server, key) = with_sealed_key();
    let admin = server.admin();
    let management = |name: &str, scopes: Value| {
        let key =
            json!({ "name": name, "catalog": "latchkey", "scopes": scopes, "policy": "copy" });
        admin.issue(key)
    };
    let writer = server.bearer(&management("writer", json!(["keys:write"])).secret);
    reveal(&writer, &key.id).expect(403);
    assert_eq!(reveals(&server, "denied"), 1);

    let mighty = management("mighty", json!(["server:admin"]));
    let revealer = server.bearer(&management("revealer", json!(["keys:reveal"])).secret);
    reveal(&revealer, &key.id).expect(200);
    reveal(&revealer, &mighty.id).expect(403);

    let roles = json!([{ "workspace": "root", "role": "key_manager" }]);
    let user = json!({ "user_name": "max", "password": PASSWORD, "roles": roles });
    admin.post("/v1/users", user).expect(201);
    let session = json!({ "user_name": "max", "password": PASSWORD });
    let token = server
        .anonymous()
        .post("/v1/sessions", session)
        .expect(201)
        .json()["access_token"]
        .clone();
    reveal(&server.bearer(token.as_str().unwrap()), &key.id).expect(403);

    admin
        .post("/v1/workspaces", json!({ "slug": "emea" }))
        .expect(201);
    let elsewhere = json!({ "name": "emea", "catalog": "latchkey", "scopes": ["keys:reveal"], "workspace": "emea" });
    reveal(&server.bearer(&admin.issue(elsewhere).secret), &key.id).expect(404);
}

// attacks 139
#[test]
fn a_copy_that_was_moved_or_changed_shows_nothing() {
    let (server, key) = with_sealed_key();
    let other = server
        .admin()
        .issue(json!({ "name": "other", "policy": "copy" }));
    let moved = "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE key_id = ?1) WHERE key_id = ?2";
    database(&server)
        .execute(moved, [&other.id, &key.id])
        .unwrap();
    let answer = reveal(&server.admin(), &key.id).expect(500);
    assert!(!answer.text().contains("lk_"), "{}", answer.text());
    assert_eq!(reveals(&server, "allowed"), 0);
    assert_eq!(
        reveal(&server.admin(), &other.id).expect(200).json()["secret"],
        json!(other.secret)
    );
}

#[test]
fn without_its_event_the_secret_stays() {
    let (server, key) = with_sealed_key();
    let trigger = "CREATE TRIGGER deaf BEFORE INSERT ON audit_events WHEN NEW.action = 'key.reveal'
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    database(&server).execute(trigger, []).unwrap();
    let answer = reveal(&server.admin(), &key.id);
    assert!(
        answer.status >= 400 && !answer.text().contains(&key.secret),
        "{}",
        answer.exchange()
    );
}

// attacks 234
#[test]
fn a_start_without_the_right_sealing_key_is_refused() {
    let (mut server, key) = with_sealed_key();
    let file = server.data.join("sealing-key");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop();
    let good = fs::read_to_string(&file).unwrap();
    let start = || {
        let mut command = executable(None);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&server.data);
        let ended = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8(ended.stderr).unwrap()
    };
    fs::remove_file(&file).unwrap();
    let said = start();
    assert!(said.contains("sealing-key is missing"), "{said}");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (text, expected) in [
        ("1 ab\n".to_owned(), "is damaged"),
        (format!("1 {}\n", "ab".repeat(32)), "is not the one"),
        (good.replacen("1 ", "2 ", 1), "lacks version 1"),
    ] {
        write(&text);
        let said = start();
        assert!(
            said.contains("sealing-key") && said.contains(expected),
            "{said}"
        );
    }
    write(&format!("{good}2 {}\n", "cd".repeat(32)));
    server.restart();
    assert_eq!(
        reveal(&server.admin(), &key.id).expect(200).json()["secret"],
        json!(key.secret)
    );
}
