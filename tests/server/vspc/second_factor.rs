//! One-time codes: how they are registered, and that every sign-in with a password needs one (1D-33).

use serde_json::{Value, json};

use super::{Console, sign_in, text, token};
use crate::clock::restart_with_mark;
use crate::command_line::Line;
use crate::console::Visitor;
use crate::support::{PASSWORD, Server, User, code};

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Registers one-time codes for a user who is signed in, and returns their number and secret.
#[track_caller]
pub fn register(user: &User, uid: &str) -> (i64, String) {
    let drawn = user.get("/api/v3/authentication/keys/totp-secret");
    let drawn = drawn.expect(200).json();
    let (secret, url) = (
        text(&drawn["data"], "secret"),
        text(&drawn["data"], "secretUrl"),
    );
    let path = format!(
        "/api/v3/users/{uid}/logins/totp?secretUrl={}&code={}&description=Phone&scopes=rest&scopes=ui",
        encoded(&url),
        code(&secret, 0)
    );
    let made = user.call("POST", &path, None).expect(200).json();
    assert_eq!(made["data"]["identityProviderName"], "TOTP", "{made}");
    assert!(!made.to_string().contains(&secret), "{made}");
    (made["data"]["id"].as_i64().unwrap(), secret)
}

fn password_of(server: &Server) -> String {
    format!(
        "grant_type=password&username={}&password={}",
        server.owner_user_name, server.owner_password
    )
}

#[track_caller]
fn step_of(server: &Server, form: &str) -> String {
    let (status, step) = token(server, form);
    assert_eq!(status, 200, "{step}");
    assert_eq!(step.as_object().unwrap().len(), 1, "{step}");
    text(&step, "mfa_token")
}

#[test]
fn a_password_brings_a_step_and_a_code_brings_the_tokens() {
    let console = Console::start();
    let server = &console.server;
    let before = console.owner().get("/api/v3/users/me").json();
    assert_eq!(
        before["data"]["mfaPolicyConfigurationStatus"],
        "NotConfigured"
    );
    let (id, secret) = register(&console.owner(), &console.me);
    // The older session goes on, and reports the new state.
    let me = console.owner().get("/api/v3/users/me").expect(200).json();
    assert_eq!(me["data"]["mfaPolicyStatus"], "Enabled");
    assert_eq!(me["data"]["mfaPolicyConfigurationStatus"], "Configured");
    assert_eq!(
        server.admin().newest_event()["action"],
        "user.authenticator_add"
    );

    let step = step_of(server, &format!("{}&readOnly=true", password_of(server)));
    // The step is accepted neither as a credential nor as another kind of token.
    server.bearer(&step).get("/api/v3/about").expect(401);
    for form in [
        format!("grant_type=refresh_token&refresh_token={step}"),
        format!(
            "grant_type=mfa&mfa_token={step}&mfa_code={}",
            code(&secret, -3)
        ),
        // The registration has used this code.
        format!(
            "grant_type=mfa&mfa_token={step}&mfa_code={}",
            code(&secret, 0)
        ),
        format!(
            "grant_type=mfa&mfa_token={step}x&mfa_code={}",
            code(&secret, 1)
        ),
    ] {
        let (status, failure) = token(server, &form);
        assert_eq!(
            (status, &failure["error"]),
            (400, &json!("invalid_grant")),
            "{form}"
        );
    }
    let form = format!(
        "grant_type=mfa&mfa_token={step}&mfa_code={}",
        code(&secret, 1)
    );
    let (status, pair) = token(server, &form);
    assert_eq!(status, 200, "{pair}");
    let signed_in = server.bearer(&text(&pair, "access_token"));
    signed_in.get("/api/v3/about").expect(200);
    // The sign-in is read-only, as the first step requested.
    let login = format!("/api/v3/users/{}/logins/{id}", console.me);
    signed_in.delete(&login).expect(403);
    let (status, failure) = token(server, &form);
    assert_eq!((status, &failure["error"]), (400, &json!("invalid_grant")));
    // A refresh needs no code.
    let refresh = text(&pair, "refresh_token");
    let (status, _) = token(
        server,
        &format!("grant_type=refresh_token&refresh_token={refresh}"),
    );
    assert_eq!(status, 200);
}

