//! One connection, from its first byte to its last: `read_head`, `read_body`, answer, `send`, and again.
//!
//! **Accepted** are requests of HTTP/1.1 and HTTP/1.0 that can be read in one way only: heads by the rules of `head`,
//! bodies by `Content-Length` or by the rules of `chunked`. Nothing else in a request changes how the connection goes
//! on: `Upgrade`, `TE`, `Trailer` and options of `Connection` other than `close` and `keep-alive` have no effect. One
//! empty line before a request is ignored (RFC 9112, 2.2).
//!
//! **Refused** is everything that two readers could read in different ways. After a refusal nothing of the connection is
//! read as a request any more, so it does not matter where the refused request ends.
//!
//! | Assumption | Enforced by |
//! | --- | --- |
//! | One place decides where a request ends. | `start` moves past a head in `answer_request` and past a body in `read_body`, and nowhere else. |
//! | No request follows one whose end is not certain. | `answer_request` closes after a fault, an unread body, and every chunked body (proxies read chunks in different ways). |
//! | A client that does not read its answers cannot have further requests read. | The loop: a head is read only after `send` has returned. |
//! | The wait for a client ends. | Every wait goes through [`Slot::in_time`]: the deadline of the phase, and the request to free the slot. |
//! | A client that is still sending receives the last answer. | [`close`] is the only way to end after an answer; it reads on for a limited time, because closing immediately would reset the connection. |
//! | Memory is bounded. | One buffer of at most `head_bytes_max`, a copy of the head in it, one body and one answer; `held` counts them. |
//! | One connection does not delay the others of its thread. | [`ANSWERS_IN_A_ROW_MAX`]. |

mod body;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::body::Decoder;
use super::answer::{self, Frame};
use super::closing::close;
use super::handler;
use super::head::{self, Bounds, Complete, Framing, RequestLine, refusal};
use super::headers::{Headers, list_members};
use super::held::{BodyHold, HeadHold};
use super::limits::{FREE_HEAD_BYTES, PROGRESS_BYTES};
use super::outgoing::Outgoing;
use super::slots::{Phase, Slot};
use super::state::ServerState;
use super::{BodyRule, Execution, Fault};
use crate::http1::reply::{Later, Reply};
use crate::http1::request::{Head, Peer, Request};

/// Large enough for nearly every request, and small enough for the many connections that stay silent.
const BUFFER_BYTES: usize = 2 * 1024;

/// How many requests of one connection are answered before the other connections of the same thread are served. So even
/// thousands of clients that send thousands of requests at once delay other clients only briefly.
const ANSWERS_IN_A_ROW_MAX: usize = 4;

/// The answer to a client that sends plain HTTP to a TLS port.
const PLAIN_ON_TLS: &str = "This port speaks TLS: ask again with https://.";

/// Serves one connection until it ends. `io` may also be a TLS stream. `is_plain_on_tls`: the client sends plain HTTP to
/// a TLS port, and its first request is refused.
pub async fn serve<S>(io: S, peer: Peer, slot: Slot, state: Arc<ServerState>, is_plain_on_tls: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection {
        io,
        peer,
        slot,
        state,
        is_plain_on_tls,
        next_id: 0,
        buffer: vec![0; BUFFER_BYTES],
        start: 0,
        end: 0,
        head_hold: HeadHold::default(),
        outgoing: Outgoing::default(),
        answers_in_a_row: 0,
        has_unread: false,
    };
    if let Err(err) = connection.run().await {
        log::debug!("a connection ended with an error: {err}");
    }
}

/// One connection, as the module describes it. `S` is a plain socket or a TLS stream.
struct Connection<S> {
    io: S,
    peer: Peer,
    slot: Slot,
    state: Arc<ServerState>,
    is_plain_on_tls: bool,
    /// For [`ServerState::request_id`].
    next_id: u64,
    /// `buffer[start..end]` has arrived and has not been read as a request yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The bytes of the buffer that count against the memory for heads.
    head_hold: HeadHold,
    outgoing: Outgoing,
    answers_in_a_row: usize,
    /// Reading ended before the whole request had arrived: the client may still be sending.
    has_unread: bool,
}

