//! The page of backups: lists them, makes a backup, and shows the command that restores one.

use super::MOUNT;
use super::auth::{Visit, page, submit};
use super::form::Refusal;
use super::layout::moment::{DisplayTime, span};
use super::layout::{Layout, Nav, html};
use super::text::Texts;
use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::backups::Backup;
use askama::Template;

#[derive(Template)]
#[template(path = "console/backups.html")]
struct BackupsPage {
    s: Layout,
    rows: Vec<BackupRow>,
    /// Which backups the server makes automatically.
    schedule: String,
    /// The progress of the backup that is being made.
    progress: String,
    /// The command that restores the newest backup.
    command: String,
    refusal: Option<String>,
}

struct BackupRow {
    file: String,
    at: DisplayTime,
    size: String,
    kind: &'static str,
}

/// `GET /console/backups`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| shown(visit, 200, None))
}

/// `POST /console/backups`: makes a backup in the default folder.
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit(
        call,
        &|visit, _| match backups::create(call.app, &visit.caller, None) {
            Ok(_) => Ok(visit.done("backup_made", &format!("{MOUNT}/backups"))),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) if refusal.status != 403 => {
                    shown(visit, refusal.status, Some(refusal.why))
                }
                _ => Err(err),
            },
        },
    )
}

fn shown(visit: &Visit<'_>, status: u16, refusal: Option<String>) -> Result<Reply> {
    let app = visit.call.app;
    let now = app.now().wall;
    let found = backups::list(app, &visit.caller)?;
    let row = |backup: &Backup| BackupRow {
        file: backup.path.display().to_string(),
        at: DisplayTime::new(visit.texts, backup.at, now),
        size: size(visit.texts, backup.bytes),
        kind: visit.texts.get(match backup.is_scheduled {
            true => "backups.scheduled",
            false => "backups.asked",
        }),
    };
    let newest = found
        .first()
        .map(|newest| newest.path.display().to_string());
    let page = BackupsPage {
        s: visit.shell(visit.texts.get("backups.title"), Nav::Backups),
        rows: found.iter().map(row).collect(),
        schedule: match app.backup_schedule() {
            None => visit.texts.get("backups.no_schedule").to_owned(),
            Some(schedule) => visit
                .texts
                .with("backups.schedule", &span(visit.texts, schedule.every_s))
                .replacen("{}", &schedule.keep.to_string(), 1),
        },
        progress: match app.backup_progress() {
            None => String::new(),
            Some((done, all)) => {
                let percent = done.saturating_mul(100) / all.max(1);
                visit.texts.with("backups.progress", &percent.to_string())
            }
        },
        command: format!(
            "latchkey restore {}",
            quoted(&newest.unwrap_or_else(|| "FILE".to_owned()))
        ),
        refusal,
    };
    html(status, &page)
}

/// A path, quoted for a shell if necessary.
fn quoted(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%".contains(&b);
    match path.bytes().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

fn size(texts: &Texts, bytes: u64) -> String {
    match bytes {
        0..1_000_000 => texts.with("size.kb", &texts.number(bytes.div_ceil(1_000))),
        _ => {
            let tenths = bytes.div_ceil(100_000);
            let (whole, point) = (texts.number(tenths / 10), texts.get("number.point"));
            let number = format!("{whole}{point}{}", tenths % 10);
            texts.with("size.mb", &number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::english;

    #[test]
    fn sizes_and_paths_are_written_for_people() {
        for (bytes, text) in [(1, "1 kB"), (999_000, "999 kB"), (1_000_000, "1.0 MB")] {
            assert_eq!(size(english(), bytes), text);
        }
        assert_eq!(size(english(), 1_234_567_890), "1,234.6 MB");
        assert_eq!(quoted("/var/lib/latchkey/a.db"), "/var/lib/latchkey/a.db");
        assert_eq!(quoted("/my data/it's.db"), "'/my data/it'\\''s.db'");
    }
}
