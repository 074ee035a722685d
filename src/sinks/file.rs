//! The sink `file`: one line of JSON for each message, in a private file that is rotated by size.

use super::body::Message;
use crate::files::private;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where lines are written, and how much of them is kept.
#[derive(Clone, Debug)]
pub struct FileSettings {
    pub path: PathBuf,
    /// A file that would become larger is renamed first: `notices.jsonl.1`, `.2` and so on.
    pub bytes_max: u64,
    /// How many renamed files are kept.
    pub kept: u32,
}

/// The file at work.
pub struct FileSink {
    settings: FileSettings,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: File,
    length: u64,
    identity: (u64, u64),
}

impl FileSink {
    pub fn new(settings: FileSettings) -> FileSink {
        FileSink {
            settings,
            open: None,
        }
    }

    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let line = format!("{}\n", message.body);
        let length = line.len() as u64;
        let mut open = self.take()?;
        if open.length > 0 && open.length + length > self.settings.bytes_max {
            open.file.sync_data()?;
            self.rotate()?;
            open = self.take()?;
        }
        if let Err(err) = open.file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one.
            let _ = open.file.set_len(open.length);
            return Err(err);
        }
        open.length += length;
        self.open = Some(open);
        Ok(())
    }

    /// Makes the lines durable.
    pub fn flush(&mut self) -> io::Result<()> {
        match &self.open {
            Some(open) => open.file.sync_data(),
            None => Ok(()),
        }
    }

    /// The open file, or a new one if it was moved or removed.
    fn take(&mut self) -> io::Result<OpenFile> {
        let there = std::fs::symlink_metadata(&self.settings.path).ok();
        let there = there.map(|found| (found.dev(), found.ino()));
        match self.open.take() {
            Some(open) if there == Some(open.identity) => Ok(open),
            _ => open(&self.settings.path),
        }
    }

    fn rotate(&self) -> io::Result<()> {
        let path = &self.settings.path;
        let numbered = |number: u32| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.settings.kept).rev() {
            let older = numbered(number);
            if older.exists() {
                private::rename(&older, &numbered(number + 1))?;
            }
        }
        private::rename(path, &numbered(1))
    }
}

/// Opens the file, and ends a line that a crash has cut off.
fn open(path: &Path) -> io::Result<OpenFile> {
    check(path)?;
    let mut file = private::append(path).map_err(|err| named(path, &err.to_string()))?;
    // What was opened decides, and not what had this name before.
    let found = examined(path, &file)?;
    let mut length = found.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
        length += 1;
    }
    Ok(OpenFile {
        length,
        identity: (found.dev(), found.ino()),
        file,
    })
}

/// Refuses a path at which there is something else than a file of notices. A path at which there is nothing is fine.
pub fn check(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        // Opening a pipe could wait for ever.
        Ok(found) if !found.is_file() => Err(named(path, "is not a plain file")),
        Ok(found) => {
            // A file that only others can read is refused by its owner or its mode.
            admit(path, &found)?;
            let file = File::open(path).map_err(|err| named(path, &err.to_string()))?;
            examined(path, &file).map(drop)
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(named(path, &err.to_string())),
    }
}

/// Refuses an open file that could be anything else than one of notices, such as a key or a database.
fn examined(path: &Path, file: &File) -> io::Result<Metadata> {
    let found = file.metadata()?;
    admit(path, &found)?;
    let mut first = [b'{'];
    if found.len() > 0 {
        file.read_exact_at(&mut first, 0)?;
    }
    match first {
        [b'{'] => Ok(found),
        _ => Err(named(
            path,
            "has other content than notices; name a new file",
        )),
    }
}

fn admit(path: &Path, found: &Metadata) -> io::Result<()> {
    let why = if !found.is_file() {
        "is not a plain file"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if found.nlink() != 1 {
        "has several names (hard links)"
    } else if found.mode() & 0o077 != 0 {
        "can be read by other users; close it with chmod 600"
    } else {
        return Ok(());
    };
    Err(named(path, why))
}

fn named(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn message(number: usize) -> Message {
        let mut message = Message::test(Timestamp(0)).unwrap();
        message.body = format!("{{\"number\":{number}}}");
        message
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("latchkey-{}-{name}", std::process::id()));
        private::make_folder(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_is_private_and_rotated_by_size() {
        let folder = folder("sink-rotated");
        let path = folder.join("notices.jsonl");
        let mut sink = FileSink::new(FileSettings {
            path: path.clone(),
            bytes_max: 40,
            kept: 2,
        });
        for number in 0..10 {
            sink.send(&message(number)).unwrap();
        }
        sink.flush().unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("notices.jsonl"), "{\"number\":9}\n");
        // Each file holds three lines of 13 bytes.
        assert_eq!(read("notices.jsonl.1").lines().count(), 3);
        assert_eq!(read("notices.jsonl.2").lines().count(), 3);
        assert_eq!(read("notices.jsonl.3"), "");
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_and_a_moved_file_is_left_alone() {
        let folder = folder("sink-cut");
        let path = folder.join("notices.jsonl");
        fs::write(&path, "{\"cut").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut sink = FileSink::new(FileSettings {
            path: path.clone(),
            bytes_max: 1_000,
            kept: 1,
        });
        sink.send(&message(1)).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"cut\n{\"number\":1}\n"
        );
        fs::rename(&path, folder.join("taken")).unwrap();
        sink.send(&message(2)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"number\":2}\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut other = FileSink::new(FileSettings {
            path: path.clone(),
            bytes_max: 1_000,
            kept: 1,
        });
        assert!(other.send(&message(3)).is_err());
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn only_a_file_of_notices_of_this_user_is_written_to() {
        let folder = folder("sink-other");
        let refused = |name: &str, why: &str| {
            let path = folder.join(name);
            let before = fs::read(&path).ok();
            let found = open(&path).err().map(|err| err.to_string());
            let found = found.unwrap_or_default();
            assert!(found.contains(why) && found.contains(name), "{found}");
            assert_eq!(fs::read(&path).ok(), before, "{name}");
        };
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        write("key", "whsec_x\n");
        refused("key", "other content");
        let path = write("linked", "{}\n");
        fs::hard_link(&path, folder.join("second")).unwrap();
        refused("second", "several names");
        refused("none/notices.jsonl", "No such file");
        write("empty", "");
        assert!(open(&folder.join("empty")).is_ok());
        assert!(check(&folder.join("new")).is_ok());
        assert!(!folder.join("new").exists());
        let _ = fs::remove_dir_all(folder);
    }
}
