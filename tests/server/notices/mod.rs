//! Notices and the audit log outside the server: what reaches sinks, in which form, and that a sink that fails or a
//! server that is killed loses nothing. Attack case 117 for the test of sinks is here too.

mod delivery;
mod network;
mod pages;
pub mod receivers;
mod syslog;
mod webhook;

use crate::support::{Server, User, wait};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Creates a user and gives it another password, which is a notice. Returns its uid.
#[track_caller]
pub fn notable(admin: &User, name: &str) -> String {
    let uid = admin.person(name, "member", "root");
    let body = json!({ "password": "nine anchors in the meadow" });
    admin
        .post(&format!("/v1/users/{uid}/password"), body)
        .expect(204);
    uid
}

/// The JSON lines of a file, and of a file that it was renamed to. The last line may be unfinished.
pub fn lines(path: &Path) -> Vec<Value> {
    let older = path.with_extension("jsonl.1");
    let text = [older.as_path(), path].map(|path| fs::read_to_string(path).unwrap_or_default());
    let text = text.concat();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parsed = whole.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().expect("lines of JSON")
}

/// The notices among CloudEvents that are about a thing.
pub fn about<'a>(events: &'a [Value], subject: &str) -> Vec<&'a Value> {
    let found = events.iter();
    found.filter(|event| event["subject"] == subject).collect()
}

/// The state of a sink, from the server.
#[track_caller]
pub fn sink(server: &Server, name: &str) -> Value {
    let page = server.local().get("/v1/notices/sinks").expect(200).json();
    let sinks = page["items"].as_array().expect("a list").clone();
    let found = sinks.into_iter().find(|sink| sink["name"] == name);
    found.unwrap_or_else(|| panic!("no sink {name} in {page}"))
}

#[test]
fn a_change_of_credentials_is_a_notice_for_those_who_may_read_users() {
    let server = Server::start();
    let admin = server.admin();
    let uid = notable(&admin, "alice");
    let alice = admin.signed_in("alice", "nine anchors in the meadow");
    admin.person("bob", "member", "root");
    let bob = admin.signed_in("bob", crate::support::PASSWORD);
    let seen = |user: &User| {
        let page = user
            .get("/v1/notices?kind=user.credentials_changed")
            .expect(200)
            .json();
        page["items"].as_array().expect("a list").clone()
    };
    let found = wait::some("there is a notice", || seen(&admin).first().cloned());
    assert_eq!(found["subject_kind"], "user");
    assert_eq!(found["subject_id"], uid.as_str());
    assert_eq!(found["data"]["action"], "user.password");
    assert!(found["workspace"].is_string());
    assert!(!found.to_string().contains("anchors"));
    assert_eq!(seen(&alice).len(), 1, "it is about alice");
    assert_eq!(seen(&bob), Vec::<Value>::new());
    let refused = admin.get("/v1/notices?kind=key.lost").expect(422).json();
    assert_eq!(refused["field"], "kind");
}

/// Case 117: only a server administrator sees and tests sinks.
#[test]
fn sinks_are_for_administrators_of_the_server() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("carol", "administrator", "root");
    let carol = admin.signed_in("carol", crate::support::PASSWORD);
    let body = json!({ "sink": "webhook" });
    carol.get("/v1/notices/sinks").expect(403);
    carol.post("/v1/notices/test", body.clone()).expect(403);
    server
        .anonymous()
        .post("/v1/notices/test", body.clone())
        .expect(401);
    assert_eq!(
        admin.get("/v1/notices/sinks").expect(200).json()["items"],
        json!([])
    );
    admin.post("/v1/notices/test", body).expect(409);
    admin
        .post("/v1/notices/test", json!({ "sink": "pigeon" }))
        .expect(422);
}
