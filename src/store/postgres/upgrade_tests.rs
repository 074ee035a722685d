//! Tests of databases with an older and with a newer schema than that of this program.

use super::server::{Database, new_database, open, wait_for};
use super::{Address, Lease, LeaseHolder, Postgres, upgrade};
use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::nodes::NodeId;
use crate::domain::policies::Policy;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::connection::FaultKind;
use crate::store::migrations;
use crate::store::migrations::rolling::Schemas;
use crate::store::migrations::rolling::testing::{self, OLD, make_older};
use crate::store::schema_upgrade::SchemaState;
use crate::store::seals::Standing;
use crate::store::sqlite::{self, SCHEMA_VERSION};
use crate::store::{Read, audit, policies, seals, transfer};

const LIVE_MS: i64 = 60_000;
const LIFE: &str = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11";

/// A database with the older schema: an event, two sealed policies, the second of which was changed afterwards, and a site.
struct Older {
    files: KeyFiles,
    address: Address,
    admin: Postgres,
    _database: Database,
}

impl Older {
    fn new() -> Option<Older> {
        let (database, mut address) = new_database()?;
        address.schemas = testing::schemas();
        let older = Older {
            files: KeyFiles::generate(),
            admin: Postgres::open(&address).unwrap(),
            address,
            _database: database,
        };
        make_older(&older.admin, older.address.schemas);
        older.fill().unwrap();
        Some(older)
    }

    fn fill(&self) -> Result<()> {
        let read = self.read();
        read.begin(true).map_err(|fault| fault.error)?;
        let tx = read.write();
        for name in ["changed", "sound"] {
            let policy = Policy {
                name: name.to_owned(),
                ..Policy::standard()
            };
            policies::insert(&tx, &policy)?;
            seals::put(&tx, &self.files.seal, &Target::new(Kind::Policy, name))?;
        }
        audit::append(&tx, &self.files.seal, event("server.init"))?;
        drop(read.take_effects());
        read.commit().map_err(|fault| fault.error)?;
        let changed = "UPDATE policies SET can_rotate = 1 - can_rotate WHERE name = 'changed'";
        self.admin.batch(changed)?;
        self.admin.batch(&format!(
            "INSERT INTO sites (name, minimal, until_s, lend, max_stale_s, created_at, sealed, sealing_key, pack, base, life,
                                report, reported_at, applied, applied_events)
             VALUES ('plant', 0, 60, 0, 10, 1, decode(repeat('00', 60), 'hex'), 1, 0, 0, '{LIFE}', 1, 1, 1, 1)"
        ))
    }

    fn read(&self) -> Read {
        Postgres::open(&self.address).unwrap().into()
    }

    fn upgrade(&self) -> Result<SchemaState> {
        upgrade_of(&self.address, &self.files)
    }

    fn version(&self) -> i64 {
        self.admin.version().unwrap()
    }

    fn number(&self, sql: &'static str) -> i64 {
        self.admin.count(sql).unwrap()
    }
}

fn upgrade_of(address: &Address, files: &KeyFiles) -> Result<SchemaState> {
    upgrade::upgrade(address, files, LIVE_MS, &event("server.migrate"))
}

fn event(action: &str) -> Event {
    Event::of_system(action, Target::server(), Timestamp(7))
}

fn is_too_old(why: &Error) -> bool {
    matches!(why, Error::Unavailable(why) if why.code() == "server.program_too_old")
}

#[test]
fn an_older_schema_is_compared_with_what_it_was() {
    let Some(older) = Older::new() else { return };
    let mut address = older.address.clone();
    address.schemas = Schemas {
        oldest: SCHEMA_VERSION,
        steps: &[],
    };
    let refused = Postgres::open(&address).err().unwrap().to_string();
    let why = format!("has schema {OLD}, this build needs {SCHEMA_VERSION}");
    assert!(refused.contains(&why), "{refused}");
    let refused = || older.admin.difference().unwrap().refused();
    assert_eq!(refused(), [""; 0]);
    for (change, back, fault) in [
        (
            "DROP INDEX keys_policy",
            "CREATE INDEX keys_policy ON keys (policy, workspace_uid)",
            "index keys_policy is missing",
        ),
        (
            "ALTER TABLE sites ADD COLUMN lent_life TEXT",
            "ALTER TABLE sites DROP COLUMN lent_life",
            "table sites is not what it should be",
        ),
    ] {
        older.admin.batch(change).unwrap();
        assert!(refused().iter().any(|it| it == fault), "{:?}", refused());
        // What is not as it should be is not upgraded.
        assert!(older.upgrade().is_err());
        assert_eq!(older.version(), OLD);
        older.admin.batch(back).unwrap();
    }
    assert_eq!(refused(), [""; 0]);
}

