//! The file of public keys that the setting `leak_report_keys` names: JSON as GitHub publishes it.

use crate::domain::leak_keys::LeakKeys;
use crate::error::{Error, Result};
use crate::files;
use crate::http::fields;
use serde_json::Value;
use std::path::Path;

/// Reads the public keys; none without a file.
pub fn read(file: Option<&Path>) -> Result<LeakKeys> {
    let Some(file) = file else {
        return Ok(LeakKeys::default());
    };
    let refused = |why: &dyn std::fmt::Display| {
        Error::invalid_text("leak-report-keys", format!("{}: {why}", file.display()))
    };
    let bytes = files::read_regular(file).map_err(|err| refused(&err))?;
    let document = fields::value(&bytes)
        .map_err(|_| refused(&"the file must be JSON, in which no member is there twice"))?;
    parse(&document).map_err(|why| refused(&why))
}

/// `{"public_keys": [{"key_identifier": "…", "key": "-----BEGIN PUBLIC KEY-----…"}]}`; other members are ignored.
fn parse(document: &Value) -> std::result::Result<LeakKeys, String> {
    let listed = document.get("public_keys").and_then(Value::as_array);
    let listed = listed.filter(|keys| !keys.is_empty());
    let listed = listed.ok_or("must have a list public_keys with at least one key")?;
    let mut keys = LeakKeys::default();
    for (position, key) in listed.iter().enumerate() {
        let text = |member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default();
        if !keys.add(text("key_identifier"), text("key")) {
            return Err(format!(
                "public_keys[{position}] must have a key_identifier of its own, and a key of the curve P-256 in PEM"
            ));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAECAwQFBgcICQoLDA0ODxAREhMU\n\
                       FRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_file_without_sound_keys_is_refused() {
        let key =
            |id: &str, pem: &str| json!({ "key_identifier": id, "key": pem, "is_current": true });
        let document = |keys: Value| json!({ "public_keys": keys });
        assert!(
            !parse(&document(json!([key("a", PEM), key("b", PEM)])))
                .unwrap()
                .is_empty()
        );
        for bad in [
            json!({}),
            json!([]),
            document(json!([])),
            document(json!([key("", PEM)])),
            document(json!([key("a", "x")])),
            document(json!([key("a", PEM), key("a", PEM)])),
            document(json!(["x"])),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        assert!(read(None).unwrap().is_empty());
        assert!(read(Some(Path::new("/nonexistent"))).is_err());
    }
}