#[test]
fn no_way_in_takes_the_password_alone() {
    let console = Console::start();
    let server = &console.server;
    let (_, key) = console.key("description=x&scopes=rest");
    let (_, secret) = register(&console.owner(), &console.me);
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    let nobody = server.anonymous();

    let body = json!({"user_name": name, "password": password});
    let refused = nobody.post("/v1/sessions", body).expect(422).json();
    assert!(refused.to_string().contains("\"code\""), "{refused}");
    let wrong = json!({"user_name": name, "password": password, "code": "000000"});
    nobody.post("/v1/sessions", wrong).expect(401);
    // Without the right password, the answer does not reveal that a code is needed.
    let other = json!({"user_name": name, "password": "quite another passphrase"});
    nobody.post("/v1/sessions", other).expect(401);

    let form = format!("username={name}&password={password}");
    let refused = nobody.send(
        "POST",
        "/api/auth/token/",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
    );
    refused.expect(403);
    assert_eq!(server.admin().newest_event()["outcome"], "denied");

    let mut visitor = Visitor::new(server);
    let asked = visitor.sign_in(name, password).expect(200);
    assert_eq!(asked.header("set-cookie"), None);
    let step = visitor.value("step").unwrap();
    let fields = [
        ("step", step.as_str()),
        ("code", "000000"),
        ("user_name", name),
    ];
    let asked = visitor.send("/console/sign-in", &fields).expect(403);
    assert_eq!(asked.header("set-cookie"), None);
    assert_eq!(visitor.value("step").unwrap(), step);

    // A key still works, as in the original system, but it cannot remove the second factor.
    let key = server.bearer(&key);
    key.get("/api/v3/about").expect(200);
    let logins = key.get(&format!("/api/v3/users/{}/logins", console.me));
    let logins = logins.expect(200).json();
    let one = logins["data"].as_array().unwrap();
    let one = one.iter().find(|one| one["identityProviderName"] == "TOTP");
    let id = one.unwrap()["id"].as_i64().unwrap();
    let url = "otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3DGEZDGNBVGY3TQOJQGEZDGNBVGY";
    let path = format!("/api/v3/users/{}/logins/totp", console.me);
    let query = format!("?secretUrl={url}&code=123456&description=x&scopes=rest");
    key.call("POST", &format!("{path}{query}"), None)
        .expect(403);

    let code = code(&secret, 1);
    let fields = [("step", step.as_str()), ("code", code.as_str())];
    visitor.send("/console/sign-in", &fields).expect(303);
    visitor.get("/console").expect(200);
    // Sensitive actions ask for the password again, but not for a code, and neither does a change of the password.
    let new = "seven candles in the lighthouse";
    let change = [
        ("current_password", password.as_str()),
        ("password", new),
        ("password_again", new),
    ];
    visitor
        .post("/console/account/password", &change)
        .expect(303);
    visitor.get("/console").expect(200);
    // The new password did not remove the codes.
    let body = json!({"user_name": name, "password": new});
    nobody.post("/v1/sessions", body).expect(422);
    assert!(id > 0);
}

#[test]
fn codes_are_registered_by_their_user_alone_and_once() {
    let console = Console::start();
    let server = &console.server;
    let alice = server.local().person("alice", "member", "root");
    let user = server.anonymous().signed_in("alice", PASSWORD);
    let path = format!("/api/v3/users/{alice}/logins/totp");
    let url = "otpauth%3A%2F%2Ftotp%2Fx%3Fsecret%3DGEZDGNBVGY3TQOJQGEZDGNBVGY";
    let good = format!("secretUrl={url}&description=x&scopes=rest");
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY";
    let of = |steps| format!("{path}?{good}&code={}", code(secret, steps));
    console.owner().call("POST", &of(0), None).expect(403);
    for (query, parameter) in [
        (
            "description=x&scopes=rest&code=123456".to_owned(),
            "secretUrl",
        ),
        (good.clone(), "secretUrl"),
        (format!("{good}&code={}", code(secret, -4)), "code"),
        (format!("{good}&code=12345"), "code"),
        (
            format!("{good}&code=123456&isReadAccessOnly=true"),
            "isReadAccessOnly",
        ),
        (
            good.replace("otpauth", "https") + "&code=123456",
            "secretUrl",
        ),
        (good.replace("scopes=rest", "") + "&code=123456", "scopes"),
        (
            good.replace("description=x", "") + "&code=123456",
            "description",
        ),
    ] {
        let refused = user.call("POST", &format!("{path}?{query}"), None);
        let refused = refused.expect(400).json();
        let named = &refused["errors"][0]["parameterName"];
        assert_eq!(*named, json!(parameter), "{query}: {refused}");
    }
    let made = user.call("POST", &of(0), None).expect(200).json();
    user.call("POST", &of(1), None).expect(409);
    let id = made["data"]["id"].as_i64().unwrap();

    // A user who may see them cannot disable them; a user who manages their user can, and so can a local caller.
    let login = format!("/api/v3/users/{alice}/logins/{id}");
    let off = json!([{"op": "replace", "path": "/status", "value": "disabled"}]);
    server.local().person("bob", "auditor", "root");
    let bob = server.anonymous().signed_in("bob", PASSWORD);
    bob.get(&login).expect(200);
    bob.patch(&login, off.clone()).expect(403);
    bob.delete(&login).expect(403);
    let changed = console.owner().patch(&login, off).expect(200).json();
    assert_eq!(changed["data"]["status"], "disabled");
    server.anonymous().signed_in("alice", PASSWORD);
    let on = json!([{"op": "replace", "path": "status", "value": "enabled"},
                    {"op": "replace", "path": "description", "value": "Old phone"}]);
    let changed = console.owner().patch(&login, on).expect(200).json();
    assert_eq!(changed["data"]["description"], "Old phone");
    let body = json!({"user_name": "alice", "password": PASSWORD});
    server
        .anonymous()
        .post("/v1/sessions", body.clone())
        .expect(422);

    let path = "/v1/users/alice/authenticators";
    let listed = server.local().get(path).expect(200).json();
    assert_eq!(listed["items"][0]["kind"], "one_time_code");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    bob.delete(path).expect(403);
    server.local().delete(path).expect(204);
    server.anonymous().post("/v1/sessions", body).expect(201);
    console.owner().get(&login).expect(404);
    // The number is not used again.
    let (next, _) = console.key("description=later&scopes=rest");
    assert!(next > id);
}

