//! The versions of the key files: what stands under each of them, rotating them, and retiring them.
//!
//! A rotation first writes the file, with the new version at its end, and then the database. Whenever the server ends
//! between the two, the file has a version that the database does not know, and the next start records it. Retiring goes
//! the other way: the database forgets the version before the file loses it.

pub mod retire;
pub mod rotate;
pub mod settle;

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::Target;
use crate::domain::keys::keyfile::{KeyKind, fingerprints_in};
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::key_versions::{self, Count, ForeignCount};
use crate::store::{key_files, seals};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// Held while a file is rotated or retired, and while rows are made again under the newest version.
#[derive(Default)]
pub struct Turn(Mutex<()>);

/// What stands under each version.
#[derive(Clone, Debug)]
pub struct Status {
    /// In the order of [`KeyKind::ALL`].
    pub kinds: Vec<KindStatus>,
    /// Secrets whose digests other systems made.
    pub foreign: Vec<ForeignCount>,
    /// The number of digests that were used and wait to be replaced by one under the newest pepper.
    pub upgrades_waiting: u64,
}

/// One key file.
#[derive(Clone, Debug)]
pub struct KindStatus {
    pub kind: KeyKind,
    pub path: PathBuf,
    /// Whether the service manager provides it.
    pub is_provided: bool,
    /// The oldest first.
    pub versions: Vec<VersionStatus>,
}

/// One version of a key file. A count that does not apply to the file is 0.
#[derive(Clone, Debug, Default)]
pub struct VersionStatus {
    pub number: u32,
    pub is_newest: bool,
    pub added_at: Option<Timestamp>,
    pub backed_up_at: Option<Timestamp>,
    /// Whether everything that can be made again under this version was.
    pub is_settled: bool,
    /// Secrets of keys.
    pub secrets: u64,
    pub sessions: u64,
    pub refresh_tokens: u64,
    pub passwords: u64,
    /// Recovery codes that were not used.
    pub recovery_codes: u64,
    /// Sealed rows.
    pub rows: u64,
    /// Copies of secrets, and secrets of one-time codes.
    pub copies: u64,
    /// When a key or a session whose digest is under this version was last used, as far as it is recorded.
    pub last_used_at: Option<Timestamp>,
}

impl Status {
    /// The files whose newest version was not saved.
    pub fn unsaved(&self) -> impl Iterator<Item = KeyKind> {
        let is_unsaved = |kind: &&KindStatus| {
            let newest = kind.versions.last();
            newest.is_some_and(|newest| newest.backed_up_at.is_none())
        };
        let unsaved = self.kinds.iter().filter(is_unsaved);
        unsaved.map(|status| status.kind)
    }
}

/// Counts what stands under each version. With several seal keys, this reads everything that has a seal.
pub fn status(app: &App, caller: &Caller) -> Result<Status> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)?;
    let now = app.now().wall;
    app.read(|read| {
        let mut kinds = Vec::new();
        for kind in KeyKind::ALL {
            let versions = key_files::list(read, kind)?;
            let mut all: Vec<VersionStatus> = versions
                .iter()
                .enumerate()
                .map(|(place, version)| VersionStatus {
                    number: version.number,
                    is_newest: place + 1 == versions.len(),
                    added_at: version.added_at,
                    backed_up_at: version.backed_up_at,
                    is_settled: version.is_settled,
                    ..VersionStatus::default()
                })
                .collect();
            let passwords = key_versions::count_passwords(read, kind)?;
            add(&mut all, passwords, |one| &mut one.passwords);
            match kind {
                KeyKind::Pepper => {
                    let secrets = key_versions::count_secrets(read, now)?;
                    add(&mut all, secrets, |one| &mut one.secrets);
                    let sessions = key_versions::count_sessions(read, now)?;
                    add(&mut all, sessions, |one| &mut one.sessions);
                    let tokens = key_versions::count_refresh_tokens(read, now)?;
                    add(&mut all, tokens, |one| &mut one.refresh_tokens);
                }
                KeyKind::SealKey => {
                    let codes = key_versions::count_recovery_codes(read)?;
                    add(&mut all, codes, |one| &mut one.recovery_codes);
                    match all.as_mut_slice() {
                        [only] => only.rows = key_versions::count_sealed(read)?,
                        several => {
                            let counts = seals::again::count(read, &app.seal_keys)?;
                            for one in several {
                                one.rows = counts.get(&Some(one.number)).copied().unwrap_or(0);
                            }
                        }
                    }
                }
                KeyKind::SealingKey => {
                    let copies = key_versions::count_copies(read)?;
                    add(&mut all, copies, |one| &mut one.copies);
                }
            }
            kinds.push(KindStatus {
                kind,
                path: app.key_file(kind),
                is_provided: app.provided(kind).is_some(),
                versions: all,
            });
        }
        Ok(Status {
            kinds,
            foreign: key_versions::count_foreign(read)?,
            upgrades_waiting: app.upgrades.waiting() as u64,
        })
    })
}

