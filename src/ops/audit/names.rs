//! How people know the things that events name by their ids. A deleted thing keeps the name that its last event has.

use crate::authz::caller::Caller;
use crate::domain::audit::{Kind, Target, changes};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::ops::{App, catalogs, keys, policies, users, workspaces};
use crate::store::{self, audit};

/// The name of a thing.
pub struct Name {
    pub text: String,
    /// Whether the caller may see the thing itself.
    pub is_seen: bool,
}

/// The name of the target of an event that the caller sees; `None` if it has none but its id.
pub fn of_target(app: &App, caller: &Caller, target: &Target) -> Result<Option<Name>> {
    let id = &target.id;
    let seen = match target.kind {
        Kind::Key => match KeyId::parse(id) {
            None => None,
            Some(id) => known(keys::find(app, caller, id).map(|view| view.key.name))?,
        },
        Kind::User => known(users::find(app, caller, id).map(|user| user.user_name.clone()))?,
        Kind::Workspace => known(workspaces::find(app, caller, id).map(|place| place.name))?,
        Kind::Policy => known(policies::find(app, caller, id).map(|policy| policy.name.clone()))?,
        Kind::Catalog => {
            known(catalogs::find(app, caller, id).map(|catalog| catalog.name().to_owned()))?
        }
        Kind::Server | Kind::Session | Kind::Site => None,
    };
    if let Some(text) = seen {
        return Ok(Some(Name {
            text,
            is_seen: true,
        }));
    }
    let unseen = match indexed(app, target) {
        Some(name) => Some(name),
        None => last(app, target)?,
    };
    Ok(unseen.map(|text| Name {
        text,
        is_seen: false,
    }))
}

/// The ids and the names of the management keys that the caller may see, by name.
pub fn management_keys(app: &App, caller: &Caller) -> Result<Vec<(String, String)>> {
    let ids = app.read(|read| store::keys::list_of_catalog(read, BUILT_IN))?;
    let directory = app.index.directory();
    let named = |id: KeyId| {
        let found = app.index.with_key(id, |key| {
            let (place, owner) = (key.shared.workspace, key.shared.owner);
            let seen = caller.may(&directory, Permission::KeysRead, place, owner);
            seen.then(|| key.name.to_string())
        });
        Some((id.to_string(), found.flatten()?))
    };
    let mut found: Vec<(String, String)> = ids.into_iter().filter_map(named).collect();
    found.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    Ok(found)
}

/// What an answer names, unless the caller may not see it.
fn known(found: Result<String>) -> Result<Option<String>> {
    match found {
        Ok(name) => Ok(Some(name)),
        Err(Error::Forbidden(_) | Error::NotFound(_)) => Ok(None),
        Err(err) => Err(err),
    }
}

/// The name of a thing that is not deleted.
fn indexed(app: &App, target: &Target) -> Option<String> {
    let (index, id) = (&app.index, &target.id);
    match target.kind {
        Kind::Key => index.with_key(KeyId::parse(id)?, |key| key.name.to_string()),
        Kind::User => {
            let directory = index.directory();
            directory.find_user(id).map(|user| user.user_name.clone())
        }
        Kind::Workspace => {
            let directory = index.directory();
            let place = directory.find_place(id);
            place.map(|place| place.workspace.name.clone())
        }
        _ => None,
    }
}

/// The name of a deleted thing, from the event of its deletion.
fn last(app: &App, target: &Target) -> Result<Option<String>> {
    let (action, member) = match target.kind {
        Kind::User => ("user.delete", "user_name"),
        Kind::Workspace => ("workspace.delete", "slug"),
        _ => return Ok(None),
    };
    let event = app.read(|read| audit::newest_of(read, target, action))?;
    Ok(event.and_then(|event| changes::before(&event.changes, member)))
}
