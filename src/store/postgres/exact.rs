//! The windows of exact rate limits: one row for each key, which the nodes lock in turn, by the clock of the server.
//!
//! Each request is a transaction of its own over a connection that nothing else uses. It waits for nothing but the lock on its row, and
//! not for the disk: a failure of the server empties the table. Nothing is cancelled or repeated once the commit was sent; a request
//! whose commit was not answered counts as refused.

use super::{Address, Postgres, Transaction};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{RateLimit, RateStatus, Window};
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::connection::ToValue;
use crate::store::exact::Counted;
use std::sync::Mutex;
use std::time::Duration;

/// How long the server may take for each answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The number of idle connections.
const IDLE_MAX: usize = 8;
const SESSION: &str = "SET synchronous_commit = off; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '4s'";
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Locks the row, which is made if there is none. The time is read when the lock is held. A longer row than the longest window, of 10
/// and 999 times 6 bytes, is no window, so no more of it is read.
const LOCK: &str = "INSERT INTO exact_windows (key_id, ends_at, slots)
     VALUES ($1, 0, $2)
     ON CONFLICT (key_id) DO UPDATE SET key_id = excluded.key_id
     RETURNING substr(slots, 1, 6005) AS slots, CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now";
const WRITE: &str = "UPDATE exact_windows SET slots = $1, ends_at = $2 WHERE key_id = $3";
const LOOK: &str =
    "SELECT (SELECT substr(slots, 1, 6005) FROM exact_windows WHERE key_id = $1) AS slots,
            CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now";
/// Of keys that are gone, and of windows that are over. Since a row was written its key may have got a longer window, in which the
/// requests still count. A row that is being written is looked at again when that has ended.
const DELETE: &str = "DELETE FROM exact_windows
     WHERE NOT EXISTS (SELECT 1 FROM keys
                       WHERE keys.id = exact_windows.key_id AND keys.deleted_at IS NULL
                             AND exact_windows.ends_at + coalesce(keys.rate_window_s, 0) * 1000
                                 >= CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT))";

/// The connections that count.
#[derive(Default)]
pub struct ExactWindows(Mutex<Vec<Postgres>>);

impl ExactWindows {
    /// Counts a request of a key, or refuses it. A request of cost 0 is not counted.
    pub fn count(
        &self,
        address: &Address,
        id: KeyId,
        rate: RateLimit,
        cost: u64,
    ) -> Result<Counted> {
        self.over_one(address, |postgres| match cost {
            0 => look(postgres, id, rate, cost).map_err(Failed::Before),
            _ => count(postgres, id, rate, cost),
        })
    }

    /// What [`ExactWindows::count`] would answer now.
    pub fn look(
        &self,
        address: &Address,
        id: KeyId,
        rate: RateLimit,
        cost: u64,
    ) -> Result<Counted> {
        self.over_one(address, |postgres| {
            look(postgres, id, rate, cost).map_err(Failed::Before)
        })
    }

    /// Deletes rows that count no more.
    pub fn forget(&self, address: &Address) -> Result<usize> {
        self.over_one(address, |postgres| {
            postgres.execute(DELETE, &[]).map_err(Failed::Before)
        })
    }

    /// Closes the connections.
    pub fn close(&self) {
        lock(&self.0).clear();
    }

    /// Does something over an idle connection, or over a new one if there is none, or if its server has closed it.
    fn over_one<T>(
        &self,
        address: &Address,
        work: impl Fn(&Postgres) -> std::result::Result<T, Failed>,
    ) -> Result<T> {
        let idle = lock(&self.0).pop().filter(|idle| !idle.is_over());
        if let Some(postgres) = idle {
            match work(&postgres) {
                Ok(done) => {
                    self.keep(postgres);
                    return Ok(done);
                }
                Err(Failed::AtCommit(err)) => return Err(err),
                Err(Failed::Before(err)) if !postgres.is_over() => return Err(err),
                // Nothing was counted, and the server may have been started again since.
                Err(Failed::Before(_)) => {}
            }
        }
        let postgres = Postgres::open(&address.within(ANSWER_MAX))?;
        postgres.batch(SESSION)?;
        let done = work(&postgres).map_err(Failed::error)?;
        self.keep(postgres);
        Ok(done)
    }

    fn keep(&self, postgres: Postgres) {
        let mut idle = lock(&self.0);
        if idle.len() < IDLE_MAX && postgres.is_idle() && !postgres.is_over() {
            idle.push(postgres);
        }
    }
}

