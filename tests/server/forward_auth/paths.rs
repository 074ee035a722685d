//! Requests that cannot be judged safely are refused, and headers of an untrusted peer about a request are ignored.

use serde_json::json;

use super::{PROXIES, ask, hosted, shop, verdict};
use crate::support::User;

const UNSAFE: (u16, Option<&str>) = (403, Some("UNSAFE_REQUEST"));

/// attacks 81, 83, 84, 85, 87
#[test]
fn a_path_that_can_be_read_in_two_ways_is_refused() {
    let (_server, user) = shop(&["w"]);
    for path in [
        "/items/../items",
        "/items/%2e%2e",
        "/items/.%2e/",
        "/%2e/items",
        "/items/.",
        "/items/..",
        "//items",
        "/items//7",
        "/items%2F7",
        "/items%2f7",
        "/items%5C7",
        "/items%252f7",
        "/items/%25%32%66",
        "/items;x=1",
        "/items;/..;/",
        "/items%3b",
        "/items%00",
        "/items%0a",
        "/items%0d%0a",
        "/items%7f",
        "/items%3Fx",
        "/items%23",
        "/items/%",
        "/items/%zz",
        "/items/%c3%a9",
        "/items/%ef%bc%8f",
        "/items/...",
        "/items/%2e%20",
        // finding H11: characters that Windows removes, blanks, and characters that NFKC turns into a separator.
        "/items./7",
        "/items../7",
        "/items/7.",
        "/items%20/7",
        "/%20items/7",
        "/items/7%20",
        "/items%c2%a0/7",
        "/items%e3%80%80/7",
        "/items%e2%80%a4",
        "/items%e2%81%847",
        "/items%ef%bc%8f7",
        "/items%ef%bc%bc7",
        "/items%ff",
    ] {
        for proxy in PROXIES {
            let answer = ask(&user, proxy, &[("catalog", "shop")], "GET", path, None);
            assert_eq!(verdict(&answer), UNSAFE, "{proxy} {path}");
        }
    }
    // Characters that can be sent only in a header, and not in a request line.
    for path in [
        "",
        "items",
        "*",
        "http://api.example/items",
        "/items\\7",
        "/items#a",
        "/items é",
        "/items\t7",
    ] {
        for proxy in ["nginx", "caddy", "traefik", "haproxy"] {
            let answer = ask(&user, proxy, &[("catalog", "shop")], "GET", path, None);
            assert_eq!(answer.status, 403, "{proxy} {path:?}");
        }
    }
    for path in ["/ITEMS", "/items/7/", "/admin?", "/items/7/8"] {
        for proxy in PROXIES {
            let answer = ask(&user, proxy, &[("catalog", "shop")], "GET", path, None);
            assert_eq!(answer.status, 403, "{proxy} {path}");
        }
    }
    for path in [
        "/items?",
        "/items?a=/../",
        "/items?x=%2F%00",
        "/items/a%20b",
        "/items/7?#",
    ] {
        let answer = ask(&user, "nginx", &[("catalog", "shop")], "GET", path, None);
        assert_eq!(verdict(&answer), (200, None), "{path}");
    }
}

