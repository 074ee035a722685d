//! Who may verify, and what a restricted caller can see.

use serde_json::json;

use crate::support::{Address, Server, User, wait};

/// A caller with a management key of these scopes in a workspace.
fn holder(server: &Server, workspace: &str, scopes: &[&str]) -> User {
    let key = json!({ "name": "caller", "catalog": "latchkey", "workspace": workspace, "scopes": scopes });
    server.bearer(&server.admin().issue(key).secret)
}

#[test]
fn without_a_credential_only_this_machine_may_ask() {
    let server = Server::start();
    server.wait_until_ready();
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
    // Behind a proxy on this machine, a loopback connection comes from the proxy and not from the client. attacks 66
    // The same holds for a connection through the Unix socket.
    for (name, value) in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "192.0.2.1"),
        ("X-Forwarded", "for=192.0.2.1"),
        ("X_Forwarded_For", "192.0.2.1"),
        ("True-Client-IP", "192.0.2.1"),
        ("CF-Connecting-IP", "192.0.2.1"),
        ("X-Client-IP", "192.0.2.1"),
        ("X-Envoy-External-Address", "192.0.2.1"),
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
        // An invalid credential never allows more than none.
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

// findings S11, H8, c5: many proxies add no header to the requests that they forward.
#[test]
fn a_request_that_does_not_say_that_it_is_local_has_no_rights_of_this_machine() {
    let server = Server::start();
    let question = json!({ "key": server.secret });
    let batch = json!({ "items": [question] });
    let form = format!("token={}", server.secret);
    for here in [server.anonymous(), server.local()] {
        for value in ["", "0", "true", "1, 1", "yes"] {
            let unmarked = here.clone().with("Latchkey-Local", value);
            let introspected = unmarked.send(
                "POST",
                "/v1/introspect",
                "application/x-www-form-urlencoded",
                form.as_bytes(),
            );
            for refused in [
                unmarked.post("/v1/verify", question.clone()),
                unmarked.post("/v1/verify/batch", batch.clone()),
                introspected,
            ] {
                refused.refused(401, "unauthenticated");
                let detail = refused.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains("Latchkey-Local: 1"), "{detail}");
            }
            let figures = unmarked.get("/metrics").expect(401);
            assert!(figures.text().contains("Latchkey-Local: 1"));
            unmarked.get("/v1/keys").refused(401, "unauthenticated");
            let key = json!({ "name": "x", "catalog": "latchkey", "scopes": ["server:admin"] });
            unmarked
                .post("/v1/keys", key)
                .refused(401, "unauthenticated");
            assert_eq!(unmarked.get("/readyz").expect(200).text(), "ready\n");
        }
        let twice = here.with("Latchkey-Local", "1").with("Latchkey-Local", "1");
        twice
            .post("/v1/verify", question.clone())
            .refused(401, "unauthenticated");
    }
    let socket = server.local().with("Latchkey-Local", "");
    let detail = socket.get("/v1/keys").json()["detail"].clone();
    assert!(detail.as_str().unwrap().contains("Latchkey-Local: 1"));
    // Over the network, and for requests that no local client may make, the header has no effect, and no answer
    // mentions it.
    for other in [
        socket.with("X-Forwarded-For", "192.0.2.1").get("/v1/keys"),
        server.anonymous().get("/v1/keys"),
        server
            .anonymous()
            .with("Latchkey-Local", "")
            .get("/v1/keys"),
    ] {
        other.refused(401, "unauthenticated");
        let detail = other.json()["detail"].as_str().unwrap().to_owned();
        assert!(!detail.contains("Latchkey-Local"), "{detail}");
    }
}

// finding S11: the version that nginx uses by default for requests to its upstream server.
#[test]
fn no_request_of_http_1_0_is_local() {
    let server = Server::start();
    let body = json!({ "key": server.secret }).to_string();
    for (address, host) in [
        (server.tcp(), server.address.to_string()),
        (Address::Unix(server.socket.clone()), "localhost".to_owned()),
    ] {
        for (version, verified, listed) in [("1.0", 401, 401), ("1.1", 200, 401)] {
            let ask = |line: &str, body: &str| {
                let head = format!(
                    "{line} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\nLatchkey-Local: 1\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                address.raw(head.as_bytes(), wait::PATIENCE).statuses()
            };
            let is_socket = host == "localhost" && version == "1.1";
            assert_eq!(
                ask("POST /v1/verify", &body),
                [verified],
                "{host} {version}"
            );
            assert_eq!(ask("GET /metrics", ""), [verified], "{host} {version}");
            let listed = if is_socket { 200 } else { listed };
            assert_eq!(ask("GET /v1/keys", ""), [listed], "{host} {version}");
        }
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
    // attacks 66: the verification did not count as use of the key.
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
    // A verifier may verify, and may do nothing else. attacks 57
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

/// The limits of a caller's own key apply to its verifications.
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
