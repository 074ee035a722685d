//! The policies that come with the dialects, and the catalogs of their keys' scopes.

use crate::domain::audit::{Event, Kind, Target, changes};
use crate::domain::catalogs::{Catalog, Definition};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::App;
use crate::store::seals::{self, Standing};
use crate::store::{Read, Write, audit, catalogs, policies};

/// A policy, and its catalog if it has one of its own.
///
/// It is installed at the first start, and at any later start that finds it missing. An existing policy or catalog
/// stays as it is, because an owner may have edited it.
pub struct Preset {
    pub policy: fn() -> Policy,
    pub catalog: Option<fn() -> Definition>,
    /// The policy as it was in older versions.
    pub former: &'static [EarlierPreset],
}

/// A preset's policy as it was before a version of the schema. If a stored policy is still exactly this one, it was not
/// edited, and the first start after an upgrade from there replaces it by the present preset.
pub struct EarlierPreset {
    pub before_schema: i64,
    pub policy: fn() -> Policy,
}

/// The policy of this name as it comes with the server; `None` if it is one of an owner's.
pub fn of(app: &App, policy: &str) -> Option<fn() -> Policy> {
    let mut policies = app.presets.iter().map(|preset| preset.policy);
    policies.find(|preset| preset().name == policy)
}

/// Adds what is missing, each with its event. A policy whose keys act for their owner and that has no rules for roles
/// comes from an older version, in which such keys had all rights in verdicts. It gets the rules of its preset, or the
/// default rules.
pub fn install(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    presets: &[Preset],
    now: Timestamp,
) -> Result<()> {
    let note = |action, target| audit::append(tx, seal_keys, Event::of_system(action, target, now));
    // The seals are compared before this function writes: a policy that was changed without Latchkey is not sealed
    // again.
    let mut sound = Vec::new();
    for preset in presets.iter().filter(|preset| !preset.former.is_empty()) {
        let target = Target::new(Kind::Policy, (preset.policy)().name);
        if seals::look(tx, seal_keys, &target)? == Standing::Sound {
            sound.push((preset, target));
        }
    }
    for preset in presets {
        // The catalog is installed first, because the policy may name it.
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
    for (preset, target) in sound {
        if is_outdated(tx, preset, &target)? {
            policies::update(tx, &(preset.policy)())?;
            note("policy.install", target)?;
        }
    }
    Ok(())
}

/// Whether a policy is what its preset was before the newest upgrade, and was not edited since.
fn is_outdated(read: &Read, preset: &Preset, target: &Target) -> Result<bool> {
    let Some(migrated) = audit::newest_of(read, &Target::server(), "server.migrate")? else {
        return Ok(false);
    };
    let from = changes::before(&migrated.changes, "schema").and_then(|text| text.parse().ok());
    let Some(from): Option<i64> = from else {
        return Ok(false);
    };
    let found = policies::find(read, &target.id)?.map(in_order);
    let mut former = preset.former.iter().filter(|one| from < one.before_schema);
    Ok(former.any(|one| found == Some(in_order((one.policy)())))
        && audit::newest_of(read, target, "policy.edit")?
            .is_none_or(|edit| edit.seq < migrated.seq))
}

/// The policy with its rules for roles sorted, for comparisons.
fn in_order(mut policy: Policy) -> Policy {
    policy.roles.sort_by_key(|rule| rule.role.as_str());
    policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalogs::Scope;
    use crate::ops::policies::{PolicyEdit, edit};
    use crate::ops::setup::fixture::Fixture;

    const PRESETS: &[Preset] = &[
        Preset {
            policy: short,
            catalog: Some(rooms),
            former: &[],
        },
        Preset {
            policy: plain,
            catalog: None,
            former: &[],
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
            source: String::new(),
            case_sensitive: false,
            resource_metadata: None,
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

    const NEWER: &[Preset] = &[Preset {
        policy: hour,
        catalog: Some(rooms),
        former: &[EarlierPreset {
            before_schema: 3,
            policy: short,
        }],
    }];

    fn hour() -> Policy {
        Policy {
            expiry_s_max: Some(3_600),
            ..short()
        }
    }

    /// Records an upgrade in the audit log, as the migration from a schema does.
    fn upgraded(fixture: &Fixture, from: i64) {
        let mut changes = crate::domain::audit::Changes::default();
        changes.note("schema", &from, &(from + 1));
        let (seal_keys, now) = (fixture.app.seal_keys.clone(), fixture.app.now().wall);
        let event = Event {
            changes: changes.into_json(),
            ..Event::of_system("server.migrate", Target::server(), now)
        };
        let write = move |tx: &Write<'_>| audit::append(tx, &seal_keys, event);
        fixture
            .app
            .store
            .write(crate::store::Durability::Full, write)
            .unwrap();
    }

    fn life(fixture: &Fixture) -> Option<u64> {
        fixture
            .app
            .index
            .directory()
            .policy("short")
            .unwrap()
            .expiry_s_max
    }

    fn give(fixture: &Fixture, expiry_s_max: u64) {
        let change = PolicyEdit {
            expiry_s_max: Some(Some(expiry_s_max)),
            ..PolicyEdit::default()
        };
        edit(&fixture.app, &fixture.local(), "short", change).unwrap();
    }

    #[test]
    fn an_upgrade_gives_a_policy_that_nobody_has_edited_what_its_preset_is_now() {
        let mut fixture = Fixture::with_presets(PRESETS);
        fixture.reopen(NEWER);
        assert_eq!(life(&fixture), Some(60), "without an upgrade");
        upgraded(&fixture, 3);
        fixture.reopen(NEWER);
        assert_eq!(
            life(&fixture),
            Some(60),
            "an upgrade from a version that had the new one"
        );
        upgraded(&fixture, 2);
        fixture.reopen(NEWER);
        assert_eq!(life(&fixture), Some(3_600));
        // An owner who sets the former value keeps it, also at later starts and after later upgrades.
        give(&fixture, 60);
        fixture.reopen(NEWER);
        assert_eq!(life(&fixture), Some(60));
        upgraded(&fixture, 3);
        fixture.reopen(NEWER);
        assert_eq!(life(&fixture), Some(60));
    }

    #[test]
    fn an_upgrade_leaves_a_policy_that_was_edited() {
        let mut fixture = Fixture::with_presets(PRESETS);
        give(&fixture, 30);
        upgraded(&fixture, 2);
        fixture.reopen(NEWER);
        assert_eq!(life(&fixture), Some(30));
    }
}
