//! What people may do to keys that files declare: disable and enable them, and nothing else.

use super::{Files, apply, draw, named, verbs};
use crate::command_line::Line;
use crate::console::Visitor;
use serde_json::json;

#[test]
fn a_declared_key_is_edited_in_its_file_and_nowhere_else() {
    let files = Files::new();
    let drawn = draw("one");
    let path = files.write("10-site.toml", &format!("\n{}", drawn.with("")));
    let server = files.server();
    let place = format!("{}:3", path.display());
    let key = format!("/v1/keys/{}", drawn.id);
    let local = server.local();
    for (response, words) in [
        (
            local.patch(&key, json!({ "description": "x" })),
            "description is declared in",
        ),
        (
            local.patch(&key, json!({ "name": "x", "enabled": false })),
            "name is declared in",
        ),
        (
            local.patch(&key, json!({ "scopes": [] })),
            "scopes is declared in",
        ),
        (
            local.post(&format!("{key}/rotate"), json!({})),
            "latchkey key draw one --id",
        ),
        (local.delete(&key), "take it out there"),
        (
            local.post(
                "/v1/keys/batch",
                json!({ "action": "delete", "ids": [drawn.id] }),
            ),
            "take it out there",
        ),
        (
            server
                .bearer(&drawn.secret)
                .post("/v1/whoami/rotate", json!({})),
            "latchkey key draw one --id",
        ),
    ] {
        let text = response.expect(409).text();
        assert!(text.contains(words) && text.contains(&place), "{text}");
    }
    assert_eq!(apply(&server), Vec::<String>::new());
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");

    let mut owner = Visitor::owner(&server);
    let page = owner
        .get(&format!("/console/keys/{}", drawn.id))
        .expect(200)
        .text();
    assert!(page.contains(&format!("from {place}")), "{page}");
    for action in ["edit", "rotate", "delete"] {
        assert!(!page.contains(&format!("/{action}\"")), "{action}");
    }
    assert!(page.contains("/disable\""));
    let page = owner
        .get(&format!("/console/keys/{}/edit", drawn.id))
        .expect(200)
        .text();
    assert!(page.contains(&format!("from {place}")) && !page.contains("name=\"description\""));
}

#[test]
fn disabling_by_hand_sticks_until_the_key_is_enabled_by_hand() {
    let files = Files::new();
    let drawn = draw("one");
    files.write("10.toml", &drawn.with(""));
    let mut server = files.server();
    let switch = |server: &crate::support::Server, verb: &str| {
        let path = format!("/v1/keys/{}/{verb}", drawn.id);
        server.local().post(&path, json!({})).expect(200);
    };
    let verdict = |server: &crate::support::Server| server.anonymous().verdict(&drawn.secret);
    switch(&server, "disable");
    assert_eq!(apply(&server), Vec::<String>::new());
    server.restart();
    assert_eq!(verdict(&server), "DISABLED");
    files.write("10.toml", &drawn.with("description = \"new\""));
    assert_eq!(apply(&server), ["edit one"]);
    assert_eq!(named(&server, "one")["description"], "new");
    assert_eq!(verdict(&server), "DISABLED", "the file does not undo it");
    let drift = Line::of(&server).run(&["keys", "drift"]);
    assert_eq!(drift.code, Some(1));
    let words = format!("latchkey key enable {}", drawn.id);
    assert!(drift.stdout.contains(&words), "{drift:?}");

    switch(&server, "enable");
    assert_eq!(verdict(&server), "VALID");
    server.restart();
    assert_eq!(verdict(&server), "VALID");
    assert_eq!(Line::of(&server).run(&["keys", "drift"]).code, Some(0));

    // What the file disables can be enabled by hand only until the file is applied again.
    files.write("10.toml", &drawn.with("enabled = false"));
    assert_eq!(apply(&server), ["edit one"]);
    switch(&server, "enable");
    assert_eq!(verdict(&server), "VALID");
    server.restart();
    assert_eq!(verdict(&server), "DISABLED");
}

#[test]
fn a_key_that_ended_by_its_own_secret_stays_ended() {
    let files = Files::new();
    let (ended, other) = (draw("ended"), draw("other"));
    files.write("10.toml", &(ended.with("") + &other.with("")));
    let mut server = files.server();
    let token = format!("token={}", ended.secret);
    let form = "application/x-www-form-urlencoded";
    server
        .bearer(&ended.secret)
        .send("POST", "/v1/revoke", form, token.as_bytes())
        .expect(200);
    assert_eq!(server.anonymous().verdict(&ended.secret), "NOT_FOUND");
    let event = server.local().newest_event()["seq"].clone();
    server.restart();
    assert_eq!(server.anonymous().verdict(&ended.secret), "NOT_FOUND");

    // It holds up nothing else.
    files.write(
        "10.toml",
        &(ended.with("") + &other.with("description = \"x\"")),
    );
    let applied = Line::of(&server).json(&["keys", "apply"]);
    assert_eq!(verbs(&applied), ["edit other"]);
    let warning = applied["warnings"][0]["reason"].as_str().unwrap();
    assert!(
        warning.contains(&format!("(event {event}); draw a new secret")),
        "{warning}"
    );
    let doctor = Line::of(&server).json(&["doctor"]);
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "files of keys")
        .unwrap();
    assert_eq!(check["finding"], "warning");
    assert!(
        check["text"]
            .as_str()
            .unwrap()
            .contains("10.toml:2: digest was ended"),
        "{check}"
    );
}

#[test]
fn a_released_key_is_edited_by_hand_again() {
    let files = Files::new();
    let drawn = draw("one");
    files.write("10.toml", &drawn.with(""));
    let server = files.server();
    files.write("10.toml", "");
    assert_eq!(apply(&server), ["release one"]);
    let local = server.local();
    local.edit(&drawn.id, json!({ "description": "by hand" }));
    let rotated = local.rotate(&drawn.id, json!({}));
    assert_eq!(server.anonymous().verdict(&rotated.secret), "VALID");
    // Back in the file, the rotated digest does not count.
    files.write("10.toml", &drawn.with(""));
    let applied = Line::of(&server).json(&["keys", "apply"]);
    let warning = applied["warnings"][0]["reason"].as_str().unwrap();
    assert!(warning.starts_with("digest was ended"), "{warning}");
    assert_eq!(server.anonymous().verdict(&drawn.secret), "NOT_FOUND");
    local.delete(&format!("/v1/keys/{}", drawn.id)).expect(204);
}
