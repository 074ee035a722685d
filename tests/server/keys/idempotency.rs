//! Retries: the same Idempotency-Key creates one key, and only the first answer contains its secret.

use serde_json::json;

use crate::support::{PASSWORD, Server, together};

/// attacks 131
#[test]
fn a_retry_answers_with_the_same_key_without_its_secret() {
    let server = Server::start();
    let admin = server.admin();
    let once = admin.clone().with("Idempotency-Key", "order-7");
    let body = json!({ "name": "zebra" });
    let first = once.post("/v1/keys", body.clone()).expect(201).json();
    let head = admin.newest_event();
    let second = once.post("/v1/keys", body.clone()).expect(201).json();
    assert_eq!(second["key"], first["key"]);
    assert_eq!(
        (&first["secret"].is_string(), &second["secret"]),
        (&true, &json!(null))
    );
    assert_eq!(admin.get("/v1/keys?q=zebra").ids().len(), 1);
    assert_eq!(admin.newest_event(), head, "a retry is no second change");

    once.post("/v1/keys", json!({ "name": "other" }))
        .refused_field("Idempotency-Key");
    once.post("/v1/keys", json!({ "name": "zebra", "read_only": false }))
        .refused_field("Idempotency-Key");
    let other_name = admin.clone().with("Idempotency-Key", "order-8");
    assert_ne!(
        other_name.post("/v1/keys", body.clone()).expect(201).json()["key"]["id"],
        first["key"]["id"]
    );
    // Each caller has its own Idempotency-Keys.
    let scopes = json!(["keys:write"]);
    let other = admin.issue(json!({ "name": "m", "catalog": "latchkey", "scopes": scopes }));
    let other = server
        .bearer(&other.secret)
        .with("Idempotency-Key", "order-7");
    let theirs = other.post("/v1/keys", body.clone()).expect(201).json();
    assert!(theirs["secret"].is_string() && theirs["key"]["id"] != first["key"]["id"]);
    // The Idempotency-Key of a refused request can be used again.
    let retried = admin.clone().with("Idempotency-Key", "order-9");
    retried
        .post("/v1/keys", json!({ "name": "" }))
        .refused_field("name");
    retried.post("/v1/keys", body).expect(201);
}

#[test]
fn retries_at_once_make_one_key_and_tell_one_secret() {
    let server = Server::start();
    let once = server.admin().with("Idempotency-Key", "storm");
    let answers = together(16, |_| {
        once.post("/v1/keys", json!({ "name": "stormy" }))
            .expect(201)
            .json()
    });
    let secrets = answers
        .iter()
        .filter(|answer| answer["secret"].is_string())
        .count();
    assert_eq!(secrets, 1, "exactly one answer has the secret");
    assert!(
        answers
            .iter()
            .all(|answer| answer["key"]["id"] == answers[0]["key"]["id"])
    );
    assert_eq!(server.admin().get("/v1/keys?q=stormy").ids().len(), 1);
}

#[test]
fn a_retry_after_a_restart_is_still_a_retry() {
    let mut server = Server::start();
    let body = json!({ "name": "k" });
    let once = |server: &Server| {
        server
            .admin()
            .with("Idempotency-Key", "a")
            .post("/v1/keys", body.clone())
            .expect(201)
            .json()
    };
    let first = once(&server);
    server.kill9();
    server.restart();
    let second = once(&server);
    assert_eq!(
        (&second["key"]["id"], &second["secret"]),
        (&first["key"]["id"], &json!(null))
    );
}

#[test]
fn names_of_retries_are_short_visible_and_single() {
    let server = Server::start();
    let admin = server.admin();
    let long = "x".repeat(201);
    for name in ["", "a b", "é", &long] {
        let user = admin.clone().with("Idempotency-Key", name);
        user.post("/v1/keys", json!({ "name": "k" }))
            .refused_field("Idempotency-Key");
    }
    let twice = admin
        .clone()
        .with("Idempotency-Key", "a")
        .with("Idempotency-Key", "a");
    twice
        .post("/v1/keys", json!({ "name": "k" }))
        .refused_field("Idempotency-Key");
    admin
        .with("Idempotency-Key", &long[..200])
        .post("/v1/keys", json!({ "name": "k" }))
        .expect(201);
}

