//! The sending half of the request reader: answers of the fast path and of hyper, under one deadline, and the end of
//! the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Farewell, Guard, Stage};
use crate::http1::limits::{LINGER_BYTES_MAX, PROGRESS_BYTES};
use crate::http1::slots::Phase;

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Sends the answers of the fast path. Returns ready when all of them are sent.
    pub(super) fn poll_outbox(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.next().is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.outbox.next().is_empty() {
            let taken = Pin::new(&mut self.io).poll_write(cx, self.outbox.next());
            match ready!(self.after_write(taken))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.outbox.advance(bytes),
            }
        }
        self.poll_sent(cx)
    }

    /// Updates the deadline after an attempt to write.
    fn after_write(&mut self, taken: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match taken {
            Poll::Pending => {
                self.is_blocked()?;
                Poll::Pending
            }
            Poll::Ready(Ok(taken)) => {
                if self.blocked.is_some() {
                    self.progress += taken;
                    if self.progress >= PROGRESS_BYTES {
                        self.progress = 0;
                        self.enter(Phase::Write);
                    }
                }
                Poll::Ready(Ok(taken))
            }
            failed => failed,
        }
    }

    /// Returns ready when all sent bytes have left this process.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => {
                self.is_blocked()?;
                Poll::Pending
            }
            flushed => {
                self.is_free_again(cx);
                flushed
            }
        }
    }

    fn is_blocked(&mut self) -> io::Result<()> {
        if self.blocked.is_none() {
            self.blocked = Some(self.line.place.watch.since());
            self.progress = 0;
            self.enter(Phase::Write);
        } else if self.is_overdue() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read",
            ));
        }
        Ok(())
    }

    fn is_free_again(&mut self, cx: &mut Context<'_>) {
        if let Some(before) = self.blocked.take() {
            self.progress = 0;
            self.enter(before.phase);
            if std::mem::take(&mut self.stalled) {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Whether the client may still be sending, so that closing immediately would lose the answer.
    fn has_unread(&self) -> bool {
        let within_request = !matches!(self.stage, Stage::Head(_) | Stage::Ended);
        self.start < self.end || self.cut_short || within_request
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.place.watch.since().phase != Phase::Linger {
            self.enter(Phase::Linger);
        } else if self.is_overdue() {
            self.farewell = Farewell::Done;
        }
        loop {
            match &mut self.farewell {
                Farewell::Refuse { answer } => {
                    if !answer.next().is_empty() {
                        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, answer.next()))?;
                        answer.advance(taken);
                    } else {
                        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                        self.farewell = Farewell::HalfClose;
                    }
                }
                Farewell::HalfClose => {
                    ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
                    self.farewell = if self.has_unread() {
                        Farewell::Drain {
                            left: LINGER_BYTES_MAX,
                        }
                    } else {
                        Farewell::Done
                    };
                }
                Farewell::Drain { left } => {
                    let left = *left;
                    (self.start, self.end) = (0, 0);
                    let bytes = ready!(self.poll_fill(cx))?;
                    self.farewell = match left.checked_sub(bytes) {
                        Some(left) if bytes > 0 => Farewell::Drain { left },
                        _ => Farewell::Done,
                    };
                }
                Farewell::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.after_write(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.after_write(taken)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(cx))?;
        self.poll_sent(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_farewell(cx)
    }
}
