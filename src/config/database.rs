//! The database of a data folder: the file in it, or a database on a PostgreSQL server, which the folder remembers.
//!
//! A setting takes precedence over what the folder remembers. Commands have no settings and use what the folder remembers, so
//! a server that could open its database writes it down.

use super::file::{Entry, FileValue, SettingsFile, quoted};
use super::folder::{Folder, refused};
#[cfg(feature = "postgres")]
use super::owner::as_caller;
use crate::error::{Error, Result};
use crate::files::private;
use crate::ops::moving::{self, Departure};
use crate::store::{Location, Store};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use crate::store::postgres::{Access, Address, ClientCertificate};

/// The file of the folder with the database that the folder remembers.
pub const REMEMBERED: &str = "database.toml";
/// The start of the name of a database that was moved away; the number of its last event follows.
const LEFT_DATABASE: &str = "latchkey.db.moved-";
/// The credential of systemd, or the file of the folder, with the password for the database.
#[cfg(feature = "postgres")]
const PASSWORD: &str = "database-password";
/// A longer file cannot be one with a password.
#[cfg(feature = "postgres")]
const PASSWORD_BYTES_MAX: usize = 4096;
/// The largest part of a private file that is read.
#[cfg(feature = "postgres")]
const PRIVATE_BYTES_MAX: u64 = 65_536;

/// What a program without PostgreSQL answers.
#[cfg(not(feature = "postgres"))]
pub const NO_POSTGRES: &str =
    "this program has no PostgreSQL; use latchkey-cluster, which is the same with it";

/// Where the database is, and how connections to it are made.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct DatabaseArgs {
    /// The PostgreSQL database of this node, which other nodes can share, such as postgres://latchkey@db.example/latchkey, without
    /// a password; the program latchkey-cluster is needed for it [default: latchkey.db in the data folder]
    #[arg(long, env = "LATCHKEY_DATABASE", value_name = "ADDRESS")]
    pub database: Option<String>,
    /// A file whose first line is the password for that database [default: database-password, as a credential of systemd or in
    /// the data folder, if it is there]
    #[arg(long, env = "LATCHKEY_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    pub database_password_file: Option<PathBuf>,
    /// The certificate authorities, in PEM, of the server of that database; with them, connections are encrypted, and the name of
    /// the host is checked
    #[arg(long, env = "LATCHKEY_DATABASE_CA", value_name = "FILE")]
    pub database_ca: Option<PathBuf>,
    /// A certificate that this node logs in with, in PEM, if that server asks for one
    #[arg(long, env = "LATCHKEY_DATABASE_CERTIFICATE", value_name = "FILE")]
    pub database_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, env = "LATCHKEY_DATABASE_KEY", value_name = "FILE")]
    pub database_key: Option<PathBuf>,
    /// Allow connections without TLS to a database on another machine; everything in it then crosses the network unencrypted
    #[arg(long, env = "LATCHKEY_ALLOW_PLAIN_DATABASE", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub allow_plain_database: bool,
    /// Neither send nor await notifications, which the server delivers one commit after the other; this node then looks four times a
    /// second for what other nodes have changed
    #[arg(long, env = "LATCHKEY_NO_NOTIFY", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), value_name = "true|false")]
    pub no_notify: bool,
}

impl DatabaseArgs {
    /// These settings, if they name a database, and its address.
    pub fn named(self) -> Option<(DatabaseArgs, String)> {
        let database = self.database.clone()?;
        Some((self, database))
    }