impl From<head::Refusal> for Fault {
    fn from(refusal: head::Refusal) -> Fault {
        Fault::Refused {
            status: refusal.status,
            why: refusal.detail,
        }
    }
}

/// What the client sent next.
enum Incoming {
    /// Nothing: the client has ended the connection, or has sent no request in time.
    End,
    /// A fault, with the number of bytes that were read of the head. The answer must not depend on how many bytes have
    /// arrived, so bytes after these are not considered.
    Refused(Fault, usize),
    Request(Complete),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// An error ends the connection without a further answer: it broke, or its slot is needed.
    async fn run(mut self) -> io::Result<()> {
        loop {
            let closes = match self.read_head().await? {
                Incoming::End => true,
                Incoming::Refused(fault, read_bytes) => {
                    self.refuse(fault, read_bytes).await?;
                    true
                }
                Incoming::Request(complete) if self.is_plain_on_tls => {
                    let fault = Fault::from(refusal(400, PLAIN_ON_TLS));
                    self.refuse(fault, complete.head_bytes).await?;
                    true
                }
                Incoming::Request(complete) => self.answer_request(complete).await?,
            };
            if closes {
                let may_be_sending = self.has_unread || self.start < self.end;
                return close(self.io, &self.slot, &mut self.buffer, may_be_sending).await;
            }
            self.give_back_buffer();
            self.slot.enter(match self.start == self.end {
                true => Phase::Idle,
                false => Phase::Head,
            });
            self.answers_in_a_row += 1;
            if self.answers_in_a_row == ANSWERS_IN_A_ROW_MAX {
                self.answers_in_a_row = 0;
                let_others_run().await;
            }
        }
    }

    async fn read_head(&mut self) -> io::Result<Incoming> {
        let limits = self.state.slots.limits();
        let bounds = Bounds {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
        };
        let mut scan = head::Scan::new();
        let mut may_skip_line = true;
        loop {
            if may_skip_line && self.buffer[self.start..self.end].starts_with(b"\r\n") {
                may_skip_line = false;
                self.start += 2;
                if self.start == self.end {
                    self.slot.enter(Phase::Idle);
                }
            }
            match scan.advance(&self.buffer[self.start..self.end], bounds) {
                Ok(Some(complete)) => return Ok(Incoming::Request(complete)),
                Ok(None) => (),
                Err(refusal) => return Ok(Incoming::Refused(refusal.into(), scan.read_bytes())),
            }
            let unfinished = self.end - self.start;
            let refused =
                |status, why| Ok(Incoming::Refused(refusal(status, why).into(), unfinished));
            if !self.has_room() {
                let phases = [Phase::Body, Phase::Head, Phase::Write];
                self.state.slots.relieve(&phases);
                return Ok(Incoming::Refused(Fault::Busy, unfinished));
            }
            match self.fill().await {
                Ok(0) if unfinished == 0 => return Ok(Incoming::End),
                Ok(0) => return refused(400, "The request ended within its head."),
                Ok(_) if unfinished == 0 => self.slot.enter(Phase::Head),
                Ok(_) => (),
                Err(err) if err.kind() != io::ErrorKind::TimedOut => return Err(err),
                Err(_) if self.slot.phase() == Phase::Idle => return Ok(Incoming::End),
                Err(_) => return refused(408, "The head of the request took too long."),
            }
        }
    }

    /// Reads the rest of a request and sends the answer. Returns whether the connection ends after it.
    async fn answer_request(&mut self, complete: Complete) -> io::Result<bool> {
        let Complete {
            head_bytes,
            framing,
            request_line,
            headers,
        } = complete;
        self.start += head_bytes;
        let head = self.head(request_line, headers);
        let closes = !stays_open(&head) || framing == Framing::Chunked;
        let mut frame = Frame::of(&head, closes);
        let reply = match self.read_body(&head, framing).await? {
            Ok((body, hold)) => {
                let request = Request { head, body };
                match handler::answer(&self.state, &request, Execution::Inline) {
                    Some(reply) => reply,
                    None => self.answer_on_pool(request, hold).await,
                }
            }
            Err(fault) => {
                frame.closes = true;
                (self.state.service.fault)(fault, &head)
            }
        };
        let reply = match reply.later {
            Some(later) => self.await_answer(later).await,
            None => reply,
        };
        frame.closes |= self.has_unread || self.state.slots.is_draining();
        self.send_answer(reply, frame).await?;
        Ok(frame.closes)
    }

