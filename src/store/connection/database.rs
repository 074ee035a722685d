//! Where a database is, and how connections to it are opened.

use super::Read;
use crate::domain::nodes::NodeId;
use crate::error::{Error, Result};
use crate::store::Known;
#[cfg(feature = "postgres")]
use crate::store::postgres::{self, Address, Postgres};
use crate::store::sqlite;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A database that has the current schema.
#[derive(Clone)]
pub enum Database {
    #[cfg(feature = "postgres")]
    Postgres(Box<Address>),
    Sqlite(PathBuf),
}

/// Where a database is, and the other files of this node.
#[derive(Clone)]
pub struct Location {
    /// The file of an SQLite database, or where it would be: the other files are in the same folder.
    pub path: PathBuf,
    pub database: Database,
}

impl Location {
    /// A database on a PostgreSQL server. `path` is where the file of an SQLite database would be.
    #[cfg(feature = "postgres")]
    pub fn on_a_server(path: &Path, address: Address) -> Location {
        Location {
            path: path.to_owned(),
            database: Database::Postgres(Box::new(address)),
        }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Location {
    fn from(path: &P) -> Location {
        let path = path.as_ref().to_owned();
        Location {
            database: Database::Sqlite(path.clone()),
            path,
        }
    }
}

impl Database {
    /// Creates the tables: in a file that must not exist yet, or in a database of a server that has none of Latchkey.
    pub fn create(&self) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Postgres::create(address),
            Database::Sqlite(path) => sqlite::create(path),
        }
    }

    /// Refuses a place that has a database in use already. A file is looked at when it is created.
    pub fn check_free(&self) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Postgres::check_free(address),
            Database::Sqlite(_) => Ok(()),
        }
    }

    /// Refuses a database that other nodes than `own` use. A file belongs to one data folder, whose lock shows whether it is in use.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file has no other nodes")
    )]
    pub fn check_unused(&self, own: Option<NodeId>) -> Result<()> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => postgres::check_unused(address, own),
            Database::Sqlite(_) => Ok(()),
        }
    }

    /// Opens a connection for queries, over which nothing can be written.
    pub fn open_reader(&self) -> Result<Read> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Ok(Postgres::open_reader(address)?.into()),
            Database::Sqlite(path) => sqlite::open_reader(path),
        }
    }

    /// Opens a connection for queries that learns of commits ([`Read::wait_for_commit`]).
    pub fn open_listener(&self) -> Result<Read> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Ok(Postgres::open_listener(address)?.into()),
            Database::Sqlite(_) => self.open_reader(),
        }
    }

    /// Opens the connection of the writer. A database of another version is refused. No commit of a lost connection is
    /// still under way afterwards: the content of the index comes from this connection. Over a server, each step of that takes at
    /// most `limit`.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file has no limit")
    )]
    pub fn open_writer(&self, limit: Duration) -> Result<Read> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => {
                let postgres = Postgres::open(address)?;
                postgres.settle_earlier(limit)?;
                Ok(postgres.into())
            }
            Database::Sqlite(path) => sqlite::open_writer(path, |_| {
                Err(Error::internal("the database is of an older version now"))
            }),
        }
    }

    /// How long callers wait at most to learn the outcome of a commit without an answer. The outcome of one in a file is not
    /// looked for.
    pub fn resolve_max(&self) -> Duration {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.resolve_max,
            Database::Sqlite(_) => Duration::ZERO,
        }
    }

    /// Why a server cannot be reached now, if all reasons can pass without anyone's help.
    pub fn out_of_reach(&self) -> Option<String> {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.out_of_reach(),
            Database::Sqlite(_) => None,
        }
    }

    /// Gives all connections of a node what they have in common. `known` is the newest event that the node knows.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "a file has no choice of servers")
    )]
    pub fn begin_node(&mut self, known: &Known) {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.begin_node(known.clone()),
            Database::Sqlite(_) => {}
        }
    }

    /// The same database, for work on all of its rows, which may take any time.
    pub fn patient(&self) -> Database {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => Database::Postgres(Box::new(address.patient())),
            Database::Sqlite(path) => Database::Sqlite(path.clone()),
        }
    }

    /// Lets the next connection to a server look for the one that takes changes, because what became of a commit is not known.
    pub fn reconsider(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.reconsider(),
            Database::Sqlite(_) => {}
        }
    }

    /// Lets the connection of the follower look at once.
    pub fn wake_listener(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.wake_listener(),
            Database::Sqlite(_) => {}
        }
    }

    /// Whether commits notify the other nodes.
    pub fn notifies(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.notifies,
            Database::Sqlite(_) => false,
        }
    }

    /// Whether other nodes may use the database at the same time; not that of a file, which belongs to one data folder.
    pub fn is_shared(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => true,
            Database::Sqlite(_) => false,
        }
    }
}
