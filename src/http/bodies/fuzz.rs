//! Mutated documents: JSON, YAML, catalogs, OpenAPI documents, and files of other systems.

use super::catalog::{NewCatalogBody, write_requirement};
use super::imports::{self, ImportedKey, Source};
use super::openapi::{self, Options};
use super::tree::{self, yaml};
use crate::domain::catalogs::{Catalog, Definition, Requirement};
use crate::error::Error;
use crate::fuzz::Target;
use crate::http::describe::bodies::Requested;
use crate::http::fields::{self, Fields};
use serde_json::{Value, json};

#[rustfmt::skip]
const JSON: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "\"", "\"a\":1", ",\"a\":2", "\"\\u0061\":3", "null", "true", "1e999", "-0", "0.1", "18446744073709551616",
    "\\ud83d\\ude00", "\\ud800", "\\n", "\t", "\u{feff}", "é", "[[[[[[[[", "{\"a\":", "//", "1.0", "01",
];

#[rustfmt::skip]
const YAML: &[&str] = &[
    "a: 1\n", "- ", "&x ", "*x", "<<: *x\n", "!!str ", "? ", "|\n  x\n", ">-\n", "\"", "'", "{a: 1}", "[1, 2]", "~", "yes", "0o17", "0x1f", ".inf",
    "2001-01-01", "\n", "  ", "---\n", "...\n", "%YAML 1.2\n", "# x\n", "\t", "a: b: c", "\u{85}", "é",
];

#[rustfmt::skip]
const CATALOG: &[&str] = &[
    "{\"scopes\":[", "{\"name\":\"a:read\"}", "],\"operations\":[", "{\"access\":\"read\",\"any_of\":[\"a:read\"],\"id\":\"x\",\"method\":\"GET\",\"path\":\"/a/{b}\"}",
    "\"any_key\":true", "\"all_of\":[\"a:read\"]", "\"any_of\":[]", "\"host\":\"h.example\"", "\"implies\":[\"a:read\"]", "\"label\":\"x\"",
    "\"case_sensitive\":true", "\"root_only\":true", "\"access\":\"write\"", ",", "]}", "/a/{x...}", "/{x}.json", "\"POST\"", "\"HEAD\"", "null",
];

#[rustfmt::skip]
const OPENAPI: &[&str] = &[
    "openapi: 3.1.0\n", "paths:\n", "  /a/{b}:\n", "    get:\n", "    post: {}\n", "      security: [{k: [a:read]}]\n", "      security: []\n", "security: [{k: []}]\n",
    "components:\n  securitySchemes:\n    k: {type: apiKey, in: header, name: X-API-Key}\n", "servers: [{url: /v1}]\n", "servers: [{url: 'https://{h}/x'}]\n",
    "      operationId: x\n", "$ref: '#/paths/~1a'", "parameters: []\n", "  /a.json:\n", "  /A/{b}:\n", "  x-y: 1\n", "    $ref: other.yaml\n",
    "{type: oauth2, flows: {implicit: {scopes: {a: b}}}}", "query: {}\n", "    head: {}\n", "    trace: {}\n",
];

#[rustfmt::skip]
const IMPORTS: &[&str] = &[
    "kong\n", "csv\n", "jsonl\n", "htpasswd\n", "unkey\n", "tyk\n", "litellm\n", "drf\n", "apisix\n", "better-auth\n", "name,digest\n", "key_hash", "enabled",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "$2y$05$abcdefghijklmnopqrstuuM3mTqyVH6hjTbVYDZrKLz8Yz5pWkYK6", "$apr1$x$y", ":", ",", "\n",
    "{\"name\":\"a\",", "\"digest\":", "\"expires_at\":\"2030-01-01T00:00:00Z\"", "\"scopes\":[\"a:read\"]", "\"metadata\":{}", "consumers:\n", "keyauth_credentials:\n",
    "- key: plain-secret-of-kong\n", "  username: u\n", "\"secret\":\"plain-secret-of-it\"", "}", "{", "[", "]", "null", "0", "-1",
];

