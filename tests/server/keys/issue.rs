//! Issuing: the answer contains the members of the request, defaults for the others, and once the secret.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};

/// A catalog with two scopes and two operations.
fn put_billing(admin: &User) {
    let catalog = json!({
        "scopes": [{ "name": "invoices:read" }, { "name": "invoices:write", "implies": ["invoices:read"] }],
        "operations": [
            { "id": "read", "method": "GET", "path": "/invoices/{id}", "access": "read", "any_of": ["invoices:read"] },
            { "id": "write", "method": "POST", "path": "/invoices", "access": "write", "any_of": ["invoices:write"] },
        ],
    });
    admin.put("/v1/catalogs/billing", catalog).expect(201);
}

/// Removes the members whose values a test cannot know.
fn without_volatile(mut key: Value) -> Value {
    for member in ["id", "hint", "created_at"] {
        let taken = key.as_object_mut().and_then(|key| key.remove(member));
        assert!(taken.is_some_and(|value| value.is_string()), "no {member}");
    }
    key
}

#[test]
fn every_member_given_comes_back_in_the_key_object() {
    let server = Server::start();
    let admin = server.admin();
    put_billing(&admin);
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");

    let response = admin.post(
        "/v1/keys",
        json!({
            "name": "billing", "description": "the nightly run", "contact": "ops@example.com", "workspace": "emea", "owner": "alice",
            "policy": "standard", "catalog": "billing", "scopes": ["invoices:write", "invoices:read", "invoices:read"],
            "read_only": true, "enabled": false, "not_before": "2030-01-01T00:00:00Z",
            "expires_at": "2031-01-01T02:00:00+02:00", "allowed_ips": ["203.0.113.9", "10.0.0.0/8", "::ffff:10.0.0.1"],
            "rate_limit": { "limit": 60, "window_s": 30 }, "uses_left": 7,
            "metadata": { "team": ["a", 1, null] }, "prefix": "acme",
        }),
    );

    let body = response.expect(201).json();
    let (id, secret) = (
        body["key"]["id"].as_str().unwrap(),
        body["secret"].as_str().unwrap(),
    );
    let hint = format!("acme_{id}…{}", &secret[secret.len() - 4..]);
    assert_eq!(body["key"]["hint"], hint.as_str());
    let me = admin.get("/v1/whoami").expect(200).json();
    let created_by = format!("key:{}", me["id"].as_str().unwrap());
    assert_eq!(
        without_volatile(body["key"].clone()),
        json!({
            "name": "billing", "description": "the nightly run", "contact": "ops@example.com", "workspace": "emea", "owner": "alice",
            "policy": "standard", "catalog": "billing", "scopes": ["invoices:write", "invoices:read"],
            "read_only": true, "enabled": false, "state": "disabled", "not_before": "2030-01-01T00:00:00Z",
            "expires_at": "2031-01-01T00:00:00Z", "allowed_ips": ["203.0.113.9", "10.0.0.0/8", "10.0.0.1"],
            "rate_limit": { "limit": 60, "window_s": 30 }, "uses_left": 7,
            "metadata": { "team": ["a", 1, null] }, "created_by": created_by, "rotated_at": null, "previous": null,
            "last_used_at": null, "last_used_ip": null, "use_count": 0,
        })
    );
    assert_eq!(admin.key(id), body["key"], "reading shows the same object");
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

#[test]
fn absent_and_null_members_take_the_defaults() {
    let server = Server::start();
    let admin = server.admin();
    let plain = admin.issue(json!({ "name": "plain" }));
    let nulls = admin.issue(json!({
        "name": "plain", "description": null, "contact": null, "workspace": null, "owner": null, "policy": null, "catalog": null,
        "scopes": null, "read_only": null, "enabled": null, "not_before": null, "expires_at": null,
        "expires_in_s": null, "allowed_ips": null, "rate_limit": null, "uses_left": null, "metadata": null,
        "prefix": null,
    }));

    let expected = json!({
        "name": "plain", "description": "", "contact": "", "workspace": "root", "owner": null, "policy": "standard", "catalog": null,
        "scopes": [], "read_only": false, "enabled": true, "state": "active", "not_before": null, "expires_at": null,
        "allowed_ips": null, "rate_limit": null, "uses_left": null, "metadata": {},
        "created_by": plain.key["created_by"], "rotated_at": null, "previous": null, "last_used_at": null, "last_used_ip": null,
        "use_count": 0,
    });
    assert_eq!(without_volatile(plain.key), expected);
    assert_eq!(without_volatile(nulls.key), expected);
    for secret in [&plain.secret, &nulls.secret] {
        assert!(secret.starts_with("lk_"), "the default prefix");
        assert_eq!(admin.verdict(secret), "VALID");
    }
}

#[test]
fn a_key_issued_for_some_seconds_ends_then() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin
        .issue(json!({ "name": "hour", "expires_in_s": 3600 }))
        .key;
    let time = |member: &str| -> jiff::Timestamp { key[member].as_str().unwrap().parse().unwrap() };
    assert_eq!(
        time("expires_at")
            .duration_since(time("created_at"))
            .as_secs(),
        3600
    );
}

