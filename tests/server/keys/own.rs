//! What a key may do with itself: read its members, and rotate itself.

use serde_json::json;

use crate::support::{PASSWORD, Server, together};

#[test]
fn a_key_sees_itself_without_any_scope() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "scopes": ["invoices:read"], "read_only": true }));
    let me = server
        .bearer(&key.secret)
        .get("/v1/whoami")
        .expect(200)
        .json();
    for member in ["id", "hint", "name", "scopes", "state", "workspace"] {
        assert_eq!(me[member], key.key[member], "{member}");
    }
    server
        .anonymous()
        .get("/v1/whoami")
        .refused(401, "unauthenticated");
    server.local().get("/v1/whoami").refused(404, "not-found");
    admin.person("alice", "member", "root");
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    alice.get("/v1/whoami").refused(404, "not-found");
    alice
        .post("/v1/whoami/rotate", json!({}))
        .refused(403, "forbidden");
}

/// attacks 123: a key that rotates itself never gets more rights.
#[test]
fn a_key_rotates_itself_and_stays_what_it_is() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({
        "name": "k", "catalog": "latchkey", "scopes": ["keys:read"], "prefix": "own",
        "expires_at": "2040-01-01T00:00:00Z",
    }));
    let own = server.bearer(&key.secret);
    let body = own.post("/v1/whoami/rotate", json!({})).expect(200).json();
    let secret = body["secret"].as_str().unwrap();
    assert!(
        secret.starts_with(&format!("own_{}", key.id)),
        "prefix and id stay"
    );
    for member in [
        "id",
        "scopes",
        "read_only",
        "expires_at",
        "catalog",
        "created_at",
        "workspace",
    ] {
        assert_eq!(body["key"][member], key.key[member], "{member}");
    }
    own.get("/v1/whoami").refused(401, "unauthenticated");
    assert_eq!(admin.newest_event()["action"], "key.rotate");
    let own = server.bearer(secret);
    own.get("/v1/keys").expect(200);
    own.post("/v1/keys", json!({ "name": "x" }))
        .refused(403, "forbidden");
    own.post("/v1/whoami/rotate", json!({ "grace_s": 1, "x": 1 }))
        .refused_field("x");
}

/// attacks 141
#[test]
fn of_two_rotations_with_one_secret_exactly_one_wins() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "graceful", "self_rotation": "grace" });
    admin.post("/v1/policies", policy).expect(201);
    for body in [
        json!({}),
        json!({ "grace_s": 60 }),
        json!({ "until_first_use": true }),
    ] {
        let key = admin.issue(json!({ "name": "k", "policy": "graceful" }));
        let own = server.bearer(&key.secret);
        let answers = together(4, |_| own.post("/v1/whoami/rotate", body.clone()));
        let winners: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 200)
            .collect();
        assert_eq!(winners.len(), 1, "{body}");
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            loser.refused(401, "unauthenticated");
        }
        let winner = winners[0].json();
        assert_eq!(admin.verdict(winner["secret"].as_str().unwrap()), "VALID");
    }
}

