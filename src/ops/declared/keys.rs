//! Carries out the plan for the keys. New keys are written last, after all events, so that each is sealed once and in one
//! order.

use super::plan::{Plan, Step, sets_uses, state_text};
use super::{Declared, DeclaredKey, Note, Work};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::declared::{Complaint, Place, Stanza};
use crate::domain::keys::changes::born;
use crate::domain::keys::imported::ImportedDigest;
use crate::domain::keys::scheme::{FAST_SCHEMES_MAX, Method, Scheme};
use crate::domain::keys::{Key, KeyId, Member};
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::workspaces::ROOT_SLUG;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::Record;
use crate::ops::keys::declared::Planning;
use crate::ops::keys::issue::NewKey;
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{edit, ended_with_children};
use crate::refusals::declared as refusals;
use crate::store::declared::{self as stored, DeclaredRow};
use crate::store::keys::{self, NewSecret};
use crate::store::{Read, audit, foreign, imported, numbers, policies};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// A key that is to be written.
pub struct New<'a> {
    at: &'a Stanza<()>,
    declared: &'a DeclaredKey,
    key: Key,
}

/// Makes all steps, and collects what is refused. Returns the keys that [`insert`] has still to write.
pub fn apply<'a>(
    work: &mut Work<'_>,
    declared: &Declared,
    plan: &'a Plan<'a>,
) -> Result<Vec<New<'a>>> {
    let refused = without_rights(work.tx, declared, work.allow_management)?;
    work.complaints.extend(refused);
    check_methods(work, declared)?;
    // A name may move from one key to another.
    for step in &plan.steps {
        match step {
            Step::Edit { row, at, .. } if row.name != at.name => {
                stored::clear_name(work.tx, row.id)?;
            }
            Step::Issue {
                replaces: Some(row),
                at,
                ..
            } => delete(work, row, Some(&at.place))?,
            _ => {}
        }
    }
    let is_issue = |step: &&Step<'_>| matches!(step, Step::Issue { .. });
    let issues = plan.steps.iter().filter(is_issue).count();
    let mut number = match i64::try_from(issues).unwrap_or(0) {
        0 => 0,
        count => numbers::several_of_keys(work.tx, count)?,
    };
    let (mut planning, mut new) = (Planning::default(), Vec::with_capacity(issues));
    for step in &plan.steps {
        match step {
            Step::Delete(row, by) => delete(work, row, *by)?,
            Step::Disable(row, by) => disable(work, row, *by)?,
            Step::Release(row) => release(work, row)?,
            Step::Move(row, at) => moved(work, row, at)?,
            Step::Edit {
                row,
                at,
                key,
                rotates,
            } => {
                let edited = edit(work, &mut planning, row, (at, key), *rotates);
                work.judge(at, edited)?;
            }
            Step::Issue { at, key, .. } => {
                let issued = issue(work, &mut planning, number, at, key);
                number += 1;
                new.extend(work.judge(at, issued)?);
            }
        }
    }
    Ok(new)
}

/// Writes new keys, after their events. The order of their ids is that of the table.
pub fn insert(work: &mut Work<'_>, mut new: Vec<New<'_>>) -> Result<()> {
    let seq = audit::newest_number(work.tx)?;
    new.sort_unstable_by_key(|one| one.key.id);
    for New { at, declared, key } in new {
        let secret = secret_of(work, declared)?;
        let seal = &work.files.seal;
        let written = keys::insert_after(work.tx, seal, &key, &secret, work.now, seq);
        work.judge(at, written)?;
        work.tx.touch_sealed(Target::new(Kind::Key, key.id));
    }
    Ok(())
}

/// Complains about digests that cannot be looked up.
fn check_methods(work: &mut Work<'_>, declared: &Declared) -> Result<()> {
    let (stored, _) = foreign::list_methods(work.tx)?;
    let is_given = |method: &Method| method.scheme != Scheme::Pepper;
    let mut methods: BTreeSet<Method> = stored.into_iter().filter(is_given).collect();
    for (at, key) in &declared.keys.stanzas {
        let hmac_key = key.digest.hmac_key.as_deref();
        let method = Method {
            scheme: key.digest.scheme,
            pepper: 0,
            hmac_key: hmac_key.map(Into::into),
        };
        let is_counted = !key.digest.scheme.is_slow() && is_given(&method);
        if key.id.is_none() && is_counted && !methods.contains(&method) {
            methods.insert(method);
            if methods.len() > FAST_SCHEMES_MAX {
                let why = refusals::many_schemes(FAST_SCHEMES_MAX);
                work.complaints.push(Complaint::at(&at.place, why));
            }
        }
        if let Some(name) = hmac_key.filter(|name| !work.index.foreign.has_hmac_key(name)) {
            let why = refusals::hmac_key_missing(name);
            work.complaints.push(Complaint::at(&at.place, why));
        }
    }
    Ok(())
}

