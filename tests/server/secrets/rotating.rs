//! Rotations: what was made before goes on working, and new things are made under the new version.

use super::{in_database, in_file, reveal, rotate, sign_in, versions, with_copy};
use crate::command_line::{Line, running_and_stopped};
use crate::support::{PASSWORD, Server, wait};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn keys_and_sessions_go_on_while_the_pepper_is_rotated() {
    let mut server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "old" }));
    let unused = admin.issue(json!({ "name": "unused" }));
    admin.person("alice", "member", "root");
    let session = sign_in(&server, "alice");

    let rotated = rotate(&server, "pepper");
    assert_eq!(
        rotated,
        json!({ "file": "pepper", "version": 2, "finished": false })
    );
    assert_eq!(in_file(&server.data, "pepper"), [1, 2]);
    assert_eq!(in_database(&server.data, "pepper"), [1, 2]);
    let mode = fs::metadata(server.data.join("pepper")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let event = admin.newest_event();
    assert_eq!(event["action"], "secrets.rotate");
    assert_eq!(event["changes"]["file"], json!(["", "pepper"]));
    assert_eq!(event["changes"]["version"], json!(["1", "2"]));

    let new = admin.issue(json!({ "name": "new" }));
    for secret in [&old.secret, &new.secret] {
        assert_eq!(admin.verdict(secret), "VALID");
    }
    session.get("/v1/keys").expect(200);
    // The digest of the used key is replaced, that of the other one is not.
    let under = |place: usize| versions(&server.admin(), "pepper")[place]["secrets"].clone();
    wait::until("the used digests are replaced", || under(0) == json!(2));
    let before = versions(&admin, "pepper");
    // The sample key is not used either; the management key is used by this test.
    assert_eq!(before[1]["secrets"], 3, "{before:?}");
    assert!(before[1]["last_used_at"].is_string(), "{before:?}");
    assert_eq!(before[0]["sessions"], 1, "{before:?}");
    server.restart();
    let admin = server.admin();
    for secret in [&old.secret, &new.secret, &unused.secret] {
        assert_eq!(admin.verdict(secret), "VALID");
    }
    session.get("/v1/keys").expect(200);
    Line::of(&server).ok(&["doctor"]);
}

