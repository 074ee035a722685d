//! Requests that are sent without waiting for their answers: over a network, waiting for each statement takes longer than the
//! statement. The server answers in the order of the requests, so each answer comes after every earlier failure.

use super::link::Failure;
use super::values::{Cells, Param};
use super::{Postgres, Reading, faults, id_of};
use crate::domain::locks::lock;
use crate::error;
use crate::store::connection::{Cells as RowCells, Row, ToValue, Value};
use futures_core::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio_postgres::{Client, Error as PgError, Row as PgRow, RowStream};

/// The number of rows that are taken from the server at a time.
pub const ROWS_AT_A_TIME: usize = 256;

/// The answer to one request. The request is sent when this is polled for the first time.
pub type Answer = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The address and the length of the text of a statement.
pub type StatementId = (usize, usize);

/// The requests of a connection whose answers are still to be waited for.
#[derive(Default)]
pub struct Pipeline {
    answers: RefCell<VecDeque<Answer>>,
    asked: RefCell<Vec<Asked>>,
}

/// Rows that were asked for before they are read.
struct Asked {
    statement: StatementId,
    params: Vec<Value>,
    rows: Rows,
}

/// The place where the rows of an answer are put.
pub type Rows = Arc<Mutex<Vec<PgRow>>>;

impl Pipeline {
    /// Adds a request, which is sent together with the next one whose answer is waited for.
    pub fn add(&self, answer: Answer) {
        self.answers.borrow_mut().push_back(answer);
    }

    /// Whether there is no answer to wait for.
    pub fn is_empty(&self) -> bool {
        self.answers.borrow().is_empty()
    }

    /// Adds a query whose rows are read later, with [`Pipeline::take`].
    pub fn add_query(
        &self,
        statement: StatementId,
        params: Vec<Value>,
        rows: Rows,
        answer: Answer,
    ) {
        self.add(answer);
        let asked = Asked {
            statement,
            params,
            rows,
        };
        self.asked.borrow_mut().push(asked);
    }

    /// Where the rows of an earlier query are put that was the same. Each is good for one reading.
    pub fn take(&self, statement: StatementId, params: &[Value]) -> Option<Rows> {
        let mut asked = self.asked.borrow_mut();
        let is_same = |one: &Asked| one.statement == statement && one.params == params;
        let position = asked.iter().position(is_same)?;
        Some(asked.swap_remove(position).rows)
    }

    /// Forgets rows that were not read. They may be older than what is there now.
    pub fn forget_rows(&self) {
        self.asked.borrow_mut().clear();
    }

    /// Sends a request after those that were added, and waits for all their answers. Returns the first failure of the
    /// earlier ones, and the result of the request.
    pub async fn send<T>(
        &self,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> (Result<(), Failure>, Result<T, Failure>) {
        let mut answers = self.answers.take();
        let mut request = pin!(request);
        let (mut earlier, mut result) = (Ok(()), None);
        poll_fn(|cx| {
            answers.retain_mut(|answer| match answer.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(ended) => {
                    if earlier.is_ok() {
                        earlier = ended;
                    }
                    false
                }
            });
            if result.is_none()
                && let Poll::Ready(ended) = request.as_mut().poll(cx)
            {
                result = Some(ended);
            }
            match result.take_if(|_| answers.is_empty()) {
                Some(ended) => Poll::Ready((std::mem::replace(&mut earlier, Ok(())), ended)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl Postgres {
    /// Asks for rows that are read next, with the same text and parameters, and sends all these queries at once.
    pub fn ask(&self, sql: &'static str, each: &[&[&dyn ToValue]]) -> error::Result<()> {
        let statement = self.prepared(sql)?;
        for params in each {
            let values: Vec<Value> = params.iter().map(|param| param.to_value()).collect();
            let params: Vec<Param> = values.iter().cloned().map(Param).collect();
            let (client, statement) = (self.client()?, statement.clone());
            let rows = Rows::default();
            let place = rows.clone();
            let answer = async move {
                let found = client.query_raw(&statement, params).await?;
                let mut found = Box::pin(found);
                while let Some(row) = poll_fn(|cx| found.as_mut().poll_next(cx)).await {
                    lock(&place).push(row?);
                }
                Ok(())
            };
            let answer = Box::pin(answer);
            self.pipeline.add_query(id_of(sql), values, rows, answer);
        }
        Ok(())
    }

    /// Forgets what was asked for and not read.
    pub fn forget_asked(&self) {
        self.pipeline.forget_rows();
    }

    /// Hands out rows that [`Postgres::ask`] has asked for.
    pub(super) fn hand_out(
        &self,
        rows: &Rows,
        take: &mut dyn FnMut(&Row<'_>) -> error::Result<()>,
    ) -> error::Result<()> {
        self.settle_sent()?;
        let rows = std::mem::take(&mut *lock(rows));
        let reading = Reading::begin(self, false);
        let mut cells = rows
            .iter()
            .map(|row| Row::new(RowCells::Postgres(Cells { row })));
        cells.try_for_each(|row| take(&row))?;
        reading.end();
        Ok(())
    }

    /// Runs one statement without waiting for its end. Its failure is that of the next request, and the part that it is of
    /// cannot stay.
    pub fn send(&self, sql: &'static str, params: &[&dyn ToValue]) -> error::Result<()> {
        let statement = self.prepared(sql)?;
        let params: Vec<Param> = params.iter().map(|param| Param(param.to_value())).collect();
        let client = self.client()?;
        self.add(Box::pin(async move {
            client.execute_raw(&statement, params).await?;
            Ok(())
        }))
    }

    /// Waits for the answers to everything that was sent.
    pub(super) fn settle_sent(&self) -> error::Result<()> {
        match self.pipeline.is_empty() {
            true => Ok(()),
            false => self.run(self.address.statement_max, async { Ok(()) }),
        }
    }

    pub(super) fn add(&self, answer: Answer) -> error::Result<()> {
        if self.is_reading.get() {
            return Err(faults::error(&Failure::Nested));
        }
        self.pipeline.add(answer);
        Ok(())
    }

    pub(super) fn client(&self) -> error::Result<Arc<Client>> {
        let client = self.link.borrow().client();
        client.map_err(|failure| faults::error(&failure))
    }
}

/// The next rows of a result; fewer than [`ROWS_AT_A_TIME`] if these are the last ones.
pub async fn next_rows(stream: &mut Pin<Box<RowStream>>) -> Result<Vec<PgRow>, PgError> {
    let mut rows = Vec::new();
    while rows.len() < ROWS_AT_A_TIME {
        match poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            Some(row) => rows.push(row?),
            None => break,
        }
    }
    Ok(rows)
}
