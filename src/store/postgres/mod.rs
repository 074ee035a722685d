//! PostgreSQL as an engine: connecting, session settings, transactions, rows and errors. No other module names
//! tokio-postgres.
//!
//! The statements of the rest of the store are those of SQLite. This folder has a few of its own: the lock that puts the changes of
//! several nodes in order, the lease of a node ([`lease`]), and questions about the server and its tables ([`facts`], [`compare`]).
//! The schema is made of `schema.sql` ([`schema`]).
//!
//! A transaction in which a statement has failed is never committed, and nothing is changed in a database that this program is
//! too old for. Connections go to the server itself: a pooler in between would lose the settings of a session.

mod address;
mod compare;
mod exact;
mod facts;
mod faults;
mod lease;
mod link;
mod load;
mod pipeline;
mod primary;
mod pulse;
mod schema;
mod tls;
mod upgrade;
mod values;
mod versions;

#[cfg(test)]
pub mod installed;
#[cfg(test)]
pub mod server;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade_tests;

use super::connection::{Cells as RowCells, Fault, FaultKind, Head, Read, Row, ToValue, Value};
use crate::error::{Error, Result};
use crate::refusals;
use address::STATEMENT_MAX;
pub use address::{Access, Address};
pub use exact::ExactWindows;
pub use facts::facts;
pub use lease::{Lease, LeaseHolder, Renewed, check_unused};
use link::{Failure, Link};
pub use load::{Earlier, load, set_aside};
use pipeline::{Pipeline, ROWS_AT_A_TIME, StatementId, next_rows};
pub use schema::in_words_of_postgres;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
pub use tls::ClientCertificate;
use tokio_postgres::Statement;
pub use upgrade::{state as schema_state, upgrade as upgrade_schema};
pub use values::Cells;
use values::Param;

/// How long a request waits for a server that answers nothing to anyone, unless it is a commit, which is given up later. Nor does it wait
/// when the connections of the node go to another server.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The row is the serial order of the changes of all nodes. Only this engine has such a lock: a file has one writer.
const LOCK_HEAD: &str = "SELECT seq, hash,
            (SELECT version FROM latchkey_schema WHERE one = 1) AS version,
            (SELECT oldest_reader FROM latchkey_schema WHERE one = 1) AS oldest_reader
     FROM audit_head
     WHERE one = 1
     FOR UPDATE";
/// The schema with Latchkey's tables.
const SCHEMA_NAME: &str = "latchkey";

/// A connection to a PostgreSQL server.
pub struct Postgres {
    /// The first field: its requests keep the connection open.
    pipeline: Pipeline,
    /// Before the database of a test, so that the connection is closed before that is removed.
    link: RefCell<Link>,
    /// The prepared statements by their texts, which are literals.
    statements: RefCell<HashMap<StatementId, Statement>>,
    transaction: Cell<Transaction>,
    /// Whether the transaction was begun as one that the standbys must have.
    syncs: Cell<bool>,
    /// Of the schema, as the transaction sees it; `None` if it was not asked for.
    version: Cell<Option<i64>>,
    /// Where the server is, and how long it may take.
    address: Address,
    /// When it was opened, among the other connections of its node ([`primary`]).
    round: u64,
    /// Whether rows of a query are still to come. Another query would wait for them for ever.
    is_reading: Cell<bool>,
    /// The database of a test, which is removed after its connections.
    #[cfg(test)]
    database: Option<server::Database>,
}

/// What this connection knows of its transaction. The server does not commit one in which a statement has failed, and
/// answers that without an error; so this must be known before COMMIT is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transaction {
    /// A statement has failed since the last part began.
    Failed,
    None,
    Open,
}

/// Refuses other requests while rows are handed out. If that does not come to its end, by an error or a panic, the rest of
/// the result is not read: a failure in it would stay unknown, so the transaction counts as failed if there is a rest.
struct Reading<'a> {
    postgres: &'a Postgres,
    has_rest: bool,
}

impl Reading<'_> {
    fn begin(postgres: &Postgres, has_rest: bool) -> Reading<'_> {
        postgres.is_reading.set(true);
        Reading { postgres, has_rest }
    }

    fn end(mut self) {
        self.has_rest = false;
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.postgres.is_reading.set(false);
        if self.has_rest {
            self.postgres.fail();
        }
    }
}

