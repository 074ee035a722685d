//! The members of a key's metadata by which lists can be filtered: strings, numbers and booleans on the first level.
//!
//! This module reads the compact JSON that is stored, which was checked when the request came. If a text is no such
//! JSON, the members end at the first error.

/// Names and values, in their order. A number is the stored text, and a boolean is `true` or `false`; objects, lists
/// and null are left out.
pub fn members(json: &str) -> Vec<(String, String)> {
    let mut reader = Reader { rest: json };
    let mut members = Vec::new();
    if reader.skip('{').is_none() {
        return members;
    }
    while let Some(name) = reader.string() {
        let Some(value) = reader.skip(':').and_then(|()| reader.value()) else {
            break;
        };
        members.extend(value.map(|value| (name, value)));
        if reader.skip(',').is_none() {
            break;
        }
    }
    members
}

/// The greatest number of characters of a name by which lists are filtered.
const NAME_CHARS_MAX: usize = 100;

/// Whether lists can be filtered by a member of this name: letters and digits of ASCII, `_`, `-` and `.`. No name is a
/// path or an expression.
pub fn is_listed(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

struct Reader<'j> {
    rest: &'j str,
}

impl Reader<'_> {
    fn skip(&mut self, char: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(char)?;
        Some(())
    }

    /// The text of a string.
    fn string(&mut self) -> Option<String> {
        self.skip('"')?;
        let mut text = String::new();
        let mut high = None;
        loop {
            let char = self.next()?;
            let unit = match char {
                '"' => return high.is_none().then_some(text),
                '\\' => match self.next()? {
                    'b' => '\u{8}'.into(),
                    'f' => '\u{c}'.into(),
                    'n' => '\n'.into(),
                    'r' => '\r'.into(),
                    't' => '\t'.into(),
                    'u' => self.unit()?,
                    other => other.into(),
                },
                other => other.into(),
            };
            match (high.take(), unit) {
                (None, 0xd800..0xdc00) => high = Some(unit),
                (Some(high), 0xdc00..0xe000) => {
                    let code = 0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00);
                    text.push(char::from_u32(code)?);
                }
                (None, _) => text.push(char::from_u32(unit)?),
                (Some(_), _) => return None,
            }
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    /// The text of a value; `Some(None)` for a value that has none.
    fn value(&mut self) -> Option<Option<String>> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') {
            return self.string().map(Some);
        }
        if self.rest.starts_with(['{', '[']) {
            return self.pass_nested().map(|()| None);
        }
        let end = self.rest.find([',', '}'])?;
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let word = word.trim_end();
        Some((word != "null").then(|| word.to_owned()))
    }

    /// Skips an object or a list.
    fn pass_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with('"') {
                self.string()?;
                continue;
            }
            match self.next()? {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &[(&str, &str)]) {
        let found = members(json);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn strings_numbers_and_booleans_of_the_first_level_are_members() {
        check("{}", &[]);
        check(
            r#"{"a":"7","b":7,"c":true,"d":null,"e":1.5e3,"f":"}"}"#,
            &[
                ("a", "7"),
                ("b", "7"),
                ("c", "true"),
                ("e", "1.5e3"),
                ("f", "}"),
            ],
        );
        check(
            r#"{"a":{"b":"x","c":["}",{"d":"\"]"}]},"e":[1,[2]],"f":"g"}"#,
            &[("f", "g")],
        );
        check(r#"{"":"","a.b":"c=d&e"}"#, &[("", ""), ("a.b", "c=d&e")]);
        check(r#" { "a" : 1 , "b" : "x" } "#, &[("a", "1"), ("b", "x")]);
    }

    #[test]
    fn lists_are_filtered_by_plain_names() {
        for good in ["customer", "a.b-c_D9", "0", &"x".repeat(100)] {
            assert!(is_listed(good), "{good}");
        }
        for bad in ["", " ", "$..x", "a b", "ü", "a'", "%", &"x".repeat(101)] {
            assert!(!is_listed(bad), "{bad}");
        }
    }

    #[test]
    fn escapes_are_read() {
        check(
            r#"{"\u00fc\n":"\"\\\/\ud83d\ude80é"}"#,
            &[("ü\n", "\"\\/🚀é")],
        );
    }

    #[test]
    fn what_is_no_json_has_no_members() {
        for bad in [
            "",
            "[]",
            "{",
            "{\"a",
            "{\"a\":",
            "{\"a\":{",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":]]]",
            "{\"a\":\"\\u00\"}",
        ] {
            check(bad, &[]);
        }
    }
}
