//! An operation that is not mapped is closed: the tests send requests for each operation of documents of many shapes.

use super::*;
use crate::domain::catalogs::Requirement;
use serde_json::json;

/// A document with these paths, a key in a header for all of them, and schemes of several kinds.
fn document(paths: Value) -> Value {
    json!({
        "openapi": "3.2.0",
        "$self": "https://h.example/api.yaml",
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "second": {"type": "apiKey", "in": "header", "name": "X-Second"},
                "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"scopes": {"a": "", "b": "", "c": "", "d": ""}}}},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
                "tls": {"type": "mutualTLS"},
            },
            "pathItems": {
                "here": {"get": {"security": [{"oauth": ["a"]}]}},
                "{odd}/name": {"get": {}},
                "loop": {"$ref": "#/components/pathItems/loop"},
            },
        },
    })
}

pub fn imported(paths: Value) -> Import {
    import(&document(paths).to_string(), "x", &Options::default()).unwrap()
}

/// The outcome of a request: any key, the scopes, or closed.
fn asks(import: &Import, method: &str, path: &str) -> String {
    let catalog = Catalog::compile(import.definition.clone()).unwrap();
    match catalog
        .demand(method, path, None)
        .map(|demand| demand.requirement)
    {
        Ok(Requirement::AnyKey) => "any".to_owned(),
        Ok(Requirement::Nobody) => "nobody".to_owned(),
        Ok(Requirement::Scopes { all_of, any_of }) => {
            format!("{} | {}", all_of.join("+"), any_of.join("/"))
        }
        Err(detail) => detail.as_str().to_owned(),
    }
}

#[track_caller]
fn check(paths: Value, method: &str, path: &str, expected: &str) {
    let import = imported(paths);
    assert_eq!(
        asks(&import, method, path),
        expected,
        "{:?} {:?}",
        import.left_out,
        import.notes
    );
}

#[test]
fn a_literal_that_is_not_mapped_is_not_answered_by_the_template_beside_it() {
    let closed = json!({"security": [{"cookie": []}]});
    for (template, literal, asked) in [
        ("/r/{id}", "/r/pay", "/r/pay"),
        ("/r/{id}/x", "/r/pay/x", "/r/pay/x"),
        ("/{a}/{b}", "/r/{b}", "/r/7"),
        ("/r/{id}.json", "/r/pay.json", "/r/pay.json"),
        ("/r/{id}", "/r/{id}.json", "/r/7.json"),
        ("/r/{id}", "/r/{id}:cancel", "/r/7:cancel"),
        ("/r/{id}", "/r/v{n}", "/r/v7"),
        ("/r/{id}", "/r/{a}-{b}", "/r/1-2"),
        ("/r/{id}", "r/pay", "/r/pay"),
        ("/r/{id}", "/r/pay{", "/r/pay{"),
    ] {
        for method in ["get", "post", "query"] {
            let paths = json!({template: {method: {}}, literal: {method: closed}});
            let import = imported(paths);
            let method = method.to_ascii_uppercase();
            assert_eq!(
                asks(&import, &method, asked),
                "nobody",
                "{template} {literal}"
            );
            assert_eq!(import.mapped, 1);
            if method == "GET" {
                assert_eq!(
                    asks(&import, "HEAD", asked),
                    "nobody",
                    "{template} {literal}"
                );
            }
            for resembling in [
                asked.to_uppercase(),
                format!("{asked}/"),
                format!("{asked}.xml"),
            ] {
                let found = asks(&import, &method, &resembling);
                assert!(
                    ["nobody", "UNSAFE_REQUEST", "UNKNOWN_OPERATION"].contains(&&*found),
                    "{resembling}: {found}"
                );
            }
        }
    }
}

