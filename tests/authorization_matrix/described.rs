//! Compares the document at `/v1/openapi.json` with the route tables in both directions, and with the credentials that
//! the lines of the matrix require.

use super::{Needs, TABLES};
use crate::dialects::SURFACES;
use crate::dialects::native::openapi;
use crate::domain::keys::{Meaning, Member};
use crate::domain::policies::{
    AddressRule, AtMax, Editable, Expiry, IssuedBy, Presence, ReadOnlyBy, SecretShown,
    SelfRotation, TiedTo, Words, words,
};
use crate::domain::users::permissions::Permission;
use crate::http::route::{QueryRule, Route, Waits};
use serde_json::Value;
use std::collections::BTreeSet;

/// The dialects that the document describes; the others implement formats of other systems.
const DESCRIBED: &[&str] = &[
    "native",
    "forward-auth",
    "metrics",
    "probes",
    "security-txt",
];

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// The method in lower case, and the path with its parameters.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let pairs = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.clone(), path.clone()))
    });
    pairs.filter(|(method, _)| method != "parameters").collect()
}

fn routes() -> impl Iterator<Item = (&'static str, String, &'static Route)> {
    let described = |name: &str| DESCRIBED.contains(&name);
    SURFACES
        .iter()
        .filter(move |surface| described(surface.name))
        .flat_map(|surface| {
            surface.routes.iter().map(|route| {
                let path = format!("{}{}", surface.mount, route.path);
                (surface.name, path.replace("...}", "}"), route)
            })
        })
}

