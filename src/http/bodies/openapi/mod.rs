//! Reads an OpenAPI 3.0, 3.1 or 3.2 document: its operations, and the scopes that they require.
//!
//! The import takes over what a catalog can express. It lists everything else with the reason, and closes those
//! requests to every key: otherwise a more general template would answer for them. The import never guesses.

mod document;
mod paths;
mod references;
mod security;
mod servers;
mod settle;

use crate::domain::catalogs::{Catalog, Definition, OPERATIONS_MAX, SCOPES_MAX, Scope};
use crate::error::Error;
use crate::refusals::{self, Refusal};
use references::References;
use security::Schemes;
pub use security::Silence;
use serde_json::{Map, Value};
use servers::{BaseAddress, Served, Servers};
use settle::{Entry, Unread, settle};
use std::collections::BTreeMap;

/// The methods of a path item (OpenAPI 3.2.0, section 4.9.1), and whether they write (RFC 9110, section 9.2.1).
const METHODS: [(&str, bool); 9] = [
    ("get", false),
    ("head", false),
    ("options", false),
    ("query", false),
    ("trace", false),
    ("delete", true),
    ("patch", true),
    ("post", true),
    ("put", true),
];
/// The other members of a path item.
const OTHER_MEMBERS: [&str; 6] = [
    "$ref",
    "description",
    "parameters",
    "servers",
    "summary",
    "additionalOperations",
];

/// The operation for all methods that a path item does not have itself, as Amazon API Gateway writes it.
const ANY_METHOD: &str = "x-amazon-apigateway-any-method";
/// The extension of an operation for which a browser's CORS preflight passes proxies without a key: `true`.
const PREFLIGHT: &str = "x-latchkey-preflight";
/// Places of all operations together that are read of one document.
const PLACES_MAX: usize = 2 * OPERATIONS_MAX;

/// The options of an import, which the user specifies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The path in real requests that comes before each path of the document.
    pub base_path: &'a str,
    pub host: Option<&'a str>,
    /// The security schemes that keys can meet; if empty, all schemes for keys in headers.
    pub schemes: &'a [String],
    pub silence: Silence,
}

/// The result of an import.
pub struct Import {
    pub definition: Definition,
    /// How many operations of the document keys can open.
    pub mapped: usize,
    /// The operations that no key opens, because a catalog cannot express their requirements.
    pub left_out: Vec<LeftOut>,
    /// Notes for the user.
    pub notes: Vec<Refusal>,
}

/// An operation that no key opens, or a path of which no key opens any operation.
#[derive(Debug)]
pub struct LeftOut {
    /// `GET /invoices`
    pub operation: String,
    /// The reason, as part of a sentence.
    pub why: Refusal,
}

