//! Management keys without an owner: who may issue them, and how they end when the user who issued them is deleted.

use serde_json::{Value, json};

use crate::support::{Issued, PASSWORD, Server, User};

fn management(name: &str, scopes: Value) -> Value {
    json!({ "name": name, "catalog": "latchkey", "scopes": scopes })
}

/// A management key without an owner.
fn ownerless(user: &User, name: &str, scopes: Value) -> Issued {
    let mut key = management(name, scopes);
    key["owner"] = Value::Null;
    let issued = user.issue(key);
    assert_eq!(issued.key["owner"], Value::Null);
    issued
}

fn signed_in(server: &Server, name: &str, role: &str, workspace: &str) -> User {
    server.admin().person(name, role, workspace);
    server.anonymous().signed_in(name, PASSWORD)
}

fn names(body: &Value) -> Vec<&str> {
    let keys = body["ownerless_keys"].as_array().expect("a list of keys");
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

/// finding S9
#[test]
fn a_management_key_belongs_to_the_user_who_issues_it_and_ends_with_that_user() {
    let server = Server::start();
    let admin = server.admin();
    let boss = signed_in(&server, "boss", "owner", "root");
    let all = json!(["keys:write", "users:write", "server:admin"]);
    let key = boss.issue(management("k", all));
    assert_eq!(key.key["owner"], "boss");
    // Keys that a key of the user issues also belong to the user, whether the request names the owner or not.
    let child = server
        .bearer(&key.secret)
        .issue(management("child", json!(["keys:read"])));
    assert_eq!(child.key["owner"], "boss");
    let named =
        json!({ "name": "n", "catalog": "latchkey", "scopes": ["keys:read"], "owner": "boss" });
    assert_eq!(boss.issue(named).key["owner"], "boss");
    // Keys without permissions on this server need no owner, as before.
    assert_eq!(
        boss.issue(json!({ "name": "app" })).key["owner"],
        Value::Null
    );
    let by_policy = json!({ "name": "managing", "catalog": "latchkey" });
    admin.post("/v1/policies", by_policy).expect(201);
    let by_policy = json!({ "name": "p", "policy": "managing", "scopes": ["keys:read"] });
    assert_eq!(boss.issue(by_policy).key["owner"], "boss");
    admin.delete("/v1/users/boss").expect(204);
    for secret in [&key.secret, &child.secret] {
        server
            .bearer(secret)
            .get("/v1/users")
            .refused(401, "unauthenticated");
    }
}

/// finding S9
#[test]
fn only_who_has_server_admin_issues_a_management_key_without_an_owner() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let manager = signed_in(&server, "kim", "key_manager", "emea");
    let administrator = signed_in(&server, "adm", "administrator", "root");
    let boss = signed_in(&server, "boss", "owner", "root");
    let key = |scopes: Value, workspace: &str| {
        let mut key = management("k", scopes);
        key["workspace"] = json!(workspace);
        server.bearer(&admin.issue(key).secret)
    };
    let of_kim = server.bearer(
        &manager
            .issue(management("of kim", json!(["keys:write"])))
            .secret,
    );
    let limited = key(json!(["keys:write"]), "root");
    let below = key(json!(["keys:write", "server:admin"]), "emea");
    let body =
        json!({ "name": "x", "catalog": "latchkey", "scopes": ["keys:read"], "owner": null });
    for user in [&manager, &administrator, &of_kim, &limited, &below] {
        let refused = user
            .post("/v1/keys", body.clone())
            .refused(403, "forbidden");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("server:admin") && detail.contains("owner"),
            "{detail}"
        );
    }
    for user in [&boss, &admin, &server.local()] {
        assert_eq!(user.issue(body.clone()).key["owner"], Value::Null);
    }
    // For keys of other services, null means the same as an absent member.
    let app = json!({ "name": "app", "owner": null });
    assert_eq!(manager.issue(app).key["owner"], Value::Null);
}

