//! Aware: the tests of its numbered behaviours. `src/dialects/aware/README.md` describes them.

use crate::support::Server;
use serde_json::json;

#[test]
fn the_transcripts_hold() {
    super::play_all("aware");
}

#[test]
fn the_table_is_complete() {
    super::table::check("aware", "1A", 40);
}

/// The permissions, in the order of the columns below.
const PERMISSIONS: [&str; 7] = [
    "data_holds:read",
    "data_holds:full",
    "platforms:read",
    "audit_logs:read",
    "signal_events:read",
    "user_content_exports:read",
    "user_content_exports:full",
];

/// Every operation of 1A-30 with every permission: `y` if the permission opens the operation.
#[rustfmt::skip]
const OPENED: [(&str, &str, &str); 11] = [
    ("GET",  "/external/dataholds/v1",                                   "yy....."),
    ("GET",  "/external/dataholds/v1/5f1c",                              "yy....."),
    ("POST", "/external/dataholds/v1",                                   ".y....."),
    ("PUT",  "/external/dataholds/v1/5f1c",                              ".y....."),
    ("GET",  "/external/system/platforms/v1",                            "yyy...."),
    ("GET",  "/external/system/auditlogs/v1",                            "...y..."),
    ("POST", "/external/signal/events/v1",                               "....y.."),
    ("POST", "/external/search/v1/user-content-exports/query",           ".....yy"),
    ("GET",  "/external/search/v1/user-content-exports/77",              ".....yy"),
    ("POST", "/external/search/v1/user-content-exports",                 "......y"),
    ("POST", "/external/search/v1/user-content-exports/77/download-url", ".....yy"),
];

#[test]
fn every_permission_opens_exactly_its_operations() {
    let server = Server::start();
    let admin = server.admin();
    for (column, permission) in PERMISSIONS.into_iter().enumerate() {
        let token = admin.issue(json!({
            "name": permission, "policy": "aware", "scopes": [permission],
        }));
        for (method, path, opened) in OPENED {
            let opens = opened.as_bytes()[column] == b'y';
            let named = ("X-Aware-Api-Key", token.secret.as_str());
            let direct = server.call(method, path, &[named], None);
            let status = if opens { 204 } else { 403 };
            assert_eq!(direct.status, status, "{permission}\n{}", direct.exchange());
            let question = [
                named,
                ("X-Original-Method", method),
                ("X-Original-URI", path),
            ];
            let asked = server.call("GET", "/auth/nginx?catalog=aware", &question, None);
            let status = if opens { 200 } else { 403 };
            assert_eq!(asked.status, status, "{permission}\n{}", asked.exchange());
            let verdict = admin.verify(json!({
                "key": token.secret, "catalog": "aware", "method": method, "path": path,
            }));
            assert_eq!(
                verdict["valid"], opens,
                "{permission} {method} {path}: {verdict}"
            );
        }
    }
}
