//! Who may ask for verdicts, and what a bound caller gets to see.

use serde_json::json;

use crate::support::{Server, User};

/// A management key of these scopes in a workspace.
fn holder(server: &Server, workspace: &str, scopes: &[&str]) -> User {
    let key = json!({ "name": "caller", "catalog": "latchkey", "workspace": workspace, "scopes": scopes });
    server.bearer(&server.admin().issue(key).secret)
}

#[test]
fn without_a_credential_only_this_machine_may_ask() {
    let server = Server::start();
    let question = json!({ "key": server.secret });
    let anonymous = server.anonymous();
    assert_eq!(anonymous.verdict(&server.secret), "VALID", "loopback");
    assert_eq!(
        server.local().verdict(&server.secret),
        "VALID",
        "the Unix socket"
    );
    let batch = json!({ "items": [question] });
    anonymous
        .post("/v1/verify/batch", batch.clone())
        .expect(200);
    // Behind a proxy on this machine, loopback is the proxy and not the client. attacks 66
    // Nor is the Unix socket, whoever's the proxy is.
    for (name, value) in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "192.0.2.1"),
    ] {
        for direct in [server.anonymous(), server.local()] {
            let proxied = direct.with(name, value);
            proxied
                .post("/v1/verify", question.clone())
                .refused(401, "unauthenticated");
            proxied
                .post("/v1/verify/batch", batch.clone())
                .refused(401, "unauthenticated");
            proxied.get("/v1/keys").refused(401, "unauthenticated");
            assert_eq!(
                proxied.get("/readyz").expect(200).text(),
                "ready\n",
                "{name}"
            );
        }
    }
    server.local().get("/v1/keys").expect(200);
    for credential in ["lk_bad", &server.secret.replace("lk_", "sk_"), "", "null"] {
        // A bad credential is never better than none.
        let caller = server
            .anonymous()
            .with("Authorization", &format!("Bearer {credential}"));
        let answer = caller.post("/v1/verify", question.clone());
        answer.refused(401, "unauthenticated");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .contains("Bearer")
        );
    }
}

#[test]
fn verifying_from_loopback_can_be_turned_off() {
    let server = Server::start_with(&["--verify-from-loopback", "false"], &[]);
    let limited = server.admin().issue(json!({ "name": "k", "uses_left": 1 }));
    let question = json!({ "key": limited.secret });
    let refused = server.anonymous().post("/v1/verify", question.clone());
    refused.refused(401, "unauthenticated");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"latchkey\""),
        "no error code: nothing was sent"
    );
    server
        .anonymous()
        .post("/v1/verify/batch", json!({ "items": [question] }))
        .refused(401, "unauthenticated");
    let form = format!("token={}", limited.secret);
    let introspection = server.anonymous().send(
        "POST",
        "/v1/introspect",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
    );
    introspection.refused(401, "unauthenticated");
    // attacks 66: the examined key was not consumed.
    let key = server.admin().key(&limited.id);
    assert_eq!(
        (&key["uses_left"], &key["use_count"], &key["last_used_at"]),
        (&json!(1), &json!(0), &json!(null))
    );
    assert_eq!(
        server.local().verdict(&limited.secret),
        "VALID",
        "the Unix socket stays"
    );
}

#[test]
fn a_caller_needs_the_scope_to_verify() {
    let server = Server::start();
    let question = json!({ "key": server.secret });
    for scopes in [&["keys:read", "keys:write"][..], &[]] {
        holder(&server, "root", scopes)
            .post("/v1/verify", question.clone())
            .refused(403, "forbidden");
    }
    server
        .bearer(&server.secret)
        .post("/v1/verify", question.clone())
        .refused(403, "forbidden");
    // A verifier verifies, and does nothing else. attacks 57
    let verifier = holder(&server, "root", &["keys:verify"]);
    assert_eq!(verifier.verdict(&server.secret), "VALID");
    verifier.get("/v1/keys").refused(403, "forbidden");
    verifier
        .post("/v1/keys", json!({ "name": "x" }))
        .refused(403, "forbidden");
    let read_only = server.admin().issue(json!({
        "name": "ro", "catalog": "latchkey", "scopes": ["keys:verify"], "read_only": true,
    }));
    assert_eq!(
        server.bearer(&read_only.secret).verdict(&server.secret),
        "VALID"
    );
}

