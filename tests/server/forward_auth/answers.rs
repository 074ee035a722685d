//! Every row of the contract's table, for every proxy.

use serde_json::json;

use super::{IDENTITY, PROXIES, ask, shop, verdict};
use crate::support::Server;

#[test]
fn a_good_key_is_allowed_and_always_described_in_full() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    let plain = admin.issue(json!({ "name": "Größe 100%" }));
    let full = admin.issue(json!({
        "name": "full", "owner": "alice", "workspace": "emea", "scopes": ["b", "a"], "expires_in_s": 1000,
        "metadata": { "x": "\r\nSet-Cookie: a=b" },
    }));
    for proxy in PROXIES {
        let path = format!("/auth/{proxy}");
        let answer = server.bearer(&plain.secret).get(&path).expect(200);
        assert!(answer.body.is_empty());
        let values = IDENTITY.map(|name| answer.header(name).unwrap_or("missing").to_owned());
        let name = "Gr%C3%B6%C3%9Fe 100%25";
        let subject = format!("key:{}", plain.id);
        let expected = ["", &subject, &plain.id, name, "root", "", ""];
        assert_eq!(values, expected, "{proxy}");
        assert_eq!(answer.header("x-auth-code"), None);
        let answer = server.bearer(&full.secret).get(&path).expect(200);
        let values = IDENTITY.map(|name| answer.header(name).unwrap_or("missing").to_owned());
        assert_eq!(
            values[..6],
            ["alice", "user:alice", &full.id, "full", "emea", "b a"],
            "{proxy}"
        );
        let left: u64 = values[6].parse().unwrap();
        assert!((900..=1000).contains(&left), "{left}");
        assert!(
            !format!("{:?}", answer.headers).contains("Set-Cookie"),
            "metadata is no header"
        );
    }
    // attacks 96
    let many: Vec<String> = (0..200)
        .map(|number| format!("scope{number:03}:{}", "x".repeat(80)))
        .collect();
    let wide = admin.issue(json!({ "name": "wide", "scopes": many }));
    let answer = server.bearer(&wide.secret).get("/auth/caddy").expect(200);
    let bytes: usize = answer
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    assert!(bytes < 4096, "{bytes} bytes of headers");
    assert_eq!(answer.header("x-auth-scopes-truncated"), Some("true"));
}

/// finding S4: the issuer of a key chooses its name.
#[test]
fn no_name_of_a_key_makes_its_holder_a_user() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    for name in ["owner", "alice", "user:alice", "OWNER", "key:x"] {
        let named = admin.issue(json!({ "name": name }));
        for proxy in PROXIES {
            let answer = server.bearer(&named.secret).get(&format!("/auth/{proxy}"));
            let answer = answer.expect(200);
            assert_eq!(answer.header("remote-user"), Some(""), "{proxy} {name}");
            let subject = format!("key:{}", named.id);
            assert_eq!(answer.header("x-auth-subject"), Some(subject.as_str()));
        }
    }
    // No user can have a name in the form of another subject either.
    for name in ["key:x", "user:alice"] {
        let user = json!({ "user_name": name, "workspace": "root" });
        admin.post("/v1/users", user).refused_field("user_name");
    }
}

#[test]
fn an_answer_does_not_depend_on_its_way_through_the_server() {
    let server = Server::start();
    let admin = server.admin();
    let issue = |key: serde_json::Value| admin.issue(key).secret;
    let plain = issue(json!({ "name": "plain", "scopes": ["a"], "expires_in_s": 100_000 }));
    let limit = json!({ "limit": 1_000, "window_s": 3_600 });
    let limited = issue(json!({ "name": "limited", "rate_limit": limit }));
    let spent = issue(json!({ "name": "spent", "uses_left": 1 }));
    server.bearer(&spent).get("/auth/nginx").expect(200);
    for secret in [&plain, &limited, &spent, "lk_unknown", ""] {
        for proxy in PROXIES {
            let path = format!("/auth/{proxy}");
            let user = server.bearer(secret);
            let told = |user: &crate::support::User| {
                let mut answer = user.get(&path);
                // These parts differ from one request to the next.
                let passing = ["date", "x-request-id", "ratelimit", "x-auth-expires-in"];
                answer
                    .headers
                    .retain(|(name, _)| !passing.contains(&name.as_str()));
                (answer.status, answer.headers, answer.body)
            };
            // Connection options other than `close` have no meaning here.
            let long = user.clone().with("Connection", "x");
            assert_eq!(told(&user), told(&long), "{secret} {proxy}");
        }
    }
}

