//! Retiring a version of a key file: the database forgets it, and then the file loses it.

use super::{check_file, read_file, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::{self, KeyKind};
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::private;
use crate::ops::keys::upgrade;
use crate::ops::sessions::ended;
use crate::ops::{App, Record, append_all, draft};
use crate::refusals;
use crate::store::key_versions as under;
use crate::store::{
    Durability, Write, imported, key_files, keys, recovery_codes, restore, seals, sessions, users,
};
use std::path::PathBuf;

pub const ACTION: &str = "secrets.retire";
/// The number of things that are ended in one transaction.
const A_BATCH: u32 = 500;
/// The number of ids of each kind in a refusal.
const NAMED_MAX: usize = 10;

/// Events to write: the action, and what it is about.
type Records = Vec<(&'static str, Record)>;

/// What a retirement ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Retired {
    pub keys_disabled: u64,
    /// Older secrets of keys, whose grace period ended early.
    pub secrets_ended: u64,
    pub sessions_ended: u64,
    pub refresh_tokens_ended: u64,
    pub passwords_removed: u64,
    /// Users whose recovery codes under the version were deleted.
    pub recovery_codes_deleted: u64,
    /// Imported digests that a repeated import does not recognise any more.
    pub marks_forgotten: u64,
    /// The file that the server cannot replace: somebody has to remove the version from its source.
    pub left_in: Option<PathBuf>,
}

/// Removes a version. On a node whose file still has a version that was retired on another node, only the file loses it. With `disable_unseen`, keys whose digests are still under it are disabled, such sessions and
/// refresh tokens end, and such digests of passwords and marks of imported keys are removed.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `NotFound` for an unknown version. `Conflict` for
/// the newest version, and if something needs the version.
pub fn retire(
    app: &App,
    caller: &Caller,
    kind: KeyKind,
    version: u32,
    disable_unseen: bool,
) -> Result<Retired> {
    require_local(app, caller, ACTION)?;
    let _turn = lock(&app.key_files_turn.0);
    let known = app.read(|read| key_files::list(read, kind))?;
    let newest = known.last();
    if known.iter().all(|one| one.number != version) {
        let files = app.key_files().fingerprints(kind);
        let is_older = newest.is_some_and(|newest| version < newest.number);
        if !is_older || files.iter().all(|(number, _)| *number != version) {
            return Err(Error::NotFound("version"));
        }
        check_file(app, kind)?;
        return Ok(Retired {
            left_in: remove_from_file(app, kind, version)?,
            ..Retired::default()
        });
    }
    if newest.is_some_and(|newest| newest.number == version) {
        return Err(Error::Conflict(refusals::secrets::newest(
            version,
            kind.words(),
            kind.as_str(),
        )));
    }
    let is_settled = newest.is_some_and(|newest| newest.is_settled);
    if !is_settled || !app.index.is_complete() {
        return Err(Error::Conflict(refusals::secrets::unsettled(
            kind.words(),
            kind.as_str(),
        )));
    }
    check_file(app, kind)?;
    // What was used and waits needs the version no longer, once it is written.
    upgrade::write_all(app);
    let mut retired = Retired::default();
    if disable_unseen {
        Ending {
            app,
            caller,
            kind,
            version,
        }
        .run(&mut retired)?;
    }
    let needs = needs(app, kind, version)?;
    if !needs.is_empty() {
        let things: Vec<String> = needs.iter().map(Need::shown).collect();
        let things = things.join(", ");
        return Err(Error::Conflict(match kind {
            KeyKind::SealingKey => {
                refusals::secrets::needed_by_copies(version, kind.words(), things)
            }
            _ => refusals::secrets::needed(version, kind.words(), things),
        }));
    }
    forget(app, caller, kind, version)?;
    retired.left_in = remove_from_file(app, kind, version)?;
    log::info!(
        "secrets: version {version} of the {} is retired",
        kind.words()
    );
    Ok(retired)
}

/// What needs a version.
fn needs(app: &App, kind: KeyKind, version: u32) -> Result<Vec<Need>> {
    let now = app.now().wall;
    let named = NAMED_MAX as u32;
    app.read(|read| {
        let mut needs = Vec::new();
        let of_version = |counts: Vec<under::Count>| {
            let own = counts.iter().filter(|count| count.version == version);
            own.map(|count| count.count).sum::<u64>()
        };
        let mut add = |count: u64, what: (&'static str, &'static str), ids: Vec<String>| {
            if count > 0 {
                needs.push(Need { count, what, ids });
            }
        };
        match kind {
            KeyKind::Pepper => {
                let count = of_version(under::count_secrets(read, now)?);
                let secrets = under::list_secrets(read, version, now, "", named)?;
                let ids = secrets.iter().map(|one| one.key.to_string());
                add(count, ("secret of a key", "secrets of keys"), ids.collect());
                let count = of_version(under::count_sessions(read, now)?);
                let ids = under::list_sessions(read, version, now, named)?;
                add(
                    count,
                    ("session", "sessions"),
                    ids.iter().map(KeyId::to_string).collect(),
                );
                let count = of_version(under::count_refresh_tokens(read, now)?);
                let ids = under::list_refresh_tokens(read, version, now, named)?;
                let ids = ids.iter().map(|(id, _)| id.to_string());
                add(count, ("refresh token", "refresh tokens"), ids.collect());
            }
            KeyKind::SealKey => {
                let counts = seals::again::count(read, &app.seal_keys)?;
                let count = counts.get(&Some(version)).copied().unwrap_or(0);
                add(count, ("sealed row", "sealed rows"), Vec::new());
                let count = imported::count(read, version)?;
                let what = ("mark of an imported key", "marks of imported keys");
                add(count, what, Vec::new());
                let holders = under::list_recovery_codes(read, version, u32::MAX)?;
                let mut names = Vec::new();
                for uid in holders.iter().take(NAMED_MAX) {
                    names.extend(users::find(read, *uid)?.map(|user| user.user_name));
                }
                let what = ("user with recovery codes", "users with recovery codes");
                add(holders.len() as u64, what, names);
            }
            KeyKind::SealingKey => {
                let count = of_version(under::count_copies(read)?);
                let copies = under::list_copies(read, version, named)?;
                add(count, ("copy of a secret", "copies of secrets"), copies);
            }
        }
        let count = of_version(under::count_passwords(read, kind)?);
        let mut names = Vec::new();
        for uid in under::list_passwords(read, kind, version, named)? {
            names.extend(users::find(read, uid)?.map(|user| user.user_name));
        }
        add(count, ("password", "passwords"), names);
        Ok(needs)
    })
}

/// Things that need a version.
struct Need {
    count: u64,
    /// What they are, in the singular and in the plural.
    what: (&'static str, &'static str),
    /// Some of them.
    ids: Vec<String>,
}

impl Need {
    fn shown(&self) -> String {
        let more = match self.count > self.ids.len() as u64 {
            true => ", …",
            false => "",
        };
        let what = match self.count {
            1 => self.what.0,
            _ => self.what.1,
        };
        match self.ids.is_empty() {
            true => format!("{} {what}", self.count),
            false => format!("{} {what} ({}{more})", self.count, self.ids.join(", ")),
        }
    }
}

/// Ends what is still under a version.
struct Ending<'a> {
    app: &'a App,
    caller: &'a Caller,
    kind: KeyKind,
    version: u32,
}