/// finding S9
#[test]
fn deleting_a_user_lists_the_keys_without_owner_that_came_of_the_user_and_can_end_them() {
    let server = Server::start();
    let admin = server.admin();
    let all = json!(["keys:write", "users:write", "server:admin"]);
    let setting = |name: &str| {
        let user = signed_in(&server, name, "owner", "root");
        let first = ownerless(&user, "first", all.clone());
        let second = ownerless(
            &server.bearer(&first.secret),
            "second",
            json!(["keys:read"]),
        );
        // Issued with a key that belongs to the user but was issued by another user.
        let mut given = management("given", all.clone());
        given["owner"] = json!(name);
        let given = admin.issue(given);
        let third = ownerless(&server.bearer(&given.secret), "third", json!(["keys:read"]));
        user.issue(json!({ "name": "an application's" }));
        [first, second, third]
    };
    let expected = ["first", "second", "third"];
    let kept = setting("left");
    let listed = admin.delete("/v1/users/left").expect(200).json();
    let mut found = names(&listed);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(listed["ended"], false);
    for key in &kept {
        server.bearer(&key.secret).get("/v1/keys").expect(200);
    }
    for (name, path, body) in [
        ("body", "/v1/users/body", Some(json!({ "end_keys": true }))),
        ("query", "/v1/users/query?end_keys=true", None),
    ] {
        let ended = setting(name);
        let answer = admin.call("DELETE", path, body.as_ref()).expect(200).json();
        assert_eq!((names(&answer).len(), &answer["ended"]), (3, &json!(true)));
        assert!(
            answer["ownerless_keys"]
                .as_array()
                .unwrap()
                .iter()
                .all(|key| key["state"] == "deleted")
        );
        for key in &ended {
            server
                .bearer(&key.secret)
                .get("/v1/keys")
                .refused(401, "unauthenticated");
        }
    }
    // Doctor names the keys that remain.
    let doctor = server.local().get("/v1/doctor").expect(200).text();
    assert!(doctor.contains("made by left"), "{doctor}");
    assert!(!doctor.contains("made by body"), "{doctor}");
}

/// finding S9
#[test]
fn disabling_a_user_lists_them_too_and_nobody_ends_keys_without_the_right_to() {
    let mut server = Server::start();
    let admin = server.admin();
    let boss = signed_in(&server, "boss", "owner", "root");
    let key = ownerless(&boss, "k", json!(["keys:read"]));
    let users = server.bearer(
        &admin
            .issue(management("u", json!(["users:write", "keys:read"])))
            .secret,
    );
    for (method, path, body) in [
        (
            "PATCH",
            "/v1/users/boss",
            json!({ "enabled": false, "end_keys": true }),
        ),
        ("DELETE", "/v1/users/boss", json!({ "end_keys": true })),
    ] {
        // The caller cannot manage a user whose roles the caller may not grant.
        users
            .call(method, path, Some(&body))
            .refused(403, "forbidden");
    }
    admin
        .patch("/v1/users/boss", json!({ "end_keys": true }))
        .refused_field("end_keys");
    let edited = admin
        .patch("/v1/users/boss", json!({ "email": "b@example.com" }))
        .expect(200)
        .json();
    assert!(edited.get("ownerless_keys").is_none());
    let edited = admin
        .patch("/v1/users/boss", json!({ "enabled": false }))
        .expect(200)
        .json();
    assert_eq!(names(&edited), ["k"]);
    server.bearer(&key.secret).get("/v1/keys").expect(200);
    // The request is repeated with `end_keys`, and its effect survives a crash.
    let again = json!({ "enabled": false, "end_keys": true });
    let edited = admin.patch("/v1/users/boss", again).expect(200).json();
    assert_eq!(names(&edited), ["k"]);
    server.kill9();
    server.restart();
    server
        .bearer(&key.secret)
        .get("/v1/keys")
        .refused(401, "unauthenticated");
    let admin = server.admin();
    let edited = admin
        .patch("/v1/users/boss", json!({ "enabled": false }))
        .expect(200)
        .json();
    assert!(names(&edited).is_empty());
}

