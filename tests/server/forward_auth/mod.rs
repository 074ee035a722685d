//! Forward-auth by direct HTTP, as each proxy asks. Proxies and addresses in `docs/threats.md`, as far as no
//! proxy is needed; the rest (77, 88, 94, 95, 97, 101) is in `tests/proxies`.
//!
//! 100 (one instance for several hosts) is the `workspace` demand and the host of an operation.

mod addresses;
mod agent;
mod answers;
mod caddy;
mod challenges;
mod credentials;
mod gateway;
mod paths;
mod questions;

use crate::support::{Response, Server, User};
use serde_json::json;

/// The ways to ask, by proxy.
const PROXIES: [&str; 5] = ["nginx", "caddy", "traefik", "haproxy", "envoy"];

/// The headers that describe an allowed key; all of them are always present.
const IDENTITY: [&str; 7] = [
    "remote-user",
    "x-auth-subject",
    "x-auth-key-id",
    "x-auth-key-name",
    "x-auth-workspace",
    "x-auth-scopes",
    "x-auth-expires-in",
];

/// Asks in the form of `proxy` whether the user may send a request; `demands` are those in the proxy's configuration.
fn ask(
    user: &User,
    proxy: &str,
    demands: &[(&str, &str)],
    method: &str,
    uri: &str,
    host: Option<&str>,
) -> Response {
    let query = || -> String {
        let pairs: Vec<String> = demands
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("?{}", pairs.join("&"))
    };
    let with_host = |user: User, name: &str| match host {
        Some(host) => user.with(name, host),
        None => user,
    };
    match proxy {
        "nginx" => {
            let user = user
                .clone()
                .with("X-Original-Method", method)
                .with("X-Original-URI", uri);
            with_host(user, "X-Original-Host").get(&format!("/auth/nginx{}", query()))
        }
        "envoy" => {
            let named = |user: User, (name, value): &(&str, &str)| {
                user.with(&format!("X-Latchkey-{name}"), value)
            };
            let user = demands.iter().fold(user.clone(), named);
            user.call(method, &format!("/auth/envoy{uri}"), None)
        }
        proxy => {
            let user = user
                .clone()
                .with("X-Forwarded-Method", method)
                .with("X-Forwarded-Uri", uri);
            with_host(user, "X-Forwarded-Host").get(&format!("/auth/{proxy}{}", query()))
        }
    }
}

/// A server with the catalog `shop`, and a key of it with these scopes.
fn shop(scopes: &[&str]) -> (Server, User) {
    let server = Server::start();
    let catalog = json!({
        "scopes": [{ "name": "r" }, { "name": "w", "implies": ["r"] }],
        "operations": [
            { "id": "list", "method": "GET", "path": "/items", "access": "read", "any_of": ["r"] },
            { "id": "find", "method": "GET", "path": "/items/{id}", "access": "read", "any_of": ["r"] },
            { "id": "make", "method": "POST", "path": "/items", "access": "write", "any_of": ["w"] },
        ],
    });
    server.admin().put("/v1/catalogs/shop", catalog).expect(201);
    let key = json!({ "name": "shopper", "catalog": "shop", "scopes": scopes });
    let user = server.bearer(&server.admin().issue(key).secret);
    (server, user)
}

/// A key of the catalog `hosted`, which has one operation, for one host.
fn hosted(server: &Server) -> User {
    let catalog = json!({
        "scopes": [{ "name": "r" }],
        "operations": [
            { "id": "only", "method": "GET", "path": "/only", "host": "api.example", "access": "read", "any_of": ["r"] },
        ],
    });
    server
        .admin()
        .put("/v1/catalogs/hosted", catalog)
        .expect(201);
    let key = json!({ "name": "hosted", "catalog": "hosted", "scopes": ["r"] });
    server.bearer(&server.admin().issue(key).secret)
}

/// The status and the reason of a refusal.
fn verdict(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.header("x-auth-code"))
}
