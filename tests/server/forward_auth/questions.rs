//! What a question of a proxy can contain besides its demands: which header has the key, whether preflights pass, and
//! which headers describe the original request.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::{IDENTITY, PROXIES, hosted, shop, verdict};
use crate::support::{Response, Server, User};

/// The proxies whose question can contain more than demands.
const WITH_QUERY: [&str; 4] = ["nginx", "caddy", "traefik", "haproxy"];

fn basic(text: &str) -> String {
    format!("Basic {}", Base64::encode_string(text.as_bytes()))
}

/// finding c1: the whole URL, as ingress controllers send it.
#[test]
fn a_whole_url_is_read_where_the_question_is_for_one() {
    let (server, user) = shop(&["r"]);
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let user = user.clone().with("X-Original-Method", "GET");
        let user = headers
            .iter()
            .fold(user, |user, (name, value)| user.with(name, value));
        let answer = user.get(path);
        let code = answer.header("x-auth-code").map(str::to_owned);
        (answer.status, code)
    };
    let refused = |code: &str| (403, Some(code.to_owned()));
    let url = "/auth/nginx-url?catalog=shop";
    let uri = "/auth/nginx?catalog=shop";
    let whole = |text: &'static str| [("X-Original-URL", text)];
    assert_eq!(
        ask(url, &whole("https://app.example/items?page=2")),
        (200, None)
    );
    assert_eq!(
        ask(url, &whole("https://app.example/other")),
        refused("UNKNOWN_OPERATION")
    );
    assert_eq!(
        ask(url, &whole("https://app.example//items")),
        refused("UNSAFE_REQUEST")
    );
    assert_eq!(ask(url, &whole("/items")), refused("UNSAFE_REQUEST"));
    assert_eq!(
        ask(url, &whole("https:///items")),
        refused("UNSAFE_REQUEST")
    );
    assert_eq!(ask(url, &[]), refused("UNSAFE_REQUEST"));
    assert_eq!(
        ask(url, &[("X-Original-URI", "/items")]),
        refused("UNSAFE_REQUEST")
    );
    server.wait_for_log(
        "X-Original-URL is missing, found was X-Original-URI; /auth/nginx reads X-Original-URI",
        1,
    );
    // Neither endpoint of nginx accepts the header of the other one.
    assert_eq!(
        ask(uri, &whole("https://app.example/items")),
        refused("UNSAFE_REQUEST")
    );
    server.wait_for_log(
        "X-Original-URI is missing, found was X-Original-URL; /auth/nginx-url reads X-Original-URL",
        1,
    );
    for path in [url, uri] {
        for (one, other, expected) in [
            ("https://app.example/items?a", "/items?b", (200, None)),
            (
                "https://app.example/items",
                "/items/7",
                refused("UNSAFE_REQUEST"),
            ),
            (
                "https://app.example/items/7",
                "/items",
                refused("UNSAFE_REQUEST"),
            ),
        ] {
            let both = [("X-Original-URL", one), ("X-Original-URI", other)];
            assert_eq!(ask(path, &both), expected, "{path} {both:?}");
        }
    }
    let twice = [
        ("X-Original-URL", "https://app.example/items"),
        ("X-Original-URL", "https://app.example/items"),
    ];
    assert_eq!(ask(url, &twice), refused("UNSAFE_REQUEST"));
}

/// finding c1: the host of the URL chooses the operation.
#[test]
fn the_host_of_a_whole_url_counts() {
    let server = Server::start();
    let user = hosted(&server);
    let ask = |url: &str| {
        let user = user.clone().with("X-Original-Method", "GET");
        let user = user.with("X-Original-URL", url);
        verdict(&user.get("/auth/nginx-url?catalog=hosted")).0
    };
    assert_eq!(ask("https://api.example/only"), 200);
    assert_eq!(ask("https://API.example:8443/only"), 200);
    assert_eq!(ask("https://evil.example/only"), 403);
    assert_eq!(ask("https://evil.example/@api.example/only"), 403);
    assert_eq!(ask("https://api.example@evil.example/only"), 403);
}

