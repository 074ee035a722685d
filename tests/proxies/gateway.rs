//! The files of `examples/gateway-api`, with the real Envoy and the real nginx. There is no cluster here, so each test
//! writes the configuration that a gateway makes of its file: Envoy Gateway the filter `ext_authz` with a path prefix,
//! NGINX Gateway Fabric `auth_request` with the headers `Path` and `Method`. Paths and headers come from the files.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::client::{Request, get, post, request};
use crate::harness::latchkey::Latchkey;
use crate::harness::proxy::{ENVOY, NGINX, Proxy};
use crate::harness::stage::Stage;
use crate::wait;

const HOST: &str = "app.example";

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway-api");
    std::fs::read_to_string(file.join(name)).unwrap()
}

/// The entries of the list below a line of YAML.
fn list<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(&format!("{name}:\n")).unwrap();
    let lines = rest.lines().map(str::trim);
    let entries: Vec<&str> = lines.map_while(|line| line.strip_prefix("- ")).collect();
    assert!(!entries.is_empty(), "{name}");
    entries
}

/// The value of a line of YAML.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines().map(str::trim);
    let found = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap()
}

fn variable(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// What NGINX Gateway Fabric writes for its file.
fn nginx(_: &'static Proxy, _: &Latchkey, folder: &Path) -> PathBuf {
    let text = example("nginx-gateway-fabric.yaml");
    let answers: String = list(&text, "allowedResponseHeaders")
        .iter()
        .map(|name| {
            let variable = variable(name);
            format!(
                "auth_request_set $ext_auth_response_{variable} $upstream_http_{variable};\n\
                 proxy_set_header {name} $ext_auth_response_{variable};\n"
            )
        })
        .collect();
    let removed: String = list(&text, "remove")
        .iter()
        .map(|name| format!("proxy_set_header {name} \"\";\n"))
        .collect();
    let asked: String = list(&text, "allowedHeaders")
        .iter()
        .map(|name| format!("proxy_set_header {name} \"$http_{}\";\n", variable(name)))
        .collect();
    let path = value(&text, "path");
    let internal = "/_ngf-internal-ext-auth-default_application_rule0";
    let config = format!(
        "daemon off; pid nginx.pid; error_log stderr warn; events {{}}
         http {{
           access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
           uwsgi_temp_path uwsgi; scgi_temp_path scgi;
           map $http_host $gw_api_compliant_host {{ '' $host; default $http_host; }}
           map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
           upstream latchkey_latchkey_8420 {{ random two least_conn; zone latchkey_latchkey_8420 512k; server 127.0.0.1:8420; }}
           upstream default_application_9000 {{ random two least_conn; zone default_application_9000 512k; server 127.0.0.1:9000; }}
           server {{ listen 127.0.0.1:8081 default_server; default_type text/html; return 404; }}
           server {{
             listen 127.0.0.1:8081;
             server_name {HOST};
             location / {{
               auth_request {internal};
               {answers}
               proxy_http_version 1.1;
               {removed}
               proxy_set_header Host \"$gw_api_compliant_host\";
               proxy_set_header X-Forwarded-For \"$proxy_add_x_forwarded_for\";
               proxy_set_header X-Real-IP \"$remote_addr\";
               proxy_set_header X-Forwarded-Proto \"$scheme\";
               proxy_set_header X-Forwarded-Host \"$host\";
               proxy_set_header X-Forwarded-Port \"$server_port\";
               proxy_set_header Upgrade \"$http_upgrade\";
               proxy_set_header Connection \"$connection_upgrade\";
               proxy_pass http://default_application_9000$request_uri;
             }}
             location {internal} {{
               internal;
               proxy_set_header Host \"$gw_api_compliant_host\";
               proxy_set_header Path \"$request_uri\";
               proxy_set_header Method \"$request_method\";
               proxy_set_header Authorization \"$http_authorization\";
               {asked}
               proxy_pass http://latchkey_latchkey_8420{path};
               proxy_pass_request_body off;
               proxy_set_header Content-Length \"\";
               proxy_pass_request_headers off;
             }}
           }}
         }}"
    );
    write(folder, "nginx.conf", &config)
}

/// What Envoy Gateway writes for its file.
fn envoy_gateway(_: &'static Proxy, _: &Latchkey, folder: &Path) -> PathBuf {
    let text = example("envoy-gateway.yaml");
    let early: Vec<Value> = list(text.split_once("earlyRequestHeaders").unwrap().1, "remove")
        .iter()
        .map(|name| json!({"remove": name}))
        .collect();
    let made = Made {
        path: value(&text, "path"),
        asked: list(&text, "headersToExtAuth"),
        answers: list(&text, "headersToBackend"),
        // Envoy Gateway lets all headers of a refusal through.
        refusals: None,
        removed: list(&text, "remove"),
        early,
    };
    write(folder, "envoy.yaml", &made.config().to_string())
}

/// What Istio writes for its files.
fn istio(_: &'static Proxy, _: &Latchkey, folder: &Path) -> PathBuf {
    let (route, mesh) = (example("istio.yaml"), example("istio-mesh.yaml"));
    let made = Made {
        path: value(&mesh, "pathPrefix"),
        asked: list(&mesh, "includeRequestHeadersInCheck"),
        answers: list(&mesh, "headersToUpstreamOnAllow"),
        refusals: Some(list(&mesh, "headersToDownstreamOnDeny")),
        removed: list(&route, "remove"),
        early: Vec::new(),
    };
    write(folder, "envoy.yaml", &made.config().to_string())
}

/// The parts of a configuration of Envoy that depend on the gateway.
struct Made<'a> {
    path: &'a str,
    asked: Vec<&'a str>,
    answers: Vec<&'a str>,
    refusals: Option<Vec<&'a str>>,
    removed: Vec<&'a str>,
    early: Vec<Value>,
}

