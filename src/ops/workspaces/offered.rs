//! Which actions a page has to offer to a caller for workspaces. Each is decided by the function that decides when it is
//! requested, so that nothing is offered that would be refused.

use super::{list, manageable};
use crate::authz::caller::Caller;
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::Workspace;
use crate::error::Result;
use crate::ops::App;

/// What the caller may do to a workspace.
#[derive(Debug, Default)]
pub struct WorkspaceActions {
    /// Whether the caller may change its name and its slug, and create workspaces below it.
    pub change: bool,
    /// Whether the caller may disable and enable it.
    pub switch: bool,
    pub delete: bool,
    /// The workspaces below which the caller may move it, its parent among them.
    pub parents: Vec<Workspace>,
}

/// What the caller may do to a workspace that it sees.
pub fn offered(app: &App, caller: &Caller, workspace: &Workspace) -> Result<WorkspaceActions> {
    if require_change(app, caller, workspace).is_err() {
        return Ok(WorkspaceActions::default());
    }
    let mut parents = places(app, caller, Permission::WorkspacesWrite)?;
    let manages_above = parents
        .iter()
        .any(|other| Some(other.uid) == workspace.parent);
    let directory = app.index.directory();
    parents.retain(|other| manages_above && !directory.reaches(workspace.uid, other.uid));
    Ok(WorkspaceActions {
        change: true,
        switch: manages_above,
        delete: workspace.parent.is_some(),
        parents,
    })
}

/// Refuses a caller who may not change this workspace.
pub fn require_change(app: &App, caller: &Caller, workspace: &Workspace) -> Result<()> {
    manageable(&app.index.directory(), caller, &workspace.uid.to_string()).map(|_| ())
}

/// Refuses a caller who may not create workspaces below any workspace.
pub fn require_create(app: &App, caller: &Caller) -> Result<()> {
    caller.require_in_any(&app.index.directory(), Permission::WorkspacesWrite)
}

/// The workspaces that the caller sees and in which the caller has a permission, by slug.
pub fn places(app: &App, caller: &Caller, permission: Permission) -> Result<Vec<Workspace>> {
    let mut found = list(app, caller)?;
    let directory = app.index.directory();
    found.retain(|workspace| caller.may(&directory, permission, workspace.uid, None));
    Ok(found)
}
