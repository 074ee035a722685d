//! Security requirements (OpenAPI 3.1.1, section 4.8.30), as far as a catalog can express them.
//!
//! A requirement is a list of alternatives. Each alternative is an object of schemes that are needed together, each
//! with scopes that are needed together. A catalog can express: all of these scopes and one of those, or any key.

use super::references::References;
use crate::domain::catalogs::{Requirement, SCOPES_MAX, check_scope_name};
use crate::domain::text;
use crate::error::Error;
use crate::refusals::{self, Refusal};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Alternatives of one requirement; each is compared with each other one.
const ALTERNATIVES_MAX: usize = 100;

/// Why an operation stays closed, as part of a sentence.
pub type ClosedReason = Refusal;

/// How the import treats an operation without a security requirement.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Silence {
    /// Every key opens it.
    AnyKey,
    /// No key opens it, because the document does not define which keys may.
    #[default]
    Closed,
}

/// The security schemes of a document.
pub struct Schemes {
    kinds: BTreeMap<String, Kind>,
    labels: BTreeMap<String, String>,
    /// Whether the user has chosen the schemes that keys can meet.
    are_chosen: bool,
}

/// Whether a key can meet a security scheme.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// A key in a header, without scopes: `apiKey` and `http` before 3.1.
    Plain,
    /// A key in a header whose scopes a requirement may name: `oauth2`, `openIdConnect`, and since 3.1 the others.
    Scoped,
    /// A scheme that no key can meet, or that the user has not chosen.
    Foreign(ClosedReason),
}

impl Schemes {
    /// Reads the schemes. A key must be able to meet each of the schemes in `chosen`. If `chosen` is empty, keys meet
    /// all schemes for keys in headers.
    pub fn read<'a>(
        document: &'a Value,
        references: &References<'a>,
        chosen: &[String],
    ) -> Result<Schemes, Refusal> {
        let mut schemes = Schemes {
            kinds: BTreeMap::new(),
            labels: BTreeMap::new(),
            are_chosen: !chosen.is_empty(),
        };
        let any_may_have_scopes = !document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.0"));
        let declared = references
            .member(document, "components")
            .and_then(|components| references.members(components, "securitySchemes"));
        for (name, scheme) in declared.ok().flatten().into_iter().flatten() {
            let mut kind = match references.resolve(scheme) {
                Ok(scheme) => kind(scheme, any_may_have_scopes, schemes.are_chosen),
                Err(why) => Kind::Foreign(refusals::openapi::scheme(name, why)),
            };
            match (schemes.are_chosen, chosen.contains(name), &kind) {
                (true, true, Kind::Foreign(why)) => {
                    return Err(refusals::openapi::another_scheme(name, why.clone()));
                }
                (true, false, Kind::Plain | Kind::Scoped) => {
                    kind = Kind::Foreign(refusals::openapi::no_key_stands_for_it());
                }
                _ => {}
            }
            if !matches!(kind, Kind::Foreign(_)) {
                schemes.read_labels(references, scheme);
            }
            schemes.kinds.insert(name.clone(), kind);
        }
        if let Some(unknown) = chosen
            .iter()
            .find(|name| !schemes.kinds.contains_key(*name))
        {
            let known: Vec<&str> = schemes.kinds.keys().map(String::as_str).collect();
            return Err(match known.is_empty() {
                true => refusals::openapi::no_scheme(format_args!("{unknown:?}")),
                false => {
                    refusals::openapi::no_scheme_of(format_args!("{unknown:?}"), known.join(", "))
                }
            });
        }
        Ok(schemes)
    }

    /// Reads the scopes that flows declare, with their descriptions, if a catalog accepts them.
    fn read_labels<'a>(&mut self, references: &References<'a>, scheme: &'a Value) {
        let flows = references.members(scheme, "flows").ok().flatten();
        for flow in flows.into_iter().flat_map(|flows| flows.values()) {
            let scopes = references.members(flow, "scopes").ok().flatten();
            for (scope, label) in scopes.into_iter().flatten() {
                if check_scope_name("", scope).is_ok() {
                    let label = label.as_str().unwrap_or_default().trim();
                    let label = match text::check_description("", label) {
                        Ok(()) => label.to_owned(),
                        Err(_) => String::new(), // words for people; the scope is as good without them
                    };
                    self.labels.entry(scope.clone()).or_insert(label);
                }
            }
        }
    }

    /// All declared scopes and their labels.
    pub fn scopes(&self) -> &BTreeMap<String, String> {
        &self.labels
    }
}

