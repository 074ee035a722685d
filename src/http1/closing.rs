//! The end of a connection, after its last answer.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::LINGER_BYTES_MAX;
use super::slots::{Phase, Slot};

/// Ends a connection. If its peer may still be sending, the bytes are read into `buffer` and discarded for a limited time, so
/// that the peer receives the last answer (RFC 9112, 9.6).
pub async fn close<S>(
    mut io: S,
    slot: &Slot,
    buffer: &mut [u8],
    may_be_sending: bool,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    slot.enter(Phase::Linger);
    slot.in_time(|cx| Pin::new(&mut io).poll_shutdown(cx))
        .await?;
    if !may_be_sending {
        return Ok(());
    }
    let mut left = LINGER_BYTES_MAX;
    loop {
        let mut room = ReadBuf::new(buffer);
        slot.in_time(|cx| Pin::new(&mut io).poll_read(cx, &mut room))
            .await?;
        let bytes = room.filled().len();
        match left.checked_sub(bytes) {
            Some(rest) if bytes > 0 => left = rest,
            _ => return Ok(()),
        }
    }
}
