//! Copying a database that is in use, with SQLite's backup API.

use super::{Sqlite, from_sqlite, settled};
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::connection::Foreign;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The number of pages that are copied between two progress reports: 4 MiB.
const STEP_PAGES: i32 = 1024;

/// Opens an empty file for a copy. The caller renames the file when it is complete and synced; until then no program relies on it, so
/// nothing is synced, and there is no journal. A connection with the usual settings ignores the latter.
///
/// SQLite derives the paths of further files from this path, so the file must be in a folder where no other user can write.
pub fn open_empty(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let copy = Connection::open_with_flags(path, flags).map_err(from_sqlite)?;
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        .map_err(from_sqlite)?;
    Ok(copy)
}

/// Ends what [`open_empty`] began, when everything is committed.
pub fn close_copy(copy: &Connection) -> Result<()> {
    let mode: String = copy
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .map_err(from_sqlite)?;
    match mode.as_str() {
        "delete" => Ok(()),
        _ => Err(Error::internal("the copy could not be closed")),
    }
}

impl Sqlite {
    /// Copies the current state of the database into an empty file, which becomes a database without a separate log.
    /// Writers continue meanwhile. `progress` is called with the number of copied pages and of all pages. Foreign
    /// objects are left out and returned; a database whose copy could not be restored is refused.
    pub fn copy_to(&self, path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Vec<Foreign>> {
        let mut copy = open_empty(path)?;
        // All steps read one state. Otherwise every commit would restart the copy.
        self.batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
        let copied = self
            .difference()
            .and_then(|difference| difference.check_useful().map(|()| difference.harmless()))
            .and_then(|foreign| {
                self.copy_pages(&mut copy, &mut progress)?;
                Ok(foreign)
            });
        self.end();
        let foreign = copied?;
        close_copy(&copy)?;
        settled(copy)?.leave_out(&foreign)?;
        Ok(foreign)
    }

    fn copy_pages(&self, copy: &mut Connection, progress: &mut impl FnMut(u64, u64)) -> Result<()> {
        let backup = Backup::new(&self.connection, copy).map_err(from_sqlite)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(from_sqlite)?;
            let at = backup.progress();
            let (all, left) = (at.pagecount.max(0) as u64, at.remaining.max(0) as u64);
            progress(all - left.min(all), all);
            match step {
                StepResult::Done => return Ok(()),
                StepResult::More => {}
                _ => {
                    return Err(Error::Unavailable(refusals::server::database_locked()));
                }
            }
        }
    }
}