#[test]
fn everything_is_sealed_under_the_new_seal_key_at_once() {
    let mut server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "uses_left": 9 }));
    admin.issue(json!({ "name": "deleted" }));
    admin.person("alice", "member", "root");
    let session = sign_in(&server, "alice");
    let before = versions(&admin, "seal-key");
    rotate(&server, "seal-key");
    let after = versions(&admin, "seal-key");
    assert_eq!(after[0]["rows"], 0, "{after:?}");
    // The rotation has no row of its own.
    assert_eq!(after[1]["rows"], before[0]["rows"], "{after:?}");
    assert_eq!(after[1]["settled"], true);
    // Passwords follow one by one: the owner has not signed in yet.
    assert_eq!(after[0]["passwords"], 2, "{after:?}");
    let again = sign_in(&server, "alice");
    again.get("/v1/keys").expect(200);
    session.get("/v1/keys").expect(200);
    let after = versions(&admin, "seal-key");
    assert_eq!(
        (&after[0]["passwords"], &after[1]["passwords"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(admin.verdict(&key.secret), "VALID");
    let edited = admin.edit(&key.id, json!({ "name": "renamed" }));
    assert_eq!(edited["name"], "renamed");
    Line::of(&server).ok(&["doctor"]);
    server.restart();
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
    Line::of(&server).ok(&["audit", "verify"]);
}

#[test]
fn a_row_that_was_changed_past_latchkey_is_not_sealed_by_a_rotation() {
    let mut server = Server::start();
    let admin = server.admin();
    let [changed, sound] = ["changed", "sound"].map(|name| admin.issue(json!({ "name": name })));
    server.stop();
    let database = rusqlite::Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = "UPDATE keys SET scopes = 'a:write' WHERE id = ?1";
    assert_eq!(database.execute(sql, [&changed.id]).unwrap(), 1);
    drop(database);
    Line::of(&server).ok(&["secrets", "rotate", "seal-key"]);
    Line::of(&server).refused(&["doctor"], 1);
    server.restart();
    wait::until("the changed key is closed", || {
        server.admin().key(&changed.id)["enabled"] == false
    });
    assert_eq!(server.admin().verdict(&changed.secret), "DISABLED");
    assert_eq!(server.admin().verdict(&sound.secret), "VALID");
}

#[test]
fn copies_are_encrypted_under_the_new_sealing_key_at_once() {
    let (mut server, key) = with_copy();
    let admin = server.admin();
    let uid = admin.person("alice", "member", "root");
    let alice = sign_in(&server, "alice");
    let (_, codes) = crate::vspc::second_factor::register(&alice, &uid);
    rotate(&server, "sealing-key");
    let after = versions(&admin, "sealing-key");
    assert_eq!(
        (&after[0]["copies"], &after[1]["copies"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(reveal(&server, &key), json!(key.secret));
    super::retire(&server, json!({ "file": "sealing-key", "version": 1 })).expect(200);
    assert_eq!(in_file(&server.data, "sealing-key"), [2]);
    server.restart();
    assert_eq!(reveal(&server, &key), json!(key.secret));
    let code = crate::support::code(&codes, 1);
    let body = json!({ "user_name": "alice", "password": PASSWORD, "code": code });
    server.anonymous().post("/v1/sessions", body).expect(201);
    Line::of(&server).ok(&["doctor"]);
}

#[test]
fn every_file_is_rotated_and_retired_whether_the_server_runs_or_not() {
    running_and_stopped(|line| {
        for file in super::FILES {
            let rotated = line.json(&["secrets", "rotate", file]);
            assert_eq!(rotated["version"], 2, "{file}");
            let said = line.ok(&["secrets", "rotate", file]);
            assert!(said.contains("Version 3"), "{said}");
            assert!(said.contains("latchkey secrets backup FILE"), "{said}");
            line.ok(&["secrets", "retire", file, "2"]);
            assert_eq!(in_file(line.data(), file), [1, 3]);
            assert_eq!(in_database(line.data(), file), [1, 3]);
            let newest = line.refused(&["secrets", "retire", file, "3"], 1);
            assert!(newest.contains("is the newest"), "{newest}");
            line.refused(&["secrets", "retire", file, "2"], 1);
        }
        // Without an argument it is the pepper.
        let rotated = line.json(&["secrets", "rotate"]);
        assert_eq!(
            (&rotated["file"], &rotated["version"]),
            (&json!("pepper"), &json!(4))
        );
        line.refused(&["secrets", "rotate", "passwd"], 2);
        let status = line.ok(&["secrets", "status"]);
        for words in [
            "pepper",
            "4 (newest)",
            "never",
            "latchkey secrets backup FILE",
        ] {
            assert!(status.contains(words), "{words}: {status}");
        }
        line.ok(&["doctor"]);
    });
}

#[test]
fn only_the_administrator_of_the_machine_rotates() {
    let server = Server::start();
    let admin = server.admin();
    admin.get("/v1/secrets").expect(200);
    for (path, body) in [
        ("/v1/secrets/rotate", json!({})),
        (
            "/v1/secrets/retire",
            json!({ "file": "pepper", "version": 1 }),
        ),
    ] {
        admin.post(path, body).refused(403, "forbidden");
        let event = admin.newest_event();
        assert_eq!(event["outcome"], "denied", "{event}");
    }
    let local = server.local();
    local
        .post("/v1/secrets/rotate", json!({ "file": "passwd" }))
        .refused_field("file");
    assert_eq!(in_file(&server.data, "pepper"), [1]);
    admin.person("alice", "administrator", "root");
    sign_in(&server, "alice").get("/v1/secrets").expect(403);
}

#[test]
fn a_file_that_somebody_else_has_changed_is_left_alone() {
    let server = Server::start();
    let path = server.data.join("pepper");
    let good = fs::read_to_string(&path).unwrap();
    for other in [
        format!("{good}2 {}\n", "ab".repeat(32)),
        format!("1 {}\n", "ab".repeat(32)),
        "1 ab\n".to_owned(),
    ] {
        fs::write(&path, &other).unwrap();
        let refused = server.local().post("/v1/secrets/rotate", json!({}));
        let refused = refused.expect(409).json();
        assert!(
            refused["detail"]
                .as_str()
                .unwrap()
                .contains("restart the server"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), other);
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(rotate(&server, "pepper")["version"], 2);
}

/// An administrator adds a version by hand, as is necessary where the service manager provides the files.
#[test]
fn a_start_takes_over_a_version_that_was_added_by_hand() {
    let (mut server, key) = with_copy();
    server.stop();
    for file in super::FILES {
        let path = server.data.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}2 {}\n", "ab".repeat(32))).unwrap();
    }
    server.restart();
    for file in super::FILES {
        assert_eq!(in_database(&server.data, file), [1, 2], "{file}");
        wait::until("everything is under the new version", || {
            versions(&server.admin(), file)[1]["settled"] == true
        });
    }
    let rows = versions(&server.admin(), "seal-key");
    assert_eq!(rows[0]["rows"], 0, "{rows:?}");
    assert_eq!(versions(&server.admin(), "sealing-key")[1]["copies"], 1);
    assert_eq!(reveal(&server, &key), json!(key.secret));
}
