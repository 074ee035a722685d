//! The data folder: which users may access it, the lock of the process that uses it, and the key files next to the
//! database.

use super::owner::as_caller;
use super::restore;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::text;
use crate::error::{Error, Result};
use crate::files::private;
use crate::refusals::verbatim;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const DATABASE: &str = "latchkey.db";
/// A database that is being created; it is renamed once it is complete.
const NEW_DATABASE: &str = "latchkey.db.new";
const PEPPER: &str = "pepper";
const SEALING_KEY: &str = "sealing-key";
/// The files without which a database is useless.
pub const KEY_FILES: [&str; 2] = [PEPPER, SEALING_KEY];
const LOCK: &str = "latchkey.lock";
/// The default folder for backups.
const BACKUPS: &str = "backups";
const SOCKET: &str = "latchkey.sock";
/// The maximum length of the path of a socket (unix(7)).
const SOCKET_BYTES_MAX: usize = 107;

/// A data folder that this process locks as long as this value exists.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// What the data folder contains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Contents {
    /// Neither a database nor a pepper.
    Empty,
    /// The first start was interrupted after it had written the pepper and before it created the database.
    PepperOnly,
    Ready,
}

impl Folder {
    /// Creates the folder if it does not exist, and takes its lock.
    pub fn create(path: &Path) -> Result<Folder> {
        check_length(path)?;
        make(path)?;
        Folder::open(path)
    }

    /// Takes the lock of an existing folder.
    pub fn open(path: &Path) -> Result<Folder> {
        if let Some(folder) = Folder::open_unless_locked(path)? {
            return Ok(folder);
        }
        Err(in_use(path))
    }

    /// Takes the lock of an existing folder; `None` if another process holds it.
    pub fn open_unless_locked(path: &Path) -> Result<Option<Folder>> {
        check_length(path)?;
        let shown = path.display();
        let metadata = fs::metadata(path)
            .map_err(|err| refused(format!("the data folder {shown} cannot be opened: {err}")))?;
        if !metadata.is_dir() {
            return Err(refused(format!("{shown} is not a folder")));
        }
        if !is_widened(path, &metadata) {
            check_private(path, &metadata)?;
        }
        let lock_path = path.join(LOCK);
        let mut lock = private::open(&lock_path).map_err(|err| {
            refused(format!(
                "{} cannot be opened: {err}; check the owner and the free space",
                lock_path.display()
            ))
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(err)) => {
                return Err(refused(format!(
                    "{} cannot be locked: {err}",
                    lock_path.display()
                )));
            }
        }
        // The number in the file is only for error messages; the lock does not depend on it.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        let folder = Folder {
            path: path.to_owned(),
            _lock: lock,
        };
        close_to_group(path)?;
        private::sweep(path);
        private::sweep(&path.join(BACKUPS));
        restore::finish(path)?;
        if folder.database().exists() {
            // If the first start is interrupted between giving the database its name and removing the temporary name,
            // the temporary name remains.
            folder.remove_new_database()?;
        }
        Ok(Some(folder))
    }

    /// What the folder contains; refuses a database without its pepper.
    pub fn contents(&self) -> Result<Contents> {
        match (self.database().exists(), self.pepper().exists()) {
            (false, false) => Ok(Contents::Empty),
            (false, true) => Ok(Contents::PepperOnly),
            (true, true) => Ok(Contents::Ready),
            (true, false) => Err(refused(format!(
                "{} is missing, and without it no key of the database can be verified; put the file back from your backup \
                 (a new one would be of no use, so none is made)",
                self.pepper().display()
            ))),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub fn socket(&self) -> PathBuf {
        socket_of(&self.path)
    }

    fn pepper(&self) -> PathBuf {
        self.key_file(PEPPER)
    }

    fn key_file(&self, name: &str) -> PathBuf {
        key_file_of(&self.path, name)
    }

    /// Reads the pepper and the sealing key.
    pub fn read_key_files(&self) -> Result<KeyFiles> {
        Ok(KeyFiles {
            peppers: Arc::new(self.read_pepper()?),
            sealing: Arc::new(self.read_sealing_keys()?),
        })
    }

    /// Creates the pepper and the sealing key, or reads those that an interrupted start has left.
    pub fn make_key_files(&self) -> Result<KeyFiles> {
        Ok(KeyFiles {
            peppers: Arc::new(self.make_key_file(PEPPER, Peppers::parse, Peppers::generate)?),
            sealing: Arc::new(self.make_key_file(
                SEALING_KEY,
                SealingKeys::parse,
                SealingKeys::generate,
            )?),
        })
    }

    /// Reads the pepper.
    fn read_pepper(&self) -> Result<Peppers> {
        self.read_key_file(PEPPER, Peppers::parse)
    }

    /// Reads the sealing key. Every database has had one since its first start, so if the file is missing, it was lost.
    fn read_sealing_keys(&self) -> Result<SealingKeys> {
        if !self.key_file(SEALING_KEY).exists() {
            return Err(refused(format!(
                "{} is missing, and without it no sealed secret can be shown again; put the file back from your backup \
                 (a new one would be of no use, so none is made)",
                self.key_file(SEALING_KEY).display()
            )));
        }
        self.read_key_file(SEALING_KEY, SealingKeys::parse)
    }

    fn read_key_file<T>(&self, name: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
        let path = self.key_file(name);
        let shown = path.display();
        let unreadable = |err| refused(format!("the {name} {shown} cannot be read: {err}"));
        // systemd itself protects the credentials that it provides.
        if path.starts_with(&self.path) {
            let metadata = fs::metadata(&path).map_err(unreadable)?;
            check_private(&path, &metadata)?;
        }
        let text = read_key_file(&self.path, &path).map_err(unreadable)?;
        parse(&text).ok_or_else(|| {
            refused(format!(
                "the {name} {shown} is damaged; put the file back from your backup, it was left as it is"
            ))
        })
    }

    fn make_key_file<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Option<T>,
        generate: fn() -> Result<(T, String)>,
    ) -> Result<T> {
        let path = self.key_file(name);
        if path.exists() {
            return self.read_key_file(name, parse);
        }
        let (keys, text) = generate()?;
        self.put_key_file(name, &text)?;
        Ok(keys)
    }

    /// Writes a key file, completely or not at all; the caller has checked that it does not exist.
    pub fn put_key_file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        private::replace(&path, text.as_bytes()).map_err(|err| {
            refused(format!(
                "the {name} cannot be written to {}: {err}",
                self.path.display()
            ))
        })
    }

    /// The temporary path of a new database; a file that an interrupted start left there is removed.
    pub fn new_database(&self) -> Result<PathBuf> {
        let path = self.path.join(NEW_DATABASE);
        self.remove_new_database()?;
        private::create(&path)
            .map_err(|err| refused(format!("{} cannot be made: {err}", path.display())))?;
        Ok(path)
    }

    fn remove_new_database(&self) -> Result<()> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let leftover = self.path.join(format!("{NEW_DATABASE}{suffix}"));
            private::remove(&leftover).map_err(|err| {
                refused(format!("{} cannot be removed: {err}", leftover.display()))
            })?;
        }
        Ok(())
    }

    /// Gives a new database its final name once it is complete and closed. It never replaces an existing database.
    pub fn install_database(&self, new: &Path) -> Result<()> {
        let install = || {
            File::open(new)?.sync_all()?;
            private::link(new, &self.database())?;
            private::remove(new)?;
            private::sync(&self.path)
        };
        install().map_err(|err| refused(format!("the new database cannot be put in place: {err}")))
    }
}

