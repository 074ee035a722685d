//! Introspection (RFC 7662) and revocation (RFC 7009).

use serde_json::{Value, json};

use crate::support::{Response, Server, User};

const FORM: &str = "application/x-www-form-urlencoded";

#[track_caller]
fn introspect(user: &User, form: &str) -> Value {
    user.send("POST", "/v1/introspect", FORM, form.as_bytes())
        .expect(200)
        .json()
}

fn revoke(user: &User, secret: &str) -> Response {
    let form = format!("token={secret}&token_type_hint=access_token");
    user.send("POST", "/v1/revoke", FORM, form.as_bytes())
}

#[test]
fn introspection_describes_a_key_in_force_and_spends_nothing() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let key = admin.issue(json!({
        "name": "k", "owner": "alice", "scopes": ["a:read", "b"], "expires_at": "2100-01-01T00:00:00Z",
        "uses_left": 1, "rate_limit": { "limit": 1, "window_s": 60 }, "allowed_ips": ["10.0.0.1"],
    }));
    let created: jiff::Timestamp = key.key["created_at"].as_str().unwrap().parse().unwrap();
    for _ in 0..3 {
        assert_eq!(
            introspect(&admin, &format!("token={}&token_type_hint=x", key.secret)),
            json!({
                "active": true, "scope": "a:read b", "client_id": key.id, "username": "alice", "sub": "user:alice",
                "token_type": "Bearer", "exp": 4_102_444_800_i64, "iat": created.as_second(),
            })
        );
    }
    let asked = json!({ "key": key.secret, "ip": "10.0.0.1", "cost": 0 });
    assert_eq!(admin.verify(asked)["code"], "VALID");
    let shown = admin.key(&key.id);
    assert_eq!(
        (&shown["use_count"], &shown["last_used_at"]),
        (&json!(0), &json!(null)),
        "looking is no use"
    );
    let verdict = admin.verify(json!({ "key": key.secret, "ip": "10.0.0.1" }));
    assert_eq!(verdict["code"], "VALID", "nothing was spent");
    assert_eq!(admin.key(&key.id)["use_count"], 1);
    let plain = introspect(&admin, &format!("token={}", server.secret));
    assert_eq!(
        (&plain["sub"], plain.get("exp"), plain.get("username")),
        (
            &json!(format!("key:{}", server.key["id"].as_str().unwrap())),
            None,
            None
        )
    );
}

#[test]
fn introspection_never_says_why_a_token_is_inactive() {
    let server = Server::start();
    let admin = server.admin();
    let off = admin.issue(json!({ "name": "off", "enabled": false }));
    let early = admin.issue(json!({ "name": "early", "not_before": "2990-01-01T00:00:00Z" }));
    let spent = admin.issue(json!({ "name": "spent", "uses_left": 0 }));
    let gone = admin.issue(json!({ "name": "gone" }));
    admin.delete(&format!("/v1/keys/{}", gone.id)).expect(204);
    for token in [
        "junk",
        "",
        &off.secret,
        &early.secret,
        &spent.secret,
        &gone.secret,
    ] {
        let answer = introspect(&admin, &format!("token={token}"));
        assert_eq!(answer, json!({ "active": false }), "{token}");
    }
}

#[test]
fn only_a_form_with_one_token_is_a_question() {
    let server = Server::start();
    let admin = server.admin();
    for path in ["/v1/introspect", "/v1/revoke"] {
        for form in [
            "",
            "tok=a",
            "token=a&token=b",
            "token=a&x=1",
            "token=%zz",
            "token=%ff",
        ] {
            admin
                .send("POST", path, FORM, form.as_bytes())
                .refused(400, "invalid-request");
        }
        let json_body = json!({ "token": server.secret });
        admin
            .post(path, json_body)
            .refused(415, "unsupported-media-type");
        server
            .anonymous()
            .with("X-Forwarded-For", "192.0.2.1")
            .send("POST", path, FORM, b"token=a")
            .refused(401, "unauthenticated");
    }
    let answer = admin.send(
        "POST",
        "/v1/introspect",
        &format!("{FORM}; charset=utf-8"),
        b"token=a",
    );
    answer.expect(200);
}

#[test]
fn revocation_deletes_the_key_and_is_silent_about_unknown_ones() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    for secret in [&key.secret, &key.secret, &"junk".to_owned()] {
        let answer = revoke(&admin, secret).expect(200);
        assert!(answer.body.is_empty());
        assert_eq!(admin.verdict(&key.secret), "NOT_FOUND");
    }
    let event = admin.newest_event();
    assert_eq!(
        (&event["action"], &event["target_id"]),
        (&json!("key.revoke"), &json!(key.id))
    );
    // A key may revoke itself; revoking another key needs permission.
    let own = admin.issue(json!({ "name": "own" }));
    let other = admin.issue(json!({ "name": "other" }));
    let holder = server.bearer(&own.secret);
    revoke(&holder, &other.secret).refused(403, "forbidden");
    assert_eq!(admin.verdict(&other.secret), "VALID");
    revoke(&holder, &own.secret).expect(200);
    assert_eq!(admin.verdict(&own.secret), "NOT_FOUND");
    let off = admin.issue(json!({ "name": "off", "enabled": false }));
    revoke(&admin, &off.secret).expect(200);
    assert_eq!(
        admin.key(&off.id)["state"],
        "deleted",
        "a key that is off can be revoked too"
    );
}
