//! Checks numbers in JSON that the server stores for clients: every program must read each number as the same value.
//!
//! RFC 8259, section 6: programs agree on numbers that a double represents exactly. Other numbers, such as whole
//! numbers beyond 2^53, decimals with too many digits and negative zero, change their value in some programs, so this
//! server refuses them and never rounds them.

use crate::error::{Error, Result};
use crate::refusals;

/// The largest whole number up to which a double represents every whole number exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Checks every number inside one member of a JSON object. Invalid JSON is ignored here, because the reader of the body
/// refuses it.
pub fn check_member(body: &[u8], member: &str) -> Result<()> {
    check(body, "", Some(member))
}

/// Checks every number of a JSON text; errors refer to the text as `name`.
pub fn check_whole(text: &[u8], name: &str) -> Result<()> {
    check(text, name, None)
}

/// One step of the path to a number.
enum Step {
    /// In an object, under this name.
    Member(String),
    /// In a list, at this position.
    Item(usize),
}

fn check(text: &[u8], name: &str, member: Option<&str>) -> Result<()> {
    let mut path: Vec<Step> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' => path.push(Step::Member(String::new())),
            b'[' => path.push(Step::Item(0)),
            b'}' | b']' => drop(path.pop()),
            b',' => {
                if let Some(Step::Item(place)) = path.last_mut() {
                    *place += 1;
                }
            }
            b'"' => {
                at = end_of_string(text, at);
                let is_name = text[at..]
                    .iter()
                    .find(|byte| !byte.is_ascii_whitespace())
                    .is_some_and(|byte| *byte == b':');
                if let (true, Some(Step::Member(known))) = (is_name, path.last_mut()) {
                    *known = serde_json::from_slice(&text[start..at]).unwrap_or_default();
                }
            }
            b'-' | b'0'..=b'9' => {
                let in_number =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                at += text[at..].iter().take_while(in_number).count();
                let is_inside = match (member, path.first()) {
                    (None, _) => true,
                    (Some(member), Some(Step::Member(first))) => first == member,
                    (Some(_), _) => false,
                };
                let literal = std::str::from_utf8(&text[start..at]).unwrap_or_default();
                if is_inside && !is_exact(literal) {
                    return Err(Error::invalid(
                        place(name, &path),
                        refusals::values::number_ambiguous(),
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The position after the quotation mark that ends a string.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

/// The path in the format of errors: `metadata.limits[2]`.
fn place(name: &str, path: &[Step]) -> String {
    let mut shown = name.to_owned();
    for step in path {
        match step {
            Step::Item(place) => shown.push_str(&format!("[{place}]")),
            Step::Member(member) => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                shown.push_str(&refusals::quoted(member, 100));
            }
        }
    }
    shown
}

/// Whether programs that read the number as a double, and programs that read what this server stores, see the same
/// value.
pub fn is_exact(literal: &str) -> bool {
    let Ok(double) = literal.parse::<f64>() else {
        return true; // Not a number; the reader of the JSON refuses it.
    };
    if double.abs() > WHOLE_MAX {
        return false;
    }
    let Ok(read) = serde_json::from_str::<serde_json::Number>(literal) else {
        return true;
    };
    let Some(asked) = Decimal::parse(literal) else {
        return false;
    };
    // The value that other programs read, and the value that is stored.
    let same = |text: String| Decimal::parse(&text).is_some_and(|other| other == asked);
    same(double.to_string()) && same(read.to_string()) && !asked.is_negative_zero()
}

/// The value of a number as written in decimal digits.
#[derive(Debug, Eq, PartialEq)]
struct Decimal {
    is_negative: bool,
    /// Without leading and trailing zeros.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// `None` if the exponent is larger than any number needs.
    fn parse(text: &str) -> Option<Decimal> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let behind = i64::try_from(fraction.len()).ok()?;
        let digits = digits.trim_start_matches('0').to_owned();
        Some(Decimal {
            is_negative,
            exponent: match digits.is_empty() {
                true => 0,
                false => exponent.checked_sub(behind)?.checked_add(zeros)?,
            },
            digits,
        })
    }

    fn is_negative_zero(&self) -> bool {
        self.is_negative && self.digits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_every_program_reads_alike_are_kept() {
        for literal in [
            "0",
            "1",
            "-1",
            "0.1",
            "1.10",
            "1e2",
            "1E+2",
            "-2.5e-3",
            "100",
            "0.000001",
            "123456789012345",
            "0.123456789012345",
            "9007199254740992",
            "-9007199254740992",
            "1e15",
        ] {
            assert!(is_exact(literal), "{literal}");
        }
        for literal in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551616",
            "1.2345678901234568e+29",
            "123456789012345678901234567890",
            "1e400",
            "-1e400",
            "1e-400",
            "0.12345678901234567890",
            "3.14159265358979323846",
            "-0",
            "-0.0",
            "0e99999999999999999999",
            "1e16",
        ] {
            assert!(!is_exact(literal), "{literal}");
        }
    }

    #[test]
    fn a_number_is_named_by_its_place_and_others_are_left_alone() {
        let at = |body: &str| match check_member(body.as_bytes(), "metadata") {
            Err(Error::Invalid { field, .. }) => Some(field),
            _ => None,
        };
        let big = "123456789012345678901";
        for (body, field) in [
            (format!(r#"{{"metadata":{{"a":{big}}}}}"#), "metadata.a"),
            (
                format!(r#"{{"x":1,"metadata":{{"a":[1,{{"b c":{big}}}]}}}}"#),
                "metadata.a[1].b c",
            ),
            (
                format!(r#"{{ "meta\u0064ata" : {{ "a" : {big} }} }}"#),
                "metadata.a",
            ),
            (r#"{"metadata":{"a":1e400}}"#.to_owned(), "metadata.a"),
        ] {
            assert_eq!(at(&body).as_deref(), Some(field), "{body}");
        }
        for body in [
            format!(r#"{{"uses_left":{big},"metadata":{{"a":1}}}}"#),
            format!(r#"{{"metadata":{{"a":"{big}","{big}":"\"{big}"}}}}"#),
            format!(r#"{{"other":{{"metadata":{big}}}}}"#),
            format!("[{big}]"),
            r#"{"metadata":{"a":"#.to_owned(),
            r#"{"metadata":"\"#.to_owned(),
        ] {
            assert_eq!(at(&body), None, "{body}");
        }
        assert!(check_whole(format!(r#"{{"a":{big}}}"#).as_bytes(), "metadata").is_err());
    }
}
