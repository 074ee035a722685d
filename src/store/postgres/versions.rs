//! Which schema a database has, and whether this program may use it.
//!
//! Nodes may bring the schema to a newer one while this program runs. So each transaction that changes something learns the version
//! together with the lock on the newest event, before its first statement, and does nothing if the program has become too old.

use super::{LOCK_HEAD, Postgres, schema};
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::Row;
use crate::store::connection::{Additions, Head};
use crate::store::sqlite::SCHEMA_VERSION;

/// The versions that a database records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Versions {
    /// Of its schema.
    pub version: i64,
    /// The oldest version of Latchkey's schema whose programs may use it.
    pub oldest_reader: i64,
}

impl Versions {
    pub fn from_row(row: &Row<'_>) -> Result<Versions> {
        Ok(Versions {
            version: row.get("version")?,
            oldest_reader: row.get("oldest_reader")?,
        })
    }

    /// Refuses a database that this program is too old for.
    pub fn check_readable(self) -> Result<()> {
        match self.oldest_reader > SCHEMA_VERSION {
            true => Err(Error::Unavailable(refusals::server::program_too_old(
                self.version,
                self.oldest_reader,
                SCHEMA_VERSION,
            ))),
            false => Ok(()),
        }
    }
}

impl Postgres {
    /// The version of the schema, in a transaction the one that the transaction sees.
    pub fn version(&self) -> Result<i64> {
        if let Some(known) = self.version.get() {
            return Ok(known);
        }
        let Versions { version, .. } = schema::versions(self)?;
        if !self.is_idle() {
            self.version.set(Some(version));
        }
        Ok(version)
    }

    /// Lets the version be read again: another transaction begins, or this one has changed it.
    pub fn forget_version(&self) {
        self.version.set(None);
    }

    /// What the schema of this build has, and that of the database lacks.
    pub fn lacking(&self) -> Result<Additions> {
        self.address.schemas.lacking(self.version()?)
    }

    /// Waits for the lock on the newest event, and returns the event; `None` if there is none.
    pub fn lock_head(&self) -> Result<Option<Head>> {
        let mut found = None;
        self.each(LOCK_HEAD, &[], &mut |row| {
            let head = Head {
                seq: row.get("seq")?,
                hash: row.get("hash")?,
            };
            found = Some((head, Versions::from_row(row)?));
            Ok(())
        })?;
        let Some((head, versions)) = found else {
            return Ok(None);
        };
        versions.check_readable()?;
        self.version.set(Some(versions.version));
        Ok(Some(head))
    }
}
