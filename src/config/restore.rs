//! Putting another database in the place of the one that is there, so that whatever interrupts it, the folder holds
//! the old one or the new one, and the old one is kept beside in the end.
//!
//! The new one is made whole beside it first. Then the file `restoring` is written, which decides: from there on, every
//! opening of the folder carries the exchange to its end before it does anything else. The old log must be gone before
//! the new database has its name, because SQLite would play it into the new one.

use super::folder::{DATABASE, Folder, refused};
use crate::error::Result;
use crate::files::private;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The new database, until it has its name.
const RESTORED: &str = "latchkey.db.restored";
/// Says that the exchange has been decided, and under which name the old database is kept.
const DECISION: &str = "restoring";
/// What SQLite has beside a database.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

impl Folder {
    /// A copy of a backup, which is called `shown`, beside the database and not in its place.
    pub fn stage(&self, backup: &mut File, shown: &Path) -> Result<PathBuf> {
        let staged = self.path().join(RESTORED);
        discard(self.path()).map_err(|err| failed(&staged, &err))?;
        let mut copy = || {
            let mut to = private::create(&staged)?;
            io::copy(backup, &mut to)?;
            to.sync_all()
        };
        copy().map_err(|err| {
            let _ = discard(self.path());
            refused(format!(
                "{} cannot be copied to {}: {err}; nothing was changed",
                shown.display(),
                self.path().display()
            ))
        })?;
        Ok(staged)
    }

    /// Throws the staged copy away.
    pub fn unstage(&self) {
        if let Err(err) = discard(self.path()) {
            log::warn!(
                "{} was not removed: {err}",
                self.path().join(RESTORED).display()
            );
        }
    }

    /// Gives the staged database its place; where the old one, if there is one, is from now on.
    pub fn install_staged(&self, kept: &str) -> Result<Option<PathBuf>> {
        let decide = || {
            File::open(self.path().join(RESTORED))?.sync_all()?;
            private::replace(&self.path().join(DECISION), kept.as_bytes())
        };
        decide().map_err(|err| failed(self.path(), &err))?;
        finish(self.path())?;
        let kept = self.path().join(kept);
        Ok(kept.exists().then_some(kept))
    }
}

/// Ends an exchange that was decided, or forgets one that was not. Called with the lock held.
pub fn finish(folder: &Path) -> Result<()> {
    let decision = folder.join(DECISION);
    let kept = match fs::read_to_string(&decision) {
        Ok(kept) => kept,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            return discard(folder).map_err(|err| failed(folder, &err));
        }
        Err(err) => return Err(failed(&decision, &err)),
    };
    let carry_out = || {
        let (staged, database) = (folder.join(RESTORED), folder.join(DATABASE));
        if staged.exists() {
            for suffix in ["", "-wal"] {
                keep(
                    &folder.join(format!("{DATABASE}{suffix}")),
                    &folder.join(format!("{kept}{suffix}")),
                )?;
            }
            private::sync(folder)?;
            for suffix in &BESIDE[1..] {
                private::remove(&folder.join(format!("{DATABASE}{suffix}")))?;
            }
            private::sync(folder)?;
            private::rename(&staged, &database)?;
        }
        private::remove(&decision)?;
        private::sync(folder)
    };
    carry_out().map_err(|err| failed(folder, &err))
}

/// What an exchange that was never decided left behind.
fn discard(folder: &Path) -> io::Result<()> {
    for suffix in BESIDE {
        private::remove(&folder.join(format!("{RESTORED}{suffix}")))?;
    }
    private::remove(&folder.join(format!("{DECISION}.new")))
}

/// A second name for a file that is there, unless it has it already.
fn keep(file: &Path, kept: &Path) -> io::Result<()> {
    match private::link(file, kept) {
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

fn failed(path: &Path, err: &io::Error) -> crate::error::Error {
    refused(format!(
        "the restore in {} cannot go on: {err}; run the command again",
        path.display()
    ))
}
