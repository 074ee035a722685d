//! The parts of a catalog as they come in.

use crate::domain::catalog::{Operation, Scope};
use crate::error::Result;
use crate::http::fields::Fields;

/// A scope, whole.
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

/// An operation whose `access` has been read: all the other members.
pub fn operation(access: &str, mut fields: Fields) -> Result<Operation> {
    let operation = Operation {
        id: fields.required_text("id")?,
        method: fields.required_text("method")?,
        path: fields.required_text("path")?,
        host: fields.text("host")?,
        writes: access == "write",
        any_of: fields.texts("any_of")?.unwrap_or_default(),
    };
    fields.finish()?;
    Ok(operation)
}

/// Whether it is a word for what an operation does.
pub fn is_access(word: &str) -> bool {
    matches!(word, "read" | "write")
}
