//! Invalid input: it is refused with the name of the member, and without any effect.

mod framing;
mod members;
mod routes;
mod values;

use serde_json::{Value, json};

use crate::support::{Server, User};

/// One route that accepts a body.
struct Route {
    method: &'static str,
    path: String,
    /// A body that is valid.
    good: Value,
    members: Vec<(&'static str, values::Kind)>,
}

/// A server with one object of each kind, and all its routes that accept a JSON body.
fn routes() -> (Server, Vec<Route>) {
    use values::Kind::*;
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "emea");
    let key = admin.issue(json!({ "name": "k" })).id;
    let rotation = || {
        vec![
            ("grace_s", Number { most: 30 * 86_400 }),
            ("until_first_use", Flag),
        ]
    };
    let lives = || {
        vec![
            ("name", Name),
            ("description", Line),
            ("contact", Line),
            ("scopes", Scopes),
            ("read_only", Flag),
            ("enabled", Flag),
            ("not_before", Time),
            ("expires_at", Future),
            ("expires_in_s", Positive),
            ("allowed_ips", Addresses),
            ("rate_limit", Rate),
            ("uses_left", Number { most: 1 << 53 }),
            ("metadata", Metadata),
        ]
    };
    let issue = [
        lives(),
        vec![
            ("workspace", Place),
            ("owner", Place),
            ("policy", Place),
            ("catalog", Place),
            ("prefix", Prefix),
        ],
    ]
    .concat();
    let question = vec![
        ("key", Text),
        ("scopes", Words),
        ("catalog", Place),
        ("method", Text),
        ("path", Text),
        ("host", Text),
        ("ip", Address),
        ("workspace", Place),
        ("cost", Number { most: 1_000_000 }),
    ];
    let asked = json!({ "key": "x", "method": "GET", "path": "/", "host": "h" });
    let catalog = json!({ "name": "shop", "scopes": [], "operations": [] });
    let user = vec![
        ("user_name", UserName),
        ("email", Email),
        ("workspace", Place),
        ("password", Password),
        ("roles", Roles),
    ];
    let rules = || {
        vec![
            ("description", Line),
            ("issued_by", Word),
            ("owner", Word),
            ("catalog", Place),
            ("scopes", Word),
            ("headers", Headers),
            ("read_only_by", Word),
            ("expiry", Word),
            ("expiry_s_max", Positive),
            ("expiry_months_max", Positive),
            ("addresses", Word),
            ("keys_per_workspace_max", Number { most: 1_000_000 }),
            ("keys_per_owner_max", Number { most: 1_000_000 }),
            ("at_owner_max", Word),
            ("name_unique", Flag),
            ("secret_shown", Word),
            ("editable", Editable),
            ("can_disable", Flag),
            ("can_rotate", Flag),
            ("self_rotation", Word),
            ("confirm_name", Flag),
            ("decoy", Flag),
            ("on_reuse", Word),
            ("on_leak", Word),
            ("expiry_notice_days", Days),
            ("tied_to", Word),
            ("acts_for_owner", Flag),
            ("rate_limit", Rate),
            ("rate_limit_max", Rate),
            ("prefix", PrefixOrNone),
        ]
    };
    let named = vec![("name", Slug)];
    admin
        .post("/v1/policies", json!({ "name": "ours" }))
        .expect(201);
    #[rustfmt::skip]
    let table = vec![
        ("POST",   "/v1/keys".to_owned(),              json!({ "name": "x" }),              issue),
        ("PATCH",  format!("/v1/keys/{key}"),          json!({}),                           lives()),
        ("DELETE", format!("/v1/keys/{key}"),          json!({}),                           vec![("confirm_name", Text)]),
        ("POST",   format!("/v1/keys/{key}/rotate"),   json!({}),                           rotation()),
        ("POST",   format!("/v1/keys/{key}/disable"),  json!({}),                           vec![]),
        ("POST",   format!("/v1/keys/{key}/enable"),   json!({}),                           vec![]),
        ("POST",   "/v1/whoami/rotate".to_owned(),     json!({}),                           rotation()),
        ("POST",   "/v1/verify".to_owned(),            asked,                               question),
        ("POST",   "/v1/verify/batch".to_owned(),      json!({ "items": [] }),              vec![("items", Objects)]),
        ("POST",   "/v1/workspaces".to_owned(),        json!({ "slug": "x", "name": "x" }), vec![("slug", Slug), ("name", Name), ("parent", Place)]),
        ("PATCH",  "/v1/workspaces/emea".to_owned(),   json!({}),                           vec![("slug", Slug), ("name", Name), ("parent", Place), ("enabled", Flag)]),
        ("POST",   "/v1/users".to_owned(),             json!({ "user_name": "x" }),         user),
        ("PATCH",  "/v1/users/alice".to_owned(),       json!({}),                           vec![("email", Email), ("enabled", Flag), ("end_keys", Flag)]),
        ("DELETE", "/v1/users/alice".to_owned(),       json!({}),                           vec![("end_keys", Flag)]),
        ("POST",   "/v1/users/alice/password".to_owned(), json!({ "password": "nine anchors in the meadow" }), vec![("password", Password), ("current_password", Text)]),
        ("PUT",    "/v1/users/alice/roles".to_owned(), json!({ "roles": [] }),              vec![("roles", Roles)]),
        ("POST",   "/v1/sessions".to_owned(),          json!({ "user_name": "x", "password": "x" }), vec![("user_name", Text), ("password", Text)]),
        ("POST",   "/v1/policies".to_owned(),          json!({ "name": "x" }),              [rules(), named].concat()),
        ("PATCH",  "/v1/policies/ours".to_owned(),     json!({}),                           rules()),
        ("PUT",    "/v1/catalogs/shop".to_owned(),     catalog,                             vec![("name", Text), ("case_sensitive", Flag), ("resource_metadata", Url), ("scopes", CatalogScopes), ("operations", Operations)]),
    ];
    let routes = table
        .into_iter()
        .map(|(method, path, good, members)| Route {
            method,
            path,
            good,
            members,
        });
    (server, routes.collect())
}

/// Everything that a request could have changed, and the newest event of the audit log. These reads count as use of the
/// key that makes them.
fn state(admin: &User) -> Vec<Value> {
    let lists = [
        "/v1/keys?limit=500",
        "/v1/workspaces",
        "/v1/users",
        "/v1/catalogs",
        "/v1/policies",
        "/v1/audit-events?limit=1",
    ];
    let without_use = |path: &str| {
        let mut page = admin.get(path).expect(200).json();
        for item in page["items"].as_array_mut().unwrap() {
            for member in ["use_count", "last_used_at", "last_used_ip"] {
                item.as_object_mut().unwrap().remove(member);
            }
        }
        page
    };
    lists.map(without_use).to_vec()
}