/// The header that the question names, the headers of the request, and the status of the answer.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16);

/// finding c3: the question names the header with the key, and all other headers belong to the application.
#[test]
fn the_header_that_the_question_names_is_the_only_one_with_a_key() {
    let server = Server::start();
    let good = server.secret.as_str();
    let bearer = format!("Bearer {good}");
    let cases: Vec<Case<'_>> = vec![
        (
            "x-api-key",
            vec![("X-API-Key", good), ("Authorization", "Basic dXNlcjpwYXNz")],
            200,
        ),
        (
            "X-API-Key",
            vec![("X-API-Key", good), ("Authorization", "Negotiate abc")],
            200,
        ),
        (
            "x-api-key",
            vec![("X-API-Key", good), ("Authorization", "")],
            200,
        ),
        (
            "x-api-key",
            vec![("X-API-Key", good), ("Authorization", "Bearer lk_bad")],
            200,
        ),
        (
            "x-api-key",
            vec![
                ("X-API-Key", good),
                ("Authorization", "a"),
                ("Authorization", "b"),
            ],
            200,
        ),
        ("x-api-key", vec![("X-API-Key", good)], 200),
        ("x-api-key", vec![("Authorization", &bearer)], 401),
        (
            "x-api-key",
            vec![("X-API-Key", "lk_bad"), ("Authorization", &bearer)],
            401,
        ),
        (
            "x-api-key",
            vec![("X-API-Key", ""), ("Authorization", &bearer)],
            401,
        ),
        (
            "x-api-key",
            vec![("X-API-Key", good), ("X-API-Key", good)],
            401,
        ),
        (
            "authorization",
            vec![
                ("X-API-Key", "the application's"),
                ("Authorization", &bearer),
            ],
            200,
        ),
        ("authorization", vec![("X-API-Key", good)], 401),
        // No policy names this header: the server reads the key there, and refuses it.
        ("x-other", vec![("X-Other", good)], 401),
        // These headers never contain a key, so the question is wrong.
        ("cookie", vec![("X-API-Key", good)], 403),
        ("x-api-key,authorization", vec![("X-API-Key", good)], 403),
        ("", vec![("X-API-Key", good)], 403),
    ];
    for proxy in WITH_QUERY {
        // Caddy may have added its client's query, so of it the client's is needed too.
        let asking = server.anonymous().with("X-Forwarded-Uri", "/a?page=2");
        for (name, headers, status) in &cases {
            let user = headers
                .iter()
                .fold(asking.clone(), |user, (name, value)| user.with(name, value));
            let answer = user.get(&format!("/auth/{proxy}?header={name}"));
            assert_eq!(answer.status, *status, "{proxy} {name} {headers:?}");
        }
        // Without `header`, a request with two credentials is refused.
        let both = server.anonymous().with("X-API-Key", good);
        let both = both.with("Authorization", "Basic dXNlcjpwYXNz");
        both.get(&format!("/auth/{proxy}")).expect(401);
    }
    let without = server.anonymous().with("X-API-Key", good);
    without.get("/auth/caddy?header=x-api-key").expect(403);
    // An administrator of Envoy cannot set these options, so no client of it can.
    for (name, value) in [
        ("X-Latchkey-Header", "x-api-key"),
        ("X-Latchkey-Preflight", "true"),
    ] {
        let user = server.anonymous().with("X-API-Key", good).with(name, value);
        user.get("/auth/envoy").expect(403);
    }
}

/// A key of a policy with these headers.
fn key_of_policy(server: &Server, name: &str, headers: Value) -> String {
    let policy = json!({ "name": name, "headers": headers });
    server.admin().post("/v1/policies", policy).expect(201);
    let key = json!({ "name": name, "policy": name });
    server.admin().issue(key).secret
}

