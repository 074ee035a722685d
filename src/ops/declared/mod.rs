//! Keys, policies and catalogs that files declare: the store is brought to what the files say, at every start, at SIGHUP
//! and on request.
//!
//! Either everything that the files declare is applied, in one transaction, or nothing: one error anywhere, and the store
//! stays as it is. Two things are no errors, and hold up nothing else: a digest that was ended never counts again, and a key
//! that was disabled by hand stays disabled.

mod catalogs;
mod keys;
mod plan;
mod policies;
mod work;

use crate::authz::caller::Caller;
use crate::domain::audit::{Kind, Target};
use crate::domain::catalogs::Definition;
use crate::domain::declared::{Complaint, File, Merged, sha256};
use crate::domain::keys::KeyId;
use crate::domain::keys::imported::PepperedDigest;
use crate::domain::keys::scheme::GivenDigest;
use crate::domain::locks::lock;
use crate::domain::policies::Policy;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::doctor::finding::{Check, NAMED_MAX};
use crate::ops::keys::members::KeyMembers;
use crate::refusals::{self, Refusal, findings};
use crate::store::declared::{self as stored, AppliedFile};
use crate::store::{Durability, Read, Write, audit};
use plan::{Known, Plan, Warning};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use work::{Note, Work};

/// What a stanza declares of a key, apart from its name.
#[derive(Clone, Debug)]
pub struct DeclaredKey {
    /// `None` for a secret that another system has made.
    pub id: Option<KeyId>,
    pub digest: GivenDigest,
    /// If the digest is one under a pepper: which pepper.
    pub peppered: Option<PepperedDigest>,
    /// The digest in the form in which it is stored and compared.
    pub digest_text: String,
    /// The start and the end of the secret, which may be shown.
    pub hint: Option<String>,
    /// Slug or uid; the root workspace if absent.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    pub catalog: Option<String>,
    pub members: KeyMembers,
}

/// Everything that the files of all folders declare.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    pub files: Vec<Arc<File>>,
    pub keys: Merged<DeclaredKey>,
    pub policies: Merged<Policy>,
    pub catalogs: Merged<Definition>,
}

/// The files of all folders, read but not parsed.
pub struct Sources {
    /// Path and SHA-256 of each file.
    pub files: Vec<(String, [u8; 32])>,
    /// Folders that need not exist, and do not.
    pub missing: Vec<PathBuf>,
    pub parse: Box<dyn FnOnce() -> Found<Declared>>,
}

/// A result, or everything that is wrong with the files.
pub type Found<T> = std::result::Result<T, Vec<Complaint>>;

/// Reads the files of all folders.
pub type Reader = Box<dyn Fn() -> Found<Sources> + Send>;

/// The settings that concern files of keys.
pub struct Settings {
    /// The folders, for people.
    pub folders: Vec<PathBuf>,
    /// Whether files may declare keys with rights on this server.
    pub allow_management: bool,
    /// Whether a bad file stops a start.
    pub strict: bool,
    pub read: Reader,
}

/// The state of this server: its settings, and what came of applying the files last.
#[derive(Default)]
pub struct Files {
    settings: Mutex<Option<Settings>>,
    latest: Mutex<Outcome>,
}

/// What applying the files has changed, or would change.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub folders: Vec<PathBuf>,
    pub files: Vec<String>,
    /// Why nothing was changed; empty if everything was applied.
    pub complaints: Vec<Complaint>,
    pub changes: Vec<Change>,
    /// What the files declare and the store does not have, and will not have.
    pub warnings: Vec<Complaint>,
    /// The number of keys that are as the files declare them; `None` if the files are those that were applied last, so that
    /// they were not compared key by key.
    pub unchanged: Option<usize>,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// `issue`, `edit`, `rotate`, `disable`, `enable`, `delete` or `release` of a key; `create`, `edit`, `put` or `release` of
    /// the others.
    pub verb: String,
    pub kind: Kind,
    pub name: String,
    /// The id of the key; the name of anything else.
    pub id: String,
    /// Where it is declared, or was.
    pub place: String,
    /// The members that change.
    pub members: Vec<String>,
}

impl Outcome {
    /// Whether the store is what the files declare.
    pub fn is_settled(&self) -> bool {
        self.complaints.is_empty() && self.changes.is_empty() && self.warnings.is_empty()
    }
}

/// Whether the changes are made, or only found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Apply,
    /// As [`Mode::Apply`], but the files that were applied last are not compared again.
    ApplyNew,
    DryRun,
}

