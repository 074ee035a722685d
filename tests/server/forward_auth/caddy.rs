//! Questions of Caddy, which may have the query of its client.

use serde_json::{Value, json};

use super::{shop, verdict};
use crate::support::{PASSWORD, Response, Server, User};

/// finding c2: Caddy adds the client's query where its `uri` has none.
#[test]
fn the_query_of_caddys_client_demands_nothing_and_opens_nothing() {
    let (server, user) = shop(&["r"]);
    let asked = |user: &User, method: &str, uri: &str, question: &str| {
        let user = user
            .clone()
            .with("X-Forwarded-Method", method)
            .with("X-Forwarded-Uri", uri)
            .with("X-Forwarded-Host", "app.example");
        user.get(&format!("/auth/caddy{question}"))
    };
    let status = |uri: &str, question: &str| asked(&user, "GET", uri, question).status;
    // No `?` in the Caddyfile: the question has the client's query.
    assert_eq!(status("/items?page=2", "?page=2"), 200);
    assert_eq!(status("/items", ""), 200);
    server.wait_for_log("Caddy adds the client's query to its question", 1);
    // The administrator demands the catalog: the client does not get rid of it by any query.
    for query in ["", "?page=2", "?catalog=shop", "?catalog=other", "?"] {
        let uri = format!("/nothing{query}");
        let answer = asked(&user, "GET", &uri, "?catalog=shop");
        assert_eq!(verdict(&answer), (403, Some("UNKNOWN_OPERATION")), "{uri}");
        assert_eq!(
            status(&format!("/items{query}"), "?catalog=shop"),
            200,
            "{query}"
        );
    }
    // A client injects nothing that lets it in.
    let nobody = server.anonymous().with("Origin", "https://evil.example");
    let nobody = nobody.with("Access-Control-Request-Method", "GET");
    for query in [
        "?preflight=true",
        "?%70reflight=true",
        "?preflight=true&catalog=shop",
    ] {
        let answer = asked(&nobody, "OPTIONS", &format!("/items{query}"), query);
        assert_eq!(answer.status, 401, "{query}");
    }
    let other = server.anonymous().with("X-API-Key", &server.secret);
    let other = other.with("Authorization", "Basic dXNlcjpwYXNz");
    let injected = asked(
        &other,
        "GET",
        "/items?header=x-api-key",
        "?header=x-api-key",
    );
    assert_eq!(injected.status, 401);
    for query in [
        "?catalogue=shop",
        "?workspace",
        "?page=2&workspace=emea",
        "?page=%zz",
    ] {
        assert_eq!(status(&format!("/items{query}"), query), 403, "{query}");
    }
    // What no client sent is a mistake of the operator.
    assert_eq!(status("/items?page=3", "?page=2"), 403);
    // Other proxies never add a query.
    let traefik = user.clone().with("X-Forwarded-Uri", "/items?page=2");
    assert_eq!(traefik.get("/auth/traefik?page=2").status, 403);
}

/// Asks as Caddy does whose `uri` has no `?`: the question has the query of its client.
fn with_clients_query(user: &User, method: &str, path: &str, query: &str) -> Response {
    with_query(user, method, &format!("{path}{query}"), query)
}

/// Asks as Caddy does, with the question's query and the client's.
fn with_query(user: &User, method: &str, uri: &str, question: &str) -> Response {
    let user = user.clone().with("X-Forwarded-Method", method);
    let user = user.with("X-Forwarded-Uri", uri);
    user.get(&format!("/auth/caddy{question}"))
}

