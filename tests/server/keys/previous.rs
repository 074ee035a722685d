//! The secret before the newest: everybody who sees the key sees whether it still works, and who manages the key ends it.

use serde_json::{Value, json};

use crate::support::{Server, wait};

fn previous(server: &Server, id: &str) -> Value {
    server.admin().key(id)["previous"].clone()
}

#[test]
fn a_key_tells_which_old_secret_still_works_until_when_and_when_it_was_used() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    assert_eq!(previous(&server, &old.id), Value::Null);
    // A use before the rotation does not show which programs still have to change.
    assert_eq!(admin.verdict(&old.secret), "VALID");
    let hint = admin.key(&old.id)["hint"].clone();
    let new = admin.rotate(&old.id, json!({ "grace_s": 3_600 }));
    let shown = previous(&server, &old.id);
    assert_eq!(shown["hint"], hint);
    assert_eq!(shown["until_first_use"], false);
    assert_eq!(shown["last_used_at"], Value::Null);
    assert!(shown["until"].as_str() > admin.key(&old.id)["rotated_at"].as_str());
    assert_eq!(admin.newest_event()["changes"]["grace_s"][1], "3600");

    assert_eq!(admin.verdict(&new.secret), "VALID");
    assert_eq!(previous(&server, &old.id)["last_used_at"], Value::Null);
    assert_eq!(admin.verdict(&old.secret), "VALID");
    let used = previous(&server, &old.id)["last_used_at"].clone();
    assert!(used.is_string());
    // The list shows the same, and so does the file after a restart.
    let listed = admin.get("/v1/keys").expect(200).json();
    let items = listed["items"].as_array().unwrap();
    let listed = items.iter().find(|key| key["id"] == old.id.as_str());
    assert_eq!(listed.unwrap()["previous"]["last_used_at"], used);

    let mut server = server;
    server.stop();
    server.restart();
    let shown = previous(&server, &old.id);
    assert_eq!((&shown["hint"], &shown["last_used_at"]), (&hint, &used));
    // A rotation without grace ends both, and there is none any more.
    server.admin().rotate(&old.id, json!({}));
    assert_eq!(previous(&server, &old.id), Value::Null);
    let event = server.admin().newest_event();
    assert_eq!(event["changes"]["grace_s"][1], "0");
}

#[test]
fn until_first_use_is_told_and_over_with_the_first_use() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    let new = admin.rotate(&old.id, json!({ "until_first_use": true }));
    assert_eq!(previous(&server, &old.id)["until_first_use"], true);
    assert_eq!(admin.verdict(&new.secret), "VALID");
    assert_eq!(previous(&server, &old.id), Value::Null);
}

#[test]
fn an_old_secret_whose_time_is_over_is_not_shown() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    admin.rotate(&old.id, json!({ "grace_s": 1 }));
    wait::until("the grace period is over", || {
        previous(&server, &old.id) == Value::Null
    });
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
}

#[test]
fn the_old_secret_is_ended_at_once_and_for_good_and_the_new_one_stays() {
    let mut server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    let path = format!("/v1/keys/{}/previous", old.id);
    // Nothing to end: nothing happens.
    let before = admin.newest_event()["seq"].clone();
    admin.delete(&path).expect(204);
    assert_eq!(admin.newest_event()["seq"], before);

    let hint = admin.key(&old.id)["hint"].clone();
    let new = admin.rotate(&old.id, json!({ "grace_s": 3_600 }));
    assert_eq!(admin.verdict(&old.secret), "VALID");
    for _ in 0..2 {
        admin.delete(&path).expect(204);
        assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
        assert_eq!(admin.verdict(&new.secret), "VALID");
        let event = admin.newest_event();
        assert_eq!(event["action"], "key.rotation_complete");
        assert_eq!(event["changes"]["previous"], json!([hint, ""]));
    }
    server.kill9();
    server.restart();
    let admin = server.admin();
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
    assert_eq!(admin.verdict(&new.secret), "VALID");
    admin.delete(&format!("/v1/keys/{}", old.id)).expect(204);
    admin.delete(&path).refused(409, "conflict");
    admin
        .delete("/v1/keys/0000000000/previous")
        .refused(404, "not-found");
}

/// Ending a secret gives nothing, so a caller who may stop a dangerous management key may do this too, without the
/// rights of the key.
#[test]
fn whoever_may_disable_a_key_may_end_its_old_secret_and_nobody_else() {
    let server = Server::start();
    let admin = server.admin();
    let management = admin.issue(json!({
        "name": "m", "catalog": "latchkey", "scopes": ["server:admin", "keys:write", "keys:read"],
    }));
    admin.rotate(&management.id, json!({ "grace_s": 3_600 }));
    let path = format!("/v1/keys/{}/previous", management.id);
    admin.person("looks", "auditor", "root");
    admin.person("manages", "key_manager", "root");
    let looks = server
        .anonymous()
        .signed_in("looks", crate::support::PASSWORD);
    let manages = server
        .anonymous()
        .signed_in("manages", crate::support::PASSWORD);
    looks.delete(&path).refused(403, "forbidden");
    assert_eq!(admin.verdict(&management.secret), "VALID");
    let rotate = format!("/v1/keys/{}/rotate", management.id);
    manages.post(&rotate, json!({})).refused(403, "forbidden");
    manages.delete(&path).expect(204);
    assert_eq!(admin.verdict(&management.secret), "NOT_FOUND");
}
