//! Which names can be given to users and workspaces: none that is in use, and none that was in use before, unless the
//! caller manages the root workspace.
//!
//! Names of things that the caller cannot see, and names that have become free, are refused with the same words: the
//! answer does not say what other workspaces have.

use super::access::Caller;
use crate::domain::audit::Kind;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::store::{Read, names};

/// The reason that a caller gets for a name that it cannot use.
const REFUSED: &str =
    "this name cannot be used; choose another one, or ask an administrator of the root workspace";

/// Refuses a name that something else has. `is_seen` says whether the caller may see what has it.
pub fn taken(kind: Kind, name: &str, is_seen: bool) -> Error {
    Error::Conflict(match (is_seen, kind) {
        (true, Kind::User) => format!("there is a user {name} already"),
        (true, _) => format!("there is a workspace {name} already"),
        (false, _) => REFUSED.to_owned(),
    })
}

/// Refuses a name that something else had before, unless the caller manages the root workspace. `holder` is what is to
/// have the name: it may have its own name back.
pub fn check_retired(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    kind: Kind,
    name: &str,
    holder: Option<Uid>,
) -> Result<()> {
    match names::find(read, kind, name)? {
        Some(retired)
            if (holder.is_none() || retired.holder != holder)
                && !caller.manages_root(directory) =>
        {
            Err(Error::Conflict(REFUSED.to_owned()))
        }
        _ => Ok(()),
    }
}
