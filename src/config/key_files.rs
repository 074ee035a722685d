//! The key files in the data folder: pepper, sealing key, seal key, and the HMAC keys of other systems.

use super::folder::{DATABASE, Folder, check_private, refused};
use super::owner::as_caller;
use crate::domain::keys::keyfile::{self, HmacKeys, KeyFiles, KeyKind};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::scheme::is_hmac_key_name;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::text;
use crate::error::Result;
use crate::files::private;
use crate::store::{SEAL_KEY_SINCE, Store};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder with the HMAC keys of other systems, from which keys were imported.
pub const HMAC_KEYS: &str = "hmac-keys";

impl Folder {
    /// Reads the key files.
    pub fn read_key_files(&self) -> Result<KeyFiles> {
        let database = self.database();
        self.read_key_files_for(|| match database.exists() {
            true => Store::schema(&database),
            false => Ok(SEAL_KEY_SINCE),
        })
    }

    /// Reads the key files for a database of a schema. If that is a schema without a seal key, and there is none yet, it
    /// is made, and the migration of the database will use it.
    pub fn read_key_files_for(&self, schema: impl FnOnce() -> Result<i64>) -> Result<KeyFiles> {
        let peppers = self.read_key_file(KeyKind::Pepper, Peppers::parse)?;
        let sealing = self.read_sealing_keys()?;
        let path = path_of(self.path(), KeyKind::SealKey);
        if !path.exists() && schema()? >= SEAL_KEY_SINCE {
            return Err(refused(format!(
                "{} is missing, and without it nothing in the database can be told from what somebody else has changed; put \
                 the file back from your backup (a new one would be of no use, so none is made)",
                path.display()
            )));
        }
        let seal = self.make_key_file(KeyKind::SealKey, SealKeys::parse, SealKeys::generate)?;
        self.with(peppers, sealing, seal)
    }

    /// Creates the key files, or reads those that an interrupted start has left.
    pub fn make_key_files(&self) -> Result<KeyFiles> {
        let peppers = self.make_key_file(KeyKind::Pepper, Peppers::parse, Peppers::generate)?;
        let sealing = self.make_key_file(
            KeyKind::SealingKey,
            SealingKeys::parse,
            SealingKeys::generate,
        )?;
        let seal = self.make_key_file(KeyKind::SealKey, SealKeys::parse, SealKeys::generate)?;
        self.with(peppers, sealing, seal)
    }

    fn with(&self, peppers: Peppers, sealing: SealingKeys, seal: SealKeys) -> Result<KeyFiles> {
        let paths = KeyKind::ALL.map(|kind| (kind, path_of(self.path(), kind)));
        let provided = paths
            .into_iter()
            .filter(|(_, path)| !path.starts_with(self.path()));
        Ok(KeyFiles {
            peppers: Arc::new(peppers),
            sealing: Arc::new(sealing),
            seal: Arc::new(seal),
            hmac: Arc::new(self.read_hmac_keys()?),
            provided: Arc::new(provided.collect()),
        })
    }

    /// Reads the sealing key. Every database has had one since its first start, so if the file is missing, it was lost.
    fn read_sealing_keys(&self) -> Result<SealingKeys> {
        let path = path_of(self.path(), KeyKind::SealingKey);
        if !path.exists() {
            return Err(refused(format!(
                "{} is missing, and without it no sealed secret can be shown again; put the file back from your backup \
                 (a new one would be of no use, so none is made)",
                path.display()
            )));
        }
        self.read_key_file(KeyKind::SealingKey, SealingKeys::parse)
    }

    /// Reads the HMAC keys of other systems: the bytes of each file, without a line feed at the end.
    fn read_hmac_keys(&self) -> Result<HmacKeys> {
        let folder = self.path().join(HMAC_KEYS);
        let unreadable =
            |err: std::io::Error| refused(format!("{} cannot be read: {err}", folder.display()));
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(HmacKeys::default()),
            Err(err) => return Err(unreadable(err)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_hmac_key_name(&name) {
                log::warn!(
                    "{} is passed over: HMAC keys have names of letters, digits and hyphens",
                    entry.path().display()
                );
                continue;
            }
            check_private(&entry.path(), &entry.metadata().map_err(unreadable)?)?;
            let mut bytes = fs::read(entry.path()).map_err(unreadable)?;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            if bytes.is_empty() {
                return Err(refused(format!(
                    "the HMAC key {} is empty; put the file back from your backup",
                    entry.path().display()
                )));
            }
            keys.push((name, bytes));
        }
        Ok(HmacKeys::of(keys))
    }

