//! Policies that files declare: absent members are as in `standard`, and the rules of edits hold.

use super::{Declared, Note, Work};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::declared::{Place, SOURCE};
use crate::domain::policies::Policy;
use crate::error::Result;
use crate::ops::policies as rules;
use crate::store::{Read, policies};

/// Whether every policy is as the files declare it.
pub fn are_settled(read: &Read, declared: &Declared) -> Result<bool> {
    for (at, policy) in &declared.policies.stanzas {
        let found = policies::find(read, &policy.name)?;
        if found.map(in_order) != Some(wanted(policy, &at.place)) {
            return Ok(false);
        }
    }
    Ok(released(read, declared)?.is_empty())
}

pub fn apply(work: &mut Work<'_>, declared: &Declared) -> Result<()> {
    for (at, policy) in &declared.policies.stanzas {
        let put = put(work, &wanted(policy, &at.place), &at.place);
        work.judge(at, put)?;
    }
    for policy in released(work.tx, declared)? {
        let after = Policy {
            source: String::new(),
            ..policy.clone()
        };
        policies::update(work.tx, &after)?;
        work.note(Note {
            action: "policy.release",
            source: &policy.source,
            ..of_policy(&policy.name, Changes::default(), None)
        });
    }
    Ok(())
}

fn put(work: &mut Work<'_>, policy: &Policy, place: &Place) -> Result<()> {
    let before = policies::find(work.tx, &policy.name)?.map(in_order);
    if before.as_ref() == Some(policy) {
        return Ok(());
    }
    let index = work.index.clone();
    let stored = rules::store(work.tx, &index.directory(), before.as_ref(), policy)?;
    match stored {
        Some((action, changes)) => work.note(Note {
            action,
            ..of_policy(&policy.name, changes, Some(place))
        }),
        // Only its place has changed.
        None => work
            .tx
            .touch_lightly(Target::new(Kind::Policy, &policy.name)),
    }
    Ok(())
}

/// The policies that an earlier file has declared, and that no file declares now.
fn released(read: &Read, declared: &Declared) -> Result<Vec<Policy>> {
    let is_declared = |name: &str| {
        let mut stanzas = declared.policies.stanzas.iter();
        stanzas.any(|(_, policy)| policy.name == name)
    };
    let all = policies::list(read)?.into_iter();
    Ok(all
        .filter(|policy| policy.source.starts_with(SOURCE) && !is_declared(&policy.name))
        .collect())
}

fn wanted(policy: &Policy, place: &Place) -> Policy {
    in_order(Policy {
        source: place.source(),
        ..policy.clone()
    })
}

/// The policy with its rules for roles in one order, so that two policies can be compared.
fn in_order(mut policy: Policy) -> Policy {
    policy.roles.sort_by_key(|rule| rule.role.as_str());
    policy
}

fn of_policy<'a>(name: &'a str, changes: Changes, place: Option<&'a Place>) -> Note<'a> {
    Note {
        action: "",
        target: Target::new(Kind::Policy, name),
        name,
        workspace: String::new(),
        changes,
        place,
        source: "",
    }
}
