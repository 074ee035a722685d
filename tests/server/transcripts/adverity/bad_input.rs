//! Requests that no correct client sends: each is refused in the form of this API, and nothing is changed.

use serde_json::{Value, json};

use super::at_once::{token, workspace_key};
use crate::support::{Response, Server};

/// Every path with the methods that it has.
const PATHS: &[(&str, &[&str])] = &[
    ("/api/", &["GET", "OPTIONS"]),
    ("/api/auth/token/", &["OPTIONS", "POST"]),
    ("/api/v1/auth/keys/current/rotate/", &["OPTIONS", "POST"]),
    ("/api/v1/auth/keys/introspect/", &["GET", "OPTIONS"]),
    ("/api/stacks/", &["GET", "OPTIONS", "POST"]),
    ("/api/stacks/root/", &["DELETE", "GET", "OPTIONS", "PATCH"]),
    ("/api/v1/workspaces/", &["GET", "OPTIONS"]),
];
const METHODS: &[&str] = &["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"];
/// Paths that need no key.
const PUBLIC: &[&str] = &["/api/auth/token/", "/api/v1/auth/keys/introspect/"];

/// Checks that a refusal is JSON with a detail that is a sentence.
#[track_caller]
fn refused(answer: &Response, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.exchange());
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{}",
        answer.exchange()
    );
    let body = answer.json();
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(
        detail.ends_with(['.', 'd']) && !detail.contains("latchkey"),
        "{}",
        answer.exchange()
    );
}

/// Everything that the requests of a test could have changed.
fn state(server: &Server) -> Value {
    let admin = server.admin();
    let of = |path: &str| {
        let mut items = admin.get(path).expect(200).json()["items"].clone();
        for item in items.as_array_mut().expect("a list has items") {
            let members = item.as_object_mut().expect("an item is an object");
            members.retain(|name, _| !name.starts_with("last_used") && name != "use_count");
        }
        items
    };
    json!([of("/v1/keys"), of("/v1/workspaces"), of("/v1/users")])
}

#[test]
fn a_path_has_its_methods_and_no_others() {
    let server = Server::start();
    let before = state(&server);
    for (path, methods) in PATHS {
        for method in METHODS.iter().filter(|method| !methods.contains(method)) {
            let answer = server.call(method, path, &[], None);
            refused(&answer, 405);
            let allow = answer.header("allow").unwrap_or_default();
            assert!(
                methods.iter().all(|known| allow.contains(known)),
                "{}",
                answer.exchange()
            );
        }
    }
    for path in [
        "/api/x",
        "/api/auth",
        "/api/v1",
        "/api/stacks/a/b/",
        "/api//stacks/",
        "/api/stacks/%ff/",
        "/api/v2/",
    ] {
        let key = format!("Token {}", token(&server));
        refused(
            &server.call("GET", path, &[("Authorization", &key)], None),
            404,
        );
    }
    assert_eq!(state(&server)[1], before[1]);
}

#[test]
fn a_key_is_needed_and_must_be_good() {
    let server = Server::start();
    let (key, good) = (
        workspace_key(&server.admin(), "ci", "root", "all:write"),
        token(&server),
    );
    let changed = |secret: &str| {
        let (start, last) = secret.split_at(secret.len() - 1);
        format!("{start}{}", if last == "x" { "y" } else { "x" })
    };
    let before = state(&server);
    let bad = [
        None,
        Some(format!("Token {key}")),
        Some(format!("Bearer {good}")),
        Some(format!("Bearer {}", server.management_key)),
        Some(format!("Token {}", server.secret)),
        Some(format!("Token {}", changed(&good))),
        Some(format!("Bearer {}", changed(&key))),
        Some(format!("Token {good},{good}")),
        Some("Token".to_owned()),
        Some(String::new()),
    ];
    for (path, methods) in PATHS.iter().filter(|(path, _)| !PUBLIC.contains(path)) {
        for (method, credential) in methods
            .iter()
            .flat_map(|method| bad.iter().map(move |bad| (method, bad)))
        {
            let headers: Vec<(&str, &str)> = credential
                .iter()
                .map(|value| ("Authorization", value.as_str()))
                .collect();
            let answer = server.call(method, path, &headers, None);
            refused(&answer, 401);
            assert_eq!(answer.header("www-authenticate"), Some("Token"));
        }
        let twice = format!("Token {good}");
        let headers = [
            ("Authorization", twice.as_str()),
            ("Authorization", twice.as_str()),
        ];
        refused(&server.call(methods[0], path, &headers, None), 400);
    }
    assert_eq!(state(&server), before);
}

