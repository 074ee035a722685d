//! The tree of workspaces.

pub mod delete;

use super::access::{self, Caller};
use super::retry::{self, Retry};
use super::{App, Record};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::people::permission::Permission;
use crate::domain::sorted;
use crate::domain::text;
use crate::domain::uid::Uid;
use crate::domain::workspace::{DEPTH_MAX, Workspace};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::keeping::accept::require_accepted;
use crate::store::{Read, numbers, workspaces};

/// What a new workspace is to be.
#[derive(Clone, Debug)]
pub struct NewWorkspace {
    /// Made from the name, and unlike any other, if absent.
    pub slug: Option<String>,
    pub name: String,
    /// Slug or uid; the caller's reach if absent.
    pub parent: Option<String>,
}

/// What an edit changes.
#[derive(Clone, Debug, Default)]
pub struct WorkspaceEdit {
    pub slug: Option<String>,
    pub name: Option<String>,
    /// Slug or uid of the new parent.
    pub parent: Option<String>,
    pub enabled: Option<bool>,
}

/// Creates a workspace below another one.
pub fn create(
    app: &App,
    caller: &Caller,
    new: NewWorkspace,
    retry: Option<Retry>,
) -> Result<Workspace> {
    if let Some(slug) = &new.slug {
        text::check_slug("slug", slug)?;
    }
    text::check_name("name", &new.name)?;
    let (index, who, peppers) = (app.index.clone(), caller.clone(), app.peppers.clone());
    app.change(
        caller,
        "workspace.create",
        Target::new(Kind::Workspace, ""),
        move |tx, now| {
            let directory = index.directory();
            who.require_somewhere(Permission::WorkspacesWrite)?;
            if let Some(earlier) = retry::find(tx, &peppers, &who, retry.as_ref(), now)? {
                return Ok((None, visible(&directory, &who, &earlier)?));
            }
            let parent = match &new.parent {
                None => who.reach,
                Some(asked) => parent(&directory, &who, asked)?,
            };
            who.require(&directory, Permission::WorkspacesWrite, parent, None)?;
            check_live(tx, parent)?;
            let all = workspaces::list(tx)?;
            let workspace = Workspace {
                uid: Uid::generate()?,
                number: numbers::next_of_workspaces(tx)?,
                slug: new.slug.unwrap_or_else(|| free_slug(&all, &new.name)),
                name: new.name,
                parent: Some(parent),
                enabled: true,
                created_at: now,
                updated_at: now,
            };
            check_slug_free(&all, &workspace)?;
            workspaces::insert(tx, &workspace)?;
            check_tree(&workspaces::list(tx)?)?;
            retry::remember(tx, &peppers, &who, retry.as_ref(), workspace.uid, now)?;
            let mut changes = Changes::default();
            changes.note("slug", &String::new(), &workspace.slug);
            changes.note("name", &String::new(), &workspace.name);
            changes.note_option("parent", &None, &workspace.parent);
            Ok((Some(record(&workspace, changes)), workspace))
        },
    )
}

/// The workspace, if the caller may see it.
pub fn find(app: &App, caller: &Caller, text: &str) -> Result<Workspace> {
    visible(&app.index.directory(), caller, text)
}

/// All workspaces that the caller may see, by slug.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Workspace>> {
    caller.require_somewhere(Permission::WorkspacesRead)?;
    let directory = app.index.directory();
    let mut found: Vec<Workspace> = directory
        .places()
        .map(|place| &place.workspace)
        .filter(|workspace| caller.may(&directory, Permission::WorkspacesRead, workspace.uid, None))
        .cloned()
        .collect();
    sorted::by(&mut found, |a, b| a.slug.cmp(&b.slug));
    Ok(found)
}

/// Renames, moves, disables or enables a workspace. Disabling stops its keys and those of all below it.
pub fn edit(app: &App, caller: &Caller, text: &str, edit: WorkspaceEdit) -> Result<Workspace> {
    if let Some(slug) = &edit.slug {
        text::check_slug("slug", slug)?;
    }
    if let Some(name) = &edit.name {
        text::check_name("name", name)?;
    }
    let (index, who, asked) = (app.index.clone(), caller.clone(), text.to_owned());
    app.change(
        caller,
        "workspace.edit",
        Target::new(Kind::Workspace, text),
        move |tx, now| {
            let directory = index.directory();
            let seen = manageable(&directory, &who, &asked)?;
            let before = workspaces::find(tx, seen.uid)?.ok_or(Error::NotFound("workspace"))?;
            let mut after = before.clone();
            after.slug = edit.slug.unwrap_or(after.slug);
            after.name = edit.name.unwrap_or(after.name);
            after.enabled = edit.enabled.unwrap_or(after.enabled);
            if after.enabled && !before.enabled {
                require_accepted(tx, &who, &Target::new(Kind::Workspace, before.uid))?;
            }
            if let (Some(above), true) = (before.parent, after.enabled != before.enabled) {
                // Whoever is inside must not undo what was done from above.
                who.require(&directory, Permission::WorkspacesWrite, above, None)?;
            }
            if let Some(asked) = &edit.parent {
                let parent = new_parent(&directory, &who, &before, asked)?;
                check_live(tx, parent)?;
                after.parent = Some(parent);
            }
            if before.parent.is_none() && !after.enabled {
                return Err(Error::Conflict(
                    "the root workspace cannot be disabled; disable the ones below it".to_owned(),
                ));
            }
            let changes = changes(&before, &after);
            if changes.is_empty() {
                return Ok((None, before));
            }
            after.updated_at = now;
            check_slug_free(&workspaces::list(tx)?, &after)?;
            workspaces::update(tx, &after)?;
            check_tree(&workspaces::list(tx)?)?;
            Ok((Some(record(&after, changes)), after))
        },
    )
}

