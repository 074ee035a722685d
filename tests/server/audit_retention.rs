//! Old audit events can be pruned; the rest stays verifiable, and the pruning is recorded.

use serde_json::{Value, json};

use crate::support::{Random, Server, User, wait};
use std::thread;
use std::time::Duration;

fn events(user: &User) -> Vec<Value> {
    let found = user.get("/v1/audit-events?limit=500").expect(200).json();
    found["items"].as_array().unwrap().clone()
}

fn prune(user: &User, body: Value) -> crate::support::Response {
    user.post("/v1/audit-events/prune", body)
}

/// A server that allows callers over the network to prune the newest events, too.
fn unbound() -> Server {
    Server::start_with(&["--audit-keep-min", "0"], &[])
}

fn seq(event: &Value) -> i64 {
    event["seq"].as_i64().unwrap()
}

/// What is left of the log may begin with an event about a key whose deletion it no longer contains.
#[test]
fn a_deleted_key_in_a_pruned_log_is_no_finding() {
    let server = unbound();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    prune(&admin, json!({ "keep": 0 })).expect(200);
    assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    wait::until("the use of the old secret is in the log", || {
        let found = events(&admin);
        let about = |event: &Value| event["target_id"] == key.id;
        assert!(found.iter().all(|event| event["action"] != "key.delete"));
        found.iter().any(about)
    });
    let doctor = admin.get("/v1/doctor").expect(200).json();
    let checks = doctor["checks"].as_array().unwrap();
    let rows = checks
        .iter()
        .find(|check| check["name"] == "keys and audit log");
    assert_eq!(rows.unwrap()["finding"], "ok", "{doctor:#}");
}

// attacks 206
#[test]
fn the_newest_events_stay_and_the_cut_is_one_of_them() {
    let mut server = unbound();
    let admin = server.admin();
    for n in 0..5 {
        admin.issue(json!({ "name": format!("k{n}") }));
    }
    let before = events(&admin);
    let newest = seq(&before[0]);
    let cut = prune(&admin, json!({ "keep": 2 })).expect(200).json();
    assert_eq!(cut, json!({ "count": newest - 2, "first_seq": newest - 1 }));

    let after = events(&admin);
    assert_eq!(
        after.iter().map(seq).collect::<Vec<_>>(),
        [newest + 1, newest, newest - 1]
    );
    assert_eq!(
        (&after[0]["action"], &after[0]["outcome"]),
        (&json!("audit.prune"), &json!("allowed"))
    );
    assert_eq!(
        after[0]["changes"]["first_event"],
        json!(["1", (newest - 1).to_string()])
    );
    // The event of the pruning contains the hash that verifies the first event that is left.
    assert_eq!(
        after[0]["changes"]["hash_before_first"][1],
        after[2]["previous"]
    );
    assert_eq!(after[1..], before[..2]);

    assert_eq!(
        prune(&admin, json!({ "keep": 100 })).expect(200).json(),
        json!({ "count": 0, "first_seq": null })
    );
    assert_eq!(events(&admin).len(), 3, "a cut of nothing leaves no event");
    server.kill9();
    server.restart();
    assert_eq!(events(&server.admin()), after);
    server.admin().issue(json!({ "name": "later" }));
    assert_eq!(seq(&events(&server.admin())[0]), newest + 2);
}

/// The pruning and its event are complete or absent after a kill; an acknowledged pruning is present.
#[test]
fn a_kill_in_the_middle_of_a_cut_leaves_the_old_log_or_the_new_one() {
    let mut random = Random::seeded();
    let mut server = unbound();
    let (mut old, mut new) = (0, 0);
    for round in 0..20 {
        let admin = server.admin();
        for n in 0..10 {
            admin.issue(json!({ "name": format!("k{round}-{n}") }));
        }
        let before = events(&admin);
        let body = json!({ "keep": 2 });
        let cut =
            thread::spawn(move || admin.try_call("POST", "/v1/audit-events/prune", Some(&body)));
        wait::pause(Duration::from_micros(random.below(2_000)));
        server.kill9();
        let acknowledged = cut
            .join()
            .unwrap()
            .is_some_and(|answer| answer.status == 200);
        server.restart();

        let admin = server.admin();
        let after = events(&admin);
        if after[0]["action"] == "audit.prune" && after[0] != before[0] {
            assert_eq!(after[1..], before[..2], "round {round}");
            new += 1;
        } else {
            assert!(!acknowledged, "round {round}: an acknowledged cut is lost");
            assert_eq!(after, before, "round {round}");
            old += 1;
        }
        let chain = admin.get("/v1/audit-events/chain").expect(200).json();
        assert_eq!(chain, json!({ "intact": true, "events": after.len() }));
    }
    println!("{old} cuts were not there after the kill, {new} were");
}

#[test]
fn events_before_a_time_are_cut() {
    let server = unbound();
    let admin = server.admin();
    let all = events(&admin).len();
    let none = prune(&admin, json!({ "before": "2020-01-01T00:00:00Z" }))
        .expect(200)
        .json();
    assert_eq!(none["count"], 0);
    admin.issue(json!({ "name": "k" }));
    let at = events(&admin)[0]["at"].as_str().unwrap().to_owned();
    let cut = prune(&admin, json!({ "before": at })).expect(200).json();
    assert!(cut["count"].as_u64().unwrap() <= all as u64);
    let left = events(&admin);
    assert!(
        left.iter()
            .any(|event| event["action"] == "key.issue" && event["at"] == at.as_str())
    );
}

