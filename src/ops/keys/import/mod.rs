//! Import of keys that another system, or another server, has issued.
//!
//! Every key is checked before the first one is written, by the rules of a new key. A key that is refused is left out and
//! listed, and the others are taken. Then each thousand keys are one transaction with one event, so an import that is
//! interrupted leaves whole thousands; the same import goes on where it ended, because it passes over keys that are there.

mod known;
#[cfg(test)]
mod tests;
mod write;

use super::issue::{self, NewKey};
use super::room::{Room, check_workspace};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::Target;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::imported::{ImportedDigest, SOURCE, check_system};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::scheme::{FAST_SCHEMES_MAX, Method, Scheme};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::secret::{check_prefix, prefix_of_hint};
use crate::domain::keys::{Key, KeyId};
use crate::domain::policies::{IssuedBy, Policy};
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals::{self, Refusal};
use crate::store::{Read, foreign};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, TryLockError};

/// The greatest number of keys of one import. Its caller sends more in several.
pub const KEYS_MAX: usize = 100_000;
/// The greatest number of keys that a report lists as refused.
pub const PROBLEMS_MAX: usize = 1_000;
/// The number of keys that are checked while the directory is locked.
const A_LOOK: usize = 50;
/// The greatest number of characters of a hint.
const HINT_CHARS_MAX: usize = 60;
/// The action of the events.
const ACTION: &str = "key.import";

/// Locked while an import runs: it takes memory and the writer's time.
#[derive(Default)]
pub struct Running(Mutex<()>);

/// What is imported, and from where.
#[derive(Debug, Default)]
pub struct Import {
    /// The system that issued the keys, such as `kong`.
    pub system: String,
    /// SHA-256 of the file that they come from, in hexadecimal, if it is known.
    pub file_sha256: Option<String>,
    /// Everything is checked, and nothing is written.
    pub dry_run: bool,
    /// Slug or uid, for the keys that name no workspace.
    pub workspace: Option<String>,
    /// For the keys that name no policy.
    pub policy: Option<String>,
    pub records: Vec<Record>,
}

/// One key of an import.
#[derive(Debug, Default)]
pub struct Record {
    /// Its line in the file.
    pub line: usize,
    /// Its members, as a new key has them.
    pub new: NewKey,
    /// The text form of the digest of its secret.
    pub digest: String,
    /// The start of the secret by which a slow digest is found.
    pub found_by: Option<String>,
    /// The fingerprint of the pepper, for a digest of another server.
    pub pepper_fingerprint: Option<String>,
    /// Its id, if this is a part of its secret. The secret is then of the shape that this server makes.
    pub id: Option<KeyId>,
    /// The start and the end of the secret, which may be shown.
    pub hint: Option<String>,
    pub created_at: Option<Timestamp>,
}

/// What an import has done, or would do.
#[derive(Debug, Default)]
pub struct Report {
    pub dry_run: bool,
    /// The number of keys in the import.
    pub keys: usize,
    /// How many were written, or would be.
    pub taken: usize,
    /// How many are there since an earlier import.
    pub present: usize,
    /// How many are refused. Of more than [`PROBLEMS_MAX`], `problems` has the first ones.
    pub refused: usize,
    pub problems: Vec<Problem>,
    /// The keys that are taken, by kind.
    pub groups: BTreeMap<Group, usize>,
}

/// A key that is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    pub line: usize,
    /// The name of the key in the file.
    pub name: String,
    pub why: Refusal,
}

/// What keys of an import have in common.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Group {
    /// The slug.
    pub workspace: String,
    pub policy: String,
    pub scheme: Scheme,
}

/// A record whose digest was read.
struct Readable {
    record: Record,
    digest: ImportedDigest,
}

/// What became of a record when it was compared with the store.
enum Standing {
    /// It is there since an earlier import.
    Present,
    Taken(Box<(Key, Policy)>),
}

/// What is remembered from one record to the next.
#[derive(Default)]
struct Pass {
    policies: HashMap<String, Policy>,
    workspaces: BTreeSet<Uid>,
    room: Room,
}

/// Who imports, from where, and when.
struct Rules<'a> {
    directory: &'a Directory,
    caller: &'a Caller,
    seal_keys: &'a SealKeys,
    system: &'a str,
    now: Timestamp,
}

