//! Deleting workspaces: an empty workspace, or a workspace with everything in it and below it.

use super::{manageable, visible};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::users::lost_roles;
use crate::ops::{App, Record, keys};
use crate::refusals;
use crate::store::{Write, users, workspaces};

/// Deletes an empty workspace. Its roles are removed, and its slug is retired.
pub fn delete(app: &App, caller: &Caller, text: &str) -> Result<()> {
    let (index, who, asked) = (app.index.clone(), caller.clone(), text.to_owned());
    let target = Target::new(Kind::Workspace, text);
    app.change_all(caller, "workspace.delete", target, move |tx, now| {
        let (workspace, parent) = deletable(tx, &index.directory(), &who, &asked)?;
        if !workspaces::is_empty(tx, workspace.uid)? {
            return Err(Error::Conflict(refusals::workspaces::not_empty(
                &workspace.slug,
            )));
        }
        Ok((end(tx, &workspace, parent, now)?, ()))
    })
}

/// Deletes a workspace, all workspaces below it and every key in them, in one transaction; the index is updated
/// before this function returns. Users whose home is there must be deleted first, because they may have
/// rights in other workspaces. Policies that require the name of a key to confirm its deletion do not apply here.
pub fn delete_with_contents(app: &App, caller: &Caller, text: &str) -> Result<()> {
    let (index, who, asked) = (app.index.clone(), caller.clone(), text.to_owned());
    let target = Target::new(Kind::Workspace, text);
    app.change_all(caller, "workspace.delete", target, move |tx, now| {
        let directory = index.directory();
        let (top, parent) = deletable(tx, &directory, &who, &asked)?;
        who.require(&directory, Permission::KeysWrite, top.uid, None)?;
        let doomed = deepest_first(workspaces::list(tx)?, top.uid);
        for workspace in &doomed {
            check_nobody_at_home(tx, workspace)?;
        }
        Ok((end_all(tx, &doomed, parent, now)?, ()))
    })
}

/// Deletes workspaces, children before their parents, and all keys in them. `parent` is the workspace above, which
/// stays.
fn end_all(
    tx: &Write<'_>,
    doomed: &[Workspace],
    parent: Uid,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let mut records = Vec::new();
    for workspace in doomed {
        for (action, ended) in keys::end_those_of_workspace(tx, workspace.uid, now)? {
            let workspace = Some(parent);
            records.push((action, Record { workspace, ..ended }));
        }
        records.extend(end(tx, workspace, parent, now)?);
    }
    Ok(records)
}

/// Deletes a workspace that has no workspaces below it, with every key in it. Only for administrators of the root
/// workspace.
pub fn delete_with_keys(app: &App, caller: &Caller, text: &str) -> Result<()> {
    let (index, who, asked) = (app.index.clone(), caller.clone(), text.to_owned());
    let target = Target::new(Kind::Workspace, text);
    app.change_all(caller, "workspace.delete", target, move |tx, now| {
        let directory = index.directory();
        let seen = visible(&directory, &who, &asked)?;
        who.require_root_administrator(&directory)?;
        let (top, parent) = deletable(tx, &directory, &who, &asked)?;
        let doomed = deepest_first(workspaces::list(tx)?, top.uid);
        if doomed.len() > 1 {
            return Err(Error::Conflict(refusals::workspaces::has_children(
                &seen.slug,
            )));
        }
        check_nobody_at_home(tx, &top)?;
        Ok((end_all(tx, &doomed, parent, now)?, ()))
    })
}

/// The workspace as the transaction sees it, and its parent.
fn deletable(
    tx: &Write<'_>,
    directory: &Directory,
    caller: &Caller,
    asked: &str,
) -> Result<(Workspace, Uid)> {
    let seen = manageable(directory, caller, asked)?;
    let workspace = workspaces::find(tx, seen.uid)?.ok_or(Error::NotFound("workspace"))?;
    let parent = workspace
        .parent
        .ok_or_else(|| Error::Conflict(refusals::workspaces::root_deleted()))?;
    Ok((workspace, parent))
}

/// The workspace `top` and all below it, children before their parents.
fn deepest_first(all: Vec<Workspace>, top: Uid) -> Vec<Workspace> {
    let mut tree = Directory::default();
    tree.put_workspaces(all);
    let mut places: Vec<_> = tree
        .subtree(top)
        .filter_map(|uid| tree.place(uid))
        .collect();
    places.sort_by_key(|place| std::cmp::Reverse((place.depth(), place.workspace.uid)));
    places
        .into_iter()
        .map(|place| place.workspace.clone())
        .collect()
}

fn check_nobody_at_home(tx: &Write<'_>, workspace: &Workspace) -> Result<()> {
    let names = users::list_at_home(tx, workspace.uid)?;
    let Some(first) = names.first() else {
        return Ok(());
    };
    Err(Error::Conflict(refusals::workspaces::has_users(
        names.len(),
        &workspace.slug,
        first,
    )))
}

/// Deletes one workspace, with the roles in it. The last of the records is its own.
fn end(
    tx: &Write<'_>,
    workspace: &Workspace,
    parent: Uid,
    now: Timestamp,
) -> Result<Vec<(&'static str, Record)>> {
    let lost = lost_roles::delete(tx, workspace)?.into_iter();
    let mut records: Vec<(&str, Record)> =
        lost.map(|record| (lost_roles::ACTION, record)).collect();
    workspaces::delete(tx, workspace.uid, now)?;
    records.push(("workspace.delete", record(workspace, parent)));
    Ok(records)
}

/// Contains the slug, which is retired. The event belongs to the workspace above, which still exists, so that its
/// auditors can see the event.
fn record(ended: &Workspace, parent: Uid) -> Record {
    let mut changes = Changes::default();
    changes.note("slug", &ended.slug, &String::new());
    Record {
        target: Target::new(Kind::Workspace, ended.uid),
        workspace: Some(parent),
        changes,
    }
}
