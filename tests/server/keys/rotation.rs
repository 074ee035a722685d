//! Rotation: the key gets a new secret, and the old secret ends at an exact time.
//!
//! The boundary to the millisecond (attacks 140) is a unit test with a fixed clock: `domain::key::live`.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, wait};

#[test]
fn without_grace_the_old_secret_ends_with_the_rotation() {
    let server = Server::start();
    let admin = server.admin();
    let old = admin
        .issue(json!({ "name": "k", "scopes": ["a"], "metadata": { "x": 1 }, "prefix": "acme" }));
    let path = format!("/v1/keys/{}/rotate", old.id);
    for body in [
        None,
        Some(json!({})),
        Some(json!({ "grace_s": 0 })),
        Some(json!({ "grace_s": null })),
    ] {
        let before = admin.key(&old.id);
        let rotated = admin.call("POST", &path, body.as_ref()).expect(200).json();
        let secret = rotated["secret"].as_str().unwrap();
        assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
        assert_eq!(admin.verdict(secret), "VALID");
        assert!(secret.starts_with("acme_"), "the prefix stays");
        let hint = format!("acme_{}…{}", old.id, &secret[secret.len() - 4..]);
        assert_eq!(rotated["key"]["hint"], hint.as_str());
        assert!(rotated["key"]["rotated_at"].is_string());
        for member in [
            "id",
            "name",
            "scopes",
            "metadata",
            "created_at",
            "created_by",
            "workspace",
            "state",
        ] {
            assert_eq!(rotated["key"][member], before[member], "{member}");
        }
    }
}

/// attacks 140
#[test]
fn within_the_grace_period_both_secrets_work_and_then_only_the_new_one() {
    let server = Server::start();
    let admin = server.admin();
    let grace_s = 2;
    let (old, new, verdicts) = wait::quick_run(Duration::from_secs(grace_s), || {
        let old = admin.issue(json!({ "name": "k" }));
        let new = admin.rotate(&old.id, json!({ "grace_s": grace_s }));
        let secrets = [&old.secret, &new.secret, &old.secret];
        let verdicts = secrets.map(|secret| admin.verdict(secret));
        (old, new, verdicts)
    });
    assert_eq!(
        (new.id.as_str(), new.secret == old.secret),
        (old.id.as_str(), false)
    );
    assert_eq!(verdicts, ["VALID"; 3]);
    wait::until("the grace period is over", || {
        admin.verdict(&old.secret) == "NOT_FOUND"
    });
    assert_eq!(admin.verdict(&new.secret), "VALID");
    // The grace period is over, so the next rotation may have one again.
    admin.rotate(&old.id, json!({ "grace_s": 60 }));
}

#[test]
fn until_first_use_the_old_secret_works_and_the_first_use_survives_a_crash() {
    let mut server = Server::start();
    let admin = server.admin();
    let old = admin.issue(json!({ "name": "k" }));
    let new = admin.rotate(&old.id, json!({ "until_first_use": true }));
    assert_eq!(admin.verdict(&old.secret), "VALID");
    server.kill9();
    server.restart();
    assert_eq!(
        admin.verdict(&old.secret),
        "VALID",
        "it waits for the first use"
    );
    assert_eq!(admin.verdict(&new.secret), "VALID");
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
    assert_eq!(admin.newest_event()["action"], "key.rotation_complete");
    server.kill9();
    server.restart();
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
    assert_eq!(admin.verdict(&new.secret), "VALID");
}

/// attacks 141
#[test]
fn at_most_two_secrets_of_a_key_ever_work() {
    let server = Server::start();
    let admin = server.admin();
    let first = admin.issue(json!({ "name": "k" }));
    let path = format!("/v1/keys/{}/rotate", first.id);
    let second = admin.rotate(&first.id, json!({ "grace_s": 60 }));
    for body in [json!({ "grace_s": 60 }), json!({ "until_first_use": true })] {
        admin.post(&path, body).refused(409, "conflict");
    }
    let third = admin.rotate(&first.id, json!({}));
    for (secret, code) in [
        (&first, "NOT_FOUND"),
        (&second, "NOT_FOUND"),
        (&third, "VALID"),
    ] {
        assert_eq!(admin.verdict(&secret.secret), code);
    }
    let brief = admin.issue(json!({ "name": "brief", "expires_in_s": 1 }));
    wait::until("the key has expired", || {
        admin.verdict(&brief.secret) == "EXPIRED"
    });
    let ended = admin.post(&format!("/v1/keys/{}/rotate", brief.id), json!({}));
    ended.refused(409, "conflict");
    let off = admin.issue(json!({ "name": "off", "enabled": false }));
    let rotated = admin.rotate(&off.id, json!({}));
    assert_eq!(
        admin.verdict(&rotated.secret),
        "DISABLED",
        "a rotation switches nothing on"
    );
}

/// attacks 144
#[test]
fn delete_and_disable_reach_both_secrets_of_a_rotation() {
    let server = Server::start();
    let admin = server.admin();
    for (call, code) in [("disable", "DISABLED"), ("", "NOT_FOUND")] {
        let old = admin.issue(json!({ "name": "k" }));
        let new = admin.rotate(&old.id, json!({ "grace_s": 60 }));
        let path = format!("/v1/keys/{}", old.id);
        match call {
            "" => admin.delete(&path).expect(204),
            call => admin.post(&format!("{path}/{call}"), json!({})).expect(200),
        };
        for secret in [&old.secret, &new.secret] {
            assert_eq!(admin.verdict(secret), code);
        }
    }
    // RFC 7009, section 2: revoking either secret deletes the key.
    let old = admin.issue(json!({ "name": "k" }));
    let new = admin.rotate(&old.id, json!({ "grace_s": 60 }));
    let form = format!("token={}", old.secret);
    admin
        .send(
            "POST",
            "/v1/revoke",
            "application/x-www-form-urlencoded",
            form.as_bytes(),
        )
        .expect(200);
    assert_eq!(admin.verdict(&new.secret), "NOT_FOUND");
}
