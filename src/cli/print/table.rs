//! Aligned columns with headings.

use serde_json::Value;

/// A heading, and the member of a row that its cells contain; dots separate the parts of a nested path.
pub struct Column {
    pub heading: &'static str,
    pub member: &'static str,
}

/// Formats rows under their headings.
pub fn written(columns: &[Column], rows: &[Value]) -> String {
    let headings: Vec<String> = columns
        .iter()
        .map(|column| column.heading.to_owned())
        .collect();
    let cells = |row: &Value| -> Vec<String> {
        columns
            .iter()
            .map(|column| text_of(member(row, column.member)))
            .collect()
    };
    let lines: Vec<Vec<String>> = std::iter::once(headings)
        .chain(rows.iter().map(cells))
        .collect();
    aligned(&lines)
}

/// Formats lines of cells in aligned columns.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |position: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(position))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn member<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .fold(row, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// The text of a value: an empty value is `-`, and lists are joined with commas. Control characters are replaced.
pub fn text_of(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => with_milliseconds(text),
        Value::Array(items) if items.iter().any(Value::is_object) => items
            .iter()
            .map(compact_object)
            .collect::<Vec<_>>()
            .join(","),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(","),
        Value::Object(members) if members.is_empty() => String::new(),
        other => other.to_string(),
    };
    if text.is_empty() {
        return "-".to_owned();
    }
    harmless(&text)
}

/// A time with all three digits of its milliseconds, so that the times of a column have one width; any other text unchanged.
fn with_milliseconds(text: &str) -> String {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, wanted): (u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        wanted => byte == *wanted,
    };
    let is_time = text.len() > SHAPE.len() && text.bytes().zip(SHAPE).all(fits);
    let rest = match is_time {
        true => &text[SHAPE.len()..],
        false => return text.to_owned(),
    };
    let digits = rest
        .strip_suffix('Z')
        .map(|digits| digits.trim_start_matches('.'));
    match digits {
        Some(digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{}.{digits:0<3}Z", &text[..SHAPE.len()])
        }
        _ => text.to_owned(),
    }
}

/// The text without control characters, which could move the cursor.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// `role@workspace` if the object is a role, otherwise JSON.
fn compact_object(value: &Value) -> String {
    match (value.get("role"), value.get("workspace")) {
        (Some(Value::String(role)), Some(Value::String(workspace))) => {
            format!("{role}@{workspace}")
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_nothing_is_a_dash() {
        let columns = [
            Column {
                heading: "NAME",
                member: "name",
            },
            Column {
                heading: "LIMIT",
                member: "rate.limit",
            },
            Column {
                heading: "SCOPES",
                member: "scopes",
            },
        ];
        let rows = [
            json!({"name":"a longer one","rate":{"limit":5},"scopes":["a","b"]}),
            json!({"name":"\u{1b}[2Jx","rate":null,"scopes":[]}),
        ];
        assert_eq!(
            written(&columns, &rows),
            "NAME          LIMIT  SCOPES\na longer one  5      a,b\n\u{fffd}[2Jx         -      -"
        );
    }

    #[test]
    fn times_have_one_width() {
        for (text, shown) in [
            ("2026-11-28T17:12:40Z", "2026-11-28T17:12:40.000Z"),
            ("2026-11-28T17:12:40.17Z", "2026-11-28T17:12:40.170Z"),
            ("2026-11-28T17:12:40.928Z", "2026-11-28T17:12:40.928Z"),
            ("2026-11-28T17:12:40+01:00", "2026-11-28T17:12:40+01:00"),
            ("2026-11-28", "2026-11-28"),
            ("a key", "a key"),
        ] {
            assert_eq!(text_of(&json!(text)), shown);
        }
    }

    #[test]
    fn roles_are_written_as_they_are_given() {
        let roles = json!([{"workspace":"emea","role":"auditor"}]);
        assert_eq!(text_of(&roles), "auditor@emea");
    }
}
