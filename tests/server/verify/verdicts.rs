//! Every verdict code, and the order in which the reasons take precedence.
//!
//! `WRONG_HEADER` occurs only where a request has headers: in forward-auth and for callers of this server.

use serde_json::{Value, json};

use crate::support::{Server, User, wait};

fn put_billing(admin: &User) {
    let catalog = json!({
        "scopes": [{ "name": "invoices:read" }, { "name": "invoices:write", "implies": ["invoices:read"] }],
        "operations": [
            { "id": "read", "method": "GET", "path": "/invoices/{id}", "access": "read", "any_of": ["invoices:read"] },
            { "id": "write", "method": "POST", "path": "/invoices", "access": "write", "any_of": ["invoices:write"] },
            { "id": "free", "method": "POST", "path": "/hello", "access": "write", "any_key": true },
        ],
    });
    admin.put("/v1/catalogs/billing", catalog).expect(201);
}

/// Verifies a key that was issued with these members.
#[track_caller]
fn check(admin: &User, key: Value, question: Value, code: &str) -> Value {
    let mut key = key;
    key["name"] = json!("k");
    let issued = admin.issue(key);
    let mut question = question;
    question["key"] = json!(issued.secret);
    let verdict = admin.verify(question.clone());
    assert_eq!(verdict["code"], code, "{question}");
    assert_eq!(verdict["valid"], code == "VALID", "{verdict}");
    assert_eq!(
        verdict["key_id"],
        issued.id.as_str(),
        "the secret matched, so the id is told"
    );
    if code != "VALID" {
        for member in [
            "name",
            "workspace",
            "owner",
            "scopes",
            "metadata",
            "uses_left",
        ] {
            assert!(
                verdict.get(member).is_none(),
                "a refusal tells {member}: {verdict}"
            );
        }
    }
    verdict
}

#[test]
fn every_reason_has_its_code() {
    let server = Server::start();
    let admin = server.admin();
    put_billing(&admin);
    admin.workspace("emea", "root");
    admin.workspace("closed", "root");
    admin.person("gone", "member", "root");
    admin
        .patch("/v1/users/gone", json!({ "enabled": false }))
        .expect(200);
    admin
        .patch("/v1/workspaces/closed", json!({ "enabled": false }))
        .expect(200);

    let nothing = || json!({});
    check(
        &admin,
        json!({ "owner": "gone" }),
        nothing(),
        "OWNER_DISABLED",
    );
    check(
        &admin,
        json!({ "workspace": "closed" }),
        nothing(),
        "WORKSPACE_DISABLED",
    );
    check(&admin, json!({ "enabled": false }), nothing(), "DISABLED");
    check(
        &admin,
        json!({ "not_before": "2990-01-01T00:00:00Z" }),
        nothing(),
        "NOT_YET_VALID",
    );
    let listed = || json!({ "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"] });
    check(&admin, listed(), nothing(), "IP_NOT_ALLOWED");
    check(
        &admin,
        listed(),
        json!({ "ip": "192.0.2.1" }),
        "IP_NOT_ALLOWED",
    );
    check(&admin, listed(), json!({ "ip": "10.255.0.1" }), "VALID");
    // attacks 108, 109
    check(
        &admin,
        listed(),
        json!({ "ip": "::ffff:10.0.0.1" }),
        "VALID",
    );
    check(&admin, listed(), json!({ "ip": "::ffff:a00:1" }), "VALID");
    check(
        &admin,
        listed(),
        json!({ "ip": "::10.0.0.1" }),
        "IP_NOT_ALLOWED",
    );
    check(
        &admin,
        listed(),
        json!({ "ip": "64:ff9b::a00:1" }),
        "IP_NOT_ALLOWED",
    );
    check(
        &admin,
        json!({ "scopes": ["a"] }),
        json!({ "scopes": ["a", "b"] }),
        "INSUFFICIENT_SCOPE",
    );
    check(
        &admin,
        nothing(),
        json!({ "catalog": "billing" }),
        "INSUFFICIENT_SCOPE",
    );
    let reader =
        || json!({ "catalog": "billing", "scopes": ["invoices:write"], "read_only": true });
    let post = json!({ "method": "POST", "path": "/invoices" });
    check(&admin, reader(), post.clone(), "READ_ONLY");
    check(
        &admin,
        reader(),
        json!({ "method": "GET", "path": "/invoices/7" }),
        "VALID",
    );
    check(
        &admin,
        json!({ "workspace": "emea" }),
        json!({ "workspace": "root" }),
        "OUTSIDE_WORKSPACE",
    );
    check(&admin, nothing(), json!({ "workspace": "emea" }), "VALID");
    check(
        &admin,
        json!({ "rate_limit": { "limit": 0, "window_s": 1 } }),
        nothing(),
        "RATE_LIMITED",
    );
    check(
        &admin,
        json!({ "uses_left": 0 }),
        nothing(),
        "USAGE_EXCEEDED",
    );
    let brief = admin.issue(json!({ "name": "brief", "expires_in_s": 1 }));
    wait::until("the key has expired", || {
        admin.verdict(&brief.secret) == "EXPIRED"
    });
}

