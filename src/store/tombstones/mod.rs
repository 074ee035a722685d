//! The tombstone file in the data folder: lines are appended and synced before a change is acknowledged.
//!
//! The lines are written after the commit, so the file never contains a change that did not happen. If the process
//! ends between the commit and the write, the next start finds the events in the audit log and adds their lines.
//! Space for the lines is allocated before the commit, so on a full disk the change itself is refused rather than
//! only its tombstone.

mod file;

use super::audit::events;
use crate::domain::audit::Event;
use crate::domain::locks::lock;
use crate::domain::numbers::Numbers;
use crate::domain::time::Timestamp;
use crate::domain::tombstones::{self, Mark, Tombstone, Tombstones};
use crate::error::{Error, Result};
use crate::store::connection::{ChainEnd, Notes};
use crate::store::{Read, audit, heads, numbers, older_copy};
pub use file::TombstoneFile;
use file::unusable;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// Space for a mark and for the assigned numbers.
const MARK_BYTES_MAX: usize = 256;

/// The file, once it is open. The store and its writer share it.
#[derive(Default)]
pub struct SharedTombstoneFile(Mutex<Option<OpenFile>>);

/// An open file, and what it covers.
struct OpenFile {
    file: TombstoneFile,
    /// The number of the event of the last mark in the file; 0 without one.
    marked: i64,
    /// The newest event that was examined: its tombstones, and those of all before it, are in the file or in `unwritten`.
    seen: Option<Mark>,
    /// Lines of what is committed that are not in the file yet.
    unwritten: Vec<String>,
    /// There are events after `seen` that have not been examined, and later ones that have been.
    has_gap: bool,
    /// The highest numbers that are known to be assigned.
    assigned: Numbers,
    /// According to the file, numbers up to these may have been assigned.
    given: Numbers,
    /// The assigned numbers that the file recorded at the start. After a crash the database may lag behind them until
    /// it assigns numbers again.
    floor: Numbers,
    /// Whether the database is an older copy whose access has not been withdrawn yet.
    is_stale: bool,
}

impl SharedTombstoneFile {
    /// Starts to write, and first adds the events that the file lacks. If the database is not the one that the file
    /// belongs to, returns what the file records.
    pub fn open(
        &self,
        file: TombstoneFile,
        known: Tombstones,
        read: &Read,
    ) -> Result<Option<Tombstones>> {
        let is_stale = heads::is_left(read, &known)?;
        // The marks of another audit log say nothing about this one.
        let mark = known.mark.filter(|_| !is_stale);
        let mut open = OpenFile::new(file, mark, known.given);
        if is_stale {
            open.begin_closing(read, &known)?;
        }
        *self.lock() = Some(open);
        if is_stale {
            return Ok(Some(known));
        }
        self.catch_up(read)?;
        Ok(None)
    }

    /// What the file records with everything that was added, for closing an older copy. If the database is one, the file belongs to
    /// its log from the next [`SharedTombstoneFile::flush`] on, and nothing is added before.
    pub fn begin_closing(&self, read: &Read) -> Result<Tombstones> {
        let mut open = self.lock();
        let open = open.as_mut();
        let open = open.ok_or_else(|| Error::internal("there is no tombstone file"))?;
        let known = open.known()?;
        if !open.is_stale && heads::is_left(read, &known)? {
            open.begin_closing(read, &known)?;
        }
        Ok(known)
    }

    /// Whether the database is known not to have the log that the file belongs to ([`heads::is_left`]).
    pub fn is_left(&self, read: &Read) -> Result<bool> {
        match self.lock().as_mut() {
            Some(open) => heads::is_left(read, &open.known()?),
            None => Ok(false),
        }
    }

    /// What the file records now; `None` if there is no file.
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

