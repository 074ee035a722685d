//! `GET /v1/openapi.json`: the description of this dialect, forward-auth and the probes, for clients and their tools.
//!
//! Each dialect adds its operations, with the tables of its bodies (`http::describe`). This module adds what all
//! operations of a kind have in common: the credential in `needs`, the refusals that follow from having a credential, a
//! body or a path parameter, and the request id. The tests of `dialects` compare the document with the route tables, and
//! with the document of an earlier version.

use super::keys::bodies::EXAMPLE_ID;
use super::problem::{self, EXAMPLE_REQUEST_ID};
use crate::domain::keys::ID_PATTERN;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::reply::{Body, Reply};
use crate::http::route::{Call, Surface};
use serde_json::{Value, json};
use std::sync::OnceLock;

const ABOUT: &str = "JSON in and out, members in `snake_case`, unknown members refused; an absent member and `null` mean the \
                     default. Times are RFC 3339 and sent in UTC, ids are opaque strings, and the names of spans end in `_s`. \
                     Every `GET` answers `HEAD` too. Unknown and repeated query parameters are refused. Every answer has \
                     `X-Request-Id`, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`.\n\nA management credential \
                     is an ordinary key of the built-in catalog `latchkey`, or the access token of a user who has signed in. \
                     It may do what its scopes, the roles of its owner and the subtree of its workspace all permit; what it \
                     may not see has the answer 404. The scopes that an operation needs are in its `security`.\n\nErrors are RFC \
                     9457 problem details. A refused key is no error: it is a verdict with a `code`.";

const BEARER: &str =
    "`Authorization: Bearer <key or access token>`. `Token` instead of `Bearer` is accepted too.";
const API_KEY: &str =
    "The same key in a separate header. A request has one credential: two are refused.";
const BASIC: &str = "In questions of proxies: the key as the password, or as the user name with an empty password, if its policy \
                     has the word `basic` in `headers`. At introspection and revocation: `client_secret_basic`, a management \
                     key as the secret of an OAuth client.";
const RETRY: &str = "A repeat within 24 hours with the same body has the same answer, without the secret; with another body it is \
                     a 422.";

/// The parameters in paths: the start of the paths, the name, the description and an example.
const PATH_PARAMETERS: [(&str, &str, &str, &str); 9] = [
    ("/v1/keys/{id}", "id", "The key's id.", EXAMPLE_ID),
    (
        "/v1/workspaces/{id}",
        "id",
        "The workspace's slug or uid.",
        "emea",
    ),
    ("/v1/users/{id}", "id", "The user's name or uid.", "alice"),
    (
        "/v1/users/{id}/sessions/{session}",
        "session",
        "The session's id.",
        EXAMPLE_ID,
    ),
    (
        "/v1/catalogs/{name}",
        "name",
        "The catalog's name.",
        "billing",
    ),
    (
        "/v1/policies/{name}",
        "name",
        "The policy's name.",
        "standard",
    ),
    ("/v1/sites/{name}", "name", "The site's name.", "plant-7"),
    (
        "/v1/packs/{site}/{number}",
        "site",
        "The site's name.",
        "plant-7",
    ),
    (
        "/v1/packs/{site}/{number}",
        "number",
        "The number of the pack.",
        "43",
    ),
];

/// Adds the operation of this file to the description of the server.
pub fn describe(document: &mut Document) {
    let schema = json!({ "type": "object", "required": ["openapi", "info", "paths"] });
    document
        .add("get /v1/openapi.json", "openapi", "This document")
        .security(json!([]))
        .content_of(200, "OpenAPI 3.1.", "application/json", schema, Value::Null);
}

/// `GET /v1/openapi.json`
pub fn document(call: &Call<'_>) -> Result<Reply> {
    static DOCUMENT: OnceLock<Body> = OnceLock::new();
    let text = match DOCUMENT.get() {
        Some(text) => text,
        None => {
            let text = serde_json::to_vec(&assemble(call.surfaces())?).map_err(Error::internal)?;
            DOCUMENT.get_or_init(|| text.into())
        }
    };
    Ok(Reply::new(200).body("application/json", Body::clone(text)))
}

/// The whole document: what each of these dialects describes.
pub fn assemble(surfaces: &[&Surface]) -> Result<Value> {
    let mut document = Document::default();
    for describes in surfaces.iter().filter_map(|surface| surface.describes) {
        describes(&mut document);
    }
    document.parameters.insert(
        "IdempotencyKey".to_owned(),
        json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": RETRY,
            "schema": { "type": "string", "pattern": "^[!-~]{1,200}$" },
            "example": "order-4711",
        }),
    );
    document.spread();
    for (path, item) in document.paths.iter_mut() {
        let mut parameters = Vec::new();
        for (start, name, about, example) in PATH_PARAMETERS {
            if path.starts_with(start) {
                let mut schema = json!({ "type": "string" });
                if example == EXAMPLE_ID {
                    schema["pattern"] = json!(ID_PATTERN);
                }
                parameters.push(json!({
                    "name": name, "in": "path", "required": true, "description": about, "schema": schema,
                    "example": example,
                }));
            }
        }
        if !parameters.is_empty() {
            item["parameters"] = json!(parameters);
        }
        for (method, operation) in members(item) {
            if method != "parameters" {
                complete(path, operation);
            }
        }
    }
    let mut responses = Value::Object(problem::responses(&mut document.components));
    for (_, response) in members(&mut responses) {
        with_request_id(response);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Latchkey",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Issues, rotates, disables, deletes and verifies API keys.",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The server that this document came from." }],
        "security": [{ "bearer": [] }, { "apiKey": [] }],
        "tags": document.tags,
        "paths": document.paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": BEARER },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": API_KEY },
                "basic": { "type": "http", "scheme": "basic", "description": BASIC },
            },
            "headers": {
                "RequestId": {
                    "description": "Names the request in the server's log and in the audit log.",
                    "schema": { "type": "string", "pattern": "^[0-9a-f]{24}$" },
                    "example": EXAMPLE_REQUEST_ID,
                },
            },
            "parameters": document.parameters,
            "responses": responses,
            "schemas": document.components.into_map(),
        },
    }))
}

/// Adds what follows from the kind of the operation.
fn complete(path: &str, operation: &mut Value) {
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
        if path.contains('{') {
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
