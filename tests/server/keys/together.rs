//! Edits of one key by several people.

use serde_json::json;

use crate::support::{Server, together};

/// attacks 129: an edit names the members that it changes, and does not affect members that others edit at the same
/// time.
#[test]
fn edits_of_different_members_at_once_all_hold() {
    let server = Server::start();
    let admin = server.admin();
    let id = admin.issue(json!({ "name": "k" })).id;
    for round in 0..10 {
        let edits = [
            json!({ "name": format!("n{round}") }),
            json!({ "description": format!("d{round}") }),
            json!({ "metadata": { "round": round } }),
            json!({ "read_only": round % 2 == 0 }),
        ];
        together(edits.len(), |own| admin.edit(&id, edits[own].clone()));
        let key = admin.key(&id);
        for edit in &edits {
            for (member, value) in edit.as_object().unwrap() {
                assert_eq!(key[member], *value, "{member} in round {round}");
            }
        }
    }
}

/// attacks 129: a condition that the server cannot check does not count as true.
#[test]
fn an_edit_under_a_condition_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let id = admin.issue(json!({ "name": "k" })).id;
    let before = admin.key(&id);
    let path = format!("/v1/keys/{id}");
    assert_eq!(admin.get(&path).header("etag"), None);
    for condition in ["\"stale\"", "*"] {
        let careful = admin.clone().with("If-Match", condition);
        careful
            .patch(&path, json!({ "name": "lost" }))
            .refused(409, "conflict");
        careful.delete(&path).refused(409, "conflict");
        let catalog = careful.put("/v1/catalogs/shop", json!({}));
        catalog.refused(409, "conflict");
        let rotated = careful.post(&format!("{path}/rotate"), json!({}));
        rotated.refused(409, "conflict");
        let batch = json!({ "action": "delete", "ids": [id] });
        careful
            .post("/v1/keys/batch", batch)
            .refused(409, "conflict");
        careful.get(&path).expect(200);
    }
    assert_eq!(admin.key(&id), before);
    let stranger = server.anonymous().with("If-Match", "*");
    stranger.delete(&path).refused(401, "unauthenticated");
}

/// A contact of blanks alone would show as an empty line.
#[test]
fn a_contact_begins_and_ends_with_a_visible_character() {
    let server = Server::start();
    let admin = server.admin();
    for contact in [" ", " ops", "ops "] {
        let body = json!({ "name": "k", "contact": contact });
        admin.post("/v1/keys", body).refused(422, "invalid-field");
    }
    admin.issue(json!({ "name": "k", "contact": "ops" }));
}
