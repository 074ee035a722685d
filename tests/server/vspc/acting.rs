//! The grant `as`: what ends it, and that it permits no more than its user may do (1D-28).

use serde_json::{Value, json};

use super::{sign_in, text, token};
use crate::support::{PASSWORD, Server};

/// The answer to the grant: an access token, or the error code.
fn act_as(server: &Server, pair: &Value, uid: &str, more: &str) -> Result<String, String> {
    let refresh = text(pair, "refresh_token");
    let form = format!("grant_type=as&refresh_token={refresh}&userUid={uid}{more}");
    let (status, answer) = token(server, &form);
    match status {
        200 => Ok(text(&answer, "access_token")),
        _ => Err(text(&answer, "error")),
    }
}

#[test]
fn it_lasts_as_long_as_the_user_is_managed_by_whoever_is_signed_in() {
    let server = Server::start();
    let local = server.local();
    local.workspace("alpha", "root");
    let alice = local.person("alice", "member", "alpha");
    let bob = local.person("bob", "administrator", "alpha");
    let opens = |access: &str| server.bearer(access).get("/api/v3/users/me").status;
    let pair = sign_in(&server, "bob", PASSWORD);
    let access = act_as(&server, &pair, &alice, "").unwrap();
    let event = local.newest_event();
    assert_eq!(
        (&event["action"], &event["actor"]),
        (&json!("session.create"), &json!("user:bob"))
    );
    assert!(event.to_string().contains("alice"), "{event}");
    assert_eq!(opens(&access), 200);

    // Once alice has a role that bob could not grant, bob cannot act as alice.
    let roles = |role: &str| json!({"roles": [{"workspace": "alpha", "role": role}]});
    local
        .put("/v1/users/alice/roles", roles("owner"))
        .expect(200);
    assert_eq!(opens(&access), 401);
    assert_eq!(
        act_as(&server, &pair, &alice, ""),
        Err("unauthorized_client".to_owned())
    );
    local
        .put("/v1/users/alice/roles", roles("member"))
        .expect(200);
    assert_eq!(opens(&access), 200);
    local
        .put("/v1/users/bob/roles", roles("auditor"))
        .expect(200);
    assert_eq!(opens(&access), 401);
    local
        .put("/v1/users/bob/roles", roles("administrator"))
        .expect(200);

    // Acting as a disabled user is refused, and the old token stays invalid after the user is enabled again.
    local
        .patch("/v1/users/alice", json!({"enabled": false}))
        .expect(200);
    assert_eq!(opens(&access), 401);
    assert_eq!(
        act_as(&server, &pair, &alice, ""),
        Err("unauthorized_client".to_owned())
    );
    local
        .patch("/v1/users/alice", json!({"enabled": true}))
        .expect(200);
    assert_eq!(opens(&access), 401);

    // A caller with a read-only sign-in may only read when acting as another user.
    let reading = act_as(&server, &pair, &alice, "&readOnly=true").unwrap();
    let own = format!("/api/v3/users/{alice}/tokens");
    server.bearer(&reading).delete(&own).expect(403);

    // A refresh token that is used a second time ends everything that belongs to the sign-in, including this token.
    let access = act_as(&server, &pair, &alice, "").unwrap();
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        text(&pair, "refresh_token")
    );
    let (status, renewed) = token(&server, &form);
    assert_eq!(status, 200, "{renewed}");
    assert_eq!(
        act_as(&server, &pair, &alice, ""),
        Err("invalid_grant".to_owned())
    );
    assert_eq!(opens(&access), 401);
    assert_eq!(opens(&text(&renewed, "access_token")), 401);

    // A new password ends it.
    let pair = sign_in(&server, "bob", PASSWORD);
    let access = act_as(&server, &pair, &alice, "").unwrap();
    assert_eq!(opens(&access), 200);
    let new = json!({"password": "seven candles in the lighthouse"});
    local
        .post(&format!("/v1/users/{bob}/password"), new)
        .expect(204);
    assert_eq!(opens(&access), 401);
}

#[test]
fn it_signs_out_and_is_not_the_user_himself() {
    let server = Server::start();
    let alice = server.local().person("alice", "administrator", "root");
    let pair = sign_in(&server, &server.owner_user_name, &server.owner_password);
    let access = act_as(&server, &pair, &alice, "").unwrap();
    let acting = server.bearer(&access);
    acting.post("/v1/keys", json!({"name": "x"})).expect(403);
    let new = json!({"password": "seven candles in the lighthouse", "current_password": PASSWORD});
    // The owner, who manages users, sets this password; alice does not set her own.
    acting.post("/v1/users/alice/password", new).expect(204);
    assert_eq!(server.local().newest_event()["actor"], "user:owner");
    let access = act_as(&server, &pair, &alice, "").unwrap();
    let acting = server.bearer(&access);
    acting.delete("/v1/sessions/current").expect(204);
    acting.get("/v1/users/alice").expect(401);
    server
        .bearer(&text(&pair, "access_token"))
        .get("/v1/users/alice")
        .expect(200);
}
