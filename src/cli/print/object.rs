//! One JSON object, with its members in the order of the server.

use super::table::{aligned, text_of};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A JSON object that preserves the order of its members.
#[derive(Debug)]
pub struct Object(Vec<(String, Value)>);

impl Object {
    /// The value of a member; null if the member is absent.
    pub fn member(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(&Value::Null, |(_, value)| value)
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Puts another value in the place of that of a member, if it is there.
    pub fn set(&mut self, name: &str, value: Value) {
        let found = self.0.iter_mut().find(|(known, _)| known == name);
        if let Some((_, known)) = found {
            *known = value;
        }
    }

    /// Writes each object of a member that is a list as the values of these members, one list in the place of the objects.
    pub fn join(&mut self, name: &str, members: &[&str]) {
        let Value::Array(items) = self.member(name) else {
            return;
        };
        let text = |item: &Value| {
            let values = members.iter().map(|member| text_of(&item[*member]));
            Value::String(values.collect::<Vec<_>>().join(" "))
        };
        let joined = items.iter().map(text).collect();
        self.set(name, joined);
    }

    /// Puts the members of a member that is an object in its place, with its name before theirs.
    pub fn unfold(&mut self, name: &str) {
        let Some(position) = self.0.iter().position(|(known, _)| known == name) else {
            return;
        };
        let Value::Object(inner) = &self.0[position].1 else {
            return;
        };
        let named = inner
            .iter()
            .map(|(member, value)| (format!("{name}_{member}"), value.clone()));
        let named: Vec<(String, Value)> = named.collect();
        self.0.splice(position..=position, named);
    }

    /// The members, one on each line.
    pub fn written(&self) -> String {
        let line = |(name, value): &(String, Value)| vec![name.replace('_', " "), text_of(value)];
        aligned(&self.0.iter().map(line).collect::<Vec<_>>())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Object(members))
    }
}
