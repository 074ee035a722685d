//! Access to files in a folder that another user owns, without following links, and with checks before use.

use super::users;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The number of links that are followed on a path; the kernel has the same limit.
const LINKS_MAX: usize = 40;

/// An open file, and the open folder that contains it.
#[derive(Debug)]
pub struct Beneath {
    folder: OwnedFd,
    name: String,
    pub file: File,
}

impl Beneath {
    /// Opens `FOLDER/SUBFOLDER/NAME`. Refuses links, anything that is not a regular file, and any file whose owner
    /// differs from the owner of the folder.
    pub fn open(folder: &Path, subfolder: &str, name: &str) -> io::Result<Beneath> {
        let refused = |why: String| Err(io::Error::other(why));
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return refused(format!("{name:?} is not the name of a file"));
        }
        let path = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let outer = rustix::fs::open(folder, path, Mode::empty())?;
        let owner = rustix::fs::fstat(&outer)?.st_uid;
        let inner = rustix::fs::openat(&outer, subfolder, path | OFlags::NOFOLLOW, Mode::empty());
        let inner = match inner {
            Ok(inner) => inner,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return refused(format!(
                    "{} is a link or no folder, and is not followed",
                    folder.join(subfolder).display()
                ));
            }
            Err(err) => return Err(err.into()),
        };
        let file = open_at(&inner, name)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() != 1 || found.uid() != owner {
            return refused(format!(
                "{name} is not a plain file of the owner of {}",
                folder.display()
            ));
        }
        Ok(Beneath {
            folder: inner,
            name: name.to_owned(),
            file,
        })
    }

    /// Gives the file a temporary name, under which [`super::private::sweep`] removes it if this process cannot.
    pub fn make_temporary(&mut self) -> io::Result<()> {
        let temporary = super::unguessable()?;
        let folder = self.folder.as_fd();
        rustix::fs::renameat(folder, self.name.as_str(), folder, temporary.as_str())?;
        self.name = temporary;
        Ok(())
    }

    /// Removes the file from its folder.
    pub fn remove(self) -> io::Result<()> {
        let there = rustix::fs::statat(&self.folder, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        let held = self.file.metadata()?;
        match there {
            Ok(there) if (there.st_dev, there.st_ino) == (held.dev(), held.ino()) => {
                let flags = AtFlags::empty();
                rustix::fs::unlinkat(self.folder.as_fd(), self.name, flags).map_err(Into::into)
            }
            // Another process has removed or replaced the file already.
            _ => Ok(()),
        }
    }
}

/// Opens a file in the folder that its path names. The path to the folder may have links; the file itself may not be one,
/// and must be a regular file.
pub fn open_in(path: &Path) -> io::Result<File> {
    let (folder, name) = match (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) {
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err(io::Error::other("this is not the path of a file")),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = open_at(&rustix::fs::open(folder, flags, Mode::empty())?, name)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{name} is not a regular file"))),
    }
}

/// Opens an entry of a folder, unless it is a link.
fn open_at(folder: &OwnedFd, name: &str) -> io::Result<File> {
    // Opening a pipe that has no writer must not block this process.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => Err(io::Error::other(format!(
            "{name} is a link and is not followed"
        ))),
        Err(err) => Err(err.into()),
    }
}

/// Whether only root and the owner of this process can create files in a folder or replace the folder. The path must
/// not contain links.
pub fn is_out_of_reach(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let is_private = std::fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.mode() & 0o022 == 0);
    is_private && folder.ancestors().all(|above| is_ruled_by(above, own))
}

/// Whether only root and this user can replace a folder: one of them owns it, and if other users may write to it, it
/// is sticky, so that they cannot rename files of other users.
fn is_ruled_by(folder: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|found| {
        let is_ours = found.uid() == uid || found.uid() == 0;
        is_ours && (found.mode() & 0o022 == 0 || found.mode() & 0o1000 != 0 || found.is_symlink())
    })
}

