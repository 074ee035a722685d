//! Issuing keys.

use super::members::{KeyMembers, Rules, place};
use super::{Issued, ownerless, record, room, view_of_saved, visible};
use crate::authz;
use crate::authz::bounds;
use crate::authz::caller::{Caller, Identity, Origin};
use crate::domain::audit::{Kind, Target};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::changes::born;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::sealing::Sealed;
use crate::domain::keys::secret::{Secret, check_prefix, generate_id};
use crate::domain::keys::{Key, KeyId, Meaning, Member};
use crate::domain::policies::{Expiry, IssuedBy, Policy, Presence, STANDARD, SecretShown};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::{Permission, Permissions};
use crate::domain::users::{Binding, User};
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::authenticators::proof::{Proof, require_current};
use crate::ops::idempotency::Retry;
use crate::ops::policies::require_in_force as policies_in_force;
use crate::ops::sessions;
use crate::ops::{App, idempotency};
use crate::refusals;
use crate::store::keys::NewSecret;
use crate::store::{Read, Write, keys, numbers, policies};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The request of an issuer. Absent members get the policy's default.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    pub members: KeyMembers,
    /// Slug or uid; the caller's own workspace if absent.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    pub catalog: Option<String>,
    pub prefix: Option<String>,
}

/// Issues a key. A repeat with the same Idempotency-Key answers with the same key, without its secret.
pub fn issue(app: &App, caller: &Caller, new: NewKey, retry: Option<Retry>) -> Result<Issued> {
    admit(app, caller, new, retry)
}

/// Issues a key to a client that proves a user's name and password, for that user, under a policy that permits this.
/// Wrong passwords are recorded and limited as at sign-in.
pub fn issue_by_password(
    app: &App,
    user_name: &str,
    password: &str,
    new: NewKey,
    origin: Origin,
) -> Result<Issued> {
    let caller = sessions::prove(app, user_name, password, origin, "key.issue")?;
    admit(app, &caller, new, None)
}

fn admit(app: &App, caller: &Caller, new: NewKey, retry: Option<Retry>) -> Result<Issued> {
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    let (key, secret) = app.change_all(
        caller,
        "key.issue",
        Target::new(Kind::Key, ""),
        move |tx, now| {
            let directory = index.directory();
            if matches!(who.identity, Identity::Acting(_)) {
                return Err(Error::Forbidden(
                    refusals::access::acting_users_issue_nothing(),
                ));
            }
            match (who.identity, who.user) {
                (Identity::Password { generation }, Some(user)) => {
                    drop(sessions::still_proven(tx, &files.seal, user, generation)?);
                    require_current(tx, user, Proof::PasswordAlone)?;
                }
                _ => who.require_somewhere(Permission::KeysWrite)?,
            }
            if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
                let id = KeyId::parse(&earlier)
                    .ok_or_else(|| Error::internal("a remembered key id cannot be read"))?;
                // The caller may have lost the right to see the key since the first request.
                let key = visible(tx, &directory, &who, id)?;
                return Ok((Vec::new(), (key, None)));
            }
            let (mut key, policy) = checked(tx, &directory, &who, &new, now)?;
            let replaced = room::make_room(tx, &directory, &index.usage, &who, &policy, &key, now)?;
            let prefix = new.prefix.as_deref().unwrap_or(&policy.prefix);
            let secret = store(tx, &files, &policy, &mut key, prefix, now)?;
            idempotency::remember(tx, &files, &who, retry.as_ref(), key.id, now)?;
            let mut records = replaced;
            records.push(("key.issue", record(&key, born(&key))));
            Ok((records, (key, Some(secret))))
        },
    )?;
    Ok(Issued {
        view: view_of_saved(app, key),
        secret,
    })
}

/// Gives a key its number and its secret, and stores them. `issue` uses it, and so does the code that fills a store in
/// bulk.
pub fn store(
    tx: &Write<'_>,
    files: &KeyFiles,
    policy: &Policy,
    key: &mut Key,
    prefix: &str,
    now: Timestamp,
) -> Result<Secret> {
    let secret = Secret::generate(prefix, key.id)?;
    key.number = numbers::next_of_keys(tx)?;
    key.hint = secret.hint();
    insert(tx, files, policy, key, &secret, now)?;
    Ok(secret)
}