/// Applies the files at a start. A bad file is logged and changes nothing, unless the settings are strict.
pub fn begin(app: &App, settings: Settings) -> Result<()> {
    let strict = settings.strict;
    // A fault of the store, such as a full disk, does not keep the server from serving what it has.
    let outcome = run(app, &settings, Mode::ApplyNew).unwrap_or_else(|err| Outcome {
        folders: settings.folders.clone(),
        complaints: vec![Complaint {
            path: "the store".to_owned(),
            line: None,
            why: err.refusal(),
        }],
        ..Outcome::default()
    });
    *lock(&app.declared.settings) = Some(settings);
    let refused = refusal(&outcome);
    tell(&outcome);
    *lock(&app.declared.latest) = outcome;
    match (strict, refused) {
        (true, Some(why)) => Err(Error::Unavailable(why)),
        _ => Ok(()),
    }
}

/// Applies the files again, with new settings. A bad file changes nothing, neither the store nor the settings.
pub fn reload(app: &App, settings: Settings) -> Result<()> {
    let outcome = run(app, &settings, Mode::ApplyNew)?;
    let refused = refusal(&outcome);
    if refused.is_none() {
        *lock(&app.declared.settings) = Some(settings);
        tell(&outcome);
    }
    *lock(&app.declared.latest) = outcome;
    refused.map_or(Ok(()), |why| Err(Error::Unavailable(why)))
}

/// Applies the files, or finds out what that would change. `folders` are those that the caller expects the server to read.
pub fn apply(
    app: &App,
    caller: &Caller,
    folders: Option<Vec<PathBuf>>,
    dry_run: bool,
) -> Result<Outcome> {
    let allowed = caller.require_global(&app.index.directory(), Permission::ServerAdmin);
    app.decided(caller, "server.apply_files", Target::server(), allowed)?;
    let settings = lock(&app.declared.settings);
    let Some(settings) = settings.as_ref() else {
        return Ok(Outcome::default());
    };
    if let Some(folders) = folders
        && folders != settings.folders
    {
        let own: Vec<String> = settings
            .folders
            .iter()
            .map(|it| it.display().to_string())
            .collect();
        let own = own.join(", ");
        return Err(Error::Conflict(refusals::declared::running_reads(own)));
    }
    let mode = if dry_run { Mode::DryRun } else { Mode::Apply };
    let outcome = run(app, settings, mode)?;
    if mode == Mode::Apply {
        tell(&outcome);
        *lock(&app.declared.latest) = outcome.clone();
    }
    Ok(outcome)
}

/// What came of applying the files last.
pub fn latest(app: &App) -> Outcome {
    lock(&app.declared.latest).clone()
}

/// Makes the settings known to a server that applies nothing at its start: a command on a stopped folder.
pub fn configure(app: &App, settings: Settings) {
    *lock(&app.declared.settings) = Some(settings);
}

/// The check of `latchkey doctor`: whether the store is what the files declare.
pub fn check(app: &App) -> Result<Check> {
    let name = "files of keys";
    let settings = lock(&app.declared.settings);
    let Some(settings) = settings.as_ref() else {
        return Ok(Check::ok(name, findings::files_stopped()));
    };
    let outcome = run(app, settings, Mode::DryRun)?;
    let listed = |complaints: &[Complaint]| {
        let lines = complaints.iter().take(NAMED_MAX).map(Complaint::to_string);
        lines.collect::<Vec<_>>().join("; ")
    };
    let check = match (
        &outcome.complaints[..],
        outcome.changes.len(),
        &outcome.warnings[..],
    ) {
        ([], 0, []) => {
            let (keys, files) = (outcome.unchanged.unwrap_or_default(), outcome.files.len());
            return Ok(Check::ok(name, findings::files_as_declared(keys, files)));
        }
        ([], 0, warnings) => Check::warning(
            name,
            findings::faults(listed(warnings)),
            findings::files_warnings_advice(),
        ),
        ([], changes, _) => Check::warning(
            name,
            findings::files_changes(changes),
            findings::files_changes_advice(),
        ),
        (complaints, _, _) => Check::failed(
            name,
            findings::files_not_applied(listed(complaints)),
            findings::files_advice(),
        ),
    };
    Ok(check.with_names())
}

/// All complaints as one sentence.
fn refusal(outcome: &Outcome) -> Option<Refusal> {
    let lines: Vec<String> = outcome
        .complaints
        .iter()
        .map(Complaint::to_string)
        .collect();
    (!lines.is_empty()).then(|| refusals::declared::not_applied(lines.join("; ")))
}

