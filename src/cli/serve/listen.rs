//! The listeners of the server: sockets from systemd or addresses from the settings, and the Unix socket of the folder.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::systemd::Inherited;
use crate::config::ServeArgs;
use crate::error::{Error, Result};
use crate::files::private;
use crate::http::server::Listener;
use crate::http::server::tls::LiveTls;

/// The listeners, and the URL of the first TCP listener.
pub fn open(
    settings: &ServeArgs,
    inherited: Vec<Inherited>,
    tls: Option<&LiveTls>,
) -> Result<(Vec<Listener>, String)> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let of_tcp = |listener| match tls {
        Some(tls) => Listener::Tls(listener, tls.clone()),
        None => Listener::Tcp(listener),
    };
    let mut listeners = Vec::new();
    if let Some(metrics) = settings.metrics_listen {
        // Metrics are not secret, so their address may use plain HTTP on any network.
        listeners.push(Listener::Tcp(bind(metrics)?));
    }
    if inherited.is_empty() {
        settings.check_plain(settings.listen)?;
        let listener = bind(settings.listen)?;
        let url = format!("{scheme}://{}", address(&listener)?);
        listeners.push(of_tcp(listener));
        return Ok((listeners, url));
    }
    let mut url = None;
    for one in inherited {
        listeners.push(match one {
            Inherited::Tcp(listener) => {
                let address = address(&listener)?;
                settings.check_plain(address)?;
                url.get_or_insert_with(|| format!("{scheme}://{address}"));
                of_tcp(listener)
            }
            Inherited::Unix(listener) => Listener::Unix(listener),
        });
    }
    Ok((
        listeners,
        url.unwrap_or_else(|| "a socket of systemd".to_owned()),
    ))
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(Error::internal)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|err| {
        Error::Unavailable(format!(
            "{address} cannot be listened on: {err}; choose another address with --listen"
        ))
    })
}

/// This process holds the lock of the folder, so no other process uses an existing socket file.
pub fn bind_socket(path: &Path) -> Result<UnixListener> {
    let failed = |err: std::io::Error| {
        Error::Unavailable(format!(
            "the socket {} cannot be made: {err}",
            path.display()
        ))
    };
    match fs::symlink_metadata(path) {
        Ok(stale) if stale.file_type().is_socket() => private::remove(path).map_err(failed)?,
        Ok(_) => {
            return Err(Error::Unavailable(format!(
                "{} is there and is no socket; move it away",
                path.display()
            )));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    private::close_to_others(path).map_err(failed)?;
    Ok(listener)
}