/// Adds counts to the versions that they belong to.
fn add(
    versions: &mut [VersionStatus],
    counts: Vec<Count>,
    place: fn(&mut VersionStatus) -> &mut u64,
) {
    for count in counts {
        let known = versions.iter_mut().find(|one| one.number == count.version);
        if let Some(version) = known {
            *place(version) += count.count;
            version.last_used_at = version.last_used_at.max(count.last_used_at);
        }
    }
}

impl App {
    /// The path of a key file.
    fn key_file(&self, kind: KeyKind) -> PathBuf {
        let own = || self.store.path().with_file_name(kind.as_str());
        self.provided(kind).cloned().unwrap_or_else(own)
    }

    /// The path of a key file that the service manager provides.
    fn provided(&self, kind: KeyKind) -> Option<&PathBuf> {
        let mut provided = self.provided.iter();
        let found = provided.find(|(known, _)| *known == kind);
        found.map(|(_, path)| path)
    }
}

/// When the key files were last saved, and which have versions in no backup.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    pub at: Option<Timestamp>,
    /// The files whose newest version was not saved.
    pub stale: Vec<KeyKind>,
    /// The files with an interrupted rotation.
    pub unsettled: Vec<KeyKind>,
}

/// Whether a backup of the key files has every newest version.
pub fn saved(app: &App) -> Result<Saved> {
    app.read(|read| {
        let mut saved = Saved::default();
        for kind in KeyKind::ALL {
            let versions = key_files::list(read, kind)?;
            let newest = versions.last();
            if newest.is_some_and(|newest| newest.backed_up_at.is_none()) {
                saved.stale.push(kind);
            }
            if newest.is_some_and(|newest| !newest.is_settled) {
                saved.unsettled.push(kind);
            }
            let times = versions.iter().filter_map(|version| version.backed_up_at);
            saved.at = saved.at.max(times.max());
        }
        Ok(saved)
    })
}

/// The text of a key file.
fn read_file(app: &App, kind: KeyKind) -> Result<String> {
    let path = app.key_file(kind);
    fs::read_to_string(&path)
        .map_err(|err| Error::Unavailable(refusals::secrets::unreadable(path.display(), err)))
}

/// The text of a key file; refuses one that is not what the server uses.
fn check_file(app: &App, kind: KeyKind) -> Result<String> {
    let text = read_file(app, kind)?;
    match fingerprints_in(kind, &text) == Some(app.key_files().fingerprints(kind)) {
        true => Ok(text),
        false => Err(Error::Conflict(refusals::secrets::file_changed(
            app.key_file(kind).display(),
        ))),
    }
}

/// Refuses everybody but the administrator of the machine.
fn require_local(app: &App, caller: &Caller, action: &'static str) -> Result<()> {
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::secrets::local())),
    };
    app.decided(caller, action, Target::server(), permitted)
}
