//! The handshake, under the deadline and the eviction rules of a request's head.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Identity;
use crate::http::server::connection::Front;
use crate::http::server::watch::{Phase, Place, Since};

/// Ends with a stream that is encrypted, or with nothing.
///
/// Whoever dawdles counts as sending a head: it is cut off after `head_s`, and earlier if a newcomer needs the place.
pub async fn shake_hands(
    stream: TcpStream,
    identity: Arc<Identity>,
    place: &Place,
    front: &Front,
) -> Option<TlsStream<TcpStream>> {
    let enter = |phase| {
        let tick = front.registry.now();
        place.watch.set(Since { phase, tick });
    };
    enter(Phase::Head);
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    let mut shaking = pin!(acceptor.accept(stream));
    let shaken = poll_fn(|cx| {
        place.watch.waker.get_or_init(|| cx.waker().clone());
        match shaking.as_mut().poll(cx) {
            Poll::Pending if place.watch.leaves() => Poll::Ready(Err(gone("made room"))),
            Poll::Pending if front.registry.is_overdue(place.watch.since()) => {
                Poll::Ready(Err(gone("took too long")))
            }
            other => other,
        }
    });
    match shaken.await {
        Ok(stream) => {
            enter(Phase::Idle);
            Some(stream)
        }
        Err(err) => {
            front.log_handshake(&err);
            None
        }
    }
}

fn gone(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
