//! Policies as data: they are created, made stricter, deleted, and enforced.

use serde_json::{Value, json};
use std::thread;

use crate::support::{Response, Server, User};

const PASSWORD: &str = "a passphrase of some length";

/// Adds a policy that is equal to `standard` except for these members.
#[track_caller]
fn policy(admin: &User, name: &str, members: Value) {
    let mut body = members;
    body["name"] = json!(name);
    admin.post("/v1/policies", body).expect(201);
}

/// Checks for a 409 or 422 whose sentence names the policy.
#[track_caller]
fn refused(response: Response, status: u16, policy: &str) {
    let response = response.expect(status);
    let detail = response.json()["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(detail.contains(policy), "{detail}");
}

/// A user with a role in the root workspace, signed in.
fn signed_in(server: &Server, name: &str, role: &str) -> User {
    let roles = json!([{ "workspace": "root", "role": role }]);
    let user = json!({ "user_name": name, "password": PASSWORD, "roles": roles });
    server.admin().post("/v1/users", user).expect(201);
    let body = json!({ "user_name": name, "password": PASSWORD });
    let session = server.anonymous().post("/v1/sessions", body);
    let token = session.expect(201).json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    server.bearer(&token)
}

#[test]
fn a_policy_is_made_read_edited_and_deleted() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin.post(
        "/v1/policies",
        json!({ "name": "yearly", "expiry": "required", "expiry_months_max": 12 }),
    );
    let made = made.expect(201).json();
    assert_eq!(made["expiry_months_max"], 12);
    assert_eq!(made["headers"], json!(["bearer", "token", "x-api-key"]));
    admin
        .post("/v1/policies", json!({ "name": "yearly" }))
        .expect(409);
    assert_eq!(admin.get("/v1/policies/yearly").expect(200).json(), made);

    let edited = admin.patch(
        "/v1/policies/yearly",
        json!({ "expiry_months_max": null, "description": "longer" }),
    );
    assert_eq!(edited.expect(200).json()["expiry_months_max"], Value::Null);
    let listed = admin.get("/v1/policies").expect(200).json();
    let named = |name: &str| {
        let items = listed["items"].as_array().unwrap();
        items.iter().filter(|policy| policy["name"] == name).count()
    };
    assert_eq!((named("yearly"), named("standard")), (1, 1));

    admin.delete("/v1/policies/yearly").expect(204);
    admin.get("/v1/policies/yearly").expect(404);
    admin.patch("/v1/policies/yearly", json!({})).expect(404);
    admin.delete("/v1/policies/yearly").expect(404);
    let events = admin
        .get("/v1/audit-events?target=yearly")
        .expect(200)
        .json();
    let actions: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["policy.delete", "policy.edit", "policy.create"]);
}

// attacks 124, 125, 153
#[test]
fn a_refused_member_is_named() {
    let server = Server::start();
    for (field, value) in [
        ("name", json!("Not A Slug")),
        ("issued_by", json!("nobody")),
        ("owner", json!("perhaps")),
        ("catalog", json!("nowhere")),
        ("scopes", json!([])),
        ("headers", json!([])),
        ("headers[0]", json!("cookie")),
        ("read_only_by", json!("guess")),
        ("expiry", json!(true)),
        ("expiry_s_max", json!(0)),
        ("expiry_months_max", json!(5_000_000_000_u64)),
        ("addresses", json!("any")),
        ("keys_per_workspace_max", json!(-1)),
        ("keys_per_owner_max", json!(5_000_000_000_u64)),
        ("name_unique", json!("true")),
        ("secret_shown", json!("twice")),
        ("editable[0]", json!("id")),
        ("can_disable", json!(1)),
        ("tied_to", json!("")),
        ("rate_limit.limit", json!("many")),
        ("prefix", json!("lks")),
        ("stranger", json!(1)),
    ] {
        let mut body = json!({ "name": "p" });
        match field {
            "headers[0]" | "editable[0]" => body[&field[..field.len() - 3]] = json!([value]),
            "rate_limit.limit" => body["rate_limit"] = json!({ "limit": value, "window_s": 1 }),
            field => body[field] = value,
        }
        let answer = server.admin().post("/v1/policies", body).expect(422).json();
        assert_eq!(answer["field"], field);
    }
    server.admin().get("/v1/policies/p").expect(404);
}

