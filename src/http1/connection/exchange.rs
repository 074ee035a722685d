//! One request, from hyper to the service and back: its expectation, its body, the thread that answers it, its answer.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;

use super::answer::Answer;
use super::{Front, Line};
use crate::domain::metrics::TRAFFIC;
use crate::http1::guard::BodyFault;
use crate::http1::headers::list_members;
use crate::http1::held::{BodyHold, tied};
use crate::http1::limits::{FREE_ANSWER_BYTES, SMALL_BODY_BYTES};
use crate::http1::pool::Crowded;
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Request};
use crate::http1::slots::Phase;
use crate::http1::{BodyRule, Fault, Lane};

/// Answers one request. It never fails: every failure becomes an answer as well.
///
/// The request is taken from `head`, which the request reader has parsed; hyper does not parse it again and only reads
/// the body.
pub async fn exchange(
    line: Arc<Line>,
    head: Option<Head>,
    body: Incoming,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (id, ending) = match head {
        Some(head) => (head.id, answer(&line, head, body).await),
        // hyper has received a request that the request reader has not checked.
        None => (line.draw_id(), Ending::last(Reply::new(500))),
    };
    let closes = ending.closes || line.front.registry.is_draining();
    Ok(Answer::new(ending.reply, id, &line, closes).into_response())
}

/// A reply, and whether the connection ends after it.
struct Ending {
    reply: Reply,
    closes: bool,
}

impl Ending {
    fn last(reply: Reply) -> Ending {
        Ending {
            reply,
            closes: true,
        }
    }
}

async fn answer(line: &Line, head: Head, body: Incoming) -> Ending {
    let service = &line.front.service;
    if !expects_only_to_continue(&head) {
        return Ending::last((service.fault)(Fault::ExpectationFailed, &head));
    }
    let Ok(plan) = catch_unwind(AssertUnwindSafe(|| (service.plan)(&head))) else {
        return Ending::last((service.fault)(Fault::Panicked, &head));
    };
    let has_body = !body.is_end_stream();
    // The request reader and hyper count chunks independently, so no request may follow a chunked body.
    let mut closes = has_body && body.size_hint().exact().is_none();
    let mut hold = BodyHold::default();
    let body = match plan.body {
        _ if !has_body => Bytes::new(),
        BodyRule::Ignore => {
            closes = true;
            Bytes::new()
        }
        BodyRule::UpTo(limit_bytes) => match whole(line, body, limit_bytes, &mut hold).await {
            Ok(body) => body,
            Err(fault) => return Ending::last((service.fault)(fault, &head)),
        },
    };
    let request = Request { head, body };
    let inline = match plan.lane {
        Lane::Inline => answer_caught(&line.front, &request, Lane::Inline),
        Lane::Blocking => None,
    };
    let reply = match inline {
        Some(reply) => reply,
        None => answer_on_pool(&line.front, request, hold).await,
    };
    Ending { reply, closes }
}

/// Whether all `Expect` headers ask for `100-continue` only.
fn expects_only_to_continue(head: &Head) -> bool {
    let mut expectations = head.headers.all("expect").flat_map(list_members);
    expectations.all(|member| member.eq_ignore_ascii_case(b"100-continue"))
}

/// Reads the whole body into one buffer.
async fn whole(
    line: &Line,
    mut body: Incoming,
    limit_bytes: usize,
    hold: &mut BodyHold,
) -> Result<Bytes, Fault> {
    // A body that could never be held in memory is refused before the client sends it.
    let held_max = line.front.registry.limits().bodies_bytes_max;
    let limit_bytes = limit_bytes.min(held_max.saturating_add(SMALL_BODY_BYTES));
    let too_large = Fault::TooLarge { limit_bytes };
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large);
    }
    // Reserves the announced length if it is small: a buffer that grows takes up to twice the size of its content.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(SMALL_BODY_BYTES);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(piece) = next_piece(line, &mut body).await? {
        let length = first.len() + all.len() + piece.len();
        if length > limit_bytes {
            return Err(too_large);
        }
        if !hold.grow_to(&line.front.held, length) {
            line.front.registry.relieve(&[Phase::Body]);
            return Err(Fault::Busy);
        }
        if length == piece.len() {
            first = piece;
        } else {
            if all.capacity() == 0 {
                all.reserve(announced.clamp(length, SMALL_BODY_BYTES.max(length)));
            }
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&piece);
        }
    }
    if all.is_empty() {
        return Ok(first); // usually the whole body is one piece, which is not copied
    }
    Ok(all.freeze())
}

