//! Catalogs: each one is replaced as a whole, in one transaction.

use super::{App, Record, index_updates};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::catalogs::{BUILT_IN, Catalog, Definition};
use crate::domain::declared::place_of;
use crate::domain::keys::KeyId;
use crate::domain::text;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::{Read, Write, catalogs, declared, keys};
use std::sync::Arc;

/// The result of putting a catalog.
#[derive(Debug)]
pub struct PutResult {
    pub created: bool,
    /// The keys that have lost a scope, because the catalog no longer contains it.
    pub keys_changed: Vec<KeyId>,
}

/// Refuses a caller who may not put catalogs. This check comes before reading and compiling a catalog, which is
/// expensive; [`put`] repeats the check in its transaction.
pub fn require_put(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let allowed = caller.require_global(&app.index.directory(), Permission::CatalogsWrite);
    let target = Target::new(Kind::Catalog, shown(name));
    app.decided(caller, "catalog.put", target, allowed)
}

/// Creates or replaces a catalog. Keys immediately lose the scopes that it no longer contains.
pub fn put(app: &App, caller: &Caller, definition: Definition) -> Result<PutResult> {
    check_name(&definition.name)?;
    let catalog = Catalog::compile(definition)?;
    let (index, who) = (app.index.clone(), caller.clone());
    let target = Target::new(Kind::Catalog, catalog.name());
    app.change_all(caller, "catalog.put", target.clone(), move |tx, _| {
        who.require_global(&index.directory(), Permission::CatalogsWrite)?;
        let before = catalogs::find(tx, catalog.name())?;
        if let Some(before) = &before {
            check_unlocked(&before.name, &before.source)?;
        }
        let created = before.is_none();
        let replaced = replace(tx, &catalog, before)?;
        let keys_changed = replaced.keys.iter().map(|(id, _)| *id).collect();
        let put = Record {
            target,
            workspace: None,
            changes: replaced.changes,
        };
        let edits = replaced
            .keys
            .into_iter()
            .map(|(_, record)| ("key.edit", record));
        let records = std::iter::once(("catalog.put", put)).chain(edits).collect();
        Ok((
            records,
            PutResult {
                created,
                keys_changed,
            },
        ))
    })
}

/// Refuses a name that no catalog of an owner may have.
pub(super) fn check_name(name: &str) -> Result<()> {
    text::check_slug("name", name)?;
    match name == BUILT_IN {
        true => Err(Error::Conflict(refusals::catalogs::name_built_in(BUILT_IN))),
        false => Ok(()),
    }
}

/// Refuses a change by hand of a catalog that a file declares.
fn check_unlocked(name: &str, source: &str) -> Result<()> {
    match place_of(source) {
        Some(place) => Err(Error::Conflict(refusals::declared::locked_catalog(
            name, place,
        ))),
        None => Ok(()),
    }
}

/// What a new version of a catalog has changed.
pub(super) struct Replaced {
    pub changes: Changes,
    /// The records of the keys that have lost a scope.
    pub keys: Vec<(KeyId, Record)>,
}

/// Stores a catalog in the place of an older version, if there is one.
pub(super) fn replace(
    tx: &Write<'_>,
    catalog: &Catalog,
    before: Option<Definition>,
) -> Result<Replaced> {
    catalogs::replace(tx, catalog.definition())?;
    // The complete catalog is written, so no change from outside Latchkey can remain in it.
    tx.judge(Target::new(Kind::Catalog, catalog.name()), true);
    let keys = drop_vanished(tx, catalog)?;
    let (old, new) = (before.unwrap_or_default(), catalog.definition());
    let mut changes = Changes::default();
    changes.note("case_sensitive", &old.case_sensitive, &new.case_sensitive);
    changes.note_option(
        "resource_metadata",
        &old.resource_metadata,
        &new.resource_metadata,
    );
    changes.note("scopes", &scope_names(&old), &scope_names(new));
    changes.note("operations", &old.operations.len(), &new.operations.len());
    changes.note("preflights", &preflights(&old), &preflights(new));
    changes.note("keys_changed", &0, &keys.len());
    Ok(Replaced { changes, keys })
}

/// The catalog with this name.
pub fn find(app: &App, caller: &Caller, name: &str) -> Result<Arc<Catalog>> {
    caller.require_somewhere(Permission::CatalogsRead)?;
    app.index
        .directory()
        .catalog(name)
        .cloned()
        .ok_or(Error::NotFound("catalog"))
}

/// The catalog with this name as a transaction sees it. Another change in the same commit may have put a new version,
/// which the index has only after the commit.
pub(super) fn in_force(
    read: &Read,
    directory: &Directory,
    name: &str,
) -> Result<Option<Arc<Catalog>>> {
    match read.has_touched(&Target::new(Kind::Catalog, name)) {
        true => index_updates::catalog_within(read, name),
        false => Ok(directory.catalog(name).cloned()),
    }
}

/// All catalogs, by name.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Arc<Catalog>>> {
    caller.require_somewhere(Permission::CatalogsRead)?;
    let mut found: Vec<Arc<Catalog>> = app.index.directory().catalogs().cloned().collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(found)
}

