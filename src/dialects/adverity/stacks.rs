//! Workspaces, which this API calls stacks (1C-33, 1C-34). A workspace that the caller cannot access counts as one that
//! does not exist (1C-31).

use super::form::REQUIRED;
use super::keys::time;
use super::{caller, error, top};
use crate::authz::caller::Caller;
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::query::{self, Query};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The default number of rows on a page.
const PAGE_SIZE_DEFAULT: u64 = 100;
/// The maximum number of rows on a page.
const PAGE_SIZE_MAX: u64 = 500;
/// The number of the storage of every workspace, because clients read such a number from the address.
const STORAGE: u64 = 1;
/// The parameters of a list. Other parameters are ignored, as Adverity's clients expect.
const PARAMETERS: &[&str] = &["id", "ordering", "page", "page_size"];

#[derive(Serialize)]
struct StackBody<'a> {
    id: i64,
    name: &'a str,
    slug: &'a str,
    url: String,
    /// The address of the parent workspace; null at the root, and if the caller cannot access the parent.
    parent: Option<String>,
    parent_id: Option<i64>,
    created: String,
    updated: String,
    counts: CountsBody,
    permissions: PermissionsBody,
    /// These members belong to the application behind the proxy: the address of its storage, and addresses of its
    /// pages.
    datalake: &'a str,
    /// The number of a destination of the application; this server knows none.
    destination: Option<i64>,
    default_manage_extract_names: bool,
    overview_url: String,
    change_url: String,
    add_connection_url: &'static str,
    add_datastream_url: &'static str,
    extracts_url: String,
    issues_url: String,
}

/// The contents of a workspace other than keys, of which this server stores none.
#[derive(Serialize)]
struct CountsBody {
    connections: u64,
    datastreams: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PermissionsBody {
    is_creator: bool,
    is_datastream_manager: bool,
    is_viewer: bool,
}

#[derive(Serialize)]
struct ListBody<'a> {
    count: usize,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<StackBody<'a>>,
}

/// The data from which one request renders workspaces.
struct StackView<'c> {
    call: &'c Call<'c>,
    caller: Caller,
    /// The address of the list of stacks.
    at: String,
    /// The address of the storage.
    datalake: String,
}

/// `GET /api/stacks/`, `GET /api/v1/workspaces/`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let shown = StackView::of(call)?;
    let mut query = Query::only(call.request.query(), PARAMETERS)?;
    let size = page_size(&mut query)?;
    let page = match query.take_number("page") {
        Ok(page) => page.unwrap_or(1),
        Err(_) => 0,
    };
    let ordering = query.take("ordering");
    let id = wanted_id(&mut query)?;
    let mut all = workspaces::list(call.app, &shown.caller)?;
    let by_uid: HashMap<_, _> = all.iter().map(|one| (one.uid, one.clone())).collect();
    all.retain(|one| id.is_none_or(|id| one.number as u64 == id));
    sort(&mut all, ordering.as_deref().unwrap_or("id"))?;
    let pages = (all.len() as u64).div_ceil(size).max(1);
    if page == 0 || page > pages {
        return Err(Error::NotFound("page"));
    }
    let link = |page: u64| shown.page_link(page, id, ordering.as_deref(), size);
    let first = ((page - 1) * size) as usize;
    let rows = all.iter().skip(first).take(size as usize);
    let above = |one: &Workspace| one.parent.and_then(|uid| by_uid.get(&uid));
    let body = ListBody {
        count: all.len(),
        next: (page < pages).then(|| link(page + 1)),
        previous: (page > 1).then(|| link(page - 1)),
        results: rows.map(|one| shown.stack(one, above(one))).collect(),
    };
    Ok(Reply::json(200, &body))
}

