//! Reading the changes of an audit event: exactly the compact JSON that `domain::audit` writes.

/// The members in their order, each with its new value; `None` if the text does not have this form.
pub fn parse(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let members = parse_both(text)?.into_iter();
    Some(members.map(|(name, _, new)| (name, new)).collect())
}

/// The members in their order, each with its value before the change; `None` if the text does not have this form.
pub fn parse_before(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let members = parse_both(text)?.into_iter();
    Some(members.map(|(name, old, _)| (name, old)).collect())
}

/// The value of a member before the change.
pub fn before(text: &str, member: &str) -> Option<String> {
    let mut members = parse_both(text)?.into_iter();
    members.find(|(name, _, _)| name == member)?.1
}

/// The value of a member after the change.
pub fn after(text: &str, member: &str) -> Option<String> {
    let mut members = parse_both(text)?.into_iter();
    members.find(|(name, _, _)| name == member)?.2
}

/// A member, and its values before and after the change.
type Change = (String, Option<String>, Option<String>);

fn parse_both(text: &str) -> Option<Vec<Change>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = text.strip_prefix('{')?;
    let mut members = Vec::new();
    loop {
        let (name, after) = value(rest)?;
        let (old, after) = value(after.strip_prefix(":[")?)?;
        let (new, after) = value(after.strip_prefix(',')?)?;
        members.push((name?, old, new));
        rest = after.strip_prefix(']')?;
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (rest == "}").then_some(members),
        }
    }
}

/// Reads a JSON string or null, and returns the rest of the text.
fn value(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix("null") {
        return Some((None, rest));
    }
    let inside = text.strip_prefix('"')?;
    let mut read = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Some(read), &inside[at + 1..])),
            '\\' => match chars.next()?.1 {
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    read.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                plain => read.push(plain),
            },
            c => read.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Changes;

    fn changes_of(member: &'static str, old: &str, new: &str) -> String {
        let mut changes = Changes::default();
        changes.note(member, &old, &new);
        changes.into_json()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut changes = Changes::default();
        changes.note("name", &"a\"],\"x\":[", &"c\n\\\u{1}é");
        changes.note_option("expires_at", &Some(5), &None);
        let expected = [
            ("name".to_owned(), Some("c\n\\\u{1}é".to_owned())),
            ("expires_at".to_owned(), None),
        ];
        assert_eq!(parse(&changes.into_json()).unwrap(), expected);
        assert_eq!(parse("").unwrap(), []);
        let text = changes_of("slug", "emea", "europe");
        assert_eq!(before(&text, "slug").as_deref(), Some("emea"));
        assert_eq!(before(&text, "name"), None);
        for bad in [
            "{",
            "{}",
            "[]",
            r#"{"a":["b"]}"#,
            r#"{"a":["b","c"]"#,
            r#"{"a":["b","c"]}x"#,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
