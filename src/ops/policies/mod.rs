//! Policies: how they are read, added, made stricter and removed. `domain::policies` describes what an edit means for
//! keys that exist.

pub mod pages;
pub mod presets;

use crate::authz::caller::Caller;
use crate::authz::keys::require_second_factor;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::declared::place_of;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, IssuedBy, OnLeak, OnReuse, Policy,
    Presence, ReadOnlyBy, STANDARD, SecretShown, SelfRotation, TiedTo, word,
};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::idempotency;
use crate::ops::idempotency::Retry;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Read, Write, catalogs, keys, policies};
use std::collections::HashMap;
use std::sync::Arc;

/// How a new policy differs from `standard`, or an edited one from its older version. `Some(None)` removes a bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyEdit {
    pub description: Option<String>,
    pub issued_by: Option<IssuedBy>,
    pub owner: Option<Presence>,
    pub catalog: Option<Option<String>>,
    pub scopes: Option<Presence>,
    pub headers: Option<Vec<CredentialHeader>>,
    pub read_only_by: Option<ReadOnlyBy>,
    pub expiry: Option<Expiry>,
    pub expiry_s_max: Option<Option<u64>>,
    pub expiry_months_max: Option<Option<u32>>,
    pub addresses: Option<AddressRule>,
    pub keys_per_workspace_max: Option<Option<u32>>,
    pub keys_per_owner_max: Option<Option<u32>>,
    pub at_owner_max: Option<AtMax>,
    pub name_unique: Option<bool>,
    pub secret_shown: Option<SecretShown>,
    pub editable: Option<Editable>,
    pub can_disable: Option<bool>,
    pub can_rotate: Option<bool>,
    pub self_rotation: Option<SelfRotation>,
    pub confirm_name: Option<bool>,
    pub second_factor: Option<bool>,
    pub decoy: Option<bool>,
    pub on_reuse: Option<OnReuse>,
    pub on_leak: Option<OnLeak>,
    pub expiry_notice_days: Option<Vec<u32>>,
    pub tied_to: Option<TiedTo>,
    pub acts_for_owner: Option<bool>,
    pub roles: Option<Vec<RoleRule>>,
    pub rate_limit: Option<Option<RateLimit>>,
    pub rate_limit_max: Option<Option<RateLimit>>,
    pub prefix: Option<String>,
}

impl PolicyEdit {
    /// A new policy: `standard` with the requested changes.
    pub fn of_standard(self, name: String) -> Policy {
        self.apply(Policy {
            name,
            description: String::new(),
            ..Policy::standard()
        })
    }

    /// Returns the policy with the requested changes.
    fn apply(self, before: Policy) -> Policy {
        let acts_for_owner = self.acts_for_owner.unwrap_or(before.acts_for_owner);
        let roles = match (self.roles, acts_for_owner, before.acts_for_owner) {
            (Some(roles), _, _) => roles,
            (None, false, _) => Vec::new(),
            (None, true, true) => before.roles,
            (None, true, false) => Policy::default_roles(),
        };
        Policy {
            name: before.name,
            description: self.description.unwrap_or(before.description),
            issued_by: self.issued_by.unwrap_or(before.issued_by),
            owner: self.owner.unwrap_or(before.owner),
            catalog: self.catalog.unwrap_or(before.catalog),
            scopes: self.scopes.unwrap_or(before.scopes),
            headers: self.headers.unwrap_or(before.headers),
            read_only_by: self.read_only_by.unwrap_or(before.read_only_by),
            expiry: self.expiry.unwrap_or(before.expiry),
            expiry_s_max: self.expiry_s_max.unwrap_or(before.expiry_s_max),
            expiry_months_max: self.expiry_months_max.unwrap_or(before.expiry_months_max),
            addresses: self.addresses.unwrap_or(before.addresses),
            keys_per_workspace_max: self
                .keys_per_workspace_max
                .unwrap_or(before.keys_per_workspace_max),
            keys_per_owner_max: self.keys_per_owner_max.unwrap_or(before.keys_per_owner_max),
            at_owner_max: self.at_owner_max.unwrap_or(before.at_owner_max),
            name_unique: self.name_unique.unwrap_or(before.name_unique),
            secret_shown: self.secret_shown.unwrap_or(before.secret_shown),
            editable: self.editable.unwrap_or(before.editable),
            can_disable: self.can_disable.unwrap_or(before.can_disable),
            can_rotate: self.can_rotate.unwrap_or(before.can_rotate),
            self_rotation: self.self_rotation.unwrap_or(before.self_rotation),
            confirm_name: self.confirm_name.unwrap_or(before.confirm_name),
            second_factor: self.second_factor.unwrap_or(before.second_factor),
            decoy: self.decoy.unwrap_or(before.decoy),
            on_reuse: self.on_reuse.unwrap_or(before.on_reuse),
            on_leak: self.on_leak.unwrap_or(before.on_leak),
            expiry_notice_days: self.expiry_notice_days.unwrap_or(before.expiry_notice_days),
            tied_to: self.tied_to.unwrap_or(before.tied_to),
            acts_for_owner,
            roles,
            rate_limit: self.rate_limit.unwrap_or(before.rate_limit),
            rate_limit_max: self.rate_limit_max.unwrap_or(before.rate_limit_max),
            prefix: self.prefix.unwrap_or(before.prefix),
            source: before.source,
        }
    }
}

