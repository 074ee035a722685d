//! The document itself, and what it states about bodies, parameters and credentials.

use super::{Description, Operation, manager};
use crate::support::Server;
use serde_json::{Value, json};

#[test]
fn it_is_public_and_names_its_version() {
    let server = Server::start();
    let description = Description::of(&server);
    assert_eq!(description.0["openapi"], "3.1.0");
    assert_eq!(description.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(description.operations().len() > 80);
    server
        .anonymous()
        .get("/v1/openapi.json?x=1")
        .refused(400, "invalid-request");
}

#[test]
fn examples_are_what_their_schemas_say() {
    let server = Server::start();
    let description = Description::of(&server);
    let mut seen = 0;
    let mut waiting = vec![&description.0];
    while let Some(value) = waiting.pop() {
        waiting.extend(value.as_array().into_iter().flatten());
        waiting.extend(value.as_object().into_iter().flat_map(|map| map.values()));
        if value["schema"].is_null() {
            continue;
        }
        let validator = description.validator(&value["schema"]);
        let named = value["examples"].as_object().into_iter().flatten();
        let named = named.map(|(_, example)| &description.resolved(example)["value"]);
        let single = value.get("example");
        for example in named.chain(single) {
            let faults: Vec<String> = validator
                .iter_errors(example)
                .map(|fault| format!("{}: {fault}", fault.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{faults:#?} in {example}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} examples");
}

#[test]
fn bodies_and_parameters_have_examples() {
    let server = Server::start();
    let description = Description::of(&server);
    let has_example = |value: &Value| {
        !value["example"].is_null()
            || !value["examples"].is_null()
            || !value["schema"]["default"].is_null()
    };
    for operation in description.operations() {
        let Operation {
            method,
            path,
            value,
        } = operation;
        let body = &value["requestBody"]["content"];
        for (media_type, content) in body.as_object().into_iter().flatten() {
            assert!(has_example(content), "{method} {path} {media_type}");
        }
        for (status, response) in value["responses"].as_object().unwrap() {
            let contents = description.resolved(response)["content"].as_object();
            for (media_type, content) in contents.into_iter().flatten() {
                let whole = path == "/v1/openapi.json" && status == "200";
                assert!(
                    has_example(content) || whole,
                    "{method} {path} {status} {media_type}"
                );
            }
        }
    }
}

/// A path with ids that do not exist: a route reads its body before it looks for the object.
fn filled(path: &str) -> String {
    path.replace("{id}", "0000000000").replace("{name}", "none")
}

#[test]
fn bodies_are_read_exactly_where_they_are_described() {
    let server = Server::start();
    let description = Description::of(&server);
    for operation in description.operations() {
        // Without the setting `leak_report_keys` there is no route for GitHub.
        if !operation.path.starts_with("/v1/") || operation.path == "/v1/leaks/github" {
            continue;
        }
        // A separate credential for each operation, because some operations end it.
        let admin = manager(&server);
        let body = &operation.value["requestBody"];
        let path = filled(operation.path);
        let Operation { method, .. } = &operation;
        let sent = admin.send(method, &path, "text/plain", b"x");
        let reads_another = !body.is_null() && body["content"]["text/plain"].is_null();
        assert_eq!(sent.status == 415, reads_another, "{}", sent.exchange());
        if body.is_null() {
            continue;
        }
        let empty = admin.call(method, &path, None);
        let needed = matches!(empty.status, 400 | 415);
        assert_eq!(needed, body["required"] == true, "{}", empty.exchange());
        let Some(content) = body["content"].get("application/json") else {
            continue;
        };
        // Every member in the document is known to the route, even if it refuses null as its value.
        let schema = description.resolved(&content["schema"]);
        let members = schema["properties"].as_object().into_iter().flatten();
        let nulls: Value = members
            .map(|(name, _)| (name.clone(), json!(null)))
            .collect();
        let sent = admin.call(method, &path, Some(&nulls));
        assert!(!sent.text().contains("is no member"), "{}", sent.exchange());
    }
}

#[test]
fn described_parameters_are_taken_and_others_are_not() {
    let server = Server::start();
    let description = Description::of(&server);
    let admin = server.admin();
    for operation in description.operations() {
        if !operation.path.starts_with("/v1/") {
            continue;
        }
        let path = filled(operation.path);
        let parameters = operation.value["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let parameter = description.resolved(parameter);
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap();
                let sent = admin.call(&operation.method, &format!("{path}?{name}="), None);
                let stranger = format!("no parameter {name}");
                assert!(!sent.text().contains(&stranger), "{}", sent.exchange());
            }
        }
        let form = matches!(operation.path, "/v1/introspect" | "/v1/revoke");
        if !form && operation.value["requestBody"].is_null() {
            admin
                .call(&operation.method, &format!("{path}?zzz=1"), None)
                .refused(400, "invalid-request");
        }
    }
}

#[test]
fn what_needs_a_credential_is_what_is_described_to() {
    let server = Server::start();
    let description = Description::of(&server);
    for operation in description.operations() {
        if !operation.path.starts_with("/v1/") {
            continue;
        }
        let security = operation.value["security"].as_array().unwrap();
        let open = security.is_empty() || security.contains(&json!({}));
        let anonymous = server.anonymous();
        let sent = anonymous.call(&operation.method, &filled(operation.path), None);
        assert_eq!(sent.status != 401, open, "{}", sent.exchange());
    }
}
