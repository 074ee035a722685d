//! Making a definition one that a catalog accepts, by leaving out what it refuses.

use super::LeftOut;
use crate::domain::catalog::{Catalog, Definition, Operation};
use crate::error::Error;

/// Operations that may be looked at while leaving some out: each time, all that are left are looked at anew.
const LOOKS_MAX: usize = 4_000_000;

/// The definition without the operations that a catalog refuses, and those operations with the reasons.
pub fn settle(mut definition: Definition) -> Result<(Definition, Vec<LeftOut>), String> {
    let mut left_out = Vec::new();
    let mut looks_left = LOOKS_MAX;
    loop {
        looks_left = looks_left.checked_sub(definition.operations.len()).ok_or(
            "too many of its operations are refused by a catalog; mend the document first",
        )?;
        let (field, reason) = match Catalog::compile(definition.clone()) {
            Ok(_) => return Ok((definition, left_out)),
            Err(Error::Invalid { field, reason }) => (field, reason),
            Err(other) => return Err(other.to_string()),
        };
        let unsettled = || format!("{field}: {reason}");
        let (list, position, member) = place(&field).ok_or_else(unsettled)?;
        match (list, member) {
            ("operations", _) if position < definition.operations.len() => {
                let operation = definition.operations.remove(position);
                left_out.push(LeftOut::of(
                    operation,
                    format!("the catalog refuses its {member}: {reason}"),
                ));
            }
            // Words for people; the scope is as good without them.
            ("scopes", "label") if position < definition.scopes.len() => {
                definition.scopes[position].label.clear();
            }
            ("scopes", _) if position < definition.scopes.len() => {
                let scope = definition.scopes.remove(position).name;
                let (kept, without) = definition
                    .operations
                    .into_iter()
                    .partition(|it| !it.any_of.contains(&scope));
                definition.operations = kept;
                let told = |it: Operation| {
                    let why = format!("the catalog refuses its scope {scope:?}: {reason}");
                    LeftOut::of(it, why)
                };
                left_out.extend(Vec::into_iter(without).map(told));
            }
            _ => return Err(unsettled()),
        }
    }
}

impl LeftOut {
    fn of(operation: Operation, why: String) -> LeftOut {
        LeftOut {
            operation: format!("{} {}", operation.method, operation.path),
            why,
        }
    }
}

/// The parts of `operations[3].path`.
fn place(field: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = field.split_once('[')?;
    let (position, member) = rest.split_once("].")?;
    Some((list, position.parse().ok()?, member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::{Operation, Scope};

    #[test]
    fn what_a_catalog_refuses_is_left_out_with_its_reason() {
        let scope = |name: &str| Scope {
            name: name.to_owned(),
            label: "x".repeat(1000),
            implies: Vec::new(),
            root_only: false,
        };
        let operation = |id: &str, path: &str, scope: &str| Operation {
            id: id.to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            host: None,
            writes: false,
            any_of: vec![scope.to_owned()],
        };
        let definition = Definition {
            name: "x".to_owned(),
            case_sensitive: false,
            scopes: vec![scope("bad scope"), scope("good")],
            operations: vec![
                operation("one", "/a/{x}", "good"),
                operation("two", "/a/{y}", "good"),
                operation("three", "/b", "bad scope"),
                operation("four", "/c/{x}.json", "good"),
            ],
        };
        let (settled, left_out) = settle(definition).unwrap();
        let ids: Vec<&str> = settled.operations.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["one"]);
        assert_eq!(settled.scopes.len(), 1);
        assert_eq!(settled.scopes[0].label, "");
        assert_eq!(left_out.len(), 3, "{left_out:?}");
    }
}
