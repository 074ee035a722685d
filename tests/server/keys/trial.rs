//! A trial of a key answers with the verdict that a request would get, why, and what would change it. It spends nothing.

use serde_json::{Value, json};

use crate::support::{Issued, PASSWORD, Server, User};

fn shop(admin: &User) {
    let catalog = json!({
        "scopes": [{ "name": "invoices:read" }, { "name": "invoices:write" }, { "name": "audit:read" }],
        "operations": [
            { "id": "list", "method": "GET", "path": "/invoices", "any_of": ["invoices:read"], "access": "read" },
            { "id": "put", "method": "PUT", "path": "/invoices/{id}", "any_of": ["invoices:write"], "access": "write" },
            { "id": "audit", "method": "GET", "path": "/audit", "all_of": ["audit:read", "invoices:read"], "access": "read" },
            { "id": "off", "method": "GET", "path": "/off", "any_of": [], "access": "read" },
        ],
    });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
}

fn tried(admin: &User, key: &Issued, request: Value) -> Value {
    let path = format!("/v1/keys/{}/test", key.id);
    admin.post(&path, request).expect(200).json()
}

/// The same question about the secret of the key, which counts.
fn verdict(admin: &User, key: &Issued, request: &Value) -> Value {
    let mut question = request.clone();
    question["key"] = json!(key.secret);
    admin.verify(question)
}

#[test]
fn a_trial_has_the_verdict_of_a_verification_and_says_what_would_change_it() {
    let server = Server::start();
    let admin = server.admin();
    shop(&admin);
    let of_shop = |more: Value| {
        let mut key = json!({ "name": "k", "catalog": "shop", "scopes": ["invoices:read"] });
        for (name, value) in more.as_object().unwrap() {
            key[name] = value.clone();
        }
        admin.issue(key)
    };
    let plain = of_shop(json!({}));
    let read_only = of_shop(json!({ "read_only": true, "scopes": ["invoices:write"] }));
    let bound = of_shop(json!({ "allowed_ips": ["203.0.113.0/24"] }));
    let later = of_shop(json!({ "not_before": "2999-01-01T00:00:00Z" }));
    let free = admin.issue(json!({ "name": "free", "scopes": ["a"] }));
    let disabled = of_shop(json!({ "enabled": false }));
    admin
        .put(
            "/v1/catalogs/other",
            json!({ "scopes": [], "operations": [] }),
        )
        .expect(201);
    let get = |path: &str| json!({ "method": "GET", "path": path });
    for (key, request, words) in [
        (&plain, json!({}), "The key opens this request"),
        (&plain, get("/invoices"), "opens this request"),
        (&plain, get("/invoices?page=2"), "opens this request"),
        (
            &plain,
            get("/audit"),
            "GET /audit needs audit:read, invoices:read; this key has invoices:read",
        ),
        (
            &plain,
            json!({ "method": "PUT", "path": "/invoices/7" }),
            "needs invoices:write; this key has invoices:read",
        ),
        (
            &plain,
            get("/nowhere"),
            "catalog shop has no operation for GET /nowhere",
        ),
        (&plain, get("/off"), "closes GET /off to all keys"),
        (&plain, get("/invoices/../x"), "servers may read"),
        (
            &plain,
            json!({ "scopes": ["audit:read"] }),
            "this request needs audit:read",
        ),
        (
            &plain,
            json!({ "catalog": "other" }),
            "ask for catalog shop",
        ),
        (&free, json!({ "catalog": "shop" }), "belongs to no catalog"),
        (
            &free,
            json!({ "scopes": ["b"] }),
            "needs b; this key has a; add what is missing",
        ),
        (&free, get("/x"), "belongs to no catalog"),
        (
            &read_only,
            json!({ "method": "PUT", "path": "/invoices/7" }),
            "changes something, and the key is read-only",
        ),
        (
            &bound,
            json!({ "ip": "198.51.100.7" }),
            "198.51.100.7 is not among the addresses of the key (203.0.113.0/24)",
        ),
        (&bound, json!({ "ip": "203.0.113.7" }), "opens this request"),
        (&bound, json!({}), "enter the address of the client"),
        (&later, json!({}), "works only from 2999-01-01"),
        (&disabled, json!({}), "enable it"),
    ] {
        let found = tried(&admin, key, request.clone());
        let real = verdict(&admin, key, &request);
        for member in ["valid", "code", "reason"] {
            assert_eq!(found[member], real[member], "{member}: {request} {found}");
        }
        let detail = found["detail"].as_str().unwrap().to_lowercase();
        assert!(
            detail.contains(&words.to_lowercase()),
            "{request}: {detail}"
        );
    }
    admin.delete(&format!("/v1/keys/{}", plain.id)).expect(204);
    let gone = tried(&admin, &plain, json!({}));
    assert_eq!(
        (&gone["valid"], &gone["code"]),
        (&json!(false), &json!("NOT_FOUND"))
    );
}

