//! Sessions: signing in and out, rate limits, and what ends all sessions of a user.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Server};

fn sign_in(server: &Server, name: &str, password: &str) -> Response {
    server.anonymous().post(
        "/v1/sessions",
        json!({ "user_name": name, "password": password }),
    )
}

/// The parts of a refusal that do not differ between requests.
fn shape(response: &Response) -> (u16, Value, Option<String>) {
    let mut problem = response.json();
    problem["request_id"] = json!(null);
    (
        response.status,
        problem,
        response.header("www-authenticate").map(str::to_owned),
    )
}

#[test]
fn a_session_acts_as_its_user_until_it_is_ended() {
    let server = Server::start();
    let session = sign_in(
        &server,
        &server.owner_user_name.to_uppercase(),
        &server.owner_password,
    )
    .expect(201)
    .json();
    assert!(
        session["expires_in_s"]
            .as_u64()
            .is_some_and(|life| life > 0)
    );
    assert_eq!(session.as_object().unwrap().len(), 2, "{session}");
    let owner = server.bearer(session["access_token"].as_str().unwrap());
    owner.put("/v1/catalogs/shop", json!({})).expect(201);
    assert_eq!(owner.newest_event()["actor"], "user:owner");
    let other = server
        .anonymous()
        .signed_in("owner", &server.owner_password);
    owner.delete("/v1/sessions/current").expect(204);
    owner.get("/v1/keys").refused(401, "unauthenticated");
    owner
        .delete("/v1/sessions/current")
        .refused(401, "unauthenticated");
    other.get("/v1/keys").expect(200);
    server
        .admin()
        .delete("/v1/sessions/current")
        .refused(404, "not-found");
}

#[test]
fn sessions_survive_a_restart() {
    let mut server = Server::start();
    let owner = server
        .anonymous()
        .signed_in("owner", &server.owner_password);
    server.kill9();
    server.restart();
    owner.get("/v1/keys").expect(200);
    owner.delete("/v1/sessions/current").expect(204);
    server.kill9();
    server.restart();
    owner.get("/v1/keys").refused(401, "unauthenticated");
}

/// attacks 175: for an unknown user, a wrong password, and a disabled or deleted user or one without a password, the
/// answers are the same and take equally long.
#[test]
fn nobody_learns_who_exists_by_signing_in() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("off", "member", "root");
    admin.person("gone", "member", "root");
    admin
        .patch("/v1/users/off", json!({ "enabled": false }))
        .expect(200);
    admin.delete("/v1/users/gone").expect(204);
    admin
        .post("/v1/users", json!({ "user_name": "bare" }))
        .expect(201);
    let reference = sign_in(&server, "alice", "a wrong password of hers");
    reference.refused(401, "unauthenticated");
    for (name, password) in [
        ("nobody", PASSWORD),
        ("no name at all!", PASSWORD),
        (&"n".repeat(10_000), PASSWORD),
        ("off", PASSWORD),
        ("gone", PASSWORD),
        ("bare", ""),
        ("bare", PASSWORD),
    ] {
        assert_eq!(
            shape(&sign_in(&server, name, password)),
            shape(&reference),
            "{name}"
        );
    }
    let mut server = server;
    server.restart();
    let best = |name: &str| -> Duration {
        let times = (0..4).map(|_| {
            let before = server.processor_time();
            sign_in(&server, name, "a wrong password of hers").expect(401);
            server.processor_time() - before
        });
        times.min().unwrap()
    };
    let (known, unknown) = (best("alice"), best("nobody-else"));
    assert!(
        unknown * 5 > known && known * 5 > unknown,
        "known {known:?}, unknown {unknown:?}"
    );
    let event = admin.newest_event();
    assert_eq!(
        (&event["action"], &event["outcome"]),
        (&json!("session.create"), &json!("denied"))
    );
}

