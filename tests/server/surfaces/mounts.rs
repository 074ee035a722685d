//! Dialects at their own paths, under prefixes, and off.

use super::{ask, dialects, mount, words};
use crate::support::refusal::ended;
use crate::support::{Server, executable, fresh_folder};
use serde_json::json;
use std::fs;

#[track_caller]
fn check(server: &Server, host: &str, path: &str, dialect: &str) {
    words::check(dialect, &ask(server, "GET", host, path));
}

fn start(settings: &[String]) -> Server {
    let args: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["--mount", setting])
        .collect();
    Server::start_with(&args, &[])
}

#[test]
fn all_are_there_at_once_by_themselves() {
    let server = Server::start();
    for dialect in dialects() {
        let own = mount(&dialect);
        check(&server, "localhost", own, &dialect);
        check(&server, "localhost", &format!("{own}/nothing"), &dialect);
    }
    for nobodys in ["/nothing", "/apis", "/externals", "/public", "/v1/nothing"] {
        check(&server, "localhost", nobodys, "native");
    }
    server.anonymous().get("/healthz").expect(200);
    server.assert_alive();
}

#[test]
fn each_can_be_moved_under_a_prefix_of_its_own() {
    let names = dialects();
    let settings: Vec<String> = names
        .iter()
        .map(|name| format!("{name}=/at/{name}"))
        .collect();
    let server = start(&settings);
    for name in &names {
        let own = mount(name);
        check(
            &server,
            "localhost",
            &format!("/at/{name}{own}/nothing"),
            name,
        );
        check(&server, "localhost", &format!("/at/{name}"), name);
        check(&server, "localhost", &format!("/at/{name}/nothing"), name);
        check(&server, "localhost", &format!("{own}/nothing"), "native");
        check(&server, "localhost", &format!("/at/{name}x{own}"), "native");
    }
    server.assert_alive();
}

#[test]
fn each_can_be_off() {
    let names = dialects();
    let off: Vec<String> = names.iter().map(|name| format!("{name}=off")).collect();
    let server = start(&off);
    for name in &names {
        check(&server, "localhost", mount(name), "native");
    }
    server.assert_alive();
}

#[test]
fn a_moved_dialect_does_what_it_did() {
    let places = "aware=/a,awaretrain=/t";
    let server = Server::start_with(&[], &[("LATCHKEY_MOUNTS", places)]);
    let admin = server.admin();
    let token = admin.issue(json!({
        "name": "siem", "policy": "aware", "scopes": ["audit_logs:read"],
    }));
    let asked = |path: &str| {
        let headers = [("X-Aware-Api-Key", token.secret.as_str())];
        server.call("GET", path, &headers, None).status
    };
    assert_eq!(asked("/a/external/system/auditlogs/v1"), 204);
    assert_eq!(asked("/a/external/dataholds/v1"), 403);
    assert_eq!(asked("/external/system/auditlogs/v1"), 404);
    let key = admin.issue(json!({
        "name": "hr", "policy": "awaretrain", "scopes": ["user:read"], "expires_in_s": 3600,
    }));
    let bearer = format!("Bearer {}", key.secret);
    let trains = |path: &str| {
        let headers = [("Authorization", bearer.as_str())];
        server.call("GET", path, &headers, None).status
    };
    assert_eq!(trains("/t/public/v1/users"), 204);
    assert_eq!(trains("/t/public/v1/groups"), 403);
}

#[test]
fn a_setting_that_cannot_be_meant_stops_the_start() {
    for (setting, word) in [
        ("aware", "NAME=/prefix"),
        ("stranger=/x", "names none of"),
        ("native=off", "names none of"),
        ("aware=/x y", "has no valid /prefix"),
        ("aware=keys.example", "--allowed-hosts"),
        ("aware=keys.example/x", "--allowed-hosts"),
        ("aware=/v1/x", "would hide /v1"),
        ("aware=/healthz", "would hide /healthz"),
    ] {
        let folder = fresh_folder();
        let data = folder.join("data");
        let mut command = executable(None);
        command.args(["quickstart", "--listen", "127.0.0.1:0", "--mount", setting]);
        ended(command.arg("--data").arg(&data)).expect_refused(&["mount", word, setting]);
        assert!(!data.join("latchkey.db").exists(), "nothing was made");
        let _ = fs::remove_dir_all(folder);
    }
}
