//! The data folder: which users may access it, and the lock of the process that uses it.

use super::{data_folder, database, key_files, restore};
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::files::{private, users};
use crate::ops::setup::TOMBSTONES;
use crate::refusals::verbatim;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(super) const DATABASE: &str = "latchkey.db";
/// A database that is being created; it is renamed once it is complete.
const NEW_DATABASE: &str = "latchkey.db.new";
const LOCK: &str = "latchkey.lock";
/// The settings file of the folder.
const SETTINGS: &str = "latchkey.toml";
/// The certificate that `latchkey tls self-signed` makes. All users may read it, but not change it.
pub const CERTIFICATE: &str = "tls-certificate.pem";
/// The default folder for backups.
const BACKUPS: &str = "backups";
const SOCKET: &str = "latchkey.sock";
/// The maximum length of the path of a socket (unix(7)).
const SOCKET_BYTES_MAX: usize = 107;

/// What may be in a folder before it has data: the settings file, and a folder of every new file system of ext4.
const NOT_DATA: [&str; 2] = [SETTINGS, "lost+found"];

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
    /// The first start was interrupted after it had written the pepper and before it created the database, or the key files of
    /// another node were copied here.
    PepperOnly,
    /// A database of its own, or one on a server that the folder remembers.
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
        match is_widened(path, &metadata) {
            true => check_unchanged(path)?,
            false => check_private(path, &metadata)?,
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
        let pepper = key_files::path_of(&self.path, KeyKind::Pepper);
        let has_database = self.database().exists() || database::is_remembered(&self.path);
        match (has_database, pepper.exists()) {
            (false, false) => Ok(Contents::Empty),
            (false, true) => Ok(Contents::PepperOnly),
            (true, true) => Ok(Contents::Ready),
            (true, false) => Err(refused(format!(
                "{} is missing, and without it no key of the database can be verified; put the file back from your backup \
                 (a new one would be of no use, so none is made){}",
                pepper.display(),
                key_files::CREDENTIALS_HINT
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

    /// The path of a new, empty file in the folder, in the place of what an interrupted command has left.
    #[cfg(feature = "postgres")]
    pub fn new_file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let made = private::remove(&path).and_then(|()| private::create(&path).map(drop));
        made.map_err(|err| refused(format!("{} cannot be made: {err}", path.display())))?;
        Ok(path)
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

/// Whether the database of a folder is gone: the tombstones, which a server begins after it, are there.
pub fn has_lost_database(path: &Path) -> bool {
    path.join(TOMBSTONES).exists()
        && !path.join(DATABASE).exists()
        && !database::is_remembered(path)
}

/// Whether there is no database in a folder. A folder without access counts as one that has it, because later checks report
/// what is wrong with it.
pub fn lacks_database(path: &Path) -> bool {
    fs::symlink_metadata(path.join(DATABASE)).is_err_and(|err| err.kind() == ErrorKind::NotFound)
}

/// The error for such a folder. A new database there would know of no key and of nothing that has ended.
pub fn lost_database(path: &Path) -> Error {
    let shown = path.display();
    refused(format!(
        "{shown}/{DATABASE} is missing, although this folder had a database: if a volume is not mounted, mount it; otherwise restore \
         a backup: latchkey restore FILE --data {shown} (to begin again without any of the old keys, use another folder)"
    ))
}

/// The error for a folder that does not exist or is still empty.
pub fn not_initialised(path: &Path) -> Error {
    let shown = path.display();
    if has_lost_database(path) {
        return lost_database(path);
    }
    refused(format!(
        "the data folder {shown} is not initialised; make one with: latchkey init --data {shown} \
         (or try everything with: latchkey quickstart --data {shown}){}",
        looked(path)
    ))
}

/// The same for a command or a server that is for a site.
pub fn no_site(path: &Path) -> Error {
    let shown = path.display();
    let why = match has_lost_database(path) {
        true => {
            "had a database, and it is missing: if a volume is not mounted, mount it; otherwise enrol the site again"
        }
        false => "is not that of a site yet; make one with",
    };
    refused(format!(
        "the data folder {shown} {why}: latchkey site init FILE --data {shown}{}",
        looked(path)
    ))
}

/// Where a folder is looked for that no option names, if this is the last of these places.
fn looked(path: &Path) -> &'static str {
    match path == Path::new(data_folder::DEFAULT) {
        true => data_folder::PLACES,
        false => "",
    }
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
    let key_files = KeyKind::ALL.map(KeyKind::as_str);
    let own = [DATABASE, NEW_DATABASE, database::REMEMBERED];
    let mut names = own.into_iter().chain(key_files);
    names.any(|name| {
        fs::symlink_metadata(path.join(name))
            .map_or_else(|err| err.kind() != ErrorKind::NotFound, |_| true)
    })
}

/// Whether this user owns a folder that others can enter, and may take that away from them: volumes of containers begin
/// with mode 755, and Kubernetes opens them to a group at each start of a pod with `fsGroup` (2770). [`close_to_group`]
/// removes these rights. A folder that all users may write to, or that is sticky, belongs to all of them and is not taken
/// away, even if it is empty.
fn is_widened(path: &Path, metadata: &fs::Metadata) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let is_open = metadata.mode() & 0o7077 != 0;
    let is_empty = || {
        fs::read_dir(path).is_ok_and(|mut entries| {
            entries.all(|entry| {
                entry.is_ok_and(|entry| NOT_DATA.iter().any(|name| entry.file_name() == *name))
            })
        })
    };
    let is_shared = metadata.mode() & 0o1002 != 0;
    metadata.uid() == own && is_open && !is_shared && (is_empty() || is_ours(path))
}

/// Refuses a widened folder if what its data is made of belongs to another user, has a name elsewhere, is no regular file,
/// or can be changed by every user: then it may be the work of others, and closing the folder would hide that.
fn check_unchanged(path: &Path) -> Result<()> {
    let hmac_keys = path.join(key_files::HMAC_KEYS);
    for folder in [path, hmac_keys.as_path()] {
        let unreadable =
            |err: std::io::Error| refused(format!("{} cannot be read: {err}", folder.display()));
        let entries = match fs::read_dir(folder) {
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let found = entry.metadata().map_err(unreadable)?;
            let is_sound = match &*name {
                _ if folder == hmac_keys => found.is_file() && found.nlink() == 1,
                key_files::HMAC_KEYS => found.is_dir(),
                // An interrupted first start leaves the database with both of its names.
                DATABASE | NEW_DATABASE if found.nlink() == 2 => {
                    found.is_file() && is_twice_here(path, &found)
                }
                _ if is_data(&name) => found.is_file() && found.nlink() == 1,
                _ => continue,
            };
            let is_own = found.uid() == rustix::process::geteuid().as_raw();
            if !is_sound || !is_own || found.mode() & 0o002 != 0 {
                return Err(refused(format!(
                    "others can enter {}, and they may have made or changed {} in it (user {}, mode {:03o}, {}); put it \
                     back from your backup if you do not know it, make it a plain file of your own, and close the folder with: \
                     chmod 700 {0}",
                    path.display(),
                    entry.path().display(),
                    users::shown(found.uid()),
                    found.mode() & 0o777,
                    counted(found.nlink(), "name")
                )));
            }
        }
    }
    Ok(())
}

/// Whether an entry of the folder is a part of the data: the database and what SQLite keeps next to it, a key file, or the
/// list of what was deleted.
fn is_data(name: &str) -> bool {
    name.starts_with(DATABASE)
        || name == TOMBSTONES
        || name == database::REMEMBERED
        || is_key_file(name)
}

fn is_key_file(name: &str) -> bool {
    KeyKind::ALL.iter().any(|kind| kind.as_str() == name)
}

/// Whether both names of the database lead to this file.
fn is_twice_here(path: &Path, found: &fs::Metadata) -> bool {
    [DATABASE, NEW_DATABASE].iter().all(|name| {
        fs::symlink_metadata(path.join(name))
            .is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
    })
}

/// The rights that a file of the folder loses. A key file that others may read stays as it is, because its reader refuses
/// it: closing it would hide that it is no longer secret. The same holds for a settings file that others may change.
fn rights_taken(path: &Path) -> fn(u32) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hmac_key = path
        .parent()
        .is_some_and(|folder| folder.ends_with(key_files::HMAC_KEYS));
    match &*name {
        CERTIFICATE => |_| 0o022,
        name if name == SETTINGS || is_key_file(name) || is_hmac_key => |mode| match mode & 0o007 {
            0 => 0o070,
            _ => 0o020,
        },
        _ => |_| 0o077,
    }
}

/// Removes the rights of others from the folder and from the files in it. Called with the lock held.
fn close_to_group(path: &Path) -> Result<()> {
    let failed = |err: std::io::Error| {
        refused(format!(
            "{} can be read by others, and that cannot be changed: {err}; close it with: chmod -R go= {0}",
            path.display()
        ))
    };
    // The path that the administrator has named may be a link; what is in the folder may not be one.
    let real = fs::canonicalize(path).map_err(failed)?;
    let mut closed = usize::from(private::close_folder(&real).map_err(failed)?);
    let (backups, hmac_keys) = (real.join(BACKUPS), real.join(key_files::HMAC_KEYS));
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    for folder in [real.as_path(), backups.as_path(), hmac_keys.as_path()] {
        let entries = is_folder(folder).then(|| fs::read_dir(folder));
        for entry in entries.into_iter().flatten().flatten().flatten() {
            closed += usize::from(
                private::tighten(&entry.path(), rights_taken(&entry.path())).map_err(failed)?,
            );
        }
    }
    if closed > 0 {
        log::warn!(
            "others than the owner could enter or read {} of {}; these rights were taken away",
            match closed {
                1 => "one file or folder".to_owned(),
                count => format!("{count} files and folders"),
            },
            path.display()
        );
    }
    Ok(())
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
pub(super) fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
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
            "{shown} belongs to user {}, not to user {} who runs latchkey; run it as that user: sudo -u {} latchkey …{below}",
            users::shown(metadata.uid()),
            users::shown(own),
            users::argument(metadata.uid())
        )));
    }
    if metadata.is_dir() && metadata.mode() & 0o1000 != 0 && metadata.mode() & 0o077 != 0 {
        return Err(refused(format!(
            "{shown} can be read by other users (mode {:04o}) and is a folder that they share; name a folder below it: --data \
             {shown}/latchkey",
            metadata.mode() & 0o7777
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
