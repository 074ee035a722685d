//! The schema in PostgreSQL's words, made of `schema.sql`, and its version.

use super::Postgres;
use super::versions::Versions;
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use crate::store::Read;
use crate::store::sqlite::{SCHEMA, SCHEMA_VERSION};

/// The tables that are lost when the server fails, because a row for each attempt to sign in, or for each request of a key with an exact
/// limit, must not wait for standbys.
const UNLOGGED: [&str; 2] = ["exact_windows", "shared_attempts"];
/// The oldest PostgreSQL that is used.
const SERVER_VERSION_MIN: i64 = 140_000;

/// The start of the name of a schema that was left; the number of its last event follows.
pub const ASIDE: &str = "latchkey_moved_";

/// The table with the versions.
const VERSIONS: &str = "
    CREATE TABLE latchkey_schema (
        one           BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
        version       BIGINT NOT NULL,
        oldest_reader BIGINT NOT NULL CHECK (oldest_reader <= version)
    );";

/// The statements of `schema.sql` in PostgreSQL's words.
pub struct Translated {
    /// With other names for the types, texts compared by their bytes, and no references to other tables.
    pub tables: String,
    /// What adds the references, which is quicker when the rows are there, and needs no order of rows before.
    pub references: String,
}

/// All statements that create the current schema.
pub fn statements() -> String {
    let Translated { tables, references } = translated();
    format!("{tables}{references}{VERSIONS}")
}

/// The statements of `schema.sql`.
pub fn translated() -> Translated {
    let mut text = String::with_capacity(SCHEMA.len());
    let mut late = String::new();
    let mut table = String::new();
    for line in SCHEMA.lines() {
        let mut line = line.split("--").next().unwrap_or("").trim_end().to_owned();
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            table = rest.split(' ').next().unwrap_or("").to_owned();
        }
        if let Some((at, reference)) = reference(&line) {
            let column = line.split_whitespace().next().unwrap_or("").to_owned();
            line.replace_range(at..at + reference.len(), "");
            late.push_str(&format!(
                "ALTER TABLE {table} ADD FOREIGN KEY ({column}) {reference};\n"
            ));
        }
        text.push_str(&in_words_of_postgres(&line));
        text.push('\n');
    }
    Translated {
        tables: text,
        references: late,
    }
}

/// A statement or a line of one in PostgreSQL's words.
pub fn in_words_of_postgres(sql: &str) -> String {
    let mut lines = sql.lines().map(|line| match line.starts_with(')') {
        true => line
            .replace(" STRICT, WITHOUT ROWID", "")
            .replace(" STRICT", ""),
        false => line.to_owned(),
    });
    let mut first = lines.next().unwrap_or_default();
    let named = first.strip_prefix("CREATE TABLE ");
    let named = named.and_then(|rest| rest.split(' ').next());
    if named.is_some_and(|table| UNLOGGED.contains(&table)) {
        first = first.replacen("CREATE TABLE", "CREATE UNLOGGED TABLE", 1);
    }
    let joined = lines.fold(first, |text, line| format!("{text}\n{line}"));
    with_types(&joined)
}

/// The reference of a line: its position and its text.
fn reference(line: &str) -> Option<(usize, String)> {
    let at = line.find("REFERENCES ")?;
    let rest = &line[at..];
    let mut end = rest.find(')')? + 1;
    let cascade = " ON DELETE CASCADE";
    if rest[end..].starts_with(cascade) {
        end += cascade.len();
    }
    Some((at, rest[..end].to_owned()))
}

/// Replaces the names of types.
fn with_types(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match rest.find(|c: char| !is_word(c)) {
            Some(0) => rest.find(is_word).unwrap_or(rest.len()),
            Some(end) => end,
            None => rest.len(),
        };
        text.push_str(match &rest[..end] {
            "BLOB" => "BYTEA",
            "INTEGER" => "BIGINT",
            "TEXT" => "TEXT COLLATE \"C\"",
            other => other,
        });
        rest = &rest[end..];
    }
    text
}

/// Creates the schema `latchkey` with all tables, or nothing. What an interrupted creation has left, which no node has opened
/// yet, is replaced.
pub fn create(read: &Read) -> Result<()> {
    check_server(read.postgres()?)?;
    Postgres::alone(read, |postgres| {
        clear_unopened(postgres)?;
        postgres.batch("CREATE SCHEMA latchkey")?;
        postgres.batch(&statements())?;
        record_version(postgres)
    })
}

/// Creates the schema with what `fill` writes into it, in the transaction that is open. There is none of this name.
pub fn create_filled(postgres: &Postgres, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let Translated { tables, references } = translated();
    postgres.batch("CREATE SCHEMA latchkey")?;
    postgres.batch(&tables)?;
    fill()?;
    postgres.batch(&references)?;
    postgres.batch(VERSIONS)?;
    record_version(postgres)
}