#[test]
fn a_repeated_request_registers_and_deletes_once() {
    let console = Console::start();
    let owner = console.owner();
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY";
    let path = format!(
        "/api/v3/users/{}/logins/totp?secretUrl={}&code={}&description=x&scopes=rest",
        console.me,
        encoded(&format!("otpauth://totp/x?secret={secret}")),
        code(secret, 0)
    );
    let again = |user: User| user.with("X-Request-id", "ba547d14-c556-42bb-b85c-eeeb16e2f5e7");
    let first: Value = again(console.owner())
        .call("POST", &path, None)
        .expect(200)
        .json();
    let second: Value = again(console.owner())
        .call("POST", &path, None)
        .expect(200)
        .json();
    assert_eq!(first, second);
    let login = format!(
        "/api/v3/users/{}/logins/{}",
        console.me, first["data"]["id"]
    );
    let again = |user: User| user.with("X-Request-id", "ba547d14-c556-42bb-b85c-eeeb16e2f5e8");
    again(console.owner()).delete(&login).expect(200);
    again(console.owner()).delete(&login).expect(200);
    owner.delete(&login).expect(404);
}

#[test]
fn a_new_password_ends_a_sign_in_that_waits_for_its_code() {
    let console = Console::start();
    let server = &console.server;
    let (_, secret) = register(&console.owner(), &console.me);
    let step = step_of(server, &password_of(server));
    let new = "seven candles in the lighthouse";
    let path = format!("/v1/users/{}/password", console.me);
    server
        .local()
        .post(&path, json!({"password": new}))
        .expect(204);
    let code = code(&secret, 1);
    let old = format!("grant_type=mfa&mfa_token={step}&mfa_code={code}");
    assert_eq!(token(server, &old).0, 400);
    // The refused request did not use the code.
    let form = format!(
        "grant_type=password&username={}&password={new}",
        server.owner_user_name
    );
    let step = step_of(server, &form);
    let form = format!("grant_type=mfa&mfa_token={step}&mfa_code={code}");
    assert_eq!(token(server, &form).0, 200);
}

/// finding L3: sessions that began with the password alone end, except for the session that registers the codes.
#[test]
fn registering_codes_ends_the_sessions_that_are_older() {
    let console = Console::start();
    let server = &console.server;
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    let own = sign_in(server, name, password);
    let other = sign_in(server, name, password);
    let native = server.anonymous().signed_in(name, password);
    let mut visitor = Visitor::owner(server);
    visitor.get("/console/account").expect(200);
    let refresh = |pair: &Value| {
        let form = format!(
            "grant_type=refresh_token&refresh_token={}",
            text(pair, "refresh_token")
        );
        token(server, &form)
    };
    let check = |open: u16, pair: &Value| {
        let user = server.bearer(&text(pair, "access_token"));
        user.get("/api/v3/users/me").expect(open);
    };
    let (id, _) = register(&server.bearer(&text(&own, "access_token")), &console.me);
    check(401, &other);
    assert_eq!(refresh(&other).0, 400);
    native.get("/v1/keys").expect(401);
    visitor.get("/console/account").expect(303);
    check(200, &own);
    let (status, own) = refresh(&own);
    assert_eq!(status, 200, "{own}");

    // The same applies when codes are enabled again: sessions that began in the meantime needed only the password, and the
    // session that enables them may be one of these.
    let login = format!("/api/v3/users/{}/logins/{id}", console.me);
    let switch = |to: &str| {
        let patch = json!([{"op": "replace", "path": "/status", "value": to}]);
        let user = server.bearer(&text(&own, "access_token"));
        user.patch(&login, patch).expect(200);
    };
    switch("disabled");
    let meanwhile = sign_in(server, name, password);
    switch("enabled");
    check(401, &meanwhile);
    check(401, &own);
}