impl Import {
    /// The reasons, each with its number of operations, the most frequent first.
    pub fn reasons(&self) -> Vec<(Refusal, usize)> {
        let mut counts: BTreeMap<String, (Refusal, usize)> = BTreeMap::new();
        let outside = refusals::openapi::reference_outside_at("");
        for it in &self.left_out {
            // The address of the reference differs from operation to operation, but the reason is the same.
            let why = match it.why.is_like(&outside) {
                true => refusals::openapi::reference_outside(),
                false => it.why.clone(),
            };
            counts.entry(why.to_string()).or_insert((why, 0)).1 += 1;
        }
        let mut reasons = Vec::from_iter(counts.into_values());
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// Makes a catalog from a document in JSON or YAML. An error is a sentence about the whole document.
pub fn import(text: &str, name: &str, options: &Options<'_>) -> Result<Import, Refusal> {
    let document = document::read(text)?;
    document::check_version(&document)?;
    let references = References::of(&document);
    let schemes = Schemes::read(&document, &references, options.schemes)?;
    let servers = Servers::read(&document, &references, options);
    let mut notes = servers.notes();
    let mut reading = Reading {
        document: &document,
        references: &references,
        schemes: &schemes,
        servers: &servers,
        silence: options.silence,
        entries: Vec::new(),
        unread: Vec::new(),
        notes: Vec::new(),
        places: 0,
    };
    let no_paths = Map::new();
    let paths = references
        .members(&document, "paths")
        .map_err(refusals::openapi::paths)?;
    for (path, item) in paths.unwrap_or(&no_paths) {
        if !path.starts_with("x-") {
            reading.path(path, item);
        }
        if reading.entries.len() > OPERATIONS_MAX || reading.places > PLACES_MAX {
            return Err(settle::too_many());
        }
    }
    notes.append(&mut reading.notes);
    let mut settled = settle(&reading.entries, &reading.unread, servers.usual())?;
    notes.append(&mut settled.notes);
    let requirements = settled.operations.iter().map(|it| &it.requirement);
    let used: Vec<&String> = requirements.flat_map(|it| it.scopes()).collect();
    let definition = Definition {
        name: name.to_owned(),
        case_sensitive: false,
        resource_metadata: None,
        scopes: scopes(&schemes, &used, &mut notes),
        operations: settled.operations,
        source: String::new(),
    };
    // Such an error concerns the whole document: if the operation that it names were left out, a template would open
    // it.
    if let Err(Error::Invalid { field, reason }) = Catalog::compile(definition.clone()) {
        return Err(refusals::openapi::catalog(field, reason));
    }
    Ok(Import {
        definition,
        mapped: settled.mapped,
        left_out: settled.left_out,
        notes,
    })
}

/// The scopes that the document declares or uses; only the used ones if a catalog cannot have all of them.
fn scopes(schemes: &Schemes, used: &[&String], notes: &mut Vec<Refusal>) -> Vec<Scope> {
    let mut scopes: BTreeMap<String, String> = schemes.scopes().clone();
    for scope in used {
        scopes.entry((*scope).clone()).or_default();
    }
    if scopes.len() > SCOPES_MAX {
        notes.push(refusals::openapi::scopes_declared(scopes.len(), SCOPES_MAX));
        let used: std::collections::HashSet<&String> = used.iter().copied().collect();
        scopes.retain(|scope, _| used.contains(scope));
    }
    let scope = |(name, label)| Scope {
        name,
        label,
        implies: Vec::new(),
        root_only: false,
    };
    scopes.into_iter().map(scope).collect()
}

struct Reading<'a> {
    document: &'a Value,
    references: &'a References<'a>,
    schemes: &'a Schemes,
    servers: &'a Servers,
    silence: Silence,
    entries: Vec<Entry>,
    unread: Vec<Unread>,
    notes: Vec<Refusal>,
    /// How many places the entries have together.
    places: usize,
}

impl<'a> Reading<'a> {
    fn path(&mut self, path: &str, item: &'a Value) {
        match self.items(item) {
            Ok(items) => self.items_of_path(path, &items),
            Err(why) => self.unread.push(Unread {
                path: path.to_owned(),
                why,
                spares_own: false,
            }),
        }
    }

