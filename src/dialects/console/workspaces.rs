//! The tree of workspaces.

use super::workspace_choice::{Option3, choices, places, refused};
use crate::authz::caller::Caller;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, confirm, own_path, page, submit};
use crate::dialects::console::form::Refusal;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::App;
use crate::ops::keys::list::Filter;
use crate::ops::keys::list::order::Sort;
use crate::ops::keys::list::sorted;
use crate::ops::workspaces::offered::{self, WorkspaceActions};
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use askama::Template;

#[derive(Template)]
#[template(path = "console/workspaces.html")]
struct TreePage {
    s: Layout,
    rows: Vec<WorkspaceRow>,
    /// Whether the caller may create workspaces.
    create: bool,
}

/// One line of the tree.
struct WorkspaceRow {
    href: String,
    keys: String,
    name: String,
    slug: String,
    enabled: bool,
    /// The depth below the topmost displayed workspace.
    depth: usize,
}

#[derive(Template)]
#[template(path = "console/workspace_create.html")]
struct CreatePage {
    s: Layout,
    name: String,
    slug: String,
    parents: Vec<Option3>,
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/workspace.html")]
struct OnePage {
    s: Layout,
    href: String,
    keys: String,
    name: String,
    slug: String,
    enabled: bool,
    offered: WorkspaceActions,
    /// The possible parents; empty if the caller may not move the workspace.
    parents: Vec<Option3>,
    refused: (String, String),
}

#[derive(Template)]
#[template(path = "console/workspace_delete.html")]
struct DeletePage {
    s: Layout,
    href: String,
    name: String,
    slug: String,
    /// What is deleted together with the workspace, one entry per line.
    contents: Vec<String>,
    typed: String,
    refusal: Option<String>,
}

/// `GET /console/workspaces`
pub fn show_all(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = workspaces::list(call.app, &visit.caller)?;
        let seen = |workspace: &Workspace| {
            let parent = workspace.parent;
            found.iter().any(|other| Some(other.uid) == parent)
        };
        let mut rows = Vec::new();
        for top in found.iter().filter(|workspace| !seen(workspace)) {
            grow(&found, top, 0, &mut rows);
        }
        let s = visit.shell(visit.texts.get("workspaces.title"), Nav::Workspaces);
        let create = offered::require_create(call.app, &visit.caller).is_ok();
        html(200, &TreePage { s, rows, create })
    })
}

/// The recursion is bounded, because the tree has at most 16 levels.
fn grow(all: &[Workspace], from: &Workspace, depth: usize, rows: &mut Vec<WorkspaceRow>) {
    rows.push(WorkspaceRow {
        href: address(&from.uid.to_string()),
        keys: format!("{MOUNT}/keys?workspace={}", encode(&from.slug)),
        name: from.name.clone(),
        slug: from.slug.clone(),
        enabled: from.enabled,
        depth,
    });
    for child in all.iter().filter(|child| child.parent == Some(from.uid)) {
        grow(all, child, depth + 1, rows);
    }
}

/// `GET /console/workspaces/new`
pub fn show_new(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        offered::require_create(call.app, &visit.caller)?;
        let mut form = Form::default();
        form.put("parent", call.query()?.take("below").unwrap_or_default());
        asked(visit, 200, &form, Default::default())
    })
}

/// `POST /console/workspaces/new`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let new = NewWorkspace {
            slug: form.some("slug"),
            name: form.text("name").to_owned(),
            parent: form.some("parent"),
        };
        match workspaces::create(call.app, &visit.caller, new, None) {
            Ok(made) => Ok(visit.done("workspace_created", &address(&made.uid.to_string()))),
            Err(err) => match refused(visit, &err) {
                Some((status, field, why)) => asked(visit, status, form, (field, why)),
                None => Err(err),
            },
        }
    })
}

/// `GET /console/workspaces/{slug}`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = workspaces::find(call.app, &visit.caller, call.param("slug"))?;
        shown(visit, 200, &found, Default::default())
    })
}

/// `POST /console/workspaces/{slug}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let slug = call.param("slug");
        let before = workspaces::find(call.app, &visit.caller, slug)?;
        let edit = WorkspaceEdit {
            slug: form.some("slug").filter(|new| *new != before.slug),
            name: form.has("name").then(|| form.text("name").to_owned()),
            parent: form.some("parent"),
            enabled: form.some("enabled").map(|on| on == "yes"),
        };
        match workspaces::edit(call.app, &visit.caller, slug, edit) {
            Ok(after) => Ok(visit.done("workspace_changed", &address(&after.uid.to_string()))),
            Err(err) => told(visit, slug, err),
        }
    })
}

