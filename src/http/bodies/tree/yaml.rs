//! Reads YAML as trees: what OpenAPI calls the JSON schema of YAML (OpenAPI 3.1.1, section 4.4).
//!
//! The values are built from the parser's events and not with its loader. So a short document whose aliases expand to
//! gigabytes is refused (the "billion laughs" attack), and so are keys that occur twice.

use super::{Data, Fault, Names, Node, fault};
use crate::domain::keys::plain::Plain;
use crate::refusals::{self, Refusal};
use std::collections::HashMap;
use yaml_rust2::Yaml;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

/// The greatest number of bytes of texts and names in one document. Texts behind aliases count each time.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The greatest number of nested levels.
const DEPTH_MAX: usize = 200;

/// Reads a text of one document with at most so many values; values behind aliases count each time. What is in further
/// documents would go unseen, so they are refused.
pub fn parse(text: &str, values_max: usize) -> Result<Node, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        line: 1,
        anchors: HashMap::new(),
        spent: DocumentSize::default(),
        values_max,
    };
    loop {
        match reader.next()? {
            Event::StreamEnd => {
                return Ok(Node {
                    line: 1,
                    data: Data::Null,
                });
            }
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
    /// The line of the event that was read last.
    line: usize,
    /// The values of anchors, and their sizes.
    anchors: HashMap<usize, (Node, DocumentSize)>,
    spent: DocumentSize,
    values_max: usize,
}

/// The size of what was read from a document.
#[derive(Clone, Copy, Default)]
struct DocumentSize {
    values: usize,
    text_bytes: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Event, Fault> {
        match self.parser.next_token() {
            Ok((event, at)) => {
                self.line = at.line();
                Ok(event)
            }
            Err(err) => Err(fault(
                err.marker().line(),
                refusals::verbatim(err.to_string()),
            )),
        }
    }

    fn fault(&self, why: Refusal) -> Fault {
        fault(self.line, why)
    }

    /// Makes sure that nothing comes behind the first document.
    fn end(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd | Event::Nothing => {}
                _ => return Err(self.fault(refusals::openapi::several_documents())),
            }
        }
    }

    fn count(&mut self, values: usize, text_bytes: usize) -> Result<(), Fault> {
        self.spent.values += values;
        self.spent.text_bytes += text_bytes;
        if self.spent.values > self.values_max {
            return Err(self.fault(refusals::openapi::values_at_most(self.values_max)));
        }
        if self.spent.text_bytes > TEXT_BYTES_MAX {
            return Err(self.fault(refusals::openapi::text_at_most(TEXT_BYTES_MAX)));
        }
        Ok(())
    }

    fn value(&mut self, event: Event, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(refusals::openapi::nested_too_deep(DEPTH_MAX)));
        }
        let (before, line) = (self.spent, self.line);
        self.count(1, 0)?;
        let (anchor, data) = match event {
            Event::Alias(id) => {
                let Some((value, spent)) = self.anchors.get(&id).cloned() else {
                    return Err(self.fault(refusals::openapi::alias_in_itself()));
                };
                self.count(spent.values, spent.text_bytes)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(0, text.len())?;
                let plain = style == TScalarStyle::Plain && tag.is_none();
                let text = Plain::new(text);
                (
                    anchor,
                    if plain {
                        plain_scalar(text)
                    } else {
                        Data::Text(text)
                    },
                )
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            other => {
                return Err(self.fault(refusals::verbatim(format!("unexpected {other:?}"))));
            }
        };
        let value = Node { line, data };
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

    fn sequence(&mut self, depth: usize) -> Result<Data, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Data::List(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Data, Fault> {
        let (mut members, mut names) = (Vec::new(), Names::default());
        loop {
            let name = match self.next()? {
                Event::MappingEnd => return Ok(Data::Object(members)),
                Event::Scalar(name, ..) => {
                    // YAML 1.1 puts the members of another mapping in its place; YAML 1.2 knows no such key.
                    if name == "<<" {
                        return Err(self.fault(refusals::openapi::merge_key()));
                    }
                    self.count(0, name.len())?;
                    name
                }
                _ => return Err(self.fault(refusals::openapi::key_not_text())),
            };
            if !names.add(&name, &members) {
                let twice = refusals::openapi::key_twice(format_args!("{name:?}"));
                return Err(self.fault(twice));
            }
            let event = self.next()?;
            members.push((name, self.value(event, depth + 1)?));
        }
    }
}

fn plain_scalar(text: Plain) -> Data {
    match Yaml::from_str(text.as_str()) {
        Yaml::Boolean(flag) => Data::Flag(flag),
        Yaml::Integer(number) => Data::Number(number.to_string()),
        Yaml::Null => Data::Null,
        Yaml::Real(_) => {
            let number = text.as_str().parse().ok();
            let finite = number.and_then(serde_json::Number::from_f64);
            finite.map_or(Data::Text(text), |number| Data::Number(number.to_string()))
        }
        _ => Data::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(text: &str) -> Result<Value, Refusal> {
        match super::parse(text, 2_000_000) {
            Ok(node) => Ok(node.into()),
            Err(fault) => Err(fault.why),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "# x\na:\n- b: 1\n  c: 'd'\n-\n  - e\n";
        let document = super::parse(text, 100).ok().unwrap();
        let items = document.get("a").unwrap().items().unwrap();
        assert_eq!((items[0].line, items[1].line), (3, 6));
        assert_eq!(items[0].get("c").unwrap().line, 4);
        assert_eq!(super::parse("a: 1\nb: [\n", 9).err().unwrap().line, 3);
        assert_eq!(super::parse("a: 1\n\na: 2\n", 9).err().unwrap().line, 3);
        assert!(super::parse("[1, 2, 3]", 3).is_err());
    }

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
