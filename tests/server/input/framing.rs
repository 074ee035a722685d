//! Bodies that are not JSON, have another content type, or are too long.

use serde_json::json;

use super::{routes, state};

/// attacks 68, 191
#[test]
fn what_is_no_json_object_is_malformed_everywhere() {
    let (server, routes) = routes();
    let admin = server.admin();
    let deep = "[".repeat(10_000);
    let deeper = format!("{{\"name\":{}", "{\"a\":".repeat(10_000));
    let bodies: [&[u8]; 14] = [
        b"{",
        b"null",
        b"[]",
        b"1",
        b"\"a\"",
        b"{}x",
        b"{'a':1}",
        b"{\"a\":NaN}",
        b"{\"a\":1e999}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{}",
        deep.as_bytes(),
        deeper.as_bytes(),
    ];
    let before = state(&admin);
    for route in &routes {
        for body in bodies {
            let response = admin.send(route.method, &route.path, "application/json", body);
            response.refused(400, "invalid-request");
        }
        let optional = route.good == json!({}) && route.method != "PATCH";
        if !optional {
            let empty = admin.send(route.method, &route.path, "application/json", b"");
            empty.refused(400, "invalid-request");
        }
    }
    assert_eq!(state(&admin), before);
}

/// attacks 165
#[test]
fn another_content_type_is_415_everywhere() {
    let (server, routes) = routes();
    let admin = server.admin();
    let before = state(&admin);
    for route in &routes {
        let body = route.good.to_string();
        for media_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "text/json",
            "multipart/form-data; boundary=x",
        ] {
            let response = admin.send(route.method, &route.path, media_type, body.as_bytes());
            response.refused(415, "unsupported-media-type");
        }
    }
    assert_eq!(state(&admin), before);
    for media_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=utf-8",
    ] {
        admin
            .send("POST", "/v1/keys", media_type, b"{\"name\":\"k\"}")
            .expect(201);
    }
}

#[test]
fn a_body_of_64_kib_is_read_and_one_byte_more_is_413() {
    let (server, routes) = routes();
    let admin = server.admin();
    let before = state(&admin);
    for route in routes
        .iter()
        .filter(|route| !route.path.starts_with("/v1/catalogs"))
    {
        let filled = |bytes: usize| {
            let start = "{\"filler\":\"";
            format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
        };
        let read = admin.send(
            route.method,
            &route.path,
            "application/json",
            filled(64 * 1024).as_bytes(),
        );
        assert_eq!(read.status, 422, "{} {}", route.method, route.path);
        let refused = admin.send(
            route.method,
            &route.path,
            "application/json",
            filled(64 * 1024 + 1).as_bytes(),
        );
        refused.refused(413, "too-large");
    }
    assert_eq!(state(&admin), before);
    let scopes: Vec<_> = (0..1000)
        .map(|number| json!({ "name": format!("{number:0>100}") }))
        .collect();
    admin
        .put("/v1/catalogs/wide", json!({ "scopes": scopes }))
        .expect(201);
}
