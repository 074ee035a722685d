//! The file of tombstones beside the database: lines are appended and synced before the change is acknowledged.
//!
//! They are written after the commit, so the file never knows of a change that did not happen. Should the process end
//! in between, the next start finds the events in the audit log and adds their lines. Room for them is taken before
//! the commit, so that a full disk refuses the change and not its tombstone.

use super::events;
use crate::domain::keeping::numbers::Numbers;
use crate::domain::keeping::tombstone::{self, Mark, Tombstone, Tombstones};
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::private;
use crate::store::sqlite::Notes;
use crate::store::{Read, audit, numbers};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A file with so many lines more than it needs is written again without them, at a start and in upkeep.
const SUPERFLUOUS_MAX: usize = 10_000;

/// Room for a mark and for numbers.
const MARK_BYTES_MAX: usize = 256;

/// The open file.
pub struct TombstoneFile {
    path: PathBuf,
    file: File,
    id: (u64, u64),
    /// Bytes up to which lines are whole.
    length: u64,
    /// Lines that the file has.
    lines: usize,
    /// Lines that it had when it was last read, the superfluous ones left out.
    needed: usize,
    /// Lines of a commit that could not be written yet: no other change comes before them.
    owed: Vec<u8>,
}

impl TombstoneFile {
    /// Opens the file, made if it is not there, and reads it.
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
        // A line that a crash has cut stays, as a damaged one; the next one begins on a line of its own.
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

    /// Whether so much was appended that reading the whole file is worth its while: what that costs is shared by at
    /// least half as many changes as the file has lines.
    fn is_worth_compacting(&self) -> bool {
        self.owed.is_empty()
            && self.lines - self.needed.min(self.lines) > SUPERFLUOUS_MAX.max(self.needed / 2)
    }

    /// Takes room for so many bytes, and writes what is owed from before.
    pub fn prepare(&mut self, bytes: usize) -> Result<()> {
        let there = fs::metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if there.ok() != Some(self.id) {
            return Err(Error::Unavailable(format!(
                "{} was deleted or replaced while the server runs, so changes are refused; put the file back or start \
                 the server anew, which makes it again from the audit log",
                self.path.display()
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
            // Not every file system can; then a full disk is met when the lines are written.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(err) => Err(unusable(&self.path, &err.into())),
        }
    }

    /// Appends whole lines and syncs them. What fails is owed from now on.
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

/// The file, once there is one: shared by the store and its writer.
#[derive(Default)]
pub struct Book(Mutex<Option<Open>>);

/// A file and how far it has come.
struct Open {
    file: TombstoneFile,
    /// The number of the last event that was looked at.
    seq: i64,
    /// Numbers up to these may have been given, says the file.
    given: Numbers,
    /// What the file said at the start. After a crash the database may be behind it, until it gives numbers again.
    floor: Numbers,
    /// The database is an older copy, and has not been closed up yet.
    is_stale: bool,
}

impl Book {
    /// Begins to write, after the events that the file has missed. Returns what is known if the database is another
    /// one than the file is about.
    pub fn open(
        &self,
        file: TombstoneFile,
        known: Tombstones,
        read: &Read,
    ) -> Result<Option<Tombstones>> {
        let newest = events::newest(read)?.map_or(0, |mark| mark.seq);
        let is_stale = match known.mark {
            None => false,
            Some(mark) if mark.seq > newest => true,
            // An event that was cut off cannot be compared; cuts are marked themselves.
            Some(mark) => audit::find(read, mark.seq)?
                .is_some_and(|event| tombstone::short(&event.hash()) != mark.hash),
        };
        // The marks of another log say nothing of this one.
        let seq = known.mark.filter(|_| !is_stale).map_or(0, |mark| mark.seq);
        *self.lock() = Some(Open {
            file,
            seq,
            given: known.given,
            floor: known.given,
            is_stale,
        });
        if is_stale {
            return Ok(Some(known));
        }
        self.catch_up(read)?;
        Ok(None)
    }

    /// What the file says now; `None` if it is not there.
    pub fn read(&self) -> Result<Option<Tombstones>> {
        let path = self.lock().as_ref().map(|open| open.file.path.clone());
        let Some(path) = path else {
            return Ok(None);
        };
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Tombstones::parse(&bytes))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(unusable(&path, &err)),
        }
    }

    /// Writes the file again without superfluous lines, if it is likely to have many. A crash leaves the old file or
    /// the new one, and both say the same.
    pub fn compact(&self) -> Result<()> {
        let mut open = self.lock();
        let Some(open) = open.as_mut().filter(|open| !open.is_stale) else {
            return Ok(());
        };
        if !open.file.is_worth_compacting() {
            return Ok(());
        }
        // Nothing is written meanwhile: whoever would has to take the lock first.
        open.file.prepare(0)?;
        let path = open.file.path.clone();
        let (file, known) = TombstoneFile::open(&path)?;
        log::info!(
            "store: the file {} has {} lines, of which {} are needed",
            path.display(),
            known.lines,
            file.needed
        );
        open.file = file;
        Ok(())
    }

    /// Writes the tombstones of events that are in the audit log and not in the file.
    pub fn catch_up(&self, read: &Read) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if !open.is_stale => open.catch_up(read),
            _ => Ok(()),
        }
    }

