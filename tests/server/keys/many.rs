//! Deleting, disabling, enabling and extending several keys at once.

use crate::support::Server;
use serde_json::{Value, json};

fn body(action: &str, ids: &[&str]) -> Value {
    json!({ "action": action, "ids": ids })
}

#[test]
fn several_keys_are_switched_and_deleted_in_one_operation() {
    let server = Server::start();
    let admin = server.admin();
    let keys = ["one", "two", "three"].map(|name| admin.issue(json!({ "name": name })));
    let ids = [keys[2].id.as_str(), &keys[0].id, &keys[1].id];
    for (action, state, verdict) in [
        ("disable", "disabled", "DISABLED"),
        ("enable", "active", "VALID"),
        ("delete", "deleted", "NOT_FOUND"),
    ] {
        let answer = admin
            .post("/v1/keys/batch", body(action, &ids))
            .expect(200)
            .json();
        let items = answer["items"].as_array().unwrap();
        let seen: Vec<&str> = items.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(seen, ids, "in the order of the request");
        assert!(items.iter().all(|it| it["state"] == state), "{answer}");
        for key in &keys {
            assert_eq!(admin.verdict(&key.secret), verdict);
        }
        let events = admin
            .get(&format!("/v1/audit-events?action=key.{action}"))
            .expect(200)
            .json();
        let events = events["items"].as_array().unwrap().clone();
        assert_eq!(events.len(), 3, "{events:?}");
        let request = &events[0]["request_id"];
        assert!(events.iter().all(|it| it["request_id"] == *request));
    }
}

#[test]
fn one_key_that_is_refused_leaves_all_as_they_were_and_is_named() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "careful", "confirm_name": true, "can_disable": false });
    admin.post("/v1/policies", policy).expect(201);
    let [one, two] = ["one", "two"].map(|name| admin.issue(json!({ "name": name })));
    let careful = admin.issue(json!({ "name": "careful", "policy": "careful" }));
    let gone = admin.issue(json!({ "name": "gone" }));
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);
    let check = |answer: Value, id: &str| {
        assert_eq!(answer["key"], id, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(id), "{answer}");
        for key in [&one, &two, &careful] {
            assert_eq!(admin.verdict(&key.secret), "VALID", "{answer}");
        }
    };
    for (action, bad, status) in [
        ("delete", careful.id.as_str(), 409),
        ("disable", &careful.id, 409),
        ("delete", &gone.id, 409),
        ("enable", &gone.id, 409),
        ("disable", "0000000000", 404),
        ("delete", "no id", 404),
    ] {
        let ids = [&one.id, bad, &two.id];
        let answer = admin
            .post("/v1/keys/batch", body(action, &ids))
            .expect(status);
        check(answer.json(), bad);
    }
    // The names belong to the keys in their order.
    let mut wanted = body("delete", &[&one.id, &careful.id]);
    wanted["confirm_names"] = json!(["careful", "one"]);
    check(
        admin
            .post("/v1/keys/batch", wanted.clone())
            .expect(409)
            .json(),
        &careful.id,
    );
    wanted["confirm_names"] = json!(["one", "careful"]);
    admin.post("/v1/keys/batch", wanted).expect(200);
    assert_eq!(admin.verdict(&careful.secret), "NOT_FOUND");
    assert_eq!(admin.verdict(&two.secret), "VALID");
}

