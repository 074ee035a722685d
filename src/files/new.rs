//! A new file in a folder that another user may own. Under its final name the file is either complete or absent. It
//! is never a different file from the one that was created here, and [`NewFile::put_in_place`] never replaces an
//! existing file.

use super::{beneath, sync_folder, unguessable, users};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Who may read a new file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readers {
    /// All users that the umask does not exclude; for certificates and manual pages.
    Everybody,
    /// Only the owner. A file system that cannot exclude other users is refused.
    Owner,
    /// Only the owner if the file system stores modes. This suffices for encrypted content.
    OwnerIfKept,
}

/// A file under a temporary name, until [`NewFile::put_in_place`] gives it its final name. If it is dropped before
/// that, it is deleted.
///
/// All operations are relative to the folder that was opened first, so replacing the folder meanwhile has no effect.
#[derive(Debug)]
pub struct NewFile {
    folder: OwnedFd,
    folder_path: PathBuf,
    file: File,
    /// `None` once the file has its final name.
    temporary: Option<String>,
    name: OsString,
}

impl NewFile {
    /// Creates the file. `AlreadyExists` if the name is taken, even by a dangling link.
    pub fn create(path: &Path, readers: Readers) -> io::Result<NewFile> {
        let new = NewFile::replacing(path, readers)?;
        match rustix::fs::statat(&new.folder, &new.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(Errno::NOENT) => Ok(new),
            Err(err) => Err(err.into()),
        }
    }