    /// Refuses if the file has vanished, or if it owes a line that still cannot be written.
    pub fn check(&self) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) => open.file.prepare(0),
            None => Ok(()),
        }
    }

    /// Numbers that were given by processes before this one, whatever the database says.
    pub(in crate::store) fn floor(&self) -> Numbers {
        let open = self.lock();
        open.as_ref().map_or(Numbers::default(), |open| open.floor)
    }

    /// Takes room for what a commit will note.
    pub(in crate::store) fn make_room(&self, notes: &Notes) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if open.lacks(notes) => {
                let bytes: usize = notes.tombstones.iter().map(|one| one.line().len()).sum();
                open.file.prepare(bytes + MARK_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }

    /// Notes what a commit has ended, and the numbers that it has given, durably.
    pub(in crate::store) fn write(&self, notes: &Notes, read: &Read) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if open.is_stale || open.lacks(notes) => {
                open.is_stale = false;
                let lines = notes.tombstones.iter().map(Tombstone::line).collect();
                open.write(lines, open.given.ahead_of(notes.given), read)
            }
            _ => Ok(()),
        }
    }

    /// Marks how far the file has come, so that the next start need not look, and numbers go on where they were.
    pub fn close(&self, read: &Read) {
        let write = |open: &mut Open| {
            let given = numbers::latest(read)?.or_later(open.floor);
            open.write(String::new(), given, read)
        };
        if let Some(open) = self.lock().as_mut()
            && !open.is_stale
            && let Err(err) = write(open)
        {
            log::warn!("store: {err}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        lock(&self.0)
    }
}

impl Open {
    fn catch_up(&mut self, read: &Read) -> Result<()> {
        let mut lines = String::new();
        events::each_after(read, self.seq, |event| {
            lines.extend(tombstone::of(&event).iter().map(Tombstone::line));
            Ok(())
        })?;
        self.file.prepare(lines.len() + MARK_BYTES_MAX)?;
        let given = self.given.ahead_of(numbers::latest(read)?);
        self.write(lines, given, read)
    }

    /// Whether the file does not say all of this.
    fn lacks(&self, notes: &Notes) -> bool {
        !notes.tombstones.is_empty() || notes.given.exceeds(self.given)
    }

    fn write(&mut self, mut lines: String, given: Numbers, read: &Read) -> Result<()> {
        let newest = events::newest(read)?;
        let at = newest.map_or(Timestamp(0), |mark| mark.at);
        lines.push_str(&self.given.lines(given, at));
        self.given = given;
        if let Some(mark) = newest.filter(|mark| mark.seq != self.seq) {
            lines.push_str(&mark.line());
            self.seq = mark.seq;
        }
        self.file.append(lines.as_bytes())
    }
}

/// Notes that a database has been closed by what the file knows; a file that is not there is made of `known`.
pub fn settle(path: &Path, known: &Tombstones, mark: Mark) -> Result<()> {
    let (mut file, there) = TombstoneFile::open(path)?;
    let lines = match there.lines {
        0 => Tombstones {
            mark: Some(mark),
            ..known.clone()
        }
        .compact(),
        _ => mark.line(),
    };
    file.append(lines.as_bytes())
}

fn ends_with_a_line(path: &Path) -> io::Result<bool> {
    fs::read(path).map(|bytes| bytes.ends_with(b"\n"))
}

fn unusable(path: &Path, err: &io::Error) -> Error {
    Error::Unavailable(format!(
        "{} cannot be read or written ({err}), so nothing can be deleted or disabled safely",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Kind;
    use crate::domain::keeping::tombstone::Verb;

    fn line(id: usize, at: usize) -> String {
        let one = Tombstone {
            at: Timestamp(at as i64),
            verb: Verb::Rotated,
            kind: Kind::Key,
            id: format!("key{id}"),
        };
        one.line()
    }

    #[test]
    fn lines_that_say_nothing_more_go_while_the_server_runs() {
        let name = format!("latchkey-tombstones-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (file, known) = TombstoneFile::open(&path).unwrap();
        let book = Book(Mutex::new(Some(Open {
            file,
            seq: 0,
            given: known.given,
            floor: known.given,
            is_stale: false,
        })));
        let append = |lines: &str| {
            let mut open = book.lock();
            open.as_mut()
                .unwrap()
                .file
                .append(lines.as_bytes())
                .unwrap();
        };
        let parsed = || Tombstones::parse(&fs::read(&path).unwrap());
        // Keys that rotate themselves in a loop: a line each time.
        let loops = |from: usize, count: usize| -> String {
            (from..from + count).map(|at| line(at % 3, at)).collect()
        };
        append(&loops(0, SUPERFLUOUS_MAX));
        book.compact().unwrap();
        assert_eq!(parsed().lines, SUPERFLUOUS_MAX);
        append(&loops(SUPERFLUOUS_MAX, 9));
        let before = parsed();
        book.compact().unwrap();
        let after = parsed();
        assert_eq!((after.lines, after.damaged), (3, 0));
        assert_eq!((&after.fates, after.latest), (&before.fates, before.latest));
        // It is the new file that is written to.
        append(&loops(20_000, 1));
        book.check().unwrap();
        assert_eq!(parsed().latest, Some(Timestamp(20_000)));
        fs::remove_file(&path).unwrap();
    }
}
