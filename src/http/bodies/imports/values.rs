//! Values of properties as dumps of databases and APIs write them.

use crate::domain::time::Timestamp;
use crate::http::bodies::tree::{self, Data, Node};
use crate::refusals::{self, Refusal};

/// What a number counts that stands in the place of a time.
#[derive(Clone, Copy)]
pub enum Unit {
    Milliseconds,
    Seconds,
}

/// A text; `None` for null and for an empty one.
pub fn text(node: &Node) -> Result<Option<String>, Refusal> {
    match &node.data {
        Data::Null => Ok(None),
        Data::Number(literal) => Ok(Some(literal.clone())),
        Data::Text(text) if text.as_str().is_empty() => Ok(None),
        Data::Text(text) => Ok(Some(text.as_str().to_owned())),
        _ => Err(refusals::values::text()),
    }
}

/// True or false, also as `t`, `f`, 1 and 0; `None` for null and for an empty text.
pub fn flag(node: &Node) -> Result<Option<bool>, Refusal> {
    let word = match &node.data {
        Data::Flag(flag) => return Ok(Some(*flag)),
        Data::Null => return Ok(None),
        Data::Number(literal) => literal.as_str(),
        Data::Text(text) => text.as_str(),
        _ => return Err(refusals::values::flag()),
    };
    match word.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "1" | "t" | "true" => Ok(Some(true)),
        "0" | "f" | "false" => Ok(Some(false)),
        _ => Err(refusals::values::flag()),
    }
}

/// A whole number with or without a sign, also as a text; `None` for null and for an empty text. `60.0` is 60.
pub fn whole(node: &Node) -> Result<Option<i64>, Refusal> {
    let literal = match &node.data {
        Data::Null => return Ok(None),
        Data::Number(literal) => literal.as_str(),
        Data::Text(text) if text.as_str().is_empty() => return Ok(None),
        Data::Text(text) => text.as_str(),
        _ => return Err(refusals::values::number()),
    };
    let bare = match literal.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => literal,
    };
    let is_plain = bare
        .trim_start_matches('-')
        .bytes()
        .all(|b| b.is_ascii_digit());
    let number = bare.parse::<i64>().ok().filter(|_| is_plain);
    let fits = number.filter(|number| number.unsigned_abs() <= 1 << 53);
    fits.map(Some).ok_or_else(refusals::values::number)
}

/// A whole number that is not negative.
pub fn count(node: &Node) -> Result<Option<u64>, Refusal> {
    let number = whole(node)?;
    let count = |number| u64::try_from(number).map_err(|_| refusals::values::number());
    number.map(count).transpose()
}

/// A time: RFC 3339, or what databases write, such as `2027-01-31 00:00:00.123+00`; a time without an offset is UTC. A
/// number counts from 1970. `None` for null, for an empty text, and for times before 1970, which stand for "never".
pub fn time(node: &Node, unit: Unit) -> Result<Option<Timestamp>, Refusal> {
    let of_number = |number: i64| match unit {
        _ if number <= 0 => Ok(None),
        Unit::Milliseconds => checked(Timestamp(number)).map(Some),
        Unit::Seconds => match number.checked_mul(1_000) {
            Some(ms) => checked(Timestamp(ms)).map(Some),
            None => Err(refusals::values::time()),
        },
    };
    match &node.data {
        Data::Null => Ok(None),
        Data::Number(_) => of_number(whole(node)?.unwrap_or_default()),
        Data::Text(text) if text.as_str().is_empty() => Ok(None),
        // A shorter number is a year, or something else that is no time.
        Data::Text(text)
            if text.as_str().len() >= 9 && text.as_str().bytes().all(|b| b.is_ascii_digit()) =>
        {
            of_number(whole(node)?.unwrap_or_default())
        }
        Data::Text(text) if text.as_str().starts_with("0001-01-01") => Ok(None),
        Data::Text(text) => date_time(text.as_str()).map(Some),
        _ => Err(refusals::values::time()),
    }
}

