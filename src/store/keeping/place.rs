//! Whether the database in the folder is still the one that is open.
//!
//! A file that is deleted or replaced under a running server stays open: SQLite would go on writing to something that
//! nobody will ever find again. So every batch of changes looks first, and once more after its commit.

use crate::domain::locks::lock;
use crate::error::{Error, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Device and inode.
type FileId = (u64, u64);

/// See the heading.
pub struct Place {
    database: PathBuf,
    log: PathBuf,
    known: Mutex<Known>,
}

/// What was there when it was opened.
struct Known {
    database: Option<FileId>,
    /// SQLite makes the log when it needs it; `None` until it was first seen.
    log: Option<FileId>,
    /// That something is wrong has been logged.
    told: bool,
}

impl Place {
    /// Of a database that has just been opened.
    pub fn of(database: &Path) -> Place {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Place {
            database: database.to_owned(),
            log: log.into(),
            known: Mutex::new(Known {
                database: id(database),
                log: None,
                told: false,
            }),
        }
    }

    /// Refuses if the database or its log is not what it was.
    pub fn check(&self) -> Result<()> {
        let mut known = lock(&self.known);
        let wrong = if id(&self.database) != known.database {
            Some(&self.database)
        } else {
            match (known.log, id(&self.log)) {
                (None, found) => {
                    known.log = found;
                    None
                }
                (Some(log), found) => (found != Some(log)).then_some(&self.log),
            }
        };
        wrong.map_or(Ok(()), |path| Err(refusal(path)))
    }

    /// The log may be made anew from now on: the database is about to be opened again.
    pub fn forget_log(&self) {
        lock(&self.known).log = None;
    }

    /// As [`Place::check`], and logs what has changed since it was last called.
    pub fn watch(&self) {
        let checked = self.check();
        let mut known = lock(&self.known);
        match &checked {
            Err(err) if !known.told => log::error!("store: {err}"),
            Ok(()) if known.told => log::warn!("store: the database file is back"),
            _ => {}
        }
        known.told = checked.is_err();
    }
}

fn refusal(path: &Path) -> Error {
    Error::Unavailable(format!(
        "{} was deleted or replaced while the server runs, so changes are refused; verification goes on from memory. Put the \
         file back, or save what is still open with: latchkey backup FILE, stop the server, and restore that file",
        path.display()
    ))
}

fn id(path: &Path) -> Option<FileId> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
