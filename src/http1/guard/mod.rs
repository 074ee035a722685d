//! The request reader: the stream that hyper reads and writes. It checks everything that arrives on the socket first.
//!
//! hyper receives only checked bytes, one head at a time and never beyond the end of the body that follows it, so hyper
//! and this reader cannot disagree about where a request ends. Requests that can be answered without waiting are
//! answered here: before hyper is created ([`Guard::poll_head`]), and later whenever hyper waits for the next head,
//! which it does only after it has written all its answers. A refused request does not reach hyper either: hyper sees
//! the end of the stream, finishes its current answer and shuts the stream down; then this reader writes the refusal.
//! `outgoing` handles the end of every connection: after an answer that was sent before the whole request was read, it
//! keeps reading for a limited time, because closing immediately would reset the connection and lose the answer.
//!
//! A connection uses one buffer of at most `head_bytes_max`, a copy of the header lines in it, and one answer, whose
//! bytes `held` counts unless all its receivers share them. The bytes of a head beyond 16 KiB are counted too, and
//! given back before the connection waits for the next head.

mod hyper_head;
mod outbox;
mod outgoing;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::hyper_head::HyperHead;
pub use self::outbox::Outbox;
use super::chunked;
use super::connection::Line;
use super::head::{self, Bounds, Framing, Refusal, refusal};
use super::held::HeadHold;
use super::limits::{FREE_HEAD_BYTES, PROGRESS_BYTES};
use super::slots::{Phase, Since};

/// Large enough for nearly every request, and small enough for the many connections that stay silent.
const BUFFER_BYTES: usize = 2 * 1024;

/// How many requests of one connection are answered before the other connections of the same thread are served. So even
/// thousands of clients that send thousands of requests at once delay other clients only briefly.
const ANSWERS_IN_A_ROW_MAX: usize = 4;

/// The answer to a client that sends plain HTTP to a TLS port.
const PLAIN_ON_TLS: &str = "This port speaks TLS: ask again with https://.";

/// The request reader of one connection, as the module describes it. `S` is a plain socket or a TLS stream.
pub struct Guard<S> {
    io: S,
    line: Arc<Line>,
    bounds: Bounds,
    /// `buffer[start..end]` has arrived and has not been passed on yet.
    buffer: Vec<u8>,
    /// The bytes of the buffer that count against the memory for heads.
    head_hold: HeadHold,
    start: usize,
    end: usize,
    stage: Stage,
    /// One empty line before a request line is ignored (RFC 9112, 2.2).
    may_skip_line: bool,
    /// The answer that this reader is sending, without hyper.
    outbox: Outbox,
    /// How many bytes of the body have been passed on, or of the answer sent, since the current deadline was set.
    progress: usize,
    /// Set while the client does not receive the answer: the phase that the connection was in before.
    blocked: Option<Since>,
    /// hyper asked for a head while the connection was blocked, so it must be woken.
    stalled: bool,
    /// Reading ended before the whole request had arrived.
    cut_short: bool,
    farewell: Farewell,
}

/// What may be passed to hyper next.
enum Stage {
    Chunked(chunked::Scan),
    /// Nothing may be passed on any more.
    Ended,
    /// Nothing may be passed on yet: the next head is incomplete or has not begun.
    Head(head::Scan),
    /// The rest of the head that hyper receives for a checked request, then the body.
    Pass {
        head: HyperHead,
        framing: Framing,
    },
    Sized {
        left: u64,
    },
}

/// The steps of closing a connection.
enum Farewell {
    Done,
    /// Data that the client still sends is discarded.
    Drain {
        left: usize,
    },
    /// The first step if there is no answer left to send.
    HalfClose,
    /// The first step after a refusal.
    Refuse {
        answer: Outbox,
    },
}