// attacks 122
#[test]
fn policies_are_the_owners_alone_to_change() {
    let server = Server::start();
    let administrator = signed_in(&server, "adam", "administrator");
    administrator.get("/v1/policies").expect(200);
    administrator
        .post("/v1/policies", json!({ "name": "p" }))
        .expect(403);
    administrator
        .patch("/v1/policies/standard", json!({ "can_rotate": false }))
        .expect(403);
    administrator.delete("/v1/policies/standard").expect(403);
    let owner = signed_in(&server, "olga", "owner");
    owner
        .post("/v1/policies", json!({ "name": "p" }))
        .expect(201);
}

#[test]
fn a_policy_with_live_keys_can_only_be_made_stricter() {
    let server = Server::start();
    let admin = server.admin();
    policy(
        &admin,
        "tight",
        json!({ "expiry_s_max": 3600, "headers": ["bearer", "token"] }),
    );
    let key = admin.issue(json!({ "name": "k", "policy": "tight" }));

    refused(
        admin.patch("/v1/policies/tight", json!({ "expiry_s_max": 7200 })),
        409,
        "tight",
    );
    refused(
        admin.patch(
            "/v1/policies/tight",
            json!({ "headers": ["bearer", "x-api-key"] }),
        ),
        409,
        "tight",
    );
    admin
        .patch(
            "/v1/policies/tight",
            json!({ "expiry_s_max": 60, "headers": ["token"] }),
        )
        .expect(200);

    // A change of `headers` affects existing keys from the next request on.
    let forwarded = |name: &str, value: String| {
        server
            .anonymous()
            .with(name, &value)
            .get("/auth/nginx")
            .status
    };
    assert_eq!(
        forwarded("Authorization", format!("Bearer {}", key.secret)),
        401
    );
    assert_eq!(
        forwarded("Authorization", format!("Token {}", key.secret)),
        200
    );
    // An edit of a key checks only the members that it changes against the policy.
    admin
        .patch(
            &format!("/v1/keys/{}", key.id),
            json!({ "name": "renamed" }),
        )
        .expect(200);
    let longer = json!({ "expires_in_s": 3600 });
    refused(
        admin.patch(&format!("/v1/keys/{}", key.id), longer),
        422,
        "tight",
    );

    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    admin
        .patch("/v1/policies/tight", json!({ "expiry_s_max": 7200 }))
        .expect(200);
}

#[test]
fn a_policy_that_any_key_followed_stays_and_so_does_standard() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "brief", json!({}));
    let key = admin.issue(json!({ "name": "k", "policy": "brief" }));
    refused(admin.delete("/v1/policies/brief"), 409, "brief");
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    refused(admin.delete("/v1/policies/brief"), 409, "brief");
    refused(admin.delete("/v1/policies/standard"), 409, "standard");
    let closed = json!({ "keys_per_workspace_max": 0 });
    admin.patch("/v1/policies/brief", closed).expect(200);
    refused(
        admin.post("/v1/keys", json!({ "name": "k", "policy": "brief" })),
        409,
        "brief",
    );
}

#[test]
fn a_policy_says_who_issues() {
    let server = Server::start();
    let admin = server.admin();
    policy(&admin, "own", json!({ "issued_by": "owner" }));
    policy(&admin, "managed", json!({ "issued_by": "manager" }));
    policy(&admin, "proven", json!({ "issued_by": "password" }));
    let member = signed_in(&server, "mia", "member");
    let manager = signed_in(&server, "max", "key_manager");
    let key = |policy: &str| json!({ "name": "k", "policy": policy });

    assert_eq!(member.issue(key("own")).key["owner"], "mia");
    assert_eq!(manager.issue(key("own")).key["owner"], "max");
    let for_mia = json!({ "name": "k", "policy": "own", "owner": "mia" });
    refused(manager.post("/v1/keys", for_mia), 409, "own");
    refused(server.local().post("/v1/keys", key("own")), 409, "own");

    refused(member.post("/v1/keys", key("managed")), 403, "managed");
    manager.issue(key("managed"));
    for user in [&member, &manager, &admin] {
        refused(user.post("/v1/keys", key("proven")), 409, "proven");
    }
    // The policy `standard` allows both.
    assert_eq!(member.issue(key("standard")).key["owner"], "mia");
    assert_eq!(manager.issue(key("standard")).key["owner"], Value::Null);
}