fn tell(outcome: &Outcome) {
    for complaint in &outcome.complaints {
        log::error!("files of keys: nothing was applied: {complaint}");
    }
    for warning in &outcome.warnings {
        log::warn!("files of keys: {warning}");
    }
    if !outcome.changes.is_empty() {
        log::info!(
            "files of keys: applied {}",
            counted(outcome.changes.len() as u64, "change")
        );
    }
}

/// Reads the files and brings the store to what they declare. Files that were applied already cost no write.
fn run(app: &App, settings: &Settings, mode: Mode) -> Result<Outcome> {
    let mut outcome = Outcome {
        folders: settings.folders.clone(),
        ..Outcome::default()
    };
    let refused = |mut outcome: Outcome, complaints| {
        outcome.complaints = complaints;
        Ok(outcome)
    };
    if settings.folders.is_empty() {
        // Files declare nothing here, and what they have declared stays as it is.
        return Ok(outcome);
    }
    let sources = match (settings.read)() {
        Ok(sources) => sources,
        Err(complaints) => return refused(outcome, complaints),
    };
    outcome.files = sources.files.iter().map(|(path, _)| path.clone()).collect();
    let applied = app.read(stored::list_files)?;
    let mut vanished = vanished(&sources.missing, &applied);
    if mode != Mode::ApplyNew {
        vanished.extend(unnamed(&settings.folders, &applied));
    }
    if !vanished.is_empty() {
        return refused(outcome, vanished);
    }
    let own = settings_row(settings);
    let are_applied = is_applied(&sources.files, &own, &applied);
    if mode == Mode::ApplyNew && are_applied {
        return Ok(outcome);
    }
    let declared = match (sources.parse)() {
        Ok(declared) => declared,
        Err(complaints) => return refused(outcome, complaints),
    };
    let mut files: Vec<AppliedFile> = declared
        .files
        .iter()
        .map(|file| applied_file(file))
        .collect();
    files.push(own);
    files.sort();
    files.dedup();
    let allow = settings.allow_management;
    // Files that have changed most likely declare something else, so they are compared once, in the transaction.
    let warnings = match are_applied {
        true => app.read(|read| settled(read, &declared, allow))?,
        false => None,
    };
    if let Some(warnings) = warnings {
        outcome.unchanged = Some(declared.keys.stanzas.len());
        outcome.warnings = warnings;
        if mode != Mode::DryRun && applied != files {
            let replace = move |tx: &Write<'_>| stored::replace_files(tx, &files);
            app.store.write(Durability::Full, replace)?;
        }
        return Ok(outcome);
    }
    applied_in_one(app, settings, mode, declared, files, outcome)
}

/// Whether these are the files and the settings of the last time.
fn is_applied(files: &[(String, [u8; 32])], own: &AppliedFile, applied: &[AppliedFile]) -> bool {
    let of_now = files.iter().map(|(path, hash)| (path.as_str(), hash));
    let mut of_now: Vec<_> = of_now.chain([(own.path.as_str(), &own.sha256)]).collect();
    of_now.sort();
    of_now.dedup();
    let before = applied
        .iter()
        .map(|file| (file.path.as_str(), &file.sha256));
    of_now.into_iter().eq(before)
}

/// The row that stands for the version and the settings: with others, the same files may mean something else.
fn settings_row(settings: &Settings) -> AppliedFile {
    let text = format!(
        "{} {}",
        env!("CARGO_PKG_VERSION"),
        settings.allow_management
    );
    AppliedFile {
        path: String::new(),
        sha256: sha256(text.as_bytes()),
        absent: Default::default(),
    }
}

fn applied_file(file: &File) -> AppliedFile {
    AppliedFile {
        path: file.path.clone(),
        sha256: file.sha256,
        absent: file.absent,
    }
}

/// Complains about folders that are gone although something was applied from them.
fn vanished(missing: &[PathBuf], applied: &[AppliedFile]) -> Vec<Complaint> {
    let complaint = |folder: &PathBuf| {
        let file = applied
            .iter()
            .find(|file| !file.path.is_empty() && Path::new(&file.path).parent() == Some(folder))?;
        Some(Complaint {
            path: folder.display().to_string(),
            line: None,
            why: refusals::declared::folder_vanished(&file.path),
        })
    };
    missing.iter().filter_map(complaint).collect()
}

