//! Sends the examples of the document to the server, and compares the answers with the document.

use super::{Description, Operation, manager};
use crate::support::{PASSWORD, Server, User};
use serde_json::{Value, json};

/// Real values for the id and the secret in the examples.
struct Cast {
    key: String,
    secret: String,
}

impl Cast {
    /// Creates all objects that the examples name.
    fn of(admin: &User) -> Cast {
        let sealed = json!({ "name": "sealed", "secret_shown": "sealed" });
        admin.post("/v1/policies", sealed).expect(201);
        admin.workspace("emea", "root");
        let operation = json!({
            "id": "findInvoice", "method": "GET", "path": "/invoices/{id}", "access": "read", "any_of": ["invoices:read"],
        });
        let scopes = json!([{ "name": "invoices:read" }]);
        let catalog = json!({ "scopes": scopes, "operations": [operation] });
        admin.put("/v1/catalogs/billing", catalog).expect(201);
        let user = json!({ "user_name": "alice", "password": PASSWORD, "workspace": "emea" });
        admin.post("/v1/users", user).expect(201);
        let key = admin.issue(json!({
            "name": "billing", "workspace": "emea", "owner": "alice", "catalog": "billing", "scopes": ["invoices:read"],
            "policy": "sealed",
        }));
        Cast {
            key: key.id,
            secret: key.secret,
        }
    }

    fn play(&self, text: &str, description: &Description) -> String {
        let example = &description.0["paths"]["/v1/introspect"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
            ["example"]["token"];
        text.replace(example.as_str().unwrap(), &self.secret)
            .replace("k3J9aQ0xZb", &self.key)
    }
}

/// The path and the query of an operation, from the examples of its parameters.
fn target(description: &Description, operation: &Operation<'_>) -> String {
    let item = &description.0["paths"][operation.path];
    let lists = [&item["parameters"], &operation.value["parameters"]];
    let mut path = operation.path.to_owned();
    let mut query = Vec::new();
    for parameter in lists.into_iter().filter_map(Value::as_array).flatten() {
        let parameter = description.resolved(parameter);
        let name = parameter["name"].as_str().unwrap();
        let example = match &parameter["example"] {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            number => number.to_string(),
        };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" => query.push(format!("{name}={}", example.replace(' ', "%20"))),
            _ => {}
        }
    }
    match query.is_empty() {
        true => path,
        false => format!("{path}?{}", query.join("&")),
    }
}

/// The headers of an operation, from the examples of its parameters, except for headers that make two requests one.
fn headers<'a>(
    description: &'a Description,
    operation: &'a Operation<'_>,
) -> Vec<(&'a str, &'a str)> {
    let all = operation.value["parameters"].as_array();
    let all = all.into_iter().flatten();
    let resolved = all.map(|parameter| description.resolved(parameter));
    let there = resolved.filter(|one| one["in"] == "header" && one["name"] != "Idempotency-Key");
    there
        .filter_map(|one| Some((one["name"].as_str()?, one["example"].as_str()?)))
        .collect()
}

#[test]
fn the_examples_do_what_they_are_described_to_do() {
    let server = Server::start();
    let description = Description::of(&server);
    let mut good = 0;
    let mut all: Vec<Operation<'_>> = description.operations();
    // First reads, then changes, then deletions.
    all.sort_by_key(|operation| match operation.method.as_str() {
        "GET" => 0,
        "DELETE" => 2,
        _ => i32::from(operation.path.contains("revoke") || operation.path.contains("rotate")) + 1,
    });
    let admin = server.admin();
    let cast = Cast::of(&admin);
    for operation in &all {
        let path = cast.play(&target(&description, operation), &description);
        let caller = match operation.value["security"] == json!([]) {
            true => server.anonymous(),
            false if path.starts_with("/auth/") => server.bearer(&cast.secret),
            false => manager(&server),
        };
        let caller = headers(&description, operation)
            .into_iter()
            .fold(caller, |caller, (name, value)| caller.with(name, value));
        let contents = operation.value["requestBody"]["content"].as_object();
        let Some((media_type, content)) = contents.and_then(|contents| contents.iter().next())
        else {
            let response = caller.call(&operation.method, &path, None);
            description.check(operation.value, &response);
            good += u32::from(response.status < 300);
            continue;
        };
        let named = content["examples"].as_object().into_iter().flatten();
        let named = named.map(|(_, example)| &description.resolved(example)["value"]);
        for example in named.chain(content.get("example")) {
            let body = match media_type.as_str() {
                "application/json" => example.to_string(),
                "application/jsonl" | "application/octet-stream" | "text/plain" => {
                    example.as_str().unwrap().to_owned()
                }
                _ => format!("token={}", example["token"].as_str().unwrap()),
            };
            let body = cast.play(&body, &description);
            let response = caller.send(&operation.method, &path, media_type, body.as_bytes());
            description.check(operation.value, &response);
            good += u32::from(response.status < 300);
        }
    }
    assert!(good > 60, "only {good} examples were answered well");
}

/// Sends invalid input in every part of each operation; the refusals must match the document.
#[test]
fn refusals_are_described_too() {
    let server = Server::start();
    let description = Description::of(&server);
    let admin = server.admin();
    for operation in description.operations() {
        if !operation.path.starts_with("/v1/") || operation.path == "/v1/whoami/rotate" {
            continue;
        }
        let path = operation
            .path
            .replace("{id}", "%FF")
            .replace("{name}", "%20");
        let bearer = [("Authorization", "Bearer x")];
        let answers = [
            server.call(&operation.method, &path, &bearer, None),
            server.call(&operation.method, &format!("{path}?%zz"), &bearer, None),
            admin.send(&operation.method, &path, "application/json", b"["),
            admin.send(&operation.method, &path, "text/plain", &[b'x'; 70_000]),
            admin.call(&operation.method, &format!("{path}?a=1&a=2"), None),
            admin
                .clone()
                .with("X-API-Key", "x")
                .call(&operation.method, &path, None),
            admin
                .clone()
                .with("Expect", "x")
                .call(&operation.method, &path, None),
        ];
        for answer in answers {
            // A route that does not read its body may only refuse its length.
            if answer.status != 413 || !operation.value["requestBody"].is_null() {
                description.check(operation.value, &answer);
            }
        }
    }
}