/// Refuses a new digest that is, or was, the one of a key that was imported.
fn check_free(work: &Work<'_>, key: &DeclaredKey) -> Result<()> {
    // Its text form is the same, whether it was made under a pepper or not.
    let digest = ImportedDigest::Given(key.digest.clone());
    for mark in digest.marks(&work.files.seal) {
        let Some(id) = imported::find(work.tx, &mark)? else {
            continue;
        };
        let ended_at = keys::find(work.tx, id)?.and_then(|key| key.deleted_at);
        return Err(Error::Conflict(match ended_at {
            None => refusals::digest_in_use(id),
            Some(ended_at) => super::ended(work.tx, id, ended_at)?,
        }));
    }
    Ok(())
}

/// The secret of a stanza, as it is stored.
fn secret_of<'k>(work: &Work<'_>, key: &'k DeclaredKey) -> Result<NewSecret<'k>> {
    let is_foreign = key.id.is_none();
    Ok(match key.peppered {
        None => NewSecret::Given {
            digest: &key.digest,
            is_foreign,
        },
        Some(peppered) => {
            let digest = peppered.on(&work.files.peppers)?;
            NewSecret::Made(digest.stored(is_foreign), None)
        }
    })
}

/// The request that would issue the key.
fn new_key(key: &DeclaredKey) -> NewKey {
    NewKey {
        members: key.members.clone(),
        workspace: Some(
            key.workspace
                .clone()
                .unwrap_or_else(|| ROOT_SLUG.to_owned()),
        ),
        policy: key.policy.clone(),
        catalog: key.catalog.clone(),
        prefix: None,
    }
}

/// Complains about each key with rights on this server that files must not declare: any, unless the settings permit it, and
/// always one with a secret of unknown strength.
pub fn without_rights(
    read: &Read,
    declared: &Declared,
    allow_management: bool,
) -> Result<Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mut policies: HashMap<&str, Option<Policy>> = HashMap::new();
    for (at, key) in &declared.keys.stanzas {
        let name = key.policy.as_deref().unwrap_or(STANDARD);
        let policy = match policies.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(policies::find(read, name)?),
        };
        let policy = policy.as_ref();
        let catalog = key.catalog.as_deref();
        let catalog = catalog.or_else(|| policy.and_then(|policy| policy.catalog.as_deref()));
        let acts_here =
            catalog == Some(BUILT_IN) || policy.is_some_and(|policy| policy.acts_for_owner);
        let why = match (acts_here, key.id, allow_management) {
            (false, _, _) | (true, Some(_), true) => continue,
            (true, None, _) => refusals::management_foreign(),
            (true, Some(_), false) => refusals::management_off(),
        };
        complaints.push(Complaint::at(&at.place, why));
    }
    Ok(complaints)
}

fn issue<'a>(
    work: &mut Work<'_>,
    planning: &mut Planning,
    number: i64,
    at: &'a Stanza<()>,
    key: &'a DeclaredKey,
) -> Result<New<'a>> {
    let directory = work.index.directory();
    let (planned, policy) =
        planning.admitted(work.tx, &directory, work.system, &new_key(key), work.now)?;
    drop(directory);
    check_free(work, key)?;
    if let Some(id) = key.id
        && keys::exists(work.tx, id)?
    {
        return Err(Error::Conflict(refusals::id_taken(id)));
    }
    let id = key.id.unwrap_or(planned.id);
    let planned = Key { id, ..planned };
    let issued = Key {
        number,
        ..with_file(planned, &policy, at, key)
    };
    work.note(Note {
        action: "key.issue",
        changes: born(&issued),
        ..of_key(&issued, &at.name, Some(&at.place))
    });
    Ok(New {
        at,
        declared: key,
        key: issued,
    })
}

