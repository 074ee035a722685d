//! Detects that the database file was deleted or replaced while the server runs.
//!
//! A process keeps a deleted or replaced file open, so SQLite would continue to write to a file that cannot be found
//! any more. For this reason every batch of changes checks the files before it begins and again after its commit.

use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::refusals;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Device and inode.
type FileId = (u64, u64);

/// The paths of the database and of its write-ahead log, with the files that were there when the database was opened.
pub struct DatabasePaths {
    /// Whether the database is a file at all.
    is_file: bool,
    database: PathBuf,
    log: PathBuf,
    known: Mutex<KnownFiles>,
}

/// The files that were there when the database was opened.
struct KnownFiles {
    database: Option<FileId>,
    /// SQLite creates the log when it needs it. `None` until the log was seen for the first time.
    log: Option<FileId>,
    /// Whether a fault has been logged already.
    told: bool,
}

impl DatabasePaths {
    /// The place of a database that has just been opened.
    pub fn of(database: &Path) -> DatabasePaths {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        DatabasePaths {
            is_file: true,
            database: database.to_owned(),
            log: log.into(),
            known: Mutex::new(KnownFiles {
                database: id(database),
                log: None,
                told: false,
            }),
        }
    }

    /// The place of a database on a server: there are no files to look at.
    #[cfg(feature = "postgres")]
    pub fn on_a_server() -> DatabasePaths {
        DatabasePaths {
            is_file: false,
            ..DatabasePaths::of(Path::new(""))
        }
    }

    /// Refuses if the database or its log is not the file that was opened.
    pub fn check(&self) -> Result<()> {
        if !self.is_file {
            return Ok(());
        }
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

    /// Allows a new log file from now on, because the database is about to be opened again.
    pub fn forget_log(&self) {
        lock(&self.known).log = None;
    }

    /// Does the same as [`DatabasePaths::check`], and logs a change since the last call.
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
    Error::Unavailable(refusals::server::database_replaced(path.display()))
}

fn id(path: &Path) -> Option<FileId> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