impl Made<'_> {
    fn config(&self) -> Value {
        let patterns = |names: &[&str]| {
            let pattern = |name: &&str| match name.strip_suffix('*') {
                Some(prefix) => json!({"prefix": prefix, "ignore_case": true}),
                None => json!({"exact": name, "ignore_case": true}),
            };
            let patterns: Vec<Value> = names.iter().map(pattern).collect();
            json!({"patterns": patterns})
        };
        let mut response = json!({"allowed_upstream_headers": patterns(&self.answers)});
        if let Some(names) = &self.refusals {
            response["allowed_client_headers"] = patterns(names);
        }
        let typed = |name: &str, mut config: Value, kind: &str| {
            config["@type"] = json!(format!(
                "type.googleapis.com/envoy.extensions.filters.{kind}"
            ));
            json!({"name": name, "typed_config": config})
        };
        let question = json!({
            "transport_api_version": "V3",
            "failure_mode_allow": false,
            "status_on_error": {"code": 503},
            "allowed_headers": patterns(&self.asked),
            "http_service": {
                "path_prefix": self.path,
                "server_uri": {"uri": "http://latchkey.latchkey:8420", "cluster": "latchkey", "timeout": "2s"},
                "authorization_response": response,
            },
        });
        let mutations = json!({"mutations": {"request_mutations": self.early}});
        let mut filters = vec![
            typed(
                "envoy.filters.http.ext_authz",
                question,
                "http.ext_authz.v3.ExtAuthz",
            ),
            typed(
                "envoy.filters.http.router",
                json!({}),
                "http.router.v3.Router",
            ),
        ];
        if !self.early.is_empty() {
            let early = typed("early", mutations, "http.header_mutation.v3.HeaderMutation");
            filters.insert(0, early);
        }
        let manager = json!({
            "stat_prefix": "http",
            "use_remote_address": true,
            "normalize_path": true,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{
                "name": "application",
                "domains": [HOST],
                "routes": [{
                    "match": {"prefix": "/"},
                    "route": {"cluster": "application"},
                    "request_headers_to_remove": self.removed,
                }],
            }]},
        });
        let manager = typed(
            "envoy.filters.network.http_connection_manager",
            manager,
            "network.http_connection_manager.v3.HttpConnectionManager",
        );
        let socket =
            |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let cluster = |name: &str, port: u16| {
            json!({
                "name": name, "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": socket(port)}}]},
                ]},
            })
        };
        json!({"static_resources": {
            "listeners": [{"name": "http", "address": socket(ENVOY.port), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [cluster("latchkey", 8420), cluster("application", 9000)],
        }})
    }
}

