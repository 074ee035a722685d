//! The description of an API: an OpenAPI 3.1 document that each dialect adds its operations to.
//!
//! Bodies are described by the tables that read and write them ([`bodies`]).

pub mod bodies;
pub mod schema;
#[cfg(test)]
mod tests;

use crate::domain::users::permissions::Permission;
use schema::{Components, Schema};
use serde_json::{Map, Value, json};

/// The methods of an operation for any method. The server refuses TRACE before it looks for a route.
const ANY: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// A document in the making.
#[derive(Default)]
pub struct Document {
    pub paths: Map<String, Value>,
    pub components: Components,
    /// Parameters that several operations have, by the names of their components.
    pub parameters: Map<String, Value>,
    pub tags: Vec<Value>,
    tag: &'static str,
}

/// One operation in the making.
pub struct Operation<'a> {
    value: &'a mut Value,
    components: &'a mut Components,
    /// The content that an example is added to, as a JSON pointer.
    content: String,
}

impl Document {
    /// The group of the operations that follow; several dialects can have one group.
    pub fn group(&mut self, name: &'static str, about: &str) {
        self.tag = name;
        if !self.tags.iter().any(|tag| tag["name"] == name) {
            let tag = json!({ "name": name, "description": about });
            self.tags.push(tag);
        }
    }

    /// Adds an operation: its method, path, id and summary. The method is in lower case, or `any`.
    pub fn add<'a>(&'a mut self, route: &str, id: &str, summary: &str) -> Operation<'a> {
        let (method, path) = route.split_once(' ').unwrap_or_default();
        let item = self.paths.entry(path).or_insert(json!({}));
        item[method] = json!({ "operationId": id, "tags": [self.tag], "summary": summary });
        Operation {
            value: &mut item[method],
            components: &mut self.components,
            content: String::new(),
        }
    }

    /// Replaces an operation for any method by one for each.
    pub fn spread(&mut self) {
        for item in self.paths.values_mut() {
            let Some(any) = item.as_object_mut().and_then(|item| item.remove("any")) else {
                continue;
            };
            for method in ANY {
                let mut operation = any.clone();
                let id = any["operationId"].as_str().unwrap_or_default();
                operation["operationId"] = json!(format!("{id}By{}", method.to_uppercase()));
                item[method] = operation;
            }
        }
    }
}

