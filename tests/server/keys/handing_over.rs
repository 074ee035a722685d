//! A key that gets another owner, because people leave and their keys are still needed.

use crate::support::{PASSWORD, Server};
use serde_json::{Value, json};

fn id_of(key: &str) -> String {
    format!("/v1/keys/{key}")
}

#[test]
fn a_key_gets_another_owner_and_keeps_its_secret() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("ada", "member", "root");
    let bob = admin.person("bob", "member", "root");
    let key = admin.issue(json!({ "name": "k", "owner": "ada" }));
    let changed = admin.edit(&key.id, json!({ "owner": "BOB" }));
    assert_eq!(changed["owner"], "bob");
    // Disabling the new owner stops the key, and disabling the old one does not.
    admin
        .patch("/v1/users/ada", json!({ "enabled": false }))
        .expect(200);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    admin
        .patch("/v1/users/bob", json!({ "enabled": false }))
        .expect(200);
    assert_eq!(admin.verdict(&key.secret), "OWNER_DISABLED");
    assert_eq!(
        admin.edit(&key.id, json!({ "owner": null }))["owner"],
        Value::Null
    );
    assert_eq!(admin.verdict(&key.secret), "VALID");
    assert_eq!(admin.edit(&key.id, json!({ "owner": bob }))["owner"], "bob");
    assert_eq!(admin.verdict(&key.secret), "OWNER_DISABLED");
    let listed = admin.get("/v1/keys?owner=bob").expect(200).json();
    assert_eq!(listed["items"][0]["id"], key.id.as_str());
    // The log contains the change, but not an edit that changes nothing.
    admin.edit(&key.id, json!({ "owner": "bob" }));
    let events = admin
        .get(&format!("/v1/audit-events?target={}", key.id))
        .expect(200)
        .json();
    let events = events["items"].as_array().unwrap();
    let edits: Vec<&Value> = events
        .iter()
        .filter(|it| it["action"] == "key.edit")
        .collect();
    assert_eq!(edits.len(), 3, "{events:?}");
    assert!(
        edits.iter().all(|it| it["changes"]["owner"].is_array()),
        "{edits:?}"
    );
    admin
        .patch(&id_of(&key.id), json!({ "owner": "nobody" }))
        .refused_field("owner");
    admin
        .patch(&id_of(&key.id), json!({ "workspace": "root" }))
        .refused_field("workspace");
}

#[test]
fn the_rules_of_issuing_hold_for_the_new_owner() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("ada", "member", "root");
    admin.person("bob", "member", "root");
    for policy in [
        json!({ "name": "none", "owner": "forbidden" }),
        json!({ "name": "some", "owner": "required" }),
        json!({ "name": "few", "keys_per_owner_max": 1 }),
        json!({ "name": "listed", "editable": ["name", "scopes"] }),
        json!({ "name": "own", "issued_by": "owner" }),
    ] {
        admin.post("/v1/policies", policy).expect(201);
    }
    let issue = |policy: &str, owner: Value| {
        admin
            .issue(json!({ "name": "k", "policy": policy, "owner": owner }))
            .id
    };
    let refused = |id: &str, owner: Value, status: u16| {
        let before = admin.key(id)["owner"].clone();
        admin
            .patch(&id_of(id), json!({ "owner": owner }))
            .expect(status);
        assert_eq!(admin.key(id)["owner"], before);
    };
    refused(&issue("none", Value::Null), json!("bob"), 422);
    refused(&issue("some", json!("ada")), Value::Null, 422);
    let first = issue("few", json!("ada"));
    issue("few", json!("bob"));
    refused(&first, json!("bob"), 409);
    admin.edit(&first, json!({ "owner": null }));
    // A policy with a list of editable members from before owners could change does not permit this change.
    refused(&issue("listed", json!("ada")), json!("bob"), 409);
    let ada = server.anonymous().signed_in("ada", PASSWORD);
    let own = ada.issue(json!({ "name": "k", "policy": "own" })).id;
    refused(&own, json!("bob"), 409);
}

