//! The schema in PostgreSQL's words, made of `schema.sql`, and its version.

use super::Postgres;
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use crate::store::sqlite::{SCHEMA, SCHEMA_VERSION};
use std::collections::HashSet;

/// The table that is lost when the server fails, because a row for each attempt to sign in must not wait for standbys.
const ATTEMPTS: &str = "shared_attempts";
/// The oldest PostgreSQL that is used.
const SERVER_VERSION_MIN: i64 = 140_000;

/// The versions that a database records.
#[derive(Debug, Eq, PartialEq)]
pub struct Versions {
    /// Of its schema.
    pub version: i64,
    /// The oldest version of Latchkey's schema whose programs may use it.
    pub oldest_reader: i64,
}

/// The statements that create the current schema: those of `schema.sql` with other names for the types, texts compared
/// by their bytes, and references to later tables at the end.
pub fn translated() -> String {
    let mut text = String::with_capacity(SCHEMA.len());
    let mut late = String::new();
    let (mut table, mut known) = (String::new(), HashSet::new());
    for line in SCHEMA.lines() {
        let mut line = line.split("--").next().unwrap_or("").trim_end().to_owned();
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            table = rest.split(' ').next().unwrap_or("").to_owned();
            known.insert(table.clone());
            if table == ATTEMPTS {
                line = line.replacen("CREATE TABLE", "CREATE UNLOGGED TABLE", 1);
            }
        }
        if let Some((at, reference, to)) = reference(&line)
            && !known.contains(&to)
        {
            let column = line.split_whitespace().next().unwrap_or("").to_owned();
            line.replace_range(at..at + reference.len(), "");
            late.push_str(&format!(
                "ALTER TABLE {table} ADD FOREIGN KEY ({column}) {reference};\n"
            ));
        }
        if line.starts_with(')') {
            line = line
                .replace(" STRICT, WITHOUT ROWID", "")
                .replace(" STRICT", "");
        }
        text.push_str(&with_types(&line));
        text.push('\n');
    }
    text.push_str(&late);
    text
}

/// The first reference of a line: its position, its text, and the table that it refers to.
fn reference(line: &str) -> Option<(usize, String, String)> {
    let at = line.find("REFERENCES ")?;
    let rest = &line[at..];
    let mut end = rest.find(')')? + 1;
    let cascade = " ON DELETE CASCADE";
    if rest[end..].starts_with(cascade) {
        end += cascade.len();
    }
    let to = rest.split(' ').nth(1)?.to_owned();
    Some((at, rest[..end].to_owned(), to))
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

/// Creates the schema `latchkey` with all tables, or nothing.
pub fn create(postgres: &Postgres) -> Result<()> {
    check_server(postgres)?;
    if has_schema(postgres)? {
        return Err(refused(
            "has a schema latchkey already; it was left as it is",
        ));
    }
    let begun = postgres.begin(true).map_err(|fault| fault.error);
    let made = begun.and_then(|()| {
        postgres.batch("CREATE SCHEMA latchkey")?;
        postgres.batch(&translated())?;
        postgres.batch(
            "CREATE TABLE latchkey_schema (
                 one           BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
                 version       BIGINT NOT NULL,
                 oldest_reader BIGINT NOT NULL CHECK (oldest_reader <= version)
             )",
        )?;
        postgres.execute(
            "INSERT INTO latchkey_schema (one, version, oldest_reader)
             VALUES (1, $1, $2)",
            &[&SCHEMA_VERSION, &SCHEMA_VERSION],
        )
    });
    if let Err(err) = made {
        postgres.end();
        return Err(err);
    }
    postgres.commit(None).map_err(|fault| fault.error)
}

/// Refuses a server that is too old, and a database without the schema of this build.
pub fn check(postgres: &Postgres) -> Result<()> {
    check_server(postgres)?;
    if !has_schema(postgres)? {
        return Err(refused("has no schema latchkey; it is not Latchkey's"));
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
    if version < SCHEMA_VERSION {
        return Err(refused(&format!(
            "has schema {version}, this build needs {SCHEMA_VERSION}; start the version that wrote it"
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
            found = Some(Versions {
                version: row.get("version")?,
                oldest_reader: row.get("oldest_reader")?,
            });
            Ok(())
        },
    )?;
    found.ok_or_else(|| refused("does not record the version of its schema; restore a backup"))
}

fn has_schema(postgres: &Postgres) -> Result<bool> {
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
fn check_server(postgres: &Postgres) -> Result<()> {
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

fn refused(why: &str) -> Error {
    Error::Unavailable(verbatim(format!("the PostgreSQL database {why}")))
}
