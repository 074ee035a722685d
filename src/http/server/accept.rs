//! Taking connections from listeners, for ever: no error of `accept` ends the loop (attacks 37).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Listener;
use super::connection::{self, Front};
use super::tls::{LiveTls, Opened, shake_hands};
use super::watch::{Place, TICK};
use crate::http::request::Peer;

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
                spare_pacing(&listener);
                Door::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Tls(listener, tls) => {
                listener.set_nonblocking(true)?;
                spare_pacing(&listener);
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
                let place = place(front).await;
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
                let place = place(front).await;
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
                let place = place(front).await;
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

/// Where all clients are on this machine, the simplest congestion control is enough: others, BBR above all, set a
/// timer for nearly every answer, against queues that loopback does not have. Connections inherit it.
fn spare_pacing(listener: &std::net::TcpListener) {
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    if listener.local_addr().is_ok_and(is_loopback) {
        // Every kernel has it; one that does not let us choose goes on with its own.
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
async fn place(front: &Arc<Front>) -> Place {
    if front.registry.is_empty() {
        // The clock has stood still while nobody was there.
        front.registry.sweep((front.service.now)());
    }
    loop {
        if let Some(place) = front.registry.enter() {
            return place;
        }
        // Asked again after a tick at the latest: a place may be given back between the two lines.
        let _ = tokio::time::timeout(TICK, front.registry.left.notified()).await;
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
