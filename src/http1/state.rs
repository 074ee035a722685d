//! The server state that all connections share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Service;
use super::handler::Job;
use super::held::Held;
use super::pool::Pool;
use super::slots::{OncePerSecond, Slots};
use super::workers::Workers;
use crate::http1::request::RequestId;

/// Request ids are allocated in blocks, so that connections on different cores do not share a counter.
const ID_BLOCK: u64 = 256;

pub struct ServerState {
    pub service: Service,
    pub slots: Arc<Slots>,
    pub pool: Pool<Job>,
    pub workers: Workers,
    /// Counts the memory that bodies and answers take.
    pub held: Held,
    pub accept_log: OncePerSecond,
    tls_log: OncePerSecond,
    plain_log: OncePerSecond,
    agent_log: OncePerSecond,
    process: u32,
    id_blocks: AtomicU64,
}

impl ServerState {
    /// `process` is the random part of all request ids of this process.
    pub fn new(
        service: Service,
        slots: Arc<Slots>,
        pool: Pool<Job>,
        workers: Workers,
        process: u32,
    ) -> ServerState {
        ServerState {
            held: Held::new(slots.limits()),
            service,
            slots,
            pool,
            workers,
            accept_log: OncePerSecond::default(),
            tls_log: OncePerSecond::default(),
            plain_log: OncePerSecond::default(),
            agent_log: OncePerSecond::default(),
            process,
            id_blocks: AtomicU64::new(0),
        }
    }

    /// The id of the next request of a connection. `next` belongs to the connection and begins with zero.
    pub fn request_id(&self, next: &mut u64) -> RequestId {
        if next.is_multiple_of(ID_BLOCK) {
            *next = self.id_blocks.fetch_add(1, Relaxed) * ID_BLOCK + 1;
        }
        let id = RequestId::new(self.process, *next);
        *next += 1;
        id
    }

    pub fn log_tls(&self) {
        if self.tls_log.may(self.slots.now()) {
            log::warn!("a client speaks TLS to a plain HTTP port");
        }
    }

    pub fn log_plain(&self) {
        if self.plain_log.may(self.slots.now()) {
            log::warn!("a client spoke plain HTTP on the TLS port");
        }
    }

    /// `why` is a text of this program, without anything that HAProxy has sent.
    pub fn log_agent(&self, why: &'static str) {
        if self.agent_log.may(self.slots.now()) {
            log::warn!("haproxy_agent: {why}");
        }
    }

    /// Clients that disconnect without sending anything, such as port scanners, do not get a log line.
    pub fn log_handshake(&self, err: &io::Error) {
        let is_silent = matches!(
            err.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
        );
        if is_silent || !self.tls_log.may(self.slots.now()) {
            log::debug!("a TLS handshake failed: {err}");
        } else {
            log::warn!("a TLS handshake failed: {err}");
        }
    }
}
