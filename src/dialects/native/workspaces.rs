//! Handlers for workspaces: `/v1/workspaces`.

use super::keys::retry;
use crate::domain::text::{NAME_CHARS_MAX, SLUG_PATTERN};
use crate::domain::users::permissions::Permission::{WorkspacesRead, WorkspacesWrite};
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, NotNull, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use crate::refusals::verbatim;
use serde_json::json;

answer! {
    struct WorkspaceBody<'a> as "Workspace" {
        uid: String [format = "uuid"] = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11",
        slug: &'a str = "emea",
        name: &'a str = "Europe",
        /// Null for the root.
        parent: Option<String> [format = "uuid"] = "7d4b1f0e-95a2-4a6d-8c33-1b2e5f7a9d02",
        enabled: bool = true,
        created_at: Time,
    }
}

request! {
    struct NewWorkspaceBody as "NewWorkspace" {
        /// Unique; appears in URLs and settings. A caller who does not manage the root workspace cannot choose a slug
        /// that another workspace had before.
        slug: String [pattern = SLUG_PATTERN] = "emea",
        /// By default the slug.
        name: Option<String> [minLength = 1, maxLength = NAME_CHARS_MAX] = "Europe",
        /// Slug or uid; by default the caller's own workspace.
        parent: Option<String> = "root",
    }
}

request! {
    struct WorkspaceEditBody as "WorkspaceEdit" {
        slug: NotNull<String> [pattern = SLUG_PATTERN],
        name: NotNull<String> [minLength = 1, maxLength = NAME_CHARS_MAX] = "Europe and Africa",
        /// Slug or uid: moves the workspace and all workspaces below it.
        parent: NotNull<String>,
        /// False stops the keys and roles of the workspace and of all workspaces below it.
        enabled: Option<Option<bool>>,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("workspaces", "Where keys live: a tree.");
    document
        .add("get /v1/workspaces", "listWorkspaces", "List workspaces")
        .needs(&[WorkspacesRead])
        .answers::<ListBody<WorkspaceBody>>(200, "All workspaces that the caller may see.");
    document
        .add(
            "post /v1/workspaces",
            "createWorkspace",
            "Create a workspace",
        )
        .about("At most 16 levels deep.")
        .needs(&[WorkspacesWrite])
        .shared("IdempotencyKey")
        .body::<NewWorkspaceBody>()
        .answers::<WorkspaceBody>(201, "The workspace.")
        .conflicts()
        .may_not_find();
    document
        .add(
            "get /v1/workspaces/{id}",
            "findWorkspace",
            "Read a workspace",
        )
        .needs(&[WorkspacesRead])
        .answers::<WorkspaceBody>(200, "The workspace.");
    document
        .add(
            "patch /v1/workspaces/{id}",
            "editWorkspace",
            "Edit, move, disable or enable a workspace",
        )
        .needs(&[WorkspacesWrite])
        .body::<WorkspaceEditBody>()
        .answers::<WorkspaceBody>(200, "The workspace as it is now.")
        .conflicts()
        .waits_for_sites(200);
    document
        .add("delete /v1/workspaces/{id}", "deleteWorkspace", "Delete a workspace permanently")
        .needs(&[WorkspacesWrite])
        .query(
            "recursive",
            "Deletes also all keys, users and workspaces in it; without this, a workspace that is not empty is refused.",
            json!({ "type": "string", "enum": ["true", "false"], "default": "false" }),
            json!("false"),
        )
        .ends(204, "The workspace is deleted.")
        .conflicts()
        .waits_for_sites(204);
}

impl<'a> WorkspaceBody<'a> {
    fn of(workspace: &'a Workspace) -> WorkspaceBody<'a> {
        WorkspaceBody {
            uid: workspace.uid.to_string(),
            slug: &workspace.slug,
            name: &workspace.name,
            parent: workspace.parent.map(|uid| uid.to_string()),
            enabled: workspace.enabled,
            created_at: Time(workspace.created_at),
        }
    }
}

/// `GET /v1/workspaces`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = workspaces::list(call.app, call.caller()?)?;
    let items = found.iter().map(WorkspaceBody::of).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `POST /v1/workspaces`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let body = NewWorkspaceBody::of(call.request)?;
    let new = NewWorkspace {
        name: body.name.unwrap_or_else(|| body.slug.clone()),
        slug: Some(body.slug),
        parent: body.parent,
    };
    let workspace = workspaces::create(call.app, call.caller()?, new, retry)?;
    Ok(Reply::json(201, &WorkspaceBody::of(&workspace)))
}

/// `GET /v1/workspaces/{id}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let workspace = workspaces::find(call.app, call.caller()?, call.param("id"))?;
    Ok(Reply::json(200, &WorkspaceBody::of(&workspace)))
}

/// `PATCH /v1/workspaces/{id}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let body = WorkspaceEditBody::of(call.request)?;
    let edit = WorkspaceEdit {
        slug: body.slug.0,
        name: body.name.0,
        parent: body.parent.0,
        enabled: body.enabled.map(|on| on.unwrap_or(true)),
    };
    let workspace = workspaces::edit(call.app, call.caller()?, call.param("id"), edit)?;
    Ok(Reply::json(200, &WorkspaceBody::of(&workspace)))
}

/// `DELETE /v1/workspaces/{id}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let recursive = query.take("recursive");
    query.finish()?;
    let (caller, id) = (call.caller()?, call.param("id"));
    match recursive.as_deref() {
        None | Some("false") => workspaces::delete::delete(call.app, caller, id)?,
        Some("true") => workspaces::delete::delete_with_contents(call.app, caller, id)?,
        Some(_) => {
            return Err(Error::Malformed(verbatim(
                "the parameter recursive must be true or false",
            )));
        }
    }
    Ok(Reply::new(204))
}
