//! The windows of exact rate limits, in which the nodes of a database on a server count requests together.

use super::{Database, Store};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{RateLimit, RateStatus};
use crate::error::{Error, Result};

/// The answer of the window in the store to a request.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The state after the request, which was counted; or the refusal.
    pub answer: std::result::Result<RateStatus, RateStatus>,
    /// After a refusal: the milliseconds until the request would be accepted.
    pub wait_ms: u64,
}

impl Store {
    /// Counts a request of a key with an exact limit, or refuses it. It waits for the server at most a few seconds. A request of cost
    /// 0 is not counted.
    ///
    /// # Errors
    /// The server does not answer, or it is not known whether the request was counted: it counts as refused.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(
            unused_variables,
            reason = "the windows of a single node are in memory"
        )
    )]
    pub fn count_exactly(&self, id: KeyId, rate: RateLimit, cost: u64) -> Result<Counted> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => self.exact.count(address, id, rate, cost),
            Database::Sqlite(_) => Err(of_file()),
        }
    }

    /// What [`Store::count_exactly`] would answer now.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(
            unused_variables,
            reason = "the windows of a single node are in memory"
        )
    )]
    pub fn look_at_exact(&self, id: KeyId, rate: RateLimit, cost: u64) -> Result<Counted> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => self.exact.look(address, id, rate, cost),
            Database::Sqlite(_) => Err(of_file()),
        }
    }

    /// Deletes the windows of keys that are gone, and those that are over. A file may
    /// have those of the database that it is a copy of, which nothing reads.
    pub fn forget_exact_windows(&self) -> Result<()> {
        match &self.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => {
                if self.read(|read| read.has_schema(super::key_columns::EXACT_SINCE))? {
                    self.exact.forget(address)?;
                }
                Ok(())
            }
            Database::Sqlite(_) => Ok(()),
        }
    }
}

fn of_file() -> Error {
    Error::internal("a window in the store of a single node")
}