/// Where something has failed. Up to the commit nothing is counted.
enum Failed {
    AtCommit(Error),
    Before(Error),
}

impl Failed {
    fn error(self) -> Error {
        match self {
            Failed::AtCommit(err) | Failed::Before(err) => err,
        }
    }
}

fn count(
    postgres: &Postgres,
    id: KeyId,
    rate: RateLimit,
    cost: u64,
) -> std::result::Result<Counted, Failed> {
    let (decided, has_written) = decide(postgres, id, rate, cost).map_err(|err| {
        postgres.end();
        Failed::Before(err)
    })?;
    if !has_written {
        postgres.end();
        return Ok(decided);
    }
    match postgres.commit(None) {
        Ok(()) => Ok(decided),
        Err(fault) => {
            postgres.end();
            Err(Failed::AtCommit(fault.error))
        }
    }
}

/// Locks the row, and writes into it if there is room for the request, or if the clock was set back since it was written. Also returns
/// whether it has written.
fn decide(postgres: &Postgres, id: KeyId, rate: RateLimit, cost: u64) -> Result<(Counted, bool)> {
    let client = postgres.client()?;
    postgres.add(Box::pin(
        async move { Ok(client.batch_execute(BEGIN).await?) },
    ))?;
    postgres.transaction.set(Transaction::Open);
    let nothing: &[u8] = &[];
    let mut found = None;
    postgres.each(LOCK, &[&id, &nothing.to_vec()], &mut |row| {
        found = Some((row.get::<Vec<u8>>("slots")?, row.get::<u64>("now")?));
        Ok(())
    })?;
    let (slots, now_ms) = found.ok_or_else(|| Error::internal("the row of a window is gone"))?;
    let mut window = Window::from_bytes(&slots, now_ms)?;
    let write = |window: &Window| {
        let params: [&dyn ToValue; 3] = [&window.to_bytes()?, &window.ends_at(rate), &id];
        postgres.send(WRITE, &params)
    };
    if let Err(status) = window.fits(rate, cost, now_ms) {
        let read = Window::from_bytes(&slots, now_ms)?;
        let was_ahead = read.to_bytes()? != slots;
        if was_ahead {
            write(&read)?;
        }
        return Ok((refused(&window, status, cost, now_ms), was_ahead));
    }
    let status = window.take(rate, cost, now_ms);
    write(&window)?;
    let counted = Counted {
        answer: Ok(status),
        wait_ms: 0,
    };
    Ok((counted, true))
}

fn look(postgres: &Postgres, id: KeyId, rate: RateLimit, cost: u64) -> Result<Counted> {
    let mut found = None;
    postgres.each(LOOK, &[&id], &mut |row| {
        found = Some((row.get::<Option<Vec<u8>>>("slots")?, row.get::<u64>("now")?));
        Ok(())
    })?;
    let unusable = || Error::Unavailable(refusals::server::database_unusable());
    let (slots, now_ms) = found.ok_or_else(unusable)?;
    let mut window = Window::from_bytes(&slots.unwrap_or_default(), now_ms)?;
    Ok(match window.fits(rate, cost, now_ms) {
        Ok(()) => Counted {
            answer: Ok(window.take(rate, 0, now_ms)),
            wait_ms: 0,
        },
        Err(status) => refused(&window, status, cost, now_ms),
    })
}