#[test]
fn references_are_followed_or_closed_wherever_they_may_stand() {
    let item = json!({"$ref": "#/components/pathItems/here"});
    check(json!({"/a": item}), "GET", "/a", " | a");
    check(
        json!({"/a": {"$ref": "#/components/pathItems/%7Bodd%7D~1name"}}),
        "GET",
        "/a",
        "any",
    );
    check(
        json!({"/a": {"$ref": "api.yaml#/components/pathItems/here"}}),
        "GET",
        "/a",
        " | a",
    );
    let operation = json!({"get": {"$ref": "#/components/pathItems/here/get"}});
    check(json!({"/a": operation}), "GET", "/a", " | a");
    for astray in ["other.yaml", "#/nowhere", "#/components/pathItems/loop"] {
        let paths = json!({"/{x}": {"get": {}, "delete": {}}, "/a": {"$ref": astray}, "/b": {"get": {"$ref": astray}}});
        check(paths.clone(), "GET", "/a", "nobody");
        check(paths.clone(), "DELETE", "/a", "nobody");
        check(paths.clone(), "GET", "/b", "nobody");
        check(paths.clone(), "DELETE", "/b", "any");
        check(paths, "GET", "/c", "any");
    }
    // Members next to a reference count, and an operation that is defined twice is closed.
    let beside = json!({"$ref": "#/components/pathItems/here", "post": {}});
    check(json!({"/a": beside}), "GET", "/a", " | a");
    check(json!({"/a": beside}), "POST", "/a", "any");
    let twice = json!({"$ref": "#/components/pathItems/here", "get": {}});
    check(json!({"/a": twice}), "GET", "/a", "nobody");
}

#[test]
fn what_is_the_same_request_is_one_operation_only_if_it_asks_for_the_same() {
    let a = json!({"get": {"security": [{"oauth": ["a"]}]}});
    let b = json!({"get": {"security": [{"oauth": ["b"]}]}});
    for (one, two) in [
        ("/r/{x}", "/r/{y}"),
        ("/r/{x}", "/r/{x}#part"),
        ("/r/{x}", "/r/{x}?q=1"),
        ("/r/a", "/r/%61"),
    ] {
        let asked = if one == "/r/a" { one } else { "/r/7" };
        let import = imported(json!({one: a, two: b}));
        assert_eq!(asks(&import, "GET", asked), "nobody", "{two}");
        assert_eq!((import.mapped, import.left_out.len()), (0, 2), "{two}");
        let import = imported(json!({one: a, two: a}));
        assert_eq!(asks(&import, "GET", asked), " | a", "{two}");
        assert_eq!((import.mapped, import.notes.len()), (2, 1), "{two}");
    }
    // A path with a query does not describe the same path without the query.
    let import = imported(json!({"/r?q=1": a, "/{x}": a}));
    assert_eq!(asks(&import, "GET", "/r"), "nobody");
    assert!(
        import.left_out[0].why.to_string().contains("query"),
        "{:?}",
        import.left_out
    );
    // A request never contains a fragment.
    check(json!({"/r#part": a}), "GET", "/r", " | a");
}

#[test]
fn methods_that_are_not_of_a_path_item_are_told() {
    let import = imported(json!({
        "/{x}": {"get": {}, "query": {}, "additionalOperations": {"COPY": {}, "copy": {}, "NO_WAY": {}}},
        "/a": {"GET": {}, "additionalOperations": {"$ref": "other.yaml"}},
        "/b": {"get": null, "what": {}},
        "/c": 7,
    }));
    for (method, path, expected) in [
        ("COPY", "/7", "any"),
        ("QUERY", "/7", "any"),
        ("copy", "/7", "UNKNOWN_OPERATION"),
        ("GET", "/a", "nobody"),
        ("COPY", "/a", "nobody"),
        ("GET", "/b", "nobody"),
        ("GET", "/c", "nobody"),
        ("COPY", "/c", "nobody"),
    ] {
        assert_eq!(asks(&import, method, path), expected, "{method} {path}");
    }
    let writes = |id: &str| {
        import
            .definition
            .operations
            .iter()
            .find(|it| it.id == id)
            .map(|it| it.writes)
    };
    assert_eq!(writes("QUERY /{x}"), Some(false));
    assert_eq!(writes("COPY /{x}"), Some(true));
    let told =
        |it: &LeftOut| it.operation == "/b" && it.why.to_string().contains("the member \"what\"");
    assert!(import.left_out.iter().any(told), "{:?}", import.left_out);
}

