//! Connections to a database, and what goes through them: statements, values, rows and effects. The rest of the store
//! uses these types and does not know the engine.
//!
//! What an engine has of its own is in a folder named after it: opening, settings, transactions, and the classes of its
//! errors.

mod additions;
mod announced;
mod chain;
mod database;
mod difference;
mod facts;
mod fault;
mod row;
mod touched;
mod values;

#[cfg(feature = "postgres")]
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use crate::domain::audit::Target;
use crate::domain::numbers::{Numbers, Series};
#[cfg(feature = "postgres")]
use crate::error::Error;
use crate::error::Result;
pub use additions::Additions;
pub use announced::Announced;
pub use chain::{ChainEnd, Head};
pub use database::{Database, Location};
#[cfg(feature = "postgres")]
pub use difference::quoted;
pub use difference::{Difference, Foreign};
pub use facts::Facts;
pub use fault::{Fault, FaultKind};
pub use row::{Cells, Row};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
pub use touched::Noted;
pub use values::{ToValue, Value, ValueRef};

/// A connection that reads, or the reading half of a transaction; it then collects what must follow the commit.
pub struct Read {
    engine: Engine,
    /// Whether rows of a query are being read.
    is_reading: Cell<bool>,
    /// What the transaction has changed so far; the index must load it again.
    touched: RefCell<Vec<Target>>,
    /// The positions in `touched` of what no event has to name.
    light: RefCell<Vec<usize>>,
    /// Steps in memory that follow the commit.
    after: RefCell<Vec<AfterCommit>>,
    /// Tombstones that are written to their file after the commit.
    tombstones: RefCell<Vec<String>>,
    /// The highest assigned numbers: by earlier processes, or by the transaction.
    given: Cell<Numbers>,
    /// The highest numbers that the transaction has assigned; 0 if it has assigned none.
    assigned: Cell<Numbers>,
    /// See [`Read::chain_end`].
    chain_end: Cell<Option<ChainEnd>>,
    /// Targets that the transaction has compared with their seals itself, and whether each is to be sealed.
    judged: RefCell<Vec<(Target, bool)>>,
    /// The newest version of the schema that was seen; 0 before the first look.
    schema_seen: Cell<i64>,
    /// Targets that the transaction has sealed itself, and the number of entries that `touched` had then.
    sealed: RefCell<HashMap<Target, usize>>,
}

/// The effects of a transaction outside the database.
pub struct Effects {
    pub touched: Vec<Target>,
    /// In their order.
    pub after: VecDeque<AfterCommit>,
    pub notes: Notes,
}

/// What is recorded outside the database before a transaction is acknowledged.
#[derive(Default)]
pub struct Notes {
    /// Lines of the tombstone file.
    pub tombstones: Vec<String>,
    pub given: Numbers,
}

/// A step in memory that follows a commit and cannot fail.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// A connection of one of the engines.
pub(super) enum Engine {
    #[cfg(feature = "postgres")]
    Postgres(Box<Postgres>),
    Sqlite(Sqlite),
}

/// Set while rows are read, even if that ends with a panic.
struct Reading<'a>(&'a Cell<bool>);

impl Reading<'_> {
    fn begin(is_reading: &Cell<bool>) -> Reading<'_> {
        is_reading.set(true);
        Reading(is_reading)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A transaction. Only the writer, a step from an older schema and a copy of a whole database (`transfer`) have one.
pub struct Write<'a> {
    read: &'a Read,
}

impl Read {
    pub(super) fn new(engine: Engine) -> Read {
        Read {
            engine,
            is_reading: Cell::new(false),
            touched: RefCell::default(),
            light: RefCell::default(),
            after: RefCell::default(),
            tombstones: RefCell::default(),
            given: Cell::default(),
            assigned: Cell::default(),
            chain_end: Cell::default(),
            judged: RefCell::default(),
            sealed: RefCell::default(),
            schema_seen: Cell::default(),
        }
    }

