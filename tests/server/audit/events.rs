//! The content of the events of changes and of denied attempts.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};

/// Runs `act` and returns the one event that it causes.
#[track_caller]
fn event_of(admin: &User, act: impl FnOnce()) -> Value {
    let before = admin.newest_event()["seq"].as_i64().unwrap();
    act();
    let event = admin.newest_event();
    assert_eq!(
        event["seq"].as_i64().unwrap(),
        before + 1,
        "exactly one event: {event}"
    );
    event
}

/// attacks 201: text from any client stays plain text in the audit log and in the log, with one line for each event.
#[test]
fn lines_and_escapes_from_strangers_are_inert() {
    let server = Server::start();
    let admin = server.admin();
    let forged = "eve\r\n[2027-01-01T00:00:00Z ERROR latchkey] forged\u{1b}[2J\u{2028}\u{202e}\"";
    let body = json!({ "user_name": forged, "password": "x" });
    server.anonymous().post("/v1/sessions", body);
    admin.get(&format!("/v1/keys/{}", "%0d%0aforged%1b%5b2J"));
    let strange = admin.clone().with("User-Agent", "a\tforged\u{9b}2J");
    strange.get("/nothing%0aforged");
    admin.post("/v1/policies", json!({ "name": forged }));
    let stranger =
        admin.issue(json!({ "name": "m", "catalog": "latchkey", "scopes": ["keys:read"] }));
    let stranger = server.bearer(&stranger.secret);
    stranger.put("/v1/catalogs/%0d%0aforged%1b%5b2J", json!({}));
    admin.issue(json!({ "name": "=forged+\"," }));

    for format in ["jsonl", "csv"] {
        let export = admin.get(&format!("/v1/audit-events?format={format}"));
        let text = export.expect(200).text();
        for line in text.lines() {
            let inert = |c: char| !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}');
            assert!(line.chars().all(inert), "{line:?}");
            assert!(!line.starts_with("[2027"), "{line:?}");
            if format == "jsonl" {
                let event: Value = serde_json::from_str(line).unwrap();
                assert!(event["seq"].is_u64());
            }
        }
    }
    let log = server.log();
    assert!(!log.contains("forged"), "{log}");
    let escapes = log.chars().filter(|c| c.is_control() && *c != '\n');
    assert_eq!(escapes.count(), 0, "{log:?}");
}

/// attacks 193: an export has no file name, so no name from a client can occur in a header.
#[test]
fn an_export_names_no_file() {
    let server = Server::start();
    let export = server.admin().get("/v1/audit-events?format=csv");
    assert_eq!(export.expect(200).header("content-disposition"), None);
}

