//! What a key may do with itself: look, and rotate.

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

/// attacks 123: rotating oneself never gives more rights.
#[test]
fn a_key_rotates_itself_and_stays_what_it_is() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({
        "name": "k", "catalog": "latchkey", "scopes": ["keys:read"], "read_only": true, "prefix": "own",
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
    for body in [
        json!({}),
        json!({ "grace_s": 60 }),
        json!({ "until_first_use": true }),
    ] {
        let key = admin.issue(json!({ "name": "k" }));
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
