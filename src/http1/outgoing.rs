//! Bytes that are being sent to a client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::limits::PROGRESS_BYTES;
use super::slots::{Phase, Slot};

/// A body of at most this many bytes is appended to its head, because a copy costs less than a separate write.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// How much memory is kept between two answers.
const KEPT_BYTES: usize = 2 * 1024;

/// The head of an answer, and its body as a reference: a large body is not copied for each client.
#[derive(Default)]
pub struct Outgoing {
    head: Vec<u8>,
    /// How many bytes of the head have been sent.
    sent: usize,
    body: Bytes,
    /// How many bytes have been sent since the owner last set it to zero.
    pub progress: usize,
}

impl Outgoing {
    /// The buffer to write response heads to. No head may be written after a body.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Appends a body to its head.
    pub fn put_body(&mut self, body: Bytes) {
        if body.len() <= COPIED_BYTES_MAX {
            self.head.extend_from_slice(&body);
        } else {
            self.body = body;
        }
    }

    /// Returns ready when everything has left this process.
    pub fn poll_send(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.head.len() || !self.body.is_empty() {
            let head = &self.head[self.sent..];
            let polled = match self.body.is_empty() {
                true => Pin::new(&mut *io).poll_write(cx, head),
                false => {
                    let parts = [IoSlice::new(head), IoSlice::new(&self.body)];
                    Pin::new(&mut *io).poll_write_vectored(cx, &parts)
                }
            };
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.advance(bytes),
            }
        }
        self.sent = 0;
        self.head.clear();
        self.head.shrink_to(KEPT_BYTES);
        self.body = Bytes::new();
        Pin::new(io).poll_flush(cx)
    }

    /// Sends everything. A client that does not read has a deadline, which begins again when it has read enough.
    pub async fn send(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        slot: &Slot,
    ) -> io::Result<()> {
        slot.in_time(|cx| {
            let polled = self.poll_send(io, cx);
            let begins = || slot.phase() != Phase::Write || self.progress >= PROGRESS_BYTES;
            if polled.is_pending() && begins() {
                self.progress = 0;
                slot.enter(Phase::Write);
            }
            polled
        })
        .await
    }

    fn advance(&mut self, bytes: usize) {
        let of_head = bytes.min(self.head.len() - self.sent);
        self.sent += of_head;
        self.body.advance(bytes - of_head);
        self.progress += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_is_copied_and_a_large_one_is_not() {
        for length in [0, 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 1 << 20] {
            let body = Bytes::from(vec![b'x'; length]);
            let mut outgoing = Outgoing::default();
            outgoing.head().extend_from_slice(b"head");
            outgoing.put_body(body.clone());
            assert_eq!(
                outgoing.head.capacity() > length,
                length <= COPIED_BYTES_MAX
            );
            let mut sent = Vec::new();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(outgoing.poll_send(&mut sent, &mut cx).is_ready());
            assert_eq!(sent, [b"head", body.as_ref()].concat());
            assert_eq!(outgoing.progress, sent.len());
            drop(outgoing);
            assert!(length == 0 || body.is_unique());
        }
    }
}
