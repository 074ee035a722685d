//! The tree of workspaces: creating, moving, disabling and deleting.

use serde_json::json;

use crate::support::Server;

#[test]
fn a_workspace_is_made_renamed_and_found_by_slug_and_uid() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin
        .post(
            "/v1/workspaces",
            json!({ "slug": "emea", "name": "Europe" }),
        )
        .expect(201)
        .json();
    let root = admin.get("/v1/workspaces/root").expect(200).json();
    let (uid, created_at) = (&made["uid"], &made["created_at"]);
    let expected = json!({
        "uid": uid, "slug": "emea", "name": "Europe", "parent": root["uid"], "enabled": true, "created_at": created_at,
    });
    assert_eq!(made, expected);
    assert_eq!(
        admin
            .get(&format!("/v1/workspaces/{}", uid.as_str().unwrap()))
            .expect(200)
            .json(),
        expected
    );
    assert_eq!(admin.workspace("paris", "emea").len(), 36);
    admin
        .post("/v1/workspaces", json!({ "slug": "emea" }))
        .refused(409, "conflict");
    admin
        .patch("/v1/workspaces/paris", json!({ "slug": "emea" }))
        .refused(409, "conflict");
    let key = admin.issue(json!({ "name": "k", "workspace": "paris" }));
    let renamed = admin
        .patch(
            "/v1/workspaces/paris",
            json!({ "slug": "lyon", "name": "Lyon" }),
        )
        .expect(200)
        .json();
    assert_eq!(
        (&renamed["slug"], &renamed["name"]),
        (&json!("lyon"), &json!("Lyon"))
    );
    admin.get("/v1/workspaces/paris").refused(404, "not-found");
    assert_eq!(admin.key(&key.id)["workspace"], "lyon");
    let slugs: Vec<String> = admin.get("/v1/workspaces").expect(200).json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["slug"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(slugs, ["emea", "lyon", "root"]);
    for id in [
        "nowhere",
        "00000000-0000-0000-0000-000000000000",
        "%2e",
        "'",
    ] {
        let path = format!("/v1/workspaces/{id}");
        admin.get(&path).refused(404, "not-found");
        admin
            .patch(&path, json!({ "name": "x" }))
            .refused(404, "not-found");
        admin.delete(&path).refused(404, "not-found");
    }
}

#[test]
fn a_moved_workspace_takes_its_keys_along() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("a", "root");
    admin.workspace("b", "root");
    admin.workspace("child", "a");
    let key = admin.issue(json!({ "name": "k", "workspace": "a" }));
    let reaches = |place: &str| {
        admin.verify(json!({ "key": key.secret, "workspace": place }))["valid"] == true
    };
    assert!(reaches("child") && !reaches("b"));
    admin
        .patch("/v1/workspaces/child", json!({ "parent": "b" }))
        .expect(200);
    assert!(!reaches("child"), "reach is decided at request time");
    admin
        .patch("/v1/workspaces/b", json!({ "parent": "a" }))
        .expect(200);
    assert!(reaches("child") && reaches("b"));
    for (workspace, parent) in [
        ("a", "a"),
        ("a", "b"),
        ("a", "child"),
        ("b", "child"),
        ("root", "a"),
    ] {
        let path = format!("/v1/workspaces/{workspace}");
        admin
            .patch(&path, json!({ "parent": parent }))
            .refused(409, "conflict");
    }
    admin
        .patch("/v1/workspaces/a", json!({ "parent": "nowhere" }))
        .refused_field("parent");
    // A caller who is restricted to a subtree can move nothing out of it and nothing into it.
    let scopes = json!(["workspaces:write"]);
    let bound = admin
        .issue(json!({ "name": "m", "catalog": "latchkey", "scopes": scopes, "workspace": "b" }));
    let bound = server.bearer(&bound.secret);
    bound
        .patch("/v1/workspaces/child", json!({ "parent": "root" }))
        .refused_field("parent");
    bound
        .patch("/v1/workspaces/b", json!({ "parent": "child" }))
        .refused(403, "forbidden");
    bound
        .patch("/v1/workspaces/a", json!({ "name": "x" }))
        .refused(404, "not-found");
    bound
        .patch("/v1/workspaces/child", json!({ "name": "mine" }))
        .expect(200);
}

#[test]
fn workspaces_are_at_most_sixteen_deep() {
    let server = Server::start();
    let admin = server.admin();
    let mut parent = "root".to_owned();
    for depth in 2..=16 {
        let slug = format!("d{depth}");
        admin.workspace(&slug, &parent);
        parent = slug;
    }
    admin
        .post(
            "/v1/workspaces",
            json!({ "slug": "deeper", "parent": "d16" }),
        )
        .refused(409, "conflict");
    admin.workspace("other", "root");
    admin.workspace("below", "other");
    admin
        .patch("/v1/workspaces/other", json!({ "parent": "d15" }))
        .refused(409, "conflict");
    admin
        .patch("/v1/workspaces/other", json!({ "parent": "d14" }))
        .expect(200);
    let key = admin.issue(json!({ "name": "k" }));
    assert_eq!(
        admin.verify(json!({ "key": key.secret, "workspace": "d16" }))["code"],
        "VALID"
    );
}

/// attacks 63
#[test]
fn a_disabled_workspace_stops_all_below_it_and_nothing_beside_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("a", "root");
    admin.workspace("below", "a");
    admin.workspace("beside", "root");
    let key = |workspace: &str| admin.issue(json!({ "name": "k", "workspace": workspace }));
    let (above, below, beside) = (key("a"), key("below"), key("beside"));
    let manager = json!({ "name": "m", "catalog": "latchkey", "scopes": ["keys:read"], "workspace": "below" });
    let manager = server.bearer(&admin.issue(manager).secret);
    manager.get("/v1/keys").expect(200);
    admin
        .patch("/v1/workspaces/a", json!({ "enabled": false }))
        .expect(200);
    for (key, code) in [
        (&above, "WORKSPACE_DISABLED"),
        (&below, "WORKSPACE_DISABLED"),
        (&beside, "VALID"),
    ] {
        assert_eq!(admin.verdict(&key.secret), code);
    }
    assert_eq!(admin.key(&below.id)["state"], "workspace_disabled");
    manager.get("/v1/keys").refused(401, "unauthenticated");
    admin
        .patch("/v1/workspaces/below", json!({ "parent": "beside" }))
        .expect(200);
    assert_eq!(admin.verdict(&below.secret), "VALID");
    admin
        .patch("/v1/workspaces/a", json!({ "enabled": true }))
        .expect(200);
    assert_eq!(admin.verdict(&above.secret), "VALID");
    admin
        .patch("/v1/workspaces/root", json!({ "enabled": false }))
        .refused(409, "conflict");
}

#[test]
fn only_an_empty_workspace_is_deleted() {
    let server = Server::start();
    let admin = server.admin();
    for slug in ["keys", "people", "places", "empty"] {
        admin.workspace(slug, "root");
    }
    admin.issue(json!({ "name": "k", "workspace": "keys" }));
    admin.person("alice", "member", "people");
    admin.workspace("inner", "places");
    for slug in ["keys", "people", "places", "root"] {
        admin
            .delete(&format!("/v1/workspaces/{slug}"))
            .refused(409, "conflict");
        admin.get(&format!("/v1/workspaces/{slug}")).expect(200);
    }
    admin.delete("/v1/workspaces/empty").expect(204);
    admin.get("/v1/workspaces/empty").refused(404, "not-found");
    admin.workspace("empty", "root");
}