/// The path of a key file: a credential from systemd (`LoadCredential=`, systemd.exec(5)), or a file in the folder.
pub fn key_file_of(folder: &Path, name: &str) -> PathBuf {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let credential = credentials.map(|folder| Path::new(&folder).join(name));
    credential
        .filter(|credential| as_caller(|| credential.exists()))
        .unwrap_or_else(|| folder.join(name))
}

/// The path of the Unix socket on which the server of a folder listens.
pub fn socket_of(path: &Path) -> PathBuf {
    path.join(SOCKET)
}

/// Creates the folder if it does not exist.
pub fn make(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    private::make_folder(path).map_err(|err| {
        refused(format!(
            "the data folder {} cannot be made: {err}",
            path.display()
        ))
    })
}

/// A sentence about the process that holds the lock.
pub fn used_by(path: &Path) -> String {
    // The number is only for the message; it is left out if the file is empty.
    let holder = fs::read_to_string(path.join(LOCK)).unwrap_or_default();
    format!(
        "the data folder {} is in use by another latchkey (process {})",
        path.display(),
        holder.trim()
    )
}

/// The error for a folder that another process uses.
pub fn in_use(path: &Path) -> Error {
    refused(format!(
        "{}; stop that one first, nothing was changed",
        used_by(path)
    ))
}

/// The error for a folder that does not exist or is still empty.
pub fn not_initialised(path: &Path) -> Error {
    let shown = path.display();
    refused(format!(
        "the data folder {shown} is not initialised; make one with: latchkey init --data {shown} \
         (or try everything with: latchkey quickstart --data {shown})"
    ))
}

