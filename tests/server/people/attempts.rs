//! Failed sign-ins: whom they delay, whom they do not affect, and what ends a lock. Attacks 115, 175.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::command_line::Line;
use crate::support::{Address, PASSWORD, Response, Server, User, code, together};

const WRONG: &str = "wrong wrong wrong";
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY";

/// A client with this address.
fn from(server: &Server, address: &str) -> User {
    server.anonymous().with("X-Forwarded-For", address)
}

fn sign_in(server: &Server, address: &str, name: &str, password: &str) -> Response {
    let body = json!({ "user_name": name, "password": password });
    from(server, address).post("/v1/sessions", body)
}

fn form(server: &Server, address: &str, path: &str, text: &str) -> Response {
    let origin = format!("http://{}", server.address);
    let client = from(server, address).with("Origin", &origin);
    let kind = "application/x-www-form-urlencoded";
    client.send("POST", path, kind, text.as_bytes())
}

/// Whether each of the ways to sign in accepts a password from an address.
fn ways(server: &Server, address: &str, name: &str, password: &str) -> HashMap<&'static str, bool> {
    let password = password.replace(' ', "+");
    let native = sign_in(server, address, name, &password.replace('+', " "));
    let fields = format!("username={name}&password={password}");
    let veeam = format!("grant_type=password&{fields}");
    let veeam = form(server, address, "/api/v3/token", &veeam);
    let adverity = form(server, address, "/api/auth/token/", &fields);
    let fields = format!("user_name={name}&password={password}");
    let console = form(server, address, "/console/sign-in", &fields);
    HashMap::from([
        ("native", native.status == 201),
        (
            "veeam",
            veeam.status == 200 && veeam.text().contains("access_token"),
        ),
        (
            "adverity",
            adverity.status == 200 && adverity.text().contains("token"),
        ),
        (
            "console",
            console
                .header("set-cookie")
                .is_some_and(|set| set.contains("lkc_")),
        ),
    ])
}

#[track_caller]
fn check_ways(server: &Server, address: &str, name: &str, expected: bool) {
    for (way, taken) in ways(server, address, name, PASSWORD) {
        assert_eq!(taken, expected, "{way} from {address}");
    }
}

/// A hundred failures, ten from each of ten networks.
fn lock(server: &Server, name: &str) {
    lock_from(server, "198.51.100", name);
}

fn lock_from(server: &Server, networks: &str, name: &str) {
    for attempt in 0..100 {
        let address = format!("{networks}.{}", attempt / 10);
        sign_in(server, &address, name, WRONG).expect(401);
    }
}

/// The parts of a refusal that do not differ between requests.
fn shape(response: &Response) -> (u16, Value) {
    let mut problem = response.json();
    problem["request_id"] = json!(null);
    (response.status, problem)
}

/// finding D9
#[test]
fn right_sign_ins_are_not_counted() {
    let server = Server::start();
    server.admin().person("alice", "key_manager", "root");
    for _ in 0..4 {
        check_ways(&server, "192.0.2.1", "alice", true);
    }
}