/// `POST /api/stacks/`. Other members such as `datalake_id` concern things that this server does not have.
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let shown = StackView::of(call)?;
    let mut body = Fields::of(call.request)?;
    let name = name(&mut body).and_then(|name| name.ok_or(Error::invalid_text("name", REQUIRED)));
    let (name, parent) = match (name, shown.parent(&mut body)) {
        (Ok(name), Ok(parent)) => (name, parent),
        (name, parent) => return error::invalid_all([name.err(), parent.err()]),
    };
    let new = NewWorkspace {
        slug: None,
        name,
        parent,
    };
    let made = workspaces::create(call.app, &shown.caller, new, None).map_err(in_its_words)?;
    shown.answer(201, &made)
}

/// `GET /api/stacks/{slug}/`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let shown = StackView::of(call)?;
    let found = workspaces::find(call.app, &shown.caller, call.param("slug"))?;
    shown.answer(200, &found)
}

/// `PATCH /api/stacks/{slug}/`: changes the name or the parent.
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let shown = StackView::of(call)?;
    // A caller who cannot access the workspace must not learn anything from the faults of the body.
    workspaces::find(call.app, &shown.caller, call.param("slug"))?;
    let mut body = Fields::of(call.request)?;
    let (name, parent) = match (name(&mut body), shown.parent(&mut body)) {
        (Ok(name), Ok(parent)) => (name, parent),
        (name, parent) => return error::invalid_all([name.err(), parent.err()]),
    };
    let edit = WorkspaceEdit {
        name,
        parent,
        ..WorkspaceEdit::default()
    };
    let edited = workspaces::edit(call.app, &shown.caller, call.param("slug"), edit);
    shown.answer(200, &edited.map_err(in_its_words)?)
}

/// `DELETE /api/stacks/{slug}/`: for administrators of the root workspace; deletes the keys of the workspace too.
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    workspaces::delete::delete_with_keys(call.app, &caller, call.param("slug"))?;
    Ok(Reply::new(204))
}

impl<'c> StackView<'c> {
    fn of(call: &'c Call<'c>) -> Result<StackView<'c>> {
        Ok(StackView {
            call,
            caller: caller(call)?,
            at: format!("{}/stacks", top(call)),
            datalake: format!("{}/storage/{STORAGE}/", top(call)),
        })
    }

    fn answer(&self, status: u16, one: &Workspace) -> Result<Reply> {
        let uid = one.parent.map(|uid| uid.to_string());
        let above = uid.and_then(|uid| workspaces::find(self.call.app, &self.caller, &uid).ok());
        Ok(Reply::json(status, &self.stack(one, above.as_ref())))
    }

    fn stack<'a>(&'a self, one: &'a Workspace, above: Option<&Workspace>) -> StackBody<'a> {
        let directory = self.call.app.index.directory();
        let may = |permission| self.caller.may(&directory, permission, one.uid, None);
        let writes = may(Permission::WorkspacesWrite);
        StackBody {
            id: one.number,
            name: &one.name,
            slug: &one.slug,
            url: self.url(one),
            parent: above.map(|above| self.url(above)),
            parent_id: above.map(|above| above.number),
            created: time(one.created_at),
            updated: time(one.updated_at),
            counts: CountsBody {
                connections: 0,
                datastreams: 0,
            },
            permissions: PermissionsBody {
                is_creator: writes,
                is_datastream_manager: writes,
                is_viewer: may(Permission::WorkspacesRead),
            },
            datalake: &self.datalake,
            destination: None,
            default_manage_extract_names: true,
            overview_url: format!("/{}/", one.slug),
            change_url: format!("/core/stack/{}/change/", one.number),
            add_connection_url: "/core/authorization/add/",
            add_datastream_url: "/core/apidatastream/add/",
            extracts_url: format!("/core/datastreamextract/?stack_id={}", one.number),
            issues_url: format!(
                "/core/datastreamextractionlog/?ack__exact=0&stack_id={}",
                one.number
            ),
        }
    }

    fn url(&self, one: &Workspace) -> String {
        format!("{}/{}/", self.at, one.slug)
    }

    /// The uid of the workspace whose number is `parent_id`.
    fn parent(&self, body: &mut Fields) -> Result<Option<String>> {
        let number = body
            .number("parent_id")
            .map_err(|_| Error::invalid_text("parent_id", "Incorrect type. Expected pk value."))?;
        let Some(number) = number else {
            return Ok(None);
        };
        let all = workspaces::list(self.call.app, &self.caller)?;
        let found = all.into_iter().find(|one| one.number as u64 == number);
        match found {
            Some(found) => Ok(Some(found.uid.to_string())),
            None => Err(Error::invalid_text(
                "parent_id",
                format!("Invalid pk \"{number}\" - object does not exist."),
            )),
        }
    }

    /// The address of another page of the same list.
    fn page_link(&self, page: u64, id: Option<u64>, ordering: Option<&str>, size: u64) -> String {
        let id = id.map(|id| format!("id={id}&")).unwrap_or_default();
        let ordering = ordering.map(|field| format!("ordering={}&", query::encode(field)));
        let (base, path) = (
            self.call.trust.base_url(self.call.request),
            self.call.request.path(),
        );
        format!(
            "{base}{path}?{id}{}page={page}&page_size={size}",
            ordering.unwrap_or_default()
        )
    }
}

