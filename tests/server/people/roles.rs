//! What each role may do, as a table, and what it may not see.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};

const ROLES: [&str; 5] = ["owner", "administrator", "key_manager", "auditor", "member"];

/// Statuses by role, in the order of [`ROLES`].
type Row = (&'static str, &'static str, Value, [u16; 5]);

/// attacks 117, 120
#[test]
fn each_role_may_do_what_its_row_says() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("paris", "emea");
    admin.person("target", "member", "paris");
    let people: Vec<User> = ROLES
        .into_iter()
        .map(|role| {
            let name = format!("{role}.emea");
            admin.person(&name, role, "emea");
            server.anonymous().signed_in(&name, PASSWORD)
        })
        .collect();
    let issue = |more: Value| {
        let mut key = json!({ "name": "k", "workspace": "paris" });
        key.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        key
    };
    let key = admin.issue(issue(json!({})));
    let of_key = |rest: &str| -> &'static str { format!("/v1/keys/{}{rest}", key.id).leak() };
    let new_user = json!({ "user_name": "target", "workspace": "paris" });
    let new_place = json!({ "slug": "paris", "parent": "emea" });
    // Where the name is in use already, 409 shows that the role has the permission. A member sees only their own keys:
    // 404.
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        ("GET",    "/v1/keys",                    json!(null),                 [200, 200, 200, 200, 200]),
        ("GET",    of_key(""),                    json!(null),                 [200, 200, 200, 200, 404]),
        ("POST",   "/v1/keys",                    issue(json!({})),            [201, 201, 201, 403, 201]),
        ("POST",   "/v1/keys",                    issue(json!({"owner":"target"})), [201, 201, 201, 403, 403]),
        ("PATCH",  of_key(""),                    json!({"description": "d"}), [200, 200, 200, 403, 404]),
        ("POST",   of_key("/disable"),            json!({}),                   [200, 200, 200, 403, 404]),
        ("POST",   of_key("/enable"),             json!({}),                   [200, 200, 200, 403, 404]),
        ("POST",   of_key("/rotate"),             json!({}),                   [200, 200, 200, 403, 404]),
        ("GET",    "/v1/workspaces",              json!(null),                 [200, 200, 200, 200, 200]),
        ("GET",    "/v1/workspaces/paris",        json!(null),                 [200, 200, 200, 200, 404]),
        ("POST",   "/v1/workspaces",              new_place,                   [409, 409, 403, 403, 403]),
        ("PATCH",  "/v1/workspaces/paris",        json!({"name": "P"}),        [200, 200, 403, 403, 404]),
        ("DELETE", "/v1/workspaces/paris",        json!(null),                 [409, 409, 403, 403, 404]),
        ("GET",    "/v1/users/target",            json!(null),                 [200, 200, 404, 200, 404]),
        ("POST",   "/v1/users",                   new_user,                    [409, 409, 403, 403, 403]),
        ("PATCH",  "/v1/users/target",            json!({"email": "a@b"}),     [200, 200, 404, 403, 404]),
        ("PUT",    "/v1/users/target/roles",      json!({"roles": []}),        [200, 200, 404, 403, 404]),
        ("POST",   "/v1/users/target/password",   json!({"password": "short"}),[422, 422, 404, 403, 404]),
        ("GET",    "/v1/audit-events",            json!(null),                 [200, 200, 200, 200, 200]),
        ("GET",    "/v1/policies",                json!(null),                 [200, 200, 200, 200, 200]),
        ("GET",    "/v1/catalogs",                json!(null),                 [200, 200, 200, 200, 200]),
        // Changes that affect the whole server need a role in the root workspace.
        ("PUT",    "/v1/catalogs/shop",           json!({}),                   [403, 403, 403, 403, 403]),
        // In other workspaces none of them may do anything.
        ("POST",   "/v1/keys",                    json!({"name": "k", "workspace": "root"}), [422, 422, 422, 422, 422]),
        ("PATCH",  "/v1/workspaces/root",         json!({"name": "R"}),        [404, 404, 404, 404, 404]),
        ("GET",    "/v1/users/owner",        json!(null),                 [404, 404, 404, 404, 404]),
    ];
    for (method, path, body, statuses) in table {
        let body = Some(body).filter(|body| !body.is_null());
        let seen: Vec<u16> = people
            .iter()
            .map(|user| user.call(method, path, body.as_ref()).status)
            .collect();
        assert_eq!(seen, statuses, "{method} {path} {body:?} as {ROLES:?}");
    }
    // Without a credential, each of these is 401, even if the object in the path does not exist.
    for path in [
        "/v1/keys",
        of_key(""),
        "/v1/workspaces",
        "/v1/users",
        "/v1/audit-events",
        "/v1/catalogs/x",
    ] {
        for method in ["GET", "HEAD"] {
            server.anonymous().call(method, path, None).expect(401);
        }
    }
}

