//! Used challenges of sign-ins with two steps, until they would have expired.

use super::{Read, Write};
use crate::domain::authenticators::challenge::CODE_S;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The seal of a row of which every challenge counts as used that ends at its time or before: no challenge has this seal.
const ALL: [u8; 32] = [0; 32];

/// Whether a challenge was used.
pub fn is_spent(read: &Read, seal: &[u8; 32], ends_at: Timestamp) -> Result<bool> {
    let found = read.query_one(
        "SELECT ends_at FROM spent_challenges WHERE seal = $1 OR (seal = $2 AND ends_at >= $3)",
        &[seal, &ALL, &ends_at],
        |row| row.get::<Timestamp>("ends_at"),
    )?;
    Ok(found.is_some())
}

/// Marks every challenge as used that was made until `now`: which ones were is not known, because an older copy has replaced the
/// database.
pub fn spend_all(tx: &Write<'_>, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO spent_challenges (seal, ends_at)
         VALUES ($1, $2)
         ON CONFLICT (seal) DO UPDATE SET ends_at = excluded.ends_at",
        &[&ALL, &now.plus_s(CODE_S)],
    )?;
    Ok(())
}

/// Marks a challenge as used; `false` if it was used already. Those that have expired are forgotten, with some delay: a caller may
/// have read the time long before its turn to write.
pub fn spend(tx: &Write<'_>, seal: &[u8; 32], ends_at: Timestamp, now: Timestamp) -> Result<bool> {
    if is_spent(tx, seal, ends_at)? {
        return Ok(false);
    }
    let over = Timestamp(now.0.saturating_sub(CODE_S as i64 * 1_000));
    tx.execute("DELETE FROM spent_challenges WHERE ends_at <= $1", &[&over])?;
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
    use crate::store::testing;

    /// How long a used challenge is remembered after its end, in milliseconds.
    const KEPT: i64 = CODE_S as i64 * 1_000;

    fn spend(read: &Read, seal: u8, ends_at: i64, now: i64) -> bool {
        let (ends_at, now) = (Timestamp(ends_at), Timestamp(now));
        super::spend(&read.write(), &[seal; 32], ends_at, now).unwrap()
    }

    fn is_spent(read: &Read, seal: u8, ends_at: i64) -> bool {
        super::is_spent(read, &[seal; 32], Timestamp(ends_at)).unwrap()
    }

    fn count(read: &Read) -> i64 {
        let sql = "SELECT count(*) AS spent FROM spent_challenges";
        let found = read.query_one(sql, &[], |row| row.get::<i64>("spent"));
        found.unwrap().unwrap()
    }

    #[test]
    fn a_challenge_is_used_once_until_it_expires() {
        for read in testing::stores() {
            assert!(!is_spent(&read, 1, 100) && spend(&read, 1, 100, 10));
            assert!(is_spent(&read, 1, 100) && !is_spent(&read, 2, 100));
            assert!(!spend(&read, 1, 100, 10) && !spend(&read, 1, 100, 99));
            assert!(spend(&read, 2, 100, 99));
            assert_eq!(count(&read), 2);
            // They have expired long ago, so that nothing has to be known about them.
            assert!(spend(&read, 3, 101 + KEPT, 100 + KEPT));
            assert_eq!(count(&read), 1);
        }
    }

    /// Of two requests with one challenge, the first one to write may have read the later time.
    #[test]
    fn a_challenge_is_used_once_even_if_the_second_time_is_the_earlier_one() {
        for read in testing::stores() {
            assert!(spend(&read, 1, 100, 99));
            assert!(spend(&read, 2, 200, 150));
            assert!(!spend(&read, 1, 100, 99));
        }
    }

    #[test]
    fn after_an_older_copy_no_challenge_is_good_that_was_made_before() {
        for read in testing::stores() {
            for now in [7, 1_000] {
                spend_all(&read.write(), Timestamp(now)).unwrap();
                assert_eq!(count(&read), 1);
            }
            let last = 1_000 + KEPT;
            assert!(is_spent(&read, 1, last) && !is_spent(&read, 1, last + 1));
            assert!(!spend(&read, 1, last, 1_001));
            // What was made since is good once.
            assert!(spend(&read, 2, last + 1, 1_001) && !spend(&read, 2, last + 1, 1_002));
            assert!(!spend(&read, 1, last, last));
            assert!(spend(&read, 3, last + KEPT, last + KEPT - 1));
            assert_eq!(count(&read), 3);
            assert!(spend(&read, 4, last + KEPT + 1, last + KEPT));
            assert_eq!(count(&read), 3);
        }
    }
}
