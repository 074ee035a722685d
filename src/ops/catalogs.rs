//! Catalogs: put whole, in one transaction.

use super::access::Caller;
use super::{App, Record};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::catalog::{BUILT_IN, Catalog, Definition};
use crate::domain::key::KeyId;
use crate::domain::people::permission::Permission;
use crate::domain::text;
use crate::error::{Error, Result};
use crate::store::{Write, catalogs, keys};
use std::sync::Arc;

/// What putting a catalog did.
#[derive(Debug)]
pub struct Put {
    pub created: bool,
    /// Keys that held a scope which is no more, and have lost it.
    pub keys_changed: Vec<KeyId>,
}

/// Refuses a caller who may not put catalogs. Reading and compiling one is work, so rights come before it;
/// [`put`] checks them again in its transaction.
pub fn require_put(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let allowed = caller.require_global(&app.index.directory(), Permission::CatalogsWrite);
    let target = Target::new(Kind::Catalog, shown(name));
    app.decided(caller, "catalog.put", target, allowed)
}

/// Puts a catalog in the place of what had its name. Keys lose scopes that it no longer has, at once.
pub fn put(app: &App, caller: &Caller, definition: Definition) -> Result<Put> {
    text::check_slug("name", &definition.name)?;
    if definition.name == BUILT_IN {
        return Err(Error::Conflict(format!(
            "the catalog {BUILT_IN} is built in; choose another name"
        )));
    }
    let catalog = Catalog::compile(definition)?;
    let (index, who) = (app.index.clone(), caller.clone());
    let target = Target::new(Kind::Catalog, catalog.name());
    app.change_all(caller, "catalog.put", target.clone(), move |tx, _| {
        who.require_global(&index.directory(), Permission::CatalogsWrite)?;
        let before = catalogs::find(tx, catalog.name())?;
        catalogs::replace(tx, catalog.definition())?;
        let losers = drop_vanished(tx, &catalog)?;
        let keys_changed: Vec<KeyId> = losers.iter().map(|(id, _)| *id).collect();
        let mut changes = Changes::default();
        let (old, new) = (before.clone().unwrap_or_default(), catalog.definition());
        changes.note("scopes", &scope_names(&old), &scope_names(new));
        changes.note("operations", &old.operations.len(), &new.operations.len());
        changes.note("keys_changed", &0, &keys_changed.len());
        let put = Record {
            target,
            workspace: None,
            changes,
        };
        let edits = losers.into_iter().map(|(_, record)| ("key.edit", record));
        let records = std::iter::once(("catalog.put", put)).chain(edits).collect();
        Ok((
            records,
            Put {
                created: before.is_none(),
                keys_changed,
            },
        ))
    })
}

/// The catalog of a name.
pub fn find(app: &App, caller: &Caller, name: &str) -> Result<Arc<Catalog>> {
    caller.require_somewhere(Permission::CatalogsRead)?;
    app.index
        .directory()
        .catalog(name)
        .cloned()
        .ok_or(Error::NotFound("catalog"))
}

/// All catalogs, by name.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Arc<Catalog>>> {
    caller.require_somewhere(Permission::CatalogsRead)?;
    let mut found: Vec<Arc<Catalog>> = app.index.directory().catalogs().cloned().collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(found)
}

/// Removes a catalog that no key has, dead ones included.
pub fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    if name == BUILT_IN {
        return Err(Error::Conflict(format!(
            "the catalog {BUILT_IN} is built in"
        )));
    }
    let (index, who, name) = (app.index.clone(), caller.clone(), name.to_owned());
    let target = Target::new(Kind::Catalog, &name);
    app.change(caller, "catalog.delete", target.clone(), move |tx, _| {
        who.require_global(&index.directory(), Permission::CatalogsWrite)?;
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
            Err(Error::Conflict(_)) => Err(Error::Conflict(format!(
                "keys of catalog {name} exist (deleted ones count), or a policy names it; it has to stay"
            ))),
            Err(err) => Err(err),
        }
    })
}

/// A name as the audit log may hold it, before anybody has looked at it.
fn shown(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_graphic)
        .take(100)
        .collect()
}

fn scope_names(definition: &Definition) -> String {
    let names: Vec<&str> = definition
        .scopes
        .iter()
        .map(|scope| scope.name.as_str())
        .collect();
    names.join(" ")
}

/// Takes from live keys the scopes that the catalog no longer has. Each key that loses some has an event of its own.
fn drop_vanished(tx: &Write<'_>, catalog: &Catalog) -> Result<Vec<(KeyId, Record)>> {
    let mut losers = Vec::new();
    for id in keys::list_of_catalog(tx, catalog.name())? {
        let Some(before) = keys::find(tx, id)? else {
            continue;
        };
        let mut after = before.clone();
        after.scopes.retain(|scope| catalog.has_scope(scope));
        if after.scopes.len() < before.scopes.len() {
            keys::update(tx, &after)?;
            let mut changes = Changes::default();
            changes.note("scopes", &before.scopes.join(" "), &after.scopes.join(" "));
            let record = Record {
                target: Target::new(Kind::Key, id),
                workspace: Some(before.workspace),
                changes,
            };
            losers.push((id, record));
        }
    }
    Ok(losers)
}
