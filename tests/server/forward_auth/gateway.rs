//! The question of gateways of Kubernetes, whose path contains what it demands (GEP-1494): the form that appends the
//! original path, and the one with the headers `Path` and `Method`.

use serde_json::json;

use super::{hosted, shop, verdict};
use crate::support::{Response, Server, User};

const UNSAFE: (u16, Option<&str>) = (403, Some("UNSAFE_REQUEST"));

/// The forms in which gateways ask.
#[derive(Clone, Copy, Debug)]
enum Form {
    Appended,
    Headers,
}

const FORMS: [Form; 2] = [Form::Appended, Form::Headers];

/// Asks below this prefix, which the administrator has written, about a request.
fn ask(user: &User, form: Form, prefix: &str, method: &str, uri: &str) -> Response {
    match form {
        Form::Appended => user.call(method, &format!("/auth/gateway/{prefix}{uri}"), None),
        Form::Headers => {
            let user = user.clone().with("Path", uri).with("Method", method);
            user.get(&format!("/auth/gateway/{prefix}"))
        }
    }
}

#[test]
fn both_forms_of_a_gateways_question_are_judged_alike() {
    let (server, reader) = shop(&["r"]);
    let read_only = json!({ "name": "k", "catalog": "shop", "scopes": ["w"], "read_only": true });
    let read_only = server.bearer(&server.admin().issue(read_only).secret);
    let nobody = server.anonymous();
    let bad = server.bearer("lk_no_such_secret");
    let lacks = (403, Some("INSUFFICIENT_SCOPE"));
    let unknown = (403, Some("UNKNOWN_OPERATION"));
    for form in FORMS {
        for (user, prefix, method, uri, expected) in [
            (&reader, "shop/-", "GET", "/items", (200, None)),
            (&reader, "shop/-", "HEAD", "/items", (200, None)),
            (&reader, "shop/-", "GET", "/items/7?a=b&c", (200, None)),
            (&reader, "shop/-", "POST", "/items", lacks),
            (&reader, "shop/-", "DELETE", "/items", unknown),
            (&reader, "shop/-", "GET", "/", unknown),
            (&reader, "shop/-", "GET", "/-/items", unknown),
            (&reader, "shop/-", "GET", "/workspace=root/-/items", unknown),
            (&reader, "shop/-", "GET", "//items", UNSAFE),
            (&reader, "shop/-", "GET", "/items/../items", UNSAFE),
            (&reader, "shop/r/-", "GET", "/items", (200, None)),
            (&reader, "shop/w/-", "GET", "/items", lacks),
            (&reader, "shop/r,w/-", "GET", "/items", lacks),
            (
                &reader,
                "shop/workspace=root/-",
                "GET",
                "/items",
                (200, None),
            ),
            (
                &reader,
                "shop/r/workspace=root/-",
                "GET",
                "/items",
                (200, None),
            ),
            (&reader, "shop/workspace=nowhere/-", "GET", "/items", UNSAFE),
            (&reader, "nothing/-", "GET", "/items", UNSAFE),
            (&reader, "-/-", "POST", "/anything", (200, None)),
            (&reader, "-/r/-", "POST", "/anything", (200, None)),
            (&reader, "-/w/-", "POST", "/anything", lacks),
            (&read_only, "shop/-", "GET", "/items", (200, None)),
            (
                &read_only,
                "shop/-",
                "POST",
                "/items",
                (403, Some("READ_ONLY")),
            ),
            (&read_only, "-/-", "POST", "/", (403, Some("READ_ONLY"))),
            (&nobody, "shop/-", "GET", "/items", (401, None)),
            (&bad, "shop/-", "GET", "/items", (401, None)),
        ] {
            let answer = ask(user, form, prefix, method, uri);
            assert_eq!(
                verdict(&answer),
                expected,
                "{form:?} {prefix} {method} {uri}"
            );
        }
    }
}

#[test]
fn a_gateway_describes_the_request_in_one_of_two_ways() {
    let (server, user) = shop(&["r"]);
    let check = |headers: &[(&str, &str)], path: &str, expected: (u16, Option<&str>)| {
        let user = headers
            .iter()
            .fold(user.clone(), |user, (name, value)| user.with(name, value));
        let answer = user.get(&format!("/auth/gateway/{path}"));
        assert_eq!(verdict(&answer), expected, "{path} {headers:?}");
    };
    let both = [("Path", "/items"), ("Method", "GET")];
    check(&both, "shop/-", (200, None));
    check(&[], "shop/-/items", (200, None));
    for prefix in ["shop/-", "-/-"] {
        // Neither way, half of one, or the path twice.
        check(&[], prefix, UNSAFE);
        check(&both[..1], prefix, UNSAFE);
        check(&both[1..], prefix, UNSAFE);
        check(&[both[0], both[0], both[1]], prefix, UNSAFE);
        check(&[both[0], both[1], both[1]], prefix, UNSAFE);
        // Both ways: one of them may be a client's.
        let appended = format!("{prefix}/items");
        check(&both, &appended, UNSAFE);
        check(&both[..1], &appended, UNSAFE);
        check(&both[1..], &appended, UNSAFE);
        // A gateway that sends headers adds no query.
        check(&both, &format!("{prefix}?a=b"), UNSAFE);
        // The headers of another kind of proxy do not count.
        let other = [("X-Original-URI", "/items"), ("X-Original-Method", "GET")];
        check(&other, prefix, UNSAFE);
    }
    // A path without the end of the demands demands nothing that can be judged.
    for path in [
        "shop/items",
        "shop",
        "shop/",
        "-",
        "-/",
        "/-",
        "shop/a/b/-/items",
    ] {
        check(&[], path, UNSAFE);
        check(&both, path, UNSAFE);
    }
    // The log names the fault.
    server.wait_for_log("Path and Method is missing", 1);
    server.wait_for_log("also a header Path or Method", 1);
}

#[test]
fn a_limit_reaches_both_kinds_of_gateways() {
    let server = Server::start();
    for (form, status) in [(Form::Appended, 429), (Form::Headers, 403)] {
        let limit = json!({ "limit": 1, "window_s": 3600 });
        let key = json!({ "name": "slow", "rate_limit": limit });
        let user = server.bearer(&server.admin().issue(key).secret);
        ask(&user, form, "-/-", "GET", "/").expect(200);
        let answer = ask(&user, form, "-/-", "GET", "/");
        assert_eq!(verdict(&answer), (status, Some("RATE_LIMITED")), "{form:?}");
        assert!(answer.header("retry-after").is_some(), "{form:?}");
    }
}

#[test]
fn the_host_that_a_gateway_passes_on_counts() {
    let server = Server::start();
    hosted(&server);
    let key = json!({ "name": "again", "catalog": "hosted", "scopes": ["r"] });
    let secret = server.admin().issue(key).secret;
    let ask = |path: &str, more: &str, host: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n{more}Connection: close\r\n\r\n"
        );
        server.raw_to_the_end(request).statuses()
    };
    for (host, status) in [
        ("api.example", 200),
        ("API.example:8443", 200),
        ("evil.example", 403),
    ] {
        let appended = ask("/auth/gateway/hosted/-/only", "", host);
        assert_eq!(appended, [status], "{host}");
        let described = "Path: /only\r\nMethod: GET\r\n";
        let in_headers = ask("/auth/gateway/hosted/-", described, host);
        assert_eq!(in_headers, [status], "{host}");
    }
}
