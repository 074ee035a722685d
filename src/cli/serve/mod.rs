//! `latchkey serve`: starts listeners and threads, and shuts them down in order.

pub mod check_config;
mod claim;
mod listen;
mod reload;
mod systemd;

use super::{RunArgs, log_format};
use crate::config::Stale;
use crate::config::agent::AgentAddress;
use crate::config::folder::{Contents, Folder, no_site, not_initialised};
use crate::dialects::console::sections::SECTIONS;
use crate::dialects::{PRESETS, console, surfaces};
use crate::domain::clock::Uptime;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::private;
use crate::http::client::LiveTrust;
use crate::http::route::Router;
use crate::http1::tls::{Identity, LiveTls};
use crate::http1::{Engine, Hooks, Limits, Listener, Stopper};
use crate::ops::audit::retention::Retention;
use crate::ops::backups::Schedule;
use crate::ops::clock::Sources;
use crate::ops::declared;
use crate::ops::maintenance;
use crate::ops::notices;
use crate::ops::packs::feed;
use crate::ops::policies::pages;
use crate::ops::secrets::settle;
use crate::ops::setup::first_run;
use crate::ops::{App, setup, site, tripwires};
use crate::refusals::verbatim;
use crate::sinks;
use crate::store::Location;
pub use claim::claim;
use reload::InForce;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long to wait before keys that could not be read are read again.
const LOAD_AGAIN: Duration = Duration::from_secs(10);

/// The time between two regular checks for faults: long, so that an idle server sleeps, and short enough to notice
/// within five seconds that the database file is gone.
const WATCH: Duration = Duration::from_secs(4);

/// What is printed once the server answers requests.
#[derive(Serialize)]
struct ServingBody<'a> {
    url: &'a str,
    /// All URLs, including `url`, which comes first.
    urls: &'a [String],
    socket: &'a str,
    /// The code that sets the first owner's password in the console; null once an owner has a password.
    setup_code: Option<&'a str>,
}

/// Serves an initialised folder.
pub fn serve(args: &RunArgs) -> Result<()> {
    let missing = match args.serve.site {
        true => no_site,
        false => not_initialised,
    };
    if !args.data.data.exists() {
        return Err(missing(&args.data.data));
    }
    let folder = claim(args)?;
    // With the key files of another node, naming its database is enough.
    let is_ready = match folder.contents()? {
        Contents::Empty => false,
        Contents::PepperOnly => args.serve.database.database.is_some(),
        Contents::Ready => true,
    };
    if !is_ready {
        return Err(missing(&args.data.data));
    }
    args.check()?;
    wait_for_database(&folder.location(Some(&args.serve.database))?);
    let doors = Doors::open(args, &folder)?;
    let (urls, socket) = (doors.urls.clone(), doors.socket.clone());
    let (listening, console) = (doors.listening(), doors.console()?);
    let json = args.serve.speaks_json();
    doors.serve(move |setup_code| {
        let (url, socket) = (urls[0].as_str(), socket.as_str());
        Some(if json {
            let body = ServingBody {
                url,
                urls: &urls,
                socket,
                setup_code,
            };
            serde_json::to_string(&body).unwrap_or_default()
        } else {
            setup_text(console.as_deref(), setup_code) + &listening
        })
    })
}

/// Instructions for setting the first owner's password, if there is a code for it.
pub fn setup_text(console: Option<&str>, code: Option<&str>) -> String {
    match (console, code) {
        (_, None) => String::new(),
        (Some(console), Some(code)) => format!(
            "Nobody can sign in yet. Set the owner's password at {console}/setup with this code,\n\
             which is good until then or until the server stops:\n\n  {code}\n\n"
        ),
        (None, Some(_)) => {
            "Nobody can sign in yet, and the console is off. Set the owner's password with:\n  \
             latchkey user password owner\n\n"
                .to_owned()
        }
    }
}

/// Open listeners, to which clients can already connect; requests are answered once [`Doors::serve`] runs.
pub struct Doors<'a> {
    args: &'a RunArgs,
    folder: &'a Folder,
    listeners: Vec<Listener>,
    tls: Option<LiveTls>,
    unix: UnixListener,
    engine: Engine,
    /// The URLs of the TCP listeners, or a single text if there is no URL.
    pub urls: Vec<String>,
    pub socket: String,
    /// The address for HAProxy, if there is one.
    agent: Option<String>,
    files: Vec<SocketFile>,
}

/// Removes the socket file when it is dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(err) = private::remove(&self.0) {
            log::warn!("{} was not removed: {err}", self.0.display());
        }
    }
}

/// How often a server of a database that cannot be reached is tried again.
const REACHED_EVERY: Duration = Duration::from_secs(1);