/// The kind of a scheme. Keys meet Basic only if the user has chosen it.
fn kind(scheme: &Value, any_may_have_scopes: bool, are_chosen: bool) -> Kind {
    let plain = match any_may_have_scopes {
        true => Kind::Scoped,
        false => Kind::Plain,
    };
    let foreign = |what: Refusal| Kind::Foreign(refusals::openapi::not_a_key(what));
    let lower = |member: &str| {
        scheme[member]
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    match scheme["type"].as_str() {
        Some("oauth2" | "openIdConnect") => Kind::Scoped,
        Some("apiKey") => match (scheme["in"].as_str(), &*lower("name")) {
            (Some("header"), "cookie") | (Some("cookie"), _) => {
                foreign(refusals::openapi::cookie())
            }
            (Some("header"), _) => plain,
            (Some("query"), _) => foreign(refusals::openapi::key_in_query()),
            _ => foreign(refusals::openapi::key_in_unknown_place()),
        },
        Some("http") => match &*lower("scheme") {
            "bearer" | "token" => plain,
            "basic" if are_chosen => plain,
            "basic" => foreign(refusals::openapi::password_basic()),
            "digest" => foreign(refusals::openapi::password_digest()),
            _ => foreign(refusals::openapi::other_http_scheme()),
        },
        Some("mutualTLS") => foreign(refusals::openapi::certificate()),
        _ => foreign(refusals::openapi::scheme_unknown_kind()),
    }
}

/// Converts a security requirement. `None`: the document has none.
pub fn requirement<'a>(
    schemes: &Schemes,
    references: &References<'a>,
    required: Option<&'a Value>,
    silence: Silence,
) -> Result<Requirement, ClosedReason> {
    let Some(required) = required else {
        return match silence {
            Silence::AnyKey => Ok(Requirement::AnyKey),
            Silence::Closed => Err(refusals::openapi::no_requirement()),
        };
    };
    let alternatives = references.resolve(required)?.as_array();
    let alternatives = alternatives.ok_or_else(refusals::openapi::requirement_not_list)?;
    if alternatives.is_empty() {
        return Err(refusals::openapi::open());
    }
    if alternatives.len() > ALTERNATIVES_MAX {
        return Err(refusals::openapi::alternatives_at_most(ALTERNATIVES_MAX));
    }
    let mut sets: Vec<BTreeSet<&str>> = Vec::new();
    let mut refused = None;
    let mut count = 0;
    for alternative in alternatives {
        let needed = references.resolve(alternative)?.as_object();
        let needed = needed.ok_or_else(refusals::openapi::requirement_not_object)?;
        if needed.is_empty() {
            return Err(refusals::openapi::credential_optional());
        }
        match scopes_of(schemes, references, needed) {
            Ok(scopes) => {
                count += scopes.len();
                if count > SCOPES_MAX {
                    return Err(refusals::openapi::scopes_at_most(SCOPES_MAX));
                }
                sets.push(scopes);
            }
            // A key may meet another alternative, and one is enough.
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    if sets.is_empty() {
        return Err(refused.unwrap_or_else(refusals::openapi::no_requirement));
    }
    combined(&sets)
}

/// The scopes of an alternative that a key can meet.
fn scopes_of<'a>(
    schemes: &Schemes,
    references: &References<'a>,
    needed: &'a Map<String, Value>,
) -> Result<BTreeSet<&'a str>, ClosedReason> {
    let mut all = BTreeSet::new();
    for (name, scopes) in needed {
        let kind = schemes.kinds.get(scheme_name(name));
        let kind = kind.ok_or_else(refusals::openapi::scheme_unknown)?;
        if let Kind::Foreign(why) = kind {
            return Err(why.clone());
        }
        let scopes = references.resolve(scopes)?.as_array();
        let scopes = scopes.ok_or_else(refusals::openapi::scopes_not_list)?;
        if *kind == Kind::Plain && !scopes.is_empty() {
            return Err(refusals::openapi::scopes_without_words());
        }
        for scope in scopes {
            let scope = scope
                .as_str()
                .ok_or_else(refusals::openapi::scope_not_text)?;
            if let Err(Error::Invalid { reason, .. }) = check_scope_name("", scope) {
                return Err(refusals::openapi::scope(format_args!("{scope:?}"), reason));
            }
            all.insert(scope);
        }
    }
    if needed.len() > 1 && !schemes.are_chosen {
        return Err(refusals::openapi::combined());
    }
    Ok(all)
}

/// The name of the scheme in a requirement, which may be its address within the document since 3.2.
fn scheme_name(name: &str) -> &str {
    name.strip_prefix("#/components/securitySchemes/")
        .unwrap_or(name)
}

