//! Reads JSON (RFC 8259) as trees, in one pass.

use super::{Data, Fault, Names, Node, fault};
use crate::domain::keys::plain::Plain;
use crate::refusals::{self, Refusal};

/// The greatest number of nested levels.
const DEPTH_MAX: usize = 100;

/// Reads documents that follow one another.
pub fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
    };
    let mut documents = Vec::new();
    while reader.peek().is_some() {
        documents.push(reader.value(0)?);
    }
    Ok(documents)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Reader<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                byte => return Some(*byte),
            }
            self.at += 1;
        }
    }

    fn fault(&self, why: Refusal) -> Fault {
        fault(self.line, why)
    }

    fn expected(&self, what: Refusal) -> Fault {
        self.fault(refusals::imports::json_expected(what))
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(refusals::openapi::nested_too_deep(DEPTH_MAX)));
        }
        let first = self.peek();
        let line = self.line;
        let data = match first {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Data::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Data::Flag(true))?,
            Some(b'f') => self.word("false", Data::Flag(false))?,
            Some(b'n') => self.word("null", Data::Null)?,
            _ => return Err(self.expected(refusals::imports::json_value())),
        };
        Ok(Node { line, data })
    }

    fn object(&mut self, depth: usize) -> Result<Data, Fault> {
        self.at += 1;
        let (mut members, mut names) = (Vec::new(), Names::default());
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Data::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected(refusals::imports::json_name()));
            }
            let name = self.string()?.into_string();
            if !names.add(&name, &members) {
                let twice = refusals::openapi::member_twice(format_args!("{name:?}"));
                return Err(self.fault(twice));
            }
            if self.peek() != Some(b':') {
                return Err(self.expected(refusals::imports::json_colon()));
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Data::Object(members));
                }
                _ => return Err(self.expected(refusals::imports::json_comma_or("}"))),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Data, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Data::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Data::List(items));
                }
                _ => return Err(self.expected(refusals::imports::json_comma_or("]"))),
            }
        }
    }

    /// The text of a string; the reader is at its first quotation mark.
    fn string(&mut self) -> Result<Plain, Fault> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut has_escapes = false;
        self.at += 1;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 2;
                }
                Some(0..0x20) => return Err(self.fault(refusals::imports::json_control())),
                Some(_) => self.at += 1,
                None => return Err(self.fault(refusals::imports::json_open())),
            }
        }
        self.at += 1;
        if !has_escapes {
            return Ok(Plain::new(&self.text[start + 1..self.at - 1]));
        }
        let read = serde_json::from_str::<String>(&self.text[start..self.at]);
        let escape = |_| self.fault(refusals::imports::json_escape());
        read.map(Plain::new).map_err(escape)
    }

    fn number(&mut self) -> Result<Data, Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.at + rest.iter().take_while(is_part).count();
        let literal = &self.text[self.at..end];
        if serde_json::from_str::<serde_json::Number>(literal).is_err() {
            return Err(self.expected(refusals::imports::json_number()));
        }
        self.at = end;
        Ok(Data::Number(literal.to_owned()))
    }

    fn word(&mut self, word: &str, data: Data) -> Result<Data, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected(refusals::imports::json_value()));
        }
        self.at += word.len();
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fault_of(text: &str) -> (usize, String) {
        let Err(fault) = documents(text) else {
            panic!("{text:?} is read");
        };
        (fault.line, fault.why.to_string())
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "[\n {\"a\": \"x\\u00e9\",\n  \"b\": [1.50, -2e3, null]},\n\n true\n]";
        let document = documents(text).ok().unwrap().pop().unwrap();
        assert_eq!(
            document.to_json(),
            r#"[{"a":"xé","b":[1.50,-2e3,null]},true]"#
        );
        let items = document.items().unwrap();
        assert_eq!((document.line, items[0].line, items[1].line), (1, 2, 5));
        assert_eq!(items[0].get("b").unwrap().line, 3);
        assert_eq!(documents("{}\n[]\n {\"a\":{}} \n").ok().unwrap().len(), 3);
        assert_eq!(documents(" \n ").ok().unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        for (text, line, why) in [
            ("{", 1, "the name of a member"),
            ("{\n\"a\"\n1}", 3, "a colon"),
            ("{\"a\":1\n\"b\":2}", 2, "a comma or }"),
            ("[1,\n]", 2, "a value"),
            ("[1\n\n2]", 3, "a comma or ]"),
            ("\n\"a", 2, "ends within a string"),
            ("\"a\nb\"", 1, "control character"),
            ("\"\\x\"", 1, "escape"),
            ("\"\\", 1, "ends within a string"),
            ("[01]", 1, "a number"),
            ("[1e]", 1, "a number"),
            ("[1e999]", 1, "a number"),
            ("nul", 1, "a value"),
            ("{'a':1}", 1, "the name of a member"),
            ("{\"a\":1,\n\"a\":2}", 2, "there twice"),
            ("]", 1, "a value"),
            ("é", 1, "a value"),
        ] {
            let (found, sentence) = fault_of(text);
            assert_eq!(found, line, "{text:?}: {sentence}");
            assert!(sentence.contains(why), "{text:?}: {sentence}");
        }
        assert!(fault_of(&"[".repeat(5_000)).1.contains("nested"));
        let members: Vec<String> = (0..200).map(|name| format!("\"{name}\":0")).collect();
        let (many, twice) = (members.join(","), members[150].clone());
        assert!(documents(&format!("{{{many}}}")).is_ok());
        assert!(
            fault_of(&format!("{{{many},{twice}}}"))
                .1
                .contains("there twice")
        );
    }
}
