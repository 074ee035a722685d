//! `latchkey backup --into DIR --keep N`: backups with dated names in one folder, for timers.
//!
//! The list of backups comes from the server, whose user may own the data folder, while root may run this command. So the
//! list only says which files can be removed: their age and their server are read from the names, which this command has
//! chosen itself. A file counts only if it belongs to the caller, has the size that the server lists, and starts as a
//! database does; its content is not read. Other files neither count nor are removed.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{Failure, Result};
use crate::cli::serve::wall_clock;
use crate::config::owner::as_caller;
use crate::domain::keys::imported::sha256_hex;
use crate::domain::time::Timestamp;
use crate::files::{open_foreign, private};
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names of these backups begin and end with this.
const START: &str = "latchkey-";
const END: &str = ".db";
/// So many backups of one second can have a name.
const SECOND_MAX: u32 = 99;
/// The length of the mark of a server in a name.
const MARK_DIGITS: usize = 8;
/// The first bytes of every SQLite database (<https://www.sqlite.org/fileformat.html>, section 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A backup as the server lists it.
#[derive(Deserialize)]
struct Known {
    file: PathBuf,
    bytes: u64,
    elsewhere: bool,
}

/// When a backup was made, and its number among those of the same second. Both are in the name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Stamp {
    at: Timestamp,
    number: u32,
}

/// The backups of one server in one folder.
pub struct Series {
    /// Without links, so that each spelling of it means the same backups.
    folder: PathBuf,
    /// Distinguishes servers whose backups are in the same folder: digits from the name of the machine and the path of the
    /// data folder.
    mark: String,
}

impl Series {
    /// The series of the server with this data folder, which is an absolute path.
    pub fn new(folder: &Path, data: &Path) -> Result<Series> {
        let real = as_caller(|| fs::canonicalize(folder).ok().filter(|real| real.is_dir()));
        let Some(real) = real else {
            return Err(Failure::refused(format!(
                "{} is not a folder; if it is on another disk, is that mounted?",
                folder.display()
            )));
        };
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        // Components have neither a slash at the end nor double ones.
        let data: PathBuf = data.components().collect();
        let digest = sha256_hex(format!("{host}\n{}", data.display()).as_bytes());
        Ok(Series {
            folder: real,
            mark: digest.chars().take(MARK_DIGITS).collect(),
        })
    }

    /// A path in the folder that is not in use, after all others of this second.
    pub fn free_path(&self) -> Result<PathBuf> {
        let at = wall_clock();
        let path = |number| self.folder.join(self.name(Stamp { at, number }));
        let is_there = |number: &u32| as_caller(|| fs::symlink_metadata(path(*number)).is_ok());
        match (1..=SECOND_MAX).rev().find(is_there).unwrap_or(0) {
            SECOND_MAX => Err(Failure::refused(
                "there are a hundred backups of this second already",
            )),
            last => Ok(path(last + 1)),
        }
    }

    /// Removes the good backups of this series except the newest `keep`, one of which is the new backup, and adds those
    /// that were removed to `removed`. Nothing is removed unless the new backup is good.
    pub fn forget_oldest(
        &self,
        server: &Server,
        (new, bytes): (&Path, u64),
        keep: usize,
        removed: &mut Vec<PathBuf>,
    ) -> Result<()> {
        match as_caller(|| state_of(new, bytes)) {
            State::Good => {}
            State::Changed(why) => return Err(no_good(new, why)),
            State::Gone => return Err(no_good(new, "it is gone")),
        }
        let listed = server.list(&Target::of(&["backups"]))?;
        let all = listed.iter().map(|item| serde_json::from_str(item.get()));
        let all: std::result::Result<Vec<Known>, _> = all.collect();
        let all = all.map_err(|err| {
            Failure::refused(format!("the server's answer cannot be read: {err}"))
        })?;
        let mut good = 1;
        for (path, bytes) in self.newest_first(all, wall_clock()) {
            if path == new {
                continue;
            }
            match as_caller(|| state_of(&path, bytes)) {
                State::Gone => {}
                State::Changed(why) => eprintln!(
                    "latchkey: {} is no good backup any more, because {why}; it does not count, and stays",
                    path.display()
                ),
                State::Good if good < keep => good += 1,
                State::Good => {
                    as_caller(|| private::remove(&path)).map_err(|err| {
                        Failure::refused(format!(
                            "the new backup is good, but the old one {} cannot be removed: {err}",
                            path.display()
                        ))
                    })?;
                    removed.push(path);
                }
            }
        }
        Ok(())
    }