/// Prefix, id, 43 random characters and 6 of checksum, all base62. attacks 153
#[test]
fn a_secret_has_its_layout_and_only_harmless_prefixes_are_taken() {
    let server = Server::start();
    let admin = server.admin();
    for prefix in ["ab", "a1", "abcdefghijklmnop"] {
        let issued = admin.issue(json!({ "name": prefix, "prefix": prefix }));
        let (start, rest) = issued.secret.split_once('_').unwrap();
        assert_eq!((start, rest.len()), (prefix, 10 + 43 + 6));
        assert_eq!(rest[..10], issued.id);
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(admin.verdict(&issued.secret), "VALID");
    }
    for prefix in [
        "",
        "a",
        "1a",
        "SK",
        "sk_",
        "a.b",
        "a*",
        "lks",
        "é1",
        "abcdefghijklmnopq",
        "a\n",
    ] {
        let refused = admin.post("/v1/keys", json!({ "name": "x", "prefix": prefix }));
        refused.refused_field("prefix");
    }
}

/// attacks 198, 199: ids are random, and identifiers are texts; numbers are small enough for every client to represent
/// exactly.
#[test]
fn ids_are_drawn_and_texts() {
    let server = Server::start();
    let admin = server.admin();
    let ids: Vec<String> = (0..50)
        .map(|_| admin.issue(json!({ "name": "k" })).id)
        .collect();
    let mut sorted = ids.clone();
    sorted.sort();
    assert_ne!(ids, sorted, "in no order");
    sorted.dedup();
    assert_eq!(sorted.len(), 50);
    for path in [
        "/v1/keys?limit=1",
        "/v1/users",
        "/v1/workspaces",
        "/v1/audit-events?limit=1",
    ] {
        let page = admin.get(path).expect(200).json();
        let cursor = &page["next_cursor"];
        assert!(cursor.is_string() || cursor.is_null(), "{page}");
        let item = page["items"][0].as_object().unwrap();
        for (member, value) in item {
            let told_apart = member == "id" || member == "uid" || member.ends_with("_id");
            assert!(!told_apart || value.is_string(), "{member}: {value}");
            assert!(value.as_u64().is_none_or(|number| number <= 1 << 53));
        }
    }
    // A guessed id is treated like any other.
    for guess in ["0000000000", "0000000001", "zzzzzzzzzz"] {
        admin
            .get(&format!("/v1/keys/{guess}"))
            .refused(404, "not-found");
    }
}