fn visible(directory: &Directory, caller: &Caller, text: &str) -> Result<Workspace> {
    directory
        .find_place(text)
        .map(|place| &place.workspace)
        .filter(|workspace| caller.may(directory, Permission::WorkspacesRead, workspace.uid, None))
        .cloned()
        .ok_or(Error::NotFound("workspace"))
}

fn manageable(directory: &Directory, caller: &Caller, text: &str) -> Result<Workspace> {
    caller.require_somewhere(Permission::WorkspacesWrite)?;
    let workspace = visible(directory, caller, text)?;
    caller.require(directory, Permission::WorkspacesWrite, workspace.uid, None)?;
    Ok(workspace)
}

fn parent(directory: &Directory, caller: &Caller, asked: &str) -> Result<Uid> {
    let place = directory
        .find_place(asked)
        .filter(|place| caller.knows(directory, place.workspace.uid));
    Ok(place
        .ok_or_else(|| Error::invalid("parent", "there is no such workspace"))?
        .workspace
        .uid)
}

/// Moving takes the right to manage the old parent's children as well as the new one's: what is moved away leaves
/// the reach of everybody above its old place.
fn new_parent(
    directory: &Directory,
    caller: &Caller,
    workspace: &Workspace,
    asked: &str,
) -> Result<Uid> {
    let Some(old) = workspace.parent else {
        return Err(Error::Conflict(
            "the root workspace cannot be moved".to_owned(),
        ));
    };
    let new = parent(directory, caller, asked)?;
    caller.require(directory, Permission::WorkspacesWrite, old, None)?;
    caller.require(directory, Permission::WorkspacesWrite, new, None)?;
    if directory.reaches(workspace.uid, new) {
        return Err(Error::Conflict(
            "a workspace cannot be moved below itself".to_owned(),
        ));
    }
    Ok(new)
}

/// On the row, because the index follows the deletion of a workspace later than another change of the same batch.
fn check_live(read: &Read, parent: Uid) -> Result<()> {
    match workspaces::find(read, parent)? {
        Some(_) => Ok(()),
        None => Err(Error::invalid("parent", "there is no such workspace")),
    }
}

/// A slug from a name, with a number behind it if another workspace has it.
fn free_slug(all: &[Workspace], name: &str) -> String {
    let first = text::slug_of(name);
    let taken = |slug: &String| all.iter().any(|workspace| workspace.slug == *slug);
    // One of so many different ones is free.
    let numbered = (2..=all.len() + 2).map(|number| format!("{first}-{number}"));
    std::iter::once(first.clone())
        .chain(numbered)
        .find(|slug| !taken(slug))
        .unwrap_or(first)
}

fn check_slug_free(all: &[Workspace], wanted: &Workspace) -> Result<()> {
    if all
        .iter()
        .any(|other| other.slug == wanted.slug && other.uid != wanted.uid)
    {
        return Err(Error::Conflict(format!(
            "there is a workspace {} already",
            wanted.slug
        )));
    }
    Ok(())
}

/// In the transaction of the change, over the rows as they will be: one root, no circle, no depth beyond the limit.
fn check_tree(all: &[Workspace]) -> Result<()> {
    let mut directory = Directory::default();
    directory.put_workspaces(all.to_vec());
    let root = access::root(&directory)?;
    for workspace in all {
        let place = directory.place(workspace.uid);
        if !directory.reaches(root, workspace.uid) {
            return Err(Error::Conflict(
                "a workspace cannot be moved below itself".to_owned(),
            ));
        }
        if place.is_none_or(|place| place.depth() > DEPTH_MAX) {
            return Err(Error::Conflict(format!(
                "workspaces can be nested {DEPTH_MAX} deep"
            )));
        }
    }
    Ok(())
}

fn changes(before: &Workspace, after: &Workspace) -> Changes {
    let mut changes = Changes::default();
    changes.note("slug", &before.slug, &after.slug);
    changes.note("name", &before.name, &after.name);
    changes.note("enabled", &before.enabled, &after.enabled);
    changes.note_option("parent", &before.parent, &after.parent);
    changes
}

fn record(workspace: &Workspace, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::Workspace, workspace.uid),
        workspace: Some(workspace.uid),
        changes,
    }
}