/// `GET /console/workspaces/{slug}/delete`: displays what is deleted together with the workspace.
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = workspaces::find(call.app, &visit.caller, call.param("slug"))?;
        offered::require_change(call.app, &visit.caller, &found)?;
        deleting(visit, 200, &found, "", None)
    })
}

/// `POST /console/workspaces/{slug}/delete`. Deleting a workspace with its contents requires the short name to be typed
/// and the password to have been entered recently.
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let found = workspaces::find(call.app, &visit.caller, call.param("slug"))?;
        if !form.has("confirm_name") {
            return deleted(visit, &found, "", workspaces::delete::delete);
        }
        let typed = form.text("confirm_name");
        if typed != found.slug {
            let refusal = visit.texts.with("workspace_delete.other_name", &found.slug);
            return deleting(visit, 409, &found, typed, Some(refusal));
        }
        match visit.session.is_fresh(call.app.now().wall) {
            true => deleted(
                visit,
                &found,
                typed,
                workspaces::delete::delete_with_contents,
            ),
            false => confirm::ask(visit, &own_path(call), form, None),
        }
    })
}

fn deleted(
    visit: &Visit<'_>,
    found: &Workspace,
    typed: &str,
    delete: fn(&App, &Caller, &str) -> Result<()>,
) -> Result<Reply> {
    match delete(visit.call.app, &visit.caller, &found.uid.to_string()) {
        Ok(()) => Ok(visit.done("workspace_deleted", &format!("{MOUNT}/workspaces"))),
        Err(err) => match Refusal::of(visit.texts, &err) {
            Some(refusal) => deleting(visit, refusal.status, found, typed, Some(refusal.why)),
            None => Err(err),
        },
    }
}

fn deleting(
    visit: &Visit<'_>,
    status: u16,
    found: &Workspace,
    typed: &str,
    refusal: Option<String>,
) -> Result<Reply> {
    let app = visit.call.app;
    let below = {
        let directory = app.index.directory();
        let places = directory.places().map(|place| place.workspace.uid);
        let below = places.filter(|uid| *uid != found.uid && directory.reaches(found.uid, *uid));
        below.count()
    };
    let filter = Filter {
        workspace: Some(found.slug.clone()),
        ..Filter::default()
    };
    let keys = match sorted::list(app, &visit.caller, &filter, Sort::Newest, 0..0) {
        Ok(found) => found.total,
        // A caller who may not see keys may not delete them either.
        Err(Error::Forbidden(_)) => 0,
        Err(err) => return Err(err),
    };
    let counted = [(below, "workspace_delete.below"), (keys, "keys.count")];
    let delete = DeletePage {
        s: visit.shell(visit.texts.get("workspace_delete.title"), Nav::Workspaces),
        href: address(&found.uid.to_string()),
        name: found.name.clone(),
        slug: found.slug.clone(),
        contents: counted
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| visit.texts.count(name, count as u64))
            .collect(),
        typed: typed.to_owned(),
        refusal,
    };
    html(status, &delete)
}

fn told(visit: &Visit<'_>, slug: &str, err: Error) -> Result<Reply> {
    let Some((status, field, why)) = refused(visit, &err) else {
        return Err(err);
    };
    let found = workspaces::find(visit.call.app, &visit.caller, slug)?;
    shown(visit, status, &found, (field, why))
}

fn asked(visit: &Visit<'_>, status: u16, form: &Form, refused: (String, String)) -> Result<Reply> {
    let create = CreatePage {
        s: visit.shell(visit.texts.get("workspaces.create_title"), Nav::Workspaces),
        name: form.text("name").to_owned(),
        slug: form.text("slug").to_owned(),
        parents: places(visit, Permission::WorkspacesWrite, form.text("parent"))?,
        refused,
    };
    html(status, &create)
}

fn shown(
    visit: &Visit<'_>,
    status: u16,
    found: &Workspace,
    refused: (String, String),
) -> Result<Reply> {
    let parent = {
        let directory = visit.call.app.index.directory();
        let place = found.parent.and_then(|uid| directory.place(uid));
        place.map(|place| place.workspace.slug.clone())
    };
    let offered = offered::offered(visit.call.app, &visit.caller, found)?;
    let parents = choices(visit, &offered.parents, &parent.unwrap_or_default());
    let one = OnePage {
        s: visit.shell(found.name.clone(), Nav::Workspaces),
        href: address(&found.uid.to_string()),
        keys: format!("{MOUNT}/keys?workspace={}", encode(&found.slug)),
        name: found.name.clone(),
        slug: found.slug.clone(),
        enabled: found.enabled,
        offered,
        parents,
        refused,
    };
    html(status, &one)
}

fn address(slug: &str) -> String {
    format!("{MOUNT}/workspaces/{}", encode(slug))
}