// attacks 148
#[test]
fn a_policy_bounds_lives_addresses_and_edits() {
    let server = Server::start();
    let admin = server.admin();
    policy(
        &admin,
        "yearly",
        json!({
            "expiry": "required", "expiry_months_max": 12, "addresses": "exact", "editable": ["name"],
            "can_disable": false, "can_rotate": false, "confirm_name": true, "prefix": "yr",
            "rate_limit": { "limit": 7, "window_s": 60 },
        }),
    );
    let with = |mut body: Value| {
        body["name"] = json!("k");
        body["policy"] = json!("yearly");
        admin.post("/v1/keys", body)
    };
    refused(with(json!({})), 422, "yearly");
    refused(with(json!({ "expires_in_s": 367 * 86_400 })), 422, "yearly");
    refused(
        with(json!({ "expires_in_s": 60, "allowed_ips": ["10.0.0.0/8"] })),
        422,
        "yearly",
    );
    refused(
        with(json!({ "expires_in_s": 60, "enabled": false })),
        409,
        "yearly",
    );
    let issued = with(json!({ "expires_in_s": 365 * 86_400, "allowed_ips": ["10.0.0.1"] }))
        .expect(201)
        .json();
    assert_eq!(issued["key"]["rate_limit"]["limit"], 7);
    assert!(issued["secret"].as_str().unwrap().starts_with("yr_"));

    let path = format!("/v1/keys/{}", issued["key"]["id"].as_str().unwrap());
    refused(
        admin.patch(&path, json!({ "scopes": ["a:b"] })),
        409,
        "yearly",
    );
    refused(
        admin.patch(&path, json!({ "enabled": false })),
        409,
        "yearly",
    );
    refused(
        admin.post(&format!("{path}/disable"), json!({})),
        409,
        "yearly",
    );
    refused(
        admin.post(&format!("{path}/rotate"), json!({})),
        409,
        "yearly",
    );
    admin
        .patch(&path, json!({ "name": "new name" }))
        .expect(200);
    refused(admin.delete(&path), 409, "yearly");
    let confirmed = json!({ "confirm_name": "new name" });
    admin.call("DELETE", &path, Some(&confirmed)).expect(204);
}

#[test]
fn five_keys_are_five_however_many_ask_at_once() {
    let server = Server::start();
    policy(
        &server.admin(),
        "five",
        json!({ "keys_per_workspace_max": 5, "name_unique": true }),
    );
    let ask = |n: usize| {
        let body = json!({ "name": format!("k{n}"), "policy": "five" });
        server.admin().post("/v1/keys", body).status
    };
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|n| scope.spawn(move || ask(n))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        5,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| matches!(status, 201 | 409)),
        "{statuses:?}"
    );
    // A rotation does not count against the limit of keys, and a deletion frees one.
    let listed = server.admin().get("/v1/keys?policy=five").json();
    let id = listed["items"][0]["id"].as_str().unwrap();
    let name = listed["items"][0]["name"].as_str().unwrap();
    server.admin().rotate(id, json!({}));
    server.admin().delete(&format!("/v1/keys/{id}")).expect(204);
    let other = listed["items"][1]["name"].as_str().unwrap().to_uppercase();
    refused(
        server
            .admin()
            .post("/v1/keys", json!({ "name": other, "policy": "five" })),
        409,
        "five",
    );
    assert_eq!(
        server
            .admin()
            .issue(json!({ "name": name, "policy": "five" }))
            .key["name"],
        name
    );
}
