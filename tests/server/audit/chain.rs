//! The log as a whole: its sequence, its hash chain, its filters.

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn events_are_gap_free_chained_and_can_be_filtered() {
    let server = Server::start();
    let admin = server.admin();
    for number in 0..12 {
        admin.issue(json!({ "name": format!("k{number}") }));
    }
    let key =
        admin.issue(json!({ "name": "k", "metadata": { "line\r\n\u{1b}[31m": "\u{2028}\"" } }));
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    let mut events: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin
            .get(&format!("/v1/audit-events?limit=4{cursor}"))
            .expect(200)
            .json();
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let seqs: Vec<i64> = events
        .iter()
        .map(|event| event["seq"].as_i64().unwrap())
        .collect();
    let expected: Vec<i64> = (1..=seqs[0]).rev().collect();
    assert_eq!(seqs, expected);
    let links: std::collections::BTreeSet<&str> = events
        .iter()
        .map(|event| event["previous"].as_str().unwrap())
        .collect();
    assert_eq!(
        links.len(),
        events.len(),
        "every event names another one before it"
    );
    let count = |query: &str| {
        admin
            .get(&format!("/v1/audit-events?limit=500&{query}"))
            .expect(200)
            .json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("action=key.delete"), 1);
    assert_eq!(count(&format!("target={}", key.id)), 2);
    assert_eq!(count("actor=nobody"), 0);
    assert_eq!(count("until=2000-01-01T00:00:00Z"), 0);
    assert_eq!(count("since=2000-01-01T00:00:00Z"), seqs.len());
    for query in ["since=x", "until=2020-01-01"] {
        assert_eq!(
            admin.get(&format!("/v1/audit-events?{query}")).status,
            422,
            "{query}"
        );
    }
    for query in ["limit=0", "cursor=x", "actor=a&actor=b", "page=1"] {
        admin
            .get(&format!("/v1/audit-events?{query}"))
            .refused(400, "invalid-request");
    }
}
