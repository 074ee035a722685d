//! The latest refusals of a key: why, when and from where, without anything that a client could fill or poison.

use serde_json::{Value, json};

use crate::support::{Server, User};

fn refusals(admin: &User, id: &str) -> Vec<Value> {
    let found = admin.get(&format!("/v1/keys/{id}/refusals")).expect(200);
    found.json()["items"].as_array().unwrap().clone()
}

#[test]
fn refused_requests_of_a_key_are_listed_and_accepted_ones_are_not() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "allowed_ips": ["203.0.113.0/24"] }));
    let other = admin.issue(json!({ "name": "other" }));
    let asked = |ip: &str, path: &str| {
        admin.verify(json!({ "key": key.secret, "ip": ip, "method": "GET", "path": path }))
    };
    admin.verify(json!({ "key": key.secret, "ip": "203.0.113.7" }));
    assert_eq!(refusals(&admin, &key.id), Vec::<Value>::new());
    asked("198.51.100.7", "/first?token=hidden");
    asked("203.0.113.7", "/second");
    // A request without the secret leaves nothing, and neither does a question that counts as no use.
    let (start, last) = key.secret.split_at(key.secret.len() - 1);
    let wrong = format!("{start}{}", if last == "x" { "y" } else { "x" });
    admin.verify(json!({ "key": wrong }));
    admin.verify(json!({ "key": key.secret, "cost": 0 }));
    let found = refusals(&admin, &key.id);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["code"], "INSUFFICIENT_SCOPE");
    assert_eq!(found[0]["reason"], "UNKNOWN_OPERATION");
    assert_eq!(found[0]["path"], "/second");
    assert_eq!(found[1]["code"], "IP_NOT_ALLOWED");
    assert_eq!(found[1]["ip"], "198.51.100.7");
    assert_eq!(
        (&found[1]["method"], &found[1]["path"]),
        (&json!("GET"), &json!("/first"))
    );
    assert!(found[1]["at"].is_string());
    assert!(refusals(&admin, &other.id).is_empty());
}

#[test]
fn a_flood_of_refusals_leaves_twenty_and_long_texts_are_cut() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "enabled": false }));
    let long = format!("/{}/{}", key.secret, "x/".repeat(300));
    let items: Vec<Value> = (0..60)
        .map(|_| json!({ "key": key.secret, "method": "GET", "path": long }))
        .collect();
    admin
        .post("/v1/verify/batch", json!({ "items": items }))
        .expect(200);
    let found = refusals(&admin, &key.id);
    assert_eq!(found.len(), 20);
    let path = found[0]["path"].as_str().unwrap();
    assert!(path.chars().count() <= 121, "{path}");
    assert!(!path.contains(&key.secret[..20]), "{path}");
}

#[test]
fn only_who_sees_the_key_sees_its_refusals() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("a", "root");
    admin.workspace("b", "root");
    let key = admin.issue(json!({ "name": "k", "workspace": "a", "enabled": false }));
    admin.verify(json!({ "key": key.secret }));
    admin.person("elsewhere", "auditor", "b");
    admin.person("here", "auditor", "a");
    let path = format!("/v1/keys/{}/refusals", key.id);
    let elsewhere = server
        .anonymous()
        .signed_in("elsewhere", crate::support::PASSWORD);
    elsewhere.get(&path).refused(404, "not-found");
    let here = server
        .anonymous()
        .signed_in("here", crate::support::PASSWORD);
    assert_eq!(
        here.get(&path).expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
