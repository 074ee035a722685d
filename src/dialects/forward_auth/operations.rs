//! The description of the operations for proxies.

use crate::domain::keys::verdict::{Code, Detail};
use crate::http::describe::{Document, Operation};
use serde_json::{Value, json};

/// What all operations have in common.
const ABOUT: &str = "Takes every method; a body is ignored. The credential is the client's own, in the headers that its policy \
                     names. Answers have no body.";
/// For proxies that describe the original request in headers.
const IN_HEADERS: &str =
    "Forwarded data counts only from loopback, the Unix socket and `trusted_proxies`.";
/// For a proxy that passes the original request itself.
const ITSELF: &str = "The request itself is the original one.";

/// For gateways whose path contains what they demand.
const GATEWAYS: &str = "`/auth/gateway/{catalog}[/{scope}][/workspace={name}]/-`, with `-` for no catalog. If the original path \
                        follows, the request itself is the original one, and `Path` and `Method` must be absent; if \
                        nothing follows, both must be there.";

/// The parameters: their component, place, name, description and example.
#[rustfmt::skip] // Columns are the point of this table.
const PARAMETERS: [(&str, &str, &str, &str, &str); 17] = [
    ("AskedCatalog",      "query",  "catalog",              CATALOG,   "billing"),
    ("AskedScope",        "query",  "scope",                SCOPE,     "invoices:read"),
    ("AskedWorkspace",    "query",  "workspace",            WORKSPACE, "emea"),
    ("AskedHeader",       "query",  "header",               HEADER,    "authorization"),
    ("AskedPreflight",    "query",  "preflight",            PREFLIGHT, "false"),
    ("ForwardedMethod",   "header", "X-Forwarded-Method",   METHOD,    "GET"),
    ("ForwardedUri",      "header", "X-Forwarded-Uri",      TARGET,    "/invoices/7"),
    ("ForwardedHost",     "header", "X-Forwarded-Host",     HOST,      "api.example"),
    ("GatewayMethod",     "header", "Method",               METHOD,    "GET"),
    ("GatewayPath",       "header", "Path",                 TARGET,    "/invoices/7"),
    ("OriginalMethod",    "header", "X-Original-Method",    METHOD,    "GET"),
    ("OriginalUrl",       "header", "X-Original-URL",       URL,       "https://app.example/invoices/7"),
    ("OriginalUri",       "header", "X-Original-URI",       TARGET,    "/invoices/7"),
    ("OriginalHost",      "header", "X-Original-Host",      HOST,      "api.example"),
    ("LatchkeyCatalog",   "header", "X-Latchkey-Catalog",   TRUSTED,   "billing"),
    ("LatchkeyScope",     "header", "X-Latchkey-Scope",     SCOPE,     "invoices:read"),
    ("LatchkeyWorkspace", "header", "X-Latchkey-Workspace", WORKSPACE, "emea"),
];
const CATALOG: &str = "The original request must be an operation of this catalog.";
const TRUSTED: &str = "The original request must be an operation of this catalog. Envoy itself adds this header; it counts only \
                       from trusted peers.";
const SCOPE: &str = "Scopes that are needed, separated by commas or blanks.";
const WORKSPACE: &str = "Slug or uid of a workspace that the key must reach.";
const HEADER: &str = "The one header that carries the key, `authorization` or the name of a header that a policy may name. All \
                      other headers, also `Authorization`, then belong to the application. `/auth/caddy` refuses it if \
                      `X-Forwarded-Uri` is missing or has the same query.";
const PREFLIGHT: &str = "`true` lets CORS preflights pass without a key: `OPTIONS` with one `Origin` and one \
                         `Access-Control-Request-Method` and no credential; if a catalog is demanded, only for a request that \
                         it has an operation for. All identity headers are then empty. `/auth/caddy` refuses it if \
                         `X-Forwarded-Uri` is missing or has the same query.";
const METHOD: &str = "The original method.";
const TARGET: &str = "The original target.";
const HOST: &str = "The original host.";
const URL: &str = "The whole original URL: scheme, host, and the target as the client sent it.";

