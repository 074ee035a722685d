//! Migrating a database on a server while nodes use it, in one transaction.
//!
//! The steps are those of a file, in the same words. One of them is carried out so if it only adds: tables, columns and indexes, and
//! rows and values in these. What it adds can be taken away again by its names alone, so the schema of an older database is known
//! too: it is the present one without the additions of the steps that the database lacks.
//!
//! A program also runs on the older schemas from [`Schemas::oldest`] on. Its statements must not name what such a database lacks:
//! where they do, they ask [`Read::version`] first.

use super::{Fitting, Keys, Step};
use crate::domain::audit::{Changes, Event};
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals::server::database_locked;
use crate::refusals::verbatim;
use crate::store::connection::Additions;
use crate::store::postgres::in_words_of_postgres;
use crate::store::sqlite::SCHEMA_VERSION;
use crate::store::{Read, audit, key_files};
use std::time::Duration;

/// How long a statement may take: an index of a large table is made while all changes wait.
const STATEMENT_MAX: Duration = Duration::from_secs(600);

/// A step that can be carried out while nodes use the database.
pub struct RollingStep {
    pub step: &'static Step,
    /// The oldest schema whose programs may use the database afterwards: that of the step itself, unless everything that such
    /// a program writes is right there too.
    pub oldest_reader: i64,
    /// Whether the step changes what is sealed. Then everything that fits its seal is sealed again, while all changes wait.
    pub reseals: bool,
}

/// The schemas that a program can use on a server.
#[derive(Clone, Copy)]
pub struct Schemas {
    /// The oldest one.
    pub oldest: i64,
    /// The steps from there to the present schema.
    pub steps: &'static [RollingStep],
}

impl Schemas {
    /// Those of this program. A release that still has to run on the schema of the one before it keeps `oldest`, and adds its step.
    pub const OURS: Schemas = Schemas {
        oldest: 7,
        steps: &[RollingStep {
            step: &super::to_8::STEP,
            // A node with an older program would share an exact limit out.
            oldest_reader: 8,
            reseals: false,
        }],
    };

    /// The steps that a database of a schema lacks.
    pub fn after(self, version: i64) -> impl DoubleEndedIterator<Item = &'static RollingStep> {
        let steps = self.steps.iter();
        steps.filter(move |rolling| rolling.step.to > version)
    }

    /// The oldest schema whose programs may use a database of the present one.
    pub fn oldest_reader(self) -> i64 {
        let steps = self.steps.iter().map(|rolling| rolling.oldest_reader);
        steps.fold(self.oldest, i64::max)
    }

    /// What a database of a schema lacks.
    pub fn lacking(self, version: i64) -> Result<Additions> {
        let mut all = Additions::default();
        for rolling in self.after(version) {
            let Parts { adds, .. } = Parts::of(rolling.step.sql)?;
            all.tables.extend(adds.tables);
            all.columns.extend(adds.columns);
            all.indexes.extend(adds.indexes);
        }
        Ok(all)
    }
}

/// The statements of a step.
struct Parts {
    adds: Additions,
    /// In PostgreSQL's words.
    statements: Vec<String>,
}

impl Parts {
    /// # Errors
    /// A statement does not only add something, or cannot be read here.
    fn of(sql: &str) -> Result<Parts> {
        let mut parts = Parts {
            adds: Additions::default(),
            statements: Vec::new(),
        };
        let lines = sql
            .lines()
            .map(|line| line.split("--").next().unwrap_or(""));
        let code: Vec<&str> = lines.collect();
        for statement in code.join("\n").split(';').map(str::trim) {
            if !statement.is_empty() {
                let written = parts.read(statement).ok_or_else(|| {
                    let shown: String = statement.chars().take(100).collect();
                    Error::internal(format!("it does not only add something: {shown}"))
                })?;
                parts.statements.push(written);
            }
        }
        Ok(parts)
    }

    /// Notes what a statement adds; `None` if it does anything else.
    fn read(&mut self, statement: &str) -> Option<String> {
        let words: Vec<&str> = statement
            .split(|c: char| c.is_whitespace() || c == '(')
            .filter(|word| !word.is_empty())
            .collect();
        let name = |at: usize| words.get(at).map(|word| (*word).to_owned());
        // A semicolon in a text has cut it in two.
        if statement.matches('\'').count() % 2 == 1 {
            return None;
        }
        match words.as_slice() {
            ["CREATE", "TABLE", ..] => self.adds.tables.push(name(2)?),
            ["CREATE", "INDEX", ..] => self.adds.indexes.push(name(2)?),
            ["CREATE", "UNIQUE", "INDEX", ..] => self.adds.indexes.push(name(3)?),
            // SQLite does not take such a column away again.
            ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] if words.contains(&"REFERENCES") => {
                return None;
            }
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => {
                self.adds
                    .columns
                    .push(((*table).to_owned(), (*column).to_owned()));
            }
            ["INSERT", "INTO", table, ..] if self.adds.has_table(table) => {
                return Some(statement.to_owned());
            }
            ["UPDATE", table, "SET", ..] if self.sets_only_added(table, statement) => {
                return Some(statement.to_owned());
            }
            _ => return None,
        }
        Some(in_words_of_postgres(statement))
    }

    /// Whether an `UPDATE` sets a single column, and that was added.
    fn sets_only_added(&self, table: &str, statement: &str) -> bool {
        let Some((_, set)) = statement.split_once(" SET ") else {
            return false;
        };
        let set = set.split(" WHERE ").next().unwrap_or("");
        let mut depth = 0;
        let is_single = set.chars().all(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            c != ',' || depth > 0
        });
        let column = set.split('=').next().unwrap_or("").trim();
        is_single && (self.adds.has_table(table) || self.adds.has_column(table, column))
    }
}