/// Checks all keys, and writes those that are not refused.
///
/// # Errors
/// `Forbidden` if the caller may not issue keys in a workspace that a line names: then nothing is written, and the attempt
/// is recorded. `Conflict` if another import runs, or the store would have too many kinds of digests. An error while keys
/// are written leaves the thousands that were written before.
pub fn import(app: &App, caller: &Caller, mut import: Import) -> Result<Report> {
    let _running = match app.importing.0.try_lock() {
        Ok(running) => running,
        Err(TryLockError::Poisoned(ended)) => ended.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Conflict(refusals::imports::running()));
        }
    };
    let allowed = require_importer(&app.index.directory(), caller);
    app.decided(caller, ACTION, Target::server(), allowed)?;
    check_system(&import.system)?;
    check_sha256(import.file_sha256.as_deref())?;
    if import.records.len() > KEYS_MAX {
        return Err(Error::Malformed(refusals::imports::keys_at_most(KEYS_MAX)));
    }
    complete(app, caller, &mut import)?;
    let mut report = Report {
        dry_run: import.dry_run,
        keys: import.records.len(),
        ..Report::default()
    };
    let readable = read_digests(app, import.records, &mut report);
    let checked = check(app, caller, &import.system, readable, &mut report);
    let taken = app.decided(caller, ACTION, Target::server(), checked)?;
    check_methods(app, &taken)?;
    report.problems.sort_by_key(|problem| problem.line);
    if import.dry_run {
        return Ok(report);
    }
    let source = write::Origin {
        system: import.system,
        file_sha256: import.file_sha256,
    };
    write::write(app, caller, source, taken, &mut report)?;
    Ok(report)
}

impl Report {
    fn refuse(&mut self, record: &Record, why: Refusal) {
        self.refused += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                line: record.line,
                name: record.name().to_owned(),
                why,
            });
        }
    }

    fn take(&mut self, directory: &Directory, key: &Key, digest: &ImportedDigest) {
        self.taken += 1;
        let place = directory.place(key.workspace);
        let group = Group {
            workspace: place.map_or_else(String::new, |place| place.workspace.slug.clone()),
            policy: key.policy.clone(),
            scheme: digest.scheme(),
        };
        *self.groups.entry(group).or_default() += 1;
    }
}

impl Record {
    fn name(&self) -> &str {
        self.new.members.name.as_deref().unwrap_or_default()
    }

    /// Whether another system has made the secret.
    fn is_foreign(&self) -> bool {
        self.id.is_none()
    }
}

/// Refuses a caller who may issue keys in no workspace.
fn require_importer(directory: &Directory, caller: &Caller) -> Result<()> {
    if matches!(caller.identity, Identity::Acting(_)) {
        let why = refusals::access::acting_users_issue_nothing();
        return Err(Error::Forbidden(why));
    }
    caller.require_in_any(directory, Permission::KeysWrite)
}

fn check_sha256(text: Option<&str>) -> Result<()> {
    let is_digest =
        |text: &str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    match text.is_none_or(is_digest) {
        true => Ok(()),
        false => Err(Error::invalid(
            "file_sha256",
            refusals::imports::file_sha256(),
        )),
    }
}

/// Gives the records the workspace and the policy of the import, which must exist.
fn complete(app: &App, caller: &Caller, import: &mut Import) -> Result<()> {
    let directory = app.index.directory();
    if let Some(name) = &import.workspace {
        issue::workspace(&directory, caller, Some(name))
            .map_err(|_| Error::NotFound("workspace"))?;
    }
    if let Some(name) = &import.policy {
        app.read(|read| issue::policy(read, &directory, Some(name)))?;
    }
    for record in &mut import.records {
        let (workspace, policy) = (&mut record.new.workspace, &mut record.new.policy);
        *workspace = workspace.take().or_else(|| import.workspace.clone());
        *policy = policy.take().or_else(|| import.policy.clone());
    }
    Ok(())
}

/// Reads the digests of all records, and refuses those that are in the file twice: the same secret cannot open two keys.
fn read_digests(app: &App, records: Vec<Record>, report: &mut Report) -> Vec<Readable> {
    let mut readable = Vec::with_capacity(records.len());
    for record in records {
        match read_digest(&app.peppers, &app.index, &record) {
            Ok(digest) => readable.push(Readable { record, digest }),
            Err(err) => report.refuse(&record, err.refusal()),
        }
    }
    let twins = known::twins(&readable);
    let mut position = 0;
    readable.retain(|one| {
        let twin = twins.get(&position);
        position += 1;
        if let Some(why) = twin {
            report.refuse(&one.record, why.clone());
        }
        twin.is_none()
    });
    readable
}

