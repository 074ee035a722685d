//! JSON Patch (RFC 6902) for the few properties that can be changed (1D-18 to 1D-20). A path may omit its initial
//! slash.

use super::error::{not_updated, patch_failed};
use crate::error::{Error, Result};
use crate::http::fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::refusals::verbatim;
use serde_json::{Map, Value};

/// The maximum number of operations in one patch.
const OPERATIONS_MAX: usize = 100;

/// Whether a property may get a value.
pub enum Verdict {
    Fine,
    /// The property cannot be changed at all.
    Fixed,
    /// The property can be changed, but not to this value. The text completes a sentence.
    Refused(&'static str),
}

/// The operations of the patch in a request.
pub fn read(call: &Call<'_>) -> Result<Vec<Value>> {
    let content_type = super::header(call, "content-type")?.unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    let known = ["application/json", "application/json-patch+json"];
    if !known.iter().any(|it| it.eq_ignore_ascii_case(media_type)) {
        return Err(Error::UnsupportedMediaType("application/json"));
    }
    let Value::Array(operations) = fields::value(&call.request.body)? else {
        return Err(Error::Malformed(verbatim(
            "the body must be an array of JSON Patch operations",
        )));
    };
    if operations.len() > OPERATIONS_MAX {
        let why = format!("a patch may have at most {OPERATIONS_MAX} operations");
        return Err(Error::Malformed(verbatim(why)));
    }
    Ok(operations)
}

/// Applies the operations in order to a document whose keys are paths without the initial slash. If an operation fails,
/// the whole patch has no effect, and the result is the answer for this operation.
pub fn apply(
    operations: &[Value],
    document: &mut Map<String, Value>,
    check: &dyn Fn(&str, &Value) -> Verdict,
) -> Result<Option<Reply>> {
    for operation in operations {
        let path = path_of(operation, "path")?;
        let set = |document: &mut Map<String, Value>, value: Value| match check(&path, &value) {
            Verdict::Fine => {
                document.insert(path.clone(), value);
                None
            }
            Verdict::Fixed => Some(not_updated(&path, operation.clone())),
            Verdict::Refused(why) => {
                let message = format!("The property at path '{path}' {why}.");
                Some(patch_failed(400, 400, message, operation.clone()))
            }
        };
        let failed = match operation.get("op").and_then(Value::as_str) {
            Some("add" | "replace") => set(document, value_of(operation)?.clone()),
            // To remove a property is to set it to null. All properties that can be changed are always present.
            Some("remove") => set(document, Value::Null),
            Some(op @ ("copy" | "move")) => {
                let from = path_of(operation, "from")?;
                let value = document.get(&from).cloned();
                let moved_away = op == "move" && from != path;
                match value {
                    Some(_)
                        if moved_away && !matches!(check(&from, &Value::Null), Verdict::Fine) =>
                    {
                        Some(not_updated(&from, operation.clone()))
                    }
                    Some(value) => {
                        if moved_away {
                            document.remove(&from);
                        }
                        set(document, value)
                    }
                    None => Some(not_updated(&from, operation.clone())),
                }
            }
            Some("test") => {
                let holds = document.get(&path).unwrap_or(&Value::Null) == value_of(operation)?;
                let message = || format!("The property at path '{path}' has another value.");
                (!holds).then(|| patch_failed(409, 409, message(), operation.clone()))
            }
            _ => {
                let why = "must be add, copy, move, remove, replace or test";
                return Err(Error::invalid_text("op", why));
            }
        };
        if failed.is_some() {
            return Ok(failed);
        }
    }
    Ok(None)
}

/// Whether an operation sets this property.
pub fn sets(operation: &Value, name: &str) -> bool {
    let writes = operation.get("op").and_then(Value::as_str) != Some("test");
    writes && path_of(operation, "path").is_ok_and(|path| path == name)
}

fn value_of(operation: &Value) -> Result<&Value> {
    operation
        .get("value")
        .ok_or_else(|| Error::invalid_text("value", "is needed for this operation"))
}

/// Parses a JSON Pointer (RFC 6901) and removes its initial slash: `status`, `profile/email`.
fn path_of(operation: &Value, member: &str) -> Result<String> {
    let text = operation.get(member).and_then(Value::as_str);
    let text = text.filter(|text| (1..=200).contains(&text.len()));
    let text = text.ok_or_else(|| Error::invalid_text(member, "must be the path of a property"))?;
    let bare = text.strip_prefix('/').unwrap_or(text);
    Ok(bare.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(operations: Value) -> std::result::Result<Value, u16> {
        let document = json!({"status": "enabled", "description": "d", "userName": "u"});
        let mut document = document.as_object().unwrap().clone();
        let check = |name: &str, value: &Value| match name {
            "status" | "description" if value.is_string() => Verdict::Fine,
            "status" | "description" => Verdict::Refused("must be a text"),
            _ => Verdict::Fixed,
        };
        match apply(operations.as_array().unwrap(), &mut document, &check) {
            Err(_) => Err(0),
            Ok(Some(reply)) => Err(reply.status),
            Ok(None) => Ok(json!([document["status"], document["description"]])),
        }
    }

    #[test]
    fn operations_are_applied_in_order_and_all_or_none() {
        for (operations, expected) in [
            (json!([]), Ok(json!(["enabled", "d"]))),
            (
                json!([{"op": "replace", "path": "/status", "value": "x"}]),
                Ok(json!(["x", "d"])),
            ),
            (
                json!([{"value": "x", "path": "status", "op": "add"}]),
                Ok(json!(["x", "d"])),
            ),
            (
                json!([{"op": "copy", "from": "/userName", "path": "/description"}]),
                Ok(json!(["enabled", "u"])),
            ),
            (
                json!([{"op": "move", "from": "/status", "path": "/status"}]),
                Ok(json!(["enabled", "d"])),
            ),
            (
                json!([{"op": "test", "path": "/status", "value": "enabled"}, {"op": "replace", "path": "/status", "value": "x"}]),
                Ok(json!(["x", "d"])),
            ),
            (
                json!([{"op": "test", "path": "/status", "value": "disabled"}]),
                Err(409),
            ),
            (
                json!([{"op": "replace", "path": "/status", "value": 1}]),
                Err(400),
            ),
            (
                json!([{"op": "replace", "path": "/userName", "value": "x"}]),
                Err(400),
            ),
            (
                json!([{"op": "replace", "path": "/stranger", "value": "x"}]),
                Err(400),
            ),
            (
                json!([{"op": "replace", "path": "/scopes/0", "value": "x"}]),
                Err(400),
            ),
            (json!([{"op": "remove", "path": "/status"}]), Err(400)),
            (
                json!([{"op": "move", "from": "/userName", "path": "/description"}]),
                Err(400),
            ),
            (
                json!([{"op": "copy", "from": "/nothing", "path": "/description"}]),
                Err(400),
            ),
            (json!([{"op": "replace", "path": "/status"}]), Err(0)),
            (json!([{"op": "replace", "path": "", "value": "x"}]), Err(0)),
            (json!([{"op": "replace", "path": 1, "value": "x"}]), Err(0)),
            (
                json!([{"op": "merge", "path": "/status", "value": "x"}]),
                Err(0),
            ),
            (json!([{"path": "/status", "value": "x"}]), Err(0)),
            (json!(["x"]), Err(0)),
        ] {
            assert_eq!(outcome(operations.clone()), expected, "{operations}");
        }
    }
}
