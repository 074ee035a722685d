//! Compares values: numbers, times, and texts with one of three collations (1D-38).

use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// How texts are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Collation {
    IgnoreCase,
    /// Compares runs of digits as numbers: `b2` comes before `b10`.
    Lexicographic,
    /// Compares character by character.
    Ordinal,
}

impl Collation {
    /// Parses the member `collation` of an entry; the default is ordinal.
    pub fn read(entry: &Value, parameter: &str) -> Result<Collation> {
        match entry
            .get("collation")
            .map(|value| value.as_str().unwrap_or(""))
        {
            None | Some("ordinal") => Ok(Collation::Ordinal),
            Some("ignorecase") => Ok(Collation::IgnoreCase),
            Some("lexicographic") => Ok(Collation::Lexicographic),
            Some(_) => Err(Error::invalid_text(
                parameter,
                "must have the collation ordinal, ignorecase or lexicographic",
            )),
        }
    }

    /// Compares a property with a value of the same or a similar type: a text can also contain a number or a flag.
    /// `None` if they cannot be compared.
    pub fn compare(self, a: &Value, b: &Value) -> Option<Ordering> {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => numbers(a, b),
            (Value::Number(a), Value::String(b)) => numbers(a, &b.parse().ok()?),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::String(b)) => {
                Some(a.cmp(&b.to_ascii_lowercase().parse().ok()?))
            }
            (Value::String(a), Value::String(b)) => {
                let time = |text: &str| Timestamp::parse("value", text).ok();
                match time(a).zip(time(b)) {
                    Some((a, b)) => Some(a.cmp(&b)),
                    None => Some(self.texts(a, b)),
                }
            }
            (Value::Array(a), Value::Array(b)) => (a == b).then_some(Ordering::Equal),
            _ => None,
        }
    }

    /// Whether one text contains the other.
    pub fn contains(self, whole: &str, part: &str) -> bool {
        match self {
            Collation::Ordinal => whole.contains(part),
            _ => whole.to_lowercase().contains(&part.to_lowercase()),
        }
    }

    fn texts(self, a: &str, b: &str) -> Ordering {
        match self {
            Collation::IgnoreCase => a.to_lowercase().cmp(&b.to_lowercase()),
            Collation::Lexicographic => words(&a.to_lowercase(), &b.to_lowercase()),
            Collation::Ordinal => a.cmp(b),
        }
    }
}

/// Compares whole numbers exactly, because `identifierInProvider` has more digits than a float can represent.
fn numbers(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |n: &Number| n.as_u64().map(i128::from).or(n.as_i64().map(i128::from));
    match whole(a).zip(whole(b)) {
        Some((a, b)) => Some(a.cmp(&b)),
        None => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Compares runs of digits as numbers, and the text between them as text.
fn words(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let (run_a, run_b) = (run(a), run(b));
        let digits = |run: &str| run.bytes().next().is_some_and(|b| b.is_ascii_digit());
        let order = if digits(run_a) && digits(run_b) {
            let bare = |run: &str| run.trim_start_matches('0').to_owned();
            let (x, y) = (bare(run_a), bare(run_b));
            x.len().cmp(&y.len()).then(x.cmp(&y))
        } else {
            run_a.cmp(run_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[run_a.len()..], &b[run_b.len()..]);
    }
    a.len().cmp(&b.len())
}

/// The digits, or the other characters, at the start of a text.
fn run(text: &str) -> &str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits);
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_by_what_they_are() {
        use Collation::*;
        use Ordering::*;
        let (high, higher) = (
            json!(11_217_524_525_076_510_963_u64),
            json!(11_217_524_525_076_510_964_u64),
        );
        for (collation, a, b, expected) in [
            (Ordinal, json!("a"), json!("B"), Some(Greater)),
            (IgnoreCase, json!("a"), json!("B"), Some(Less)),
            (IgnoreCase, json!("Ä"), json!("ä"), Some(Equal)),
            (Ordinal, json!("b2"), json!("b10"), Some(Greater)),
            (Lexicographic, json!("b2"), json!("B10"), Some(Less)),
            (Lexicographic, json!("a007b"), json!("a7b"), Some(Equal)),
            (Lexicographic, json!("a1"), json!("a1b"), Some(Less)),
            (Lexicographic, json!("1"), json!("a"), Some(Less)),
            (Ordinal, high, higher, Some(Less)),
            (Ordinal, json!(12), json!("12"), Some(Equal)),
            (Ordinal, json!(true), json!("TRUE"), Some(Equal)),
            (
                Ordinal,
                json!("2020-08-18T16:02:26.0130000+00:00"),
                json!("2020-08-18T18:02:26.013+02:00"),
                Some(Equal),
            ),
            (Ordinal, json!(12), json!("x"), None),
            (Ordinal, json!("x"), json!(null), None),
            (Ordinal, json!(["a"]), json!("a"), None),
        ] {
            assert_eq!(collation.compare(&a, &b), expected, "{a} {b}");
        }
    }
}