/// The parameters in queries, and those of each kind of proxy.
const ASKED: [&str; 5] = [
    "AskedCatalog",
    "AskedScope",
    "AskedWorkspace",
    "AskedHeader",
    "AskedPreflight",
];
const ORIGINAL: [&str; 3] = ["OriginalMethod", "OriginalUri", "OriginalHost"];
const ORIGINAL_URL: [&str; 2] = ["OriginalMethod", "OriginalUrl"];
const FORWARDED: [&str; 3] = ["ForwardedMethod", "ForwardedUri", "ForwardedHost"];
const GATEWAY: [&str; 2] = ["GatewayMethod", "GatewayPath"];
const LATCHKEY: [&str; 3] = ["LatchkeyCatalog", "LatchkeyScope", "LatchkeyWorkspace"];

/// The identity headers of a positive answer, with their descriptions.
const IDENTITY: [(&str, &str); 7] = [
    (
        "Remote-User",
        "The name of the user who owns the key; empty for a key without an owner.",
    ),
    (
        "X-Auth-Subject",
        "`user:NAME` for a key with an owner, else `key:ID`.",
    ),
    ("X-Auth-Key-Id", "The key's id."),
    (
        "X-Auth-Key-Name",
        "Percent-encoded where it is not visible ASCII.",
    ),
    ("X-Auth-Workspace", "The slug of the workspace."),
    ("X-Auth-Scopes", "Separated by blanks."),
    (
        "X-Auth-Expires-In",
        "Seconds; empty if the key never expires.",
    ),
];

/// Adds the operations for proxies to the description of the server.
pub fn describe(document: &mut Document) {
    document.group(
        "forward-auth",
        "The questions of reverse proxies about each request before they pass it on.",
    );
    for (component, place, name, about, example) in PARAMETERS {
        let mut parameter = json!({
            "name": name, "in": place, "description": about, "schema": { "type": "string" }, "example": example,
        });
        if name == "preflight" {
            parameter["schema"]["enum"] = json!(["true", "false"]);
        }
        document.parameters.insert(component.to_owned(), parameter);
    }
    let url = "Host and path are read only from `X-Original-URL`; if `X-Original-URI` or `X-Original-Host` is also present with \
               another value, the request is refused.";
    let in_headers = format!("{IN_HEADERS} {ABOUT}");
    let of_url = format!("{in_headers} {url}");
    let itself = format!("{ITSELF} {ABOUT}");
    let mut add = |path: &str, id: &str, proxy: &str, about: &str, parameters: &[&[&str]]| {
        let summary = format!("Ask for {proxy}");
        let operation = document
            .add(&format!("any /auth/{path}"), id, &summary)
            .about(about);
        let parameters = parameters.iter().copied().flatten();
        let operation = parameters.fold(operation, |operation, name| operation.shared(name));
        answers(operation, path);
    };
    add(
        "nginx",
        "askNginx",
        "nginx (`auth_request`)",
        &in_headers,
        &[&ASKED, &ORIGINAL],
    );
    add(
        "nginx-url",
        "askNginxUrl",
        "nginx or an ingress controller that sends the whole URL",
        &of_url,
        &[&ASKED, &ORIGINAL_URL],
    );
    add(
        "caddy",
        "askCaddy",
        "Caddy (`forward_auth`)",
        &in_headers,
        &[&ASKED, &FORWARDED],
    );
    add(
        "traefik",
        "askTraefik",
        "Traefik (ForwardAuth)",
        &in_headers,
        &[&ASKED, &FORWARDED],
    );
    add(
        "haproxy",
        "askHaproxy",
        "HAProxy",
        &in_headers,
        &[&ASKED, &FORWARDED],
    );
    add(
        "envoy",
        "askEnvoyRoot",
        "Envoy (`ext_authz`), about the path /",
        &itself,
        &[&LATCHKEY],
    );
    add(
        "envoy/{path}",
        "askEnvoy",
        "Envoy (`ext_authz`)",
        &itself,
        &[&LATCHKEY],
    );
    add(
        "gateway/{path}",
        "askGateway",
        "gateways of the Kubernetes Gateway API (`ExternalAuth` over HTTP)",
        &format!("{GATEWAYS} {in_headers}"),
        &[&GATEWAY],
    );
    let asked = json!([{
        "name": "path", "in": "path", "required": true, "description": "The demands, `/-`, and the original path if the gateway appends it.",
        "schema": { "type": "string" }, "example": "billing/-/invoices/7",
    }]);
    document.paths["/auth/gateway/{path}"]["parameters"] = asked;
    let path = json!([{
        "name": "path", "in": "path", "required": true, "description": "The original path, with all slashes; the query behind it is the original one too.",
        "schema": { "type": "string" }, "example": "invoices/7",
    }]);
    document.paths["/auth/envoy/{path}"]["parameters"] = path;
}