/// findings S8, D9
#[test]
fn who_guesses_is_held_up_and_the_user_elsewhere_is_not() {
    let server = Server::start();
    server.admin().person("alice", "key_manager", "root");
    for _ in 0..10 {
        sign_in(&server, "192.0.2.66", "alice", WRONG).expect(401);
    }
    check_ways(&server, "192.0.2.66", "alice", false);
    let refused = sign_in(&server, "192.0.2.66", "alice", PASSWORD);
    refused.refused(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // An IPv6 network has a prefix of 64 bits.
    for attempt in 0..10 {
        let address = format!("2001:db8::{attempt}");
        sign_in(&server, &address, "alice", WRONG).expect(401);
    }
    sign_in(&server, "2001:db8::ffff", "alice", PASSWORD).refused(429, "too-many-requests");
    sign_in(&server, "2001:db8:0:1::1", "alice", PASSWORD).expect(201);
    check_ways(&server, "192.0.2.67", "alice", true);
    // Other users in the attacker's network can still sign in.
    server.admin().person("bob", "key_manager", "root");
    check_ways(&server, "192.0.2.66", "bob", true);
    server.assert_alive();
}

#[test]
fn attempts_at_the_same_time_do_not_pass_the_limit_together() {
    let server = Server::start();
    server.admin().person("alice", "member", "root");
    let answers = together(40, |_| sign_in(&server, "192.0.2.1", "alice", WRONG).status);
    let guesses = answers.iter().filter(|status| **status == 401).count();
    assert!((1..=10).contains(&guesses), "{answers:?}");
    assert!(
        answers.iter().all(|it| matches!(it, 401 | 429)),
        "{answers:?}"
    );
}

/// finding S8
#[test]
fn after_a_hundred_failures_the_password_alone_is_taken_from_known_networks_only() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let session = sign_in(&server, "203.0.113.1", "alice", PASSWORD)
        .expect(201)
        .json();
    lock(&server, "alice");
    lock_from(&server, "198.51.101", "nobody");
    // The counts survive a crash.
    server.kill9();
    server.restart();

    let right = sign_in(&server, "203.0.113.2", "alice", PASSWORD);
    right.refused(403, "forbidden");
    let told = right.json()["detail"].as_str().unwrap().to_owned();
    assert!(told.contains("latchkey user unlock"), "{told}");
    // The answer reveals neither whether the password was right nor whether the user exists.
    for (name, password) in [("alice", WRONG), ("nobody", PASSWORD), ("nobody", WRONG)] {
        let other = sign_in(&server, "203.0.113.2", name, password);
        assert_eq!(shape(&other), shape(&right), "{name}");
    }
    let with_code = |name: &str, password: &str| {
        let body = json!({ "user_name": name, "password": password, "code": "123456" });
        shape(&from(&server, "203.0.113.3").post("/v1/sessions", body))
    };
    let reference = with_code("alice", PASSWORD);
    assert_eq!(reference.0, 401);
    assert_eq!(with_code("alice", WRONG), reference);
    assert_eq!(with_code("nobody", WRONG), reference);
    check_ways(&server, "203.0.113.4", "alice", false);

    // The owner of the account is not locked out: an open session still works, and so does a network from which the
    // user signed in before.
    let alice = server.bearer(session["access_token"].as_str().unwrap());
    alice.get("/v1/keys").expect(200);
    check_ways(&server, "203.0.113.1", "alice", true);
    // The same holds on the machine itself.
    let local = Address::Unix(server.socket.clone());
    let body = json!({ "user_name": "alice", "password": PASSWORD }).to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Latchkey-Local", "1"),
    ];
    local
        .call("POST", "/v1/sessions", &headers, Some(body.as_bytes()))
        .expect(201);
}

#[test]
fn who_manages_a_locked_user_is_told_and_unlocks() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let shown = admin.get("/v1/users/alice").expect(200).json();
    for member in ["locked", "failed_attempts", "failed_since"] {
        assert_eq!(shown.get(member), None, "{shown}");
    }
    // Unlocking a user who is not locked causes no event.
    let before = admin.newest_event();
    admin.post("/v1/users/alice/unlock", json!({})).expect(200);
    assert_eq!(admin.newest_event(), before);

    lock(&server, "alice");
    let line = Line::at(&server.data);
    let shown: Value =
        serde_json::from_str(&line.ok(&["user", "show", "alice", "--json"])).unwrap();
    assert_eq!(
        (&shown["locked"], &shown["failed_attempts"]),
        (&json!(true), &json!(100))
    );
    assert!(shown["failed_since"].is_string(), "{shown}");
    let events = admin
        .get("/v1/audit-events?action=user.lock")
        .expect(200)
        .json();
    assert_eq!(
        events["items"].as_array().map(Vec::len),
        Some(1),
        "{events}"
    );
    let doctor = line.run(&["doctor"]).stdout;
    assert!(
        doctor.contains("alice") && doctor.contains("latchkey user unlock"),
        "{doctor}"
    );

    let bob = {
        admin.person("bob", "auditor", "root");
        server.anonymous().signed_in("bob", PASSWORD)
    };
    bob.post("/v1/users/alice/unlock", json!({}))
        .refused(403, "forbidden");
    sign_in(&server, "203.0.113.2", "alice", PASSWORD).refused(403, "forbidden");
    line.ok(&["user", "unlock", "alice"]);
    assert_eq!(admin.newest_event()["action"], "user.unlock");
    server.kill9();
    server.restart();
    sign_in(&server, "203.0.113.2", "alice", PASSWORD).expect(201);
    let shown = admin.get("/v1/users/alice").expect(200).json();
    assert_eq!(shown.get("failed_attempts"), None, "{shown}");
}

#[test]
fn failures_that_were_answered_survive_a_kill() {
    let mut server = Server::start();
    server.admin().person("alice", "member", "root");
    for address in 0..5 {
        let address = format!("192.0.2.{address}");
        sign_in(&server, &address, "alice", WRONG).expect(401);
    }
    server.kill9();
    server.restart();
    let shown = server.admin().get("/v1/users/alice").expect(200).json();
    assert_eq!(shown["failed_attempts"], 5, "{shown}");
}