/// attacks 208
#[test]
fn every_change_leaves_one_event_with_who_what_where_and_how() {
    let server = Server::start();
    let admin = server.admin();
    let me = admin.get("/v1/whoami").json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let named = admin.clone().with("X-Forwarded-For", "192.0.2.44");
    let call = |method: &str, path: &str, body: Value| {
        let response = named.call(method, path, Some(&body).filter(|body| !body.is_null()));
        assert!(response.status < 300, "{}", response.exchange());
        response
    };
    let key = named.issue(json!({ "name": "k", "scopes": ["a"], "uses_left": 5 }));
    let path = |rest: &str| format!("/v1/keys/{}{rest}", key.id);
    let fresh = || admin.issue(json!({ "name": "fresh" }));
    let doomed = fresh();
    #[rustfmt::skip]
    let table: Vec<(&str, String, Value, &str, &str, Value)> = vec![
        ("PATCH",  path(""),                         json!({ "name": "n", "scopes": ["b", "c"], "rate_limit": { "limit": 1, "window_s": 2 } }),
            "key.edit", "key", json!({ "name": ["k", "n"], "scopes": ["a", "b c"], "rate_limit": [null, "1 in 2 s"] })),
        ("PATCH",  path(""),                         json!({ "uses_left": 9 }), "key.edit", "key", json!({ "uses_left": ["5", "9"] })),
        ("POST",   path("/disable"),                 json!({}), "key.disable", "key", json!({ "enabled": ["true", "false"] })),
        ("POST",   path("/enable"),                  json!({}), "key.enable", "key", json!({ "enabled": ["false", "true"] })),
        ("DELETE", format!("/v1/keys/{}", doomed.id), json!(null), "key.delete", "key", json!({ "name": ["fresh", ""] })),
        ("POST",   "/v1/workspaces".into(),          json!({ "slug": "emea", "name": "E" }), "workspace.create", "workspace", json!({ "slug": ["", "emea"], "name": ["", "E"] })),
        ("PATCH",  "/v1/workspaces/emea".into(),     json!({ "name": "F", "enabled": false }), "workspace.edit", "workspace", json!({ "name": ["E", "F"], "enabled": ["true", "false"] })),
        ("DELETE", "/v1/workspaces/emea".into(),     json!(null), "workspace.delete", "workspace", json!({ "slug": ["emea", ""] })),
        ("POST",   "/v1/users".into(),               json!({ "user_name": "al", "password": PASSWORD, "email": "a@b" }), "user.create", "user", json!({ "user_name": ["", "al"], "email": [null, "a@b"] })),
        ("PATCH",  "/v1/users/al".into(),            json!({ "email": "c@d", "enabled": false }), "user.edit", "user", json!({ "email": ["a@b", "c@d"], "enabled": ["true", "false"] })),
        ("PUT",    "/v1/users/al/roles".into(),      json!({ "roles": [{ "workspace": "root", "role": "auditor" }] }), "user.roles", "user", json!({ "roles": ["", "auditor@root"] })),
        ("POST",   "/v1/users/al/password".into(),   json!({ "password": "nine anchors in the meadow" }), "user.password", "user", json!(null)),
        ("DELETE", "/v1/users/al".into(),            json!(null), "user.delete", "user", json!({ "user_name": ["al", ""] })),
        ("PUT",    "/v1/catalogs/shop".into(),       json!({ "scopes": [{ "name": "r" }] }), "catalog.put", "catalog", json!({ "scopes": ["", "r"] })),
        ("PUT",    "/v1/catalogs/shop".into(),       json!({ "scopes": [{ "name": "r" }, { "name": "w" }] }), "catalog.put", "catalog", json!({ "scopes": ["r", "r w"] })),
        ("PUT",    "/v1/catalogs/shop".into(),       json!({ "scopes": [{ "name": "r" }, { "name": "w" }], "case_sensitive": true }), "catalog.put", "catalog", json!({ "case_sensitive": ["false", "true"] })),
        ("DELETE", "/v1/catalogs/shop".into(),       json!(null), "catalog.delete", "catalog", json!(null)),
    ];
    for (method, path, body, action, kind, changes) in table {
        let mut request = String::new();
        let event = event_of(&admin, || {
            request = call(method, &path, body.clone())
                .header("x-request-id")
                .unwrap()
                .to_owned();
        });
        assert_eq!(event["action"], action, "{method} {path}");
        assert_eq!(
            (&event["outcome"], &event["reason"]),
            (&json!("allowed"), &json!("")),
            "{event}"
        );
        assert_eq!(event["actor"], format!("key:{me}"), "{event}");
        assert_eq!(
            (&event["source"], &event["request_id"]),
            (&json!("192.0.2.44"), &json!(request)),
            "{event}"
        );
        assert_eq!(event["target_kind"], kind, "{event}");
        assert!(
            event["target_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{event}"
        );
        match changes.as_object() {
            None => assert_eq!(event["changes"], changes, "{action}"),
            Some(members) => {
                for (member, expected) in members {
                    assert_eq!(&event["changes"][member], expected, "{action}: {event}");
                }
            }
        }
    }
    let event =
        event_of(&admin, || {
            drop(named.issue(
                json!({ "name": "x", "scopes": ["s"], "expires_at": "2100-01-01T00:00:00Z" }),
            ))
        });
    let changes = json!({ "name": ["", "x"], "scopes": ["", "s"], "expires_at": [null, "2100-01-01T00:00:00Z"] });
    assert_eq!(
        (&event["action"], &event["changes"]),
        (&json!("key.issue"), &changes)
    );
    let mut hint = json!(null);
    let event = event_of(&admin, || {
        hint = named.rotate(&key.id, json!({ "grace_s": 60 })).key["hint"].clone()
    });
    assert_eq!(event["action"], "key.rotate");
    assert_eq!(
        event["changes"],
        json!({ "hint": [key.key["hint"], hint], "grace_s": [null, "60"] })
    );
    let event = event_of(&admin, || {
        drop(
            server
                .local()
                .post("/v1/workspaces", json!({ "slug": "l" }))
                .expect(201),
        )
    });
    assert!(
        event["actor"].as_str().unwrap().starts_with("local:"),
        "{event}"
    );
    assert_eq!(event["source"], "unix");
    let event = event_of(&admin, || {
        drop(
            server
                .anonymous()
                .signed_in("owner", &server.owner_password),
        )
    });
    assert_eq!(
        (&event["action"], &event["actor"]),
        (&json!("session.create"), &json!("user:owner"))
    );
}

/// attacks 208
#[test]
fn refused_reads_are_recorded_with_what_was_asked_for() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("kim", "key_manager", "root");
    let kim = server.anonymous().signed_in("kim", PASSWORD);
    for path in ["/v1/audit-events/chain", "/v1/doctor"] {
        let event = event_of(&admin, || {
            kim.get(path).refused(403, "forbidden");
        });
        assert_eq!(
            (&event["action"], &event["outcome"]),
            (&json!("server.read"), &json!("denied")),
            "{event}"
        );
        assert_eq!(event["actor"], "user:kim");
        assert_eq!(event["target_id"], path);
    }
}

