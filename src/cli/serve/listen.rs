//! The listeners of the server: sockets from systemd or addresses from the settings, the Unix socket of the folder, and the
//! listener for HAProxy.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::systemd::Inherited;
use crate::config::ServeArgs;
use crate::config::agent::AgentAddress;
use crate::dialects::forward_auth;
use crate::error::{Error, Result};
use crate::files::private;
use crate::http1::tls::LiveTls;
use crate::http1::{Listener, QUEUE_MAX};
use crate::refusals::verbatim;

/// Opens the listeners; also returns the URLs of the TCP listeners, or a word if there is none.
pub fn open(
    settings: &ServeArgs,
    inherited: Vec<Inherited>,
    tls: Option<&LiveTls>,
) -> Result<(Vec<Listener>, Vec<String>)> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let of_tcp = |listener| match tls {
        Some(tls) => Listener::Tls(listener, tls.clone()),
        None => Listener::Tcp(listener),
    };
    let mut listeners = Vec::new();
    if let Some(metrics) = settings.metrics_listen {
        // Metrics are not secret, so their address may use plain HTTP on any network.
        listeners.push(Listener::Tcp(bind(metrics, &[], "--metrics-listen")?));
    }
    if inherited.is_empty() {
        let mut urls = Vec::new();
        for one in &settings.listen {
            settings.check_plain(*one)?;
            let listener = bind(*one, &settings.listen, "--listen")?;
            urls.push(format!("{scheme}://{}", address(&listener)?));
            listeners.push(of_tcp(listener));
        }
        return Ok((listeners, urls));
    }
    let mut urls = Vec::new();
    for one in inherited {
        listeners.push(match one {
            Inherited::Tcp(listener) => {
                let address = address(&listener)?;
                settings.check_plain(address)?;
                urls.push(format!("{scheme}://{address}"));
                of_tcp(listener)
            }
            Inherited::Unix(listener) => Listener::Unix(listener),
        });
    }
    if urls.is_empty() {
        urls.push("a socket of systemd".to_owned());
    }
    Ok((listeners, urls))
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(Error::internal)
}

/// Binds one of these addresses, which come from this flag.
fn bind(address: SocketAddr, all: &[SocketAddr], flag: &str) -> Result<TcpListener> {
    let every_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let every_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    // By default the socket of all IPv6 addresses takes the port of all IPv4 addresses too.
    let bound = match address == every_v6 && all.contains(&every_v4) {
        true => bind_v6_alone(address),
        false => match TcpListener::bind(address) {
            Err(err) if address == every_v6 && err.raw_os_error() == Some(NO_IPV6) => {
                log::warn!("this machine has no IPv6, so {every_v4} is listened on");
                TcpListener::bind(every_v4)
            }
            bound => bound,
        },
    };
    bound.map_err(|err| {
        Error::Unavailable(verbatim(format!(
            "{address} cannot be listened on: {err}; choose another address with {flag}"
        )))
    })
}

/// The error of a kernel without IPv6.
const NO_IPV6: i32 = Errno::AFNOSUPPORT.raw_os_error();

/// Like [`TcpListener::bind`], but only for IPv6.
fn bind_v6_alone(address: SocketAddr) -> std::io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, QUEUE_MAX)?;
    Ok(TcpListener::from(socket))
}

/// Opens the listener for HAProxy, if there is one; also returns its address as it is printed.
pub fn open_agent(settings: &ServeArgs) -> Result<Option<(Listener, String)>> {
    let Some(agent) = &settings.haproxy_agent else {
        return Ok(None);
    };
    Ok(Some(match agent {
        AgentAddress::Tcp(address) => {
            let listener = bind(*address, &[], "--haproxy-agent")?;
            let bound = self::address(&listener)?.to_string();
            (Listener::AgentTcp(listener, forward_auth::HAPROXY), bound)
        }
        AgentAddress::Unix(path) => {
            // No lock belongs to this path, so another process may use the socket.
            if UnixStream::connect(path).is_ok() {
                return Err(cannot_be_made(path, &Errno::ADDRINUSE.into()));
            }
            let listener = socket_at(path)?;
            private::open_to_others(path).map_err(|err| cannot_be_made(path, &err))?;
            let listener = Listener::AgentUnix(listener, forward_auth::HAPROXY);
            (listener, agent.to_string())
        }
    }))
}

/// This process holds the lock of the folder, so no other process uses an existing socket file.
pub fn bind_socket(path: &Path) -> Result<UnixListener> {
    let listener = socket_at(path)?;
    private::close_to_others(path).map_err(|err| cannot_be_made(path, &err))?;
    Ok(listener)
}

fn cannot_be_made(path: &Path, err: &std::io::Error) -> Error {
    Error::Unavailable(verbatim(format!(
        "the socket {} cannot be made: {err}",
        path.display()
    )))
}

/// Binds a Unix socket in the place of one that a process has left.
fn socket_at(path: &Path) -> Result<UnixListener> {
    let failed = |err: std::io::Error| cannot_be_made(path, &err);
    match fs::symlink_metadata(path) {
        Ok(stale) if stale.file_type().is_socket() => private::remove(path).map_err(failed)?,
        Ok(_) => {
            return Err(Error::Unavailable(verbatim(format!(
                "{} is there and is no socket; move it away",
                path.display()
            ))));
        }
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(failed)
}
