//! Accepts connections from the listeners for as long as the server runs: no error of `accept` ends the loop
//! (attacks 37).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::slots::{Slot, TICK, Via};
use super::state::ServerState;
use super::tls::{LiveTls, Opened, shake_hands};
use super::{Listener, agent, connection};
use crate::http1::request::Peer;

/// How many bytes of answers the kernel buffers for a client that does not read them; Linux reserves twice this size
/// for its own bookkeeping. By default the kernel buffers megabytes for each client, and these count against the memory
/// limit of the server.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How many connections may wait in the kernel's accept queue until a connection slot is free. With a shorter queue the
/// kernel drops the SYN packets of new clients, which try again only after seconds.
pub const QUEUE_MAX: i32 = 4096;

/// How long to wait after `accept` failed because the machine lacks a resource.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket that is registered with the tokio runtime.
pub enum BoundListener {
    AgentTcp(TcpListener, &'static str),
    AgentUnix(UnixListener, &'static str),
    Tcp(TcpListener),
    Tls(TcpListener, LiveTls),
    Unix(UnixListener),
}

impl BoundListener {
    /// Must be called within the tokio runtime.
    pub fn open(listener: Listener) -> io::Result<BoundListener> {
        Ok(match listener {
            Listener::AgentTcp(listener, path) => {
                listener.set_nonblocking(true)?;
                settle(&listener);
                BoundListener::AgentTcp(TcpListener::from_std(listener)?, path)
            }
            Listener::AgentUnix(listener, path) => {
                listener.set_nonblocking(true)?;
                BoundListener::AgentUnix(UnixListener::from_std(listener)?, path)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                settle(&listener);
                BoundListener::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Tls(listener, tls) => {
                listener.set_nonblocking(true)?;
                settle(&listener);
                BoundListener::Tls(TcpListener::from_std(listener)?, tls)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                BoundListener::Unix(UnixListener::from_std(listener)?)
            }
        })
    }

    /// Accepts connections until the task is aborted.
    pub async fn serve(self, state: Arc<ServerState>) {
        loop {
            if let Err(err) = self.serve_next(&state).await {
                let now = state.slots.now();
                if state.accept_log.may(now) {
                    log::warn!("a connection could not be accepted: {err}");
                }
                if let Some(pause) = pause_after(&err) {
                    state.slots.make_room();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn serve_next(&self, state: &Arc<ServerState>) -> io::Result<()> {
        match self {
            BoundListener::AgentTcp(listener, path) => {
                let (stream, peer) = accept(listener, false).await?;
                let slot = slot(state, Via::Tcp).await;
                let (owner, path) = (Arc::clone(state), *path);
                state.workers.give(async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        agent::serve(stream, peer, slot, owner, path).await;
                    }
                });
            }
            BoundListener::AgentUnix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                // The slots that are reserved for the Unix socket of the data folder are not for HAProxy.
                let slot = slot(state, Via::Tcp).await;
                let (stream, owner, path) = (stream.into_std()?, Arc::clone(state), *path);
                state.workers.give(async move {
                    if let Ok(stream) = UnixStream::from_std(stream) {
                        let peer = Peer::Unix { uid };
                        agent::serve(stream, peer, slot, owner, path).await;
                    }
                });
            }
            BoundListener::Tcp(listener) => {
                let (stream, peer) = accept(listener, false).await?;
                let slot = slot(state, Via::Tcp).await;
                let owner = Arc::clone(state);
                state.workers.give(async move {
                    // Registers the socket again, this time with the I/O thread that will serve it.
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection::serve(stream, peer, slot, owner, false).await;
                    }
                });
            }
            BoundListener::Tls(listener, tls) => {
                let (stream, peer) = accept(listener, true).await?;
                let slot = slot(state, Via::Tcp).await;
                let (owner, identity) = (Arc::clone(state), tls.now());
                state.workers.give(async move {
                    let Ok(stream) = TcpStream::from_std(stream) else {
                        return;
                    };
                    match shake_hands(stream, identity, &slot, &owner).await {
                        Some(Opened::Plain(stream)) => {
                            owner.log_plain();
                            connection::serve(stream, peer, slot, owner, true).await;
                        }
                        Some(Opened::Tls(stream)) => {
                            connection::serve(*stream, peer, slot, owner, false).await;
                        }
                        None => {}
                    }
                });
            }
            BoundListener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                let slot = slot(state, Via::Unix).await;
                let (stream, owner) = (stream.into_std()?, Arc::clone(state));
                state.workers.give(async move {
                    if let Ok(stream) = UnixStream::from_std(stream) {
                        let peer = Peer::Unix { uid };
                        connection::serve(stream, peer, slot, owner, false).await;
                    }
                });
            }
        }
        Ok(())
    }
}

/// Sets socket options that accepted connections inherit. If the kernel refuses an option, its default is used.
///
/// If all clients are on this machine, the simplest congestion control is enough: other algorithms, BBR above all, set
/// a timer for nearly every answer to avoid queues that the loopback interface does not have.
fn settle(listener: &std::net::TcpListener) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES);
    let _ = rustix::net::listen(listener, QUEUE_MAX);
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    if listener.local_addr().is_ok_and(is_loopback) {
        let _ = rustix::net::sockopt::set_tcp_congestion(listener, "reno");
    }
}

/// Accepts the next connection and prepares it so that another thread can register it.
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

/// Waits for a connection slot for an accepted connection. Meanwhile further connections wait in the kernel's queue.
async fn slot(state: &Arc<ServerState>, via: Via) -> Slot {
    if state.slots.is_empty() {
        // The clock of the slots stands still while the server has no connections.
        state.slots.sweep((state.service.now)());
    }
    loop {
        // Registers for the notification before it looks for a slot, so that a slot freed in between is not missed.
        let left = state.slots.left.notified();
        if let Some(slot) = state.slots.take(via) {
            return slot;
        }
        let _ = tokio::time::timeout(TICK, left).await;
    }
}

/// How long to pause after an error of `accept`. `None` if the next `accept` may follow immediately because the error
/// concerned only one connection.
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
