//! The TLS handshake, under the same deadline and eviction rules as a request head. Before it, the server examines the
//! first bytes: a client that speaks plain HTTP receives an HTTP answer that explains this.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Identity;
use crate::http1::slots::{Phase, Slot};
use crate::http1::state::ServerState;

/// How many encrypted bytes of an answer a session buffers while its client does not read: one record, so that slow
/// clients do not cost more memory.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// The first bytes of the requests that are recognised.
const METHODS: [&[u8]; 9] = [
    b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI", b"TRAC", b"CONN",
];

/// What the client began the connection with.
pub enum Opened {
    /// A request without encryption, of which nothing has been read.
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Returns an encrypted stream, or the plain stream of a request without encryption, or nothing.
///
/// A slow handshake counts as a request head that is being sent: it ends after `head_s`, or earlier if a new connection
/// needs the slot.
pub async fn shake_hands(
    stream: TcpStream,
    identity: Arc<Identity>,
    slot: &Slot,
    state: &ServerState,
) -> Option<Opened> {
    slot.enter(Phase::Head);
    let opened = async {
        if is_plain(&stream).await? {
            return Ok(Opened::Plain(stream));
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        let bounded = |session: &mut ServerConnection| {
            session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        };
        let shaken = acceptor.accept_with(stream, bounded).await?;
        Ok(Opened::Tls(Box::new(shaken)))
    };
    let mut opened = pin!(opened);
    match slot.in_time(|cx| opened.as_mut().poll(cx)).await {
        Ok(opened) => {
            if matches!(opened, Opened::Tls(_)) {
                slot.enter(Phase::Idle);
            }
            Some(opened)
        }
        Err(err) => {
            state.log_handshake(&err);
            None
        }
    }
}

/// Whether the first bytes to arrive are those of an HTTP request. The bytes stay in the socket.
async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0; 4];
    let mut room = ReadBuf::new(&mut bytes);
    poll_fn(|cx| stream.poll_peek(cx, &mut room)).await?;
    let seen = room.filled();
    Ok(!seen.is_empty() && METHODS.iter().any(|method| method.starts_with(seen)))
}