#[test]
fn a_cut_is_asked_for_in_one_way() {
    let server = Server::start();
    for (body, field) in [
        (json!({}), "before"),
        (
            json!({ "keep": 1, "before": "2020-01-01T00:00:00Z" }),
            "keep",
        ),
        (json!({ "before": "9999-01-01T00:00:00Z" }), "before"),
        (json!({ "before": "yesterday" }), "before"),
        (json!({ "keep": -1 }), "keep"),
        (json!({ "all": true }), "all"),
    ] {
        let answer = prune(&server.admin(), body).expect(422).json();
        assert_eq!(answer["field"], field);
    }
}

/// The setting prunes automatically.
#[test]
fn a_server_that_is_told_to_keeps_so_many_events_and_no_more() {
    let settings = ["--audit-keep-events", "3", "--usage-interval-s", "1"];
    let server = Server::start_with(&settings, &[]);
    let admin = server.admin();
    wait::until("the log was pruned", || {
        events(&admin)[0]["action"] == "audit.prune"
    });
    let left = events(&admin);
    assert_eq!(left.len(), 3, "the cut itself is one of them");
    assert_eq!(left[0]["actor"], "system");
    let chain = admin.get("/v1/audit-events/chain").expect(200).json();
    assert_eq!(chain, json!({ "intact": true, "events": 3 }));
}

// attacks 208
#[test]
fn only_who_runs_the_server_cuts_and_an_attempt_is_recorded() {
    let server = Server::start();
    let admin = server.admin();
    let auditor =
        json!({ "name": "a", "catalog": "latchkey", "scopes": ["audit:read", "keys:write"] });
    let auditor = server.bearer(&admin.issue(auditor).secret);
    prune(&auditor, json!({ "keep": 0 })).expect(403);
    prune(&server.anonymous(), json!({ "keep": 0 })).expect(401);
    admin
        .post("/v1/workspaces", json!({ "slug": "emea" }))
        .expect(201);
    let below = json!({ "name": "b", "catalog": "latchkey", "scopes": ["server:admin"], "workspace": "emea" });
    prune(
        &server.bearer(&admin.issue(below).secret),
        json!({ "keep": 0 }),
    )
    .expect(403);
    let denied = events(&admin)
        .iter()
        .filter(|event| event["outcome"] == "denied")
        .count();
    assert_eq!(denied, 2);
    prune(&server.local(), json!({ "keep": 0 })).expect(200);
    assert_eq!(events(&admin).len(), 1);
}

/// finding S12: a stolen key cannot remove the traces of its use.
#[test]
fn the_newest_days_of_the_log_are_cut_on_the_machine_alone() {
    let server = Server::start();
    let admin = server.admin();
    for n in 0..5 {
        admin.issue(json!({ "name": format!("k{n}") }));
    }
    let before = events(&admin);
    let tomorrow = before[0]["at"].as_str().unwrap();
    for body in [
        json!({ "keep": 1 }),
        json!({ "keep": 0 }),
        json!({ "before": tomorrow }),
    ] {
        let refused = prune(&admin, body.clone()).expect(403).json();
        let detail = refused["detail"].as_str().unwrap();
        for words in ["last 90 days", "audit_keep_min", "latchkey audit prune"] {
            assert!(detail.contains(words), "{body}: {detail}");
        }
    }
    // The owner's session is a caller over the network as well.
    let owner = server
        .anonymous()
        .signed_in("owner", &server.owner_password);
    prune(&owner, json!({ "keep": 1 })).expect(403);
    let after = events(&admin);
    assert_eq!(
        after[after.len() - before.len()..],
        before,
        "nothing is gone"
    );
    let denied = |event: &&Value| event["action"] == "audit.prune" && event["outcome"] == "denied";
    assert_eq!(
        after.iter().filter(denied).count(),
        4,
        "each attempt is recorded"
    );
    // A request that would remove nothing is not recorded as an attempt.
    prune(&admin, json!({ "before": "2020-01-01T00:00:00Z" })).expect(200);
    prune(&admin, json!({ "keep": 1000 })).expect(200);
    // On the machine itself: through the socket, and with the command.
    let line = crate::command_line::Line::of(&server);
    line.ok(&["audit", "prune", "--keep", "5"]);
    prune(&server.local(), json!({ "keep": 0 })).expect(200);
    assert_eq!(events(&admin).len(), 1);
}

#[test]
fn how_many_days_stay_is_a_setting() {
    let server = Server::start_with(&["--audit-keep-min", "7"], &[]);
    let refused = prune(&server.admin(), json!({ "keep": 1 }))
        .expect(403)
        .json();
    assert!(
        refused["detail"].as_str().unwrap().contains("last 7 days"),
        "{refused}"
    );
    let server = unbound();
    prune(&server.admin(), json!({ "keep": 1 })).expect(200);
}
