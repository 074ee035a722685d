//! Attempts to sign in, as the nodes that share a database announce them to one another. Changes are in one order: each batch of changes
//! of a node waits for those of the others.

use super::{Read, Row, Write};
use crate::domain::attempts::shared::{Announcement, Outcome, SharedAttempt};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// How long rows are kept: longer than any failure counts.
pub const KEPT_MS: i64 = 25 * 3_600_000;

/// What has changed after a number, in the order of the changes.
pub fn list_after(read: &Read, seen: i64, own: NodeId) -> Result<Vec<SharedAttempt>> {
    let own = own.to_string();
    read.query(
        "SELECT number, changed, node, at, what, outcome FROM shared_attempts WHERE changed > $1 ORDER BY changed",
        &[&seen],
        |row: &Row<'_>| {
            let what: String = row.get("what")?;
            let announced = Announcement::parse(&what);
            Ok(SharedAttempt {
                number: row.get("number")?,
                changed: row.get("changed")?,
                is_own: row.get::<String>("node")? == own,
                at: row.get("at")?,
                announced: announced.ok_or_else(|| Error::internal("a shared attempt that is none"))?,
                outcome: outcome(row.get("outcome")?)?,
            })
        },
    )
}

/// The number of the newest change; 0 if there is none.
pub fn newest(read: &Read) -> Result<i64> {
    let found = read.query_one(
        "SELECT changed FROM shared_attempts ORDER BY changed DESC LIMIT 1",
        &[],
        |row| row.get("changed"),
    )?;
    Ok(found.unwrap_or(0))
}

/// Adds a row, and returns its number. Numbers are times as far as possible, so that they go on where they were if the table is
/// lost with the server's memory.
pub fn insert(
    tx: &Write<'_>,
    node: NodeId,
    announced: &Announcement,
    outcome: Outcome,
    now: Timestamp,
) -> Result<i64> {
    let number = next(tx, now)?;
    tx.execute(
        "INSERT INTO shared_attempts (number, changed, node, at, what, outcome)
         VALUES ($1, $1, $2, $3, $4, $5)",
        &[
            &number,
            &node.to_string(),
            &now,
            &announced.to_string(),
            &code(outcome),
        ],
    )?;
    Ok(number)
}

/// Sets the outcome of an attempt that had none yet.
pub fn update_outcome(tx: &Write<'_>, number: i64, outcome: Outcome, now: Timestamp) -> Result<()> {
    let changed = next(tx, now)?;
    tx.execute(
        "UPDATE shared_attempts SET outcome = $1, changed = $2, at = $3 WHERE number = $4 AND outcome = 0",
        &[&code(outcome), &changed, &now, &number],
    )?;
    Ok(())
}

/// Deletes what no longer counts.
pub fn delete_before(tx: &Write<'_>, at: Timestamp) -> Result<()> {
    tx.execute("DELETE FROM shared_attempts WHERE at < $1", &[&at])?;
    Ok(())
}

fn next(read: &Read, now: Timestamp) -> Result<i64> {
    Ok(newest(read)?.saturating_add(1).max(now.0))
}

fn code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Pending => 0,
        Outcome::Failed => 1,
        Outcome::NoFailure => 2,
    }
}

fn outcome(code: i64) -> Result<Outcome> {
    match code {
        0 => Ok(Outcome::Pending),
        1 => Ok(Outcome::Failed),
        2 => Ok(Outcome::NoFailure),
        _ => Err(Error::internal("an outcome of an attempt that is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attempts::{Account, NOBODY, Ticket};
    use crate::store::testing;

    #[test]
    fn changes_are_read_once_in_their_order() {
        let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
        let attempt = Announcement::Attempt(Ticket::Code {
            account: NOBODY,
            place: None,
        });
        let forgotten = Announcement::Forgotten(Account::Unknown(7));
        for read in testing::stores() {
            let tx = read.write();
            let first = insert(&tx, one, &attempt, Outcome::Pending, Timestamp(50)).unwrap();
            let second = insert(&tx, other, &forgotten, Outcome::NoFailure, Timestamp(20)).unwrap();
            assert_eq!((first, second), (50, 51));
            let found = list_after(&read, 0, one).unwrap();
            let own: Vec<bool> = found.iter().map(|row| row.is_own).collect();
            assert_eq!((found.len(), own), (2, vec![true, false]));
            update_outcome(&tx, first, Outcome::Failed, Timestamp(60)).unwrap();
            // The first outcome stands.
            update_outcome(&tx, first, Outcome::NoFailure, Timestamp(70)).unwrap();
            let found = list_after(&read, second, other).unwrap();
            assert_eq!(
                found,
                [SharedAttempt {
                    number: 50,
                    changed: 60,
                    is_own: false,
                    at: Timestamp(60),
                    announced: attempt.clone(),
                    outcome: Outcome::Failed,
                }]
            );
            delete_before(&tx, Timestamp(60)).unwrap();
            assert_eq!(list_after(&read, 0, one).unwrap().len(), 1);
            assert_eq!(newest(&read).unwrap(), 60);
        }
    }
}