/// A key with every fault at once; the test removes the faults one by one in the order of the API documentation.
#[test]
fn the_gravest_reason_is_told_first() {
    let server = Server::start();
    let admin = server.admin();
    put_billing(&admin);
    admin.workspace("emea", "root");
    admin.person("alice", "member", "root");
    let key = admin.issue(json!({
        "name": "k", "owner": "alice", "workspace": "emea", "catalog": "billing", "scopes": ["invoices:read"],
        "read_only": true, "enabled": false, "not_before": "2990-01-01T00:00:00Z", "allowed_ips": ["10.0.0.1"],
        "rate_limit": { "limit": 0, "window_s": 60 }, "uses_left": 0,
    }));
    admin
        .patch("/v1/users/alice", json!({ "enabled": false }))
        .expect(200);
    admin
        .patch("/v1/workspaces/emea", json!({ "enabled": false }))
        .expect(200);
    let mut question = json!({
        "key": key.secret, "method": "POST", "path": "/invoices", "ip": "192.0.2.1", "workspace": "root",
    });
    let told = |question: &Value| {
        admin.verify(question.clone())["code"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    assert_eq!(told(&question), "OWNER_DISABLED");
    admin
        .patch("/v1/users/alice", json!({ "enabled": true }))
        .expect(200);
    assert_eq!(told(&question), "WORKSPACE_DISABLED");
    admin
        .patch("/v1/workspaces/emea", json!({ "enabled": true }))
        .expect(200);
    assert_eq!(told(&question), "DISABLED");
    admin.edit(&key.id, json!({ "enabled": true }));
    assert_eq!(told(&question), "NOT_YET_VALID");
    admin.edit(&key.id, json!({ "not_before": null, "expires_in_s": 1 }));
    wait::until("the key has expired", || told(&question) == "EXPIRED");
    admin.edit(&key.id, json!({ "expires_at": null }));
    assert_eq!(told(&question), "IP_NOT_ALLOWED");
    question["ip"] = json!("10.0.0.1");
    assert_eq!(told(&question), "INSUFFICIENT_SCOPE");
    admin.edit(&key.id, json!({ "scopes": ["invoices:write"] }));
    assert_eq!(told(&question), "READ_ONLY");
    admin.edit(&key.id, json!({ "read_only": false }));
    assert_eq!(told(&question), "OUTSIDE_WORKSPACE");
    question["workspace"] = json!("emea");
    assert_eq!(told(&question), "RATE_LIMITED");
    admin.edit(
        &key.id,
        json!({ "rate_limit": { "limit": 1, "window_s": 60 } }),
    );
    assert_eq!(told(&question), "USAGE_EXCEEDED");
    admin.edit(&key.id, json!({ "uses_left": 1 }));
    assert_eq!(
        told(&question),
        "VALID",
        "and no refusal has spent anything"
    );
    assert_eq!(told(&question), "RATE_LIMITED");
}

#[test]
fn a_verdict_in_favour_tells_what_the_contract_promises() {
    let server = Server::start();
    let admin = server.admin();
    put_billing(&admin);
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    let verdict = check(
        &admin,
        json!({
            "workspace": "emea", "owner": "alice", "catalog": "billing", "scopes": ["invoices:write"],
            "expires_at": "2990-01-01T00:00:00Z", "rate_limit": { "limit": 60, "window_s": 60 }, "uses_left": 9,
            "metadata": { "script": "</script>\r\n" },
        }),
        json!({ "scopes": ["invoices:read"], "cost": 2 }),
        "VALID",
    );
    assert_eq!(
        verdict,
        json!({
            "valid": true, "code": "VALID", "key_id": verdict["key_id"], "name": "k", "workspace": "emea",
            "owner": "alice", "scopes": ["invoices:write"], "read_only": false,
            "expires_at": "2990-01-01T00:00:00Z",
            "rate_limit": { "limit": 60, "window_s": 60, "remaining": 58, "reset_s": 60 },
            "uses_left": 7, "metadata": { "script": "</script>\r\n" },
        })
    );
}

/// attacks 50, 57
#[test]
fn a_secret_in_another_header_than_its_policy_names_is_no_good() {
    let server = Server::start();
    let admin = server.admin();
    for (name, headers) in [
        ("tokens", json!(["token"])),
        ("own", json!(["x-billing-key"])),
    ] {
        let policy = json!({ "name": name, "headers": headers });
        admin.post("/v1/policies", policy).expect(201);
    }
    let ways = |secret: &str| {
        [
            ("Authorization", format!("Bearer {secret}")),
            ("Authorization", format!("Token {secret}")),
            ("X-API-Key", secret.to_owned()),
            ("X-Billing-Key", secret.to_owned()),
        ]
    };
    for (policy, statuses) in [
        ("tokens", [401, 200, 401, 401]),
        ("own", [401, 401, 401, 200]),
        ("standard", [200, 200, 200, 401]),
    ] {
        let key = admin.issue(json!({ "name": "k", "policy": policy }));
        let told = ways(&key.secret).map(|(name, value)| {
            let asked = [(name, value.as_str())];
            server.call("GET", "/auth/caddy", &asked, None).status
        });
        assert_eq!(told, statuses, "{policy}");
        // Refusals are counted under their code.
        let usage = admin.get(&format!("/v1/usage?key={}", key.id)).expect(200);
        let count = |code: &str| {
            let json = usage.json();
            let rows = json["items"].as_array().unwrap().iter();
            rows.filter(|row| row["code"] == code)
                .map(|row| row["count"].as_u64().unwrap())
                .sum::<u64>()
        };
        let valid = statuses.iter().filter(|status| **status == 200).count() as u64;
        assert_eq!(count("VALID"), valid, "{policy}");
        assert_eq!(count("WRONG_HEADER"), 4 - valid, "{policy}");
        // A verification request does not contain the header; its caller has checked that.
        assert_eq!(admin.verdict(&key.secret), "VALID");

        let scopes = json!(["keys:read"]);
        let manager =
            json!({ "name": "m", "policy": policy, "catalog": "latchkey", "scopes": scopes });
        let manager = admin.issue(manager);
        let told = ways(&manager.secret).map(|(name, value)| {
            let asked = [(name, value.as_str())];
            server.call("GET", "/v1/keys", &asked, None).status
        });
        assert_eq!(told, statuses, "{policy}");
    }
}

/// attacks 67
#[test]
fn scopes_are_compared_exactly() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "scopes": ["read", "caf\u{65}"] }));
    for (scopes, code) in [
        (json!([]), "VALID"),
        (json!(null), "VALID"),
        (json!(["read"]), "VALID"),
        (json!(["read", "read"]), "VALID"),
        (json!(["readwrite"]), "INSUFFICIENT_SCOPE"),
        (json!(["rea"]), "INSUFFICIENT_SCOPE"),
        (json!(["READ"]), "INSUFFICIENT_SCOPE"),
        (json!(["*"]), "INSUFFICIENT_SCOPE"),
        (json!([""]), "INSUFFICIENT_SCOPE"),
        (json!(["read "]), "INSUFFICIENT_SCOPE"),
        (json!(["caf\u{e9}"]), "INSUFFICIENT_SCOPE"),
        (json!(["read", "unknown"]), "INSUFFICIENT_SCOPE"),
    ] {
        let verdict = admin.verify(json!({ "key": key.secret, "scopes": scopes }));
        assert_eq!(verdict["code"], code, "{scopes}");
    }
}
