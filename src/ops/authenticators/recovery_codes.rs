//! Recovery codes of users: how they are made, and how many are left. `proof` accepts them.

use super::Confirmation;
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::recovery_codes::{CODES, RecoveryCode};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::users::{record, visible};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Write, authenticators, recovery_codes, users};
use std::sync::Arc;

/// The action of the event for new recovery codes.
pub const CREATED: &str = "user.recovery_codes_create";

/// Replaces the recovery codes of a user who has a second factor. The answer is the only one that has them. Users do this
/// for themselves; the administrator of the machine may do it for every user.
pub fn create(
    app: &App,
    caller: &Caller,
    text: &str,
    confirmation: Confirmation<'_>,
) -> Result<Vec<String>> {
    let target = Target::new(Kind::User, text);
    let allowed = permitted(app, caller, text, confirmation);
    let uid = app.decided(caller, CREATED, target.clone(), allowed)?.uid;
    let seal_keys = app.seal_keys.clone();
    app.change(caller, CREATED, target, move |tx, _| {
        let user = users::find(tx, uid)?.ok_or(Error::NotFound("user"))?;
        let all = authenticators::list_of_user(tx, uid)?;
        if !all.iter().any(|one| one.enabled) {
            return Err(Error::Conflict(refusals::authenticators::none()));
        }
        let (record, codes) = replace(tx, &seal_keys, &user)?;
        Ok((Some(record), codes))
    })
}

fn permitted(
    app: &App,
    caller: &Caller,
    text: &str,
    confirmation: Confirmation<'_>,
) -> Result<Arc<User>> {
    let user = visible(&app.index.directory(), caller, text)?;
    if caller.is_session_of(user.uid) {
        confirmation.check(app, caller, &user)?;
        return Ok(user);
    }
    match caller.identity {
        Identity::Local => Ok(user),
        _ => Err(Error::Forbidden(refusals::authenticators::personal())),
    }
}

/// Ends the codes that the user has, and makes new ones, within a change.
pub(super) fn replace(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    user: &User,
) -> Result<(Record, Vec<String>)> {
    let before = recovery_codes::list_unused(tx, user.uid)?.len();
    recovery_codes::delete_of_user(tx, user.uid)?;
    let mut codes = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        let code = RecoveryCode::generate()?;
        recovery_codes::insert(tx, user.uid, &code.digest(seal_keys, user.uid))?;
        codes.push(code.expose());
    }
    let mut changes = Changes::default();
    changes.note("recovery_codes_left", &before, &CODES);
    if changes.is_empty() {
        changes.note("recovery_codes", &"", &"replaced");
    }
    Ok((record(user, changes), codes))
}

/// How many recovery codes a user has left. The caller of this function has checked that the user may be seen.
pub fn left(app: &App, user: Uid) -> Result<usize> {
    Ok(app
        .read(|read| recovery_codes::list_unused(read, user))?
        .len())
}
