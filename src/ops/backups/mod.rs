//! Backups: complete copies of the database while it is in use, made on request or by a schedule.

pub mod elsewhere;

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::keyfile::KeyKind;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::files::{NewFile, Readers, private};
use crate::ops::{App, Record, restore};
use crate::refusals;
use crate::store::{Foreign, Store, key_files};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::Duration;

/// The folder of backups, in the data folder.
const FOLDER: &str = "backups";
/// Names of requested backups begin with this.
const ASKED: &str = "asked-";
const SCHEDULED: &str = "scheduled-";
const EXTENSION: &str = ".db";
/// A backup in a folder that is not private is copied to the data folder first. This is the nominal name of that
/// copy; the file only ever has a temporary name.
const COPY: &str = "latchkey.db.copy";
/// Likewise the name of the copy of a backup that is checked in its place.
const CHECKED: &str = "latchkey.db.checked";
/// When a scheduled backup has failed, the next attempt is made after this time: ten minutes.
const AGAIN_MS: i64 = 600_000;

/// The longest time between two checks whether a backup is due. The clock may be set meanwhile, and files may be
/// removed.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// The time until the next check after a backup was made, failed, or had to wait.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// The interval of scheduled backups, and how many of them are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schedule {
    pub every_s: u64,
    pub keep: usize,
}

/// The backups of one server.
pub struct Backups {
    schedule: OnceLock<Schedule>,
    /// The user of the server's unit, if the service manager has started it.
    unit_user: OnceLock<String>,
    /// Held while a backup is made, because two at the same time would get the same name.
    making: Mutex<()>,
    /// When a scheduled backup last failed, in milliseconds since 1970.
    failed_at: AtomicI64,
    /// The progress of the current backup in pages; 0 of 0 if there is none.
    done: AtomicU64,
    all: AtomicU64,
}

impl Default for Backups {
    fn default() -> Backups {
        Backups {
            schedule: OnceLock::new(),
            unit_user: OnceLock::new(),
            making: Mutex::default(),
            failed_at: AtomicI64::new(i64::MIN),
            done: AtomicU64::new(0),
            all: AtomicU64::new(0),
        }
    }
}

/// An existing backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backup {
    pub path: PathBuf,
    pub bytes: u64,
    pub at: Timestamp,
    pub is_scheduled: bool,
    /// The foreign objects that were left out of the copy. For a listed backup this is not known.
    pub left_out: Vec<Foreign>,
}

impl Backup {
    /// Whether it was made while the clock was wrong, so that its age is not known.
    pub fn is_from_future(&self, now: Timestamp) -> bool {
        self.at > now
    }

    /// The greater, the newer. A backup from the future counts as older than all others, so that it hides none of them.
    fn rank(&self, now: Timestamp) -> (bool, Timestamp) {
        (!self.is_from_future(now), self.at)
    }
}

fn sort_newest_first(backups: &mut [Backup], now: Timestamp) {
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.rank(now)));
}

/// Makes a backup. Without `file` it is created in the folder `backups` of the data folder. Only the administrator of
/// the machine may name a different file, which must not exist yet.
pub fn create(app: &App, caller: &Caller, file: Option<PathBuf>) -> Result<Backup> {
    let permitted = caller.require_global(&app.index.directory(), Permission::ServerAdmin);
    app.decided(caller, "backup.create", Target::server(), permitted)?;
    let now = app.now().wall;
    match file {
        None => make(app, caller, now, || {
            Ok(free_name(&own_folder(app)?, ASKED, now))
        }),
        Some(path) if caller.identity == Identity::Local && path.is_absolute() => {
            make(app, caller, now, || Ok(path))
        }
        Some(_) if caller.identity == Identity::Local => {
            Err(Error::invalid("file", refusals::backups::absolute_path()))
        }
        Some(_) => Err(Error::Forbidden(refusals::backups::file_is_local())),
    }
}

/// The backups in the data folder, newest first.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Backup>> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)?;
    let mut found = listed(&folder(app));
    sort_newest_first(&mut found, app.now().wall);
    Ok(found)
}

/// Where a backup is restored, and by whom.
pub struct Home {
    /// The data folder, as an absolute path.
    pub data: PathBuf,
    /// The user of the server's unit; `None` if it was not started by the service manager.
    pub unit_user: Option<String>,
}

/// What the command that restores a backup of this server needs.
pub fn home(app: &App, caller: &Caller) -> Result<Home> {
    require(app, caller)?;
    let data = app.store.path().with_file_name("");
    Ok(Home {
        data: std::path::absolute(&data).unwrap_or(data),
        unit_user: app.backups.unit_user.get().cloned(),
    })
}

