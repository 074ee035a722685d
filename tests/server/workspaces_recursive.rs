//! Deleting a workspace with everything in it and below it.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{Server, User, wait};

const PASSWORD: &str = "a passphrase of some length";

/// The tree emea > france > paris, and the workspace apac next to emea.
fn with_tree() -> Server {
    let server = Server::start();
    for (slug, parent) in [
        ("emea", "root"),
        ("france", "emea"),
        ("paris", "france"),
        ("apac", "root"),
    ] {
        let workspace = json!({ "slug": slug, "parent": parent });
        server.admin().post("/v1/workspaces", workspace).expect(201);
    }
    server
}

fn issue(admin: &User, workspace: &str) -> (String, String) {
    let key = admin.issue(json!({ "name": workspace, "workspace": workspace }));
    (key.id, key.secret)
}

fn events(server: &Server, query: &str) -> Vec<Value> {
    let found = server
        .admin()
        .get(&format!("/v1/audit-events?{query}"))
        .expect(200)
        .json();
    found["items"].as_array().unwrap().clone()
}

// attacks 145, 150
#[test]
fn the_keys_in_it_and_below_stop_at_once_and_each_leaves_an_event() {
    let server = with_tree();
    let admin = server.admin();
    let doomed: Vec<_> = ["emea", "france", "paris"]
        .map(|slug| issue(&admin, slug))
        .into();
    let spared = issue(&admin, "apac");

    let refused = admin.delete("/v1/workspaces/emea").expect(409).json();
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("recursive=true"),
        "{refused}"
    );
    admin
        .delete("/v1/workspaces/emea?recursive=perhaps")
        .expect(400);
    admin
        .delete("/v1/workspaces/emea?recursive=true")
        .expect(204);

    for (id, secret) in &doomed {
        assert_eq!(admin.verdict(secret), "NOT_FOUND");
        let events = events(&server, &format!("target={id}&action=key.delete"));
        assert_eq!(events.len(), 1);
    }
    assert_eq!(events(&server, "action=workspace.delete").len(), 3);
    assert_eq!(admin.verdict(&spared.1), "VALID");
    assert_eq!(server.admin().verdict(&server.secret), "VALID");
    for slug in ["emea", "france", "paris"] {
        admin.get(&format!("/v1/workspaces/{slug}")).expect(404);
        admin
            .post("/v1/keys", json!({ "name": "k", "workspace": slug }))
            .expect(422);
    }
    // The slug is free again, and the deleted objects do not return with it.
    admin
        .post("/v1/workspaces", json!({ "slug": "emea" }))
        .expect(201);
    assert_eq!(admin.verdict(&doomed[0].1), "NOT_FOUND");
    admin.delete("/v1/workspaces/emea").expect(204);
}

/// Roles are lost with the workspace, and the log names each user who has lost one.
#[test]
fn users_who_lose_a_role_have_an_event_each() {
    let server = with_tree();
    let admin = server.admin();
    for (name, places) in [
        ("alice", &["paris", "france", "apac"][..]),
        ("bob", &["paris"]),
    ] {
        let roles: Vec<Value> = places
            .iter()
            .map(|slug| json!({ "workspace": slug, "role": "auditor" }))
            .collect();
        let user = json!({ "user_name": name, "roles": roles });
        admin.post("/v1/users", user).expect(201);
    }
    admin
        .delete("/v1/workspaces/emea?recursive=true")
        .expect(204);
    let lost: Vec<(Value, Value)> = events(&server, "action=user.roles")
        .into_iter()
        .map(|event| {
            (
                event["target_id"].clone(),
                event["changes"]["workspace"].clone(),
            )
        })
        .collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    let of = |name: &str| {
        let user = admin.get(&format!("/v1/users/{name}")).expect(200).json();
        let uid = user["uid"].clone();
        let lost = lost.iter().filter(|(target, _)| *target == uid);
        let from: Vec<Value> = lost.map(|(_, slug)| slug.clone()).collect();
        (from, user["roles"].clone())
    };
    // Newest first.
    let (from, left) = of("alice");
    assert_eq!(from, [json!(["france", ""]), json!(["paris", ""])]);
    assert_eq!(left, json!([{ "workspace": "apac", "role": "auditor" }]));
    let (from, left) = of("bob");
    assert_eq!((from, left), (vec![json!(["paris", ""])], json!([])));
    // An empty workspace as well.
    admin.delete("/v1/workspaces/apac").expect(204);
    assert_eq!(events(&server, "action=user.roles").len(), 4);
    assert_eq!(of("alice").1, json!([]));
}