    /// Refuses settings that contradict each other, and an address that cannot be used. It connects to nothing.
    pub fn check(&self, folder: &Path) -> Result<()> {
        let Some(database) = &self.database else {
            let useless = |name, is_set| match is_set {
                true => Err(Error::invalid_text(
                    name,
                    "it is of no use without --database",
                )),
                false => Ok(()),
            };
            useless(
                "database-password-file",
                self.database_password_file.is_some(),
            )?;
            useless("database-ca", self.database_ca.is_some())?;
            useless("database-certificate", self.database_certificate.is_some())?;
            useless("database-key", self.database_key.is_some())?;
            useless("no-notify", self.no_notify)?;
            return useless("allow-plain-database", self.allow_plain_database);
        };
        if self.database_ca.is_some() && self.allow_plain_database {
            return Err(Error::invalid_text(
                "allow-plain-database",
                "it contradicts database-ca, with which all connections are encrypted",
            ));
        }
        if self.database_certificate.is_some() != self.database_key.is_some() {
            return Err(Error::invalid_text(
                "database-certificate",
                "a certificate and its key (database-key) are specified together",
            ));
        }
        if self.database_certificate.is_some() && self.database_ca.is_none() {
            return Err(Error::invalid_text(
                "database-certificate",
                "it is of no use without database-ca, with which connections are encrypted",
            ));
        }
        self.location(folder, database).map(drop)
    }

    #[cfg(feature = "postgres")]
    fn location(&self, folder: &Path, database: &str) -> Result<Location> {
        let address = self.address(folder, database)?;
        Ok(Location::on_a_server(
            &folder.join(super::folder::DATABASE),
            address,
        ))
    }

    #[cfg(not(feature = "postgres"))]
    fn location(&self, folder: &Path, _: &str) -> Result<Location> {
        Err(refused(format!(
            "the database of {} is on PostgreSQL: {NO_POSTGRES}",
            folder.display()
        )))
    }

    /// Where the server of `database` is, and how connections to it are made. `folder` may have the password.
    #[cfg(feature = "postgres")]
    pub fn address(&self, folder: &Path, database: &str) -> Result<Address> {
        let password = self.password(folder)?;
        let key = self.database_key.as_deref();
        let key = key.map(|path| read_private("private key", path, true));
        let key = key.transpose()?;
        let client = self.database_certificate.as_deref().zip(key.as_deref());
        let access = Access {
            password: password.as_deref(),
            authorities: self.database_ca.as_deref(),
            client: client.map(|(certificate, key)| ClientCertificate { certificate, key }),
            allows_plain: self.allow_plain_database,
        };
        let mut address = Address::of(database, access)?;
        address.notifies = !self.no_notify;
        Ok(address)
    }

    /// The password, if there is one.
    #[cfg(feature = "postgres")]
    fn password(&self, folder: &Path) -> Result<Option<Vec<u8>>> {
        if let Some(path) = &self.database_password_file {
            return read_password(path, true).map(Some);
        }
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        let credential = credentials.map(|folder| Path::new(&folder).join(PASSWORD));
        if let Some(path) = credential.filter(|path| as_caller(|| path.exists())) {
            // systemd itself protects the credentials that it provides.
            return read_password(&path, false).map(Some);
        }
        let path = folder.join(PASSWORD);
        match path.exists() {
            true => read_password(&path, true).map(Some),
            false => Ok(None),
        }
    }