/// Refuses a caller who may not manage backups.
pub fn require(app: &App, caller: &Caller) -> Result<()> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)
}

/// Records that the administrator of the machine makes a copy of the key files. `saved` is the newest version of each file
/// in the copy; if it is not known, the newest of the server.
pub fn note_secrets(
    app: &App,
    caller: &Caller,
    saved: impl Fn(KeyKind) -> Option<u32>,
) -> Result<()> {
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::backups::secrets_are_local())),
    };
    app.decided(caller, "secrets.backup", Target::server(), permitted)?;
    let files = app.key_files();
    let newest = KeyKind::ALL.map(|kind| {
        let known = files.newest(kind);
        (kind, saved(kind).map_or(known, |saved| saved.min(known)))
    });
    app.change(
        caller,
        "secrets.backup",
        Target::server(),
        move |tx, now| {
            for (kind, newest) in newest {
                key_files::note_backup(tx, kind, newest, now)?;
            }
            let record = Record {
                target: Target::server(),
                workspace: None,
                changes: Changes::default(),
            };
            Ok((Some(record), ()))
        },
    )
}

impl App {
    /// The progress of the current backup in pages; `None` if there is none.
    pub fn backup_progress(&self) -> Option<(u64, u64)> {
        let backups = &self.backups;
        let all = backups.all.load(Relaxed);
        (all > 0).then(|| (backups.done.load(Relaxed), all))
    }

    /// The newest complete backup, wherever it was made. One in another place is not looked into. One from the future is
    /// returned only if there is no other.
    pub fn latest_backup(&self) -> Option<Backup> {
        let mut all = listed(&folder(self));
        all.extend(elsewhere::read(self));
        let now = self.now().wall;
        all.into_iter().max_by_key(|backup| backup.rank(now))
    }

    /// The time since the newest backup was made, in milliseconds; `None` if there is none, or only one from the future.
    pub fn backup_age_ms(&self) -> Option<i64> {
        let latest = self.latest_backup()?;
        let now = self.now().wall;
        (!latest.is_from_future(now)).then_some(now.0 - latest.at.0)
    }

    /// When the latest scheduled backup failed, if it did.
    pub fn scheduled_backup_failed(&self) -> Option<Timestamp> {
        let failed_at = self.backups.failed_at.load(Relaxed);
        (failed_at != i64::MIN).then_some(Timestamp(failed_at))
    }

    /// Records that the service manager has started this server, as this user.
    pub fn is_unit_of(&self, user: String) {
        let _ = self.backups.unit_user.set(user);
    }

    /// The schedule of this server; `None` if there is none.
    pub fn backup_schedule(&self) -> Option<Schedule> {
        self.backups.schedule.get().copied()
    }

    /// Starts scheduled backups.
    pub fn schedule_backups(&self, schedule: Schedule) {
        let _ = self.backups.schedule.set(schedule);
    }

    /// Makes a backup if one is due, and deletes the oldest scheduled backups. Returns how long to wait before the
    /// next call.
    pub fn back_up_if_due(&self) -> Duration {
        let Some(schedule) = self.backups.schedule.get() else {
            return LOOK_MAX;
        };
        let now = self.now().wall;
        let left_ms = self.left_ms(schedule, now);
        if left_ms > 0 {
            return Duration::from_millis(left_ms.unsigned_abs()).min(LOOK_MAX);
        }
        // A statement of its own: the directory is locked until its end, and the writer may need it to record the backup.
        let caller = Caller::system(&self.index.directory());
        let made = caller.and_then(|caller| {
            make(self, &caller, now, || {
                Ok(free_name(&own_folder(self)?, SCHEDULED, now))
            })
        });
        match made {
            Ok(made) => {
                self.backups.failed_at.store(i64::MIN, Relaxed);
                log::info!(
                    "backup: {} was made, {} bytes",
                    made.path.display(),
                    made.bytes
                );
                forget_oldest(&folder(self), schedule.keep, now);
            }
            // A requested backup is being made; the scheduled one follows it.
            Err(Error::Conflict(_)) => {}
            Err(err) => {
                self.backups.failed_at.store(now.0, Relaxed);
                self.figures().backups_failed.fetch_add(1, Relaxed);
                log::error!("backup: the scheduled backup failed: {err}");
            }
        }
        LOOK_MIN
    }