#[test]
fn unlocking_ends_the_waits_and_a_new_password_unlocks() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    for _ in 0..10 {
        sign_in(&server, "192.0.2.1", "alice", WRONG).expect(401);
    }
    sign_in(&server, "192.0.2.1", "alice", PASSWORD).expect(429);
    admin.post("/v1/users/alice/unlock", json!({})).expect(200);
    sign_in(&server, "192.0.2.1", "alice", PASSWORD).expect(201);
    lock(&server, "alice");
    let new = "nine anchors in the meadow";
    admin
        .post("/v1/users/alice/password", json!({ "password": new }))
        .expect(204);
    sign_in(&server, "203.0.113.2", "alice", new).expect(201);
}

#[test]
fn a_locked_account_takes_password_and_code_together_from_anywhere() {
    let server = Server::start();
    let admin = server.admin();
    let alice = admin.person("alice", "key_manager", "root");
    register_codes(&server, &alice, "alice");
    lock(&server, "alice");
    let code = code(SECRET, 1);
    // The password alone, which is the first of two steps for an account that is not locked, does not start the second
    // step.
    check_ways(&server, "203.0.113.4", "alice", false);
    let step = format!(
        "grant_type=password&username=alice&password={}",
        PASSWORD.replace(' ', "+")
    );
    let step = form(&server, "203.0.113.5", "/api/v3/token", &step).expect(400);
    assert!(!step.text().contains("mfa_token"), "{}", step.text());

    let body = |password: &str, code: &str| json!({ "user_name": "alice", "password": password, "code": code });
    let client = from(&server, "203.0.113.6");
    let wrong = client.post("/v1/sessions", body(WRONG, &code)).expect(401);
    let half = client
        .post("/v1/sessions", body(PASSWORD, "000000"))
        .expect(401);
    assert_eq!(shape(&wrong), shape(&half));
    client
        .post("/v1/sessions", body(PASSWORD, &code))
        .expect(201);
    // The user has proved more than the password, so the account is unlocked.
    let shown = admin.get("/v1/users/alice").expect(200).json();
    assert_eq!(shown.get("locked"), None, "{shown}");
}

fn register_codes(server: &Server, uid: &str, name: &str) {
    let user = server.anonymous().signed_in(name, PASSWORD);
    let path = format!(
        "/api/v3/users/{uid}/logins/totp?secretUrl=otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3D{SECRET}\
         &description=x&scopes=rest&code={}",
        code(SECRET, 0)
    );
    user.call("POST", &path, None).expect(200);
}

/// Failures of other clients do not prevent a signed-in user from confirming the current password; attempts within one
/// session are limited.
#[test]
fn the_current_password_is_counted_by_session() {
    let server = Server::start();
    server.admin().person("alice", "member", "root");
    let first = server.anonymous().signed_in("alice", PASSWORD);
    let second = server.anonymous().signed_in("alice", PASSWORD);
    lock(&server, "alice");
    let new = "nine anchors in the meadow";
    let change = |user: &User, current: &str| {
        let body = json!({ "password": new, "current_password": current });
        user.post("/v1/users/alice/password", body)
    };
    for _ in 0..10 {
        change(&first, WRONG).expect(403);
    }
    let refused = change(&first, PASSWORD);
    refused.refused(429, "too-many-requests");
    assert!(refused.header("retry-after").is_some());
    change(&second, PASSWORD).expect(204);
}

/// finding L5: a text in the name field that is no user's name may be a password.
#[test]
fn a_name_that_nobody_has_is_not_recorded() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("alice", "member", "root");
    let typed = "hunter2-in-the-wrong-field";
    let target = |name: &str| {
        sign_in(&server, "192.0.2.1", name, WRONG).expect(401);
        let event = admin.newest_event();
        assert_eq!(event["action"], "session.create");
        event["target"]["id"]
            .as_str()
            .or(event["target_id"].as_str())
            .unwrap()
            .to_owned()
    };
    let digest = target(typed);
    assert!(
        digest.starts_with("unknown:") && digest.len() == 24,
        "{digest}"
    );
    // The same text always has the same digest.
    assert_eq!(target(&typed.to_uppercase()), digest);
    assert_ne!(target("hunter3-in-the-wrong-field"), digest);
    assert_eq!(target("ALICE"), "alice");
    for (path, fields) in [
        (
            "/api/v3/token",
            format!("grant_type=password&username={typed}&password=x"),
        ),
        ("/api/auth/token/", format!("username={typed}&password=x")),
        ("/console/sign-in", format!("user_name={typed}&password=x")),
    ] {
        form(&server, "192.0.2.2", path, &fields);
    }
    let log = admin.get("/v1/audit-events?limit=500").expect(200).text();
    assert!(!log.contains("hunter"), "{log}");
    let metrics = admin.get("/metrics").text();
    assert!(!metrics.contains("hunter"));
}
