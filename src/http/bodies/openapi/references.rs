//! References within a document: `{"$ref": …}` may replace any object (OpenAPI 3.1.1, section 4.8.23).

use crate::refusals::{self, Refusal};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The greatest number of references that may lead from one to the next.
pub const STEPS_MAX: usize = 16;

/// Finds the targets of the references of one document.
pub struct References<'a> {
    document: &'a Value,
    /// The address that the document states for itself (OpenAPI 3.2, `$self`).
    base: Option<&'a str>,
}

/// Why a reference has no target, as part of a sentence.
pub type BrokenReference = Refusal;

impl<'a> References<'a> {
    pub fn of(document: &'a Value) -> References<'a> {
        References {
            document,
            base: document["$self"].as_str(),
        }
    }

    /// Returns the value itself or, if it is a reference, its target within the document. OpenAPI ignores members next to a
    /// reference (3.1.1, section 4.8.23), but the author of the document meant something by them.
    pub fn resolve(&self, value: &'a Value) -> Result<&'a Value, BrokenReference> {
        let beside = |members: &Map<String, Value>| {
            let name = members.keys().find(|name| {
                !matches!(name.as_str(), "$ref" | "summary" | "description")
                    && !name.starts_with("x-")
            });
            name.cloned()
        };
        let mut value = value;
        for _ in 0..STEPS_MAX {
            let Some(reference) = value.get("$ref") else {
                return Ok(value);
            };
            if let Some(name) = value.as_object().and_then(beside) {
                return Err(refusals::openapi::member_beside_ref(format_args!(
                    "{name:?}"
                )));
            }
            value = self.target(reference)?;
        }
        Err(too_far())
    }

    /// As [`References::resolve`], whatever stands beside references.
    pub fn resolve_alone(&self, value: &'a Value) -> Result<&'a Value, BrokenReference> {
        let mut value = value;
        for _ in 0..STEPS_MAX {
            value = match value.get("$ref") {
                None => return Ok(value),
                Some(reference) => self.target(reference)?,
            };
        }
        Err(too_far())
    }

    /// A member of an object, with both resolved; `Null` if the member does not exist.
    pub fn member(&self, value: &'a Value, name: &str) -> Result<&'a Value, BrokenReference> {
        match self.resolve(value)?.get(name) {
            Some(member) => self.resolve(member),
            None => Ok(&Value::Null),
        }
    }

    /// The members of an object that is a member itself; none if there is no such object.
    pub fn members(
        &self,
        value: &'a Value,
        name: &str,
    ) -> Result<Option<&'a Map<String, Value>>, BrokenReference> {
        Ok(self.member(value, name)?.as_object())
    }

    /// The target of a reference: `#/components/…`, or the same after the document's own address.
    pub fn target(&self, reference: &Value) -> Result<&'a Value, BrokenReference> {
        let Some(reference) = reference.as_str() else {
            return Err(refusals::openapi::reference_not_text());
        };
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !address.is_empty() && !self.is_own(address) {
            return Err(refusals::openapi::reference_outside_at(reference));
        }
        let found = unescaped(fragment).and_then(|pointer| self.document.pointer(&pointer));
        found.ok_or_else(|| refusals::openapi::reference_unknown(reference))
    }

    /// Whether an address is the document's own, either complete or relative to the document's folder.
    fn is_own(&self, address: &str) -> bool {
        self.base.is_some_and(|base| {
            let base = base.split('#').next().unwrap_or(base);
            let name = base.rsplit('/').next().unwrap_or(base);
            address == base
                || !name.is_empty() && address.strip_prefix("./").unwrap_or(address) == name
        })
    }
}

/// The error for a chain of more than [`STEPS_MAX`] references.
pub fn too_far() -> BrokenReference {
    refusals::openapi::reference_too_far()
}

/// Decodes a JSON pointer in the fragment of an address (RFC 6901, section 6). The pointer's own escapes, `~1` and
/// `~0`, are decoded later.
fn unescaped(fragment: &str) -> Option<Cow<'_, str>> {
    if !fragment.contains('%') {
        return Some(fragment.into());
    }
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut left = fragment.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(left.next()?).to_digit(16)?;
                let low = char::from(left.next()?).to_digit(16)?;
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_followed_within_the_document_alone() {
        let document = json!({
            "$self": "https://h.example/apis/api.yaml",
            "a/b": {"{c}": 1, "~": {"$ref": "#/a~1b/%7Bc%7D"}},
            "far": {"$ref": "#/a~1b/~0"},
            "loop": {"$ref": "#/loop"},
            "one": {"$ref": "#/two"}, "two": {"$ref": "#/one"},
        });
        let references = References::of(&document);
        let follow = |reference: &str| {
            let value = json!({ "$ref": reference });
            let found = references.target(&value["$ref"]);
            found.and_then(|found| references.resolve(found)).cloned()
        };
        for good in [
            "#/a~1b/{c}",
            "#/a~1b/%7Bc%7D",
            "#/a%7E1b/%7bc%7d",
            "#/far",
            "https://h.example/apis/api.yaml#/far",
            "api.yaml#/far",
            "./api.yaml#/far",
        ] {
            assert_eq!(follow(good), Ok(json!(1)), "{good}");
        }
        for (bad, why) in [
            ("other.yaml", "outside the document"),
            ("other.yaml#/far", "outside the document"),
            ("../api.yaml#/far", "outside the document"),
            ("https://h.example/apis/#/far", "outside the document"),
            ("#/nowhere", "is not in the document"),
            ("#far", "is not in the document"),
            ("#/a~1b/%7", "is not in the document"),
            ("#/loop", "refers to itself"),
            ("#/one", "refers to itself"),
        ] {
            let found = follow(bad).unwrap_err();
            assert!(found.to_string().contains(why), "{bad}: {found}");
        }
        assert!(References::of(&json!({})).target(&json!(1)).is_err());
    }
}