#[test]
fn nobody_gives_away_or_takes_what_they_could_not_issue() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("apac", "root");
    admin.person("ada", "member", "emea");
    admin.person("bob", "member", "emea");
    admin.person("mia", "key_manager", "emea");
    admin.person("max", "key_manager", "apac");
    let key = admin.issue(json!({ "name": "k", "workspace": "emea", "owner": "ada" }));
    let path = id_of(&key.id);
    // A user who may only manage their own keys can neither give one away nor take that of another user.
    for (who, owner, status) in [
        ("ada", json!("bob"), 403),
        ("ada", Value::Null, 403),
        ("bob", json!("bob"), 404),
        ("max", json!("bob"), 404),
    ] {
        let by = server.anonymous().signed_in(who, PASSWORD);
        by.patch(&path, json!({ "owner": owner })).expect(status);
        assert_eq!(admin.key(&key.id)["owner"], "ada", "{who}");
    }
    let mia = server.anonymous().signed_in("mia", PASSWORD);
    assert_eq!(mia.edit(&key.id, json!({ "owner": "bob" }))["owner"], "bob");

    // Only administrators change the owner of a management key, and the key itself never does.
    let management = json!({ "name": "m", "workspace": "emea", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"], "owner": "mia" });
    let management = admin.issue(management);
    for owner in [json!("bob"), Value::Null] {
        mia.patch(&id_of(&management.id), json!({ "owner": owner }))
            .expect(403);
        let itself = server.bearer(&management.secret);
        itself
            .patch(&id_of(&management.id), json!({ "owner": owner }))
            .expect(403);
    }
    assert_eq!(admin.key(&management.id)["owner"], "mia");
    assert_eq!(
        admin.edit(&management.id, json!({ "owner": "bob" }))["owner"],
        "bob"
    );
}

/// Former holders of the key know the secret: if the owner changed, they could act as the new owner.
#[test]
fn a_key_that_acts_for_its_owner_keeps_its_owner() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("ada", "key_manager", "root");
    admin.person("bob", "member", "root");
    let policy = json!({
        "name": "acting", "issued_by": "owner", "acts_for_owner": true, "owner": "required",
        "roles": { "member": { "scopes": ["*"] } },
    });
    admin.post("/v1/policies", policy).expect(201);
    let bob = server.anonymous().signed_in("bob", PASSWORD);
    let key = bob.issue(json!({ "name": "k", "policy": "acting", "owner": "bob" }));
    admin
        .patch(&id_of(&key.id), json!({ "owner": "ada" }))
        .expect(409);
    admin
        .patch(&id_of(&key.id), json!({ "owner": null, "name": "x" }))
        .expect(409);
    let unchanged = admin.key(&key.id);
    assert_eq!(
        (&unchanged["owner"], &unchanged["name"]),
        (&json!("bob"), &json!("k"))
    );
    admin.edit(&key.id, json!({ "owner": "bob", "name": "x" }));
}

/// Applications learn the owner of a key, so a key manager must not take the name of an administrator.
#[test]
fn nobody_gives_a_key_the_name_of_a_user_who_may_change_more() {
    let server = Server::start();
    let admin = server.admin();
    for (name, role) in [
        ("manager", "key_manager"),
        ("boss", "administrator"),
        ("peer", "key_manager"),
        ("reader", "auditor"),
        ("member", "member"),
    ] {
        admin.person(name, role, "root");
    }
    let manager = admin.signed_in("manager", PASSWORD);
    for (owner, status) in [
        ("boss", 403),
        ("owner", 403),
        ("peer", 201),
        ("reader", 201),
        ("member", 201),
        ("manager", 201),
    ] {
        let new = json!({ "name": "k", "owner": owner });
        manager.post("/v1/keys", new).expect(status);
    }
    let key = manager.issue(json!({ "name": "k", "owner": "member" }));
    let handed = json!({ "owner": "owner" });
    manager.patch(&id_of(&key.id), handed.clone()).expect(403);
    assert_eq!(admin.key(&key.id)["owner"], "member");
    admin.patch(&id_of(&key.id), handed).expect(200);
}
