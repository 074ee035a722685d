//! Metadata is part of every verdict: who may set it, and which numbers it may contain.

use serde_json::{Value, json};

use crate::command_line::Line;
use crate::support::{PASSWORD, Server};

/// finding A2
#[test]
fn metadata_is_set_by_whoever_may_issue_the_key_and_not_by_its_holder() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    admin.person("kim", "key_manager", "emea");
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    let kim = server.anonymous().signed_in("kim", PASSWORD);
    let plan = |name: &str| json!({ "metadata": { "plan": name } });
    let told = |secret: &str| admin.verify(json!({ "key": secret }))["metadata"].clone();
    let given = json!({ "name": "given", "owner": "alice", "workspace": "emea", "metadata": { "plan": "free" } });
    let mut scoped = given.clone();
    scoped["scopes"] = json!(["app:read"]);
    for body in [given, scoped] {
        let key = admin.issue(body);
        let path = format!("/v1/keys/{}", key.id);
        for edit in [
            plan("gold"),
            json!({ "metadata": null }),
            json!({ "name": "x", "metadata": {} }),
        ] {
            alice.patch(&path, edit).refused(403, "forbidden");
        }
        // Alice may send unchanged metadata, and may change the name and the description.
        alice.patch(&path, plan("free")).expect(200);
        alice.edit(&key.id, json!({ "name": "mine", "description": "d" }));
        // Alice cannot change the metadata through a management key of her own, either.
        let tool = json!({ "name": "tool", "catalog": "latchkey", "scopes": ["keys:write"], "workspace": "emea" });
        let tool = server.bearer(&alice.issue(tool).secret);
        tool.patch(&path, plan("gold")).refused(403, "forbidden");
        assert_eq!(told(&key.secret), json!({ "plan": "free" }));
        kim.edit(&key.id, plan("gold"));
        assert_eq!(told(&key.secret), json!({ "plan": "gold" }));
    }
    // For a key that Alice may issue, she may also set the metadata.
    let own = alice.issue(json!({ "name": "own", "workspace": "emea", "metadata": { "a": 1 } }));
    alice.edit(&own.id, json!({ "metadata": { "a": 2 } }));
    assert_eq!(told(&own.secret), json!({ "a": 2 }));
    // Kim issued this key with permissions that she has lost since, so she may not change its metadata.
    let scoped =
        json!({ "name": "s", "owner": "kim", "workspace": "emea", "scopes": ["app:read"] });
    let scoped = kim.issue(scoped);
    let roles = json!({ "roles": [{ "workspace": "emea", "role": "member" }] });
    admin.put("/v1/users/kim/roles", roles).expect(200);
    kim.patch(&format!("/v1/keys/{}", scoped.id), plan("gold"))
        .refused(403, "forbidden");
}

/// finding A2
#[test]
fn no_key_edits_its_own_metadata() {
    let server = Server::start();
    let admin = server.admin();
    let scopes = json!(["keys:write", "server:admin"]);
    let key = admin.issue(json!({ "name": "m", "catalog": "latchkey", "scopes": scopes }));
    let own = server.bearer(&key.secret);
    let path = format!("/v1/keys/{}", key.id);
    own.patch(&path, json!({ "metadata": { "a": 1 } }))
        .refused(403, "forbidden");
    own.patch(&path, json!({ "name": "n", "metadata": { "a": 1 } }))
        .refused(403, "forbidden");
    own.edit(&key.id, json!({ "name": "n", "description": "d" }));
    assert_eq!(admin.key(&key.id)["metadata"], json!({}));
}

/// finding L6
#[test]
fn numbers_that_programs_read_differently_are_refused_and_never_altered() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.issue(json!({ "name": "k", "metadata": { "kept": 1 } }));
    let path = format!("/v1/keys/{}", key.id);
    let send = |method: &str, path: &str, metadata: &str| {
        let body = format!("{{\"name\":\"k\",\"metadata\":{metadata}}}");
        admin.send(method, path, "application/json", body.as_bytes())
    };
    for number in [
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
        "9007199254740993",
        "18446744073709551615",
        "1.2345678901234568e+29",
        "1e400",
        "-1e400",
        "1e-400",
        "0.1234567890123456789",
        "3.141592653589793238",
        "-0",
        "-0.0",
    ] {
        for (metadata, field) in [
            (format!("{{\"a\":{number}}}"), "metadata.a"),
            (
                format!("{{\"b\":[1,{{\"c\":{number}}}]}}"),
                "metadata.b[1].c",
            ),
        ] {
            send("POST", "/v1/keys", &metadata).refused_field(field);
            send("PATCH", &path, &metadata).refused_field(field);
        }
    }
    assert_eq!(admin.key(&key.id)["metadata"], json!({ "kept": 1 }));
    for number in [
        "0",
        "9007199254740992",
        "-9007199254740992",
        "0.1",
        "1.50",
        "1e3",
        "2.5e-7",
        "123456.789012345",
    ] {
        let answer = send("PATCH", &path, &format!("{{\"a\":{number}}}"))
            .expect(200)
            .json();
        let asked: f64 = number.parse().unwrap();
        assert_eq!(answer["metadata"]["a"].as_f64(), Some(asked), "{number}");
    }
    // As a text, any number is accepted.
    let text = send("PATCH", &path, r#"{"a":"123456789012345678901234567890"}"#);
    assert_eq!(
        text.expect(200).json()["metadata"]["a"],
        "123456789012345678901234567890"
    );
    let line = Line::of(&server);
    let big = r#"{"a":{"b":123456789012345678901}}"#;
    for args in [
        vec!["key", "issue", "k", "--metadata", big],
        vec!["key", "edit", &key.id, "--metadata", big],
    ] {
        let said = line.refused(&args, 2);
        assert!(said.contains("a.b"), "{said}");
    }
    let edited: Value = line.json(&[
        "key",
        "edit",
        &key.id,
        "--metadata",
        r#"{"a":9007199254740992}"#,
    ]);
    assert_eq!(
        edited["metadata"],
        json!({ "a": 9_007_199_254_740_992_u64 })
    );
}
