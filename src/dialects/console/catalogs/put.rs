//! Replaces a catalog with a JSON document, or deletes it.

use super::address;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit, submit_file};
use crate::dialects::console::form::Refusal;
use crate::dialects::console::keys;
use crate::dialects::console::layout::delete::DeletePage;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::text::Texts;
use crate::domain::catalogs::{BUILT_IN, Definition, Operation, Scope};
use crate::domain::keys::KeyId;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::bodies::catalog::{NewCatalogBody, write_requirement};
use crate::http::describe::bodies::Requested;
use crate::http::fields::Fields;
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::catalogs;
use askama::Template;
use serde_json::{Value, json};

/// The maximum number of keys in the list of those that lost a scope.
const LOSERS_SHOWN: usize = 50;
/// The initial text for a new catalog.
const EXAMPLE: &str = r#"{
  "scopes": [
    { "name": "invoices:read", "label": "Read invoices" },
    { "name": "invoices:write", "label": "Change invoices", "implies": ["invoices:read"] }
  ],
  "operations": [
    { "id": "list-invoices", "method": "GET", "path": "/invoices", "access": "read", "any_of": ["invoices:read"] },
    { "id": "edit-invoice", "method": "PUT", "path": "/invoices/{id}", "access": "write", "any_of": ["invoices:write"] }
  ]
}"#;

#[derive(Template)]
#[template(path = "console/catalog_put.html")]
struct PutPage {
    s: Layout,
    href: String,
    back: String,
    is_new: bool,
    name: String,
    definition: String,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/catalog_lost_scopes.html")]
struct LostScopesPage {
    s: Layout,
    href: String,
    name: String,
    lead: String,
    keys: Vec<(String, String)>,
    more: String,
}

/// `GET /console/new-catalog`
pub fn show_new(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let mut typed = Form::default();
        typed.put("definition", EXAMPLE);
        asked(visit, 200, None, &typed, Default::default())
    })
}

/// `GET /console/catalogs/{name}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let name = call.param("name");
        let catalog = catalogs::find(call.app, &visit.caller, name)?;
        let mut typed = Form::default();
        typed.put("definition", written(catalog.definition())?);
        asked(visit, 200, Some(name), &typed, Default::default())
    })
}

/// `POST /console/new-catalog`: never replaces an existing catalog.
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        let name = form.text("name");
        if call.app.index.directory().catalog(name).is_some() {
            let why = visit.texts.with("catalog_put.there", name);
            return asked(visit, 409, None, form, ("name".to_owned(), why));
        }
        put(visit, form, name, None)
    })
}

/// `POST /console/catalogs/{name}/edit`
pub fn replace(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        let name = call.param("name");
        catalogs::find(call.app, &visit.caller, name)?;
        put(visit, form, name, Some(name))
    })
}

/// `GET /console/catalogs/{name}/delete`
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let catalog = catalogs::find(call.app, &visit.caller, call.param("name"))?;
        deleting(visit, 200, catalog.name(), None)
    })
}

/// `POST /console/catalogs/{name}/delete`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let name = call.param("name");
        match catalogs::delete(call.app, &visit.caller, name) {
            Ok(()) => Ok(visit.done("catalog_deleted", &format!("{MOUNT}/catalogs"))),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) => deleting(visit, refusal.status, name, Some(refusal.why)),
                None => Err(err),
            },
        }
    })
}

/// Whether the caller may write catalogs.
pub fn may_write(visit: &Visit<'_>) -> bool {
    require_write(visit).is_ok()
}

pub fn require_write(visit: &Visit<'_>) -> Result<()> {
    let directory = visit.call.app.index.directory();
    visit
        .caller
        .require_global(&directory, Permission::CatalogsWrite)
}

fn put(visit: &Visit<'_>, form: &Form, name: &str, there: Option<&str>) -> Result<Reply> {
    let app = visit.call.app;
    catalogs::require_put(app, &visit.caller, name)?;
    let put = definition(visit.texts, name, form.text("definition"))
        .and_then(|definition| catalogs::put(app, &visit.caller, definition));
    match put {
        Ok(put) if put.keys_changed.is_empty() => Ok(visit.done("catalog_put", &address(name))),
        Ok(put) => show_lost_scopes(visit, name, &put.keys_changed),
        Err(err) => match Refusal::of(visit.texts, &err) {
            Some(refusal) => {
                let refused = match refusal.member.as_str() {
                    "" => (String::new(), refusal.why),
                    "name" => ("name".to_owned(), refusal.why),
                    member => (
                        "definition".to_owned(),
                        format!("{member}: {}", refusal.why),
                    ),
                };
                asked(visit, refusal.status, there, form, refused)
            }
            None => Err(err),
        },
    }
}