#[test]
fn users_and_workspaces_are_made_once_too() {
    let server = Server::start();
    let admin = server.admin();
    let once = admin.clone().with("Idempotency-Key", "place");
    let place = json!({ "slug": "emea" });
    let first = once
        .post("/v1/workspaces", place.clone())
        .expect(201)
        .json();
    assert_eq!(
        once.post("/v1/workspaces", place.clone())
            .expect(201)
            .json(),
        first
    );
    admin.post("/v1/workspaces", place).refused(409, "conflict");
    let person = json!({ "user_name": "alice", "password": PASSWORD });
    once.post("/v1/users", person.clone())
        .refused_field("Idempotency-Key");
    let once = admin.clone().with("Idempotency-Key", "person");
    let first = once.post("/v1/users", person.clone()).expect(201).json();
    assert_eq!(
        once.post("/v1/users", person.clone()).expect(201).json(),
        first
    );
    let other = json!({ "user_name": "alice", "password": "nine anchors in the meadow" });
    once.post("/v1/users", other)
        .refused_field("Idempotency-Key");
    admin.delete("/v1/users/alice").expect(204);
    once.post("/v1/users", person).refused(404, "not-found");
}

#[test]
fn a_policy_is_made_once_too() {
    let server = Server::start();
    let admin = server.admin();
    let once = admin.clone().with("Idempotency-Key", "rules");
    let policy = json!({ "name": "short", "expiry": "required", "expiry_s_max": 60 });
    let first = once.post("/v1/policies", policy.clone()).expect(201).json();
    let head = admin.newest_event();
    let second = once.post("/v1/policies", policy.clone()).expect(201).json();
    assert_eq!(second, first);
    assert_eq!(admin.newest_event(), head, "a retry is no second change");
    admin
        .post("/v1/policies", policy.clone())
        .refused(409, "conflict");
    once.post("/v1/policies", json!({ "name": "long" }))
        .refused_field("Idempotency-Key");
    admin
        .with("Idempotency-Key", "a b")
        .post("/v1/policies", json!({ "name": "long" }))
        .refused_field("Idempotency-Key");
}

#[test]
fn a_retry_shows_no_key_that_may_not_be_seen_any_more() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("apac", "root");
    admin.person("kim", "key_manager", "emea");
    let once = server
        .anonymous()
        .signed_in("kim", PASSWORD)
        .with("Idempotency-Key", "a");
    let body = json!({ "name": "k", "workspace": "emea" });
    once.post("/v1/keys", body.clone()).expect(201);
    once.post("/v1/keys", body.clone()).expect(201);
    let roles = json!({ "roles": [{ "workspace": "apac", "role": "key_manager" }] });
    admin.put("/v1/users/kim/roles", roles).expect(200);
    once.post("/v1/keys", body).refused(404, "not-found");
}

#[test]
fn whoever_gets_a_name_that_became_free_does_not_get_its_retries() {
    let server = Server::start();
    let admin = server.admin();
    let body = json!({ "name": "k" });
    let mut made = Vec::new();
    for _ in 0..2 {
        admin.person("ann", "administrator", "root");
        let once = server
            .anonymous()
            .signed_in("ann", PASSWORD)
            .with("Idempotency-Key", "a");
        let answer = once.post("/v1/keys", body.clone()).expect(201).json();
        assert!(answer["secret"].is_string(), "{answer}");
        made.push(answer["key"]["id"].clone());
        admin.delete("/v1/users/ann").expect(204);
    }
    assert_ne!(made[0], made[1]);
}
