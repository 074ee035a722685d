//! An object that was changed outside the server is disabled, reported, and enabled again only after it was accepted;
//! old copies of rows are detected; and the server's own changes match their seals. Attacks 139, 195, 206.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::command_line::Line;
use crate::console::Visitor;
use crate::support::{Issued, PASSWORD, Server, fresh_folder};

/// Runs SQL statements on the database, outside the server.
#[track_caller]
fn change(data: &Path, sql: &str) {
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    database
        .execute_batch(sql)
        .unwrap_or_else(|err| panic!("{sql}: {err}"));
}

/// The text and the advice of a failed check of doctor.
#[track_caller]
fn failed(line: &Line, name: &str) -> (String, String) {
    let told: Value = serde_json::from_str(&line.run(&["doctor", "--json"]).stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(check["finding"], "failed", "{told}");
    let text = |member: &str| check[member].as_str().unwrap().to_owned();
    (text("text"), text("advice"))
}

#[test]
fn what_was_closed_is_named_and_opens_again_once_it_is_accepted() {
    let mut server = Server::start();
    let admin = server.admin();
    let key =
        admin.issue(json!({ "name": "k", "scopes": ["a:read"], "metadata": { "t": "north" } }));
    admin.person("alice", "member", "root");
    admin
        .post("/v1/policies", json!({ "name": "mine" }))
        .expect(201);
    let of_policy = admin.issue(json!({ "name": "p", "policy": "mine" }));
    server.stop();
    change(
        &server.data,
        &format!(
            r#"UPDATE keys SET scopes = 'a:read a:write', metadata = '{{"t":"south"}}' WHERE id = '{}';
               UPDATE users SET email = 'mallory@example.com' WHERE user_name = 'alice';
               UPDATE policies SET expiry_s_max = NULL, can_rotate = 0 WHERE name = 'mine';"#,
            key.id
        ),
    );
    server.restart();
    let (admin, line) = (server.admin(), Line::of(&server));
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    server.wait_for_log(&format!("key {} (last recorded: event", key.id), 1);
    assert_eq!(admin.verdict(&of_policy.secret), "DISABLED");
    assert_eq!(admin.key(&key.id)["state"], "disabled");
    assert_eq!(admin.key(&of_policy.id)["state"], "disabled");
    assert_eq!(
        admin.get("/v1/users/alice").expect(200).json()["enabled"],
        false
    );
    for (name, found, accept) in [
        (
            "keys and audit log",
            format!("key {}: scopes, metadata", key.id),
            "doctor accept key",
        ),
        (
            "users as recorded",
            "user alice".to_owned(),
            "doctor accept user",
        ),
        (
            "policies as recorded",
            "policy mine".to_owned(),
            "doctor accept policy",
        ),
    ] {
        let (text, advice) = failed(&line, name);
        assert!(text.contains(&found), "{text}");
        assert!(advice.contains(accept), "{advice}");
    }
    let events = line.ok(&["audit", "list", "--action", "key.tampered", "--json"]);
    assert!(events.contains(&key.id), "{events}");

    // A caller over the network cannot enable the objects again, or issue keys of such a policy.
    let enable = format!("/v1/keys/{}/enable", key.id);
    let refused = admin.post(&enable, json!({})).expect(409).text();
    assert!(refused.contains("doctor accept key"), "{refused}");
    let refused = admin.patch("/v1/users/alice", json!({ "enabled": true }));
    assert!(refused.expect(409).text().contains("doctor accept user"));
    let refused = admin.post("/v1/keys", json!({ "name": "n", "policy": "mine" }));
    assert!(refused.expect(409).text().contains("doctor accept policy"));
    let refused = admin.patch("/v1/policies/mine", json!({ "description": "x" }));
    assert!(refused.expect(409).text().contains("doctor accept policy"));
    let body = json!({ "kind": "key", "id": key.id });
    admin.post("/v1/doctor/accept", body).expect(403);

    // The console shows why the keys are closed, and has no button that would be refused.
    let mut owner = Visitor::owner(&server);
    for (id, what) in [
        (&key.id, format!("latchkey doctor accept key {}", key.id)),
        (
            &of_policy.id,
            "latchkey doctor accept policy mine".to_owned(),
        ),
    ] {
        let page = owner.get(&format!("/console/keys/{id}")).expect(200).text();
        assert!(page.contains(&what), "{page}");
        assert!(!page.contains("/enable"), "{page}");
    }

    let said = line.ok(&["doctor", "accept", "key", &key.id]);
    assert!(
        said.contains(&format!("latchkey key enable {}", key.id)),
        "{said}"
    );
    line.ok(&["doctor", "accept", "user", "alice"]);
    line.ok(&["doctor", "accept", "policy", "mine"]);
    assert_eq!(admin.verdict(&of_policy.secret), "VALID");
    assert_eq!(admin.verdict(&key.secret), "DISABLED");
    admin.post(&enable, json!({})).expect(200);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    admin
        .patch("/v1/users/alice", json!({ "enabled": true }))
        .expect(200);
    server.anonymous().signed_in("alice", PASSWORD);
    let ran = line.run(&["doctor"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let again = line.refused(&["doctor", "accept", "key", &key.id], 1);
    assert!(again.contains("nothing to accept"), "{again}");
    line.refused(&["doctor", "accept", "pepper", "1"], 1);
    line.refused(&["doctor", "accept", "user", "nobody"], 1);
    server.restart();
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
    Line::of(&server).ok(&["audit", "verify"]);
}

#[test]
fn an_older_key_with_its_older_seal_and_older_uses_are_closed() {
    let mut server = Server::start();
    let admin = server.admin();
    let [rotated, disabled, counted] = ["rotated", "disabled", "counted"]
        .map(|name| admin.issue(json!({ "name": name, "uses_left": 5 })));
    server.stop();
    let older = fresh_folder().join("older.db");
    fs::copy(server.data.join("latchkey.db"), &older).unwrap();
    server.restart();
    let admin = server.admin();
    admin.rotate(&rotated.id, json!({}));
    admin
        .post(&format!("/v1/keys/{}/disable", disabled.id), json!({}))
        .expect(200);
    admin.edit(&counted.id, json!({ "uses_left": 1 }));
    assert_eq!(admin.verdict(&counted.secret), "VALID");
    server.stop();
    let put_back = |id: &str| {
        format!(
            "DELETE FROM secrets WHERE key_id = '{id}';
             INSERT INTO secrets SELECT * FROM older.secrets WHERE key_id = '{id}';
             UPDATE keys SET (enabled, rotated_at, hint, seal) =
                 (SELECT enabled, rotated_at, hint, seal FROM older.keys WHERE id = '{id}') WHERE id = '{id}';
             UPDATE key_uses SET (uses_left, seal) =
                 (SELECT uses_left, seal FROM older.key_uses WHERE key_id = '{id}') WHERE key_id = '{id}';"
        )
    };
    let uses = format!(
        "UPDATE key_uses SET (uses_left, seal) =
             (SELECT uses_left, seal FROM older.key_uses WHERE key_id = '{id}') WHERE key_id = '{id}';",
        id = counted.id
    );
    let attach = format!("ATTACH '{}' AS older;", older.display());
    change(
        &server.data,
        &[attach, put_back(&rotated.id), put_back(&disabled.id), uses].concat(),
    );
    server.restart();
    for key in [&rotated, &disabled, &counted] {
        assert_eq!(server.admin().verdict(&key.secret), "DISABLED");
    }
}

/// A change outside a running server is detected at the next sign-in, use or change of the object.
#[test]
fn what_is_changed_past_a_running_server_lets_nobody_in() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "member", "root");
    let counted = admin.issue(json!({ "name": "c", "uses_left": 3 }));
    let moved = admin.issue(json!({ "name": "m" }));
    for _ in 0..3 {
        assert_eq!(admin.verdict(&counted.secret), "VALID");
    }
    change(
        &server.data,
        &format!(
            "UPDATE users SET (password_digest, password_seal_key) =
                 (SELECT password_digest, password_seal_key FROM users WHERE user_name = 'alice') WHERE user_name = 'bob';
             UPDATE key_uses SET uses_left = 1000 WHERE key_id = '{}';
             UPDATE keys SET scopes = 'a:write' WHERE id = '{}';",
            counted.id, moved.id
        ),
    );
    let session = json!({ "user_name": "bob", "password": PASSWORD });
    server.anonymous().post("/v1/sessions", session).expect(401);
    server.anonymous().signed_in("alice", PASSWORD);
    assert_ne!(admin.verdict(&counted.secret), "VALID");
    // A later change of the same object through the server does not repair it.
    admin.edit(&moved.id, json!({ "name": "n" }));
    assert_eq!(admin.verdict(&moved.secret), "DISABLED");
    assert_eq!(admin.key(&moved.id)["enabled"], false);
}

/// One of two policies is changed outside the server; a change of the other policy must not activate that change.
#[test]
fn a_change_of_one_policy_brings_no_other_one_into_force() {
    let server = Server::start();
    let admin = server.admin();
    for name in ["one", "two"] {
        admin
            .post(
                "/v1/policies",
                json!({ "name": name, "secret_shown": "sealed" }),
            )
            .expect(201);
    }
    let sealed = admin.issue(json!({ "name": "s", "policy": "two" }));
    change(
        &server.data,
        "UPDATE policies SET tied_to = 'workspace' WHERE name = 'one'",
    );
    // This change deletes the sealed copies of secrets, which belong to the sealed content of a key.
    admin
        .patch("/v1/policies/two", json!({ "secret_shown": "once" }))
        .expect(200);
    admin.get("/v1/policies/one").expect(404);
    let mut server = server;
    server.restart();
    assert_eq!(server.admin().verdict(&sealed.secret), "VALID");
}

/// A user who manages a workspace gets no access to another workspace that was moved below it outside the server.
#[test]
fn a_workspace_that_was_moved_goes_back_to_its_parent() {
    let mut server = Server::start();
    let admin = server.admin();
    for slug in ["mine", "yours"] {
        admin.workspace(slug, "root");
    }
    admin.person("mallory", "administrator", "mine");
    let key = admin.issue(json!({ "name": "k", "workspace": "yours" }));
    server.stop();
    let moved = "UPDATE workspaces SET parent_uid = (SELECT uid FROM workspaces WHERE slug = 'mine') WHERE slug = 'yours'";
    change(&server.data, moved);
    server.restart();
    assert_eq!(server.admin().verdict(&key.secret), "WORKSPACE_DISABLED");
    let mallory = server.anonymous().signed_in("mallory", PASSWORD);
    mallory.get(&format!("/v1/keys/{}", key.id)).expect(404);
    mallory.get("/v1/workspaces/yours").expect(404);
    let line = Line::of(&server);
    line.ok(&["doctor", "accept", "workspace", "yours"]);
    line.ok(&["workspace", "enable", "yours"]);
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
}

/// The server's own changes leave no row that does not match its seal.
#[test]
fn whatever_the_server_does_itself_fits_its_seal() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let catalog = |scopes: Value| json!({ "scopes": scopes, "operations": [] });
    let both = json!([{ "name": "a:read" }, { "name": "b:read" }]);
    admin.put("/v1/catalogs/shop", catalog(both)).expect(201);
    let shopper =
        json!({ "name": "s", "catalog": "shop", "scopes": ["a:read", "b:read"], "uses_left": 9 });
    let keys: BTreeMap<&str, Issued> = [
        "edited",
        "rotated",
        "graced",
        "counted",
        "uncounted",
        "deleted",
        "shopper",
    ]
    .into_iter()
    .map(|name| (name, admin.issue(shopper.clone())))
    .collect();
    let path = |name: &str| format!("/v1/keys/{}", keys[name].id);
    admin.edit(
        &keys["edited"].id,
        json!({ "metadata": { "x": "é" }, "allowed_ips": ["127.0.0.1"] }),
    );
    let new = admin.rotate(&keys["rotated"].id, json!({}));
    let graced = admin.rotate(
        &keys["graced"].id,
        json!({ "grace_s": 600, "until_first_use": true }),
    );
    assert_eq!(admin.verdict(&graced.secret), "VALID");
    admin.edit(&keys["uncounted"].id, json!({ "uses_left": null }));
    admin.delete(&path("deleted")).expect(204);
    for _ in 0..4 {
        assert_eq!(admin.verdict(&keys["counted"].secret), "VALID");
    }
    admin
        .put("/v1/catalogs/shop", catalog(json!([{ "name": "a:read" }])))
        .expect(200);
    server.anonymous().signed_in("alice", PASSWORD);
    for stopped in [false, true] {
        if stopped {
            server.stop();
        }
        let ran = Line::at(&server.data).run(&["doctor", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    server.restart();
    let admin = server.admin();
    for secret in [&new.secret, &graced.secret, &keys["uncounted"].secret] {
        assert_eq!(admin.verdict(secret), "VALID");
    }
    assert_eq!(admin.key(&keys["counted"].id)["uses_left"], 5);
    assert!(!server.log().contains("past Latchkey"), "{}", server.log());
}
