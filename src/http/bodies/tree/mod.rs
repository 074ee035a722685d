//! Documents in JSON, YAML and CSV as trees in which every value knows its line.
//!
//! All texts of a tree may be secrets: no node can be printed, and the memory of its texts is overwritten at the end.

mod csv;
mod json;
pub mod yaml;

use crate::domain::keys::plain::Plain;
use crate::refusals::{self, Refusal};
use serde_json::{Map, Number};

/// A value, and the line of the document at which it begins; the first line is 1.
#[derive(Clone)]
pub struct Node {
    pub line: usize,
    pub data: Data,
}

/// What a value is.
#[derive(Clone)]
pub enum Data {
    Flag(bool),
    List(Vec<Node>),
    Null,
    /// As it is written.
    Number(String),
    /// The members in their order; no name occurs twice.
    Object(Vec<(String, Node)>),
    Text(Plain),
}

/// What is wrong with a document, and the line.
#[derive(Debug, Eq, PartialEq)]
pub struct Fault {
    pub line: usize,
    pub why: Refusal,
}

/// Reads one JSON document.
pub fn json(text: &str) -> Result<Node, Fault> {
    let mut documents = json::documents(text)?;
    match (documents.pop(), documents.pop()) {
        (Some(document), None) => Ok(document),
        (Some(second), Some(_)) => Err(fault(second.line, refusals::imports::several_documents())),
        (None, _) => Err(fault(1, refusals::imports::empty())),
    }
}

/// Reads JSON documents that follow one another, such as one object on each line, or the pages of a list.
pub fn json_documents(text: &str) -> Result<Vec<Node>, Fault> {
    json::documents(text)
}

/// Reads the rows of a table as objects: from JSON (a list of objects, or one object after another) or from CSV with a
/// line of column names.
pub fn rows(text: &str) -> Result<Vec<Node>, Fault> {
    if !text.trim_start().starts_with(['[', '{']) {
        return csv::rows(text);
    }
    let mut documents = json::documents(text)?;
    if let [
        Node {
            data: Data::List(items),
            ..
        },
    ] = documents.as_mut_slice()
    {
        return Ok(std::mem::take(items));
    }
    Ok(documents)
}

/// Reads CSV (RFC 4180) with a line of column names.
pub fn csv(text: &str) -> Result<Vec<Node>, Fault> {
    csv::rows(text)
}

fn fault(line: usize, why: Refusal) -> Fault {
    Fault { line, why }
}

impl Node {
    /// The member of an object; `None` if there is none, or if this is no object.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Data::Object(members) = &self.data else {
            return None;
        };
        let found = members.iter().find(|(member, _)| member == name);
        found.map(|(_, node)| node)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Whether the value is blank: null, false, 0, or an empty text, list or object.
    pub fn is_blank(&self) -> bool {
        match &self.data {
            Data::Flag(flag) => !flag,
            Data::List(items) => items.is_empty(),
            Data::Null => true,
            Data::Number(literal) => literal.parse() == Ok(0.0),
            Data::Object(members) => members.is_empty(),
            Data::Text(text) => matches!(
                text.as_str(),
                "" | "{}" | "[]" | "null" | "0" | "f" | "false" | "0.0"
            ),
        }
    }

    /// The same value with this line everywhere, for a document that stands within a text of another one.
    pub fn at(mut self, line: usize) -> Node {
        self.move_to(line);
        self
    }

    fn move_to(&mut self, line: usize) {
        self.line = line;
        match &mut self.data {
            Data::List(items) => items.iter_mut().for_each(|item| item.move_to(line)),
            Data::Object(members) => members.iter_mut().for_each(|(_, node)| node.move_to(line)),
            _ => {}
        }
    }

    /// The value as compact JSON, with numbers as they are written.
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match &self.data {
            Data::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Data::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    text.push(if place == 0 { '[' } else { ',' });
                    item.write(text);
                }
                text.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Data::Null => text.push_str("null"),
            Data::Number(literal) => text.push_str(literal),
            Data::Object(members) => {
                for (place, (name, node)) in members.iter().enumerate() {
                    text.push(if place == 0 { '{' } else { ',' });
                    text.push_str(&quoted(name));
                    text.push(':');
                    node.write(text);
                }
                text.push_str(if members.is_empty() { "{}" } else { "}" });
            }
            Data::Text(plain) => text.push_str(&quoted(plain.as_str())),
        }
    }
}

/// A text as JSON writes it.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Loses the lines, and the digits of numbers that no double holds.
impl From<Node> for serde_json::Value {
    fn from(node: Node) -> serde_json::Value {
        match node.data {
            Data::Flag(flag) => flag.into(),
            Data::List(items) => items.into_iter().map(serde_json::Value::from).collect(),
            Data::Null => serde_json::Value::Null,
            Data::Number(literal) => match literal.parse::<i64>() {
                Ok(whole) => whole.into(),
                Err(_) => literal
                    .parse()
                    .ok()
                    .and_then(Number::from_f64)
                    .map_or_else(|| literal.into(), serde_json::Value::Number),
            },
            Data::Object(members) => {
                let member = |(name, node): (String, Node)| (name, node.into());
                members
                    .into_iter()
                    .map(member)
                    .collect::<Map<_, _>>()
                    .into()
            }
            Data::Text(text) => text.into_string().into(),
        }
    }
}

/// Finds a name that an object has twice.
#[derive(Default)]
struct Names(std::collections::HashSet<String>);

impl Names {
    /// Objects with fewer members are searched, which takes less time than a set.
    const FEW: usize = 40;

    /// Whether the name is another one than those of the members so far.
    fn add(&mut self, name: &str, members: &[(String, Node)]) -> bool {
        if members.len() < Names::FEW {
            return !members.iter().any(|(known, _)| known == name);
        }
        if self.0.is_empty() {
            self.0
                .extend(members.iter().map(|(known, _)| known.clone()));
        }
        self.0.insert(name.to_owned())
    }
}
