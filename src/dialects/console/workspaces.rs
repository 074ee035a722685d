//! The tree of workspaces.

use super::workspace_choice::{Option3, choices, places, refused};
use crate::authz::caller::Caller;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, confirm, own_path, page, submit};
use crate::dialects::console::form::Refusal;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::uid::Uid;
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
use crate::ops::workspaces::counts::{self, Counts};
use crate::ops::workspaces::offered::{self, WorkspaceActions};
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use askama::Template;
use std::collections::HashMap;

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
    /// The path from the topmost displayed workspace, for users who do not see the indentation.
    path: String,
    /// Empty if the caller may not see them.
    keys_count: String,
    users_count: String,
}

/// A workspace that another one leads to.
struct Related {
    href: String,
    name: String,
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
    /// The number of keys and that of users; empty if the caller may not see them.
    keys_count: String,
    users_count: String,
    parent: Option<Related>,
    children: Vec<Related>,
    created: DisplayTime,
    events: String,
    offered: WorkspaceActions,
    /// The possible parents; empty if the caller may not move the workspace.
    parents: Vec<Option3>,
    refused: (String, String),
    /// Whether the refusal concerns no field.
    refused_as_a_whole: bool,
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
        let numbers = counts::of_all(call.app, &visit.caller)?;
        let mut rows = Vec::new();
        for top in found.iter().filter(|workspace| !seen(workspace)) {
            grow(visit, (&found, &numbers), top, &[], &mut rows);
        }
        let s = visit.shell(visit.texts.get("workspaces.title"), Nav::Workspaces);
        let create = offered::require_create(call.app, &visit.caller).is_ok();
        html(200, &TreePage { s, rows, create })
    })
}

/// The recursion is bounded, because the tree has at most 16 levels.
fn grow(
    visit: &Visit<'_>,
    (all, numbers): (&[Workspace], &HashMap<Uid, Counts>),
    from: &Workspace,
    above: &[&str],
    rows: &mut Vec<WorkspaceRow>,
) {
    let (keys_count, users_count) = counts(visit, numbers.get(&from.uid));
    rows.push(WorkspaceRow {
        href: address(&from.uid.to_string()),
        keys: format!("{MOUNT}/keys?workspace={}", encode(&from.slug)),
        name: from.name.clone(),
        slug: from.slug.clone(),
        enabled: from.enabled,
        depth: above.len(),
        path: above.join(" / "),
        keys_count,
        users_count,
    });
    let path = [above, &[from.name.as_str()]].concat();
    for child in all.iter().filter(|child| child.parent == Some(from.uid)) {
        grow(visit, (all, numbers), child, &path, rows);
    }
}

/// The number of keys and that of users, as texts.
fn counts(visit: &Visit<'_>, numbers: Option<&Counts>) -> (String, String) {
    let numbers = numbers.copied().unwrap_or_default();
    let text =
        |number: Option<u64>| number.map_or_else(String::new, |number| visit.texts.number(number));
    (text(numbers.keys), text(numbers.users))
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
    let keys = match sorted::list(app, &visit.caller, &filter, Sort::default(), 0..0) {
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
    let numbers = counts::of_all(visit.call.app, &visit.caller)?;
    let (keys_count, users_count) = counts(visit, numbers.get(&found.uid));
    let all = workspaces::list(visit.call.app, &visit.caller)?;
    let related = |workspace: &Workspace| Related {
        href: address(&workspace.uid.to_string()),
        name: workspace.name.clone(),
    };
    let above = all.iter().find(|other| Some(other.uid) == found.parent);
    let below = all.iter().filter(|other| other.parent == Some(found.uid));
    let s = visit.shell(found.name.clone(), Nav::Workspaces);
    let now = visit.call.app.now().wall;
    let parents = choices(visit, &offered.parents, &parent.unwrap_or_default());
    let one = OnePage {
        keys_count,
        users_count,
        parent: above.map(related),
        children: below.map(related).collect(),
        created: DisplayTime::new(visit.texts, found.created_at, now),
        events: s.events_of(&format!("workspace:{}", found.slug)),
        s,
        href: address(&found.uid.to_string()),
        keys: format!("{MOUNT}/keys?workspace={}", encode(&found.slug)),
        name: found.name.clone(),
        slug: found.slug.clone(),
        enabled: found.enabled,
        offered,
        parents,
        refused_as_a_whole: !matches!(refused.0.as_str(), "name" | "slug" | "parent"),
        refused,
    };
    html(status, &one)
}

fn address(slug: &str) -> String {
    format!("{MOUNT}/workspaces/{}", encode(slug))
}
