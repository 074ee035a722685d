//! Verification of requests: operations of a catalog, batches, and methods other than POST.

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn the_catalogs_operation_decides_what_a_request_needs() {
    let server = Server::start();
    let admin = server.admin();
    let catalog = json!({
        "scopes": [{ "name": "r" }, { "name": "w" }],
        "operations": [
            { "id": "list", "method": "GET", "path": "/items", "access": "read", "any_of": ["r", "w"] },
            { "id": "make", "method": "POST", "path": "/items", "access": "write", "any_of": ["w"] },
            { "id": "host", "method": "GET", "path": "/only", "host": "api.example", "access": "read", "any_of": ["r"] },
            { "id": "free", "method": "GET", "path": "/free", "access": "read", "any_key": true },
        ],
    });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
    let key = admin.issue(json!({ "name": "k", "catalog": "shop", "scopes": ["r"] }));
    for (method, path, host, code, reason) in [
        ("GET", "/items", None, "VALID", None),
        ("POST", "/items", None, "INSUFFICIENT_SCOPE", None),
        ("GET", "/free", None, "VALID", None),
        ("GET", "/only", Some("API.example:443"), "VALID", None),
        (
            "GET",
            "/only",
            Some("other.example"),
            "INSUFFICIENT_SCOPE",
            Some("UNKNOWN_OPERATION"),
        ),
        (
            "GET",
            "/only",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
        (
            "DELETE",
            "/items",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNKNOWN_OPERATION"),
        ),
        (
            "get",
            "/items",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNKNOWN_OPERATION"),
        ),
        (
            "GET",
            "/ITEMS",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNKNOWN_OPERATION"),
        ),
        (
            "GET",
            "/a/../items",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
        ("GET", "/items?limit=10", None, "VALID", None),
        ("GET", "/items?a=/../b?c", None, "VALID", None),
        ("GET", "/items?", None, "VALID", None),
        (
            "GET",
            "/items#a",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
        (
            "GET",
            "/items?a#b",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
        (
            "GET",
            "/items./7",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
        (
            "GET",
            "items",
            None,
            "INSUFFICIENT_SCOPE",
            Some("UNSAFE_REQUEST"),
        ),
    ] {
        let question = json!({ "key": key.secret, "method": method, "path": path, "host": host, "catalog": "shop" });
        let verdict = admin.verify(question.clone());
        assert_eq!(verdict["code"], code, "{question}");
        assert_eq!(verdict["reason"].as_str(), reason, "{question}");
    }
    let plain = admin.verify(json!({ "key": server.secret, "method": "GET", "path": "/items" }));
    assert_eq!(
        plain["code"], "INSUFFICIENT_SCOPE",
        "without a catalog nobody knows what a path needs"
    );
}

/// attacks 69
#[test]
fn a_batch_answers_each_question_in_its_place() {
    let server = Server::start();
    let admin = server.admin();
    let limited = admin.issue(json!({ "name": "k", "uses_left": 2 }));
    let items = json!([
        { "key": server.secret }, { "key": "junk" }, { "key": limited.secret }, { "key": limited.secret },
        { "key": limited.secret }, { "key": server.secret, "scopes": ["no"] },
    ]);
    let answer = admin
        .post("/v1/verify/batch", json!({ "items": items }))
        .expect(200)
        .json();
    let codes: Vec<&str> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["code"].as_str().unwrap())
        .collect();
    let expected = [
        "VALID",
        "MALFORMED",
        "VALID",
        "VALID",
        "USAGE_EXCEEDED",
        "INSUFFICIENT_SCOPE",
    ];
    assert_eq!(codes, expected);
    assert_eq!(
        answer["items"][0],
        admin.verify(json!({ "key": server.secret })),
        "as asked alone"
    );
}

#[test]
fn a_batch_has_at_most_a_hundred_questions_and_a_bad_one_spends_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let limited = admin.issue(
        json!({ "name": "k", "uses_left": 1, "rate_limit": { "limit": 1, "window_s": 60 } }),
    );
    let batch = |items: Vec<Value>| admin.post("/v1/verify/batch", json!({ "items": items }));
    let many = |count: usize| vec![json!({ "key": server.secret }); count];
    assert_eq!(batch(vec![]).expect(200).json()["items"], json!([]));
    let hundred = batch(many(100)).expect(200).json();
    assert_eq!(hundred["items"].as_array().unwrap().len(), 100);
    batch(many(101)).refused_field("items");
    let good = json!({ "key": limited.secret });
    for (bad, field) in [
        (json!({}), "items[1].key"),
        (json!({ "key": 1 }), "items[1].key"),
        (json!({ "key": "a", "x": 1 }), "items[1].x"),
        (json!({ "key": "a", "ip": "x" }), "items[1].ip"),
        (
            json!({ "key": "a", "workspace": "nowhere" }),
            "items[1].workspace",
        ),
        (
            json!({ "key": "a", "catalog": "nothing" }),
            "items[1].catalog",
        ),
        (json!({ "key": "a", "cost": -1 }), "items[1].cost"),
        (json!({ "key": "a", "cost": 1_000_001 }), "items[1].cost"),
        (json!({ "key": "a", "path": "/" }), "items[1].method"),
        (json!({ "key": "a", "method": "GET" }), "items[1].path"),
        (json!({ "key": "a", "host": "h" }), "items[1].path"),
        (
            json!({ "key": "a", "scopes": vec!["s"; 201] }),
            "items[1].scopes",
        ),
    ] {
        batch(vec![good.clone(), bad]).refused_field(field);
    }
    batch(vec![good.clone(), json!("text")]).refused_field("items");
    assert_eq!(admin.verdict(&limited.secret), "VALID", "nothing was spent");
}

/// attacks 75
#[test]
fn only_post_asks() {
    let server = Server::start();
    let admin = server.admin();
    for path in [
        "/v1/verify",
        "/v1/verify/batch",
        "/v1/introspect",
        "/v1/revoke",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "QUERY"] {
            let response = admin.call(method, path, None).expect(405);
            assert_eq!(response.header("allow"), Some("POST"), "{method} {path}");
        }
    }
}

/// What an operation requires: any key, no key at all, some scopes together, one of several, or both. HEAD is GET
/// (D13).
#[test]
fn an_operation_says_exactly_which_keys_it_lets_in() {
    let server = Server::start();
    let admin = server.admin();
    let operation = |path: &str, members: Value| {
        let mut operation = json!({ "id": path, "method": "GET", "path": path, "access": "read" });
        for (name, value) in members.as_object().unwrap() {
            operation[name] = value.clone();
        }
        operation
    };
    let put = |operations: Value| {
        let scopes = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }, { "name": "ab", "implies": ["a", "b"] }]);
        admin.put(
            "/v1/catalogs/c",
            json!({ "scopes": scopes, "operations": operations }),
        )
    };
    let operations = json!([
        operation("/any", json!({ "any_key": true })),
        operation("/nobody", json!({ "any_of": [] })),
        operation("/all", json!({ "all_of": ["a", "b"] })),
        operation("/one", json!({ "any_of": ["a", "c"] })),
        operation("/both", json!({ "all_of": ["a", "b"], "any_of": ["c"] })),
        operation("/{id}", json!({ "any_key": true })),
    ]);
    put(operations).expect(201);
    let shown = admin.get("/v1/catalogs/c").json();
    let members = |at: usize| {
        let operation = shown["operations"][at].as_object().unwrap();
        let names = operation.keys().map(String::as_str);
        names.filter(|name| name.contains('_')).collect::<Vec<_>>()
    };
    assert_eq!(members(0), ["any_key"]);
    assert_eq!(members(1), ["any_of"]);
    assert_eq!(members(2), ["all_of"]);
    assert_eq!(members(4), ["all_of", "any_of"]);
    // The answer of a read is accepted as a new catalog.
    put(shown["operations"].clone()).expect(200);
    assert_eq!(admin.get("/v1/catalogs/c").json(), shown);

    for (scopes, opened) in [
        (json!([]), &["/any", "/7"][..]),
        (json!(["a"]), &["/any", "/7", "/one"]),
        (json!(["c"]), &["/any", "/7", "/one"]),
        (json!(["a", "b"]), &["/any", "/7", "/one", "/all"]),
        (json!(["ab"]), &["/any", "/7", "/one", "/all"]),
        (json!(["ab", "c"]), &["/any", "/7", "/one", "/all", "/both"]),
        (json!(["a", "c"]), &["/any", "/7", "/one"]),
    ] {
        let key = admin.issue(json!({ "name": "k", "catalog": "c", "scopes": scopes }));
        for path in [
            "/any",
            "/nobody",
            "/all",
            "/one",
            "/both",
            "/7",
            "/NOBODY",
            "/nobody/",
            "/nobody.json",
        ] {
            for method in ["GET", "HEAD"] {
                let question =
                    json!({ "key": key.secret, "catalog": "c", "method": method, "path": path });
                let verdict = admin.verify(question);
                assert_eq!(
                    verdict["valid"],
                    opened.contains(&path),
                    "{scopes} {method} {path}: {verdict}"
                );
                if path == "/nobody" {
                    assert_eq!(verdict["code"], "INSUFFICIENT_SCOPE");
                    assert_eq!(
                        verdict.get("detail").filter(|it| !it.is_null()),
                        None,
                        "{verdict}"
                    );
                }
            }
        }
    }
    let before = admin.get("/v1/catalogs/c").json();
    for (members, field) in [
        (json!({}), "any_of"),
        (json!({ "any_key": false }), "any_of"),
        (json!({ "all_of": [] }), "any_of"),
        (json!({ "any_key": true, "any_of": ["a"] }), "any_key"),
        (json!({ "any_key": true, "any_of": [] }), "any_key"),
        (json!({ "any_key": true, "all_of": ["a"] }), "any_key"),
        (json!({ "any_of": [], "all_of": ["a"] }), "any_of"),
        (json!({ "all_of": ["z"] }), "all_of"),
        (json!({ "all_of": ["a"], "any_of": ["z"] }), "any_of"),
        (json!({ "any_key": "yes" }), "any_key"),
        (json!({ "all_of": "a" }), "all_of"),
    ] {
        let answer = put(json!([
            operation("/x", json!({ "any_key": true })),
            operation("/y", members)
        ]));
        answer.refused_field(&format!("operations[1].{field}"));
    }
    assert_eq!(admin.get("/v1/catalogs/c").json(), before);
}
