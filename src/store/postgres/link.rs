//! One connection, driven by the thread that uses it: a runtime for this thread alone, the requests of the client, and
//! what the server sends without being asked.

use super::primary::Wake;
use super::pulse::Pulse;
use crate::error::{Error, Result};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Error as PgError, Socket};

/// How often a request that waits looks whether the server is still there.
const LOOKS_AGAIN: Duration = Duration::from_millis(500);
/// How long the server may take to notice that the connection is closed.
const CLOSING_MAX: Duration = Duration::from_millis(200);

/// Moves bytes in both directions, and returns what the server has sent without being asked. `None` when the
/// connection is closed; it must not be called again then.
type Messages = Box<
    dyn FnMut(&mut Context<'_>) -> Poll<Option<std::result::Result<AsyncMessage, PgError>>> + Send,
>;

/// A connection to a server.
pub struct Link {
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    /// `None` when the connection is over.
    client: Option<Arc<Client>>,
    messages: Option<Messages>,
    unasked: Unasked,
    pulse: Arc<Pulse>,
}

/// What the server has sent without being asked.
#[derive(Default)]
struct Unasked {
    warnings: Vec<String>,
    is_notified: bool,
}

/// Why a request has no result.
#[derive(Debug)]
pub enum Failure {
    /// There was no answer in time. The connection is closed.
    Late(Duration),
    /// Rows of another query are still to be read. Nothing was sent.
    Nested,
    /// The connection was closed before. Nothing was sent.
    Over,
    /// The server refused the request, or the connection broke.
    Server(PgError),
}

impl From<PgError> for Failure {
    fn from(err: PgError) -> Failure {
        Failure::Server(err)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Late(limit) => write!(f, "no answer within {} s", limit.as_secs()),
            Failure::Nested => f.write_str("a query inside another one"),
            Failure::Over => f.write_str("the connection is closed"),
            Failure::Server(err) => match err.as_db_error() {
                // The detail may name values, such as the digest that exists already.
                Some(err) => write!(f, "{} ({})", err.message(), err.code().code()),
                None => {
                    write!(f, "{err}")?;
                    match std::error::Error::source(err) {
                        Some(source) => write!(f, ": {source}"),
                        None => Ok(()),
                    }
                }
            },
        }
    }
}

impl Failure {
    /// Whether no other request can follow.
    fn ends_session(&self) -> bool {
        match self {
            Failure::Late(_) => true,
            Failure::Nested | Failure::Over => false,
            Failure::Server(err) => {
                let severity = err.as_db_error().and_then(DbError::parsed_severity);
                matches!(severity, Some(Severity::Fatal | Severity::Panic))
            }
        }
    }
}