    /// Milliseconds until the next scheduled backup is due; 0 or less if it is due.
    fn left_ms(&self, schedule: &Schedule, now: Timestamp) -> i64 {
        let every_ms = i64::try_from(schedule.every_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        let latest = listed(&folder(self))
            .into_iter()
            .filter(|backup| backup.is_scheduled && backup.at <= now);
        let latest = latest.map(|backup| backup.at.0).max().unwrap_or(i64::MIN);
        let failed_at = self.backups.failed_at.load(Relaxed);
        let due = latest.saturating_add(every_ms);
        let due = due.max(failed_at.saturating_add(AGAIN_MS));
        due.saturating_sub(now.0)
    }
}

/// Records the backup in the audit log, then makes it, so that the copy contains its own event. Only one backup is
/// made at a time, beginning with the choice of its name.
fn make(
    app: &App,
    caller: &Caller,
    now: Timestamp,
    name: impl FnOnce() -> Result<PathBuf>,
) -> Result<Backup> {
    let _turn = match app.backups.making.try_lock() {
        Ok(turn) => turn,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Conflict(refusals::backups::running()));
        }
    };
    let now = Timestamp::parse_compact(&now.compact()).unwrap_or(now);
    let made = name().and_then(|path| {
        record(app, caller, &path)?;
        let (bytes, left_out) = copy(app, &path, now)?;
        Ok((path, bytes, left_out))
    });
    let (path, bytes, left_out) = made?;
    if !left_out.is_empty() {
        log::warn!(
            "backup: {} left out, because it is not Latchkey's: {}",
            path.display(),
            names(&left_out)
        );
    }
    let made = Backup {
        is_scheduled: is_named(&path, SCHEDULED),
        path,
        bytes,
        at: now,
        left_out,
    };
    elsewhere::note(app, &made);
    Ok(made)
}

fn record(app: &App, caller: &Caller, path: &Path) -> Result<()> {
    if app.store.check_place().is_err() && caller.identity == Identity::Local {
        log::warn!("backup: the database is gone from its place, so its rescue cannot be recorded");
        return Ok(());
    }
    let shown = path.display().to_string();
    app.change(caller, "backup.create", Target::server(), move |_, _| {
        let mut changes = Changes::default();
        changes.note("file", &String::new(), &shown);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })
}

/// Copies the database to a temporary file, checks it as a restore does, syncs it, and then renames it. So a file
/// with the final name is a complete backup that can be restored. Returns its size in bytes and the foreign objects
/// that were left out.
fn copy(app: &App, path: &Path, now: Timestamp) -> Result<(u64, Vec<Foreign>)> {
    let failed = |err: std::io::Error| match err.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::Conflict(refusals::backups::exists(path.display()))
        }
        _ => Error::Unavailable(refusals::backups::write(path.display(), err)),
    };
    let mut new = NewFile::create(path, Readers::Owner).map_err(failed)?;
    // SQLite derives the names of further files from the database's name. So it may only work in a folder where no
    // other user can create files: in the target folder if possible, otherwise in the data folder.
    let mut beside = None;
    if !new.is_out_of_reach() {
        let path = app.store.path().with_file_name(COPY);
        beside = Some(NewFile::create(&path, Readers::Owner).map_err(failed)?);
    }
    let staged = beside.as_ref().unwrap_or(&new);
    let staged = staged.temporary_path().map_err(failed)?;
    let progress = &app.backups;
    let copied = app.store.copy_to(&staged, |done, all| {
        progress.done.store(done, Relaxed);
        progress.all.store(all, Relaxed);
    });
    progress.all.store(0, Relaxed);
    let left_out = copied?;
    let content = beside.as_mut().unwrap_or(&mut new);
    check(app, content, &staged, now).map_err(|why| unusable(&why, &staged, path))?;
    if let Some(beside) = &mut beside {
        new.copy_from(beside.content()).map_err(failed)?;
    }
    let bytes = new.put_in_place().map_err(failed)?;
    Ok((bytes, left_out))
}

/// Checks a copy as a restore does. The check migrates a copy of an older schema, which nodes have that are being upgraded; so the file
/// that is checked then is another one, and the backup stays what both programs restore.
fn check(app: &App, copy: &mut NewFile, staged: &Path, now: Timestamp) -> Result<()> {
    if !Store::is_older(staged)? {
        return restore::check(staged, &app.key_files(), now);
    }
    let failed = |err| Error::Unavailable(refusals::backups::write(staged.display(), err));
    let path = app.store.path().with_file_name(CHECKED);
    let mut checked = NewFile::create(&path, Readers::Owner).map_err(failed)?;
    checked.copy_from(copy.content()).map_err(failed)?;
    let path = checked.temporary_path().map_err(failed)?;
    restore::check(&path, &app.key_files(), now)
}

/// The error for a copy that a restore would refuse.
fn unusable(why: &Error, copy: &Path, path: &Path) -> Error {
    let why = match why {
        Error::Internal(cause) => cause.to_string(),
        other => other.to_string(),
    };
    let [copy, path] = [copy, path].map(|path| path.display().to_string());
    let why = why.replace(&copy, &path);
    Error::Unavailable(refusals::backups::useless(why))
}