/// JSON is YAML.
fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let made = folder.join("example");
    std::fs::create_dir_all(&made).unwrap();
    std::fs::write(made.join(name), text).unwrap();
    made
}

#[test]
fn nginx_gateway_fabric_guards_the_application() {
    guards(&NGINX, &nginx);
}

#[test]
fn envoy_gateway_guards_the_application() {
    guards(&ENVOY, &envoy_gateway);
}

#[test]
fn istio_guards_the_application() {
    guards(&ENVOY, &istio);
}

fn ask(target: &str) -> Request {
    get(target).header("Host", HOST)
}

#[track_caller]
fn guards(proxy: &'static Proxy, make: &dyn Fn(&'static Proxy, &Latchkey, &Path) -> PathBuf) {
    let Some(mut stage) = Stage::set_made(proxy, Some(&ask("/")), make) else {
        return;
    };
    let is_nginx = proxy.folder() == "nginx";
    decides(&stage, is_nginx);
    is_not_fooled(&stage);
    limits(&stage, is_nginx);
    lets_preflights_pass(&stage);
    stage.latchkey.stop();
    let good = ask("/billing/invoices").bearer(&stage.reader.secret);
    wait::until("the gateway has noticed", || {
        stage.send(&good).status >= 500
    });
    stage.stops(&good);
}

fn decides(stage: &Stage, is_nginx: bool) {
    let invoices = "/billing/invoices?page=2&x=/a?b";
    let seen = stage.passes(&ask(invoices).bearer(&stage.reader.secret));
    assert_eq!(seen.values("x-auth-key-name"), ["reader"]);
    assert!(
        !seen.text().contains(&stage.reader.secret),
        "{}",
        seen.text()
    );
    assert!(seen.text().contains(invoices), "{}", seen.text());
    stage.passes(&ask(invoices).header("X-API-Key", &stage.reader.secret));
    let reply = stage.refuses(&ask("/billing/invoices"), 401, None);
    let expected = r#"Bearer realm="latchkey", scope="invoices:read""#;
    assert_eq!(reply.header("WWW-Authenticate"), Some(expected));
    assert_eq!(reply.count("WWW-Authenticate"), 1, "{}", reply.text());
    stage.refuses(&ask("/billing/invoices").bearer("lk_nonsense"), 401, None);
    // The method of the client counts, and not that of the question.
    let pay = || {
        let pay = post("/billing/invoices/7/pay").header("Host", HOST);
        pay.body(b"amount=7")
    };
    let seen = stage.passes(&pay().bearer(&stage.writer.secret));
    assert_eq!(seen.body(), "amount=7");
    let refused = stage.stops(&pay().bearer(&stage.reader.secret));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let missing = stage.stops(&ask("/billing/invoices").bearer(&stage.bare.secret));
    assert_eq!(missing.status, 403, "{}", missing.text());
    if !is_nginx {
        assert_eq!(missing.header("X-Auth-Code"), Some("INSUFFICIENT_SCOPE"));
        let expected =
            r#"Bearer realm="latchkey", error="insufficient_scope", scope="invoices:read""#;
        assert_eq!(missing.header("WWW-Authenticate"), Some(expected));
        assert_eq!(missing.count("WWW-Authenticate"), 1, "{}", missing.text());
    }
    for other in ["/", "/billing/other", "/-/billing/invoices", "/-"] {
        let other = ask(other).bearer(&stage.writer.secret);
        assert_eq!(stage.stops(&other).status, 403);
    }
}