/// JSON of a body, by three readers: that of bodies, serde_json, and that of imported documents.
fn judge_json(bytes: &[u8]) -> String {
    let loose = serde_json::from_slice::<Value>(bytes);
    let tree = std::str::from_utf8(bytes).ok().map(tree::json);
    match (fields::value(bytes), loose) {
        (Ok(value), Ok(loose)) => {
            assert_eq!(value, loose);
            let again =
                fields::value(value.to_string().as_bytes()).expect("what was written is read");
            assert_eq!(again, value);
            if let Some(Ok(tree)) = tree {
                let other: Value = serde_json::from_str(&tree.to_json()).expect("a tree is JSON");
                assert_eq!(other, value);
            }
            format!("read {}", kind(&value))
        }
        (Ok(value), Err(err)) => panic!("{value} is no JSON: {err}"),
        (Err(err), loose) => {
            let is_twice = matches!(err, Error::Invalid { .. });
            // What follows a doubled member may be no JSON.
            assert!(
                is_twice || loose.is_err(),
                "refused for another reason than a doubled member: {err}"
            );
            if is_twice {
                assert!(
                    tree.is_none_or(|tree| tree.is_err()),
                    "only one reader sees a doubled member"
                );
            }
            format!("refused {is_twice} {}", err.refusal().code())
        }
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Array(items) => format!(
            "list of {}",
            items.first().map_or("nothing", |item| name(item))
        ),
        Value::Object(members) => {
            format!(
                "object of {}",
                members.values().next().map_or("nothing", |item| name(item))
            )
        }
        other => name(other).to_owned(),
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "list",
        Value::Bool(_) => "flag",
        Value::Null => "null",
        Value::Number(number) if number.is_f64() => "decimal",
        Value::Number(_) => "number",
        Value::Object(_) => "object",
        Value::String(_) => "text",
    }
}

/// What YAML has is the same after it was written as JSON, and what JSON and YAML both are is the same in both.
fn judge_yaml(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match yaml::parse(&text, 1_000) {
        Err(fault) => {
            assert!(
                (1..=text.lines().count() + 2).contains(&fault.line),
                "line {}",
                fault.line
            );
            format!("refused {}", fault.why.code())
        }
        Ok(node) => {
            let json = node.to_json();
            let again = tree::json(&json).expect("what was written is JSON");
            assert_eq!(again.to_json(), json);
            let value: Option<Value> = serde_json::from_str(&json).ok();
            // A negative zero and numbers of more digits than a double holds are left out: YAML has no exact ones.
            let long = text
                .split(|c: char| !c.is_ascii_digit())
                .any(|digits| digits.len() > 15);
            let other = tree::json(&text)
                .ok()
                .filter(|_| text.is_ascii() && !text.contains("-0") && !long);
            let other =
                other.and_then(|other| serde_json::from_str::<Value>(&other.to_json()).ok());
            assert!(
                other.is_none() || value.is_none() || other == value,
                "as JSON and as YAML: {json}"
            );
            format!(
                "read {}",
                value.map_or("nothing".to_owned(), |value| kind(&value))
            )
        }
    }
}

/// The body that [`NewCatalogBody`] reads.
fn written(definition: &Definition) -> Value {
    let scopes = definition.scopes.iter().map(|scope| {
        json!({ "name": scope.name, "label": scope.label, "implies": scope.implies, "root_only": scope.root_only })
    });
    let operations = definition.operations.iter().map(|it| {
        let access = if it.writes { "write" } else { "read" };
        let mut body = json!({ "id": it.id, "method": it.method, "path": it.path, "host": it.host, "access": access });
        write_requirement(&it.requirement, &mut body);
        body
    });
    json!({
        "case_sensitive": definition.case_sensitive,
        "scopes": scopes.collect::<Vec<_>>(),
        "operations": operations.collect::<Vec<_>>(),
    })
}

fn read_catalog(bytes: &[u8]) -> Result<Definition, Error> {
    let body = NewCatalogBody::whole(Fields::parse(bytes)?)?;
    let definition = body.definition("x", || "read or write".to_owned())?;
    Catalog::compile(definition).map(|catalog| catalog.definition().clone())
}