/// The names of foreign objects, for messages.
pub fn names(foreign: &[Foreign]) -> String {
    let names: Vec<String> = foreign.iter().map(Foreign::shown).collect();
    names.join(", ")
}

fn folder(app: &App) -> PathBuf {
    app.store.path().with_file_name(FOLDER)
}

fn own_folder(app: &App) -> Result<PathBuf> {
    let folder = folder(app);
    private::make_folder(&folder)
        .map_err(|err| Error::Unavailable(refusals::backups::folder(folder.display(), err)))?;
    Ok(folder)
}

/// A name that is not in use. Several backups can be requested within one second.
fn free_name(folder: &Path, start: &str, now: Timestamp) -> PathBuf {
    let stamp = now.compact();
    let mut path = folder.join(format!("{start}{stamp}{EXTENSION}"));
    let mut number = 1;
    while path.exists() {
        number += 1;
        path = folder.join(format!("{start}{stamp}-{number}{EXTENSION}"));
    }
    path
}

fn listed(folder: &Path) -> Vec<Backup> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let one = |path: PathBuf| {
        Some(Backup {
            at: at_of(&path)?,
            bytes: fs::metadata(&path).ok()?.len(),
            is_scheduled: is_named(&path, SCHEDULED),
            path,
            left_out: Vec::new(),
        })
    };
    entries
        .filter_map(|entry| one(entry.ok()?.path()))
        .collect()
}

/// Whether the folder of backups shows this one by its name.
fn is_listed(folder: &Path, path: &Path) -> bool {
    path.parent() == Some(folder) && at_of(path).is_some()
}

/// The time in the name of a backup of the data folder.
fn at_of(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let stamp = name
        .strip_prefix(ASKED)
        .or_else(|| name.strip_prefix(SCHEDULED))?;
    Timestamp::parse_compact(stamp.strip_suffix(EXTENSION)?.split('-').next()?)
}

fn is_named(path: &Path, start: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(start))
}

/// Deletes all scheduled backups except the newest `keep`. Requested backups are kept. Backups with a time in the
/// future were made while the clock was wrong, and are deleted first.
fn forget_oldest(folder: &Path, keep: usize, now: Timestamp) {
    let mut scheduled = listed(folder);
    scheduled.retain(|backup| backup.is_scheduled);
    sort_newest_first(&mut scheduled, now);
    for old in scheduled.iter().skip(keep) {
        match private::remove(&old.path) {
            Ok(()) => log::info!(
                "backup: {} was removed, newer ones are kept",
                old.path.display()
            ),
            Err(err) => log::warn!("backup: {} was not removed: {err}", old.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::workspaces::{self, NewWorkspace};
    use crate::store::Durability;
    use std::sync::mpsc::channel;
    use std::thread;

    /// The backup is recorded in the same transaction as a change for which the writer locks the directory.
    #[test]
    fn a_scheduled_backup_locks_nothing_while_it_waits_for_the_writer() {
        let fixture = Fixture::new();
        let schedule = Schedule {
            every_s: 1,
            keep: 1,
        };
        fixture.app.schedule_backups(schedule);
        let (begin, begun) = channel::<()>();
        let (release, released) = channel::<()>();
        let (done, all_done) = channel();
        let spawn = |work: Box<dyn FnOnce(&App) + Send>| {
            let (app, done) = (fixture.app.clone(), done.clone());
            thread::spawn(move || {
                work(&app);
                done.send(()).unwrap();
            });
        };
        spawn(Box::new(move |app| {
            let wait = move |_: &crate::store::Write<'_>| {
                begin.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            };
            app.store.write(Durability::Relaxed, wait).unwrap();
        }));
        begun.recv().unwrap();
        let (waiting, local) = (&fixture.app.store.figures.changes_waiting, fixture.local());
        let await_waiting = |count| {
            while waiting.load(Relaxed) != count {
                thread::yield_now();
            }
        };
        spawn(Box::new(|app| {
            app.back_up_if_due();
        }));
        await_waiting(1);
        spawn(Box::new(move |app| {
            let new = NewWorkspace {
                slug: None,
                name: "below".to_owned(),
                parent: None,
            };
            workspaces::create(app, &local, new, None).unwrap();
        }));
        await_waiting(2);
        release.send(()).unwrap();
        for _ in 0..3 {
            if all_done.recv_timeout(Duration::from_secs(60)).is_err() {
                // Closing it would wait, too.
                std::mem::forget(fixture);
                panic!("the backup and the writer wait for one another");
            }
        }
        assert!(fixture.app.scheduled_backup_failed().is_none());
    }
}