    fn head(&mut self, request: RequestLine, headers: Headers) -> Head {
        Head {
            method: request.method,
            target: request.target,
            is_http_11: request.is_http_11,
            headers,
            peer: self.peer,
            id: self.state.request_id(&mut self.next_id),
        }
    }

    /// Reads the whole body. A body that the service does not want remains unread and is empty.
    async fn read_body(
        &mut self,
        head: &Head,
        framing: Framing,
    ) -> io::Result<Result<(Vec<u8>, BodyHold), Fault>> {
        // Until the whole body has arrived.
        self.has_unread = framing != Framing::Sized(0);
        if !expects_only_to_continue(head) {
            return Ok(Err(Fault::ExpectationFailed));
        }
        if !self.has_unread {
            return Ok(Ok(Default::default()));
        }
        self.slot.enter(Phase::Body);
        let body_rule = &self.state.service.body_rule;
        let limit_bytes = match handler::caught(head, || body_rule(head)) {
            Some(BodyRule::Ignore) => return Ok(Ok(Default::default())),
            Some(BodyRule::UpTo(limit_bytes)) => limit_bytes,
            None => return Ok(Err(Fault::Panicked)),
        };
        let mut decoder = match Decoder::new(framing, limit_bytes, self.state.slots.limits()) {
            Ok(decoder) => decoder,
            Err(fault) => return Ok(Err(fault)),
        };
        // An expectation in an HTTP/1.0 request is ignored (RFC 9110, 10.1.1).
        if head.is_http_11 && head.headers.contains("expect") {
            let answer = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.outgoing.head().extend_from_slice(answer);
            self.send().await?;
            self.slot.enter(Phase::Body);
        }
        let mut hold = BodyHold::default();
        let mut progress = 0;
        loop {
            let taken = match decoder.decode(&self.buffer[self.start..self.end]) {
                Ok(taken) => taken,
                Err(fault) => return Ok(Err(fault)),
            };
            self.start += taken;
            if !hold.grow_to(&self.state.held, decoder.body.len()) {
                self.state.slots.relieve(&[Phase::Body]);
                return Ok(Err(Fault::Busy));
            }
            if decoder.is_done() {
                self.has_unread = false;
                return Ok(Ok((decoder.body, hold)));
            }
            progress += taken;
            if progress >= PROGRESS_BYTES {
                progress = 0;
                self.slot.enter(Phase::Body);
            }
            match self.fill().await {
                Ok(0) => {
                    let why = "The body ended before the length that was announced.";
                    return Ok(Err(Fault::BadFraming(why)));
                }
                Ok(_) => (),
                Err(err) if err.kind() != io::ErrorKind::TimedOut => return Err(err),
                Err(_) => return Ok(Err(Fault::BodyTimeout)),
            }
        }
    }

    async fn answer_on_pool(&mut self, request: Request, hold: BodyHold) -> Reply {
        self.slot.enter(Phase::Answer);
        let mut reply = match handler::queue(&self.state, request, hold) {
            Ok(reply) => reply,
            Err(reply) => return reply,
        };
        poll_fn(|cx| {
            // A connection whose request is being answered keeps its slot.
            self.slot.must_leave();
            Pin::new(&mut reply).poll(cx)
        })
        .await
        .unwrap_or_else(|_| Reply::new(500))
    }

