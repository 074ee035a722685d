//! Migrates an older schema to the current one. All steps run in one transaction, so that a file has the old schema or
//! the new one.
//!
//! A step consists of SQL and a function. The function runs after the SQL in the same transaction and has access to the
//! key files: it does what SQL alone cannot do, such as sealing rows. After all steps the schema must equal that of
//! `schema.sql`, except for comments and blanks; a step that cannot alter a table to that text creates the table again.
//! This is checked before the commit.
//!
//! Seals outlive upgrades: before the first step each sealed row is compared with its seal, by the columns that the
//! older version sealed; after the last step every row that fitted is sealed again. A row that did not fit keeps its
//! old seal, so a migration never makes a changed row valid. Keys, whose seals are in their own rows, are treated the
//! same way. One `server.migrate` event names both versions.

#[cfg(feature = "postgres")]
pub mod rolling;
mod to_2;
mod to_3;
mod to_4;
mod to_5;
mod to_6;
mod to_7;
mod to_8;

use super::sqlite::{SCHEMA_VERSION, foreign_schema};
use super::{Read, Write, audit, seals};
use crate::domain::audit::{Changes, Event, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use crate::store::key_files;
use std::collections::HashSet;
use std::path::Path;

/// One step from the previous version.
pub struct Step {
    /// The version that it leads to.
    pub to: i64,
    pub sql: &'static str,
    /// The columns that the previous version sealed.
    pub sealed_before: seals::Columns,
    /// The keys of the database that are what the previous version last wrote, by the seals of that version.
    pub sound_keys: fn(&Read, &SealKeys) -> Result<Vec<KeyId>>,
    /// Runs after the SQL in the same transaction. The last argument is the time of the migration.
    pub act: fn(&Write<'_>, &Keys<'_>, Timestamp) -> Result<()>,
}

/// The keys of a migration.
pub struct Keys<'a> {
    /// The keys with which the database was sealed before the migration. A step that changes sealed rows compares them
    /// under these keys and seals them under the same ones; the end of the migration seals everything under those in
    /// `files`.
    pub former: &'a SealKeys,
    pub files: &'a KeyFiles,
}

/// The first version whose rows are sealed under the seal key; older ones were sealed under the pepper.
pub const SEAL_KEY_SINCE: i64 = 5;

/// All steps in order.
pub const STEPS: &[Step] = &[
    to_2::STEP,
    to_3::STEP,
    to_4::STEP,
    to_5::STEP,
    to_6::STEP,
    to_7::STEP,
    to_8::STEP,
];
/// The version that the last step leads to.
pub const VERSION: i64 = STEPS[STEPS.len() - 1].to;

/// Migrates an older database to the current schema, or leaves it unchanged. `now` is the time of the event.
pub fn run(
    read: &Read,
    path: &Path,
    files: &KeyFiles,
    now: Timestamp,
    steps: &[Step],
) -> Result<()> {
    let version = read.version()?;
    let begun = read.batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; BEGIN EXCLUSIVE");
    let ended = begun
        .and_then(|()| migrate(read, version, files, now, steps))
        .and_then(|()| read.batch("COMMIT"));
    if ended.is_err() {
        read.end();
    }
    drop(read.take_effects());
    let restored = read.batch("PRAGMA foreign_keys = ON");
    match ended {
        Err(why) => Err(Error::Unavailable(verbatim(format!(
            "{} has schema {version} and could not be brought to {SCHEMA_VERSION}: {why}; it was left as it is, start the \
             version that wrote it and look for help",
            path.display()
        )))),
        Ok(()) => {
            log::info!("store: the database was brought from schema {version} to {SCHEMA_VERSION}");
            restored
        }
    }
}

