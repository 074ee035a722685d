//! Every route of `/api/v3` × every kind of caller that must be refused (attacks 117), and changes that keys refuse.

use serde_json::{Value, json};

use super::{Console, sign_in, text};
use crate::support::{PASSWORD, User};

/// Method, path below `/api/v3`, body. `{me}` is the owner, `{id}` one of the owner's keys, `{home}` the owner's
/// company.
const ROUTES: &[(&str, &str, &str)] = &[
    ("DELETE", "/users/{me}/tokens", ""),
    ("GET", "/users/logins", ""),
    ("GET", "/users/{me}/logins", ""),
    (
        "POST",
        "/users/{me}/logins/apikey?description=x&scopes=rest",
        "",
    ),
    (
        "POST",
        "/users/{me}/logins/totp?secretUrl=x&code=123456&description=x&scopes=rest",
        "",
    ),
    ("GET", "/authentication/keys/totp-secret", ""),
    ("GET", "/users/{me}/logins/{id}", ""),
    (
        "PATCH",
        "/users/{me}/logins/{id}",
        r#"[{"op":"replace","path":"/status","value":"disabled"}]"#,
    ),
    ("DELETE", "/users/{me}/logins/{id}", ""),
    ("GET", "/organizations/{home}/keys", ""),
    ("GET", "/users/me", ""),
    ("GET", "/users", ""),
    (
        "POST",
        "/users",
        r#"{"organizationUid":"{home}","role":"PortalOperator","profile":{},"credentials":{"userName":"x","password":"correct horse x"}}"#,
    ),
    ("GET", "/users/{me}", ""),
    (
        "PATCH",
        "/users/{me}",
        r#"[{"op":"replace","path":"/profile/email","value":"x@example.com"}]"#,
    ),
    ("DELETE", "/users/{me}", ""),
    ("GET", "/about", ""),
];

/// The users and the keys, which the requests must not change.
fn state(console: &Console) -> [Value; 2] {
    let local = console.server.local();
    ["/v1/users", "/v1/keys"].map(|path| {
        let mut items = local.get(path).expect(200).json();
        for item in items["items"].as_array_mut().unwrap() {
            for member in ["use_count", "last_used_at", "last_used_ip"] {
                item.as_object_mut().unwrap().remove(member);
            }
        }
        items
    })
}

// attacks 117
#[test]
fn nobody_without_a_credential_of_this_kind_gets_anywhere() {
    let console = Console::start();
    let server = &console.server;
    let (id, secret) = console.key("description=mine&scopes=rest");
    let (disabled, disabled_secret) = console.key("description=disabled&scopes=rest");
    let (deleted, deleted_secret) = console.key("description=deleted&scopes=rest");
    let (_, no_rest) = console.key("description=ui&scopes=ui,integration");
    let login = |id: i64| format!("/api/v3/users/{}/logins/{id}", console.me);
    let off = json!([{"op": "replace", "path": "/status", "value": "disabled"}]);
    console.owner().patch(&login(disabled), off).expect(200);
    console.owner().delete(&login(deleted)).expect(200);
    let gone = sign_in(server, &server.owner_user_name, &server.owner_password);
    let gone = text(&gone, "access_token");
    server
        .bearer(&gone)
        .delete("/v1/sessions/current")
        .expect(204);
    let admin = server.admin();
    let mine = admin.issue(json!({"name": "x", "owner": "owner", "scopes": ["rest"]}));
    let renewal = sign_in(server, &server.owner_user_name, &server.owner_password);
    let mut changed = secret.clone().into_bytes();
    changed[60] = if changed[60] == b'a' { b'b' } else { b'a' };
    let callers: Vec<(&str, u16, User)> = vec![
        ("nobody", 401, server.anonymous()),
        ("nonsense", 401, server.bearer("nonsense")),
        (
            "a changed secret",
            401,
            server.bearer(&String::from_utf8(changed).unwrap()),
        ),
        ("a disabled key", 401, server.bearer(&disabled_secret)),
        ("a deleted key", 401, server.bearer(&deleted_secret)),
        ("an ended token", 401, server.bearer(&gone)),
        (
            "a refresh token",
            401,
            server.bearer(&text(&renewal, "refresh_token")),
        ),
        ("an ordinary key", 401, server.bearer(&server.secret)),
        (
            "a key of the owner of another policy",
            401,
            server.bearer(&mine.secret),
        ),
        ("a management key", 401, server.admin()),
        (
            "another header",
            401,
            server.anonymous().with("X-API-Key", &secret),
        ),
        (
            "another scheme",
            401,
            server
                .anonymous()
                .with("Authorization", &format!("Token {secret}")),
        ),
        ("a key without rest", 403, server.bearer(&no_rest)),
    ];
    let home = server.local().get("/v1/workspaces/root").expect(200).json();
    let fill = |text: &str| {
        text.replace("{me}", &console.me)
            .replace("{id}", &id.to_string())
            .replace("{home}", home["uid"].as_str().unwrap())
    };
    let before = state(&console);
    for (who, status, caller) in &callers {
        for (method, path, body) in ROUTES {
            let path = format!("/api/v3{}", fill(path));
            let answer = caller.send(method, &path, "application/json", fill(body).as_bytes());
            let exchange = format!("{who}: {}", answer.exchange());
            assert_eq!(answer.status, *status, "{exchange}");
            let error = &answer.json()["errors"][0];
            assert_eq!(error["type"], "security", "{exchange}");
            assert_eq!(error["code"], *status, "{exchange}");
            assert!(error["message"].is_string(), "{exchange}");
        }
    }
    assert_eq!(state(&console), before);
}