/// Refuses a path if a user other than root and this one could replace a folder on it. Follows links one by one and
/// checks the folder of each.
pub fn check_way(folder: &Path, uid: u32) -> io::Result<()> {
    let mut links = 0;
    let mut waiting: Vec<PathBuf> = Vec::new();
    let mut at = PathBuf::new();
    push_all(&mut waiting, &std::path::absolute(folder)?);
    while let Some(part) = waiting.pop() {
        let next = match part.as_os_str().to_str() {
            Some("..") => at.parent().unwrap_or(Path::new("/")).to_owned(),
            _ => at.join(&part),
        };
        let found = std::fs::symlink_metadata(&next)?;
        if found.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            // The target of a link is relative to the folder of the link, unless it starts at the root.
            push_all(&mut waiting, &std::fs::read_link(&next)?);
        }
        if !is_ruled_by(&next, uid) {
            return Err(io::Error::other(format!(
                "user {} could put another folder in its place, because {} is theirs or open to others",
                users::shown(found.uid()),
                next.display()
            )));
        }
        if !found.is_symlink() {
            at = next;
        }
    }
    Ok(())
}

/// Pushes the components of a path on the stack, with the first one on top.
fn push_all(waiting: &mut Vec<PathBuf>, path: &Path) {
    for part in path.components().rev() {
        if part != Component::CurDir {
            waiting.push(PathBuf::from(part.as_os_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::private::tests::folder;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_a_plain_file_of_the_owner_is_opened_and_removed() {
        let data = folder("beneath");
        let backups = data.join("backups");
        let elsewhere = data.join("elsewhere");
        fs::create_dir(&backups).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("passwd"), "kept").unwrap();
        fs::write(backups.join("a.db"), "mine").unwrap();
        fs::hard_link(elsewhere.join("passwd"), backups.join("second")).unwrap();
        symlink(elsewhere.join("passwd"), backups.join("link")).unwrap();
        symlink(&elsewhere, data.join("linked")).unwrap();
        for (subfolder, name) in [
            ("backups", "link"),
            ("backups", "second"),
            ("backups", "../elsewhere/passwd"),
            ("backups", ".."),
            ("backups", ""),
            ("linked", "passwd"),
            (".", "backups"),
            ("backups", "none"),
        ] {
            assert!(
                Beneath::open(&data, subfolder, name).is_err(),
                "{subfolder}/{name}"
            );
        }
        let opened = Beneath::open(&data, "backups", "a.db").unwrap();
        opened.remove().unwrap();
        assert!(!backups.join("a.db").exists());
        for is_removed in [true, false] {
            fs::write(backups.join("b.db"), "mine").unwrap();
            let mut opened = Beneath::open(&data, "backups", "b.db").unwrap();
            opened.make_temporary().unwrap();
            assert_eq!(fs::read_dir(&backups).unwrap().count(), 3);
            match is_removed {
                true => opened.remove().unwrap(),
                false => super::super::private::sweep(&backups),
            }
            assert_eq!(fs::read_dir(&backups).unwrap().count(), 2);
        }
        assert_eq!(fs::read(elsewhere.join("passwd")).unwrap(), b"kept");
        let _ = fs::remove_dir_all(data);
    }

    #[test]
    fn a_way_that_others_can_change_is_refused() {
        let top = folder("way");
        let own = rustix::process::geteuid().as_raw();
        let data = top.join("open/data");
        fs::create_dir_all(&data).unwrap();
        symlink("open/data", top.join("link")).unwrap();
        symlink("link", top.join("link2")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        for way in ["open/data", "link", "link2", "open/../open/data"] {
            check_way(&top.join(way), own).unwrap();
        }
        assert!(check_way(&top.join("loop"), own).is_err());
        fs::set_permissions(top.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        for way in ["open/data", "link", "link2"] {
            assert!(check_way(&top.join(way), own).is_err(), "{way}");
        }
        fs::set_permissions(top.join("open"), fs::Permissions::from_mode(0o1777)).unwrap();
        check_way(&data, own).unwrap();
        let _ = fs::remove_dir_all(top);
    }

    #[test]
    fn a_link_or_a_pipe_is_not_opened_in_a_folder() {
        let folder = folder("beneath-open-in");
        let [plain, link, pipe] = ["plain", "link", "pipe"].map(|name| folder.join(name));
        std::fs::write(&plain, "x").unwrap();
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        let (fifo, mode) = (rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
        assert!(open_in(&plain).is_ok());
        for (path, why) in [(&link, "is a link"), (&pipe, "is not a regular file")] {
            let refused = open_in(path).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        for path in [&pipe, &folder] {
            let refused = crate::files::read_regular(path).unwrap_err().to_string();
            assert!(refused.contains("not a regular file"), "{refused}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }
}