    /// Waits for an answer that comes later. It occupies no thread, and its giver bounds the time.
    async fn await_answer(&mut self, later: Later) -> Reply {
        self.slot.enter(Phase::Answer);
        let mut answer = later.0;
        let answered = poll_fn(|cx| {
            self.slot.must_leave();
            Pin::new(&mut answer).poll(cx)
        })
        .await;
        let reply = answered.unwrap_or_else(|_| Reply::new(503).with("retry-after", "1"));
        handler::counted_later(&self.state, reply)
    }

    /// Answers a request whose head is refused, in the form of the path as far as the head contains one.
    async fn refuse(&mut self, fault: Fault, read_bytes: usize) -> io::Result<()> {
        log::debug!("a request was refused: {fault:?}");
        let arrived = &self.buffer[self.start..self.end];
        if arrived.starts_with(&[0x16, 3]) {
            self.state.log_tls();
        }
        let request_line = head::preview(&arrived[..read_bytes.min(arrived.len())]);
        let head = self.head(request_line, Headers::default());
        self.has_unread = true;
        (self.start, self.end) = (0, 0);
        self.give_back_buffer();
        let reply = (self.state.service.fault)(fault, &head);
        self.send_answer(reply, Frame::of(&head, true)).await
    }

    async fn send_answer(&mut self, reply: Reply, frame: Frame) -> io::Result<()> {
        let now = self.state.slots.wall();
        answer::write(&mut self.outgoing, reply, frame, now);
        self.send().await
    }

    async fn send(&mut self) -> io::Result<()> {
        self.outgoing.send(&mut self.io, &self.slot).await
    }

    /// Reads arrived bytes into the buffer. `Ok(0)` is the end of the stream; `TimedOut` the end of the phase.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let bytes = self.grown_bytes();
            self.buffer.reserve_exact(bytes - self.buffer.len());
            self.buffer.resize(bytes, 0);
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        let (io, answers_in_a_row) = (&mut self.io, &mut self.answers_in_a_row);
        self.slot
            .in_time(|cx| {
                let polled = Pin::new(&mut *io).poll_read(cx, &mut room);
                if polled.is_pending() {
                    *answers_in_a_row = 0;
                }
                polled
            })
            .await?;
        let arrived = room.filled().len();
        self.end += arrived;
        Ok(arrived)
    }

    /// Whether there is memory for the next [`Connection::fill`] of a head.
    fn has_room(&mut self) -> bool {
        let is_full = self.end - self.start == self.buffer.len();
        !is_full || {
            let bytes = self.grown_bytes();
            self.head_hold.grow_to(&self.state.held, bytes)
        }
    }

    /// The new size of the buffer when a head does not fit into it.
    fn grown_bytes(&self) -> usize {
        let bytes_max = self.state.slots.limits().head_bytes_max + 1;
        let bytes = (self.buffer.len() * 2).min(bytes_max);
        bytes.max(self.end - self.start + 1)
    }

    /// Returns the memory of a large head when the buffer contains none of it, and only a few bytes that follow it.
    fn give_back_buffer(&mut self) {
        if self.buffer.len() <= FREE_HEAD_BYTES || self.end - self.start > BUFFER_BYTES {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.buffer.truncate(BUFFER_BYTES);
        self.buffer.shrink_to_fit();
        self.head_hold = HeadHold::default();
    }
}

/// Whether the connection stays open after the request (RFC 9112, 9.3).
fn stays_open(head: &Head) -> bool {
    let has = |option: &[u8]| {
        let mut values = head.headers.all("connection");
        values.any(|value| list_members(value).any(|own| own.eq_ignore_ascii_case(option)))
    };
    !has(b"close") && (head.is_http_11 || has(b"keep-alive"))
}

/// Whether all `Expect` headers ask for `100-continue` only.
fn expects_only_to_continue(head: &Head) -> bool {
    let mut expectations = head.headers.all("expect").flat_map(list_members);
    expectations.all(|member| member.eq_ignore_ascii_case(b"100-continue"))
}

/// Lets the other connections of the thread have their turn.
pub async fn let_others_run() {
    let mut has_waited = false;
    poll_fn(|cx| match std::mem::replace(&mut has_waited, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
pub mod example_service;
#[cfg(test)]
mod tests;