#[test]
fn ids_are_labels() {
    let long = "l".repeat(150);
    let import = imported(json!({
        "/a": {"get": {"operationId": "same"}, "put": {"operationId": &long}, "post": {"operationId": ""}},
        "/b": {"get": {"operationId": "same"}, "put": {"operationId": &long}, "post": {"operationId": " x\ny"}},
    }));
    let ids: Vec<&str> = import
        .definition
        .operations
        .iter()
        .map(|it| it.id.as_str())
        .collect();
    assert_eq!((import.mapped, ids.len()), (6, 6));
    for id in ["same", "same (2)", &long[..100], "POST /a", "POST /b"] {
        assert!(ids.contains(&id), "{id}: {ids:?}");
    }
    assert!(import.left_out.is_empty());
    assert!(
        import
            .notes
            .iter()
            .any(|it| it.to_string().contains("another id")),
        "{:?}",
        import.notes
    );
}

#[test]
fn servers_of_their_own_are_where_operations_are_mapped() {
    let own = json!({"servers": [{"url": "https://up.example/v2"}], "post": {}, "get": {"servers": [{"url": "https://{x}.example"}]}});
    let paths = json!({"/f/{id}": {"post": {}, "get": {}}, "/f/content": own});
    let import = imported(paths);
    let catalog = Catalog::compile(import.definition.clone()).unwrap();
    let asks = |method: &str, path: &str, host: &str| {
        catalog
            .demand(method, path, Some(host))
            .map(|it| it.requirement.clone())
    };
    assert_eq!(
        asks("POST", "/v2/f/content", "up.example"),
        Ok(Requirement::AnyKey)
    );
    assert_eq!(
        asks("POST", "/f/content", "api.example"),
        Ok(Requirement::Nobody)
    );
    assert_eq!(
        asks("POST", "/f/content", "up.example"),
        Ok(Requirement::Nobody)
    );
    assert_eq!(
        asks("GET", "/f/content", "api.example"),
        Ok(Requirement::Nobody)
    );
    assert_eq!(asks("POST", "/f/7", "api.example"), Ok(Requirement::AnyKey));
    assert!(
        import
            .notes
            .iter()
            .any(|it| it.to_string().contains("https://up.example/v2")),
        "{:?}",
        import.notes
    );
    assert_eq!(import.left_out.len(), 1);
}

#[test]
fn parameters_go_over_slashes_where_the_document_says_so() {
    let over =
        json!({"parameters": [{"name": "p", "in": "path", "x-multi-segment": true}], "get": {}});
    check(json!({"/t/{p}": over}), "GET", "/t/a/b", "any");
    check(
        json!({"/t/{p}": {"get": {}}}),
        "GET",
        "/t/a/b",
        "UNKNOWN_OPERATION",
    );
    // Another path of the document is longer: this operation must not answer longer requests.
    let import = imported(json!({"/t/{p}": over, "/t/{p}/end": {"get": {"security": []}}}));
    assert_eq!(asks(&import, "GET", "/t/a"), "any");
    assert_eq!(asks(&import, "GET", "/t/a/b/end"), "UNKNOWN_OPERATION");
    assert!(
        import
            .notes
            .iter()
            .any(|it| it.to_string().contains("may go over slashes")),
        "{:?}",
        import.notes
    );
}

#[test]
fn documents_that_are_not_read_say_why() {
    for (text, why) in [
        ("{\"swagger\":\"2.0\"}", "Swagger 2.0"),
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 3.3.0", "version 3.0, 3.1 or 3.2"),
        ("openapi: 3.10.0", "version 3.0, 3.1 or 3.2"),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{},\"/a\":{}}}",
            "there twice",
        ),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"$ref\":\"paths.yaml\"}}",
            "outside the document",
        ),
    ] {
        let found = import(text, "x", &Options::default())
            .map(|_| ())
            .unwrap_err();
        assert!(found.to_string().contains(why), "{text}: {found}");
    }
    let silent = "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{}}}}";
    for (silence, mapped) in [(Silence::Closed, 0), (Silence::AnyKey, 1)] {
        let options = Options {
            silence,
            ..Options::default()
        };
        assert_eq!(import(silent, "x", &options).unwrap().mapped, mapped);
    }
}

