//! What users choose for their own pages: theme, language and time zone.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::time_zone::Zone;
use crate::domain::uid::Uid;
use crate::domain::users::preferences::Preferences;
use crate::error::{Error, Result};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::preferences;

/// The greatest length of a language tag (RFC 5646, 4.4.1).
const LANGUAGE_CHARS_MAX: usize = 35;

/// The choices of the caller's user. If they cannot be read, they are the default ones: pages must not depend on them.
pub fn of(app: &App, caller: &Caller) -> Preferences {
    let Some(user) = caller.user else {
        return Preferences::default();
    };
    let found = app.read(|read| preferences::find(read, user));
    found.map(Option::unwrap_or_default).unwrap_or_else(|err| {
        log::warn!("the preferences of a user cannot be read: {err}");
        Preferences::default()
    })
}

/// Replaces the choices of the caller's own user.
pub fn set(app: &App, caller: &Caller, new: Preferences) -> Result<()> {
    let (user, home) = own_user(app, caller)?;
    if !new.time_zone.is_empty() && Zone::find(&new.time_zone).is_none() {
        return Err(Error::invalid("time_zone", refusals::users::time_zone()));
    }
    let is_tag = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if new.language.len() > LANGUAGE_CHARS_MAX || !new.language.bytes().all(is_tag) {
        return Err(Error::invalid("language", refusals::users::language()));
    }
    let target = Target::new(Kind::User, user);
    app.change(caller, "user.preferences", target.clone(), move |tx, _| {
        let before = preferences::find(tx, user)?.unwrap_or_default();
        let mut changes = Changes::default();
        changes.note("theme", &before.theme.word(), &new.theme.word());
        changes.note("language", &before.language, &new.language);
        changes.note("time_zone", &before.time_zone, &new.time_zone);
        if changes.is_empty() {
            return Ok((None, ()));
        }
        preferences::replace(tx, user, &new)?;
        let record = Record {
            target,
            workspace: Some(home),
            changes,
        };
        Ok((Some(record), ()))
    })
}

/// The user of a session of the console, and their home workspace.
fn own_user(app: &App, caller: &Caller) -> Result<(Uid, Uid)> {
    let uid = match (caller.identity, caller.user) {
        (Identity::Session(_), Some(uid)) => uid,
        _ => return Err(Error::NotFound("user")),
    };
    let directory = app.index.directory();
    let user = directory.user(uid).ok_or(Error::NotFound("user"))?;
    Ok((uid, user.home))
}
