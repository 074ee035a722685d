//! Replaces the database by a restored one. If this is interrupted at any point, the folder contains the old database
//! or the new one, and in the end the old database is kept under another name.
//!
//! The new database is first completed under a temporary name. Then the file `restoring` is written. Once this file
//! exists, every process that opens the folder completes the replacement before it does anything else. The old
//! write-ahead log must be deleted before the new database gets its name, because SQLite would apply it to the new
//! database.

use super::folder::{DATABASE, Folder, refused};
use crate::error::Result;
use crate::files::private;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The temporary name of the new database.
const RESTORED: &str = "latchkey.db.restored";
/// The file that marks the replacement as decided; it contains the name under which the old database is kept.
const DECISION: &str = "restoring";
/// The suffixes of the files of a SQLite database.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

impl Folder {
    /// Copies a backup, named `shown` in errors, to the temporary name in the data folder.
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

    /// Deletes the temporary copy.
    pub fn unstage(&self) {
        if let Err(err) = discard(self.path()) {
            log::warn!(
                "{} was not removed: {err}",
                self.path().join(RESTORED).display()
            );
        }
    }

    /// Replaces the database by the prepared copy. Returns the path of the old database, if there was one: `kept`, or that name
    /// with a number if there is one of this name already.
    pub fn install_staged(&self, kept: &str) -> Result<Option<PathBuf>> {
        let kept = self.free_name(kept);
        let decide = || {
            File::open(self.path().join(RESTORED))?.sync_all()?;
            private::replace(&self.path().join(DECISION), kept.as_bytes())
        };
        decide().map_err(|err| failed(self.path(), &err))?;
        finish(self.path())?;
        let kept = self.path().join(kept);
        Ok(kept.exists().then_some(kept))
    }

    /// The name, or the first one with a number, that no old database has.
    fn free_name(&self, name: &str) -> String {
        let is_taken = |name: &String| {
            let mut files = BESIDE.iter().map(|suffix| format!("{name}{suffix}"));
            files.any(|file| fs::symlink_metadata(self.path().join(file)).is_ok())
        };
        let mut free = name.to_owned();
        let mut number = 2;
        while is_taken(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        free
    }
}

/// Completes a replacement that was decided, or deletes the files of one that was not. Called with the lock held.
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

/// Deletes the files of a replacement that was never decided.
fn discard(folder: &Path) -> io::Result<()> {
    for suffix in BESIDE {
        private::remove(&folder.join(format!("{RESTORED}{suffix}")))?;
    }
    private::remove(&folder.join(format!("{DECISION}.new")))
}

/// Gives an existing file a second name, unless it has that name already.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_old_database_keeps_a_name_of_its_own() {
        let path = private::tests::folder("restore-names");
        let folder = Folder::open(&path).unwrap();
        let mut kept = Vec::new();
        for content in ["first", "second", "third", "fourth"] {
            let from = path.join("backup");
            fs::write(&from, content).unwrap();
            folder
                .stage(&mut File::open(&from).unwrap(), &from)
                .unwrap();
            kept.extend(folder.install_staged("old").unwrap());
        }
        let names = ["old", "old-2", "old-3"].map(|name| path.join(name));
        assert_eq!(kept, names);
        let contents = kept.iter().map(|path| fs::read_to_string(path).unwrap());
        let contents: Vec<String> = contents.collect();
        assert_eq!(contents, ["first", "second", "third"]);
        let _ = fs::remove_dir_all(path);
    }
}
