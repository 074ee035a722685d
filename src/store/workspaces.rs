//! Rows of workspaces.

use super::{Read, Row, Write, retired_names};
use crate::domain::audit::Kind;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::workspaces::Workspace;
use crate::error::Result;

pub fn insert(tx: &Write<'_>, workspace: &Workspace) -> Result<()> {
    tx.execute(
        "INSERT INTO workspaces (uid, number, slug, name, parent_uid, enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &workspace.uid,
            &workspace.number,
            &workspace.slug,
            &workspace.name,
            &workspace.parent,
            &workspace.enabled,
            &workspace.created_at,
            &workspace.updated_at,
        ],
    )?;
    Ok(())
}

/// A workspace by uid, unless it is deleted.
pub fn find(read: &Read, uid: Uid) -> Result<Option<Workspace>> {
    read.query_one(
        "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at
         FROM workspaces
         WHERE uid = $1 AND deleted_at IS NULL",
        &[&uid],
        from_row,
    )
}

/// A workspace by slug, unless it is deleted.
pub fn find_by_slug(read: &Read, slug: &str) -> Result<Option<Workspace>> {
    read.query_one(
        "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at
         FROM workspaces
         WHERE slug = $1 AND deleted_at IS NULL",
        &[&slug],
        from_row,
    )
}

/// Every workspace that is not deleted, by slug. A parent does not necessarily come before its children.
pub fn list(read: &Read) -> Result<Vec<Workspace>> {
    read.query(
        "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at
         FROM workspaces
         WHERE deleted_at IS NULL
         ORDER BY slug",
        &[],
        from_row,
    )
}

/// Writes the members that an edit may change. If the slug changes, the old one is retired.
pub fn update(tx: &Write<'_>, workspace: &Workspace) -> Result<()> {
    if let Some(before) = find(tx, workspace.uid)?
        && before.slug != workspace.slug
    {
        retired_names::retire(tx, Kind::Workspace, &before.slug, before.uid)?;
    }
    tx.execute(
        "UPDATE workspaces
         SET slug = $1, name = $2, parent_uid = $3, enabled = $4, updated_at = $5
         WHERE uid = $6 AND deleted_at IS NULL",
        &[
            &workspace.slug,
            &workspace.name,
            &workspace.parent,
            &workspace.enabled,
            &workspace.updated_at,
            &workspace.uid,
        ],
    )?;
    Ok(())
}

/// Deletes a workspace for good and retires its slug. `false` if it was deleted before; the first deletion time is
/// kept.
pub fn delete(tx: &Write<'_>, uid: Uid, now: Timestamp) -> Result<bool> {
    if let Some(before) = find(tx, uid)? {
        retired_names::retire(tx, Kind::Workspace, &before.slug, uid)?;
    }
    let changed = tx.execute(
        "UPDATE workspaces SET deleted_at = $1 WHERE uid = $2 AND deleted_at IS NULL",
        &[&now, &uid],
    )?;
    Ok(changed == 1)
}

/// Whether a workspace has no workspaces below it, no live keys, and no users whose home it is.
pub fn is_empty(read: &Read, uid: Uid) -> Result<bool> {
    let found = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM workspaces WHERE parent_uid = $1 AND deleted_at IS NULL)
             OR EXISTS (SELECT 1 FROM keys WHERE workspace_uid = $1 AND deleted_at IS NULL)
             OR EXISTS (SELECT 1 FROM users WHERE home_uid = $1 AND deleted_at IS NULL) AS used",
        &[&uid],
        |row| row.get::<bool>("used"),
    )?;
    Ok(found == Some(false))
}

fn from_row(row: &Row<'_>) -> Result<Workspace> {
    Ok(Workspace {
        uid: row.get("uid")?,
        number: row.get("number")?,
        slug: row.get("slug")?,
        name: row.get("name")?,
        parent: row.get("parent_uid")?,
        enabled: row.get("enabled")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