impl Postgres {
    /// Opens a connection to a database of Latchkey with the schema of this build.
    pub fn open(address: &Address) -> Result<Postgres> {
        let postgres = Postgres::connect(address)?;
        schema::check(&postgres)?;
        Ok(postgres)
    }

    /// As [`Postgres::open`], for queries alone.
    pub fn open_reader(address: &Address) -> Result<Postgres> {
        let postgres = Postgres::open(address)?;
        postgres.batch("SET default_transaction_read_only = on")?;
        Ok(postgres)
    }

    /// Creates the schema in a database that has none of Latchkey.
    pub fn create(address: &Address) -> Result<()> {
        schema::create(&Postgres::connect(address)?.into())
    }

    /// Refuses a database in which [`Postgres::create`] would not create the schema.
    pub fn check_free(address: &Address) -> Result<()> {
        let postgres = Postgres::connect(address)?;
        schema::check_server(&postgres)?;
        schema::check_free(&postgres)
    }

    fn connect(address: &Address) -> Result<Postgres> {
        primary::connect(address)
    }

    fn over(link: Link, address: Address, round: u64) -> Postgres {
        Postgres {
            pipeline: Pipeline::default(),
            link: RefCell::new(link),
            statements: RefCell::default(),
            transaction: Cell::new(Transaction::None),
            syncs: Cell::new(true),
            version: Cell::new(None),
            address,
            round,
            is_reading: Cell::new(false),
            #[cfg(test)]
            database: None,
        }
    }

    /// Runs a query and calls `take` with each row. `take` cannot use this connection.
    pub fn each(
        &self,
        sql: &'static str,
        params: &[&dyn ToValue],
        take: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let params: Vec<Value> = params.iter().map(|param| param.to_value()).collect();
        if let Some(rows) = self.pipeline.take(id_of(sql), &params) {
            return self.hand_out(&rows, take);
        }
        let statement = self.prepared(sql)?;
        let client = self.link.borrow().client();
        let params: Vec<Param> = params.into_iter().map(Param).collect();
        let (mut stream, mut rows) = self.run(self.address.statement_max, async {
            let mut stream = Box::pin(client?.query_raw(&statement, params).await?);
            let rows = next_rows(&mut stream).await?;
            Ok((stream, rows))
        })?;
        loop {
            let is_last = rows.len() < ROWS_AT_A_TIME;
            let reading = Reading::begin(self, !is_last);
            let mut cells = rows
                .iter()
                .map(|row| Row::new(RowCells::Postgres(Cells { row })));
            cells.try_for_each(|row| take(&row))?;
            reading.end();
            if is_last {
                return Ok(());
            }
            rows = self.run(self.address.statement_max, async {
                Ok(next_rows(&mut stream).await?)
            })?;
        }
    }

    /// Runs one statement and returns how many rows it changed.
    pub fn execute(&self, sql: &'static str, params: &[&dyn ToValue]) -> Result<usize> {
        let statement = self.prepared(sql)?;
        let client = self.link.borrow().client();
        let params: Vec<Param> = params.iter().map(|param| Param(param.to_value())).collect();
        let changed = self.run(self.address.statement_max, async {
            Ok(client?.execute_raw(&statement, params).await?)
        })?;
        usize::try_from(changed).map_err(Error::internal)
    }

    /// Runs statements without parameters.
    pub fn batch(&self, sql: &str) -> Result<()> {
        self.batch_within(self.address.statement_max, sql)
    }

    /// As [`Postgres::batch`], for statements that may take another time than usual.
    pub fn batch_within(&self, limit: Duration, sql: &str) -> Result<()> {
        let client = self.link.borrow().client();
        self.run(limit, async { Ok(client?.batch_execute(sql).await?) })
    }

    /// Begins a transaction that sees one state of the database and changes nothing.
    pub fn begin_reading(&self) -> Result<()> {
        self.forget_version();
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        self.transaction.set(Transaction::Open);
        Ok(())
    }

