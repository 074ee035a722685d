//! Rows of workspaces.

use super::{Read, Row, Write};
use crate::domain::uid::Uid;
use crate::domain::workspace::Workspace;
use crate::error::Result;

pub fn insert(tx: &Write<'_>, workspace: &Workspace) -> Result<()> {
    tx.execute(
        "INSERT INTO workspaces (uid, slug, name, parent_uid, enabled, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            &workspace.uid,
            &workspace.slug,
            &workspace.name,
            &workspace.parent,
            &workspace.enabled,
            &workspace.created_at,
        ],
    )?;
    Ok(())
}

pub fn find(read: &Read, uid: Uid) -> Result<Option<Workspace>> {
    read.query_one(
        "SELECT uid, slug, name, parent_uid, enabled, created_at
         FROM workspaces
         WHERE uid = $1",
        &[&uid],
        from_row,
    )
}

/// Every workspace, parents before their children being no part of the promise.
pub fn list(read: &Read) -> Result<Vec<Workspace>> {
    read.query(
        "SELECT uid, slug, name, parent_uid, enabled, created_at
         FROM workspaces
         ORDER BY slug",
        &[],
        from_row,
    )
}

/// Writes the members that an edit may change.
pub fn update(tx: &Write<'_>, workspace: &Workspace) -> Result<()> {
    tx.execute(
        "UPDATE workspaces
         SET slug = $1, name = $2, parent_uid = $3, enabled = $4
         WHERE uid = $5",
        &[
            &workspace.slug,
            &workspace.name,
            &workspace.parent,
            &workspace.enabled,
            &workspace.uid,
        ],
    )?;
    Ok(())
}

/// Removes a workspace that nothing refers to any more.
pub fn delete(tx: &Write<'_>, uid: Uid) -> Result<bool> {
    let changed = tx.execute("DELETE FROM workspaces WHERE uid = $1", &[&uid])?;
    Ok(changed == 1)
}

/// Whether a workspace has workspaces below it, keys that live or died in it, or users at home in it.
pub fn is_empty(read: &Read, uid: Uid) -> Result<bool> {
    let found = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM workspaces WHERE parent_uid = $1)
             OR EXISTS (SELECT 1 FROM keys WHERE workspace_uid = $1)
             OR EXISTS (SELECT 1 FROM users WHERE home_uid = $1) AS used",
        &[&uid],
        |row| row.get::<bool>("used"),
    )?;
    Ok(found == Some(false))
}

fn from_row(row: &Row<'_>) -> Result<Workspace> {
    Ok(Workspace {
        uid: row.get("uid")?,
        slug: row.get("slug")?,
        name: row.get("name")?,
        parent: row.get("parent_uid")?,
        enabled: row.get("enabled")?,
        created_at: row.get("created_at")?,
    })
}