/// attacks 208
#[test]
fn denied_attempts_are_recorded_with_their_reason() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("mia", "auditor", "root");
    let mia = server.anonymous().signed_in("mia", PASSWORD);
    let key = admin.issue(json!({ "name": "k" }));
    let id = &key.id;
    for (method, path, body, action) in [
        (
            "POST",
            "/v1/keys".to_owned(),
            json!({ "name": "x" }),
            "key.issue",
        ),
        (
            "PATCH",
            format!("/v1/keys/{id}"),
            json!({ "name": "x" }),
            "key.edit",
        ),
        ("DELETE", format!("/v1/keys/{id}"), json!({}), "key.delete"),
        (
            "POST",
            format!("/v1/keys/{id}/rotate"),
            json!({}),
            "key.rotate",
        ),
        (
            "POST",
            format!("/v1/keys/{id}/disable"),
            json!({}),
            "key.disable",
        ),
        (
            "POST",
            format!("/v1/keys/{id}/enable"),
            json!({}),
            "key.enable",
        ),
        (
            "POST",
            "/v1/workspaces".to_owned(),
            json!({ "slug": "x" }),
            "workspace.create",
        ),
        (
            "PATCH",
            "/v1/workspaces/root".to_owned(),
            json!({ "name": "x" }),
            "workspace.edit",
        ),
        (
            "DELETE",
            "/v1/workspaces/root".to_owned(),
            json!({}),
            "workspace.delete",
        ),
        (
            "POST",
            "/v1/users".to_owned(),
            json!({ "user_name": "x" }),
            "user.create",
        ),
        (
            "PATCH",
            "/v1/users/owner".to_owned(),
            json!({ "enabled": false }),
            "user.edit",
        ),
        (
            "DELETE",
            "/v1/users/owner".to_owned(),
            json!({}),
            "user.delete",
        ),
        (
            "PUT",
            "/v1/users/mia/roles".to_owned(),
            json!({ "roles": [] }),
            "user.roles",
        ),
        (
            "POST",
            "/v1/users/owner/password".to_owned(),
            json!({ "password": "nine anchors in the meadow" }),
            "user.password",
        ),
        ("PUT", "/v1/catalogs/x".to_owned(), json!({}), "catalog.put"),
        (
            "DELETE",
            "/v1/catalogs/x".to_owned(),
            json!({}),
            "catalog.delete",
        ),
    ] {
        let mut request = String::new();
        let event = event_of(&admin, || {
            let refused = mia.call(method, &path, Some(&body));
            refused.refused(403, "forbidden");
            request = refused.header("x-request-id").unwrap().to_owned();
        });
        assert_eq!(
            (&event["action"], &event["outcome"]),
            (&json!(action), &json!("denied")),
            "{event}"
        );
        assert_eq!(
            (&event["actor"], &event["request_id"]),
            (&json!("user:mia"), &json!(request)),
            "{event}"
        );
        assert_eq!(event["source"], "127.0.0.1");
        assert!(
            event["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{event}"
        );
    }
}

