//! What a question of a proxy can contain besides its demands, tested with changed copies of the examples.

use serde_json::json;

use crate::harness::client::{Request, get, request};
use crate::harness::proxy::{CADDY, CURRENT_CADDY, NGINX, Proxy};
use crate::harness::stage::Stage;

/// A form of the request that ingress controllers and most published snippets forward.
const WHOLE_URL: &[(&str, &str)] = &[
    ("/auth/nginx;", "/auth/nginx-url;"),
    ("/auth/nginx?", "/auth/nginx-url?"),
    ("proxy_set_header X-Original-URI $request_uri;", ""),
    (
        "proxy_set_header X-Original-Host $host;",
        "proxy_set_header X-Original-URL $scheme://$http_host$request_uri;",
    ),
];

#[test]
fn nginx_may_tell_the_whole_url() {
    let Some(stage) = Stage::set_changed(&NGINX, WHOLE_URL) else {
        return;
    };
    stage.passes(&get("/?a=b").bearer(&stage.bare.secret));
    for target in ["/billing/invoices", "/billing/invoices?page=2&x=/a?b"] {
        stage.passes(&get(target).bearer(&stage.reader.secret));
        let missing = get(target).bearer(&stage.bare.secret);
        let reply = stage.refuses(&missing, 403, Some("INSUFFICIENT_SCOPE"));
        let challenge = reply.header("WWW-Authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope", scope="invoices:read""#),
            "{challenge}"
        );
    }
    let other = get("/billing/other").bearer(&stage.reader.secret);
    stage.refuses(&other, 403, Some("UNKNOWN_OPERATION"));
    // Headers of the same names that a client sends do not reach Latchkey.
    let forged = get("/billing/other")
        .bearer(&stage.reader.secret)
        .header("X-Original-URL", "http://a/billing/invoices")
        .header("X-Original-URI", "/billing/invoices");
    stage.refuses(&forged, 403, Some("UNKNOWN_OPERATION"));
}

/// The form in Caddy's own documentation.
const WITHOUT_QUESTION_MARK: &[(&str, &str)] = &[("uri /auth/caddy?\n", "uri /auth/caddy\n")];

#[test]
fn a_client_of_caddy_cannot_write_the_question() {
    client_of_caddy(&CADDY);
}

#[test]
fn a_client_of_the_current_caddy_cannot_write_the_question() {
    client_of_caddy(&CURRENT_CADDY);
}

#[track_caller]
fn client_of_caddy(proxy: &'static Proxy) {
    let Some(stage) = Stage::set_changed(proxy, WITHOUT_QUESTION_MARK) else {
        return;
    };
    for target in [
        "/",
        "/?",
        "/?page=2",
        "/?a=%5B1%5D&b=[2]&&c;d",
        "/?x=catalog",
    ] {
        stage.passes(&get(target).bearer(&stage.bare.secret));
        stage.refuses(&get(target), 401, None);
    }
    // A catalog that a client names demands more. How it describes the request does not count: a key that only reads does
    // not write, even if the catalog calls the operation reading.
    let demanding = get("/?catalog=billing").bearer(&stage.bare.secret);
    stage.refuses(&demanding, 403, Some("UNKNOWN_OPERATION"));
    let catalog = json!({
        "scopes": [{"name": "r"}],
        "operations": [{"id": "find", "method": "POST", "path": "/find", "access": "read", "any_of": ["r"]}],
    });
    stage.latchkey.call("PUT", "/v1/catalogs/finding", &catalog);
    let issue = |name: &str, read_only: bool| {
        let members = json!({"catalog": "finding", "read_only": read_only});
        stage.latchkey.issue(name, &["r"], members)
    };
    let (looks, writes) = (issue("looks", true), issue("writes", false));
    for query in ["", "?catalog=finding"] {
        let target = format!("/find{query}");
        let find = |secret: &str| request("POST", target.as_bytes()).bearer(secret);
        stage.refuses(&find(&looks.secret), 403, Some("READ_ONLY"));
        stage.passes(&find(&writes.secret));
    }
    for target in [
        "/?preflight=true",
        "/?%70reflight=true",
        "/?a=1&preflight=true",
    ] {
        stage.refuses(&preflight(target), 401, None);
    }
    let both = get("/?header=x-api-key")
        .header("X-API-Key", &stage.bare.secret)
        .header("Authorization", "Basic dXNlcjpwYXNz");
    stage.refuses(&both, 401, None);
    // What the administrator demands in the query of the question stays in force, with any query of the client.
    for query in ["", "?catalog=billing", "?page=2", "?catalog=other"] {
        let reading = |path: &str| get(&format!("{path}{query}")).bearer(&stage.reader.secret);
        stage.passes(&reading("/billing/invoices"));
        stage.refuses(&reading("/billing/other"), 403, Some("UNKNOWN_OPERATION"));
    }
}

fn preflight(target: &str) -> Request {
    request("OPTIONS", target.as_bytes())
        .header("Origin", "https://web.example")
        .header("Access-Control-Request-Method", "GET")
}

const NGINX_MORE: &[(&str, &str)] = &[
    (
        "?catalog=billing;",
        "?catalog=billing&preflight=true&header=x-api-key;",
    ),
    ("#proxy_set_header Origin", "proxy_set_header Origin"),
    (
        "#proxy_set_header Access-Control-Request-Method",
        "proxy_set_header Access-Control-Request-Method",
    ),
    (
        "proxy_set_header Authorization \"\";",
        "proxy_set_header Authorization $http_authorization;",
    ),
];

const CADDY_MORE: &[(&str, &str)] = &[
    (
        "?catalog=billing\n",
        "?catalog=billing&preflight=true&header=x-api-key\n",
    ),
    ("header_up -Authorization\n", "\n"),
];

#[test]
fn nginx_leaves_preflights_and_authorization_to_the_application() {
    more(&NGINX, NGINX_MORE);
}

#[test]
fn caddy_leaves_preflights_and_authorization_to_the_application() {
    more(&CADDY, CADDY_MORE);
}

#[track_caller]
fn more(proxy: &'static Proxy, changes: &[(&str, &str)]) {
    let Some(stage) = Stage::set_changed(proxy, changes) else {
        return;
    };
    let seen = stage.passes(&preflight("/billing/invoices?page=2"));
    assert_eq!(seen.values("x-auth-subject").join(""), "");
    let forged = preflight("/billing/invoices").header("X-Auth-Subject", "user:owner");
    assert_eq!(stage.passes(&forged).values("x-auth-subject").join(""), "");
    stage.refuses(&preflight("/billing/other"), 401, None);
    stage.refuses(&preflight("/"), 401, None);
    let get_like = get("/billing/invoices")
        .header("Origin", "https://web.example")
        .header("Access-Control-Request-Method", "GET");
    stage.refuses(&get_like, 401, None);
    let own = "Basic dXNlcjpwYXNz";
    let both = get("/billing/invoices")
        .header("X-API-Key", &stage.reader.secret)
        .header("Authorization", own);
    assert_eq!(stage.passes(&both).values("authorization"), [own]);
    let elsewhere = get("/billing/invoices").bearer(&stage.reader.secret);
    stage.refuses(&elsewhere, 401, None);
}