fn read_digest(peppers: &Peppers, index: &Index, record: &Record) -> Result<ImportedDigest> {
    let (found_by, fingerprint) = (&record.found_by, &record.pepper_fingerprint);
    let digest = ImportedDigest::parse(
        &record.digest,
        found_by.as_deref(),
        fingerprint.as_deref(),
        peppers,
    )?;
    if let ImportedDigest::Given(given) = &digest {
        match &given.hmac_key {
            Some(name) if !index.foreign.has_hmac_key(name) => {
                return Err(Error::Conflict(refusals::imports::hmac_key_missing(name)));
            }
            Some(_) if !record.is_foreign() => {
                return Err(Error::invalid("id", refusals::imports::id_of_foreign()));
            }
            None if given.scheme.is_slow() && !record.is_foreign() => {
                return Err(Error::invalid("id", refusals::imports::id_of_foreign()));
            }
            _ => {}
        }
    }
    let members = &record.new.members;
    let texts = [
        ("hint", &record.hint),
        ("name", &members.name),
        ("description", &members.description),
        ("contact", &members.contact),
    ];
    for (field, text) in texts {
        if text.as_ref().is_some_and(|text| digest.is_of(text)) {
            return Err(Error::invalid(field, refusals::imports::is_the_secret()));
        }
    }
    check_hint(record)?;
    Ok(digest)
}

/// The hint of a secret of this server begins with its prefix and the id, because a rotation keeps the prefix.
fn check_hint(record: &Record) -> Result<()> {
    let Some(hint) = &record.hint else {
        return Ok(());
    };
    text::check_line("hint", hint, HINT_CHARS_MAX)?;
    let Some(id) = record.id else {
        return Ok(());
    };
    let refused = || Error::invalid("hint", refusals::imports::hint_of_other(id));
    let prefix = prefix_of_hint(hint);
    let start = match prefix {
        "" => format!("{:016x}…", id.0),
        prefix => {
            check_prefix("hint", prefix).map_err(|_| refused())?;
            format!("{prefix}_{id}…")
        }
    };
    match hint.starts_with(&start) {
        true => Ok(()),
        false => Err(refused()),
    }
}

/// Checks each record against the store and those before it. Returns those that can be written.
fn check(
    app: &App,
    caller: &Caller,
    system: &str,
    readable: Vec<Readable>,
    report: &mut Report,
) -> Result<Vec<Readable>> {
    let (mut pass, mut taken) = (Pass::default(), Vec::with_capacity(readable.len()));
    let mut waiting = readable.into_iter().peekable();
    while waiting.peek().is_some() {
        let look = waiting.by_ref().take(A_LOOK);
        // No lock is held for long: a change of the directory would wait for it, and every verification for that change.
        app.read(|read| {
            let directory = app.index.directory();
            let rules = Rules {
                directory: &directory,
                caller,
                seal_keys: &app.seal_keys,
                system,
                now: app.now().wall,
            };
            for one in look {
                match rules.standing(read, &one, &mut pass) {
                    Ok(Standing::Present) => report.present += 1,
                    Ok(Standing::Taken(key)) => {
                        report.take(&directory, &key.0, &one.digest);
                        taken.push(one);
                    }
                    Err(err) => report.refuse(&one.record, refusal_of(&one.record, err)?),
                }
            }
            Ok(())
        })?;
    }
    Ok(taken)
}

/// The reason why a record is left out; an error if it is one of the whole import.
fn refusal_of(record: &Record, err: Error) -> Result<Refusal> {
    match err {
        Error::Conflict(_) | Error::Invalid { .. } | Error::NotFound(_) => Ok(err.refusal()),
        Error::Forbidden(why) => Err(Error::Forbidden(refusals::imports::at_line(
            record.line,
            why,
        ))),
        err => Err(err),
    }
}