    /// As [`Postgres::open_reader`], for a connection that learns of the commits of all nodes with new events, if they notify.
    pub fn open_listener(address: &Address) -> Result<Postgres> {
        let postgres = Postgres::open_reader(address)?;
        if address.notifies {
            postgres.batch("LISTEN latchkey")?;
        }
        Ok(postgres)
    }

    /// Waits for such a commit, at most for a time, or until the node has another reason to look. A closed connection ends the wait, and
    /// so do commits since the last wait.
    pub fn wait_for_commit(&self, limit: Duration) {
        let wake = &self.address.primary.wake;
        self.link.borrow_mut().wait_for_notification(limit, wake);
    }

    /// Begins a transaction. If `syncs` is set, its commit is acknowledged when the standbys that the server names as
    /// synchronous have flushed it as well; otherwise, or without such standbys, when this server has.
    pub fn begin(&self, syncs: bool) -> std::result::Result<(), Fault> {
        self.syncs.set(syncs);
        let synchronous_commit = if syncs { "on" } else { "local" };
        self.begin_as(
            synchronous_commit,
            "pg_advisory_xact_lock_shared",
            STATEMENT_MAX,
        )
    }

    /// As [`Postgres::begin`], and waits for all other transactions that were begun so: these are the changes of all nodes, one after
    /// the other. Returns the newest event, which no other transaction changes any more; `None` if there is none.
    pub fn begin_at_head(&self, syncs: bool) -> std::result::Result<Option<Head>, Fault> {
        self.begin(syncs)?;
        self.lock_head()
            .map_err(|err| Fault::new(FaultKind::Refused, err))
    }

    /// Waits until each transaction that was begun before with [`Postgres::begin`] has ended, and commits something after
    /// them. The process of a connection that is lost may still commit, or wait for a standby with a commit that no one else
    /// sees yet; afterwards, its outcome is known and as durable as this commit. The wait is limited by `lock_timeout`, and each
    /// of its steps by `limit`.
    pub fn settle_earlier(&self, limit: Duration) -> Result<()> {
        let begun = self.begin_as("on", "pg_advisory_xact_lock", limit.min(STATEMENT_MAX));
        begun.map_err(|fault| fault.error)?;
        // Without a change, the commit would wait for nothing.
        let changed = self.execute("UPDATE latchkey_schema SET version = version", &[])?;
        if changed != 1 {
            return Err(Error::internal("the schema has no version to write"));
        }
        let committed = self.commit_as("COMMIT", limit.min(self.address.commit_max));
        committed.map_err(|fault| fault.error)
    }

    /// Runs work in a transaction that runs alone, and commits it. An error undoes all of it.
    fn alone<T>(read: &Read, work: impl FnOnce(&Postgres) -> Result<T>) -> Result<T> {
        let postgres = read.postgres()?;
        postgres.begin_alone()?;
        match work(postgres) {
            Ok(done) => {
                postgres.commit(None).map_err(|fault| fault.error)?;
                Ok(done)
            }
            Err(err) => {
                postgres.end();
                Err(err)
            }
        }
    }

    /// Begins a transaction that runs alone: no other one that was begun with [`Postgres::begin`] is open meanwhile. The wait for
    /// their ends is limited by `lock_timeout`.
    fn begin_alone(&self) -> Result<()> {
        let begun = self.begin_as("on", "pg_advisory_xact_lock", STATEMENT_MAX);
        begun.map_err(|fault| fault.error)?;
        // Work on this machine may take longer between two statements.
        self.batch("SET LOCAL idle_in_transaction_session_timeout = 0")
    }

    /// The number that a statement answers with, in the column `count`.
    fn count(&self, sql: &'static str) -> Result<i64> {
        let mut count = 0;
        self.each(sql, &[], &mut |row| {
            count = row.get("count")?;
            Ok(())
        })?;
        Ok(count)
    }

    /// The text that a statement answers with, in the column `text`; empty if there is none.
    fn text(&self, sql: &'static str) -> Result<String> {
        let mut text = String::new();
        self.each(sql, &[], &mut |row| {
            text = row.get::<Option<String>>("text")?.unwrap_or_default();
            Ok(())
        })?;
        Ok(text)
    }

