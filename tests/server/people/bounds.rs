//! You cannot issue, widen or take over a key that may do more than you may.

use serde_json::{Value, json};

use crate::support::{Issued, PASSWORD, Server, User};

/// A management key with `keys:write` and these members.
fn manager(admin: &User, more: Value) -> Issued {
    let mut key = json!({ "name": "manager", "catalog": "latchkey", "scopes": ["keys:write"] });
    key.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    admin.issue(key)
}

/// attacks 122
#[test]
fn scopes_and_places_beyond_the_callers_own_are_refused() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let bound = server.bearer(&manager(&admin, json!({ "workspace": "emea" })).secret);
    let management =
        |scopes: Value| json!({ "name": "k", "catalog": "latchkey", "scopes": scopes });
    for scopes in [
        json!(["keys:verify"]),
        json!(["users:write"]),
        json!(["keys:read", "server:admin"]),
    ] {
        let refused = bound.post("/v1/keys", management(scopes.clone()));
        refused.refused(403, "forbidden");
    }
    let own = bound.issue(management(json!(["keys:read", "keys:write"])));
    assert_eq!(
        own.key["workspace"], "emea",
        "left out, the workspace is the caller's"
    );
    bound
        .post("/v1/keys", json!({ "name": "k", "workspace": "root" }))
        .refused_field("workspace");
    bound
        .post("/v1/keys", json!({ "name": "k", "workspace": "nowhere" }))
        .refused_field("workspace");
    bound
        .patch(
            &format!("/v1/keys/{}", own.id),
            json!({ "scopes": ["keys:verify"] }),
        )
        .refused(403, "forbidden");
    // Without the catalog the same words grant no permission on this server.
    let words = bound.issue(json!({ "name": "k", "scopes": ["users:write", "server:admin"] }));
    server
        .bearer(&words.secret)
        .get("/v1/users")
        .refused(403, "forbidden");
    // A role limits what the keys of a user can do, regardless of their scopes.
    admin.person("kim", "key_manager", "emea");
    let kim = server.anonymous().signed_in("kim", PASSWORD);
    kim.post("/v1/keys", management(json!(["users:read"])))
        .refused(403, "forbidden");
    let given = admin.issue(json!({
        "name": "k", "catalog": "latchkey", "scopes": ["users:write", "keys:write"], "workspace": "emea", "owner": "kim",
    }));
    let given = server.bearer(&given.secret);
    given.get("/v1/users").expect(200);
    assert_eq!(
        given.get("/v1/users").json()["items"],
        json!([]),
        "kim may read no users"
    );
    given
        .post("/v1/users", json!({ "user_name": "x" }))
        .refused(403, "forbidden");
    given.get("/v1/keys").expect(200);
}