/// The parameters of an operation and its path item that are in this place, such as `path` or `query`.
fn parameters(document: &Value, path: &str, method: &str, place: &str) -> BTreeSet<String> {
    let item = &document["paths"][path];
    let lists = [&item["parameters"], &item[method]["parameters"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    let resolved = all.map(|one| match one["$ref"].as_str() {
        Some(pointer) => document.pointer(&pointer[1..]).expect(pointer),
        None => one,
    });
    let there = resolved.filter(|one| one["in"] == place);
    there
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_route_has_its_operation_and_every_operation_its_route() {
    let document = openapi::assemble(SURFACES).unwrap();
    let mut expected = BTreeSet::new();
    for (_, path, route) in routes() {
        match route.method {
            // The server refuses TRACE before it looks for a route.
            "*" => expected.extend(
                METHODS
                    .iter()
                    .filter(|method| **method != "trace")
                    .map(|method| (method.to_string(), path.clone())),
            ),
            method => drop(expected.insert((method.to_ascii_lowercase(), path))),
        }
    }
    assert_eq!(operations(&document), expected);
}

#[test]
fn parameters_are_those_of_the_tables() {
    let document = openapi::assemble(SURFACES).unwrap();
    for (surface, path, route) in routes() {
        let method = match route.method {
            "*" => "get".to_owned(),
            method => method.to_ascii_lowercase(),
        };
        let in_path = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(name.to_owned())
        });
        let described = parameters(&document, &path, &method, "path");
        assert_eq!(described, in_path.collect(), "{method} {path}");
        if surface == "native" {
            let described = parameters(&document, &path, &method, "query");
            let read = route.query == QueryRule::Read || route.waits != Waits::IfSet;
            assert_eq!(!described.is_empty(), read, "{method} {path} {described:?}");
        }
    }
}

#[test]
fn operation_ids_are_unique_and_no_reference_leads_nowhere() {
    let document = openapi::assemble(SURFACES).unwrap();
    let mut ids = BTreeSet::new();
    for (method, path) in operations(&document) {
        let id = document["paths"][&path][&method]["operationId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{method} {path} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
    }
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        if let Some(pointer) = value["$ref"].as_str() {
            assert!(document.pointer(&pointer[1..]).is_some(), "{pointer}");
        }
        waiting.extend(value.as_array().into_iter().flatten());
        waiting.extend(value.as_object().into_iter().flat_map(|map| map.values()));
    }
}

/// Compares the values of an enumeration with the document, except null.
#[track_caller]
fn check_words<T: Words>(document: &Value, schema: &str, member: &str) {
    check_list(document, schema, member, words::<T>());
}

fn check_list(document: &Value, schema: &str, member: &str, known: Vec<&str>) {
    let described = &document["components"]["schemas"][schema]["properties"][member];
    let described = match described["items"].is_null() {
        true => &described["enum"],
        false => &described["items"]["enum"],
    };
    let described: BTreeSet<&str> = described
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let known: BTreeSet<&str> = known.into_iter().collect();
    assert_eq!(described, known, "{schema}.{member}");
}

#[test]
fn the_words_of_policies_are_described() {
    let document = openapi::assemble(SURFACES).unwrap();
    for schema in ["Policy", "NewPolicy", "PolicyEdit"] {
        check_words::<IssuedBy>(&document, schema, "issued_by");
        check_words::<Presence>(&document, schema, "owner");
        check_words::<Presence>(&document, schema, "scopes");
        check_words::<ReadOnlyBy>(&document, schema, "read_only_by");
        check_words::<Expiry>(&document, schema, "expiry");
        check_words::<AddressRule>(&document, schema, "addresses");
        check_words::<AtMax>(&document, schema, "at_owner_max");
        check_words::<SecretShown>(&document, schema, "secret_shown");
        check_list(&document, schema, "editable", Editable::all_words());
        check_words::<SelfRotation>(&document, schema, "self_rotation");
        check_words::<TiedTo>(&document, schema, "tied_to");
    }
}

#[test]
fn every_member_of_a_key_is_described() {
    let document = openapi::assemble(SURFACES).unwrap();
    let describes = |schema: &str, member: &str| {
        !document["components"]["schemas"][schema]["properties"][member].is_null()
    };
    for member in Member::ALL {
        let word = member.word();
        let is_set = !matches!(member.meaning(), Meaning::Identity | Meaning::State);
        // Numbers are for other dialects, a deleted key has its state, and the rest is for the reconciliation with files.
        let is_hidden = matches!(
            member,
            Member::DeclaredDigest
                | Member::DeclaredName
                | Member::DeclaredState
                | Member::DeletedAt
                | Member::Held
                | Member::Number
        );
        assert_eq!(describes("Key", word), !is_hidden, "Key.{word}");
        for schema in ["NewKey", "KeyEdit"] {
            assert!(!is_set || describes(schema, word), "{schema}.{word}");
        }
    }
}

#[test]
fn what_a_caller_needs_is_described_as_it_is_asked() {
    let document = openapi::assemble(SURFACES).unwrap();
    for (surface, path, route) in routes() {
        let lines = TABLES.iter().find(|(name, _)| *name == surface).unwrap().1;
        let line = lines
            .iter()
            .find(|line| (line.method, line.path) == (route.method, route.path))
            .unwrap();
        let scopes = |all: &[Permission]| all.iter().map(|one| one.scope()).collect();
        let needed: Option<BTreeSet<&str>> = match line.needs {
            Needs::Nothing | Needs::Password => None,
            Needs::Credential | Needs::Key | Needs::OwnKey => Some(BTreeSet::new()),
            Needs::AtHome(one)
            | Needs::Everywhere(one)
            | Needs::Held(one)
            | Needs::Local(one)
            | Needs::Here(one)
            | Needs::HereOrOwn(one)
            | Needs::Rows(one)
            | Needs::Silently(one) => Some(scopes(&[one])),
            Needs::EverywhereBoth(one, other) | Needs::RowsWith(one, other) => {
                Some(scopes(&[one, other]))
            }
            Needs::Cookie | Needs::Elsewhere(_) | Needs::Session | Needs::Introspection => continue,
        };
        let method = match route.method {
            "*" => "get".to_owned(),
            method => method.to_ascii_lowercase(),
        };
        let security = document["paths"][&path][&method]["security"].as_array();
        let security = security.unwrap_or_else(|| panic!("{method} {path} has no security"));
        let bearer = security.iter().find_map(|way| way["bearer"].as_array());
        let described = bearer.map(|all| all.iter().filter_map(Value::as_str).collect());
        assert_eq!(described, needed, "{method} {path}");
    }
}
