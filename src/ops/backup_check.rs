//! Whether a backup can be restored: the check that a restore makes, on a copy that is removed afterwards.

use super::backups::{Backup, list, require};
use super::{App, Record, restore};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::error::{Error, Result};
use crate::files::{NewFile, Readers, beneath};
use crate::refusals;
use std::path::Path;
use std::sync::{Mutex, TryLockError};

const ACTION: &str = "backup.check";
/// The nominal name of the copy in the data folder; the file only ever has a temporary name.
const COPY: &str = "latchkey.db.check";
/// The bytes that must stay free on the disk after the copy is made and SQLite has written a journal for it: 64 MiB.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// Held while a backup is checked, so that the disk has one copy at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Checks the backup with this file name in the folder of backups, against the key files of this server. The event is
/// written before the check. The backup itself stays as it is. Returns why a restore would refuse it; `None` if it would
/// accept it.
///
/// # Errors
/// `NotFound` for another name; `Conflict` while another check is made; `Unavailable` if the disk has no room for a copy.
pub fn check(app: &App, caller: &Caller, name: &str) -> Result<Option<String>> {
    app.decided(caller, ACTION, Target::server(), require(app, caller))?;
    let has_name = |backup: &Backup| backup.path.file_name().is_some_and(|it| it == name);
    let found = list(app, caller)?.into_iter().find(has_name);
    let backup = found.ok_or(Error::NotFound("backup"))?;
    let _turn = match TURN.try_lock() {
        Ok(turn) => turn,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Conflict(refusals::backups::checking()));
        }
    };
    let needed = backup.bytes.saturating_mul(2).saturating_add(SPARE_BYTES);
    if app.store.free_bytes().is_some_and(|free| free < needed) {
        return Err(Error::Unavailable(refusals::backups::room_to_check()));
    }
    let shown = backup.path.display().to_string();
    app.change(caller, ACTION, Target::server(), move |_, _| {
        let mut changes = Changes::default();
        changes.note("file", &String::new(), &shown);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })?;
    fault(app, &backup.path)
}

/// What a restore would find wrong.
fn fault(app: &App, path: &Path) -> Result<Option<String>> {
    let failed =
        |err: std::io::Error| Error::Unavailable(refusals::backups::copy(path.display(), err));
    let mut backup = beneath::open_in(path).map_err(failed)?;
    let copy = app.store.path().with_file_name(COPY);
    let mut copy = NewFile::create(&copy, Readers::Owner).map_err(failed)?;
    copy.copy_from(&mut backup).map_err(failed)?;
    let staged = copy.temporary_path().map_err(failed)?;
    let checked = restore::check(&staged, &app.key_files(), app.now().wall);
    Ok(checked.err().map(|err| {
        let why = match err {
            Error::Internal(cause) => cause.to_string(),
            other => other.to_string(),
        };
        let [staged, path] = [&staged, path].map(|path| path.display().to_string());
        why.replace(&staged, &path)
    }))
}
