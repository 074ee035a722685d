//! Dialects at their own paths, under prefixes, at hosts, and off.

use super::{answer, ask, dialects, mount, words};
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
fn each_can_have_a_host_of_its_own() {
    let names = dialects();
    let settings: Vec<String> = names
        .iter()
        .map(|name| format!("{name}={name}.example"))
        .collect();
    let server = start(&settings);
    for name in &names {
        let (own, host) = (mount(name), format!("{name}.example"));
        check(&server, &host, &format!("{own}/nothing"), name);
        check(&server, &format!("{}:8420", host.to_uppercase()), own, name);
        check(&server, &host, "/nothing", name);
        check(&server, "localhost", &format!("{own}/nothing"), "native");
        check(
            &server,
            &format!("x{host}"),
            &format!("{own}/nothing"),
            "native",
        );
        // The native API refuses a host at which only a dialect is mounted.
        ask(&server, "GET", &host, "/v1/keys").refused(421, "misdirected");
        ask(&server, "GET", &host, "/healthz").expect(200);
    }
    server.assert_alive();
}

#[test]
fn one_can_be_at_several_places_and_one_off() {
    let names = dialects();
    for name in &names {
        let own = mount(name);
        let server = start(&[
            format!("{name}=/"),
            format!("{name}=/also"),
            format!("{name}=keys.example/deep"),
        ]);
        check(&server, "localhost", &format!("{own}/nothing"), name);
        check(&server, "localhost", &format!("/also{own}/nothing"), name);
        check(
            &server,
            "keys.example",
            &format!("/deep{own}/nothing"),
            name,
        );
        check(
            &server,
            "localhost",
            &format!("/deep{own}/nothing"),
            "native",
        );
    }
    let off: Vec<String> = names.iter().map(|name| format!("{name}=off")).collect();
    let server = start(&off);
    for name in &names {
        check(&server, "localhost", mount(name), "native");
    }
    server.assert_alive();
}

#[test]
fn a_moved_dialect_does_what_it_did() {
    let places = "aware=/a,awaretrain=trains.example/t";
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
        let head = format!("GET {path} HTTP/1.1\r\nHost: trains.example\r\nConnection: close");
        answer(
            &server,
            &format!("{head}\r\nAuthorization: {bearer}\r\n\r\n"),
        )
        .status
    };
    assert_eq!(trains("/t/public/v1/users"), 204);
    assert_eq!(trains("/t/public/v1/groups"), 403);
}

#[test]
fn a_setting_that_cannot_be_meant_stops_the_start() {
    for (setting, word) in [
        ("aware", "NAME=PLACE"),
        ("stranger=/x", "names none of"),
        ("native=off", "names none of"),
        ("aware=/x y", "has a place that is none"),
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
