//! What an administrator should know and do first, found without reading the database as a whole.

use super::{BACKUP_DAYS, CERTIFICATE_DAYS, DAY_MS};
use crate::authz::caller::{Caller, root};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::verdict::Code;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::domain::users::permissions::Permission;
use crate::domain::users::roles::Role;
use crate::error::Result;
use crate::index::PARTS;
use crate::ops::authenticators::demand::owners_without;
use crate::ops::keys::ownerless;
use crate::ops::setup::{OLD_SAMPLE, SAMPLE};
use crate::ops::usage::{self, Step};
use crate::ops::{App, attempts, backups, declared, secrets};
use crate::refusals::Refusal;

/// For how many days a verification counts as a sign that something asks this server.
const ASKED_DAYS: i64 = 90;

/// Something that is wrong, or soon will be.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The latest scheduled backup failed at this time.
    BackupFailed(Timestamp),
    /// The newest backup is of this time.
    BackupOld(Timestamp),
    /// The certificate ends, or ended, at this time.
    Certificate(Timestamp),
    /// So many complaints about files that declare keys.
    Files(usize),
    /// These users are locked after failed attempts to sign in.
    Locked(Vec<String>),
    /// So many management keys have no owner, and were made by users who are deleted or disabled.
    Ownerless(usize),
    /// So many bytes are free.
    Room(u64),
    /// No change can be saved.
    Unwritable(Refusal),
}

/// The first steps of an installation, each with whether it is done.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// There is a key for another service.
    pub first_key: bool,
    /// A key was verified lately.
    pub protected: bool,
    /// The newest versions of the key files were saved.
    pub key_files: bool,
    pub second_owner: bool,
    /// Every owner who signs in with a password has a second factor.
    pub second_factor: bool,
    /// There is a backup, or a schedule.
    pub backup: bool,
}

/// What is wrong, as far as the caller may know it.
pub fn troubles(app: &App, caller: &Caller) -> Vec<Trouble> {
    let mut found = Vec::new();
    if let Err(err) = app.check_writable() {
        found.push(Trouble::Unwritable(err.refusal()));
    }
    found.extend(app.short_of_room().map(Trouble::Room));
    let directory = app.index.directory();
    let may = |permission| caller.require_global(&directory, permission).is_ok();
    let (administers, reads_users) = (may(Permission::ServerAdmin), may(Permission::UsersRead));
    drop(directory);
    if administers {
        let now = app.now().wall;
        let days = |from: Timestamp, to: Timestamp| (to.0 - from.0).div_euclid(DAY_MS);
        let end = app.figures().certificate_end();
        let end = end.filter(|end| days(now, *end) < CERTIFICATE_DAYS);
        found.extend(end.map(Trouble::Certificate));
        found.extend(app.scheduled_backup_failed().map(Trouble::BackupFailed));
        let latest = app.latest_backup().map(|backup| backup.at);
        let old = latest.filter(|at| *at > now || days(*at, now) > BACKUP_DAYS);
        found.extend(old.map(Trouble::BackupOld));
        let complaints = declared::latest(app).complaints.len();
        found.extend((complaints > 0).then_some(Trouble::Files(complaints)));
        match app.read(ownerless::orphans) {
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => found.push(Trouble::Ownerless(keys.len())),
            Err(err) => log::warn!("the overview does not know which keys have no owner: {err}"),
        }
    }
    if reads_users {
        let locked = attempts::locked(app);
        found.extend((!locked.is_empty()).then_some(Trouble::Locked(locked)));
    }
    found
}

/// The first steps, for callers who administer the server; `None` for others.
pub fn steps(app: &App, caller: &Caller) -> Result<Option<Steps>> {
    if backups::require(app, caller).is_err() {
        return Ok(None);
    }
    let now = app.now().wall;
    let mut first_key = false;
    for part in 0..PARTS {
        if first_key {
            break;
        }
        app.index.each_of_part(part, |key| {
            let is_sample = [SAMPLE, OLD_SAMPLE].contains(&key.name.as_str());
            first_key |= key.shared.catalog.as_deref() != Some(BUILT_IN) && !is_sample;
        });
    }
    let since = Timestamp(now.0 - ASKED_DAYS * 24 * HOUR_MS);
    let asked = usage::of_all(app, caller, Step::Day, since)?;
    let owners = {
        let directory = app.index.directory();
        let root = root(&directory)?;
        let owns = |binding: &crate::domain::users::Binding| {
            binding.role == Role::Owner && binding.workspace == root
        };
        let users = directory.users();
        users
            .filter(|user| user.is_active() && user.roles.iter().any(owns))
            .count()
    };
    Ok(Some(Steps {
        first_key,
        protected: asked
            .iter()
            .any(|row| row.code == Code::Valid.as_str() && !row.is_management),
        key_files: secrets::saved(app)?.stale.is_empty(),
        second_owner: owners > 1,
        second_factor: owners_without(app)?.is_empty(),
        backup: app.latest_backup().is_some() || app.backup_schedule().is_some(),
    }))
}

/// When the newest backup in the data folder was made; `None` for callers who do not administer the server.
pub fn backup_at(app: &App, caller: &Caller) -> Option<Option<Timestamp>> {
    backups::require(app, caller).ok()?;
    Some(app.latest_backup().map(|backup| backup.at))
}