    fn read_key_file<T>(&self, kind: KeyKind, parse: fn(&str) -> Option<T>) -> Result<T> {
        let (name, path) = (kind.as_str(), path_of(self.path(), kind));
        let shown = path.display();
        let unreadable = |err| refused(format!("the {name} {shown} cannot be read: {err}"));
        // systemd itself protects the credentials that it provides.
        if path.starts_with(self.path()) {
            let metadata = fs::metadata(&path).map_err(unreadable)?;
            check_private(&path, &metadata)?;
        }
        let text = read(self.path(), &path).map_err(unreadable)?;
        parse(&text).ok_or_else(|| {
            refused(format!(
                "the {name} {shown} is damaged; put the file back from your backup, it was left as it is"
            ))
        })
    }

    fn make_key_file<T>(
        &self,
        kind: KeyKind,
        parse: fn(&str) -> Option<T>,
        generate: fn() -> Result<(T, String)>,
    ) -> Result<T> {
        if path_of(self.path(), kind).exists() {
            return self.read_key_file(kind, parse);
        }
        let (keys, text) = generate()?;
        self.put_key_file(kind.as_str(), text.as_bytes())?;
        Ok(keys)
    }

    /// Writes a key file, completely or not at all; the caller has checked that it does not exist. `name` is relative to
    /// the data folder.
    pub fn put_key_file(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path().join(name);
        let folder = path.parent().unwrap_or(self.path());
        let made = match folder.exists() {
            true => Ok(()),
            false => private::make_folder(folder),
        };
        made.and_then(|()| private::replace(&path, content))
            .map_err(|err| {
                refused(format!(
                    "the {name} cannot be written to {}: {err}",
                    self.path().display()
                ))
            })
    }
}

/// The path of a key file: a credential from systemd (`LoadCredential=`, systemd.exec(5)), or a file in the folder.
pub fn path_of(folder: &Path, kind: KeyKind) -> PathBuf {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let credential = credentials.map(|folder| Path::new(&folder).join(kind.as_str()));
    credential
        .filter(|credential| as_caller(|| credential.exists()))
        .unwrap_or_else(|| folder.join(kind.as_str()))
}

/// The text of a key file; a credential from systemd is read with the rights of the caller.
fn read(folder: &Path, path: &Path) -> std::io::Result<String> {
    let bytes = match path.starts_with(folder) {
        true => fs::read(path),
        false => as_caller(|| fs::read(path)),
    }?;
    let text = text::of_file(&bytes)
        .map_err(|why| std::io::Error::new(ErrorKind::InvalidData, format!("it {why}")))?;
    Ok(text.to_owned())
}

/// The text of the key file that is in use.
pub fn text_of(folder: &Path, kind: KeyKind) -> std::result::Result<String, String> {
    let path = path_of(folder, kind);
    let text = read(folder, &path);
    text.map_err(|err| {
        let hint = match err.kind() == ErrorKind::NotFound && path.starts_with(folder) {
            true => CREDENTIALS_HINT,
            false => "",
        };
        format!("{} cannot be read: {err}{hint}", path.display())
    })
}

/// For a file that is not in the data folder.
pub const CREDENTIALS_HINT: &str =
    "; if systemd hands it over, set CREDENTIALS_DIRECTORY to the folder of the credentials";

/// The HMAC keys of other systems, as they are in their files, by name.
pub fn hmac_files(folder: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(folder.join(HMAC_KEYS)) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_hmac_key_name(&name) {
            found.push((name, fs::read(entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a key file is valid; the error describes what is wrong. It writes nothing and takes no lock.
pub fn check(folder: &Path, kind: KeyKind) -> std::result::Result<(), String> {
    let path = path_of(folder, kind);
    if kind == KeyKind::SealKey && !path.exists() && is_older(folder) {
        return Ok(());
    }
    let text = text_of(folder, kind)?;
    match keyfile::fingerprints_in(kind, &text) {
        Some(_) => Ok(()),
        None => Err(format!("{} is damaged", path.display())),
    }
}

/// Whether the database of a folder is of a schema without a seal key: the next start makes the file.
fn is_older(folder: &Path) -> bool {
    Store::schema(&folder.join(DATABASE)).is_ok_and(|schema| schema < SEAL_KEY_SINCE)
}