/// Deletes a catalog that no key uses, including deleted keys.
pub fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    if name == BUILT_IN {
        return Err(Error::Conflict(refusals::catalogs::built_in(BUILT_IN)));
    }
    let (index, who, name) = (app.index.clone(), caller.clone(), name.to_owned());
    let target = Target::new(Kind::Catalog, &name);
    app.change(caller, "catalog.delete", target.clone(), move |tx, _| {
        who.require_global(&index.directory(), Permission::CatalogsWrite)?;
        if let Some(catalog) = catalogs::find(tx, &name)? {
            check_unlocked(&name, &catalog.source)?;
        }
        match catalogs::delete(tx, &name) {
            Ok(true) => Ok((
                Some(Record {
                    target,
                    workspace: None,
                    changes: Changes::default(),
                }),
                (),
            )),
            Ok(false) => Err(Error::NotFound("catalog")),
            Err(Error::Conflict(_)) => Err(Error::Conflict(refusals::catalogs::in_use(name))),
            Err(err) => Err(err),
        }
    })
}

/// A name before it was checked, reduced to what the audit log may contain.
fn shown(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(100)
        .collect()
}

/// How many operations let preflights pass.
fn preflights(definition: &Definition) -> usize {
    let operations = definition.operations.iter();
    operations.filter(|operation| operation.preflight).count()
}

fn scope_names(definition: &Definition) -> String {
    let names: Vec<&str> = definition
        .scopes
        .iter()
        .map(|scope| scope.name.as_str())
        .collect();
    names.join(" ")
}

/// Removes the scopes that the catalog no longer contains from live keys. Each key that loses a scope has an event of
/// its own.
fn drop_vanished(tx: &Write<'_>, catalog: &Catalog) -> Result<Vec<(KeyId, Record)>> {
    let mut changed = Vec::new();
    for id in keys::list_of_catalog(tx, catalog.name())? {
        let Some(before) = keys::find(tx, id)? else {
            continue;
        };
        let mut after = before.clone();
        after.scopes.retain(|scope| catalog.has_scope(scope));
        if after.scopes.len() < before.scopes.len() {
            keys::update(tx, &after)?;
            if after.declared_state.is_some() {
                // The file is compared again: it declares a scope that the catalog no longer has.
                after.declared_state = Some(String::new());
                declared::update_key(tx, &after)?;
                declared::forget_settings(tx)?;
            }
            let mut changes = Changes::default();
            changes.note("scopes", &before.scopes.join(" "), &after.scopes.join(" "));
            let record = Record {
                target: Target::new(Kind::Key, id),
                workspace: Some(before.workspace),
                changes,
            };
            changed.push((id, record));
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogs::Scope;
    use crate::ops::keys::edit::edit;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::setup::fixture::Fixture;
    use crate::store::Durability;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::mpsc::channel;

    fn shop(scopes: &[&str]) -> Definition {
        let scope = |name: &&str| Scope {
            name: (*name).to_owned(),
            ..Scope::default()
        };
        Definition {
            name: "shop".to_owned(),
            case_sensitive: false,
            scopes: scopes.iter().map(scope).collect(),
            ..Definition::default()
        }
    }

    fn new_key(scope: &str) -> NewKey {
        NewKey {
            members: KeyMembers {
                scopes: Some(vec![scope.to_owned()]),
                ..KeyMembers::named("k")
            },
            catalog: Some("shop".to_owned()),
            ..NewKey::default()
        }
    }

    /// Both changes are in one commit, one after the other, so the second is decided by the catalog that the first
    /// has put.
    #[test]
    fn a_key_that_is_committed_with_its_catalog_has_no_scope_that_vanishes_with_it() {
        let fixture = Fixture::new();
        let (app, local) = (&fixture.app, fixture.local());
        put(app, &local, shop(&["old", "both"])).unwrap();
        let known = issue(app, &local, new_key("both"), None).unwrap();
        let id = known.view.key.id;
        let (running, started) = channel();
        let (release, wait) = channel::<()>();
        std::thread::scope(|scope| {
            let held = scope.spawn(move || {
                app.store.write(Durability::Full, move |_| {
                    running.send(()).unwrap();
                    let _ = wait.recv();
                    Ok(())
                })
            });
            started.recv().unwrap();
            let in_line = |count| {
                while app.figures().changes_waiting.load(Relaxed) < count {
                    std::thread::yield_now();
                }
            };
            let local = &local;
            let putting = scope.spawn(move || put(app, local, shop(&["new", "both"])));
            in_line(1);
            let vanished = scope.spawn(move || issue(app, local, new_key("old"), None));
            in_line(2);
            let fresh = scope.spawn(move || issue(app, local, new_key("new"), None));
            in_line(3);
            let edited = scope.spawn(move || {
                let scopes = Some(vec!["old".to_owned()]);
                edit(
                    app,
                    local,
                    id,
                    KeyMembers {
                        scopes,
                        ..KeyMembers::default()
                    },
                )
            });
            in_line(4);
            drop(release);
            held.join().unwrap().unwrap();
            putting.join().unwrap().unwrap();
            let refused = vanished.join().unwrap();
            assert!(
                matches!(&refused, Err(Error::Invalid { field, .. }) if field == "scopes[0]"),
                "{refused:?}"
            );
            fresh.join().unwrap().unwrap();
            assert!(matches!(edited.join().unwrap(), Err(Error::Invalid { .. })));
        });
    }
}