/// finding c8: Basic may contain the key if its policy permits this, and only behind a proxy.
#[test]
fn basic_holds_a_key_where_its_policy_says_so() {
    let server = Server::start();
    let open = key_of_policy(&server, "clients", json!(["bearer", "basic"]));
    let closed = server.secret.as_str();
    let ask = |proxy: &str, authorization: &str| {
        let user = server.anonymous().with("Authorization", authorization);
        user.get(&format!("/auth/{proxy}"))
    };
    for proxy in PROXIES.into_iter().chain(["nginx-url"]) {
        for good in [
            format!("git:{open}"),
            format!(":{open}"),
            format!("{open}:"),
            format!("Jörg:{open}"),
        ] {
            ask(proxy, &basic(&good)).expect(200);
        }
        ask(proxy, &format!("Bearer {open}")).expect(200);
        let strange = Base64::encode_string(format!("git:{open}").as_bytes());
        for bad in [
            basic(&format!("git:{closed}")),
            basic(&format!("{closed}:")),
            basic(&open),
            basic(&format!("{open}:x")),
            basic(&format!("git:{open}:")),
            basic(&format!("git: {open}")),
            basic(&format!("git:{open}\n")),
            basic("user:password"),
            basic(":"),
            format!("Basic {open}"),
            format!("Basic {strange}="),
            format!("Basic {strange} x"),
            format!("Basic {strange},"),
            format!("Bearer {strange}"),
        ] {
            let answer = ask(proxy, &bad).expect(401);
            let challenge = answer.header("www-authenticate").unwrap();
            assert_eq!(
                challenge,
                "Bearer realm=\"latchkey\", error=\"invalid_token\""
            );
        }
        let both = server
            .anonymous()
            .with("Authorization", &basic(&format!("git:{open}")));
        both.with("X-API-Key", &open)
            .get(&format!("/auth/{proxy}"))
            .expect(401);
    }
    // Basic is accepted in no other place: neither in the API nor in a dialect.
    let basic = basic(&format!("git:{open}"));
    for path in [
        "/v1/whoami",
        "/v1/keys",
        "/metrics",
        "/external/users",
        "/api/v3/about",
    ] {
        let status = server
            .anonymous()
            .with("Authorization", &basic)
            .get(path)
            .status;
        assert_eq!(status, 401, "{path}");
    }
    assert!(!server.log().contains(&open), "no secret is logged");
}

fn preflight(user: &User, proxy: &str, query: &str, method: &str, uri: &str) -> Response {
    let names = match proxy {
        "nginx" => ["X-Original-Method", "X-Original-URI", "X-Original-Host"],
        _ => ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"],
    };
    let user = user.clone().with(names[0], method).with(names[1], uri);
    let user = user.with(names[2], "app.example");
    user.call("OPTIONS", &format!("/auth/{proxy}?{query}"), None)
}

