//! The limits of a policy: a key that exceeds its owner's number of keys, and requests that exceed the bound.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Issued, PASSWORD, Server, User, together, wait};

fn policy(admin: &User, name: &str, mut rules: Value) {
    rules["name"] = json!(name);
    admin.post("/v1/policies", rules).expect(201);
}

fn code(admin: &User, secret: &str) -> String {
    let answer = admin.post("/v1/verify", json!({ "key": secret }));
    answer.expect(200).json()["code"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A server with a policy whose keys replace one another, and three keys of alice, the oldest one first.
fn three_of_alice() -> (Server, Vec<Issued>) {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let rules = json!({ "owner": "required", "keys_per_owner_max": 3, "at_owner_max": "replace" });
    policy(&admin, "robots", rules);
    let keys = (0..3).map(|own| of_alice(&admin, own)).collect();
    (server, keys)
}

fn of_alice(admin: &User, own: usize) -> Issued {
    // Times are of milliseconds.
    wait::pause(Duration::from_millis(5));
    admin.issue(json!({ "name": format!("robot {own}"), "policy": "robots", "owner": "alice" }))
}

#[test]
fn one_key_too_many_replaces_the_one_that_was_not_used_for_the_longest_time() {
    let (mut server, keys) = three_of_alice();
    let admin = server.admin();
    wait::pause(Duration::from_millis(5));
    // The use is only counted in memory, and not in the table yet.
    assert_eq!(code(&admin, &keys[0].secret), "VALID");
    let fourth = of_alice(&admin, 3);
    assert_eq!(code(&admin, &keys[1].secret), "NOT_FOUND");

    let events = admin
        .get("/v1/audit-events?action=key.replace")
        .expect(200)
        .json();
    let event = &events["items"][0];
    assert_eq!(event["target_id"], json!(keys[1].id), "{events}");
    assert_eq!(
        event["changes"]["replaced_by"],
        json!(["", fourth.id]),
        "{events}"
    );
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.key(&keys[1].id)["state"], "deleted");

    // After a restart the table decides: the third was never used, the first was used before the fourth was issued.
    server.restart();
    let admin = server.admin();
    of_alice(&admin, 4);
    assert_eq!(code(&admin, &keys[2].secret), "NOT_FOUND");
    of_alice(&admin, 5);
    assert_eq!(code(&admin, &keys[0].secret), "NOT_FOUND");
    assert_eq!(code(&admin, &fourth.secret), "VALID");
}

#[test]
fn a_key_in_use_stays_while_another_one_was_never_used_whether_they_end_or_not() {
    let (server, keys) = three_of_alice();
    let admin = server.admin();
    for key in &keys[1..] {
        let end = json!({ "expires_in_s": 31_536_000 });
        admin
            .patch(&format!("/v1/keys/{}", key.id), end)
            .expect(200);
    }
    wait::pause(Duration::from_millis(5));
    assert_eq!(code(&admin, &keys[0].secret), "VALID");
    of_alice(&admin, 3);
    assert_eq!(code(&admin, &keys[1].secret), "NOT_FOUND");
    of_alice(&admin, 4);
    assert_eq!(code(&admin, &keys[2].secret), "NOT_FOUND");
    assert_eq!(code(&admin, &keys[0].secret), "VALID");
}

/// What was spent under a bound counts on when an edit brings the key's own limit within it.
#[test]
fn an_edit_within_the_bound_gives_nothing_back() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "bounded", json!({}));
    let key = admin.issue(json!({ "name": "k", "policy": "bounded" }));
    let bound = json!({ "limit": 3, "window_s": 3_600 });
    admin
        .patch("/v1/policies/bounded", json!({ "rate_limit_max": bound }))
        .expect(200);
    let four = || -> Vec<String> { (0..4).map(|_| code(&admin, &key.secret)).collect() };
    assert_eq!(four(), ["VALID", "VALID", "VALID", "RATE_LIMITED"]);
    admin.edit(&key.id, json!({ "rate_limit": bound }));
    assert_eq!(four(), ["RATE_LIMITED"; 4]);
}

