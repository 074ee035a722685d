//! The parameter `filter`: an array of expressions, all of which must be true (1D-38).

use super::compare::Collation;
use super::{Item, check_members, property};
use crate::error::{Error, Result};
use serde_json::Value;
use std::cmp::Ordering;

/// The maximum number of expressions in one filter.
const EXPRESSIONS_MAX: usize = 200;
/// The maximum depth of nested expressions.
const DEPTH_MAX: usize = 16;
/// The maximum number of values for `in`, `subset` and `superset`.
const VALUES_MAX: usize = 1_000;
const PARAMETER: &str = "filter";

/// The conditions that an item must fulfil.
#[derive(Debug)]
pub struct Filter(Vec<Expression>);

#[derive(Debug)]
enum Expression {
    Compare {
        property: String,
        test: Test,
        collation: Collation,
        value: Value,
    },
    Join(Join, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Test {
    Contains,
    Equals,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    LessThan,
    LessThanOrEqual,
    NotEquals,
    Subset,
    Superset,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Join {
    And,
    ExclusiveOr,
    Not,
    Or,
}

const TESTS: [(Test, &str); 10] = [
    (Test::Contains, "contains"),
    (Test::Equals, "equals"),
    (Test::GreaterThan, "greaterThan"),
    (Test::GreaterThanOrEqual, "greaterThanOrEqual"),
    (Test::In, "in"),
    (Test::LessThan, "lessThan"),
    (Test::LessThanOrEqual, "lessThanOrEqual"),
    (Test::NotEquals, "notEquals"),
    (Test::Subset, "subset"),
    (Test::Superset, "superset"),
];

const JOINS: [(Join, &str); 4] = [
    (Join::And, "and"),
    (Join::ExclusiveOr, "exclusiveOr"),
    (Join::Not, "not"),
    (Join::Or, "or"),
];

impl Filter {
    pub fn everything() -> Filter {
        Filter(Vec::new())
    }

    /// Parses the entries of the array. An invalid entry is refused, never ignored.
    pub fn read(entries: &[Value], known: &[&str]) -> Result<Filter> {
        let mut left = EXPRESSIONS_MAX;
        read_all(entries, known, DEPTH_MAX, &mut left).map(Filter)
    }

    pub fn passes(&self, item: &Item) -> bool {
        self.0.iter().all(|expression| expression.holds(item))
    }
}

fn read_all(
    entries: &[Value],
    known: &[&str],
    depth: usize,
    left: &mut usize,
) -> Result<Vec<Expression>> {
    if depth == 0 {
        return Err(refused(format!(
            "must not be deeper than {DEPTH_MAX} expressions"
        )));
    }
    entries
        .iter()
        .map(|entry| {
            *left = left.checked_sub(1).ok_or_else(|| {
                refused(format!("must have at most {EXPRESSIONS_MAX} expressions"))
            })?;
            read(entry, known, depth, left)
        })
        .collect()
}

fn read(entry: &Value, known: &[&str], depth: usize, left: &mut usize) -> Result<Expression> {
    check_members(
        entry,
        PARAMETER,
        &["property", "operation", "collation", "value", "items"],
    )?;
    let word = entry.get("operation").and_then(Value::as_str).unwrap_or("");
    let items = entry.get("items").filter(|items| !items.is_null());
    if let Some((join, _)) = JOINS.iter().find(|(_, known)| *known == word) {
        let items = items
            .and_then(Value::as_array)
            .filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| refused(format!("must have items beside {word}")))?;
        return Ok(Expression::Join(
            *join,
            read_all(items, known, depth - 1, left)?,
        ));
    }
    let test = TESTS.iter().find(|(_, known)| *known == word);
    let (test, _) = test.ok_or_else(|| {
        let words = TESTS.map(|(_, word)| word).join(", ");
        let joins = JOINS.map(|(_, word)| word).join(", ");
        refused(format!("must have an operation of {words}, {joins}"))
    })?;
    if items.is_some() {
        return Err(refused(format!("must not have items beside {word}")));
    }
    let value = entry.get("value").cloned();
    let value = value.ok_or_else(|| refused("must have a value to compare with".to_owned()))?;
    let list = matches!(test, Test::In | Test::Subset | Test::Superset);
    let fits = match &value {
        Value::Array(values) => {
            values.len() <= VALUES_MAX
                && (list || *test == Test::Equals || *test == Test::NotEquals)
        }
        Value::Object(_) => false,
        _ => !list,
    };
    if !fits {
        return Err(refused(format!("has a value that does not fit {word}")));
    }
    Ok(Expression::Compare {
        property: property(
            entry.get("property").and_then(Value::as_str),
            known,
            PARAMETER,
        )?,
        test: *test,
        collation: Collation::read(entry, PARAMETER)?,
        value,
    })
}

impl Expression {
    fn holds(&self, item: &Item) -> bool {
        match self {
            Expression::Compare {
                property,
                test,
                collation,
                value,
            } => test.holds(
                *collation,
                item.get(property).unwrap_or(&Value::Null),
                value,
            ),
            Expression::Join(join, items) => {
                let mut held = items.iter().map(|expression| expression.holds(item));
                match join {
                    Join::And => held.all(|held| held),
                    Join::ExclusiveOr => held.filter(|held| *held).count() == 1,
                    Join::Not => !held.all(|held| held),
                    Join::Or => held.any(|held| held),
                }
            }
        }
    }
}

impl Test {
    /// `found` is null if the property is not set.
    fn holds(self, collation: Collation, found: &Value, value: &Value) -> bool {
        let order = |a: &Value, b: &Value| collation.compare(a, b);
        let same = |a: &Value, b: &Value| order(a, b) == Some(Ordering::Equal);
        let among = |one: &Value, list: &[Value]| list.iter().any(|other| same(one, other));
        let (many, values) = (found.as_array(), value.as_array());
        let ordered =
            |wanted: &[Ordering]| order(found, value).is_some_and(|it| wanted.contains(&it));
        match self {
            Test::Contains => match (found, value) {
                (Value::String(whole), Value::String(part)) => collation.contains(whole, part),
                (Value::Array(many), one) => among(one, many),
                _ => false,
            },
            Test::Equals => found.is_null() && value.is_null() || same(found, value),
            Test::NotEquals => !Test::Equals.holds(collation, found, value),
            Test::GreaterThan => ordered(&[Ordering::Greater]),
            Test::GreaterThanOrEqual => ordered(&[Ordering::Greater, Ordering::Equal]),
            Test::LessThan => ordered(&[Ordering::Less]),
            Test::LessThanOrEqual => ordered(&[Ordering::Less, Ordering::Equal]),
            Test::In => values.is_some_and(|values| match many {
                Some(many) => many.iter().any(|one| among(one, values)),
                None => among(found, values),
            }),
            Test::Subset => many
                .zip(values)
                .is_some_and(|(many, values)| many.iter().all(|one| among(one, values))),
            Test::Superset => many
                .zip(values)
                .is_some_and(|(many, values)| values.iter().all(|one| among(one, many))),
        }
    }
}

fn refused(why: String) -> Error {
    Error::invalid_text(PARAMETER, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[&str] = &["name", "scopes", "age", "gone"];

    fn filter(value: Value) -> Result<Filter> {
        Filter::read(value.as_array().unwrap(), KNOWN)
    }

    #[test]
    fn expressions_hold_or_do_not() {
        let item = Item(vec![
            ("name", json!("Alpha")),
            ("scopes", json!(["rest", "ui"])),
            ("age", json!(30)),
        ]);
        let compare = |property: &str, operation: &str, value: Value| json!({"property": property, "operation": operation, "value": value});
        for (expression, expected) in [
            (compare("name", "equals", json!("Alpha")), true),
            (compare("name", "equals", json!("alpha")), false),
            (compare("name", "notEquals", json!("alpha")), true),
            (compare("name", "contains", json!("lph")), true),
            (compare("name", "in", json!(["x", "Alpha"])), true),
            (compare("age", "lessThan", json!(31)), true),
            (compare("age", "lessThanOrEqual", json!(30)), true),
            (compare("age", "greaterThan", json!(30)), false),
            (compare("age", "greaterThanOrEqual", json!("30")), true),
            (compare("scopes", "contains", json!("ui")), true),
            (compare("scopes", "in", json!(["integration", "ui"])), true),
            (
                compare("scopes", "subset", json!(["ui", "rest", "integration"])),
                true,
            ),
            (compare("scopes", "subset", json!(["ui"])), false),
            (compare("scopes", "superset", json!(["ui"])), true),
            (compare("scopes", "superset", json!(["integration"])), false),
            (compare("scopes", "equals", json!(["rest", "ui"])), true),
            (compare("gone", "equals", json!(null)), true),
            (compare("gone", "lessThan", json!(5)), false),
            (compare("gone", "notEquals", json!("x")), true),
            (
                json!({"operation": "not", "items": [compare("age", "equals", json!(30))]}),
                false,
            ),
            (
                json!({"operation": "or", "items": [compare("age", "equals", json!(1)), compare("age", "equals", json!(30))]}),
                true,
            ),
            (
                json!({"operation": "exclusiveOr", "items": [compare("age", "equals", json!(30)), compare("name", "equals", json!("Alpha"))]}),
                false,
            ),
            (
                json!({"operation": "and", "items": [compare("age", "equals", json!(30)), compare("name", "equals", json!("x"))]}),
                false,
            ),
            (
                json!({"property": "name", "operation": "equals", "collation": "ignorecase", "value": "ALPHA"}),
                true,
            ),
        ] {
            let filter = filter(json!([expression.clone()])).unwrap();
            assert_eq!(filter.passes(&item), expected, "{expression}");
        }
        assert!(filter(json!([])).unwrap().passes(&item));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let mut deep = json!({"property": "age", "operation": "equals", "value": 1});
        for _ in 0..DEPTH_MAX {
            deep = json!({"operation": "not", "items": [deep]});
        }
        let wide = json!({"operation": "or", "items": vec![json!({"property": "age", "operation": "equals", "value": 1}); EXPRESSIONS_MAX]});
        for bad in [
            json!("x"),
            json!({}),
            json!({"property": "age", "operation": "like", "value": 1}),
            json!({"property": "stranger", "operation": "equals", "value": 1}),
            json!({"property": "age", "operation": "equals"}),
            json!({"property": "age", "operation": "equals", "value": {}}),
            json!({"property": "age", "operation": "in", "value": 1}),
            json!({"property": "age", "operation": "lessThan", "value": [1]}),
            json!({"property": "age", "operation": "equals", "value": 1, "items": []}),
            json!({"property": "age", "operation": "equals", "value": 1, "collation": "other"}),
            json!({"property": "age", "operation": "equals", "value": 1, "more": 1}),
            json!({"operation": "and"}),
            json!({"operation": "and", "items": []}),
            deep,
            wide,
        ] {
            assert!(filter(json!([bad])).is_err(), "{bad}");
        }
    }
}
