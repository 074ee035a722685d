//! Who and where: users with their roles, workspaces, and the log of what they did.

pub mod audit;
pub mod export;
pub mod users;
pub mod workspaces;

use super::door::Visit;
use super::form::Refusal;
use crate::error::{Error, Result};
use crate::ops::workspaces as ops;

/// A value, its label, and whether it is chosen.
type Option3 = (String, String, bool);

/// The workspaces that can be chosen; the caller's own is, if no other one was said.
fn places(visit: &Visit<'_>, chosen: &str) -> Result<Vec<Option3>> {
    let found = match ops::list(visit.call.app, &visit.caller) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    let home = visit.home();
    let chosen = if chosen.is_empty() { &home } else { chosen };
    let one = |place: &crate::domain::workspace::Workspace| {
        let label = format!("{} ({})", place.name, place.slug);
        (place.slug.clone(), label, place.slug == chosen)
    };
    Ok(found.iter().map(one).collect())
}

/// The status of a form that is shown again because it was refused, the field, and why; `None` for errors that have
/// a page of their own.
fn refused(visit: &Visit<'_>, err: &Error) -> Option<(u16, String, String)> {
    let refusal = Refusal::of(visit.texts, err)?;
    Some((refusal.status, refusal.bare().to_owned(), refusal.why))
}