fn refused(window: &Window, status: RateStatus, cost: u64, now_ms: u64) -> Counted {
    Counted {
        answer: Err(status),
        wait_ms: window
            .free_at(status.rate, cost, now_ms)
            .saturating_sub(now_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::new_database;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const RATE: RateLimit = RateLimit {
        limit: 20,
        window_s: 3_600,
        exact: true,
    };
    const KEY: KeyId = KeyId(7);

    fn remaining(counted: Counted) -> u64 {
        match counted.answer {
            Ok(status) | Err(status) => status.remaining,
        }
    }

    #[test]
    fn nodes_that_race_are_given_exactly_the_limit() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let nodes = [ExactWindows::default(), ExactWindows::default()];
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for node in nodes.iter().cycle().take(8) {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let counted = node.count(&address, KEY, RATE, 1).unwrap();
                        admitted.fetch_add(usize::from(counted.answer.is_ok()), SeqCst);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 20);
        let refused = nodes[0].count(&address, KEY, RATE, 1).unwrap();
        assert!(refused.answer.is_err());
        assert!((1..=3_600_000).contains(&refused.wait_ms), "{refused:?}");
        // Another key has a window of its own, and a look counts nothing.
        let other = KeyId(8);
        for _ in 0..3 {
            assert_eq!(
                remaining(nodes[1].look(&address, other, RATE, 1).unwrap()),
                20
            );
            assert_eq!(
                remaining(nodes[1].count(&address, other, RATE, 0).unwrap()),
                20
            );
        }
        assert_eq!(
            remaining(nodes[1].count(&address, other, RATE, 3).unwrap()),
            17
        );
        assert!(
            nodes[0]
                .count(&address, other, RATE, 18)
                .unwrap()
                .answer
                .is_err()
        );
        assert_eq!(
            remaining(nodes[0].look(&address, other, RATE, 1).unwrap()),
            17
        );
    }

    #[test]
    fn a_window_is_of_the_clock_of_the_server() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let node = ExactWindows::default();
        assert_eq!(remaining(node.count(&address, KEY, RATE, 20).unwrap()), 0);
        // For the server the requests were an hour ago.
        let admin = Postgres::open(&address).unwrap();
        let mut slots = Vec::new();
        let read = "SELECT slots FROM exact_windows";
        let mut take = |row: &crate::store::Row<'_>| {
            slots = row.get::<Vec<u8>>("slots")?;
            Ok(())
        };
        admin.each(read, &[], &mut take).unwrap();
        let at = u64::from_be_bytes(slots[..8].try_into().unwrap());
        slots[..8].copy_from_slice(&(at - 3_600_000).to_be_bytes());
        let write = "UPDATE exact_windows SET slots = $1";
        assert_eq!(admin.execute(write, &[&slots]).unwrap(), 1);
        assert_eq!(remaining(node.count(&address, KEY, RATE, 1).unwrap()), 19);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_and_costs_nothing() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let node = ExactWindows::default();
        assert_eq!(remaining(node.count(&address, KEY, RATE, 1).unwrap()), 19);
        let admin = Postgres::open(&address).unwrap();
        // The row is locked for longer than it is waited for.
        admin
            .batch("BEGIN; UPDATE exact_windows SET ends_at = ends_at")
            .unwrap();
        assert!(node.count(&address, KEY, RATE, 1).is_err());
        admin.batch("ROLLBACK").unwrap();
        assert_eq!(remaining(node.count(&address, KEY, RATE, 1).unwrap()), 18);
        // The connection that was idle is gone.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.batch(end).unwrap();
        assert_eq!(remaining(node.count(&address, KEY, RATE, 1).unwrap()), 17);
        admin
            .batch("UPDATE exact_windows SET slots = 'nonsense'")
            .unwrap();
        assert!(node.count(&address, KEY, RATE, 1).is_err());
        assert!(node.look(&address, KEY, RATE, 1).is_err());
        // 1,000 slots are the most; each has one request here.
        for (slots, is_window) in [(1_000, true), (1_001, false)] {
            let fill = format!(
                "UPDATE exact_windows
                 SET slots = decode('00000000000000010001' || repeat('000000010001', {slots} - 1), 'hex')"
            );
            admin.batch(&fill).unwrap();
            assert_eq!(node.look(&address, KEY, RATE, 1).is_ok(), is_window);
        }
    }

    #[test]
    fn a_full_window_that_lies_ahead_ends_one_window_from_now() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let node = ExactWindows::default();
        assert_eq!(remaining(node.count(&address, KEY, RATE, 20).unwrap()), 0);
        let admin = Postgres::open(&address).unwrap();
        // Half an hour later than now, 20 requests.
        admin
            .batch(
                "UPDATE exact_windows
                 SET slots = int8send(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + 1800000) || '\\x0014'",
            )
            .unwrap();
        let present = "SELECT count(*) AS count FROM exact_windows
                     WHERE slots < int8send(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + 1)";
        assert_eq!(admin.count(present).unwrap(), 0);
        assert!(node.count(&address, KEY, RATE, 1).unwrap().answer.is_err());
        assert_eq!(admin.count(present).unwrap(), 1);
    }

    #[test]
    fn rows_that_count_no_more_are_deleted() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let node = ExactWindows::default();
        // There is no such key.
        node.count(&address, KEY, RATE, 1).unwrap();
        assert_eq!(node.forget(&address).unwrap(), 1);
        assert_eq!(node.forget(&address).unwrap(), 0);
        assert_eq!(remaining(node.count(&address, KEY, RATE, 1).unwrap()), 19);
    }
}