#[test]
fn an_upgrade_adds_what_is_missing_and_seals_what_fitted() {
    let Some(older) = Older::new() else { return };
    assert_eq!(older.upgrade().unwrap().version, OLD);
    assert_eq!(older.version(), SCHEMA_VERSION);
    let difference = older.admin.difference().unwrap();
    assert!(difference.refused().is_empty(), "{difference:?}");
    assert!(difference.foreign.is_empty(), "{difference:?}");
    let oldest = "SELECT oldest_reader AS count FROM latchkey_schema";
    assert_eq!(older.number(oldest), SCHEMA_VERSION);
    let filled = "SELECT count(*) AS count FROM sites WHERE lent_life = life";
    assert_eq!(older.number(filled), 1);
    let read = older.read();
    for (name, standing) in [("sound", Standing::Sound), ("changed", Standing::Broken)] {
        let policy = policies::find(&read, name).unwrap().unwrap();
        assert_eq!(policy.description, "migrated");
        let target = Target::new(Kind::Policy, name);
        let found = seals::look(&read, &older.files.seal, &target).unwrap();
        assert_eq!(found, standing, "{name}");
    }
    let newest = audit::newest(&read).unwrap().unwrap();
    assert_eq!(newest.action, "server.migrate");
    for version in [OLD, SCHEMA_VERSION] {
        assert!(newest.changes.contains(&version.to_string()));
    }
    assert!(audit::verify(&read, &older.files.seal).unwrap().is_ok());
    // Again, nothing is done.
    assert_eq!(older.upgrade().unwrap().version, SCHEMA_VERSION);
    assert_eq!(
        older.number("SELECT max(seq) AS count FROM audit_events"),
        2
    );
}

#[test]
fn a_node_in_use_with_an_older_program_is_named_and_nothing_is_changed() {
    let Some(older) = Older::new() else { return };
    let lease = "INSERT INTO node_leases (node, name, seen_at, version, schema)
                 SELECT repeat('a', 32), 'machine-1', CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT),
                        '0.9.0', version
                 FROM latchkey_schema";
    older.admin.batch(lease).unwrap();
    let why = older.upgrade().unwrap_err();
    assert!(matches!(&why, Error::Conflict(_)), "{why:?}");
    assert!(why.to_string().contains("machine-1 0.9.0"), "{why}");
    assert_eq!(older.version(), OLD);
    // One that has not been seen for long does not count.
    older
        .admin
        .batch("UPDATE node_leases SET seen_at = seen_at - 60000")
        .unwrap();
    assert!(older.upgrade().is_ok());
}

#[test]
fn of_several_upgrades_at_once_one_does_it() {
    let Some(older) = Older::new() else { return };
    let (address, files) = (&older.address, &older.files);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| upgrade_of(address, files)))
            .collect();
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
    let events = "SELECT count(*) AS count FROM audit_events WHERE action = 'server.migrate'";
    assert_eq!(older.number(events), 1);
}

/// It waits for a reader of a table that it alters.
#[test]
fn ended_at_its_last_step_an_upgrade_has_changed_nothing() {
    let Some(older) = Older::new() else { return };
    let waiting = "SELECT count(*) AS count FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE sites%'";
    let reader = Postgres::open(&older.address).unwrap();
    let (address, files) = (&older.address, &older.files);
    std::thread::scope(|scope| {
        reader.begin_reading().unwrap();
        reader.count("SELECT count(*) AS count FROM sites").unwrap();
        let upgrading = scope.spawn(|| upgrade_of(address, files));
        wait_for("the upgrade does not wait", || {
            (older.number(waiting) > 0).then_some(())
        });
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'ALTER TABLE sites%' AND pid <> pg_backend_pid()";
        older.admin.batch(end).unwrap();
        assert!(upgrading.join().unwrap().is_err());
        assert_eq!(older.version(), OLD);
        assert!(older.admin.difference().unwrap().refused().is_empty());
        let upgrading = scope.spawn(|| upgrade_of(address, files));
        wait_for("the upgrade does not wait", || {
            (older.number(waiting) > 0).then_some(())
        });
        reader.end();
        assert!(upgrading.join().unwrap().is_ok());
    });
    assert_eq!(older.version(), SCHEMA_VERSION);
}

