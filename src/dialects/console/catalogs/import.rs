//! Imports a catalog from an OpenAPI document: the user reviews and edits the result before it is saved.

use super::put::{may_write, require_write, written};
use super::{OpenedBy, address};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit_file};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::catalogs::{BUILT_IN, Operation, Requirement, path};
use crate::domain::text;
use crate::error::{Error, Result};
use crate::http::bodies::openapi::{self, Import, Options, Silence};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use askama::Template;

/// A longer document is not repeated on the page; the user chooses it again.
const REPEATED_BYTES_MAX: usize = 512 * 1024;

/// The maximum number of operations in one list of the page.
const SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "console/catalog_import.html")]
struct ImportPage {
    s: Layout,
    name: String,
    document: String,
    base_path: String,
    host: String,
    schemes: String,
    /// Whether any key may call operations without a security requirement.
    any_key: bool,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/catalog_preview.html")]
struct PreviewPage {
    s: Layout,
    /// The address to which the form with the catalog is sent.
    href: String,
    name: String,
    /// Whether the catalog replaces an existing one.
    is_there: bool,
    definition: String,
    scopes: String,
    found: String,
    /// The method and path, whether the operation writes, and the keys that may call it.
    operations: Vec<(String, bool, OpenedBy)>,
    operations_more: String,
    /// Whether any operation is open to some key.
    opens: bool,
    /// The reasons why operations are not imported, each with the number of operations.
    reasons: Vec<(String, String)>,
    notes: Vec<String>,
    /// Base paths of the document, each of which the import can be repeated with.
    base_paths: Vec<String>,
    /// The other fields of the import, to repeat it.
    kept: Vec<(&'static str, String)>,
    left_out_title: String,
    /// An operation that is not in the catalog, and the reason.
    left_out: Vec<(String, String)>,
    left_out_more: String,
}

/// `GET /console/import-catalog`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        asked(visit, 200, &Form::default(), Default::default())
    })
}

/// `POST /console/import-catalog`: displays the result and changes nothing.
pub fn preview(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        visit.noting(require_write(visit))?;
        match imported(visit, form) {
            Ok(import) => shown(visit, form, &import),
            Err(Error::Invalid { field, reason }) => {
                let why = visit.texts.sentence(&reason);
                asked(visit, 422, form, (field, why))
            }
            Err(err) => Err(err),
        }
    })
}

fn imported(visit: &Visit<'_>, form: &Form) -> Result<Import> {
    let refused = |field: &str, text: &str| Error::invalid_text(field, visit.texts.get(text));
    let name = form.text("name");
    text::check_slug("name", name)?;
    if name == BUILT_IN {
        return Err(refused("name", "refusal.built_in"));
    }
    let base_path = form.text("base_path").trim_end_matches('/');
    if !base_path.is_empty() && path::segments(base_path).is_none() {
        return Err(refused("base_path", "refusal.slash"));
    }
    let host = form.some("host");
    if let Some(host) = &host
        && path::host(host).as_deref() != Some(host)
    {
        return Err(refused("host", "refusal.host"));
    }
    let document = document(form);
    if document.trim().is_empty() {
        return Err(refused("file", "catalog_import.needed"));
    }
    let schemes: Vec<String> = form
        .text("schemes")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let options = Options {
        base_path,
        host: host.as_deref(),
        schemes: &schemes,
        silence: match form.text("unsaid") {
            "any_key" => Silence::AnyKey,
            _ => Silence::Closed,
        },
    };
    let import = openapi::import(document, name, &options);
    import.map_err(|why| Error::invalid("file", why))
}

fn document(form: &Form) -> &str {
    match form.text("file") {
        "" => form.text("document"),
        file => file,
    }
}

/// The base paths that notes speak of. None are offered for a document that is too long to be repeated.
fn base_paths(form: &Form, import: &Import) -> Vec<String> {
    if document(form).len() > REPEATED_BYTES_MAX {
        return Vec::new();
    }
    let notes = import.notes.iter();
    let notes = notes.filter(|note| note.code() == "openapi.base_path");
    let mut found: Vec<String> = notes
        .filter_map(|note| note.argument("path").map(str::to_owned))
        .collect();
    found.dedup();
    found
}

fn asked(visit: &Visit<'_>, status: u16, form: &Form, refused: (String, String)) -> Result<Reply> {
    let page = ImportPage {
        s: visit.shell(visit.texts.get("catalog_import.title"), Nav::Catalogs),
        name: form.text("name").to_owned(),
        document: form.text("document").to_owned(),
        base_path: form.text("base_path").to_owned(),
        host: form.text("host").to_owned(),
        schemes: form.text("schemes").to_owned(),
        any_key: form.text("unsaid") == "any_key",
        refused,
    };
    html(status, &page)
}

fn shown(visit: &Visit<'_>, form: &Form, import: &Import) -> Result<Reply> {
    let (texts, name) = (visit.texts, form.text("name"));
    let base_paths = base_paths(form, import);
    let more = |count: usize| match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => texts.count("catalog_import.more", more as u64),
    };
    let definition = &import.definition;
    let directory = visit.call.app.index.directory();
    let is_there = directory.catalog(name).is_some();
    drop(directory);
    // Closed operations have a list of their own, which includes the reasons.
    let is_open = |it: &&Operation| it.requirement != Requirement::Nobody;
    let open = definition.operations.iter().filter(is_open).count();
    let operations = definition.operations.iter().filter(is_open).take(SHOWN);
    let left_out = import.left_out.iter().take(SHOWN);
    let count = |name: &str, number: usize| texts.count(name, number as u64);
    let page = PreviewPage {
        s: visit.shell(texts.with("catalog_import.preview", name), Nav::Catalogs),
        href: match is_there && may_write(visit) {
            true => format!("{}/edit", address(name)),
            false => format!("{MOUNT}/new-catalog"),
        },
        name: name.to_owned(),
        is_there,
        scopes: count("catalogs.scopes", definition.scopes.len()),
        found: count("catalog_import.found", import.mapped),
        opens: import.mapped > 0,
        operations: operations
            .map(|it| {
                let host = it.host.as_deref().unwrap_or_default();
                let request = format!("{} {host}{}", it.method, it.path);
                (request, it.writes, OpenedBy::of(texts, &it.requirement))
            })
            .collect(),
        operations_more: more(open),
        reasons: import
            .reasons()
            .into_iter()
            .take(SHOWN)
            .map(|(why, number)| (texts.sentence(&why), texts.number(number as u64)))
            .collect(),
        notes: import
            .notes
            .iter()
            .take(SHOWN)
            .map(|it| texts.sentence(it))
            .collect(),
        kept: match base_paths.is_empty() {
            true => Vec::new(),
            false => ["name", "host", "schemes", "unsaid"]
                .into_iter()
                .map(|name| (name, form.text(name).to_owned()))
                .chain([("document", document(form).to_owned())])
                .collect(),
        },
        base_paths,
        left_out_title: count("catalog_import.left_out", import.left_out.len()),
        left_out: left_out
            .map(|it| (it.operation.clone(), texts.sentence(&it.why)))
            .collect(),
        left_out_more: more(import.left_out.len()),
        definition: written(definition)?,
    };
    html(200, &page)
}