#[test]
fn a_trial_spends_no_limit_and_counts_nowhere_and_tells_when_a_limit_is_used_up() {
    let server = Server::start();
    let admin = server.admin();
    let limited =
        json!({ "name": "k", "uses_left": 2, "rate_limit": { "limit": 1, "window_s": 3600 } });
    let key = admin.issue(limited);
    for _ in 0..5 {
        assert_eq!(tried(&admin, &key, json!({}))["code"], "VALID");
    }
    let shown = admin.key(&key.id);
    assert_eq!(
        (&shown["uses_left"], &shown["use_count"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(admin.verdict(&key.secret), "VALID");
    for _ in 0..2 {
        let found = tried(&admin, &key, json!({}));
        assert_eq!(found["code"], "RATE_LIMITED");
        let detail = found["detail"].as_str().unwrap();
        assert!(detail.contains("1 request in 3600 seconds"), "{detail}");
    }
    admin.edit(&key.id, json!({ "rate_limit": null, "uses_left": 0 }));
    assert_eq!(tried(&admin, &key, json!({}))["code"], "USAGE_EXCEEDED");
    let usage = admin
        .get(&format!("/v1/usage?key={}", key.id))
        .expect(200)
        .json();
    let counts: Vec<&Value> = usage["items"].as_array().unwrap().iter().collect();
    assert_eq!(counts.len(), 1, "{usage}");
    assert_eq!(counts[0]["code"], "VALID");
    let refusals = admin
        .get(&format!("/v1/keys/{}/refusals", key.id))
        .expect(200)
        .json();
    assert_eq!(refusals["items"], json!([]));
    assert_eq!(admin.key(&key.id)["use_count"], 1);
}

#[test]
fn a_trial_does_not_start_a_bound_that_a_policy_has_got_since() {
    let server = Server::start();
    let admin = server.admin();
    admin
        .post(
            "/v1/policies",
            json!({ "name": "tight", "rate_limit_max": null }),
        )
        .expect(201);
    let key = admin.issue(json!({ "name": "k", "policy": "tight" }));
    let bound = json!({ "rate_limit_max": { "limit": 1, "window_s": 3600 } });
    admin.patch("/v1/policies/tight", bound).expect(200);
    for _ in 0..3 {
        assert_eq!(tried(&admin, &key, json!({}))["code"], "VALID");
    }
    assert_eq!(admin.verdict(&key.secret), "VALID");
    assert_eq!(tried(&admin, &key, json!({}))["code"], "RATE_LIMITED");
}

#[test]
fn a_trial_for_an_owner_tells_that_the_owners_roles_are_missing() {
    let server = Server::start();
    let admin = server.admin();
    shop(&admin);
    admin.person("alice", "key_manager", "root");
    admin
        .post(
            "/v1/policies",
            json!({ "name": "own", "issued_by": "owner", "owner": "required", "acts_for_owner": true }),
        )
        .expect(201);
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    let key = alice.issue(json!({
        "name": "k", "policy": "own", "owner": "alice", "catalog": "shop", "scopes": ["invoices:read"],
    }));
    let request = json!({ "method": "GET", "path": "/invoices" });
    assert_eq!(tried(&admin, &key, request.clone())["code"], "VALID");
    admin
        .put("/v1/users/alice/roles", json!({ "roles": [] }))
        .expect(200);
    let found = tried(&admin, &key, request.clone());
    assert_eq!(found["code"], verdict(&admin, &key, &request)["code"]);
    let detail = found["detail"].as_str().unwrap();
    assert!(detail.contains("acts for its owner alice"), "{detail}");
    admin
        .patch("/v1/users/alice", json!({ "enabled": false }))
        .expect(200);
    assert_eq!(tried(&admin, &key, request)["code"], "OWNER_DISABLED");
}

#[test]
fn what_cannot_be_tried_is_refused_at_its_member() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let path = format!("/v1/keys/{}/test", key.id);
    let long = "x".repeat(5_000);
    for (request, field) in [
        (json!({ "method": "GET" }), "path"),
        (json!({ "path": "/x" }), "method"),
        (json!({ "host": "x" }), "path"),
        (json!({ "ip": "nowhere" }), "ip"),
        (json!({ "catalog": "none" }), "catalog"),
        (json!({ "workspace": "none" }), "workspace"),
        (json!({ "method": "GET", "path": long }), "path"),
        (json!({ "scopes": vec!["a"; 201] }), "scopes"),
        (json!({ "key": key.secret }), "key"),
    ] {
        admin.post(&path, request).refused_field(field);
    }
}

#[test]
fn a_trial_does_not_tell_which_catalogs_there_are() {
    let server = Server::start();
    let admin = server.admin();
    shop(&admin);
    let key = admin.issue(json!({ "name": "k" }));
    let of_shop =
        admin.issue(json!({ "name": "s", "catalog": "shop", "scopes": ["invoices:read"] }));
    let reader =
        admin.issue(json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:read"] }));
    let reader = server.bearer(&reader.secret);
    reader.get("/v1/catalogs/shop").expect(403);
    let path = format!("/v1/keys/{}/test", key.id);
    let answer = |name: &str| {
        let mut problem = reader
            .post(&path, json!({ "catalog": name }))
            .expect(422)
            .json();
        problem["request_id"] = json!(null);
        problem
    };
    assert_eq!(answer("shop"), answer("none"));
    admin.post(&path, json!({ "catalog": "shop" })).expect(200);
    // The catalog of a key that the caller sees is no secret.
    let request = json!({ "catalog": "shop", "method": "GET", "path": "/invoices" });
    assert_eq!(tried(&reader, &of_shop, request)["code"], "VALID");
}
