//! `latchkey serve`: listeners, threads, and an orderly end.

use super::RunArgs;
use crate::config::folder::{Contents, Folder};
use crate::dialects::{PRESETS, SURFACES};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::route::Router;
use crate::http::server::{self, Hooks, Limits, Listener, Stopper};
use crate::ops::{App, setup, upkeep};
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is said once the server answers.
#[derive(Serialize)]
struct ServingBody<'a> {
    url: &'a str,
    socket: &'a str,
}

/// Serves a folder that has been initialised.
pub fn serve(args: &RunArgs) -> Result<()> {
    if !args.data.data.exists() {
        return Err(not_initialised(&args.data.data));
    }
    let folder = Folder::open(&args.data.data)?;
    if folder.contents()? != Contents::Ready {
        return Err(not_initialised(&args.data.data));
    }
    let json = args.serve.json;
    run(args, &folder, move |url, socket| {
        if json {
            return serde_json::to_string(&ServingBody { url, socket }).unwrap_or_default();
        }
        format!("listening on {url}\nlistening on {socket}")
    })
}

/// Serves until told to stop. `announce` gives the text that says so, from URL and socket.
pub fn run(
    args: &RunArgs,
    folder: &Folder,
    announce: impl FnOnce(&str, &str) -> String + Send + 'static,
) -> Result<()> {
    args.serve.check_listen()?;
    let trust = args.serve.trust()?;
    let files = folder.read_key_files()?;
    let app = setup::open(&folder.database(), files, PRESETS, wall_clock)?;
    let tcp = bind(args.serve.listen)?;
    let url = format!("http://{}", tcp.local_addr().map_err(Error::internal)?);
    let socket = folder.socket();
    let unix = bind_socket(&socket)?;
    let listeners = vec![Listener::Tcp(tcp), Listener::Unix(unix)];
    start_background(&app, args.serve.usage_interval())?;
    let shown = socket.display().to_string();
    let hooks = Hooks {
        on_ready: Box::new(move || say(&announce(&url, &shown))),
        on_hangup: Box::new(|| log::info!("SIGHUP: nothing to reload")),
    };
    let served = serve_until_stopped(&app, trust, listeners, args.serve.workers(), hooks);
    app.close();
    if let Err(err) = fs::remove_file(&socket) {
        log::warn!("{} was not removed: {err}", socket.display());
    }
    served
}

fn serve_until_stopped(
    app: &Arc<App>,
    trust: Trust,
    listeners: Vec<Listener>,
    workers: usize,
    hooks: Hooks,
) -> Result<()> {
    let service = Router::new(app.clone(), trust, SURFACES).service();
    server::run(
        listeners,
        service,
        Limits::default(),
        workers,
        hooks,
        Stopper::new(),
    )
    .map_err(|err| Error::Unavailable(format!("the server cannot run: {err}")))
}

/// Keys are read and usage is written beside the requests.
fn start_background(app: &Arc<App>, interval: Duration) -> Result<()> {
    let loading = app.clone();
    let keeping = app.clone();
    let load = move || {
        if let Err(err) = setup::load_keys(&loading) {
            log::error!(
                "keys could not be read: {err}; each is looked up in the database when it is asked for"
            );
        }
    };
    spawn("key loader", load)?;
    spawn("upkeep", move || upkeep::run(&keeping, interval))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    started
        .map(drop)
        .map_err(|err| Error::Unavailable(format!("no thread can be started: {err}")))
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|err| {
        Error::Unavailable(format!(
            "{address} cannot be listened on: {err}; choose another address with --listen"
        ))
    })
}

/// The folder's lock is held, so a socket that is there belongs to nobody any more.
fn bind_socket(path: &Path) -> Result<UnixListener> {
    let failed = |err: std::io::Error| {
        Error::Unavailable(format!(
            "the socket {} cannot be made: {err}",
            path.display()
        ))
    };
    match fs::symlink_metadata(path) {
        Ok(stale) if stale.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        Ok(_) => {
            return Err(Error::Unavailable(format!(
                "{} is there and is no socket; move it away",
                path.display()
            )));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Prints at once. A closed or full standard output must not stop a server that runs (attacks 247).
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        log::warn!("standard output is closed");
    }
}

/// The only place that reads the wall clock.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn not_initialised(path: &Path) -> Error {
    let shown = path.display();
    Error::Unavailable(format!(
        "the data folder {shown} is not initialised; make one with: latchkey init --data {shown} \
         (or try everything with: latchkey quickstart --data {shown})"
    ))
}