/// Runs the steps and seals what they changed. The caller has begun the transaction and ends it.
fn migrate(read: &Read, from: i64, files: &KeyFiles, now: Timestamp, steps: &[Step]) -> Result<()> {
    let missing = || Error::Unavailable(verbatim(format!("there is no step from {from}")));
    let first = steps.iter().find(|step| step.to == from + 1);
    let first = first.ok_or_else(missing)?;
    // Active objects, such as triggers, would run together with the statements of the steps.
    if let [found, ..] = read.sqlite()?.active_objects()?.as_slice() {
        return Err(Error::Unavailable(verbatim(format!(
            "{} does not belong there; remove it with: {}",
            found.shown(),
            found.statement()
        ))));
    }
    // Rows must not be compared or sealed under keys that are not this database's.
    let of_peppers = SealKeys::of_peppers(&files.peppers);
    let former = match from < SEAL_KEY_SINCE {
        true => key_files::check_before_5(read, files).map(|()| &of_peppers),
        false => key_files::check(read, files).map(|()| &*files.seal),
    }?;
    let fitting = Fitting::find(read, former, first)?;
    let newest = audit::newest(read)?.map_or(now, |event| event.at);
    let now = now.max(newest);
    let tx = read.write();
    let mut version = from;
    for step in steps.iter().filter(|step| step.to > from) {
        if step.to != version + 1 {
            break;
        }
        read.batch(&format!("{}; PRAGMA user_version = {};", step.sql, step.to))
            .and_then(|()| (step.act)(&tx, &Keys { former, files }, now))
            .map_err(|err| {
                Error::Unavailable(verbatim(format!("the step to {} failed ({err})", step.to)))
            })?;
        version = step.to;
    }
    if version != SCHEMA_VERSION {
        return Err(Error::Unavailable(verbatim(format!(
            "there is no step from {version}"
        ))));
    }
    audit::append(&tx, &files.seal, event(from, now))?;
    fitting.seal(&tx, files)?;
    let mut faults = foreign_schema(read)?;
    if faults.is_empty() {
        faults = read.faults()?;
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Unavailable(verbatim(faults.join("; ")))),
    }
}

/// What fits its seal before the first step, and is sealed again after the last one.
struct Fitting {
    /// What does not fit; everything else of these kinds does.
    altered: HashSet<Target>,
    keys: Vec<KeyId>,
}

impl Fitting {
    fn find(read: &Read, former: &SealKeys, first: &Step) -> Result<Fitting> {
        Ok(Fitting {
            altered: altered(read, former, first.sealed_before)?,
            keys: (first.sound_keys)(read, former)?,
        })
    }

    fn seal(self, tx: &Write<'_>, files: &KeyFiles) -> Result<()> {
        for kind in seals::KINDS {
            for target in seals::list(tx, kind)? {
                if !self.altered.contains(&target) {
                    seals::put(tx, &files.seal, &target)?;
                }
            }
        }
        let seq = audit::head(tx)?.map_or(0, |head| head.seq);
        for id in self.keys {
            seals::keys::put(tx, &files.seal, id, seq)?;
        }
        Ok(())
    }
}

/// The rows that were changed without Latchkey: they do not fit their seals.
fn altered(read: &Read, former: &SealKeys, columns: seals::Columns) -> Result<HashSet<Target>> {
    let mut altered = HashSet::new();
    // Of a kind that the previous version did not seal, or did not have, there is nothing to compare.
    for kind in seals::KINDS
        .into_iter()
        .filter(|kind| !columns(*kind).is_empty())
    {
        for target in seals::list(read, kind)? {
            let standing = seals::compare(read, former, &target, columns)?;
            if standing == seals::Standing::Broken {
                log::error!(
                    "store: {} {} was changed without Latchkey; the migration does not seal it, see latchkey doctor",
                    kind.as_str(),
                    target.id
                );
                altered.insert(target);
            }
        }
    }
    Ok(altered)
}

