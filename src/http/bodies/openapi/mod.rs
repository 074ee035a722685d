//! Reading an OpenAPI 3.0 or 3.1 document: its operations, and the scopes that they ask for.
//!
//! What can be said in a catalog is taken over; the rest is listed with the reason. Nothing is guessed.

mod security;
mod settle;
mod yaml;

use crate::domain::catalog::{Definition, Operation, Scope};
use security::{Demand, Schemes};
use serde_json::{Map, Value};
use settle::settle;
use std::collections::BTreeMap;

/// The methods of a path item (OpenAPI 3.1.1, section 4.8.9.1), and whether they write (RFC 9110, section 9.2.1).
const METHODS: [(&str, bool); 8] = [
    ("get", false),
    ("head", false),
    ("options", false),
    ("trace", false),
    ("delete", true),
    ("patch", true),
    ("post", true),
    ("put", true),
];

/// Makes a catalog of a document, as JSON or as YAML. The error is a sentence about the whole of it.
pub fn import(text: &str, name: &str, around: &Around<'_>) -> Result<Import, String> {
    let mut import = read(&document(text)?, name, around)?;
    let (definition, refused) = settle(import.definition)?;
    import.definition = definition;
    import.left_out.extend(refused);
    Ok(import)
}

/// JSON is read as JSON, anything else as YAML.
fn document(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(document);
    }
    yaml::parse(text).map_err(|err| format!("this is neither JSON nor YAML: {err}"))
}

/// Where the described API stands.
pub struct Around<'a> {
    pub base_path: &'a str,
    pub host: Option<&'a str>,
}

/// What was made of a document.
pub struct Import {
    pub definition: Definition,
    /// What a catalog cannot say.
    pub left_out: Vec<LeftOut>,
    /// What whoever imports should know.
    pub notes: Vec<String>,
}

/// An operation, or all of a path, that is not in the catalog.
#[derive(Debug)]
pub struct LeftOut {
    /// `GET /invoices`
    pub operation: String,
    /// Why not, as part of a sentence.
    pub why: String,
}

/// Takes over what a catalog can say; whether a catalog accepts it is another question.
fn read(document: &Value, name: &str, around: &Around<'_>) -> Result<Import, String> {
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        return Err("this is no OpenAPI document of version 3.0 or 3.1".to_owned());
    }
    let schemes = Schemes::read(document);
    let mut reading = Reading {
        document,
        around,
        schemes,
        operations: Vec::new(),
        left_out: Vec::new(),
    };
    let no_paths = Map::new();
    for (path, item) in document["paths"].as_object().unwrap_or(&no_paths) {
        if !path.starts_with("x-") {
            reading.path(path, item);
        }
    }
    let mut scopes: BTreeMap<String, String> = reading.schemes.scopes();
    for scope in reading.operations.iter().flat_map(|it| &it.any_of) {
        scopes.entry(scope.clone()).or_default();
    }
    let scope = |(name, label)| Scope {
        name,
        label,
        implies: Vec::new(),
        root_only: false,
    };
    Ok(Import {
        definition: Definition {
            name: name.to_owned(),
            case_sensitive: false,
            scopes: scopes.into_iter().map(scope).collect(),
            operations: reading.operations,
        },
        left_out: reading.left_out,
        notes: notes(document, around),
    })
}

struct Reading<'a> {
    document: &'a Value,
    around: &'a Around<'a>,
    schemes: Schemes,
    operations: Vec<Operation>,
    left_out: Vec<LeftOut>,
}

impl Reading<'_> {
    fn path(&mut self, path: &str, item: &Value) {
        let Some(item) = resolve(self.document, item) else {
            self.left_out.push(LeftOut {
                operation: path.to_owned(),
                why: "it refers to something outside the document".to_owned(),
            });
            return;
        };
        for (method, writes) in METHODS {
            if let Some(operation) = item.get(method) {
                self.operation(&method.to_ascii_uppercase(), writes, path, operation);
            }
        }
    }

    fn operation(&mut self, method: &str, writes: bool, path: &str, operation: &Value) {
        // An operation's own requirement replaces the document's, even by an empty list.
        let required = operation
            .get("security")
            .or_else(|| self.document.get("security"));
        match security::demand(&self.schemes, required) {
            Demand::AnyOf(any_of) => self.operations.push(Operation {
                id: operation["operationId"]
                    .as_str()
                    .map_or_else(|| format!("{method} {path}"), str::to_owned),
                method: method.to_owned(),
                path: format!("{}{path}", self.around.base_path),
                host: self.around.host.map(str::to_owned),
                writes,
                any_of,
            }),
            Demand::Unsayable(why) => self.left_out.push(LeftOut {
                operation: format!("{method} {path}"),
                why: why.to_owned(),
            }),
        }
    }
}

/// What a local reference stands for; the value itself if it is none; `None` if it leads nowhere in the document.
pub fn resolve<'a>(document: &'a Value, value: &'a Value) -> Option<&'a Value> {
    let Some(reference) = value.get("$ref") else {
        return Some(value);
    };
    let found = document.pointer(reference.as_str()?.strip_prefix('#')?)?;
    // A reference to a reference is as good as none: nobody writes it, and it could be a circle.
    found.get("$ref").is_none().then_some(found)
}

/// A base path in `servers` that whoever imports has not repeated.
fn notes(document: &Value, around: &Around<'_>) -> Vec<String> {
    let servers = document["servers"].as_array();
    let urls = servers
        .into_iter()
        .flatten()
        .filter_map(|server| server["url"].as_str());
    let mut notes = Vec::new();
    for url in urls {
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
        let path = path.trim_end_matches('/');
        if !path.is_empty() && path != around.base_path {
            notes.push(format!(
                "the server {url} has the base path {path}; if requests come with it, give that as the base path"
            ));
        }
    }
    notes
}
