//! Two-step sign-in of the server itself: setting it up in the console and through the API, recovery codes, and the rules
//! that demand it. No dialect is needed.

use serde_json::{Value, json};

use crate::command_line::Line;
use crate::console::Visitor;
use crate::console::setup::Unset;
use crate::keeping::restore::{back_up, restore};
use crate::support::{PASSWORD, Response, Server, User, code, fresh_folder, together};

pub const ALONE: [&str; 8] = [
    "--mount",
    "vspc=off",
    "--mount",
    "aware=off",
    "--mount",
    "awaretrain=off",
    "--mount",
    "adverity=off",
];

fn strings(list: &Value) -> Vec<String> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Sets up one-time codes for a user, and returns the secret and the recovery codes.
#[track_caller]
pub fn enrol(caller: &User, name: &str) -> (String, Vec<String>) {
    let path = format!("/v1/users/{name}/authenticators");
    let begun = caller
        .post(&format!("{path}/start"), json!({}))
        .expect(200)
        .json();
    let secret = begun["secret"].as_str().unwrap().to_owned();
    let body =
        json!({ "setup": begun["setup"], "code": code(&secret, 0), "current_password": PASSWORD });
    let made = caller.post(&path, body).expect(201).json();
    (secret, strings(&made["recovery_codes"]))
}

#[track_caller]
pub fn try_sign_in(server: &Server, name: &str, code: Option<&str>) -> Response {
    let mut body = json!({ "user_name": name, "password": PASSWORD });
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    server.local().post("/v1/sessions", body)
}

#[track_caller]
pub fn sign_in(server: &Server, name: &str, code: Option<&str>) -> User {
    let answer = try_sign_in(server, name, code).expect(201).json();
    server.bearer(answer["access_token"].as_str().unwrap())
}

/// Sets up two-step sign-in on the page for it, and returns the secret and the recovery codes.
#[track_caller]
fn enrol_in_console(visitor: &mut Visitor) -> (String, Vec<String>) {
    let page = visitor.get("/console/account/two-step").expect(200).text();
    assert!(page.contains("<svg class=\"qr\""), "{page}");
    let secret = page.split("id=\"secret\"").nth(1).unwrap();
    let secret = secret.split(['>', '<']).nth(1).unwrap().replace(' ', "");
    let setup = visitor.value("setup").unwrap();
    let page = visitor
        .post(
            "/console/account/two-step",
            &[("setup", &setup), ("code", &code(&secret, 0))],
        )
        .expect(200)
        .text();
    let codes = page.split("id=\"codes\"").nth(1).unwrap();
    let codes = codes.split(['>', '<']).nth(1).unwrap();
    (
        secret,
        codes.split_whitespace().map(str::to_owned).collect(),
    )
}

#[test]
fn two_step_sign_in_needs_no_dialect() {
    let server = Server::start_with(&ALONE, &[]);
    let (name, password) = (
        server.owner_user_name.clone(),
        server.owner_password.clone(),
    );
    let mut owner = Visitor::owner(&server);
    let mut elsewhere = Visitor::owner(&server);
    let (secret, codes) = enrol_in_console(&mut owner);
    assert_eq!(codes.len(), 10);
    assert!(
        !owner
            .get("/console/account")
            .expect(200)
            .text()
            .contains(&codes[0])
    );
    assert!(owner.page.contains("10 left"));
    // What was begun with the password alone is over.
    elsewhere.get("/console/account").expect(303);

    let mut visitor = Visitor::new(&server);
    visitor.sign_in(&name, &password).expect(200);
    let step = visitor.value("step").unwrap();
    let mut enter = |code: &str| {
        let fields = [
            ("step", step.as_str()),
            ("user_name", &name),
            ("code", code),
        ];
        visitor.send("/console/sign-in", &fields).status
    };
    assert_eq!(enter("aaaaa-aaaaa"), 403);
    assert_eq!(enter(&code(&secret, 1)), 303);
    visitor.get("/console/account").expect(200);

    let with = |code: &str| {
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&name, &password).expect(200);
        let step = visitor.value("step").unwrap();
        let fields = [
            ("step", step.as_str()),
            ("user_name", &name),
            ("code", code),
        ];
        visitor.send("/console/sign-in", &fields).status
    };
    assert_eq!(with(&codes[3].to_uppercase().replace('-', " ")), 303);
    assert_eq!(with(&codes[3]), 403);
    let events = server
        .local()
        .get("/v1/audit-events?action=user.recovery_code_use")
        .json();
    let events = events["items"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["actor"], format!("user:{name}"));
    assert_eq!(
        events[0]["changes"]["recovery_codes_left"],
        json!(["10", "9"])
    );
    assert!(owner.get("/console/account").text().contains("9 left"));
}