    /// A path item, followed by the items that it refers to with `$ref`.
    fn items(&self, item: &'a Value) -> Result<Vec<&'a Map<String, Value>>, Refusal> {
        if item.is_null() {
            return Ok(Vec::new());
        }
        let no_object = || refusals::openapi::path_item_not_object();
        let mut items = Vec::new();
        let mut item = item;
        loop {
            let members = item.as_object().ok_or_else(no_object)?;
            items.push(members);
            let Some(reference) = members.get("$ref") else {
                return Ok(items);
            };
            if items.len() > references::STEPS_MAX {
                return Err(references::too_far());
            }
            item = self.references.target(reference)?;
        }
    }

    fn items_of_path(&mut self, path: &str, items: &[&'a Map<String, Value>]) {
        let around = ItemParts {
            path,
            served: self.served_of(items),
            over_slashes: items
                .iter()
                .flat_map(|item| self.over_slashes(item.get("parameters")))
                .collect(),
        };
        for (place, item) in items.iter().enumerate() {
            for (name, value) in *item {
                // OpenAPI does not define which of the two counts (3.1.1, section 4.8.9.1).
                let others = items
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != place);
                let is_twice = others
                    .map(|(_, item)| item)
                    .any(|item| item.contains_key(name));
                let lower = name.to_ascii_lowercase();
                if name == "additionalOperations" {
                    self.additional(&around, value, is_twice);
                } else if let Some((method, writes)) = METHODS.into_iter().find(|it| it.0 == lower)
                {
                    let outcome = match (is_twice, method == name) {
                        (true, _) => Err(refusals::openapi::operation_twice()),
                        (_, false) => Err(refusals::openapi::method_case()),
                        (false, true) => Ok(value),
                    };
                    self.operation(&around, method.to_ascii_uppercase(), writes, outcome);
                } else if name == ANY_METHOD {
                    self.unread.push(Unread {
                        path: path.to_owned(),
                        why: refusals::openapi::any_method(name),
                        spares_own: true,
                    });
                } else if !OTHER_MEMBERS.contains(&name.as_str()) && !name.starts_with("x-") {
                    // It may be an operation, or say what all of them ask for.
                    self.unread.push(Unread {
                        path: path.to_owned(),
                        why: refusals::openapi::member_unknown(format_args!("{name:?}")),
                        spares_own: false,
                    });
                }
            }
        }
    }

    /// Adds operations with other methods (OpenAPI 3.2.0, section 4.9.1).
    fn additional(&mut self, around: &ItemParts<'_>, all: &'a Value, is_twice: bool) {
        let all = match self.references.resolve(all).map(Value::as_object) {
            Ok(Some(all)) if !is_twice => Ok(all),
            Ok(Some(_)) => Err(refusals::openapi::additional_twice()),
            Ok(None) => Err(refusals::openapi::additional_not_object()),
            Err(why) => Err(why),
        };
        match all {
            Ok(all) => {
                for (method, operation) in all {
                    self.operation(around, method.clone(), true, Ok(operation));
                }
            }
            Err(why) => self.unread.push(Unread {
                path: around.path.to_owned(),
                why,
                spares_own: false,
            }),
        }
    }

    fn operation(
        &mut self,
        around: &ItemParts<'_>,
        method: String,
        writes: bool,
        operation: Result<&'a Value, Refusal>,
    ) {
        let none = &Value::Null;
        let operation = operation.and_then(|operation| self.references.resolve(operation));
        let operation = operation.and_then(|operation| match operation.is_object() {
            true => Ok(operation),
            false => Err(refusals::openapi::operation_not_object()),
        });
        let mut outcome = operation.clone().and_then(|operation| {
            // An operation's own requirement replaces the document's, even if it is an empty list.
            let required = operation.get("security");
            let required = required.or_else(|| self.document.get("security"));
            security::requirement(self.schemes, self.references, required, self.silence)
        });
        let operation = operation.unwrap_or(none);
        let served = match self.servers.served(operation, self.references) {
            Served::AsTheDocument if operation.get("servers").is_none() => around.served.clone(),
            served => served,
        };
        let usual = self.servers.usual();
        let mut is_everywhere = false;
        let (at, not_at): (Vec<BaseAddress>, Vec<BaseAddress>) = match served {
            Served::AsTheDocument => (vec![usual.clone()], Vec::new()),
            Served::At(places, urls) => {
                if outcome.is_ok() {
                    let operation = format!("{method} {}", around.path);
                    let note = refusals::openapi::mapped_at(operation, told(&urls));
                    self.notes.push(note);
                }
                let is_usual = places.contains(usual);
                (places, Vec::from_iter((!is_usual).then(|| usual.clone())))
            }
            Served::Unknown(why) => {
                outcome = outcome.and(Err(why));
                is_everywhere = true;
                (vec![usual.clone()], Vec::new())
            }
        };
        let mut over_slashes = around.over_slashes.clone();
        over_slashes.extend(self.over_slashes(operation.get("parameters")));
        self.places += at.len() + not_at.len();
        self.entries.push(Entry {
            method,
            path: around.path.to_owned(),
            id: operation["operationId"].as_str().map(str::to_owned),
            writes,
            preflight: operation[PREFLIGHT] == true,
            at,
            not_at,
            is_everywhere,
            outcome,
            over_slashes,
        });
    }

    fn served_of(&self, items: &[&'a Map<String, Value>]) -> Served {
        let mut with_servers = items.iter().filter(|item| item.contains_key("servers"));
        match (with_servers.next(), with_servers.next()) {
            (None, _) => Served::AsTheDocument,
            (Some(_), Some(_)) => Served::Unknown(refusals::openapi::servers_twice()),
            (Some(item), None) => match item.get("servers") {
                None => Served::AsTheDocument,
                Some(servers) => self.servers.served_at(servers, self.references),
            },
        }
    }

    /// The path parameters of a list whose values may contain slashes.
    fn over_slashes(&self, parameters: Option<&'a Value>) -> Vec<String> {
        let parameters = parameters.and_then(|it| self.references.resolve_alone(it).ok());
        let parameters = parameters.and_then(Value::as_array).into_iter().flatten();
        let parameters = parameters.filter_map(|it| self.references.resolve_alone(it).ok());
        parameters
            .filter(|it| it["in"] == "path" && it["x-multi-segment"] == true)
            .filter_map(|it| it["name"].as_str().map(str::to_owned))
            .collect()
    }
}

/// The first of many addresses.
fn told(urls: &[String]) -> String {
    let first = urls.get(..3).unwrap_or(urls).join(", ");
    match urls.len() {
        0..=3 => first,
        _ => format!("{first}, …"),
    }
}

/// The properties that all operations of a path item share.
struct ItemParts<'p> {
    path: &'p str,
    served: Served,
    over_slashes: Vec<String>,
}

#[cfg(test)]
mod drawn_tests;
#[cfg(test)]
mod tests;