/// finding c2: the catalog decides what writes, so a client could choose one that says that its request only reads.
#[test]
fn a_catalog_in_the_query_of_caddys_client_opens_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let catalog = json!({
        "scopes": [{ "name": "r" }],
        "operations": [
            { "id": "find", "method": "POST", "path": "/find", "access": "read", "any_of": ["r"] },
        ],
    });
    admin.put("/v1/catalogs/shop", catalog).expect(201);
    let issue = |more: Value| {
        let mut key = json!({ "name": "k", "catalog": "shop", "scopes": ["r"] });
        let more = more.as_object().unwrap().clone();
        key.as_object_mut().unwrap().extend(more);
        server.bearer(&admin.issue(key).secret)
    };
    let reader = issue(json!({ "read_only": true }));
    let refused = (403, Some("READ_ONLY"));
    for query in ["", "?page=2", "?catalog=shop", "?catalog=shop&scope=r"] {
        let answer = with_clients_query(&reader, "POST", "/find", query);
        assert_eq!(verdict(&answer), refused, "{query}");
    }
    // Without X-Forwarded-Uri, the query may be the client's too.
    let blind = reader.get("/auth/caddy?scope=r");
    assert_eq!(verdict(&blind), refused);
    // The administrator's catalog still decides where the client sends another query.
    for uri in ["/find", "/find?page=2", "/find?catalog=other"] {
        assert_eq!(
            with_query(&reader, "POST", uri, "?catalog=shop").status,
            200,
            "{uri}"
        );
    }
    let writer = issue(json!({}));
    let answer = with_clients_query(&writer, "POST", "/find", "?catalog=shop");
    assert_eq!(answer.status, 200);
    let answer = with_clients_query(&writer, "POST", "/other", "?catalog=shop");
    assert_eq!(verdict(&answer), (403, Some("UNKNOWN_OPERATION")));
    // A question that is judged twice spends once.
    let twice = issue(json!({ "uses_left": 2 }));
    for status in [200, 200, 429] {
        let answer = with_clients_query(&twice, "POST", "/find", "?catalog=shop");
        assert_eq!(answer.status, status);
    }
    let limited = issue(json!({ "rate_limit": { "limit": 2, "window_s": 60 } }));
    for status in [200, 200, 429] {
        let answer = with_clients_query(&limited, "POST", "/find", "?catalog=shop");
        assert_eq!(answer.status, status);
    }
}

/// finding c2: the workspace decides which roles of the owner count, so a client could choose one where the owner may
/// do more.
#[test]
fn a_workspace_in_the_query_of_caddys_client_opens_nothing() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    admin.person("alice", "member", "root");
    let policy = json!({
        "name": "acting", "issued_by": "owner", "acts_for_owner": true, "owner": "required",
        "roles": { "auditor": { "scopes": ["a"], "read_only": true }, "member": { "scopes": ["*"] } },
    });
    admin.post("/v1/policies", policy).expect(201);
    let alice = server.anonymous().signed_in("alice", PASSWORD);
    let key = json!({ "name": "k", "policy": "acting", "owner": "alice", "scopes": ["a", "b"] });
    let user = server.bearer(&alice.issue(key).secret);
    let roles = json!({ "roles": [
        { "workspace": "root", "role": "auditor" },
        { "workspace": "emea", "role": "member" },
    ] });
    server
        .local()
        .put("/v1/users/alice/roles", roles)
        .expect(200);
    let told = |answer: Response| {
        let scopes = answer.header("x-auth-scopes").map(str::to_owned);
        (answer.status, scopes)
    };
    let allowed = |scopes: &str| (200, Some(scopes.to_owned()));
    let client = |method: &str, query: &str| told(with_clients_query(&user, method, "/a", query));
    for query in ["", "?page=2", "?workspace=emea"] {
        assert_eq!(client("GET", query), allowed("a"), "{query}");
        let answer = with_clients_query(&user, "POST", "/a", query);
        let refused = (403, Some("INSUFFICIENT_SCOPE"));
        assert_eq!(verdict(&answer), refused, "{query}");
    }
    // The application learns only scopes that the key has in both workspaces.
    assert_eq!(client("GET", "?workspace=emea&scope=b"), allowed("a"));
    assert_eq!(told(user.get("/auth/caddy?workspace=emea")).0, 403);
    // The administrator's workspace still decides.
    for uri in ["/a", "/a?page=2", "/a?workspace=root"] {
        let ask = |method: &str, more: &str| {
            told(with_query(
                &user,
                method,
                uri,
                &format!("?workspace=emea{more}"),
            ))
        };
        assert_eq!(ask("GET", ""), allowed("a b"), "{uri}");
        assert_eq!(ask("POST", "&scope=b"), allowed("a b"), "{uri}");
    }
}