/// attacks 119
#[test]
fn lists_hold_what_the_caller_may_see_and_nothing_else() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("apac", "root");
    for role in ROLES {
        admin.person(&format!("{role}.emea"), role, "emea");
    }
    admin.person("stranger", "owner", "apac");
    let own = admin.issue(json!({ "name": "own", "workspace": "emea", "owner": "member.emea" }));
    let emea = admin.issue(json!({ "name": "emea", "workspace": "emea" }));
    let apac = admin.issue(json!({ "name": "apac", "workspace": "apac" }));
    for role in ROLES {
        let user = server
            .anonymous()
            .signed_in(&format!("{role}.emea"), PASSWORD);
        let seen = user.get("/v1/keys").expect(200).ids();
        assert!(
            seen.contains(&own.id) && !seen.contains(&apac.id),
            "{role}: {seen:?}"
        );
        assert_eq!(seen.contains(&emea.id), role != "member", "{role}");
        let events = user.get("/v1/audit-events?limit=500");
        if events.status == 200 {
            let text = events.text();
            assert!(
                !text.contains(&apac.id) && !text.contains("stranger"),
                "{role} sees {text}"
            );
        }
        let people = user.get("/v1/users");
        assert!(!people.text().contains("stranger"), "{role}");
        let places = user.get("/v1/workspaces").text();
        assert!(
            !places.contains("apac") && !places.contains("\"root\""),
            "{role} sees {places}"
        );
        let of_stranger = user.get("/v1/keys?owner=stranger");
        let of_nobody = user.get("/v1/keys?owner=nobody-there");
        assert_eq!(
            of_stranger.status, of_nobody.status,
            "{role} can tell who exists"
        );
        let there = user.get("/v1/keys?workspace=apac");
        let nowhere = user.get("/v1/keys?workspace=nowhere");
        assert_eq!(
            (there.status, nowhere.status),
            (422, 422),
            "{role} can tell what exists"
        );
    }
}

#[test]
fn a_member_manages_his_own_keys_only() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "member", "root");
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    let bob = server.anonymous().signed_in("bob", PASSWORD);
    let key = alice.issue(json!({ "name": "mine" }));
    assert_eq!(key.key["owner"], "alice", "a member issues for himself");
    alice
        .post("/v1/keys", json!({ "name": "yours", "owner": "bob" }))
        .refused(403, "forbidden");
    let path = format!("/v1/keys/{}", key.id);
    bob.get(&path).refused(404, "not-found");
    bob.patch(&path, json!({ "name": "stolen" }))
        .refused(404, "not-found");
    bob.post(&format!("{path}/rotate"), json!({}))
        .refused(404, "not-found");
    bob.delete(&path).refused(404, "not-found");
    assert!(bob.get("/v1/keys").expect(200).ids().is_empty());
    alice.edit(&key.id, json!({ "name": "still mine" }));
    let rotated = alice.rotate(&key.id, json!({}));
    assert_eq!(admin.verdict(&rotated.secret), "VALID");
    alice.delete(&path).expect(204);
    // A management key of a member has the rights of a member, too.
    let tool = json!({ "name": "tool", "catalog": "latchkey", "scopes": ["keys:write"] });
    let tool = server.bearer(&alice.issue(tool).secret);
    let others = bob.issue(json!({ "name": "of bob" }));
    tool.get(&format!("/v1/keys/{}", others.id))
        .refused(404, "not-found");
    assert_eq!(
        tool.issue(json!({ "name": "by tool" })).key["owner"],
        "alice"
    );
}