#[test]
fn a_body_that_is_too_large_or_cannot_be_framed_is_refused() {
    let server = Server::start();
    let key = format!("Token {}", token(&server));
    let before = state(&server);
    let large = vec![b' '; 64 * 1024 + 1];
    for (path, methods) in PATHS {
        for method in methods.iter().filter(|method| **method != "GET") {
            let headers = [
                ("Authorization", key.as_str()),
                ("Content-Type", "application/json"),
            ];
            refused(&server.call(method, path, &headers, Some(&large)), 413);
        }
    }
    for lines in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: -1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
    ] {
        let head = format!(
            "POST /api/auth/token/ HTTP/1.1\r\nHost: {}\r\n{lines}\r\n\r\nx",
            server.address
        );
        let received = server.raw(head);
        assert_eq!(received.statuses(), [400], "{}", received.text());
        assert!(
            received.text().contains("{\"detail\":\""),
            "{}",
            received.text()
        );
    }
    assert_eq!(state(&server), before);
}

#[test]
fn members_of_a_stack_are_checked() {
    let server = Server::start();
    let key = format!("Token {}", token(&server));
    let user = server.anonymous().with("Authorization", &key);
    let before = state(&server);
    let long = "x".repeat(101);
    for (body, member) in [
        (json!({}), "name"),
        (json!({ "name": null }), "name"),
        (json!({ "name": 1 }), "name"),
        (json!({ "name": "  " }), "name"),
        (json!({ "name": long }), "name"),
        (json!({ "name": "a\u{202e}b" }), "name"),
        (json!({ "name": "a\nb" }), "name"),
        (json!({ "name": "a", "parent_id": "1" }), "parent_id"),
        (json!({ "name": "a", "parent_id": -1 }), "parent_id"),
        (json!({ "name": "a", "parent_id": 1.5 }), "parent_id"),
        (
            json!({ "name": "a", "parent_id": 9_007_199_254_740_993_u64 }),
            "parent_id",
        ),
        (json!({ "name": "a", "parent_id": 99 }), "parent_id"),
    ] {
        let answer = user.post("/api/stacks/", body);
        refused(&answer, 400);
        let told = answer.json();
        assert!(
            told["errors"][member].is_array() && told["errors"][member] == told[member],
            "{}",
            answer.exchange()
        );
    }
    for (content_type, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "", 400),
        ("application/json", "{\"name\":\"a\",\"name\":\"b\"}", 400),
        ("text/plain", "{\"name\":\"a\"}", 415),
    ] {
        refused(
            &user.send("POST", "/api/stacks/", content_type, body.as_bytes()),
            status,
        );
        refused(
            &user.send("PATCH", "/api/stacks/root/", content_type, body.as_bytes()),
            status,
        );
    }
    // The root workspace can neither be moved nor deleted.
    refused(
        &user.patch("/api/stacks/root/", json!({ "parent_id": 1 })),
        400,
    );
    refused(&user.delete("/api/stacks/root/"), 400);
    assert_eq!(state(&server), before);
}

#[test]
fn an_error_of_the_server_is_no_secret_and_no_allowance() {
    let server = Server::start();
    let key = format!("Token {}", token(&server));
    // Even if the server refuses the head, the answer has this API's form.
    let huge = format!("Token {}", "x".repeat(33_000));
    let answer = server.call("GET", "/api/stacks/", &[("Authorization", &huge)], None);
    refused(&answer, 431);
    let expected = server.call(
        "POST",
        "/api/stacks/",
        &[("Authorization", &key), ("Expect", "200-ok")],
        None,
    );
    refused(&expected, 417);
}