/// finding c10: a browser's preflight never carries a key.
#[test]
fn a_preflight_passes_where_the_question_says_so_and_nothing_else_does() {
    let (server, user) = shop(&["r"]);
    let browser = server.anonymous().with("Origin", "https://web.example");
    let browser = browser.with("Access-Control-Request-Method", "GET");
    for proxy in WITH_QUERY {
        let ask = |user: &User, query: &str, method: &str, uri: &str| {
            preflight(user, proxy, query, method, uri)
        };
        let answer = ask(&browser, "preflight=true", "OPTIONS", "/a").expect(200);
        for name in IDENTITY {
            assert_eq!(answer.header(name), Some(""), "{proxy} {name}");
        }
        ask(&browser, "", "OPTIONS", "/a").expect(401);
        ask(&browser, "preflight=false", "OPTIONS", "/a").expect(401);
        ask(&browser, "preflight=yes", "OPTIONS", "/a").expect(401);
        ask(&browser, "preflight=true", "GET", "/a").expect(401);
        ask(&browser, "preflight=true", "options", "/a").expect(401);
        ask(&browser, "preflight=true&header=x-api-key", "OPTIONS", "/a").expect(200);
        // A preflight passes for a path that the catalog has, and for no other path.
        ask(
            &browser,
            "preflight=true&catalog=shop",
            "OPTIONS",
            "/items?x",
        )
        .expect(200);
        for uri in ["/nothing", "/items/../items", "//items"] {
            ask(&browser, "preflight=true&catalog=shop", "OPTIONS", uri).expect(401);
        }
        let with = |name: &str, value: &str| browser.clone().with(name, value);
        ask(
            &with("Access-Control-Request-Method", "GET"),
            "preflight=true",
            "OPTIONS",
            "/a",
        )
        .expect(401);
        ask(
            &with("Origin", "https://web.example"),
            "preflight=true",
            "OPTIONS",
            "/a",
        )
        .expect(401);
        // A request with a credential is judged by it.
        for (name, value) in [
            ("Authorization", "Bearer lk_bad"),
            ("Authorization", ""),
            ("X-API-Key", "x"),
        ] {
            ask(&with(name, value), "preflight=true", "OPTIONS", "/a").expect(401);
            ask(
                &with(name, value),
                "preflight=true&header=x-api-key",
                "OPTIONS",
                "/a",
            )
            .expect(401);
        }
        for name in ["Origin", "Access-Control-Request-Method"] {
            let half = server.anonymous().with(name, "GET");
            ask(&half, "preflight=true", "OPTIONS", "/a").expect(401);
        }
        // The application could run it with the other method.
        for name in [
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
        ] {
            for query in ["preflight=true", "preflight=true&catalog=shop"] {
                ask(&with(name, "DELETE"), query, "OPTIONS", "/items").expect(401);
            }
        }
        let empty = server
            .anonymous()
            .with("Origin", "")
            .with("Access-Control-Request-Method", "GET");
        ask(&empty, "preflight=true", "OPTIONS", "/a").expect(401);
        // A preflight with a key is judged by the key as usual: there is no operation for OPTIONS.
        let keyed = user
            .clone()
            .with("Origin", "https://web.example")
            .with("Access-Control-Request-Method", "GET");
        ask(&keyed, "preflight=true&catalog=shop", "OPTIONS", "/items").expect(403);
    }
}

/// An operation without a key that opens it is closed for preflights too, as an unknown path is.
#[test]
fn a_preflight_opens_no_closed_operation() {
    let server = Server::start();
    let operation = |path: &str, method: &str, member: &str, opened_by: Value| json!({ "id": format!("{method}{path}"), "method": method, "path": path, "access": "write", member: opened_by });
    let catalog = json!({
        "scopes": [{ "name": "r" }],
        "operations": [
            operation("/closed", "GET", "any_of", json!([])),
            operation("/closed", "POST", "any_of", json!(["r"])),
            operation("/any", "GET", "any_key", json!(true)),
            operation("/{id}", "GET", "all_of", json!(["r"])),
        ],
    });
    let put = server.admin().put("/v1/catalogs/some", catalog);
    put.expect(201);
    for proxy in WITH_QUERY {
        for (path, method, status) in [
            ("/closed", "GET", 401),
            ("/closed", "HEAD", 401),
            ("/closed", "POST", 200),
            ("/closed", "DELETE", 401),
            ("/any", "GET", 200),
            ("/7", "GET", 200),
        ] {
            let browser = server.anonymous().with("Origin", "https://web.example");
            let browser = browser.with("Access-Control-Request-Method", method);
            let query = "preflight=true&catalog=some";
            let answer = preflight(&browser, proxy, query, "OPTIONS", path);
            assert_eq!(answer.status, status, "{proxy} {method} {path}");
        }
    }
}

