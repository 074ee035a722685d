//! Awaretrain: the tests of its numbered behaviours. `src/dialects/awaretrain/README.md` describes them.

use crate::support::Server;
use serde_json::json;

#[test]
fn the_transcripts_hold() {
    super::play_all("awaretrain");
}

#[test]
fn the_table_is_complete() {
    super::table::check("awaretrain", "1B", 38);
}

/// Every operation with the one scope that opens it.
#[rustfmt::skip]
const OPENED: [(&str, &str, &str); 16] = [
    ("GET",    "/public/v1/users",            "user:read"),
    ("GET",    "/public/v1/users/7",          "user:read"),
    ("POST",   "/public/v1/users",            "user:write"),
    ("PUT",    "/public/v1/users/7",          "user:write"),
    ("PATCH",  "/public/v1/users/7",          "user:write"),
    ("DELETE", "/public/v1/users/7",          "user:write"),
    ("POST",   "/public/v1/users/7/recover",  "user:write"),
    ("GET",    "/public/v1/license",          "license:read"),
    ("GET",    "/public/v1/groups",           "group:read"),
    ("GET",    "/public/v1/groups/3",         "group:read"),
    ("GET",    "/public/v1/groups/3/users",   "group:read"),
    ("POST",   "/public/v1/groups",           "group:write"),
    ("PUT",    "/public/v1/groups/3",         "group:write"),
    ("PATCH",  "/public/v1/groups/3",         "group:write"),
    ("DELETE", "/public/v1/groups/3",         "group:write"),
    ("GET",    "/public/v1/reports/training", "report_training:read"),
];

#[test]
fn every_scope_opens_exactly_its_operations() {
    let server = Server::start();
    let admin = server.admin();
    let mut scopes: Vec<&str> = OPENED.iter().map(|(_, _, scope)| *scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    assert_eq!(scopes.len(), 6);
    for scope in scopes {
        let key = admin.issue(json!({
            "name": scope, "policy": "awaretrain", "scopes": [scope], "expires_in_s": 3600,
        }));
        let bearer = format!("Bearer {}", key.secret);
        // finding D13: HEAD is what GET is.
        let heads = OPENED.iter().filter(|(method, ..)| *method == "GET");
        let heads = heads.map(|(_, path, wanted)| ("HEAD", *path, *wanted));
        for (method, path, wanted) in heads.chain(OPENED.iter().copied()) {
            let opens = scope == wanted;
            let named = ("Authorization", bearer.as_str());
            let direct = server.call(method, path, &[named], None);
            let status = if opens { 204 } else { 403 };
            assert_eq!(direct.status, status, "{scope}\n{}", direct.exchange());
            let question = [
                named,
                ("X-Forwarded-Method", method),
                ("X-Forwarded-Uri", path),
            ];
            let asked = server.call("GET", "/auth/caddy?catalog=awaretrain", &question, None);
            let status = if opens { 200 } else { 403 };
            assert_eq!(asked.status, status, "{scope}\n{}", asked.exchange());
        }
    }
}

/// If an operation needs several scopes together, the refusal names exactly those that the key lacks.
#[test]
fn a_refusal_names_the_scopes_that_are_missing_and_no_others() {
    let server = Server::start();
    let admin = server.admin();
    let path = "/v1/catalogs/awaretrain";
    let mut catalog = admin.get(path).expect(200).json();
    let operations = catalog["operations"].as_array_mut().unwrap();
    let list = operations
        .iter_mut()
        .find(|it| it["path"] == "/public/v1/users" && it["method"] == "GET");
    let list = list.unwrap();
    list["all_of"] = json!(["user:read", "group:read"]);
    list["any_of"] = json!(["license:read", "report_training:read"]);
    admin.put(path, catalog).expect(200);
    for (scopes, lacking) in [
        (
            json!(["user:read"]),
            Some("group:read, and license:read or report_training:read"),
        ),
        (json!(["user:read", "license:read"]), Some("group:read")),
        (
            json!(["user:read", "group:read"]),
            Some("license:read or report_training:read"),
        ),
        (json!(["license:read"]), Some("user:read and group:read")),
        (
            json!(["user:read", "group:read", "report_training:read"]),
            None,
        ),
    ] {
        let key = admin.issue(json!({
            "name": "k", "policy": "awaretrain", "scopes": scopes, "expires_in_s": 3600,
        }));
        let bearer = format!("Bearer {}", key.secret);
        let answer = server.call(
            "GET",
            "/public/v1/users",
            &[("Authorization", &bearer)],
            None,
        );
        match lacking {
            None => assert_eq!(answer.status, 204, "{scopes}\n{}", answer.exchange()),
            Some(lacking) => {
                assert_eq!(answer.status, 403, "{scopes}\n{}", answer.exchange());
                let message = format!("The API key lacks the scope {lacking}.");
                assert_eq!(answer.json()["message"], message, "{scopes}");
            }
        }
    }
}
