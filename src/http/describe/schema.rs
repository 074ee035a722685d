//! JSON Schema (2020-12) and examples of the members of bodies, from their Rust types.

use crate::domain::policies::{Words, word, words};
use crate::domain::time::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The time in all examples.
pub const TIME: &str = "2026-11-21T10:00:00Z";

/// A type with a form in JSON.
pub trait Schema {
    /// Its JSON Schema, or a reference to a component that this call has added.
    fn schema(components: &mut Components) -> Value;

    fn example() -> Value;

    /// The members of a body; none for other types.
    fn members() -> Vec<Member> {
        Vec::new()
    }
}

/// The schemas of a document that have names.
#[derive(Default)]
pub struct Components(Map<String, Value>);

/// One line of the table of a body (`answer!`, `request!`).
pub struct Member {
    pub name: &'static str,
    /// The lines of its description.
    pub about: Vec<&'static str>,
    pub schema: fn(&mut Components) -> Value,
    /// Further keywords of its schema.
    pub bounds: Vec<(&'static str, Value)>,
    pub presence: Presence,
    /// The example in the table; without one, the example of the type.
    pub example: Option<Value>,
    pub type_example: fn() -> Value,
    /// The members of its type, which take its place if it is [`Presence::Flat`].
    pub members: fn() -> Vec<Member>,
}

/// Whether a body has a member.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Presence {
    /// Its own members stand in its place.
    Flat,
    /// An answer may lack it, but it is never null.
    Maybe,
    /// A request may lack it.
    Optional,
    Required,
}

/// A part of a body whose members are members of the body itself.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Flat<T>(pub T);

/// A time in an answer.
#[derive(Clone, Copy)]
pub struct Time(pub Timestamp);

/// A value of an enum that has words.
#[derive(Clone, Copy)]
pub struct Word<T>(pub T);

/// A JSON object with any members, as compact text.
pub struct FreeObject(pub String);