async fn next_piece(line: &Line, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => {
            Poll::Ready(Ok(Some(frame.into_data().unwrap_or_default())))
        }
        Poll::Ready(Some(Err(err))) => Poll::Ready(Err(Fault::BadFraming(body_fault(&err)))),
        Poll::Ready(None) => Poll::Ready(Ok(None)),
        Poll::Pending => {
            let since = line.place.watch.since();
            if since.phase == Phase::Body && line.front.registry.is_overdue(since) {
                return Poll::Ready(Err(Fault::BodyTimeout));
            }
            Poll::Pending
        }
    })
    .await
}

/// Unwraps the fault that the request reader found in the body from hyper's error.
fn body_fault(err: &hyper::Error) -> &'static str {
    let mut cause = err.source();
    while let Some(err) = cause {
        let inner = err.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(fault) = inner.and_then(|inner| inner.downcast_ref::<BodyFault>()) {
            return fault.0;
        }
        cause = err.source();
    }
    "The body ended before the length that was announced."
}

/// Runs the handler; a panic in it fails only this one request (attacks 42).
pub fn answer_caught(front: &Front, request: &Request, lane: Lane) -> Option<Reply> {
    let service = &front.service;
    let answered = catch_unwind(AssertUnwindSafe(|| (service.answer)(request, lane)));
    let reply = answered.unwrap_or_else(|_| {
        log::error!("request {} ended in a panic", request.head.id);
        Some((service.fault)(Fault::Panicked, &request.head))
    });
    match reply {
        Some(reply) if reply.body.len() > FREE_ANSWER_BYTES => Some(counted(front, request, reply)),
        other => other,
    }
}

/// Counts a large answer against the memory limit until its client has received it; refuses the request if unread
/// answers leave no memory for it.
///
/// An answer whose bytes other parts of the program share stays in memory anyway and is not counted.
fn counted(front: &Front, request: &Request, mut reply: Reply) -> Reply {
    if !reply.body.is_unique() || request.head.method == Method::HEAD {
        return reply;
    }
    let bytes = reply.body.len() - FREE_ANSWER_BYTES;
    let (hold, fits) = front.held.answers.take(bytes);
    if !fits {
        front.registry.relieve(&[Phase::Write]);
        if reply.is_repeatable || request.head.method.is_safe() {
            return (front.service.fault)(Fault::Unread, &request.head);
        }
    }
    reply.body = tied(reply.body, hold);
    reply
}

async fn answer_on_pool(front: &Arc<Front>, request: Request, hold: BodyHold) -> Reply {
    let Ok(turn) = catch_unwind(AssertUnwindSafe(|| (front.service.turn)(&request))) else {
        return (front.service.fault)(Fault::Panicked, &request.head);
    };
    let (done, reply) = oneshot::channel();
    let job = Job {
        front: Arc::clone(front),
        _hold: hold,
        request,
        done,
    };
    TRAFFIC.requests_waiting.fetch_add(1, Relaxed);
    match front.pool.offer(turn, job) {
        Ok(()) => reply.await.unwrap_or_else(|_| Reply::new(500)),
        Err((full, job)) => {
            TRAFFIC.requests_waiting.fetch_sub(1, Relaxed);
            let fault = match full {
                Crowded::Everybody => Fault::Busy,
                Crowded::Holder => Fault::BusyCaller,
            };
            (front.service.fault)(fault, &job.request.head)
        }
    }
}

/// A request that is queued for a blocking thread.
pub struct Job {
    front: Arc<Front>,
    /// Belongs to the request, because the connection may end before the request is answered.
    _hold: BodyHold,
    request: Request,
    done: oneshot::Sender<Reply>,
}

/// Runs a job on a blocking thread.
pub fn work(job: Job) {
    TRAFFIC.requests_waiting.fetch_sub(1, Relaxed);
    let reply = answer_caught(&job.front, &job.request, Lane::Blocking);
    let reply = reply.unwrap_or_else(|| Reply::new(500)); // only an inline request may get None
    // The client may have disconnected; its request has been carried out all the same.
    let _ = job.done.send(reply);
}