/// Refuses a path that is too long to append the name of the socket.
pub fn check_length(path: &Path) -> Result<()> {
    let most = SOCKET_BYTES_MAX - SOCKET.len() - 1;
    if socket_of(path).as_os_str().len() <= SOCKET_BYTES_MAX {
        return Ok(());
    }
    Err(refused(format!(
        "the path of the data folder {} is too long for the socket in it: at most {most} bytes; choose a shorter one, or run \
         this in a folder from where it is shorter",
        path.display()
    )))
}

/// Whether a folder contains data of Latchkey. A folder without access counts as one, because later checks report what
/// is wrong with it.
pub fn is_ours(path: &Path) -> bool {
    let names = [DATABASE, NEW_DATABASE, PEPPER, SEALING_KEY];
    names.iter().any(|name| {
        fs::symlink_metadata(path.join(name))
            .map_or_else(|err| err.kind() != ErrorKind::NotFound, |_| true)
    })
}

/// Whether a volume driver has opened the folder to a group, as Kubernetes does at each start of a pod with `fsGroup`:
/// it sets group write or the setgid bit, and nothing for other users. [`close_to_group`] removes these rights. A
/// folder that was opened in another way is refused, because its owner may have done that on purpose.
fn is_widened(path: &Path, metadata: &fs::Metadata) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let by_driver = metadata.mode() & 0o2020 != 0 && metadata.mode() & 0o007 == 0;
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    metadata.uid() == own && by_driver && (is_ours(path) || is_empty())
}

/// Removes the rights of the group from the folder, and from those files in it that other users cannot read anyway.
/// Called with the lock held.
fn close_to_group(path: &Path) -> Result<()> {
    let failed = |err: std::io::Error| {
        refused(format!(
            "{} can be read by a group, and that cannot be changed: {err}; close it with: chmod -R go= {0}",
            path.display()
        ))
    };
    let mut closed = usize::from(private::tighten(path).map_err(failed)?);
    let backups = path.join(BACKUPS);
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    for folder in [path, backups.as_path()] {
        let entries = is_folder(folder).then(|| fs::read_dir(folder));
        for entry in entries.into_iter().flatten().flatten().flatten() {
            closed += usize::from(private::tighten(&entry.path()).map_err(failed)?);
        }
    }
    if closed > 0 {
        log::warn!(
            "a group could read or write {closed} files or folders of {}; that was taken away, they are for their owner alone",
            path.display()
        );
    }
    Ok(())
}

/// The text of a key file; a credential from systemd is read with the rights of the caller.
fn read_key_file(folder: &Path, path: &Path) -> std::io::Result<String> {
    let bytes = match path.starts_with(folder) {
        true => fs::read(path),
        false => as_caller(|| fs::read(path)),
    }?;
    let text = text::of_file(&bytes)
        .map_err(|why| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("it {why}")))?;
    Ok(text.to_owned())
}

/// The text of the key file that is in use.
pub fn key_file_text(folder: &Path, name: &str) -> std::result::Result<String, String> {
    let path = key_file_of(folder, name);
    let text = read_key_file(folder, &path);
    text.map_err(|err| format!("{} cannot be read: {err}", path.display()))
}

/// Refuses an existing folder that belongs to another user.
pub fn check_owner(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => {
            check_private(path, &metadata)
        }
        _ => Ok(()),
    }
}

/// Refuses a file that other users of the machine could read or change.
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let shown = path.display();
    if metadata.uid() != own {
        let below = match metadata.is_dir() {
            true => format!(
                ". If this is a volume that cannot be given away, name a folder below it: --data {shown}/latchkey"
            ),
            false => String::new(),
        };
        return Err(refused(format!(
            "{shown} belongs to user {}, not to user {own} who runs latchkey; run it as that user: sudo -u '#{0}' latchkey …{below}",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        let wanted = if metadata.is_dir() { "700" } else { "600" };
        return Err(refused(format!(
            "{shown} can be read by other users (mode {:03o}); close it with: chmod {wanted} {shown}",
            metadata.mode() & 0o777
        )));
    }
    Ok(())
}

pub(super) fn refused(sentence: String) -> Error {
    Error::Unavailable(verbatim(sentence))
}

/// Whether a key file is valid; the error describes what is wrong. It writes nothing and takes no lock.
pub fn check_key_file(folder: &Path, name: &str) -> std::result::Result<(), String> {
    let text = key_file_text(folder, name)?;
    let is_good = match name {
        PEPPER => Peppers::parse(&text).is_some(),
        _ => SealingKeys::parse(&text).is_some(),
    };
    match is_good {
        true => Ok(()),
        false => Err(format!(
            "{} is damaged",
            key_file_of(folder, name).display()
        )),
    }
}