impl Components {
    /// A reference to the component of this name, which is built at its first use.
    pub fn named(&mut self, name: &str, build: impl FnOnce(&mut Components) -> Value) -> Value {
        if !self.0.contains_key(name) {
            let built = build(self);
            self.0.insert(name.to_owned(), built);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// The schema of an object that has these members and no others.
pub fn object(components: &mut Components, about: &[&str], members: Vec<Member>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in flattened(members) {
        let mut schema = (member.schema)(components);
        if member.presence == Presence::Maybe {
            schema = without_null(schema);
        }
        for (keyword, value) in member.bounds {
            bound(&mut schema, keyword, value);
        }
        describe(&mut schema, &member.about);
        if member.presence == Presence::Required {
            required.push(member.name);
        }
        properties.insert(member.name.to_owned(), schema);
    }
    let mut whole =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        whole["required"] = json!(required);
    }
    describe(&mut whole, about);
    whole
}

/// An object in which each required member has its example, and so has each other member whose table gives one.
pub fn example(members: Vec<Member>) -> Value {
    let shown = flattened(members).into_iter().filter_map(|member| {
        let by_type = || (member.type_example)();
        let required = member.presence == Presence::Required;
        let example = member.example.or_else(|| required.then(by_type))?;
        Some((member.name.to_owned(), example))
    });
    Value::Object(shown.collect())
}

/// Members without a description take it, and the bounds, from the member of the same name in another table.
pub fn like(mut members: Vec<Member>, others: Vec<Member>) -> Vec<Member> {
    for other in flattened(others) {
        let same = members.iter_mut().find(|member| member.name == other.name);
        if let Some(member) = same.filter(|member| member.about.is_empty()) {
            member.about = other.about;
            member.bounds = other.bounds;
        }
    }
    members
}

fn flattened(members: Vec<Member>) -> Vec<Member> {
    let parts = members.into_iter().map(|member| match member.presence {
        Presence::Flat => flattened((member.members)()),
        _ => vec![member],
    });
    parts.flatten().collect()
}

/// The choice between two bodies of an answer.
pub fn either(one: Value, other: Value) -> Value {
    json!({ "oneOf": [one, other] })
}

/// Adds a keyword. What is said of the entries of a list is added to what their type says.
fn bound(schema: &mut Value, keyword: &str, value: Value) {
    let is_nullable = schema["type"].is_array();
    match (&mut schema[keyword], value) {
        (Value::Object(known), Value::Object(more)) => known.extend(more),
        (place, mut value) => {
            if keyword == "enum"
                && is_nullable
                && let Some(words) = value.as_array_mut()
            {
                words.push(Value::Null);
            }
            *place = value;
        }
    }
}

fn describe(schema: &mut Value, about: &[&str]) {
    if !about.is_empty() {
        let lines: Vec<&str> = about.iter().map(|line| line.trim()).collect();
        schema["description"] = json!(lines.join(" "));
    }
}

fn nullable(mut schema: Value) -> Value {
    if !schema["type"].is_string() {
        return json!({ "oneOf": [schema, { "type": "null" }] });
    }
    schema["type"] = json!([schema["type"], "null"]);
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    schema
}

/// The reverse of [`nullable`].
fn without_null(mut schema: Value) -> Value {
    if let Some(first) = schema.get("oneOf").map(|choices| choices[0].clone()) {
        return first;
    }
    if let Some(first) = schema["type"].get(0).cloned() {
        schema["type"] = first;
    }
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.retain(|word| !word.is_null());
    }
    schema
}

/// Types with a fixed schema and an example.
macro_rules! plain {
    ($($kind:ty: $schema:tt, $example:expr;)*) => {
        $(impl Schema for $kind {
            fn schema(_: &mut Components) -> Value {
                json!($schema)
            }

            fn example() -> Value {
                json!($example)
            }
        })*
    };
}

plain! {
    String: { "type": "string" }, "";
    &str: { "type": "string" }, "";
    Box<str>: { "type": "string" }, "";
    bool: { "type": "boolean" }, false;
    u16: { "type": "integer", "minimum": 0 }, 0;
    u32: { "type": "integer", "minimum": 0 }, 0;
    u64: { "type": "integer", "minimum": 0 }, 0;
    usize: { "type": "integer", "minimum": 0 }, 0;
    i64: { "type": "integer", "minimum": 0 }, 0;
    Time: { "type": "string", "format": "date-time" }, TIME;
    Timestamp: { "type": "string", "format": "date-time" }, TIME;
    &RawValue: { "type": "object" }, json!({});
    FreeObject: { "type": "object" }, json!({});
    (): { "type": "null" }, Value::Null;
}

impl<T: Schema> Schema for Option<T> {
    fn schema(components: &mut Components) -> Value {
        let schema = T::schema(components);
        // A member that may be null in two ways, absent or set to the default, is nullable once.
        match schema["type"].is_array() || !schema["oneOf"].is_null() {
            true => schema,
            false => nullable(schema),
        }
    }

    fn example() -> Value {
        Value::Null
    }

    /// In the place of a part that may be absent, all its members are absent together.
    fn members() -> Vec<Member> {
        let mut members = T::members();
        for member in &mut members {
            member.presence = Presence::Optional;
        }
        members
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema(components: &mut Components) -> Value {
        json!({ "type": "array", "items": T::schema(components) })
    }

    fn example() -> Value {
        json!([])
    }
}

impl<T: Schema> Schema for &[T] {
    fn schema(components: &mut Components) -> Value {
        <Vec<T>>::schema(components)
    }

    fn example() -> Value {
        json!([])
    }
}

impl<T: Schema> Schema for Flat<T> {
    fn schema(components: &mut Components) -> Value {
        T::schema(components)
    }

    fn example() -> Value {
        T::example()
    }

    fn members() -> Vec<Member> {
        T::members()
    }
}

impl<T: Words> Schema for Word<T> {
    fn schema(_: &mut Components) -> Value {
        json!({ "type": "string", "enum": words::<T>() })
    }

    fn example() -> Value {
        json!(words::<T>().first())
    }
}

impl<T: Words> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(word(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