/// The catalog lets preflights pass for the operations that say so, even if the question does not.
#[test]
fn a_preflight_passes_for_operations_that_say_so() {
    let server = Server::start();
    let operation = |path: &str, method: &str, more: Value| {
        let mut operation = json!({ "id": format!("{method}{path}"), "method": method, "path": path, "access": "write" });
        let more = more.as_object().unwrap().clone();
        operation.as_object_mut().unwrap().extend(more);
        operation
    };
    let catalog = json!({
        "scopes": [{ "name": "r" }],
        "operations": [
            operation("/open", "GET", json!({ "any_of": ["r"], "preflight": true })),
            operation("/open", "POST", json!({ "any_of": ["r"], "preflight": false })),
            operation("/open", "PUT", json!({ "any_of": ["r"] })),
            operation("/closed", "GET", json!({ "any_of": [], "preflight": true })),
        ],
    });
    let admin = server.admin();
    admin.put("/v1/catalogs/some", catalog).expect(201);
    let shown = admin.get("/v1/catalogs/some").json();
    let marked: Vec<bool> = shown["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["preflight"] == true)
        .collect();
    assert_eq!(marked, [true, false, false, true]);
    let asks = |method: &str| {
        let browser = server.anonymous().with("Origin", "https://web.example");
        browser.with("Access-Control-Request-Method", method)
    };
    for (method, uri, status) in [
        ("GET", "/open", 200),
        ("GET", "/open?page=2", 200),
        ("HEAD", "/open", 200),
        ("POST", "/open", 401),
        ("PUT", "/open", 401),
        ("DELETE", "/open", 401),
        ("GET", "/closed", 401),
        ("GET", "/other", 401),
        ("GET", "/open/../open", 401),
    ] {
        for proxy in WITH_QUERY {
            for query in ["catalog=some", "catalog=some&preflight=false"] {
                let answer = preflight(&asks(method), proxy, query, "OPTIONS", uri);
                assert_eq!(answer.status, status, "{proxy} {query} {method} {uri}");
            }
        }
        let named = asks(method).with("X-Latchkey-Catalog", "some");
        let answer = named.call("OPTIONS", &format!("/auth/envoy{uri}"), None);
        assert_eq!(answer.status, status, "envoy {method} {uri}");
        let path = format!("/auth/gateway/some/-{uri}");
        let answer = asks(method).call("OPTIONS", &path, None);
        assert_eq!(answer.status, status, "gateway {method} {uri}");
        let user = asks(method).with("Path", uri).with("Method", "OPTIONS");
        assert_eq!(
            user.get("/auth/gateway/some/-").status,
            status,
            "{method} {uri}"
        );
    }
    for proxy in WITH_QUERY {
        // Without the catalog nothing passes, and a request that is no preflight needs a key.
        preflight(&asks("GET"), proxy, "", "OPTIONS", "/open").expect(401);
        preflight(&asks("GET"), proxy, "catalog=some", "GET", "/open").expect(401);
        let without = server
            .anonymous()
            .with("Access-Control-Request-Method", "GET");
        preflight(&without, proxy, "catalog=some", "OPTIONS", "/open").expect(401);
        let keyed = asks("GET").with("X-API-Key", "lk_bad");
        preflight(&keyed, proxy, "catalog=some", "OPTIONS", "/open").expect(401);
        let overridden = asks("GET").with("X-HTTP-Method-Override", "DELETE");
        preflight(&overridden, proxy, "catalog=some", "OPTIONS", "/open").expect(401);
    }
    // A client of Caddy that names a catalog in its own query gets nothing by it.
    let client = asks("GET").with("X-Forwarded-Method", "OPTIONS");
    let client = client.with("X-Forwarded-Uri", "/open?catalog=some");
    client
        .call("OPTIONS", "/auth/caddy?catalog=some", None)
        .expect(401);
}

/// A challenge names the scopes that are needed together as well, and none to a key that cannot have them.
#[test]
fn a_challenge_names_all_that_is_missing_to_keys_of_the_catalog() {
    let server = Server::start();
    let admin = server.admin();
    let operation = |path: &str, members: Value| {
        let mut operation = json!({ "id": path, "method": "GET", "path": path, "access": "read" });
        let members = members.as_object().unwrap().clone();
        operation.as_object_mut().unwrap().extend(members);
        operation
    };
    let scopes: Vec<Value> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| json!({ "name": name }))
        .collect();
    let operations = json!([
        operation("/all", json!({ "all_of": ["a", "b"] })),
        operation(
            "/both",
            json!({ "all_of": ["a", "b"], "any_of": ["c", "d"] })
        ),
    ]);
    let catalog = json!({ "scopes": scopes, "operations": operations });
    for name in ["some", "other"] {
        let path = format!("/v1/catalogs/{name}");
        admin.put(&path, catalog.clone()).expect(201);
    }
    let of = |catalog: &str, scopes: Value| {
        let key = json!({ "name": "k", "catalog": catalog, "scopes": scopes });
        server.bearer(&admin.issue(key).secret)
    };
    let challenge = |user: &User, path: &str, more: &str| {
        let user = user.clone().with("X-Forwarded-Method", "GET");
        let user = user.with("X-Forwarded-Uri", path);
        let answer = user.get(&format!("/auth/traefik?catalog=some{more}"));
        assert_eq!(verdict(&answer), (403, Some("INSUFFICIENT_SCOPE")));
        answer.header("www-authenticate").unwrap().to_owned()
    };
    let plain = "Bearer realm=\"latchkey\", error=\"insufficient_scope\"";
    for (held, path, more, missing) in [
        (json!(["a"]), "/all", "", "b"),
        (json!([]), "/all", "", "a b"),
        (json!(["a"]), "/both", "", "b c d"),
        (json!(["a", "c"]), "/both", "", "b"),
        (json!(["a", "b"]), "/both", "", "c d"),
        (json!(["a"]), "/all", "&scope=d", "b d"),
    ] {
        let told = challenge(&of("some", held), path, more);
        assert_eq!(told, format!("{plain}, scope=\"{missing}\""));
    }
    let without = server.bearer(&server.secret);
    for stranger in [&of("other", json!(["a"])), &without] {
        for path in ["/all", "/both"] {
            assert_eq!(challenge(stranger, path, ""), plain);
            assert_eq!(challenge(stranger, path, "&scope=d"), plain);
        }
    }
}

