//! What the ways in bring with them: policies, and the catalogs of their keys' scopes.

use crate::domain::audit::{Kind, Target};
use crate::domain::catalog::{Catalog, Definition};
use crate::domain::key::pepper::Peppers;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::system_event;
use crate::store::{Write, audit, catalogs, policies};

/// A policy, and a catalog if it has one of its own.
///
/// Installed at the first start, and at any later one that finds it missing. What is there already stays as it is:
/// an owner may have edited it.
pub struct Preset {
    pub policy: fn() -> Policy,
    pub catalog: Option<fn() -> Definition>,
}

/// Adds what is missing, each with its event. A policy that acts for the owner and has no rules for roles was written by
/// an older version, in which such keys had all rights in verdicts; it is given those of its preset, or the default.
pub fn install(
    tx: &Write<'_>,
    peppers: &Peppers,
    presets: &[Preset],
    now: Timestamp,
) -> Result<()> {
    let note = |action, target| audit::append(tx, peppers, system_event(action, target, now));
    for preset in presets {
        // The catalog first: the policy may name it.
        if let Some(definition) = preset.catalog.map(|catalog| catalog())
            && catalogs::find(tx, &definition.name)?.is_none()
        {
            let catalog = Catalog::compile(definition)?;
            catalogs::replace(tx, catalog.definition())?;
            note(
                "catalog.install",
                Target::new(Kind::Catalog, catalog.name()),
            )?;
        }
        let policy = (preset.policy)();
        if policies::find(tx, &policy.name)?.is_none() {
            policy.check_definition()?;
            policies::insert(tx, &policy)?;
            note("policy.install", Target::new(Kind::Policy, &policy.name))?;
        }
    }
    for policy in policies::list(tx)? {
        if policy.acts_for_owner && policy.roles.is_empty() {
            let mut known = presets.iter().map(|preset| (preset.policy)());
            let preset = known.find(|known| known.name == policy.name && known.acts_for_owner);
            let roles = preset.map_or_else(Policy::default_roles, |preset| preset.roles);
            let target = Target::new(Kind::Policy, &policy.name);
            policies::update(tx, &Policy { roles, ..policy })?;
            note("policy.install", target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Scope;
    use crate::ops::policies::{PolicyEdit, edit};
    use crate::ops::setup::fixture::Fixture;

    const PRESETS: &[Preset] = &[
        Preset {
            policy: short,
            catalog: Some(rooms),
        },
        Preset {
            policy: plain,
            catalog: None,
        },
    ];

    fn short() -> Policy {
        Policy {
            name: "short".to_owned(),
            expiry_s_max: Some(60),
            catalog: Some("rooms".to_owned()),
            ..Policy::standard()
        }
    }

    fn plain() -> Policy {
        Policy {
            name: "plain".to_owned(),
            ..Policy::standard()
        }
    }

    fn rooms() -> Definition {
        Definition {
            name: "rooms".to_owned(),
            case_sensitive: false,
            scopes: vec![Scope {
                name: "rooms:read".to_owned(),
                label: String::new(),
                implies: Vec::new(),
                root_only: false,
            }],
            operations: Vec::new(),
        }
    }

    #[track_caller]
    fn check(fixture: &Fixture, expiry_s_max: u64) {
        let directory = fixture.app.index.directory();
        assert_eq!(
            directory.policy("short").unwrap().expiry_s_max,
            Some(expiry_s_max)
        );
        assert!(directory.policy("plain").is_some());
        assert!(directory.catalog("rooms").unwrap().has_scope("rooms:read"));
    }

    #[test]
    fn presets_are_there_from_the_first_start() {
        check(&Fixture::with_presets(PRESETS), 60);
    }

    #[test]
    fn a_later_start_adds_what_is_missing_and_keeps_what_is_there() {
        let mut fixture = Fixture::new();
        assert!(fixture.app.index.directory().policy("short").is_none());
        fixture.reopen(PRESETS);
        check(&fixture, 60);
        let stricter = PolicyEdit {
            expiry_s_max: Some(Some(30)),
            ..PolicyEdit::default()
        };
        edit(&fixture.app, &fixture.local(), "short", stricter).unwrap();
        fixture.reopen(PRESETS);
        check(&fixture, 30);
    }
}
