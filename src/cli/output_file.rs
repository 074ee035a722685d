//! Files that a command writes to paths from the caller: always with the rights of the caller, even if the command
//! otherwise works with the rights of the owner of the data folder.

use super::failure::{Failure, Result};
use crate::config::owner::as_caller;
use crate::files::{NewFile, Readers};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that gets its name in [`Output::put_in_place`]; if it is dropped before, it is removed.
pub struct Output {
    new: Option<NewFile>,
    path: PathBuf,
    rights: Rights,
}

/// The rights with which a file is created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rights {
    /// For a path from the caller.
    Caller,
    /// For a file in the data folder.
    Owner,
}

impl Rights {
    fn with<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            Rights::Caller => as_caller(work),
            Rights::Owner => work(),
        }
    }
}

impl Output {
    /// Creates a file for a path from the caller.
    pub fn create(path: &Path, readers: Readers) -> Result<Output> {
        Output::create_with(Rights::Caller, path, readers)
    }

    pub fn create_with(rights: Rights, path: &Path, readers: Readers) -> Result<Output> {
        let new = rights.with(|| NewFile::create(path, readers));
        Ok(Output {
            new: Some(new.map_err(|err| failure(path, &err))?),
            path: path.to_owned(),
            rights,
        })
    }

    /// Copies the content of another file into this one.
    pub fn copy_from(&mut self, other: &mut File) -> Result<()> {
        let copied = match &mut self.new {
            Some(new) => new.copy_from(other).map(drop),
            None => Ok(()),
        };
        copied.map_err(|err| failure(&self.path, &err))
    }

    pub fn write_text(&mut self, text: &str) -> Result<()> {
        self.write_all(text.as_bytes())
            .map_err(|err| failure(&self.path, &err))
    }

    /// Gives the complete and synced file its name, and returns its length.
    pub fn put_in_place(mut self) -> Result<u64> {
        let new = self.new.take();
        let placed = self
            .rights
            .with(|| new.map_or(Ok(0), NewFile::put_in_place));
        placed.map_err(|err| failure(&self.path, &err))
    }
}

/// Refuses a folder in which no file can be created, before something is done that cannot be taken back.
pub fn check_folder(folder: &Path, readers: Readers) -> Result<()> {
    // The file has a temporary name only, and is removed again.
    let made = as_caller(|| NewFile::replacing(&folder.join("unnamed"), readers).map(drop));
    let shown = folder.display();
    made.map_err(|err| {
        Failure::refused(match err.kind() {
            ErrorKind::NotFound => format!("the folder {shown} is not there; make it first"),
            _ => format!("{shown} cannot be written to: {err}"),
        })
    })
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.new {
            Some(new) => new.write(bytes),
            None => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let new = self.new.take();
        self.rights.with(|| drop(new));
    }
}

fn failure(path: &Path, err: &io::Error) -> Failure {
    let shown = path.display();
    Failure::refused(match err.kind() {
        ErrorKind::AlreadyExists => format!(
            "{shown} is there already and is left as it is; move it away, or name another file"
        ),
        ErrorKind::NotFound => {
            format!("{shown} cannot be written, because its folder is not there")
        }
        _ => format!("{shown} cannot be written: {err}"),
    })
}
