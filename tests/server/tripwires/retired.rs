//! Secrets that have ended: a request with one gets the answer for an unknown key, and leaves an event.

use super::{changed, event, events, notice};
use crate::support::{Server, User, wait};
use serde_json::{Value, json};

/// Ends a secret of a new key in a way, and returns the key's id and that secret.
fn ended(admin: &User, end: impl Fn(&User, &str) -> Option<String>) -> (String, String) {
    let old = admin.issue(json!({ "name": "k" }));
    if let Some(new) = end(admin, &old.id) {
        assert_eq!(admin.verdict(&new), "VALID");
    }
    (old.id, old.secret)
}

/// Tries a secret that has ended until it is noticed, which it is once all keys are read after a start. Returns the event.
#[track_caller]
fn tried(admin: &User, id: &str, secret: &str) -> Value {
    wait::some("the secret is noticed", || {
        assert_eq!(admin.verdict(secret), "NOT_FOUND");
        events(admin, "key.old_secret_tried", id).into_iter().next()
    })
}

#[test]
fn every_way_in_which_a_secret_ends_is_remembered_across_a_restart() {
    let mut server = Server::start();
    let admin = server.admin();
    let none = || -> Option<String> { None };
    let ways = [
        ended(&admin, |admin, id| Some(admin.rotate(id, json!({})).secret)),
        ended(&admin, |admin, id| {
            admin
                .rotate(id, json!({ "until_first_use": true }))
                .secret
                .into()
        }),
        ended(&admin, |admin, id| {
            admin.rotate(id, json!({ "grace_s": 3600 }));
            admin.delete(&format!("/v1/keys/{id}/previous")).expect(204);
            none()
        }),
        ended(&admin, |admin, id| {
            admin.delete(&format!("/v1/keys/{id}")).expect(204);
            none()
        }),
        ended(&admin, |admin, id| {
            let rotated = admin.rotate(id, json!({ "grace_s": 1 }));
            // Two rotations at once need the end of the first grace period.
            wait::until("the grace period is over", || {
                admin
                    .post(&format!("/v1/keys/{id}/rotate"), json!({ "grace_s": 60 }))
                    .status
                    == 200
            });
            assert_eq!(admin.verdict(&rotated.secret), "VALID");
            none()
        }),
    ];
    server.stop();
    server.restart();
    let admin = server.admin();
    for (id, secret) in &ways {
        let tried = tried(&admin, id, secret);
        assert_eq!(changed(&tried, "via"), "verify");
        assert!(!tried.to_string().contains(secret));
    }
}

#[test]
fn a_secret_whose_grace_period_is_over_is_noticed_before_it_is_removed() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    admin.rotate(&old.id, json!({ "grace_s": 1 }));
    wait::until("the grace period is over", || {
        admin.verdict(&old.secret) == "NOT_FOUND"
    });
    event(&admin, "key.old_secret_tried", &old.id);
    notice(&admin, "secret.retired_tried", &old.id);
}

#[test]
fn a_wrong_secret_and_one_that_works_leave_no_event() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    let new = admin.rotate(&old.id, json!({ "grace_s": 3600 }));
    let elsewhere = Server::start().admin().issue(json!({ "name": "k" }));
    assert_eq!(admin.verdict(&old.secret), "VALID");
    assert_eq!(admin.verdict(&new.secret), "VALID");
    assert_eq!(admin.verdict(&elsewhere.secret), "NOT_FOUND");
    // What comes later is recorded later: this event is the first of all.
    let last = admin.issue(json!({ "name": "last" }));
    admin.delete(&format!("/v1/keys/{}", last.id)).expect(204);
    assert_eq!(admin.verdict(&last.secret), "NOT_FOUND");
    event(&admin, "key.old_secret_tried", &last.id);
    assert!(events(&admin, "key.old_secret_tried", &old.id).is_empty());
}

/// One of the two secrets is in the wrong hands: the policy may close the key.
#[test]
fn a_policy_may_disable_a_key_whose_old_secret_is_tried_after_the_new_one_was_used() {
    let mut server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "strict", "on_reuse": "disable" });
    admin.post("/v1/policies", policy).expect(201);
    let issue = |policy: &str| admin.issue(json!({ "name": policy, "policy": policy }));
    let (strict, at_once, lenient) = (issue("strict"), issue("strict"), issue("standard"));
    let first_use = json!({ "until_first_use": true });
    let new = [&strict, &lenient].map(|key| {
        let new = admin.rotate(&key.id, first_use.clone()).secret;
        assert_eq!(admin.verdict(&new), "VALID");
        new
    });
    let replaced = admin.rotate(&at_once.id, json!({})).secret;
    // From memory and from the database.
    server.kill9();
    server.restart();
    server.wait_until_ready();
    for key in [&at_once, &lenient, &strict] {
        tried(&admin, &key.id, &key.secret);
    }
    let disabled = event(&admin, "key.disable", &strict.id);
    assert_eq!(disabled["actor"], "system");
    assert_eq!(admin.verdict(&new[0]), "DISABLED");
    assert_eq!(admin.verdict(&new[1]), "VALID", "only an event");
    assert_eq!(
        admin.verdict(&replaced),
        "VALID",
        "a rotation at once proves nothing"
    );
}