/// Complains about folders from which something was applied, and which the settings name no more. A start with such settings
/// means it; a command on a stopped folder has probably other settings than the server.
fn unnamed(folders: &[PathBuf], applied: &[AppliedFile]) -> Vec<Complaint> {
    let folder_of = |file: &AppliedFile| Some(Path::new(&file.path).parent()?.to_owned());
    let mut gone: Vec<PathBuf> = applied.iter().filter_map(folder_of).collect();
    gone.retain(|folder| !folder.as_os_str().is_empty() && !folders.contains(folder));
    gone.dedup();
    let complaint = |folder: PathBuf| Complaint {
        path: folder.display().to_string(),
        line: None,
        why: refusals::declared::folder_unnamed(folder.display()),
    };
    gone.into_iter().map(complaint).collect()
}

fn known(read: &Read) -> Result<Known> {
    Ok(Known {
        rows: stored::list_keys(read)?,
        ended: stored::list_ended(read)?,
        files: stored::list_files(read)?,
    })
}

/// The warnings, if there is nothing to change and nothing to refuse; otherwise `None`.
fn settled(
    read: &Read,
    declared: &Declared,
    allow_management: bool,
) -> Result<Option<Vec<Complaint>>> {
    let known = known(read)?;
    let plan = plan::plan(declared, &known);
    let is_settled = plan.steps.is_empty()
        && policies::are_settled(read, declared)?
        && catalogs::are_settled(read, declared)?
        && keys::without_rights(read, declared, allow_management)?.is_empty();
    match is_settled {
        true => warnings(read, &plan).map(Some),
        false => Ok(None),
    }
}

/// Makes all changes in one transaction. If any of them is refused, or the run is dry, none of them stays.
fn applied_in_one(
    app: &App,
    settings: &Settings,
    mode: Mode,
    declared: Declared,
    files: Vec<AppliedFile>,
    outcome: Outcome,
) -> Result<Outcome> {
    let (index, key_files, now) = (app.index.clone(), app.key_files(), app.now().wall);
    let allow_management = settings.allow_management;
    let found = Arc::new(Mutex::new(outcome));
    let telling = found.clone();
    let work = move |tx: &Write<'_>| {
        let directory = index.directory();
        let system = Caller::system(&directory)?;
        drop(directory);
        let mut work = Work {
            tx,
            index: &index,
            files: &key_files,
            system: &system,
            now,
            allow_management,
            complaints: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
        };
        // Policies name catalogs, and keys name both.
        catalogs::apply(&mut work, &declared)?;
        policies::apply(&mut work, &declared)?;
        let known = known(tx)?;
        let plan = plan::plan(&declared, &known);
        let new = keys::apply(&mut work, &declared, &plan)?;
        let is_wanted = mode != Mode::DryRun && work.complaints.is_empty();
        if is_wanted {
            audit::append_all(tx, &key_files.seal, std::mem::take(&mut work.events))?;
        }
        // In a dry run too, because the database has the last word.
        keys::insert(&mut work, new)?;
        let mut outcome = lock(&telling);
        outcome.unchanged = Some(plan.unchanged);
        outcome.warnings = warnings(tx, &plan)?;
        outcome.complaints = work.complaints;
        outcome.changes = work.changes;
        match is_wanted && outcome.complaints.is_empty() {
            true => stored::replace_files(tx, &files),
            // Undoes everything; the outcome is known.
            false => Err(Error::Conflict(refusals::server::constraint())),
        }
    };
    let written = app.with_wide_cache(|| app.store.write(Durability::Full, work));
    let outcome = lock(&found).clone();
    match written {
        Err(Error::Conflict(_)) => Ok(outcome),
        Err(err) => Err(err),
        Ok(()) => Ok(outcome),
    }
}

/// What the files declare and the store will not have, with the reason.
fn warnings(read: &Read, plan: &Plan<'_>) -> Result<Vec<Complaint>> {
    let mut found = Vec::new();
    for warning in &plan.warnings {
        found.push(match warning {
            Warning::Ended { at, key, ended_at } => {
                Complaint::at(&at.place, ended(read, *key, *ended_at)?)
            }
            Warning::Held(row, at) => {
                let why = refusals::declared::held(&at.name, row.id);
                Complaint::at(&at.place, why)
            }
            Warning::Idle(at) => Complaint::at(&at.place, refusals::declared::mask_idle(&at.name)),
        });
    }
    Ok(found)
}

/// The sentence about a digest that never counts again, with the event that ended it if the log still has it.
fn ended(read: &Read, key: KeyId, at: Timestamp) -> Result<Refusal> {
    let target = Target::new(Kind::Key, key);
    let date: String = at.to_string().chars().take(10).collect();
    Ok(match stored::find_event_at(read, &target, at)? {
        Some(event) => refusals::declared::ended(date, event),
        None => refusals::declared::ended_long_ago(date),
    })
}
