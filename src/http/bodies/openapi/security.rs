//! Security requirements (OpenAPI 3.1.1, section 4.8.30), as far as a catalog can say them.
//!
//! A requirement is a list of alternatives, each an object of schemes that are needed together, each with scopes
//! that are needed together. A catalog says: one of these scopes, or any key at all.

use super::resolve;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one operation asks for.
#[derive(Debug, Eq, PartialEq)]
pub enum Demand {
    /// One of these scopes; any key if there are none.
    AnyOf(Vec<String>),
    /// A catalog has no words for it; the text says why.
    Unsayable(&'static str),
}

/// The security schemes of a document.
pub struct Schemes {
    kinds: BTreeMap<String, Kind>,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A key without scopes of its own: `apiKey` and `http`, before 3.1.
    Plain,
    /// `oauth2`, `openIdConnect`; since 3.1 all that a client presents.
    Scoped,
    /// A certificate, or something unknown: no key of ours.
    Foreign,
}

impl Schemes {
    pub fn read(document: &Value) -> Schemes {
        let mut schemes = Schemes {
            kinds: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        let any_may_have_scopes = !document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.0"));
        let declared = document["components"]["securitySchemes"].as_object();
        for (name, scheme) in declared.into_iter().flatten() {
            let Some(scheme) = resolve(document, scheme) else {
                continue;
            };
            let kind = match scheme["type"].as_str() {
                Some("oauth2" | "openIdConnect") => Kind::Scoped,
                Some("apiKey" | "http") if any_may_have_scopes => Kind::Scoped,
                Some("apiKey" | "http") => Kind::Plain,
                _ => Kind::Foreign,
            };
            schemes.kinds.insert(name.clone(), kind);
            schemes.read_labels(scheme);
        }
        schemes
    }

    /// The scopes that flows declare, with their descriptions.
    fn read_labels(&mut self, scheme: &Value) {
        let flows = scheme["flows"].as_object();
        for flow in flows.into_iter().flat_map(|flows| flows.values()) {
            for (scope, label) in flow["scopes"].as_object().into_iter().flatten() {
                let label = label.as_str().unwrap_or_default().trim().to_owned();
                self.labels.entry(scope.clone()).or_insert(label);
            }
        }
    }

    /// All declared scopes and their labels.
    pub fn scopes(&self) -> BTreeMap<String, String> {
        self.labels.clone()
    }
}

/// What a requirement asks for. `None`: there is none at all.
pub fn demand(schemes: &Schemes, required: Option<&Value>) -> Demand {
    let alternatives = match required.and_then(Value::as_array) {
        None => return Demand::Unsayable("it has no security requirement"),
        Some(list) if list.is_empty() => {
            return Demand::Unsayable("it is open to everybody (security is an empty list)");
        }
        Some(list) => list,
    };
    let mut any_of = BTreeSet::new();
    let mut without_scope = 0;
    for alternative in alternatives {
        match scope_of(schemes, alternative) {
            Ok(Some(scope)) => {
                any_of.insert(scope);
            }
            Ok(None) => without_scope += 1,
            Err(why) => return Demand::Unsayable(why),
        }
    }
    if without_scope > 0 && !any_of.is_empty() {
        return Demand::Unsayable("one alternative needs a scope and another one needs none");
    }
    Demand::AnyOf(any_of.into_iter().collect())
}

/// The one scope of an alternative, if it has one.
fn scope_of(schemes: &Schemes, alternative: &Value) -> Result<Option<String>, &'static str> {
    let Some(needed) = alternative.as_object() else {
        return Err("its security requirement is no object");
    };
    let mut needed = needed.iter();
    let (name, scopes) = match (needed.next(), needed.next()) {
        (None, _) => return Err("a credential is optional"),
        (Some(one), None) => one,
        _ => return Err("it needs several credentials together"),
    };
    let kind = schemes.kinds.get(name);
    let scopes = scopes.as_array().map(Vec::as_slice).unwrap_or_default();
    match (kind, scopes) {
        (None, _) => Err("it names a security scheme that the document does not describe"),
        (Some(Kind::Foreign), _) => Err("its security scheme is none that a key can meet"),
        (Some(_), []) => Ok(None),
        (Some(Kind::Plain), _) => Err("it gives scopes to a scheme that has none in OpenAPI 3.0"),
        (Some(Kind::Scoped), [Value::String(scope)]) => Ok(Some(scope.clone())),
        (Some(Kind::Scoped), [_]) => Err("its scope is no text"),
        (Some(Kind::Scoped), _) => {
            Err("it needs several scopes together, and a catalog says any of them")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(version: &str, required: Value, expected: Result<&[&str], &str>) {
        let schemes = Schemes::read(&json!({
            "openapi": version,
            "components": {"securitySchemes": {
                "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"scopes": {"a": "A", "b": "B"}}}},
                "key": {"type": "apiKey"},
                "tls": {"type": "mutualTLS"},
                "alias": {"$ref": "#/components/securitySchemes/oauth"},
            }}
        }));
        match (demand(&schemes, Some(&required)), expected) {
            (Demand::AnyOf(found), Ok(scopes)) => assert_eq!(found, scopes, "{required}"),
            (Demand::Unsayable(why), Err(part)) => assert!(why.contains(part), "{required}: {why}"),
            (found, expected) => panic!("{required}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn alternatives_are_any_of_and_the_rest_is_not_guessed() {
        check("3.0.3", json!([{"oauth": ["a"]}]), Ok(&["a"]));
        check(
            "3.0.3",
            json!([{"oauth": ["b"]}, {"alias": ["a"]}]),
            Ok(&["a", "b"]),
        );
        check("3.0.3", json!([{"key": []}]), Ok(&[]));
        check("3.1.0", json!([{"key": ["a"]}]), Ok(&["a"]));
        check(
            "3.0.3",
            json!([{"key": ["a"]}]),
            Err("has none in OpenAPI 3.0"),
        );
        check("3.0.3", json!([]), Err("open to everybody"));
        check("3.0.3", json!([{"oauth": ["a"]}, {}]), Err("optional"));
        check(
            "3.0.3",
            json!([{"oauth": ["a", "b"]}]),
            Err("several scopes"),
        );
        check(
            "3.0.3",
            json!([{"oauth": ["a"], "key": []}]),
            Err("several credentials"),
        );
        check(
            "3.0.3",
            json!([{"oauth": ["a"]}, {"key": []}]),
            Err("another one needs none"),
        );
        check(
            "3.1.0",
            json!([{"tls": []}]),
            Err("none that a key can meet"),
        );
        check("3.1.0", json!([{"other": []}]), Err("does not describe"));
        check("3.1.0", json!([{"oauth": [1]}]), Err("no text"));
    }
}
