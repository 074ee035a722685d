//! One stanza: the members that are known, and what it declares.

use super::json::{self, Fault};
use crate::config::suggestions;
use crate::dialects::native::declared::{self, Kind};
use crate::domain::catalogs::Definition;
use crate::domain::declared::{Place, Stanza, sha256};
use crate::domain::policies::Policy;
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::declared::DeclaredKey;
use crate::refusals::{self, Refusal};
use serde_json::{Map, Value};
use std::sync::OnceLock;
use toml::de::DeTable;

/// The member that takes a key of an earlier folder away.
const MASK: &str = "mask";

type Stanzas<T> = std::result::Result<Stanza<T>, Vec<Fault>>;

pub fn key(place: Place, table: &DeTable<'_>) -> Stanzas<DeclaredKey> {
    let mut members = json::object(table)?;
    let mask = members.remove(MASK);
    match mask {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => return masked(place, table, &members),
        Some(_) => {
            let why = refusals::declared::value(MASK, refusals::values::flag());
            return Err(vec![(json::position(table, MASK), why)]);
        }
    }
    // A date alone means what it means on the command line: up to its end, or from its start.
    in_utc(&mut members, "expires_at", |date| {
        Timestamp::end_of_date(date)
    });
    in_utc(&mut members, "not_before", |date| {
        Timestamp::parse("", &format!("{date}T00:00:00Z")).ok()
    });
    read(Kind::Key, place, table, members, declared::key)
}

pub fn policy(place: Place, table: &DeTable<'_>) -> Stanzas<Policy> {
    let members = json::object(table)?;
    read(Kind::Policy, place, table, members, declared::policy)
}

pub fn catalog(place: Place, table: &DeTable<'_>) -> Stanzas<Definition> {
    let members = json::object(table)?;
    read(Kind::Catalog, place, table, members, declared::catalog)
}

/// A stanza that masks the key of its name.
fn masked(place: Place, table: &DeTable<'_>, members: &Map<String, Value>) -> Stanzas<DeclaredKey> {
    let name = members.get("name").and_then(Value::as_str);
    let Some(name) = name.filter(|name| text::check_name("name", name).is_ok()) else {
        return Err(vec![(None, refusals::declared::name_needed())]);
    };
    if members.len() > 1 {
        let at = json::position(table, MASK);
        return Err(vec![(at, refusals::declared::mask_alone())]);
    }
    Ok(Stanza {
        name: name.to_owned(),
        place,
        state: sha256(MASK.as_bytes()),
        body: None,
    })
}

/// Replaces a date alone by the instant that it means.
fn in_utc(
    members: &mut Map<String, Value>,
    name: &str,
    instant: impl FnOnce(&str) -> Option<Timestamp>,
) {
    if let Some(value) = members.get_mut(name)
        && let Some(at) = value.as_str().and_then(instant)
    {
        *value = Value::String(at.to_string());
    }
}

/// Reads the members of a stanza; the name is that of what it declares.
type Reader<T> = fn(Map<String, Value>) -> Result<(String, T)>;

fn read<T>(
    kind: Kind,
    place: Place,
    table: &DeTable<'_>,
    members: Map<String, Value>,
    read: Reader<T>,
) -> Stanzas<T> {
    let mut whole = Value::Object(members);
    let strangers = strangers(kind, &whole);
    if !strangers.is_empty() {
        let fault = |(field, why): (String, Refusal)| (json::position(table, &field), why);
        return Err(strangers.into_iter().map(fault).collect());
    }
    // The members are in the order of their names, so the text does not depend on their order in the file.
    let text = whole.to_string();
    let members = whole.as_object_mut().map(std::mem::take);
    match read(members.unwrap_or_default()) {
        Ok((name, body)) => Ok(Stanza {
            name,
            place,
            state: sha256(text.as_bytes()),
            body: Some(body),
        }),
        Err(Error::Invalid { field, reason }) => {
            let at = json::position(table, &field);
            Err(vec![(at, refusals::declared::value(field, reason))])
        }
        Err(other) => Err(vec![(None, other.refusal())]),
    }
}

/// The error for a member that is not known.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Refusal {
    if name == "secret" {
        return refusals::declared::secret_member();
    }
    let shown = refusals::quoted(name, 100);
    match suggestions::nearest(name, known) {
        Some(near) => refusals::declared::unknown_near(shown, near),
        None => refusals::declared::unknown(shown),
    }
}

/// Each member of a stanza, and of the objects in it, that the schema of its kind does not know.
fn strangers(kind: Kind, members: &Value) -> Vec<(String, Refusal)> {
    static SCHEMAS: [OnceLock<(Value, Map<String, Value>)>; 3] = [const { OnceLock::new() }; 3];
    let place = Kind::ALL.iter().position(|it| *it == kind).unwrap_or(0);
    let (schema, components) = SCHEMAS[place].get_or_init(|| kind.schema());
    let mut found = Vec::new();
    search(members, schema, components, "", &mut found);
    found
}

fn search(
    value: &Value,
    schema: &Value,
    components: &Map<String, Value>,
    path: &str,
    found: &mut Vec<(String, Refusal)>,
) {
    let schema = resolved(schema, components);
    match value {
        Value::Object(members) => {
            let Some(known) = schema["properties"].as_object() else {
                return;
            };
            let field = |name: &str| match path {
                "" => name.to_owned(),
                path => format!("{path}.{name}"),
            };
            for (name, value) in members {
                match known.get(name) {
                    Some(schema) if value.is_object() || value.is_array() => {
                        search(value, schema, components, &field(name), found);
                    }
                    Some(_) => {}
                    None => {
                        let known = known.keys().map(String::as_str);
                        found.push((field(name), unknown(name, known)));
                    }
                }
            }
        }
        Value::Array(items) => {
            let nested = items.iter().enumerate();
            for (position, item) in nested.filter(|(_, item)| item.is_object()) {
                let field = format!("{path}[{position}]");
                search(item, &schema["items"], components, &field, found);
            }
        }
        _ => {}
    }
}

/// The schema itself: the component that it refers to, or the choice beside null.
fn resolved<'s>(schema: &'s Value, components: &'s Map<String, Value>) -> &'s Value {
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let some = choices.iter().find(|choice| choice["type"] != "null");
        return some.map_or(schema, |choice| resolved(choice, components));
    }
    let named = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    match named.and_then(|name| components.get(name)) {
        Some(component) => resolved(component, components),
        None => schema,
    }
}
