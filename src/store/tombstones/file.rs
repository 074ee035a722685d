//! The open tombstone file: appending durable lines, with room for them allocated before.

use crate::domain::tombstones::Tombstones;
use crate::error::{Error, Result};
use crate::files::private;
use crate::refusals;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file with this many superfluous lines is rewritten without them, at the start and in upkeep.
pub(super) const SUPERFLUOUS_MAX: usize = 10_000;

/// The open file.
pub struct TombstoneFile {
    pub(super) path: PathBuf,
    file: File,
    id: (u64, u64),
    /// The length of the file up to the end of the last complete line.
    length: u64,
    /// The number of lines in the file.
    lines: usize,
    /// The number of lines when the file was last read, without the superfluous ones.
    pub(super) needed: usize,
    /// Lines of a commit that could not be written yet. They are written before any other change.
    owed: Vec<u8>,
}

impl TombstoneFile {
    /// Opens the file, creates it if it does not exist, and reads it.
    pub fn open(path: &Path) -> Result<(TombstoneFile, Tombstones)> {
        let failed = |err| unusable(path, &err);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(err) => return Err(failed(err)),
        };
        let known = Tombstones::parse(&bytes);
        let compact = known.compact();
        let needed = compact.lines().count();
        let mut lines = known.lines;
        if lines > needed + SUPERFLUOUS_MAX && known.damaged == 0 {
            private::replace(path, compact.as_bytes()).map_err(failed)?;
            lines = needed;
        }
        let mut file = private::append(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut length = metadata.len();
        // A line that a crash has cut off stays and counts as damaged; the next line starts after a line break.
        if length > 0 && !ends_with_a_line(path).map_err(failed)? {
            file.write_all(b"\n").map_err(failed)?;
            length += 1;
        }
        if length == 0 {
            private::sync(path.parent().unwrap_or(path)).map_err(failed)?;
        }
        let opened = TombstoneFile {
            path: path.to_owned(),
            id: (metadata.dev(), metadata.ino()),
            file,
            length,
            lines,
            needed,
            owed: Vec::new(),
        };
        Ok((opened, known))
    }

    /// Whether enough lines were appended to make rewriting worthwhile: the cost of reading the whole file is then
    /// shared by at least half as many changes as the file has lines.
    pub(super) fn is_worth_compacting(&self) -> bool {
        self.owed.is_empty()
            && self.lines - self.needed.min(self.lines) > SUPERFLUOUS_MAX.max(self.needed / 2)
    }

    /// Allocates space for this many bytes, and writes the lines that an earlier call could not write.
    pub fn prepare(&mut self, bytes: usize) -> Result<()> {
        let there = fs::metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if there.ok() != Some(self.id) {
            return Err(Error::Unavailable(refusals::server::tombstones_replaced(
                self.path.display(),
            )));
        }
        if !self.owed.is_empty() {
            let owed = std::mem::take(&mut self.owed);
            self.append(&owed)?;
        }
        if bytes == 0 {
            return Ok(());
        }
        match fallocate(
            &self.file,
            FallocateFlags::KEEP_SIZE,
            self.length,
            bytes as u64,
        ) {
            // Some file systems do not support this. On these, a full disk shows only when the lines are written.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(err) => Err(unusable(&self.path, &err.into())),
        }
    }

    /// Appends complete lines and syncs them. If this fails, the lines are kept and written by a later call.
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(lines);
        let written = written.and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += lines.len() as u64;
                self.lines += lines.iter().filter(|byte| **byte == b'\n').count();
                Ok(())
            }
            Err(err) => {
                let _ = self.file.set_len(self.length);
                self.owed.extend_from_slice(lines);
                Err(unusable(&self.path, &err))
            }
        }
    }
}

fn ends_with_a_line(path: &Path) -> io::Result<bool> {
    fs::read(path).map(|bytes| bytes.ends_with(b"\n"))
}

pub(super) fn unusable(path: &Path, err: &io::Error) -> Error {
    Error::Unavailable(refusals::server::tombstones_unusable(path.display(), err))
}
