//! systemd: its sockets, its notifications and its watchdog. Without systemd all of this does nothing.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use serde::Deserialize;
use serde_json::json;

use super::spawn;
use crate::cli::client::socket;
use crate::error::{Error, Result};
use crate::ops::{App, self_test};
use crate::refusals::verbatim;

/// How many probes run within the timeout of the watchdog.
const PROBES: u32 = 3;

/// A listener that systemd opened before this process started and keeps open after it ends.
pub enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The sockets of `latchkey.socket` (`$LISTEN_FDS`, sd_listen_fds(3)); none without systemd.
///
/// Must be called before the process has other threads.
pub fn inherited() -> Result<Vec<Inherited>> {
    let mut handed = ListenFd::from_env();
    (0..handed.len())
        .map(|number| {
            if let Ok(Some(listener)) = handed.take_tcp_listener(number) {
                return Ok(Inherited::Tcp(listener));
            }
            match handed.take_unix_listener(number) {
                Ok(Some(listener)) => Ok(Inherited::Unix(listener)),
                _ => Err(Error::Unavailable(verbatim(format!(
                    "socket {number} that systemd hands over is no stream listener; write ListenStream= in latchkey.socket"
                )))),
            }
        })
        .collect()
}

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The user as whom systemd has started this server; `None` if systemd has not started it.
pub fn unit_user() -> Option<String> {
    std::env::var_os("NOTIFY_SOCKET")?;
    // systemd sets $USER from the unit.
    Some(std::env::var("USER").unwrap_or_else(|_| "root".to_owned()))
}

/// Does nothing if `$NOTIFY_SOCKET` is not set.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        log::warn!("systemd could not be told: {err}");
    }
}

/// Notifies the watchdog (`$WATCHDOG_USEC`) as long as verifications work; otherwise systemd restarts the server.
pub fn start_watchdog(app: &Arc<App>, socket: PathBuf) -> Result<()> {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let app = app.clone();
    spawn("watchdog", move || {
        loop {
            match verifies(&app, &socket, patience) {
                Ok(()) => tell(&[NotifyState::Watchdog]),
                Err(why) => log::error!("the server does not verify as it should: {why}"),
            }
            std::thread::sleep(patience / PROBES);
        }
    })
}

/// The member of a verdict that is present only if the secret matched.
#[derive(Deserialize)]
struct VerdictBody {
    valid: bool,
    key_id: Option<String>,
}

/// Verifies through the socket, as a client does: a key that is in force must be known, and the same key must be
/// unknown once the probe has removed it from memory.
fn verifies(app: &App, socket: &Path, patience: Duration) -> std::result::Result<(), String> {
    let ask = |secret: &str| {
        let body = json!({ "key": secret }).to_string();
        let target = "/v1/verify";
        socket::exchange_within(socket, patience, "POST", target, body.as_bytes())
            .and_then(|answer| answer.json::<VerdictBody>())
            .map_err(|failure| format!("{failure:?}"))
    };
    let asked = self_test::with_key(app, |secret| ask(secret.expose()));
    let (known, secret) = asked.map_err(|err| err.to_string())?;
    if known?.key_id.is_none() {
        return Err("a good key is unknown".to_owned());
    }
    let removed = ask(secret.expose())?;
    if removed.valid || removed.key_id.is_some() {
        return Err("a removed key is known".to_owned());
    }
    Ok(())
}
