//! Signing in to the console: the properties of the cookie, what the answers do not reveal, and what ends a session.

use super::Visitor;
use crate::support::{PASSWORD, Server};
use serde_json::json;

// attacks 168, 173
#[test]
fn there_is_no_session_before_a_sign_in_and_its_cookie_is_for_this_server_alone() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    for path in [
        "/",
        "/console",
        "/console/sign-in",
        "/console/account",
        "/console/nowhere",
    ] {
        let response = visitor.get(path);
        assert_eq!(response.header("set-cookie"), None, "{path}");
    }
    let response = visitor
        .sign_in(&server.owner_user_name, &server.owner_password)
        .expect(303);
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.starts_with("latchkey=lkc_"), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/console; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert_eq!(response.header("location"), Some("/console"));
    visitor.get("/console").expect(200);
}

// attacks 168
#[test]
fn behind_tls_the_cookie_is_bound_to_the_host() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    let origin = format!("https://{}", server.address);
    let fields = [
        ("user_name", server.owner_user_name.as_str()),
        ("password", server.owner_password.as_str()),
    ];
    let headers = [("Origin", origin.as_str()), ("X-Forwarded-Proto", "https")];
    let response = visitor
        .send_with("/console/sign-in", &headers, &fields)
        .expect(303);
    let cookie = response.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-latchkey=lkc_"), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    // If the page came over TLS, a page of the same host without TLS is another origin.
    let plain = format!("http://{}", server.address);
    let headers = [("Origin", plain.as_str()), ("X-Forwarded-Proto", "https")];
    visitor
        .send_with("/console/sign-in", &headers, &fields)
        .expect(403);
}

// attacks 169
#[test]
fn each_sign_in_begins_a_new_session_and_ends_the_one_before() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    visitor.cookies.push((
        "latchkey".to_owned(),
        "lkc_chosen_by_somebody_else".to_owned(),
    ));
    visitor
        .sign_in(&server.owner_user_name, &server.owner_password)
        .expect(303);
    let first = visitor.session().unwrap().to_owned();
    assert_ne!(first, "lkc_chosen_by_somebody_else");
    visitor
        .sign_in(&server.owner_user_name, &server.owner_password)
        .expect(303);
    assert_ne!(visitor.session().unwrap(), first);
    let mut old = Visitor::new(&server);
    old.cookies.push(("latchkey".to_owned(), first));
    old.get("/console/account").expect(303);
    visitor.get("/console/account").expect(200);
}

// attacks 57
#[test]
fn cookies_tokens_and_keys_are_not_interchangeable() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let session = owner.session().unwrap().to_owned();
    server.bearer(&session).get("/v1/keys").expect(401);
    let cookie = format!("latchkey={session}");
    server
        .anonymous()
        .with("Cookie", &cookie)
        .get("/v1/keys")
        .expect(401);
    let body = json!({ "user_name": server.owner_user_name, "password": server.owner_password });
    let token = server
        .anonymous()
        .post("/v1/sessions", body)
        .expect(201)
        .json();
    for secret in [
        token["access_token"].as_str().unwrap(),
        &server.management_key,
        &server.secret,
    ] {
        let mut visitor = Visitor::new(&server);
        visitor
            .cookies
            .push(("latchkey".to_owned(), secret.to_owned()));
        visitor.get("/console/account").expect(303);
    }
    owner.get("/console/account").expect(200);
}

// attacks 170
#[test]
fn cookies_that_cannot_be_read_are_nobodys() {
    let server = Server::start();
    let owner = Visitor::owner(&server);
    let session = owner.session().unwrap();
    for cookie in [
        format!("latchkey={session}; latchkey={session}"),
        format!("latchkey={session}; latchkey=x"),
        format!("latchkey={}", "x".repeat(8192)),
        "latchkey=\u{e9}".to_owned(),
        ";;=;latchkey".to_owned(),
    ] {
        let response = server.call("GET", "/console/account", &[("Cookie", &cookie)], None);
        assert_eq!(response.status, 303, "{cookie}");
    }
    server.assert_alive();
}

// attacks 175
#[test]
fn names_that_are_there_are_not_told_from_others_and_guessing_is_limited() {
    let server = Server::start();
    server.admin().person("sleeper", "member", "root");
    server
        .admin()
        .patch("/v1/users/sleeper", json!({ "enabled": false }))
        .expect(200);
    let mut visitor = Visitor::new(&server);
    let page = |text: String, name: &str| text.replace(name, "");
    let known = visitor
        .sign_in(&server.owner_user_name, "wrong wrong wrong")
        .expect(403);
    let unknown = visitor.sign_in("nobody", "wrong wrong wrong").expect(403);
    let disabled = visitor.sign_in("sleeper", PASSWORD).expect(403);
    let expected = page(known.text(), &server.owner_user_name);
    assert_eq!(page(unknown.text(), "nobody"), expected);
    assert_eq!(page(disabled.text(), "sleeper"), expected);
    assert!(expected.contains("The user name or the password is wrong."));
    for _ in 0..7 {
        visitor.sign_in("nobody", "wrong wrong wrong");
    }
    let refused = visitor
        .sign_in(&server.owner_user_name, &server.owner_password)
        .expect(429);
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert_eq!(visitor.session(), None);
}

