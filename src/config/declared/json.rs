//! Values of TOML as the JSON that the API would be sent, so that a file and a request have the same rules.

use crate::http::numbers;
use crate::refusals::{self, Refusal};
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// An error, with the position of the value in the text.
pub type Fault = (Option<usize>, Refusal);

/// A table as a JSON object. Times of TOML become texts, and the rest has the same kinds in both.
pub fn object(table: &DeTable<'_>) -> std::result::Result<Map<String, Value>, Vec<Fault>> {
    let (mut members, mut faults) = (Map::new(), Vec::new());
    for (name, item) in table {
        match value(item) {
            Ok(value) => drop(members.insert(name.get_ref().to_string(), value)),
            Err(more) => faults.extend(more.into_iter().map(|(at, why)| {
                let why = refusals::declared::value(name.get_ref(), why);
                (at, why)
            })),
        }
    }
    match faults.is_empty() {
        true => Ok(members),
        false => Err(faults),
    }
}

fn value(item: &Spanned<DeValue<'_>>) -> std::result::Result<Value, Vec<Fault>> {
    let refused = |why| vec![(Some(item.span().start), why)];
    Ok(match item.get_ref() {
        DeValue::Array(items) => {
            let values = items.iter().map(value);
            Value::Array(values.collect::<std::result::Result<_, _>>()?)
        }
        DeValue::Boolean(on) => Value::Bool(*on),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Float(number) => {
            let literal = number.as_str().trim_start_matches('+');
            if !numbers::is_exact(literal) {
                return Err(refused(refusals::values::number_ambiguous()));
            }
            let read = literal.parse().ok().and_then(Number::from_f64);
            Value::Number(read.ok_or_else(|| refused(refusals::declared::float()))?)
        }
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix()).map(Number::from);
            let read = read.or_else(|_| {
                u64::from_str_radix(number.as_str(), number.radix()).map(Number::from)
            });
            Value::Number(read.map_err(|_| refused(refusals::declared::number()))?)
        }
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Table(table) => Value::Object(object(table)?),
    })
}

/// The position in the text of what an error of the API names, such as `rate_limit.limit` or `scopes[2]`: that of the
/// deepest part that is there.
pub fn position(table: &DeTable<'_>, field: &str) -> Option<usize> {
    let mut parts = field
        .split(['.', '['])
        .map(|part| part.trim_end_matches(']'));
    let first = parts.next()?;
    let (name, mut found) = table.get_key_value(first)?;
    let mut at = name.span().start;
    for part in parts {
        let next = match found.get_ref() {
            DeValue::Array(items) => part.parse().ok().and_then(|place: usize| items.get(place)),
            DeValue::Table(table) => table.get(part),
            _ => None,
        };
        let Some(next) = next else {
            break;
        };
        (at, found) = (next.span().start, next);
    }
    Some(at)
}
