//! A new key that signs packs.

use super::identity::{ROTATE, add_key, rotation};
use super::{kept_keys, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::packs::{self, SigningKeyRow};

/// Adds a key, which signs from now on. Sites accept it, because the one before has signed it. It is in the file next to the database
/// ([`kept_keys`]) before it signs anything.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` if there is no site yet. `Unavailable` if the file cannot
/// be read or written.
pub fn rotate(app: &App, caller: &Caller) -> Result<SigningKeyRow> {
    require_local(app, caller, ROTATE)?;
    // Otherwise the file would lose a key that sites know already.
    kept_keys::require_all(app)?;
    let (sealing, database) = (app.sealing.clone(), app.store.path().to_owned());
    app.change(caller, ROTATE, Target::server(), move |tx, now| {
        let no_site = || Error::Conflict(refusals::packs::no_site());
        let server = packs::find_server(tx)?.ok_or_else(no_site)?;
        let rows = packs::list_signing_keys(tx)?;
        let row = add_key(tx, &sealing, &server, rows.last(), now)?;
        kept_keys::write(&database, &[&rows[..], std::slice::from_ref(&row)].concat())?;
        Ok((Some(rotation(&row)), row))
    })
}
