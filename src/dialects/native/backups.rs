//! Backups of the database. They stay on the server's disk and are never sent over HTTP: users with access to the disk
//! can copy them.

use crate::dialects::native::keys::PageBody;
use crate::error::Result;
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::backups::Backup;
use crate::store::Foreign;
use serde::Serialize;
use std::path::PathBuf;

/// An existing backup.
#[derive(Serialize)]
struct BackupBody {
    file: String,
    bytes: u64,
    made_at: String,
    scheduled: bool,
    /// Tables and other objects in the database that do not belong to Latchkey.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

/// The progress of the backup that is being made.
#[derive(Serialize)]
struct ProgressBody {
    /// The number of database pages that are copied, and their total; null if no backup is being made.
    pages_done: Option<u64>,
    pages: Option<u64>,
}

impl From<Backup> for BackupBody {
    fn from(backup: Backup) -> BackupBody {
        BackupBody {
            file: backup.path.display().to_string(),
            bytes: backup.bytes,
            made_at: backup.at.to_string(),
            scheduled: backup.is_scheduled,
            left_out: backup.left_out.iter().map(Foreign::shown).collect(),
        }
    }
}

/// `POST /v1/backups`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of_optional(call.request)?;
    let file = body.text("file")?.map(PathBuf::from);
    body.finish()?;
    let made = backups::create(call.app, call.caller()?, file)?;
    Ok(Reply::json(201, &BackupBody::from(made)))
}

/// `GET /v1/backups`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let items = backups::list(call.app, call.caller()?)?;
    Ok(PageBody::whole(
        items.into_iter().map(BackupBody::from).collect(),
    ))
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
    Fields::of_optional(call.request)?.finish()?;
    backups::note_secrets(call.app, call.caller()?)?;
    Ok(Reply::new(204))
}
