//! Compares the meaning of `/v1/openapi.json` with the document of an earlier version: what a client of that version
//! relies on must not be removed or changed.
//!
//! `tests/fixtures/openapi-baseline.json` is that document without its texts and examples. Order, names of components
//! and whether something is a reference do not count. These additions are allowed: paths, methods, answers, optional
//! parameters, optional members and further types of requests, members of answers, and values of enumerations.

use crate::dialects::SURFACES;
use crate::dialects::native::openapi;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const BASELINE: &str = include_str!("../fixtures/openapi-baseline.json");

/// Whether the server reads a value or writes it. What it reads may become more, what it writes must stay known.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Direction {
    Read,
    Written,
}

/// The comparison of two documents.
struct Comparison {
    old: Value,
    new: Value,
    faults: Vec<String>,
}

#[test]
fn a_client_of_the_baseline_can_rely_on_the_document() {
    let old = serde_json::from_str(BASELINE).unwrap();
    let faults = compared(old, openapi::assemble(SURFACES).unwrap());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_tag_of_the_document_is_described_once() {
    let document = openapi::assemble(SURFACES).unwrap();
    let tags = document["tags"].as_array().unwrap();
    let mut names: Vec<&Value> = tags.iter().map(|tag| &tag["name"]).collect();
    let all = names.len();
    names.sort_by_key(|name| name.to_string());
    names.dedup();
    assert_eq!(names.len(), all, "{tags:?}");
}

#[test]
fn what_would_break_a_client_is_found_in_the_document() {
    let old: Value = serde_json::from_str(BASELINE).unwrap();
    let key = "/components/schemas/Key";
    let new_key = "/components/schemas/NewKey";
    let changes: [(String, Option<Value>); 12] = [
        ("/paths/~1v1~1keys".to_owned(), None),
        ("/paths/~1v1~1keys/post".to_owned(), None),
        ("/paths/~1v1~1keys/post/responses/201".to_owned(), None),
        (
            "/paths/~1v1~1keys/post/security".to_owned(),
            Some(json!([])),
        ),
        (
            "/paths/~1v1~1keys/get/parameters/0".to_owned(),
            Some(json!({})),
        ),
        (format!("{key}/properties/hint"), None),
        (
            format!("{key}/properties/hint/type"),
            Some(json!(["string", "null"])),
        ),
        (format!("{key}/required"), Some(json!(["id"]))),
        (format!("{new_key}/properties/prefix"), None),
        (
            format!("{new_key}/properties/name/maxLength"),
            Some(json!(99)),
        ),
        (
            format!("{new_key}/properties/description/type"),
            Some(json!("string")),
        ),
        (
            format!("{new_key}/required"),
            Some(json!(["name", "owner"])),
        ),
    ];
    for (pointer, value) in changes {
        let mut new = old.clone();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let last = last.replace("~1", "/");
        let parent = new.pointer_mut(parent).unwrap();
        match (value, parent) {
            (Some(value), Value::Array(list)) => list[last.parse::<usize>().unwrap()] = value,
            (Some(value), parent) => parent[&last] = value,
            (None, parent) => drop(parent.as_object_mut().unwrap().remove(&last).unwrap()),
        }
        assert!(!compared(old.clone(), new).is_empty(), "{pointer}");
    }
    assert!(compared(old.clone(), old).is_empty());
}

fn compared(old: Value, new: Value) -> Vec<String> {
    let faults = Vec::new();
    let mut comparison = Comparison { old, new, faults };
    comparison.paths();
    comparison.faults
}

impl Comparison {
    fn paths(&mut self) {
        let (old, new) = (self.old.clone(), self.new.clone());
        for (path, item) in entries(&old["paths"]) {
            for (method, operation) in entries(item) {
                if method == "parameters" {
                    continue;
                }
                let other = &new["paths"][path][method];
                let place = format!("{method} {path}");
                if other.is_null() {
                    self.fault(&place, "is gone");
                    continue;
                }
                let shared = (&item["parameters"], &new["paths"][path]["parameters"]);
                self.parameters(&place, (shared.0, operation), (shared.1, other));
                self.equal(
                    &place,
                    "id",
                    &operation["operationId"],
                    &other["operationId"],
                );
                self.security(&place, &operation["security"], &other["security"]);
                self.bodies(&place, &operation["requestBody"], &other["requestBody"]);
                self.answers(&place, &operation["responses"], &other["responses"]);
            }
        }
    }

    fn parameters(&mut self, place: &str, old: (&Value, &Value), new: (&Value, &Value)) {
        let list = |document: &Value, (shared, own): (&Value, &Value)| -> Vec<Value> {
            let lists = [shared, &own["parameters"]];
            let all = lists.into_iter().filter_map(Value::as_array).flatten();
            all.map(|one| resolved(document, one)).collect()
        };
        let (old, new) = (list(&self.old, old), list(&self.new, new));
        let same = |one: &Value, other: &Value| {
            (&one["in"], &one["name"]) == (&other["in"], &other["name"])
        };
        for parameter in &old {
            let place = format!("{place} parameter {}", parameter["name"]);
            let Some(other) = new.iter().find(|other| same(parameter, other)) else {
                self.fault(&place, "is gone");
                continue;
            };
            if other["required"] == true && parameter["required"] != true {
                self.fault(&place, "is needed now");
            }
            self.schema(
                &place,
                Direction::Read,
                &parameter["schema"],
                &other["schema"],
            );
        }
        for other in &new {
            let known = old.iter().any(|parameter| same(parameter, other));
            if other["required"] == true && !known {
                self.fault(place, &format!("needs {}", other["name"]));
            }
        }
    }

    fn security(&mut self, place: &str, old: &Value, new: &Value) {
        let sorted = |ways: &Value| -> BTreeSet<String> {
            let ways = ways.as_array().into_iter().flatten();
            ways.map(|way| sorted(way).to_string()).collect()
        };
        if sorted(old) != sorted(new) || old.is_null() != new.is_null() {
            self.fault(place, &format!("security was {old}, is {new}"));
        }
    }

    fn bodies(&mut self, place: &str, old: &Value, new: &Value) {
        if new["required"] == true && old["required"] != true {
            self.fault(place, "needs a body now");
        }
        for (media_type, content) in entries(&old["content"]) {
            let place = format!("{place} body {media_type}");
            let other = &new["content"][media_type]["schema"];
            self.schema(&place, Direction::Read, &content["schema"], other);
        }
    }

    fn answers(&mut self, place: &str, old: &Value, new: &Value) {
        for (status, answer) in entries(old) {
            let place = format!("{place} {status}");
            if new[status].is_null() {
                self.fault(&place, "is gone");
                continue;
            }
            let answer = resolved(&self.old, answer);
            let other = resolved(&self.new, &new[status]);
            for (name, header) in entries(&answer["headers"]) {
                let place = format!("{place} header {name}");
                let header = resolved(&self.old, header);
                let other = resolved(&self.new, &other["headers"][name]);
                self.schema(
                    &place,
                    Direction::Written,
                    &header["schema"],
                    &other["schema"],
                );
            }
            for (media_type, content) in entries(&answer["content"]) {
                let place = format!("{place} {media_type}");
                let other = &other["content"][media_type]["schema"];
                self.schema(&place, Direction::Written, &content["schema"], other);
            }
        }
    }

    fn schema(&mut self, place: &str, direction: Direction, old: &Value, new: &Value) {
        let old = normal(&resolved(&self.old, old));
        let new = normal(&resolved(&self.new, new));
        if new.is_null() && !old.is_null() {
            return self.fault(place, "is gone");
        }
        let (was, is) = (set(&old["type"]), set(&new["type"]));
        let fits = match direction {
            Direction::Read => was.is_subset(&is),
            Direction::Written => is.is_subset(&was),
        };
        if !fits || was.is_empty() != is.is_empty() {
            self.fault(place, &format!("type was {was:?}, is {is:?}"));
        }
        if !set(&old["enum"]).is_subset(&set(&new["enum"])) {
            let (was, is) = (&old["enum"], &new["enum"]);
            self.fault(place, &format!("enum was {was}, is {is}"));
        }
        let (was, is) = (set(&old["required"]), set(&new["required"]));
        let fits = match direction {
            Direction::Read => is.is_subset(&was),
            Direction::Written => was.is_subset(&is),
        };
        if !fits {
            self.fault(place, &format!("required was {was:?}, is {is:?}"));
        }
        for (name, member) in entries(&old["properties"]) {
            let place = format!("{place} {name}");
            self.schema(&place, direction, member, &new["properties"][name]);
        }
        for keyword in ["items", "additionalProperties"] {
            if old[keyword].is_object() {
                let place = format!("{place} {keyword}");
                self.schema(&place, direction, &old[keyword], &new[keyword]);
            } else {
                self.equal(place, keyword, &old[keyword], &new[keyword]);
            }
        }
        let choices = |schema: &Value| schema["oneOf"].as_array().cloned().unwrap_or_default();
        let (was, is) = (choices(&old), choices(&new));
        if was.len() != is.len() {
            self.fault(place, "has another number of choices");
        }
        for (position, (was, is)) in was.iter().zip(&is).enumerate() {
            self.schema(&format!("{place} choice {position}"), direction, was, is);
        }
        let compared = [
            "type",
            "enum",
            "required",
            "properties",
            "items",
            "additionalProperties",
            "oneOf",
        ];
        let keywords: BTreeSet<&String> = entries(&old)
            .chain(entries(&new))
            .map(|(keyword, _)| keyword)
            .collect();
        for keyword in keywords {
            if !compared.contains(&keyword.as_str()) {
                self.equal(place, keyword, &old[keyword], &new[keyword]);
            }
        }
    }

    fn equal(&mut self, place: &str, what: &str, old: &Value, new: &Value) {
        if old != new {
            self.fault(place, &format!("{what} was {old}, is {new}"));
        }
    }

    fn fault(&mut self, place: &str, what: &str) {
        self.faults.push(format!("{place}: {what}"));
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The value itself, or the target of its reference.
fn resolved(document: &Value, value: &Value) -> Value {
    match value["$ref"].as_str() {
        Some(pointer) => resolved(document, &document.pointer(&pointer[1..]).unwrap().clone()),
        None => value.clone(),
    }
}

/// A schema in one of the forms in which it can be written: without texts, and with an enumeration instead of `const`.
fn normal(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else {
        return Value::Null;
    };
    let mut normal: Map<String, Value> = schema.clone();
    for text in ["description", "examples", "title"] {
        normal.remove(text);
    }
    if let Some(only) = normal.remove("const") {
        normal.insert("enum".to_owned(), json!([only]));
    }
    if normal.contains_key("enum") {
        normal.remove("type");
    }
    Value::Object(normal)
}

/// The values of a keyword that is a value or a list of values.
fn set(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Null => BTreeSet::new(),
        Value::Array(all) => all.iter().map(Value::to_string).collect(),
        one => BTreeSet::from([one.to_string()]),
    }
}

/// A value whose lists are in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(all) => {
            let mut all: Vec<Value> = all.iter().map(sorted).collect();
            all.sort_by_key(Value::to_string);
            Value::Array(all)
        }
        Value::Object(all) => Value::Object(
            all.iter()
                .map(|(name, one)| (name.clone(), sorted(one)))
                .collect(),
        ),
        other => other.clone(),
    }
}