impl Ending<'_> {
    fn run(&self, retired: &mut Retired) -> Result<()> {
        match self.kind {
            KeyKind::Pepper => {
                let mut from = Some(String::new());
                while let Some(first) = from {
                    from = self.secrets(first, retired)?;
                }
                while self.sessions(retired)? {}
                while self.refresh_tokens(retired)? {}
            }
            KeyKind::SealKey => {
                self.marks(retired)?;
                while self.recovery_codes(retired)? {}
            }
            KeyKind::SealingKey => {
                return Err(Error::invalid(
                    "disable_unseen",
                    refusals::secrets::copies_are_not_used(),
                ));
            }
        }
        while self.passwords(retired)? {}
        Ok(())
    }

    /// Runs one transaction, which writes an event for each record, and returns its value.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Write<'_>, Timestamp) -> Result<(Records, T)> + Send + 'static,
    ) -> Result<T> {
        let now = self.app.now().wall;
        let seal_keys = self.app.seal_keys.clone();
        let draft = Event {
            reason: format!(
                "version {} of the {} was retired, and was not used since",
                self.version,
                self.kind.words()
            ),
            ..draft(self.caller, ACTION, now)
        };
        self.app.store.write(Durability::Full, move |tx| {
            let (records, value) = work(tx, now)?;
            append_all(tx, &seal_keys, &draft, records)?;
            Ok(value)
        })
    }

    /// Disables keys whose newest digest is under the version, and ends older secrets under it: some of them, beginning
    /// with the key `first`. Returns the key with which to go on.
    fn secrets(&self, first: String, retired: &mut Retired) -> Result<Option<String>> {
        let (version, peppers) = (self.version, self.app.peppers.clone());
        let (disabled, ended, last) = self.write(move |tx, now| {
            let (mut records, mut disabled, mut ended) = (Vec::new(), 0, 0);
            let secrets = under::list_secrets(tx, version, now, &first, A_BATCH)?;
            let last = secrets.last().map(|secret| secret.key.to_string());
            for secret in secrets {
                let id = secret.key;
                let key = keys::find(tx, id)?;
                let mut changes = Changes::default();
                let action = if secret.is_newest {
                    under::end_newest(tx, id, version, peppers.digest_of_nothing()?)?;
                    changes.note("enabled", &restore::disable_key(tx, id)?, &false);
                    disabled += 1;
                    "key.disable"
                } else {
                    under::delete_older(tx, id, version)?;
                    ended += 1;
                    "key.rotation_complete"
                };
                let record = Record {
                    target: Target::new(Kind::Key, id),
                    workspace: key.map(|key| key.workspace),
                    changes,
                };
                records.push((action, record));
            }
            Ok((records, (disabled, ended, last)))
        })?;
        retired.keys_disabled += disabled;
        retired.secrets_ended += ended;
        Ok(last)
    }

    fn sessions(&self, retired: &mut Retired) -> Result<bool> {
        let version = self.version;
        let ended = self.write(move |tx, now| {
            let ids = under::list_sessions(tx, version, now, A_BATCH)?;
            for id in &ids {
                sessions::delete(tx, *id)?;
            }
            let count = ids.len() as u64;
            Ok((ended::each(ids, "session.delete"), count))
        })?;
        retired.sessions_ended += ended;
        Ok(ended > 0)
    }

    /// Ends refresh tokens together with the sessions that they belong to.
    fn refresh_tokens(&self, retired: &mut Retired) -> Result<bool> {
        let version = self.version;
        let ended = self.write(move |tx, now| {
            let found = under::list_refresh_tokens(tx, version, now, A_BATCH)?;
            for (id, session) in &found {
                under::delete_refresh_token(tx, *id)?;
                sessions::delete(tx, *session)?;
            }
            let count = found.len() as u64;
            let ids = found.into_iter().map(|(_, session)| session).collect();
            Ok((ended::each(ids, "session.delete"), count))
        })?;
        retired.refresh_tokens_ended += ended;
        Ok(ended > 0)
    }

    /// Forgets the marks by which a repeated import recognises digests. They cannot be made again.
    fn marks(&self, retired: &mut Retired) -> Result<()> {
        let version = self.version;
        retired.marks_forgotten =
            self.write(move |tx, _| Ok((Vec::new(), imported::delete(tx, version)?)))?;
        Ok(())
    }

    /// Deletes recovery codes that were not used. Their users make new ones.
    fn recovery_codes(&self, retired: &mut Retired) -> Result<bool> {
        let version = self.version;
        let deleted = self.write(move |tx, _| {
            let uids = under::list_recovery_codes(tx, version, A_BATCH)?;
            let mut records = Vec::new();
            for uid in &uids {
                recovery_codes::delete_of_version(tx, *uid, version)?;
                let record = Record {
                    target: Target::new(Kind::User, *uid),
                    workspace: users::find(tx, *uid)?.map(|user| user.home),
                    changes: Changes::default(),
                };
                records.push(("user.recovery_codes_delete", record));
            }
            Ok((records, uids.len() as u64))
        })?;
        retired.recovery_codes_deleted += deleted;
        Ok(deleted > 0)
    }

    /// Removes digests of passwords, which ends the sessions of their users.
    fn passwords(&self, retired: &mut Retired) -> Result<bool> {
        let (kind, version) = (self.kind, self.version);
        let removed = self.write(move |tx, _| {
            let uids = under::list_passwords(tx, kind, version, A_BATCH)?;
            let mut records = Vec::new();
            for uid in &uids {
                restore::delete_password(tx, *uid)?;
                let record = Record {
                    target: Target::new(Kind::User, *uid),
                    workspace: users::find(tx, *uid)?.map(|user| user.home),
                    changes: Changes::default(),
                };
                records.push(("user.password", record));
            }
            Ok((records, uids.len() as u64))
        })?;
        retired.passwords_removed += removed;
        Ok(removed > 0)
    }
}