/// finding S5: many applications treat `/items/New` and `/items/new.json` as `/items/new`.
#[test]
fn what_resembles_a_literal_is_not_what_a_parameter_stands_for() {
    let (server, reader) = shop(&["r"]);
    let operation = |id: &str, method: &str, path: &str, scope: &str| json!({ "id": id, "method": method, "path": path, "access": "read", "any_of": [scope] });
    let catalog = |case_sensitive: serde_json::Value| {
        json!({
            "case_sensitive": case_sensitive,
            "scopes": [{ "name": "r" }, { "name": "w", "implies": ["r"] }],
            "operations": [
                operation("find", "GET", "/items/{id}", "r"),
                operation("new", "POST", "/items/new", "w"),
                operation("lines", "GET", "/items/{id}/lines/{rest...}", "r"),
                operation("total", "GET", "/items/{id}/lines/Total", "w"),
                operation("all", "GET", "/files/{rest...}", "r"),
                operation("secret", "GET", "/files/a/Secret/b", "w"),
            ],
        })
    };
    let admin = server.admin();
    let put = |case_sensitive| admin.put("/v1/catalogs/shop", catalog(case_sensitive));
    let alike = [
        "/items/New",
        "/items/NEW",
        "/items/n%45w",
        "/items/new.json",
        "/items/New.JSON",
        "/items/7/lines/total",
        "/items/7/lines/TOTAL/1",
        "/items/7/lines/Total.csv",
        "/files/A",
        "/files/a/secret/b",
        "/files/a/SECRET/c",
        "/files/a/Secret/B",
        "/files/a/Secret/b.txt",
        "/files/a.d/Secret/b",
    ];
    let other = [
        "/items/7",
        "/items/news",
        "/items/7/lines/1/2",
        "/files/b/Secret/b",
    ];
    let check = |path: &str, expected: (u16, Option<&str>)| {
        for proxy in PROXIES {
            let answer = ask(&reader, proxy, &[("catalog", "shop")], "GET", path, None);
            assert_eq!(verdict(&answer), expected, "{proxy} {path}");
        }
    };
    for unspecified in [json!(null), json!(false)] {
        put(unspecified).expect(200);
        alike.iter().for_each(|path| check(path, UNSAFE));
        other.iter().for_each(|path| check(path, (200, None)));
        check("/items/7/lines/Total", (403, Some("INSUFFICIENT_SCOPE")));
        check("/ITEMS/7", (403, Some("UNKNOWN_OPERATION")));
    }
    put(json!("yes")).refused_field("case_sensitive");
    put(json!(true)).expect(200);
    alike.iter().for_each(|path| check(path, (200, None)));
    other.iter().for_each(|path| check(path, (200, None)));
    check("/items/7/lines/Total", (403, Some("INSUFFICIENT_SCOPE")));
    check("/files/a/Secret/b", (403, Some("INSUFFICIENT_SCOPE")));
}

/// finding H6: browsers do not encode these characters in a query, and some of them not in a path.
#[test]
fn every_visible_character_of_a_query_is_taken_behind_every_proxy() {
    let (server, user) = shop(&["w"]);
    let bare = server.bearer(&server.secret);
    for byte in (0x21..0x7f_u8).map(char::from).filter(|byte| *byte != '#') {
        let query = format!("/items?q=a{byte}b");
        for proxy in PROXIES {
            let answer = ask(&user, proxy, &[("catalog", "shop")], "GET", &query, None);
            assert_eq!(verdict(&answer), (200, None), "{proxy} {query}");
            let answer = ask(
                &bare,
                proxy,
                &[],
                "GET",
                &format!("/files/a{byte}?{byte}"),
                None,
            );
            assert_eq!(verdict(&answer), (200, None), "{proxy} {byte}");
        }
        // The characters of a path have the same verdict for all proxies.
        let path = format!("/items/a{byte}b");
        let nginx = ask(&user, "nginx", &[("catalog", "shop")], "GET", &path, None);
        for proxy in PROXIES {
            let answer = ask(&user, proxy, &[("catalog", "shop")], "GET", &path, None);
            assert_eq!(verdict(&answer), verdict(&nginx), "{proxy} {path}");
        }
    }
}