#[test]
fn keys_of_applications_cannot_fill_the_log() {
    let server = Server::start();
    let admin = server.admin();
    let before = admin.newest_event();
    let application = server.bearer(&server.secret);
    application
        .post("/v1/keys", json!({ "name": "x" }))
        .refused(403, "forbidden");
    application
        .delete("/v1/keys/0000000000")
        .refused(403, "forbidden");
    assert_eq!(admin.newest_event(), before);
}

#[test]
fn a_wrong_current_password_is_recorded_where_the_user_is_at_home() {
    let server = Server::start();
    let admin = server.admin();
    let emea = admin.workspace("emea", "root");
    let uid = admin.person("mia", "member", "emea");
    let mia = server.anonymous().signed_in("mia", PASSWORD);
    let event = event_of(&admin, || {
        let body =
            json!({ "password": "nine anchors in the meadow", "current_password": "a guess" });
        mia.post("/v1/users/mia/password", body)
            .refused(403, "forbidden");
    });
    assert_eq!(
        (&event["action"], &event["outcome"], &event["target_id"]),
        (&json!("user.password"), &json!("denied"), &json!(uid))
    );
    assert_eq!(event["workspace"], json!(emea));
}

#[test]
fn keys_that_lose_scopes_with_a_catalog_have_an_event_each() {
    let server = Server::start();
    let admin = server.admin();
    let operation = |id: &str| json!({ "id": id, "method": "GET", "path": format!("/{id}"), "access": "read", "any_of": ["r"] });
    let put = |scopes: Value, operations: Value| {
        let body = json!({ "scopes": scopes, "operations": operations });
        let response = admin.put("/v1/catalogs/shop", body);
        assert!(response.status < 300, "{}", response.exchange());
    };
    put(
        json!([{ "name": "r" }, { "name": "w" }]),
        json!([operation("one")]),
    );
    let keys: Vec<String> = [json!(["r", "w"]), json!(["w"]), json!(["r"])]
        .into_iter()
        .map(|scopes| {
            admin
                .issue(json!({ "name": "k", "catalog": "shop", "scopes": scopes }))
                .id
        })
        .collect();
    put(
        json!([{ "name": "r" }]),
        json!([operation("one"), operation("two")]),
    );
    let page = admin.get("/v1/audit-events?limit=3").expect(200).json();
    let events = page["items"].as_array().unwrap();
    assert_eq!(
        (&events[2]["action"], &events[2]["changes"]),
        (
            &json!("catalog.put"),
            &json!({ "scopes": ["r w", "r"], "operations": ["1", "2"], "keys_changed": ["0", "2"] })
        )
    );
    let mut edits: Vec<(&Value, &Value)> = events[..2]
        .iter()
        .map(|event| {
            assert_eq!(event["action"], "key.edit", "{event}");
            assert_eq!(
                (&event["actor"], &event["request_id"]),
                (&events[2]["actor"], &events[2]["request_id"])
            );
            (&event["target_id"], &event["changes"])
        })
        .collect();
    edits.sort_by_key(|(id, _)| keys.iter().position(|key| json!(key) == **id));
    assert_eq!(
        edits,
        [
            (&json!(keys[0]), &json!({ "scopes": ["r w", "r"] })),
            (&json!(keys[1]), &json!({ "scopes": ["w", ""] })),
        ]
    );
}

/// PostgreSQL takes no text with this character, not even in a comparison.
#[test]
fn a_parameter_with_the_character_null_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let list = "/v1/audit-events?target=a";
    assert_eq!(admin.get(list).json()["items"], json!([]));
    let problem = admin
        .get(&format!("{list}%00b"))
        .refused(400, "invalid-request");
    assert_eq!(
        problem["detail"],
        "the parameter target has the character U+0000"
    );
    admin
        .get("/v1/workspaces/root%00")
        .refused(404, "not-found");
}
