//! Keys that act for their owner: they may do what the owner's current roles permit, with the same result on the
//! server's own routes, in verdicts and for proxies.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User};

/// All roles, and no role.
const ROLES: [&str; 6] = [
    "owner",
    "administrator",
    "key_manager",
    "auditor",
    "member",
    "",
];

/// A kind of key that acts for its owner.
struct Kind {
    catalog: &'static str,
    /// The scheme of the secret in `Authorization`.
    scheme: &'static str,
    make: fn(&Server, &str) -> String,
    /// A route of the server itself that reads, and is also an operation of the catalog.
    read: (&'static str, &'static str),
    write: (&'static str, &'static str),
    /// The roles that allow reading, and those that allow writing.
    reads: &'static [&'static str],
    writes: &'static [&'static str],
}

const TOKEN: Kind = Kind {
    catalog: "adverity",
    scheme: "Token",
    make: adverity_token,
    read: ("GET", "/api/stacks/"),
    write: ("POST", "/api/stacks/"),
    reads: &["owner", "administrator", "key_manager", "auditor"],
    writes: &["owner", "administrator"],
};

const REST: Kind = Kind {
    catalog: "vspc",
    scheme: "Bearer",
    make: vspc_key,
    read: ("GET", "/api/v3/users/me"),
    write: ("POST", "/api/v3/users/{uid}/logins/apikey"),
    reads: &["owner", "administrator", "key_manager", "auditor", "member"],
    writes: &["owner", "administrator", "key_manager"],
};

fn adverity_token(server: &Server, name: &str) -> String {
    let asked = json!({ "username": name, "password": PASSWORD });
    let made = server.anonymous().post("/api/auth/token/", asked);
    text(&made.expect(200).json()["token"])
}

fn vspc_key(server: &Server, name: &str) -> String {
    let form = format!("grant_type=password&username={name}&password={PASSWORD}");
    let signed_in = server.anonymous().send(
        "POST",
        "/api/v3/token",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
    );
    let user = server.bearer(&text(&signed_in.expect(200).json()["access_token"]));
    let uid = uid(server, name);
    let path = format!("/api/v3/users/{uid}/logins/apikey?description=made&scopes=rest");
    let made = user.call("POST", &path, None).expect(200).json();
    text(&made["data"]["parameters"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn uid(server: &Server, name: &str) -> String {
    let user = server.admin().get(&format!("/v1/users/{name}"));
    text(&user.expect(200).json()["uid"])
}

fn set_role(server: &Server, name: &str, role: &str) {
    let roles = match role {
        "" => json!([]),
        role => json!([{ "workspace": "root", "role": role }]),
    };
    let path = format!("/v1/users/{name}/roles");
    server
        .local()
        .put(&path, json!({ "roles": roles }))
        .expect(200);
}

/// Whether the key opens a request: on the server's own route, in `/v1/verify`, and for a proxy.
fn opens(
    server: &Server,
    kind: &Kind,
    name: &str,
    secret: &str,
    (method, path): (&str, &str),
) -> [bool; 3] {
    let uid = uid(server, name);
    let path = path.replace("{uid}", &uid);
    let key = server
        .anonymous()
        .with("Authorization", &format!("{} {secret}", kind.scheme));
    let (own_path, body) = match (method, kind.catalog) {
        ("GET", _) => (path.clone(), None),
        (_, "adverity") => (path.clone(), Some(json!({ "name": "made by a key" }))),
        _ => (format!("{path}?description=another&scopes=rest"), None),
    };
    let own = key.call(method, &own_path, body.as_ref()).status;
    assert!(
        [200, 201, 401, 403].contains(&own),
        "{method} {own_path}: {own}"
    );

    let question =
        json!({ "key": secret, "catalog": kind.catalog, "method": method, "path": path });
    let verdict = server.admin().verify(question);

    let asked = User::with(key, "X-Original-Method", method).with("X-Original-URI", &path);
    let answer = asked.get(&format!("/auth/nginx?catalog={}", kind.catalog));
    [own < 300, verdict["code"] == "VALID", answer.status == 200]
}

fn check(kind: &Kind) {
    let server = Server::start();
    for (position, role) in ROLES.into_iter().enumerate() {
        let name = format!("person{position}");
        // A user without a role, or an auditor, cannot create such a key, so it is created while the user has another
        // role.
        let first = match role {
            "" | "auditor" => "member",
            role => role,
        };
        server.admin().person(&name, first, "root");
        let secret = (kind.make)(&server, &name);
        set_role(&server, &name, role);
        let expected = |roles: &[&str]| [roles.contains(&role); 3];
        let found = opens(&server, kind, &name, &secret, kind.read);
        assert_eq!(found, expected(kind.reads), "{role:?} reads");
        let found = opens(&server, kind, &name, &secret, kind.write);
        assert_eq!(found, expected(kind.writes), "{role:?} writes");

        // A role that was removed has no effect from the next request on.
        set_role(&server, &name, "");
        for request in [kind.read, kind.write] {
            let found = opens(&server, kind, &name, &secret, request);
            assert_eq!(found, [false; 3], "{role:?}, taken away: {request:?}");
        }
    }
}

#[test]
fn a_key_made_with_a_password_may_what_the_roles_of_its_user_permit() {
    check(&TOKEN);
}

#[test]
fn a_key_of_a_user_may_what_the_roles_of_the_user_permit() {
    check(&REST);
}

#[test]
fn the_scopes_that_are_shown_are_those_that_the_roles_pass_on() {
    let server = Server::start();
    server.admin().person("viewer", "auditor", "root");
    let secret = adverity_token(&server, "viewer");
    let key = server
        .anonymous()
        .with("Authorization", &format!("Token {secret}"));
    let asked = key
        .with("X-Original-Method", "GET")
        .with("X-Original-URI", "/api/datastreams/");
    let answer = asked.get("/auth/nginx?catalog=adverity").expect(200);
    assert_eq!(answer.header("x-auth-scopes"), Some("all:read"));
    let question = json!({ "key": secret, "scopes": ["datastream:read"] });
    assert_eq!(
        server.admin().verify(question)["scopes"],
        json!(["all:read"])
    );
    let form = format!("token={secret}");
    let described = server.admin().send(
        "POST",
        "/v1/introspect",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
    );
    assert_eq!(described.expect(200).json()["scope"], "all:read");
}

#[test]
fn a_role_counts_in_its_own_workspace_and_below() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.workspace("berlin", "emea");
    admin.workspace("apac", "root");
    admin.person("anna", "administrator", "emea");
    let secret = adverity_token(&server, "anna");
    for (workspace, code) in [
        ("emea", "VALID"),
        ("berlin", "VALID"),
        ("apac", "INSUFFICIENT_SCOPE"),
        ("root", "INSUFFICIENT_SCOPE"),
    ] {
        let question = json!({
            "key": secret, "catalog": "adverity", "method": "POST", "path": "/api/datastreams/",
            "workspace": workspace,
        });
        assert_eq!(admin.verify(question)["code"], code, "{workspace}");
    }
}