/// All policies, by name.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<Arc<Policy>>> {
    caller.require_somewhere(Permission::PoliciesRead)?;
    let mut found: Vec<Arc<Policy>> = app.index.directory().policies().cloned().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The policy of a name.
pub fn find(app: &App, caller: &Caller, name: &str) -> Result<Arc<Policy>> {
    caller.require_somewhere(Permission::PoliciesRead)?;
    let directory = app.index.directory();
    directory
        .policy(name)
        .cloned()
        .ok_or(Error::NotFound("policy"))
}

/// How many live keys that the caller may see follow each policy; `None` if the caller may not read keys. A policy
/// without such keys is not in the map.
pub fn key_counts(app: &App, caller: &Caller) -> Option<HashMap<String, u64>> {
    caller.require_somewhere(Permission::KeysRead).ok()?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    app.index.each_key(|directory, key| {
        let shared = &key.shared;
        if caller.may(
            directory,
            Permission::KeysRead,
            shared.workspace,
            shared.owner,
        ) {
            match counts.get_mut(&*shared.policy) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(shared.policy.to_string(), 1);
                }
            }
        }
    });
    Some(counts)
}

/// Adds a policy: `standard` with the requested changes. A repeat with the same Idempotency-Key returns the policy as
/// it is now.
pub fn create(
    app: &App,
    caller: &Caller,
    name: String,
    asked: PolicyEdit,
    retry: Option<Retry>,
) -> Result<Policy> {
    let policy = asked.of_standard(name);
    let (index, who, files) = (app.index.clone(), caller.clone(), app.key_files());
    let target = Target::new(Kind::Policy, &policy.name);
    app.change(caller, "policy.create", target, move |tx, now| {
        who.require_global(&index.directory(), Permission::PoliciesWrite)?;
        if let Some(earlier) = idempotency::find(tx, &files, &who, retry.as_ref(), now)? {
            let policy = policies::find(tx, &earlier)?.ok_or(Error::NotFound("policy"))?;
            return Ok((None, policy));
        }
        policy.check_definition()?;
        if policies::find(tx, &policy.name)?.is_some() {
            return Err(Error::Conflict(refusals::policies::exists(&policy.name)));
        }
        let changes = insert(tx, &policy)?;
        idempotency::remember(tx, &files, &who, retry.as_ref(), &policy.name, now)?;
        Ok((Some(record(&policy.name, changes)), policy))
    })
}

/// Stores a policy that a file declares: a new one, or another version of one that exists. Returns the action and the
/// changes of its event; `None` if nothing but the place in the file has changed.
pub(super) fn store(
    tx: &Write<'_>,
    directory: &Directory,
    before: Option<&Policy>,
    after: &Policy,
) -> Result<Option<(&'static str, Changes)>> {
    let Some(before) = before else {
        return insert(tx, after).map(|changes| Some(("policy.create", changes)));
    };
    require_in_force(tx, directory, &after.name)?;
    let changes = update(tx, before, after)?;
    Ok((!changes.is_empty()).then_some(("policy.edit", changes)))
}