#[test]
fn a_path_with_members_that_openapi_does_not_know_is_closed() {
    for member in ["get ", "any", "security", "what"] {
        let item = json!({member: [], "post": {}});
        let import = imported(json!({"/r/{id}": {"get": {}, "post": {}}, "/r/pay": item}));
        for method in ["GET", "HEAD", "POST"] {
            assert_eq!(asks(&import, method, "/r/pay"), "nobody", "{member}");
        }
        assert_eq!(asks(&import, "GET", "/r/7"), "any", "{member}");
        let told = import
            .left_out
            .iter()
            .filter(|it| it.why.to_string().contains(member));
        assert!(told.count() > 0, "{:?}", import.left_out);
    }
    let any = json!({"x-amazon-apigateway-any-method": {}, "x-other": {}, "post": {}});
    let paths = json!({"/r/{id}": {"get": {}, "post": {}}, "/r/pay": any});
    check(paths.clone(), "GET", "/r/pay", "nobody");
    check(paths, "POST", "/r/pay", "any");
    check(
        json!({"/r/pay": {"x-other": {}, "post": {}}}),
        "POST",
        "/r/pay",
        "any",
    );
}

#[test]
fn what_is_closed_is_closed_wherever_the_document_is_served() {
    let up = json!([{"url": "https://up.example/v2"}]);
    let template = json!({"servers": up, "get": {}});
    for closed in [
        json!({"$ref": "elsewhere.yaml"}),
        json!({"get": {"servers": [{"url": "https://{x}.example"}]}}),
        json!({"get": {"security": []}}),
    ] {
        for host in [None, Some("usual.example")] {
            let document = document(json!({"/f/{id}": template, "/f/admin": closed}));
            let options = Options {
                host,
                ..Options::default()
            };
            let import = import(&document.to_string(), "x", &options).unwrap();
            let catalog = Catalog::compile(import.definition).unwrap();
            let asks = |path: &str| {
                let demand = catalog.demand("GET", path, Some("up.example"));
                demand.map(|it| it.requirement.clone())
            };
            assert_eq!(asks("/v2/f/7"), Ok(Requirement::AnyKey));
            assert_eq!(asks("/v2/f/admin"), Ok(Requirement::Nobody), "{closed}");
            assert!(asks("/v2/f/admin/") != Ok(Requirement::AnyKey), "{closed}");
        }
    }
}

#[test]
fn an_operation_that_is_closed_at_one_place_is_closed_at_the_others() {
    let servers = |urls: &[&str]| Vec::from_iter(urls.iter().map(|url| json!({ "url": url })));
    let two = servers(&["https://up.example", "https://down.example"]);
    let one = servers(&["https://up.example"]);
    let import = imported(json!({
        "/r/{x}": {"get": {"servers": two}},
        "/r/{y}": {"get": {"servers": one, "security": [{"oauth": ["a"]}]}},
        "/r/{z}/x": {"get": {}},
    }));
    let catalog = Catalog::compile(import.definition).unwrap();
    for host in ["up.example", "down.example", "o.example"] {
        let demand = catalog.demand("GET", "/r/7", Some(host));
        let found = demand.map(|it| it.requirement.clone());
        assert_eq!(found, Ok(Requirement::Nobody), "{host}");
    }
    assert_eq!(import.mapped, 1);
}

#[test]
fn a_closed_parameter_that_goes_over_slashes_is_closed_over_slashes() {
    let closed = json!({"get": {"security": []}});
    let marked = json!({"parameters": [{"name": "p", "in": "path", "x-multi-segment": true}], "get": {"security": []}});
    for (path, item, others, asked) in [
        (
            "/v1/{name=projects/*/secrets/*}",
            &closed,
            ["/v1/{a}/{b}/{c}/{d}", "/{t}/projects/{b}/secrets/{d}"],
            "/v1/projects/a/secrets/b",
        ),
        (
            "/z/{+path}",
            &closed,
            ["/z/{a}/{b}", "/{t}/{a}/b"],
            "/z/a/b",
        ),
        (
            "/w/{path*}",
            &closed,
            ["/w/{a}/{b}", "/{t}/{a}/b"],
            "/w/a/b",
        ),
        (
            "/w/{path+}",
            &closed,
            ["/w/{a}/{b}/", "/{t}/{a}/b/"],
            "/w/a/b/",
        ),
        ("/t/{p}", &marked, ["/t/{a}/{b}", "/{t}/{a}/b"], "/t/a/b"),
    ] {
        for other in others {
            let import = imported(json!({path: item, other: {"get": {}}}));
            for method in ["GET", "HEAD"] {
                let found = asks(&import, method, asked);
                assert_eq!(
                    found, "nobody",
                    "{path} {other}: {:?}",
                    import.definition.operations
                );
            }
        }
    }
}