/// Times after the year 9999 are refused, as they are elsewhere.
fn checked(at: Timestamp) -> Result<Timestamp, Refusal> {
    match Timestamp::parse("", &at.to_string()) {
        Ok(same) if same == at => Ok(at),
        _ => Err(refusals::values::time()),
    }
}

fn date_time(text: &str) -> Result<Timestamp, Refusal> {
    let behind = text.get(19..).ok_or_else(refusals::values::time)?;
    let offset = behind.find(['Z', 'z', '+', '-']).map(|at| &behind[at..]);
    let full = match offset {
        None => format!("{text}Z"),
        // PostgreSQL leaves the minutes out.
        Some(hours) if hours.len() == 3 => format!("{text}:00"),
        Some(hours) if hours.len() == 5 && !hours.contains(':') => {
            let (start, minutes) = text.split_at(text.len() - 2);
            format!("{start}:{minutes}")
        }
        Some(_) => text.to_owned(),
    };
    Timestamp::parse("", &full).map_err(|_| refusals::values::time())
}

/// Texts: from a list, from a list in JSON within a text, or from an array of PostgreSQL such as `{a,"b c"}`.
pub fn texts(node: &Node) -> Result<Vec<String>, Refusal> {
    match &node.data {
        Data::List(items) => {
            let item = |item: &Node| item.text().map(str::to_owned);
            let texts: Option<Vec<String>> = items.iter().map(item).collect();
            texts.ok_or_else(refusals::values::texts)
        }
        Data::Null => Ok(Vec::new()),
        Data::Text(text) => match text.as_str() {
            "" | "null" => Ok(Vec::new()),
            json if json.starts_with('[') => match tree::json(json) {
                Ok(list) => texts(&list),
                Err(_) => Err(refusals::values::texts()),
            },
            array => array_texts(array).ok_or_else(refusals::values::texts),
        },
        _ => Err(refusals::values::texts()),
    }
}

/// An array of PostgreSQL in its text form.
fn array_texts(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        let mut item = String::new();
        if let Some(body) = rest.strip_prefix('"') {
            let mut chars = body.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => item.push(chars.next()?.1),
                    (_, char) => item.push(char),
                }
            };
            rest = &body[end + 1..];
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            item.push_str(&rest[..end]);
            rest = &rest[end..];
            if item.is_empty() || item.contains(['{', '}', '"']) {
                return None;
            }
        }
        items.push(item);
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').filter(|rest| !rest.is_empty())?;
        }
    }
    Some(items)
}

/// An object, also in JSON within a text, and once more within that; `None` for null and for an empty text.
pub fn object(node: &Node) -> Result<Option<Node>, Refusal> {
    let mut node = node.clone();
    for _ in 0..3 {
        let inner = match &node.data {
            Data::Null => return Ok(None),
            Data::Object(_) => return Ok(Some(node)),
            Data::Text(text) if text.as_str().is_empty() => return Ok(None),
            Data::Text(text) => tree::json(text.as_str()),
            _ => return Err(refusals::values::object()),
        };
        let line = node.line;
        node = inner.map_err(|_| refusals::values::object())?.at(line);
    }
    Err(refusals::values::object())
}

