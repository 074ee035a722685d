//! Who may do what with sites and packs. Attack case 117 for these routes is here.

use super::{PASSPHRASE, enrol, make};
use crate::support::{Server, User};
use serde_json::{Value, json};

/// Every route about a site or a pack, with a body.
const ROUTES: [(&str, &str, &str); 10] = [
    ("GET", "/v1/sites", ""),
    ("GET", "/v1/sites/plant-7", ""),
    ("PATCH", "/v1/sites/plant-7", r#"{"lend":7}"#),
    ("DELETE", "/v1/sites/plant-7", ""),
    ("POST", "/v1/packs", "{}"),
    ("GET", "/v1/packs/plant-7/1", ""),
    ("POST", "/v1/packs/reports", "{}"),
    ("POST", "/v1/packs/revocations", "{}"),
    ("GET", "/v1/packs/signing-keys", ""),
    ("POST", "/v1/packs/signing-keys", "{}"),
];

fn call(user: &User, (method, path, body): (&str, &str, &str)) -> u16 {
    let body: Option<Value> = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
    user.call(method, path, body.as_ref()).status
}

#[test]
fn only_administrators_of_the_server_manage_sites() {
    let server = Server::start();
    let admin = server.admin();
    enrol(&server, "plant-7", json!({}));
    make(&admin, "plant-7", false);
    admin.workspace("emea", "root");
    for (name, role, workspace) in [
        ("mia", "member", "root"),
        ("kim", "key_manager", "root"),
        ("ada", "administrator", "root"),
        ("aud", "auditor", "root"),
        ("eve", "owner", "emea"),
    ] {
        admin.person(name, role, workspace);
    }
    let others = ["mia", "kim", "ada", "aud", "eve"]
        .map(|name| server.anonymous().signed_in(name, crate::support::PASSWORD));
    let key = admin.issue(
        json!({ "name": "x", "catalog": "latchkey", "scopes": ["keys:write", "audit:read"] }),
    );
    let others = others.into_iter().chain([server.bearer(&key.secret)]);
    for user in others {
        for route in ROUTES {
            assert_eq!(call(&user, route), 403, "{route:?}");
        }
    }
    for route in ROUTES {
        assert_eq!(call(&server.anonymous(), route), 401, "{route:?}");
    }
    // A key with server:admin does all but what needs the administrator of the machine.
    for route in ROUTES {
        let expected = match route {
            ("POST", "/v1/packs/signing-keys", _) => 403,
            ("POST", "/v1/packs/reports", _) => 400,
            ("POST", "/v1/packs/revocations", _) => 409,
            ("POST", "/v1/packs", _) => 201,
            ("DELETE", ..) => continue,
            _ => 200,
        };
        assert_eq!(call(&admin, route), expected, "{route:?}");
    }
    let new = json!({ "name": "x", "workspaces": ["root"], "passphrase": PASSPHRASE });
    assert_eq!(admin.post("/v1/sites", new).status, 403);
    assert_eq!(admin.delete("/v1/sites/plant-7?rotate=true").status, 403);
    assert_eq!(call(&server.local(), ROUTES[9]), 201);
    assert_eq!(call(&admin, ROUTES[3]), 200);
    assert_eq!(call(&admin, ROUTES[1]), 404);
}

#[test]
fn a_name_is_used_once_and_a_repeated_request_has_one_effect() {
    let server = Server::start();
    let body = json!({ "name": "plant-7", "workspaces": ["root"], "passphrase": PASSPHRASE });
    let local = server.local().with("Idempotency-Key", "one");
    for _ in 0..2 {
        let added = local.post("/v1/sites", body.clone()).expect(201).json();
        assert_eq!(added["site"]["name"], "plant-7");
        let enrolment = added["enrolment"].as_str().unwrap();
        assert!(enrolment.starts_with("latchkey-secrets 1:"), "{enrolment}");
    }
    let local = server.local();
    let list = local.get("/v1/sites").expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    local.post("/v1/sites", body.clone()).expect(409);
    local.delete("/v1/sites/plant-7").expect(200);
    local.post("/v1/sites", body.clone()).expect(409);
    let events = local.get("/v1/audit-events?action=site").expect(200).json();
    let actions: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["site.remove", "site.add"]);
    for (member, value) in [
        ("name", json!("Plant")),
        ("name", json!("../x")),
        ("name", json!("a".repeat(64))),
        ("workspaces", json!([])),
        ("workspaces", json!(["nowhere"])),
        ("catalogs", json!(["nothing"])),
        ("until_s", json!(59)),
        ("until_s", json!(10_u64 * 366 * 86_400 + 1)),
        ("passphrase", json!("short")),
        ("server", json!("a b")),
    ] {
        let mut body = body.clone();
        body["name"] = json!("plant-8");
        body[member] = value.clone();
        let refused = local.post("/v1/sites", body);
        assert_eq!(refused.status, 422, "{member} {value}");
    }
}
