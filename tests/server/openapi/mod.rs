//! Compares `/v1/openapi.json` with the running server.
//!
//! `tests/authorization_matrix/described.rs` checks that its operations are those of the route tables.

mod answers;
mod document;
mod schemathesis;

use crate::support::{Response, Server, User};
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// The document, as JSON.
struct Description(Value);

/// One operation and its position in the document.
struct Operation<'a> {
    method: String,
    path: &'a str,
    value: &'a Value,
}

/// A user with a separate management key.
fn manager(server: &Server) -> User {
    let scopes = [
        "keys:write",
        "keys:verify",
        "keys:reveal",
        "workspaces:write",
        "users:write",
        "policies:write",
        "catalogs:write",
        "audit:read",
        "server:admin",
        "leaks:report",
    ];
    let key = json!({ "name": "m", "catalog": "latchkey", "scopes": scopes });
    server.bearer(&server.admin().issue(key).secret)
}

impl Description {
    fn of(server: &Server) -> Description {
        let served = server.anonymous().get("/v1/openapi.json").expect(200);
        assert_eq!(served.header("content-type"), Some("application/json"));
        Description(served.json())
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let all = paths.flat_map(|(path, item)| {
            let members = item.as_object().unwrap().iter();
            members.map(move |(method, value)| Operation {
                method: method.to_uppercase(),
                path,
                value,
            })
        });
        all.filter(|operation| operation.method != "PARAMETERS")
            .collect()
    }

    /// The value itself, or the target of its reference.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(pointer) => self.0.pointer(&pointer[1..]).expect(pointer),
            None => value,
        }
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        schema["components"] = json!({ "schemas": self.0["components"]["schemas"] });
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|err| panic!("no schema: {err}: {schema}"))
    }

    /// Panics unless the document describes this answer for the operation.
    #[track_caller]
    fn check(&self, operation: &Value, response: &Response) {
        let status = response.status.to_string();
        let described = &operation["responses"][&status];
        let exchange = || response.exchange();
        assert!(
            !described.is_null(),
            "{status} is not described\n{}",
            exchange()
        );
        let described = self.resolved(described);
        let Some(content) = described["content"].as_object() else {
            assert!(
                response.body.is_empty(),
                "no body is described\n{}",
                exchange()
            );
            return;
        };
        let media_type = response.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        let described = content.get(media_type);
        let described =
            described.unwrap_or_else(|| panic!("{media_type} is not described\n{}", exchange()));
        if media_type.ends_with("json") {
            let body = response.json();
            let validator = self.validator(&described["schema"]);
            let faults: Vec<String> = validator
                .iter_errors(&body)
                .map(|fault| format!("{}: {fault}", fault.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{faults:#?}\n{}", exchange());
        }
    }
}