/// attacks 115, 175: an attacker tries many names from one network. In IPv6 a network is a /64.
#[test]
fn ten_failures_over_several_accounts_hold_a_network_up() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("bob", "member", "root");
    admin.person("carol", "member", "root");
    let from = |address: &str, name: &str, password: &str| {
        let client = server.anonymous().with("X-Forwarded-For", address);
        client.post(
            "/v1/sessions",
            json!({ "user_name": name, "password": password }),
        )
    };
    from("2001:db8::1", "carol", PASSWORD).expect(201);
    for attempt in 0..10 {
        from(
            &format!("2001:db8::{attempt}"),
            &format!("user{attempt}"),
            "wrong wrong wrong",
        )
        .expect(401);
    }
    let refused = from("2001:db8::ffff", "bob", PASSWORD);
    refused.refused(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    from("2001:db8:0:1::1", "bob", PASSWORD).expect(201);
    // A user who has signed in from this network before can still do so.
    from("2001:db8::ffff", "carol", PASSWORD).expect(201);
    server.assert_alive();
}

/// attacks 105: an unreadable list of addresses does not hide its sender from the count.
#[test]
fn an_address_that_cannot_be_read_is_counted_as_the_proxys() {
    let server = Server::start();
    let hops = "127.0.0.1, ".repeat(100) + "127.0.0.1";
    let from = |garbage: &str, attempt: usize| {
        let client = server.anonymous().with("X-Forwarded-For", garbage);
        let body =
            json!({ "user_name": format!("user{attempt}"), "password": "wrong wrong wrong" });
        client.post("/v1/sessions", body)
    };
    for attempt in 0..10 {
        from(["é", &hops][attempt % 2], attempt).expect(401);
    }
    assert_eq!(server.admin().newest_event()["source"], "127.0.0.1");
    from("é", 10).refused(429, "too-many-requests");
    from(&hops, 11).refused(429, "too-many-requests");
    from("é, 203.0.113.9", 12).expect(401);
}

#[test]
fn disabling_a_user_stops_keys_and_sessions_at_once_and_the_sessions_for_good() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    let key = admin.issue(json!({ "name": "k", "owner": "alice" }));
    let tool =
        json!({ "name": "tool", "owner": "alice", "catalog": "latchkey", "scopes": ["keys:read"] });
    let tool = server.bearer(&admin.issue(tool).secret);
    tool.get("/v1/keys").expect(200);
    admin
        .patch("/v1/users/alice", json!({ "enabled": false }))
        .expect(200);
    alice.get("/v1/keys").refused(401, "unauthenticated");
    tool.get("/v1/keys").refused(401, "unauthenticated");
    assert_eq!(admin.verdict(&key.secret), "OWNER_DISABLED");
    assert_eq!(admin.key(&key.id)["state"], "owner_disabled");
    admin
        .patch("/v1/users/alice", json!({ "enabled": true }))
        .expect(200);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    tool.get("/v1/keys").expect(200);
    alice.get("/v1/keys").refused(401, "unauthenticated");
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    admin.delete("/v1/users/alice").expect(204);
    alice.get("/v1/keys").refused(401, "unauthenticated");
    assert_eq!(admin.verdict(&key.secret), "OWNER_DISABLED");
}

/// attacks 179
#[test]
fn a_new_password_ends_all_sessions_and_takes_the_current_one() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let new = "nine anchors in the meadow";
    let first = server.anonymous().signed_in("alice", PASSWORD);
    let second = server.anonymous().signed_in("alice", PASSWORD);
    let path = "/v1/users/alice/password";
    first
        .post(path, json!({ "password": new }))
        .refused_field("current_password");
    first
        .post(
            path,
            json!({ "password": new, "current_password": "wrong wrong wrong" }),
        )
        .refused(403, "forbidden");
    let event = admin.newest_event();
    assert_eq!(
        (&event["action"], &event["outcome"], &event["actor"]),
        (
            &json!("user.password"),
            &json!("denied"),
            &json!("user:alice")
        )
    );
    first.get("/v1/keys").expect(200);
    first
        .post(
            path,
            json!({ "password": new, "current_password": PASSWORD }),
        )
        .expect(204);
    for session in [&first, &second] {
        session.get("/v1/keys").refused(401, "unauthenticated");
    }
    sign_in(&server, "alice", PASSWORD).expect(401);
    let third = server.anonymous().signed_in("alice", new);
    admin
        .post(path, json!({ "password": PASSWORD }))
        .expect(204);
    third.get("/v1/keys").refused(401, "unauthenticated");
    server.anonymous().signed_in("alice", PASSWORD);
}