    /// Those of the listed backups that are of this series, with their sizes, each once. The times in the names decide;
    /// backups from the future were made while the clock was wrong, and come last.
    fn newest_first(&self, listed: Vec<Known>, now: Timestamp) -> Vec<(PathBuf, u64)> {
        let mut found = BTreeMap::new();
        for one in listed {
            let name = one.file.file_name().and_then(|name| name.to_str());
            let stamp = name.and_then(|name| self.stamp_of(name));
            if let Some(stamp) = stamp
                && one.elsewhere
                && one.file.parent() == Some(self.folder.as_path())
            {
                let path = self.folder.join(self.name(stamp));
                found.insert(Reverse((stamp.at <= now, stamp)), (path, one.bytes));
            }
        }
        found.into_values().collect()
    }

    fn name(&self, stamp: Stamp) -> String {
        let start = format!("{START}{}-{}", stamp.at.compact(), self.mark);
        match stamp.number {
            1 => format!("{start}{END}"),
            number => format!("{start}-{number}{END}"),
        }
    }

    /// Reads a name that [`Series::name`] has written for this series; every other name is `None`.
    fn stamp_of(&self, name: &str) -> Option<Stamp> {
        let mut parts = name.strip_prefix(START)?.strip_suffix(END)?.split('-');
        let at = Timestamp::parse_compact(parts.next()?)?;
        let _mark = parts.next()?;
        let number = parts.next().map_or(Some(1), |digits| digits.parse().ok())?;
        let stamp = Stamp { at, number };
        (self.name(stamp) == name).then_some(stamp)
    }
}

fn no_good(new: &Path, why: &str) -> Failure {
    Failure::refused(format!(
        "{} is no good backup, because {why}; no older one was removed",
        new.display()
    ))
}

/// What became of a backup.
enum State {
    Changed(&'static str),
    Gone,
    Good,
}

/// The state of a file that should be a backup of this size, for the caller with the rights of this thread.
fn state_of(path: &Path, bytes: u64) -> State {
    let Ok(found) = fs::symlink_metadata(path) else {
        return State::Gone;
    };
    if !found.is_file() {
        return State::Changed("it is not a file");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return State::Changed("it belongs to another user");
    }
    if found.len() != bytes {
        return State::Changed("its size is another one than when it was made");
    }
    let mut start = [0; MAGIC.len()];
    let read = open_foreign(path).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if start == MAGIC => State::Good,
        Ok(()) => State::Changed("it is no database"),
        Err(_) => State::Changed("it cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        Series {
            folder: "/mnt/b".into(),
            mark: "0123abcd".to_owned(),
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_compact(text).unwrap()
    }

    #[test]
    fn only_names_that_this_command_writes_for_this_server_are_read() {
        let at = at("20261130T033000Z");
        for (name, number) in [
            ("latchkey-20261130T033000Z-0123abcd.db", 1),
            ("latchkey-20261130T033000Z-0123abcd-12.db", 12),
        ] {
            let stamp = Stamp { at, number };
            assert_eq!(series().stamp_of(name), Some(stamp), "{name}");
        }
        for name in [
            "latchkey-20261130T033000Z.db",
            "latchkey-20261130T033000Z-0123abce.db",
            "latchkey-20261130T033000Z-0123abcd-1.db",
            "latchkey-20261130T033000Z-0123abcd-02.db",
            "latchkey-20261130T033000Z-0123abcd-+2.db",
            "latchkey-20261130T033000Z-0123abcd-2-2.db",
            "latchkey-20261130T033000Z-0123abcd-x.db",
            "latchkey-20261330T033000Z-0123abcd.db",
            "latchkey-important-0123abcd.db",
            "latchkey-.db",
        ] {
            assert_eq!(series().stamp_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_names_decide_on_the_order_and_each_file_is_there_once() {
        let known = |file: &str| Known {
            file: file.into(),
            bytes: 1,
            elsewhere: true,
        };
        let oldest = "/mnt/b/latchkey-20260101T000000Z-0123abcd.db";
        let ninth = "/mnt/b/latchkey-20260102T000000Z-0123abcd-9.db";
        let tenth = "/mnt/b/latchkey-20260102T000000Z-0123abcd-10.db";
        let future = "/mnt/b/latchkey-29900101T000000Z-0123abcd.db";
        let listed = [
            oldest,
            oldest,
            "/mnt/b/./latchkey-20260101T000000Z-0123abcd.db",
            "/mnt/c/latchkey-20260101T000000Z-0123abcd.db",
            "/mnt/b/latchkey-20260101T000000Z-ffffffff.db",
            future,
            ninth,
            tenth,
        ];
        let listed = listed.map(known).into();
        let found = series().newest_first(listed, at("20260201T000000Z"));
        let found: Vec<&str> = found.iter().filter_map(|(path, _)| path.to_str()).collect();
        assert_eq!(found, [tenth, ninth, oldest, future]);
    }
}
