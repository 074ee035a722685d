//! Budgets of changes, for each user and each workspace; administrators of the server have none.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Server, User};

/// Five changes, and then one a second.
const SMALL: [&str; 4] = ["--changes-burst", "5", "--changes-per-second", "1"];

/// A server with a small budget, a workspace, and two of its users, who have signed in.
fn server() -> (Server, User, User) {
    let server = Server::start_with(&SMALL, &[]);
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("mem", "member", "emea");
    admin.person("adm", "administrator", "emea");
    let sign_in = |name: &str| server.anonymous().signed_in(name, PASSWORD);
    let (member, administrator) = (sign_in("mem"), sign_in("adm"));
    (server, member, administrator)
}

fn issue(user: &User) -> Response {
    user.post("/v1/keys", json!({ "name": "k", "workspace": "emea" }))
}

/// Repeats a change until one is refused with 429; returns how many succeeded.
#[track_caller]
fn until_refused(mut change: impl FnMut() -> Response) -> usize {
    for made in 0..60 {
        let answer = change();
        if answer.status == 429 {
            let retry = answer.header("retry-after").map(str::parse::<u64>);
            assert!(matches!(retry, Some(Ok(1..=60))), "{}", answer.exchange());
            return made;
        }
        assert!(answer.status < 300, "{}", answer.exchange());
    }
    panic!("nothing was refused");
}

/// On a slow machine a second may pass during the changes, and the budget grows by one.
#[track_caller]
fn assert_small(made: usize) {
    assert!(
        (1..=40).contains(&made),
        "{made} changes of a budget of five"
    );
}

#[test]
fn a_member_issues_so_many_keys_and_is_then_told_when_to_come_again() {
    let (server, member, _) = server();
    let mut last = Value::Null;
    let made = until_refused(|| {
        let answer = issue(&member);
        if answer.status == 429 {
            last = answer.refused(429, "too-many-requests");
        }
        answer
    });
    assert!(made >= 5, "{made}");
    assert_small(made);
    assert!(
        last["detail"].as_str().unwrap().contains("try again"),
        "{last}"
    );
    // Reads are still allowed, and so are requests that only remove something.
    let keys = member.get("/v1/keys").expect(200).json();
    let id = keys["items"][0]["id"].as_str().unwrap();
    member
        .post(&format!("/v1/keys/{id}/disable"), json!({}))
        .expect(200);
    member.delete(&format!("/v1/keys/{id}")).expect(204);
    // A new session does not have a budget of its own.
    let again = server.anonymous().signed_in("mem", PASSWORD);
    assert_small(until_refused(|| issue(&again)).max(1));
    again.delete("/v1/sessions/current").expect(204);
}

#[test]
fn an_administrator_of_the_server_and_the_socket_have_no_budget() {
    let (server, _, _) = server();
    for _ in 0..30 {
        issue(&server.admin()).expect(201);
        issue(&server.local()).expect(201);
    }
}

#[test]
fn new_workspaces_and_users_below_give_an_administrator_nothing_more() {
    let (server, _, administrator) = server();
    administrator.workspace("below", "emea");
    administrator.person("sub", "administrator", "below");
    let sub = server.anonymous().signed_in("sub", PASSWORD);
    let mut number = 0;
    let made = until_refused(|| {
        number += 1;
        let body = json!({ "slug": format!("w{number}"), "name": "w", "parent": "below" });
        sub.post("/v1/workspaces", body)
    });
    assert!(made <= 40, "{made}");
}

#[test]
fn keys_that_rotate_themselves_share_the_budget_of_their_workspace() {
    let (server, _, _) = server();
    let issued: Vec<_> = (0..8)
        .map(|_| {
            server
                .admin()
                .issue(json!({ "name": "app", "workspace": "emea" }))
        })
        .collect();
    let mut secrets: Vec<String> = issued.iter().map(|key| key.secret.clone()).collect();
    let mut turn = 0;
    let made = until_refused(|| {
        let own = turn % secrets.len();
        turn += 1;
        let answer = server
            .bearer(&secrets[own])
            .post("/v1/whoami/rotate", json!({}));
        if answer.status == 200 {
            secrets[own] = answer.json()["secret"].as_str().unwrap().to_owned();
        }
        answer
    });
    assert_small(made);
    // The administrator can still delete the leaked key.
    let id = &issued[0].id;
    server.admin().delete(&format!("/v1/keys/{id}")).expect(204);
}

#[test]
fn a_user_owns_a_bounded_number_of_standard_keys() {
    let server = Server::start();
    let standard = server
        .admin()
        .get("/v1/policies/standard")
        .expect(200)
        .json();
    assert_eq!(standard["keys_per_owner_max"], 1_000);
    server.admin().person("mem", "member", "root");
    server
        .admin()
        .patch("/v1/policies/standard", json!({ "keys_per_owner_max": 3 }))
        .expect(200);
    let member = server.anonymous().signed_in("mem", PASSWORD);
    let issue = || member.post("/v1/keys", json!({ "name": "k" }));
    for _ in 0..3 {
        issue().expect(201);
    }
    issue().refused(409, "conflict");
}
