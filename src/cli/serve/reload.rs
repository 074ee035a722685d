//! SIGHUP: the server reads the settings again and applies those that can change while it runs. It notices renewed TLS
//! files without a signal.
//!
//! If anything is wrong, all settings stay unchanged, and the log has the reason.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::{spawn, systemd, wall_clock};
use crate::cli::settled;
use crate::config::sources::Setting;
use crate::config::{RELOADED, ServeArgs};
use crate::error::{Error, Result};
use crate::http::client::LiveTrust;
use crate::http1::tls::{Identity, LiveTls, TlsFiles};
use crate::ops::{App, declared};
use crate::refusals::verbatim;

/// The time between two checks of the TLS files. Changed files are read when the next check finds them unchanged again,
/// so that a certificate and its key are not read while they are being replaced.
const LOOK: Duration = Duration::from_secs(5);
/// The time between two warnings about a certificate that ends soon.
const WARN: Duration = Duration::from_secs(24 * 60 * 60);

/// The values in force that can be replaced.
pub struct InForce {
    pub app: Arc<App>,
    pub settings: Vec<Setting>,
    pub trust: LiveTrust,
    pub tls: Option<(LiveTls, TlsFiles)>,
}

/// Identifies a state of the TLS files: change time, inode and length of each.
type Stamps = Vec<Option<(i64, i64, u64, u64)>>;

/// Starts the thread that reloads; each message is one SIGHUP.
pub fn start(in_force: InForce) -> Result<Sender<()>> {
    let (asked, asking) = channel();
    in_force.warn_of_contact();
    spawn("settings", move || match in_force.tls {
        Some(_) => run_with_tls(in_force, &asking),
        None => run(in_force, &asking),
    })?;
    Ok(asked)
}

fn run(mut in_force: InForce, asking: &Receiver<()>) {
    while asking.recv().is_ok() {
        in_force.hang_up();
    }
}

fn run_with_tls(mut in_force: InForce, asking: &Receiver<()>) {
    let mut read = in_force.stamps();
    let mut seen = read.clone();
    let mut warned = Instant::now();
    in_force.warn();
    loop {
        match asking.recv_timeout(LOOK) {
            Ok(()) => {
                read = in_force.stamps();
                in_force.hang_up();
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = in_force.stamps();
                if now != read && now == seen {
                    read.clone_from(&now);
                    in_force.renew();
                }
                seen = now;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if warned.elapsed() >= WARN {
            warned = Instant::now();
            in_force.warn();
        }
    }
}

impl InForce {
    fn hang_up(&mut self) {
        systemd::reloading();
        let reloaded = self.reload();
        systemd::ready();
        match reloaded {
            Ok(()) => log::info!("SIGHUP: the settings were read again"),
            Err(err) => log::error!("SIGHUP: all settings stay as they were: {err}"),
        }
    }

    fn reload(&mut self) -> Result<()> {
        let args = settled()?;
        args.serve.check()?;
        let trust = args.serve.trust()?;
        let new = args.serve.tls()?;
        let leak_keys = args.serve.leak_keys()?;
        if self.tls.is_some() != new.is_some() {
            return Err(Error::Unavailable(verbatim(
                "TLS begins or ends only with a start; restart the server",
            )));
        }
        declared::reload(&self.app, args.serve.declared())?;
        self.app
            .demand_second_factor(args.serve.second_factor_roles());
        self.app.pin_leak_keys(leak_keys);
        if let (Some((tls, files)), Some(new)) = (&mut self.tls, new) {
            replace(tls, &new)?;
            *files = new;
        }
        self.trust.replace(trust);
        self.warn_of_contact();
        set_log_level(&args.serve);
        self.tell(&args.settings);
        Ok(())
    }

    /// Logs which settings have changed and which of these take effect at the next start. The latter keep their old
    /// value here, so that each reload logs them again.
    fn tell(&mut self, new: &[Setting]) {
        for (old, new) in self.settings.iter_mut().zip(new) {
            if old.value == new.value {
                continue;
            }
            let Setting {
                name,
                value,
                source,
            } = new;
            if RELOADED.contains(&name.as_str()) {
                log::info!("SIGHUP: {name} is {value:?} now ({source})");
                *old = new.clone();
            } else {
                log::warn!("SIGHUP: {name} changes at the next start, not now ({source})");
            }
        }
    }

    fn renew(&self) {
        let Some((tls, files)) = &self.tls else {
            return;
        };
        if let Err(err) = replace(tls, files) {
            log::error!("the TLS files have changed, and the old ones stay in force: {err}");
        }
    }

    /// Warns of a `security.txt` that is older than it states. It is served all the same: a date must not stop a start.
    fn warn_of_contact(&self) {
        let trust = self.trust.now();
        let file = trust.security_txt.as_ref();
        if let Some(file) = file.filter(|file| file.expires_at <= wall_clock()) {
            log::warn!(
                "security_txt: the file has expired at {}; renew the contact and its field Expires",
                file.expires_at
            );
        }
    }

    fn warn(&self) {
        let identity = self.tls.as_ref().map(|(tls, _)| tls.now());
        if let Some(warning) = identity.and_then(|identity| identity.warning(wall_clock())) {
            log::warn!("{warning}");
        }
    }

    fn stamps(&self) -> Stamps {
        let Some((_, files)) = &self.tls else {
            return Vec::new();
        };
        let paths = [Some(&files.certificate), Some(&files.key)];
        let paths = paths.into_iter().chain([files.client_ca.as_ref()]);
        paths.flatten().map(|path| stamp(path)).collect()
    }
}

/// An expired certificate never replaces a valid one.
fn replace(tls: &LiveTls, files: &TlsFiles) -> Result<()> {
    let (old, new, now) = (tls.now(), Identity::load(files)?, wall_clock());
    if new.days_left(now) < 0 && old.days_left(now) >= 0 {
        return Err(Error::Unavailable(verbatim(format!(
            "the certificate {} ended at {}",
            files.certificate.display(),
            new.not_after
        ))));
    }
    if new.fingerprint != old.fingerprint {
        log::info!(
            "the TLS certificate is {} now, good until {}",
            new.fingerprint,
            new.not_after
        );
    }
    let warning = new.warning(now);
    tls.replace(new);
    if let Some(warning) = warning {
        log::warn!("{warning}");
    }
    Ok(())
}

fn stamp(path: &Path) -> Option<(i64, i64, u64, u64)> {
    let of = fs::metadata(path).ok()?;
    Some((of.ctime(), of.ctime_nsec(), of.ino(), of.len()))
}

/// If `RUST_LOG` is set, its finer rules apply, and this level must not restrict them.
pub fn set_log_level(args: &ServeArgs) {
    if std::env::var_os("RUST_LOG").is_none()
        && let Ok(level) = args.log_level.parse()
    {
        log::set_max_level(level);
    }
}