/// Stores a key that already has its number, with its first secret.
pub fn insert(
    tx: &Write<'_>,
    files: &KeyFiles,
    policy: &Policy,
    key: &Key,
    secret: &Secret,
    now: Timestamp,
) -> Result<()> {
    let sealed = sealed_copy(files, policy, secret)?;
    let digest = StoredSecret::of(&files.peppers, secret);
    let secret = NewSecret::Made(digest, sealed);
    keys::insert(tx, &files.seal, key, &secret, now)
}

/// Stores the newest secret of a key: its digest, and a sealed copy only if the policy shows secrets again.
pub fn keep(
    tx: &Write<'_>,
    files: &KeyFiles,
    policy: &Policy,
    secret: &Secret,
    now: Timestamp,
) -> Result<()> {
    let sealed = sealed_copy(files, policy, secret)?;
    let digest = StoredSecret::of(&files.peppers, secret);
    let id = secret.presented().id;
    keys::insert_secret(tx, id, &NewSecret::Made(digest, sealed), now)
}

fn sealed_copy(files: &KeyFiles, policy: &Policy, secret: &Secret) -> Result<Option<Sealed>> {
    Ok(match policy.secret_shown {
        SecretShown::Once => None,
        SecretShown::Sealed => Some(files.sealing.seal(secret.presented().id, secret)?),
    })
}

/// All errors of a new key in the order in which they were found, for a form that shows all of them together. Nothing
/// is changed. To find the next error, a refused value is replaced by a valid one. In this way the rules stay those of
/// [`issue`], which stops at the first error.
pub fn faults(app: &App, caller: &Caller, mut new: NewKey) -> Result<Vec<Error>> {
    let (index, who) = (app.index.clone(), caller.clone());
    let target = Target::new(Kind::Key, "");
    app.change(caller, "key.issue", target, move |tx, now| {
        let directory = index.directory();
        let check = |new: &NewKey| checked(tx, &directory, &who, new, now).map(drop);
        let mend = |new: &mut NewKey, fault: &Error| mend(tx, &directory, new, fault, now);
        Ok((None, every_fault(&mut new, check, mend)?))
    })
}

/// The greatest number of errors that are searched for in one form.
const FAULTS_MAX: usize = 40;

/// Checks a form again and again, and mends what was refused, until nothing is refused or `mend` returns `false`.
/// Returns the errors in the order in which they were found.
pub(super) fn every_fault<T>(
    form: &mut T,
    check: impl Fn(&T) -> Result<()>,
    mend: impl Fn(&mut T, &Error) -> Result<bool>,
) -> Result<Vec<Error>> {
    let mut found = Vec::new();
    while found.len() < FAULTS_MAX {
        let Err(fault) = check(form) else {
            break;
        };
        let mended = mend(form, &fault)?;
        found.push(fault);
        if !mended {
            break;
        }
    }
    Ok(found)
}

/// Replaces the value that an error is about by a valid one. `false` if there is no valid value, or if the value was
/// replaced already.
fn mend(
    tx: &Write<'_>,
    directory: &Directory,
    new: &mut NewKey,
    fault: &Error,
    now: Timestamp,
) -> Result<bool> {
    let Error::Invalid { field, .. } = fault else {
        return Ok(false);
    };
    let members = &mut new.members;
    Ok(match place(field).0 {
        "name" => replace(&mut members.name, Some("x".to_owned())),
        "scopes" => {
            let catalog = match (&new.catalog, &new.policy) {
                (Some(name), _) => Some(name.clone()),
                (None, Some(policy)) => policies::find(tx, policy)?.and_then(|one| one.catalog),
                (None, None) => None,
            };
            let known = catalog.and_then(|name| directory.catalog(&name).cloned());
            let free = known.as_ref().map_or(Some("x:x"), |catalog| {
                let mut scopes = catalog.definition().scopes.iter();
                let found = scopes.find(|scope| !scope.root_only);
                found.map(|scope| scope.name.as_str())
            });
            free.is_some_and(|scope| replace(&mut members.scopes, Some(vec![scope.to_owned()])))
        }
        "expires_at" | "expires_in_s" => {
            let policy = new.policy.as_deref().unwrap_or(STANDARD);
            let policy = policies::find(tx, policy)?;
            let end = policy.filter(|policy| policy.expiry == Expiry::Required);
            let end = end.map(|policy| policy.latest_end(now).unwrap_or(now.plus_s(DAY_S)));
            members.expires_in_s = None;
            // A start after the end is a separate error.
            let later = members.forget(Member::NotBefore);
            replace(&mut members.expires_at, Some(end)) || later
        }
        "prefix" => new.prefix.take().is_some(),
        // Another owner would be another key.
        "owner" => false,
        _ => members.mend(field),
    })
}