    /// The same with paths that do not depend on the working directory.
    fn absolute(&self) -> DatabaseArgs {
        let absolute = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        };
        DatabaseArgs {
            database_password_file: absolute(&self.database_password_file),
            database_ca: absolute(&self.database_ca),
            database_certificate: absolute(&self.database_certificate),
            database_key: absolute(&self.database_key),
            ..self.clone()
        }
    }

    /// The text of the file [`REMEMBERED`].
    fn written(&self) -> Result<String> {
        let mut text = String::from(
            "# The database of this node; latchkey init, serve and move write this file. Every command uses it.\n",
        );
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (name, value) in [
            ("database", self.database.clone()),
            ("database_password_file", path(&self.database_password_file)),
            ("database_ca", path(&self.database_ca)),
            ("database_certificate", path(&self.database_certificate)),
            ("database_key", path(&self.database_key)),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{name} = {}\n", checked(name, &value)?));
            }
        }
        for (name, is_on) in [
            ("allow_plain_database", self.allow_plain_database),
            ("no_notify", self.no_notify),
        ] {
            if is_on {
                text.push_str(&format!("{name} = true\n"));
            }
        }
        Ok(text)
    }

    /// Reads a line of that file.
    fn take(&mut self, entry: Entry) -> std::result::Result<(), String> {
        match (entry.name.as_str(), entry.written) {
            ("database", FileValue::Text(text)) => self.database = Some(text),
            ("database_password_file", FileValue::Text(text)) => {
                self.database_password_file = Some(text.into());
            }
            ("database_ca", FileValue::Text(text)) => self.database_ca = Some(text.into()),
            ("database_certificate", FileValue::Text(text)) => {
                self.database_certificate = Some(text.into());
            }
            ("database_key", FileValue::Text(text)) => self.database_key = Some(text.into()),
            ("allow_plain_database", FileValue::Switch(on)) => self.allow_plain_database = on,
            ("no_notify", FileValue::Switch(on)) => self.no_notify = on,
            (name, _) => {
                return Err(format!(
                    "{name} is unknown there, or has a value of another kind"
                ));
            }
        }
        Ok(())
    }
}

/// A text as TOML has it.
fn checked(name: &str, text: &str) -> Result<String> {
    match text.chars().any(char::is_control) {
        true => Err(Error::invalid_text(name, "it contains control characters")),
        false => Ok(quoted(text)),
    }
}