    /// Runs a query and turns each row into a value.
    pub fn query<T>(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        mut from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, &mut |row| {
            found.push(from_row(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs a query for at most one row.
    pub fn query_one<T>(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        from_row: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.query(sql, params, from_row)?.into_iter().next())
    }

    /// Runs a query and calls `take` with each row, for results that are too large for memory. `take` cannot use this
    /// connection: PostgreSQL answers one question after the other. Debug builds refuse it with every engine.
    pub fn each(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        take: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.check_alone();
        let _reading = Reading::begin(&self.is_reading);
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.each(sql, params, take),
            Engine::Sqlite(sqlite) => sqlite.each(sql, params, take),
        }
    }

    fn check_alone(&self) {
        debug_assert!(
            !self.is_reading.get(),
            "a statement while the rows of another one are read"
        );
    }

    /// Allows this connection to cache this many MiB of pages, for work on a large part of the database. A server has a
    /// cache of its own.
    pub fn widen_cache(&self, mib: u32) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(()),
            Engine::Sqlite(sqlite) => sqlite.widen_cache(mib),
        }
    }

    /// Ends what [`Read::widen_cache`] began.
    pub fn narrow_cache(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(()),
            Engine::Sqlite(sqlite) => sqlite.narrow_cache(),
        }
    }

    /// What the schema of this build has, and that of the database lacks. A file has the schema of this build.
    pub(super) fn lacking(&self) -> Result<Additions> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.lacking(),
            Engine::Sqlite(_) => Ok(Additions::default()),
        }
    }

    /// The version of the schema of the database, on a server that which the transaction sees.
    pub fn version(&self) -> Result<i64> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.version(),
            Engine::Sqlite(sqlite) => sqlite.version(),
        }
    }

    /// Whether the database has this schema or a newer one. No database gets an older one while a connection to it is open, so each
    /// connection asks once.
    pub fn has_schema(&self, version: i64) -> Result<bool> {
        if self.schema_seen.get() < version {
            self.schema_seen.set(self.version()?);
        }
        Ok(self.schema_seen.get() >= version)
    }

    /// Runs statements without parameters, for migrations and tests.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.batch(sql),
            Engine::Sqlite(sqlite) => sqlite.batch(sql),
        }
    }

    /// Begins a transaction that sees one state of the database and changes nothing.
    pub(super) fn begin_reading(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.begin_reading(),
            Engine::Sqlite(sqlite) => sqlite.batch("BEGIN"),
        }
    }

    /// Runs queries in a transaction that sees one state of the database.
    pub fn in_snapshot<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        self.begin_reading()?;
        let done = work(self);
        self.end();
        done
    }

    /// Begins a transaction. If `syncs` is set, its commit is synced to the disk before it is acknowledged. On a server it waits
    /// for the transactions of other nodes that have begun so, and knows the end of the chain ([`Read::chain_end`]).
    pub(super) fn begin(&self, syncs: bool) -> std::result::Result<(), Fault> {
        self.chain_end.set(None);
        self.assigned.take();
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => {
                let head = postgres.begin_at_head(syncs)?;
                self.chain_end.set(Some(ChainEnd::locked(head)));
                Ok(())
            }
            Engine::Sqlite(sqlite) => sqlite.begin(syncs),
        }
    }

    pub(super) fn commit(&self) -> std::result::Result<(), Fault> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.commit(self.new_events_end()),
            Engine::Sqlite(sqlite) => sqlite.commit(),
        }
    }

    /// Rolls the transaction back if one is open; `false` if that failed.
    pub(super) fn end(&self) -> bool {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.end(),
            Engine::Sqlite(sqlite) => sqlite.end(),
        }
    }

    /// Begins a part of the transaction that can be undone alone. There is one at a time.
    pub(super) fn begin_part(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.begin_part(),
            Engine::Sqlite(sqlite) => sqlite.begin_part(),
        }
    }

    /// Ends what [`Read::begin_part`] began: the part stays in the transaction or is undone.
    pub(super) fn end_part(&self, stays: bool) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.end_part(stays),
            Engine::Sqlite(sqlite) => sqlite.end_part(stays),
        }
    }

    /// Moves the whole write-ahead log into the database, synced, and truncates it. `false` if a reader or another
    /// program prevents this. Only SQLite has such a log.
    pub(super) fn empty_log(&self) -> Result<bool> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(true),
            Engine::Sqlite(sqlite) => sqlite.empty_log(),
        }
    }

    /// Whether no transaction is open. An engine ends a transaction automatically after some faults.
    pub(super) fn is_idle(&self) -> bool {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.is_idle(),
            Engine::Sqlite(sqlite) => sqlite.is_idle(),
        }
    }

    /// Whether the database is a file of this machine.
    pub(super) fn is_file(&self) -> bool {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => false,
            Engine::Sqlite(_) => true,
        }
    }

    /// Whether the connection has to be opened again: it is closed, or the node has left its server. A connection to a file never is.
    pub(super) fn is_over(&self) -> bool {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.is_over(),
            Engine::Sqlite(_) => false,
        }
    }

    /// Waits until another node may have committed something, at most for a time. Only on a server there are other nodes.
    pub(super) fn wait_for_commit(&self, limit: Duration) {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.wait_for_commit(limit),
            Engine::Sqlite(_) => std::thread::sleep(limit),
        }
    }

    /// Refuses a database with inconsistent pages. A server checks its own pages.
    pub(super) fn check_whole(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(()),
            Engine::Sqlite(sqlite) => sqlite.check_whole(),
        }
    }

    /// The faults in the pages, the indexes and the references of the database; empty if there are none. This reads
    /// the whole file; a server checks its pages itself, and is asked what it has not checked.
    pub fn faults(&self) -> Result<Vec<String>> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.faults(),
            Engine::Sqlite(sqlite) => sqlite.faults(),
        }
    }

    /// Compares the schema of this database with the one that this build creates.
    pub fn difference(&self) -> Result<Difference> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.difference(),
            Engine::Sqlite(sqlite) => sqlite.difference(),
        }
    }

    /// This connection as one to PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(super) fn postgres(&self) -> Result<&Postgres> {
        match &self.engine {
            Engine::Postgres(postgres) => Ok(postgres),
            Engine::Sqlite(_) => Err(Error::internal("a question to a server of PostgreSQL")),
        }
    }

    /// This connection as one to SQLite, for what only a file can be asked.
    pub(super) fn sqlite(&self) -> Result<&Sqlite> {
        match &self.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Err(Error::internal("a question to a file of SQLite")),
            Engine::Sqlite(sqlite) => Ok(sqlite),
        }
    }

    /// Whether other nodes may use the database at the same time; not that of a file, which belongs to one data folder.
    pub fn is_shared(&self) -> bool {
        !self.is_file()
    }

    /// Gives access to the writing half. The caller has begun the transaction.
    pub(super) fn write(&self) -> Write<'_> {
        Write { read: self }
    }

    /// Makes numbers continue after these.
    pub(super) fn set_given(&self, given: Numbers) {
        self.given.set(given);
    }

    /// What the transaction has changed so far.
    pub fn touched(&self) -> Vec<Target> {
        self.touched.borrow().clone()
    }

    /// What the transaction has changed and not sealed since, each target once.
    pub(super) fn unsealed(&self) -> Vec<Target> {
        let (touched, sealed) = (self.touched.borrow(), self.sealed.borrow());
        let last: HashMap<&Target, usize> = touched.iter().zip(0..).collect();
        let mut seen = HashSet::new();
        let changed = touched.iter().filter(|target| seen.insert(*target));
        let is_sealed = |target: &Target| {
            let last = last.get(target);
            sealed
                .get(target)
                .zip(last)
                .is_some_and(|(at, last)| last < at)
        };
        changed
            .filter(|target| !is_sealed(target))
            .cloned()
            .collect()
    }

    /// Whether the transaction has changed the target, so that the index does not have its current state.
    pub fn has_touched(&self, target: &Target) -> bool {
        self.touched.borrow().contains(target)
    }

    /// Takes what was changed and what is to follow the commit, and leaves both empty.
    pub(super) fn take_effects(&self) -> Effects {
        self.judged.take();
        self.sealed.take();
        self.light.take();
        Effects {
            touched: self.touched.take(),
            after: self.after.take().into(),
            notes: Notes {
                tombstones: self.tombstones.take(),
                given: self.given.take(),
            },
        }
    }
}