/// Objects: from a list, or from a list in JSON within a text.
pub fn objects(node: &Node) -> Result<Vec<Node>, Refusal> {
    let list = match &node.data {
        Data::Null => return Ok(Vec::new()),
        Data::Text(text) if text.as_str().is_empty() => return Ok(Vec::new()),
        Data::Text(text) => {
            let list = tree::json(text.as_str()).map_err(|_| refusals::values::objects())?;
            list.at(node.line)
        }
        _ => node.clone(),
    };
    match list.data {
        Data::List(items) if items.iter().all(|it| matches!(it.data, Data::Object(_))) => Ok(items),
        Data::Null => Ok(Vec::new()),
        _ => Err(refusals::values::objects()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        tree::json(json).ok().unwrap()
    }

    #[test]
    fn times_are_read_as_databases_write_them() {
        for (json, expected) in [
            ("null", None),
            ("\"\"", None),
            ("0", None),
            ("-1", None),
            ("\"0001-01-01T00:00:00Z\"", None),
            ("1735689600500", Some("2025-01-01T00:00:00.5Z")),
            ("\"1735689600000\"", Some("2025-01-01T00:00:00Z")),
            ("\"2025-01-01T00:00:00.000Z\"", Some("2025-01-01T00:00:00Z")),
            ("\"2025-01-01 02:00:00+02\"", Some("2025-01-01T00:00:00Z")),
            (
                "\"2025-01-01 02:00:00.25+0200\"",
                Some("2025-01-01T00:00:00.25Z"),
            ),
            (
                "\"2025-01-01 00:00:00.123456\"",
                Some("2025-01-01T00:00:00.123Z"),
            ),
            (
                "\"2024-05-14T13:15:46.560506+03:00\"",
                Some("2024-05-14T10:15:46.56Z"),
            ),
        ] {
            let at = time(&node(json), Unit::Milliseconds).unwrap();
            assert_eq!(at.map(|at| at.to_string()).as_deref(), expected, "{json}");
        }
        let seconds = time(&node("1735689600"), Unit::Seconds).unwrap();
        assert_eq!(seconds, Some(Timestamp(1_735_689_600_000)));
        for bad in [
            "true",
            "\"soon\"",
            "1.5",
            "\"2025-01-01\"",
            "9e30",
            "[]",
            "\"2025\"",
            "253402300800000",
            "\"é\"",
        ] {
            assert!(time(&node(bad), Unit::Milliseconds).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_and_numbers_are_read_from_texts_too() {
        for (json, expected) in [
            ("true", Some(true)),
            ("\"t\"", Some(true)),
            ("1", Some(true)),
            ("\"FALSE\"", Some(false)),
            ("\"0\"", Some(false)),
            ("null", None),
        ] {
            assert_eq!(flag(&node(json)), Ok(expected), "{json}");
        }
        assert!(flag(&node("\"yes\"")).is_err());
        assert!(flag(&node("2")).is_err());
        for (json, expected) in [
            ("7", Some(7)),
            ("\"-1\"", Some(-1)),
            ("60.0", Some(60)),
            ("null", None),
        ] {
            assert_eq!(whole(&node(json)), Ok(expected), "{json}");
        }
        for bad in [
            "1.5",
            "1e3",
            "\"+1\"",
            "\"--1\"",
            "9007199254740993",
            "true",
            "\"x\"",
        ] {
            assert!(whole(&node(bad)).is_err(), "{bad}");
        }
        assert!(count(&node("-1")).is_err());
    }

    #[test]
    fn lists_and_objects_are_read_from_texts_too() {
        for (json, expected) in [
            (r#"["a","b"]"#, vec!["a", "b"]),
            (r#""[\"a\"]""#, vec!["a"]),
            (r#""{a,\"b,c\",d}""#, vec!["a", "b,c", "d"]),
            (r#""{}""#, vec![]),
            ("null", vec![]),
        ] {
            assert_eq!(texts(&node(json)).unwrap(), expected, "{json}");
        }
        for bad in [
            "1",
            "[1]",
            r#""a,b""#,
            r#""{a""#,
            r#""{a,}""#,
            r#""{\"a}""#,
            r#""[a]""#,
        ] {
            assert!(texts(&node(bad)).is_err(), "{bad}");
        }
        for json in [r#"{"a":1}"#, r#""{\"a\":1}""#, r#""\"{\\\"a\\\":1}\"""#] {
            let found = object(&node(json)).unwrap().unwrap();
            assert_eq!(found.to_json(), r#"{"a":1}"#, "{json}");
        }
        assert!(object(&node("[]")).is_err());
        assert!(object(&node("\"x\"")).is_err());
        assert_eq!(objects(&node(r#""[{\"a\":1}]""#)).ok().unwrap().len(), 1);
        assert!(objects(&node("[1]")).is_err());
    }
}