#[test]
fn signing_out_ends_the_session_and_its_cookie() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let session = owner.session().unwrap().to_owned();
    owner.get("/console/account").expect(200);
    owner.post("/console/sign-out", &[]).expect(303);
    assert_eq!(owner.session(), None);
    owner.cookies.push(("latchkey".to_owned(), session));
    owner.get("/console/account").expect(303);
}

#[test]
fn a_session_can_be_ended_from_another_one_and_nobody_elses_can() {
    let server = Server::start();
    let mut first = Visitor::owner(&server);
    let mut second = Visitor::owner(&server);
    server.admin().person("eve", "member", "root");
    let mut eve = Visitor::new(&server);
    eve.sign_in("eve", PASSWORD).expect(303);
    let id = &second.session().unwrap()[4..14].to_owned();
    let path = format!("/console/account/sessions/{id}/end");
    eve.post(&path, &[]).expect(404);
    second.get("/console/account").expect(200);
    first.post(&path, &[]).expect(303);
    second.get("/console/account").expect(303);
    first.get("/console/account").expect(200);
}

// attacks 179
#[test]
fn a_password_is_changed_by_whoever_knows_it_and_all_sessions_end() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let mut other = Visitor::owner(&server);
    let stolen = owner.session().unwrap().to_owned();
    let change = |visitor: &mut Visitor, current: &str, new: &str, again: &str| {
        let fields = [
            ("current_password", current),
            ("password", new),
            ("password_again", again),
        ];
        visitor.post("/console/account/password", &fields)
    };
    change(&mut owner, "something else", PASSWORD, PASSWORD).expect(403);
    change(&mut owner, &server.owner_password, PASSWORD, "other").expect(422);
    change(&mut owner, &server.owner_password, "short", "short").expect(422);
    change(&mut owner, &server.owner_password, PASSWORD, PASSWORD).expect(303);
    assert_ne!(owner.session().unwrap(), stolen);
    owner.get("/console/account").expect(200);
    other.get("/console/account").expect(303);
}

// attacks 183
#[test]
fn a_sign_in_leads_to_pages_of_the_console_only() {
    let server = Server::start();
    for (next, expected) in [
        ("/console/account?x=1", "/console/account?x=1"),
        ("//evil.example", "/console"),
        ("\\evil.example", "/console"),
        ("javascript:alert(1)", "/console"),
        ("https://evil.example/console", "/console"),
    ] {
        let mut visitor = Visitor::new(&server);
        let fields = [
            ("user_name", server.owner_user_name.as_str()),
            ("password", server.owner_password.as_str()),
            ("next", next),
        ];
        let response = visitor.send("/console/sign-in", &fields).expect(303);
        assert_eq!(response.header("location"), Some(expected));
    }
}

/// finding L7: a browser resolves dot segments, even encoded ones, before it sends the request.
#[test]
fn a_sign_in_leads_nowhere_but_into_the_console() {
    let server = Server::start();
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    for (next, expected) in [
        ("/console/keys?q=a", "/console/keys?q=a"),
        ("/console/../../x", "/console"),
        ("/console/%2e%2E/v1/keys", "/console"),
        ("/console/..%2f..%2fx", "/console"),
        ("/console//evil.example", "/console"),
        ("//evil.example/console", "/console"),
        ("/console\\..\\x", "/console"),
    ] {
        let mut visitor = Visitor::new(&server);
        let fields = [
            ("user_name", name.as_str()),
            ("password", password),
            ("next", next),
        ];
        let response = visitor.send("/console/sign-in", &fields).expect(303);
        assert_eq!(response.header("location"), Some(expected), "{next}");
    }
}

/// finding S8: the page of a locked account explains what to do, and takes a code together with the password.
#[test]
fn the_console_shows_who_is_locked_and_unlocks() {
    let server = Server::start();
    server.admin().person("alice", "member", "root");
    let mut owner = Visitor::owner(&server);
    for attempt in 0..100 {
        let address = format!("198.51.100.{}", attempt / 10);
        let client = server.anonymous().with("X-Forwarded-For", &address);
        let body = json!({ "user_name": "alice", "password": "wrong wrong wrong" });
        client.post("/v1/sessions", body).expect(401);
    }
    let mut alice = Visitor::new(&server);
    let refused = alice.sign_in("alice", PASSWORD).expect(403).text();
    assert!(
        refused.contains("locked after 100 failed attempts"),
        "{refused}"
    );
    assert!(refused.contains("name=\"code\""), "{refused}");
    let fields = [
        ("user_name", "alice"),
        ("password", PASSWORD),
        ("code", "123456"),
    ];
    let refused = alice.send("/console/sign-in", &fields).expect(403).text();
    assert!(refused.contains("The user name or the password is wrong."));

    assert!(owner.get("/console/users").text().contains("Locked"));
    owner.get("/console/users/alice").expect(200);
    let failed = "101 failed attempts to sign in";
    assert!(owner.page.contains(failed), "{}", owner.page);
    owner.post("/console/users/alice/unlock", &[]).expect(303);
    owner.get("/console/users/alice").expect(200);
    assert!(!owner.page.contains("/unlock"), "{}", owner.page);
    alice.sign_in("alice", PASSWORD).expect(303);
}