// Attack: many sign-ins at the same time, when the limit is reached.
#[test]
fn of_many_sign_ins_at_once_each_has_a_key_and_the_newest_stay() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "administrator", "root");
    let most = json!({ "keys_per_owner_max": 2 });
    admin.patch("/v1/policies/adverity-token", most).expect(200);
    let sign_in = |_| {
        let asked = json!({ "username": "alice", "password": PASSWORD });
        let answer = server.anonymous().post("/api/auth/token/", asked);
        answer.expect(200).json()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // As many requests at once as passwords are digested at once.
    let tokens = [together(4, sign_in), together(4, sign_in)].concat();
    let works = |token: &&String| {
        let authorization = format!("Token {token}");
        let headers = [("Authorization", authorization.as_str())];
        server.call("GET", "/api/stacks/", &headers, None).status == 200
    };
    assert_eq!(tokens.iter().filter(works).count(), 2);
    assert!(tokens[..4].iter().all(|token| !works(&token)));
    let listed = admin.get("/v1/keys?policy=adverity-token").expect(200);
    assert_eq!(listed.ids().len(), 2);
    let events = admin
        .get("/v1/audit-events?action=key.replace")
        .expect(200)
        .json();
    assert_eq!(events["items"].as_array().unwrap().len(), 6);
}

// Attack: a caller who may issue keys in one workspace could delete a user's keys in another workspace in this way.
#[test]
fn nobody_replaces_a_key_that_they_could_not_delete() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    admin.person("mara", "key_manager", "emea");
    let rules = json!({ "owner": "required", "keys_per_owner_max": 1, "at_owner_max": "replace" });
    policy(&admin, "robots", rules);
    let key = |workspace: &str| json!({ "name": "k", "policy": "robots", "owner": "alice", "workspace": workspace });
    let elsewhere = admin.issue(key("root"));
    let mara = server.anonymous().signed_in("mara", PASSWORD);
    let refused = mara.post("/v1/keys", key("emea"));
    refused.refused(409, "conflict");
    assert_eq!(code(&admin, &elsewhere.secret), "VALID");
    // The administrator may.
    let here = admin.issue(key("emea"));
    assert_eq!(code(&admin, &elsewhere.secret), "NOT_FOUND");
    let newer = mara.issue(key("emea"));
    assert_eq!(code(&admin, &here.secret), "NOT_FOUND");
    // A greatest number of 0 permits no new key, even though there are keys.
    let none = json!({ "keys_per_owner_max": 0 });
    admin.patch("/v1/policies/robots", none).expect(200);
    admin.post("/v1/keys", key("emea")).refused(409, "conflict");
    assert_eq!(code(&admin, &newer.secret), "VALID");
}

#[test]
fn a_number_that_was_made_smaller_is_reached_with_the_next_key() {
    let (server, keys) = three_of_alice();
    let admin = server.admin();
    let fewer = json!({ "keys_per_owner_max": 2 });
    admin.patch("/v1/policies/robots", fewer).expect(200);
    of_alice(&admin, 3);
    let codes: Vec<String> = keys.iter().map(|key| code(&admin, &key.secret)).collect();
    assert_eq!(codes, ["NOT_FOUND", "NOT_FOUND", "VALID"]);
}

/// How many of eight consecutive verifications are accepted.
fn let_in(admin: &User, secret: &str) -> usize {
    let valid = (0..8).filter(|_| match code(admin, secret).as_str() {
        "VALID" => true,
        "RATE_LIMITED" => false,
        other => panic!("{other}"),
    });
    valid.count()
}

