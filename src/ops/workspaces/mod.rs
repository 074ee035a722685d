//! The tree of workspaces.

pub mod counts;
pub mod delete;
pub mod offered;

use super::idempotency;
use super::idempotency::Retry;
use super::{App, Record, retired_names};
use crate::authz::caller;
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::text;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::{DEPTH_MAX, WORKSPACES_MAX, Workspace};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::changed_outside::accept::require_accepted;
use crate::refusals;
use crate::store::{Read, Write, numbers, retired_names as retired, workspaces};
use std::collections::HashSet;

/// The number of suffixes that are tried when a slug is in use.
const SLUGS_TRIED: i64 = 20;

/// The members of a new workspace.
#[derive(Clone, Debug)]
pub struct NewWorkspace {
    /// If absent, a unique slug is made from the name.
    pub slug: Option<String>,
    pub name: String,
    /// Slug or uid; if absent, the workspace to which the caller is restricted.
    pub parent: Option<String>,
}

/// The members that an edit changes.
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
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    app.change(
        caller,
        "workspace.create",
        Target::new(Kind::Workspace, ""),
        move |tx, now| {
            let directory = index.directory();
            who.require_somewhere(Permission::WorkspacesWrite)?;
            if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
                return Ok((None, visible(&directory, &who, &earlier)?));
            }
            let parent = match &new.parent {
                None => who.reach,
                Some(asked) => parent(&directory, &who, asked)?,
            };
            who.require(&directory, Permission::WorkspacesWrite, parent, None)?;
            check_live(tx, parent)?;
            check_number(tx, &directory)?;
            check_depth(tx, parent)?;
            let number = numbers::next_of_workspaces(tx)?;
            let slug = match new.slug {
                Some(slug) => slug,
                None => free_slug(tx, &new.name, number)?,
            };
            let workspace = Workspace {
                uid: Uid::generate()?,
                number,
                slug,
                name: new.name,
                parent: Some(parent),
                enabled: true,
                created_at: now,
                updated_at: now,
            };
            check_slug_free(tx, &directory, &who, &workspace)?;
            workspaces::insert(tx, &workspace)?;
            idempotency::remember(tx, &files, &who, retry.as_ref(), workspace.uid, now)?;
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
    found.sort_by(|a, b| a.slug.cmp(&b.slug));
    Ok(found)
}

/// Renames, moves, disables or enables a workspace. Disabling a workspace disables its keys and those of all
/// workspaces below it.
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
                // A caller inside the workspace must not undo a change that was made from above.
                who.require(&directory, Permission::WorkspacesWrite, above, None)?;
            }
            if let Some(asked) = &edit.parent {
                let parent = new_parent(&directory, &who, &before, asked)?;
                check_live(tx, parent)?;
                after.parent = Some(parent);
            }
            if before.parent.is_none() && !after.enabled {
                return Err(Error::Conflict(refusals::workspaces::root_disabled()));
            }
            let changes = changes(&before, &after);
            if changes.is_empty() {
                return Ok((None, before));
            }
            after.updated_at = now;
            if after.slug != before.slug {
                check_slug_free(tx, &directory, &who, &after)?;
            }
            workspaces::update(tx, &after)?;
            if before.parent != after.parent {
                check_tree(&workspaces::list(tx)?)?;
            }
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
        .ok_or_else(|| Error::invalid("parent", refusals::workspaces::unknown()))?
        .workspace
        .uid)
}

/// Moving requires the permission to manage the children of the old parent as well as of the new one, because the
/// workspace leaves the reach of all administrators above its old position.
fn new_parent(
    directory: &Directory,
    caller: &Caller,
    workspace: &Workspace,
    asked: &str,
) -> Result<Uid> {
    let Some(old) = workspace.parent else {
        return Err(Error::Conflict(refusals::workspaces::root_moved()));
    };
    let new = parent(directory, caller, asked)?;
    caller.require(directory, Permission::WorkspacesWrite, old, None)?;
    caller.require(directory, Permission::WorkspacesWrite, new, None)?;
    if directory.reaches(workspace.uid, new) {
        return Err(Error::Conflict(refusals::workspaces::move_below_itself()));
    }
    Ok(new)
}

/// Reads the row, because another change of the same batch may have deleted the workspace, and the index is updated
/// only after the commit.
fn check_live(read: &Read, parent: Uid) -> Result<()> {
    match workspaces::find(read, parent)? {
        Some(_) => Ok(()),
        None => Err(Error::invalid("parent", refusals::workspaces::unknown())),
    }
}

/// A slug made from a name. If another workspace has or had it, a number is appended: a small one, or, if many
/// workspaces have the name, the workspace's own number.
fn free_slug(read: &Read, name: &str, number: i64) -> Result<String> {
    let first = text::slug_of(name);
    let numbered = (2..=SLUGS_TRIED)
        .chain([number])
        .map(|number| format!("{first}-{number}"));
    for slug in std::iter::once(first.clone()).chain(numbered) {
        let is_taken = workspaces::find_by_slug(read, &slug)?.is_some();
        if !is_taken && retired::find(read, Kind::Workspace, &slug)?.is_none() {
            return Ok(slug);
        }
    }
    Ok(first)
}

/// Refuses a workspace beyond the limit. Workspaces that the transaction has created are not in the index yet.
fn check_number(tx: &Write<'_>, directory: &Directory) -> Result<()> {
    let is_new = |target: &Target| {
        target.kind == Kind::Workspace && directory.find_place(&target.id).is_none()
    };
    let new: HashSet<Target> = tx.touched().into_iter().filter(is_new).collect();
    if directory.workspace_count() + new.len() < WORKSPACES_MAX {
        return Ok(());
    }
    Err(Error::Conflict(refusals::workspaces::too_many(
        WORKSPACES_MAX,
    )))
}