/// The database forgets a version.
fn forget(app: &App, caller: &Caller, kind: KeyKind, version: u32) -> Result<()> {
    app.change(caller, ACTION, Target::server(), move |tx, now| {
        let is_needed = match kind {
            KeyKind::Pepper => {
                !under::list_secrets(tx, version, now, "", 1)?.is_empty()
                    || !under::list_sessions(tx, version, now, 1)?.is_empty()
                    || !under::list_refresh_tokens(tx, version, now, 1)?.is_empty()
            }
            KeyKind::SealKey => {
                imported::count(tx, version)? > 0
                    || !under::list_recovery_codes(tx, version, 1)?.is_empty()
            }
            KeyKind::SealingKey => !under::list_copies(tx, version, 1)?.is_empty(),
        };
        if is_needed || !under::list_passwords(tx, kind, version, 1)?.is_empty() {
            return Err(Error::Conflict(refusals::secrets::needed_meanwhile(
                version,
                kind.words(),
            )));
        }
        key_files::delete(tx, kind, version)?;
        let mut changes = Changes::default();
        changes.note("file", &"", &kind.as_str());
        changes.note("version", &version.to_string(), &String::new());
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })
}

/// The file loses a version, and it is not used any more. Returns the file if the server cannot replace it.
fn remove_from_file(app: &App, kind: KeyKind, version: u32) -> Result<Option<PathBuf>> {
    let text = read_file(app, kind)?;
    let text = keyfile::without_version(&text, version);
    let path = app.key_file(kind);
    let written = match app.provided(kind) {
        Some(_) => Ok(Some(path.clone())),
        None => private::replace(&path, text.as_bytes()).map(|()| None),
    };
    app.key_files()
        .replace(kind, &text)
        .ok_or_else(|| Error::internal("a key file without one of its versions is damaged"))?;
    written.map_err(|err| {
        Error::Unavailable(refusals::secrets::not_removed(path.display(), err, version))
    })
}
