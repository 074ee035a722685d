//! Through a proxy, a refusal has the form of the catalog's dialect. The examples use the catalog `billing`; copies of
//! them use that of a dialect here.

use serde_json::json;

use crate::harness::client::{Request, get, post};
use crate::harness::proxy::{CADDY, NGINX, Proxy};
use crate::harness::stage::Stage;

/// Replaces `/billing` by Aware's API in the example of nginx.
const NGINX_AWARE: &[(&str, &str)] = &[
    ("?catalog=billing", "?catalog=aware"),
    ("~* ^/billing(/|$)", "~* ^/external(/|$)"),
    (
        "proxy_set_header X-API-Key \"\";",
        "proxy_set_header X-API-Key \"\"; proxy_set_header X-Aware-Api-Key \"\";",
    ),
];

/// The same with Caddy.
const CADDY_AWARE: &[(&str, &str)] = &[
    ("/auth/caddy?catalog=billing", "/auth/caddy?catalog=aware"),
    ("path /billing /billing/*", "path /external /external/*"),
    (
        "header_up -X-API-Key",
        "header_up -X-API-Key\n\t\theader_up -X-Aware-Api-Key",
    ),
];

#[test]
fn nginx_tells_a_client_of_aware_what_it_expects() {
    check(&NGINX, NGINX_AWARE);
}

#[test]
fn caddy_tells_a_client_of_aware_what_it_expects() {
    check(&CADDY, CADDY_AWARE);
}

#[track_caller]
fn check(proxy: &'static Proxy, changes: &[(&str, &str)]) {
    let Some(stage) = Stage::set_changed(proxy, changes) else {
        return;
    };
    let policy = |more: serde_json::Value| {
        let mut members = json!({"policy": "aware", "catalog": "aware"});
        let more = more.as_object().unwrap().clone();
        members.as_object_mut().unwrap().extend(more);
        members
    };
    let token = stage
        .latchkey
        .issue("siem", &["data_holds:read"], policy(json!({})));
    let with_token = |request: Request| request.header("X-Aware-Api-Key", &token.secret);

    let seen = stage.passes(&with_token(get("/external/dataholds/v1?limit=200")));
    assert_eq!(seen.values("remote-user"), ["owner"]);
    assert!(
        !seen.text().contains(&token.secret),
        "the application sees the token"
    );
    stage.passes(&with_token(get("/external/system/platforms/v1")));

    let lacking = with_token(post("/external/dataholds/v1").body(b"{}"));
    let reply = stage.refuses(&lacking, 403, Some("INSUFFICIENT_SCOPE"));
    let told = json!({
        "error": "forbidden",
        "message": "The token lacks the permission for this endpoint.",
        "requiredPermissions": ["Data Holds Full Access"],
    });
    assert_eq!(reply.json(), told, "{}", reply.text());
    assert_eq!(reply.header("Content-Type"), Some("application/json"));

    let nobody = stage.refuses(&get("/external/dataholds/v1"), 401, None);
    assert_eq!(nobody.json()["error"], "unauthorized", "{}", nobody.text());
    assert!(
        nobody.header("WWW-Authenticate").is_some(),
        "{}",
        nobody.text()
    );

    let limit = policy(json!({"rate_limit": {"limit": 1, "window_s": 60}}));
    let slow = stage.latchkey.issue("slow", &["audit_logs:read"], limit);
    let poll = get("/external/system/auditlogs/v1").header("X-Aware-Api-Key", &slow.secret);
    stage.passes(&poll);
    let reply = stage.refuses(&poll, 429, Some("RATE_LIMITED"));
    assert_eq!(
        reply.json()["error"],
        "too_many_requests",
        "{}",
        reply.text()
    );
    assert!(reply.header("Retry-After").is_some(), "{}", reply.text());

    // The key is deleted, and is refused from then on.
    stage.latchkey.delete(&token);
    stage.refuses(&with_token(get("/external/dataholds/v1")), 401, None);
}
