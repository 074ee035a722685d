//! An agent of HAProxy: one connection over which HAProxy asks about requests, in its Stream Processing Offload Protocol
//! 2.0 (`doc/SPOE.txt` of HAProxy 2.6; HAProxy 3.1 and newer speak the same to a backend in `mode spop`).
//!
//! Each question becomes the request that asks it over HTTP (`question`), and the same closures answer it. The agent asks
//! nothing else, and knows no route: the path of the question comes with the listener.
//!
//! | Assumption | Enforced by |
//! | --- | --- |
//! | Nothing that can be read in two ways is answered. | `frame` refuses every malformed frame, and the connection ends. |
//! | A question that waits for the disk delays no other one. | Its answer is sent when it is there ([`Waiting`]); HAProxy finds the request by its identifiers. |
//! | Memory is bounded. | One buffer of a frame, [`WAITING_MAX`] questions, [`SEND_BYTES`] of answers. |
//! | The wait for HAProxy ends. | Every wait goes through [`Slot::in_time`], as for connections of HTTP. |
//! | A request that gets no answer is denied. | HAProxy's configuration: no variable is set then. |

mod frame;
#[cfg(test)]
mod fuzz;
mod question;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use self::frame::{FRAME_BYTES_MAX, Frame, Hello, Ids, LENGTH_BYTES, Status};
use super::Execution;
use super::closing::close;
use super::connection::let_others_run;
use super::handler;
use super::held::BodyHold;
use super::outgoing::Outgoing;
use super::slots::{Phase, Slot};
use super::state::ServerState;
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Peer, Request};

/// The buffer of a new connection; it grows up to the longest frame.
const BUFFER_BYTES: usize = 2 * 1024;
const BUFFER_BYTES_MAX: usize = LENGTH_BYTES + FRAME_BYTES_MAX;

/// How many frames are answered, and how many bytes of answers are collected, before they are sent and the other connections
/// of the thread are served. HAProxy has 20 questions on their way over a connection by default.
const ANSWERS_IN_A_ROW_MAX: usize = 32;
const SEND_BYTES: usize = 32 * 1024;

/// How many questions of a connection may wait for the disk. More are read when one of these is answered.
const WAITING_MAX: usize = 64;

/// Serves one connection of HAProxy until it ends. `path` is that of the only route that is asked.
pub async fn serve<S>(io: S, peer: Peer, slot: Slot, state: Arc<ServerState>, path: &'static str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection {
        io,
        peer,
        slot,
        state,
        path,
        next_id: 0,
        agreed: None,
        buffer: vec![0; BUFFER_BYTES],
        start: 0,
        end: 0,
        outgoing: Outgoing::default(),
        waiting: Vec::new(),
    };
    if let Err(err) = connection.run().await {
        log::debug!("a connection of HAProxy ended with an error: {err}");
    }
}

/// One connection, as the module describes it.
struct Connection<S> {
    io: S,
    peer: Peer,
    slot: Slot,
    state: Arc<ServerState>,
    path: &'static str,
    /// For [`ServerState::request_id`].
    next_id: u64,
    /// What both sides have agreed on in the first frame.
    agreed: Option<Hello>,
    /// `buffer[start..end]` has arrived and has not been read as a frame yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    outgoing: Outgoing,
    waiting: Vec<Waiting>,
}

/// A question that is answered later.
struct Waiting {
    ids: Ids,
    reply: oneshot::Receiver<Reply>,
    /// A blocking thread writes the reply, and has counted its memory.
    is_counted: bool,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Without a further frame: HAProxy has ended it, or expects no more.
    Silent,
    /// With a frame that names the reason.
    Disconnect(Status),
}

/// What the frames that have arrived have come to.
#[derive(Debug, Eq, PartialEq)]
enum Progress {
    End(End),
    /// Other connections are served before the next frames.
    Pauses,
    /// More bytes or an answer are needed. Whether a frame was read.
    Waits {
        has_read: bool,
    },
}

/// What a connection has waited for.
enum Event {
    Answer(usize, Option<Reply>),
    Arrived(usize),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// An error ends the connection without a further frame: it broke, or its slot is needed.
    async fn run(mut self) -> io::Result<()> {
        let end = self.exchange().await?;
        if let End::Disconnect(status) = end {
            if status != Status::Normal {
                self.state.log_agent(status.text());
            }
            frame::write_disconnect(self.outgoing.head(), status);
        }
        self.outgoing.send(&mut self.io, &self.slot).await?;
        close(self.io, &self.slot, &mut self.buffer, true).await
    }

    /// Answers questions until the connection has a reason to end. Answers that were not sent yet are in `outgoing` then.
    async fn exchange(&mut self) -> io::Result<End> {
        loop {
            let progress = self.answer_arrived();
            let has_read = match progress {
                Progress::End(end) => return Ok(end),
                Progress::Pauses => true,
                Progress::Waits { has_read } => has_read,
            };
            self.outgoing.send(&mut self.io, &self.slot).await?;
            if progress == Progress::Pauses {
                let_others_run().await;
                continue;
            }
            if self.state.slots.is_draining()
                && self.phase() == Phase::Idle
                && self.agreed.is_some()
            {
                return Ok(End::Disconnect(Status::Normal));
            }
            // The deadline of a frame begins once, however its bytes arrive.
            if has_read || self.slot.phase() != self.phase() {
                self.slot.enter(self.phase());
            }
            match self.event().await {
                Ok(Event::Answer(place, reply)) => self.answer_waiting(place, reply),
                Ok(Event::Arrived(0)) => return Ok(End::Silent),
                Ok(Event::Arrived(bytes)) => self.end += bytes,
                Err(err) if err.kind() != io::ErrorKind::TimedOut => return Err(err),
                Err(_) if self.slot.phase() != Phase::Idle => {
                    return Ok(End::Disconnect(Status::TimedOut));
                }
                Err(_) if self.agreed.is_none() => return Ok(End::Silent),
                Err(_) => return Ok(End::Disconnect(Status::Normal)),
            }
        }
    }