/// The catalog's requirement for a list of alternatives, each of which is a set of scopes that are needed together.
fn combined(sets: &[BTreeSet<&str>]) -> Result<Requirement, ClosedReason> {
    let with_scopes = sets.iter().filter(|set| !set.is_empty()).count();
    if with_scopes == 0 {
        return Ok(Requirement::AnyKey);
    }
    if with_scopes < sets.len() {
        return Err(refusals::openapi::mixed_scopes());
    }
    // An alternative that contains all scopes of another one is superfluous.
    let mut least: Vec<&BTreeSet<&str>> = Vec::new();
    for set in sets {
        if !sets
            .iter()
            .any(|other| other.len() < set.len() && other.is_subset(set))
            && !least.contains(&set)
        {
            least.push(set);
        }
    }
    let owned = |scopes: &BTreeSet<&str>| scopes.iter().map(|&scope| scope.to_owned()).collect();
    if let [only] = least.as_slice() {
        return Ok(match only.len() {
            1 => Requirement::one_of(owned(only)),
            _ => Requirement::Scopes {
                all_of: owned(only),
                any_of: Vec::new(),
            },
        });
    }
    let mut common = least[0].clone();
    common.retain(|scope| least.iter().all(|set| set.contains(scope)));
    let mut any_of = BTreeSet::new();
    for set in &least {
        let mut rest = set.difference(&common);
        match (rest.next(), rest.next()) {
            (Some(one), None) => any_of.insert(*one),
            _ => {
                return Err(refusals::openapi::lists_of_scopes());
            }
        };
    }
    Ok(Requirement::Scopes {
        all_of: owned(&common),
        any_of: owned(&any_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(version: &str) -> Value {
        json!({
            "openapi": version,
            "components": {"securitySchemes": {
                "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"scopes": {"a": "A", "b": "B", "c d": "no"}}}},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "Bearer"},
                "second": {"type": "apiKey", "in": "header", "name": "X-Second"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
                "hidden": {"type": "apiKey", "in": "header", "name": "Cookie"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
                "basic": {"type": "http", "scheme": "basic"},
                "digest": {"type": "http", "scheme": "Digest"},
                "tls": {"type": "mutualTLS"},
                "placeless": {"type": "apiKey"},
                "alias": {"$ref": "#/components/securitySchemes/oauth"},
                "elsewhere": {"$ref": "schemes.yaml#/oauth"},
            }}
        })
    }

    fn read(version: &str, chosen: &[&str], required: &Value) -> Result<Requirement, Refusal> {
        let document = document(version);
        let references = References::of(&document);
        let chosen: Vec<String> = chosen.iter().map(|&name| name.to_owned()).collect();
        let schemes = Schemes::read(&document, &references, &chosen)?;
        // The requirement is no part of the document and contains no references.
        let required = Box::leak(Box::new(required.clone()));
        requirement(&schemes, &references, Some(required), Silence::Closed)
    }

    fn scopes(all_of: &[&str], any_of: &[&str]) -> Requirement {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Requirement::Scopes {
            all_of: owned(all_of),
            any_of: owned(any_of),
        }
    }

    #[test]
    fn alternatives_that_a_catalog_can_say_are_taken_over() {
        for (version, required, expected) in [
            ("3.0.3", json!([{"oauth": ["a"]}]), scopes(&[], &["a"])),
            (
                "3.0.3",
                json!([{"oauth": ["b"]}, {"alias": ["a"]}]),
                scopes(&[], &["a", "b"]),
            ),
            ("3.0.3", json!([{"key": []}]), Requirement::AnyKey),
            (
                "3.0.3",
                json!([{"key": []}, {"bearer": []}]),
                Requirement::AnyKey,
            ),
            ("3.1.0", json!([{"key": ["a"]}]), scopes(&[], &["a"])),
            (
                "3.2.0",
                json!([{"#/components/securitySchemes/key": ["a"]}]),
                scopes(&[], &["a"]),
            ),
            (
                "3.0.3",
                json!([{"oauth": ["b", "a"]}]),
                scopes(&["a", "b"], &[]),
            ),
            ("3.0.3", json!([{"oauth": ["a", "a"]}]), scopes(&[], &["a"])),
            (
                "3.0.3",
                json!([{"oauth": ["a", "b"]}, {"oauth": ["a", "c"]}]),
                scopes(&["a"], &["b", "c"]),
            ),
            (
                "3.0.3",
                json!([{"oauth": ["a", "b"]}, {"oauth": ["a"]}]),
                scopes(&[], &["a"]),
            ),
            (
                "3.0.3",
                json!([{"oauth": ["a", "b"]}, {"alias": ["b", "a"]}]),
                scopes(&["a", "b"], &[]),
            ),
            (
                "3.0.3",
                json!([{"cookie": []}, {"key": []}]),
                Requirement::AnyKey,
            ),
            (
                "3.1.0",
                json!([{"key": []}, {"tls": []}]),
                Requirement::AnyKey,
            ),
            (
                "3.0.3",
                json!([{"oauth": ["a"]}, {"oauth": ["b"], "tls": []}]),
                scopes(&[], &["a"]),
            ),
            (
                "3.0.3",
                json!([{"other": []}, {"oauth": ["a"]}]),
                scopes(&[], &["a"]),
            ),
            (
                "3.0.3",
                json!([{"oauth": ["c d"]}, {"oauth": ["a"]}]),
                scopes(&[], &["a"]),
            ),
        ] {
            assert_eq!(read(version, &[], &required), Ok(expected), "{required}");
        }
    }

    #[test]
    fn what_no_key_can_meet_stays_closed_with_its_reason() {
        for (version, required, why) in [
            ("3.0.3", json!([]), "open to everybody"),
            ("3.0.3", json!(null), "no list"),
            ("3.0.3", json!({"oauth": ["a"]}), "no list"),
            ("3.0.3", json!(["oauth"]), "no object"),
            ("3.0.3", json!([{"oauth": ["a"]}, {}]), "optional"),
            ("3.0.3", json!([{"key": ["a"]}]), "has none in OpenAPI 3.0"),
            (
                "3.0.3",
                json!([{"oauth": ["a"], "key": []}]),
                "several credentials",
            ),
            (
                "3.0.3",
                json!([{"key": [], "second": []}]),
                "several credentials",
            ),
            (
                "3.0.3",
                json!([{"oauth": ["a"]}, {"key": []}]),
                "another one needs none",
            ),
            (
                "3.0.3",
                json!([{"oauth": ["a", "b"]}, {"oauth": ["c", "d"]}]),
                "no words",
            ),
            ("3.0.3", json!([{"cookie": []}]), "a cookie"),
            ("3.0.3", json!([{"hidden": []}]), "a cookie"),
            ("3.0.3", json!([{"query": []}]), "the query"),
            ("3.0.3", json!([{"basic": []}]), "Basic"),
            ("3.0.3", json!([{"digest": []}]), "Digest"),
            ("3.1.0", json!([{"tls": []}]), "a certificate"),
            ("3.1.0", json!([{"placeless": []}]), "does not know"),
            ("3.1.0", json!([{"key": [], "tls": []}]), "a certificate"),
            (
                "3.1.0",
                json!([{"elsewhere": ["a"]}]),
                "outside the document",
            ),
            ("3.1.0", json!([{"other": []}]), "does not describe"),
            ("3.1.0", json!([{"oauth": [1]}]), "no text"),
            ("3.1.0", json!([{"oauth": "a"}]), "no list"),
            ("3.1.0", json!([{"oauth": ["c d"]}]), "refuses its scope"),
            ("3.1.0", json!({"$ref": "x.yaml"}), "outside the document"),
        ] {
            let found = read(version, &[], &required).unwrap_err();
            assert!(found.to_string().contains(why), "{required}: {found}");
        }
    }

    #[test]
    fn the_schemes_that_keys_stand_for_can_be_chosen() {
        let either = json!([{"oauth": ["a"]}, {"key": []}]);
        assert_eq!(read("3.0.3", &["key"], &either), Ok(Requirement::AnyKey));
        assert_eq!(read("3.0.3", &["oauth"], &either), Ok(scopes(&[], &["a"])));
        assert!(read("3.0.3", &["oauth", "key"], &either).is_err());
        assert!(read("3.0.3", &["bearer"], &either).is_err());
        let both = json!([{"key": [], "second": []}]);
        assert_eq!(
            read("3.0.3", &["key", "second"], &both),
            Ok(Requirement::AnyKey)
        );
        assert!(read("3.0.3", &["second"], &both).is_err());
        assert_eq!(
            read("3.0.3", &["basic"], &json!([{"basic": []}])),
            Ok(Requirement::AnyKey)
        );
        for (chosen, why) in [
            ("cookie", "no key can stand for"),
            ("query", "no key can stand for"),
            ("digest", "no key can stand for"),
            ("tls", "no key can stand for"),
            ("elsewhere", "no key can stand for"),
            ("nobody", "there is no security scheme"),
        ] {
            let found = read("3.0.3", &["key", chosen], &either).unwrap_err();
            assert!(found.to_string().contains(why), "{chosen}: {found}");
        }
    }
}
