//! Where a database is, and how connections to it are opened.

use super::Read;
use crate::error::{Error, Result};
#[cfg(feature = "postgres")]
use crate::store::postgres::{Address, Postgres};
use crate::store::sqlite;
use std::path::PathBuf;

/// A database that has the current schema.
#[derive(Clone)]
pub enum Database {
    #[cfg(feature = "postgres")]
    Postgres(Box<Address>),
    Sqlite(PathBuf),
}

impl Database {
    /// Opens a connection for queries, over which nothing can be written.
    pub fn open_reader(&self) -> Result<Read> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Ok(Postgres::open_reader(address)?.into()),
            Database::Sqlite(path) => sqlite::open_reader(path),
        }
    }

    /// Opens the connection of the writer. A database of another version is refused. No commit of a lost connection is
    /// still under way afterwards: the content of the index comes from this connection.
    pub fn open_writer(&self) -> Result<Read> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => {
                let postgres = Postgres::open(address)?;
                postgres.settle_earlier()?;
                Ok(postgres.into())
            }
            Database::Sqlite(path) => sqlite::open_writer(path, |_| {
                Err(Error::internal("the database is of an older version now"))
            }),
        }
    }
}
