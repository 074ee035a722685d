//! Editing, disabling, enabling and deleting a key.

use serde_json::{Value, json};

use crate::support::Server;

#[test]
fn each_member_can_be_edited_alone_and_null_brings_its_default_back() {
    let server = Server::start();
    let admin = server.admin();
    let before = admin.issue(json!({ "name": "k" }));
    let members = [
        ("description", json!("d"), json!("")),
        ("contact", json!("c"), json!("")),
        ("scopes", json!(["a:read", "b"]), json!([])),
        ("read_only", json!(true), json!(false)),
        ("enabled", json!(false), json!(true)),
        ("not_before", json!("2040-01-01T00:00:00Z"), json!(null)),
        ("expires_at", json!("2041-01-01T00:00:00Z"), json!(null)),
        ("allowed_ips", json!(["10.0.0.0/8"]), json!(null)),
        (
            "rate_limit",
            json!({ "limit": 5, "window_s": 9, "exact": true }),
            json!(null),
        ),
        ("uses_left", json!(3), json!(null)),
        ("metadata", json!({ "a": { "b": 1 } }), json!({})),
    ];
    let document = server
        .anonymous()
        .get("/v1/openapi.json")
        .expect(200)
        .json();
    let described = document["components"]["schemas"]["KeyEdit"]["properties"].clone();
    for (member, _) in described.as_object().unwrap() {
        // Tested below, with `expires_at`, and in `handing_over`.
        let elsewhere = ["name", "expires_in_s", "owner"].contains(&member.as_str());
        let is_here = members.iter().any(|(known, _, _)| known == member);
        assert!(is_here || elsewhere, "{member} is not tested");
    }
    for (member, value, default) in members {
        let mut expected = before.key.clone();
        expected[member] = value.clone();
        expected["state"] = match member {
            "enabled" => json!("disabled"),
            "not_before" => json!("not_yet_valid"),
            _ => json!("active"),
        };
        let edited = admin.edit(&before.id, json!({ member: value }));
        assert_eq!(edited, expected, "{member}");
        assert_eq!(admin.key(&before.id), expected, "{member}");
        assert_eq!(
            default, before.key[member],
            "the table's default of {member}"
        );
        let restored = admin.edit(&before.id, json!({ member: null }));
        assert_eq!(restored, before.key, "{member}: null");
    }
    assert_eq!(
        admin.edit(&before.id, json!({ "name": "other" }))["name"],
        "other"
    );
    let nameless = admin.patch(&format!("/v1/keys/{}", before.id), json!({ "name": null }));
    nameless.refused_field("name");
    let unchanged = admin.edit(&before.id, json!({}));
    assert_eq!(unchanged["name"], "other", "an empty edit changes nothing");
}

#[test]
fn an_edit_judges_the_key_as_it_will_be() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "expires_at": "2040-01-01T00:00:00Z" }));
    let path = format!("/v1/keys/{}", key.id);
    admin
        .patch(&path, json!({ "not_before": "2040-01-01T00:00:00Z" }))
        .refused_field("not_before");
    admin
        .patch(&path, json!({ "expires_at": "2020-01-01T00:00:00Z" }))
        .refused_field("expires_at");
    admin
        .patch(&path, json!({ "expires_in_s": 0 }))
        .refused_field("expires_in_s");
    let both = json!({ "expires_in_s": 5, "expires_at": "2041-01-01T00:00:00Z" });
    admin.patch(&path, both).refused_field("expires_in_s");
    assert_eq!(admin.key(&key.id), key.key, "nothing was changed");
    let moved =
        json!({ "not_before": "2040-01-01T00:00:00Z", "expires_at": "2041-01-01T00:00:00Z" });
    assert_eq!(admin.edit(&key.id, moved)["state"], "not_yet_valid");
}

/// attacks 124: members that the server computes cannot be edited.
#[test]
fn members_that_are_computed_or_for_life_are_unknown_to_an_edit() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let path = format!("/v1/keys/{}", key.id);
    for member in [
        "id",
        "hint",
        "workspace",
        "workspace_id",
        "policy",
        "catalog",
        "state",
        "created_by",
        "created_at",
        "rotated_at",
        "deleted_at",
        "last_used_at",
        "use_count",
        "uses",
        "prefix",
        "secret",
        "digest",
        "is_root",
    ] {
        let head = admin.newest_event();
        admin
            .patch(&path, json!({ "name": "x", member: key.key[member] }))
            .refused_field(member);
        assert_eq!(admin.key(&key.id), key.key, "{member}");
        assert_eq!(admin.newest_event(), head, "{member}");
    }
}

#[test]
fn keys_that_do_not_exist_are_not_found_by_any_call() {
    let server = Server::start();
    let admin = server.admin();
    for id in [
        "0000000000",
        "zzzzzzzzzz",
        "short",
        "'%20OR%201=1",
        "%00",
        "%2e%2e",
        "ABCDEFGHIJK",
    ] {
        let path = format!("/v1/keys/{id}");
        admin.get(&path).refused(404, "not-found");
        admin
            .patch(&path, json!({ "name": "x" }))
            .refused(404, "not-found");
        admin.delete(&path).refused(404, "not-found");
        for action in ["rotate", "disable", "enable"] {
            admin
                .post(&format!("{path}/{action}"), json!({}))
                .refused(404, "not-found");
        }
    }
}

#[test]
fn the_switch_can_be_thrown_twice() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let throw = |word: &str| -> Value {
        let path = format!("/v1/keys/{}/{word}", key.id);
        admin.call("POST", &path, None).expect(200).json()
    };
    for _ in 0..2 {
        assert_eq!(throw("disable")["state"], "disabled");
        assert_eq!(admin.verdict(&key.secret), "DISABLED");
    }
    let head = admin.newest_event();
    assert_eq!(throw("disable")["enabled"], false);
    assert_eq!(
        admin.newest_event(),
        head,
        "what changes nothing leaves no event"
    );
    for _ in 0..2 {
        assert_eq!(throw("enable")["state"], "active");
        assert_eq!(admin.verdict(&key.secret), "VALID");
    }
}

/// attacks 145, 146
#[test]
fn deletion_is_at_once_and_for_good() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    let path = format!("/v1/keys/{}", key.id);
    assert_eq!(admin.verdict(&key.secret), "VALID");

    let deleted = admin.delete(&path).expect(204);

    assert!(deleted.body.is_empty());
    assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    assert!(!admin.get("/v1/keys").ids().contains(&key.id));
    let tombstone = admin.key(&key.id);
    assert_eq!(
        (tombstone["state"].as_str(), &tombstone["name"]),
        (Some("deleted"), &json!("k"))
    );
    for (method, call, body) in [
        ("PATCH", "", json!({ "enabled": true })),
        ("PATCH", "", json!({ "name": "k" })),
        ("POST", "/enable", json!({})),
        ("POST", "/disable", json!({})),
        ("POST", "/rotate", json!({})),
        ("DELETE", "", json!({})),
    ] {
        let response = admin.call(method, &format!("{path}{call}"), Some(&body));
        response.refused(409, "conflict");
    }
    let again = admin.issue(json!({ "name": "k" }));
    assert_ne!(again.id, key.id, "ids are never used again");
    assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    assert_eq!(admin.key(&key.id), tombstone);
}
