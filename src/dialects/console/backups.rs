//! The page of backups: lists them, makes a backup, and shows the command that restores one.

use super::MOUNT;
use super::auth::{Visit, page, submit};
use super::form::Refusal;
use super::layout::moment::{DisplayTime, span};
use super::layout::{Layout, Nav, html};
use super::text::Texts;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backup_check;
use crate::ops::backups;
use crate::ops::backups::{Backup, Home};
use crate::ops::secrets::{self, Saved};
use askama::Template;

/// If the newest backup is older than this, the page has a warning: eight days.
const OLD_S: u64 = 8 * DAY_S;
const DAY_S: u64 = 86_400;

#[derive(Template)]
#[template(path = "console/backups.html")]
struct BackupsPage {
    s: Layout,
    rows: Vec<BackupRow>,
    /// Which backups the server makes automatically.
    schedule: String,
    /// The progress of the backup that is being made.
    progress: String,
    /// How old the newest backup is, and whether it should be newer.
    age: String,
    is_old: bool,
    /// The folder of the backups.
    folder: String,
    /// The command that restores the newest backup.
    command: String,
    /// The command that saves the key files.
    save: String,
    /// Whether the command also stops and starts the server.
    is_unit: bool,
    /// When the key files were last saved, or what the last backup of them lacks.
    saved: String,
    /// Whether they have to be saved.
    unsaved: bool,
    outcome: Outcome,
}

struct BackupRow {
    file: String,
    at: DisplayTime,
    size: String,
    kind: &'static str,
}

/// `GET /console/backups`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| shown(visit, 200, Outcome::None))
}

/// `POST /console/backups`: makes a backup in the default folder.
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit(
        call,
        &|visit, _| match backups::create(call.app, &visit.caller, None) {
            Ok(_) => Ok(visit.done("backup_made", &format!("{MOUNT}/backups"))),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) if refusal.status != 403 => {
                    shown(visit, refusal.status, Outcome::Bad(refusal.why))
                }
                _ => Err(err),
            },
        },
    )
}

/// `POST /console/backups/check`: checks one backup as a restore does.
pub fn check(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let file = form.text("file");
        match backup_check::check(call.app, &visit.caller, file) {
            Ok(None) => {
                let good = visit.texts.with("backups.checked", file);
                shown(visit, 200, Outcome::Good(good))
            }
            Ok(Some(why)) => {
                let values = [("file", file), ("why", &why)];
                let bad = visit.texts.fill("backups.unfit", &values);
                shown(visit, 200, Outcome::Bad(bad))
            }
            Err(Error::Conflict(why)) => {
                shown(visit, 409, Outcome::Bad(visit.texts.sentence(&why)))
            }
            Err(err) => Err(err),
        }
    })
}

/// What has come of a form of the page.
enum Outcome {
    Bad(String),
    Good(String),
    None,
}

fn shown(visit: &Visit<'_>, status: u16, outcome: Outcome) -> Result<Reply> {
    let app = visit.call.app;
    let now = app.now().wall;
    let found = backups::list(app, &visit.caller)?;
    let row = |backup: &Backup| BackupRow {
        file: name_of(backup),
        at: DisplayTime::new(visit.texts, backup.at, now),
        size: size(visit.texts, backup.bytes),
        kind: visit.texts.get(match backup.is_scheduled {
            true => "backups.scheduled",
            false => "backups.asked",
        }),
    };
    let saved = secrets::saved(app)?;
    let newest = found.first();
    let home = backups::home(app, &visit.caller)?;
    let age_s = newest.map(|newest| now.0.saturating_sub(newest.at.0).max(0) as u64 / 1000);
    let folder = home.data.join("backups");
    let file = newest.map_or_else(|| "FILE".into(), |newest| folder.join(name_of(newest)));
    let page = BackupsPage {
        s: visit.shell(visit.texts.get("backups.title"), Nav::Backups),
        rows: found.iter().map(row).collect(),
        schedule: match app.backup_schedule() {
            None => visit.texts.get("backups.no_schedule").to_owned(),
            Some(schedule) => {
                let keep = schedule.keep.to_string();
                match schedule.every_s {
                    DAY_S => visit.texts.with("backups.schedule_daily", &keep),
                    every_s => visit
                        .texts
                        .with("backups.schedule", &span(visit.texts, every_s))
                        .replacen("{}", &keep, 1),
                }
            }
        },
        progress: match app.backup_progress() {
            None => String::new(),
            Some((done, all)) => {
                let percent = done.saturating_mul(100) / all.max(1);
                visit.texts.with("backups.progress", &percent.to_string())
            }
        },
        age: newest.map_or_else(String::new, |newest| {
            let made = DisplayTime::new(visit.texts, newest.at, now).relative;
            visit.texts.with("backups.age", &made)
        }),
        is_old: newest.is_some_and(|newest| newest.is_from_future(now))
            || age_s.is_some_and(|age| age > OLD_S),
        folder: folder.display().to_string(),
        command: command(&home, &file.display().to_string()),
        save: format!("latchkey secrets backup FILE --data {}", data_of(&home)),
        is_unit: home.unit_user.is_some(),
        unsaved: !saved.stale.is_empty(),
        saved: saved_text(visit.texts, &saved),
        outcome,
    };
    html(status, &page)
}

fn name_of(backup: &Backup) -> String {
    let name = backup.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The data folder, as an argument.
pub(super) fn data_of(home: &Home) -> String {
    let data = home.data.display().to_string();
    quoted(data.trim_end_matches('/'))
}

/// What a command begins with that needs the administrator of the machine.
pub(super) fn prefix(home: &Home) -> &'static str {
    match home.unit_user {
        Some(_) => "sudo ",
        None => "",
    }
}

/// The command that restores a backup, as it can be pasted on the server.
fn command(home: &Home, file: &str) -> String {
    let restore = format!("latchkey restore {} --data {}", quoted(file), data_of(home));
    match &home.unit_user {
        Some(user) => format!(
            "sudo systemctl stop latchkey && sudo -u {} {restore} && sudo systemctl start latchkey",
            quoted(user)
        ),
        None => restore,
    }
}

/// When the key files were last saved, or what the last backup of them lacks.
fn saved_text(texts: &Texts, saved: &Saved) -> String {
    let Some(at) = saved.at else {
        return texts.get("backups.secrets_never").to_owned();
    };
    let date = texts.minute(at);
    if saved.stale.is_empty() {
        return texts.with("backups.secrets_saved", &date);
    }
    let names: Vec<&str> = saved.stale.iter().map(|kind| kind.as_str()).collect();
    texts
        .with("backups.secrets_stale", &date)
        .replacen("{}", &names.join(", "), 1)
}

/// A path, quoted for a shell if necessary.
pub(super) fn quoted(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%".contains(&b);
    match path.bytes().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// A number of bytes, for people.
pub(super) fn size(texts: &Texts, bytes: u64) -> String {
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
        let mut home = Home {
            data: "/var/lib/latchkey/".into(),
            unit_user: None,
        };
        let restore = "latchkey restore /a.db --data /var/lib/latchkey";
        assert_eq!(command(&home, "/a.db"), restore);
        home.unit_user = Some("latchkey".to_owned());
        assert_eq!(
            command(&home, "/a.db"),
            format!(
                "sudo systemctl stop latchkey && sudo -u latchkey {restore} && sudo systemctl start latchkey"
            )
        );
    }
}