impl Rules<'_> {
    /// Applies the rules of a new key to a record, and compares its digest with the store.
    fn standing(&self, read: &Read, one: &Readable, pass: &mut Pass) -> Result<Standing> {
        let Readable { record, digest } = one;
        let (directory, caller, new) = (self.directory, self.caller, &record.new);
        let asked = new.workspace.as_deref();
        let workspace = issue::workspace(directory, caller, asked).map_err(|err| {
            let missing = asked.map(refusals::imports::workspace_missing);
            told(err, "workspace", missing)
        })?;
        // Users issue keys for themselves by other rights, but a secret of their choice needs a manager.
        caller.require(directory, Permission::KeysWrite, workspace, None)?;
        let name = new.policy.as_deref().unwrap_or_default();
        if !pass.policies.contains_key(name) {
            let policy = issue::policy(read, directory, new.policy.as_deref());
            pass.policies.insert(name.to_owned(), policy?);
        }
        let Some(policy) = pass.policies.get(name) else {
            return Err(Error::internal("a policy is missing"));
        };
        if record.is_foreign() {
            check_weak(policy, new)?;
        }
        let owner = new.members.owner.as_ref().and_then(Option::as_deref);
        let key = issue::plan(read, directory, caller, policy, workspace, new, self.now);
        let mut key = key.map_err(|err| {
            let missing = owner.map(refusals::imports::user_missing);
            told(err, "owner", missing)
        })?;
        self.complete(record, &mut key);
        if known::find(read, self.seal_keys, record, digest, &key)? {
            return Ok(Standing::Present);
        }
        issue::permit(read, directory, caller, policy, &mut key, self.now)?;
        if pass.workspaces.insert(workspace) {
            check_workspace(read, directory, &key)?;
        }
        pass.room.check(read, policy, &key, self.now)?;
        pass.room.add(policy, &key);
        Ok(Standing::Taken(Box::new((key, policy.clone()))))
    }

    /// Gives a planned key what only an imported one has.
    fn complete(&self, record: &Record, key: &mut Key) {
        key.id = record.id.unwrap_or(key.id);
        key.created_at = record.created_at.map_or(self.now, |at| at.min(self.now));
        key.hint = record.hint.clone().unwrap_or_default();
        key.source = format!("{SOURCE}{}", self.system);
        key.weak = record.is_foreign();
    }
}

/// Adds to an error what to do about a name that this server does not know.
fn told(err: Error, field: &str, missing: Option<Refusal>) -> Error {
    let unknown = [refusals::workspaces::unknown(), refusals::users::unknown()];
    match (&err, missing) {
        (Error::Invalid { field: of, reason }, Some(missing))
            if of == field && unknown.iter().any(|it| it.is_like(reason)) =>
        {
            Error::invalid(field, missing)
        }
        _ => err,
    }
}

/// Refuses what a secret of unknown strength must not open: this server itself.
fn check_weak(policy: &Policy, new: &NewKey) -> Result<()> {
    let catalog = new.catalog.as_deref().or(policy.catalog.as_deref());
    if catalog == Some(BUILT_IN) {
        let why = refusals::imports::weak_manager(BUILT_IN);
        return Err(Error::invalid("catalog", why));
    }
    let name = &policy.name;
    if policy.acts_for_owner {
        let why = refusals::imports::weak_acts_for_owner(name);
        return Err(Error::invalid("policy", why));
    }
    if policy.issued_by == IssuedBy::Password {
        let why = refusals::imports::issued_by_password(name);
        return Err(Error::invalid("policy", why));
    }
    Ok(())
}

/// Refuses an import with which the store would have more kinds of fast digests than a presented text is hashed with.
fn check_methods(app: &App, taken: &[Readable]) -> Result<()> {
    let is_given = |method: &Method| method.scheme != Scheme::Pepper;
    let foreign = taken.iter().filter(|one| one.record.is_foreign());
    let new = foreign.filter_map(|one| one.digest.method());
    let mut all: BTreeSet<Method> = new.filter(is_given).collect();
    if all.is_empty() {
        return Ok(());
    }
    let (stored, _) = app.read(foreign::list_methods)?;
    all.extend(stored.into_iter().filter(is_given));
    if all.len() <= FAST_SCHEMES_MAX {
        return Ok(());
    }
    let name = |method: &Method| match &method.hmac_key {
        None => method.scheme.as_str().to_owned(),
        Some(key) => format!("{}:{key}", method.scheme.as_str()),
    };
    let names: Vec<String> = all.iter().map(name).collect();
    Err(Error::Conflict(refusals::imports::schemes(
        FAST_SCHEMES_MAX,
        names.join(", "),
    )))
}
