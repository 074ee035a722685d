//! Reads the text of a document, and checks that it can be imported.

use super::yaml;
use crate::error::Error;
use crate::http::fields;
use serde_json::Value;

/// Reads JSON as JSON and any other text as YAML. In both, a member that occurs twice is refused.
pub fn read(text: &str) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        match fields::value(text.as_bytes()) {
            Ok(document) => return Ok(document),
            Err(Error::Invalid { field, .. }) => {
                return Err(format!("the member {field:?} is there twice in one object"));
            }
            Err(_) => {}
        }
    }
    yaml::parse(text).map_err(|err| format!("this is neither JSON nor YAML: {err}"))
}

/// Refuses a document that is not OpenAPI, or of an unknown version.
pub fn check_version(document: &Value) -> Result<(), String> {
    if !document["swagger"].is_null() {
        return Err(
            "this is a Swagger 2.0 document, and only OpenAPI 3 is read; convert it to OpenAPI 3 first"
                .to_owned(),
        );
    }
    let version = document["openapi"].as_str().unwrap_or_default();
    let mut numbers = version.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("3"), Some("0" | "1" | "2")) => Ok(()),
        _ => Err("this is no OpenAPI document of version 3.0, 3.1 or 3.2".to_owned()),
    }
}