/// Carries out the steps that a database of schema `from` lacks, and appends the event. The caller has begun the transaction, which
/// runs alone and knows the end of the chain, and ends it.
pub fn run(read: &Read, schemas: Schemas, from: i64, files: &KeyFiles, draft: Event) -> Result<()> {
    let steps: Vec<&RollingStep> = schemas.after(from).collect();
    let to = steps.last().map_or(from, |rolling| rolling.step.to);
    if to != SCHEMA_VERSION {
        return Err(Error::internal(format!("there is no step from {to}")));
    }
    // Rows must not be compared or sealed under keys that are not this database's.
    key_files::check(read, files)?;
    let fitting = match steps.iter().any(|rolling| rolling.reseals) {
        true => Some(Fitting::find(read, &files.seal, steps[0].step)?),
        false => None,
    };
    let newest = audit::newest(read)?.map_or(draft.at, |event| event.at);
    let now = draft.at.max(newest);
    for rolling in steps {
        let step = rolling.step;
        carry_out(read, step, files, now).map_err(|err| match err {
            // The caller tries again.
            Error::Unavailable(why) if why == database_locked() => Error::Unavailable(why),
            err => Error::Unavailable(verbatim(format!(
                "the step to schema {} failed, and the database was left as it is: {err}",
                step.to
            ))),
        })?;
    }
    let tx = read.write();
    let changed = tx.execute(
        "UPDATE latchkey_schema SET version = $1, oldest_reader = $2 WHERE one = 1",
        &[&to, &schemas.oldest_reader()],
    )?;
    if changed != 1 {
        return Err(Error::internal("the schema has no version to write"));
    }
    let mut changes = Changes::default();
    changes.note("schema", &from, &to);
    let event = Event {
        at: now,
        changes: changes.into_json(),
        ..draft
    };
    audit::append(&tx, &files.seal, event)?;
    fitting.map_or(Ok(()), |fitting| fitting.seal(&tx, files))
}

fn carry_out(read: &Read, step: &Step, files: &KeyFiles, now: Timestamp) -> Result<()> {
    for statement in Parts::of(step.sql)?.statements {
        read.postgres()?.batch_within(STATEMENT_MAX, &statement)?;
    }
    let keys = Keys {
        former: &files.seal,
        files,
    };
    (step.act)(&read.write(), &keys, now)
}

/// For tests: the step to the present schema from one that was never released, which lacks a table, a column and an index. The
/// step is made of a part of `schema.sql`, as it is there.
#[cfg(test)]
pub mod testing {
    use super::{RollingStep, Schemas, Step};
    use crate::domain::audit::Kind;
    use crate::store::migrations::to_7;
    use crate::store::postgres::Postgres;
    use crate::store::seals;
    use crate::store::sqlite::SCHEMA_VERSION;

    pub const OLD: i64 = SCHEMA_VERSION - 1;

    pub static STEP: Step = Step {
        to: SCHEMA_VERSION,
        sql: "-- A part of the schema.
              CREATE TABLE declared_files (
                  path   TEXT NOT NULL PRIMARY KEY, -- a name
                  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
                  absent TEXT NOT NULL CHECK (absent IN ('delete', 'disable', 'keep'))
) STRICT, WITHOUT ROWID;
              ALTER TABLE sites ADD COLUMN lent_life TEXT CHECK (length(lent_life) = 36);
              CREATE INDEX keys_owner ON keys (owner_uid) WHERE owner_uid IS NOT NULL;
              UPDATE sites SET lent_life = life WHERE life IS NOT NULL;",
        sealed_before,
        sound_keys: to_7::STEP.sound_keys,
        act: |tx, _, _| {
            tx.execute("UPDATE policies SET description = 'migrated'", &[])?;
            Ok(())
        },
    };
    static STEPS: [RollingStep; 1] = [RollingStep {
        step: &STEP,
        oldest_reader: SCHEMA_VERSION,
        reseals: true,
    }];

