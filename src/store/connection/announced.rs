//! Queries that are announced before they are made, so that a server answers all of them at once.

use super::{Engine, Read, Row, ToValue, Write};
use crate::error::Result;

/// As long as this exists, the rows of the announced queries are kept for the first reading.
pub struct Announced<'a> {
    read: &'a Read,
}

impl Read {
    /// Announces queries with one text, one for each list of parameters, which are made next. Nothing that they read may be
    /// changed before they are made.
    pub(in crate::store) fn announce(
        &self,
        sql: &'static str,
        each: &[&[&dyn ToValue]],
    ) -> Result<Announced<'_>> {
        let announced = Announced { read: self };
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.ask(sql, each)?,
            Engine::Sqlite(_) => {
                let _ = (sql, each);
            }
        }
        Ok(announced)
    }
}

impl Write<'_> {
    /// Runs one statement with each list of parameters and returns the row that each results in, if there is one. A server is
    /// asked for all of them at once.
    pub(in crate::store) fn query_each<T>(
        &self,
        sql: &'static str,
        each: &[&[&dyn ToValue]],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        // The statement is carried out when it is announced, and once, because all its rows are read here.
        let _announced = self.announce(sql, each)?;
        each.iter()
            .map(|params| self.query_one(sql, params, &mut map))
            .collect()
    }
}

impl Drop for Announced<'_> {
    /// Rows that were not read may be older than the next change.
    fn drop(&mut self) {
        match &self.read.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.forget_asked(),
            Engine::Sqlite(_) => {}
        }
    }
}