impl Link {
    /// Connects within a time. Nothing but the connection itself is set up.
    pub fn open<T>(
        config: &Config,
        tls: T,
        limit: Duration,
        pulse: &Arc<Pulse>,
    ) -> Result<std::result::Result<Link, Failure>>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::internal)?;
        let connected =
            runtime.block_on(async { tokio::time::timeout(limit, config.connect(tls)).await });
        let connected = match connected {
            Ok(connected) => connected.map_err(Failure::Server),
            Err(_) => Err(Failure::Late(limit)),
        };
        Ok(match connected {
            // The end of a runtime waits for its threads, and one of them may wait for the name of a host.
            Err(failure) => {
                runtime.shutdown_background();
                Err(failure)
            }
            Ok((client, mut connection)) => Ok(Link {
                runtime: Some(runtime),
                client: Some(Arc::new(client)),
                messages: Some(Box::new(move |cx| connection.poll_message(cx))),
                unasked: Unasked::default(),
                pulse: pulse.clone(),
            }),
        })
    }

    /// What requests are made with, inside [`Link::run`].
    pub fn client(&self) -> std::result::Result<Arc<Client>, Failure> {
        self.client.clone().ok_or(Failure::Over)
    }

    /// Whether the connection is closed.
    pub fn is_over(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.is_closed())
    }

    /// Makes a request and waits for its end. A request without an answer in time closes the connection: an answer
    /// that came later would be taken for that of the next one. So does the answer that the server ends the session.
    pub fn run<T>(
        &mut self,
        limit: Duration,
        request: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> std::result::Result<T, Failure> {
        self.run_unless_gone(limit, Duration::MAX, || false, request)
    }

    /// As [`Link::run`], and a request waits no longer if the server has answered nothing for as long as `silence`, or if the node
    /// `has_left` the server. A request whose silence has no end is a commit, and waits even then.
    pub fn run_unless_gone<T>(
        &mut self,
        limit: Duration,
        silence: Duration,
        has_left: impl Fn() -> bool,
        request: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> std::result::Result<T, Failure> {
        let runtime = self.runtime.as_ref().ok_or(Failure::Over)?;
        let (messages, unasked) = (&mut self.messages, &mut self.unasked);
        let mut request = pin!(request);
        let mut driven = pin!(poll_fn(|cx| {
            drive(messages, unasked, cx);
            request.as_mut().poll(cx)
        }));
        let (began, pulse) = (Instant::now(), &self.pulse);
        let ended = runtime.block_on(async {
            loop {
                let left = limit.saturating_sub(began.elapsed()).min(LOOKS_AGAIN);
                if let Ok(ended) = tokio::time::timeout(left, driven.as_mut()).await {
                    return ended;
                }
                if began.elapsed() >= limit {
                    return Err(Failure::Late(limit));
                }
                if pulse.is_gone(began, silence) {
                    return Err(Failure::Late(silence));
                }
                if silence < Duration::MAX && has_left() {
                    return Err(Failure::Late(began.elapsed()));
                }
            }
        });
        if ended.is_ok() {
            self.pulse.note();
        }
        if ended.as_ref().is_err_and(Failure::ends_session) {
            self.give_up();
        }
        ended
    }

    /// Closes the connection without waiting for anything that is under way.
    pub fn give_up(&mut self) {
        self.client = None;
        self.messages = None;
    }

    /// The warnings that have come since this was last called.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unasked.warnings)
    }

    /// Waits for a notification that has come since this was last called, or for `wake`, at most for a time. A closed connection has
    /// no notifications.
    pub fn wait_for_notification(&mut self, limit: Duration, wake: &Wake) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        let (messages, unasked) = (&mut self.messages, &mut self.unasked);
        let notified = poll_fn(|cx| {
            drive(messages, unasked, cx);
            match unasked.is_notified || messages.is_none() || wake.was_called(cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let _ = runtime.block_on(async { tokio::time::timeout(limit, notified).await });
        self.unasked.is_notified = false;
    }
}

/// Moves what there is to move. Without its messages a connection is over, and the client notices that.
fn drive(messages: &mut Option<Messages>, unasked: &mut Unasked, cx: &mut Context<'_>) {
    while let Some(poll) = messages {
        match poll(cx) {
            Poll::Pending => return,
            Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                let is_harmless = matches!(
                    notice.parsed_severity(),
                    Some(Severity::Debug | Severity::Info | Severity::Log | Severity::Notice)
                );
                if !is_harmless {
                    log::warn!("store: PostgreSQL warns: {}", notice.message());
                    unasked.warnings.push(notice.message().to_owned());
                }
            }
            Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => unasked.is_notified = true,
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(err))) => {
                log::warn!(
                    "store: a connection to PostgreSQL broke: {}",
                    Failure::Server(err)
                );
                *messages = None;
            }
            Poll::Ready(None) => *messages = None,
        }
    }
}

impl Drop for Link {
    /// Ends the session in order, so that the server neither waits for more nor logs a broken connection.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        self.client = None;
        let (messages, unasked) = (&mut self.messages, &mut self.unasked);
        // A thread of another runtime must not block.
        if messages.is_some() && tokio::runtime::Handle::try_current().is_err() {
            let closed = poll_fn(|cx| {
                drive(messages, unasked, cx);
                match messages {
                    None => Poll::Ready(()),
                    Some(_) => Poll::Pending,
                }
            });
            let _ = runtime.block_on(async { tokio::time::timeout(CLOSING_MAX, closed).await });
        }
        runtime.shutdown_background();
    }
}
