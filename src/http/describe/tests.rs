//! One table gives a reader and a schema that agree.

use super::bodies::{NotNull, Requested, answer, request};
use super::schema::{Components, Flat, FreeObject, Schema, Time, Word};
use crate::domain::policies::Presence;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::http::fields::Fields;
use serde_json::{Value, json};

request! {
    /// A thing
    /// in a request.
    struct ThingBody as "NewThing" {
        /// Its name.
        name: String [minLength = 1] = "n",
        count: Option<u64> [minimum = 1],
        ends: Option<Option<Timestamp>>,
        word: Option<Word<Presence>>,
        label: NotNull<String>,
        free: Option<FreeObject>,
        parts: Option<Vec<PartBody>>,
        more: Flat<PartBody>,
    }
}

request! {
    struct PartBody as "" {
        size: u32,
    }
}

answer! {
    struct ShownBody<'a> as "Thing" like ThingBody {
        name: &'a str = "n",
        ends: Option<Time>,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<&'a str>,
        #[serde(flatten)]
        inner: InnerBody,
    }
}

answer! {
    struct InnerBody as "" {
        word: Word<Presence>,
    }
}

fn read(text: &str) -> Result<ThingBody, String> {
    let fields = Fields::parse(text.as_bytes()).unwrap();
    ThingBody::whole(fields).map_err(|err| match err {
        Error::Invalid { field, .. } => field,
        other => other.to_string(),
    })
}

#[test]
fn a_body_is_read_by_its_table() {
    let body =
        read(r#"{"name": "n", "ends": null, "size": 2, "parts": [{"size": 1}], "free": {"a": 1}}"#);
    let body = body.unwrap();
    assert_eq!(
        (body.name.as_str(), body.count, body.more.0.size),
        ("n", None, 2)
    );
    assert_eq!(body.ends, Some(None));
    assert!(body.word.is_none() && body.label.0.is_none());
    assert_eq!(body.free.unwrap().0, r#"{"a":1}"#);
    assert_eq!(body.parts.unwrap()[0].size, 1);
}

#[test]
fn what_the_table_does_not_permit_is_refused_by_the_name_of_its_member() {
    for (text, member) in [
        (r#"{"size": 1}"#, "name"),
        (r#"{"name": null, "size": 1}"#, "name"),
        (r#"{"name": "n"}"#, "size"),
        (r#"{"name": "n", "size": 1, "label": null}"#, "label"),
        (r#"{"name": "n", "size": 1, "word": "none"}"#, "word"),
        (r#"{"name": "n", "size": 1, "count": -1}"#, "count"),
        (
            r#"{"name": "n", "size": 1, "parts": [{"size": 1}, {}]}"#,
            "parts[1].size",
        ),
        (
            r#"{"name": "n", "size": 1, "parts": [{"size": 1, "x": 1}]}"#,
            "parts[0].x",
        ),
        (r#"{"name": "n", "size": 1, "more": {}}"#, "more"),
    ] {
        assert_eq!(read(text).err().as_deref(), Some(member), "{text}");
    }
}

fn component<T: Schema>(name: &str) -> Value {
    let mut components = Components::default();
    assert_eq!(
        T::schema(&mut components),
        json!({ "$ref": format!("#/components/schemas/{name}") })
    );
    components.into_map().remove(name).unwrap()
}

#[test]
fn the_schema_of_a_request_says_what_its_reader_does() {
    let schema = component::<ThingBody>("NewThing");
    assert_eq!(schema["description"], "A thing in a request.");
    assert_eq!(schema["required"], json!(["name", "size"]));
    assert_eq!(schema["additionalProperties"], false);
    let properties = &schema["properties"];
    let name = json!({ "type": "string", "minLength": 1, "description": "Its name." });
    assert_eq!(properties["name"], name);
    let count = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 1_u64 << 53 });
    assert_eq!(properties["count"], count);
    let ends = json!({ "type": ["string", "null"], "format": "date-time" });
    assert_eq!(properties["ends"], ends);
    let words = json!(["forbidden", "optional", "required", null]);
    assert_eq!(properties["word"]["enum"], words);
    assert_eq!(properties["label"], json!({ "type": "string" }));
    assert_eq!(ThingBody::example(), json!({ "name": "n", "size": 0 }));
}

#[test]
fn the_schema_of_an_answer_says_what_is_written() {
    let schema = component::<ShownBody>("Thing");
    assert_eq!(schema["required"], json!(["name", "ends", "word"]));
    assert_eq!(schema["properties"]["name"]["description"], "Its name.");
    assert_eq!(schema["properties"]["label"], json!({ "type": "string" }));
    let shown = ShownBody {
        name: "n",
        ends: None,
        label: None,
        inner: InnerBody {
            word: Word(Presence::Optional),
        },
    };
    let written = serde_json::to_value(&shown).unwrap();
    assert_eq!(
        written,
        json!({ "name": "n", "ends": null, "word": "optional" })
    );
    let example = json!({ "name": "n", "ends": null, "word": "forbidden" });
    assert_eq!(ShownBody::example(), example);
}