/// An error inside an `io::Error` that passes through hyper, so that `connection` can report the fault in the body to
/// the client.
#[derive(Debug)]
pub struct BodyFault(pub &'static str);

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BodyFault {}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    pub fn new(io: S, line: Arc<Line>) -> Guard<S> {
        let limits = line.front.registry.limits();
        let bounds = Bounds {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
        };
        Guard {
            io,
            line,
            bounds,
            buffer: vec![0; BUFFER_BYTES],
            head_hold: HeadHold::default(),
            start: 0,
            end: 0,
            stage: Stage::Head(head::Scan::new()),
            may_skip_line: true,
            outbox: Outbox::default(),
            progress: 0,
            blocked: None,
            stalled: false,
            cut_short: false,
            farewell: Farewell::HalfClose,
        }
    }

    fn enter(&self, phase: Phase) {
        let tick = self.line.front.registry.now();
        self.line.place.watch.set(Since { phase, tick });
    }

    fn is_overdue(&self) -> bool {
        self.line
            .front
            .registry
            .is_overdue(self.line.place.watch.since())
    }

    /// Starts the deadline of the next request once the previous one is answered.
    fn begin_head(&mut self) {
        if self.line.place.watch.since().phase == Phase::Answer {
            self.give_back_buffer();
            self.enter(self.phase_between());
        }
    }

    fn phase_between(&self) -> Phase {
        match self.start == self.end {
            true => Phase::Idle,
            false => Phase::Head,
        }
    }

    /// Waits until a complete head that hyper must handle has arrived and is checked, and answers all requests before
    /// it that the fast path can answer. Returns ready when the stage has changed: there is something to pass on, or
    /// nothing more will come.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut answered = 0;
        loop {
            // Back-pressure: a client that does not read answers cannot have further requests read (attacks 32).
            if self.poll_outbox(cx)?.is_pending() || self.blocked.is_some() {
                self.stalled = true;
                return Poll::Pending;
            }
            if answered == ANSWERS_IN_A_ROW_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.skip_line();
            let Stage::Head(scan) = &mut self.stage else {
                return Poll::Ready(Ok(()));
            };
            let bytes = &self.buffer[self.start..self.end];
            match scan.advance(bytes, self.bounds) {
                Ok(Some(complete)) if self.line.is_misplaced => {
                    self.refuse(refusal(400, PLAIN_ON_TLS), complete.head_bytes);
                    return Poll::Ready(Ok(()));
                }
                Ok(Some(complete)) => {
                    if !self.answered(complete) {
                        return Poll::Ready(Ok(()));
                    }
                    answered += 1;
                    self.give_back_buffer();
                    continue;
                }
                Ok(None) => (),
                Err(refusal) => {
                    let read = scan.read_bytes();
                    self.refuse(refusal, read);
                    return Poll::Ready(Ok(()));
                }
            }
            let was_empty = self.start == self.end;
            if !self.has_room() {
                let registry = &self.line.front.registry;
                registry.relieve(&[Phase::Body, Phase::Head, Phase::Write]);
                self.refuse_unfinished(refusal(503, "Large heads take too much memory just now."));
                return Poll::Ready(Ok(()));
            }
            match self.poll_fill(cx) {
                Poll::Pending if self.is_overdue() => self.head_is_late(),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if was_empty => self.stage = Stage::Ended,
                Poll::Ready(Ok(0)) => {
                    self.refuse_unfinished(refusal(400, "The request ended within its head."))
                }
                Poll::Ready(Ok(_)) if was_empty => self.enter(Phase::Head),
                Poll::Ready(Ok(_)) => (),
                Poll::Ready(Err(err)) => {
                    log::debug!("a connection broke: {err}");
                    self.stage = Stage::Ended;
                }
            }
        }
    }

    fn skip_line(&mut self) {
        if self.may_skip_line && self.buffer[self.start..self.end].starts_with(b"\r\n") {
            self.may_skip_line = false;
            self.start += 2;
            self.stage = Stage::Head(head::Scan::new());
            if self.start == self.end {
                self.enter(Phase::Idle);
            }
        }
    }

    /// Answers the request if the fast path can, and returns whether it did; otherwise the request is passed to hyper.
    fn answered(&mut self, complete: head::Complete) -> bool {
        let head::Complete {
            head_bytes,
            framing,
            request_line,
            headers,
        } = complete;
        self.may_skip_line = true;
        self.progress = 0;
        let is_http_11 = request_line.is_http_11;
        let may_answer = is_http_11 && framing == Framing::Sized(0);
        let mut head = self.line.head(request_line, headers);
        self.start += head_bytes;
        if may_answer {
            head = match self.line.answer_at_once(head, &mut self.outbox) {
                Err(head) => *head,
                Ok(()) => {
                    self.stage = Stage::Head(head::Scan::new());
                    self.enter(self.phase_between());
                    return true;
                }
            };
        }
        self.stage = Stage::Pass {
            head: HyperHead::new(&head, is_http_11, framing),
            framing,
        };
        self.line.pass(head);
        self.enter(match framing {
            Framing::Sized(0) => Phase::Answer,
            _ => Phase::Body,
        });
        false
    }

    fn head_is_late(&mut self) {
        if self.line.place.watch.since().phase == Phase::Head {
            self.refuse_unfinished(refusal(408, "The head of the request took too long."));
        } else {
            self.stage = Stage::Ended;
        }
    }

    /// Refuses an incomplete head, of which no more is read.
    fn refuse_unfinished(&mut self, refusal: Refusal) {
        self.refuse(refusal, self.end - self.start);
    }

    /// Refuses a request of which `read` bytes were read. The answer must not depend on how many bytes have arrived, so
    /// bytes after these are not considered.
    fn refuse(&mut self, refusal: Refusal, read: usize) {
        if self.buffer[self.start..self.end].starts_with(&[0x16, 3]) {
            self.line.front.log_tls();
        }
        log::debug!(
            "a request was refused with {}: {}",
            refusal.status,
            refusal.detail
        );
        self.stage = Stage::Ended;
        self.cut_short = true;
        let seen = &self.buffer[self.start..self.start + read.min(self.end - self.start)];
        self.farewell = Farewell::Refuse {
            answer: self.line.refusal(refusal, seen),
        };
        // Bytes that the client sends from now on are discarded.
        (self.start, self.end) = (0, 0);
        self.give_back_buffer();
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

    /// The new size of the buffer when a head does not fit into it.
    fn grown_bytes(&self) -> usize {
        let bytes = (self.buffer.len() * 2).min(self.bounds.head_bytes_max + 1);
        bytes.max(self.end - self.start + 1)
    }

    /// Whether there is memory for the next [`Guard::poll_fill`].
    fn has_room(&mut self) -> bool {
        let is_full = self.end - self.start == self.buffer.len();
        !is_full || {
            let bytes = self.grown_bytes();
            self.head_hold.grow_to(&self.line.front.held, bytes)
        }
    }

    /// Reads arrived bytes into the buffer, which must have room for them. `Ok(0)` is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
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
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        let arrived = room.filled().len();
        self.end += arrived;
        Poll::Ready(Ok(arrived))
    }

    /// Passes at most `allowed` of the buffered bytes to hyper and returns their number.
    fn pass(&mut self, allowed: u64, cursor: &mut hyper::rt::ReadBufCursor<'_>) -> usize {
        let bytes = (self.end - self.start)
            .min(cursor.remaining())
            .min(usize::try_from(allowed).unwrap_or(usize::MAX));
        cursor.put_slice(&self.buffer[self.start..self.start + bytes]);
        self.start += bytes;
        bytes
    }

    fn body_progress(&mut self, bytes: usize) {
        self.progress += bytes;
        if self.progress >= PROGRESS_BYTES {
            self.progress = 0;
            self.enter(Phase::Body);
        }
    }

    fn poll_sized(
        &mut self,
        cx: &mut Context<'_>,
        left: u64,
        cursor: &mut hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end && ready!(self.poll_fill(cx))? == 0 {
            self.stage = Stage::Ended;
            return Poll::Ready(Ok(()));
        }
        let bytes = self.pass(left, cursor);
        let left = left - bytes as u64;
        self.stage = Stage::Sized { left };
        self.body_progress(bytes);
        if left == 0 {
            self.stage = Stage::Head(head::Scan::new());
            self.enter(Phase::Answer);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_chunked(
        &mut self,
        cx: &mut Context<'_>,
        mut scan: chunked::Scan,
        cursor: &mut hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.start == self.end && ready!(self.poll_fill(cx))? == 0 {
                self.stage = Stage::Ended;
                return Poll::Ready(Ok(()));
            }
            let room = (self.end - self.start).min(cursor.remaining());
            let run = match scan.advance(&self.buffer[self.start..self.start + room]) {
                Ok(run) => run,
                Err(detail) => {
                    self.stage = Stage::Ended;
                    self.cut_short = true;
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        BodyFault(detail),
                    )));
                }
            };
            self.stage = Stage::Chunked(scan);
            self.body_progress(run.bytes);
            if !run.is_kept {
                // hyper takes an empty read for the end of the stream, so at least one byte must be passed on before
                // this function returns.
                self.start += run.bytes;
                continue;
            }
            self.pass(run.bytes as u64, cursor);
            if scan.is_done() {
                // The connection accepts no further head: hyper and this reader count chunks independently, and a
                // difference between them must not matter.
                self.stage = Stage::Ended;
                self.enter(Phase::Answer);
            }
            return Poll::Ready(Ok(()));
        }
    }
}

fn after_head(framing: Framing) -> Stage {
    match framing {
        Framing::Sized(0) => Stage::Head(head::Scan::new()),
        Framing::Sized(left) => Stage::Sized { left },
        Framing::Chunked => Stage::Chunked(chunked::Scan::new()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = &mut *self;
        loop {
            match &mut guard.stage {
                Stage::Head(_) => {
                    guard.begin_head();
                    ready!(guard.poll_head(cx))?;
                }
                Stage::Pass { head, framing } => {
                    let bytes = head.rest().len().min(cursor.remaining());
                    cursor.put_slice(&head.rest()[..bytes]);
                    head.advance(bytes);
                    if head.rest().is_empty() {
                        guard.stage = after_head(*framing);
                    }
                    return Poll::Ready(Ok(()));
                }
                Stage::Sized { left } => {
                    let left = *left;
                    return guard.poll_sized(cx, left, &mut cursor);
                }
                Stage::Chunked(scan) => {
                    let scan = *scan;
                    return guard.poll_chunked(cx, scan, &mut cursor);
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}