fn judge_catalog(bytes: &[u8]) -> String {
    match read_catalog(bytes) {
        Err(Error::Invalid { field, reason }) => {
            let members: String = field
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(24)
                .collect();
            let is_known = members.starts_with("operations[") || members.starts_with("scopes[");
            let place = if is_known {
                members.as_str()
            } else {
                "a member"
            };
            format!("refused {place} {}", reason.code())
        }
        Err(err) => format!("refused {}", err.refusal().code()),
        Ok(definition) => {
            let again = read_catalog(written(&definition).to_string().as_bytes());
            assert_eq!(again.expect("what was written is read"), definition);
            let first = definition
                .operations
                .first()
                .map(|it| std::mem::discriminant(&it.requirement));
            format!(
                "read {} {} {first:?}",
                definition.scopes.len().min(2),
                definition.operations.len().min(2)
            )
        }
    }
}

fn judge_openapi(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let import = |text: &str| openapi::import(text, "x", &Options::default());
    let imported = match import(&text) {
        Err(why) => return format!("refused {}", why.code()),
        Ok(imported) => imported,
    };
    Catalog::compile(imported.definition.clone()).expect("an import compiles");
    let open = imported
        .definition
        .operations
        .iter()
        .filter(|it| it.requirement != Requirement::Nobody);
    assert!(
        imported.mapped <= open.count(),
        "more is mapped than is open"
    );
    // The same document in JSON means the same.
    let json = match fields::value(text.as_bytes()) {
        Ok(value) => value.to_string(),
        Err(_) => yaml::parse(&text, 10_000).expect("it is YAML").to_json(),
    };
    let again = import(&json).expect("the same document in JSON");
    assert_eq!(again.definition, imported.definition);
    assert_eq!(
        (again.mapped, again.left_out.len()),
        (imported.mapped, imported.left_out.len())
    );
    let why = imported
        .left_out
        .first()
        .map_or("nothing", |it| it.why.code());
    format!(
        "mapped {}, left out {why}, {} notes",
        imported.mapped.min(2),
        imported.notes.len().min(2)
    )
}

/// The first line names the source, and the rest is the file.
fn judge_imports(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let word = String::from_utf8_lossy(&bytes[..end]);
    let Some(source) = Source::parse(&word) else {
        return "no source".to_owned();
    };
    let file = &bytes[(end + 1).min(bytes.len())..];
    let lines = 1 + file.iter().filter(|byte| **byte == b'\n').count();
    let parsed = match imports::parse(source, file) {
        Err(err) => {
            let why = err.refusal();
            let line = why
                .argument("line")
                .and_then(|line| line.parse::<usize>().ok());
            assert!(
                line.is_none_or(|line| (1..=lines + 1).contains(&line)),
                "line {line:?} of {lines}"
            );
            return format!("{word} refused {}", why.code());
        }
        Ok(parsed) => parsed,
    };
    for key in &parsed.keys {
        let line = key.to_line();
        let again = ImportedKey::read(1, line.as_bytes()).expect("a line is read");
        let values = [&line, &again.to_line()]
            .map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
        assert_eq!(values[0], values[1]);
        for secret in ["plain-secret-of-kong", "plain-secret-of-it"] {
            assert!(
                !line.contains(&format!("\"digest\":\"{secret}")),
                "a secret in the place of a digest"
            );
        }
    }
    for it in &parsed.left_out {
        assert!(it.line <= lines + 1, "line {} of {lines}", it.line);
    }
    let why = parsed
        .left_out
        .first()
        .map_or("nothing", |it| it.why.code());
    format!("{word} {} keys, left out {why}", parsed.keys.len().min(2))
}

fn run(name: &'static str, words: &[&str], mutations: usize, judge: impl Fn(&[u8]) -> String) {
    Target {
        name,
        words,
        mutations,
    }
    .run(judge);
}

#[test]
fn mutated_json_is_read_alike_by_all_readers() {
    run("json", JSON, 4_000, judge_json);
}

#[test]
fn mutated_yaml_is_the_same_as_json() {
    run("yaml", YAML, 3_000, judge_yaml);
}

#[test]
fn mutated_catalogs_are_refused_or_written_as_they_were_read() {
    run("catalog", CATALOG, 3_000, judge_catalog);
}

#[test]
fn mutated_openapi_documents_are_refused_or_compile() {
    run("openapi", OPENAPI, 2_000, judge_openapi);
}

#[test]
fn mutated_files_of_other_systems_give_keys_that_are_read_again() {
    run("imports", IMPORTS, 3_000, judge_imports);
}