// attacks 175
#[test]
fn codes_cannot_be_tried_one_after_the_other() {
    let console = Console::start();
    let server = &console.server;
    let (_, secret) = register(&console.owner(), &console.me);
    let step = step_of(server, &password_of(server));
    let of = |code: &str| format!("grant_type=mfa&mfa_token={step}&mfa_code={code}");
    let refused = (0..30).find(|n| {
        let (status, answer) = token(server, &of(&format!("{n:06}")));
        assert_eq!(status, 400);
        answer["error"] == "invalid_request"
    });
    assert!(refused.is_some_and(|n| n <= 10), "{refused:?}");
    let (_, answer) = token(server, &of(&code(&secret, 1)));
    assert_eq!(answer["error"], "invalid_request", "{answer}");
}

// attacks 237: S2
#[test]
fn codes_of_the_right_time_are_good_while_the_recorded_time_is_wrong_and_afterwards() {
    let mut console = Console::start();
    let (_, secret) = register(&console.owner(), &console.me);
    restart_with_mark(&mut console.server, 3650);
    let server = &console.server;
    let sign_in = |steps: i64| {
        let step = step_of(server, &password_of(server));
        let form = format!(
            "grant_type=mfa&mfa_token={step}&mfa_code={}",
            code(&secret, steps)
        );
        token(server, &form).0
    };
    // The registration has used the code of the step before; each code is accepted once.
    assert_eq!(sign_in(1), 200);
    assert_eq!(sign_in(1), 400);
    let begun = step_of(server, &password_of(server));
    server
        .local()
        .post("/v1/clock/accept", json!({}))
        .expect(200);
    // A sign-in that was begun at the wrong time must not stay open for ten years.
    let form = format!(
        "grant_type=mfa&mfa_token={begun}&mfa_code={}",
        code(&secret, 1)
    );
    assert_eq!(token(server, &form).0, 400);
}

// 1D-3, 1D-33
#[test]
fn the_older_sign_in_asks_for_a_code_as_well() {
    let console = Console::start();
    let server = &console.server;
    let (_, secret) = register(&console.owner(), &console.me);
    let ask = |more: &str| {
        let form = format!(
            "username={}&password={}{more}",
            server.owner_user_name, server.owner_password
        );
        server.anonymous().send(
            "POST",
            "/api/v3/authentication/usernamepassword",
            "application/x-www-form-urlencoded",
            form.as_bytes(),
        )
    };
    let step = ask("&readOnly=true").expect(200).json();
    let members = step["data"][0].as_object().unwrap();
    assert_eq!(members.len(), 1, "{step}");
    let step = text(&step["data"][0], "mfaToken");
    server.bearer(&step).get("/api/v3/about").expect(401);
    let form = format!(
        "grant_type=mfa&mfa_token={step}&mfa_code={}",
        code(&secret, 1)
    );
    let (status, pair) = token(server, &form);
    assert_eq!(status, 200, "{pair}");
    let path = format!("/api/v3/users/{}/tokens", console.me);
    let reader = server.bearer(&text(&pair, "access_token"));
    reader.delete(&path).expect(403);
    // A used code, together with the password.
    let used = format!("&mfa_code={}", code(&secret, 1));
    ask(&used).expect(401);
}

// attacks 195
#[test]
fn a_restore_does_not_bring_back_a_password_without_its_second_factor() {
    let mut console = Console::start();
    let (_, key) = console.key("description=x&scopes=rest");
    let made = console.server.local().post("/v1/backups", json!({}));
    let backup = text(&made.expect(201).json(), "file");
    register(&console.owner(), &console.me);
    console.server.stop();
    Line::of(&console.server).ok(&["restore", &backup, "--yes", "--json"]);
    console.server.restart();
    let server = &console.server;
    let (status, refused) = token(server, &password_of(server));
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    server.bearer(&key).get("/api/v3/about").expect(200);
}
