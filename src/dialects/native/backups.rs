//! Backups of the database. They stay on the server's disk and are never sent over HTTP: users with access to the disk
//! can copy them.

use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{EmptyBody, ListBody, Requested, answer, no_members, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::backups::Backup;
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

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add(
            "get /v1/backups",
            "listBackups",
            "List the backups beside the database, the newest first",
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
        .add("post /v1/backups/secrets", "noteSecretsBackup", "Record that pepper and sealing key are being copied")
        .about(
            "For `latchkey secrets backup`, through the Unix socket only. The files themselves are never sent over HTTP.",
        )
        .needs(&[ServerAdmin])
        .optional_body::<EmptyBody>()
        .ends(204, "It is in the audit log.");
}

impl From<Backup> for BackupBody {
    fn from(backup: Backup) -> BackupBody {
        BackupBody {
            file: backup.path.display().to_string(),
            bytes: backup.bytes,
            made_at: Time(backup.at),
            scheduled: backup.is_scheduled,
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
    Ok(Reply::json(201, &BackupBody::from(made)))
}

/// `GET /v1/backups`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let items = backups::list(call.app, call.caller()?)?;
    let items = items.into_iter().map(BackupBody::from).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
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

/// `POST /v1/backups/secrets`: records that the machine's administrator copies the pepper and the sealing key. The
/// files themselves are never sent over HTTP.
pub fn note_secrets(call: &Call<'_>) -> Result<Reply> {
    no_members(call.request)?;
    backups::note_secrets(call.app, call.caller()?)?;
    Ok(Reply::new(204))
}