/// attacks 60, 137
#[test]
fn a_secret_is_told_once_and_never_again() {
    let server = Server::start();
    let admin = server.admin();
    let issued = admin.issue(json!({ "name": "once", "metadata": { "a": 1 } }));
    let path = format!("/v1/keys/{}", issued.id);
    let rotated = admin.rotate(&issued.id, json!({ "grace_s": 60 }));
    let answers = [
        admin.get(&path),
        admin.get("/v1/keys"),
        admin.patch(&path, json!({ "name": "twice" })),
        admin.post(&format!("{path}/disable"), json!({})),
        admin.post(&format!("{path}/enable"), json!({})),
        admin.post("/v1/verify", json!({ "key": issued.secret })),
        admin.get("/v1/audit-events"),
        server.bearer(&rotated.secret).get("/v1/whoami"),
        admin.delete(&path),
        admin.get(&path),
    ];
    for answer in answers {
        let text = format!("{:?}\n{}", answer.headers, answer.text());
        for secret in [&issued.secret, &rotated.secret, &server.management_key] {
            assert!(!text.contains(&secret[14..]), "told again: {text}");
        }
        assert!(answer.status < 300, "{}", answer.exchange());
    }
}

/// attacks 70
#[test]
fn every_answer_forbids_caching_and_sniffing_and_names_its_request() {
    let server = Server::start();
    let admin = server.admin();
    let answers = [
        admin.get("/v1/keys"),
        admin.post("/v1/keys", json!({ "name": "a" })),
        admin.post("/v1/keys", json!({})),
        admin.post("/v1/verify", json!({ "key": "x" })),
        server.anonymous().get("/v1/keys"),
        admin.get("/v1/nothing"),
        server.anonymous().get("/auth/nginx"),
    ];
    let mut ids = std::collections::BTreeSet::new();
    for answer in &answers {
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{}",
            answer.exchange()
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{}",
            answer.exchange()
        );
        assert_eq!(answer.header("etag"), None);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        ids.insert(answer.header("x-request-id").expect("a request id"));
    }
    assert_eq!(
        ids.len(),
        answers.len(),
        "every request has an id of its own"
    );
}

/// attacks 49, 57
#[test]
fn credentials_are_read_from_their_headers_alone_and_kinds_are_not_interchangeable() {
    let server = Server::start();
    let (anonymous, key) = (server.anonymous(), &server.management_key);
    anonymous
        .clone()
        .with("X-API-Key", key)
        .get("/v1/keys")
        .expect(200);
    anonymous
        .clone()
        .with("Authorization", &format!("token {key}"))
        .get("/v1/keys")
        .expect(200);
    anonymous
        .get(&format!("/v1/keys?key={key}"))
        .refused(401, "unauthenticated");
    let cookie = anonymous
        .clone()
        .with("Cookie", &format!("session={key}; key={key}"));
    cookie.get("/v1/keys").refused(401, "unauthenticated");
    // attacks 46, 48: a request with two credentials is refused, even if one of them is valid.
    let good = format!("Bearer {key}");
    for (first, second) in [
        ("Bearer lk_bad", good.as_str()),
        (&good, "Bearer lk_bad"),
        (&good, &good),
    ] {
        let both = anonymous
            .clone()
            .with("Authorization", first)
            .with("Authorization", second);
        both.get("/v1/keys").refused(400, "invalid-request");
    }
    let both = anonymous
        .clone()
        .bearer(key)
        .with("X-API-Key", &server.secret);
    both.get("/v1/keys").refused(400, "invalid-request");
    // An ordinary key and an access token are accepted for their own purposes only.
    server
        .bearer(&server.secret)
        .get("/v1/keys")
        .refused(403, "forbidden");
    server.admin().person("sue", "owner", "root");
    let session = anonymous.post(
        "/v1/sessions",
        json!({ "user_name": "sue", "password": PASSWORD }),
    );
    let token = session.expect(201).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        server.admin().verdict(&token),
        "NOT_FOUND",
        "an access token is no key"
    );
    server
        .bearer(&token)
        .get("/v1/whoami")
        .refused(404, "not-found");
    server
        .anonymous()
        .bearer(&token)
        .get("/auth/nginx")
        .expect(401);
}
