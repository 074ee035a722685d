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
use crate::store::exact::Counted;
use std::sync::Mutex;
use std::time::Duration;

/// How long the server may take for each answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The number of idle connections.
const IDLE_MAX: usize = 4;
const SESSION: &str = "SET synchronous_commit = off; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '4s'";
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// Locks the row, which is made if there is none. The time is read when the lock is held.
const LOCK: &str = "INSERT INTO exact_windows (key_id, ends_at, slots)
     VALUES ($1, 0, $2)
     ON CONFLICT (key_id) DO UPDATE SET key_id = excluded.key_id
     RETURNING slots, CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now";
const WRITE: &str = "UPDATE exact_windows SET slots = $1, ends_at = $2 WHERE key_id = $3";
const LOOK: &str = "SELECT (SELECT slots FROM exact_windows WHERE key_id = $1) AS slots,
            CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now";
/// Of keys that are gone, and of windows that are over. A row that is being written is looked at again when that has ended.
const DELETE: &str = "DELETE FROM exact_windows
     WHERE ends_at < CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)
           OR NOT EXISTS (SELECT 1 FROM keys WHERE keys.id = exact_windows.key_id AND keys.deleted_at IS NULL)";

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

    /// What [`ExactWindows::count`] would say now.
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
    let decided = decide(postgres, id, rate, cost).map_err(|err| {
        postgres.end();
        Failed::Before(err)
    })?;
    if decided.answer.is_err() {
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

/// Locks the row, and writes into it if there is room for the request.
fn decide(postgres: &Postgres, id: KeyId, rate: RateLimit, cost: u64) -> Result<Counted> {
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
    if let Err(status) = window.fits(rate, cost, now_ms) {
        return Ok(refused(&window, status, cost, now_ms));
    }
    let status = window.take(rate, cost, now_ms);
    postgres.send(WRITE, &[&window.to_bytes()?, &window.ends_at(rate), &id])?;
    Ok(Counted {
        answer: Ok(status),
        wait_ms: 0,
    })
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