impl Operation<'_> {
    pub fn about(self, text: &str) -> Self {
        self.value["description"] = json!(text);
        self
    }

    /// A credential with these permissions. Without any, a credential of any kind.
    pub fn needs(self, permissions: &[Permission]) -> Self {
        let scopes: Vec<&str> = permissions.iter().map(|one| one.scope()).collect();
        self.value["needs"] = json!(scopes);
        self
    }

    /// The credentials in other ways.
    pub fn security(self, ways: Value) -> Self {
        self.value["security"] = ways;
        self
    }

    /// Also without a credential, from some places.
    pub fn or_anonymous(self) -> Self {
        self.value["anonymous"] = json!(true);
        self
    }

    pub fn parameter(self, parameter: Value) -> Self {
        let list = &mut self.value["parameters"];
        if list.is_null() {
            *list = json!([]);
        }
        if let Some(list) = list.as_array_mut() {
            list.push(parameter);
        }
        self
    }

    /// A parameter in the query, with an example unless it is null.
    pub fn query(self, name: &str, about: &str, schema: Value, example: Value) -> Self {
        let mut parameter =
            json!({ "name": name, "in": "query", "description": about, "schema": schema });
        if !example.is_null() {
            parameter["example"] = example;
        }
        self.parameter(parameter)
    }

    /// The parameter that was described last is needed.
    pub fn needed(self) -> Self {
        let list = self.value["parameters"].as_array_mut();
        if let Some(last) = list.and_then(|list| list.last_mut()) {
            last["required"] = json!(true);
        }
        self
    }

    /// A parameter of the document, by the name of its component.
    pub fn shared(self, name: &str) -> Self {
        self.parameter(json!({ "$ref": format!("#/components/parameters/{name}") }))
    }

    /// A JSON body that the request must have.
    pub fn body<T: Schema>(self) -> Self {
        self.request::<T>("application/json", true)
    }

    /// A JSON body that the request may have.
    pub fn optional_body<T: Schema>(self) -> Self {
        self.request::<T>("application/json", false)
    }

    pub fn form<T: Schema>(self) -> Self {
        self.request::<T>("application/x-www-form-urlencoded", true)
    }

    fn request<T: Schema>(mut self, media_type: &str, required: bool) -> Self {
        let content = json!({ "schema": T::schema(self.components), "example": T::example() });
        self.value["requestBody"] =
            json!({ "required": required, "content": { media_type: content } });
        self.content = format!("/requestBody/content/{}", escaped(media_type));
        self
    }

    /// A text that the request must have.
    pub fn text(mut self, media_type: &str, example: &str) -> Self {
        let content = json!({ "schema": { "type": "string" }, "example": example });
        self.value["requestBody"] = json!({ "required": true, "content": { media_type: content } });
        self.content = format!("/requestBody/content/{}", escaped(media_type));
        self
    }

    /// An answer with a JSON body.
    pub fn answers<T: Schema>(self, status: u16, about: &str) -> Self {
        let schema = T::schema(self.components);
        self.content_of(status, about, "application/json", schema, T::example())
    }

    /// An answer with a text.
    pub fn answers_text(self, status: u16, about: &str, media_type: &str, example: &str) -> Self {
        let schema = json!({ "type": "string" });
        self.content_of(status, about, media_type, schema, json!(example))
    }

    /// An answer with a body of any kind; several kinds of body can have one status.
    pub fn content_of(
        mut self,
        status: u16,
        about: &str,
        media_type: &str,
        schema: Value,
        example: Value,
    ) -> Self {
        let answer = &mut self.value["responses"][status.to_string()];
        answer["description"] = json!(about);
        answer["content"][media_type] = json!({ "schema": schema });
        if !example.is_null() {
            answer["content"][media_type]["example"] = example;
        }
        self.content = format!("/responses/{status}/content/{}", escaped(media_type));
        self
    }

    /// An answer without a body.
    pub fn ends(self, status: u16, about: &str) -> Self {
        self.value["responses"][status.to_string()]["description"] = json!(about);
        self
    }

    /// A header of an answer.
    pub fn header(self, status: u16, name: &str, about: &str, schema: Value) -> Self {
        self.value["responses"][status.to_string()]["headers"][name] =
            json!({ "description": about, "schema": schema });
        self
    }

    /// Further examples of the body that was described last, instead of the example of its type.
    pub fn examples(self, examples: &[(&str, &str, Value)]) -> Self {
        if let Some(content) = self.value.pointer_mut(&self.content) {
            content
                .as_object_mut()
                .map(|content| content.remove("example"));
            for (name, summary, value) in examples {
                content["examples"][name] = json!({ "summary": summary, "value": value });
            }
        }
        self
    }

    /// A refusal, by the status and the name of its component.
    pub fn refuses(self, status: u16, name: &str) -> Self {
        let answer = &mut self.value["responses"][status.to_string()];
        if answer.is_null() {
            *answer = json!({ "$ref": format!("#/components/responses/{name}") });
        }
        self
    }

    /// The answer with this status may wait for the linked sites.
    pub fn waits_for_sites(self, status: u16) -> Self {
        let about = "`sites`: the answer comes when each linked site has applied the change, or gives no verdict any more; after a \
                     minute it is 503 with `sites-unconfirmed`, except for an answer with a secret. The change is made in any \
                     case.";
        let header = "With `wait`: the sites that were waited for, as `plant-7=applied, ship-2=lease-over`, or `none`. A site whose link was \
                      dropped, and that might still answer if it is not gone, is `dropped`.";
        self.query(
            "wait",
            about,
            json!({ "type": "string", "enum": ["sites"] }),
            json!("sites"),
        )
        .header(
            status,
            "Latchkey-Sites",
            header,
            json!({ "type": "string" }),
        )
        .refuses(503, "sites-unconfirmed")
    }

    pub fn conflicts(self) -> Self {
        self.refuses(409, "conflict")
    }

    pub fn may_not_find(self) -> Self {
        self.refuses(404, "not-found")
    }
}

/// A media type as a part of a JSON pointer.
fn escaped(media_type: &str) -> String {
    media_type.replace('/', "~1")
}
