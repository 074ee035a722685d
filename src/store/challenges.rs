//! Used challenges of sign-ins with two steps, until they would have expired.

use super::{Read, Write};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Whether a challenge was used.
pub fn is_spent(read: &Read, seal: &[u8; 32]) -> Result<bool> {
    let found = read.query_one(
        "SELECT ends_at FROM spent_challenges WHERE seal = $1",
        &[seal],
        |row| row.get::<Timestamp>("ends_at"),
    )?;
    Ok(found.is_some())
}

/// Marks a challenge as used; `false` if it was used already. Those that have expired are forgotten.
pub fn spend(tx: &Write<'_>, seal: &[u8; 32], ends_at: Timestamp, now: Timestamp) -> Result<bool> {
    tx.execute("DELETE FROM spent_challenges WHERE ends_at <= $1", &[&now])?;
    let changed = tx.execute(
        "INSERT INTO spent_challenges (seal, ends_at)
         VALUES ($1, $2)
         ON CONFLICT (seal) DO NOTHING",
        &[seal, &ends_at],
    )?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite;

    #[test]
    fn a_challenge_is_used_once_until_it_expires() {
        let read = sqlite::in_memory().unwrap();
        let spend = |seal: u8, now| {
            let ends_at = Timestamp(100);
            super::spend(&read.write(), &[seal; 32], ends_at, Timestamp(now)).unwrap()
        };
        let is_spent = |seal: u8| super::is_spent(&read, &[seal; 32]).unwrap();
        assert!(!is_spent(1) && spend(1, 10) && is_spent(1) && !is_spent(2));
        assert!(!spend(1, 10) && !spend(1, 99));
        assert!(spend(2, 99));
        // It has expired, so that nothing has to be known about it.
        let count = || {
            let sql = "SELECT count(*) AS spent FROM spent_challenges";
            read.query_one(sql, &[], |row| row.get::<i64>("spent"))
                .unwrap()
        };
        assert_eq!(count(), Some(2));
        assert!(spend(3, 100));
        assert_eq!(count(), Some(1));
    }
}
