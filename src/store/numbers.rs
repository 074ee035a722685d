//! The highest assigned number of each series; see [`crate::domain::numbers`].

use super::{Read, Row, Write};
use crate::domain::numbers::{Numbers, Series};
use crate::error::{Error, Result};

/// Assigns the number of the next key, user or authenticator. The number is recorded outside the database before the
/// transaction is acknowledged.
pub fn next_of_keys(tx: &Write<'_>) -> Result<i64> {
    let next = tx.query_one(
        "INSERT INTO numbers (series, last)
         SELECT 'key', coalesce(max(latest.number), 0) + 1
         FROM (SELECT (SELECT max(number) FROM keys) AS number
               UNION ALL SELECT (SELECT max(number) FROM users)
               UNION ALL SELECT (SELECT max(number) FROM authenticators)
               UNION ALL SELECT last FROM numbers WHERE series = 'key'
               UNION ALL SELECT $1) AS latest
         WHERE true
         ON CONFLICT (series) DO UPDATE SET last = excluded.last
         RETURNING last",
        &[&tx.given(Series::Keys)],
        last,
    )?;
    given(tx, Series::Keys, next)
}

/// Assigns the number of the next workspace. Deleted workspaces keep their numbers.
pub fn next_of_workspaces(tx: &Write<'_>) -> Result<i64> {
    let next = tx.query_one(
        "INSERT INTO numbers (series, last)
         SELECT 'workspace', coalesce(max(latest.number), 0) + 1
         FROM (SELECT (SELECT max(number) FROM workspaces) AS number
               UNION ALL SELECT last FROM numbers WHERE series = 'workspace'
               UNION ALL SELECT $1) AS latest
         WHERE true
         ON CONFLICT (series) DO UPDATE SET last = excluded.last
         RETURNING last",
        &[&tx.given(Series::Workspaces)],
        last,
    )?;
    given(tx, Series::Workspaces, next)
}

/// The highest assigned number of each series.
pub fn latest(read: &Read) -> Result<Numbers> {
    let mut latest = Numbers::default();
    let rows = read.query("SELECT series, last FROM numbers", &[], |row| {
        Ok((row.get::<String>("series")?, last(row)?))
    })?;
    for (name, number) in rows {
        if let Some(series) = Series::parse(&name) {
            latest.set(series, number);
        }
    }
    Ok(latest)
}

/// Raises the highest assigned numbers, so that the series continue after these.
pub fn raise(tx: &Write<'_>, numbers: Numbers) -> Result<()> {
    for series in Series::ALL {
        tx.execute(
            "INSERT INTO numbers (series, last) VALUES ($1, $2)
             ON CONFLICT (series) DO UPDATE SET last = excluded.last WHERE numbers.last < excluded.last",
            &[&series.as_str(), &numbers.of(series)],
        )?;
    }
    Ok(())
}

fn given(tx: &Write<'_>, series: Series, number: Option<i64>) -> Result<i64> {
    let number = number.ok_or_else(|| Error::internal("no number was given"))?;
    tx.note_given(series, number);
    Ok(number)
}

fn last(row: &Row<'_>) -> Result<i64> {
    row.get("last")
}