/// finding S9
#[test]
fn what_a_key_without_owner_has_issued_ends_with_it() {
    let server = Server::start();
    let admin = server.admin();
    let parent = || ownerless(&admin, "parent", json!(["keys:write", "keys:verify"]));
    let child = |of: &Issued| {
        server
            .bearer(&of.secret)
            .issue(management("child", json!(["keys:write"])))
    };
    let works = |key: &Issued| server.bearer(&key.secret).get("/v1/keys").status == 200;
    for how in ["delete", "revoke"] {
        let parent = parent();
        let first = child(&parent);
        let second = child(&first);
        let app = server.bearer(&first.secret).issue(json!({ "name": "app" }));
        assert!(works(&second));
        match how {
            "delete" => drop(admin.delete(&format!("/v1/keys/{}", parent.id)).expect(204)),
            _ => {
                let form = format!("token={}", parent.secret);
                let form_type = "application/x-www-form-urlencoded";
                admin
                    .send("POST", "/v1/revoke", form_type, form.as_bytes())
                    .expect(200);
            }
        }
        assert!(!works(&first) && !works(&second), "{how}");
        assert_eq!(admin.verdict(&app.secret), "VALID", "it opens nothing here");
    }
    // A key with server:admin may issue keys that outlive it.
    let mighty = ownerless(&admin, "mighty", json!(["keys:write", "server:admin"]));
    let first = child(&mighty);
    admin.delete(&format!("/v1/keys/{}", mighty.id)).expect(204);
    assert!(works(&first));
}

/// finding S9
#[test]
fn keys_are_listed_by_who_made_them() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let boss = signed_in(&server, "boss", "owner", "root");
    let kim = signed_in(&server, "kim", "key_manager", "emea");
    let made: Vec<Issued> = (0..3)
        .map(|n| boss.issue(json!({ "name": format!("made {n}"), "workspace": "emea" })))
        .collect();
    boss.issue(json!({ "name": "in root" }));
    kim.issue(json!({ "name": "of kim", "workspace": "emea" }));
    let count = |user: &User, query: &str| {
        user.get(&format!("/v1/keys?{query}"))
            .expect(200)
            .ids()
            .len()
    };
    assert_eq!(count(&admin, "created_by=user:boss"), 4);
    assert_eq!(count(&admin, "created_by=user:BOSS"), 4);
    assert_eq!(count(&admin, "created_by=user%3Aboss&workspace=emea"), 3);
    assert_eq!(count(&admin, "created_by=user:boss&q=%22made+1%22"), 1);
    assert_eq!(
        count(&kim, "created_by=user:boss"),
        3,
        "as far as one may see them"
    );
    assert_eq!(count(&admin, "created_by=user:nobody"), 0);
    admin
        .delete(&format!("/v1/keys/{}", made[0].id))
        .expect(204);
    assert_eq!(count(&admin, "created_by=user:boss&state=deleted"), 1);
    let page = admin
        .get("/v1/keys?created_by=user:boss&limit=2")
        .expect(200)
        .json();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        count(
            &admin,
            &format!("created_by=user:boss&limit=2&cursor={cursor}")
        ),
        1
    );
    let own = admin.get("/v1/whoami").expect(200).json()["id"].clone();
    let by_key = format!("created_by=key:{}", own.as_str().unwrap());
    assert_eq!(count(&admin, &by_key), 0);
    admin.issue(json!({ "name": "by the key" }));
    assert_eq!(count(&admin, &by_key), 1);
    for bad in ["boss", "user:", "key:", "x:y", ":", ""] {
        admin
            .get(&format!("/v1/keys?created_by={bad}"))
            .refused_field("created_by");
    }
}
