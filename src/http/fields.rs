//! JSON bodies, read member by member, so that every refusal names its member.
//!
//! Members that occur twice, unknown members and values of a wrong type are refused. `null` counts as absent, except in
//! the readers that distinguish the two.

use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::request::Request;
use crate::refusals::{self, Refusal};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A JSON value in which no member occurs twice.
pub fn value(text: &[u8]) -> Result<Value> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(value)) => Ok(value),
        Err(err) => Err(match err.to_string().strip_prefix(TWICE) {
            Some(rest) => {
                let name = rest.split('\n').next().unwrap_or_default();
                Error::invalid(name, refusals::values::twice())
            }
            None => Error::Malformed(refusals::requests::body_not_json(err)),
        }),
    }
}

/// The members of one JSON object. Reading a member removes it; the members that remain at the end are unknown.
#[derive(Debug)]
pub struct Fields {
    members: Map<String, Value>,
    /// The position of the object in the body, for errors: empty, or `rate_limit.`.
    path: String,
    /// Whether members are found in any case of their names.
    any_case: bool,
}

impl Fields {
    /// Reads the body of a request, which must be a JSON object with the content type of JSON.
    pub fn of(request: &Request) -> Result<Fields> {
        let content_type = request.header("content-type").ok().flatten().unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Error::UnsupportedMediaType("application/json"));
        }
        Fields::parse(&request.body)
    }

    /// As [`Fields::of`], with members whose names match in any case, for APIs whose clients rely on unknown members
    /// being ignored. The reader does not call [`finish`](Fields::finish), and a member in another case must not count
    /// as unknown.
    pub fn of_any_case(request: &Request) -> Result<Fields> {
        let mut fields = Fields::of(request)?;
        fields.any_case = true;
        Ok(fields)
    }

    /// Like [`Fields::of`], but an empty body counts as an empty object.
    pub fn of_optional(request: &Request) -> Result<Fields> {
        if request.body.is_empty() {
            return Ok(Fields::nested(Map::new(), String::new(), false));
        }
        Fields::of(request)
    }

    /// Parses text as a JSON object, without checking a content type.
    pub fn parse(body: &[u8]) -> Result<Fields> {
        match value(body)? {
            Value::Object(members) => Ok(Fields::of_members(members)),
            _ => Err(Error::Malformed(refusals::requests::body_not_object())),
        }
    }

    /// The members of an object that was read in another way.
    pub fn of_members(members: Map<String, Value>) -> Fields {
        Fields::nested(members, String::new(), false)
    }

    fn nested(members: Map<String, Value>, path: String, any_case: bool) -> Fields {
        Fields {
            members,
            path,
            any_case,
        }
    }

    fn remove(&mut self, member: &str) -> Result<Option<Value>> {
        if !self.any_case {
            return Ok(self.members.remove(member));
        }
        let names = self.members.keys();
        let alike: Vec<String> = names
            .filter(|name| name.eq_ignore_ascii_case(member))
            .cloned()
            .collect();
        match alike.as_slice() {
            [] => Ok(None),
            [name] => Ok(self.members.remove(name)),
            _ => Err(Error::invalid(self.name(member), refusals::values::twice())),
        }
    }

    /// What a member is called in errors.
    pub fn name(&self, member: &str) -> String {
        format!("{}{member}", self.path)
    }

    /// An error about a member that this reader cannot check; the caller has found its value invalid.
    pub fn refusal(&self, member: &str, reason: Refusal) -> Error {
        Error::invalid(self.name(member), reason)
    }

    /// Removes a member and returns it: `None` if it is absent, `Some(None)` if it is null.
    fn take<T>(
        &mut self,
        member: &str,
        refuse: fn() -> Refusal,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<Option<T>>> {
        match self.remove(member)? {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(Some(value))),
                None => Err(Error::invalid(self.name(member), refuse())),
            },
        }
    }

    pub fn text(&mut self, member: &str) -> Result<Option<String>> {
        Ok(self.text_or_null(member)?.flatten())
    }

    pub fn text_or_null(&mut self, member: &str) -> Result<Option<Option<String>>> {
        self.take(member, refusals::values::text, text)
    }

    pub fn required_text(&mut self, member: &str) -> Result<String> {
        self.text(member)?
            .ok_or_else(|| Error::invalid(self.name(member), refusals::values::needed()))
    }

    /// A string, or a number as it is written.
    pub fn text_or_number(&mut self, member: &str) -> Result<Option<String>> {
        let read = |value: Value| match value {
            Value::Number(number) => Some(number.to_string()),
            other => text(other),
        };
        Ok(self
            .take(member, refusals::values::text_or_number, read)?
            .flatten())
    }

    pub fn flag_or_null(&mut self, member: &str) -> Result<Option<Option<bool>>> {
        self.take(member, refusals::values::flag, |value| value.as_bool())
    }

    pub fn number(&mut self, member: &str) -> Result<Option<u64>> {
        Ok(self.number_or_null(member)?.flatten())
    }

    pub fn number_or_null(&mut self, member: &str) -> Result<Option<Option<u64>>> {
        // Whole numbers that every client can hold exactly (RFC 8259, section 6).
        let read = |value: Value| value.as_u64().filter(|number| *number <= 1 << 53);
        self.take(member, refusals::values::number, read)
    }

    pub fn time_or_null(&mut self, member: &str) -> Result<Option<Option<Timestamp>>> {
        let name = self.name(member);
        let taken = self.text_or_null(member)?;
        taken
            .map(|value| value.map(|text| Timestamp::parse(&name, &text)).transpose())
            .transpose()
    }

    pub fn texts_or_null(&mut self, member: &str) -> Result<Option<Option<Vec<String>>>> {
        let read = |value: Value| match value {
            Value::Array(items) => items.into_iter().map(text).collect(),
            _ => None,
        };
        self.take(member, refusals::values::texts, read)
    }

    /// Whole numbers. One that does not fit in 32 bits becomes the greatest, which no member accepts.
    pub fn numbers_or_null(&mut self, member: &str) -> Result<Option<Option<Vec<u32>>>> {
        let small = |value: Value| {
            let number = value.as_u64()?;
            Some(u32::try_from(number).unwrap_or(u32::MAX))
        };
        let read = |value: Value| match value {
            Value::Array(items) => items.into_iter().map(small).collect(),
            _ => None,
        };
        self.take(member, refusals::values::numbers, read)
    }

    pub fn object(&mut self, member: &str) -> Result<Option<Fields>> {
        Ok(self.object_or_null(member)?.flatten())
    }

    pub fn object_or_null(&mut self, member: &str) -> Result<Option<Option<Fields>>> {
        let path = format!("{}.", self.name(member));
        let taken = self.take(member, refusals::values::object, object)?;
        let any_case = self.any_case;
        Ok(taken.map(|value| value.map(|members| Fields::nested(members, path, any_case))))
    }

    pub fn objects(&mut self, member: &str) -> Result<Option<Vec<Fields>>> {
        let name = self.name(member);
        let read = |value: Value| match value {
            Value::Array(items) => items.into_iter().map(object).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let taken = self
            .take(member, refusals::values::objects, read)?
            .flatten();
        let any_case = self.any_case;
        let numbered =
            |(position, members)| Fields::nested(members, format!("{name}[{position}]."), any_case);
        Ok(taken.map(|items| items.into_iter().enumerate().map(numbered).collect()))
    }

    /// An object with any content, as compact JSON.
    pub fn free_object_or_null(&mut self, member: &str) -> Result<Option<Option<String>>> {
        let taken = self.take(member, refusals::values::object, object)?;
        Ok(taken.map(|value| value.map(|members| Value::Object(members).to_string())))
    }

    /// Refuses the members that were not read.
    pub fn finish(self) -> Result<()> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(stranger) => {
                let shown = refusals::quoted(stranger, 100);
                Err(Error::invalid(
                    self.name(&shown),
                    refusals::values::unknown_member(),
                ))
            }
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// A JSON value in which no object has two members of the same name.
struct Strict(Value);

/// The start of the error for a repeated member; the name of the member follows, up to the end of the line.
const TWICE: &str = "repeated member ";

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "{TWICE}{}\n",
                    refusals::quoted(&name, 100)
                )));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, read: impl FnOnce(&mut Fields) -> Result<()>, field: &str) {
        let result = Fields::parse(body.as_bytes()).and_then(|mut fields| {
            read(&mut fields)?;
            fields.finish()
        });
        match result {
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }

    // attacks 124, 125
    #[test]
    fn members_count_in_any_case_where_that_is_asked_for_and_once() {
        let read = |text: &str| {
            let mut fields = Fields::parse(text.as_bytes()).unwrap();
            fields.any_case = true;
            fields
        };
        let mut fields = read(r#"{"STATUS": "off", "Inner": {"USERname": "u"}, "stranger": 1}"#);
        assert_eq!(fields.text("status").unwrap().as_deref(), Some("off"));
        let mut inner = fields.object("inner").unwrap().unwrap();
        assert_eq!(inner.text("userName").unwrap().as_deref(), Some("u"));
        assert!(
            read(r#"{"status": "on", "Status": "off"}"#)
                .text("status")
                .is_err()
        );
        let mut exact = Fields::parse(br#"{"STATUS": "off"}"#).unwrap();
        assert_eq!(exact.text("status").unwrap(), None);
    }

    #[test]
    fn a_refusal_names_its_member() {
        refused(r#"{"name":1}"#, |f| f.text("name").map(drop), "name");
        refused(r#"{"name":["a"]}"#, |f| f.text("name").map(drop), "name");
        refused(r#"{"on":"true"}"#, |f| f.flag_or_null("on").map(drop), "on");
        refused(r#"{"n":"1"}"#, |f| f.number("n").map(drop), "n");
        refused(r#"{"n":-1}"#, |f| f.number("n").map(drop), "n");
        refused(r#"{"n":1.5}"#, |f| f.number("n").map(drop), "n");
        refused(
            r#"{"n":9007199254740993}"#,
            |f| f.number("n").map(drop),
            "n",
        );
        refused(
            r#"{"list":[1]}"#,
            |f| f.texts_or_null("list").map(drop),
            "list",
        );
        refused(
            r#"{"at":"tomorrow"}"#,
            |f| f.time_or_null("at").map(drop),
            "at",
        );
        refused(r#"{"id":1}"#, |_| Ok(()), "id");
        refused(r#"{"a":1,"a":1}"#, |_| Ok(()), "a");
        refused(r#"{"deep":{"b":1,"b":2}}"#, |_| Ok(()), "b");
        refused(
            r#"{"rate":{"limit":"x"}}"#,
            |f| f.object("rate")?.unwrap().number("limit").map(drop),
            "rate.limit",
        );
        refused(
            r#"{"ops":[{},{"x":1}]}"#,
            |f| {
                f.objects("ops")?
                    .unwrap()
                    .into_iter()
                    .try_for_each(Fields::finish)
            },
            "ops[1].x",
        );
        refused(r"{}", |f| f.required_text("name").map(drop), "name");
    }

    // attacks 68
    #[test]
    fn what_is_no_json_object_is_malformed() {
        let deep = "[".repeat(10_000);
        for body in [
            "",
            "null",
            "[]",
            "1",
            "{",
            "{}x",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            assert!(
                matches!(Fields::parse(body.as_bytes()), Err(Error::Malformed(_))),
                "{body:.20}"
            );
        }
        assert!(matches!(
            Fields::parse(b"{\"a\":\"\xff\"}"),
            Err(Error::Malformed(_))
        ));
    }
}