#[test]
fn a_good_key_for_another_request_is_403_with_its_reason() {
    let (server, reader) = shop(&["r"]);
    let admin = server.admin();
    admin.workspace("emea", "root");
    let issue = |more: serde_json::Value| {
        let mut key = json!({ "name": "k", "catalog": "shop", "scopes": ["w"] });
        key.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.bearer(&admin.issue(key).secret)
    };
    let read_only = issue(json!({ "read_only": true }));
    let elsewhere = issue(json!({ "allowed_ips": ["192.0.2.1"] }));
    let emea = issue(json!({ "workspace": "emea" }));
    let other = server.bearer(&server.secret);
    let catalog: &[(&str, &str)] = &[("catalog", "shop")];
    for proxy in PROXIES {
        let check = |user, demands: &[_], method, uri, expected: (u16, Option<&str>)| {
            let answer = ask(user, proxy, demands, method, uri, None);
            assert_eq!(
                verdict(&answer),
                expected,
                "{proxy} {method} {uri} {demands:?}"
            );
            assert!(answer.body.is_empty());
        };
        check(&reader, catalog, "GET", "/items", (200, None));
        check(&reader, catalog, "GET", "/items/7?a=b&c", (200, None));
        check(
            &reader,
            catalog,
            "POST",
            "/items",
            (403, Some("INSUFFICIENT_SCOPE")),
        );
        check(&reader, &[("scope", "r")], "POST", "/any", (200, None));
        check(
            &reader,
            &[("scope", "r,w")],
            "GET",
            "/any",
            (403, Some("INSUFFICIENT_SCOPE")),
        );
        check(
            &other,
            catalog,
            "GET",
            "/items",
            (403, Some("INSUFFICIENT_SCOPE")),
        );
        check(&read_only, catalog, "GET", "/items", (200, None));
        check(
            &read_only,
            catalog,
            "POST",
            "/items",
            (403, Some("READ_ONLY")),
        );
        check(&read_only, &[], "DELETE", "/any", (403, Some("READ_ONLY")));
        check(&read_only, &[], "HEAD", "/any", (200, None));
        check(&elsewhere, &[], "GET", "/", (403, Some("IP_NOT_ALLOWED")));
        check(
            &emea,
            &[("workspace", "root")],
            "GET",
            "/",
            (403, Some("OUTSIDE_WORKSPACE")),
        );
        check(&emea, &[("workspace", "emea")], "GET", "/", (200, None));
        check(
            &reader,
            catalog,
            "DELETE",
            "/items",
            (403, Some("UNKNOWN_OPERATION")),
        );
        check(
            &reader,
            catalog,
            "GET",
            "/other",
            (403, Some("UNKNOWN_OPERATION")),
        );
        // Demands that the server does not understand are refused; they never count as "no demands".
        check(
            &reader,
            &[("catalog", "nothing")],
            "GET",
            "/items",
            (403, Some("UNSAFE_REQUEST")),
        );
        check(
            &reader,
            &[("workspace", "nowhere")],
            "GET",
            "/items",
            (403, Some("UNSAFE_REQUEST")),
        );
        for empty in ["catalog", "scope", "workspace"] {
            check(
                &reader,
                &[(empty, "")],
                "GET",
                "/items",
                (403, Some("UNSAFE_REQUEST")),
            );
        }
        if proxy != "envoy" {
            check(
                &reader,
                &[("catalogue", "shop")],
                "GET",
                "/items",
                (403, Some("UNSAFE_REQUEST")),
            );
            check(
                &reader,
                &[("catalog", "shop"), ("catalog", "shop")],
                "GET",
                "/items",
                (403, Some("UNSAFE_REQUEST")),
            );
            check(
                &reader,
                &[("catalog", "%zz")],
                "GET",
                "/items",
                (403, Some("UNSAFE_REQUEST")),
            );
        }
    }
}

/// attacks 94
#[test]
fn a_limit_is_429_and_for_nginx_403_with_the_same_headers() {
    let server = Server::start();
    let admin = server.admin();
    for proxy in PROXIES {
        let path = format!("/auth/{proxy}");
        let expected = if proxy == "nginx" { 403 } else { 429 };
        let limits = [
            (
                "RATE_LIMITED",
                json!({ "name": "k", "rate_limit": { "limit": 1, "window_s": 60 } }),
            ),
            ("USAGE_EXCEEDED", json!({ "name": "k", "uses_left": 1 })),
        ];
        for (code, key) in limits {
            let user = server.bearer(&admin.issue(key).secret);
            user.get(&path).expect(200);
            let refused = user.get(&path);
            assert_eq!(verdict(&refused), (expected, Some(code)), "{proxy}");
            let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!(wait >= 1);
            assert_eq!(
                refused.header("ratelimit").is_some(),
                code == "RATE_LIMITED"
            );
        }
    }
}

/// attacks 93, 98
#[test]
fn any_method_and_any_body_are_answered() {
    let server = Server::start();
    let user = server.bearer(&server.secret);
    for proxy in PROXIES {
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
        ] {
            user.call(method, &format!("/auth/{proxy}"), None)
                .expect(200);
        }
        user.send(
            "POST",
            &format!("/auth/{proxy}"),
            "text/plain",
            &[b'x'; 200_000],
        )
        .expect(200);
        let upgrade = user
            .clone()
            .with("Upgrade", "websocket")
            .get(&format!("/auth/{proxy}"));
        upgrade.expect(200);
        let preflight = server
            .anonymous()
            .with("Origin", "https://evil.example")
            .with("Access-Control-Request-Method", "GET");
        preflight
            .call("OPTIONS", &format!("/auth/{proxy}"), None)
            .expect(401);
    }
    for path in [
        "/auth",
        "/auth/",
        "/auth/other",
        "/auth/nginx/below",
        "/auth/caddy/x",
    ] {
        user.get(path).expect(404);
    }
}

/// finding L1
#[test]
fn a_question_that_demands_too_little_is_named_in_the_log_once() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let key = admin.issue(json!({ "name": "k", "workspace": "emea", "scopes": ["admin"] }));
    let user = server.bearer(&key.secret);
    let nothing = "a question demands nothing";
    let scope = "demands a scope without a catalog or a workspace";
    let count = |words: &str| server.log().matches(words).count();
    user.get("/auth/nginx?scope=admin&workspace=emea")
        .expect(200);
    assert_eq!((count(nothing), count(scope)), (0, 0));
    for _ in 0..3 {
        for proxy in PROXIES {
            user.get(&format!("/auth/{proxy}")).expect(200);
        }
        user.get("/auth/nginx?scope=admin").expect(200);
        user.get("/auth/caddy?scope=admin").expect(200);
    }
    server.wait_for_log(scope, 1);
    assert_eq!((count(nothing), count(scope)), (1, 1));
}
