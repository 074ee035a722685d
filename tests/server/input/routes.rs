//! Paths, methods and query parameters.

use serde_json::json;

use super::{routes, state};
use crate::support::Server;

#[test]
fn unknown_paths_are_404_and_other_methods_405_with_what_is_allowed() {
    let server = Server::start();
    let admin = server.admin();
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v2/keys",
        "/v1/key",
        "/v1/keysx",
        "/V1/keys",
        "/v1/keys/a/b",
        "/v1//keys",
        "/v1/keys/a/rotate/b",
        "/keys",
        "/v1/verify/x",
        "/v1/whoami/x",
        "/admin",
        "/.env",
        "/v1/%6beys",
        "/v1/./keys",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            admin.call(method, path, None).refused(404, "not-found");
        }
    }
    for (path, allow) in [
        ("/v1/keys", "GET, HEAD, POST"),
        ("/v1/keys/0000000000", "DELETE, GET, HEAD, PATCH"),
        ("/v1/keys/0000000000/rotate", "POST"),
        ("/v1/whoami", "GET, HEAD"),
        ("/v1/workspaces/root", "DELETE, GET, HEAD, PATCH"),
        ("/v1/users/owner/roles", "PUT"),
        ("/v1/users/owner/password", "POST"),
        ("/v1/sessions", "POST"),
        ("/v1/sessions/current", "DELETE"),
        ("/v1/catalogs/x", "DELETE, GET, HEAD, PUT"),
        ("/v1/audit-events", "GET, HEAD"),
        ("/v1/usage", "GET, HEAD"),
    ] {
        for method in ["PROPFIND", "OPTIONS", "LOCK"] {
            // Sent without a credential: the documentation lists the existing routes anyway.
            let response = server.anonymous().call(method, path, None);
            assert_eq!(
                response.header("allow"),
                Some(allow),
                "{method} {path} {}",
                response.status
            );
            response.refused(405, "method-not-allowed");
        }
    }
    let head = admin.call("HEAD", "/v1/keys", None).expect(200);
    assert!(head.body.is_empty());
}

/// attacks 189: a list is filtered by whole values of members with plain names; no name and no value is an expression.
#[test]
fn no_expression_looks_into_metadata() {
    let server = Server::start();
    let admin = server.admin();
    admin.issue(json!({ "name": "k", "metadata": { "a'\"$.x": "%", "$..x": 1 } }));
    for query in [
        "metadata=1",
        "metadata.%24..x=1",
        "metadata%5Ba%5D=1",
        "%24filter=a",
    ] {
        admin
            .get(&format!("/v1/keys?{query}"))
            .refused(400, "invalid-request");
    }
    // A search finds the name as a text.
    for (text, count) in [("%24..x", 1), ("%24..*", 0), ("%24%5B*%5D", 0)] {
        let found = admin.get(&format!("/v1/keys?q={text}")).expect(200);
        assert_eq!(found.ids().len(), count, "{}", found.exchange());
    }
}

/// attacks 126
#[test]
fn a_parameter_that_a_route_does_not_know_is_400() {
    let (server, with_body) = routes();
    let admin = server.admin();
    let key = server.key["id"].as_str().unwrap();
    let before = state(&admin);
    let mut calls: Vec<(&str, String, Option<_>)> = with_body
        .into_iter()
        .map(|route| (route.method, route.path, Some(route.good)))
        .collect();
    for path in [
        "/v1/whoami",
        "/v1/workspaces",
        "/v1/workspaces/emea",
        "/v1/users",
        "/v1/users/alice",
        "/v1/catalogs",
        "/v1/catalogs/latchkey",
        "/v1/policies",
        "/v1/policies/standard",
    ] {
        calls.push(("GET", path.to_owned(), None));
    }
    calls.push(("GET", format!("/v1/keys/{key}"), None));
    calls.push(("DELETE", format!("/v1/keys/{key}"), None));
    calls.push(("DELETE", "/v1/workspaces/emea".to_owned(), None));
    calls.push(("DELETE", "/v1/users/alice".to_owned(), None));
    calls.push(("DELETE", "/v1/catalogs/none".to_owned(), None));
    calls.push(("DELETE", "/v1/sessions/current".to_owned(), None));
    for (method, path, body) in &calls {
        for query in ["x=1", "fields=id", "a=1&a=2", "%zz"] {
            let response = admin.call(method, &format!("{path}?{query}"), body.as_ref());
            response.refused(400, "invalid-request");
        }
    }
    assert_eq!(state(&admin), before);
    let form = (
        "application/x-www-form-urlencoded",
        format!("token={}", server.secret),
    );
    for path in ["/v1/introspect?x=1", "/v1/revoke?token=a"] {
        admin
            .send("POST", path, form.0, form.1.as_bytes())
            .refused(400, "invalid-request");
    }
    assert_eq!(
        admin.verify(json!({ "key": server.secret }))["code"],
        "VALID"
    );
}