fn event(from: i64, now: Timestamp) -> Event {
    let mut changes = Changes::default();
    changes.note("schema", &from, &SCHEMA_VERSION);
    Event {
        changes: changes.into_json(),
        ..Event::of_system("server.migrate", Target::server(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Kind;
    use crate::domain::keys::pepper::Peppers;
    use crate::domain::keys::sealing::SealingKeys;
    use crate::store::{policies, sqlite};
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::Arc;

    /// Names the database of the process that [`killed_at_every_step`] starts.
    const DATABASE: &str = "LATCHKEY_TEST_MIGRATE";
    const OLD: i64 = SCHEMA_VERSION - 1;

    /// A step from a schema that was never released. That schema lacks an index, and one of its columns has another
    /// name.
    const GOOD: Step = Step {
        to: SCHEMA_VERSION,
        sql: "CREATE INDEX keys_owner ON keys (owner_uid) WHERE owner_uid IS NOT NULL;
              ALTER TABLE clock RENAME COLUMN latest TO mark",
        sealed_before: seals::COLUMNS,
        sound_keys: |_, _| Ok(Vec::new()),
        act: |tx, _, now| {
            tx.execute("UPDATE clock SET mark = mark + $1", &[&now])?;
            tx.execute("UPDATE policies SET description = 'migrated'", &[])?;
            Ok(())
        },
    };

    fn step(to: i64, sql: &'static str) -> Step {
        Step { to, sql, ..GOOD }
    }

    pub(super) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("latchkey-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Key files that are the same in every process.
    fn files() -> KeyFiles {
        let text = format!("1 {}\n", "ab".repeat(32));
        KeyFiles {
            peppers: Arc::new(Peppers::parse(&text).unwrap()),
            sealing: Arc::new(SealingKeys::parse(&text).unwrap()),
            hmac: Default::default(),
            provided: Default::default(),
            seal: Arc::new(SealKeys::parse(&format!("1 {}\n", "cd".repeat(32))).unwrap()),
        }
    }

    /// The keys with which a database of the older schema was sealed.
    fn former() -> SealKeys {
        match OLD < SEAL_KEY_SINCE {
            true => SealKeys::of_peppers(&files().peppers),
            false => SealKeys::parse(&format!("1 {}\n", "cd".repeat(32))).unwrap(),
        }
    }

    fn open(path: &Path) -> Read {
        sqlite::open_writer(path, |_| Ok(())).unwrap()
    }

    /// A database of the older schema with two sealed policies, the second of which was changed afterwards, and with
    /// the audit log of a server.
    fn older(folder: &Path) -> PathBuf {
        let path = folder.join("db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.join(format!("db{suffix}")));
        }
        sqlite::create(&path).unwrap();
        let read = open(&path);
        read.batch("BEGIN").unwrap();
        for name in ["changed", "sound"] {
            let policy = crate::domain::policies::Policy {
                name: name.to_owned(),
                ..crate::domain::policies::Policy::standard()
            };
            policies::insert(&read.write(), &policy).unwrap();
            seals::put(&read.write(), &former(), &policy_named(name)).unwrap();
        }
        read.batch(&format!(
            "COMMIT;
             UPDATE policies SET can_rotate = 0 WHERE name = 'changed';
             DROP INDEX keys_owner;
             ALTER TABLE clock RENAME COLUMN mark TO latest;
             INSERT INTO clock (node, latest) VALUES ('', 41);
             PRAGMA user_version = {OLD};"
        ))
        .unwrap();
        path
    }

    fn policy_named(name: &str) -> Target {
        Target::new(Kind::Policy, name)
    }

    fn migrate(path: &Path, steps: &[Step]) -> Result<()> {
        let read = sqlite::open_writer(path, |_| Ok(())).unwrap();
        run(&read, path, &files(), Timestamp(1), steps)
    }

    /// The version, and the value that the good step increases by one.
    fn state(path: &Path) -> (i64, i64) {
        let read = sqlite::open_reader(path).unwrap();
        let version = read.version().unwrap();
        let faults = read.faults().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let value = match version {
            OLD => read.query_one("SELECT latest AS value FROM clock", &[], |row| {
                row.get("value")
            }),
            _ => read.query_one("SELECT mark AS value FROM clock", &[], |row| {
                row.get("value")
            }),
        };
        (version, value.unwrap().unwrap())
    }

    #[test]
    fn an_older_database_is_brought_to_the_current_schema() {
        let folder = folder("good");
        let path = older(&folder);
        migrate(&path, &[GOOD]).unwrap();
        assert_eq!(state(&path), (SCHEMA_VERSION, 42));
        let read = sqlite::open_reader(&path).unwrap();
        let newest = audit::newest(&read).unwrap().unwrap();
        assert_eq!(newest.action, "server.migrate");
        assert!(audit::verify(&read, &files().seal).unwrap().is_ok());
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn what_a_step_changed_fits_its_seal_and_what_was_changed_before_does_not() {
        let folder = folder("seals");
        let path = older(&folder);
        migrate(&path, &[GOOD]).unwrap();
        let read = sqlite::open_reader(&path).unwrap();
        for (name, standing) in [
            ("sound", seals::Standing::Sound),
            ("changed", seals::Standing::Broken),
        ] {
            let policy = policies::find(&read, name).unwrap().unwrap();
            assert_eq!(policy.description, "migrated");
            let found = seals::look(&read, &files().seal, &policy_named(name)).unwrap();
            assert_eq!(found, standing, "{name}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn what_goes_wrong_leaves_the_database_as_it_was() {
        let folder = folder("bad");
        let fails = Step {
            act: |_, _, _| Err(Error::NotFound("key")),
            ..GOOD
        };
        let cases: [(&[Step], &str); 5] = [
            (&[], "there is no step"),
            (&[step(SCHEMA_VERSION, "NONSENSE")], "failed"),
            (&[fails], "failed"),
            (
                &[Step {
                    act: |_, _, _| Ok(()),
                    ..step(SCHEMA_VERSION, "DELETE FROM clock; DROP TABLE clock")
                }],
                "is missing",
            ),
            (&[step(SCHEMA_VERSION + 1, "")], "there is no step"),
        ];
        for (steps, words) in cases {
            let path = older(&folder);
            let refused = migrate(&path, steps).unwrap_err().to_string();
            assert!(
                refused.contains(words) && refused.contains("left as it is"),
                "{refused}"
            );
            assert_eq!(state(&path), (OLD, 41), "{words}");
        }
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn key_files_of_another_database_seal_nothing() {
        let folder = folder("foreign");
        let path = older(&folder);
        let read = open(&path);
        read.batch("BEGIN").unwrap();
        key_files::insert(&read.write(), &KeyFiles::generate(), Timestamp(1)).unwrap();
        read.batch("COMMIT").unwrap();
        drop(read);
        let refused = migrate(&path, &[GOOD]).unwrap_err().to_string();
        assert!(refused.contains("pepper"), "{refused}");
        assert_eq!(state(&path), (OLD, 41));
        let _ = std::fs::remove_dir_all(folder);
    }

    /// Runs `work` in a process for each of its steps that change a file, and ends that process before the step; the last
    /// one is not ended. `test` is the name of the test that calls this, `prepare` makes the database in the folder, and
    /// `is_new` checks the database that is left and returns whether it is migrated.
    pub(super) fn killed_at_every_step(
        test: &str,
        prepare: impl Fn(&Path) -> PathBuf,
        work: impl Fn(&Path),
        is_new: impl Fn(&Path) -> bool,
    ) {
        if let Some(path) = std::env::var_os(DATABASE) {
            return work(&PathBuf::from(path));
        }
        let folder = folder(&format!("killed-{}", test.len()));
        let library = folder.join("killed.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg("tests/server/keeping/killed.c")
            .status();
        if !built.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
                "there is no C compiler"
            );
            return println!("left out: there is no C compiler");
        }
        let (mut old, mut new) = (0, 0);
        for step in 1..10_000 {
            let path = prepare(&folder);
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &format!("store::migrations::{test}")])
                .env(DATABASE, &path)
                .env("LD_PRELOAD", &library)
                .env("LATCHKEY_TEST_KILL_AT", step.to_string())
                .output()
                .unwrap();
            match is_new(&path) {
                false => old += 1,
                true => new += 1,
            }
            if output.status.code().is_some() {
                assert!(output.status.success(), "{output:?}");
                break;
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
        let _ = std::fs::remove_dir_all(folder);
    }

    // attacks 212, 227
    #[test]
    fn killed_at_any_step_a_database_is_old_or_new() {
        killed_at_every_step(
            "tests::killed_at_any_step_a_database_is_old_or_new",
            older,
            |path| migrate(path, &[GOOD]).unwrap(),
            |path| match state(path) {
                (OLD, 41) => false,
                (SCHEMA_VERSION, 42) => true,
                other => panic!("{other:?}"),
            },
        );
    }
}
