//! The latest refusals of a key. Only the memory of this process has them.

use super::find;
use crate::authz::caller::Caller;
use crate::domain::keys::KeyId;
use crate::error::Result;
use crate::index::refused::Refused;
use crate::ops::App;

/// The latest refused requests of a key that the caller may see, newest first.
pub fn refusals(app: &App, caller: &Caller, id: KeyId) -> Result<Vec<Refused>> {
    find(app, caller, id)?;
    Ok(app.index.refused.of(id))
}
