//! `latchkey cluster upgrade`: bringing the schema of a database on a server to that of this program, while nodes use it.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::Target;
use crate::error::{Error, Result};
use crate::ops::{App, draft};
use crate::refusals;
use crate::store::schema_upgrade::SchemaState;

/// The action of the event, as of a file that a start has migrated.
const ACTION: &str = "server.migrate";
/// The shortest time within which nodes that were seen count as in use.
pub const LIVE_MS_MIN: i64 = 60_000;

/// What there is to do.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` if the database is a file, or if a node in use has an
/// older program.
pub fn plan(app: &App, caller: &Caller) -> Result<SchemaState> {
    permit(app, caller)?;
    let found = app.store.schema_state(app.live_ms())?;
    found.check_nodes()?;
    Ok(found)
}

/// Brings the schema to that of this program, and returns what was there before. If that was done already, nothing happens.
///
/// # Errors
/// As [`plan`]. After an error the database is as it was, unless the error is that the outcome is unknown; the same call finds out
/// then, and does what is left to do.
pub fn upgrade(app: &App, caller: &Caller) -> Result<SchemaState> {
    permit(app, caller)?;
    app.require_changeable(false)?;
    let draft = draft(caller, ACTION, app.now().wall);
    let before = app
        .store
        .upgrade_schema(&app.key_files(), app.live_ms(), &draft)?;
    // The index of this node follows as those of the others do. The schema is there, whether it can follow at once or not.
    #[cfg(feature = "postgres")]
    if let Err(err) = app.store.follow_now() {
        log::warn!("cluster upgrade: the change is followed later: {err}");
    }
    Ok(before)
}

fn permit(app: &App, caller: &Caller) -> Result<()> {
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::server::upgrade_is_local())),
    };
    app.decided(caller, ACTION, Target::server(), permitted)
}

impl App {
    /// How long ago a node may have been seen that still counts as in use.
    pub fn live_ms(&self) -> i64 {
        let refuse_after_ms = self
            .fence
            .as_ref()
            .and_then(|fence| fence.limits().refuse_after_ms);
        refuse_after_ms.unwrap_or_default().max(LIVE_MS_MIN)
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;
    use crate::domain::keys::verdict::Code;
    use crate::ops::doctor::{Finding, schema_of};
    use crate::ops::following::cluster::{Cluster, caller_of, issued, local, verdict};
    use crate::ops::setup::fixture::Fixture;
    use crate::store::migrations_testing::{OLD, make_older, without_an_index};
    use crate::store::postgres::{Postgres, server};

    fn finding(app: &App) -> Result<(Finding, String)> {
        let found = app.read(|read| schema_of(read, LIVE_MS_MIN))?;
        let advice = found.advice.map(|advice| advice.to_string());
        Ok((found.finding, advice.unwrap_or_default()))
    }

    #[test]
    fn nodes_run_on_the_older_schema_and_on_the_newer_one_without_a_restart() {
        let Some((database, mut address)) = server::empty_database() else {
            return;
        };
        address.schemas = without_an_index();
        let mut cluster = Cluster::create(address.clone());
        cluster.database = Some(database);
        let admin = Postgres::open(&address).unwrap();
        make_older(&admin, address.schemas);
        cluster.add();
        cluster.add();
        let (one, other) = (cluster.nodes[0].clone(), cluster.nodes[1].clone());
        let (_, before) = issued(&one, "before").unwrap();
        // A node with an older program is in use.
        let lease = format!(
            "INSERT INTO node_leases (node, name, seen_at, version, schema)
             SELECT repeat('a', 32), 'machine-9', CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT), '0.9.0', {OLD}"
        );
        admin.batch(&lease).unwrap();
        let (found, advice) = finding(&one).unwrap();
        assert_eq!(found, Finding::Warning);
        assert!(advice.contains("machine-9 0.9.0"), "{advice}");
        for refused in [plan(&one, &local(&one)), upgrade(&one, &local(&one))] {
            let why = refused.unwrap_err();
            assert!(matches!(&why, Error::Conflict(_)), "{why:?}");
            assert!(why.to_string().contains("machine-9"), "{why}");
        }
        admin.batch("DELETE FROM node_leases").unwrap();
        let (_, advice) = finding(&one).unwrap();
        assert!(advice.ends_with("latchkey cluster upgrade"), "{advice}");
        // Only the administrator of a machine does it.
        let (_, key) = issued(&one, "key").unwrap();
        let caller = caller_of(&one, &key).unwrap();
        for refused in [plan(&one, &caller), upgrade(&one, &caller)] {
            assert!(matches!(refused.unwrap_err(), Error::Forbidden(_)));
        }
        assert_eq!(plan(&one, &local(&one)).unwrap().version, OLD);
        assert_eq!(upgrade(&one, &local(&one)).unwrap().version, OLD);
        assert_eq!(upgrade(&other, &local(&other)).unwrap().version, OLD + 1);
        let (_, after) = issued(&other, "after").unwrap();
        cluster.check_equal();
        for app in [&one, &other] {
            assert_eq!(finding(app).unwrap().0, Finding::Ok);
            for secret in [&before, &after] {
                assert_eq!(verdict(app, secret), Code::Valid);
            }
        }
    }

    #[test]
    fn a_file_is_not_upgraded_by_a_command() {
        let fixture = Fixture::new();
        let caller = fixture.local();
        for refused in [plan(&fixture.app, &caller), upgrade(&fixture.app, &caller)] {
            assert!(matches!(refused.unwrap_err(), Error::Conflict(_)));
        }
    }
}
