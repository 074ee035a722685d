//! One connection, from its first byte to its last: hyper on top of the request reader (`guard`).

mod answer;
mod at_once;
#[cfg(test)]
mod example_service;
mod exchange;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::Method;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::answer::Answer;
use self::exchange::exchange;
pub use self::exchange::{Job, work};
use super::guard::{Guard, Outbox};
use super::head::{Glimpse, Refusal, RequestLine, glimpse};
use super::held::Held;
use super::pool::Pool;
use super::slots::{Place, Registry, Seldom};
use super::workers::Lanes;
use super::{Fault, Service};
use crate::domain::locks::lock;
use crate::http1::headers::Headers;
use crate::http1::request::{Head, Peer, RequestId};

/// The size of hyper's buffer: enough for a large piece of a body, because the head that hyper receives is short.
const HYPER_BUFFER_BYTES: usize = 16 * 1024;

/// Request ids are allocated in blocks, so that connections on different cores do not share a counter.
const ID_BLOCK: u64 = 256;

/// The server state that all connections share.
pub struct Front {
    pub service: Service,
    pub registry: Arc<Registry>,
    pub pool: Pool<Job>,
    pub lanes: Lanes,
    pub accept_log: Seldom,
    tls_log: Seldom,
    plain_log: Seldom,
    process: u32,
    id_blocks: AtomicU64,
    /// Counts the memory that bodies and answers take.
    pub held: Held,
}

impl Front {
    /// `process` is the random part of all request ids of this process.
    pub fn new(
        service: Service,
        registry: Arc<Registry>,
        pool: Pool<Job>,
        lanes: Lanes,
        process: u32,
    ) -> Front {
        Front {
            held: Held::new(registry.limits()),
            service,
            registry,
            pool,
            lanes,
            accept_log: Seldom::default(),
            tls_log: Seldom::default(),
            plain_log: Seldom::default(),
            process,
            id_blocks: AtomicU64::new(0),
        }
    }

    pub fn log_tls(&self) {
        if self.tls_log.may(self.registry.now()) {
            log::warn!("a client speaks TLS to a plain HTTP port");
        }
    }

    pub fn log_plain(&self) {
        if self.plain_log.may(self.registry.now()) {
            log::warn!("a client spoke plain HTTP on the TLS port");
        }
    }

    /// Clients that disconnect without sending anything, such as port scanners, do not get a log line.
    pub fn log_handshake(&self, err: &io::Error) {
        let is_silent = matches!(
            err.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
        );
        if is_silent || !self.tls_log.may(self.registry.now()) {
            log::debug!("a TLS handshake failed: {err}");
        } else {
            log::warn!("a TLS handshake failed: {err}");
        }
    }
}

/// One connection, as its request reader and its requests see it.
pub struct Line {
    pub front: Arc<Front>,
    pub place: Place,
    /// The client sent plain HTTP to a TLS port: none of its requests is served.
    pub is_misplaced: bool,
    peer: Peer,
    /// The next request id. Only the task of this connection takes ids from it.
    next_id: AtomicU64,
    /// The head, as parsed by the request reader, of the request that hyper delivers next.
    passed: Mutex<Option<Head>>,
}

impl Line {
    /// Builds the request head from what the request reader has parsed.
    pub fn head(&self, request: RequestLine, headers: Headers) -> Head {
        Head {
            method: request.method,
            target: request.target,
            is_http_11: request.is_http_11,
            headers,
            peer: self.peer,
            id: self.draw_id(),
        }
    }

    /// Writes the answer to a request without a body into an empty outbox, if it can be answered without waiting.
    pub fn answer_at_once(&self, head: Head, outbox: &mut Outbox) -> Result<(), Box<Head>> {
        at_once::answer(self, head, outbox)
    }

    /// Stores the head of the request that hyper receives next.
    pub fn pass(&self, head: Head) {
        *lock(&self.passed) = Some(head);
    }

    fn draw_id(&self) -> RequestId {
        let mut count = self.next_id.load(Relaxed);
        if count.is_multiple_of(ID_BLOCK) {
            count = self.front.id_blocks.fetch_add(1, Relaxed) * ID_BLOCK + 1;
        }
        self.next_id.store(count + 1, Relaxed);
        RequestId::new(self.front.process, count)
    }

    /// The complete answer to a request that the request reader refuses, in the dialect of the path as far as `bytes`
    /// contain one.
    pub fn refusal(&self, refusal: Refusal, bytes: &[u8]) -> Outbox {
        let Refusal { status, detail } = refusal;
        let Glimpse {
            method,
            target,
            headers,
        } = glimpse(bytes);
        let head = Head {
            method,
            target,
            is_http_11: false,
            headers,
            peer: self.peer,
            id: self.draw_id(),
        };
        let fault = match status {
            503 => Fault::Busy,
            status => Fault::Refused {
                status,
                why: detail,
            },
        };
        let reply = (self.front.service.fault)(fault, &head);
        let mut outbox = Outbox::default();
        let has_body = head.method != Method::HEAD;
        Answer::new(reply, head.id, self, true).send(&mut outbox, has_body);
        outbox
    }
}

/// Serves one connection until it ends. `io` may also be a TLS stream.
pub async fn serve<S>(io: S, peer: Peer, place: Place, front: Arc<Front>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    converse(io, peer, place, front, false).await;
}

/// Answers every request of a client that speaks plain HTTP to a TLS port by saying so.
pub async fn refuse_plain(io: TcpStream, peer: Peer, place: Place, front: Arc<Front>) {
    front.log_plain();
    converse(io, peer, place, front, true).await;
}

async fn converse<S>(io: S, peer: Peer, place: Place, front: Arc<Front>, is_misplaced: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let line = Arc::new(Line {
        front,
        place,
        is_misplaced,
        peer,
        next_id: AtomicU64::new(0),
        passed: Mutex::new(None),
    });
    let mut guard = Guard::new(io, Arc::clone(&line));
    // Most connections never need hyper: it is created for the first request that the fast path cannot answer.
    if !lasts(&line, |cx| guard.poll_head(cx)).await {
        return;
    }
    let mut connection = pin!(
        http1::Builder::new()
            // The request reader reports the end of the stream when it refuses something; requests before that are
            // still answered.
            .half_close(true)
            .header_read_timeout(None)
            .max_buf_size(HYPER_BUFFER_BYTES)
            // hyper sends a large body without copying it: a copy for every client that reads slowly would exhaust the
            // memory.
            .writev(true)
            .serve_connection(
                guard,
                service_fn(|request| {
                    let head = lock(&line.passed).take();
                    exchange(Arc::clone(&line), head, request.into_body())
                }),
            )
    );
    lasts(&line, |cx| connection.as_mut().poll(cx)).await;
}

/// Runs the work of a connection until it is done, unless the connection must be closed before. Returns whether the
/// work was completed.
async fn lasts<E: Display>(
    line: &Line,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<Result<(), E>>,
) -> bool {
    poll_fn(|cx| {
        line.place.watch.waker.get_or_init(|| cx.waker().clone());
        match work(cx) {
            Poll::Pending if line.place.watch.leaves() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(true),
            Poll::Ready(Err(err)) => {
                log::debug!("a connection ended with an error: {err}");
                Poll::Ready(false)
            }
        }
    })
    .await
}
