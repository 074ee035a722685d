//! Taking connections from listeners, for ever: no error of `accept` ends the loop (attacks 37).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Listener;
use super::connection::{self, Front};
use super::tls::{LiveTls, Opened, shake_hands};
use super::watch::{Place, TICK, Via};
use crate::http::request::Peer;

/// What the kernel may keep of an answer that its client does not read; Linux takes twice this for its own needs. Left to
/// itself it keeps megabytes for each client, which count against the memory that the system lets the server have.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Connections that may wait in the kernel's queue until they have a place. With a shorter queue the kernel drops what
/// clients send to begin a connection, and these try again only after seconds.
const QUEUE_MAX: i32 = 4096;

/// How long to wait when the machine has run out of something.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that belongs to the runtime.
pub enum Door {
    Tcp(TcpListener),
    Tls(TcpListener, LiveTls),
    Unix(UnixListener),
}

impl Door {
    /// Must run within the runtime.
    pub fn open(listener: Listener) -> io::Result<Door> {
        Ok(match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                settle(&listener);
                Door::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Tls(listener, tls) => {
                listener.set_nonblocking(true)?;
                settle(&listener);
                Door::Tls(TcpListener::from_std(listener)?, tls)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Door::Unix(UnixListener::from_std(listener)?)
            }
        })
    }

    /// Accepts until the task is aborted.
    pub async fn serve(self, front: Arc<Front>) {
        loop {
            if let Err(err) = self.serve_next(&front).await {
                let now = front.registry.now();
                if front.accept_log.may(now) {
                    log::warn!("a connection could not be accepted: {err}");
                }
                if let Some(pause) = pause_after(&err) {
                    front.registry.make_room();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn serve_next(&self, front: &Arc<Front>) -> io::Result<()> {
        match self {
            Door::Tcp(listener) => {
                let (stream, peer) = accept(listener, false).await?;
                let place = place(front, Via::Tcp).await;
                let owner = Arc::clone(front);
                front.lanes.give(async move {
                    // Registered anew, with the thread that will serve it.
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection::serve(stream, peer, place, owner).await;
                    }
                });
            }
            Door::Tls(listener, tls) => {
                let (stream, peer) = accept(listener, true).await?;
                let place = place(front, Via::Tcp).await;
                let (owner, identity) = (Arc::clone(front), tls.now());
                front.lanes.give(async move {
                    let Ok(stream) = TcpStream::from_std(stream) else {
                        return;
                    };
                    match shake_hands(stream, identity, &place, &owner).await {
                        Some(Opened::Plain(stream)) => {
                            connection::refuse_plain(stream, peer, place, owner).await;
                        }
                        Some(Opened::Tls(stream)) => {
                            connection::serve(*stream, peer, place, owner).await;
                        }
                        None => {}
                    }
                });
            }
            Door::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                let place = place(front, Via::Unix).await;
                let (stream, owner) = (stream.into_std()?, Arc::clone(front));
                front.lanes.give(async move {
                    if let Ok(stream) = UnixStream::from_std(stream) {
                        connection::serve(stream, Peer::Unix { uid }, place, owner).await;
                    }
                });
            }
        }
        Ok(())
    }
}

/// Settings that connections inherit. Every kernel has them; one that does not let us choose goes on with its own.
///
/// Where all clients are on this machine, the simplest congestion control is enough: others, BBR above all, set a
/// timer for nearly every answer, against queues that loopback does not have.
fn settle(listener: &std::net::TcpListener) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES);
    let _ = rustix::net::listen(listener, QUEUE_MAX);
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    if listener.local_addr().is_ok_and(is_loopback) {
        let _ = rustix::net::sockopt::set_tcp_congestion(listener, "reno");
    }
}

/// The next connection, ready to be registered with another thread.
async fn accept(listener: &TcpListener, is_tls: bool) -> io::Result<(std::net::TcpStream, Peer)> {
    let (stream, peer) = listener.accept().await?;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let peer = Peer::Tcp {
        peer,
        local,
        is_tls,
    };
    Ok((stream.into_std()?, peer))
}

/// A place for a connection that has been accepted. Meanwhile further ones wait in the kernel's queue.
async fn place(front: &Arc<Front>, via: Via) -> Place {
    if front.registry.is_empty() {
        // The clock has stood still while nobody was there.
        front.registry.sweep((front.service.now)());
    }
    loop {
        // Begins to listen before it asks, so that a place that is given back in between is not missed.
        let left = front.registry.left.notified();
        if let Some(place) = front.registry.enter(via) {
            return place;
        }
        let _ = tokio::time::timeout(TICK, left).await;
    }
}

/// `None` if the next `accept` may follow at once because the error was about one connection only.
fn pause_after(err: &io::Error) -> Option<Duration> {
    use rustix::io::Errno;
    let of_one_connection = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::INVAL,
        Errno::NOTCONN,
        Errno::PERM,
        Errno::PROTO,
    ];
    let is_of_one = err.raw_os_error().is_some_and(|code| {
        of_one_connection
            .iter()
            .any(|errno| errno.raw_os_error() == code)
    });
    (!is_of_one).then_some(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn only_exhaustion_makes_the_loop_pause() {
        let pause = |errno: Errno| pause_after(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for one in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO] {
            assert_eq!(pause(one), None, "{one}");
        }
        for all in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(pause(all), Some(PAUSE), "{all}");
        }
    }
}
