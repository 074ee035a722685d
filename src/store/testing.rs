//! Stores for the unit tests of this layer: an empty one on each engine.

use super::{Read, sqlite};

/// An empty store on each engine that there is here, one after the other.
pub fn stores() -> impl Iterator<Item = Read> {
    on_sqlite().chain(on_postgres())
}

fn on_sqlite() -> impl Iterator<Item = Read> {
    std::iter::once_with(|| {
        println!("on SQLite");
        sqlite::in_memory().unwrap()
    })
}

#[cfg(feature = "postgres")]
fn on_postgres() -> impl Iterator<Item = Read> {
    std::iter::once_with(|| {
        println!("on PostgreSQL");
        super::postgres::server::database()
    })
    .flatten()
}

#[cfg(not(feature = "postgres"))]
fn on_postgres() -> impl Iterator<Item = Read> {
    std::iter::empty()
}

impl Read {
    /// Lets rows refer to rows that do not exist.
    pub fn ignore_references(&self) {
        match self.sqlite() {
            Ok(sqlite) => sqlite.batch("PRAGMA foreign_keys = OFF"),
            Err(_) => self.batch("SET session_replication_role = replica"),
        }
        .unwrap();
    }

    /// Changes rows past Latchkey, as an administrator of the database can. The statements are SQLite's.
    pub fn tamper(&self, sql: &str) {
        let sql = match self.sqlite() {
            Ok(_) => sql.to_owned(),
            Err(_) => sql.replace("zeroblob(32)", "decode(repeat('00', 32), 'hex')"),
        };
        self.batch(&sql).unwrap();
    }
}