/// Waits until the server of the database can be reached: after a power failure it may start later than this program, and a
/// unit that fails again and again is given up. Meanwhile nothing listens, so no load balancer sends anything here.
fn wait_for_database(location: &Location) {
    let mut is_first = true;
    while let Some(why) = location.database.out_of_reach() {
        if std::mem::take(&mut is_first) {
            log::warn!("this start waits for the server of the database: {why}");
        }
        std::thread::sleep(REACHED_EVERY);
    }
}

impl Doors<'_> {
    /// Binds the addresses, so that one in use is reported before anything is created or displayed.
    pub fn open<'a>(args: &'a RunArgs, folder: &'a Folder) -> Result<Doors<'a>> {
        args.check()?;
        reload::set_log_level(&args.serve);
        let inherited = systemd::inherited()?;
        let tls = args.serve.tls()?.map(|files| Identity::load(&files));
        let tls = tls.transpose()?.map(LiveTls::new);
        let (mut listeners, urls) = listen::open(&args.serve, inherited, tls.as_ref())?;
        let unix = listen::bind_socket(&folder.socket())?;
        let mut files = vec![SocketFile(folder.socket())];
        let agent = listen::open_agent(&args.serve)?.map(|(listener, address)| {
            listeners.push(listener);
            address
        });
        if let Some(AgentAddress::Unix(path)) = &args.serve.haproxy_agent {
            files.push(SocketFile(path.clone()));
        }
        Ok(Doors {
            args,
            folder,
            listeners,
            tls,
            unix,
            engine: Engine::start(args.serve.workers()).map_err(cannot_run)?,
            urls,
            socket: folder.socket().display().to_string(),
            agent,
            files,
        })
    }

    /// The address of the console, if it is enabled. If a proxy puts the console below a prefix, the server does not
    /// know the name of the proxy.
    pub fn console(&self) -> Result<Option<String>> {
        let start = match &self.args.serve.console_path {
            None => self.urls[0].as_str(),
            Some(_) => "https://<your proxy>",
        };
        let place = self.args.serve.console_place()?;
        Ok(place.map(|place| format!("{start}{place}")))
    }

    /// One line for each address on which the server listens.
    pub fn listening(&self) -> String {
        let all = self.urls.iter().chain([&self.socket]);
        let agent = self.agent.iter();
        let lines: Vec<String> = all
            .map(|place| format!("listening on {place}"))
            .chain(agent.map(|place| format!("listening on {place} for HAProxy")))
            .collect();
        lines.join("\n")
    }

    /// Serves until it is stopped, and prints the text of `hello` once requests are answered. `hello` receives the code
    /// that sets the first owner's password, if the first owner has none.
    pub fn serve(self, hello: impl FnOnce(Option<&str>) -> Option<String>) -> Result<()> {
        let settings = &self.args.serve;
        let version = env!("CARGO_PKG_VERSION");
        log::info!(
            "latchkey {version} starts with {}",
            self.folder.path().display()
        );
        let files = self.folder.read_key_files()?;
        let location = self.folder.location(Some(&settings.database))?;
        let app = setup::open(location, files, PRESETS, TIME)?;
        site::require_kind(&app, settings.site)?;
        self.folder.remember(&settings.database)?;
        app.warn_if_stale_only(settings.stale == Stale::Warn);
        #[cfg(feature = "postgres")]
        if let Some(limits) = settings.cluster.limits(app.shares_its_database())? {
            app.set_limits(limits);
        }
        app.budgets.set_rate(settings.changes_rate());
        app.feed.set_ends_wait(settings.ends_wait_for_sites);
        app.demand_second_factor(settings.second_factor_roles());
        app.pin_leak_keys(settings.leak_keys()?);
        if settings.second_factor_roles().bits() != 0 && settings.console_place()?.is_none() {
            log::warn!(
                "second_factor_roles: the console is off, so users can set up a second factor only on this machine: \
                 latchkey user authenticators NAME --add"
            );
        }
        let is_site = app.site().is_some();
        if let Some(site) = app.site() {
            site.browsers.serve_at(self.console()?);
        }
        if !is_site {
            declared::begin(&app, settings.declared())?;
        }
        if let Some(on) = settings.systems()?.filter(|_| !is_site) {
            let all: Vec<&str> = SECTIONS.iter().map(|section| section.policy).collect();
            pages::settle(&app, &all, &on)?;
        }
        let setup_code = match is_site {
            true => None,
            false => first_run::begin(&app)?,
        };
        let hello = hello(setup_code.as_deref());
        if let Some(every) = settings.backup_every {
            app.schedule_backups(Schedule {
                every_s: every.seconds,
                keep: usize::from(settings.backup_keep),
            });
        }
        app.keep_audit_days(settings.audit_keep_min);
        // A site has no notices, and connects to nothing but its server, if that is set.
        if !is_site {
            sinks::start(&app, settings.notices.sinks()?)?;
        }
        if let Some(link) = settings.link.setting(is_site)? {
            let follow = site::link::Settings {
                server: link.server.to_string(),
                max_stale_s: link.max_stale_s,
                clock: since_boot,
            };
            sinks::feed::start(&app, link.server, link.authorities, follow)?;
        }
        start_background(&app, settings.usage_interval(), settings.audit_retention())?;
        start_watching(&app, self.tls.clone())?;
        if let Some(user) = systemd::unit_user() {
            app.is_unit_of(user);
        }
        systemd::start_watchdog(&app, self.folder.socket())?;
        settings.console_texts(console::speak)?;
        let trust = LiveTrust::from(settings.trust()?);
        let reloading = reload::start(InForce {
            app: app.clone(),
            settings: self.args.settings.clone(),
            trust: trust.clone(),
            tls: self.tls.clone().zip(settings.tls()?),
        })?;
        let stopping = app.clone();
        let hooks = Hooks {
            on_ready: Box::new(move || {
                systemd::ready();
                hello.iter().for_each(|hello| say_if_possible(hello));
            }),
            on_hangup: Box::new(move || {
                let _ = reloading.send(());
            }),
            on_stop: Box::new(move || {
                systemd::stopping();
                stopping.feed.stop();
            }),
        };
        let mut listeners = self.listeners;
        listeners.push(Listener::Unix(self.unix));
        let mounts = settings.mounts()?;
        let router = Router::new(app.clone(), trust, surfaces(is_site), &mounts);
        let service = router.service();
        let limits = Limits {
            head_bytes_max: settings.head_bytes_max as usize,
            ..Limits::default()
        };
        let served = self
            .engine
            .run(listeners, service, limits, hooks, Stopper::new());
        app.close();
        drop(self.files);
        served.map_err(cannot_run)?;
        log::info!("latchkey {version} has stopped; what it had answered is saved");
        Ok(())
    }
}

