//! `POST /v1/keys/import`.

use super::{digest, lines};
use crate::support::{Server, User, wait};
use serde_json::{Value, json};

const JSON_LINES: &str = "application/jsonl";

#[track_caller]
fn import(user: &User, query: &str, body: &str) -> Value {
    let path = format!("/v1/keys/import?source=kong{query}");
    let answer = user.send("POST", &path, JSON_LINES, body.as_bytes());
    answer.expect(200).json()
}

fn counts(report: &Value) -> [u64; 3] {
    ["taken", "present", "refused"].map(|name| report[name].as_u64().unwrap())
}

fn imports(admin: &User) -> Vec<Value> {
    let events = admin.get("/v1/audit-events?action=key.import&limit=500");
    events.expect(200).json()["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn clients_go_on_with_the_secrets_that_they_have() {
    let server = Server::start();
    let admin = server.admin();
    let body = lines(1..=3);
    let dry = import(&admin, "&dry_run=true", &body);
    assert_eq!(counts(&dry), [3, 0, 0], "{dry}");
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], false);
    assert!(imports(&admin).is_empty());

    let report = import(&admin, "&policy=standard", &body);
    assert_eq!(counts(&report), [3, 0, 0], "{report}");
    assert_eq!(report["groups"][0]["scheme"], "sha256");
    for secret in ["secret 1", "secret 2", "secret 3"] {
        assert_eq!(
            admin.verify(json!({ "key": secret }))["valid"],
            true,
            "{secret}"
        );
    }
    // Neither the digest nor its text form is a secret.
    for stored in [digest("secret 1"), digest("secret 1")[7..].to_owned()] {
        assert_eq!(admin.verify(json!({ "key": stored }))["valid"], false);
    }
    let keys = admin.get("/v1/keys?q=%22key%201%22").expect(200).json();
    let key = &keys["items"][0];
    assert_eq!(
        (&key["source"], &key["weak"]),
        (&json!("import:kong"), &json!(true))
    );
    // Once a key was used, its digest is replaced, and a second import still knows it.
    assert_eq!(counts(&import(&admin, "", &lines(1..=4))), [1, 3, 0]);
    assert_eq!(imports(&admin).len(), 2);
    let id = key["id"].as_str().unwrap();
    let rotated = admin.post(&format!("/v1/keys/{id}/rotate"), json!({}));
    assert!(rotated.expect(200).json()["key"]["weak"].is_null());
    let doctor = admin.get("/v1/doctor").expect(200).json();
    let checks = doctor["checks"].as_array().unwrap();
    let keys = checks.iter().find(|it| it["name"] == "keys and audit log");
    assert_eq!(keys.unwrap()["finding"], "ok", "{doctor}");
}

