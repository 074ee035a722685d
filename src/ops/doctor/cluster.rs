//! Checks of the server that a database is on: whether what is acknowledged there survives it, and who else can get at it.

use super::finding::Check;
use crate::domain::keys::keyfile::KeyFiles;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals::findings;
use crate::store::{Facts, Read, key_files};

/// Values of `synchronous_commit` that the database user should not have as its default.
const WEAK: [&str; 2] = ["local", "off"];

/// The checks of the server; none if the database is a file.
pub fn checks(app: &App) -> Vec<Check> {
    let unanswered = |err: Error| {
        vec![Check::failed(
            "PostgreSQL",
            err.refusal(),
            findings::look_into_log(),
        )]
    };
    let facts = match app.store.facts() {
        Ok(None) => return Vec::new(),
        Ok(Some(facts)) => facts,
        Err(err) => return unanswered(err),
    };
    let mut found = of_server(&facts);
    let files = app.key_files();
    match app.read(|read| key_files_fit(read, &files)) {
        Ok(check) => found.push(check),
        Err(err) => return unanswered(err),
    }
    found
}

/// What the facts mean.
pub fn of_server(facts: &Facts) -> Vec<Check> {
    vec![
        Check::ok("PostgreSQL", findings::postgres_version(&facts.version)),
        standbys(facts),
        synchronous_commit(facts),
        durability(facts),
        user(facts),
        connections(facts),
    ]
}

fn standbys(facts: &Facts) -> Check {
    let (name, names, user) = ("standbys", &facts.standby_names, &facts.user);
    if names.is_empty() {
        return Check::failed(
            name,
            findings::postgres_no_standbys(),
            findings::postgres_no_standbys_advice(),
        );
    }
    match facts.standbys {
        None => Check::warning(
            name,
            findings::postgres_standbys_unseen(names, user),
            findings::postgres_standbys_unseen_advice(user),
        ),
        Some((connected, 0)) => Check::failed(
            name,
            findings::postgres_standby_gone(names, connected),
            findings::postgres_standby_gone_advice(),
        ),
        Some((connected, synchronous)) => Check::ok(
            name,
            findings::postgres_standbys(names, connected, synchronous),
        ),
    }
}

/// Sessions of Latchkey set it themselves, so a weak one is no fault yet.
fn synchronous_commit(facts: &Facts) -> Check {
    let (name, setting) = ("synchronous commit", facts.synchronous_commit.as_str());
    match WEAK.contains(&setting) {
        false => Check::ok(name, findings::postgres_commit(setting)),
        true => Check::warning(
            name,
            findings::postgres_commit_weak(&facts.user, setting),
            findings::postgres_commit_advice(&facts.user),
        ),
    }
}

fn durability(facts: &Facts) -> Check {
    let name = "durability";
    let settings = [
        ("fsync", facts.fsync),
        ("full_page_writes", facts.full_page_writes),
    ];
    let off: Vec<&str> = settings
        .iter()
        .filter(|(_, on)| !on)
        .map(|(name, _)| *name)
        .collect();
    match off.is_empty() {
        true => Check::ok(name, findings::postgres_durable()),
        false => Check::failed(
            name,
            findings::postgres_not_durable(off.join(", ")),
            findings::postgres_not_durable_advice(off.join(", ")),
        ),
    }
}

fn user(facts: &Facts) -> Check {
    let (name, user) = ("database user", &facts.user);
    match facts.is_superuser {
        false => Check::ok(name, findings::postgres_user(user)),
        true => Check::warning(
            name,
            findings::postgres_superuser(user),
            findings::postgres_superuser_advice(user),
        ),
    }
}

fn connections(facts: &Facts) -> Check {
    let name = "database connections";
    match facts.is_open {
        false => Check::ok(name, findings::postgres_closed()),
        true => Check::warning(
            name,
            findings::postgres_plain(),
            findings::postgres_plain_advice(),
        ),
    }
}

/// Whether these key files are those of the database.
pub fn key_files_fit(read: &Read, files: &KeyFiles) -> Result<Check> {
    let name = "key files of the nodes";
    Ok(match key_files::check(read, files) {
        Ok(()) => Check::ok(name, findings::postgres_key_files()),
        Err(err) => {
            let why = match &err {
                Error::Internal(cause) => cause.to_string(),
                other => other.to_string(),
            };
            Check::failed(
                name,
                findings::faults(why),
                findings::postgres_key_files_advice(),
            )
        }
    })
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;
    use crate::ops::doctor::Finding;
    use crate::store::postgres::{facts, server};

    fn sound() -> Facts {
        Facts {
            version: "15.18".to_owned(),
            standby_names: "ANY 1 (a, b)".to_owned(),
            standbys: Some((2, 1)),
            synchronous_commit: "on".to_owned(),
            fsync: true,
            full_page_writes: true,
            is_superuser: false,
            user: "latchkey".to_owned(),
            is_open: false,
            has_schema: true,
            database: "latchkey".to_owned(),
            may_create: true,
        }
    }

    /// The checks that are not ok, with their findings.
    fn found(facts: &Facts) -> Vec<(&'static str, Finding)> {
        let checks = of_server(facts).into_iter();
        let bad = checks.filter(|check| check.finding != Finding::Ok);
        bad.map(|check| (check.name, check.finding)).collect()
    }

    #[test]
    fn each_weakness_is_named() {
        assert_eq!(found(&sound()), []);
        for (facts, name, finding) in [
            (
                Facts {
                    standby_names: String::new(),
                    ..sound()
                },
                "standbys",
                Finding::Failed,
            ),
            (
                Facts {
                    standbys: Some((1, 0)),
                    ..sound()
                },
                "standbys",
                Finding::Failed,
            ),
            (
                Facts {
                    standbys: None,
                    ..sound()
                },
                "standbys",
                Finding::Warning,
            ),
            (
                Facts {
                    synchronous_commit: "off".to_owned(),
                    ..sound()
                },
                "synchronous commit",
                Finding::Warning,
            ),
            (
                Facts {
                    fsync: false,
                    ..sound()
                },
                "durability",
                Finding::Failed,
            ),
            (
                Facts {
                    full_page_writes: false,
                    ..sound()
                },
                "durability",
                Finding::Failed,
            ),
            (
                Facts {
                    is_superuser: true,
                    ..sound()
                },
                "database user",
                Finding::Warning,
            ),
            (
                Facts {
                    is_open: true,
                    ..sound()
                },
                "database connections",
                Finding::Warning,
            ),
        ] {
            assert_eq!(found(&facts), [(name, finding)], "{facts:?}");
        }
    }

    /// The server of the tests never syncs, has no standbys, and its user is a superuser.
    #[test]
    fn a_server_is_asked_for_its_settings() {
        let Some((_database, address)) = server::new_database() else {
            return;
        };
        let asked = facts(&address).unwrap();
        assert!(asked.has_schema && asked.is_superuser && !asked.is_open);
        assert_eq!(
            found(&asked),
            [
                ("standbys", Finding::Failed),
                ("durability", Finding::Failed),
                ("database user", Finding::Warning)
            ]
        );
    }
}