fn answers(operation: Operation<'_>, path: &str) {
    let for_nginx = path.starts_with("nginx");
    let text = || json!({ "type": "string" });
    let code = json!({ "type": "string", "enum": codes() });
    let ways = json!([{ "bearer": [] }, { "apiKey": [] }, { "basic": [] }, {}]);
    let challenged = "The key is valid, but not for this request. If a scope is missing, `WWW-Authenticate` names it (RFC 6750, \
                      section 3.1)";
    let mut operation = operation.security(ways).ends(
        200,
        "The proxy passes the request on. All of the identity headers are always present, empty if there is no value.",
    );
    for (name, about) in IDENTITY {
        operation = operation.header(200, name, about, text());
    }
    operation = rates(operation, 200)
        .ends(401, "The credential is missing or not accepted.")
        .header(401, "WWW-Authenticate", "RFC 6750, section 3. It names the scopes that the request needs, and the catalog's `resource_metadata` (RFC 9728).", text());
    operation = if path.starts_with("gateway") {
        let limits = ", or its limit is reached and the gateway sends `Path` and `Method`.";
        let refused = operation.ends(403, &format!("{challenged}{limits}"));
        let refused = limited(
            refused.header(403, "X-Auth-Code", "The reason.", code.clone()),
            403,
        );
        let refused = refused.ends(429, "The key's limit is reached.");
        limited(refused.header(429, "X-Auth-Code", "The reason.", code), 429)
    } else if for_nginx {
        let limits = "; this includes limits, because nginx turns any other status into 500.";
        let refused = operation.ends(403, &format!("{challenged}{limits}"));
        limited(refused.header(403, "X-Auth-Code", "The reason.", code), 403)
    } else {
        let refused = operation.ends(403, &format!("{challenged}."));
        let refused = refused.header(403, "X-Auth-Code", "The reason.", code.clone());
        let refused = refused.ends(429, "The key's limit is reached.");
        limited(refused.header(429, "X-Auth-Code", "The reason.", code), 429)
    };
    operation
        .ends(500, "An internal error; the cause is in the server's log.")
        .ends(503, "The server cannot decide at the moment. A proxy denies on every answer that is not 2xx.")
        .header(503, "Retry-After", "Seconds.", json!({ "type": "integer", "minimum": 1 }));
}

/// The headers of an answer because a limit is reached.
fn limited(operation: Operation<'_>, status: u16) -> Operation<'_> {
    let seconds = json!({ "type": "integer", "minimum": 1 });
    rates(
        operation.header(status, "Retry-After", "Seconds.", seconds),
        status,
    )
}

fn rates(operation: Operation<'_>, status: u16) -> Operation<'_> {
    let about = "draft-ietf-httpapi-ratelimit-headers, if the key is limited.";
    let text = || json!({ "type": "string" });
    operation
        .header(status, "RateLimit-Policy", about, text())
        .header(status, "RateLimit", about, text())
}

/// The values of `X-Auth-Code`.
fn codes() -> Vec<Value> {
    let codes = [
        Code::InsufficientScope,
        Code::IpNotAllowed,
        Code::ReadOnly,
        Code::OutsideWorkspace,
        Code::RateLimited,
        Code::UsageExceeded,
    ];
    let details = [Detail::UnsafeRequest, Detail::UnknownOperation];
    let words = codes
        .map(Code::as_str)
        .into_iter()
        .chain(details.map(Detail::as_str));
    words.map(|word| json!(word)).collect()
}
