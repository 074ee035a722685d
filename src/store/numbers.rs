//! The highest assigned number of each series; see [`crate::domain::numbers`].

use super::{Read, Row, Write};
use crate::domain::numbers::{Numbers, Series};
use crate::error::{Error, Result};

/// Assigns the number of the next key, user or authenticator. The number is recorded outside the database before the
/// transaction is acknowledged.
pub fn next_of_keys(tx: &Write<'_>) -> Result<i64> {
    if let Some(last) = tx.assigned(Series::Keys) {
        raise_one(tx, Series::Keys, last + 1)?;
        return given(tx, Series::Keys, Some(last + 1));
    }
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

/// Assigns the numbers of so many keys, which follow one another, and returns the first.
pub fn several_of_keys(tx: &Write<'_>, count: i64) -> Result<i64> {
    let first = next_of_keys(tx)?;
    let last = first + count.max(1) - 1;
    let mut latest = Numbers::default();
    latest.set(Series::Keys, last);
    raise(tx, latest)?;
    tx.note_given(Series::Keys, last);
    Ok(first)
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
        raise_one(tx, series, numbers.of(series))?;
    }
    Ok(())
}

fn raise_one(tx: &Write<'_>, series: Series, number: i64) -> Result<()> {
    tx.send(
        "INSERT INTO numbers (series, last) VALUES ($1, $2)
         ON CONFLICT (series) DO UPDATE SET last = excluded.last WHERE numbers.last < excluded.last",
        &[&series.as_str(), &number],
    )
}

fn given(tx: &Write<'_>, series: Series, number: Option<i64>) -> Result<i64> {
    let number = number.ok_or_else(|| Error::internal("no number was given"))?;
    tx.note_given(series, number);
    Ok(number)
}

fn last(row: &Row<'_>) -> Result<i64> {
    row.get("last")
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn several_numbers_follow_one_another_and_are_never_assigned_again() {
        for read in testing::stores() {
            let tx = read.write();
            assert_eq!(next_of_keys(&tx).unwrap(), 1);
            assert_eq!(several_of_keys(&tx, 3).unwrap(), 2);
            assert_eq!(tx.given(Series::Keys), 4);
            assert_eq!(next_of_keys(&tx).unwrap(), 5);
            assert_eq!(several_of_keys(&tx, 1).unwrap(), 6);
            assert_eq!(latest(&read).unwrap().of(Series::Keys), 6);
            assert_eq!(next_of_workspaces(&tx).unwrap(), 1);
        }
    }
}