/// The key with what only files declare.
fn with_file(planned: Key, policy: &Policy, at: &Stanza<()>, key: &DeclaredKey) -> Key {
    Key {
        hint: key
            .hint
            .clone()
            .unwrap_or_else(|| hint(planned.id, policy, key)),
        source: at.place.source(),
        weak: key.id.is_none(),
        declared_name: Some(at.name.clone()),
        declared_digest: Some(key.digest_text.clone()),
        declared_state: Some(state_text(at, key)),
        ..planned
    }
}

/// The hint of a secret of which only the digest is known.
fn hint(id: KeyId, policy: &Policy, key: &DeclaredKey) -> String {
    match (key.id, policy.prefix.as_str()) {
        (Some(_), "") => format!("{:016x}…", id.0),
        (Some(_), prefix) => format!("{prefix}_{id}…"),
        // The digest of a long random text gives nothing away, and this is a small part of it.
        (None, _) => format!("{}…", key.digest.scheme.as_str()),
    }
}

fn edit(
    work: &mut Work<'_>,
    planning: &mut Planning,
    row: &DeclaredRow,
    (at, key): (&Stanza<()>, &DeclaredKey),
    rotates: bool,
) -> Result<()> {
    let (tx, now) = (work.tx, work.now);
    let before = find(work, row.id)?;
    let index = work.index.clone();
    let directory = index.directory();
    let (planned, policy) = planning.planned(tx, &directory, work.system, &new_key(key), now)?;
    check_identity(&before, &planned, &directory)?;
    let enabled = key.members.enabled.unwrap_or(true) && !row.held;
    let planned = Key { enabled, ..planned };
    let asked = changed_members(row, key, &before, &planned);
    let (_, edited) = edit::checked(tx, &directory, work.system, row.id, &asked, now)?;
    drop(directory);
    let applied = Key {
        held: before.held,
        weak: before.weak,
        hint: before.hint.clone(),
        ..with_file(edited.clone(), &policy, at, key)
    };
    let applied = match rotates {
        true => rotate(work, &before, &applied, &policy, at, key)?,
        false => applied,
    };
    let (record, _) = edit::write(tx, &work.files.seal, &before, &edited, asked.uses_left)?;
    stored::update_key(tx, &applied)?;
    // What the file declares of it may be the same, at another place.
    tx.touch_lightly(Target::new(Kind::Key, row.id));
    let Some(Record { changes, .. }) = record else {
        return Ok(());
    };
    let action = match (before.enabled, edited.enabled, changes.only("enabled")) {
        (true, false, true) => "key.disable",
        (false, true, true) => "key.enable",
        _ => "key.edit",
    };
    work.note(Note {
        action,
        changes,
        ..of_key(&applied, &at.name, Some(&at.place))
    });
    Ok(())
}

/// Gives a key the secret of which the file has the digest. The old one ends at once, and its digest never counts again.
fn rotate(
    work: &mut Work<'_>,
    before: &Key,
    applied: &Key,
    policy: &Policy,
    at: &Stanza<()>,
    key: &DeclaredKey,
) -> Result<Key> {
    check_free(work, key)?;
    let (tx, now) = (work.tx, work.now);
    let rotated = Key {
        hint: key
            .hint
            .clone()
            .unwrap_or_else(|| hint(before.id, policy, key)),
        weak: key.id.is_none(),
        rotated_at: Some(now),
        self_rotated_from: None,
        ..applied.clone()
    };
    keys::retire_secrets(tx, before.id, None, false, now)?;
    let secret = secret_of(work, key)?;
    keys::insert_secret(tx, before.id, &secret, now)?;
    keys::update_rotated(tx, &rotated, now)?;
    if let Some(old) = &before.declared_digest {
        stored::insert_ended(tx, old, before.id, now)?;
    }
    let mut changes = Changes::default();
    changes.note("hint", &before.hint, &rotated.hint);
    work.note(Note {
        action: "key.rotate",
        changes,
        ..of_key(&rotated, &at.name, Some(&at.place))
    });
    Ok(rotated)
}

