//! Open sessions of users, and the pages of users: who sees what, and what ends.

use serde_json::json;

use super::second_factor::{ALONE, enrol, sign_in};
use crate::console::Visitor;
use crate::support::{PASSWORD, Server};

#[test]
fn sessions_are_seen_and_ended_by_their_user_and_by_who_manages_the_user() {
    let server = Server::start_with(&ALONE, &[]);
    let admin = server.admin();
    admin.person("alice", "member", "root");
    admin.person("bob", "key_manager", "root");
    let (alice, bob) = (
        sign_in(&server, "alice", None),
        sign_in(&server, "bob", None),
    );
    let mut browser = Visitor::new(&server);
    browser.sign_in("alice", PASSWORD).expect(303);
    let path = "/v1/users/alice/sessions";
    bob.get(path).expect(404);
    let found = admin.get(path).expect(200).json();
    let found = found["items"].as_array().unwrap().clone();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        alice.get(path).expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let console = found.iter().find(|one| one["kind"] == "console").unwrap();
    let id = console["id"].as_str().unwrap();
    bob.delete(&format!("{path}/{id}")).expect(404);
    // A session is that of the user in the path.
    admin
        .delete(&format!("/v1/users/bob/sessions/{id}"))
        .expect(404);
    alice.delete(&format!("{path}/{id}")).expect(204);
    browser.get("/console/account").expect(303);
    alice.get("/v1/whoami");
    admin.delete(path).expect(204);
    alice.get(path).expect(401);
    let last = admin.get("/v1/users/alice").json();
    assert!(last["last_signed_in_at"].is_string(), "{last}");
}

#[test]
fn the_pages_of_users_search_show_and_end_what_they_show() {
    let server = Server::start_with(&ALONE, &[]);
    let admin = server.admin();
    for number in 0..60 {
        admin
            .post("/v1/users", json!({ "user_name": format!("u{number:02}"), "email": format!("m{number}@example.com") }))
            .expect(201);
    }
    admin.person("alice", "auditor", "root");
    enrol(&server.local(), "alice");
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/users").expect(200).text();
    assert!(
        page.contains("1 to 50 of 62 users") && page.contains("page=2"),
        "{page}"
    );
    let page = owner.get("/console/users?page=2").expect(200).text();
    assert!(page.contains(">u59<") && !page.contains(">u00<"), "{page}");
    let page = owner.get("/console/users?q=AUDITOR+ali").expect(200).text();
    assert!(
        page.contains(">alice<") && page.contains("1 user"),
        "{page}"
    );
    let page = owner.get("/console/users?q=nobody").expect(200).text();
    assert!(page.contains("No user matches."), "{page}");

    // Roles change in one step.
    admin.workspace("europe", "root");
    owner.get("/console/users/alice").expect(200);
    let fields = [
        ("places[]", "root"),
        ("former[]", "auditor"),
        ("roles[]", "member"),
        ("role", "key_manager"),
        ("role_place", "europe"),
    ];
    owner
        .post("/console/users/alice/roles", &fields)
        .expect(303);
    let roles = admin.get("/v1/users/alice").json()["roles"].clone();
    assert_eq!(roles.as_array().unwrap().len(), 2, "{roles}");
    owner.get("/console/users/alice").expect(200);
    let fields = [
        ("places[]", "root"),
        ("former[]", "member"),
        ("roles[]", ""),
        ("places[]", "europe"),
        ("former[]", "key_manager"),
        ("roles[]", "key_manager"),
    ];
    owner
        .post("/console/users/alice/roles", &fields)
        .expect(303);
    let roles = admin.get("/v1/users/alice").json()["roles"].clone();
    assert_eq!(
        roles,
        json!([{ "workspace": "europe", "role": "key_manager" }])
    );

    // The second factor is reset, and the sessions are ended.
    owner.get("/console/users/alice").expect(200);
    owner
        .post("/console/users/alice/reset-two-step", &[])
        .expect(303);
    let mut alice = Visitor::new(&server);
    alice.sign_in("alice", PASSWORD).expect(303);
    owner.get("/console/users/alice").expect(200);
    assert!(
        owner.page.contains("Where this user is signed in"),
        "{}",
        owner.page
    );
    owner
        .post("/console/users/alice/end-sessions", &[])
        .expect(303);
    alice.get("/console/account").expect(303);
}
