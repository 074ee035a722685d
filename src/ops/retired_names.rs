//! Which names users and workspaces can get: no name that is in use, and no name that was in use before, unless the
//! caller manages the root workspace.
//!
//! Names of things that the caller cannot see are refused in the same words as retired names, so that the answer
//! reveals nothing about other workspaces.

use crate::authz::caller::Caller;
use crate::domain::audit::Kind;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::{Read, retired_names};

/// The error for a name that is in use. `is_seen`: the caller may see the thing that has the name.
pub fn taken(kind: Kind, name: &str, is_seen: bool) -> Error {
    Error::Conflict(match (is_seen, kind) {
        (true, Kind::User) => refusals::users::exists(name),
        (true, _) => refusals::workspaces::exists(name),
        (false, _) => refusals::users::name_retired(),
    })
}

/// Refuses a name that was in use before, unless the caller manages the root workspace. `holder` is the thing that is
/// to get the name: it may get back its own former name.
pub fn check_retired(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    kind: Kind,
    name: &str,
    holder: Option<Uid>,
) -> Result<()> {
    match retired_names::find(read, kind, name)? {
        Some(retired)
            if (holder.is_none() || retired.holder != holder)
                && !caller.manages_root(directory) =>
        {
            Err(Error::Conflict(refusals::users::name_retired()))
        }
        _ => Ok(()),
    }
}