/// attacks 123
#[test]
fn limits_of_a_management_key_pass_on_to_the_keys_it_issues() {
    let server = Server::start();
    let admin = server.admin();
    let limits = json!({
        "expires_at": "2100-01-01T00:00:00Z", "allowed_ips": ["127.0.0.0/8"],
        "rate_limit": { "limit": 1000, "window_s": 60 }, "uses_left": 500,
    });
    let limited = manager(&admin, limits.clone());
    let user = server.bearer(&limited.secret);
    let child = json!({ "name": "child", "catalog": "latchkey", "scopes": ["keys:read"] });
    let inherited = user.issue(child.clone()).key;
    for member in ["expires_at", "allowed_ips", "rate_limit"] {
        assert_eq!(inherited[member], limits[member], "{member} left out");
    }
    assert!(inherited["uses_left"].as_u64().unwrap() <= 500);
    for (member, wider) in [
        ("expires_at", json!("2100-01-01T00:00:01Z")),
        ("allowed_ips", json!(["127.0.0.0/8", "10.0.0.1"])),
        ("allowed_ips", json!(["126.0.0.0/7"])),
        ("rate_limit", json!({ "limit": 1001, "window_s": 60 })),
        ("rate_limit", json!({ "limit": 1000, "window_s": 59 })),
        ("uses_left", json!(501)),
    ] {
        let mut key = child.clone();
        key[member] = wider.clone();
        user.post("/v1/keys", key).refused(403, "forbidden");
        let edit = json!({ member: wider });
        let child = user.issue(child.clone());
        user.patch(&format!("/v1/keys/{}", child.id), edit)
            .refused(403, "forbidden");
        let lifted = json!({ member: null });
        user.patch(&format!("/v1/keys/{}", child.id), lifted)
            .refused(403, "forbidden");
    }
    let narrower = json!({
        "name": "narrow", "catalog": "latchkey", "scopes": ["keys:read"], "expires_at": "2099-01-01T00:00:00Z",
        "allowed_ips": ["127.0.0.1"], "rate_limit": { "limit": 10, "window_s": 60 }, "uses_left": 5,
    });
    user.issue(narrower);
    for edit in [
        json!({ "scopes": ["keys:write", "keys:verify"] }),
        json!({ "expires_at": null }),
        json!({ "allowed_ips": null }),
        json!({ "uses_left": 100_000 }),
        json!({ "uses_left": 1 }),
        json!({ "rate_limit": null }),
    ] {
        user.patch(&format!("/v1/keys/{}", limited.id), edit)
            .refused(403, "forbidden");
    }
    assert_eq!(
        user.edit(&limited.id, json!({ "description": "mine" }))["description"],
        "mine"
    );
}

#[test]
fn a_mightier_key_is_neither_rotated_nor_edited_nor_switched_on() {
    let server = Server::start();
    let admin = server.admin();
    let user = server.bearer(&manager(&admin, json!({})).secret);
    let mighty = admin.issue(
        json!({ "name": "mighty", "catalog": "latchkey", "scopes": ["keys:write", "users:write"] }),
    );
    let path = format!("/v1/keys/{}", mighty.id);
    let refused_calls = [
        ("POST", "/rotate", json!({})),
        ("POST", "/rotate", json!({ "grace_s": 60 })),
        ("PATCH", "", json!({ "name": "other" })),
        ("PATCH", "", json!({ "scopes": ["keys:read"] })),
        ("PATCH", "", json!({ "allowed_ips": ["127.0.0.1"] })),
        ("PATCH", "", json!({ "metadata": { "a": 1 } })),
    ];
    for (method, call, body) in &refused_calls {
        let response = user.call(method, &format!("{path}{call}"), Some(body));
        response.refused(403, "forbidden");
        assert_eq!(
            admin.newest_event()["outcome"],
            "denied",
            "{method} {call} {body}"
        );
    }
    assert_eq!(admin.key(&mighty.id), mighty.key, "nothing was changed");
    // In an emergency, a user who manages keys can disable such a key, but cannot enable it again.
    user.post(&format!("{path}/disable"), json!({})).expect(200);
    user.post(&format!("{path}/enable"), json!({}))
        .refused(403, "forbidden");
    user.patch(&path, json!({ "enabled": true }))
        .refused(403, "forbidden");
    assert_eq!(admin.verdict(&mighty.secret), "DISABLED");
    admin.post(&format!("{path}/enable"), json!({})).expect(200);
    user.patch(&path, json!({ "enabled": false })).expect(200);
    user.delete(&path).expect(204);
    // A read-only key changes nothing, not even itself.
    let reader = admin.issue(
        json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:write"], "read_only": true }),
    );
    let as_reader = server.bearer(&reader.secret);
    as_reader
        .patch(
            &format!("/v1/keys/{}", reader.id),
            json!({ "read_only": false }),
        )
        .refused(403, "forbidden");
    as_reader
        .post("/v1/keys", json!({ "name": "x" }))
        .refused(403, "forbidden");
    as_reader
        .post("/v1/whoami/rotate", json!({}))
        .refused(403, "forbidden");
}