/// A key of a policy with `on_reuse`, its first secret, which the use of the second has ended, and the second.
fn reusable(admin: &User) -> (String, String, String) {
    let old = admin.issue(json!({ "name": "k", "policy": "strict" }));
    let first_use = json!({ "until_first_use": true });
    let new = admin.rotate(&old.id, first_use).secret;
    assert_eq!(admin.verdict(&new), "VALID");
    (old.id, old.secret, new)
}

/// Attack: the holder of one old secret disables the key again whenever it was enabled, or after it got a new secret.
#[test]
fn the_same_old_secret_disables_a_key_once() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "strict", "on_reuse": "disable" });
    admin.post("/v1/policies", policy).expect(201);
    let try_recorded = |id: &str, secret: &str| {
        let before = server.alarm(id, "old_secret").unwrap_or(0);
        assert_eq!(admin.verdict(secret), "NOT_FOUND");
        wait::until("the trip is recorded", || {
            server.alarm(id, "old_secret") > Some(before)
        });
    };
    let enable = |id: &str| {
        let path = format!("/v1/keys/{id}/enable");
        admin.post(&path, json!({})).expect(200);
    };
    let (id, first, second) = reusable(&admin);
    try_recorded(&id, &first);
    assert_eq!(admin.verdict(&second), "DISABLED");
    enable(&id);
    try_recorded(&id, &first);
    assert_eq!(admin.verdict(&second), "VALID", "after it was enabled");
    let (id, first, second) = reusable(&admin);
    let third = admin.rotate(&id, json!({ "until_first_use": true })).secret;
    assert_eq!(admin.verdict(&third), "VALID");
    try_recorded(&id, &first);
    assert_eq!(admin.verdict(&third), "VALID", "after a further rotation");
    try_recorded(&id, &second);
    assert_eq!(admin.verdict(&third), "DISABLED", "once for each rotation");
}

/// Attack: the process ends after the event, and the key stays open because nothing looks at the event again.
#[test]
fn what_an_old_secret_demands_is_done_with_its_event_or_not_at_all() {
    let mut server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "strict", "on_reuse": "disable" });
    admin.post("/v1/policies", policy).expect(201);
    let keys: Vec<_> = (0..12).map(|_| reusable(&admin)).collect();
    for (_, first, _) in &keys {
        assert_eq!(admin.verdict(first), "NOT_FOUND");
    }
    wait::until("some are recorded", || {
        keys.iter()
            .any(|(id, ..)| server.alarm(id, "old_secret").is_some())
    });
    server.kill9();
    server.restart();
    server.wait_until_ready();
    let admin = server.admin();
    let mut recorded = 0;
    for (id, _, second) in &keys {
        let is_recorded = !events(&admin, "key.old_secret_tried", id).is_empty();
        recorded += usize::from(is_recorded);
        let verdict = if is_recorded { "DISABLED" } else { "VALID" };
        assert_eq!(admin.verdict(second), verdict);
    }
    assert!(recorded > 0);
}

/// Attack: a key of one workspace sees from the numbers in its notices, and from cursors, what happens in another one.
#[test]
fn a_notice_shows_no_numbers_of_what_the_caller_may_not_see() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let reader = admin.issue(json!({
        "name": "r", "catalog": "latchkey", "scopes": ["keys:read"], "workspace": "emea",
    }));
    let reader = server.bearer(&reader.secret);
    for workspace in ["emea", "root", "emea"] {
        let key = admin.issue(json!({ "name": "k", "workspace": workspace }));
        admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
        assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
        let told = notice(&admin, "secret.retired_tried", &key.id);
        assert!(told["event"].is_string(), "{told}");
    }
    let path = "/v1/notices?kind=secret.retired_tried";
    let all = reader.get(path).expect(200).json();
    let all = all["items"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    for told in all {
        assert!(told["data"]["event"].is_null(), "{told}");
        assert!(told["data"]["times"].is_string(), "{told}");
    }
    // The newest is the same for both, so its cursor is too, although the next one is another.
    let cursor = |user: &User| {
        let page = user.get(&format!("{path}&limit=1")).expect(200).json();
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    assert_eq!(cursor(&reader), cursor(&admin));
    let rest = reader.get(&format!("{path}&cursor={}", cursor(&reader)));
    assert_eq!(
        rest.expect(200).json()["items"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_policy_cannot_demand_what_its_keys_do_not_permit() {
    let server = Server::start();
    let admin = server.admin();
    for (field, policy) in [
        (
            "on_reuse",
            json!({ "name": "x", "on_reuse": "disable", "can_disable": false }),
        ),
        (
            "on_leak",
            json!({ "name": "x", "on_leak": "disable", "can_disable": false }),
        ),
        ("on_leak", json!({ "name": "x", "on_leak": "rotate" })),
        (
            "on_leak",
            json!({ "name": "x", "on_leak": "rotate", "secret_shown": "sealed", "can_rotate": false }),
        ),
        ("on_leak", json!({ "name": "x", "on_leak": "never" })),
    ] {
        admin.post("/v1/policies", policy).refused_field(field);
    }
}
