//! Reads the parts of a catalog from a request.

use crate::domain::catalogs::{Operation, Requirement, Scope};
use crate::error::Result;
use crate::http::fields::Fields;
use serde_json::{Value, json};

/// Reads a scope, and refuses other members.
pub fn scope(mut fields: Fields) -> Result<Scope> {
    let scope = Scope {
        name: fields.required_text("name")?,
        label: fields.text("label")?.unwrap_or_default(),
        implies: fields.texts("implies")?.unwrap_or_default(),
        root_only: fields.flag("root_only")?.unwrap_or(false),
    };
    fields.finish()?;
    Ok(scope)
}

/// Reads an operation. `access` is already read; this reads all other members.
pub fn operation(access: &str, mut fields: Fields) -> Result<Operation> {
    let any_key = fields.flag("any_key")?;
    let all_of = fields.texts("all_of")?;
    let any_of = fields.texts("any_of")?;
    let operation = Operation {
        id: fields.required_text("id")?,
        method: fields.required_text("method")?,
        path: fields.required_text("path")?,
        host: fields.text("host")?,
        writes: access == "write",
        requirement: Requirement::of_members(any_key, all_of, any_of, |it| fields.name(it))?,
    };
    fields.finish()?;
    Ok(operation)
}

/// Whether a word is one of the values of `access`.
pub fn is_access(word: &str) -> bool {
    matches!(word, "read" | "write")
}

/// Writes a requirement into the object of an operation, in the form that [`operation`] reads.
pub fn write_requirement(requirement: &Requirement, operation: &mut Value) {
    match requirement {
        Requirement::AnyKey => operation["any_key"] = Value::Bool(true),
        Requirement::Nobody => operation["any_of"] = json!([]),
        Requirement::Scopes { all_of, any_of } => {
            for (member, scopes) in [("all_of", all_of), ("any_of", any_of)] {
                if !scopes.is_empty() {
                    operation[member] = json!(scopes);
                }
            }
        }
    }
}