    /// Rewrites the file without superfluous lines if it is likely to have many. After a crash either the old or the
    /// new file is there, and both have the same meaning.
    pub fn compact(&self) -> Result<()> {
        let mut open = self.lock();
        let Some(open) = open.as_mut().filter(|open| !open.is_stale) else {
            return Ok(());
        };
        if !open.file.is_worth_compacting() {
            return Ok(());
        }
        // No other thread writes meanwhile, because writing needs the lock that is held here.
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

    /// Writes the tombstones of events that are in the audit log but not in the file.
    pub fn catch_up(&self, read: &Read) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if !open.is_stale => open.catch_up(read),
            _ => Ok(()),
        }
    }

    /// Refuses if the file has disappeared, or if lines are pending that still cannot be written.
    pub fn check(&self) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) => open.file.prepare(0),
            None => Ok(()),
        }
    }

    /// The numbers that earlier processes assigned, regardless of the database.
    pub(in crate::store) fn floor(&self) -> Numbers {
        let open = self.lock();
        open.as_ref().map_or(Numbers::default(), |open| open.floor)
    }

    /// Allocates space for the lines that a commit will write.
    pub(in crate::store) fn make_room(&self, notes: &Notes) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if open.lacks(notes) => {
                let bytes: usize = notes.tombstones.iter().map(String::len).sum();
                open.file.prepare(bytes + MARK_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }

    /// Adds the tombstones of a commit and the numbers that it has assigned. `end` is the end of the chain in its transaction.
    /// The next [`SharedTombstoneFile::flush`] writes them.
    pub(in crate::store) fn note(&self, notes: Notes, end: Option<ChainEnd>) {
        if let Some(open) = self.lock().as_mut() {
            open.note(notes, end);
        }
    }

    /// Adds the tombstones of events that other nodes have committed, in their order.
    pub fn follow(&self, read: &Read, events: &[Event]) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if !open.is_stale => open.follow(read, events),
            _ => Ok(()),
        }
    }

    /// Durably writes what was added.
    pub fn flush(&self, read: &Read) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if open.is_stale || open.has_unwritten() => {
                open.is_stale = false;
                match open.has_gap {
                    true => open.catch_up(read),
                    false => open.write(),
                }
            }
            _ => Ok(()),
        }
    }

    /// As [`SharedTombstoneFile::flush`], after a commit: what other nodes have committed before is left to the thread that
    /// follows them, so that no query can fail.
    pub(in crate::store) fn flush_own(&self) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if !open.has_gap && (open.is_stale || open.has_unwritten()) => {
                open.is_stale = false;
                open.write()
            }
            _ => Ok(()),
        }
    }

    /// Writes a mark, so that an older copy of the database is noticed even if no tombstone was written since.
    pub fn mark(&self) -> Result<()> {
        match self.lock().as_mut() {
            Some(open) if !open.is_stale && open.is_ahead_of_mark() => open.write(),
            _ => Ok(()),
        }
    }

    /// Writes a final mark, so that the next start need not search the audit log, and numbers continue where they
    /// stopped.
    pub fn close(&self, read: &Read) {
        let write = |open: &mut OpenFile| {
            let given = numbers::latest(read)?.or_later(open.floor);
            open.write_with(given)
        };
        if let Some(open) = self.lock().as_mut()
            && !open.is_stale
            && let Err(err) = write(open)
        {
            log::warn!("store: {err}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<OpenFile>> {
        lock(&self.0)
    }
}

impl OpenFile {
    /// A file that covers the events up to a mark.
    fn new(file: TombstoneFile, mark: Option<Mark>, given: Numbers) -> OpenFile {
        OpenFile {
            file,
            marked: mark.map_or(0, |mark| mark.seq),
            seen: mark,
            unwritten: Vec::new(),
            has_gap: false,
            assigned: given,
            given,
            floor: given,
            is_stale: false,
        }
    }

    /// What the file records with everything that was added.
    fn known(&mut self) -> Result<Tombstones> {
        if !self.is_stale && self.has_unwritten() {
            self.write()?;
        }
        let bytes = fs::read(&self.file.path).map_err(|err| unusable(&self.file.path, &err))?;
        let mut known = Tombstones::parse(&bytes);
        let seen = self.seen.filter(|_| !self.is_stale);
        if let Some(seen) = seen.filter(|seen| Some(*seen) != known.mark) {
            known.add_mark(seen);
        }
        Ok(known)
    }

    /// Leaves the log that the file belongs to, for the one of the database, which is an older copy.
    fn begin_closing(&mut self, read: &Read, known: &Tombstones) -> Result<()> {
        let is_shared = read.is_shared();
        self.seen = match is_shared {
            true => heads::common(read, known)?.mark(),
            false => None,
        };
        // Other nodes may have written to the copy.
        self.has_gap = is_shared;
        self.marked = 0;
        self.unwritten.clear();
        self.is_stale = true;
        Ok(())
    }

    fn seen_seq(&self) -> i64 {
        self.seen.map_or(0, |mark| mark.seq)
    }

    fn is_ahead_of_mark(&self) -> bool {
        self.seen_seq() != self.marked
    }

    /// Examines all events after those that were examined, and writes.
    fn catch_up(&mut self, read: &Read) -> Result<()> {
        let mut seen = self.seen;
        let mut before = audit::time_of(read, self.seen_seq())?;
        let end = audit::newest_number(read)?;
        let mut found = Vec::new();
        let cut = older_copy::cut_closing(read, self.seen_seq())?;
        found.extend(cut.map(|mark| mark.line()));
        events::each_after(read, self.seen_seq(), |event| {
            found.extend(tombstones::following(&event, before.replace(event.at)));
            let mark = Mark::of(&event);
            // Fewer marks the older they are: by them it is found how far another log is the same.
            if (end - event.seq).count_ones() == 1 {
                found.push(mark.line());
            }
            seen = Some(mark);
            Ok(())
        })?;
        let assigned = self.assigned.or_later(numbers::latest(read)?);
        let bytes: usize = found.iter().map(String::len).sum();
        self.file.prepare(bytes + MARK_BYTES_MAX)?;
        // After a cut of the log there may be no event that was not examined.
        self.seen = seen.or(events::newest(read)?);
        self.unwritten.extend(found);
        self.assigned = assigned;
        self.has_gap = false;
        self.write()
    }

    fn note(&mut self, notes: Notes, end: Option<ChainEnd>) {
        self.assigned = self.assigned.or_later(notes.given);
        let Some(end) = end.filter(ChainEnd::has_new) else {
            return;
        };
        // In a file, the closing of an older copy begins with its own events: no other node has written to the copy.
        if (!self.is_stale || self.has_gap) && end.before > self.seen_seq() {
            self.has_gap = true;
            return;
        }
        if end.head.seq <= self.seen_seq() {
            return;
        }
        self.unwritten.extend(notes.tombstones);
        self.seen = Some(Mark {
            at: end.at.unwrap_or(Timestamp(0)),
            seq: end.head.seq,
            hash: tombstones::short(&end.head.hash),
        });
    }

    fn follow(&mut self, read: &Read, events: &[Event]) -> Result<()> {
        let seen = self.seen_seq();
        for event in events.iter().filter(|event| event.seq > seen) {
            if event.seq > self.seen_seq() + 1 {
                return self.catch_up(read);
            }
            let before = self.seen.map(|mark| mark.at);
            self.unwritten.extend(tombstones::following(event, before));
            self.seen = Some(Mark::of(event));
        }
        Ok(())
    }

    /// Whether anything was added that the file has to have.
    fn has_unwritten(&self) -> bool {
        self.has_gap || !self.unwritten.is_empty() || self.assigned.exceeds(self.given)
    }

    /// Whether the file lacks any of these notes.
    fn lacks(&self, notes: &Notes) -> bool {
        self.has_unwritten() || !notes.tombstones.is_empty() || notes.given.exceeds(self.given)
    }

    fn write(&mut self) -> Result<()> {
        self.write_with(self.given.ahead_of(self.assigned))
    }

    /// Writes what was added, with these bounds of the assigned numbers. What cannot be written now is written by a later call.
    fn write_with(&mut self, given: Numbers) -> Result<()> {
        let mut lines = self.unwritten.concat();
        let at = self.seen.map_or(Timestamp(0), |mark| mark.at);
        lines.push_str(&self.given.lines(given, at));
        if let Some(mark) = self.seen.filter(|mark| mark.seq != self.marked) {
            lines.push_str(&mark.line());
            self.marked = mark.seq;
        }
        self.given = given;
        self.unwritten.clear();
        self.file.append(lines.as_bytes())
    }
}

/// Records that the access which the file withdraws was withdrawn in the database. If the file does not exist, it is
/// created from `known`.
pub fn settle(path: &Path, known: &Tombstones, mark: Mark) -> Result<()> {
    let (mut file, there) = TombstoneFile::open(path)?;
    let clock = Tombstone::of_clock(mark.seq, mark.at).line();
    let lines = match there.lines {
        0 => Tombstones::compact(known) + &clock + &mark.line(),
        _ => clock + &mark.line(),
    };
    file.append(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::file::SUPERFLUOUS_MAX;
    use super::*;
    use crate::domain::audit::Kind;
    use crate::domain::tombstones::Verb;

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
        let open = OpenFile::new(file, None, known.given);
        let book = SharedTombstoneFile(Mutex::new(Some(open)));
        let append = |lines: &str| {
            let mut open = book.lock();
            open.as_mut()
                .unwrap()
                .file
                .append(lines.as_bytes())
                .unwrap();
        };
        let parsed = || Tombstones::parse(&fs::read(&path).unwrap());
        // Keys that rotate themselves in a loop add one line for each rotation.
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
        // Later lines go to the new file.
        append(&loops(20_000, 1));
        book.check().unwrap();
        assert_eq!(parsed().latest, Some(Timestamp(20_000)));
        fs::remove_file(&path).unwrap();
    }

    /// Events of other nodes come from following, from the writer, or not at all, and each has its line once.
    #[test]
    fn each_event_has_its_lines_once_and_the_mark_passes_over_none() {
        use crate::domain::audit::Target;
        use crate::domain::keys::seal_key::SealKeys;
        use crate::store::testing;
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for read in testing::stores() {
            let name = format!("latchkey-tombstones-followed-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_file(&path);
            let (file, known) = TombstoneFile::open(&path).unwrap();
            let book = SharedTombstoneFile::default();
            book.open(file, known, &read).unwrap();
            let mut all = Vec::new();
            for id in 1..=6 {
                let target = Target::new(Kind::Key, format!("key{id}"));
                let event = Event::of_system("key.delete", target, Timestamp(id));
                audit::append(&read.write(), &seal_keys, event).unwrap();
                all.push(audit::find(&read, id).unwrap().unwrap());
            }
            let parsed = || {
                let known = Tombstones::parse(&fs::read(&path).unwrap());
                (known.fates.len(), known.mark.map(|mark| mark.seq))
            };
            book.follow(&read, &all[..2]).unwrap();
            assert_eq!(parsed(), (0, None));
            book.flush(&read).unwrap();
            assert_eq!(parsed(), (2, Some(2)));
            // Again, and with one that comes after a gap.
            book.follow(&read, &all[..2]).unwrap();
            book.flush(&read).unwrap();
            assert_eq!(parsed(), (2, Some(2)));
            book.follow(&read, &all[3..4]).unwrap();
            assert_eq!(parsed(), (6, Some(6)));
            book.follow(&read, &all).unwrap();
            book.flush(&read).unwrap();
            let lines = fs::read_to_string(&path).unwrap();
            assert_eq!(lines.matches(" deleted ").count(), 6);
            fs::remove_file(&path).unwrap();
        }
    }
}