    fn phase(&self) -> Phase {
        match (self.waiting.is_empty(), self.start == self.end) {
            (false, _) => Phase::Answer,
            (true, false) => Phase::Head,
            (true, true) => Phase::Idle,
        }
    }

    /// Reads the frames that have arrived, and answers them.
    fn answer_arrived(&mut self) -> Progress {
        let mut count = 0;
        while self.waiting.len() < WAITING_MAX {
            if count == ANSWERS_IN_A_ROW_MAX || self.outgoing.head().len() > SEND_BYTES {
                return Progress::Pauses;
            }
            match self.answer_next() {
                Ok(None) => count += 1,
                Ok(Some(Read::Nothing)) => break,
                Ok(Some(Read::End(end))) => return Progress::End(end),
                Err(status) => return Progress::End(End::Disconnect(status)),
            }
        }
        Progress::Waits {
            has_read: count > 0,
        }
    }

    /// Reads one frame, and answers it. `None` if the next one can follow.
    fn answer_next(&mut self) -> Result<Option<Read>, Status> {
        let bytes_max = self
            .agreed
            .map_or(FRAME_BYTES_MAX, |hello| hello.frame_bytes_max);
        let Some(frame) = frame::next(&self.buffer[self.start..self.end], bytes_max)? else {
            return Ok(Some(Read::Nothing));
        };
        let frame_bytes = frame.len();
        let out = self.outgoing.head();
        match (frame::read(frame)?, self.agreed) {
            (Frame::Hello(hello), None) => {
                frame::write_hello(out, hello);
                self.agreed = Some(hello);
                if hello.is_health_check {
                    return Ok(Some(Read::End(End::Silent)));
                }
            }
            (Frame::Disconnect, Some(_)) => {
                return Ok(Some(Read::End(End::Disconnect(Status::Normal))));
            }
            (Frame::Notify(ids, messages), Some(_)) => {
                let id = self.state.request_id(&mut self.next_id);
                match question::read(messages, self.path, self.peer, id)? {
                    Ok(head) => {
                        if let Some(waiting) = ask(&self.state, head, ids, out, bytes_max) {
                            self.waiting.push(waiting);
                        }
                    }
                    Err(fault) => {
                        self.state.log_agent(fault);
                        question::not_asked(out, ids);
                    }
                }
            }
            (Frame::Hello(_), Some(_)) | (Frame::Disconnect | Frame::Notify(..), None) => {
                return Err(Status::Invalid);
            }
        }
        self.start += LENGTH_BYTES + frame_bytes;
        Ok(None)
    }

    fn answer_waiting(&mut self, place: usize, reply: Option<Reply>) {
        let waiting = self.waiting.swap_remove(place);
        let reply = match reply {
            Some(reply) if waiting.is_counted => reply,
            Some(reply) => handler::counted_later(&self.state, reply),
            None => Reply::new(503),
        };
        let bytes_max = self
            .agreed
            .map_or(FRAME_BYTES_MAX, |hello| hello.frame_bytes_max);
        question::answer(self.outgoing.head(), waiting.ids, &reply, bytes_max);
    }

    /// Waits for bytes or for an answer. `TimedOut` is the end of the phase.
    async fn event(&mut self) -> io::Result<Event> {
        let may_read = self.waiting.len() < WAITING_MAX;
        if may_read {
            self.make_room();
        }
        let Connection {
            io,
            slot,
            buffer,
            end,
            waiting,
            ..
        } = self;
        let mut room = ReadBuf::new(&mut buffer[*end..]);
        slot.in_time(|cx| {
            if let Some(event) = answered(waiting, cx) {
                return Poll::Ready(Ok(event));
            }
            if !may_read {
                return Poll::Pending;
            }
            let polled = Pin::new(&mut *io).poll_read(cx, &mut room);
            polled.map_ok(|()| Event::Arrived(room.filled().len()))
        })
        .await
    }

    /// Makes room for at least one more byte: a frame that is too long for the buffer has been refused.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let bytes = (2 * self.buffer.len()).min(BUFFER_BYTES_MAX);
            self.buffer.reserve_exact(bytes - self.buffer.len());
            self.buffer.resize(bytes, 0);
        }
    }
}

/// Why no further frame is read for now.
enum Read {
    End(End),
    Nothing,
}

/// Asks a question. Returns it if its answer comes later.
fn ask(
    state: &Arc<ServerState>,
    head: Head,
    ids: Ids,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Option<Waiting> {
    let request = Request {
        head,
        body: Vec::new(),
    };
    let mut reply = match handler::answer(state, &request, Execution::Inline) {
        Some(reply) => reply,
        None => match handler::queue(state, request, BodyHold::default()) {
            Ok(reply) => {
                return Some(Waiting {
                    ids,
                    reply,
                    is_counted: true,
                });
            }
            Err(reply) => reply,
        },
    };
    if let Some(later) = reply.later.take() {
        return Some(Waiting {
            ids,
            reply: later.0,
            is_counted: false,
        });
    }
    question::answer(out, ids, &reply, bytes_max);
    None
}

/// The first of these questions that has its answer now.
fn answered(waiting: &mut [Waiting], cx: &mut Context<'_>) -> Option<Event> {
    waiting.iter_mut().enumerate().find_map(|(place, waiting)| {
        match Pin::new(&mut waiting.reply).poll(cx) {
            Poll::Ready(reply) => Some(Event::Answer(place, reply.ok())),
            Poll::Pending => None,
        }
    })
}