/// Refuses another workspace, policy or catalog of a key that exists.
fn check_identity(before: &Key, planned: &Key, directory: &Directory) -> Result<()> {
    let refused = |member: Member, known: String| {
        Err(Error::Conflict(refusals::changed_identity(
            member.word(),
            known,
        )))
    };
    if before.workspace != planned.workspace {
        let place = directory.place(before.workspace);
        let slug = place.map(|place| place.workspace.slug.clone());
        return refused(Member::Workspace, slug.unwrap_or_default());
    }
    if before.policy != planned.policy {
        return refused(Member::Policy, before.policy.clone());
    }
    if before.catalog != planned.catalog {
        let known = before.catalog.clone().unwrap_or_else(|| "none".to_owned());
        return refused(Member::Catalog, known);
    }
    Ok(())
}

/// The edit that makes the key what the stanza declares. A member that is as it should be is not edited, because the policy
/// may not open it for edits. Without `..`, so that a new member is not left out.
fn changed_members(
    row: &DeclaredRow,
    key: &DeclaredKey,
    before: &Key,
    planned: &Key,
) -> KeyMembers {
    let members = key.members.clone();
    let mut asked = KeyMembers {
        name: Some(planned.name.clone()),
        description: Some(planned.description.clone()),
        contact: Some(planned.contact.clone()),
        owner: Some(members.owner.flatten()),
        scopes: Some(planned.scopes.clone()),
        read_only: Some(planned.read_only),
        enabled: Some(planned.enabled),
        not_before: Some(planned.not_before),
        expires_at: Some(planned.expires_at),
        expires_in_s: None,
        allowed_ips: Some(members.allowed_ips.flatten()),
        rate_limit: Some(planned.rate_limit),
        uses_left: Some(planned.uses_left),
        metadata: Some(planned.metadata.clone()),
    };
    for member in Member::ALL {
        let differs = match member {
            // Uses have lowered the number since it was applied.
            Member::UsesLeft => sets_uses(row, key),
            _ => member.text(before) != member.text(planned),
        };
        if !differs {
            asked.forget(*member);
        }
    }
    asked
}

fn delete(work: &mut Work<'_>, row: &DeclaredRow, by: Option<&Place>) -> Result<()> {
    let key = find(work, row.id)?;
    keys::delete(work.tx, row.id, work.now)?;
    for (action, record) in ended_with_children(work.tx, "key.delete", &key, work.now)? {
        let ended = find(work, KeyId::parse(&record.target.id).unwrap_or(row.id))?;
        work.note(Note {
            action,
            changes: record.changes,
            ..of_key(&ended, &ended.name, by)
        });
    }
    Ok(())
}

fn disable(work: &mut Work<'_>, row: &DeclaredRow, by: Option<&Place>) -> Result<()> {
    let key = find(work, row.id)?;
    let after = Key {
        enabled: false,
        declared_state: None,
        ..key.clone()
    };
    keys::update(work.tx, &after)?;
    stored::update_key(work.tx, &after)?;
    if !key.enabled {
        work.tx.touch_lightly(Target::new(Kind::Key, row.id));
        return Ok(());
    }
    let mut changes = Changes::default();
    changes.note("enabled", &true, &false);
    work.note(Note {
        action: "key.disable",
        changes,
        ..of_key(&after, &after.name, by)
    });
    Ok(())
}

fn release(work: &mut Work<'_>, row: &DeclaredRow) -> Result<()> {
    let key = Key {
        declared_state: None,
        ..find(work, row.id)?
    };
    stored::update_key(work.tx, &key)?;
    work.note(Note {
        action: "key.release",
        ..of_key(&key, &key.name, None)
    });
    Ok(())
}

/// Records the new place. This is no change of the key, and has no event.
fn moved(work: &mut Work<'_>, row: &DeclaredRow, at: &Stanza<()>) -> Result<()> {
    let key = Key {
        source: at.place.source(),
        ..find(work, row.id)?
    };
    stored::update_key(work.tx, &key)?;
    work.tx.touch_lightly(Target::new(Kind::Key, row.id));
    Ok(())
}

fn find(work: &Work<'_>, id: KeyId) -> Result<Key> {
    keys::find(work.tx, id)?.ok_or(Error::NotFound("key"))
}

/// The event of a key, without its action and its changes.
fn of_key<'a>(key: &'a Key, name: &'a str, place: Option<&'a Place>) -> Note<'a> {
    Note {
        action: "",
        target: Target::new(Kind::Key, key.id),
        name,
        workspace: key.workspace.to_string(),
        changes: Changes::default(),
        place,
        source: &key.source,
    }
}