    fn begin_as(
        &self,
        synchronous_commit: &str,
        lock: &str,
        limit: Duration,
    ) -> std::result::Result<(), Fault> {
        self.forget_version();
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL client_min_messages = warning;
             SET LOCAL synchronous_commit = {synchronous_commit}; SELECT {lock}(hashtextextended('latchkey', 0))"
        );
        let client = self.link.borrow().client();
        let begun = self.request(limit, async { Ok(client?.batch_execute(&sql).await?) });
        if let Err(failure) = begun {
            // Nothing has been changed yet.
            let kind = match faults::kind(&failure) {
                FaultKind::Unknown => FaultKind::Refused,
                known => known,
            };
            // The first statement may have been carried out.
            self.transaction.set(Transaction::Failed);
            return Err(Fault::new(kind, faults::error(&failure)));
        }
        self.transaction.set(Transaction::Open);
        Ok(())
    }

    /// Commits. Only an answer without a warning is a commit: the server answers so with a warning if it has stopped to
    /// wait for the standbys. A commit of unknown outcome is never cancelled and never repeated; the connection is
    /// closed, and the caller learns the outcome over another one, after [`Postgres::settle_earlier`].
    ///
    /// `news` is the newest event of the transaction, if it has any. Other nodes follow events as soon as they see them, so a
    /// commit with events always waits for the standbys: events that a failover loses would look like another chain.
    pub fn commit(&self, news: Option<Head>) -> std::result::Result<(), Fault> {
        // Nothing is acknowledged by a server that the node has left; nothing was sent, so nothing is saved either.
        if self.is_over() {
            self.end();
            let left = Error::Unavailable(refusals::server::database_unusable());
            return Err(Fault::new(FaultKind::Refused, left));
        }
        let mut sql = String::new();
        if news.is_some() && !self.syncs.get() {
            sql.push_str("SET LOCAL synchronous_commit = on; ");
        }
        if let Some(head) = news.filter(|_| self.address.notifies) {
            sql.push_str(&format!("NOTIFY latchkey, '{}'; ", head.seq));
        }
        sql.push_str("COMMIT");
        self.commit_as(&sql, self.address.commit_max)
    }

    fn commit_as(&self, sql: &str, limit: Duration) -> std::result::Result<(), Fault> {
        // A commit after a statement that failed would be answered like any other.
        if let Err(err) = self.settle_sent() {
            log::error!("store: a statement of the transaction failed: {err}");
        }
        if self.transaction.get() != Transaction::Open {
            self.end();
            let ended = Error::Unavailable(refusals::server::database_ended());
            return Err(Fault::new(FaultKind::Refused, ended));
        }
        drop(self.link.borrow_mut().take_warnings());
        let client = self.link.borrow().client();
        let commit = async { Ok(client?.batch_execute(sql).await?) };
        let (earlier, committed) = self.answers(limit, Duration::MAX, commit);
        let answered = earlier.and(committed);
        self.transaction.set(Transaction::None);
        let warnings = self.link.borrow_mut().take_warnings();
        let unknown = |why: String| {
            self.link.borrow_mut().give_up();
            let text = format!("it is not known whether the change was saved: {why}");
            Err(Fault::new(FaultKind::Unknown, Error::internal(text)))
        };
        if !warnings.is_empty() {
            return unknown(warnings.join("; "));
        }
        match answered {
            Ok(()) => Ok(()),
            Err(failure) => match faults::kind(&failure) {
                FaultKind::Unknown => unknown(failure.to_string()),
                known => Err(Fault::new(known, faults::error(&failure))),
            },
        }
    }

    /// Rolls the transaction back if one is open; `false` if that failed.
    pub fn end(&self) -> bool {
        if self.link.borrow().is_over() {
            return false;
        }
        if self.transaction.get() == Transaction::None {
            return true;
        }
        let ended = self.undo("ROLLBACK").is_ok();
        if ended {
            self.transaction.set(Transaction::None);
        }
        ended
    }

    /// Begins a part of the transaction that can be undone alone.
    pub fn begin_part(&self) -> Result<()> {
        let client = self.client()?;
        self.add(Box::pin(async move {
            Ok(client.batch_execute("SAVEPOINT part").await?)
        }))
    }

    /// Ends what [`Postgres::begin_part`] began. A part in which a statement has failed cannot stay.
    pub fn end_part(&self, stays: bool) -> Result<()> {
        if stays {
            return match self.transaction.get() {
                Transaction::Open => self.batch("RELEASE SAVEPOINT part"),
                Transaction::Failed | Transaction::None => {
                    Err(Error::Unavailable(refusals::server::database_ended()))
                }
            };
        }
        self.undo("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")?;
        self.transaction.set(Transaction::Open);
        Ok(())
    }

    /// Undoes the transaction or a part of it, even after a failed statement.
    fn undo(&self, sql: &str) -> Result<()> {
        let client = self.link.borrow().client();
        let (_, undone) = self.answers(self.address.statement_max, SILENCE_MAX, async {
            Ok(client?.batch_execute(sql).await?)
        });
        undone.map_err(|failure| faults::error(&failure))
    }

    /// Whether the connection is closed, or to be replaced because the connections of the node were opened again.
    pub fn is_over(&self) -> bool {
        self.link.borrow().is_over() || self.round != self.address.primary.round()
    }

    /// Whether no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.transaction.get() == Transaction::None || self.link.borrow().is_over()
    }

    /// The prepared statement of a literal.
    fn prepared(&self, sql: &'static str) -> Result<Statement> {
        let key = id_of(sql);
        if let Some(known) = self.statements.borrow().get(&key) {
            return Ok(known.clone());
        }
        let client = self.link.borrow().client();
        let statement = self.run(self.address.statement_max, async {
            Ok(client?.prepare(sql).await?)
        })?;
        self.statements.borrow_mut().insert(key, statement.clone());
        Ok(statement)
    }

    /// The types of the parameters and of the columns of a statement.
    #[cfg(test)]
    fn describe(&self, sql: &str) -> Result<(Vec<String>, Vec<String>)> {
        let client = self.link.borrow().client();
        let statement = self.run(self.address.statement_max, async {
            Ok(client?.prepare(sql).await?)
        })?;
        let parameters = statement.params().iter().map(|ty| ty.name().to_owned());
        let columns = statement.columns().iter();
        let columns = columns.map(|column| column.type_().name().to_owned());
        Ok((parameters.collect(), columns.collect()))
    }

    /// Makes a request and waits for its end. Its failure ends the transaction until the part or the whole is undone.
    fn run<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> Result<T> {
        self.request(limit, request).map_err(|failure| {
            self.fail();
            faults::error(&failure)
        })
    }

    fn request<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> std::result::Result<T, Failure> {
        let (earlier, asked) = self.answers(limit, SILENCE_MAX, request);
        earlier.and(asked)
    }

    /// Makes a request and waits for its end, and for those of all requests that were sent before. Returns the first failure
    /// of these, and the result of the request.
    fn answers<T>(
        &self,
        limit: Duration,
        silence: Duration,
        request: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> (
        std::result::Result<(), Failure>,
        std::result::Result<T, Failure>,
    ) {
        if self.is_reading.get() {
            return (Ok(()), Err(Failure::Nested));
        }
        let mut earlier = Ok(());
        let all = async {
            let (before, asked) = self.pipeline.send(request).await;
            earlier = before;
            asked
        };
        #[cfg(test)]
        WAITS.set(WAITS.get() + 1);
        let mut link = self.link.borrow_mut();
        // Work on all rows of a database may go on where it began: the node may have left a server that is only slow.
        let is_short = limit <= STATEMENT_MAX;
        let has_left = || is_short && self.round != self.address.primary.round();
        let asked = link.run_unless_gone(limit, silence, has_left, all);
        drop(link);
        (earlier, asked)
    }

    fn fail(&self) {
        if self.transaction.get() == Transaction::Open {
            self.transaction.set(Transaction::Failed);
        }
    }
}

impl From<Postgres> for Read {
    fn from(postgres: Postgres) -> Read {
        Read::new(super::connection::Engine::Postgres(Box::new(postgres)))
    }
}

#[cfg(test)]
thread_local! {
    static WAITS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has waited for a server.
#[cfg(test)]
pub fn waits() -> u64 {
    WAITS.get()
}

/// Identifies a statement by its text, which is a literal.
fn id_of(sql: &'static str) -> StatementId {
    (sql.as_ptr() as usize, sql.len())
}