#[test]
fn keys_outside_a_callers_workspace_are_unknown_to_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("paris", "emea");
    admin.workspace("apac", "root");
    let key = |workspace: &str| {
        admin.issue(json!({ "name": workspace, "workspace": workspace, "uses_left": 1 }))
    };
    let bound = holder(&server, "emea", &["keys:verify"]);
    let unknown = json!({ "valid": false, "code": "NOT_FOUND" });
    for workspace in ["apac", "root"] {
        let foreign = key(workspace);
        assert_eq!(
            bound.verify(json!({ "key": foreign.secret })),
            unknown,
            "{workspace}"
        );
        let form = format!("token={}", foreign.secret);
        let introspection = bound.send(
            "POST",
            "/v1/introspect",
            "application/x-www-form-urlencoded",
            form.as_bytes(),
        );
        assert_eq!(introspection.expect(200).json(), json!({ "active": false }));
        assert_eq!(
            admin.verdict(&foreign.secret),
            "VALID",
            "and nothing was spent"
        );
    }
    for workspace in ["emea", "paris"] {
        assert_eq!(
            bound.verdict(&key(workspace).secret),
            "VALID",
            "{workspace}"
        );
    }
}

/// A caller's own limits hold for its questions.
#[test]
fn a_callers_own_limits_hold() {
    let server = Server::start();
    let admin = server.admin();
    let caller = |limits: serde_json::Value| {
        let mut key = json!({ "name": "c", "catalog": "latchkey", "scopes": ["keys:verify"] });
        key.as_object_mut()
            .unwrap()
            .extend(limits.as_object().unwrap().clone());
        server.bearer(&admin.issue(key).secret)
    };
    let question = json!({ "key": server.secret });
    let limited = caller(json!({ "rate_limit": { "limit": 1, "window_s": 60 } }));
    limited.post("/v1/verify", question.clone()).expect(200);
    let refused = limited.post("/v1/verify", question.clone());
    refused.refused(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    let counted = caller(json!({ "uses_left": 1 }));
    counted.post("/v1/verify", question.clone()).expect(200);
    counted
        .post("/v1/verify", question.clone())
        .refused(401, "unauthenticated");
    let elsewhere = caller(json!({ "allowed_ips": ["192.0.2.7"] }));
    elsewhere
        .post("/v1/verify", question.clone())
        .refused(401, "unauthenticated");
    let forwarded = elsewhere.with("X-Forwarded-For", "192.0.2.7");
    forwarded.post("/v1/verify", question.clone()).expect(200);
    let early = caller(json!({ "not_before": "2990-01-01T00:00:00Z" }));
    early
        .post("/v1/verify", question)
        .refused(401, "unauthenticated");
}

#[test]
fn a_bound_caller_cannot_tell_a_foreign_workspace_from_none() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("paris", "emea");
    let foreign = admin.workspace("apac", "root");
    let key = admin.issue(json!({ "name": "k", "workspace": "emea" }));
    let bound = holder(&server, "emea", &["keys:verify"]);
    let ask = |workspace: &str| {
        let question = json!({ "key": key.secret, "workspace": workspace });
        bound.post("/v1/verify", question)
    };
    assert_eq!(ask("paris").expect(200).json()["code"], "VALID");
    let told = |workspace: &str| {
        let response = ask(workspace);
        response.refused_field("workspace");
        response.json()["detail"].clone()
    };
    for workspace in ["apac", "root", &foreign] {
        assert_eq!(told(workspace), told("nowhere"), "{workspace}");
    }
}
