//! Rotating a key file: a new version is written to the file and used from then on.

use super::{check_file, require_local, settle};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::keyfile::{self, KeyKind};
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::files::private;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::key_files;

pub const ACTION: &str = "secrets.rotate";

/// The result of a rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rotated {
    pub kind: KeyKind,
    /// The newest version.
    pub version: u32,
    /// Whether an earlier rotation was interrupted and is finished now; then there is no further version.
    pub finished: bool,
}

/// Adds a version to a key file, and makes everything again under it that can be made without the secrets themselves.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` if the server cannot replace the file,
/// or if the file was changed since the start. `Unavailable` if the file cannot be written.
pub fn rotate(app: &App, caller: &Caller, kind: KeyKind) -> Result<Rotated> {
    require_local(app, caller, ACTION)?;
    let _turn = lock(&app.key_files_turn.0);
    let known = app.read(|read| key_files::list(read, kind))?;
    let newest = known.last().map_or(0, |newest| newest.number);
    let in_use = app.key_files().newest(kind);
    let finished = newest != in_use || known.last().is_some_and(|newest| !newest.is_settled);
    let version = match finished {
        true => in_use,
        false => add_version(app, kind)?,
    };
    if newest != version {
        record(app, caller, kind, newest, version)?;
    }
    settle::settle_kind(app, kind)?;
    log::info!(
        "secrets: version {version} of the {} is in use",
        kind.words()
    );
    Ok(Rotated {
        kind,
        version,
        finished,
    })
}

/// Writes the file with a new version, and uses it from now on.
fn add_version(app: &App, kind: KeyKind) -> Result<u32> {
    let (path, name) = (app.key_file(kind), kind.as_str());
    let next = app.key_files().newest(kind) + 1;
    if app.provided(kind).is_some() {
        return Err(Error::Conflict(refusals::secrets::provided(
            name,
            path.display(),
            next,
        )));
    }
    let text = check_file(app, kind)?;
    let added = keyfile::with_new_version(&text)?;
    let (version, text) =
        added.ok_or_else(|| Error::Conflict(refusals::secrets::no_more_versions(kind.words())))?;
    private::replace(&path, text.as_bytes()).map_err(|err| {
        Error::Unavailable(refusals::secrets::unwritable(path.display(), err, version))
    })?;
    app.key_files()
        .replace(kind, &text)
        .ok_or_else(|| Error::internal("a key file that was just written is damaged"))?;
    Ok(version)
}

fn record(app: &App, caller: &Caller, kind: KeyKind, before: u32, after: u32) -> Result<()> {
    let files = app.key_files();
    app.change(caller, ACTION, Target::server(), move |tx, now| {
        key_files::insert(tx, &files, now)?;
        let mut changes = Changes::default();
        changes.note("file", &"", &kind.as_str());
        changes.note("version", &before, &after);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })
}