// attacks 117
#[test]
fn a_secret_is_in_force_after_its_first_code_and_for_its_user_alone() {
    let server = Server::start_with(&ALONE, &[]);
    let admin = server.admin();
    for name in ["alice", "bob"] {
        admin.person(name, "key_manager", "root");
    }
    let (alice, bob) = (
        sign_in(&server, "alice", None),
        sign_in(&server, "bob", None),
    );
    let path = "/v1/users/alice/authenticators";
    let start = format!("{path}/start");
    // No key, no manager and no other user sets it up for a user.
    admin.post(&start, json!({})).expect(403);
    bob.post(&start, json!({})).expect(404);
    let begun = alice.post(&start, json!({})).expect(200).json();
    let secret = begun["secret"].as_str().unwrap();
    assert!(begun["url"].as_str().unwrap().contains(secret));
    assert_eq!(alice.get(path).json()["items"], json!([]));
    sign_in(&server, "alice", None);

    let right =
        json!({ "setup": begun["setup"], "code": code(secret, 0), "current_password": PASSWORD });
    let with = |member: &str, value: Value| {
        let mut body = right.clone();
        body[member] = value;
        body
    };
    let others = bob
        .post("/v1/users/bob/authenticators/start", json!({}))
        .json();
    for (status, body) in [
        (422, with("code", json!("000000"))),
        (422, with("setup", json!("AAAA"))),
        (422, with("setup", others["setup"].clone())),
        (422, with("current_password", json!(null))),
        (403, with("current_password", json!("not the password"))),
    ] {
        alice.post(path, body).expect(status);
    }
    assert_eq!(alice.get(path).json()["items"], json!([]));
    let made = alice.post(path, right.clone()).expect(201).json();
    let codes = strings(&made["recovery_codes"]);
    assert_eq!(codes.len(), 10);
    alice.post(path, right.clone()).expect(409);
    try_sign_in(&server, "alice", None).expect(422);
    assert_eq!(alice.get("/v1/users/alice").json()["second_factor"], true);
    assert_eq!(
        alice.get("/v1/users/alice/recovery-codes").json()["left"],
        10
    );

    // New codes end the older ones, and need the password.
    let codes_path = "/v1/users/alice/recovery-codes";
    alice.post(codes_path, json!({})).expect(422);
    admin.post(codes_path, json!({})).expect(403);
    let password = json!({ "current_password": PASSWORD });
    let new = alice.post(codes_path, password.clone()).expect(201).json();
    try_sign_in(&server, "alice", Some(&codes[0])).expect(401);
    sign_in(&server, "alice", Some(&strings(&new["recovery_codes"])[0]));

    // So does switching it off.
    alice.call("DELETE", path, Some(&json!({}))).expect(422);
    let wrong = json!({ "current_password": "not the password" });
    alice.call("DELETE", path, Some(&wrong)).expect(403);
    alice.call("DELETE", path, Some(&password)).expect(204);
    sign_in(&server, "alice", None);
    assert_eq!(alice.get(codes_path).json()["left"], 0);
    // The setup that was used does not set it up again, though its code is good for a while; a new one does.
    alice.post(path, right).refused_field("setup");
    assert_eq!(alice.get(path).json()["items"], json!([]));
    enrol(&alice, "alice");
}

#[test]
fn a_recovery_code_signs_in_once_whatever_happens() {
    let mut server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    let (_, codes) = enrol(&server.local(), "alice");
    let backup = back_up(&server);
    let outcomes = together(6, |_| try_sign_in(&server, "alice", Some(&codes[0])).status);
    assert_eq!(
        outcomes.iter().filter(|status| **status == 201).count(),
        1,
        "{outcomes:?}"
    );
    server.kill9();
    server.restart();
    try_sign_in(&server, "alice", Some(&codes[0])).expect(401);
    sign_in(&server, "alice", Some(&codes[1]));
    // The copy has all ten; none of them opens anything after a restore.
    restore(&mut server, &backup, &[]);
    server.restart();
    for code in &codes[..3] {
        try_sign_in(&server, "alice", Some(code)).expect(401);
    }
    assert_eq!(
        server.local().get("/v1/users/alice/recovery-codes").json()["left"],
        0
    );
}