/// A refusal because of missing scopes names them (RFC 6750, section 3.1).
#[test]
fn a_missing_scope_is_named_in_a_challenge() {
    let (server, user) = shop(&["r"]);
    let ask = |user: &User, method: &str, query: &str| {
        let user = user
            .clone()
            .with("X-Forwarded-Method", method)
            .with("X-Forwarded-Uri", "/items");
        let answer = user.get(&format!("/auth/traefik?{query}"));
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        (answer.status, challenge)
    };
    let missing = |scopes: &str| {
        let text =
            format!("Bearer realm=\"latchkey\", error=\"insufficient_scope\", scope=\"{scopes}\"");
        (403, Some(text))
    };
    assert_eq!(ask(&user, "POST", "catalog=shop"), missing("w"));
    assert_eq!(ask(&user, "GET", "scope=a:x,b"), missing("a:x b"));
    assert_eq!(ask(&user, "DELETE", "catalog=shop"), (403, None));
    assert_eq!(ask(&user, "GET", "catalog=shop"), (200, None));
    let many: Vec<String> = (0..120).map(|number| format!("scope{number:05}")).collect();
    let (status, challenge) = ask(&user, "GET", &format!("scope={}", many.join(",")));
    let plain = "Bearer realm=\"latchkey\", error=\"insufficient_scope\"";
    assert_eq!((status, challenge.as_deref()), (403, Some(plain)));
    drop(server);
}