#[test]
fn a_key_that_acts_for_a_mightier_user_is_not_to_be_taken_over() {
    let console = Console::start();
    let server = &console.server;
    let (id, _) = console.key("description=mighty&scopes=rest");
    let admin = server.local();
    admin.person("anna", "administrator", "root");
    let anna = server.anonymous().signed_in("anna", PASSWORD);
    let key = admin
        .get("/v1/keys?owner=owner&policy=vspc")
        .expect(200)
        .json();
    let key = text(&key["items"][0], "id");
    // Anna administers the workspace, but may not do everything that the owner may do.
    for (method, path, body) in [
        ("POST", "/rotate", json!({})),
        ("POST", "/reveal", json!({})),
        ("PATCH", "", json!({"description": "hers"})),
        ("PATCH", "", json!({"read_only": false})),
    ] {
        let answer = anna.call(method, &format!("/v1/keys/{key}{path}"), Some(&body));
        assert!(matches!(answer.status, 403 | 409), "{}", answer.exchange());
    }
    let issued = json!({"name": "x", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"], "owner": "owner"});
    assert!(matches!(
        anna.post("/v1/keys", issued.clone()).status,
        403 | 409
    ));
    // A dangerous key can be disabled in an emergency, but anna cannot enable it again.
    let login = format!("/api/v3/users/{}/logins/{id}", console.me);
    let switch = |word: &str| json!([{"op": "replace", "path": "/status", "value": word}]);
    anna.patch(&login, switch("disabled")).expect(200);
    anna.patch(&login, switch("enabled")).expect(403);
    console.owner().patch(&login, switch("enabled")).expect(200);
    // Not even the administrator of the machine issues keys that act for another user.
    admin.post("/v1/keys", issued).expect(409);
}

#[test]
fn a_policy_that_lets_keys_act_for_users_stays_one_of_users() {
    let console = Console::start();
    let admin = console.server.local();
    let policy = json!({"name": "mine", "issued_by": "manager", "acts_for_owner": true});
    admin.post("/v1/policies", policy).expect(422);
    admin
        .patch("/v1/policies/vspc", json!({"issued_by": "manager"}))
        .expect(422);
    // While a key follows a policy, it cannot begin to act for its owner.
    let issued = json!({"name": "x", "owner": "owner"});
    admin.issue(issued);
    admin
        .patch(
            "/v1/policies/standard",
            json!({"issued_by": "owner", "acts_for_owner": true}),
        )
        .expect(409);
}