#[test]
fn wrong_recovery_codes_are_counted_as_wrong_codes_are() {
    let server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    enrol(&server.local(), "alice");
    let body = json!({ "user_name": "alice", "password": PASSWORD, "code": "aaaaa-aaaaa" });
    let statuses: Vec<u16> = (0..11)
        .map(|_| server.anonymous().post("/v1/sessions", body.clone()).status)
        .collect();
    assert_eq!(statuses[..5], [401; 5], "{statuses:?}");
    assert_eq!(statuses[10], 429, "{statuses:?}");
}

#[test]
fn retiring_the_seal_key_names_recovery_codes_and_their_users() {
    let server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    let (_, codes) = enrol(&server.local(), "alice");
    let line = Line::of(&server);
    line.ok(&["secrets", "rotate", "seal-key"]);
    sign_in(&server, "alice", Some(&codes[0]));
    let refused = line.run(&["secrets", "retire", "seal-key", "1"]);
    assert!(
        refused
            .stderr
            .contains("1 user with recovery codes (alice)"),
        "{}",
        refused.stderr
    );
    line.ok(&[
        "secrets",
        "retire",
        "seal-key",
        "1",
        "--disable-unseen",
        "--yes",
    ]);
    try_sign_in(&server, "alice", Some(&codes[1])).expect(401);
}

