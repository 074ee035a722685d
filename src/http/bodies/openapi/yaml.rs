//! Reads YAML as JSON values: what OpenAPI calls the JSON schema of YAML (OpenAPI 3.1.1, section 4.4).
//!
//! The values are built from the parser's events and not with its loader. So a short document whose aliases expand to
//! gigabytes is refused (the "billion laughs" attack), and so are keys that occur twice.

use crate::refusals::{self, Refusal};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use yaml_rust2::Yaml;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

/// The greatest number of values of one document. Values behind aliases count each time.
const VALUES_MAX: usize = 2_000_000;
/// The greatest number of bytes of texts and names in one document. Texts behind aliases count each time.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The greatest number of nested levels.
const DEPTH_MAX: usize = 200;

/// Reads a text of one document. What is in further ones would go unseen, so they are refused.
pub fn parse(text: &str) -> Result<Value, Refusal> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        spent: DocumentSize::default(),
    };
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(Value::Null),
            Event::StreamStart | Event::DocumentStart | Event::Nothing => {}
            event => {
                let value = reader.value(event, 0)?;
                return reader.end().map(|()| value);
            }
        }
    }
}

struct Reader<'t> {
    parser: Parser<std::str::Chars<'t>>,
    /// The values of anchors, and their sizes.
    anchors: HashMap<usize, (Value, DocumentSize)>,
    spent: DocumentSize,
}

/// The size of what was read from a document.
#[derive(Clone, Copy, Default)]
struct DocumentSize {
    values: usize,
    text_bytes: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Event, Refusal> {
        let (event, _) = self
            .parser
            .next_token()
            .map_err(|err| refusals::verbatim(err.to_string()))?;
        Ok(event)
    }

    /// Makes sure that nothing comes behind the first document.
    fn end(&mut self) -> Result<(), Refusal> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd | Event::Nothing => {}
                _ => {
                    return Err(refusals::openapi::several_documents());
                }
            }
        }
    }

    fn count(&mut self, values: usize, text_bytes: usize) -> Result<(), Refusal> {
        self.spent.values += values;
        self.spent.text_bytes += text_bytes;
        if self.spent.values > VALUES_MAX {
            return Err(refusals::openapi::values_at_most(VALUES_MAX));
        }
        if self.spent.text_bytes > TEXT_BYTES_MAX {
            return Err(refusals::openapi::text_at_most(TEXT_BYTES_MAX));
        }
        Ok(())
    }

    fn value(&mut self, event: Event, depth: usize) -> Result<Value, Refusal> {
        if depth > DEPTH_MAX {
            return Err(refusals::openapi::nested_too_deep(DEPTH_MAX));
        }
        let before = self.spent;
        self.count(1, 0)?;
        let (anchor, value) = match event {
            Event::Alias(id) => {
                let within = refusals::openapi::alias_in_itself;
                let spent = self.anchors.get(&id).ok_or_else(within)?.1;
                self.count(spent.values, spent.text_bytes)?;
                return Ok(self.anchors.get(&id).ok_or_else(within)?.0.clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(0, text.len())?;
                let plain = style == TScalarStyle::Plain && tag.is_none();
                (
                    anchor,
                    if plain {
                        plain_scalar(&text)
                    } else {
                        text.into()
                    },
                )
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            other => return Err(refusals::verbatim(format!("unexpected {other:?}"))),
        };
        if anchor > 0 {
            let spent = DocumentSize {
                values: self.spent.values - before.values,
                text_bytes: self.spent.text_bytes - before.text_bytes,
            };
            // The value of an anchor is kept a second time.
            self.count(spent.values, spent.text_bytes)?;
            self.anchors.insert(anchor, (value.clone(), spent));
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Refusal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Refusal> {
        let mut members = Map::new();
        loop {
            let name = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(name, ..) => {
                    // YAML 1.1 puts the members of another mapping in its place; YAML 1.2 knows no such key.
                    if name == "<<" {
                        return Err(refusals::openapi::merge_key());
                    }
                    self.count(0, name.len())?;
                    name
                }
                _ => return Err(refusals::openapi::key_not_text()),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            if members.insert(name.clone(), value).is_some() {
                return Err(refusals::openapi::key_twice(format_args!("{name:?}")));
            }
        }
    }
}

fn plain_scalar(text: &str) -> Value {
    match Yaml::from_str(text) {
        Yaml::Boolean(flag) => flag.into(),
        Yaml::Integer(number) => number.into(),
        Yaml::Null => Value::Null,
        Yaml::Real(_) => text
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(|| text.into(), Value::Number),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_becomes_json() {
        let text = "a: &x [1, 'two', no, ~, 1.5]\nb: *x\n200: {c: \"3\"}\nd: |\n  lines\n";
        let list = json!([1, "two", "no", null, 1.5]);
        assert_eq!(
            parse(text),
            Ok(json!({"a": list, "b": list, "200": {"c": "3"}, "d": "lines\n"}))
        );
        assert_eq!(parse(r#"{"json": [true]}"#), Ok(json!({"json": [true]})));
    }

    #[test]
    fn bombs_and_ambiguities_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let text = "x".repeat(1_000_000);
        let wide = format!("a: &a {text}\nb: [{}]\n", "*a,".repeat(1_000));
        let nested = format!(
            "a: {}{text}{}\n",
            "&a [&b [&c [&d [".repeat(16),
            "]".repeat(64)
        );
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for bad in [
            bomb.as_str(),
            wide.as_str(),
            nested.as_str(),
            deep.as_str(),
            "a: 1\na: 2\n",
            "a: &x [*x]\n",
            "a: *unknown\n",
            "[1, 2",
        ] {
            assert!(parse(bad).is_err(), "{bad:.40}");
        }
    }

    #[test]
    fn merge_keys_and_further_documents_are_refused() {
        for (bad, why) in [
            ("a: &x {b: 1}\nc: {<<: *x}\n", "merge key"),
            ("a: &x {b: 1}\nc:\n  d: 1\n  <<: [*x]\n", "merge key"),
            ("a: {\"<<\": {b: 1}}\n", "merge key"),
            ("a: {!!merge <<: {b: 1}}\n", "merge key"),
            ("a: 1\n---\nb: 2\n", "several documents"),
            ("--- \na: 1\n...\n---\nb: 2\n", "several documents"),
            ("{\"a\": 1}\n---\n{\"b\": 2}\n", "several documents"),
        ] {
            let found = parse(bad).unwrap_err();
            assert!(found.to_string().contains(why), "{bad}: {found}");
        }
        for good in ["a: 1\n", "---\na: 1\n...\n", "# x\n--- {a: 1}\n# y\n"] {
            assert_eq!(parse(good), Ok(json!({"a": 1})), "{good}");
        }
    }
}