/// attacks 80, 89, 90
#[test]
fn what_the_proxy_did_not_say_is_not_guessed() {
    let (server, user) = shop(&["w"]);
    let hosted = hosted(&server);
    for (proxy, method, uri, host, extra) in [
        (
            "nginx",
            "X-Original-Method",
            "X-Original-URI",
            "X-Original-Host",
            "X-Forwarded-Uri",
        ),
        (
            "caddy",
            "X-Forwarded-Method",
            "X-Forwarded-Uri",
            "X-Forwarded-Host",
            "X-Original-URI",
        ),
        (
            "traefik",
            "X-Forwarded-Method",
            "X-Forwarded-Uri",
            "X-Forwarded-Host",
            "X-Forwarded-Prefix",
        ),
        (
            "haproxy",
            "X-Forwarded-Method",
            "X-Forwarded-Uri",
            "X-Forwarded-Host",
            "X_Forwarded_Uri",
        ),
    ] {
        let path = format!("/auth/{proxy}?catalog=shop");
        let ask_as = |user: &User, path: &str, headers: &[(&str, &str)]| {
            let user = headers
                .iter()
                .fold(user.clone(), |user, (name, value)| user.with(name, value));
            let answer = user.get(path);
            (
                answer.status,
                answer.header("x-auth-code").map(str::to_owned),
            )
        };
        let asked = |headers: &[(&str, &str)]| ask_as(&user, &path, headers);
        let of_host = |headers: &[(&str, &str)]| {
            ask_as(&hosted, &format!("/auth/{proxy}?catalog=hosted"), headers)
        };
        let refused = (403, Some("UNSAFE_REQUEST".to_owned()));
        assert_eq!(
            asked(&[(method, "GET"), (uri, "/items")]),
            (200, None),
            "{proxy}"
        );
        assert_eq!(asked(&[]), refused, "{proxy}: nothing");
        assert_eq!(asked(&[(method, "GET")]), refused, "{proxy}: no uri");
        assert_eq!(asked(&[(uri, "/items")]), refused, "{proxy}: no method");
        assert_eq!(
            asked(&[(method, "GET"), (extra, "/items")]),
            refused,
            "{proxy}: another's header"
        );
        // attacks 78
        assert_eq!(
            asked(&[(method, "GET"), (uri, "/items"), (uri, "/items")]),
            refused,
            "{proxy}: doubled"
        );
        assert_eq!(
            asked(&[(method, "GET"), (method, "GET"), (uri, "/items")]),
            refused,
            "{proxy}: doubled"
        );
        let listed = asked(&[(method, "GET"), (uri, "/items, /items")]);
        assert_eq!(listed.0, 403, "{proxy}: a list");
        for bad in [
            "a, b",
            "api.example:x",
            "user@api.example",
            "api.example/",
            "",
            "[::1",
        ] {
            assert_eq!(
                of_host(&[(method, "GET"), (uri, "/only"), (host, bad)]),
                refused,
                "{proxy}: host {bad}"
            );
        }
        for good in [
            "api.example",
            "API.Example",
            "api.example.",
            "api.example:8443",
        ] {
            assert_eq!(
                of_host(&[(method, "GET"), (uri, "/only"), (host, good)]),
                (200, None),
                "{proxy}: host {good}"
            );
        }
        assert_eq!(
            of_host(&[(method, "GET"), (uri, "/only")]),
            refused,
            "{proxy}: no host"
        );
        let spoofed = asked(&[
            (method, "DELETE"),
            (uri, "/items"),
            ("X-HTTP-Method-Override", "GET"),
        ]);
        assert_eq!(
            spoofed,
            (403, Some("UNKNOWN_OPERATION".to_owned())),
            "{proxy}"
        );
        assert_eq!(
            asked(&[(method, "GE T"), (uri, "/items")]).0,
            403,
            "{proxy}"
        );
    }
    // Envoy's question is the request itself, and its demands are separate headers.
    let doubled = user
        .clone()
        .with("X-Latchkey-Catalog", "shop")
        .with("X-Latchkey-Catalog", "shop");
    assert_eq!(verdict(&doubled.get("/auth/envoy/items")), UNSAFE);
    let with_query = ask(
        &user,
        "envoy",
        &[("catalog", "shop")],
        "GET",
        "/items?catalog=none&scope=x",
        None,
    );
    assert_eq!(
        verdict(&with_query),
        (200, None),
        "the query is the client's"
    );
    let tricked = ask(
        &user,
        "envoy",
        &[("catalog", "shop")],
        "GET",
        "/other?x=/../items",
        None,
    );
    assert_eq!(verdict(&tricked), (403, Some("UNKNOWN_OPERATION")));
}