#[test]
fn a_role_that_demands_a_second_factor_leads_to_its_page_and_nowhere_else() {
    let mut server = Server::start_with(&ALONE, &[]);
    let (name, password) = (
        server.owner_user_name.clone(),
        server.owner_password.clone(),
    );
    server.admin().person("clerk", "member", "root");
    // Sessions from before the setting.
    let mut before = Visitor::owner(&server);
    let body = json!({ "user_name": name, "password": password });
    let token = server
        .local()
        .post("/v1/sessions", body.clone())
        .expect(201)
        .json();
    let token = server.bearer(token["access_token"].as_str().unwrap());
    token.get("/v1/keys").expect(200);
    let others = sign_in(&server, "clerk", None);
    let second = server
        .local()
        .post("/v1/sessions", body.clone())
        .expect(201)
        .json();
    let second = server.bearer(second["access_token"].as_str().unwrap());
    let newest = |name: &str| {
        let sessions = server.local().get(&format!("/v1/users/{name}/sessions"));
        sessions.json()["items"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (own, clerks) = (newest(&name), newest("clerk"));
    server = server.with_args(&["--second-factor-roles", "owner,administrator"]);
    server.stop();
    server.restart();

    let refused = token.get("/v1/keys").expect(403).text();
    assert!(refused.contains("second factor"), "{refused}");
    token.post("/v1/keys", json!({ "name": "x" })).expect(403);
    // What such a token can do is to end sessions of its user.
    let sessions = format!("/v1/users/{name}/sessions");
    token.get(&sessions).expect(403);
    token.delete("/v1/keys/k3J9aQ0xZb").expect(403);
    for path in [
        "/v1/users/clerk/sessions".to_owned(),
        format!("/v1/users/clerk/sessions/{clerks}"),
    ] {
        let status = token.delete(&path).status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
    token.delete(&format!("{sessions}/{clerks}")).expect(404);
    others.get("/v1/keys").expect(200);
    second.get("/v1/keys").expect(403);
    token.delete(&format!("{sessions}/{own}")).expect(204);
    second.get("/v1/keys").expect(401);
    token.delete("/v1/sessions/current").expect(204);
    token.get("/v1/keys").expect(401);
    server
        .local()
        .post("/v1/sessions", body.clone())
        .expect(403);
    sign_in(&server, "clerk", None);
    // Keys are machines and go on.
    server.admin().get("/v1/keys").expect(200);

    let mut fresh = Visitor::new(&server);
    fresh.sign_in(&name, &password).expect(303);
    for visitor in [&mut before, &mut fresh] {
        for path in [
            "/console",
            "/console/keys",
            "/console/users",
            "/console/account",
            "/console/account/two-step/off",
        ] {
            let answer = visitor.get(path).expect(303);
            assert_eq!(
                answer.header("location"),
                Some("/console/account/two-step"),
                "{path}"
            );
        }
        let page = visitor.get("/console/account/two-step").expect(200).text();
        assert!(page.contains("Your role needs two-step sign-in"), "{page}");
        assert!(!page.contains("/console/keys"), "{page}");
        for (path, fields) in [
            ("/console/keys/new", &[("name", "x")][..]),
            ("/console/users/new", &[("user_name", "x")]),
            (
                "/console/account/password",
                &[
                    ("current_password", &password),
                    ("password", PASSWORD),
                    ("password_again", PASSWORD),
                ],
            ),
            (
                "/console/account/recovery-codes",
                &[("current_password", &password)],
            ),
            ("/console/account/end-sessions", &[]),
        ] {
            visitor.get("/console/account/two-step");
            let answer = visitor.post(path, fields).expect(303);
            assert_eq!(
                answer.header("location"),
                Some("/console/account/two-step"),
                "{path}"
            );
        }
    }
    let keys = server.admin().get("/v1/keys").json();
    assert!(
        keys["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["name"] != "x")
    );

    let (_, codes) = enrol_in_console(&mut fresh);
    fresh.get("/console/keys").expect(200);
    before.get("/console/account/two-step").expect(303);
    // The user cannot switch it off; the administrator of the machine can.
    let account = fresh.get("/console/account").expect(200).text();
    assert!(!account.contains("/two-step/off"), "{account}");
    fresh
        .post(
            "/console/account/two-step/off",
            &[("current_password", &password)],
        )
        .expect(409);
    let with = json!({ "user_name": name, "password": password, "code": codes[0] });
    let owner = server.local().post("/v1/sessions", with).expect(201).json();
    let owner = server.bearer(owner["access_token"].as_str().unwrap());
    let path = format!("/v1/users/{name}/authenticators");
    let confirmed = json!({ "current_password": password });
    owner.call("DELETE", &path, Some(&confirmed)).expect(409);
    let said = Line::of(&server).ok(&["user", "authenticators", &name, "--delete", "--yes"]);
    assert!(said.contains("recovery codes"), "{said}");
    fresh.get("/console/keys").expect(303);
    owner.get("/v1/keys").expect(403);
    owner.delete(&sessions).expect(204);
    owner.get("/v1/keys").expect(401);
}

/// A restore deletes the password of a user whose second factor has changed since, and brings the older factor back.
#[test]
fn a_set_up_stores_no_password_beside_a_second_factor() {
    let mut server = Server::start_with(&ALONE, &[]);
    let name = server.owner_user_name.clone();
    enrol(&server.local(), &name);
    let backup = back_up(&server);
    let line = Line::of(&server);
    let delete = ["user", "authenticators", name.as_str(), "--delete", "--yes"];
    line.ok(&delete);
    enrol(&server.local(), &name);
    restore(&mut server, &backup, &[]);
    let set_up = |unset: &Unset| {
        let mut visitor = unset.visitor();
        visitor.get("/console/setup").expect(200);
        let fields = [
            ("code", unset.code.as_deref().unwrap()),
            ("user_name", "ada"),
            ("password", PASSWORD),
            ("password_again", PASSWORD),
        ];
        let status = visitor.send("/console/setup", &fields).status;
        (status, visitor.page)
    };
    let unset = Unset::serve(&server.data);
    let (status, page) = set_up(&unset);
    assert_eq!(status, 422);
    assert!(
        page.contains("Has a second factor") || page.contains("has a second factor"),
        "{page}"
    );
    // The code goes on working, and nothing was stored.
    assert_eq!(set_up(&unset).0, 422);
    drop(unset);
    line.ok(&delete);
    let unset = Unset::serve(&server.data);
    assert_eq!(set_up(&unset).0, 303);
}

#[test]
fn an_unknown_role_in_the_setting_is_refused() {
    let folder = fresh_folder();
    let run = Line::at(&folder).run(&["check-config", "--second-factor-roles", "owner,boss"]);
    let _ = std::fs::remove_dir_all(folder);
    assert_ne!(run.code, Some(0));
    assert!(
        run.stderr.contains("boss") && run.stderr.contains("key_manager"),
        "{}",
        run.stderr
    );
}

#[test]
fn keys_of_a_policy_that_demands_a_second_factor_need_one() {
    let server = Server::start_with(&ALONE, &[]);
    let (admin, local) = (server.admin(), server.local());
    let policy = json!({ "name": "grave", "second_factor": true, "secret_shown": "sealed" });
    let made = admin.post("/v1/policies", policy).expect(201).json();
    assert_eq!(made["second_factor"], true);
    let by_password = json!({ "name": "odd", "second_factor": true, "issued_by": "password" });
    admin.post("/v1/policies", by_password).expect(422);
    // A caller without a second factor cannot remove the rule either.
    admin
        .patch("/v1/policies/grave", json!({ "second_factor": false }))
        .expect(403);

    admin.person("alice", "administrator", "root");
    let alice = sign_in(&server, "alice", None);
    let new = json!({ "name": "k", "policy": "grave" });
    for caller in [&admin, &alice] {
        let refused = caller.post("/v1/keys", new.clone()).expect(403).text();
        assert!(refused.contains("second factor"), "{refused}");
    }
    let (_, codes) = enrol(&alice, "alice");
    let key = alice.post("/v1/keys", new).expect(201).json();
    let path = format!("/v1/keys/{}", key["key"]["id"].as_str().unwrap());
    let each = |caller: &User, status: u16| {
        caller
            .patch(&path, json!({ "description": "x" }))
            .expect(status);
        caller
            .post(&format!("{path}/rotate"), json!({}))
            .expect(status);
        caller
            .post(&format!("{path}/reveal"), json!({}))
            .expect(status);
        // Taking away is never refused.
        caller
            .post(&format!("{path}/disable"), json!({}))
            .expect(200);
        caller
            .post(&format!("{path}/enable"), json!({}))
            .expect(status);
        local.post(&format!("{path}/enable"), json!({})).expect(200);
    };
    each(&admin, 403);
    each(&alice, 200);
    each(&sign_in(&server, "alice", Some(&codes[0])), 200);
    each(&local, 200);
    // A key of the policy does not rotate itself.
    let secret = local.post(&format!("{path}/reveal"), json!({})).json();
    let secret = secret["secret"].as_str().unwrap();
    server
        .bearer(secret)
        .post("/v1/whoami/rotate", json!({}))
        .expect(403);
    // Without the second factor the open session proves nothing any more.
    let off = json!({ "current_password": PASSWORD });
    alice
        .call("DELETE", "/v1/users/alice/authenticators", Some(&off))
        .expect(204);
    each(&alice, 403);
    admin.delete(&path).expect(204);
}

#[test]
fn nothing_is_said_to_be_taken_from_a_user_who_has_nothing() {
    let server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    let line = Line::of(&server);
    let delete = ["user", "authenticators", "alice", "--delete", "--yes"];
    let said = line.ok(&delete);
    assert!(said.contains("has no one-time codes"), "{said}");
    enrol(&server.local(), "alice");
    let said = line.ok(&delete);
    assert!(said.contains("took away"), "{said}");
    let said = line.ok(&delete);
    assert!(said.contains("nothing was taken away"), "{said}");
}

#[test]
fn the_command_line_sets_up_one_time_codes() {
    let server = Server::start_with(&ALONE, &[]);
    server.admin().person("alice", "member", "root");
    let line = Line::of(&server);
    let refused = line.run_with_input(&["user", "authenticators", "alice", "--add"], "000000\n");
    assert!(
        refused.stdout.contains('█') && refused.stdout.contains("enter the secret by hand"),
        "{}",
        refused.stdout
    );
    assert_ne!(refused.code, Some(0));
    assert_eq!(
        server.local().get("/v1/users/alice/authenticators").json()["items"],
        json!([])
    );
    let (_, codes) = enrol(&server.local(), "alice");
    let said = line.ok(&["user", "authenticators", "alice", "--recovery-codes"]);
    let new: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert_eq!(new.len(), 10, "{said}");
    try_sign_in(&server, "alice", Some(&codes[0])).expect(401);
    sign_in(&server, "alice", Some(new[0]));
}