/// Adds a valid policy, and returns how it differs from `standard`.
fn insert(tx: &Write<'_>, policy: &Policy) -> Result<Changes> {
    check_catalog(tx, policy)?;
    policies::insert(tx, policy)?;
    Ok(changes(&Policy::standard(), policy))
}

/// Replaces a policy by a valid one, and returns what changes. While live keys follow it, it can only be made stricter.
fn update(tx: &Write<'_>, before: &Policy, after: &Policy) -> Result<Changes> {
    if let Some(member) = after.loosened_from(before)
        && keys::any_of_policy(tx, &after.name)?
    {
        let name = &after.name;
        return Err(Error::Conflict(refusals::policies::looser(name, member)));
    }
    check_catalog(tx, after)?;
    policies::update(tx, after)?;
    if after.secret_shown == SecretShown::Once {
        keys::delete_sealed(tx, &after.name)?;
    }
    Ok(changes(before, after))
}

/// Edits a policy. While live keys follow it, it can only be made stricter.
pub fn edit(app: &App, caller: &Caller, name: &str, edit: PolicyEdit) -> Result<Policy> {
    let (index, who, name) = (app.index.clone(), caller.clone(), name.to_owned());
    let target = Target::new(Kind::Policy, &name);
    app.change(caller, "policy.edit", target, move |tx, _| {
        let directory = index.directory();
        who.require_global(&directory, Permission::PoliciesWrite)?;
        let before = policies::find(tx, &name)?.ok_or(Error::NotFound("policy"))?;
        check_unlocked(&name, &before.source)?;
        require_second_factor(&directory, &who, &before)?;
        require_in_force(tx, &directory, &name)?;
        let after = edit.apply(before.clone());
        after.check_definition()?;
        let changes = update(tx, &before, &after)?;
        let noted = !changes.is_empty();
        Ok((noted.then(|| record(&name, changes)), after))
    })
}

/// Removes a policy that no key has ever followed.
pub fn delete(app: &App, caller: &Caller, name: &str) -> Result<()> {
    let (index, who, name) = (app.index.clone(), caller.clone(), name.to_owned());
    let target = Target::new(Kind::Policy, &name);
    app.change(caller, "policy.delete", target, move |tx, _| {
        who.require_global(&index.directory(), Permission::PoliciesWrite)?;
        if name == STANDARD {
            return Err(Error::Conflict(refusals::policies::standard(STANDARD)));
        }
        if let Some(policy) = policies::find(tx, &name)? {
            check_unlocked(&name, &policy.source)?;
        }
        match policies::delete(tx, &name) {
            Ok(true) => Ok((Some(record(&name, Changes::default())), ())),
            Ok(false) => Err(Error::NotFound("policy")),
            Err(Error::Conflict(_)) => Err(Error::Conflict(refusals::policies::in_use(name))),
            Err(err) => Err(err),
        }
    })
}

/// Refuses a change by hand of a policy that a file declares.
fn check_unlocked(name: &str, source: &str) -> Result<()> {
    match place_of(source) {
        Some(place) => Err(Error::Conflict(refusals::declared::locked_policy(
            name, place,
        ))),
        None => Ok(()),
    }
}

/// Refuses a policy that was changed without Latchkey: the index leaves it out, and its keys open nothing.
pub(super) fn require_in_force(read: &Read, directory: &Directory, name: &str) -> Result<()> {
    match read.has_touched(&Target::new(Kind::Policy, name)) {
        true => Ok(()),
        false => check_in_force(directory, name),
    }
}

/// As [`require_in_force`], for a caller who only reads.
pub(super) fn check_in_force(directory: &Directory, name: &str) -> Result<()> {
    if directory.policy(name).is_some() {
        return Ok(());
    }
    Err(Error::Conflict(refusals::policies::changed_outside(name)))
}

