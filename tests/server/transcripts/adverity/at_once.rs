//! What must hold if many clients do the same thing at the same moment.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Server, User, together};

const ROTATE: &str = "/api/v1/auth/keys/current/rotate/";

/// Issues a key of a workspace and returns its secret; the test fails unless the answer is 201.
#[track_caller]
pub fn workspace_key(admin: &User, name: &str, workspace: &str, scope: &str) -> String {
    let key =
        json!({ "policy": "adverity-ui", "name": name, "workspace": workspace, "scopes": [scope] });
    admin.issue(key).secret
}

/// Issues a key with the owner's password.
#[track_caller]
pub fn token(server: &Server) -> String {
    let asked = json!({ "username": server.owner_user_name, "password": server.owner_password });
    let answer = server.anonymous().post("/api/auth/token/", asked);
    let token = answer.expect(200).json()["token"]
        .as_str()
        .map(str::to_owned);
    token.expect("the answer has a token")
}

fn statuses(answers: &[Response]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

// 1C-15
#[test]
fn a_workspace_has_five_keys_however_many_are_made_at_once() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let made = together(16, |own| {
        // Every second one is for another workspace, which may have five keys as well.
        let workspace = ["root", "emea"][own % 2];
        let key = json!({ "policy": "adverity-ui", "name": format!("key {own}"), "workspace": workspace, "scopes": ["all:read"] });
        admin.post("/v1/keys", key)
    });
    let mut expected = vec![201; 10];
    expected.extend([409; 6]);
    assert_eq!(statuses(&made), expected);
    let listed = admin
        .get("/v1/keys?policy=adverity-ui&workspace=emea")
        .expect(200);
    assert_eq!(listed.ids().len(), 5);
}

// 1C-23, 1C-40
#[test]
fn of_many_rotations_at_once_one_wins() {
    let server = Server::start();
    let admin = server.admin();
    let workspace_key = workspace_key(&admin, "ci", "root", "all:write");
    for (scheme, secret) in [("Token", token(&server)), ("Bearer", workspace_key)] {
        let with = |secret: &str| {
            let value = format!("{scheme} {secret}");
            server.anonymous().with("Authorization", &value)
        };
        let old = with(&secret);
        let answers = together(8, |_| old.call("POST", ROTATE, None));
        let mut expected = vec![200];
        expected.extend([401; 7]);
        assert_eq!(statuses(&answers), expected, "{scheme}");
        let won = answers
            .iter()
            .find(|answer| answer.status == 200)
            .unwrap()
            .json();
        let new = with(won["token"].as_str().unwrap());
        new.get("/api/stacks/").expect(200);
        old.get("/api/stacks/").expect(401);
    }
    // There is one event for each rotation; refused requests changed nothing.
    let events = admin
        .get("/v1/audit-events?action=key.rotate")
        .expect(200)
        .json();
    let allowed = |event: &&Value| event["outcome"] == "allowed";
    assert_eq!(
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(allowed)
            .count(),
        2
    );
}

// 1C-27
#[test]
fn a_rotation_does_not_outlive_a_change_of_password() {
    let server = Server::start();
    let admin = server.admin();
    for round in 0..8 {
        let name = format!("user{round}");
        admin.person(&name, "auditor", "root");
        let asked = json!({ "username": name, "password": PASSWORD });
        // Each client has its own address, because the attempts of one address are limited.
        let proxied = server
            .anonymous()
            .with("X-Forwarded-For", &format!("203.0.113.{round}"));
        let made = proxied.post("/api/auth/token/", asked).expect(200).json();
        let old = server.anonymous().with(
            "Authorization",
            &format!("Token {}", made["token"].as_str().unwrap()),
        );
        let answers = together(2, |own| match own {
            0 => old.call("POST", ROTATE, None),
            _ => admin
                .post(
                    &format!("/v1/users/{name}/password"),
                    json!({ "password": "eight lanterns over the harbour" }),
                )
                .expect(204),
        });
        old.get("/api/stacks/").expect(401);
        if answers[0].status == 200 {
            let new = answers[0].json()["token"].as_str().unwrap().to_owned();
            let new = server
                .anonymous()
                .with("Authorization", &format!("Token {new}"));
            new.get("/api/stacks/").expect(401);
        }
    }
}