    /// Does the same as [`NewFile::create`], for a file that [`NewFile::replace`] later puts in the place of another
    /// one.
    pub fn replacing(path: &Path, readers: Readers) -> io::Result<NewFile> {
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is not the name of a file",
            )
        })?;
        let folder_path = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder_path, flags, Mode::empty())?;
        let temporary = unguessable()?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(readers.mode());
        let file = rustix::fs::openat(&folder, temporary.as_str(), flags, mode)?;
        let new = NewFile {
            folder,
            folder_path: folder_path.to_owned(),
            file: file.into(),
            temporary: Some(temporary),
            name: name.to_owned(),
        };
        new.check(readers)?;
        Ok(new)
    }

    /// Checks that the file system has created what was requested.
    fn check(&self, readers: Readers) -> io::Result<()> {
        let made = self.file.metadata()?;
        let own = rustix::process::geteuid().as_raw();
        if !made.is_file() || made.nlink() != 1 {
            return Err(io::Error::other("the new file has a second name already"));
        }
        if readers != Readers::Owner {
            return Ok(());
        }
        let shown = self.folder_path.display();
        if made.uid() != own {
            return Err(io::Error::other(format!(
                "new files in {shown} belong to user {}, not to user {}, so it would not be private; choose a folder on \
                 another file system",
                users::shown(made.uid()),
                users::shown(own)
            )));
        }
        if made.mode() & 0o777 & !readers.mode() != 0 {
            return Err(io::Error::other(format!(
                "the file system of {shown} does not keep modes, so others could read it; choose another one, or mount it \
                 with umask=077"
            )));
        }
        Ok(())
    }

    /// The path of the file before it has its final name, without links.
    pub fn temporary_path(&self) -> io::Result<PathBuf> {
        let temporary = self.temporary.as_deref().unwrap_or_default();
        Ok(std::fs::canonicalize(&self.folder_path)?.join(temporary))
    }

    /// Whether only root and the owner of this process can create files in the same folder. SQLite derives the names
    /// of further files from the database's name, so it may work only in such a folder.
    pub fn is_out_of_reach(&self) -> bool {
        let is_same = |path: &Path| {
            let by_name = std::fs::metadata(path).ok()?;
            let held = rustix::fs::fstat(&self.folder).ok()?;
            Some((by_name.dev(), by_name.ino()) == (held.st_dev, held.st_ino))
        };
        let folder = std::fs::canonicalize(&self.folder_path);
        folder
            .is_ok_and(|folder| beneath::is_out_of_reach(&folder) && is_same(&folder) == Some(true))
    }

    /// Fills the file with the content of another file.
    pub fn copy_from(&mut self, other: &mut File) -> io::Result<u64> {
        other.rewind()?;
        io::copy(other, &mut self.file)
    }

    /// The file itself, for reading the written content.
    pub fn content(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file and gives it its final name. Never replaces an existing file.
    pub fn put_in_place(mut self) -> io::Result<u64> {
        self.file.sync_all()?;
        if let Some(temporary) = self.temporary.as_deref() {
            let folder = self.folder.as_fd();
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(folder, temporary, folder, &self.name, flags) {
                Ok(()) => {}
                // Not every kernel and file system supports this. A hard link does not replace an existing file
                // either.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    let flags = AtFlags::empty();
                    rustix::fs::linkat(folder, temporary, folder, &self.name, flags)?;
                    rustix::fs::unlinkat(folder, temporary, flags)?;
                }
                Err(err) => return Err(err.into()),
            }
        }
        self.settle()
    }

    /// Does the same as [`NewFile::put_in_place`], but replaces an existing file; an existing link is replaced, not
    /// followed.
    pub fn replace(mut self) -> io::Result<u64> {
        self.file.sync_all()?;
        if let Some(temporary) = self.temporary.as_deref() {
            let folder = self.folder.as_fd();
            rustix::fs::renameat(folder, temporary, folder, &self.name)?;
        }
        self.settle()
    }

    /// Checks that the final name now refers to the file that was created here, because the owner of the folder can
    /// rename files in it.
    fn settle(&mut self) -> io::Result<u64> {
        self.temporary = None;
        sync_folder(self.folder.as_fd())?;
        let made = self.file.metadata()?;
        let there = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (there.st_dev, there.st_ino) != (made.dev(), made.ino()) {
            return Err(io::Error::other(
                "somebody has put another file in its place; choose a folder that nobody else can write to",
            ));
        }
        Ok(made.len())
    }
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Readers::Everybody => 0o644,
            Readers::Owner | Readers::OwnerIfKept => 0o600,
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for NewFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = rustix::fs::unlinkat(&self.folder, temporary, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::private::tests::folder;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_new_file_has_its_name_when_it_is_whole_and_is_private() {
        let folder = folder("new-whole");
        let path = folder.join("a");
        let mut new = NewFile::create(&path, Readers::Owner).unwrap();
        new.write_all(b"half").unwrap();
        assert!(!path.exists());
        new.write_all(b" whole").unwrap();
        assert_eq!(new.put_in_place().unwrap(), 10);
        assert_eq!(fs::read(&path).unwrap(), b"half whole");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(&folder), ["a"]);
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_new_file_that_is_given_up_leaves_nothing() {
        let folder = folder("new-dropped");
        let new = NewFile::create(&folder.join("a"), Readers::Owner).unwrap();
        assert_eq!(names(&folder).len(), 1);
        drop(new);
        assert_eq!(names(&folder), Vec::<String>::new());
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn nothing_is_replaced_or_followed() {
        let folder = folder("new-there");
        let victim = folder.join("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, folder.join("link")).unwrap();
        symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
        for name in ["victim", "link", "dangling"] {
            let refused = NewFile::create(&folder.join(name), Readers::Owner).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        // A file that takes the final name while the new file is being written is not replaced either.
        for planted in ["file", "link"] {
            let path = folder.join(format!("late-{planted}"));
            let mut new = NewFile::create(&path, Readers::Owner).unwrap();
            new.write_all(b"new").unwrap();
            match planted {
                "file" => fs::write(&path, "kept").unwrap(),
                _ => symlink(&victim, &path).unwrap(),
            }
            let refused = new.put_in_place().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{planted}");
            assert_eq!(fs::read(&path).unwrap(), b"kept");
        }
        assert!(!folder.join("nowhere").exists());
        assert_eq!(names(&folder).len(), 5, "no temporary file is left");
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_replacement_takes_the_place_of_a_link_and_not_of_its_target() {
        let folder = folder("new-replace");
        let victim = folder.join("victim");
        fs::write(&victim, "kept").unwrap();
        let page = folder.join("page");
        symlink(&victim, &page).unwrap();
        // An older page exists. The new page is created under a temporary name.
        let new = NewFile::replacing(&page, Readers::Everybody).unwrap();
        new.replace().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
        assert!(fs::symlink_metadata(&page).unwrap().is_file());
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_file_that_was_exchanged_meanwhile_is_told() {
        let folder = folder("new-exchanged");
        let path = folder.join("a");
        let new = NewFile::create(&path, Readers::Owner).unwrap();
        let temporary = new.temporary_path().unwrap();
        fs::remove_file(&temporary).unwrap();
        fs::write(&temporary, "another").unwrap();
        let told = new.put_in_place().unwrap_err().to_string();
        assert!(told.contains("another file in its place"), "{told}");
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn where_others_can_write_sqlite_does_not_work() {
        let folder = folder("new-reach");
        let is_out_of_reach = || {
            let new = NewFile::create(&folder.join("a"), Readers::Owner).unwrap();
            new.is_out_of_reach()
        };
        assert!(is_out_of_reach());
        for mode in [0o777, 0o1777, 0o770, 0o707] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert!(!is_out_of_reach(), "{mode:o}");
        }
        let _ = fs::remove_dir_all(folder);
    }
}
