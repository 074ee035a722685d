//! Runs the closures of the [`Service`](super::Service): on the I/O thread, or on the pool of blocking threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;

use super::held::{BodyHold, tied};
use super::limits::FREE_ANSWER_BYTES;
use super::pool::Crowded;
use super::slots::Phase;
use super::state::ServerState;
use super::{Execution, Fault};
use crate::domain::metrics::TRAFFIC;
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Method, Request};

/// Runs a closure of the service. `None`: it panicked, which fails only this one request (attacks 42).
pub fn caught<R>(head: &Head, run: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run)).ok();
    if result.is_none() {
        log::error!("request {} ended in a panic", head.id);
    }
    result
}

/// Runs the handler. `None`: the request must be repeated on a blocking thread.
pub fn answer(state: &ServerState, request: &Request, execution: Execution) -> Option<Reply> {
    let service = &state.service;
    let answered = caught(&request.head, || (service.answer)(request, execution));
    let reply = answered.unwrap_or_else(|| Some((service.fault)(Fault::Panicked, &request.head)));
    match reply {
        Some(reply) if reply.body.len() > FREE_ANSWER_BYTES => Some(counted(state, request, reply)),
        other => other,
    }
}

/// As [`counted`], for an answer that came later.
pub fn counted_later(state: &ServerState, mut reply: Reply) -> Reply {
    if reply.body.len() <= FREE_ANSWER_BYTES || !reply.body.is_unique() {
        return reply;
    }
    let (hold, fits) = state
        .held
        .answers
        .take(reply.body.len() - FREE_ANSWER_BYTES);
    if !fits {
        state.slots.relieve(&[Phase::Write]);
        if reply.is_repeatable {
            return Reply::new(503).with("retry-after", "1");
        }
    }
    reply.body = tied(reply.body, hold);
    reply
}

/// Counts a large answer against the memory limit until its client has received it; refuses the request if unread
/// answers leave no memory for it.
///
/// An answer whose bytes other parts of the program share stays in memory anyway and is not counted.
fn counted(state: &ServerState, request: &Request, mut reply: Reply) -> Reply {
    if !reply.body.is_unique() || request.head.method == Method::HEAD {
        return reply;
    }
    let bytes = reply.body.len() - FREE_ANSWER_BYTES;
    let (hold, fits) = state.held.answers.take(bytes);
    if !fits {
        state.slots.relieve(&[Phase::Write]);
        if reply.is_repeatable || request.head.method.is_safe() {
            return (state.service.fault)(Fault::Unread, &request.head);
        }
    }
    reply.body = tied(reply.body, hold);
    reply
}

/// A request that is queued for a blocking thread.
pub struct Job {
    state: Arc<ServerState>,
    /// Belongs to the request, because the connection may end before the request is answered.
    _hold: BodyHold,
    request: Request,
    done: oneshot::Sender<Reply>,
}

/// Queues a request for a blocking thread. `Err`: it was not queued, and this is the answer.
pub fn queue(
    state: &Arc<ServerState>,
    request: Request,
    hold: BodyHold,
) -> Result<oneshot::Receiver<Reply>, Reply> {
    let fault = &state.service.fault;
    let Some(turn) = caught(&request.head, || (state.service.turn)(&request)) else {
        return Err(fault(Fault::Panicked, &request.head));
    };
    let (done, reply) = oneshot::channel();
    let job = Job {
        state: Arc::clone(state),
        _hold: hold,
        request,
        done,
    };
    TRAFFIC.requests_waiting.fetch_add(1, Relaxed);
    state.pool.offer(turn, job).map_err(|(full, job)| {
        TRAFFIC.requests_waiting.fetch_sub(1, Relaxed);
        let full = match full {
            Crowded::Everybody => Fault::Busy,
            Crowded::Holder => Fault::BusyCaller,
        };
        fault(full, &job.request.head)
    })?;
    Ok(reply)
}

/// Runs a job on a blocking thread.
pub fn work(job: Job) {
    TRAFFIC.requests_waiting.fetch_sub(1, Relaxed);
    let reply = answer(&job.state, &job.request, Execution::Blocking);
    let reply = reply.unwrap_or_else(|| Reply::new(500)); // only an inline request may get None
    // The client may have disconnected; its request has been carried out all the same.
    let _ = job.done.send(reply);
}