/// The first attempt waits for two seconds and fails.
#[test]
fn an_upgrade_is_tried_again_while_a_table_is_in_use() {
    let Some(older) = Older::new() else { return };
    let waiting = "SELECT coalesce(max(pid), 0) AS count FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE sites%'";
    let reader = Postgres::open(&older.address).unwrap();
    let (address, files) = (&older.address, &older.files);
    std::thread::scope(|scope| {
        reader.begin_reading().unwrap();
        reader.count("SELECT count(*) AS count FROM sites").unwrap();
        let upgrading = scope.spawn(|| upgrade_of(address, files));
        let first = wait_for("the upgrade does not wait", || {
            Some(older.number(waiting)).filter(|pid| *pid > 0)
        });
        wait_for("the upgrade is not tried again", || {
            let pid = older.number(waiting);
            (pid > 0 && pid != first).then_some(())
        });
        reader.end();
        assert!(upgrading.join().unwrap().is_ok());
    });
    assert_eq!(older.version(), SCHEMA_VERSION);
}

#[test]
fn a_copy_in_a_file_has_the_schema_of_the_database_and_is_migrated_like_any_other() {
    let Some(older) = Older::new() else { return };
    let folder = crate::files::private::tests::folder("older-copy");
    let path = folder.join("copy.db");
    std::fs::write(&path, "").unwrap();
    let copied = transfer::to_file(&older.read(), &path, |_, _| {}).unwrap();
    assert!(!copied.iter().any(|sum| sum.table == "declared_files"));
    assert_eq!(sqlite::check_header(&path).unwrap(), OLD);
    let steps = [migrations::Step { ..testing::STEP }];
    sqlite::check_backup(&path, |read| {
        migrations::run(read, &path, &older.files, Timestamp(9), &steps)
    })
    .unwrap();
    let read = sqlite::open_reader(&path).unwrap();
    let sound = Target::new(Kind::Policy, "sound");
    let found = seals::look(&read, &older.files.seal, &sound).unwrap();
    assert_eq!(found, Standing::Sound);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_program_that_became_too_old_changes_nothing_and_has_no_lease() {
    let Some((postgres, address)) = open() else {
        return;
    };
    let admin = Postgres::open(&address).unwrap();
    let read = Read::from(postgres);
    assert!(read.begin(true).is_ok());
    let files = KeyFiles::generate();
    audit::append(&read.write(), &files.seal, event("server.init")).unwrap();
    drop(read.take_effects());
    read.commit().map_err(|fault| fault.error).unwrap();
    let mut lease = Lease::new(
        address.clone(),
        LeaseHolder {
            node: NodeId([1; 16]),
            name: "a".to_owned(),
        },
    );
    let newer = SCHEMA_VERSION + 1;
    let sql = "UPDATE latchkey_schema SET version = $1, oldest_reader = $2";
    // A newer schema that this program may still use.
    admin.execute(sql, &[&newer, &SCHEMA_VERSION]).unwrap();
    assert!(read.begin(true).is_ok());
    assert_eq!(read.version().unwrap(), newer);
    read.end();
    assert!(lease.renew(LIVE_MS).is_ok());
    // One that it may not use any more.
    admin.execute(sql, &[&newer, &newer]).unwrap();
    let fault = read.begin(true).unwrap_err();
    assert!(is_too_old(&fault.error), "{}", fault.error);
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(read.end());
    let seen = || admin.count("SELECT max(seen_at) AS count FROM node_leases");
    let before = seen().unwrap();
    assert!(is_too_old(&lease.renew(LIVE_MS).unwrap_err()));
    assert_eq!(seen().unwrap(), before);
    let refused = Postgres::open(&address).err().unwrap().to_string();
    assert!(refused.contains("written by a newer Latchkey"), "{refused}");
}

#[test]
fn of_a_newer_schema_the_part_that_is_known_is_compared_and_nothing_is_copied() {
    let Some((postgres, _)) = open() else { return };
    postgres
        .batch(
            "UPDATE latchkey_schema SET version = version + 1;
             ALTER TABLE nodes ADD COLUMN program TEXT COLLATE \"C\" CHECK (program <> '');
             CREATE TABLE notes (key_id TEXT COLLATE \"C\" PRIMARY KEY REFERENCES keys (id));
             CREATE UNIQUE INDEX nodes_program ON nodes (program)",
        )
        .unwrap();
    let refused = || postgres.difference().unwrap().refused();
    assert_eq!(refused(), [""; 0]);
    postgres
        .batch("ALTER TABLE nodes DROP COLUMN started_at")
        .unwrap();
    assert_eq!(refused(), ["table nodes is not what it should be"]);
    postgres
        .batch("CREATE RULE r AS ON DELETE TO secrets DO INSTEAD NOTHING")
        .unwrap();
    assert_eq!(refused()[0], "rule r does not belong there");
    let path = std::env::temp_dir().join(format!("latchkey-newer-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let why = transfer::to_file(&Read::from(postgres), &path, |_, _| {}).unwrap_err();
    assert!(
        why.to_string().contains("a node with the newer program"),
        "{why}"
    );
    let _ = std::fs::remove_file(path);
}
