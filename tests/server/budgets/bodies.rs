//! Bodies beyond 64 KiB: only from callers who have the permission that the route needs.

use serde_json::json;

use crate::support::{Server, User};

/// Announces a large catalog but sends only the head of the request; returns the status of the answer.
fn announce(server: &Server, user: &User) -> Vec<u16> {
    let head = format!(
        "PUT /v1/catalogs/x HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000000\r\nConnection: close\r\n\r\n",
        server.address,
        user.authorization(),
    );
    server.raw(head).statuses()
}

#[test]
fn a_large_body_is_read_only_for_who_may_put_catalogs_on_the_root_workspace() {
    let server = Server::start();
    let admin = server.admin();
    admin.workspace("emea", "root");
    let management = |scopes: serde_json::Value, workspace: &str| {
        let key =
            json!({ "name": "k", "catalog": "latchkey", "scopes": scopes, "workspace": workspace });
        server.bearer(&admin.issue(key).secret)
    };
    let refused = [
        server.bearer(&server.secret),
        management(json!(["keys:write", "workspaces:write"]), "root"),
        management(json!(["catalogs:read"]), "root"),
        management(json!(["catalogs:write"]), "emea"),
    ];
    for user in &refused {
        assert_eq!(announce(&server, user), [403], "{}", server.log());
    }

    assert_eq!(announce(&server, &server.bearer("nonsense")), [413]);
    let body = json!({ "scopes": [], "operations": [] }).to_string() + &" ".repeat(1_000_000);
    let writer = management(json!(["catalogs:write"]), "root");
    writer
        .send("PUT", "/v1/catalogs/x", "application/json", body.as_bytes())
        .expect(201);
}
