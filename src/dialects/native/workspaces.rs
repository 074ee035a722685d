//! Handlers for workspaces: `/v1/workspaces`.

use super::keys::{PageBody, retry};
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use serde::Serialize;

#[derive(Serialize)]
struct WorkspaceBody<'a> {
    uid: String,
    slug: &'a str,
    name: &'a str,
    parent: Option<String>,
    enabled: bool,
    created_at: String,
}

impl<'a> WorkspaceBody<'a> {
    fn of(workspace: &'a Workspace) -> WorkspaceBody<'a> {
        WorkspaceBody {
            uid: workspace.uid.to_string(),
            slug: &workspace.slug,
            name: &workspace.name,
            parent: workspace.parent.map(|uid| uid.to_string()),
            enabled: workspace.enabled,
            created_at: workspace.created_at.to_string(),
        }
    }
}

/// `GET /v1/workspaces`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = workspaces::list(call.app, call.caller()?)?;
    let items: Vec<_> = found.iter().map(WorkspaceBody::of).collect();
    Ok(PageBody::whole(items))
}

/// `POST /v1/workspaces`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let mut body = Fields::of(call.request)?;
    let slug = body.required_text("slug")?;
    let new = NewWorkspace {
        name: body.text("name")?.unwrap_or_else(|| slug.clone()),
        slug: Some(slug),
        parent: body.text("parent")?,
    };
    body.finish()?;
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
    let mut body = Fields::of(call.request)?;
    let edit = WorkspaceEdit {
        slug: body.text_not_null("slug")?,
        name: body.text_not_null("name")?,
        parent: body.text_not_null("parent")?,
        enabled: body.flag_or_null("enabled")?.map(|on| on.unwrap_or(true)),
    };
    body.finish()?;
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
            return Err(Error::Malformed(
                "the parameter recursive must be true or false".to_owned(),
            ));
        }
    }
    Ok(Reply::new(204))
}