/// Follows the rows up from the parent, and checks whether one more level below it is allowed.
fn check_depth(read: &Read, parent: Uid) -> Result<()> {
    let (mut depth, mut above) = (1, Some(parent));
    while let Some(uid) = above {
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let workspace = workspaces::find(read, uid)?;
        above = workspace.and_then(|workspace| workspace.parent);
    }
    Ok(())
}

fn too_deep() -> Error {
    Error::Conflict(refusals::workspaces::nested_too_deep(DEPTH_MAX))
}

/// Refuses a slug that another workspace has or had before.
fn check_slug_free(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    wanted: &Workspace,
) -> Result<()> {
    let other = workspaces::find_by_slug(read, &wanted.slug)?;
    if other.is_some_and(|other| other.uid != wanted.uid) {
        let is_seen = visible(directory, caller, &wanted.slug).is_ok();
        return Err(retired_names::taken(Kind::Workspace, &wanted.slug, is_seen));
    }
    let (kind, holder) = (Kind::Workspace, Some(wanted.uid));
    retired_names::check_retired(read, directory, caller, kind, &wanted.slug, holder)
}

/// Checks the tree as it will be after the change, within its transaction: one root, no cycle, and no level beyond
/// the limit.
fn check_tree(all: &[Workspace]) -> Result<()> {
    let mut directory = Directory::default();
    directory.put_workspaces(all.to_vec());
    let root = caller::root(&directory)?;
    for workspace in all {
        let place = directory.place(workspace.uid);
        if !directory.reaches(root, workspace.uid) {
            return Err(Error::Conflict(refusals::workspaces::move_below_itself()));
        }
        if place.is_none_or(|place| place.depth() > DEPTH_MAX) {
            return Err(too_deep());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Event;
    use crate::ops::setup::fixture::{Fixture, NOW};
    use crate::store::{Durability, STEPS, audit};

    fn new(name: &str, parent: Option<&str>) -> NewWorkspace {
        NewWorkspace {
            slug: None,
            name: name.to_owned(),
            parent: parent.map(str::to_owned),
        }
    }

    /// Creates this many workspaces below the root without any checks.
    fn fill(fixture: &Fixture, count: usize) {
        let root = fixture
            .app
            .index
            .directory()
            .root()
            .unwrap()
            .workspace
            .clone();
        let seal_keys = fixture.app.seal_keys.clone();
        let write = move |tx: &Write<'_>| {
            for _ in 0..count {
                let number = numbers::next_of_workspaces(tx)?;
                let workspace = Workspace {
                    uid: Uid::generate()?,
                    number,
                    slug: format!("filled-{number}"),
                    name: "Filled".to_owned(),
                    parent: Some(root.uid),
                    ..root.clone()
                };
                workspaces::insert(tx, &workspace)?;
                let target = Target::new(Kind::Workspace, workspace.uid);
                let event = Event::of_system("workspace.create", target, NOW);
                audit::append(tx, &seal_keys, event)?;
            }
            Ok(())
        };
        fixture.app.store.write(Durability::Relaxed, write).unwrap();
    }

    /// The number of SQLite steps of the writer's thread since the last call.
    fn steps(fixture: &Fixture) -> u64 {
        let look = |_: &Write<'_>| Ok(STEPS.replace(0));
        fixture.app.store.write(Durability::Relaxed, look).unwrap()
    }

    #[test]
    fn a_new_workspace_costs_the_same_among_ten_and_among_thousands() {
        let fixture = Fixture::new();
        let cost = |count: usize| {
            fill(&fixture, count);
            steps(&fixture);
            let name = format!("Among {count}");
            let made = create(&fixture.app, &fixture.local(), new(&name, None), None);
            assert!(made.is_ok(), "{made:?}");
            steps(&fixture)
        };
        let (few, many) = (cost(30), cost(3_000));
        assert!(few > 0 && many <= few * 2, "{few} steps, then {many}");
    }

    #[test]
    fn workspaces_of_one_name_have_different_slugs() {
        let fixture = Fixture::new();
        let slugs: Vec<String> = (0..25)
            .map(|_| {
                let made = create(&fixture.app, &fixture.local(), new("Same", None), None);
                made.unwrap().slug
            })
            .collect();
        assert_eq!(slugs[..3], ["same", "same-2", "same-3"]);
        let different: HashSet<&String> = slugs.iter().collect();
        assert_eq!(different.len(), slugs.len());
    }

    #[test]
    fn a_server_has_a_greatest_number_of_workspaces() {
        let fixture = Fixture::new();
        let one = fixture
            .app
            .index
            .directory()
            .root()
            .unwrap()
            .workspace
            .clone();
        let few = WORKSPACES_MAX - 2;
        let some = (0..few).map(|number| {
            let uid = Uid::generate().unwrap();
            let workspace = Workspace {
                uid,
                slug: format!("w{number}"),
                parent: Some(one.uid),
                ..one.clone()
            };
            (uid, Some(workspace))
        });
        fixture
            .app
            .index
            .directory_mut()
            .put_some_workspaces(some.collect());
        create(&fixture.app, &fixture.local(), new("last", None), None).unwrap();
        let refused = create(&fixture.app, &fixture.local(), new("too many", None), None);
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }

    #[test]
    fn workspaces_are_nested_so_deep() {
        let fixture = Fixture::new();
        let mut parent = "root".to_owned();
        for _ in 1..DEPTH_MAX {
            let made = create(
                &fixture.app,
                &fixture.local(),
                new("Deep", Some(&parent)),
                None,
            );
            parent = made.unwrap().slug;
        }
        let refused = create(
            &fixture.app,
            &fixture.local(),
            new("Deep", Some(&parent)),
            None,
        );
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
}