    static INDEX: Step = Step {
        sql: "CREATE INDEX keys_owner ON keys (owner_uid) WHERE owner_uid IS NOT NULL",
        act: |_, _, _| Ok(()),
        ..STEP
    };
    static INDEX_STEPS: [RollingStep; 1] = [RollingStep {
        step: &INDEX,
        oldest_reader: OLD,
        reseals: false,
    }];

    fn sealed_before(kind: Kind) -> &'static [&'static str] {
        match kind {
            Kind::Site => &["SELECT name, lend FROM sites WHERE name = $1"],
            other => seals::COLUMNS(other),
        }
    }

    /// The schemas of a program that also runs on the older one.
    pub fn schemas() -> Schemas {
        Schemas {
            oldest: OLD,
            steps: &STEPS,
        }
    }

    /// The same where the older schema lacks an index alone, so that the whole program runs on it.
    pub fn without_an_index() -> Schemas {
        Schemas {
            oldest: OLD,
            steps: &INDEX_STEPS,
        }
    }

    /// Gives a new database the older schema.
    pub fn make_older(postgres: &Postgres, schemas: Schemas) {
        let undo = schemas.lacking(OLD).unwrap().undo();
        let version = format!("UPDATE latchkey_schema SET version = {OLD}, oldest_reader = {OLD}");
        postgres.batch(&format!("{undo}{version}")).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn additions(tables: &[&str], columns: &[(&str, &str)], indexes: &[&str]) -> Additions {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let columns = columns.iter();
        Additions {
            tables: texts(tables),
            columns: columns
                .map(|(table, column)| ((*table).to_owned(), (*column).to_owned()))
                .collect(),
            indexes: texts(indexes),
        }
    }

    #[test]
    fn the_steps_of_this_program_lead_from_the_oldest_schema_to_its_own() {
        let Schemas { oldest, steps } = Schemas::OURS;
        let led_to: Vec<i64> = steps.iter().map(|rolling| rolling.step.to).collect();
        let needed: Vec<i64> = (oldest + 1..=SCHEMA_VERSION).collect();
        assert_eq!(led_to, needed);
        for rolling in steps {
            Parts::of(rolling.step.sql).map(drop).unwrap();
            assert!((oldest..=rolling.step.to).contains(&rolling.oldest_reader));
        }
    }

    #[test]
    fn what_a_step_adds_is_found_in_its_words() {
        let found = testing::schemas().lacking(testing::OLD).unwrap();
        assert_eq!(
            found,
            additions(
                &["declared_files"],
                &[("sites", "lent_life")],
                &["keys_owner"]
            )
        );
        let undo = "DROP INDEX keys_owner;\nALTER TABLE sites DROP COLUMN lent_life;\nDROP TABLE declared_files;\n";
        assert_eq!(found.undo(), undo);
        let nothing = testing::schemas().lacking(SCHEMA_VERSION).unwrap();
        assert_eq!(nothing, Additions::default());
        assert_eq!(testing::schemas().oldest_reader(), SCHEMA_VERSION);
        assert_eq!(testing::without_an_index().oldest_reader(), testing::OLD);
        let statements = Parts::of(testing::STEP.sql).unwrap().statements;
        assert_eq!(statements.len(), 4);
        assert!(statements[0].contains("sha256 BYTEA NOT NULL"));
        assert!(statements[0].ends_with(')'), "{}", statements[0]);
    }

    #[test]
    fn a_step_that_does_more_than_adding_is_not_carried_out_among_nodes() {
        let made = "CREATE TABLE t (a INTEGER);\nALTER TABLE keys ADD COLUMN b INTEGER;\n";
        for good in [
            "INSERT INTO t (a) SELECT 1",
            "UPDATE t SET a = 2",
            "UPDATE keys SET b = 1 WHERE id > 'x'",
            "UPDATE keys SET b = coalesce(number, 1)",
            "CREATE UNIQUE INDEX i ON t (a)",
        ] {
            assert!(Parts::of(&format!("{made}{good}")).is_ok(), "{good}");
        }
        for bad in [
            "DROP TABLE keys",
            "DELETE FROM keys",
            "ALTER TABLE keys DROP COLUMN name",
            "ALTER TABLE keys RENAME TO other",
            "ALTER TABLE keys ADD COLUMN owner TEXT REFERENCES users (uid)",
            "INSERT INTO keys (b) VALUES (1)",
            "UPDATE keys SET name = 'x'",
            "UPDATE keys SET b = 1, name = 'x'",
            "CREATE TEMP TABLE t2 AS SELECT 1",
            "CREATE TRIGGER t BEFORE INSERT ON keys BEGIN SELECT 1; END",
            "UPDATE t SET a = ';'",
        ] {
            assert!(Parts::of(&format!("{made}{bad}")).is_err(), "{bad}");
        }
        // As the released steps do.
        assert!(Parts::of(include_str!("to_5.sql")).is_err());
    }
}