/// Sets the value, and returns whether it was different before.
fn replace<T: PartialEq>(place: &mut T, value: T) -> bool {
    let differs = *place != value;
    *place = value;
    differs
}

/// The requested key without its secret, and its policy, if the request has no error.
fn checked(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    new: &NewKey,
    now: Timestamp,
) -> Result<(Key, Policy)> {
    let workspace = workspace(directory, caller, new.workspace.as_deref())?;
    let policy = policy(read, directory, new.policy.as_deref())?;
    let mut key = plan(read, directory, caller, &policy, workspace, new, now)?;
    permit(read, directory, caller, &policy, &mut key, now)?;
    room::check_room(read, directory, &policy, &key, now)?;
    Ok((key, policy))
}

/// The requested policy, if it is in force.
pub(super) fn policy(read: &Read, directory: &Directory, asked: Option<&str>) -> Result<Policy> {
    let name = asked.unwrap_or(STANDARD);
    // The index has what the database has, apart from what this transaction has changed.
    let is_changed = read.has_touched(&Target::new(Kind::Policy, name));
    if let Some(policy) = directory.policy(name).filter(|_| !is_changed) {
        return Ok(Policy::clone(policy));
    }
    let policy = policies::find(read, name)?.ok_or_else(|| {
        Error::invalid(
            "policy",
            refusals::policies::unknown(format_args!("{name:?}")),
        )
    })?;
    policies_in_force(read, directory, name)?;
    Ok(policy)
}

/// Applies the rules for a whole key: what the caller may pass on, and what the policy demands. [`room`] decides whether
/// there is room for it.
pub(super) fn permit(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    key: &mut Key,
    now: Timestamp,
) -> Result<()> {
    // Only a key that acts on this server has limits to inherit.
    if bounds::is_management(key) || policy.acts_for_owner {
        bounds::inherit(read, directory, caller, key)?;
    }
    authz::keys::check_scopes(directory, caller, policy, key)?;
    policy.check(key, now)
}

/// Builds the key from the request. It checks the members and the issuer; [`permit`] applies the rules for a whole key.
pub(super) fn plan(
    read: &Read,
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    new: &NewKey,
    now: Timestamp,
) -> Result<Key> {
    let catalog = new.catalog.clone().or_else(|| policy.catalog.clone());
    let is_management = catalog.as_deref() == Some(BUILT_IN);
    let mut members = new.members.clone();
    // A new key always has a name, and its catalog is checked together with the scopes.
    members.name.get_or_insert_default();
    members.scopes.get_or_insert_default();
    let rules = Rules {
        read,
        directory,
        policy,
        now,
    };
    let mut key = Key {
        id: generate_id()?,
        workspace,
        policy: policy.name.clone(),
        catalog,
        created_by: caller.actor.clone(),
        created_at: now,
        ..Key::blank()
    };
    let is_label = |member: &&Member| member.meaning() == Meaning::Label;
    for member in Member::ALL.iter().filter(is_label) {
        members.put(*member, &mut key, &rules)?;
    }
    let asked = members.owner.as_ref().map(Option::as_deref);
    key.owner = match is_management {
        true => manager(directory, caller, policy, workspace, asked)?,
        false => owner(directory, caller, policy, workspace, asked.flatten())?,
    };
    authz::keys::check_issuer(directory, caller, policy, workspace, key.owner)?;
    if members.enabled == Some(false) {
        policy.check_disable()?;
    }
    if let Some(prefix) = &new.prefix {
        check_prefix("prefix", prefix)?;
    }
    for member in Member::ALL.iter().filter(|member| !is_label(member)) {
        members.put(*member, &mut key, &rules)?;
    }
    key.rate_limit = key.rate_limit.or(policy.rate_limit_default());
    key.read_only |= authz::keys::only_reads(directory, caller, policy, workspace, key.owner);
    Ok(key)
}

