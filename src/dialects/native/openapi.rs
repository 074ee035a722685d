//! `GET /v1/openapi.json`: the description of this dialect, forward-auth and the probes, for clients and their tools.
//!
//! The parts are written by hand in `assets/openapi/`, one file for each area, and are merged once. This module adds
//! what all operations of a kind have in common: the credential in `needs`, the refusals that follow from having a
//! credential, a body or a path parameter, and the request id. The tests of `dialects` compare the document with the
//! route tables.

use crate::error::{Error, Result};
use crate::http::reply::{Body, Reply};
use crate::http::route::Call;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

const PARTS: [&str; 10] = [
    include_str!("../../../assets/openapi/base.json"),
    include_str!("../../../assets/openapi/verification.json"),
    include_str!("../../../assets/openapi/keys.json"),
    include_str!("../../../assets/openapi/workspaces.json"),
    include_str!("../../../assets/openapi/people.json"),
    include_str!("../../../assets/openapi/rules.json"),
    include_str!("../../../assets/openapi/oversight.json"),
    include_str!("../../../assets/openapi/keeping.json"),
    include_str!("../../../assets/openapi/forward-auth.json"),
    include_str!("../../../assets/openapi/server.json"),
];

/// The methods that `any` in a path item stands for. The server refuses TRACE before it looks for a route.
const ANY: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// `GET /v1/openapi.json`
pub fn document(_: &Call<'_>) -> Result<Reply> {
    static DOCUMENT: OnceLock<Body> = OnceLock::new();
    let text = match DOCUMENT.get() {
        Some(text) => text,
        None => {
            let text = serde_json::to_vec(&assemble()?).map_err(Error::internal)?;
            DOCUMENT.get_or_init(|| text.into())
        }
    };
    Ok(Reply::new(200).body("application/json", Body::clone(text)))
}

/// The whole document.
pub fn assemble() -> Result<Value> {
    let mut whole = Value::Object(Map::new());
    for part in PARTS {
        let part = serde_json::from_str(part).map_err(Error::internal)?;
        merge(&mut whole, part);
    }
    whole["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    for (path, item) in members(&mut whole["paths"]) {
        if let Some(any) = item.as_object_mut().and_then(|item| item.remove("any")) {
            for method in ANY {
                let mut operation = any.clone();
                let id = any["operationId"].as_str().unwrap_or_default();
                operation["operationId"] = json!(format!("{id}By{}", method.to_uppercase()));
                item[method] = operation;
            }
        }
        let shared = item.get("parameters").cloned();
        for (method, operation) in members(item) {
            if method != "parameters" {
                complete(path, operation, shared.is_some());
            }
        }
    }
    for (_, response) in members(&mut whole["components"]["responses"]) {
        with_request_id(response);
    }
    Ok(whole)
}

/// Adds what follows from the kind of the operation.
fn complete(path: &str, operation: &mut Value, has_path_parameter: bool) {
    let needs = operation
        .as_object_mut()
        .and_then(|operation| operation.remove("needs"));
    let anonymous = operation
        .as_object_mut()
        .and_then(|operation| operation.remove("anonymous"));
    let mut refusals: Vec<(&str, &str)> = Vec::new();
    if let Some(needs) = &needs {
        let mut ways = vec![json!({ "bearer": needs }), json!({ "apiKey": needs })];
        ways.extend(anonymous.map(|_| json!({})));
        operation["security"] = Value::Array(ways);
        refusals.extend([("401", "unauthenticated"), ("429", "too-many-requests")]);
        if needs.as_array().is_some_and(|needs| !needs.is_empty()) {
            refusals.push(("403", "forbidden"));
        }
    }
    if path.starts_with("/v1/") {
        refusals.extend([
            ("400", "invalid-request"),
            ("417", "expectation-failed"),
            ("421", "misdirected"),
            ("500", "internal"),
            ("503", "unavailable"),
        ]);
        if has_path_parameter {
            refusals.push(("404", "not-found"));
        }
        if operation.get("parameters").is_some() {
            refusals.push(("422", "invalid-field"));
        }
        if let Some(body) = operation.get("requestBody") {
            refusals.extend([
                ("408", "body-timeout"),
                ("413", "too-large"),
                ("415", "unsupported-media-type"),
            ]);
            if !body["content"]["application/json"].is_null() {
                refusals.push(("422", "invalid-field"));
            }
        }
    }
    for (status, code) in refusals {
        let described = &mut operation["responses"][status];
        if described.is_null() {
            *described = json!({ "$ref": format!("#/components/responses/{code}") });
        }
    }
    for (_, response) in members(&mut operation["responses"]) {
        with_request_id(response);
    }
}

fn with_request_id(response: &mut Value) {
    if response.get("$ref").is_none() {
        response["headers"]["X-Request-Id"] = json!({ "$ref": "#/components/headers/RequestId" });
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value
        .as_object_mut()
        .into_iter()
        .flat_map(|members| members.iter_mut())
}

/// Merges the members of one document into another, recursively for objects.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