/// What a file has that only its owner, or the group of another owner, can read; at most one byte more than [`PRIVATE_BYTES_MAX`].
#[cfg(feature = "postgres")]
fn read_private(kind: &str, path: &Path, is_checked: bool) -> Result<Vec<u8>> {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let unreadable = |err| refused(format!("the {kind} file {shown} cannot be read: {err}"));
    let file = as_caller(|| std::fs::File::open(path)).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let open = match metadata.uid() == rustix::process::geteuid().as_raw() {
        true => 0o077,
        false => 0o037,
    };
    if is_checked && metadata.mode() & open != 0 {
        return Err(refused(format!(
            "the {kind} file {shown} can be read or changed by others (mode {:03o}); close it with: chmod go= {shown}",
            metadata.mode() & 0o777
        )));
    }
    let mut bytes = Vec::new();
    file.take(PRIVATE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// The password in the first line of a file.
#[cfg(feature = "postgres")]
fn read_password(path: &Path, is_checked: bool) -> Result<Vec<u8>> {
    let shown = path.display();
    let bytes = read_private("password", path, is_checked)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || bytes.len() > PASSWORD_BYTES_MAX {
        return Err(refused(format!(
            "the password file {shown} must have the password in its first line, and at most {PASSWORD_BYTES_MAX} bytes"
        )));
    }
    Ok(line.to_vec())
}

/// Whether a folder remembers a database on a server.
pub fn is_remembered(folder: &Path) -> bool {
    folder.join(REMEMBERED).exists()
}

/// The database that a folder remembers; `None` if the folder has a database of its own, or none yet.
pub fn remembered(folder: &Path) -> Result<Option<DatabaseArgs>> {
    if !is_remembered(folder) {
        return Ok(None);
    }
    let path = folder.join(REMEMBERED);
    let unusable = |why: String| {
        refused(format!(
            "{} does not say where the database is: {why}; correct the file, or name the database again with: latchkey serve \
             --database",
            path.display()
        ))
    };
    let file = SettingsFile::read(&path)?;
    let mut found = DatabaseArgs::default();
    for entry in file.entries {
        let line = entry.line;
        found
            .take(entry)
            .map_err(|why| unusable(format!("line {line}: {why}")))?;
    }
    match found.database {
        None => Err(unusable("the line database = \"…\" is missing".to_owned())),
        Some(_) => Ok(Some(found)),
    }
}

impl Folder {
    /// Where the database is: that of the settings, if they name one, otherwise what the folder remembers or has.
    ///
    /// Every command and every server opens the database here.
    pub fn location(&self, settings: Option<&DatabaseArgs>) -> Result<Location> {
        let named = settings.filter(|settings| settings.database.is_some());
        let own = self.database();
        let found = match named {
            Some(settings) => Some(settings.clone()),
            None => remembered(self.path())?,
        };
        let Some((settings, database)) = found.and_then(DatabaseArgs::named) else {
            return Ok(Location::from(&own));
        };
        let location = settings.location(self.path(), &database)?;
        if own.exists() {
            self.finish_move(&database)?;
        }
        Ok(location)
    }

    /// Takes the file of a database that was moved to `database` out of the way, if the move was interrupted before it did so.
    /// Any other file in the folder is refused: there would be two databases.
    fn finish_move(&self, database: &str) -> Result<()> {
        let own = self.database();
        // The folder remembers the new place only when everything has arrived there.
        let known = remembered(self.path())?.and_then(|settings| settings.database);
        let has_arrived = known.is_some_and(|known| known == database);
        match Store::read_copy(&own, moving::departure)? {
            Some(left) if has_arrived && left.to == database => self.keep_left(&left).map(drop),
            Some(left) => Err(refused(format!(
                "a move of the database to {to} was interrupted; finish it with: latchkey move --to '{to}' --data {}",
                self.path().display(),
                to = left.to
            ))),
            None => Err(refused(format!(
                "{} has a database of its own, {}, and is to use {database}: move its content with: latchkey move --to \
                 '{database}' --data {0}, or use another folder",
                self.path().display(),
                own.display()
            ))),
        }
    }

    /// Gives the file of a database that was moved away another name, and returns it. The log goes with it: the next database of
    /// this name must not find one.
    pub fn keep_left(&self, left: &Departure) -> Result<PathBuf> {
        let own = self.database();
        let kept = self
            .path()
            .join(format!("{LEFT_DATABASE}{}", left.event.seq));
        let beside =
            |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
        let rename = || {
            let log = beside(&own, "-wal");
            match std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                true => private::rename(&log, &beside(&kept, "-wal"))?,
                false => private::remove(&log)?,
            }
            private::remove(&beside(&own, "-shm"))?;
            private::rename(&own, &kept)?;
            private::sync(self.path())
        };
        rename().map_err(|err| refused(format!("{} cannot be renamed: {err}", own.display())))?;
        Ok(kept)
    }

    /// Writes down the database of the settings, if they name one, so that every command uses it.
    pub fn remember(&self, settings: &DatabaseArgs) -> Result<()> {
        if settings.database.is_none() {
            return Ok(());
        }
        let settings = settings.absolute();
        if remembered(self.path()).is_ok_and(|known| known.as_ref() == Some(&settings)) {
            return Ok(());
        }
        let path = self.path().join(REMEMBERED);
        private::replace(&path, settings.written()?.as_bytes())
            .map_err(|err| refused(format!("{} cannot be written: {err}", path.display())))
    }

    /// Forgets the database on a server, because the folder has one of its own again.
    #[cfg(feature = "postgres")]
    pub fn forget(&self) -> Result<()> {
        let path = self.path().join(REMEMBERED);
        private::remove(&path)
            .and_then(|()| private::sync(self.path()))
            .map_err(|err| refused(format!("{} cannot be removed: {err}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::private::tests::folder;

    fn args(database: &str) -> DatabaseArgs {
        DatabaseArgs {
            database: Some(database.to_owned()),
            ..DatabaseArgs::default()
        }
    }

    #[test]
    fn a_folder_remembers_its_database_as_it_was_named() {
        let path = folder("remembered");
        private::close_to_others(&path).unwrap();
        let folder = Folder::open(&path).unwrap();
        assert_eq!(remembered(&path).unwrap(), None);
        let plain = args("host=localhost user=lk dbname=\"a\\b\"");
        let full = DatabaseArgs {
            database_password_file: Some("/run/secrets/password".into()),
            database_ca: Some("/etc/ca.pem".into()),
            database_certificate: Some("/etc/node.pem".into()),
            database_key: Some("/etc/node.key".into()),
            allow_plain_database: true,
            no_notify: true,
            ..plain.clone()
        };
        for one in [plain, full] {
            folder.remember(&one).unwrap();
            assert_eq!(remembered(&path).unwrap(), Some(one));
        }
        folder.remember(&DatabaseArgs::default()).unwrap();
        assert!(is_remembered(&path));
        for damaged in ["", "database = 1\n", "databse = \"x\"\n", "database"] {
            std::fs::write(path.join(REMEMBERED), damaged).unwrap();
            assert!(remembered(&path).is_err(), "{damaged}");
            assert!(folder.location(None).is_err(), "{damaged}");
        }
        drop(folder);
        let _ = std::fs::remove_dir_all(path);
    }

    #[test]
    fn settings_of_no_database_are_refused() {
        let here = Path::new("/var/lib/latchkey");
        DatabaseArgs::default().check(here).unwrap();
        for useless in [
            DatabaseArgs {
                database_ca: Some("x".into()),
                ..DatabaseArgs::default()
            },
            DatabaseArgs {
                database_password_file: Some("x".into()),
                ..DatabaseArgs::default()
            },
            DatabaseArgs {
                allow_plain_database: true,
                ..DatabaseArgs::default()
            },
        ] {
            assert!(useless.check(here).is_err(), "{useless:?}");
        }
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_program_without_postgres_names_the_one_that_has_it() {
        let refused = args("postgres://lk@localhost/latchkey").check(Path::new("."));
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("latchkey-cluster")
        );
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_password_is_the_first_line_of_a_private_file() {
        use std::os::unix::fs::PermissionsExt;
        let path = folder("database-password");
        let file = path.join("password");
        let put = |text: &str, mode| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            read_password(&file, true).map_err(|err| err.to_string())
        };
        assert_eq!(put("hunter2\nmore\n", 0o600).unwrap(), b"hunter2");
        assert_eq!(put("hunter 2\r\n", 0o400).unwrap(), b"hunter 2");
        for (text, mode, why) in [
            ("hunter2\n", 0o640, "chmod"),
            ("hunter2\n", 0o604, "chmod"),
            ("\nhunter2\n", 0o600, "first line"),
            ("", 0o600, "first line"),
        ] {
            let refused = put(text, mode).unwrap_err();
            assert!(
                refused.contains(why) && !refused.contains("hunter2"),
                "{refused}"
            );
        }
        assert!(put(&"x".repeat(PASSWORD_BYTES_MAX + 1), 0o600).is_err());
        let _ = std::fs::remove_dir_all(path);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_node_notifies_unless_that_is_switched_off() {
        for no_notify in [false, true] {
            let settings = DatabaseArgs {
                no_notify,
                ..args("postgres://lk@localhost/latchkey")
            };
            let (settings, database) = settings.named().unwrap();
            let address = settings.address(Path::new("."), &database).unwrap();
            assert_eq!(address.notifies, !no_notify);
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn plain_connections_leave_the_machine_only_if_that_is_allowed() {
        let here = Path::new("/var/lib/latchkey");
        let away = args("postgres://lk@db.example/latchkey");
        assert!(away.check(here).is_err());
        let allowed = DatabaseArgs {
            allow_plain_database: true,
            ..away
        };
        allowed.check(here).unwrap();
        let asks = DatabaseArgs {
            database: Some("postgres://lk@db.example/latchkey?sslmode=require".to_owned()),
            ..allowed
        };
        assert!(asks.check(here).is_err());
    }
}
