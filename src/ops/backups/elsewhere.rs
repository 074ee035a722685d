//! Which backups were made in other places than the data folder.
//!
//! A file in the data folder lists them, one on each line: the time, the size in bytes, and the path. It is no part of the
//! database, so a restore does not forget the newer ones. The backups themselves are not looked into: they may be on a
//! disk that is not there now.

use super::{Backup, folder, is_listed, sort_newest_first};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Target};
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::files::private;
use crate::ops::{App, Record};
use crate::refusals;
use std::fs;
use std::path::{Path, PathBuf};

/// The file in the data folder.
const FILE: &str = "backups-elsewhere";
/// How many backups the file lists; the oldest ones are forgotten.
const LINES_MAX: usize = 1000;

/// The backups in other places, newest first.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Backup>> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)?;
    let mut found = read(app);
    // Of two of the same second, the later line is the newer one.
    found.reverse();
    sort_newest_first(&mut found, app.now().wall);
    Ok(found)
}

/// Whether a backup is in another place than the data folder.
pub fn is_elsewhere(app: &App, backup: &Backup) -> bool {
    !is_listed(&folder(app), &backup.path)
}

/// Records that the administrator of the machine has moved a backup out of the data folder.
pub fn moved(app: &App, caller: &Caller, backup: Backup) -> Result<()> {
    let permitted = match caller.identity {
        Identity::Local if backup.path.is_absolute() => Ok(()),
        Identity::Local => Err(Error::invalid("file", refusals::backups::absolute_path())),
        _ => Err(Error::Forbidden(refusals::backups::file_is_local())),
    };
    app.decided(caller, "backup.move", Target::server(), permitted)?;
    let shown = backup.path.display().to_string();
    app.change(caller, "backup.move", Target::server(), move |_, _| {
        let mut changes = Changes::default();
        changes.note("file", &String::new(), &shown);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })?;
    note(app, &backup);
    Ok(())
}

/// Adds a complete backup to the list, unless it is one that the data folder shows by its name.
pub(super) fn note(app: &App, backup: &Backup) {
    if !is_elsewhere(app, backup) {
        return;
    }
    let mut all = read(app);
    all.retain(|known| known.path != backup.path);
    all.push(backup.clone());
    let first = all.len().saturating_sub(LINES_MAX);
    let lines: String = all[first..].iter().filter_map(line).collect();
    if let Err(err) = private::replace(&file(app), lines.as_bytes()) {
        log::warn!(
            "backup: {} is good, but {} does not list it: {err}",
            backup.path.display(),
            file(app).display()
        );
    }
}

/// All backups that the file lists. What cannot be read is left out.
pub(super) fn read(app: &App) -> Vec<Backup> {
    let text = fs::read_to_string(file(app)).unwrap_or_default();
    text.lines().filter_map(parsed).collect()
}

fn file(app: &App) -> PathBuf {
    app.store.path().with_file_name(FILE)
}

fn line(backup: &Backup) -> Option<String> {
    let path = backup.path.to_str()?;
    let is_one_line = !path.chars().any(char::is_control);
    is_one_line.then(|| format!("{} {} {path}\n", backup.at.compact(), backup.bytes))
}

fn parsed(line: &str) -> Option<Backup> {
    let mut parts = line.splitn(3, ' ');
    let (at, bytes, path) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Backup {
        path: Path::new(path).to_owned(),
        bytes: bytes.parse().ok()?,
        at: Timestamp::parse_compact(at)?,
        is_scheduled: false,
        left_out: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_and_a_damaged_one_is_left_out() {
        let backup = parsed("20261130T062000Z 233472 /mnt/my backups/a.db").unwrap();
        assert_eq!(backup.path, Path::new("/mnt/my backups/a.db"));
        assert_eq!(
            (backup.bytes, backup.at.compact()),
            (233_472, "20261130T062000Z".to_owned())
        );
        assert_eq!(
            parsed(line(&backup).unwrap().trim_end()),
            Some(backup.clone())
        );
        for damaged in ["", "20261130T062000Z", "20261130T062000Z x /a", "now 1 /a"] {
            assert_eq!(parsed(damaged), None, "{damaged}");
        }
        let odd = Backup {
            path: "/mnt/a\nb".into(),
            ..backup
        };
        assert_eq!(line(&odd), None);
    }
}