fn record_version(postgres: &Postgres) -> Result<()> {
    postgres
        .execute(
            "INSERT INTO latchkey_schema (one, version, oldest_reader)
             VALUES (1, $1, $2)",
            &[&SCHEMA_VERSION, &postgres.address.schemas.oldest_reader()],
        )
        .map(drop)
}

/// What an interrupted creation does not leave: nodes, a part of the log that was cut off, events of anything else, and more users and
/// keys than the first ones.
const USED: &str = "SELECT count(*) AS count
     FROM (SELECT 1 FROM latchkey.nodes
           UNION ALL SELECT 1 FROM latchkey.node_leases
           UNION ALL SELECT 1 FROM latchkey.audit_checkpoint
           UNION ALL SELECT 1 FROM latchkey.audit_events
                     WHERE actor <> 'system' OR action NOT IN ('server.init', 'key.issue', 'catalog.install', 'policy.install')
           UNION ALL (SELECT 1 FROM latchkey.users OFFSET 1)
           UNION ALL (SELECT 1 FROM latchkey.keys OFFSET 2)) AS used";

/// Removes a schema that no node has opened; refuses any other.
fn clear_unopened(postgres: &Postgres) -> Result<()> {
    check_free(postgres)?;
    postgres.batch("DROP SCHEMA IF EXISTS latchkey CASCADE")
}

/// Refuses a database with a schema that is not certainly that of an interrupted creation.
pub fn check_free(postgres: &Postgres) -> Result<()> {
    if !has_schema(postgres)? {
        return Ok(());
    }
    match postgres.count(USED) {
        Ok(0) => Ok(()),
        _ => Err(refused(
            "has a schema latchkey already, which was left as it is; to make this folder a node of it, copy the key files of \
             another node into the folder and add --join",
        )),
    }
}

/// Refuses a server that is too old, and a database with a schema that this build cannot use.
pub fn check(postgres: &Postgres) -> Result<()> {
    check_server(postgres)?;
    if !has_schema(postgres)? {
        return Err(match aside(postgres)?.last() {
            None => refused("has no schema latchkey; it is not Latchkey's"),
            Some(name) => refused(&format!(
                "has no schema latchkey any more: its content was moved away with latchkey move, and what it was is in {name}"
            )),
        });
    }
    let Versions {
        version,
        oldest_reader,
    } = versions(postgres)?;
    if oldest_reader > SCHEMA_VERSION {
        return Err(refused(&format!(
            "was written by a newer Latchkey (schema {version}, for programs of schema {oldest_reader} and later; this \
             build knows {SCHEMA_VERSION}); start that version, the database was left as it is"
        )));
    }
    let oldest = postgres.address.schemas.oldest;
    if version < oldest {
        return Err(refused(&format!(
            "has schema {version}, this build needs {oldest}; start the version that wrote it"
        )));
    }
    Ok(())
}

/// The versions in `latchkey_schema`.
pub fn versions(postgres: &Postgres) -> Result<Versions> {
    let mut found = None;
    postgres.each(
        "SELECT version, oldest_reader FROM latchkey_schema WHERE one = 1",
        &[],
        &mut |row| {
            found = Some(Versions::from_row(row)?);
            Ok(())
        },
    )?;
    found.ok_or_else(|| refused("does not record the version of its schema; restore a backup"))
}

/// The schemas that were left, the newest last.
pub fn aside(postgres: &Postgres) -> Result<Vec<String>> {
    let mut found = Vec::new();
    postgres.each(
        "SELECT CAST(nspname AS text) AS name
         FROM pg_catalog.pg_namespace
         WHERE nspname ~ '^latchkey_moved_[0-9]+$'
         ORDER BY oid",
        &[],
        &mut |row| {
            found.push(row.get("name")?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// Whether there is a schema of Latchkey.
pub fn has_schema(postgres: &Postgres) -> Result<bool> {
    let mut found = false;
    postgres.each(
        "SELECT 1 AS found FROM pg_catalog.pg_namespace WHERE nspname = 'latchkey'",
        &[],
        &mut |row| {
            found = row.get("found")?;
            Ok(())
        },
    )?;
    Ok(found)
}

/// Lengths of texts are counted in characters only if the server knows what a character is.
pub fn check_server(postgres: &Postgres) -> Result<()> {
    let (mut version, mut encoding) = (0, String::new());
    postgres.each(
        "SELECT CAST(current_setting('server_version_num') AS BIGINT) AS version,
                current_setting('server_encoding') AS encoding",
        &[],
        &mut |row| {
            version = row.get("version")?;
            encoding = row.get("encoding")?;
            Ok(())
        },
    )?;
    if version < SERVER_VERSION_MIN {
        return Err(refused(&format!(
            "is on PostgreSQL {}; Latchkey needs {} or later",
            version / 10_000,
            SERVER_VERSION_MIN / 10_000
        )));
    }
    if encoding != "UTF8" {
        return Err(refused(&format!(
            "has the encoding {encoding}; create one with UTF8"
        )));
    }
    Ok(())
}

pub fn refused(why: &str) -> Error {
    Error::Unavailable(verbatim(format!("the PostgreSQL database {why}")))
}
