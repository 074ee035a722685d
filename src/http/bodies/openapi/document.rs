//! Reads the text of a document, and checks that it can be imported.

use crate::error::Error;
use crate::http::bodies::tree::yaml;
use crate::http::fields;
use crate::refusals::{self, Refusal};
use serde_json::Value;

/// The greatest number of values of one document in YAML. Values behind aliases count each time.
const VALUES_MAX: usize = 2_000_000;

/// Reads JSON as JSON and any other text as YAML. In both, a member that occurs twice is refused.
pub fn read(text: &str) -> Result<Value, Refusal> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        match fields::value(text.as_bytes()) {
            Ok(document) => return Ok(document),
            Err(Error::Invalid { field, .. }) => {
                return Err(refusals::openapi::member_twice(format_args!("{field:?}")));
            }
            Err(_) => {}
        }
    }
    match yaml::parse(text, VALUES_MAX) {
        Ok(document) => Ok(document.into()),
        Err(fault) => Err(refusals::openapi::not_json_or_yaml(fault.why)),
    }
}

/// Refuses a document that is not OpenAPI, or of an unknown version.
pub fn check_version(document: &Value) -> Result<(), Refusal> {
    if !document["swagger"].is_null() {
        return Err(refusals::openapi::swagger());
    }
    let version = document["openapi"].as_str().unwrap_or_default();
    let mut numbers = version.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("3"), Some("0" | "1" | "2")) => Ok(()),
        _ => Err(refusals::openapi::version()),
    }
}