fn cannot_run(err: std::io::Error) -> Error {
    Error::Unavailable(verbatim(format!("the server cannot run: {err}")))
}

/// Starts the threads that read keys and write usage counts in the background.
fn start_background(app: &Arc<App>, interval: Duration, retention: Retention) -> Result<()> {
    let loading = app.clone();
    let (keeping, tripping) = (app.clone(), app.clone());
    let load = move || {
        while let Err(err) = setup::load_keys(&loading) {
            if loading.is_closed() {
                return;
            }
            log::error!(
                "keys could not be read: {err}; until they can, each is looked up in the database when it is asked for"
            );
            std::thread::sleep(LOAD_AGAIN);
        }
        settle::settle(&loading);
    };
    let noticing = app.clone();
    if app.site().is_none() {
        spawn("key loader", load)?;
        spawn("notices", move || notices::run(&noticing))?;
        let (answering, packing, ending) = (app.clone(), app.clone(), app.clone());
        spawn("site waits", move || ending.feed.end_all(&ending))?;
        let lending = app.clone();
        spawn("site lending", move || feed::run_lending(&lending))?;
        spawn("site answers", move || feed::run_answers(&answering))?;
        spawn("site packs", move || feed::run_packs(&packing))?;
    }
    spawn("tripwires", move || tripwires::run(&tripping))?;
    spawn("upkeep", move || {
        maintenance::run(&keeping, interval, retention)
    })
}

/// Starts the thread that checks for faults every few seconds, and the one that makes due backups, which may take
/// longer.
fn start_watching(app: &Arc<App>, tls: Option<LiveTls>) -> Result<()> {
    let (watched, backed_up) = (app.clone(), app.clone());
    if app.backup_schedule().is_some() {
        spawn("backups", move || {
            loop {
                std::thread::sleep(backed_up.back_up_if_due());
            }
        })?;
    }
    spawn("watch", move || {
        loop {
            let end = tls.as_ref().map(|tls| tls.now().not_after);
            watched.figures().set_certificate_end(end);
            std::thread::sleep(WATCH);
            watched.watch();
            log_format::tell_folded();
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    started
        .map(drop)
        .map_err(|err| Error::Unavailable(verbatim(format!("no thread can be started: {err}"))))
}

/// Prints immediately.
pub fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A closed or full standard output must not stop a running server (attacks 247).
fn say_if_possible(text: &str) {
    if say(text).is_err() {
        log::warn!("standard output is closed");
    }
}

/// The clocks of the server.
pub const TIME: Sources = Sources {
    wall: wall_clock,
    uptime,
};

/// The milliseconds since the machine was booted, including time in suspend.
fn since_boot() -> i64 {
    let since = clock_gettime(ClockId::Boottime);
    since.tv_sec * 1000 + since.tv_nsec / 1_000_000
}

/// The time since the machine was booted, including time in suspend, and the id of the boot. A sandbox may hide the id;
/// then the server cannot know whether the machine was off since the last stop.
fn uptime() -> Uptime {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    Uptime {
        boot: boot.map(|id| id.trim().to_owned()),
        ms: since_boot(),
    }
}

/// The only place that reads the wall clock.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