impl std::ops::Deref for Write<'_> {
    type Target = Read;

    fn deref(&self) -> &Read {
        self.read
    }
}

impl Write<'_> {
    /// Runs one statement and returns how many rows it changed.
    pub fn execute(&self, sql: &'static str, params: &[&dyn ToValue]) -> Result<usize> {
        self.read.check_alone();
        match &self.read.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.execute(sql, params),
            Engine::Sqlite(sqlite) => sqlite.execute(sql, params),
        }
    }

    /// Runs one statement whose number of changed rows is not needed. A server is not waited for: a failure may
    /// be reported by a later statement, and the change that the statement is of fails in any case.
    pub fn send(&self, sql: &'static str, params: &[&dyn ToValue]) -> Result<()> {
        self.read.check_alone();
        match &self.read.engine {
            #[cfg(feature = "postgres")]
            Engine::Postgres(postgres) => postgres.send(sql, params),
            Engine::Sqlite(sqlite) => sqlite.execute(sql, params).map(drop),
        }
    }

    /// Notes what has changed: the index loads it again when this transaction is committed, and its end seals it again.
    ///
    /// An event of the same change must name the target (`domain::audit::named`); `audit::append` also touches what it names.
    pub fn touch(&self, target: Target) {
        self.read.touched.borrow_mut().push(target);
    }

    /// As [`Write::touch`], for a new target that this transaction has just written and sealed. A later change of it is
    /// sealed at the end.
    pub fn touch_sealed(&self, target: Target) {
        self.touch(target.clone());
        let at = self.read.touched.borrow().len();
        self.read.sealed.borrow_mut().insert(target, at);
    }

    /// Runs a step in memory when this transaction is committed, after the index was updated. Steps run in the order
    /// of their transactions.
    pub fn after_commit(&self, step: impl FnOnce() + Send + 'static) {
        self.read.after.borrow_mut().push(Box::new(step));
    }

    /// Records that this transaction has compared the target with its seal itself, or has written all of it, and
    /// whether it is to be sealed at the end.
    pub fn judge(&self, target: Target, is_good: bool) {
        self.read.judged.borrow_mut().push((target, is_good));
    }

    /// What [`Write::judge`] has recorded.
    pub(super) fn judged(&self) -> Vec<(Target, bool)> {
        self.read.judged.borrow().clone()
    }

    /// What the transaction has noted so far.
    pub(super) fn mark(&self) -> Noted {
        Noted {
            judged: self.read.judged.borrow().len(),
            touched: self.read.touched.borrow().len(),
            after: self.read.after.borrow().len(),
            tombstones: self.read.tombstones.borrow().len(),
            chain_end: self.read.chain_end(),
        }
    }

    /// Discards the notes since a mark, for a change that is undone.
    pub(super) fn cut(&self, mark: &Noted) {
        let touched = mark.touched;
        self.read.judged.borrow_mut().truncate(mark.judged);
        self.read.touched.borrow_mut().truncate(touched);
        self.read.light.borrow_mut().retain(|at| *at < touched);
        self.read.sealed.borrow_mut().retain(|_, at| *at <= touched);
        self.read.after.borrow_mut().truncate(mark.after);
        self.read.tombstones.borrow_mut().truncate(mark.tombstones);
        self.read.set_chain_end(mark.chain_end);
    }

    /// Adds lines of the tombstone file, which are written when this transaction is committed, before it is acknowledged.
    pub fn entomb(&self, lines: Vec<String>) {
        self.read.tombstones.borrow_mut().extend(lines);
    }

    /// The highest number of a series that earlier processes or this transaction assigned.
    pub fn given(&self, series: Series) -> i64 {
        self.read.given.get().of(series)
    }

    /// The highest number of a series that this transaction has assigned, if any. No other transaction assigns numbers
    /// meanwhile.
    pub(super) fn assigned(&self, series: Series) -> Option<i64> {
        Some(self.read.assigned.get().of(series)).filter(|number| *number > 0)
    }

    /// Records an assigned number outside the database, as [`Write::entomb`] does. The number is recorded even if its
    /// change is undone.
    pub fn note_given(&self, series: Series, number: i64) {
        let mut given = self.read.given.get();
        given.set(series, number.max(given.of(series)));
        self.read.given.set(given);
        let mut assigned = self.read.assigned.get();
        assigned.set(series, given.of(series));
        self.read.assigned.set(assigned);
    }
}

impl From<Sqlite> for Read {
    fn from(sqlite: Sqlite) -> Read {
        Read::new(Engine::Sqlite(sqlite))
    }
}