#[test]
fn it_is_over_after_a_kill_too() {
    let mut server = with_tree();
    let key = issue(&server.admin(), "paris");
    server
        .admin()
        .delete("/v1/workspaces/france?recursive=true")
        .expect(204);
    server.kill9();
    server.restart();
    assert_eq!(server.admin().verdict(&key.1), "NOT_FOUND");
    server.admin().get("/v1/workspaces/paris").expect(404);
    server.admin().get("/v1/workspaces/emea").expect(200);
}

#[test]
fn users_at_home_there_keep_it_and_nothing_is_lost() {
    let server = with_tree();
    let admin = server.admin();
    let key = issue(&admin, "emea");
    admin
        .post(
            "/v1/users",
            json!({ "user_name": "pierre", "workspace": "paris" }),
        )
        .expect(201);
    let refused = admin
        .delete("/v1/workspaces/emea?recursive=true")
        .expect(409)
        .json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("paris") && detail.contains("pierre"),
        "{detail}"
    );
    assert_eq!(admin.verdict(&key.1), "VALID");
    admin.delete("/v1/users/pierre").expect(204);
    admin
        .delete("/v1/workspaces/emea?recursive=true")
        .expect(204);
}

// attacks 120
#[test]
fn it_takes_the_right_to_both_workspaces_and_keys_and_never_the_root() {
    let server = with_tree();
    let admin = server.admin();
    admin
        .delete("/v1/workspaces/root?recursive=true")
        .expect(409);
    let with = |scopes: Value, workspace: &str| {
        let key =
            json!({ "name": "m", "catalog": "latchkey", "scopes": scopes, "workspace": workspace });
        server.bearer(&admin.issue(key).secret)
    };
    with(json!(["keys:write"]), "emea")
        .delete("/v1/workspaces/france?recursive=true")
        .expect(403);
    with(json!(["workspaces:write"]), "emea")
        .delete("/v1/workspaces/france?recursive=true")
        .expect(403);
    let both = json!(["keys:write", "workspaces:write"]);
    with(both.clone(), "apac")
        .delete("/v1/workspaces/france?recursive=true")
        .expect(404);
    assert_eq!(
        events(&server, "action=workspace.delete&target=france").len(),
        2,
        "denied attempts are recorded"
    );
    with(both, "emea")
        .delete("/v1/workspaces/france?recursive=true")
        .expect(204);
}

#[test]
fn roles_there_vanish_and_roles_elsewhere_stay() {
    let server = with_tree();
    let admin = server.admin();
    let roles = json!([{ "workspace": "emea", "role": "administrator" }, { "workspace": "apac", "role": "auditor" }]);
    let user = json!({ "user_name": "ada", "password": PASSWORD, "roles": roles });
    admin.post("/v1/users", user).expect(201);
    let session = json!({ "user_name": "ada", "password": PASSWORD });
    let token = server
        .anonymous()
        .post("/v1/sessions", session)
        .expect(201)
        .json()["access_token"]
        .clone();
    let ada = server.bearer(token.as_str().unwrap());
    ada.get("/v1/workspaces/paris").expect(200);

    admin
        .delete("/v1/workspaces/emea?recursive=true")
        .expect(204);
    ada.get("/v1/workspaces/paris").expect(404);
    ada.get("/v1/workspaces/apac").expect(200);
    let roles = admin.get("/v1/users/ada").expect(200).json()["roles"].clone();
    assert_eq!(roles.as_array().unwrap().len(), 1, "{roles}");
}

#[test]
fn no_key_is_issued_into_a_workspace_that_is_being_deleted() {
    let server = with_tree();
    let over = AtomicBool::new(false);
    let issued = AtomicUsize::new(0);
    let secrets: Vec<String> = thread::scope(|scope| {
        let issuing = || {
            let mut secrets = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let answer = server
                    .admin()
                    .post("/v1/keys", json!({ "name": "k", "workspace": "paris" }));
                if answer.status == 201 {
                    secrets.push(answer.json()["secret"].as_str().unwrap().to_owned());
                    issued.fetch_add(1, Ordering::Relaxed);
                }
            }
            secrets
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(issuing)).collect();
        wait::until("keys were issued", || issued.load(Ordering::Relaxed) > 3);
        server
            .admin()
            .delete("/v1/workspaces/emea?recursive=true")
            .expect(204);
        over.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(!secrets.is_empty());
    for secret in secrets {
        assert_eq!(server.admin().verdict(&secret), "NOT_FOUND");
    }
}
