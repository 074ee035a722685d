//! Files in the data folder, which only its owner can read or write. Links are not followed.

use super::{END, START, sync_folder, unguessable};
use rustix::fd::AsFd;
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

/// Creates a file that must not exist yet.
pub fn create(path: &Path) -> io::Result<File> {
    private().create_new(true).read(true).write(true).open(path)
}

/// Opens a file for reading and writing, and creates it if it does not exist.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = private();
    options.create(true).truncate(false).read(true).write(true);
    options.open(path)
}

/// Opens a file for reading and appending, and creates it if it does not exist.
pub fn append(path: &Path) -> io::Result<File> {
    private().create(true).read(true).append(true).open(path)
}

/// Writes a complete file that replaces an existing one. After a crash either the old or the new file is there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |_| content.to_vec())
}

/// As [`replace`]; the content may depend on when the file was made ([`made_at`]).
pub fn replace_with(path: &Path, content: impl FnOnce(Option<u128>) -> Vec<u8>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let temporary = folder.join(unguessable()?);
    let write = || {
        let mut file = create(&temporary)?;
        let made_at = made_at(&file.metadata()?);
        file.write_all(&content(made_at))?;
        file.sync_all()?;
        rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// When a file was made, in nanoseconds since 1970; `None` on a file system that does not know it. A copy of the file was made later,
/// also one that has all other times of the file.
pub fn made_at(file: &fs::Metadata) -> Option<u128> {
    let since = file.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos())
}

/// Renames a file durably, and replaces an existing one.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync(to.parent().unwrap_or(to))
}

/// Adds a second name (a hard link) to a file. The name must be free.
pub fn link(file: &Path, second: &Path) -> io::Result<()> {
    fs::hard_link(file, second)
}

/// Deletes a file if it exists.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes the entries of a folder durable.
pub fn sync(folder: &Path) -> io::Result<()> {
    sync_folder(File::open(folder)?.as_fd())
}

/// Creates a folder and its parents if they do not exist.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Restricts a new socket to its owner.
pub fn close_to_others(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Lets every program of this machine that may enter the folder of a new socket use it.
pub fn open_to_others(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// Takes rights from a file or folder of this user. `taken` says which of the rights in a mode go; if they are all rights
/// of others, the bits that give new files to a group go too. Returns whether anything was changed. Links, and files with
/// several names, stay as they are.
pub fn tighten(path: &Path, taken: impl Fn(u32) -> u32) -> io::Result<bool> {
    let own = rustix::process::geteuid().as_raw();
    let kept = |found: &fs::Metadata| {
        let is_known = found.is_dir() || found.is_file() && found.nlink() == 1;
        let mode = found.mode() & 0o7777;
        let rest = mode & !taken(mode);
        let kept = match rest & 0o077 {
            0 if rest != mode => rest & 0o700,
            _ => rest,
        };
        (is_known && found.uid() == own && kept != mode).then_some(kept)
    };
    if kept(&fs::symlink_metadata(path)?).is_none() {
        return Ok(false);
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    match kept(&file.metadata()?) {
        Some(mode) => file
            .set_permissions(fs::Permissions::from_mode(mode))
            .map(|()| true),
        None => Ok(false),
    }
}

/// Takes the rights of all others from a folder of this user, and the bits that give new files to its group. Returns whether
/// anything was changed. A link is not followed.
pub fn close_folder(path: &Path) -> io::Result<bool> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let mut options = OpenOptions::new();
    let folder = options
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    let mode = folder.metadata()?.mode() & 0o7777;
    if mode & 0o7077 == 0 {
        return Ok(false);
    }
    folder.set_permissions(fs::Permissions::from_mode(mode & 0o700))?;
    Ok(true)
}

/// Deletes temporary files that a killed process left behind. The caller must hold the lock of the folder.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_left = name
            .to_str()
            .is_some_and(|name| name.starts_with(START) && name.contains(END));
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A new empty folder.
    pub fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("latchkey-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        make_folder(&folder).unwrap();
        folder
    }

    #[test]
    fn a_replaced_file_is_the_new_one_and_private() {
        let folder = folder("private-replace");
        let path = folder.join("a");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn links_are_neither_opened_nor_tightened_and_groups_lose_what_they_may() {
        let folder = folder("private-links");
        let (target, link) = (folder.join("target"), folder.join("link"));
        fs::write(&target, "x").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let set = |mode| fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        let mode = || fs::metadata(&target).unwrap().mode() & 0o7777;
        set(0o660);
        assert!(open(&link).is_err() && append(&link).is_err() && create(&link).is_err());
        assert!(!tighten(&link, |_| 0o077).unwrap());
        assert_eq!(mode(), 0o660);
        for (before, taken, after) in [
            (0o660, 0o077, 0o600),
            (0o646, 0o077, 0o600),
            (0o2664, 0o077, 0o600),
            (0o600, 0o077, 0o600),
            (0o664, 0o022, 0o644),
            (0o646, 0o022, 0o644),
            (0o604, 0o022, 0o604),
        ] {
            set(before);
            assert_eq!(tighten(&target, |_| taken).unwrap(), before != after);
            assert_eq!(mode(), after, "{before:o}");
        }
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_away() {
        let folder = folder("private-sweep");
        fs::write(folder.join(unguessable().unwrap()), "half").unwrap();
        fs::write(folder.join("pepper"), "kept").unwrap();
        sweep(&folder);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let _ = fs::remove_dir_all(folder);
    }
}