/// A client cannot describe another request than it sends, and not say who it is.
fn is_not_fooled(stage: &Stage) {
    for (name, value) in [
        ("Path", "/billing/invoices"),
        ("Method", "GET"),
        ("X-Original-URI", "/billing/invoices"),
        ("X-Forwarded-Uri", "/billing/invoices"),
        ("X-Latchkey-Catalog", "other"),
    ] {
        let forged = ask("/billing/other")
            .bearer(&stage.writer.secret)
            .header(name, value);
        stage.stops(&forged);
    }
    let both = ask("/billing/other")
        .bearer(&stage.writer.secret)
        .header("Path", "/billing/invoices")
        .header("Method", "GET");
    stage.stops(&both);
    for strange in [
        "//billing/invoices",
        "/billing//invoices",
        "/billing/%2e%2e/x",
        "/billing/invoices;x",
        "/billing/%2finvoices",
    ] {
        stage.stops(&ask(strange).bearer(&stage.writer.secret));
    }
    let forged = ask("/billing/invoices")
        .bearer(&stage.reader.secret)
        .header("Remote-User", "owner")
        .header("Remote-Groups", "admins")
        .header("X-Auth-Key-Name", "other")
        .header("X-Auth-Subject", "user:owner")
        .header("X-Auth-Expires-In", "1000");
    let seen = stage.passes(&forged);
    assert_eq!(seen.values("x-auth-key-name"), ["reader"]);
    let subject = format!("key:{}", stage.reader.id);
    assert_eq!(seen.values("x-auth-subject"), [subject.as_str()]);
    for name in ["remote-user", "remote-groups", "x-auth-expires-in"] {
        assert_eq!(seen.values(name).concat(), "", "{name}: {}", seen.text());
    }
}

/// nginx knows only 401 and 403.
fn limits(stage: &Stage, is_nginx: bool) {
    let limit = json!({"rate_limit": {"limit": 1, "window_s": 3600}});
    let slow = stage.latchkey.issue("slow", &["invoices:read"], limit);
    let poll = ask("/billing/invoices").bearer(&slow.secret);
    stage.passes(&poll);
    let reply = stage.stops(&poll);
    let status = if is_nginx { 403 } else { 429 };
    assert_eq!(reply.status, status, "{}", reply.text());
    if !is_nginx {
        assert!(reply.header("Retry-After").is_some(), "{}", reply.text());
    }
}

/// Operations of the catalog can let browsers ask without a key.
fn lets_preflights_pass(stage: &Stage) {
    let preflight = |method: &str| {
        request("OPTIONS", b"/billing/invoices")
            .header("Host", HOST)
            .header("Origin", "https://web.example")
            .header("Access-Control-Request-Method", method)
    };
    stage.refuses(&preflight("GET"), 401, None);
    let path = "/v1/catalogs/billing";
    let mut catalog = stage.latchkey.call("GET", path, &Value::Null).json();
    for operation in catalog["operations"].as_array_mut().unwrap() {
        if operation["method"] == "GET" {
            operation["preflight"] = json!(true);
        }
    }
    stage.latchkey.call("PUT", path, &catalog);
    let seen = stage.passes(&preflight("GET").header("X-Auth-Subject", "user:owner"));
    assert_eq!(seen.values("x-auth-subject").concat(), "");
    stage.refuses(&preflight("POST"), 401, None);
    let overriding = preflight("GET").header("X-HTTP-Method-Override", "DELETE");
    let reply = stage.send(&overriding);
    if reply.is_success() {
        // Envoy Gateway removes the header before it asks.
        assert!(
            !reply.text().to_lowercase().contains("override"),
            "{}",
            reply.text()
        );
    }
}