/// The requested workspace, or the caller's own.
pub(super) fn workspace(
    directory: &Directory,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<Uid> {
    let Some(asked) = asked else {
        let home = match caller.identity {
            Identity::Acting(_)
            | Identity::Enrolling(_)
            | Identity::ForOwner(_)
            | Identity::Password { .. }
            | Identity::Session(_) => caller
                .user
                .and_then(|user| directory.user(user))
                .map(|user| user.home),
            Identity::Key(_) | Identity::Local => None,
        };
        return Ok(home.unwrap_or(caller.reach));
    };
    directory
        .find_place(asked)
        .map(|place| place.workspace.uid)
        .filter(|uid| caller.knows(directory, *uid))
        .ok_or_else(|| Error::invalid("workspace", refusals::workspaces::unknown()))
}

/// The owner of a management key: by default the user who issues it. It has no owner only if a caller with
/// `server:admin` asks for that, or if the caller is a key without an owner; then it ends with that key (`ownerless`).
fn manager(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    asked: Option<Option<&str>>,
) -> Result<Option<Uid>> {
    match (asked, caller.user) {
        (Some(Some(name)), _) => owner(directory, caller, policy, workspace, Some(name)),
        (Some(None), _) => ownerless::check_allowed(directory, caller).map(|()| None),
        // The policy's keys have no owner.
        (None, Some(_)) if policy.owner == Presence::Forbidden => {
            ownerless::check_allowed(directory, caller).map(|()| None)
        }
        (None, user) => Ok(user),
    }
}

/// The owner of a new key. Without a requested owner the caller is the owner in three cases: the caller may only manage
/// their own keys, the policy is for keys that users issue to themselves, or its keys must belong to a user.
pub fn owner(
    directory: &Directory,
    caller: &Caller,
    policy: &Policy,
    workspace: Uid,
    asked: Option<&str>,
) -> Result<Option<Uid>> {
    let Some(asked) = asked else {
        let own_only = matches!(policy.issued_by, IssuedBy::Owner | IssuedBy::Password)
            || policy.owner == Presence::Required
            || !caller.may(directory, Permission::KeysWrite, workspace, None);
        return Ok(caller.user.filter(|_| own_only));
    };
    let folded = asked.to_ascii_lowercase();
    let for_themselves = caller
        .user
        .and_then(|user| directory.user(user))
        .is_some_and(|user| user.user_name == folded || user.uid.to_string() == folded);
    if !for_themselves && caller.user.is_some() {
        // The permission is checked before the look-up, so that a caller without it learns nothing about other users.
        caller.require(directory, Permission::KeysWrite, workspace, None)?;
    }
    directory
        .find_user(&folded)
        .filter(|user| {
            // Services see the key's requests under its owner's name, so other callers must not use that name.
            caller.user == Some(user.uid)
                || caller.may(directory, Permission::KeysWrite, user.home, None)
        })
        .ok_or_else(|| Error::invalid("owner", refusals::users::unknown()))
        .and_then(|user| check_name_of(directory, caller, user).map(|()| Some(user.uid)))
}

/// Refuses a key in the name of a user who may change more here than the caller. Applications are told the owner of a key
/// (`Remote-User`), so such a key would give the caller the place of that user in every one of them.
fn check_name_of(directory: &Directory, caller: &Caller, user: &User) -> Result<()> {
    let covers = |it: &Binding| {
        let own = caller.permissions_in(directory, it.workspace);
        own.or(Permissions::reading()).covers(it.role.permissions())
    };
    match caller.user == Some(user.uid) || user.roles.iter().all(covers) {
        true => Ok(()),
        false => Err(Error::Forbidden(refusals::access::give_to_stronger_user())),
    }
}