#[test]
fn what_is_refused_is_named_by_its_line_and_the_rest_is_taken() {
    let server = Server::start();
    let admin = server.admin();
    let body = format!(
        "{}{{\"line\":70,\"name\":\"again\",\"digest\":\"{}\"}}\n{{\"line\":80,\"name\":\"weak\",\"digest\":\"md5:{}\"}}\n",
        lines(1..=2),
        digest("secret 1"),
        "ab".repeat(16),
    );
    let report = import(&admin, "", &body);
    assert_eq!(counts(&report), [1, 0, 3], "{report}");
    let problems = report["problems"].as_array().unwrap();
    let told: Vec<(u64, &str)> = problems
        .iter()
        .map(|it| (it["line"].as_u64().unwrap(), it["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told[0].0, 1);
    assert!(
        told[0].1.contains("line 70 has the same digest"),
        "{told:?}"
    );
    assert!(told[1].1.contains("line 1 has the same digest"), "{told:?}");
    assert!(told[2].1.contains("MD5"), "{told:?}");
}

#[test]
fn a_body_that_is_wrong_as_a_whole_changes_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let send = |path: &str, media_type: &str, body: &str| {
        admin.send(
            "POST",
            &format!("/v1/keys/import{path}"),
            media_type,
            body.as_bytes(),
        )
    };
    let good = lines(1..=1);
    for (path, media_type, body, status, words) in [
        ("", JSON_LINES, good.as_str(), 400, "source is needed"),
        ("?source=Kong", JSON_LINES, &good, 422, "source"),
        (
            "?source=x&file_sha256=ab",
            JSON_LINES,
            &good,
            422,
            "64 hexadecimal",
        ),
        (
            "?source=x&dry_run=yes",
            JSON_LINES,
            &good,
            400,
            "true or false",
        ),
        (
            "?source=x&more=1",
            JSON_LINES,
            &good,
            400,
            "no parameter more",
        ),
        (
            "?source=x&workspace=nowhere",
            JSON_LINES,
            &good,
            404,
            "workspace",
        ),
        (
            "?source=x&policy=nothing",
            JSON_LINES,
            &good,
            422,
            "nothing",
        ),
        ("?source=x", "text/plain", &good, 415, "application/jsonl"),
        ("?source=x", JSON_LINES, "", 400, "empty"),
        ("?source=x", JSON_LINES, &format!("{good}{{"), 400, "line 2"),
        (
            "?source=x",
            JSON_LINES,
            &format!("{good}{{\"name\":\"a\"}}"),
            400,
            "line 2: digest",
        ),
        (
            "?source=x",
            JSON_LINES,
            &good.replace("digest", "secret"),
            400,
            "digest: is needed",
        ),
    ] {
        let answer = send(path, media_type, body).expect(status);
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    assert!(imports(&admin).is_empty());
    assert_eq!(admin.verify(json!({ "key": "secret 1" }))["valid"], false);
}

#[test]
fn the_size_of_an_import_has_a_limit() {
    let server = Server::start();
    let admin = server.admin();
    // Blanks between two lines make a body of any size.
    let padded = |bytes: usize| {
        let body = lines(1..=1);
        " ".repeat(bytes - body.len() - 1) + "\n" + &body
    };
    let most = padded(64 << 20);
    let path = "/v1/keys/import?source=x&dry_run=true";
    admin
        .send("POST", path, JSON_LINES, most.as_bytes())
        .expect(200);
    let more = format!("{most} ");
    admin
        .send("POST", path, JSON_LINES, more.as_bytes())
        .expect(413);
    // Who manages the keys of one workspace alone sends small ones.
    admin.workspace("emea", "root");
    let manager = json!({
        "name": "m", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"], "workspace": "emea",
    });
    let manager = server.bearer(&admin.issue(manager).secret);
    let small = padded(64 << 10);
    let path = format!("{path}&workspace=emea");
    manager
        .send("POST", &path, JSON_LINES, small.as_bytes())
        .expect(200);
    manager
        .send("POST", &path, JSON_LINES, padded((64 << 10) + 1).as_bytes())
        .expect(413);
}

#[test]
fn a_caller_imports_where_they_manage_keys_and_pays_for_each_thousand() {
    let server = Server::start_with(&["--changes-per-second", "1", "--changes-burst", "3"], &[]);
    let admin = server.admin();
    admin.workspace("emea", "root");
    let manager = json!({
        "name": "m", "catalog": "latchkey", "scopes": ["keys:read", "keys:write"], "workspace": "emea",
    });
    let id = admin.issue(manager.clone());
    let manager = server.bearer(&id.secret);
    // The workspace that is not visible does not exist.
    let path = "/v1/keys/import?source=x&workspace=root";
    manager
        .send("POST", path, JSON_LINES, lines(1..=1).as_bytes())
        .expect(404);
    let reader = json!({ "name": "r", "catalog": "latchkey", "scopes": ["keys:read"] });
    let reader = server.bearer(&admin.issue(reader).secret);
    let path = "/v1/keys/import?source=x";
    reader
        .send("POST", path, JSON_LINES, lines(1..=1).as_bytes())
        .expect(403);
    let denied = imports(&admin);
    assert_eq!((denied.len(), &denied[0]["outcome"]), (1, &json!("denied")));

    // Each request below 64 KiB is one change, and three are permitted at once.
    let mut taken = 0;
    let refused = (0..10).find_map(|part| {
        let body = lines(part * 300 + 1..=part * 300 + 300);
        let answer = manager.send("POST", path, JSON_LINES, body.as_bytes());
        taken += u64::from(answer.status == 200);
        (answer.status == 429).then_some(answer)
    });
    let refused = refused.expect("the budget is spent");
    assert!(refused.header("retry-after").is_some());
    assert!((3..=9).contains(&taken), "{taken}");
    // What takes away is free.
    let own = manager.get("/v1/keys?limit=2").expect(200).json();
    let other = own["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["id"] != id.id.as_str());
    let other = other.unwrap()["id"].as_str().unwrap();
    manager.delete(&format!("/v1/keys/{other}")).expect(204);
}

#[test]
fn an_import_that_is_killed_leaves_whole_thousands_and_goes_on_when_it_is_repeated() {
    let mut server = Server::start();
    let body = lines(1..=20_000);
    let local = server.local();
    let sending = {
        let (local, body) = (local.clone(), body.clone());
        std::thread::spawn(move || {
            local.try_send(
                "POST",
                "/v1/keys/import?source=x",
                JSON_LINES,
                body.as_bytes(),
            );
        })
    };
    wait::until("the first thousand is written", || {
        !imports(&local).is_empty()
    });
    server.kill9();
    sending.join().unwrap();
    server.restart();
    server.wait_until_ready();
    let local = server.local();
    let events = imports(&local);
    let written = 1_000 * events.len() as u64;
    let report = import(&local, "", &body);
    assert_eq!(counts(&report), [20_000 - written, written, 0], "{report}");
    assert_eq!(counts(&import(&local, "", &body)), [0, 20_000, 0]);
    for secret in ["secret 1", "secret 20000"] {
        assert_eq!(local.verify(json!({ "key": secret }))["valid"], true);
    }
}

#[test]
fn a_weak_key_never_comes_to_manage_this_server() {
    let server = Server::start();
    let admin = server.admin();
    let line = json!({
        "name": "m", "digest": digest("secret 1"), "catalog": "latchkey", "scopes": ["keys:read"],
    });
    let report = import(&admin, "", &line.to_string());
    assert_eq!(counts(&report), [0, 0, 1]);
    assert!(
        report["problems"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("manage this server")
    );
    import(&admin, "", &lines(1..=1));
    server.bearer("secret 1").get("/v1/whoami").expect(401);
    let id = admin.get("/v1/keys?q=%22key%201%22").expect(200).json()["items"][0]["id"].clone();
    let path = format!("/v1/keys/{}", id.as_str().unwrap());
    admin
        .patch(&path, json!({ "catalog": "latchkey" }))
        .expect(422);
    admin.edit(id.as_str().unwrap(), json!({ "scopes": ["keys:write"] }));
    server.bearer("secret 1").get("/v1/keys").expect(401);
}