/// The page that lists the keys which have lost a scope.
fn show_lost_scopes(visit: &Visit<'_>, name: &str, ids: &[KeyId]) -> Result<Reply> {
    let mut shown = Vec::new();
    for id in ids.iter().take(LOSERS_SHOWN) {
        let key_name = visit
            .call
            .app
            .index
            .with_key(*id, |key| key.name.to_string());
        let label = key_name.unwrap_or_else(|| id.to_string());
        shown.push((label, keys::address(*id)));
    }
    let s = visit.shell(
        visit.texts.get("catalog_put.lost_scopes_title"),
        Nav::Catalogs,
    );
    let page = LostScopesPage {
        href: address(name),
        name: name.to_owned(),
        lead: s.tn("catalog_put.lost_scopes", ids.len() as u64),
        more: match ids.len().saturating_sub(LOSERS_SHOWN) {
            0 => String::new(),
            more => s.t1("keys.more", &more.to_string()),
        },
        keys: shown,
        s,
    };
    html(200, &page)
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    name: Option<&str>,
    typed: &Form,
    refused: (String, String),
) -> Result<Reply> {
    let list = format!("{MOUNT}/catalogs");
    let title = match name {
        None => visit.texts.get("catalog_put.new").to_owned(),
        Some(name) => visit.texts.with("edit.title", name),
    };
    let definition = typed.text("definition");
    let page = PutPage {
        s: visit.shell(title, Nav::Catalogs),
        href: match name {
            None => format!("{MOUNT}/new-catalog"),
            Some(name) => format!("{}/edit", address(name)),
        },
        back: name.map_or(list, address),
        is_new: name.is_none(),
        name: name.unwrap_or(typed.text("name")).to_owned(),
        definition: definition.to_owned(),
        refused,
    };
    html(status, &page)
}

fn deleting(visit: &Visit<'_>, status: u16, name: &str, refusal: Option<String>) -> Result<Reply> {
    let delete = DeletePage {
        s: visit.shell(visit.texts.get("catalog_delete.title"), Nav::Catalogs),
        name: name.to_owned(),
        lead: visit.texts.get("catalog_delete.lead"),
        href: format!("{}/delete", address(name)),
        back: address(name),
        refusal,
    };
    html(status, &delete)
}

/// Whether the catalog cannot be changed.
pub fn is_fixed(name: &str) -> bool {
    name == BUILT_IN
}

/// Parses a catalog in the format of the API.
fn definition(texts: &Texts, name: &str, text: &str) -> Result<Definition> {
    let fields = Fields::parse(text.as_bytes()).map_err(|err| match err {
        Error::Malformed(_) => Error::invalid_text("definition", texts.get("refusal.json")),
        other => other,
    })?;
    let body = NewCatalogBody::whole(fields)?;
    if body.name.as_ref().is_some_and(|other| other != name) {
        return Err(Error::invalid_text(
            "definition",
            texts.with("refusal.other_name", name),
        ));
    }
    body.definition(name, || texts.get("refusal.access").to_owned())
}

/// The inverse of [`definition`], with one line for each scope and each operation.
pub fn written(definition: &Definition) -> Result<String> {
    let scope = |scope: &Scope| {
        let mut value = json!({ "name": scope.name, "label": scope.label });
        if !scope.implies.is_empty() {
            value["implies"] = json!(scope.implies);
        }
        if scope.root_only {
            value["root_only"] = Value::Bool(true);
        }
        value
    };
    let operation = |operation: &Operation| {
        let mut value = json!({
            "id": operation.id,
            "method": operation.method,
            "path": operation.path,
            "access": if operation.writes { "write" } else { "read" },
        });
        write_requirement(&operation.requirement, &mut value);
        if let Some(host) = &operation.host {
            value["host"] = json!(host);
        }
        if operation.preflight {
            value["preflight"] = Value::Bool(true);
        }
        value
    };
    let lines = |values: Vec<Value>| {
        let lines: Vec<String> = values.iter().map(|value| format!("    {value}")).collect();
        lines.join(",\n")
    };
    let case = match definition.case_sensitive {
        true => "  \"case_sensitive\": true,\n",
        false => "",
    };
    let metadata = match &definition.resource_metadata {
        Some(url) => format!("  \"resource_metadata\": {},\n", json!(url)),
        None => String::new(),
    };
    Ok(format!(
        "{{\n{case}{metadata}  \"scopes\": [\n{}\n  ],\n  \"operations\": [\n{}\n  ]\n}}",
        lines(definition.scopes.iter().map(scope).collect()),
        lines(definition.operations.iter().map(operation).collect()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    #[test]
    fn what_is_written_is_read_again() {
        let made = definition(english(), "a", EXAMPLE).unwrap();
        assert_eq!((made.scopes.len(), made.operations.len()), (2, 2));
        let mut changed = made.clone();
        changed.case_sensitive = true;
        changed.resource_metadata = Some("https://api.example/.well-known/x".to_owned());
        changed.operations[1].preflight = true;
        changed.scopes[0].root_only = true;
        changed.operations[0].host = Some("api.example.com".to_owned());
        for one in [made, changed] {
            let text = written(&one).unwrap();
            assert_eq!(definition(english(), "a", &text).unwrap(), one);
        }
    }

    #[test]
    fn what_is_no_catalog_is_refused_by_name() {
        for (text, field) in [
            ("", "definition"),
            ("[]", "definition"),
            ("{\"name\":\"b\"}", "definition"),
            ("{\"scopes\":1}", "scopes"),
            ("{\"scope\":[]}", "scope"),
            ("{\"scopes\":[{}]}", "scopes[0].name"),
            (
                "{\"operations\":[{\"id\":\"a\",\"method\":\"GET\",\"path\":\"/\",\"access\":\"all\"}]}",
                "operations[0].access",
            ),
        ] {
            match definition(english(), "a", text) {
                Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
