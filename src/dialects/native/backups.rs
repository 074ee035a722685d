//! Backups of the database. They stay on the server's disk and are never sent over HTTP: users with access to the disk
//! can copy them.

use crate::domain::keys::keyfile::KeyKind;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::backups::{Backup, elsewhere};
use crate::store::Foreign;
use std::path::PathBuf;

answer! {
    /// An existing backup.
    struct BackupBody as "Backup" {
        file: String = "/var/lib/latchkey/backups/scheduled-20261121T100000Z.db",
        bytes: u64 = 233_472,
        made_at: Time,
        /// Whether the server made it by its schedule; the oldest of these are removed.
        scheduled: bool = true,
        /// Whether it was made in another place than the data folder, or moved there. Such a backup is shown as it was then,
        /// and is not looked into.
        elsewhere: bool = false,
        /// Tables and other objects in the database that do not belong to Latchkey and were left out, such as
        /// `table sqlite_stat1`; only in the answer that makes the backup, and only if there are any.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<String>,
    }
}

answer! {
    /// The progress of the backup that is being made, in pages of the database; null if no backup is being made.
    struct ProgressBody as "" {
        pages_done: Option<u64> = 1024,
        pages: Option<u64> = 40_960,
    }
}

request! {
    struct NewBackupBody as "" {
        /// An absolute path where nothing exists yet.
        file: Option<String>,
    }
}

request! {
    struct MovedBackupBody as "" {
        /// The absolute path of the backup now.
        file: String,
        bytes: u64,
        made_at: String,
    }
}

request! {
    /// The newest version of each key file that the copy has; by default the newest that the server has.
    struct SavedSecretsBody as "" {
        pepper: Option<u32> = 1,
        sealing_key: Option<u32> = 1,
        seal_key: Option<u32> = 1,
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add(
            "get /v1/backups",
            "listBackups",
            "List the backups, the newest first",
        )
        .about(
            "First those in the folder `backups` beside the database, then those that were made in other places, as they were \
             then.",
        )
        .needs(&[ServerAdmin])
        .answers::<ListBody<BackupBody>>(200, "All backups.");
    document
        .add("post /v1/backups", "createBackup", "Make a backup of the database")
        .about(
            "A complete copy through SQLite's backup API while writes continue; it is checked as a restore checks it before it \
             gets its name. It stays on the server's disk. Without `file` it is made in the folder `backups` beside the \
             database; only the administrator of the machine, on the Unix socket, may name another place.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<NewBackupBody>()
        .answers::<BackupBody>(201, "The backup.")
        .conflicts();
    document
        .add(
            "get /v1/backups/progress",
            "backupProgress",
            "Show the progress of the backup that is being made",
        )
        .needs(&[ServerAdmin])
        .answers::<ProgressBody>(200, "The progress.");
    document
        .add("post /v1/backups/moved", "noteMovedBackup", "Record where a backup of the data folder was moved to")
        .about("For `latchkey backup FILE`, through the Unix socket only, where the server cannot write to FILE itself.")
        .needs(&[ServerAdmin])
        .body::<MovedBackupBody>()
        .ends(204, "It is in the audit log.");
    document
        .add("post /v1/backups/secrets", "noteSecretsBackup", "Record that the key files are being copied")
        .about(
            "For `latchkey secrets backup`, through the Unix socket only. The files themselves are never sent over HTTP.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<SavedSecretsBody>()
        .ends(204, "It is in the audit log.");
}

impl BackupBody {
    fn of(backup: Backup, elsewhere: bool) -> BackupBody {
        BackupBody {
            file: backup.path.display().to_string(),
            bytes: backup.bytes,
            made_at: Time(backup.at),
            scheduled: backup.is_scheduled,
            elsewhere,
            left_out: backup.left_out.iter().map(Foreign::shown).collect(),
        }
    }
}

/// `POST /v1/backups`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let file = NewBackupBody::of_optional(call.request)?
        .file
        .map(PathBuf::from);
    let made = backups::create(call.app, call.caller()?, file)?;
    let is_elsewhere = elsewhere::is_elsewhere(call.app, &made);
    Ok(Reply::json(201, &BackupBody::of(made, is_elsewhere)))
}

/// `GET /v1/backups`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let own = backups::list(call.app, call.caller()?)?;
    let others = elsewhere::list(call.app, call.caller()?)?;
    let own = own.into_iter().map(|backup| BackupBody::of(backup, false));
    let others = others
        .into_iter()
        .map(|backup| BackupBody::of(backup, true));
    Ok(Reply::json(200, &ListBody::of(own.chain(others).collect())))
}

/// `POST /v1/backups/moved`
pub fn moved(call: &Call<'_>) -> Result<Reply> {
    let MovedBackupBody {
        file,
        bytes,
        made_at,
    } = MovedBackupBody::of(call.request)?;
    let backup = Backup {
        path: file.into(),
        bytes,
        at: Timestamp::parse("made_at", &made_at)?,
        is_scheduled: false,
        left_out: Vec::new(),
    };
    elsewhere::moved(call.app, call.caller()?, backup)?;
    Ok(Reply::new(204))
}

/// `GET /v1/backups/progress`
pub fn progress(call: &Call<'_>) -> Result<Reply> {
    backups::require(call.app, call.caller()?)?;
    let progress = call.app.backup_progress();
    let body = ProgressBody {
        pages_done: progress.map(|(done, _)| done),
        pages: progress.map(|(_, all)| all),
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/backups/secrets`: records that the machine's administrator copies the key files. The files themselves are
/// never sent over HTTP.
pub fn note_secrets(call: &Call<'_>) -> Result<Reply> {
    let body = SavedSecretsBody::of_optional(call.request)?;
    let saved = |kind| match kind {
        KeyKind::Pepper => body.pepper,
        KeyKind::SealKey => body.seal_key,
        KeyKind::SealingKey => body.sealing_key,
    };
    backups::note_secrets(call.app, call.caller()?, saved)?;
    Ok(Reply::new(204))
}