/// Refuses a catalog that does not exist.
fn check_catalog(read: &Read, policy: &Policy) -> Result<()> {
    match &policy.catalog {
        Some(name) if catalogs::find(read, name)?.is_none() => Err(Error::invalid(
            "catalog",
            refusals::catalogs::unknown(format_args!("{name:?}")),
        )),
        _ => Ok(()),
    }
}

fn changes(before: &Policy, after: &Policy) -> Changes {
    let mut changes = Changes::default();
    let headers = |policy: &Policy| {
        let words: Vec<&str> = policy
            .headers
            .iter()
            .map(CredentialHeader::as_str)
            .collect();
        words.join(" ")
    };
    let editable = |policy: &Policy| policy.editable.words().join(" ");
    let roles = |policy: &Policy| {
        let mut rules: Vec<String> = policy.roles.iter().map(RoleRule::line).collect();
        rules.sort();
        rules.join("; ")
    };
    let notice_days = |policy: &Policy| {
        let days: Vec<String> = policy
            .expiry_notice_days
            .iter()
            .map(u32::to_string)
            .collect();
        days.join(" ")
    };
    let rate = |rate: Option<RateLimit>| rate.map(|rate| rate.to_string());
    let (b, a) = (before, after);
    changes.note("description", &b.description, &a.description);
    changes.note("issued_by", &word(b.issued_by), &word(a.issued_by));
    changes.note("owner", &word(b.owner), &word(a.owner));
    changes.note_option("catalog", &b.catalog, &a.catalog);
    changes.note("scopes", &word(b.scopes), &word(a.scopes));
    changes.note("headers", &headers(b), &headers(a));
    changes.note("read_only_by", &word(b.read_only_by), &word(a.read_only_by));
    changes.note("expiry", &word(b.expiry), &word(a.expiry));
    changes.note_option("expiry_s_max", &b.expiry_s_max, &a.expiry_s_max);
    changes.note_option(
        "expiry_months_max",
        &b.expiry_months_max,
        &a.expiry_months_max,
    );
    changes.note("addresses", &word(b.addresses), &word(a.addresses));
    changes.note_option(
        "keys_per_workspace_max",
        &b.keys_per_workspace_max,
        &a.keys_per_workspace_max,
    );
    changes.note_option(
        "keys_per_owner_max",
        &b.keys_per_owner_max,
        &a.keys_per_owner_max,
    );
    changes.note("at_owner_max", &word(b.at_owner_max), &word(a.at_owner_max));
    changes.note("name_unique", &b.name_unique, &a.name_unique);
    changes.note("secret_shown", &word(b.secret_shown), &word(a.secret_shown));
    changes.note("editable", &editable(b), &editable(a));
    changes.note("can_disable", &b.can_disable, &a.can_disable);
    changes.note("can_rotate", &b.can_rotate, &a.can_rotate);
    changes.note(
        "self_rotation",
        &word(b.self_rotation),
        &word(a.self_rotation),
    );
    changes.note("confirm_name", &b.confirm_name, &a.confirm_name);
    changes.note("second_factor", &b.second_factor, &a.second_factor);
    changes.note("decoy", &b.decoy, &a.decoy);
    changes.note("on_reuse", &word(b.on_reuse), &word(a.on_reuse));
    changes.note("on_leak", &word(b.on_leak), &word(a.on_leak));
    changes.note("expiry_notice_days", &notice_days(b), &notice_days(a));
    changes.note("tied_to", &word(b.tied_to), &word(a.tied_to));
    changes.note("acts_for_owner", &b.acts_for_owner, &a.acts_for_owner);
    changes.note("roles", &roles(b), &roles(a));
    changes.note_option("rate_limit", &rate(b.rate_limit), &rate(a.rate_limit));
    changes.note_option(
        "rate_limit_max",
        &rate(b.rate_limit_max),
        &rate(a.rate_limit_max),
    );
    changes.note("prefix", &b.prefix, &a.prefix);
    changes
}

fn record(name: &str, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::Policy, name),
        workspace: None,
        changes,
    }
}
