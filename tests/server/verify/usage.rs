//! The usage of a key: when it was last used, how often, and its refusals for each hour.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};
use crate::usage::wait_until_written;

/// The totals of a key over the last two hours, by code, because the hour may change during a test.
#[track_caller]
fn totals(user: &User, id: &str) -> Vec<(String, u64)> {
    let page = user.get(&format!("/v1/usage?key={id}")).expect(200).json();
    let mut sums = std::collections::BTreeMap::new();
    for row in page["items"].as_array().unwrap() {
        let hour = row["hour"].as_str().unwrap();
        assert!(hour.ends_with(":00:00Z"), "{hour} is a full hour");
        *sums
            .entry(row["code"].as_str().unwrap().to_owned())
            .or_default() += row["count"].as_u64().unwrap();
    }
    sums.into_iter().collect()
}

#[test]
fn use_is_told_at_once_and_survives_a_clean_restart() {
    let mut server = Server::start_with(&["--usage-interval-s", "3600"], &[]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "used", "scopes": ["a"] }));
    let ask = |ip: Value, scopes: Value| {
        admin.verify(json!({ "key": key.secret, "ip": ip, "scopes": scopes }))
    };
    for ip in [
        json!("192.0.2.1"),
        json!("2001:db8::7"),
        json!("::ffff:203.0.113.9"),
    ] {
        assert_eq!(ask(ip, json!(["a"]))["code"], "VALID");
    }
    for _ in 0..2 {
        assert_eq!(
            ask(json!("192.0.2.99"), json!(["b"]))["code"],
            "INSUFFICIENT_SCOPE"
        );
    }
    let shown = admin.key(&key.id);
    assert_eq!(
        (&shown["use_count"], &shown["last_used_ip"]),
        (&json!(3), &json!("203.0.113.9"))
    );
    let time =
        |member: &str| -> jiff::Timestamp { shown[member].as_str().unwrap().parse().unwrap() };
    assert!(time("last_used_at") >= time("created_at"));
    let listed = admin.get("/v1/keys?q=used").expect(200).json()["items"][0].clone();
    assert_eq!(listed, shown, "a list shows the same");
    let expected = [
        ("INSUFFICIENT_SCOPE".to_owned(), 2),
        ("VALID".to_owned(), 3),
    ];
    assert_eq!(totals(&admin, &key.id), expected);

    server.stop();
    server.restart();
    assert_eq!(admin.key(&key.id), shown);
    assert_eq!(totals(&admin, &key.id), expected);
    assert_eq!(ask(json!(null), json!([]))["code"], "VALID");
    let shown = admin.key(&key.id);
    assert_eq!(
        (&shown["use_count"], &shown["last_used_ip"]),
        (&json!(4), &json!(null)),
        "from nobody knows where"
    );
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    assert_eq!(
        admin.key(&key.id)["use_count"],
        4,
        "the tombstone remembers"
    );
}

/// attacks 156
#[test]
fn a_crash_loses_at_most_one_interval_of_use() {
    let mut server = Server::start_with(&["--usage-interval-s", "1"], &[]);
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    for _ in 0..5 {
        assert_eq!(admin.verdict(&key.secret), "VALID");
    }
    wait_until_written(&server.data, &key.id, 5);
    server.kill9();
    server.restart();
    assert_eq!(admin.key(&key.id)["use_count"], 5);
    assert_eq!(totals(&admin, &key.id), [("VALID".to_owned(), 5)]);
}

#[test]
fn usage_is_told_for_a_span_and_to_whoever_may_read_the_key() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("eve", "member", "root");
    let id = server.key["id"].as_str().unwrap();
    assert_eq!(admin.verdict(&server.secret), "VALID");
    let at = |span: &str| admin.get(&format!("/v1/usage?key={id}&{span}"));
    let rows = |span: &str| {
        at(span).expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(rows(""), 1);
    assert_eq!(
        rows("since=2000-01-01T00:00:00Z&until=2000-01-02T00:00:00Z"),
        0
    );
    at("since=2000-01-01T00:00:00Z").refused_field("since");
    at("since=yesterday").refused_field("since");
    at("until=2000-01-01").refused_field("until");
    at("limit=1").refused(400, "invalid-request");
    admin.get("/v1/usage").refused(400, "invalid-request");
    admin
        .get("/v1/usage?key=0000000000")
        .refused(404, "not-found");
    server
        .anonymous()
        .signed_in("eve", PASSWORD)
        .get(&format!("/v1/usage?key={id}"))
        .refused(404, "not-found");
    server
        .bearer(&server.secret)
        .get(&format!("/v1/usage?key={id}"))
        .refused(403, "forbidden");
}
