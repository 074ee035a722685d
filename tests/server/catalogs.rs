//! Catalogs that are meant to harm the server, from callers with and without the permission to write catalogs.

use serde_json::{Value, json};

use crate::support::{Server, User};

/// A catalog of operations with these methods and paths.
fn of(operations: impl IntoIterator<Item = (String, String)>) -> Value {
    let operation = |(n, (method, path)): (usize, (String, String))| json!({ "id": format!("o{n}"), "method": method, "path": path, "access": "read", "any_key": true });
    let operations: Vec<Value> = operations.into_iter().enumerate().map(operation).collect();
    json!({ "operations": operations })
}

fn deep() -> Value {
    of([("GET".to_owned(), "/{a}".repeat(20_000))])
}

#[track_caller]
fn put(user: &User, body: &Value) -> crate::support::Response {
    user.put("/v1/catalogs/z", body.clone())
}

#[test]
fn whoever_may_not_put_catalogs_has_none_read() {
    let server = Server::start();
    let reader = json!({ "name": "reader", "catalog": "latchkey", "scopes": ["catalogs:read", "keys:read"] });
    let reader = server.admin().issue(reader).secret;
    for secret in [&server.secret, &reader] {
        let user = server.bearer(secret);
        put(&user, &deep()).refused(403, "forbidden");
        user.send("PUT", "/v1/catalogs/z", "application/json", b"no JSON")
            .refused(403, "forbidden");
    }
    server.assert_alive();
}

#[test]
fn a_catalog_that_would_take_all_memory_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &deep()).refused_field("operations[0].path");
    let before = server.resident_bytes();
    let letters = |n: usize| -> String {
        [n / 676, n / 26 % 26, n % 26]
            .iter()
            .map(|digit| char::from(b'A' + *digit as u8))
            .collect()
    };
    let wide = (0..1_500)
        .map(|n| (letters(n), "/{a}".to_owned()))
        .chain((0..1_500).map(|n| ("GET".to_owned(), format!("/l{n}"))));
    put(&admin, &of(wide)).refused_field("operations");
    let ring: Vec<Value> = (0..1_000)
        .map(|n| json!({ "name": format!("s{n}"), "implies": [format!("s{}", (n + 1) % 1_000)] }))
        .collect();
    put(&admin, &json!({ "scopes": ring })).refused_field("scopes");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes of memory");
    server.assert_alive();
}

/// attacks 200: the only patterns in a catalog are names in braces.
#[test]
fn what_looks_like_a_pattern_is_text_or_refused() {
    let server = Server::start();
    let admin = server.admin();
    let path = |path: &str| of([("GET".to_owned(), path.to_owned())]);
    for text in ["/a*b", "/(a+)+$", "/[a-z]", "/a|b", "/.+", "/~", "/*"] {
        put(&admin, &path(text));
        let catalog = admin.get("/v1/catalogs/z");
        let taken = catalog.status == 200 && catalog.json()["operations"][0]["path"] == text;
        assert!(taken, "{text}: {}", catalog.exchange());
        let key = admin.issue(json!({ "name": "k", "catalog": "z" })).secret;
        let asked = |path: &str| {
            let question = json!({ "key": key, "method": "GET", "path": path });
            admin.verify(question)["code"].clone()
        };
        for other in ["/aab", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/b", "/a", "/x"] {
            assert_eq!(asked(other), "INSUFFICIENT_SCOPE", "{text} {other}");
        }
        assert_eq!(asked(text), "VALID", "{text}");
    }
    for bad in ["/{a|b}", "/{", "/{a...}/b", "/{a}/{a", "/{a...}x", "/{a}b}"] {
        put(&admin, &path(bad)).refused_field("operations[0].path");
    }
}