#[test]
fn members_beside_a_reference_are_told_and_close() {
    for beside in [
        json!({"$ref": "#/components/pathItems/here/get", "security": []}),
        json!({"$ref": "#/components/pathItems/here/get", "servers": []}),
        json!({"security": [{"$ref": "#/security/0", "cookie": []}]}),
    ] {
        let import = imported(json!({"/a": {"get": beside}, "/{x}": {"get": {}}}));
        assert_eq!(asks(&import, "GET", "/a"), "nobody");
        assert!(
            import.left_out[0]
                .why
                .to_string()
                .contains("next to a $ref")
        );
    }
    let said = json!({"$ref": "#/components/pathItems/here/get", "description": "", "x-y": 1});
    check(json!({"/a": {"get": said}}), "GET", "/a", " | a");
}

#[test]
fn a_path_that_no_catalog_can_have_closes_the_one_that_it_may_be() {
    for path in [
        "/a/b ",
        "/a//b",
        "/./a/b",
        "/a/b;v=1",
        "/a/c/../b",
        "https://h/a/b",
        "/a./b",
    ] {
        for closed in [
            json!({"get": {"security": []}}),
            json!({"$ref": "elsewhere.yaml"}),
        ] {
            check(
                json!({path: closed, "/a/{x}": {"get": {}}}),
                "GET",
                "/a/b",
                "nobody",
            );
        }
    }
}

#[test]
fn a_short_document_cannot_ask_for_endless_work() {
    let many = |count: usize| Vec::from_iter((0..count).map(|n| json!({"oauth": [n.to_string()]})));
    let servers = |count: usize| {
        let url = |n| json!({"url": format!("https://h{n}.example")});
        Vec::from_iter((0..count).map(url))
    };
    for (operation, why) in [
        (json!({"security": many(101)}), "alternatives"),
        (json!({"servers": servers(101)}), "servers"),
    ] {
        let import = imported(json!({"/a": {"get": operation}, "/{x}": {"get": {}}}));
        assert_eq!(asks(&import, "GET", "/a"), "nobody");
        assert!(
            import.left_out[0].why.to_string().contains(why),
            "{:?}",
            import.left_out
        );
    }
    let mut paths = Map::new();
    for n in 0..1_000 {
        let item = json!({"servers": servers(100), "get": {}});
        paths.insert(format!("/{n}"), item);
    }
    let whole = document(Value::Object(paths)).to_string();
    let found = import(&whole, "x", &Options::default()).map(|_| ());
    assert!(
        found
            .unwrap_err()
            .to_string()
            .contains("too many operations")
    );
}

#[test]
fn an_operation_can_let_preflights_pass() {
    let allowing = json!({"x-latchkey-preflight": true});
    let import = imported(json!({
        "/open": {"get": allowing, "post": {}, "put": {"x-latchkey-preflight": "true"}},
        "/closed": {"get": {"x-latchkey-preflight": true, "security": [{"cookie": []}]}},
        // Both stand for the same requests, and only one of them lets preflights pass.
        "/joined/{a}": {"get": allowing},
        "/joined/{b}": {"get": {}},
    }));
    let catalog = Catalog::compile(import.definition.clone()).unwrap();
    let passes = |method: &str, path: &str| {
        let demand = catalog.demand(method, path, None).unwrap();
        demand.preflight && *demand.requirement != Requirement::Nobody
    };
    assert!(passes("GET", "/open"));
    for (method, path) in [
        ("POST", "/open"),
        ("PUT", "/open"),
        ("GET", "/closed"),
        ("GET", "/joined/7"),
    ] {
        assert!(!passes(method, path), "{method} {path}");
    }
}