// Attack: a key that is older than its policy's bound.
#[test]
fn a_bound_of_requests_holds_for_keys_of_before_it() {
    let mut server = Server::start();
    let admin = server.admin();
    policy(&admin, "shared", json!({}));
    let issue =
        |rate: Value| admin.issue(json!({ "name": "k", "policy": "shared", "rate_limit": rate }));
    let looser = issue(json!({ "limit": 1_000, "window_s": 1 }));
    let without = issue(Value::Null);
    let stricter = issue(json!({ "limit": 2, "window_s": 3_600 }));
    assert_eq!(let_in(&admin, &without.secret), 8);
    let bound = json!({ "rate_limit_max": { "limit": 5, "window_s": 3_600 } });
    admin.patch("/v1/policies/shared", bound).expect(200);
    assert_eq!(let_in(&admin, &looser.secret), 5);
    assert_eq!(let_in(&admin, &without.secret), 5);
    assert_eq!(let_in(&admin, &stricter.secret), 2);

    // An edit of another member does not check the limit again, and gives no quota back.
    for key in [&looser, &without] {
        let path = format!("/v1/keys/{}", key.id);
        admin.patch(&path, json!({ "name": "renamed" })).expect(200);
        assert_eq!(let_in(&admin, &key.secret), 0);
    }
    let path = format!("/v1/keys/{}", looser.id);
    let too_many = json!({ "rate_limit": { "limit": 6, "window_s": 3_600 } });
    admin.patch(&path, too_many).refused_field("rate_limit");
    let edited = admin
        .patch(&path, json!({ "rate_limit": null }))
        .expect(200)
        .json();
    assert_eq!(
        edited["rate_limit"],
        json!({ "limit": 5, "window_s": 3_600 })
    );
    let new =
        json!({ "name": "k", "policy": "shared", "rate_limit": { "limit": 6, "window_s": 3_600 } });
    admin.post("/v1/keys", new).refused_field("rate_limit");

    // Windows begin empty after a restart.
    server.restart();
    let admin = server.admin();
    assert_eq!(let_in(&admin, &without.secret), 5);

    // The bound can only be replaced by a stricter one, and a default limit must be within it.
    let looser = json!({ "rate_limit_max": { "limit": 6, "window_s": 3_600 } });
    admin
        .patch("/v1/policies/shared", looser)
        .refused(409, "conflict");
    let none = json!({ "rate_limit_max": null });
    admin
        .patch("/v1/policies/shared", none)
        .refused(409, "conflict");
    let default = json!({ "rate_limit": { "limit": 6, "window_s": 3_600 } });
    admin
        .patch("/v1/policies/shared", default)
        .refused_field("rate_limit");
    let stricter = json!({ "rate_limit_max": { "limit": 4, "window_s": 3_600 } });
    admin.patch("/v1/policies/shared", stricter).expect(200);
}

/// The questions of proxies are answered from memory; the first request under a new bound waits for its counters.
#[test]
fn a_bound_holds_for_the_questions_of_proxies() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "shared", json!({}));
    let key = admin.issue(json!({ "name": "k", "policy": "shared" }));
    let bound = json!({ "rate_limit_max": { "limit": 3, "window_s": 3_600 } });
    admin.patch("/v1/policies/shared", bound).expect(200);
    let ask = |_| {
        let authorization = format!("Bearer {}", key.secret);
        let headers = [("Authorization", authorization.as_str())];
        server.call("GET", "/auth/traefik", &headers, None).status
    };
    let statuses = together(8, ask);
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        3,
        "{statuses:?}"
    );
}

/// On a single server every limit is exact; the word is stored, shown and bounded there as on several nodes.
#[test]
fn a_limit_is_exact_if_it_is_small_and_a_key_gets_it_from_its_policy() {
    let server = Server::start();
    let admin = server.admin();
    let exact = json!({ "limit": 3, "window_s": 3_600, "exact": true });
    policy(&admin, "exactly", json!({ "rate_limit": exact }));
    let key = admin.issue(json!({ "name": "k", "policy": "exactly" }));
    let path = format!("/v1/keys/{}", key.id);
    assert_eq!(admin.key(&key.id)["rate_limit"], exact);
    let policy = admin.get("/v1/policies/exactly").expect(200);
    assert_eq!(policy.json()["rate_limit"], exact);
    let ask = |_| code(&admin, &key.secret) == "VALID";
    assert_eq!(together(8, ask).iter().filter(|valid| **valid).count(), 3);
    for (limit, refused) in [(1_000, false), (1_001, true)] {
        let limit = json!({ "rate_limit": { "limit": limit, "window_s": 60, "exact": true } });
        let answer = admin.patch(&path, limit);
        match refused {
            true => answer.refused_field("rate_limit.exact"),
            false => drop(answer.expect(200)),
        }
    }
    let looser = json!({ "rate_limit": { "limit": 3, "window_s": 3_600 } });
    // Keys follow the policy, so it can only become stricter.
    let answer = admin.patch("/v1/policies/exactly", looser.clone());
    answer.refused(409, "conflict");
    let bound = json!({ "rate_limit_max": exact });
    admin
        .patch("/v1/policies/exactly", bound)
        .refused_field("rate_limit_max.exact");
    admin.patch(&path, looser).expect(200);
    let shown = &admin.key(&key.id)["rate_limit"];
    assert_eq!(*shown, json!({ "limit": 3, "window_s": 3_600 }));
}