/// attacks 194: a catalog is stored completely or not at all, and nothing in it is decompressed.
#[test]
fn a_catalog_with_one_fault_changes_nothing() {
    let server = Server::start();
    let admin = server.admin();
    put(&admin, &of([("GET".to_owned(), "/a".to_owned())]));
    let before = admin.get("/v1/catalogs/z").expect(200).json();
    let operation = |id: &str, path: &str, scope: &str| json!({ "id": id, "method": "GET", "path": path, "access": "read", "any_of": [scope] });
    let scopes = json!([{ "name": "r" }]);
    for (operations, field) in [
        (
            json!([operation("a", "/x", "r"), operation("a", "/y", "r")]),
            "operations[1].id",
        ),
        (
            json!([operation("a", "/x", "r"), operation("b", "/x", "r")]),
            "operations[1].path",
        ),
        (
            json!([
                operation("a", "/x", "r"),
                operation("b", "/y", "of another catalog")
            ]),
            "operations[1].any_of",
        ),
    ] {
        let body = json!({ "scopes": scopes, "operations": operations });
        let problem = put(&admin, &body).refused(422, "invalid-field");
        let named = problem["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{problem}");
    }
    let body = json!({ "scopes": scopes }).to_string();
    let packed = admin.clone().with("Content-Encoding", "gzip").send(
        "PUT",
        "/v1/catalogs/z",
        "application/json",
        b"\x1f\x8b\x08\x00",
    );
    packed.refused(400, "invalid-request");
    let mut deep = body[..body.len() - 1].to_owned();
    deep.push_str(",\"operations\":");
    deep.push_str(&"[".repeat(100_000));
    admin
        .send("PUT", "/v1/catalogs/z", "application/json", deep.as_bytes())
        .refused(400, "invalid-request");
    assert_eq!(admin.get("/v1/catalogs/z").expect(200).json(), before);
}

#[test]
fn only_a_caller_may_send_a_large_body() {
    let server = Server::start();
    let large = |user: User| {
        let label = "x".repeat(70 * 1024);
        put(
            &user,
            &json!({ "scopes": [{ "name": "a", "label": label }] }),
        )
    };
    for user in [
        server.anonymous(),
        server.bearer("lk_nobody"),
        server.anonymous().with("X-Forwarded-For", "203.0.113.9"),
        server.local().with("X-Forwarded-For", "203.0.113.9"),
    ] {
        large(user).refused(413, "too-large");
    }
    large(server.admin()).refused_field("scopes[0].label");
    large(server.local()).refused_field("scopes[0].label");
    // Predicting the caller consumes nothing of the credential.
    let once = json!({ "name": "once", "catalog": "latchkey", "scopes": ["catalogs:write"], "uses_left": 1 });
    let once = server.bearer(&server.admin().issue(once).secret);
    large(once.clone()).refused_field("scopes[0].label");
    large(once).expect(413);
}

/// finding S5: whether a catalog is case-sensitive is kept across a restart, and is in the audit log.
#[test]
fn whether_a_catalog_tells_case_is_kept() {
    let mut server = Server::start();
    let body = |case_sensitive: Value| json!({ "case_sensitive": case_sensitive });
    put(&server.admin(), &body(json!(true))).expect(201);
    let event = server.admin().newest_event();
    assert_eq!(
        event["changes"]["case_sensitive"],
        json!(["false", "true"]),
        "{event}"
    );
    server.kill9();
    server.restart();
    let catalog = server.admin().get("/v1/catalogs/z").expect(200).json();
    assert_eq!(catalog["case_sensitive"], true, "{catalog}");
    put(&server.admin(), &body(json!(null))).expect(200);
    let catalog = server.admin().get("/v1/catalogs/z").expect(200).json();
    assert_eq!(catalog.get("case_sensitive"), None, "{catalog}");
}

/// finding H11: no request can have such a segment.
#[test]
fn a_template_that_no_request_reaches_is_refused() {
    let server = Server::start();
    for path in ["/a.", "/a./b", "/a%20/b", "/%20a", "/{x}/a.", "/a%c2%a0"] {
        let body = of([("GET".to_owned(), path.to_owned())]);
        put(&server.admin(), &body).refused_field("operations[0].path");
    }
}