#[test]
fn each_key_is_authorised_by_itself_and_a_refusal_is_recorded_for_it() {
    let server = Server::start();
    let admin = server.admin();
    let [one, two] = ["one", "two"].map(|name| admin.issue(json!({ "name": name })));
    let all = json!({ "name": "m", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"] });
    let manager = admin.issue(all);
    let mighty = admin.issue(json!({ "name": "mighty", "catalog": "latchkey", "scopes": ["server:admin"], "enabled": false }));
    let by = server.bearer(&manager.secret);
    let answer = by
        .post("/v1/keys/batch", body("enable", &[&one.id, &mighty.id]))
        .expect(403)
        .json();
    assert_eq!(answer["key"], mighty.id.as_str());
    let events = admin
        .get(&format!("/v1/audit-events?target={}", mighty.id))
        .expect(200)
        .json();
    let denied = events["items"].as_array().unwrap().iter();
    let denied: Vec<&Value> = denied.filter(|it| it["outcome"] == "denied").collect();
    assert_eq!(denied.len(), 1, "{events}");
    assert_eq!(denied[0]["action"], "key.enable", "{events}");
    let reader = json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:read"] });
    let reader = admin.issue(reader);
    let by = server.bearer(&reader.secret);
    for action in ["delete", "disable", "enable"] {
        by.post("/v1/keys/batch", body(action, &[&one.id, &two.id]))
            .expect(403);
    }
    assert_eq!(admin.verdict(&one.secret), "VALID");
}

#[test]
fn several_keys_get_a_new_end_in_one_operation() {
    let server = Server::start();
    let admin = server.admin();
    let policy = json!({ "name": "short", "expiry": "required", "expiry_s_max": 86_400 });
    admin.post("/v1/policies", policy).expect(201);
    let long = admin.issue(json!({ "name": "long", "expires_in_s": 60 }));
    let short = admin.issue(json!({ "name": "short", "policy": "short", "expires_in_s": 60 }));
    let before = admin.key(&short.id)["expires_at"].clone();
    let end = "2100-01-01T00:00:00Z";
    let extend = |ids: &[&str], more: Value| {
        let mut wanted = body("extend", ids);
        let members = more.as_object().unwrap().clone();
        wanted.as_object_mut().unwrap().extend(members);
        admin.post("/v1/keys/batch", wanted)
    };
    let both = [long.id.as_str(), &short.id];

    // The policy of the second key permits one day, so neither key changes.
    let answer = extend(&both, json!({ "expires_at": end }));
    assert_eq!(answer.expect(422).json()["key"], short.id);
    assert_eq!(admin.key(&short.id)["expires_at"], before);
    assert_ne!(admin.key(&long.id)["expires_at"], end);

    let within = json!({ "expires_at": end, "within_policy": true });
    let answer = extend(&both, within).expect(200).json();
    assert_eq!(answer["items"][0]["expires_at"], end);
    let permitted = answer["items"][1]["expires_at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        *before.as_str().unwrap() < *permitted && *permitted < *end,
        "{answer}"
    );
    let events = admin
        .get("/v1/audit-events?action=key.edit")
        .expect(200)
        .json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2, "{events}");

    let never = extend(&[&long.id], json!({ "expires_at": null })).expect(200);
    assert_eq!(never.json()["items"][0]["expires_at"], Value::Null);
    extend(&[&long.id], json!({ "expires_in_s": 3_600 })).expect(200);
    assert!(admin.key(&long.id)["expires_at"].is_string());

    for (bad, field) in [
        (json!({}), "expires_at"),
        (json!({ "within_policy": true }), "expires_at"),
        (
            json!({ "expires_at": null, "within_policy": true }),
            "within_policy",
        ),
        (
            json!({ "expires_at": end, "expires_in_s": 60 }),
            "expires_in_s",
        ),
        (json!({ "expires_in_s": 0 }), "expires_in_s"),
        (
            json!({ "expires_at": "2001-01-01T00:00:00Z" }),
            "expires_at",
        ),
        (
            json!({ "action": "disable", "expires_at": end }),
            "expires_at",
        ),
        (
            json!({ "action": "delete", "expires_in_s": 60 }),
            "expires_in_s",
        ),
        (
            json!({ "action": "enable", "within_policy": false }),
            "within_policy",
        ),
    ] {
        let answer = extend(&[&long.id], bad.clone()).expect(422).json();
        assert_eq!(answer["field"], field, "{bad}: {answer}");
    }
    assert_eq!(admin.key(&long.id)["state"], "active");
}

#[test]
fn a_request_that_is_no_list_of_keys_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let id = admin.issue(json!({ "name": "k" })).id;
    let many: Vec<&str> = vec![&id; 101];
    for bad in [
        body("delete", &[]),
        body("delete", &[&id, &id]),
        body("delete", &many),
        body("rotate", &[&id]),
        json!({ "action": "delete" }),
        json!({ "ids": [id] }),
        json!({ "action": "delete", "ids": id }),
        json!({ "action": "delete", "ids": [id], "confirm_names": [] }),
        json!({ "action": "disable", "ids": [id], "confirm_names": ["k"] }),
    ] {
        let answer = admin.post("/v1/keys/batch", bad.clone()).expect(422).json();
        assert!(answer["field"].is_string(), "{bad}: {answer}");
    }
    assert_eq!(admin.key(&id)["state"], "active");
}

#[test]
fn keys_that_end_with_another_of_the_request_are_ended_once() {
    let server = Server::start();
    let admin = server.admin();
    let all = json!({ "name": "p", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"], "owner": null });
    let parent = admin.issue(all.clone());
    let child = server
        .bearer(&parent.secret)
        .issue(json!({ "name": "c", "catalog": "latchkey", "scopes": ["keys:read"] }));
    let ids = [parent.id.as_str(), &child.id];
    let answer = admin
        .post("/v1/keys/batch", body("delete", &ids))
        .expect(200)
        .json();
    assert!(
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["state"] == "deleted")
    );
    let events = admin
        .get("/v1/audit-events?action=key.delete")
        .expect(200)
        .json();
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
}
