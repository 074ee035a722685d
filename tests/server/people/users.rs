//! Users: creating, editing, disabling and deleting; and the last owner.

use serde_json::json;

use crate::support::{PASSWORD, Server};

#[test]
fn a_user_is_made_read_edited_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let made = admin
        .post("/v1/users", json!({
            "user_name": "Alice.B", "email": "Alice@Example.org", "workspace": "emea", "password": PASSWORD,
            "roles": [{ "workspace": "emea", "role": "auditor" }],
        }))
        .expect(201)
        .json();
    let (uid, created_at) = (&made["uid"], &made["created_at"]);
    let expected = json!({
        "uid": uid, "user_name": "alice.b", "email": "alice@example.org", "workspace": "emea", "enabled": true,
        "roles": [{ "workspace": "emea", "role": "auditor" }], "created_at": created_at,
        "last_signed_in_at": null, "second_factor": false,
    });
    assert_eq!(made, expected);
    for id in [uid.as_str().unwrap(), "alice.b", "ALICE.B"] {
        assert_eq!(
            admin.get(&format!("/v1/users/{id}")).expect(200).json(),
            expected,
            "{id}"
        );
    }
    admin
        .post("/v1/users", json!({ "user_name": "ALICE.b" }))
        .refused(409, "conflict");
    let edited = admin
        .patch("/v1/users/alice.b", json!({ "email": null }))
        .expect(200)
        .json();
    assert_eq!(edited["email"], json!(null));
    let roles = json!({ "roles": [{ "workspace": "root", "role": "member" }, { "workspace": "emea", "role": "owner" }] });
    let edited = admin
        .put("/v1/users/alice.b/roles", roles.clone())
        .expect(200)
        .json();
    assert_eq!(edited["roles"].as_array().unwrap().len(), 2);
    admin
        .put("/v1/users/alice.b/roles", json!({ "roles": [] }))
        .expect(200);
    admin.delete("/v1/users/alice.b").expect(204);
    admin.get("/v1/users/alice.b").refused(404, "not-found");
    admin.delete("/v1/users/alice.b").refused(404, "not-found");
    assert!(!admin.get("/v1/users").text().contains("alice.b"));
    let again = admin
        .post("/v1/users", json!({ "user_name": "alice.b" }))
        .status;
    assert!(
        [201, 409].contains(&again),
        "a name may be free again or not, but nothing breaks"
    );
}

/// attacks 128
#[test]
fn the_last_owner_stays_owner() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("regional", "owner", "emea");
    let demotion = json!({ "roles": [{ "workspace": "root", "role": "administrator" }] });
    let head = admin.newest_event();
    admin
        .put("/v1/users/owner/roles", demotion.clone())
        .refused(409, "conflict");
    admin
        .put("/v1/users/owner/roles", json!({ "roles": [] }))
        .refused(409, "conflict");
    admin
        .patch("/v1/users/owner", json!({ "enabled": false }))
        .refused(409, "conflict");
    admin.delete("/v1/users/owner").refused(409, "conflict");
    assert_eq!(admin.newest_event(), head, "nothing was changed");
    admin.person("second", "owner", "root");
    let second = server.anonymous().signed_in("second", PASSWORD);
    second.put("/v1/users/owner/roles", demotion).expect(200);
    second.delete("/v1/users/second").refused(409, "conflict");
    second.delete("/v1/users/owner").expect(204);
    second
        .patch("/v1/users/second", json!({ "enabled": false }))
        .refused(409, "conflict");
}

#[test]
fn roles_beyond_ones_own_are_neither_given_nor_taken() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("adam", "administrator", "emea");
    admin.person("olga", "owner", "emea");
    admin.person("mia", "member", "emea");
    let adam = server.anonymous().signed_in("adam", PASSWORD);
    let role = |workspace: &str, role: &str| json!({ "roles": [{ "workspace": workspace, "role": role }] });
    adam.put("/v1/users/mia/roles", role("emea", "owner"))
        .refused(403, "forbidden");
    adam.put("/v1/users/adam/roles", role("emea", "owner"))
        .refused(403, "forbidden");
    adam.put("/v1/users/mia/roles", role("root", "member"))
        .refused_field("roles[0].workspace");
    let new = json!({ "user_name": "x", "workspace": "emea", "roles": [{ "workspace": "emea", "role": "owner" }] });
    adam.post("/v1/users", new).refused(403, "forbidden");
    for (method, path, body) in [
        ("PUT", "/v1/users/olga/roles", role("emea", "member")),
        ("PATCH", "/v1/users/olga", json!({ "enabled": false })),
        ("DELETE", "/v1/users/olga", json!({})),
        (
            "POST",
            "/v1/users/olga/password",
            json!({ "password": "nine anchors in the meadow" }),
        ),
    ] {
        adam.call(method, path, Some(&body))
            .refused(403, "forbidden");
        assert_eq!(admin.newest_event()["outcome"], "denied", "{method} {path}");
    }
    adam.put("/v1/users/mia/roles", role("emea", "administrator"))
        .expect(200);
    adam.put("/v1/users/mia/roles", role("emea", "member"))
        .expect(200);
}
