//! The pages of users with their roles, of workspaces, and of the audit log.

use super::auth::Visit;
use super::form::Refusal;
use crate::domain::users::permissions::Permission;
use crate::domain::workspaces::Workspace;
use crate::error::{Error, Result};
use crate::ops::workspaces::offered;

/// The value and the label of a choice, and whether it is selected.
pub type Option3 = (String, String, bool);

/// The workspaces in which the user has a permission, to choose from; by default the user's own workspace is selected.
pub fn places(visit: &Visit<'_>, permission: Permission, chosen: &str) -> Result<Vec<Option3>> {
    let found = match offered::places(visit.call.app, &visit.caller, permission) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    Ok(choices(visit, &found, chosen))
}

pub fn choices(visit: &Visit<'_>, found: &[Workspace], chosen: &str) -> Vec<Option3> {
    let home = visit.home();
    let chosen = if chosen.is_empty() { &home } else { chosen };
    let one = |place: &Workspace| {
        let label = format!("{} ({})", place.name, place.slug);
        (place.slug.clone(), label, place.slug == chosen)
    };
    found.iter().map(one).collect()
}

/// For a form that is displayed again after a refusal: the status, the field and the reason. `None` for errors that
/// have a page of their own.
pub fn refused(visit: &Visit<'_>, err: &Error) -> Option<(u16, String, String)> {
    let refusal = Refusal::of(visit.texts, err)?;
    Some((refusal.status, refusal.bare().to_owned(), refusal.why))
}