/// finding S10: an attacker who has found a secret cannot replace it by another one unnoticed.
#[test]
fn a_key_rotates_itself_only_as_its_policy_allows() {
    let server = Server::start();
    let admin = server.admin();
    for (name, rule) in [("never", "no"), ("graceful", "grace")] {
        let policy = json!({ "name": name, "self_rotation": rule });
        let made = admin.post("/v1/policies", policy).expect(201).json();
        assert_eq!(made["self_rotation"], rule);
    }
    let standard = admin.get("/v1/policies/standard").expect(200).json();
    assert_eq!(standard["self_rotation"], "at_once");
    let until = json!({ "until_first_use": true });
    for (policy, body, refused) in [
        ("never", json!({}), Some("forbidden")),
        ("never", json!({ "grace_s": 60 }), Some("forbidden")),
        ("standard", json!({}), None),
        ("standard", json!({ "grace_s": 0 }), None),
        ("standard", json!({ "grace_s": 1 }), Some("invalid")),
        ("standard", json!({ "grace_s": 2_592_000 }), Some("invalid")),
        ("standard", until.clone(), Some("invalid")),
        ("graceful", json!({}), None),
        ("graceful", json!({ "grace_s": 3_600 }), None),
        ("graceful", json!({ "grace_s": 3_601 }), Some("invalid")),
        ("graceful", until, None),
        (
            "graceful",
            json!({ "grace_s": 3_601, "until_first_use": true }),
            Some("invalid"),
        ),
    ] {
        let key = admin.issue(json!({ "name": "k", "policy": policy }));
        let answer = server
            .bearer(&key.secret)
            .post("/v1/whoami/rotate", body.clone());
        match refused {
            None => drop(answer.expect(200)),
            Some(why) => {
                match why {
                    "forbidden" => drop(answer.refused(403, why)),
                    _ => answer.refused_field("grace_s"),
                }
                assert_eq!(admin.verdict(&key.secret), "VALID");
                assert_eq!(
                    admin.key(&key.id)["rotated_at"],
                    json!(null),
                    "{policy} {body}"
                );
            }
        }
        // An administrator can rotate every key, with any grace period.
        let graceful = admin.issue(json!({ "name": "k", "policy": policy }));
        admin.rotate(&graceful.id, json!({ "grace_s": 86_400 }));
        assert_eq!(admin.verdict(&graceful.secret), "VALID");
    }
    for policy in ["standard", "graceful"] {
        let reader = admin.issue(json!({ "name": "r", "policy": policy, "read_only": true }));
        let own = server.bearer(&reader.secret);
        own.post("/v1/whoami/rotate", json!({}))
            .refused(403, "forbidden");
        assert_eq!(admin.verdict(&reader.secret), "VALID");
    }
}

/// finding S10: the permission to manage keys does not bypass this rule.
#[test]
fn a_management_key_rotates_itself_under_the_same_rule() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "never", "self_rotation": "no" });
    admin.post("/v1/policies", policy).expect(201);
    let manager = |policy: &str| {
        let key = json!({ "name": "m", "catalog": "latchkey", "scopes": ["keys:write"], "policy": policy });
        admin.issue(key)
    };
    let (key, never) = (manager("standard"), manager("never"));
    let path = |id: &str| format!("/v1/keys/{id}/rotate");
    let own = server.bearer(&key.secret);
    own.post(&path(&key.id), json!({ "grace_s": 60 }))
        .refused_field("grace_s");
    own.post(&path(&key.id), json!({ "until_first_use": true }))
        .refused_field("grace_s");
    server
        .bearer(&never.secret)
        .post(&path(&never.id), json!({}))
        .refused(403, "forbidden");
    // The rule does not apply to other keys that it manages.
    own.post(&path(&never.id), json!({ "grace_s": 60 }))
        .expect(200);
    own.post(&path(&key.id), json!({})).expect(200);
}

/// finding S10
#[test]
fn a_key_that_rotated_itself_says_from_where() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    assert_eq!(key.key["self_rotated_from"], json!(null));
    let own = server.bearer(&key.secret);
    let answer = own.post("/v1/whoami/rotate", json!({})).expect(200).json();
    assert_eq!(answer["key"]["self_rotated_from"], "127.0.0.1");
    let event = admin.newest_event();
    assert_eq!(
        (&event["action"], &event["source"]),
        (&json!("key.rotate"), &json!("127.0.0.1"))
    );
    assert_eq!(
        event["changes"]["self_rotated_from"],
        json!(["", "127.0.0.1"])
    );
    assert_eq!(admin.key(&key.id)["self_rotated_from"], "127.0.0.1");
    admin.rotate(&key.id, json!({}));
    assert_eq!(admin.key(&key.id)["self_rotated_from"], json!(null));
}