fn name(body: &mut Fields) -> Result<Option<String>> {
    let name = body.text_or_null("name");
    match name.map_err(|_| Error::invalid_text("name", "Not a valid string."))? {
        None => Ok(None),
        Some(None) => Err(Error::invalid_text("name", "This field may not be null.")),
        Some(Some(text)) if text.trim().is_empty() => {
            Err(Error::invalid_text("name", "This field may not be blank."))
        }
        Some(name) => Ok(name),
    }
}

/// Renames a member at fault to that of this API.
fn in_its_words(err: Error) -> Error {
    match err {
        Error::Invalid { field, reason } if field == "parent" => {
            Error::invalid("parent_id", reason)
        }
        other => other,
    }
}

/// The filter `id`; an unknown number matches nothing.
fn wanted_id(query: &mut Query) -> Result<Option<u64>> {
    match query.take("id") {
        Some(text) if !text.is_empty() => {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number
                .map(Some)
                .ok_or_else(|| Error::invalid_text("id", "Enter a number."))
        }
        // An empty filter counts as absent.
        _ => Ok(None),
    }
}

fn page_size(query: &mut Query) -> Result<u64> {
    let asked = query.take_number("page_size");
    let asked =
        asked.map_err(|_| Error::invalid_text("page_size", "A valid integer is required."))?;
    match asked {
        Some(0) => Err(Error::invalid_text(
            "page_size",
            "Ensure this value is greater than or equal to 1.",
        )),
        asked => Ok(asked.unwrap_or(PAGE_SIZE_DEFAULT).min(PAGE_SIZE_MAX)),
    }
}

fn sort(all: &mut [Workspace], ordering: &str) -> Result<()> {
    let (field, descends) = match ordering.strip_prefix('-') {
        Some(field) => (field, true),
        None => (ordering, false),
    };
    let by: fn(&Workspace, &Workspace) -> Ordering = match field {
        "created" => |a, b| a.created_at.cmp(&b.created_at),
        "id" => |a, b| a.number.cmp(&b.number),
        "name" => |a, b| a.name.cmp(&b.name),
        "slug" => |a, b| a.slug.cmp(&b.slug),
        "updated" => |a, b| a.updated_at.cmp(&b.updated_at),
        _ => {
            return Err(Error::invalid_text(
                "ordering",
                "Must be one of created, id, name, slug and updated, or one of these behind a -.",
            ));
        }
    };
    all.sort_by(|a, b| {
        let order = by(a, b).then(a.number.cmp(&b.number));
        if descends { order.reverse() } else { order }
    });
    Ok(())
}
