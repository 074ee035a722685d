//! Tripwires: decoys, secrets that have ended, networks that a key was never used from, and reports of leaks.
//!
//! A server records what was found a moment after its answer, so these tests wait for the event.

mod decoys;
mod leaks;
mod networks;
mod retired;

use crate::support::{Server, User, wait};
use serde_json::{Value, json};

/// The events of an action about a key, the newest first.
fn events(admin: &User, action: &str, id: &str) -> Vec<Value> {
    let page = admin.get(&format!("/v1/audit-events?action={action}&target=key:{id}"));
    page.expect(200).json()["items"].as_array().unwrap().clone()
}

/// Waits for an event of an action about a key, and returns the newest.
#[track_caller]
fn event(admin: &User, action: &str, id: &str) -> Value {
    wait::some(&format!("the event {action} about {id}"), || {
        events(admin, action, id).into_iter().next()
    })
}

/// Waits for a notice of a kind about a key, and returns its facts.
#[track_caller]
fn notice(admin: &User, kind: &str, id: &str) -> Value {
    wait::some(&format!("the notice {kind} about {id}"), || {
        let all = admin.get("/v1/notices").expect(200).json();
        let all = all["items"].as_array().unwrap().clone().into_iter();
        let mut found = all.filter(|notice| notice["kind"] == kind && notice["subject_id"] == id);
        found.next().map(|notice| notice["data"].clone())
    })
}

/// The new value of a member in the changes of an event.
fn changed(event: &Value, member: &str) -> Value {
    event["changes"][member][1].clone()
}

/// A policy of decoys, and a decoy.
fn decoy(server: &Server) -> crate::support::Issued {
    let admin = server.admin();
    let policy = json!({ "name": "decoy", "decoy": true });
    admin.post("/v1/policies", policy).expect(201);
    let catalog = json!({ "name": "old backup", "policy": "decoy", "catalog": "latchkey", "scopes": ["keys:write"] });
    admin.issue(catalog)
}
